"""One performance, as the session knows it from what the performer reports."""

from __future__ import annotations

import copy
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.form import Form, Span, lead, stopped
from pieces.piece import Piece, parse_piece
from pieces.signals import Event
from studio.messages import Begin, Made, Opened, Position

if TYPE_CHECKING:
    from studio.keeper import LiveTake

_SLACK = 1e-6


@dataclass
class Run:
    """A performance from its first tick to its last.

    Attributes
    ----------
    name, piece, base, seed
        As in `studio.messages.Begin`.
    take : LiveTake
        What is recorded of it.
    given : mapping
        Part → events that are given again.
    until : float or None
        Beat up to which that happens.
    play : bool
        Whether it goes on by itself.
    recalls : tuple or None
        See `studio.messages.Begin`.
    kept, discarded : bool
        What is to become of its take.
    ended, failed : bool
        Whether it is over, and whether its source failed: then nothing of it can be played again.
    sought : bool
        Whether its recorded ticks are to be played, though it is over.
    """

    name: str
    piece: Mapping[str, Any]
    base: Path
    seed: int
    take: LiveTake
    given: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    until: float | None = None
    play: bool = False
    kept: bool = False
    discarded: bool = False
    ended: bool = False
    failed: bool = False
    sought: bool = False
    recalls: tuple[str, Mapping[str, int]] | None = None
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    opened: Opened | None = None
    position: Position | None = None
    ticks: dict[str, int] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    _told: dict[str, list[Event]] = field(default_factory=dict)
    _happened: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parsed = parse_piece(self.piece, self.name)

    @property
    def begun(self) -> bool:
        """Whether it has made a tick."""
        return any(self.ticks.values())

    @property
    def playing(self) -> bool:
        """Whether time passes in it."""
        return self.position is not None and self.position.mode != "paused" and not self.ended

    @property
    def beat(self) -> float:
        """Where it is: the beat that sounds now."""
        return 0.0 if self.position is None else self.position.beat

    @property
    def end(self) -> float:
        """Beat of the live end."""
        return 0.0 if self.position is None else self.position.end

    def begin(self, engine: str | None) -> Begin:
        """What the performer is told."""
        given = {
            part: tuple({"tick": e.tick, "kind": e.kind, "data": dict(e.data), "given": True} for e in events)
            for part, events in self.given.items()
        }
        paused = self.until is not None or not self.play
        return Begin(
            *(self.name, self.supplied(self.piece), str(self.base), self.seed, engine, given, self.until, paused),
            key=self.key,
            recalls=self.recalls,
        )

    def supplied(self, piece: Mapping[str, Any]) -> dict[str, Any]:
        """A piece in which paths stand for what earlier takes give."""
        made: dict[str, Any] = copy.deepcopy(dict(piece))
        for key, path in self.paths.items():
            owner, _, name = key.partition(".")
            if owner == "sample":
                voice = made["score"].get("voices", {}).get(name, {})
                if str(voice.get("sample")).startswith("take:"):
                    voice["sample"] = path
            elif owner in made["parts"]:
                made["parts"][owner]["inputs"][name] = path
        return made

    def made(self, report: Made) -> None:
        """It has made ticks."""
        part, block = report.part, report.block
        self.ticks[part] = max(self.ticks.get(part, 0), block.end_tick)
        for event in block.events:
            self._happened.setdefault(part, {}).setdefault(event.tick, set()).add(event.kind)
            if event.given:
                self._told.setdefault(part, []).append(event)

    def form(self) -> Form:
        """When its sections began, as far as it has come; a section that it has not left lasts as long as it may."""
        marks = [e.data for events in self._told.values() for e in events if e.kind == "stopped"]
        piece = stopped(self._parsed, marks[0]["section"], marks[0]["bars"]) if marks else self._parsed
        return lead(piece, {part: self.ticks.get(part, 0) for part in piece.parts}, self._happened)

    @property
    def duration(self) -> float:
        """Seconds performed, when it is over."""
        return self.form().spans[-1].seconds[1]

    def last(self, bars: int) -> tuple[float, float]:
        """Seconds from a bar line on to the live end: so many whole bars, and what has begun of the next one."""
        bar = self._parsed.metre.beats
        first = max(math.floor(self.end / bar + _SLACK) - bars, 0) * bar
        start, end = self.form().tempi.seconds([first, self.end]).tolist()
        return start, end

    def ticks_at(self, beat: float) -> dict[str, int]:
        """Part → ticks that it had made at a beat."""
        form, made = self.form(), dict.fromkeys(self._parsed.parts, 0)
        for span in form.spans:
            if span.beats[0] > beat - _SLACK:
                break
            for part in span.ticks:
                made[part] = _within(self._parsed, form, span, part, beat)
        return made

    def told_until(self, ticks: Mapping[str, int], *kinds_left_out: str) -> dict[str, tuple[Event, ...]]:
        """What was given to each part before some tick of it, but for its end and some kinds."""
        left_out = ("stopped", *kinds_left_out)
        return {
            part: tuple(e for e in events if e.tick < ticks.get(part, 0) and e.kind not in left_out)
            for part, events in self._told.items()
        }

    def state(self, given: Mapping[str, tuple[Event, ...]]) -> dict[str, Any]:
        """The piece with controls and score as such events leave them."""
        made: dict[str, Any] = copy.deepcopy(dict(self.piece))
        scores: list[tuple[float, Any]] = []
        for part, events in given.items():
            for event in events:
                if event.kind == "control":
                    made["parts"][part]["controls"][event.data["name"]] = event.data["value"]
                elif event.kind == "score":
                    scores.append((float(event.data.get("beat", 0.0)), event.data["score"]))
        if scores:
            made["score"] = max(scores, key=lambda found: found[0])[1]
        return made


def _within(piece: Piece, form: Form, span: Span, part: str, beat: float) -> int:
    """Ticks that a part has made at a beat in or after a section."""
    first, last = span.ticks[part]
    if beat >= span.beats[1] - _SLACK:
        return last
    found, warp = piece.parts[part], span.section.warp.get(part)
    if warp is not None:
        gone = (beat - span.beats[0]) / (span.beats[1] - span.beats[0]) * (last - first) if warp.performs else 0.0
    elif found.per_beat is not None:
        gone = (beat - span.beats[0]) * found.per_beat + span.clocks[part] - first
    else:
        assert found.rate is not None
        gone = (float(form.tempi.seconds(beat)) - span.seconds[0]) * found.rate + span.clocks[part] - first
    return min(max(first + math.ceil(gone - _SLACK), first), last)
