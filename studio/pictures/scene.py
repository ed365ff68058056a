"""The picture of a piece: one view, or several side by side, each of a part in the time of the piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pieces.arrange import Layout
from pieces.piece import Picture
from pieces.signals import Frames
from studio.pictures.canvas import GROUND, Pixels
from studio.pictures.draw import Prepared, check_size, prepare
from studio.pictures.view import PictureError


@dataclass(frozen=True)
class _Tile:
    prepared: Prepared
    layout: Layout


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

    Raises
    ------
    PictureError
        If a view cannot be drawn.
    """

    def __init__(
        self, picture: Picture, recorded: Mapping[str, Frames], layouts: Mapping[str, Layout], duration: float
    ) -> None:
        first = next(iter(recorded))
        self.duration = duration
        self._tiles: list[_Tile | None] = []
        for tile in picture.tiles:
            part = tile.part or first
            empty = len(picture.tiles) > 1 and not recorded[part].ticks
            drawn = None if empty else _Tile(prepare(tile.view, recorded[part], tile.options), layouts[part])
            self._tiles.append(drawn)
        self._columns = math.ceil(math.sqrt(len(self._tiles)))

    def draw(self, seconds: float, width: int, height: int) -> Pixels:
        """The picture at a time: RGB, uint8 ``[height, width, 3]``."""
        check_size(width, height)
        rows = math.ceil(len(self._tiles) / self._columns)
        canvas = np.empty((height, width, 3), dtype=np.uint8)
        canvas[:] = GROUND
        for k, tile in enumerate(self._tiles):
            row, column = divmod(k, self._columns)
            last = row == rows - 1
            across = len(self._tiles) - row * self._columns if last else self._columns
            top, bottom = row * height // rows, (row + 1) * height // rows
            left, right = column * width // across, (column + 1) * width // across
            if tile is not None and (len(self._tiles) == 1 or seconds >= tile.layout.begins):
                drawn = tile.prepared.draw(tile.layout.tick(seconds), right - left, bottom - top)
                canvas[top:bottom, left:right] = drawn
        return canvas

    def film(self, fps: float, width: int, height: int) -> Iterator[Pixels]:
        """The pictures of a film: picture k shows the time ``k / fps``; there are ``ceil(duration * fps)`` of them."""
        if not 0 < fps <= 240:
            raise PictureError(f"fps = {fps:g}: allowed are numbers above 0, up to 240")
        check_size(width, height)
        return (self.draw(k / fps, width, height) for k in range(math.ceil(round(self.duration * fps, 6))))
