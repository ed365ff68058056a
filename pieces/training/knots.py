"""Knots: a Lissajous knot learns the phases of another by stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pieces.signals import Channel, Control, Value
from pieces.training.fitting import Fitting, Floats, fitting_channels, fitting_controls

#: Points at which a knot is known, as in the work's own code: t from 0 to 100 by 0.1.
TIMES = np.arange(0.0, 100.0, 0.1)
BATCH = 64
TURN = 2 * np.pi


class Knots(Fitting):
    """g(t) = (cos(nx t + a), cos(ny t + b), cos(nz t + c)): the integers are given, the phases a, b, c are learned.

    As in the work's own code: batches of 64 points of t in [0, 100), the loss is half the squared distance averaged
    over the batch, steps of 0.025, converged below 1e-6. Over many periods the loss of an axis is (1 - cos(difference))
    / 2 (for n = 0 it depends on the phase itself), so the only minima are the target's phases, up to whole turns.

    Phases are drawn from the whole turn (480 to 1,050 steps in 60 knots); the work draws them from [0, 1] radians
    (`phase_range` 1: 350 to 530 steps) and frequencies from 0 on (`lowest` 0: a nearly level axis takes up to 14,000).

    References
    ----------
    P. S. Castro, "Losses, Dissonances, and Distortions", 2021, arXiv:2111.05128: "Lissajous knots"; part 2.
    """

    name = "knots"
    about = "a Lissajous knot learns the phases of another; the chord that is held is detuned by the loss"
    threshold = 1e-6
    split = 60
    phrase = (45, 41, 48, 43, 40)
    constants = ("frequencies",)
    channels = (
        *fitting_channels("abc", (0.0, TURN), loss=3.0, gradient=1.0, unit="rad"),
        *(Channel(n, f"frequency along {n[1]}", "cycles per turn", (0.0, 8.0)) for n in ("nx", "ny", "nz")),
    )
    controls = (
        *fitting_controls(learning_rate=0.025, steps_per_tick=2, targets=5),
        Control("phase_range", "phases are drawn from 0 to this", TURN, (0.1, TURN), unit="rad"),
        Control(
            "lowest",
            "lowest frequency that is drawn; 0 lets an axis be flat",
            1,
            (0, 8),
            unit="cycles per turn",
        ),
        Control("gap", "fewest ticks between two chords that pose a knot", 100, (0, 10_000), unit="ticks"),
    )
    listens = {
        "note": "midi below 60 (the left hand) poses a knot, at most one in `gap` ticks; all train until velocity 0",
        "new_target": "poses a new knot",
        "await": "it is going to be played, and waits for notes",
    }
    emits = {
        "new_target": "frequencies, target and learned phases are drawn anew; target counts them",
        "converged": "the loss fell below 1e-6, after so many steps",
    }

    def pose(self, controls: Mapping[str, Value]) -> dict[str, Floats]:
        """Phases in radians, and the three frequencies."""
        frequencies = self._random.integers(int(controls["lowest"]), 8, 3, endpoint=True).astype(np.float64)
        target, theta = float(controls["phase_range"]) * self._random.uniform(0, 1, (2, 3))
        return {"frequencies": frequencies, "target": target, "theta": theta}

    def evaluate(self, controls: Mapping[str, Value]) -> tuple[float, float, Floats]:
        """Half the mean squared distance on a fresh batch, its gradient, and the signed mean of all three axes."""
        turns = TIMES[self._random.integers(0, len(TIMES), BATCH), None] * self._arrays["frequencies"]
        learned = turns + self._arrays["theta"]
        error = np.cos(learned) - np.cos(turns + self._arrays["target"])
        gradient = -(error * np.sin(learned)).mean(axis=0)
        return 0.5 * float((error**2).sum()) / BATCH, float(error.sum()) / BATCH, gradient

    def apart(self, theta: Floats, target: Floats) -> Floats:
        """Differences of phase, to the nearest whole turn."""
        return np.remainder(theta - target + np.pi, TURN) - np.pi

    def _sounds(self, midi: int) -> bool:
        return True

    def _may_pose(self, controls: Mapping[str, Value]) -> bool:
        return self._counts["tick"] - self._counts["asked_at"] >= int(controls["gap"])
