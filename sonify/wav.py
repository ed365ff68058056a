"""Float32 WAV files written in pieces, byte for byte the same every time, with markers where they are wanted.

libsndfile stamps float files with the time (its PEAK chunk), and scipy writes whole arrays only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Largest file that RIFF's 32-bit sizes allow.
LARGEST = (1 << 32) - 1
_IEEE_FLOAT = 3


class StereoWav:
    """A stereo file of a known length, open for writing; samples are ``[n, 2]`` little-endian float32.

    Parameters
    ----------
    path : Path
    sample_rate : int
        Hertz.
    samples : int
        Per channel, exactly as many as will be written.
    markers : sequence of (float, str)
        Seconds and label. They stand behind the samples as cue points, each at the nearest sample from the first to
        the end, with their labels as UTF-8; a file without any has no such chunk.

    References
    ----------
    IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0, 1991, chapter 3: cue points and
    the associated data list.
    """

    def __init__(self, path: Path, sample_rate: int, samples: int, markers: Sequence[tuple[float, str]] = ()) -> None:
        size = samples * 8
        form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, _IEEE_FLOAT, 2, sample_rate, sample_rate * 8, 8, 32, 0)
        fact = struct.pack("<4sII", b"fact", 4, samples)
        head = form + fact + struct.pack("<4sI", b"data", size)
        self._tail = _cues(markers, sample_rate, samples)
        self.path = path
        self._file = path.open("w+b")
        self._file.write(struct.pack("<4sI4s", b"RIFF", 4 + len(head) + size + len(self._tail), b"WAVE") + head)
        self._start = self._file.tell()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples."""
        self._file.write(np.ascontiguousarray(samples, dtype="<f4").data)

    def scale(
        self, gain: float | Callable[[int, int], NDArray[np.float32]], chunk: int
    ) -> Iterator[NDArray[np.float32]]:
        """Multiply the whole file, yielding every `chunk` samples as they now are.

        `gain` is linear: a number, or the gains [n, 1] of the samples from one number to another.
        """
        position = self._start
        while True:
            self._file.seek(position)
            samples = np.frombuffer(self._file.read(8 * chunk), dtype="<f4").reshape(-1, 2)
            if not len(samples):
                return
            first = (position - self._start) // 8
            samples = samples * (gain(first, first + len(samples)) if callable(gain) else np.float32(gain))
            self._file.seek(position)
            self.write(samples)
            yield samples
            position += 8 * len(samples)

    def __enter__(self) -> StereoWav:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        """Write the markers and close the file; half a file is no file, so it is removed where an exception passes."""
        if kind is None:
            self._file.seek(0, 2)
            self._file.write(self._tail)
        self._file.close()
        if kind is not None:
            self.path.unlink(missing_ok=True)


def printable(text: str) -> str:
    """`text` on one line, with a space for each control, bidirectional override and lone surrogate."""
    return "".join(c if c.isprintable() else " " for c in text)


def _cues(markers: Sequence[tuple[float, str]], sample_rate: int, samples: int) -> bytes:
    """The chunks ``cue`` and ``LIST`` of type ``adtl``, with a ``labl`` for each marker; nothing without markers."""
    if not markers:
        return b""
    points, labels = b"", b"adtl"
    for i, (seconds, label) in enumerate(sorted(markers), 1):
        at = round(min(max(seconds, 0.0), samples / sample_rate) * sample_rate)
        text = printable(label).encode() + b"\0"
        points += struct.pack("<II4sIII", i, at, b"data", 0, 0, at)
        labels += struct.pack("<4sII", b"labl", 4 + len(text), i) + text + b"\0" * (len(text) % 2)
    cue = struct.pack("<4sII", b"cue ", 4 + len(points), len(markers)) + points
    return cue + struct.pack("<4sI", b"LIST", len(labels)) + labels
