"""What a waveform is drawn from: lowest, highest and mean power of a sound file's samples, at every zoom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError

Floats = NDArray[np.float32]
#: Samples of the finest bucket that is kept, and how many buckets make one of the next level.
BUCKET, FOLD = 256, 4
#: Samples read at once: 2 MB of stereo.
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Columns:
    """What is drawn of a stretch: lowest and highest sample and root mean square, each ``[channels, columns]``."""

    low: Floats
    high: Floats
    rms: Floats


@dataclass(frozen=True)
class _Level:
    """Buckets of `size` samples: lowest, highest, sum of squares, each ``[channels, buckets]``."""

    size: int
    low: Floats
    high: Floats
    power: Floats

    def folded(self) -> _Level:
        """The next coarser level."""
        at = np.arange(0, self.low.shape[1], FOLD)
        low, high = np.minimum.reduceat(self.low, at, axis=1), np.maximum.reduceat(self.high, at, axis=1)
        return _Level(self.size * FOLD, low, high, np.add.reduceat(self.power, at, axis=1))


class Peaks:
    """A pyramid of a sound file's peaks: 3 MB for 8 minutes of stereo.

    Attributes
    ----------
    path : Path
    sample_rate : int
        Hertz.
    samples : int
        Per channel.
    channels : int
    duration : float
        Seconds.
    """

    def __init__(self, path: Path, sample_rate: int, samples: int, base: _Level) -> None:
        self.path, self.sample_rate, self.samples = path, sample_rate, samples
        self.channels = base.low.shape[0]
        self.duration = samples / sample_rate
        self._levels = [base]
        while self._levels[-1].low.shape[1] > FOLD:
            self._levels.append(self._levels[-1].folded())

    @property
    def highest(self) -> float:
        """The largest sample, without its sign."""
        top = self._levels[-1]
        return float(max(top.high.max(), -top.low.min(), 0.0))

    @property
    def bytes(self) -> int:
        """Memory that the pyramid takes."""
        return sum(a.nbytes for level in self._levels for a in (level.low, level.high, level.power))

    @classmethod
    def read(cls, path: Path, stop: Callable[[], bool] = lambda: False) -> Peaks | None:
        """Read a file in chunks; None where `stop` said so meanwhile.

        Raises
        ------
        DescantError
            If it cannot be read, or is empty.
        """
        import soundfile

        try:
            with soundfile.SoundFile(path) as file:
                parts = []
                while len(chunk := file.read(_CHUNK, dtype="float32", always_2d=True)):
                    if stop():
                        return None
                    parts.append(_bucketed(np.ascontiguousarray(np.nan_to_num(chunk).T)))
                rate, samples = file.samplerate, file.frames
        except (soundfile.LibsndfileError, OSError) as error:
            raise DescantError(f"{path}: the sound cannot be read: {error}") from error
        if not parts:
            raise DescantError(f"{path}: the sound is empty")
        low, high, power = (np.concatenate(rows, axis=1) for rows in zip(*parts, strict=True))
        return cls(path, rate, samples, _Level(BUCKET, low, high, power))

    def columns(self, start: float, end: float, count: int) -> Columns:
        """What lies from `start` to `end` (seconds), in `count` equal columns.

        A stretch of few samples a column is read from the file itself.
        """
        first, last = start * self.sample_rate, end * self.sample_rate
        per_column = (last - first) / count
        if per_column < 2 * BUCKET:
            return self._from_file(first, last, count)
        level = next(found for found in reversed(self._levels) if found.size <= max(per_column / 16, BUCKET))
        edges = np.round(np.linspace(first, last, count + 1) / level.size).astype(np.int64)
        return _reduced(level, np.clip(edges, 0, level.low.shape[1]))

    def _from_file(self, first: float, last: float, count: int) -> Columns:
        import soundfile

        begin, stop = max(int(first) - 1, 0), min(int(last) + 2, self.samples)
        with soundfile.SoundFile(self.path) as file:
            file.seek(min(begin, self.samples))
            sound = file.read(max(stop - begin, 0), dtype="float32", always_2d=True).T
        edges = np.linspace(first, last, count + 1) - begin
        if last - first < 4 * count:  # a curve through the samples
            fine = edges[0] + (np.arange(8 * count) + 0.5) / (8 * count) * (edges[-1] - edges[0])
            line = np.stack([np.interp(fine, np.arange(len(row)), row) for row in sound]).reshape(len(sound), count, 8)
            low, high = line.min(axis=2).astype(np.float32), line.max(axis=2).astype(np.float32)
            return Columns(low, high, np.zeros_like(low))
        level = _Level(1, sound, sound, np.square(sound))
        return _reduced(level, np.clip(np.round(edges).astype(np.int64), 0, sound.shape[1]))


def _bucketed(sound: Floats) -> tuple[Floats, Floats, Floats]:
    at = np.arange(0, sound.shape[1], BUCKET)
    low, high = np.minimum.reduceat(sound, at, axis=1), np.maximum.reduceat(sound, at, axis=1)
    return low, high, np.add.reduceat(np.square(sound), at, axis=1)


def _reduced(level: _Level, edges: NDArray[np.int64]) -> Columns:
    """One column for the buckets from each edge to the next; nothing where there are none."""
    size = level.low.shape[1]
    found = np.zeros((3, level.low.shape[0], len(edges) - 1), dtype=np.float32)
    filled = edges[:-1] < np.minimum(edges[1:], size)
    if filled.any():
        # Each edge starts a column that lasts to the next edge: those that are empty are left out of both.
        at, last = edges[:-1][filled], int(edges[1:][filled][-1])
        samples = np.diff(np.append(at, last)) * level.size
        found[0][:, filled] = np.minimum.reduceat(level.low[:, :last], at, axis=1)
        found[1][:, filled] = np.maximum.reduceat(level.high[:, :last], at, axis=1)
        found[2][:, filled] = np.sqrt(np.add.reduceat(level.power[:, :last], at, axis=1) / samples)
    return Columns(found[0], found[1], found[2])
