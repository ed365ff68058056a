"""Sections of a piece: how long, with which parts and voices, what changes in them, and time-warps."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from pieces.metre import Model, Tempo
from pieces.source import nearest

if TYPE_CHECKING:
    from pieces.piece import Piece

#: Ticks of a part that only the form ends: more than a piece may ask for.
LONGEST = 100_000_001

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
    event, or after its part is over, and after `bars` at the latest. The event ``ended`` of any part ends it likewise,
    and the piece with it.
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
