"""The master limiter: a gain over time that brings a sound to a declared loudness under a declared true peak.

While a sound is made, `Limiter.add` keeps two numbers for each millisecond of it: its K-weighted energy and its true
peak. That is all that is needed to know what any gain would do, so the gain that reaches a loudness *after* limiting is
found without hearing the sound again, and what is found, a `Gain`, is asked for any stretch of any stem in any order::

    limiter = Limiter(sample_rate, ceiling)
    for chunk in mix:                                # [samples, 2], of any lengths
        limiter.add(chunk)
    gain = limiter.settle(loudness)
    scaled = chunk * gain.at(start, start + len(chunk))   # of the mix, and of every stem

It is numpy alone, for the reason that `sonify.loudness` is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sonify.loudness import PEAK_PHASES, PEAK_TAPS, SILENT_DBTP, SILENT_LUFS, decibels, gated
from sonify.weighting import k_weighting

Floats = NDArray[np.float64]

#: Where the true peak is brought to, in dB below the ceiling: room for other interpolators, rounding and a moving gain.
_MARGIN = 0.01
#: Where a release is over: a thousandth of a dB, in nepers. What no peak came near is then left exactly as it was.
_RELEASED = 1e-4
#: Within how many dB a loudness is reached, and how much nearer it must come to be worth more limiting.
_NEAR, _WORTH = 1e-4, 0.1
#: Distance in dB of the gains that are tried, from that without limiting to the highest that is allowed.
_STEP = 0.5


#: Samples of one transform. What it holds beyond a frame is the past, longer than the weighting filter remembers.
_FRAME = 1 << 16


@dataclass(frozen=True)
class Gain:
    """What is done to a sound and to all its stems, which then still sum to it.

    Attributes
    ----------
    gain_db : float
        Added everywhere, in dB.
    loudness : float
        Integrated loudness of the result in LUFS; -70 for silence.
    true_peak : float
        Of the result, in dBTP; -200 for silence.
    reduction_db : float
        By how much the limiter turns the sound down at most; 0 where nothing is above the ceiling.
    limited : bool
        Whether the loudness was missed: reaching it would take more reduction than is allowed, or cannot be had so.
    """

    gain_db: float
    loudness: float
    true_peak: float
    reduction_db: float
    limited: bool
    _knots: Floats
    _block: int

    def at(self, start: int, stop: int) -> NDArray[np.float32]:
        """Linear gain of the samples from `start` to `stop`, [samples, 1]: the same however a sound is cut."""
        first, last = start // self._block, -(-stop // self._block) + 1
        times = np.arange(first, last) * self._block
        curve = np.interp(np.arange(start, stop), times, self._knots[first:last])
        return (10 ** (self.gain_db / 20) * curve).astype(np.float32)[:, None]


class Limiter:
    """Hears a stereo sound, and says what gain brings it to a loudness.

    The gain falls ahead of a peak and is level around it, so that no interpolation finds more than the peak; between
    peaks less than 8 ms apart it stays, so that a low note is not bent; then it rises exponentially. Where nothing is
    above the ceiling nothing is changed. Both sides share it.

    Parameters
    ----------
    sample_rate : int
        44100 or 48000.
    ceiling : float
        Highest true peak of the result, in dBTP, measured with four-fold interpolation (BS.1770-5 annex 2).
    lookahead : float
        Seconds in which the gain falls.
    release : float
        Time constant of its rise in seconds, of the reduction in dB.

    Notes
    -----
    Memory: 8 bytes a millisecond of sound, 29 MB an hour.

    References
    ----------
    D. Giannoulis, M. Massberg and J. D. Reiss, "Digital dynamic range compressor design", JAES 60, 2012 (reduction
    smoothed in the log domain).
    """

    def __init__(self, sample_rate: int, ceiling: float, lookahead: float = 0.005, release: float = 0.08) -> None:
        hop = sample_rate // 10
        self._block = max(size for size in range(1, 51) if hop % size == 0)  # about a millisecond
        self._hop, self._ceiling = hop // self._block, ceiling - _MARGIN
        self._ahead = round(lookahead * sample_rate / self._block)
        self._decay = self._block / (release * sample_rate)
        self._frame = (_FRAME - sample_rate // 8) // hop * hop
        self._weighting = k_weighting(np.fft.rfftfreq(_FRAME, 1 / sample_rate), sample_rate)
        self._heard = np.zeros((_FRAME, 2), dtype=np.float32)  # what is older than a frame, and the frame
        self._filled = self._samples = 0
        self._energies: list[NDArray[np.float32]] = []
        self._peaks: list[NDArray[np.float32]] = []

    def add(self, samples: NDArray[np.float32]) -> None:
        """Hear the next samples, [samples, 2]."""
        self._samples += len(samples)
        while len(samples):
            taken, samples = np.split(samples, [self._frame - self._filled])
            at = len(self._heard) - self._frame + self._filled
            self._heard[at : at + len(taken)] = taken
            self._filled += len(taken)
            if self._filled == self._frame:
                self._measure()

    def level(self) -> tuple[float, float]:
        """Loudness in LUFS and true peak in dBTP of all that was heard, as it is."""
        energies, peaks = self._end()
        peak = decibels(float(peaks.max()), SILENT_DBTP)
        return self._loudness(energies, 0.0, np.ones(len(peaks) + 1)), peak

    def settle(self, loudness: float, most: float = 12.0) -> Gain:
        """The gain that brings all that was heard to `loudness` LUFS, or as near as it may.

        Parameters
        ----------
        loudness : float
            Integrated, of the result, in LUFS.
        most : float
            By how many dB the loudest peak may be turned down; 0 keeps the sound as it is and sets its level alone.
        """
        energies, peaks = self._end()
        peak, flat = decibels(float(peaks.max()), SILENT_DBTP), np.ones(len(peaks) + 1)
        if peak == SILENT_DBTP:
            return self._gain(energies, peaks, 0.0, flat, False)
        gain = free = self._ceiling - peak
        # The gates depend on the gain, so that a few rounds are needed where a sound is mostly near silence.
        for _ in range(4):
            if (reached := self._loudness(energies, gain, flat)) == SILENT_LUFS:
                return self._gain(energies, peaks, min(gain, 0.0), flat, True)
            gain += loudness - reached
        if gain <= free:
            return self._gain(energies, peaks, gain, flat, False)
        gain, limited = self._search(energies, peaks, loudness, free + np.append(np.arange(0.0, most, _STEP), most))
        return self._gain(energies, peaks, gain, self._knots(peaks, gain), limited)

    def _search(self, energies: Floats, peaks: Floats, loudness: float, gains: Floats) -> tuple[float, bool]:
        """The least of some gains, or between two of them, that reaches a loudness after limiting, or comes nearest.

        More gain need not be louder: where nothing but soft passages gain by it, they pass the gate of the loudness.
        """

        def reached(gain: float) -> float:
            return self._loudness(energies, gain, self._knots(peaks, gain))

        low, levels = float(gains[0]), []
        for high in map(float, gains):
            levels.append(reached(high))
            if levels[-1] >= loudness - _NEAR:
                break
            low = high
        else:
            return float(gains[np.argmax(np.array(levels) >= max(levels) - _WORTH)]), True
        while high - low > _NEAR:
            middle = (low + high) / 2
            low, high = (low, middle) if reached(middle) > loudness else (middle, high)
        return high, False

    def _gain(self, energies: Floats, peaks: Floats, gain: float, knots: Floats, limited: bool) -> Gain:
        highest = decibels(float((peaks * np.maximum(knots[:-1], knots[1:])).max()), SILENT_DBTP)
        return Gain(
            gain_db=gain,
            loudness=self._loudness(energies, gain, knots),
            true_peak=highest + gain if highest > SILENT_DBTP else SILENT_DBTP,
            reduction_db=0.0 - decibels(float(knots.min()), SILENT_DBTP),
            limited=limited,
            _knots=knots,
            _block=self._block,
        )

    def _measure(self) -> None:
        """Take the frame that is full, of which `_filled` samples are real."""
        blocks = self._frame // self._block
        energies, peaks = np.zeros(blocks), np.zeros(blocks, dtype=np.float32)
        identical = np.array_equal(self._heard[:, 0], self._heard[:, 1])
        for column in self._heard.T[: 1 if identical else 2]:
            column = np.ascontiguousarray(column)
            weighted = np.fft.irfft(np.fft.rfft(column) * self._weighting)[-self._frame :]
            weighted[self._filled :] = 0.0
            energies += np.square(weighted).reshape(blocks, -1).sum(axis=1) * (2 if identical else 1)
            crests = _crests(column[1 - self._frame - PEAK_TAPS :]).reshape(blocks, -1).max(axis=1)
            np.maximum(peaks, crests, out=peaks)
        self._energies.append(energies.astype(np.float32))
        self._peaks.append(peaks)
        self._heard[: -self._frame] = self._heard[self._frame :].copy()
        self._heard[-self._frame :] = 0.0
        self._filled = 0

    def _end(self) -> tuple[Floats, Floats]:
        """Energy and true peak of each block; what was heard last is followed by silence."""
        while sum(map(len, self._peaks)) * self._block < self._samples + PEAK_TAPS:
            self._measure()
        return np.concatenate(self._energies).astype(np.float64), np.concatenate(self._peaks).astype(np.float64)

    def _loudness(self, energies: Floats, gain: float, knots: Floats) -> float:
        """Integrated loudness with a gain and a curve; a sound shorter than a gating block (400 ms) is one block."""
        powers = energies * np.square((knots[:-1] + knots[1:]) / 2) * 10 ** (gain / 10)
        hops = powers.reshape(-1, self._hop).sum(axis=1)
        length = self._hop * self._block
        if self._samples < 4 * length:
            return gated(np.array([hops.sum() / max(self._samples, 1)]))
        return gated(np.convolve(hops[: self._samples // length], np.ones(4), "valid") / (4 * length))

    def _knots(self, peaks: Floats, gain: float) -> Floats:
        """The limiter's linear gain where each block begins, and the last ends."""
        ahead = self._ahead
        demand = np.log(np.maximum(peaks * 10 ** ((gain - self._ceiling) / 20), 1.0))
        # A demand holds from the block before to the block behind, and as long before that as the smoothing reaches.
        held = sliding_window_view(np.pad(demand, (ahead + 1, ahead + 2)), ahead + 3).max(axis=1)
        fall = self._decay * np.arange(len(held))
        with np.errstate(divide="ignore"):
            released = np.exp(np.maximum.accumulate(np.log(held) + fall) - fall)
        reduction = np.maximum(held, np.where(released < _RELEASED, 0.0, released))
        for length in (ahead // 2 + 1, ahead - ahead // 2 + 1):
            reduction = sliding_window_view(reduction, length).mean(axis=1)
        return np.asarray(np.exp(-reduction))


def _crests(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest absolute value of each sample, from the 20th on, and of three interpolated ones ten samples before it."""
    length = len(samples) - PEAK_TAPS + 1
    highest = np.abs(samples[PEAK_TAPS - 1 :])
    between, term = np.empty(length, dtype=np.float32), np.empty(length, dtype=np.float32)
    for phase in PEAK_PHASES:
        between[:] = 0.0
        for k, tap in enumerate(phase):
            between += np.multiply(samples[k : k + length], tap, out=term)
        np.maximum(highest, np.abs(between, out=between), out=highest)
    return highest
