"""The picture of a piece: one view, or several side by side, each of a part in the time of the piece.

Which of them are seen may change with the section; each may be drawn on black or on a video.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pieces.arrange import Layout, Sounding
from pieces.piece import Picture
from pieces.signals import Frames
from studio.pictures.canvas import GROUND, Pixels
from studio.pictures.draw import Prepared, check_size, prepare
from studio.pictures.grounds import Backdrop, over
from studio.pictures.video import Moving
from studio.pictures.view import PictureError


@dataclass(frozen=True)
class _Tile:
    """A picture of a part; nothing of one that made no tick. `sections` are those in which it is seen, none: all."""

    prepared: Prepared | None
    layout: Layout
    sections: tuple[str, ...]
    backdrop: Backdrop | None

    def draw(self, seconds: float, width: int, height: int) -> Pixels | None:
        ground = self.backdrop.draw(seconds, width, height) if self.backdrop else None
        if self.prepared is None:
            return ground
        drawn = self.prepared.draw(self.layout.tick(seconds), width, height)
        return drawn if ground is None else over(ground, drawn)


class Scene:
    """All pictures of a piece, in a grid; where a part has not begun yet its tile is dark.

    Parameters
    ----------
    picture : Picture
    recorded : mapping of str to Frames
        Every part as it was recorded, with the channels that its views need.
    layouts : mapping of str to Layout
        Every part in the time of the piece.
    duration : float
        Of the piece, in seconds.
    sections : sequence of Sounding
        For pictures that are seen in some sections only.
    videos : mapping of str to Moving
        The moving pictures of parts that pictures are drawn on.

    Raises
    ------
    PictureError
        If a view cannot be drawn.
    """

    def __init__(
        self,
        picture: Picture,
        recorded: Mapping[str, Frames],
        layouts: Mapping[str, Layout],
        duration: float,
        sections: Sequence[Sounding] = (),
        videos: Mapping[str, Moving] | None = None,
    ) -> None:
        first = next(iter(recorded))
        self.duration = duration
        self._sections = [(s.seconds[0], s.section.name) for s in sections]
        self._tiles: list[_Tile] = []
        for tile in picture.tiles:
            part = tile.part or first
            empty = len(picture.tiles) > 1 and not recorded[part].ticks
            drawn = None if empty else prepare(tile.view, recorded[part], tile.options)
            seen = [s.seconds for s in sections if s.section.name in tile.sections]
            seen = seen if tile.sections else [(-math.inf, math.inf)]
            ground = Backdrop.of(tile.ground, part, recorded, layouts, videos or {}, seen) if tile.ground else None
            self._tiles.append(_Tile(drawn, layouts[part], tile.sections, ground))

    def draw(self, seconds: float, width: int, height: int) -> Pixels:
        """The picture at a time: RGB, uint8 ``[height, width, 3]``."""
        check_size(width, height)
        tiles = self._seen(seconds)
        columns = math.ceil(math.sqrt(len(tiles)))
        rows = math.ceil(len(tiles) / columns) if columns else 0
        canvas = np.empty((height, width, 3), dtype=np.uint8)
        canvas[:] = GROUND
        for k, tile in enumerate(tiles):
            row, column = divmod(k, columns)
            across = len(tiles) - row * columns if row == rows - 1 else columns
            top, bottom = row * height // rows, (row + 1) * height // rows
            left, right = column * width // across, (column + 1) * width // across
            if len(tiles) == 1 or seconds >= tile.layout.begins:
                drawn = tile.draw(seconds, right - left, bottom - top)
                if drawn is not None:
                    canvas[top:bottom, left:right] = drawn
        return canvas

    def _seen(self, seconds: float) -> list[_Tile]:
        """The pictures of the section that is heard at a time."""
        at = bisect_right([begins for begins, _ in self._sections], seconds + 1e-9)
        name = self._sections[max(at - 1, 0)][1] if self._sections else None
        return [tile for tile in self._tiles if not tile.sections or name is None or name in tile.sections]

    def film(self, fps: float, width: int, height: int) -> Iterator[Pixels]:
        """The pictures of a film: picture k shows the time ``k / fps``; there are ``ceil(duration * fps)`` of them."""
        if not 0 < fps <= 240:
            raise PictureError(f"fps = {fps:g}: allowed are numbers above 0, up to 240")
        check_size(width, height)
        return (self.draw(k / fps, width, height) for k in range(math.ceil(round(self.duration * fps, 6))))
