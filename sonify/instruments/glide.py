"""A pitched tone to follow by ear."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sonify.instruments.additive import below_nyquist, harmonics
from sonify.instruments.base import Instrument, Lane, Onset, Parameter, Signal, declare, level, pitch


class Glide(Instrument):
    """Four harmonics with weights b^(k-1) / k, so that the fundamental is always the strongest partial."""

    name = "glide"
    about = "a pitched tone with mild harmonics; its fundamental is its strongest partial"
    parameters = declare(
        pitch(),
        level(),
        Parameter("brightness", "strength of the harmonics, 0 a sine", "", (0.0, 1.0), 0.5, "linear"),
    )

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int
    ) -> dict[str, list[Lane]]:
        """The pitch, and the weight of each harmonic."""
        f0, b = (np.asarray(lanes[name]) for name in ("pitch", "brightness"))
        weights: list[Lane] = [b ** (k - 1) / k * below_nyquist(k * f0, sample_rate) for k in range(1, 5)]
        return {"pitch": [f0], "weights": weights}

    def build(self, controls: Mapping[str, list[Signal]]) -> list[Signal]:
        """One wave table while brightness rests."""
        return harmonics(controls["pitch"][0], controls["weights"])
