"""The picture of a performance while it goes on: drawn in a process of its own, so that no screen waits for it.

A view may import what it likes and may take its time: the newest wish is drawn next, and those between are dropped.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Event, FrameBlock, Frames

if TYPE_CHECKING:
    from pieces.arrange import Layout
    from studio.pictures.canvas import Pixels
    from studio.pictures.video import Moving

#: Seconds that a view is given around the playhead, and the ticks that this may be.
SECONDS, FEWEST, MOST = 30.0, 600, 6000
#: Blocks that wait while nobody wishes for a picture, before they are sent all the same.
WAITING = 256
#: Bytes of frames that are remembered of each part.
MEMORY = 256 * 2**20


@dataclass(frozen=True)
class Canvas:
    """What is to be drawn from now on: a piece's picture (as plain data), and of every part its rate, its channels
    (where they are known: then a view that misses one says so) and the file of its video."""

    picture: Mapping[str, Any]
    rates: Mapping[str, float]
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    videos: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """A picture of so many pixels, of every part at a tick; the section, the time of the piece, and of every part the
    ticks that it had made when the section began."""

    ticks: Mapping[str, float]
    width: int
    height: int
    section: str = ""
    seconds: float = 0.0
    begun: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Request:
    """What has come together since the last one."""

    canvas: Canvas | None = None
    blocks: tuple[tuple[str, FrameBlock], ...] = ()
    wish: Wish | None = None


@dataclass(frozen=True)
class _Answer:
    picture: Pixels | None = None
    error: str = ""
    #: Part → channels that its views need (None: all of them).
    needs: Mapping[str, tuple[str, ...] | None] | None = None


class Painter:
    """The studio's side. `draw` asks for a picture and returns at once; `deliver` gets it, in another thread.

    Parameters
    ----------
    deliver : callable
        Given each picture, uint8 ``[height, width, 3]``.
    notice : callable
        Given one line where nothing can be drawn.
    """

    def __init__(self, deliver: Callable[[Pixels], None], notice: Callable[[str], None]) -> None:
        self._deliver, self._notice = deliver, notice
        self._changed = threading.Condition()
        self._next = _Request()
        self._blocks: list[tuple[str, FrameBlock]] = []
        self._needs: Mapping[str, tuple[str, ...] | None] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="painter", daemon=True)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._thread.start()

    def open(self, canvas: Canvas) -> None:
        """Forget what was, and draw this from now on."""
        with self._changed:
            self._next, self._blocks, self._needs = _Request(canvas), [], {}
            self._changed.notify()

    def add(self, part: str, block: FrameBlock) -> None:
        """New ticks; of them only what the views need is sent."""
        with self._changed:
            needs = self._needs.get(part, ())
            if needs is not None and self._needs:
                arrays = {n: a for n, a in block.arrays.items() if n in needs}
                block = FrameBlock(block.first_tick, arrays, block.events)
            if block.arrays or block.events:
                self._blocks.append((part, block))
                if len(self._blocks) >= WAITING:
                    self._changed.notify()

    def draw(self, wish: Wish) -> None:
        """Ask for a picture; a wish that was not begun yet is dropped."""
        with self._changed:
            self._next = replace(self._next, wish=wish)
            self._changed.notify()

    def close(self) -> None:
        """End the process."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(2.0)
        if self._process is not None and self._process.is_alive():
            self._process.kill()

    @property
    def pid(self) -> int | None:
        """The process that draws."""
        return None if self._process is None else self._process.pid

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=paint, args=(theirs,), name="descant painter", daemon=True)
        self._process.start()
        theirs.close()
        return ours

    def _serve(self) -> None:
        pipe: Connection | None = None
        said = ""
        while True:
            with self._changed:
                while not (self._closed or self._next.canvas or self._next.wish or len(self._blocks) >= WAITING):
                    self._changed.wait()
                if self._closed:
                    break
                request = replace(self._next, blocks=tuple(self._blocks))
                self._next, self._blocks = _Request(), []
            try:
                pipe = pipe or self._start()
                pipe.send(request)
                answer: _Answer = pipe.recv()
            except (EOFError, OSError):
                pipe = None
                self._notice("the picture's process ended; it starts again with the next piece")
                self._wait_for_canvas()
                continue
            if answer.needs is not None:
                self._needs = answer.needs
            if answer.error and answer.error != said:
                self._notice(answer.error)
            said = answer.error
            if answer.picture is not None:
                self._deliver(answer.picture)
        if pipe is not None:
            pipe.close()

    def _wait_for_canvas(self) -> None:
        """Without what the process remembered, views would start in the middle."""
        with self._changed:
            while not (self._closed or self._next.canvas):
                self._blocks.clear()
                self._changed.wait(1.0)


@dataclass
class _Roll:
    """The frames of one part, as they come in."""

    rate: float
    first: int = 0
    end: int = 0
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def add(self, block: FrameBlock) -> None:
        if block.arrays:
            if block.first_tick != self.end:  # a new take, or a branch
                self.first = self.end = block.first_tick
                self.arrays, self.events = {}, []
            for name, new in block.arrays.items():
                self._append(name, new)
            self.end = block.end_tick
        self.events.extend(e for e in block.events if e.kind not in ("control", "score"))

    def _append(self, name: str, new: NDArray[Any]) -> None:
        held = self.arrays.get(name)
        used = self.end - self.first
        if held is None or used + len(new) > len(held):
            grown = np.empty((max(2 * (used + len(new)), 512), *new.shape[1:]), dtype=new.dtype)
            if held is not None:
                grown[:used] = held[:used]
            self.arrays[name] = held = grown
        held[used : used + len(new)] = new

    def trim(self) -> None:
        """Forget the older half of what is too much."""
        if sum(a.nbytes for a in self.arrays.values()) > MEMORY:
            drop = (self.end - self.first) // 2
            used = self.end - self.first - drop
            self.arrays = {n: a[drop : drop + used].copy() for n, a in self.arrays.items()}
            self.first += drop

    def window(self, tick: float) -> tuple[int, int]:
        """Ticks that a view is given: at the live end the last ones, else a stretch around the playhead."""
        size = min(max(round(SECONDS * self.rate), FEWEST), MOST)
        if tick >= self.end - size:
            return max(self.end - size, self.first), self.end
        step = size // 4
        start = max((int(tick) // step - 2) * step, self.first)
        return start, min(start + size, self.end)

    def frames(self, start: int, to: int) -> Frames:
        at = slice(start - self.first, to - self.first)
        events = tuple(replace(e, tick=e.tick - start) for e in self.events if start <= e.tick < to)
        return Frames({n: a[at] for n, a in self.arrays.items()}, events, self.rate, to - start)


def paint(pipe: Connection) -> None:
    """Body of the process: draws what is asked for until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    easel: _Easel | None = None
    while True:
        try:
            request: _Request = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            needs = None
            if request.canvas is not None:
                easel = _Easel(request.canvas)
                needs = easel.needs
            answer = _Answer(easel.serve(request), easel.fault, needs) if easel else _Answer()
        except Exception as error:
            answer = _Answer(error=f"picture: {error}")
        try:
            pipe.send(answer)
        except OSError:
            return  # the studio is gone, and nobody looks any more


class _Easel:
    """The views of a piece and the frames they are drawn from."""

    def __init__(self, canvas: Canvas) -> None:
        from pieces.piece import Picture

        self._tiles = Picture.model_validate(dict(canvas.picture)).tiles
        self._parts = [tile.part or next(iter(canvas.rates)) for tile in self._tiles]
        self._rolls = {part: _Roll(rate) for part, rate in canvas.rates.items()}
        self._prepared: dict[int, tuple[tuple[int, int], Any]] = {}
        self._videos: dict[str, Moving] = {}
        #: What cannot be drawn as it is meant to be, and is drawn otherwise.
        self.fault = ""
        self._paths, self._channels = canvas.videos, canvas.channels
        self.needs = self._find_needs()

    def _find_needs(self) -> dict[str, tuple[str, ...] | None]:
        """What each part is to send; nothing of a part that is not drawn, None for all of it."""
        from studio.pictures.draw import find_view
        from studio.pictures.view import PictureError

        found: dict[str, tuple[str, ...] | None] = dict.fromkeys(self._rolls, ())
        for tile, part in zip(self._tiles, self._parts, strict=True):
            known, more = found[part], find_view(tile.view).needs
            for channel in more:
                if channel not in self._channels.get(part, more):
                    raise PictureError(
                        f"view {tile.view!r} needs channel {channel!r}, which {part} has not: use 'plots'"
                    )
            found[part] = None if known is None or not more or tile.ground else (*known, *more)
            if tile.ground:
                found |= dict.fromkeys([tile.ground.video, *([tile.ground.notes] if tile.ground.notes else [])])
        return found

    def serve(self, request: _Request) -> Pixels | None:
        """Take new frames in, and draw what is wished for."""
        for part, block in request.blocks:
            if part in self._rolls:
                needs = self.needs[part]
                kept = {n: a for n, a in block.arrays.items() if needs is None or n in needs}
                self._rolls[part].add(FrameBlock(block.first_tick, kept, block.events))
                self._rolls[part].trim()
        return None if request.wish is None else self._draw(request.wish)

    def _draw(self, wish: Wish) -> Pixels:
        from studio.pictures.canvas import GROUND

        picture = np.empty((wish.height, wish.width, 3), dtype=np.uint8)
        picture[:] = GROUND
        seen = [n for n, tile in enumerate(self._tiles) if not tile.sections or wish.section in ("", *tile.sections)]
        for number, (left, top, right, bottom) in zip(seen, boxes(len(seen), wish.width, wish.height), strict=True):
            roll, tick = self._rolls[self._parts[number]], wish.ticks.get(self._parts[number], -1.0)
            start, to = roll.window(tick)
            ready = start <= tick and start < to
            drawn = None
            if ready:
                prepared = self._ready(number, roll, (start, to))
                drawn = prepared.draw(tick - start, right - left, bottom - top)
            if self._tiles[number].ground is not None:
                drawn = self._grounded(number, wish, drawn, right - left, bottom - top)
            if drawn is not None:
                picture[top:bottom, left:right] = drawn
        return picture

    def _ready(self, number: int, roll: _Roll, window: tuple[int, int]) -> Any:
        from studio.pictures.draw import prepare

        before = self._prepared.get(number)
        if before is None or before[0] != window:
            tile = self._tiles[number]
            self._prepared[number] = before = (window, prepare(tile.view, roll.frames(*window), tile.options))
        return before[1]

    def _grounded(self, number: int, wish: Wish, drawn: Pixels | None, width: int, height: int) -> Pixels | None:
        """A picture on its video."""
        from studio.pictures.grounds import Backdrop, over

        ground, part = self._tiles[number].ground, self._parts[number]
        assert ground is not None
        frames, layouts = {}, {}
        for name in {part, ground.video, ground.notes or part}:
            tick = wish.ticks.get(name, 0.0)
            start, to = self._rolls[name].window(tick)
            if name == (ground.notes or part):  # all notes of the section, and none of those before
                start, to = max(wish.begun.get(name, 0), self._rolls[name].first), self._rolls[name].end
            frames[name] = self._rolls[name].frames(start, to)
            layouts[name] = laid(self._rolls[name].rate, to - start, tick - start, wish.seconds)
        image = Backdrop.of(ground, part, frames, layouts, self._opened(ground.video)).draw(wish.seconds, width, height)
        return image if drawn is None else over(image, drawn)

    def _opened(self, part: str) -> Mapping[str, Moving]:
        from studio.pictures.video import open_video
        from studio.pictures.view import PictureError

        if part not in self._videos:
            path = self._paths.get(part)
            try:
                self._videos[part] = open_video(Path(path) if path else None)
            except PictureError as error:
                self.fault = f"{error}; the built-in picture moves instead"
                self._videos[part] = open_video(None)
        return self._videos


def boxes(tiles: int, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Where pictures lie in the grid, as `studio.pictures.scene.Scene` has it: left, top, right, bottom."""
    columns = math.ceil(math.sqrt(tiles))
    rows = math.ceil(tiles / columns) if columns else 0
    found = []
    for k in range(tiles):
        row, column = divmod(k, columns)
        across = tiles - row * columns if row == rows - 1 else columns
        left, right = column * width // across, (column + 1) * width // across
        found.append((left, row * height // rows, right, (row + 1) * height // rows))
    return found


def laid(rate: float, ticks: int, tick: float, seconds: float) -> Layout:
    """Ticks in time such that `tick` is heard at `seconds`."""
    from pieces.arrange import Layout

    edges: NDArray[np.float64] = np.asarray(seconds + (np.arange(ticks + 1) - tick) / rate, dtype=np.float64)
    return Layout(np.arange(ticks), edges[:-1], edges[1:], ((-math.inf, math.inf),), float(edges[-1]))
