"""Sums of sines: what the pitched instruments share.

A low-pass over partials of known frequency is a weight for each, so there is no filter to ring, smear or blow up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonify.instruments.base import Lane, Signal

#: Points of a wave table: linear interpolation between them stays 90 dB below the highest partial used (16).
_TABLE = 16_384


def below_nyquist(frequency: Lane, sample_rate: int) -> Lane:
    """Gain that fades a partial out between 0.40 and 0.45 of the sample rate, so that none ever aliases."""
    return np.asarray(np.clip((0.45 - np.asarray(frequency) / sample_rate) / 0.05, 0.0, 1.0))


def low_pass(frequency: Lane, cutoff: Lane) -> Lane:
    """Magnitude of a second-order Butterworth low-pass, -3 dB at `cutoff` and -12 dB an octave above."""
    return np.asarray(1.0 / np.sqrt(1.0 + (np.asarray(frequency) / np.asarray(cutoff)) ** 4))


def harmonics(pitch: Signal, weights: Sequence[Signal]) -> list[Signal]:
    """Partials k · pitch, k = 1.., with the given weights: one wave table where no weight changes, else a sine each."""
    import pyo64 as pyo

    if all(isinstance(w, float) for w in weights):
        return [pyo.Osc(pyo.HarmTable(list(weights), size=_TABLE), pitch)] if any(weights) else []
    return [pyo.Sine(pitch * k, mul=w) for k, w in enumerate(weights, 1) if not (isinstance(w, float) and w == 0.0)]
