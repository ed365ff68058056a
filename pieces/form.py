"""The walk through a piece: how far every part goes, section by section.

A piece is performed section by section. Its clock is the beat: a part makes so many ticks a beat (or a second), a
section lasts so many bars, or until something happens in a part. `walk` says how far every part is to go, and is told
what happened; so the same code leads a performance and finds, from what was recorded, when every section began.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pieces.metre import TempoMap
from pieces.sections import LONGEST, Coupling, Section, between

if TYPE_CHECKING:
    from pieces.piece import Part, Piece

#: Beats between two values of a control that changes in a section.
GRAIN = 0.25
#: Ticks: what a clock may be short of a whole number by rounding.
_SLACK = 1e-6


@dataclass(frozen=True)
class Stretch:
    """As far as the parts are to go now.

    Attributes
    ----------
    section : Section
    first : bool
        Whether the section begins with it.
    turns : bool
        Whether the section's controls are to be set.
    at : float
        How far those that change have come: 0 the first time, 1 the last.
    beat, seconds : float
        The stretch's beginning.
    to : float
        The beat at which it ends; infinite where the parts are to go on until they are over.
    ticks : mapping
        Part → how many ticks it will have made in all.
    span : Span
        The section as far as it is known: its end is the latest possible one, its ticks are those at its beginning.
    tempi : TempoMap
        Tempi so far, this section's among them.
    """

    section: Section
    first: bool
    turns: bool
    at: float
    beat: float
    seconds: float
    to: float
    ticks: Mapping[str, int]
    span: Span
    tempi: TempoMap


@dataclass(frozen=True)
class Report:
    """What came of a stretch: how many ticks each of its parts has made in all, and ``part.kind`` of what happened."""

    ticks: Mapping[str, int]
    events: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Span:
    """A section as it was performed.

    Attributes
    ----------
    section : Section
    beats, seconds : tuple of float
        Where it begins and ends.
    ticks : mapping
        Part → first tick made in it, and the one after the last.
    clocks : mapping
        Part → ticks, not always whole, for which it had run when the section began.
    """

    section: Section
    beats: tuple[float, float]
    seconds: tuple[float, float]
    ticks: Mapping[str, tuple[int, int]]
    clocks: Mapping[str, float]


@dataclass(frozen=True)
class Form:
    """The sections as they were performed, and their tempi."""

    spans: tuple[Span, ...]
    tempi: TempoMap


def walk(piece: Piece, grain: float = math.inf) -> Generator[Stretch, Report | float, Form]:
    """Lead through a piece: yields how far its parts are to go, is sent what came of it, and returns the `Form`.

    `grain` is the most beats at once, for who plays in real time; it changes no form. Who is sent farther than he wants
    to go sends a number of beats instead, and is given a stretch that is no longer.
    """
    walker = _Walker(piece, grain)
    form = piece.form
    for number, section in enumerate(form, 1):
        yield from walker.section(section, last=number == len(form))
        if walker.ended:
            break
    return Form(tuple(walker.spans), walker.tempi)


class _Walker:
    def __init__(self, piece: Piece, grain: float) -> None:
        self._piece = piece
        self._most = grain
        self.spans: list[Span] = []
        self.tempi = TempoMap()
        self._beat = 0.0
        self._made = dict.fromkeys(piece.parts, 0)
        self._clocks = dict.fromkeys(piece.parts, 0.0)
        self._over: set[str] = set()
        #: Whether somebody said so: a section that waits for an event is then the last one.
        self.ended = False

    def section(self, section: Section, last: bool) -> Generator[Stretch, Report | float, None]:
        """Perform one section."""
        bar = self._piece.metre.beats
        start, longest = self._beat, math.inf if section.bars is None else section.bars * bar
        self._set_tempo(section, start, longest)
        clocks, made = dict(self._clocks), dict(self._made)
        active = section.parts or tuple(self._piece.parts)
        line = bar if section.quantise == "bar" else 1
        steps = [float(line)] if section.until else []
        steps += [GRAIN] if any(isinstance(c, tuple | Coupling) for c in section.controls.values()) else []
        turns = max(math.ceil(longest / GRAIN - _SLACK) - 1, 0) if math.isfinite(longest) else 0
        span = self._span(section, (start, start + longest), {p: (made[p], made[p]) for p in active}, clocks)
        due, done, most = False, False, self._most
        while not done and self._beat < start + longest:
            first, gone = self._beat == start, self._beat - start
            to = _as_far(self._beat + most, [start + longest, *(start + _after(gone, s) for s in steps)])
            targets = {p: n for p in active if (n := self._target(p, section, start, clocks, made, to)) > self._made[p]}
            at = min(round(gone / GRAIN) / turns, 1.0) if turns else 1.0
            seconds = float(self.tempi.seconds(self._beat))
            turns_now = first or _on(gone, GRAIN)
            report = yield Stretch(section, first, turns_now, at, self._beat, seconds, to, targets, span, self.tempi)
            if isinstance(report, float):
                most = report
                continue
            most = self._most
            self._over |= {p for p, n in targets.items() if report.ticks[p] < n}
            self._made.update(report.ticks)
            self._over |= {p for p in active if self._made[p] >= self._piece.parts[p].ticks}
            if math.isinf(longest):
                done = self._over.issuperset(active)
                self._beat = self._end(active, start, clocks, bar, last) if done else to
            else:
                due = due or self._until(section, report)
                done = due and _on(to - start, line)
                self._beat = to
        for part in active:
            warp = section.warp.get(part)
            if warp is None:
                self._clocks[part] = self._clock(part, start, clocks[part], self._beat)
            elif warp.performs:
                self._clocks[part] = float(self._made[part])
        ticks = {p: (made[p], self._made[p]) for p in active}
        self.spans.append(self._span(section, (start, self._beat), ticks, clocks))

    def _span(
        self,
        section: Section,
        beats: tuple[float, float],
        ticks: Mapping[str, tuple[int, int]],
        clocks: Mapping[str, float],
    ) -> Span:
        begins, ends = (float(s) for s in self.tempi.seconds(beats))
        return Span(section, beats, (begins, ends), ticks, clocks)

    def _set_tempo(self, section: Section, beat: float, beats: float) -> None:
        if section.tempo is None and self.tempi.pulses:
            return
        tempo = section.tempo or self._piece.metre.tempo
        ends = tempo if isinstance(tempo, tuple) else (tempo, tempo)
        self.tempi.change(beat, *ends, beats)

    def _target(
        self,
        part: str,
        section: Section,
        start: float,
        clocks: Mapping[str, float],
        made: Mapping[str, int],
        to: float,
    ) -> int:
        """Ticks that a part is to have made at the beat `to`."""
        longest = self._piece.parts[part].ticks
        warp = section.warp.get(part)
        if part in self._over or (warp is not None and not warp.performs):
            return self._made[part]
        if warp is not None:
            return min(made[part] + (warp.ticks or 0), longest)
        if math.isinf(to):
            return longest
        return min(math.ceil(self._clock(part, start, clocks[part], to) - _SLACK), longest)

    def _clock(self, name: str, start: float, clock: float, beat: float) -> float:
        """What a part's clock, `clock` at the beat `start`, shows at another beat."""
        part = self._piece.parts[name]
        if part.per_beat is not None:
            return clock + (beat - start) * part.per_beat
        assert part.rate is not None
        begun, now = self.tempi.seconds([start, beat])
        return clock + float(now - begun) * part.rate

    def _end(self, active: tuple[str, ...], start: float, clocks: Mapping[str, float], bar: int, last: bool) -> float:
        """The beat at which the last of the parts is over; in the middle of a piece the bar line after it."""
        ends = [beat_of(self._piece.parts[p], self.tempi, start, clocks[p], self._made[p]) for p in active]
        end = max([start, *ends])
        return end if last else start + bar * math.ceil((end - start) / bar - _SLACK)

    def _until(self, section: Section, report: Report) -> bool:
        if section.until is None:
            return False
        self.ended = self.ended or any(event.endswith(".ended") for event in report.events)
        return self.ended or section.until in report.events or section.until.partition(".")[0] in self._over


def _on(beats: float, step: float) -> bool:
    return abs(math.remainder(beats, step)) < _SLACK


def _after(beats: float, step: float) -> float:
    """The next multiple of `step`."""
    return step * (math.floor(beats / step + _SLACK) + 1)


def _as_far(to: float, marks: list[float]) -> float:
    """`to`, or the first of `marks` that is not after it."""
    mark = min(marks)
    return mark if mark < to + _SLACK else to


def beat_of(part: Part, tempi: TempoMap, start: float, clock: float, tick: float) -> float:
    """The beat at which the part's clock, `clock` at the beat `start`, shows `tick`."""
    if part.per_beat is not None:
        return start + (tick - clock) / part.per_beat
    assert part.rate is not None
    return float(tempi.beats(float(tempi.seconds(start)) + (tick - clock) / part.rate))


def longest_form(piece: Piece) -> Form:
    """The form if no source is over early and nothing happens that ends a section."""
    return lead(piece, {name: part.ticks for name, part in piece.parts.items()}, {})


def shortened(piece: Piece, seconds: float) -> Piece:
    """The piece, ended after so many seconds at the latest."""
    if not piece.sections:
        ticks = {f"parts.{p}.ticks": min(max(1, round(seconds * piece.rate(p))), LONGEST) for p in piece.parts}
        return piece.with_values(ticks)
    form = longest_form(piece)
    sections = []
    for span in form.spans:
        if span.seconds[0] < seconds - 1e-9:
            end = min(float(form.tempi.beats(seconds)), span.beats[1])
            bars = (end - span.beats[0]) / piece.metre.beats
            less: dict[str, Any] = {"bars": bars} if end < span.beats[1] - _SLACK else {}
            if less and isinstance(span.section.tempo, tuple):
                less["tempo"] = (span.section.tempo[0], form.tempi.tempo(end))
            sections.append(span.section.model_copy(update=less))
    return of_sections(piece, sections)


def of_sections(piece: Piece, sections: Sequence[Section]) -> Piece:
    """The piece with other sections, and the pictures that are seen in them."""
    names = [section.name for section in sections]
    tiles = []
    for tile in piece.picture.tiles:
        left = [name for name in tile.sections if name in names]
        if left or not tile.sections:
            tiles.append(tile.model_dump(exclude={"beside"}) | {"sections": left})
    changes: dict[str, Any] = {"sections": [s.model_dump(exclude_none=True) for s in sections]}
    if any(tile.sections for tile in piece.picture.tiles):
        changes["picture"] = {**tiles[0], "beside": tiles[1:]} if tiles else {}
    return piece.with_values(changes)


def stopped(piece: Piece, number: int, bars: float) -> Piece:
    """The piece, ended after so many bars of one of its sections, counted from 0; none of its sections gets longer."""
    sections = list(piece.form[: number + 1])
    last = sections[-1]
    if last.bars is not None and bars < last.bars:
        less: dict[str, Any] = {"bars": bars}
        if isinstance(last.tempo, tuple):
            less["tempo"] = (last.tempo[0], between(last.tempo, bars / last.bars))
        less["gains"] = {
            name: (gain[0], between(gain, bars / last.bars)) if isinstance(gain, tuple) else gain
            for name, gain in last.gains.items()
        }
        sections[-1] = last.model_copy(update=less)
    if not piece.sections or sections == list(piece.form):
        return piece
    return of_sections(piece, sections)


def reported(
    stretch: Stretch, made: Mapping[str, int], ends: Mapping[str, int], happened: Mapping[str, Mapping[int, set[str]]]
) -> Report:
    """The report on a stretch in which parts went from `made` to `ends`; see `lead`."""
    events = set()
    for part, end in ends.items():
        over = end < stretch.ticks[part]
        for tick, kinds in happened.get(part, {}).items():
            if made[part] <= tick < end or (over and tick == end):
                events |= {f"{part}.{kind}" for kind in kinds}
    return Report(ends, frozenset(events))


def lead(piece: Piece, ticks: Mapping[str, int], happened: Mapping[str, Mapping[int, set[str]]]) -> Form:
    """The form of a recorded performance.

    Parameters
    ----------
    piece : Piece
    ticks : mapping
        Part → ticks recorded.
    happened : mapping
        Part → tick → kinds of the events at it.
    """
    walking = walk(piece)
    made = dict.fromkeys(piece.parts, 0)
    try:
        stretch = next(walking)
        while True:
            ends = {part: min(target, ticks[part]) for part, target in stretch.ticks.items()}
            stretch = walking.send(reported(stretch, made, ends, happened))
            made |= ends
    except StopIteration as stop:
        form: Form = stop.value
        return form
