"""Where pictures are drawn: one palette, and a supersampled canvas with a soft glow.

Everything is painted opaque onto near-black, dim things first. Colours keep apart for colour-blind eyes: what belongs
to the goal is blue, what is learned is amber, what breaks is vermilion (after Okabe & Ito, "Color Universal Design",
2008), and the ramp for many things at once rises in lightness, so that it also reads in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour: TypeAlias = tuple[int, int, int]
Pixels: TypeAlias = NDArray[np.uint8]
Points: TypeAlias = NDArray[np.float64]

GROUND: Colour = (7, 8, 13)
FAINT: Colour = (30, 34, 46)
INK: Colour = (236, 239, 246)
GOAL: Colour = (58, 134, 214)
LEARNED: Colour = (255, 179, 64)
BREAK: Colour = (240, 78, 40)
#: Anchors of `ramp`, from dark to light.
DUSK: tuple[Colour, ...] = (
    (72, 92, 205),
    (140, 92, 232),
    (222, 84, 160),
    (255, 128, 84),
    (255, 190, 84),
    (250, 240, 178),
)


def mix(a: Colour, b: Colour, amount: float) -> Colour:
    """`a` at 0, `b` at 1, linear between."""
    u = min(max(amount, 0.0), 1.0)
    return (round(a[0] + u * (b[0] - a[0])), round(a[1] + u * (b[1] - a[1])), round(a[2] + u * (b[2] - a[2])))


def dim(colour: Colour, amount: float) -> Colour:
    """`colour` at 1, the ground at 0."""
    return mix(GROUND, colour, amount)


def ramp(u: float) -> Colour:
    """A colour of the dusk ramp at `u` in 0..1, rising in lightness."""
    place = min(max(u, 0.0), 1.0) * (len(DUSK) - 1)
    low = min(int(place), len(DUSK) - 2)
    return mix(DUSK[low], DUSK[low + 1], place - low)


def series_colours(n: int) -> list[Colour]:
    """`n` colours for things of equal standing, spread over the ramp."""
    return [ramp(i / (n - 1)) if n > 1 else LEARNED for i in range(n)]


class Canvas:
    """A picture in the making, in units of the finished picture's pixels (x to the right, y down).

    Shapes are drawn 2 to 4 times larger and averaged down, which is the antialiasing.

    Parameters
    ----------
    width, height : int
        Size of the finished picture in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.scale = 4 if width * height <= 100_000 else 3 if width * height <= 600_000 else 2
        self._image = Image.new("RGB", (width * self.scale, height * self.scale), GROUND)
        self._draw = ImageDraw.Draw(self._image)
        #: Line width that looks the same at every size: 1 at 640 x 360.
        self.unit = max(min(width / 640, height / 360), 0.12)

    def line(self, points: Points | Sequence[Sequence[float]], colour: Colour, width: float = 1.0) -> None:
        """A stroke through ``[n, 2]`` points, `width` in `unit`, never thinner than a sub-pixel."""
        path = np.asarray(points, dtype=np.float64) * self.scale
        if len(path) > 1:
            self._draw.line(path.ravel().tolist(), colour, self._stroke(width))

    def lines(self, starts: Points, ends: Points, colours: Points, widths: Points | float = 1.0) -> None:
        """Straight strokes between ``[n, 2]`` points, in order, with a colour ``[n, 3]`` and a width each."""
        segments = (np.hstack([starts, ends]) * self.scale).tolist()
        strokes = np.broadcast_to(widths, len(segments)).tolist()
        for segment, colour, width in zip(segments, np.round(colours).astype(int).tolist(), strokes, strict=True):
            self._draw.line(segment, tuple(colour), self._stroke(width))

    def polygon(self, points: Points, colour: Colour) -> None:
        """A filled outline of ``[n, 2]`` points."""
        self._draw.polygon((np.asarray(points, dtype=np.float64) * self.scale).ravel().tolist(), colour)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle; one without area is left out."""
        x0, y0, x1, y1 = (round(v * self.scale) for v in (left, top, right, bottom))
        if x1 > x0 and y1 > y0:
            self._draw.rectangle((x0, y0, x1 - 1, y1 - 1), colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled disc, `radius` in `unit`."""
        s, r = self.scale, radius * self.unit * self.scale
        self._draw.ellipse((x * s - r, y * s - r, x * s + r, y * s + r), colour)

    def pixels(self, image: Pixels, left: float, top: float, right: float, bottom: float) -> None:
        """An RGB array ``[rows, columns, 3]`` as sharp squares filling a rectangle."""
        s = self.scale
        size = (max(round((right - left) * s), 1), max(round((bottom - top) * s), 1))
        enlarged = Image.fromarray(image).resize(size, Image.Resampling.NEAREST)
        self._image.paste(enlarged, (round(left * s), round(top * s)))

    def picture(
        self,
        image: Pixels,
        left: float,
        top: float,
        right: float,
        bottom: float,
        rim: float = 0.0,
        colour: Colour = GROUND,
    ) -> None:
        """A picture ``[rows, columns, 3]`` as large as a box allows, in its middle, with a rim around it."""
        rows, columns = image.shape[:2]
        scale = min((right - left) / columns, (bottom - top) / rows)
        x, y = (left + right - scale * columns) / 2, (top + bottom - scale * rows) / 2
        end = (x + scale * columns, y + scale * rows)
        self.rectangle(x - rim, y - rim, end[0] + rim, end[1] + rim, colour)
        self.pixels(image, x, y, *end)

    def finish(self, glow: float = 0.5) -> Pixels:
        """The finished picture, uint8 ``[height, width, 3]``, with a halo of strength `glow` (0..1) around light."""
        image = self._image.reduce(self.scale)
        if glow > 0:
            small = image.reduce(4).filter(ImageFilter.GaussianBlur(max(self.unit * 2.2, 0.3)))
            gain = 1.6 * min(glow, 1.0)
            halo = small.point(
                [min(round(max(v - GROUND[i // 256], 0) * gain), 255) for i, v in enumerate([*range(256)] * 3)]
            )
            image = ImageChops.screen(image, halo.resize(image.size, Image.Resampling.BILINEAR))
        return np.array(image)

    def _stroke(self, width: float) -> int:
        return max(round(width * self.unit * self.scale), 1)


def pixel_signed(values: NDArray[Any]) -> Pixels:
    """Numbers in -1..1, ``[rows, columns]``, as colours: blue below zero, amber above, the ground at zero."""
    amount = np.clip(np.abs(values), 0, 1)[..., None]
    ends = np.where(values[..., None] < 0, np.array(GOAL), np.array(LEARNED))
    found: Pixels = np.round(np.array(GROUND) + amount * (ends - np.array(GROUND))).astype(np.uint8)
    return found
