"""Sums of sines: what the pitched instruments share.

A low-pass over partials of known frequency is a weight for each, so there is no filter to ring, smear or blow up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sonify.instruments.base import Lane, Signal, silent
from sonify.weighting import k_weighting

#: Points of a wave table for a cycle of its highest partial: linear interpolation stays 106 dB below it, and a table
#: of few partials in a processor's nearest cache.
TABLE_SIZE = 1024
#: Most that `steady` adds, as a gain: 6 dB, needed at 38 Hz. Below that loudness gives way, or a loudspeaker would.
_MOST = 2.0


def below_nyquist(frequency: Lane, sample_rate: int) -> Lane:
    """Gain that fades a partial out between 0.40 and 0.45 of the sample rate, so that none ever aliases."""
    return np.asarray(np.clip((0.45 - np.asarray(frequency) / sample_rate) / 0.05, 0.0, 1.0))


def low_pass(frequency: Lane, cutoff: Lane) -> Lane:
    """Magnitude of a second-order Butterworth low-pass, -3 dB at `cutoff` and -12 dB an octave above."""
    return np.asarray(1.0 / np.sqrt(1.0 + (np.asarray(frequency) / np.asarray(cutoff)) ** 4))


def steady(partials: Iterable[tuple[Lane, Lane]], power: Lane) -> Lane:
    """Gain that keeps loudness while pitch and colour move.

    The ear, as K-weighting has it (ITU-R BS.1770-4), makes less of what is low and more of what is high: 7 dB between
    65 and 4000 Hz.

    Parameters
    ----------
    partials : iterable of (frequency in Hz, weight)
        As they sound, filters included.
    power : Lane
        The K-weighted power wanted; a sine of amplitude 1 has power 1 before the weighting.
    """
    heard: Lane = 0.0
    for frequency, weight in ((f, w) for f, w in partials if np.any(w)):
        heard = heard + np.square(weight) * k_power(frequency)
    return np.asarray(np.sqrt(np.asarray(power) / np.maximum(heard, np.asarray(power) / _MOST**2)))


def k_power(frequency: Lane) -> NDArray[np.float64]:
    """Power gain of the K-weighting, interpolated: lanes are long, and the curve is smooth."""
    return np.asarray(np.interp(frequency, *_k_curve()))


@cache
def _k_curve() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    frequencies = np.geomspace(10, 20_000, 512)
    return frequencies, np.abs(k_weighting(frequencies, 48_000)) ** 2


def harmonics(pitch: Signal, weights: Sequence[Signal]) -> list[Signal]:
    """Partials k · pitch, k = 1.., with the given weights: one wave table where no weight changes, else a sine each."""
    import pyo64 as pyo

    if all(isinstance(w, float) for w in weights):
        heard = np.trim_zeros(weights, "b")
        return [pyo.Osc(pyo.HarmTable(heard, size=TABLE_SIZE * len(heard)), pitch)] if heard else []
    return [pyo.Sine(pitch * k, mul=w) for k, w in enumerate(weights, 1) if not silent(w)]


def wave(partials: int, size: int) -> Signal:
    """A table of one cycle of the first so many partials, all of amplitude 1.

    By a Fourier transform: pyo sums as many sines as there are, and lets nobody play meanwhile.
    """
    import pyo64 as pyo

    spectrum = np.zeros(size // 2 + 1, dtype=np.complex128)
    spectrum[1 : partials + 1] = -0.5j * size
    table = pyo.DataTable(size)
    np.asarray(table.getBuffer())[:] = np.fft.irfft(spectrum, size)
    return table
