"""The computer keyboard as a piano over the compose screen: while it is on, keys are notes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from textual import events

from studio.piano import HELP, Piano

#: What is said where nobody listens to notes.
DEAF = "no part of this piece listens to notes: keys are commands"
#: Gives one event to the performance.
Give = Callable[[str, Mapping[str, Any]], object]


class Playing:
    """Keys → notes, while it is on.

    Parameters
    ----------
    give : callable
        Takes a kind of event and its data.
    awaits : callable
        Told whether there is a player to wait for.
    is_free : callable
        Whether a key, as Textual names it, stays what it is: panic, and what turns this off.
    now : callable
        Seconds.
    """

    def __init__(
        self,
        give: Give,
        awaits: Callable[[bool], object],
        is_free: Callable[[str], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._give, self._awaits, self._is_free, self._now = give, awaits, is_free, now
        self._piano: Piano | None = None

    @property
    def is_on(self) -> bool:
        """Whether keys are notes."""
        return self._piano is not None

    def turn(self, is_heard: bool) -> str:
        """On, or off again; what to tell the player, whom the piece may not hear."""
        if self._piano is not None:
            return self.end()
        if not is_heard:
            return DEAF
        self._awaits(True)
        return self.begin()

    def begin(self) -> str:
        """On; what the keys do."""
        self._piano = Piano()
        return HELP

    def end(self) -> str:
        """Off."""
        if self._piano is not None:
            self._send(self._piano.silence())
            self._awaits(False)
        self._piano = None
        return "keys are commands again"

    def key(self, event: events.Key) -> bool:
        """Whether a key was meant for the piano; then it is played."""
        if self._piano is None or self._is_free(event.key):
            return False
        # What is neither a note nor a command of the piano is nothing: a slip must not begin a new take.
        self._send(self._piano.key(event.character or event.key, self._now()))
        return True

    def due(self) -> None:
        """End the notes whose time is over; to be called often."""
        if self._piano is not None:
            self._send(self._piano.due(self._now()))

    def _send(self, given: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        for kind, data in given:
            self._give(kind, data)
