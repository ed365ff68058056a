"""Cubics: a polynomial of degree three learns another by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pieces.signals import Control, Value
from pieces.training.fitting import Fitting, Floats, fitting_channels, fitting_controls


class Cubics(Fitting):
    """f(x) = a x³ + b x² + c x + d is fitted to a target of the same form.

    As in the work's own code: x (100 points), target and learned coefficients are uniform in [-1, 1], the loss
    is half the mean squared error, gradient descent steps by 0.01, and below a loss of 0.001 the target has
    converged: after 700 to 10,000 steps nearly always (480 to 11,230 in 60 targets). Gradient descent is stable
    up to a step of 2 / (largest curvature), and the curvature grows with the sixth power of `x_range`: at 5 it
    diverges.

    References
    ----------
    P. S. Castro, "Losses, Dissonances, and Distortions", 2021, arXiv:2111.05128: "Cubics"; part 1 of the performance.
    """

    name = "cubics"
    about = "a cubic polynomial learns another by gradient descent; its overtones are detuned by the loss"
    threshold = 1e-3
    split = 48
    phrase = (57, 64, 60, 67, 62, 55, 59, 52)
    channels = fitting_channels("abcd", (-1.0, 1.0), loss=2.0, gradient=1.0)
    controls = (
        *fitting_controls(learning_rate=0.01, steps_per_tick=10, targets=4),
        Control("points", "points at which the next target is known", 100, (4, 1000)),
        Control("x_range", "points of the next target lie within plus and minus this", 1.0, (0.1, 5.0)),
        Control(
            "noise",
            "standard deviation of noise on the target's values, fresh at every step",
            0.0,
            (0.0, 1.0),
        ),
    )
    listens = {
        "note": "midi below 48 poses a new target; from 48 up the note plays, and trains until velocity 0",
        "new_target": "poses a new target",
        "await": "it is going to be played, and waits for notes",
    }
    emits = {
        "new_target": "target and learned coefficients are drawn anew; target counts them",
        "converged": "the loss fell below 0.001, after so many steps",
    }

    def pose(self, controls: Mapping[str, Value]) -> dict[str, Floats]:
        """Coefficients of x³ to x⁰, and the powers x³ to x⁰ of the points [points, 4]."""
        x = float(controls["x_range"]) * self._random.uniform(-1, 1, int(controls["points"]))
        target, theta = self._random.uniform(-1, 1, (2, 4))
        return {"powers": np.vander(x, 4), "target": target, "theta": theta}

    def evaluate(self, controls: Mapping[str, Value]) -> tuple[float, float, Floats]:
        """Half mean squared error on all points, its gradient, and the mean of learned minus target."""
        powers = self._arrays["powers"]
        error = powers @ (self._arrays["theta"] - self._arrays["target"])
        if noise := float(controls["noise"]):
            error = error - noise * self._random.standard_normal(len(error))
        return 0.5 * float(error @ error) / len(error), float(error.mean()), error @ powers / len(error)
