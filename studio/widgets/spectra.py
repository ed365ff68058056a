"""What a spectrogram is drawn from: the level of each band of frequency in each column of time, and its colours."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError

Floats = NDArray[np.float32]
#: Hertz: the lowest that is drawn, and the highest where the file has it.
LOWEST, HIGHEST = 30.0, 20_000.0
#: dBFS that is drawn darkest; a full-scale sine is 0 and brightest.
FLOOR = -90.0
#: Samples of a window at the closest and at the widest zoom, and the most windows looked at for one column.
_SHORTEST, _LONGEST, _WINDOWS = 1024, 8192, 8

#: Cividis (Nuñez, Anderton, Renslow 2018, doi:10.1371/journal.pone.0199239), which looks the same to those who see no
#: red or no green, at 33 equal steps.
_CIVIDIS = np.frombuffer(
    bytes.fromhex(
        "00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d5a5f6e61656f686a716f7073767676"
        "7d7c788482798c8878938e789b9476a39a74aba072b4a76fbcae6cc4b468cdbb63d5c25edec958e7d150f0d846f9e03a"
        "fee838"
    ),
    dtype=np.uint8,
).reshape(33, 3)


def cividis(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colours (RGB, ``[..., 3]``) of values in 0..1."""
    places = np.linspace(0, 1, len(_CIVIDIS))
    clipped = np.clip(values, 0, 1)
    return np.stack([np.interp(clipped, places, _CIVIDIS[:, k]) for k in range(3)], axis=-1).round().astype(np.uint8)


def bands(rows: int, sample_rate: int) -> NDArray[np.float64]:
    """Edges of the bands in hertz, ``[rows + 1]``, from the top (highest) down, equal steps in octaves."""
    top = min(HIGHEST, sample_rate / 2)
    return np.geomspace(top, LOWEST, rows + 1)


def row_of(hertz: float, rows: int, sample_rate: int) -> int:
    """The row in which a frequency is drawn."""
    edges = bands(rows, sample_rate)
    return int(np.clip(np.searchsorted(-edges, -hertz, side="left") - 1, 0, rows - 1))


def levels(path: Path, start: float, end: float, columns: int, rows: int) -> Floats:
    """Level in dBFS of each band in each column of a stretch of a sound file, ``[rows, columns]``, highest band first.

    Each column is the loudest of up to eight windows (Hann) spread over it; where it is far longer than these, some of
    it is not looked at. Windows are longer, and frequencies finer, the wider the zoom.

    Parameters
    ----------
    path : Path
    start, end : float
        Seconds.
    columns, rows : int

    Raises
    ------
    DescantError
        If the file cannot be read.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            wide = (end - start) * rate / columns
            size = int(np.clip(2 ** math.ceil(math.log2(max(4 * wide, 1))), _SHORTEST, _LONGEST))
            each = int(np.clip(math.ceil(2 * wide / size), 1, _WINDOWS))
            middles = start * rate + (np.arange(columns * each) + 0.5) * (wide / each)
            starts = np.round(middles - size / 2).astype(int).reshape(columns, each).tolist()
            loudest = np.stack([np.max([_spectrum(file, s, size) for s in of_column], axis=0) for of_column in starts])
    except (soundfile.LibsndfileError, OSError) as error:
        raise DescantError(f"{path}: the sound cannot be read: {error}") from error
    power = _banded(loudest, bands(rows, rate), rate / size)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-12)), dtype=np.float32).T


@cache
def _hann(size: int) -> Floats:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def _spectrum(file: Any, first: int, size: int) -> Floats:
    """Power of each bin of one window, the mean of the channels; a full-scale sine has 1."""
    sound: Floats = np.zeros((size, file.channels), dtype=np.float32)
    begin, stop = max(first, 0), min(first + size, file.frames)
    if stop > begin:
        file.seek(begin)
        sound[begin - first : stop - first] = file.read(stop - begin, dtype="float32", always_2d=True)
    found = np.fft.rfft(sound * _hann(size)[:, None], axis=0)
    return np.asarray((np.square(np.abs(found)) * (4 / size) ** 2).mean(axis=1), dtype=np.float32)


def _banded(power: Floats, edges: NDArray[np.float64], hertz: float) -> Floats:
    """The strongest bin of each band, ``[columns, rows]``; between two bins where a band is narrower than they are."""
    at = edges / hertz
    middle = np.sqrt(at[:-1] * at[1:])
    below = np.clip(np.floor(middle).astype(int), 0, power.shape[1] - 2)
    part = (middle - below).astype(np.float32)
    narrow = power[:, below] * (1 - part) + power[:, below + 1] * part
    found = np.asarray(narrow, dtype=np.float32)
    for row, (high, low) in enumerate(pairwise(at)):
        first, last = math.ceil(low), math.floor(high)
        if last >= first:
            found[:, row] = np.maximum(found[:, row], power[:, first : last + 1].max(axis=1, initial=0))
    return found
