"""A pitched tone to follow by ear."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sonify.instruments.additive import below_nyquist, harmonics, steady
from sonify.instruments.base import Instrument, Lane, Onset, Parameter, Sample, Signal, declare, level, pitch


class Glide(Instrument):
    """Four harmonics with weights b^(k-1) / k, so that the fundamental is always the strongest partial."""

    name = "glide"
    about = "a pitched tone with mild harmonics; its fundamental is its strongest partial"
    pitched = True
    parameters = declare(
        pitch(),
        level(),
        Parameter("brightness", "strength of the harmonics, 0 a sine", "", (0.0, 1.0), 0.5, "linear"),
    )

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """The pitch, the weight of each harmonic, and the gain that keeps them equally loud."""
        f0, b = (np.asarray(lanes[name]) for name in ("pitch", "brightness"))
        strengths = [b ** (k - 1) / k for k in range(1, 5)]
        series = [k * f0 for k in range(1, 5)]
        weights: list[Lane] = [w * below_nyquist(f, sample_rate) for w, f in zip(strengths, series, strict=True)]
        gain = steady(zip(series, weights, strict=True), sum(w**2 for w in strengths))
        return {"pitch": [f0], "weights": weights, "makeup": [gain]}

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """One wave table while brightness rests."""
        return harmonics(controls["pitch"][0], controls["weights"])
