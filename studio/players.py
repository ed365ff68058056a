"""Who plays in the studio beside its keys: MIDI and OSC that come in are given to a session."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pieces.errors import DescantError
from pieces.signals import Value
from studio.messages import Opened, Set
from studio.prompt import Controllers, Port, check_heard, meant, parse_controllers

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

    Parameters
    ----------
    name : str
        The piece whose controls are turned; others are played by notes and events alone.
    session : Played
    inbox : Inbox
        What comes in.
    notice : callable
        Told in one line what could not be used.
    cc : sequence of str
        Which MIDI controller turns what, as it is written on the command line.
    notes : sequence of TimedEvent
        Those of a file, which the session has already: to say so if nobody listens to them.

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
        self._openings: queue.SimpleQueue[Opened] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._play, name="players", daemon=True)

    def hear(self, report: object) -> None:
        """What the session reports; from any thread."""
        if isinstance(report, Opened):
            self._openings.put(report)

    def __enter__(self) -> Players:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._thread.join()

    def _play(self) -> None:
        while not self._closing.is_set():
            with suppress(queue.Empty):
                self._opened = self._openings.get(timeout=_LOOK)
                self._attempt(self._begin)
            for event in self._inbox.drain():
                self._attempt(self._give, event)
            if self.port is not None and not self.port.is_there():
                self.port = None

    def _begin(self) -> None:
        """A performance begins."""
        self._controllers = {}
        if self._session.name == self._name:
            self._controllers = parse_controllers(self._opened.controls, self._cc)
            if self._notes:
                check_heard(self._name, self._notes, self._listens)

    @property
    def _listens(self) -> set[str]:
        return {kind for kinds in self._opened.listens.values() for kind in kinds}

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
