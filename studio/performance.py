"""The performance loop: a source, its controls and a clock give a stream of finite blocks.

Live and offline are this one loop with two clocks. Whatever comes from outside (control changes, notes) falls on the
first tick of a block and is recorded there, so that a replay can give it again at the same tick.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from pieces.errors import ControlError
from pieces.signals import Array, Channel, Event, FrameBlock, Value
from pieces.source import Source, check_controls, nearest
from studio.memory import Memory

#: Ticks of a block offline: enough that the cost of recording a tick is small.
BLOCK = 256
#: Events that are kept in a take and that no source sees: what turns its controls, what it is played by, and its end.
MARKS = ("control", "score", "stopped")
#: A block that takes longer than this is made smaller, so that progress is shown and kept at least twice a second.
_PATIENCE = 0.4


class Clock(Protocol):
    """Says how many ticks may be made now."""

    def due(self, tick: int) -> int:
        """Ticks to make from `tick` on, at least 0 (0: nothing is due, ask again)."""
        ...

    def hold(self) -> None:
        """Called while the performance is paused; time does not count."""
        ...


class VirtualClock:
    """As fast as the machine can; blocks of `BLOCK` ticks, smaller ones while a source is slow."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._size = BLOCK // 4
        self._asked: float | None = None

    def due(self, tick: int) -> int:
        """A block's worth of ticks."""
        now = self._now()
        if self._asked is not None:
            if now - self._asked > _PATIENCE:
                self._size = max(1, self._size // 2)
            elif now - self._asked < _PATIENCE / 4:
                self._size = min(BLOCK, self._size * 2)
        self._asked = now
        return self._size

    def hold(self) -> None:
        """Wait a moment for whoever paused."""
        self._asked = None
        time.sleep(0.01)


class RealTimeClock:
    """`rate` ticks per second of wall time. Ticks that come late are held back, never hurried after.

    Parameters
    ----------
    rate : float
        Ticks per second.
    now, sleep : callable
        The clock and the way to wait, in seconds.
    """

    def __init__(
        self,
        rate: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period = 1 / rate
        self._now, self._sleep = now, sleep
        self._next: float | None = None

    def due(self, tick: int) -> int:
        """Wait for the next tick's time; 1."""
        now = self._now()
        if self._next is None or now - self._next > self._period:
            self._next = now
        if self._next > now:
            self._sleep(self._next - now)
        self._next += self._period
        return 1

    def hold(self) -> None:
        """Let time pass without ticks."""
        self._sleep(self._period)
        self._next = None


class Performance:
    """One performance of one source, as an iterator of finite blocks.

    `set`, `send`, `pause`, `go_on` and `stop` may be called from another thread.

    Parameters
    ----------
    source : Source
    controls : mapping
        Values at the first tick; completed with defaults and checked.
    ticks : int
        Longest length; the source may be over sooner.
    clock : Clock, optional
        Default: `VirtualClock`.
    given : iterable of Event
        Recorded events to give again at their ticks (replay, scripted performances).

    Attributes
    ----------
    memory : Memory or None
        What steps the source, if it is to be remembered.
    """

    def __init__(
        self,
        source: Source,
        controls: Mapping[str, Any],
        ticks: int,
        clock: Clock | None = None,
        given: Iterable[Event] = (),
    ) -> None:
        self.source = source
        self.controls = check_controls(type(source), controls)
        self.tick = 0
        self._ticks = ticks
        self._clock: Clock = clock or VirtualClock()
        self._script = deque(sorted(given, key=lambda e: e.tick))
        self._live: deque[tuple[str, dict[str, Any], bool]] = deque()
        self._running = threading.Event()
        self._running.set()
        self._stopped = False
        self._finite = Finite(source.channels)
        self.memory: Memory | None = None

    def set(self, name: str, value: object, given: bool = True) -> None:
        """Change a control at the next block; out of range or unknown: `ControlError`, and nothing changes.

        A change that the piece itself makes is not `given`: a replay finds it again.
        """
        checked = check_controls(type(self.source), {name: value})[name]
        if not {c.name: c for c in self.source.controls}[name].live:
            raise ControlError(f"{name} is read once, at the first tick: set it before the take")
        self._live.append(("control", {"name": name, "value": checked}, given))

    def send(self, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Give the source an event (a note, a new target) at the next block."""
        if kind not in self.source.listens:
            raise ControlError(f"{self.source.name} does not listen to {kind!r}{nearest(kind, self.source.listens)}")
        self._live.append((kind, dict(data or {}), True))

    def remark(self, kind: str, data: Mapping[str, Any]) -> None:
        """Note one of `MARKS` at the next block; the source does not see it, and a replay gives it again."""
        self._live.append((kind, dict(data), True))

    def pause(self) -> None:
        """Hold before the next block."""
        self._running.clear()

    def go_on(self) -> None:
        """End a pause."""
        self._running.set()

    def stop(self) -> None:
        """End after the block under way."""
        self._stopped = True
        self._running.set()

    def __iter__(self) -> Iterator[FrameBlock]:
        return self.run(self._ticks)

    def run(self, to: int) -> Iterator[FrameBlock]:
        """Blocks up to the tick `to`, or until the source is over or stopped."""
        to = min(to, self._ticks)
        while self.tick < to and not self._stopped:
            if not self._running.is_set():
                self._clock.hold()
                continue
            n = min(self._clock.due(self.tick), to - self.tick)
            if n < 1:
                continue
            given = self._take_given()
            if self._script:
                n = min(n, self._script[0].tick - self.tick)
            heard = [e for e in given if e.kind not in MARKS]
            if self.memory is None:
                block = self.source.step(self.controls, heard, n)
            else:
                n = self.memory.room(self.tick, n)
                block = self.memory.step(self.source, self.tick, self.controls, heard, n)
            self._check(block, n)
            self.tick = block.end_tick
            if block.ticks or block.events:
                yield self._finite(block, given)
            if block.ticks < n:
                self._stopped = True

    def _check(self, block: object, n: int) -> None:
        """See that a source keeps its word before anything is kept."""
        if not isinstance(block, FrameBlock):
            raise TypeError(f"step must return a FrameBlock, not {type(block).__name__}")
        if block.first_tick != self.tick or block.ticks > n:
            asked = f"{n} ticks from tick {self.tick}"
            raise ValueError(f"step gave {block.ticks} ticks from tick {block.first_tick}, asked were {asked}")
        for event in block.events:
            if not isinstance(event.tick, int) or not block.first_tick <= event.tick <= block.end_tick:
                raise ValueError(f"event {event.kind!r} at tick {event.tick} lies outside its block")

    def _take_given(self) -> list[Event]:
        """Events that fall on this tick, with control changes applied."""
        given = []
        while self._script and self._script[0].tick <= self.tick:
            given.append(self._script.popleft())
        while self._live:
            kind, data, outside = self._live.popleft()
            given.append(Event(self.tick, kind, data, outside))
        given.sort(key=lambda e: not e.given)  # what the piece itself changes comes last, as in a replay
        changes: dict[str, Value] = {e.data["name"]: e.data["value"] for e in given if e.kind == "control"}
        if changes:
            self.controls = check_controls(type(self.source), {**self.controls, **changes})
        return given


class Finite:
    """Lets nothing pass that is not finite: a value that is not is held at the channel's last finite one.

    Where a channel's values stop being finite a ``diverged`` event says so (``{"channel", "value"}``), and where they
    are finite again a ``recovered`` event (``{"channel"}``); renderers decide what is heard in between.
    """

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._last: dict[str, Array] = {}
        self._lost: set[str] = set()
        for c in channels:
            start = min(max(0.0, c.range[0]), c.range[1])
            self._last[c.name] = np.full(c.shape, start, dtype=c.dtype)

    def __call__(self, block: FrameBlock, given: Iterable[Event] = ()) -> FrameBlock:
        """The block with finite values, the given events first and `diverged`/`recovered` events in place."""
        arrays = dict(block.arrays)
        noticed: list[Event] = []
        for name, array in block.arrays.items():
            if not np.issubdtype(array.dtype, np.inexact):
                continue
            if name in self._lost or not np.isfinite(array).all():
                arrays[name] = self._mend(name, array, block.first_tick, noticed)
            elif len(array):
                self._last[name] = array[-1].copy()
        events = sorted([*given, *block.events, *noticed], key=lambda e: e.tick)
        return FrameBlock(block.first_tick, arrays, tuple(events))

    def _mend(self, name: str, array: Array, first_tick: int, noticed: list[Event]) -> Array:
        mended = array.copy()
        good = np.isfinite(array)
        whole = np.atleast_1d(good.reshape(len(array), -1).all(axis=1))
        for row in range(len(array)):
            if not whole[row]:
                mended[row] = np.where(good[row], array[row], self._last[name])
                if name not in self._lost:
                    bad = np.extract(~good[row], array[row])[0]
                    noticed.append(Event(first_tick + row, "diverged", {"channel": name, "value": str(bad)}))
                    self._lost.add(name)
            elif name in self._lost:
                noticed.append(Event(first_tick + row, "recovered", {"channel": name}))
                self._lost.discard(name)
            self._last[name] = mended[row]
        return mended
