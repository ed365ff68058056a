"""What comes in, what it means, and who is told: the parts that perform in the section; and notes of a file in time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pieces.errors import DescantError
from pieces.form import Stretch, of_sections
from pieces.keys import note, pedal
from pieces.piece import Piece, PieceError
from pieces.sections import Section
from pieces.signals import Control, Event, FrameBlock
from pieces.source import nearest
from studio.messages import Send, Set
from studio.performance import Performance

if TYPE_CHECKING:
    from sonify.incoming import TimedEvent
    from sonify.midi_in import MidiIn

#: What is performed where no piece is named.
FOUR_PARTS = "castro-live"
#: MIDI controller of the soft pedal, which goes to the next part.
SOFT = 67
#: Seconds that a performance goes on after the last note of a file.
AFTER = 4.0
#: Kinds of event that are for all parts, also for those that have not begun.
FOR_ALL = ("await", "end")

#: Part → its controls; and MIDI controller → the part and the control that it turns.
Controls: TypeAlias = Mapping[str, Iterable[Control]]
Controllers: TypeAlias = Mapping[int, tuple[str, str]]


def heard_as(event: TimedEvent) -> tuple[str, dict[str, Any]]:
    """An event as sources know it: a key let go is a note of velocity 0, controller 67 is the soft pedal.

    Raises
    ------
    SourceError
        If it is a note or a pedal with data that no source could use.
    """
    kind, data = event.kind, dict(event.data)
    if kind == "note_off":
        kind, data = "note", {**data, "velocity": 0.0}
    elif kind == "control" and data.get("cc") == SOFT:
        kind, data = "soft", {"value": data.get("value")}
    if kind == "note":
        midi, velocity = note(Event(0, kind, data))
        return kind, {"midi": midi, "velocity": velocity}
    if kind in ("soft", "pedal"):
        data["value"] = pedal(Event(0, kind, data))
    return kind, data


def meant(event: TimedEvent, controllers: Controllers, controls: Controls) -> Set | Send | None:
    """What an event asks for: a control that is turned, or something that is played; nothing of a knob without a use.

    Raises
    ------
    DescantError
        If it asks for what there is not.
    """
    data = event.data
    if event.kind == "set":
        name = str(data.get("control"))
        part = str(data.get("part") or (next(iter(controls)) if len(controls) == 1 else ""))
        if part not in controls:
            raise PieceError(f"set {part}/{name}: no part {part!r}{nearest(part, controls)}")
        return Set(part, name, data["value"])
    if event.kind == "control" and data.get("cc") in controllers:
        part, control = controllers[data["cc"]]
        declared = next(c for c in controls[part] if c.name == control)
        return Set(part, control, declared.value(min(max(pedal(Event(0, "control", data)), 0.0), 1.0)))
    return None if event.kind == "control" and data.get("cc") != SOFT else Send(*heard_as(event))


def parse_controllers(controls: Controls, given: Sequence[str]) -> dict[int, tuple[str, str]]:
    """``"1=fit.learning_rate"`` → ``{1: ("fit", "learning_rate")}``; the part may be left out when there is one.

    Raises
    ------
    PieceError
        If one cannot be read, or turns nothing.
    """
    found = {}
    for text in given:
        number, equals, name = text.partition("=")
        part, _, control = name.rpartition(".")
        part = part or next(iter(controls))
        if not equals or not number.strip().isdigit() or int(number) > 127:
            raise PieceError(f"--cc {text}: write it as NUMBER=part.control, the number from 0 to 127")
        if part not in controls:
            raise PieceError(f"--cc {text}: no part {part!r}{nearest(part, controls)}")
        live = [c.name for c in controls[part] if c.live and c.range is not None]
        if control not in live:
            raise PieceError(
                f"--cc {text}: {part} has no control {control!r} that a knob can turn{nearest(control, live)}"
            )
        found[int(number)] = (part, control)
    return found


class Prompter:
    """Gives events to the parts that listen to them and perform in the section that is played.

    A key that is let go is let go for those for whom it was struck, wherever the piece has got to.
    """

    def __init__(self) -> None:
        self._struck: dict[int, list[Performance]] = {}

    def give(
        self, kind: str, data: Mapping[str, Any], section: Section, performances: Mapping[str, Performance]
    ) -> bool:
        """Give one event; whether anybody listened."""
        told = [p for p in performing(section, performances) if kind in p.source.listens]
        if kind == "note":
            midi = int(data["midi"])
            if float(data.get("velocity", 1.0)) > 0:
                self._struck[midi] = told
            else:
                told = self._struck.pop(midi, told)
        for performance in told:
            performance.send(kind, data)
        return bool(told)

    def everybody(
        self, kind: str, performances: Mapping[str, Performance], data: Mapping[str, Any] | None = None
    ) -> bool:
        """Give an event to all parts that listen to it, now or when they begin; whether there is one."""
        told = [p for p in performances.values() if kind in p.source.listens]
        for performance in told:
            performance.send(kind, data)
        return bool(told)


def performing(section: Section, performances: Mapping[str, Performance]) -> list[Performance]:
    """The parts that make ticks in a section."""
    names = section.parts or tuple(performances)
    return [performances[n] for n in names if n not in section.warp or section.warp[n].performs]


class Port:
    """A MIDI port that is looked after: when it is gone its notes end, and the performance goes on without it."""

    def __init__(self, midi: MidiIn, notice: Callable[[str], None]) -> None:
        self._midi, self._notice, self._checked = midi, notice, 0.0

    def is_there(self) -> bool:
        """Whether it was there when it was last looked for, at most a second ago."""
        if time.monotonic() - self._checked > 1.0:
            self._checked = time.monotonic()
            try:
                self._midi.check()
            except DescantError as error:
                self._notice(f"{error}; the performance goes on without it")
                return False
        return True


class Roll:
    """The events of a file, each due at its time in the piece."""

    def __init__(self, events: Iterable[TimedEvent]) -> None:
        self._events = deque(sorted(events, key=lambda e: e.seconds))
        #: Seconds of the piece at which there is no more to come.
        self.over = self._events[-1].seconds + AFTER if self._events else 0.0

    def due(self, seconds: float) -> list[TimedEvent]:
        """Take what is due by a time."""
        found = []
        while self._events and self._events[0].seconds <= seconds + 1e-6:
            found.append(self._events.popleft())
        return found


class Script:
    """A `studio.conductor.Stage` on which nobody waits: the events of a file are given as fast as it goes."""

    def __init__(self, piece: Piece, events: Iterable[TimedEvent]) -> None:
        self._roll = Roll(events)
        self._prompter = Prompter()
        self._done = False
        self.grain = finest(piece)

    def wait(self, stretch: Stretch, performances: Mapping[str, Performance]) -> None:
        """Give what is due, and the end when nothing more is to come."""
        if stretch.beat == 0:
            self._prompter.everybody("await", performances)
        for event in self._roll.due(stretch.seconds):
            self._prompter.give(*heard_as(event), stretch.section, performances)
        if stretch.seconds >= self._roll.over and not self._done:
            self._done = True
            self._prompter.everybody("end", performances)

    def hear(self, part: str, block: FrameBlock) -> None:
        """Nobody listens."""


def scripted(notes: Sequence[TimedEvent]) -> list[Send]:
    """The events of a file as they are given in their time, and the end after them."""
    over = [Send("end", {}, Roll(notes).over)] if notes else []
    return [Send(*heard_as(event), event.seconds) for event in notes] + over


def finest(piece: Piece) -> float:
    """Beats of a tick of the fastest part, so that what is played falls on its tick."""
    return piece.metre.tempo / 60 / max(piece.rate(part) for part in piece.parts)


def check_heard(name: str, events: Iterable[TimedEvent], listens: Iterable[str]) -> None:
    """See that a piece listens to some of the events.

    Raises
    ------
    PieceError
        If it does not.
    """
    found = list(events)
    known = sorted(set(listens))
    if not any(heard_as(event)[0] in known for event in found):
        raise PieceError(f"{name}: none of the {len(found)} events is for it: it listens to {known or 'none'}")


def awaits(piece: Piece) -> bool:
    """Whether a performer's keys are a part of the piece."""
    return any(part.source == "keys" for part in piece.parts.values())


def from_part(piece: Piece, number: int) -> Piece:
    """The piece from one of its sections on, counted from 1.

    Raises
    ------
    PieceError
        If it has no such section.
    """
    if not 1 <= number <= len(piece.sections):
        raise PieceError(f"part {number}: allowed are 1 to {len(piece.sections)}: {_listed(piece)}")
    return of_sections(piece, piece.sections[number - 1 :])


def _listed(piece: Piece) -> str:
    return ", ".join(f"{k} {section.name}" for k, section in enumerate(piece.sections, 1))


def with_video(piece: Piece, video: str) -> Piece:
    """The piece over another video: a file, ``moving``, the built-in one, or ``camera``, which is filmed meanwhile.

    Raises
    ------
    PieceError
        If no part of it is a video.
    """
    parts = [name for name, part in piece.parts.items() if part.source == "video"]
    if not parts:
        raise PieceError(f"--video {video}: no part of {piece.title!r} is a video: give one the source 'video'")
    inputs = {} if video in ("moving", "camera") else {"video": str(Path(video).expanduser().resolve())}
    return piece.with_values({f"parts.{name}.inputs": inputs for name in parts})
