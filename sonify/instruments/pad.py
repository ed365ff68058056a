"""A soft ground to put other voices on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sonify.instruments.additive import below_nyquist, harmonics, low_pass, steady
from sonify.instruments.base import (
    CONTROL_RATE,
    Instrument,
    Lane,
    Onset,
    Parameter,
    Sample,
    Signal,
    declare,
    level,
    pitch,
)

#: Of each of the players: rate (Hz) and phase (turns) of its drift. Incommensurable, so that the chorus never repeats.
_PLAYERS = ((0.11, 0.0), (0.173, 0.37), (0.071, 0.71))
_HARMONICS = 8


class Pad(Instrument):
    """Three players of one note, each drifting slowly within `spread` cents; harmonics 1 / k^1.5, low-passed."""

    name = "pad"
    about = "a soft, slowly drifting chorus"
    pitched = True
    parameters = declare(
        pitch(),
        level(),
        Parameter("brightness", "corner of the low-pass", "Hz", (100.0, 12_000.0), 1200.0, "log2"),
        Parameter("spread", "how far the players drift", "cents", (0.0, 50.0), 9.0, "linear"),
    )
    steady = declare(replace(parameters["spread"], range=(0.0, 0.0), default=0.0))

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """The pitch of each player, and the weights and gain of the harmonics that they share."""
        time = np.arange(first, first + points) / CONTROL_RATE
        f0 = np.asarray(lanes["pitch"])
        drifts = [np.sin(2 * np.pi * (rate * time + phase)) for rate, phase in _PLAYERS]
        series = [k * f0 for k in range(1, _HARMONICS + 1)]
        strengths = [1 / (k**1.5 * len(_PLAYERS)) for k in range(1, _HARMONICS + 1)]
        weights: list[Lane] = [
            w * low_pass(f, lanes["brightness"]) * below_nyquist(f, sample_rate)
            for w, f in zip(strengths, series, strict=True)
        ]
        return {
            "pitch": [f0 * np.exp2(np.asarray(lanes["spread"]) * drift / 1200) for drift in drifts],
            "weights": weights,
            "makeup": [steady(zip(series, weights, strict=True), sum(w**2 for w in strengths))],
        }

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """The players."""
        weights = controls["weights"]
        return [partial for player in controls["pitch"] for partial in harmonics(player, weights)]
