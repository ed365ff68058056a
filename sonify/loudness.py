"""Integrated loudness and true peak (ITU-R BS.1770-5), measured while the sound is made, in bounded memory.

numpy alone: loading scipy costs more time than rendering half a minute of sound; pyloudnorm (which needs the whole
sound at once, and 400 ms of it) and `scipy.signal.resample_poly` are the judges in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sonify.weighting import k_weighting

#: What silence measures, where the logarithm gives minus infinity: BS.1770's absolute gate, and less than any sound.
SILENT_LUFS, SILENT_DBTP = -70.0, -200.0

#: Samples of one transform. What it holds beyond a chunk is the past, longer than the weighting filter remembers.
_FRAME = 1 << 16


class Meter:
    """Measures stereo chunks as they come.

    Parameters
    ----------
    sample_rate : int
        44100 or 48000.

    Attributes
    ----------
    chunk : int
        Samples in every chunk but the last, a whole number of 100 ms hops.
    """

    def __init__(self, sample_rate: int) -> None:
        self._hop = sample_rate // 10
        self.chunk = (_FRAME - sample_rate // 8) // self._hop * self._hop
        self._past = np.zeros((_FRAME - self.chunk, 2), dtype=np.float32)
        self._weighting = k_weighting(np.fft.rfftfreq(_FRAME, 1 / sample_rate), sample_rate)
        self._energies: list[float] = []
        self._samples = 0
        self._peak = 0.0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Measure the next chunk, [samples, 2]."""
        both = np.concatenate([self._past, samples])
        self._past = both[-len(self._past) :]
        self._samples += len(samples)
        identical = np.array_equal(both[:, 0], both[:, 1])
        hops = np.arange(0, len(samples), self._hop)
        energies = np.zeros(len(hops))
        for column in both.T[: 1 if identical else 2]:
            column = np.ascontiguousarray(column)
            weighted = np.fft.irfft(np.fft.rfft(column, _FRAME) * self._weighting)[len(both) - len(samples) : len(both)]
            energies += np.add.reduceat(np.square(weighted), hops) * (2 if identical else 1)
            self._peak = max(self._peak, true_peak(column[-len(samples) - _PEAK_TAPS :], self._peak))
        self._energies.extend(energies)

    def true_peak(self) -> float:
        """True peak so far, in dBTP."""
        last = (true_peak(np.pad(column, (0, _PEAK_TAPS)), self._peak) for column in self._past[-_PEAK_TAPS:].T)
        return decibels(max(self._peak, *last), SILENT_DBTP)

    def loudness(self, gain_db: float = 0.0) -> float:
        """Integrated loudness so far in LUFS, were the sound louder by `gain_db`.

        A sound shorter than a gating block (400 ms) is one block.
        """
        hops = np.array(self._energies) * 10 ** (gain_db / 10)
        if self._samples < 4 * self._hop:
            return gated(np.array([hops.sum() / max(self._samples, 1)]))
        whole = hops[: self._samples // self._hop]
        return gated(np.convolve(whole, np.ones(4), "valid") / (4 * self._hop))

    def gain(self, loudness: float, ceiling: float) -> tuple[float, bool]:
        """Gain in dB that brings the sound to `loudness` LUFS, or its true peak to `ceiling` dBTP where that is less.

        Returns
        -------
        gain_db : float
            0 for silence.
        limited : bool
            Whether the ceiling won.
        """
        peak = self.true_peak()
        if peak == SILENT_DBTP:
            return 0.0, False
        gain = ceiling - peak
        # The gates depend on the gain, so that a few rounds are needed where a sound is mostly near silence.
        for _ in range(4):
            if (measured := self.loudness(gain)) == SILENT_LUFS:
                return min(gain, 0.0), True
            gain += loudness - measured
        return min(gain, ceiling - peak), gain > ceiling - peak


def gated(blocks: NDArray[np.float64]) -> float:
    """Loudness in LUFS of the mean squares of gating blocks (BS.1770-5 annex 1, eq. 5-7)."""

    def lufs(mean_square: float) -> float:
        return -0.691 + decibels(math.sqrt(mean_square), -math.inf)

    audible = blocks[blocks > 10 ** ((SILENT_LUFS + 0.691) / 10)]
    if not len(audible):
        return SILENT_LUFS
    return lufs(float(audible[audible > audible.mean() / 10].mean()))


def true_peak(samples: NDArray[np.float32], known: float = 0.0) -> float:
    """Largest absolute value of a mono signal interpolated four-fold (BS.1770-5 annex 2).

    Where no interpolated value can pass `known`, the work is spared and a lower bound is returned.
    """
    highest = float(np.max(np.abs(samples), initial=0.0))
    length = len(samples) - _PEAK_TAPS + 1
    if highest * _PEAK_BOUND <= known or length < 1:
        return highest
    between, term = np.empty(length, dtype=np.float32), np.empty(length, dtype=np.float32)
    for phase in _PEAK_PHASES:  # three times as fast as np.convolve for so few taps
        between[:] = 0.0
        for k, tap in enumerate(phase):
            between += np.multiply(samples[k : k + length], tap, out=term)
        highest = max(highest, float(between.max()), -float(between.min()))
    return highest


def _interpolator() -> NDArray[np.float32]:
    """The fractional phases of `scipy.signal.resample_poly`'s filter for a factor of 4 (a Kaiser window of beta 5)."""
    n = np.arange(-40, 41)
    taps = np.sinc(n / 4) * np.kaiser(81, 5.0)
    taps *= 4 / taps.sum()
    return np.stack([taps[phase::4] for phase in (1, 2, 3)]).astype(np.float32)


_PEAK_PHASES = _interpolator()
_PEAK_TAPS = _PEAK_PHASES.shape[1]
_PEAK_BOUND = float(np.abs(_PEAK_PHASES).sum(axis=1).max())


def decibels(amplitude: float, floor: float) -> float:
    """20 log10 of an amplitude, at least `floor`."""
    return max(20 * math.log10(amplitude), floor) if amplitude > 0 else floor


def measure(chunks: Iterable[NDArray[np.float32]], sample_rate: int) -> Meter:
    """A meter that has heard all chunks, whatever their lengths."""
    meter = Meter(sample_rate)
    rest = np.zeros((0, 2), dtype=np.float32)
    for chunk in chunks:
        rest = np.concatenate([rest, chunk])
        while len(rest) >= meter.chunk:
            meter.add(rest[: meter.chunk])
            rest = rest[meter.chunk :]
    if len(rest):
        meter.add(rest)
    return meter
