"""Moving pictures that others are drawn on: a file, or the one that is built in; each a function of media time."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from studio.pictures.canvas import Pixels
from studio.pictures.view import PictureError

Floats = NDArray[np.float32]

#: Seconds that a film may lie ahead and still be decoded up to, where seeking would decode as much.
_NEAR = 3.0
#: Colours of the built-in picture from the top of the sky to the nearest hill.
_SKY = ((20, 24, 62), (70, 44, 112), (190, 84, 104), (244, 168, 96))
_HILLS = ((150, 82, 112), (104, 66, 116), (70, 54, 110), (44, 44, 92), (26, 34, 70), (14, 24, 48))
#: Steps between two hills in the palette, so that their edges are smooth.
_FINE = 16


class Moving(Protocol):
    """A moving picture."""

    def picture(self, seconds: float, width: int, height: int) -> Pixels:
        """RGB, uint8 ``[height, width, 3]``, at a media time (s); before 0 and after the end it goes round."""
        ...


class Landscape:
    """The built-in moving picture: hills at dusk that drift by, a low sun, and lights. A pure function of its time.

    It comes round after `PERIOD` seconds, without a seam.
    """

    PERIOD = 60.0

    def picture(self, seconds: float, width: int, height: int) -> Pixels:
        """See `Moving.picture`."""
        turn = 2 * np.pi * (seconds % self.PERIOD) / self.PERIOD
        found = np.empty((height, width, 3), dtype=np.uint8)
        found[:] = _sky(height)[:, None]
        _glow(found, turn)
        _hills(found, turn)
        _lights(found, turn)
        return found


@lru_cache(maxsize=4)
def _sky(height: int) -> Pixels:
    """Colour of every row, ``[height, 3]``."""
    place = np.linspace(0, 1.35, height) * (len(_SKY) - 1)
    anchors = np.arange(len(_SKY))
    columns = [np.interp(place, anchors, [c[i] for c in _SKY]) for i in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)


def _glow(picture: Pixels, turn: float) -> None:
    """The sun and the light around it, which wanders."""
    height, width = picture.shape[:2]
    x, y = width * (0.5 + 0.33 * np.sin(turn)), height * (0.36 - 0.10 * np.cos(2 * turn))
    radius = 0.085 * height
    left, right = max(int(x - 5 * radius), 0), min(int(x + 5 * radius) + 1, width)
    top, bottom = max(int(y - 5 * radius), 0), min(int(y + 5 * radius) + 1, height)
    across = np.square(np.arange(left, right, dtype=np.float32) - np.float32(x))
    along = np.square(np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None]
    away = np.sqrt(across + along) / np.float32(radius)
    disc = np.clip((1 - away) * np.float32(radius) + np.float32(0.5), 0, 1)
    light = np.maximum(disc, np.float32(0.5) * np.clip(1 - away / 5, 0, 1) ** 2)[..., None]
    box = picture[top:bottom, left:right]
    box[:] = (box + light * (np.array((255, 226, 168), dtype=np.float32) - box)).astype(np.uint8)


def _hills(picture: Pixels, turn: float) -> None:
    """Six rows of hills, the nearer ones lower, darker and faster."""
    height, width = picture.shape[:2]
    x = np.arange(width) / width
    row = np.arange(height, dtype=np.float32)[:, None]
    depth = np.zeros((height, width), dtype=np.float32)
    for k in range(len(_HILLS)):
        drift = (k + 1) * turn
        edge = 0.50 + 0.075 * k
        edge = edge + 0.050 * np.sin(2 * np.pi * (1 + 0.7 * k) * x + drift + 1.7 * k)
        edge = edge + 0.022 * np.sin(2 * np.pi * (2.6 + 1.3 * k) * x + 2 * drift + 0.9 * k * k)
        depth += np.clip(row - (height * edge).astype(np.float32), 0, 1)
    first = int(np.argmax(depth.max(axis=1) > 0))
    index = (depth[first:] * _FINE).astype(np.intp)
    seen = picture[first:]
    skyline = index < _FINE  # where the farthest hill meets the sky, which is no one colour
    np.copyto(seen, _palette()[index], where=~skyline[..., None])
    blend = (depth[first:] * skyline)[..., None]
    rows = np.flatnonzero(blend.any(axis=(1, 2)))
    if rows.size:
        part = slice(rows[0], rows[-1] + 1)
        far = np.array(_HILLS[0], dtype=np.float32)
        seen[part] = (seen[part] + blend[part] * (far - seen[part])).astype(np.uint8)


@lru_cache(maxsize=1)
def _palette() -> Pixels:
    """Colours from the farthest hill (at `_FINE`) to the nearest, by steps of ``1 / _FINE``."""
    place = np.arange(len(_HILLS) * _FINE + 1) / _FINE
    columns = [np.interp(place, np.arange(1, len(_HILLS) + 1), [c[i] for c in _HILLS]) for i in range(3)]
    return np.stack(columns, axis=1).round().astype(np.uint8)


def _lights(picture: Pixels, turn: float) -> None:
    """White points that go to and fro before the hills: where colours part, they show it."""
    height, width = picture.shape[:2]
    radius = max(height / 130, 0.7)
    for k in range(14):
        x = width * (0.5 + 0.47 * np.sin((1 + k % 3) * turn + 2.4 * k))
        y = height * (0.60 + 0.33 * ((k * 0.618) % 1.0) + 0.03 * np.sin(4 * turn + k))
        left, right = max(int(x - radius - 1), 0), min(int(x + radius + 2), width)
        top, bottom = max(int(y - radius - 1), 0), min(int(y + radius + 2), height)
        away = np.hypot(np.arange(left, right) - x, np.arange(top, bottom)[:, None] - y)
        light = np.clip(radius - away + 0.5, 0, 1)[..., None]
        box = picture[top:bottom, left:right]
        box[:] = (box + light * (np.array((255, 250, 236)) - box)).astype(np.uint8)


class Film:
    """A video file, looped. A moment shows the frame that is on screen then, scaled to fill the picture and cut.

    Parameters
    ----------
    path : Path

    Raises
    ------
    PictureError
        If it cannot be read or holds no video.
    """

    def __init__(self, path: Path) -> None:
        import av
        from av.error import FFmpegError

        self._path = path
        try:
            self._container: Any = av.open(str(path))
        except (FFmpegError, OSError) as error:
            raise PictureError(f"{path}: the video cannot be read: {error.strerror or error}") from error
        if not self._container.streams.video:
            raise PictureError(f"{path}: there is no video in it: give a video file, or 'moving' for the built-in one")
        self._stream: Any = self._container.streams.video[0]
        self._stream.thread_type = "NONE"
        self._base = float(self._stream.time_base or 1)
        self._start = (self._stream.start_time or 0) * self._base
        self._frames: Any = iter(())
        #: The frame that is shown, and the one after it; media times in seconds.
        self._now: tuple[float, Any] | None = None
        self._next: tuple[float, Any] | None = None
        self.duration = self._length()

    def picture(self, seconds: float, width: int, height: int) -> Pixels:
        """See `Moving.picture`."""
        self._go_to(seconds % self.duration)
        assert self._now is not None
        return _filling(self._now[1], width, height)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def _length(self) -> float:
        """Seconds, as the file says, or as its frames say where it does not."""
        if self._stream.duration:
            length = float(self._stream.duration * self._base)
        elif self._container.duration:
            length = self._container.duration / 1_000_000
        else:
            self._rewind(0.0)
            times = [t for t, _ in iter(self._read, None)]
            length = times[-1] + (times[-1] - times[0]) / max(len(times) - 1, 1) if times else 0.0
        if length <= 0:
            raise PictureError(f"{self._path}: its video has no length: give one of at least two frames")
        self._rewind(0.0)
        self._advance()
        if self._next is None:
            raise PictureError(f"{self._path}: its video cannot be decoded: convert it to H.264")
        return length

    def _go_to(self, seconds: float) -> None:
        if self._now is None or seconds < self._now[0] or seconds > self._now[0] + _NEAR:
            self._rewind(seconds)
            self._advance()
            if self._next is not None and self._next[0] > seconds > 0:  # a key frame may lie after what was asked for
                self._rewind(0.0)
                self._advance()
            self._now = self._next
            self._advance()
        while self._next is not None and self._next[0] <= seconds + 1e-9:
            self._now = self._next
            self._advance()

    def _rewind(self, seconds: float) -> None:
        """Decode from the last key frame that is not after a time."""
        from av.error import FFmpegError

        with suppress(FFmpegError):
            place = int((seconds + self._start) / self._base)
            self._container.seek(place, stream=self._stream, backward=True)
        self._frames = self._container.decode(self._stream)

    def _advance(self) -> None:
        self._next = self._read()

    def _read(self) -> tuple[float, Any] | None:
        from av.error import FFmpegError

        try:
            frame = next(self._frames, None)
        except FFmpegError:  # a torn end is an end
            frame = None
        return None if frame is None or frame.time is None else (frame.time - self._start, frame)


class Latest:
    """The latest picture of somebody else, such as a camera, whatever the media time: both have a file in memory.

    There are two pictures in it, of which one is written while the other one is read.

    Parameters
    ----------
    path : Path
        Its name ends in `SUFFIX`.
    first : ndarray, optional
        Makes the file, for pictures of this shape.

    Raises
    ------
    PictureError
        If it cannot be read or written.
    """

    SUFFIX = ".latest"

    def __init__(self, path: Path, first: Pixels | None = None) -> None:
        try:
            if first is not None:
                head = np.array([0, *first.shape[:2]], dtype="<i8")
                path.write_bytes(head.tobytes() + 2 * first.tobytes())
            mode: Literal["r", "r+"] = "r" if first is None else "r+"
            self._head = np.memmap(path, "<i8", mode, shape=(3,))
            shape = (2, int(self._head[1]), int(self._head[2]), 3)
            self._pictures = np.memmap(path, np.uint8, mode, offset=self._head.nbytes, shape=shape)
        except (OSError, ValueError) as error:
            raise PictureError(f"{path}: no pictures of a camera: {error}") from error

    def show(self, picture: Pixels) -> None:
        """This is the latest one."""
        count = int(self._head[0]) + 1
        self._pictures[count % 2] = picture
        self._head[0] = count

    def picture(self, seconds: float, width: int, height: int) -> Pixels:
        """See `Moving.picture`."""
        import av

        return _filling(av.VideoFrame.from_ndarray(self._pictures[int(self._head[0]) % 2], "rgb24"), width, height)


def _filling(frame: Any, width: int, height: int) -> Pixels:
    """A frame scaled to fill a picture, and cut."""
    scale = max(width / frame.width, height / frame.height)
    wide, high = max(round(frame.width * scale), width), max(round(frame.height * scale), height)
    scaled = frame.reformat(width=wide, height=high, format="rgb24").to_ndarray()
    left, top = (wide - width) // 2, (high - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def open_video(path: Path | None) -> Moving:
    """The video of a file, or what a camera shows; without one, the built-in moving picture."""
    if path is None:
        return Landscape()
    return Latest(path) if path.suffix == Latest.SUFFIX else Film(path)
