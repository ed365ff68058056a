"""Who is told what a performer plays: the parts that perform in the section; and notes from a file, in their time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.form import Stretch, of_sections
from pieces.piece import Piece, PieceError
from pieces.sections import Section
from pieces.signals import FrameBlock
from studio.performance import Performance

if TYPE_CHECKING:
    from sonify.incoming import TimedEvent

#: What is performed where no piece is named.
FOUR_PARTS = "castro-live"
#: MIDI controller of the soft pedal, which goes to the next part.
SOFT = 67
#: Seconds that a performance goes on after the last note of a file.
AFTER = 4.0


def heard_as(event: TimedEvent) -> tuple[str, dict[str, Any]]:
    """An event as sources know it: a key let go is a note of velocity 0, controller 67 is the soft pedal."""
    if event.kind in ("note", "note_off"):
        velocity = 0.0 if event.kind == "note_off" else float(event.data["velocity"])
        return "note", {"midi": int(event.data["midi"]), "velocity": velocity}
    if event.kind == "control" and event.data.get("cc") == SOFT:
        return "soft", {"value": float(event.data["value"])}
    return event.kind, dict(event.data)


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
