"""What a screen needs of the session behind it, and what it remembers of its reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from studio.messages import Ended, Made, Opened, Position, Rescored, Turned

if TYPE_CHECKING:
    from pieces.signals import Control, Value
    from studio.audition import Sound
    from studio.history import History
    from studio.screens.trails import Trail

#: Seconds in which a place that was asked for is reported.
SOUGHT_S = 1.0


class Model(Protocol):
    """The studio's session, as the screens use it. Everything returns at once; what comes of it is reported.

    What cannot be done raises `DescantError` with one line.
    """

    @property
    def name(self) -> str:
        """What the piece is called; empty before one is open."""
        ...

    @property
    def piece(self) -> Mapping[str, Any]:
        """The piece as plain data."""
        ...

    @property
    def base(self) -> Path:
        """Folder that the piece's relative paths are read against."""
        ...

    @property
    def place(self) -> str:
        """The archive's path or URL: where takes are written, and read."""
        ...

    @property
    def sound(self) -> Sound | None:
        """The sound engine, for takes that are listened to."""
        ...

    def open(self, name: str) -> None:
        """Open a piece (a name or a path): it is ready and paused."""
        ...

    def play(self) -> None: ...
    def pause(self) -> None: ...
    def step(self) -> None: ...
    def stop(self) -> None: ...
    def seek(self, beat: float) -> None: ...
    def loop(self, beats: tuple[float, float] | None) -> None: ...
    def speed(self, factor: float) -> None: ...
    def branch(self) -> None: ...
    def new_seed(self, seed: int | None = None) -> None: ...

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        """Give every part that listens to it an event, such as a note."""
        ...

    def awaits(self, player: bool) -> None:
        """Whether there is a player: then parts wait for notes, now and in performances to come."""
        ...

    def set(self, part: str, control: str, value: Value) -> None:
        """Turn a control."""
        ...

    def edit(self, path: str, value: Any) -> None:
        """Change the piece at a dotted path; checked at once, heard at the next beat, undone by `undo`."""
        ...

    def gain(self, voice: str, gain_db: float) -> None:
        """Set a voice's gain."""
        ...

    def strip(self, voice: str, *, mute: bool | None = None, solo: bool | None = None) -> None:
        """Mute or solo a voice."""
        ...

    def recover(self, session_id: str) -> None:
        """Go on with a session that was closed, or interrupted."""
        ...

    def forget(self, session_id: str) -> None:
        """It is not wanted back."""
        ...

    def look_back(self) -> None:
        """Report the sessions that were interrupted."""
        ...

    @property
    def history(self) -> History:
        """All edits; to be read only."""
        ...

    def undo(self) -> None: ...
    def redo(self) -> None: ...

    def jump(self, number: int) -> None:
        """Go to any edit of the history, also one that was left."""
        ...

    def keep(self) -> None: ...
    def keep_last(self, bars: int = 16) -> None: ...
    def discard(self) -> None: ...
    def panic(self) -> None: ...

    def hush(self) -> None:
        """Hold the performance, silent at once: something else is to be heard."""
        ...

    def file(self) -> Path:
        """The piece as a file to edit; what is saved in it is heard at the next bar."""
        ...

    def save_as(self, path: Path) -> None: ...

    @property
    def unsaved(self) -> str:
        """What would be lost by leaving now, as one line; empty if nothing would."""
        ...

    def close(self) -> None:
        """End the processes; waits for them, and up to a minute for stretches that are being kept."""
        ...


@dataclass
class Memory:
    """What the screen knows: made of reports, in the order in which they came."""

    now: Callable[[], float] = time.monotonic
    opened: Opened | None = None
    position: Position | None = None
    heard_at: float = 0.0
    trails: dict[str, Trail] = field(default_factory=dict)
    values: dict[tuple[str, str], Value] = field(default_factory=dict)
    score: Mapping[str, Any] = field(default_factory=dict)
    ended: Ended | None = None
    #: The beat that was asked for last, and when; None as soon as it is reported.
    sought: tuple[float, float] | None = None

    def hear(self, report: object) -> None:
        """Take a report in."""
        if isinstance(report, Opened):
            self._open(report)
        elif isinstance(report, Made):
            if (trail := self.trails.get(report.part)) is not None:
                trail.add(report.block.first_tick, report.block.arrays)
        elif isinstance(report, Position):
            self.position, self.heard_at = report, self.now()
            near = 0.5 if self.playing else 0.05  # what sounds is a little behind
            if self.sought is not None and abs(report.beat - self._aimed(self.sought)) < near:
                self.sought = None
        elif isinstance(report, Turned):
            self.values[report.part, report.control] = report.value
        elif isinstance(report, Rescored):
            self.score = report.score
        elif isinstance(report, Ended):
            self.ended = report

    def _open(self, report: Opened) -> None:
        from studio.screens.trails import Trail

        self.opened, self.position, self.ended, self.sought = report, None, None, None
        self.trails = {part: Trail(channels) for part, channels in report.channels.items()}
        self.values = {(p, c): v for p, values in report.values.items() for c, v in values.items()}

    def controls(self) -> list[tuple[str, Control]]:
        """All controls, part by part."""
        return [] if self.opened is None else [(p, c) for p, found in self.opened.controls.items() for c in found]

    @property
    def playing(self) -> bool:
        """Whether time passes."""
        return self.position is not None and self.position.mode != "paused" and self.ended is None

    def beat(self) -> float:
        """The beat that sounds now: the last report, and the time since, at most a second."""
        place = self.position
        if place is None:
            return 0.0
        if not self.playing:
            return place.beat
        passed = min(self.now() - self.heard_at, 1.0) * place.speed * place.tempo / 60
        return max(place.beat + passed, 0.0)

    def seek(self, beat: float) -> None:
        """A place was asked for."""
        self.sought = beat, self.now()

    def aim(self) -> float:
        """The beat that the next move starts from: the one asked for last, while it is not reported; else `beat`."""
        if self.sought is None or self.now() - self.sought[1] > SOUGHT_S:
            return self.beat()
        return self._aimed(self.sought)

    def _aimed(self, sought: tuple[float, float]) -> float:
        beat, at = sought
        place = self.position
        if place is None or not self.playing:
            return beat
        return max(beat + (self.now() - at) * place.speed * place.tempo / 60, 0.0)

    def seconds(self) -> float:
        """The time of the piece that sounds now."""
        place = self.position
        return 0.0 if place is None else place.seconds + (self.beat() - place.beat) / max(place.tempo, 1e-9) * 60
