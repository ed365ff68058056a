"""Arrangement: recorded ticks laid out in the time of a piece, as its sections and time-warps say.

A pure function of the piece and of what was recorded: sound and pictures both read it, so a tick that is heard twice is
seen twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pieces.form import Form, Span, lead
from pieces.metre import TempoMap
from pieces.piece import Piece
from pieces.sections import Section, Warp
from pieces.signals import Array, Event, Frames

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Share of a section's length that `even` spreads over its ticks regardless of change, so that none has no time at all.
_LEAST = 1e-3


@dataclass(frozen=True)
class Layout:
    """One part in the time of a piece: row i is the recorded tick ``rows[i]``, heard from ``starts[i]`` seconds on.

    It moves on until ``stops[i]`` and is held from there to the next row. ``active`` are the stretches of time, in
    seconds, in which the part plays; between them its last row is held.
    """

    rows: Ints
    starts: Floats
    stops: Floats
    active: tuple[tuple[float, float], ...]
    end: float

    @classmethod
    def plain(cls, frames: Frames) -> Layout:
        """Every tick once, at its rate."""
        whole, edges = (0.0, frames.duration), np.append(frames.starts, frames.duration)
        return cls(np.arange(frames.ticks), edges[:-1], edges[1:], (whole,), frames.duration)

    @property
    def begins(self) -> float:
        """Seconds at which the part is first heard; the piece's end where it never is."""
        return self.active[0][0] if self.active else self.end

    @property
    def over(self) -> float:
        """Seconds at which the part is heard no more."""
        return self.active[-1][1] if self.active else self.end

    def tick(self, seconds: float) -> float:
        """The recorded tick that is played at a time, with its fraction; the first one before the part begins."""
        if not len(self.rows):
            return 0.0
        row = max(int(np.searchsorted(self.starts, seconds, side="right")) - 1, 0)
        length = self.stops[row] - self.starts[row]
        within = (seconds - self.starts[row]) / length if length > 0 else 1.0
        return float(self.rows[row]) + min(max(within, 0.0), 1.0 - 1e-9)

    def lay(self, recorded: Frames) -> Frames:
        """Frames whose rows are those that are heard, each event at every row of its tick."""
        arrays = {name: array[self.rows] for name, array in recorded.arrays.items()}
        by_tick: dict[int, list[Event]] = {}
        for event in recorded.events:
            by_tick.setdefault(min(event.tick, recorded.ticks - 1), []).append(event)
        events = [
            Event(row + event.tick - tick, event.kind, event.data, event.given)  # one may stand after the last tick
            for row, tick in enumerate(self.rows.tolist())
            if tick in by_tick
            for event in by_tick[tick]
        ]
        gone = {str(e.data["channel"]) for e in recorded.of_kind("diverged") if "channel" in e.data}
        lost = {channel: recorded.missing(channel)[self.rows] for channel in gone}
        return Frames(arrays, tuple(events), recorded.rate, len(self.rows), self.starts, self.over, lost)


@dataclass(frozen=True)
class Sounding:
    """A section in time: what the score needs to know of it."""

    section: Section
    seconds: tuple[float, float]
    beats: tuple[float, float]

    @classmethod
    def of(cls, section: Section, seconds: tuple[float, float], tempi: TempoMap) -> Sounding:
        """A section from a time to another."""
        first, last = tempi.beats(np.array(seconds))
        return cls(section, seconds, (float(first), float(last)))


@dataclass(frozen=True)
class Arrangement:
    """A performance in the time of its piece.

    Attributes
    ----------
    parts : mapping of str to Frames
        Laid out: rows that are heard, with their times.
    active : mapping
        Part → stretches of seconds in which it plays.
    sections : tuple of Sounding
    tempi : TempoMap
    bar : int
        Beats of a bar.
    duration : float
        Seconds.
    seed : int
        Of everything random in rendering.
    layouts : mapping
        Part → how its ticks lie in time.
    """

    parts: Mapping[str, Frames]
    active: Mapping[str, tuple[tuple[float, float], ...]]
    sections: tuple[Sounding, ...]
    tempi: TempoMap
    bar: int
    duration: float
    seed: int = 0
    layouts: Mapping[str, Layout] = field(default_factory=dict)

    @classmethod
    def of(cls, frames: Frames, part: str = "source", seed: int = 0) -> Arrangement:
        """One part, played once from its first tick to its last; a beat is a second."""
        tempi = TempoMap()
        tempi.change(0.0, 60.0, 60.0, 1.0)
        whole = (0.0, frames.duration)
        section = Sounding.of(Section(name="whole"), whole, tempi)
        parts, active = {part: frames}, {part: (whole,)}
        return cls(parts, active, (section,), tempi, 4, frames.duration, seed, {part: Layout.plain(frames)})


def arrange(piece: Piece, recorded: Mapping[str, Frames], seed: int = 0) -> Arrangement:
    """Lay out what was recorded.

    Parameters
    ----------
    piece : Piece
    recorded : mapping of str to Frames
        Every part's frames, with all their events and the channels that are wanted (and those of ``even`` warps).
    seed : int
        Of the take.
    """
    form = recorded_form(piece, recorded)
    layouts = {part: layout(piece, form, part, frames) for part, frames in recorded.items()}
    return Arrangement(
        parts={part: layouts[part].lay(frames) for part, frames in recorded.items()},
        active={part: found.active for part, found in layouts.items()},
        sections=tuple(Sounding.of(span.section, span.seconds, form.tempi) for span in form.spans),
        tempi=form.tempi,
        bar=piece.metre.beats,
        duration=form.spans[-1].seconds[1],
        seed=seed,
        layouts=layouts,
    )


def recorded_form(piece: Piece, recorded: Mapping[str, Frames]) -> Form:
    """When every section began and ended, from the events and ticks that were recorded."""
    happened: dict[str, dict[int, set[str]]] = {}
    for part, frames in recorded.items():
        for event in frames.events:
            happened.setdefault(part, {}).setdefault(event.tick, set()).add(event.kind)
    return lead(piece, {part: frames.ticks for part, frames in recorded.items()}, happened)


def warped_channels(piece: Piece, part: str) -> set[str]:
    """Channels of a part that a time-warp goes by."""
    warps = (section.warp.get(part) for section in piece.form)
    return {warp.channel for warp in warps if warp is not None and warp.channel is not None}


def layout(piece: Piece, form: Form, part: str, frames: Frames) -> Layout:
    """How the ticks of one part lie in the time of the piece."""
    rows: list[Ints] = [np.empty(0, np.int64)]
    starts: list[Floats] = [np.empty(0)]
    stops: list[Floats] = [np.empty(0)]
    active: list[tuple[float, float]] = []
    end = form.spans[-1].seconds[1]
    placing = Placing(piece, form, part, frames.arrays)
    for span in form.spans:
        if part not in span.ticks:
            continue
        ticks, edges, until = placing.of(span)
        heard = edges[:-1] < span.seconds[1] - 1e-9
        rows.append(ticks[heard])
        starts.append(edges[:-1][heard])
        stops.append(edges[1:][heard])
        if until > span.seconds[0]:
            joined = active and span.seconds[0] - active[-1][1] < 1e-6
            active[-1:] = [(active[-1][0], until)] if joined else [*active[-1:], (span.seconds[0], until)]
    return Layout(np.concatenate(rows), np.concatenate(starts), np.concatenate(stops), tuple(active), end)


class Placing:
    """Places a part's ticks in one section after the other; `arrays` are its channels as they were recorded."""

    def __init__(self, piece: Piece, form: Form, part: str, arrays: Mapping[str, Array]) -> None:
        self._part = piece.parts[part]
        self._name = part
        self._form = form
        self._arrays = arrays
        self._bar = piece.metre.beats

    def of(self, span: Span) -> tuple[Ints, Floats, float]:
        """Recorded ticks, when each begins and the last one ends, and when the part ends or pauses, in seconds."""
        first, last = span.ticks[self._name]
        warp = span.section.warp.get(self._name)
        if warp is not None and warp.performs:
            until = span.seconds[1 if last > first else 0]
            return np.arange(first, last), self._bent(span, warp, first, last), until
        if warp is not None and warp.kind == "freeze":
            held = np.arange(max(first - 1, 0), first)
            return held, np.full(len(held) + 1, span.seconds[0]), span.seconds[1 if first else 0]
        ticks = np.arange(first, last) if warp is None else self._again(span, warp, first)
        edges = self.edges(span, 0, len(ticks))
        over = float(edges[-1])
        return ticks, edges, over if over < span.seconds[1] - 1e-3 else span.seconds[1]

    def edges(self, span: Span, first: int, last: int) -> Floats:
        """When ticks begin, and the last one ends, counted from the section's first one, at the part's own rate."""
        warped = span.section.warp.get(self._name) is not None
        begun = 0.0 if warped else span.ticks[self._name][0] - span.clocks[self._name]
        clock = np.asarray(np.arange(first, last + 1) + begun, dtype=np.float64)
        if self._part.per_beat is not None:
            return self._form.tempi.seconds(span.beats[0] + clock / self._part.per_beat)
        assert self._part.rate is not None
        return np.asarray(span.seconds[0] + clock / self._part.rate)

    def _bent(self, span: Span, warp: Warp, first: int, last: int) -> Floats:
        """When ticks begin, and the last one ends, that fill a section along a curve."""
        n = last - first
        if warp.kind == "log":
            place = np.log1p(np.arange(n + 1)) / np.log1p(max(n, 1))
        else:
            assert warp.channel is not None
            values = np.asarray(self._arrays[warp.channel][first:last], dtype=np.float64)
            values = values / (np.abs(values).max(initial=0.0) or 1.0)  # no difference may overflow
            change = np.abs(np.diff(values, append=values[-1:]))
            total = change.sum()
            share = change / total if total > 0 else np.full(n, 1 / max(n, 1))
            place = np.concatenate([[0.0], np.cumsum((1 - _LEAST) * share + _LEAST / max(n, 1))])
        assert span.section.bars is not None
        return self._form.tempi.seconds(span.beats[0] + place * span.section.bars * self._bar)

    def _again(self, span: Span, warp: Warp, made: int) -> Ints:
        """Ticks that are heard once more; `made` were performed before."""
        if not made:
            return np.empty(0, np.int64)
        count = int(np.ceil(self._count(span.seconds[1] - span.seconds[0], span.beats[1] - span.beats[0])))
        k = np.arange(max(count, 1))
        if warp.kind == "retrograde":
            return np.asarray(made - 1 - k[k < made])
        if warp.kind == "recall":
            begun, ended = next(s.ticks[self._name] for s in self._form.spans if s.section.name == warp.of)
            return np.asarray(begun + k[: ended - begun])
        assert warp.beats is not None
        tempo = self._form.tempi.tempo(span.beats[0])
        length = min(max(round(self._count(warp.beats * 60 / tempo, warp.beats)), 1), made)
        return np.asarray(made - length + k % length)

    def _count(self, seconds: float, beats: float) -> float:
        """Ticks that the part makes in so many seconds, or beats."""
        if self._part.per_beat is not None:
            return beats * self._part.per_beat
        assert self._part.rate is not None
        return seconds * self._part.rate
