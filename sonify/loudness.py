"""What integrated loudness and true peak are (ITU-R BS.1770-5); `sonify.limiter` measures them as a sound is made.

numpy alone: loading scipy costs more time than rendering half a minute of sound; pyloudnorm (which needs the whole
sound at once, and 400 ms of it) and `scipy.signal.resample_poly` are the judges in the tests.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: What silence measures, where the logarithm gives minus infinity: BS.1770's absolute gate, and less than any sound.
SILENT_LUFS, SILENT_DBTP = -70.0, -200.0


def gated(blocks: NDArray[np.float64]) -> float:
    """Loudness in LUFS of the mean squares of gating blocks (BS.1770-5 annex 1, eq. 5-7)."""

    def lufs(mean_square: float) -> float:
        return -0.691 + decibels(math.sqrt(mean_square), -math.inf)

    audible = blocks[blocks > 10 ** ((SILENT_LUFS + 0.691) / 10)]
    if not len(audible):
        return SILENT_LUFS
    return lufs(float(audible[audible > audible.mean() / 10].mean()))


def _interpolator() -> NDArray[np.float32]:
    """The fractional phases of `scipy.signal.resample_poly`'s filter for a factor of 4 (a Kaiser window of beta 5)."""
    n = np.arange(-40, 41)
    taps = np.sinc(n / 4) * np.kaiser(81, 5.0)
    taps *= 4 / taps.sum()
    return np.stack([taps[phase::4] for phase in (1, 2, 3)]).astype(np.float32)


#: Taps of each of the three phases between two samples, ``[3, PEAK_TAPS]``.
PEAK_PHASES = _interpolator()
PEAK_TAPS = PEAK_PHASES.shape[1]


def decibels(amplitude: float, floor: float) -> float:
    """20 log10 of an amplitude, at least `floor`."""
    return max(20 * math.log10(amplitude), floor) if amplitude > 0 else floor
