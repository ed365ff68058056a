"""Sound files for decks: mapped where they are as we write them, else read and resampled."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError

_FLOAT = 3


class TapeError(DescantError):
    """A sound file that no deck can play."""


def read(path: Path, sample_rate: int) -> NDArray[np.float32]:
    """The samples of a sound file, [n, 2], at a rate.

    A stereo float32 WAV of that rate is mapped into memory, and the system told to read it ahead; anything else that
    libsndfile knows is read whole.

    Raises
    ------
    TapeError
        If it is not there or no sound, has more than two channels, or holds no sample.
    """
    try:
        found = _mapped(path, sample_rate)
    except OSError as error:
        raise TapeError(f"{path}: cannot be read: {error.strerror}: choose another file") from None
    if found is None:
        found = _whole(path, sample_rate)
    if not len(found):
        raise TapeError(f"{path}: 0 samples: choose another file")
    return found


def _mapped(path: Path, sample_rate: int) -> NDArray[np.float32] | None:
    with path.open("rb") as file:
        place = _samples(file.read(1 << 12), sample_rate)
        if place is None:
            return None
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start, size = place
    memory.madvise(mmap.MADV_WILLNEED)
    count = min(size, len(memory) - start) // 8
    return np.frombuffer(memory, "<f4", 2 * count, start).reshape(count, 2)


def _samples(head: bytes, sample_rate: int) -> tuple[int, int] | None:
    """Where the samples are and how many bytes, of a stereo float32 WAV of the rate; None of anything else."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at, fits = 12, False
    while at + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, at)
        if name == b"fmt " and at + 24 <= len(head):
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at + 8)
            fits = (kind, channels, rate, bits) == (_FLOAT, 2, sample_rate, 32)
        if name == b"data":
            return (at + 8, size) if fits else None
        at += 8 + size + size % 2
    return None


def _whole(path: Path, sample_rate: int) -> NDArray[np.float32]:
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise TapeError(f"{path}: cannot be read as sound: {reason}: give a WAV, FLAC, AIFF, OGG or MP3") from None
    if samples.shape[1] > 2:
        raise TapeError(f"{path}: {samples.shape[1]} channels: a deck plays 1 or 2: mix it down first")
    if rate != sample_rate:
        from math import gcd

        from scipy.signal import resample_poly

        common = gcd(rate, sample_rate)
        samples = resample_poly(samples, sample_rate // common, rate // common).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(samples, (len(samples), 2)))
