"""Unfolding: the arrangement of a performance while it is made, in the time of its piece.

`pieces.arrange` lays out what was recorded, of which it knows the end; here everything up to a moment is known, and
what is open (where a section ends, when a part is over) is taken to last as long as it can. What was laid out stays: so
a window of the past is what `arrange` would make of it, unless that looks ahead.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import Arrangement, Placing, Sounding
from pieces.form import Form, Span, Stretch
from pieces.metre import TempoMap
from pieces.piece import Piece
from pieces.sections import between
from pieces.signals import Array, Channel, Event, FrameBlock, Frames

#: Bytes of a tick from which on an array channel is not kept: nobody hears a whole picture.
LARGE = 1 << 14


class Growing:
    """An array that grows at its end. A view that was taken of it stays as it is."""

    def __init__(self, shape: tuple[int, ...] = (), dtype: str = "float64") -> None:
        self._room: Array = np.empty((64, *shape), dtype)
        self._length = 0

    @property
    def view(self) -> Array:
        """All of it."""
        return self._room[: self._length]

    def __len__(self) -> int:
        return self._length

    def extend(self, more: Array) -> None:
        """Add rows."""
        end = self._length + len(more)
        if end > len(self._room):
            grown = np.empty((max(end, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            grown[: self._length] = self.view
            self._room = grown
        self._room[self._length : end] = more
        self._length = end

    def cut(self, length: int) -> None:
        """Drop the rows from `length` on."""
        self._room, self._length = self._room[:length].copy() if length < self._length else self._room, length


class Unfolding:
    """A performance so far.

    Parameters
    ----------
    piece : Piece
    channels : mapping
        Part → its channels.
    seed : int
        Of the take.

    Attributes
    ----------
    until : float
        Seconds up to which everything is known.
    end : float
        Seconds at which the performance is over; infinite while it goes on.
    turns : int
        Counts what begins and ends, so that what follows from it alone need not be made anew.
    """

    def __init__(self, piece: Piece, channels: Mapping[str, Sequence[Channel]], seed: int = 0) -> None:
        self._piece, self._seed = piece, seed
        self._parts = {name: _Part(name, piece.rate(name), found) for name, found in channels.items()}
        self._sections: list[Sounding] = []
        self._spans: list[Span] = []
        self._span: Span | None = None
        self._going: Mapping[str, int] = {}
        self.tempi = TempoMap()
        self.until, self.end = 0.0, math.inf
        self.turns = 0

    def reach(self, stretch: Stretch) -> None:
        """Everything before a stretch has been performed."""
        self._settle()
        if stretch.span is not self._span:
            self._close(stretch.seconds, stretch.beat)
            self._open(stretch.span, stretch.tempi)
        self.until = stretch.seconds

    def go(self, stretch: Stretch) -> None:
        """A stretch is going to be performed, after it was reached."""
        self._going = stretch.ticks

    def add(self, part: str, block: FrameBlock) -> None:
        """A part's next ticks."""
        self._parts[part].add(block)

    def finish(self, beat: float, seconds: float) -> None:
        """The performance is over."""
        self._settle()
        self._close(seconds, beat)
        self._span = None
        self.until, self.end = math.inf, seconds

    @property
    def number(self) -> int:
        """The section that is being performed, counted from 0."""
        return len(self._spans)

    def has_begun(self, part: str) -> bool:
        """Whether a tick of a part was laid out."""
        return len(self._parts[part].rows) > 0

    def tick(self, part: str, seconds: float) -> int:
        """The tick that sounds at a time; -1 before the first."""
        found = self._parts[part]
        row = int(np.searchsorted(found.starts.view, seconds + 1e-9, side="right")) - 1
        return int(found.rows.view[row]) if row >= 0 else -1

    def section(self, seconds: float) -> str:
        """The section that sounds at a time."""
        return self._sections[self._row(seconds)].section.name if self._sections else ""

    @property
    def sections(self) -> tuple[tuple[float, str], ...]:
        """First beat and name of each section that has begun."""
        return tuple((s.beats[0], s.section.name) for s in self._sections)

    def begun(self, seconds: float) -> dict[str, int]:
        """Part → ticks that it had made when the section that sounds at a time began."""
        made = dict.fromkeys(self._parts, 0)
        for span in self._spans[: self._row(seconds)]:
            made |= {name: last for name, (_, last) in span.ticks.items()}
        return made

    def _row(self, seconds: float) -> int:
        return max(bisect_right([s.seconds[0] for s in self._sections], seconds + 1e-9) - 1, 0)

    def arrangement(self, since: float = 0.0, until: float = math.inf, given: bool = True) -> Arrangement:
        """What is known: all rows, and the events between two times, `given` ones only if they are wanted."""
        return Arrangement(
            parts={name: part.frames(since - 1e-3, until + 1e-3, given) for name, part in self._parts.items()},
            active={name: tuple(part.active) for name, part in self._parts.items()},
            sections=tuple(self._sections),
            tempi=self.tempi,
            bar=self._piece.metre.beats,
            duration=self.end,
            seed=self._seed,
        )

    def _settle(self) -> None:
        """See what came of the stretch that was performed last."""
        for name, target in self._going.items():
            part = self._parts[name]
            part.warp()
            if part.made < target or part.made >= self._piece.parts[name].ticks:
                part.finish()
                self.turns += 1
        self._going = {}

    def _open(self, span: Span, tempi: TempoMap) -> None:
        self._span, self.tempi = span, tempi
        self._sections.append(Sounding.of(span.section, span.seconds, tempi))
        form = Form(tuple(self._spans), tempi)
        for name in span.ticks:
            part = self._parts[name]
            part.open(span, Placing(self._piece, form, name, part.recorded))
        self.turns += 1

    def _close(self, seconds: float, beat: float) -> None:
        """The section that was open ended at a time."""
        if self._span is None:
            return
        section, (begun, last) = self._span.section, self._span.beats
        if beat < last - 1e-9 and math.isfinite(last):  # a ramp stays where it had come to
            u = (beat - begun) / (last - begun)
            gains = {n: (g[0], between(g, u)) if isinstance(g, tuple) else g for n, g in section.gains.items()}
            section = section.model_copy(update={"gains": gains})
        times = (self._span.seconds[0], seconds)
        self._sections[-1] = Sounding.of(section, times, self.tempi)
        ticks = {}
        for name, (first, _) in self._span.ticks.items():
            self._parts[name].close(seconds)
            ticks[name] = (first, self._parts[name].made)
        self._spans.append(Span(self._span.section, (begun, beat), times, ticks, self._span.clocks))
        self.turns += 1


class _Part:
    def __init__(self, name: str, rate: float, channels: Sequence[Channel]) -> None:
        self._name, self._rate = name, rate
        kept = [c for c in channels if np.dtype(c.dtype).itemsize * math.prod(c.shape) <= LARGE]
        self._grown = {c.name: Growing(c.shape, c.dtype) for c in kept}
        #: What a channel is taken to be before the first tick.
        self._nothing = {c.name: np.full((1, *c.shape), min(max(0.0, c.range[0]), c.range[1]), c.dtype) for c in kept}
        self.rows, self.starts = Growing(dtype="int64"), Growing()
        self.active: list[tuple[float, float]] = []
        self.made = 0
        self.recorded: Mapping[str, Array] = _Views(self._grown)
        #: Whether row i is tick i: then what is laid out is what was recorded.
        self.is_plain = True
        self._laid: dict[str, Growing] = {}
        self._happened: dict[int, list[Event]] = {}
        self._events: list[Event] = []
        self._times: list[float] = []
        self._lost: dict[str, Growing] = {}
        self._losing: set[str] = set()
        self._over = False
        self._span: Span | None = None
        self._placing: Placing | None = None
        self._warps = False
        #: When the part ends in this section; None where it has not begun.
        self._until: float | None = None

    def open(self, span: Span, placing: Placing) -> None:
        """A section begins in which the part plays."""
        self._span, self._placing, self._until = span, placing, None
        warp = span.section.warp.get(self._name)
        self._warps = warp is not None and warp.performs
        ends = span.seconds[1]
        if warp is None:
            self._play(float(placing.edges(span, 0, 0)[0]) if self._over else ends)
        elif self._warps:
            self._play(ends)
        else:
            ticks, edges, until = placing.of(replace(span, ticks={self._name: (self.made, self.made)}))
            self._place(ticks, edges)
            self._play(until)

    def add(self, block: FrameBlock) -> None:
        """The next ticks."""
        for name, grown in self._grown.items():
            grown.extend(block.arrays[name])
        self._lose(block)
        for event in block.events:
            self._happened.setdefault(event.tick, []).append(event)
        first, self.made = self.made, self.made + block.ticks
        if not self._warps and self._span is not None and self._placing is not None:
            begun = self._span.ticks[self._name][0]
            edges = self._placing.edges(self._span, first - begun, self.made - begun)
            self._place(np.arange(first, self.made), edges)

    def warp(self) -> None:
        """Lay out what was performed at once for a whole section."""
        if self._warps and self._span is not None and self._placing is not None:
            begun = self._span.ticks[self._name][0]
            if self.made > begun:
                ticks, edges, _ = self._placing.of(replace(self._span, ticks={self._name: (begun, self.made)}))
                self._place(ticks, edges)
                self._warps = False

    def finish(self) -> None:
        """The part is over: what happened after its last tick belongs to that one."""
        if self._over or self._span is None or self._placing is None:
            return
        self._over = True
        if self._name not in self._span.section.warp:
            begun = self._span.ticks[self._name][0]
            edge = float(self._placing.edges(self._span, self.made - begun, self.made - begun)[0])
            self._play(edge if edge < self._span.seconds[1] - 1e-3 else self._span.seconds[1])
        for event in self._happened.pop(self.made, []):
            self._happened.setdefault(self.made - 1, []).append(event)
            self._events.append(Event(len(self.rows), event.kind, event.data, event.given))
            self._times.append((self.active[-1][1] if self.active else 0.0) - 2e-6)

    def close(self, seconds: float) -> None:
        """The section ended."""
        heard = int(np.searchsorted(self.starts.view, seconds - 1e-9))
        if heard < len(self.rows):
            self.rows.cut(heard)
            self.starts.cut(heard)
            for laid in self._laid.values():
                laid.cut(min(len(laid), heard))
            left = bisect_left(self._times, seconds - 1e-9)
            del self._events[left:], self._times[left:]
        if self._until is not None:
            self._play(self._until if self._until < seconds - 1e-3 else seconds)
        self._span = None

    def frames(self, since: float, until: float, given: bool) -> Frames:
        """The rows so far; one that stands for nothing where there are none."""
        if not len(self.rows):
            return Frames(self._nothing, (), self._rate, 1, np.zeros(1), math.inf, {})
        first, last = bisect_left(self._times, since), bisect_right(self._times, until)
        events = tuple(e for e in self._events[first:last] if given or not e.given)
        rows: NDArray[np.int64] = self.rows.view
        lost = {n: found.view[rows] for n, found in self._lost.items()}
        over = self.active[-1][1] if self.active else 0.0
        laid = _Laid(self._grown, self._laid, None if self.is_plain else rows, len(rows))
        return Frames(laid, events, self._rate, len(rows), self.starts.view, over, lost)

    def _play(self, until: float) -> None:
        """In the section that is open the part plays up to a time."""
        assert self._span is not None
        begins = self._span.seconds[0]
        if self._until is not None:
            self.active[-1] = (self.active[-1][0], until)
        elif until > begins:
            joined = bool(self.active) and begins - self.active[-1][1] < 1e-6
            self.active[-1:] = [(self.active[-1][0], until)] if joined else [*self.active[-1:], (begins, until)]
        if until > begins or self._until is not None:
            self._until = until

    def _place(self, ticks: NDArray[np.int64], edges: NDArray[np.float64]) -> None:
        assert self._span is not None
        heard = edges[:-1] < self._span.seconds[1] - 1e-9
        ticks, starts = ticks[heard], edges[:-1][heard]
        first = len(self.rows)
        self.is_plain = self.is_plain and bool((ticks == np.arange(first, first + len(ticks))).all())
        self.rows.extend(ticks)
        self.starts.extend(starts)
        if not self._happened:
            return
        for row, (tick, start) in enumerate(zip(ticks.tolist(), starts.tolist(), strict=True), first):
            for event in self._happened.get(tick, ()):
                self._events.append(Event(row + event.tick - tick, event.kind, event.data, event.given))
                self._times.append(start)

    def _lose(self, block: FrameBlock) -> None:
        """Note where channels have no finite value."""
        turns = [e for e in block.events if e.kind in ("diverged", "recovered") and "channel" in e.data]
        for event in turns:
            name = str(event.data["channel"])
            if name not in self._lost:
                self._lost[name] = Growing(dtype="bool")
                self._lost[name].extend(np.zeros(self.made, dtype=bool))
        for name, lost in self._lost.items():
            missing = np.full(block.ticks, name in self._losing)
            for event in turns:
                if event.data["channel"] == name:
                    missing[event.tick - block.first_tick :] = event.kind == "diverged"
                    (self._losing.add if event.kind == "diverged" else self._losing.discard)(name)
            lost.extend(missing)


class _Views(Mapping[str, Array]):
    """Growing arrays as they are now."""

    def __init__(self, grown: Mapping[str, Growing]) -> None:
        self._grown = grown

    def __getitem__(self, name: str) -> Array:
        return self._grown[name].view

    def __iter__(self) -> Iterator[str]:
        return iter(self._grown)

    def __len__(self) -> int:
        return len(self._grown)


class _Laid(_Views):
    """Channels laid out, made when they are asked for."""

    def __init__(
        self,
        grown: Mapping[str, Growing],
        laid: dict[str, Growing],
        rows: NDArray[np.int64] | None,
        count: int,
    ) -> None:
        super().__init__(grown)
        self._laid, self._rows, self._count = laid, rows, count

    def __getitem__(self, name: str) -> Array:
        recorded = self._grown[name].view
        if self._rows is None:
            return recorded[: self._count]
        if name not in self._laid:
            self._laid[name] = Growing(recorded.shape[1:], str(recorded.dtype))
        laid = self._laid[name]
        laid.extend(recorded[self._rows[len(laid) :]])
        return laid.view[: self._count]
