"""The playhead of a live performance: which moment of it is played at which moment of real time.

A timeline is a row of legs, in each of which the place moves evenly, forwards or backwards, or holds. What sounds now is
where the playhead was a fixed delay ago: so whoever writes sound ahead of time knows already what came next.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Seconds after which what is played is heard.
DELAY = 0.12
#: Seconds in which sound comes and goes where the playhead jumps or stops.
FADE = 0.012


@dataclass(frozen=True)
class Leg:
    """An even motion.

    Attributes
    ----------
    at : float
        Seconds of real time at which it begins.
    place : float
        Seconds of the performance at its beginning.
    speed : float
        Seconds of the performance a second; 0 holds.
    live : bool
        Whether ticks are made as they are played.
    sounds : bool
        Whether what holds is heard: where a source is late, the sound waits for it.
    jumps : bool
        Whether it begins elsewhere than the one before ended.
    """

    at: float
    place: float
    speed: float
    live: bool = True
    sounds: bool = True
    jumps: bool = False

    def at_time(self, time: float) -> float:
        """The place at a time."""
        return self.place + self.speed * (time - self.at)

    def when(self, place: float) -> float:
        """The time at which it comes to a place; it must move."""
        return self.at + (place - self.place) / self.speed


class Timeline:
    """Legs, one after the other."""

    def __init__(self, at: float, place: float = 0.0) -> None:
        self._legs = [Leg(at - 1e6, place, 0.0, sounds=False)]

    @property
    def last(self) -> Leg:
        """The leg that goes on for ever."""
        return self._legs[-1]

    def place(self, time: float) -> float:
        """Where the playhead is at a time."""
        return self.leg(time)[0].at_time(time)

    def leg(self, time: float) -> tuple[Leg, Leg | None]:
        """The leg at a time, and the one that follows it."""
        row = max(bisect_right([leg.at for leg in self._legs], time) - 1, 0)
        return self._legs[row], self._legs[row + 1] if row + 1 < len(self._legs) else None

    def move(
        self, at: float, speed: float, place: float | None = None, *, live: bool = True, sounds: bool = True
    ) -> None:
        """From a time on, move so; what was to come then, comes no more. `place` is where it is, if not given."""
        here = self.place(at)
        while len(self._legs) > 1 and self._legs[-1].at >= at:
            self._legs.pop()
        jumps = place is not None and abs(place - here) > 1e-3
        leg = Leg(at, here if place is None else place, speed, live, sounds, jumps)
        if self._legs[-1].at >= at:
            self._legs.pop()
        self._legs.append(leg)

    def forget(self, time: float) -> None:
        """Let go of what ended before a time."""
        while len(self._legs) > 1 and self._legs[1].at <= time:
            del self._legs[0]

    def gate(self, time: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Gain at times within one leg, where sound comes or goes; None where it is 1 throughout."""
        leg, after = self.leg(float(time[0]))
        before = self.leg(leg.at - 1e-9)[0]
        gain = np.ones(len(time))
        if leg.jumps or (before is not leg and not _is_heard(before)):
            gain *= np.clip((time - leg.at) / FADE, 0.0, 1.0)
        if after is not None and (after.jumps or not _is_heard(after)):
            gain *= np.clip((after.at - time) / FADE, 0.0, 1.0)
        return None if gain.min() == 1.0 else gain


def _is_heard(leg: Leg) -> bool:
    return leg.speed != 0 or leg.sounds
