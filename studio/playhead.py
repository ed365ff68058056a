"""The playhead of a live performance: which moment of it is played at which moment of real time.

A timeline is a row of legs, in each of which the place moves evenly, forwards or backwards, or holds. What sounds now
is where the playhead was a fixed delay ago: so whoever writes sound ahead of time knows already what came next.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.unfold import Unfolding
from studio.messages import Mode

#: Seconds of a performance that are performed at once.
GRAIN = 0.025
#: Seconds by which ticks may be late before the performance waits for them: what is made then is still heard in time.
LATE = 0.1
#: Beats and seconds that are none.
SLACK = 1e-6
#: Seconds before the end of what is made in which it is not known yet what is heard.
KNOWN = 0.002
#: Seconds after which what is played is heard.
DELAY = 0.14
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


class Playhead(Timeline):
    """The transport: plays at the live end, where ticks are made, and what is recorded, in any direction.

    Parameters
    ----------
    at : float
        Real time.
    unfolding : Unfolding
        What is played.
    tail : float
        Seconds that are heard after the end.

    Attributes
    ----------
    speed : float
        Of playing, now or later.
    playing : bool
    loop : tuple of float or None
        Seconds.
    """

    def __init__(self, at: float, unfolding: Unfolding, tail: float) -> None:
        super().__init__(at)
        self._unfolding, self._tail = unfolding, tail
        self.speed, self.playing = 1.0, False
        self.loop: tuple[float, float] | None = None

    @property
    def over(self) -> bool:
        """Whether there will be no more ticks."""
        return math.isfinite(self._unfolding.end)

    @property
    def end(self) -> float:
        """Seconds up to which there is something to play."""
        return min(self._unfolding.end, self._unfolding.until)

    @property
    def plays_live(self) -> bool:
        """Whether ticks are being made."""
        return self.playing and self.last.live and not self.over

    def mode(self, time: float) -> Mode:
        """What is played at a time."""
        leg, _ = self.leg(time)
        return "paused" if not _is_heard(leg) else "live" if leg.live else "recorded"

    def play(self, now: float) -> None:
        """Go on, from where it is; at the end of what is over, from the beginning."""
        place = self.place(now)
        if self.over and self.speed > 0 and self.loop is None and place >= self.end - 1e-3:
            place = 0.0
        elif self.speed < 0 and place <= 0:
            self.speed = -self.speed
        self.playing = True
        live = self._is_live(place, 2 * GRAIN)
        left = now if live else self._left(now)
        self.move(left, self.speed, place if left == now else None, live=live)

    def hold(self, now: float, place: float | None = None) -> None:
        """Stop there."""
        self.playing = False
        self.move(self._left(now), 0.0, place, sounds=False)

    def step(self, now: float, begins: float, ends: float) -> bool:
        """Play from the one second to the other, then hold; whether the ticks of that have to be made."""
        place = self.place(now)
        holds = self.last.place if self.last.speed == 0 else place
        live = holds >= self.end - 2 * GRAIN
        if not live:  # among recorded ticks: as much further
            ends = holds + ends - begins
        self.playing = False
        self.move(now, 1.0, live=live)
        self.move(now + ends - place, 0.0, ends, sounds=False)
        return live

    def set_speed(self, now: float, factor: float) -> None:
        """Play so many times as fast."""
        if not 0.25 <= abs(factor) <= 4:
            raise DescantError(f"speed = {factor:g}: allowed are 0.25 to 4, and -4 to -0.25 for what is recorded")
        self.speed = factor
        if self.playing:
            self.play(now)

    def seek(self, now: float, place: float) -> None:
        """Go to a second."""
        place = min(place, self.end)
        if self.playing:
            live = self._is_live(place, 1e-3)
            self.move(now if live else self._left(now), self.speed, place, live=live)
        else:
            self.move(now, 0.0, place, sounds=False)

    def set_loop(self, now: float, beats: tuple[float, float] | None) -> None:
        """Repeat what lies between two beats."""
        if beats is None:
            self.loop = None
            return
        begins, ends = (float(s) for s in self._unfolding.tempi.seconds(beats))
        if not 0 <= begins < min(ends, self.end):
            said = f"allowed are two beats that rise, of what is recorded ({self.end:.1f} s)"
            raise DescantError(f"loop {beats[0]:g} to {beats[1]:g}: {said}")
        self.loop = begins, min(ends, self.end)
        if not begins <= self.place(now) < self.loop[1]:
            self.seek(now, begins)
        elif self.playing:
            self.move(self._left(now), self.speed, live=False)

    def turn(self, now: float) -> None:
        """See to loops, and to the ends of what is recorded."""
        self.forget(now - 1.0)
        leg, place = self.last, self.place(now)
        begins, ends = self.loop or (0.0, self.end + (self._tail if self.over else math.inf))
        if not (place >= ends if leg.speed > 0 else leg.speed < 0 and place <= begins):
            return
        at = leg.when(ends if leg.speed > 0 else begins)
        if self.loop:
            self.move(at, leg.speed, begins if leg.speed > 0 else ends, live=False)
        else:
            self.hold(at, None if leg.speed > 0 else begins)

    def is_due(self, now: float, seconds: float, ahead: float) -> bool:
        """Whether what begins at a second is to be made, `ahead` of its time; late ticks are waited for."""
        leg = self.last
        if not self.playing or self.loop is not None or leg.speed <= 0:
            return False
        late = self.place(now) - seconds
        if late < -ahead:
            return False
        if not leg.live:
            self.move(now, self.speed)
        elif late > LATE * max(1.0, leg.speed):
            self.move(max(leg.when(seconds), leg.at), 0.0, seconds)
            self.move(now, self.speed, seconds)
        return True

    def _left(self, now: float) -> float:
        """When it left what is being made, if it leaves it now: what is late is not made any more."""
        leg, made = self.last, self.end - KNOWN
        late = leg.live and leg.speed > 0 and not self.over and leg.at_time(now) > made
        return max(leg.when(made), leg.at) if late else now

    def _is_live(self, place: float, slack: float) -> bool:
        return self.loop is None and self.speed > 0 and not self.over and place >= self.end - slack
