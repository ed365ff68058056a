"""Float32 WAV files written in pieces, byte for byte the same every time.

libsndfile stamps float files with the time (its PEAK chunk), and scipy writes whole arrays only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Largest file that RIFF's 32-bit sizes allow.
LARGEST = (1 << 32) - 1
_IEEE_FLOAT = 3


class StereoWav:
    """A stereo file of a known length, open for writing; samples are ``[n, 2]`` little-endian float32."""

    def __init__(self, path: Path, sample_rate: int, samples: int) -> None:
        size = samples * 8
        form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, _IEEE_FLOAT, 2, sample_rate, sample_rate * 8, 8, 32, 0)
        fact = struct.pack("<4sII", b"fact", 4, samples)
        head = form + fact + struct.pack("<4sI", b"data", size)
        self.path = path
        self._file = path.open("w+b")
        self._file.write(struct.pack("<4sI4s", b"RIFF", 4 + len(head) + size, b"WAVE") + head)
        self._start = self._file.tell()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples."""
        self._file.write(np.ascontiguousarray(samples, dtype="<f4").data)

    def scale(self, gain: float, chunk: int) -> Iterator[NDArray[np.float32]]:
        """Multiply the whole file by a linear `gain`, yielding every `chunk` samples as they now are."""
        position = self._start
        while True:
            self._file.seek(position)
            samples = np.frombuffer(self._file.read(8 * chunk), dtype="<f4").reshape(-1, 2) * np.float32(gain)
            if not len(samples):
                return
            self._file.seek(position)
            self.write(samples)
            yield samples
            position += 8 * len(samples)

    def __enter__(self) -> StereoWav:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        """Close the file; half a file is no file, so it is removed where an exception passes."""
        self._file.close()
        if kind is not None:
            self.path.unlink(missing_ok=True)
