"""The artefact: what an audience can perceive of a take, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonify.ears import Ears, hear
from studio.pictures.eyes import Eyes, see

#: Length of a moment in seconds: what a visitor perceives at once.
MOMENT_S = 0.5
#: Ears and eyes measure so many times in a moment.
STEPS = 8
_GLANCE = 64


@dataclass(frozen=True, eq=False)
class Artefact:
    """Rendered sound and pictures. There is no place in it for a name, a title or a number of the take.

    Attributes
    ----------
    audio : ndarray [n, 2] of float32
        Samples of the mix, full scale 1.
    sample_rate : int
        In Hz, 8000 to 192000.
    pictures : ndarray [t, h, w, 3] of uint8
        RGB without text; picture i is shown from ``i / fps`` to ``(i + 1) / fps`` seconds.
    fps : float
        Pictures per second.

    Raises
    ------
    ValueError
        If a shape, a dtype or a value is none of these.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    pictures: NDArray[np.uint8]
    fps: float

    def __post_init__(self) -> None:
        _require(self.audio, "audio", np.float32, (None, 2))
        _require(self.pictures, "pictures", np.uint8, (None, None, None, 3))
        if not np.isfinite(self.audio).all():
            raise ValueError("audio holds NaN or Inf: an artefact is what is heard")
        if not 8000 <= self.sample_rate <= 192_000:
            raise ValueError(f"sample rate {self.sample_rate} Hz: allowed are 8000 to 192000")
        if not 0 < self.fps <= 240:
            raise ValueError(f"{self.fps} pictures per second: allowed are more than 0, up to 240")

    @classmethod
    def silent(
        cls, duration: float, sample_rate: int = 48_000, size: tuple[int, int] = (64, 64), fps: float = 20.0
    ) -> Artefact:
        """Silence and black pictures of `duration` seconds and `size` (height, width): what a blind control gets."""
        samples, count = max(1, round(duration * sample_rate)), max(1, round(duration * fps))
        return cls(np.zeros((samples, 2), np.float32), sample_rate, np.zeros((count, *size, 3), np.uint8), fps)

    def part(self, first: int, count: int) -> Artefact:
        """Some moments of it, from the `first` on. Where the sound outlasts the pictures, the last one stays."""
        start, end = (round(moment * MOMENT_S * self.sample_rate) for moment in (first, first + count))
        shown = np.arange(*(round(moment * MOMENT_S * self.fps) for moment in (first, first + count)))
        pictures = self.pictures[np.minimum(shown, len(self.pictures) - 1)]
        return Artefact(self.audio[start:end], self.sample_rate, pictures, self.fps)

    @property
    def duration(self) -> float:
        """Length of the sound in seconds."""
        return len(self.audio) / self.sample_rate

    @cached_property
    def ears(self) -> Ears:
        """What is heard, one row for each step of 62.5 ms."""
        return hear(self.audio, self.sample_rate, MOMENT_S / STEPS)

    @cached_property
    def eyes(self) -> Eyes:
        """What is seen, one row for each step; pictures are looked at with about 64 pixels on the short side."""
        starts = np.arange(len(self.ears)) * MOMENT_S / STEPS
        shown = np.minimum((starts * self.fps + 1e-6).astype(int), len(self.pictures) - 1)
        return see(_glance(self.pictures[shown]), STEPS / MOMENT_S)


def _require(array: Any, name: str, dtype: type, shape: tuple[int | None, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name} of {found}: expected an array of {np.dtype(dtype)}")
    fits = array.ndim == len(shape) and all(s in (None, n) for s, n in zip(shape, array.shape, strict=True))
    if not fits or array.size == 0:
        wanted = ", ".join("n" if s is None else str(s) for s in shape)
        raise ValueError(f"{name} of shape {list(array.shape)}: expected [{wanted}], and not empty")


def _glance(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures shrunk by box averaging, a whole number of times."""
    height, width = pictures.shape[1:3]
    by = min(height, width) // _GLANCE
    if by < 2:
        return pictures
    h, w = height // by, width // by
    small = np.empty((len(pictures), h, w, 3), np.uint8)
    for i, picture in enumerate(pictures):
        small[i] = np.round(picture[: h * by, : w * by].reshape(h, by, w, by, 3).mean(axis=(1, 3)))
    return small
