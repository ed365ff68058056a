"""A live performance as it is heard: windows of its feed, written into the ring of the sound engine ahead of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonify.desk import Desk
from sonify.engine.client import EngineLink
from sonify.engine.commands import Answer, Refused, Strike, Unload
from sonify.engine.lines import Lines, probe
from sonify.engine.patch import Window
from sonify.feed import Feed
from sonify.instruments.base import CONTROL_RATE, Onset
from studio.playhead import DELAY, KNOWN, Leg, Timeline

#: The deck that a live performance plays on.
DECK = "live"
#: Seconds that are written ahead of what the engine plays now; seconds of a window at least, and points at most.
#: A window costs the same however long it is.
LEAD, _LEAST, _MOST = 0.1, 0.04, 200
#: Seconds by which the engine's clock may be elsewhere than thought before the sound follows it.
_SLACK = 0.05
#: Seconds before its time at which a change of score is sent.
_EARLY = 0.025


class Links:
    """The way to the engine, kept from one performance to the next.

    Parameters
    ----------
    refused : callable
        Told in one line, from another thread, why something is not played.
    """

    def __init__(self, refused: Callable[[str], None]) -> None:
        self._refused = refused
        self._link: tuple[str, EngineLink] | None = None

    def to(self, address: str) -> EngineLink:
        """The link to an engine; `RingError` where none is there."""
        if self._link is None or self._link[0] != address:
            if self._link is not None:
                self._link[1].close()
            self._link = None
            self._link = address, EngineLink(address, self._answered)
        return self._link[1]

    def _answered(self, answer: Answer) -> None:
        if isinstance(answer, Refused):
            self._refused(answer.reason)


class Player:
    """A score that can be played: its feed and the slots that follow it."""

    def __init__(self, feed: Feed, samples: Mapping[str, Path]) -> None:
        self.feed = feed
        self.lines = Lines(probe(feed.resolved, samples))


class Sounding:
    """Plays a timeline on an engine.

    Parameters
    ----------
    link : EngineLink
    timeline : Timeline
    player : Player
    deck : str
        Of the engine.
    trim : float
        dB that everything is given.
    """

    def __init__(
        self, link: EngineLink, timeline: Timeline, player: Player, deck: str = DECK, trim: float = 0.0
    ) -> None:
        self._link, self._timeline, self._player, self._deck, self._trim = link, timeline, player, deck, trim
        self._is_loaded = False
        self._offset, self._drift = -math.inf, 0.0
        #: Real time of the next point, and its number in engine time.
        self._at, self._point = -math.inf, 0
        self._held: NDArray[np.float64] | None = None
        self._next: tuple[Player, float | None] | None = None
        self._due: float | None = None

    def change(self, player: Player, place: float | None = None) -> None:
        """Play by another score: from a place of the performance on, or at once."""
        self._next, self._due = (player, place), None

    def refusals(self) -> list[str]:
        """Why notes were not struck since it was asked last, each reason once."""
        found = list(dict.fromkeys(self._player.feed.refused))
        self._player.feed.refused.clear()
        return found

    def pump(self, now: float) -> None:
        """Write as far ahead as is wanted, and as is known."""
        self._follow(now)
        while now + LEAD - self._at >= _LEAST:
            if not self._write(now):
                break
        self._link.written(self._point)

    def strike(self, kind: str, data: Mapping[str, object], now: float) -> None:
        """Strike the voices that an event from outside strikes, at once; from any thread."""
        place = self._timeline.place(now - DELAY)
        for voice, note in self._player.feed.notes(kind, data, place * CONTROL_RATE):
            self._link.send(Strike(self._deck, voice, note.values))

    def close(self) -> None:
        """Be silent; the link stays, so that what is played next does not overtake this."""
        self._link.send(Unload(self._deck))

    def _follow(self, now: float) -> None:
        """Keep to the engine's clock."""
        seconds, monotonic = self._link.ring.clock()
        offset = seconds - monotonic
        if abs(offset - self._offset) > _SLACK or self._at < now - 10:
            self._offset, self._drift = offset, 0.0
            self._at = max(self._at, now)
            self._point = round((self._at + offset) * CONTROL_RATE)
        # Its device's clock goes a little faster or slower than ours: a point now and then keeps them together.
        self._drift += 0.1 * (offset - self._offset - self._drift)
        if abs(self._drift) > 1.5 / CONTROL_RATE:
            step = 1 if self._drift > 0 else -1
            if self._is_loaded and self._held is not None:
                self._link.write(self._deck, self._point, self._held[:, None])
            self._point += step
            self._offset += step / CONTROL_RATE
            self._drift -= step / CONTROL_RATE

    def _write(self, now: float) -> bool:
        """Write one window; False where what comes is not known yet."""
        time = self._at - DELAY
        leg, after = self._timeline.leg(time)
        points = min(_MOST, round((now + LEAD - self._at) * CONTROL_RATE))
        if after is not None:
            points = min(points, math.ceil((after.at - time) * CONTROL_RATE - 1e-6))
        points = max(points, 1)
        first = leg.at_time(time) * CONTROL_RATE
        self._turn(now, first)
        if leg.speed == 0:
            desk = Desk({}, {})
            if leg.sounds and self._held is not None:  # a source is late: the sound waits
                self._hold(points)
                return True
        else:
            feed = self._player.feed
            if leg.speed > 0 and not math.isinf(feed.ready):
                known = math.floor((feed.ready - first) / leg.speed)
                if known < 1 and after is not None and after.at - time <= KNOWN and self._held is not None:
                    self._hold(points)  # the last of a leg: it may never be known
                    return True
                points = min(points, known)
            if points < 1:
                return False
            desk = self._heard(leg, first, points, time)
        self._put(self._player.lines.window(desk, self._point, points), points)
        return True

    def _hold(self, points: int) -> None:
        """Let what was last go on."""
        assert self._held is not None
        self._put(Window(np.repeat(self._held[:, None], points, axis=1), ()), points)

    def _heard(self, leg: Leg, first: float, points: int, time: float) -> Desk:
        """A window of the feed, its notes in seconds of the engine, gated where the playhead jumps or stops."""
        desk = self._player.feed.window(max(first, 0.0), points, leg.speed, given=not leg.live)
        gate = self._timeline.gate(time + np.arange(points) / CONTROL_RATE)
        voices = {}
        for name, voice in desk.voices.items():
            onsets = tuple(Onset(self._engine_time(note.time, first, leg.speed), note.values) for note in voice.onsets)
            voices[name] = replace(voice, onsets=tuple(sorted(onsets, key=lambda note: note.time)))
            if gate is not None:
                amplitude, taps = np.asarray(voice.amplitude) * gate, np.asarray(voice.taps) * gate
                voices[name] = replace(voices[name], amplitude=amplitude, taps=taps)
        return Desk(voices, desk.groups)

    def _engine_time(self, seconds: float, first: float, speed: float) -> float:
        return (self._point + (seconds * CONTROL_RATE - first) / speed) / CONTROL_RATE

    def _put(self, window: Window, points: int) -> None:
        if self._is_loaded:
            self._link.write(self._deck, self._point, window.rows)
        else:
            self._link.load(self._deck, self._player.lines.patch, window, self._point, gain_db=self._trim)
            self._is_loaded = True
        for voice, note in window.notes:
            self._link.send(Strike(self._deck, voice, note.values, note.time))
        self._held = window.rows[:, -1].copy()
        self._at += points / CONTROL_RATE
        self._point += points

    def _turn(self, now: float, first: float) -> None:
        """Take up another score when its time has come."""
        if self._next is None:
            return
        player, place = self._next
        if self._due is None and (place is None or first >= place * CONTROL_RATE - 1e-3):
            self._due = now if place is None else self._at
        if self._due is not None and now >= self._due - _EARLY:
            self._player, self._is_loaded, self._held = player, False, None
            self._next = self._due = None
