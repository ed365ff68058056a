"""Who plays in the studio beside its keys: MIDI and OSC that come in, and the notes of a file, given to a session."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pieces.signals import DescantError, Value
from studio.messages import Ended, Opened, Position, Set
from studio.prompt import Controllers, Port, Roll, check_heard, meant, parse_controllers

if TYPE_CHECKING:
    from sonify.incoming import Inbox, TimedEvent

#: Seconds between two looks at what came in.
_LOOK = 0.002


class Played(Protocol):
    """A session, as it is played from outside."""

    name: str

    def send(self, kind: str, data: Mapping[str, Any]) -> None: ...
    def turn(self, part: str, control: str, value: Value) -> None: ...


class Players:
    """Gives a session what it is played by, in a thread, while it is entered.

    A file plays as a person does, to what sounds: its time is that of the piece as it is heard, and holds with it. When
    it is over, so is a piece that listens to ``end``.

    Parameters
    ----------
    name : str
        What is performed, for people.
    session : Played
    inbox : Inbox
        What comes in.
    notice : callable
        Told in one line what could not be used.
    cc : sequence of str
        Which MIDI controller turns what, as it is written on the command line.
    notes : sequence of TimedEvent
        Those of a file.

    Attributes
    ----------
    port : Port or None
        Looked after.
    """

    def __init__(
        self,
        name: str,
        session: Played,
        inbox: Inbox,
        notice: Callable[[str], None],
        cc: Sequence[str] = (),
        notes: Sequence[TimedEvent] = (),
    ) -> None:
        self.port: Port | None = None
        self._name, self._session, self._inbox, self._notice = name, session, inbox, notice
        self._cc, self._notes = cc, notes
        self._opened = Opened({}, {}, {})
        self._controllers: Controllers = {}
        self._roll: Roll | None = None
        #: Where the piece is heard, and when that was said.
        self._place: Position | None = None
        self._heard = 0.0
        self._reports: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._play, name="players", daemon=True)

    def hear(self, report: object) -> None:
        """What the session reports; from any thread."""
        if isinstance(report, Opened | Position | Ended):
            self._reports.put(report)

    def __enter__(self) -> Players:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._thread.join()

    def _play(self) -> None:
        while not self._closing.is_set():
            with suppress(queue.Empty):
                self._take(self._reports.get(timeout=_LOOK))
            for event in (*self._due(), *self._inbox.drain()):
                self._attempt(self._give, event)
            if self.port is not None and not self.port.is_there():
                self.port = None

    def _take(self, report: object) -> None:
        if isinstance(report, Opened):
            self._opened, self._place = report, None
            self._attempt(self._begin)
        elif isinstance(report, Position):
            self._place, self._heard = report, time.monotonic()
            if report.mode == "paused" and self._roll is not None:  # a branch goes on where it holds
                self._roll.skip(report.seconds)
        else:
            self._place = None

    def _begin(self) -> None:
        """A performance begins, and the file with it; other pieces are played by notes and events alone."""
        self._roll, self._controllers = None, {}
        if self._session.name != self._name:
            return
        self._roll = Roll(self._notes) if self._notes else None
        self._controllers = parse_controllers(self._opened.controls, self._cc)
        if self._notes:
            check_heard(self._name, self._notes, self._listens)

    @property
    def _listens(self) -> set[str]:
        return {kind for kinds in self._opened.listens.values() for kind in kinds}

    def _due(self) -> list[TimedEvent]:
        """What of the file is to be played now."""
        place, roll = self._place, self._roll
        if place is None or roll is None or place.mode != "live":
            return []
        seconds = place.seconds + min(time.monotonic() - self._heard, 1.0) * place.speed
        if seconds >= roll.over:
            self._roll = None
            if "end" in self._listens:
                self._attempt(self._session.send, "end", {})
        return roll.due(seconds)

    def _give(self, event: TimedEvent) -> None:
        asked = meant(event, self._controllers, self._opened.controls)
        if isinstance(asked, Set):
            self._session.turn(asked.part, asked.control, asked.value)
        elif asked is not None and asked.kind in self._listens:
            self._session.send(asked.kind, asked.data)

    def _attempt(self, deed: Callable[..., None], *given: object) -> None:
        try:
            deed(*given)
        except DescantError as error:
            self._notice(str(error))
