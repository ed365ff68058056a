"""Form: metre, sections and time-warps, and the walk through them.

A piece is performed section by section. Its clock is the beat: a part makes so many ticks a beat (or a second), a
section lasts so many bars, or until something happens in a part. `walk` says how far every part is to go, and is told
what happened; so the same code leads a performance and finds, from what was recorded, when every section began.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from pieces.metre import Model, Tempo, TempoMap
from pieces.source import nearest

if TYPE_CHECKING:
    from pieces.piece import Part, Piece

#: Ticks of a part that only the form ends.
LONGEST = 100_000_000
#: Beats between two values of a control that changes in a section.
GRAIN = 0.25
#: Ticks: what a clock may be short of a whole number by rounding.
_SLACK = 1e-6


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _kind(given: Any) -> str:
    if isinstance(given, list | tuple):
        return "ramp"
    return "coupling" if isinstance(given, dict | Coupling) else "choice" if isinstance(given, str) else "value"


def _one_or_two(given: Any) -> str:
    return "ramp" if isinstance(given, list | tuple) else "value"


def _dotted(text: str) -> str:
    """``part.event`` or ``part.channel``."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*\.[A-Za-z_]\w*", text):
        raise ValueError("write it with its part in front, as in part.name")
    return text


Dotted = Annotated[str, AfterValidator(_dotted)]
Decibels = Annotated[float, Field(ge=-100, le=24)]
#: A number, or two: from the first at the section's beginning to the second at its end. Which of them is meant is told
#: by hand, so that an error is about that one.
Gain = Annotated[
    Annotated[Decibels, Tag("value")] | Annotated[tuple[Decibels, Decibels], Tag("ramp")], Discriminator(_one_or_two)
]
Tempi = Annotated[
    Annotated[Tempo, Tag("value")] | Annotated[tuple[Tempo, Tempo], Tag("ramp")], Discriminator(_one_or_two)
]


class Coupling(Model):
    """A control that follows a channel of another part: `domain` onto `range`, clipped, equal steps in `shape`."""

    channel: Dotted = Field(description="part.channel, a scalar one")
    domain: tuple[float, float]
    range: tuple[float, float]
    shape: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _check(self) -> Coupling:
        if not self.domain[0] < self.domain[1]:
            raise ValueError(f"domain {list(self.domain)} must rise")
        if self.shape == "log" and min(*self.domain, *self.range) <= 0:
            raise ValueError("shape 'log' needs a domain and a range above 0")
        return self

    def value(self, x: float) -> float:
        """The control's value where the channel has the value `x`."""
        low, high = self.domain
        x = min(max(x, low), high)
        u = math.log(x / low) / math.log(high / low) if self.shape == "log" else (x - low) / (high - low)
        return between(self.range, u, self.shape)


def between(ends: tuple[float, float], u: float, shape: str = "linear") -> float:
    """The value at `u` in 0..1 between two, equal steps in `shape`; never beyond them."""
    start, end = ends
    log = shape == "log" and start > 0 and end > 0
    value = start * (end / start) ** u if log else start * (1 - u) + u * end
    return float(min(max(value, min(ends)), max(ends)))  # rounding may not lead out of a control's range


Change = Annotated[
    Annotated[float, Tag("value")]
    | Annotated[tuple[float, float], Tag("ramp")]
    | Annotated[str, Tag("choice")]
    | Annotated[Coupling, Tag("coupling")],
    Discriminator(_kind),
]


class Warp(Model):
    """How a part's ticks lie in the time of a section, where they do not go on at their rate.

    ``log`` and ``even`` perform `ticks` more: equal times for equal ratios of the number of ticks, or equal change of
    `channel` in equal times (so the same change in every bar). The others perform none: ``freeze`` holds the last tick,
    ``loop`` repeats the last `beats`, ``retrograde`` goes back from the last tick, ``recall`` is heard once more what
    was performed in the section `of`.
    """

    kind: Literal["log", "even", "freeze", "loop", "retrograde", "recall"]
    ticks: int | None = Field(default=None, ge=2, le=100_000_000)
    channel: str | None = Field(default=None, description="of the part itself, a scalar one")
    beats: float | None = Field(default=None, gt=0, le=4096)
    of: str | None = None

    @property
    def performs(self) -> bool:
        """Whether the source makes ticks in it."""
        return self.kind in ("log", "even")

    @model_validator(mode="after")
    def _check(self) -> Warp:
        wanted = {"log": {"ticks"}, "even": {"ticks", "channel"}, "loop": {"beats"}, "recall": {"of"}}
        needs = wanted.get(self.kind, set())
        for field in ("ticks", "channel", "beats", "of"):
            given = getattr(self, field) is not None
            if given != (field in needs):
                raise ValueError(f"kind {self.kind!r} {'has no' if given else 'needs'} {field!r}")
        return self


class Section(Model):
    """A stretch of the form.

    Without `bars` it lasts until its parts are over; with `until` it ends on the first bar line (or beat) after that
    event, or after its part is over, and after `bars` at the latest.
    """

    name: str = Field(min_length=1)
    parts: tuple[str, ...] = Field(default=(), description="parts that are performed in it; default: all")
    bars: float | None = Field(default=None, gt=0, le=100_000)
    until: Dotted | None = Field(default=None, description="part.event")
    quantise: Literal["bar", "beat"] = "bar"
    tempo: Tempi | None = Field(default=None, description="default: the one before")
    voices: tuple[str, ...] | None = Field(default=None, description="voices that sound in it; default: its parts' own")
    gains: dict[str, Gain] = Field(default_factory=dict, description="dB added to a voice or a group")
    controls: dict[Dotted, Change] = Field(
        default_factory=dict, description="part.control: a value, a ramp, or what it follows"
    )
    warp: dict[str, Warp] = Field(default_factory=dict, description="by part")

    @model_validator(mode="after")
    def _check(self) -> Section:
        if self.until and self.bars is None:
            raise ValueError(f"until {self.until!r} may never come: give 'bars', the longest length")
        if self.warp and self.bars is None:
            raise ValueError("a time-warp needs 'bars', the length that it fills")
        if isinstance(self.tempo, tuple) and (self.until or self.bars is None):
            raise ValueError("a tempo that changes needs a known length: give 'bars' without 'until', or one tempo")
        for name, given in self.controls.items():
            if isinstance(given, tuple) and self.bars is None:
                raise ValueError(f"controls.{name} changes along the section: give it 'bars', its length")
        return self


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
    ticks : mapping
        Part → how many ticks it will have made in all.
    """

    section: Section
    first: bool
    turns: bool
    at: float
    beat: float
    seconds: float
    ticks: Mapping[str, int]


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


def walk(piece: Piece, grain: float = math.inf) -> Generator[Stretch, Report, Form]:
    """Lead through a piece: yields how far its parts are to go, is sent what came of it, and returns the `Form`.

    `grain` is the most beats at once, for who plays in real time; it changes no form.
    """
    walker = _Walker(piece, grain)
    form = piece.form
    for number, section in enumerate(form, 1):
        yield from walker.section(section, last=number == len(form))
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

    def section(self, section: Section, last: bool) -> Generator[Stretch, Report, None]:
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
        due, done = False, False
        while not done and self._beat < start + longest:
            first, gone = self._beat == start, self._beat - start
            to = _as_far(self._beat + self._most, [start + longest, *(start + _after(gone, s) for s in steps)])
            targets = {p: n for p in active if (n := self._target(p, section, start, clocks, made, to)) > self._made[p]}
            at = min(round(gone / GRAIN) / turns, 1.0) if turns else 1.0
            seconds = float(self.tempi.seconds(self._beat))
            report = yield Stretch(section, first, first or _on(gone, GRAIN), at, self._beat, seconds, targets)
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
        span = tuple(float(s) for s in self.tempi.seconds([start, self._beat]))
        ticks = {p: (made[p], self._made[p]) for p in active}
        self.spans.append(Span(section, (start, self._beat), (span[0], span[1]), ticks, clocks))

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
        return section.until in report.events or section.until.partition(".")[0] in self._over


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
    return piece.with_values({"sections": [s.model_dump(exclude_none=True) for s in sections]})


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


def check_form(piece: Piece) -> None:
    """See that sections name parts, events and sections that there are, and end; `ValueError` says what does not."""
    played: set[str] = set()
    names: dict[str, tuple[str, ...]] = {}
    for section in piece.form:
        at = f"section {section.name!r}"
        if section.name in names:
            raise ValueError(f"two sections are called {section.name!r}: rename one")
        active = section.parts or tuple(piece.parts)
        named = {
            "parts": section.parts,
            "warp": section.warp,
            "controls": [c.partition(".")[0] for c in section.controls],
        }
        named["until"] = [section.until.partition(".")[0]] if section.until else []
        for field, parts in named.items():
            for part in parts:
                if part not in piece.parts:
                    said = at if field == "parts" else f"{at}: {field}"
                    raise ValueError(f"{said} names part {part!r}{nearest(part, piece.parts)}")
                if part not in active:
                    raise ValueError(f"{at}: {field} names part {part!r}, which is not among its parts: add it")
        _check_warps(section, played, names, at)
        _check_changes(section, piece, played.union(active), at)
        if section.bars is None and any(piece.parts[p].ticks == LONGEST for p in active):
            endless = next(p for p in active if piece.parts[p].ticks == LONGEST)
            either = (
                f"{at} never ends: give it 'bars'" if piece.sections else "the piece never ends: give it 'sections'"
            )
            raise ValueError(f"{either}, or the part {endless!r} 'ticks'")
        names[section.name] = tuple(p for p in active if p not in section.warp or section.warp[p].performs)
        played.update(names[section.name])


def _check_warps(section: Section, played: set[str], names: Mapping[str, tuple[str, ...]], at: str) -> None:
    for part, warp in section.warp.items():
        if not warp.performs and part not in played:
            raise ValueError(f"{at}: warp.{part} = {warp.kind!r}: nothing of {part} was performed before")
        if warp.of is not None and part not in names.get(warp.of, ()):
            raise ValueError(f"{at}: warp.{part}.of = {warp.of!r}: no earlier section of that name performs {part}")
    if section.until and section.until.partition(".")[0] in section.warp:
        raise ValueError(f"{at}: until {section.until!r}: that part is warped here, so it cannot end the section")


def _check_changes(section: Section, piece: Piece, begun: set[str], at: str) -> None:
    """See that controls can change as they are to, and follow nobody who, over others or at once, follows them."""
    drives: dict[str, set[str]] = {}
    for control, given in section.controls.items():
        part, warp = control.partition(".")[0], section.warp.get(control.partition(".")[0])
        if warp is not None and not (warp.performs and isinstance(given, float | str)):
            can = "can only be set to one value" if warp.performs else "cannot be set"
            raise ValueError(f"{at}: controls.{control}: {can} where {part} is warped ({warp.kind!r})")
        if isinstance(given, Coupling):
            leader = given.channel.partition(".")[0]
            if leader not in piece.parts:
                raise ValueError(f"{at}: controls.{control}: no part {leader!r}{nearest(leader, piece.parts)}")
            if leader not in begun or leader in section.warp:
                why = "is warped in it" if leader in section.warp else "has not begun"
                raise ValueError(f"{at}: controls.{control} cannot follow {given.channel}: {leader} {why}")
            drives.setdefault(part, set()).add(leader)
    try:
        TopologicalSorter(drives).prepare()
    except CycleError as error:
        raise ValueError(f"{at}: controls follow each other in a circle: {' -> '.join(error.args[1])}") from None
