"""What a picture is drawn on: a video that its part's gradients bend, and the picture laid over it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import Layout
from pieces.piece import Ground
from pieces.signals import Event, Frames
from studio.pictures.bubbles import blown, bubbled
from studio.pictures.canvas import GROUND, Pixels
from studio.pictures.shift import REACH, shifted
from studio.pictures.video import Moving
from studio.pictures.view import PictureError

#: Width of a picture in which a pixel is one of those that the effects count in.
_WIDTH = 640
#: Seconds that are none: a note and its section may begin at once.
_NEAR = 1e-6


@dataclass(frozen=True)
class Backdrop:
    """A video in the time of a piece, as a performance bends it.

    Attributes
    ----------
    ground : Ground
    video : Moving
    times : ndarray
        Media time (s) of every recorded tick of the video's part.
    clock, fitted : Layout
        The video's part, and the part whose gradients bend it, in the time of the piece.
    gradients : tuple of ndarray
        ``[ticks]`` of each parameter.
    blowing : tuple of (float, notes)
        For each stretch in which the picture is seen, when it begins, and the notes struck in it, each with its time:
        a bubble stays in the section in which it was blown.
    """

    ground: Ground
    video: Moving
    times: NDArray[np.float64]
    clock: Layout
    fitted: Layout
    gradients: tuple[NDArray[Any], ...]
    blowing: tuple[tuple[float, tuple[tuple[float, Event], ...]], ...]

    @classmethod
    def of(
        cls,
        ground: Ground,
        part: str,
        recorded: Mapping[str, Frames],
        layouts: Mapping[str, Layout],
        videos: Mapping[str, Moving],
        seen: Sequence[tuple[float, float]] = ((-math.inf, math.inf),),
    ) -> Backdrop:
        """The ground of a picture of `part`; notes make bubbles in the stretch of seconds, of those in which it is
        `seen`, in which they were struck.

        Raises
        ------
        PictureError
            If the ground's part is no video.
        """
        if ground.video not in videos or "media_time" not in recorded[ground.video].arrays:
            raise PictureError(f"picture ground: part {ground.video!r} is no video: its source must be 'video'")
        partial = [n for n in recorded[part].arrays if n.startswith("gradient_") and n != "gradient_norm"]
        columns = tuple(np.asarray(recorded[part].arrays[n]) for n in partial)
        notes = struck(recorded[ground.notes or part], layouts[ground.notes or part])
        return cls(
            ground,
            videos[ground.video],
            recorded[ground.video].arrays["media_time"],
            layouts[ground.video],
            layouts[part],
            columns or (np.zeros(recorded[part].ticks),),
            tuple((start, tuple(n for n in notes if start <= n[0] + _NEAR < end)) for start, end in sorted(seen)),
        )

    def draw(self, seconds: float, width: int, height: int) -> Pixels:
        """The bent video at a time, RGB uint8 ``[height, width, 3]``."""
        media = float(self.times[int(self.clock.tick(seconds))]) if len(self.times) else 0.0
        image = self.video.picture(media, width, height)
        tick = int(self.fitted.tick(seconds))
        gradients = [float(column[tick]) if len(column) else 0.0 for column in self.gradients]
        unit = width / _WIDTH
        if self.ground.effect == "shift":
            return shifted(image, gradients, REACH * unit)
        if self.ground.effect == "bubbles":
            notes = [notes for start, notes in self.blowing if start <= seconds + _NEAR][-1:]
            bubbles = blown(notes[0] if notes else (), seconds, width, height)
            return bubbled(image, bubbles, gradients, self.ground.preset, unit)
        return image


def struck(recorded: Frames, layout: Layout) -> list[tuple[float, Event]]:
    """Every note that was struck, with its time in the piece."""
    notes = tuple(e for e in recorded.of_kind("note") if float(e.data.get("velocity", 1.0)) > 0)
    laid = layout.lay(Frames({}, notes, recorded.rate, recorded.ticks))
    times = np.append(laid.starts, laid.duration)
    return [(float(times[e.tick]), e) for e in laid.events]


def over(image: Pixels, drawn: Pixels) -> Pixels:
    """A picture that was drawn on near-black laid over another one, which is left as it is where nothing was drawn.

    What was drawn is light: strokes cover what is below them, their glow brightens it.
    """
    light = drawn - np.minimum(drawn, np.array(GROUND, dtype=np.uint8))
    strength = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
    rows, columns = np.flatnonzero(strength.any(axis=1)), np.flatnonzero(strength.any(axis=0))
    found = image.copy()
    if rows.size:
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        mixed = found[box] * _THROUGH[strength[box]][..., None]
        mixed >>= 8
        mixed += light[box]
        np.minimum(mixed, 255, out=mixed)
        found[box] = mixed
    return found


#: How much of what is below comes through, of 256, by how bright a stroke is.
_THROUGH = np.round(256 - np.arange(256) * 256 / 255).astype(np.uint16)
