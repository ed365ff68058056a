"""What comes in from other machines while a performance runs: events with the time at which they came."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Events that wait for a performance; what comes while so many wait pushes the oldest out.
_LONGEST = 65_536


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """Something that came in.

    Attributes
    ----------
    seconds : float
        Live: on the clock of `time.monotonic`. From a file: since its start.
    kind : str
        ``note`` and ``note_off`` (midi, velocity), ``control`` (cc, value), ``pedal`` (value), ``bend`` (semitones),
        each with its channel, 1 to 16; ``start``, ``stop``, ``continue`` of a clock; ``set`` (part, control, value);
        or whatever kind of event an OSC message names.
    data : mapping
        JSON values. Velocities and values of MIDI are 0 to 1. Nothing here is checked against a source: that is the
        performance's.
    """

    seconds: float
    kind: str
    data: Mapping[str, Any]


class Inbox:
    """Events from any number of threads, in the order in which they came. Inputs may share one."""

    def __init__(self) -> None:
        self._events: deque[TimedEvent] = deque(maxlen=_LONGEST)

    def put(self, kind: str, data: Mapping[str, Any], seconds: float | None = None) -> None:
        """Add an event, of now unless `seconds` says otherwise."""
        self._events.append(TimedEvent(time.monotonic() if seconds is None else seconds, kind, data))

    def drain(self) -> list[TimedEvent]:
        """Take everything that has come."""
        return [self._events.popleft() for _ in range(len(self._events))]
