"""Live lanes: what voices and groups do in one window of time after the other, while a piece is performed.

The lanes are made by `sonify.lanes` and `sonify.strikes`, from what is known of the performance (`pieces.unfold`) and
against declared ranges, since a take's own are not known before its end. So windows put together are the lanes of the
whole, but for what those take from the future:

- of a part that has not begun, channels rest (a voice of its own is silent then; a mapping of another part is not);
- where a section ends before its time (``until``), ramps of its gains had come as far as they had;
- a release that is longer than the piece's tail is not shortened, and struck voices do not fade at the end;
- what happened after a part's last tick, and was heard again after it, is heard once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pieces.arrange import Arrangement
from pieces.errors import DescantError
from pieces.signals import Channel, Event
from pieces.unfold import Unfolding
from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Lane, Onset
from sonify.lanes import Making
from sonify.resolve import ResolvedVoice, declared_stats, resolve
from sonify.score import Score
from sonify.strikes import Stretches, Watch, Within, brought, in_sections, sampled


class Feed:
    """The lanes of a score over a performance.

    Parameters
    ----------
    score : Score
    unfolding : Unfolding
        The performance, which goes on.
    channels : mapping
        Part → its channels.
    samples : mapping of str to Path, optional
        Voice → its sound file.
    tail : float
        Seconds after the end, in which voices release.

    Raises
    ------
    ScoreError
        If the score names what is not there.

    Attributes
    ----------
    resolved : ResolvedScore
        Against declared ranges.
    refused : list of str
        Why notes could not be struck, in a line each; whoever reads them may clear them.
    """

    def __init__(
        self,
        score: Score,
        unfolding: Unfolding,
        channels: Mapping[str, Sequence[Channel]],
        samples: Mapping[str, Path] | None = None,
        tail: float = 1.0,
    ) -> None:
        known = {part: {c.name: c for c in found} for part, found in channels.items()}
        self.resolved = resolve(score, declared_stats(score, known), known)
        self.refused: list[str] = []
        self._unfolding, self._tail, self._samples = unfolding, tail, dict(samples or {})
        self._watches = {voice.name: Watch(voice) for voice in self.resolved.voices}
        self._may: dict[str, tuple[int, Stretches]] = {}
        self._played = unfolding.arrangement()

    @property
    def ready(self) -> float:
        """The point, at the control rate, before which everything is known."""
        until = self._unfolding.until
        # What follows a part's last tick lies just before it ends, and is known a moment later.
        return math.inf if math.isinf(until) else math.floor((until - 1e-3) * CONTROL_RATE)

    def window(self, first: float, points: int, speed: float = 1.0, given: bool = True) -> Desk:
        """What sounds in a window of time.

        Parameters
        ----------
        first : float
            Its first point: seconds of the piece times `CONTROL_RATE`.
        points : int
            At least 1. None may lie after `ready`.
        speed : float
            Points of the piece for each point of the window; below 0 it is heard backwards.
        given : bool
            Whether events that came from outside strike: they need not, where they were struck as they came.

        Returns
        -------
        Desk
            Lanes of so many points, or numbers; onsets in seconds of the piece. A voice that is silent is not there.
        """
        at = (first + np.arange(points) * speed) / CONTROL_RATE
        time = at if speed > 0 else at[::-1]
        step = abs(speed) / CONTROL_RATE
        since, until = float(time[0]), float(time[-1]) + step
        played = self._played = self._unfolding.arrangement(since, until, given)
        end = played.duration + self._tail
        within = Within.of(played, round(since, 6), round(until, 6))
        making = Making(played, time, end, within)
        voices = {v.name: lanes for v in self.resolved.voices if (lanes := self._voice(v, making, played, within))}
        desk = Desk(voices, {group.name: making.group(group) for group in self.resolved.groups})
        return desk if speed > 0 else _turned(desk)

    def notes(self, kind: str, data: Mapping[str, object], first: float) -> list[tuple[str, Onset]]:
        """What an event from outside strikes, by what is known at a point: voice and note.

        Raises
        ------
        StrikeError
            If it brings along what cannot be played.
        """
        played, time = self._played, first / CONTROL_RATE
        found = []
        for voice in self.resolved.voices:
            heard = [on for on in voice.voice.on if on.rpartition(".")[2] == kind]
            if heard and any(a <= time < b for a, b in self._may_sound(voice, played)):
                values = sampled(voice, played, time) | brought(Event(0, kind, data))
                found.append((voice.name, Onset(time, values)))
        return found

    def _voice(self, resolved: ResolvedVoice, making: Making, played: Arrangement, within: Within) -> VoiceLanes | None:
        watch = self._watches[resolved.name]
        places = (resolved.gate, resolved.crossing)
        if all(place is None or self._unfolding.has_begun(place.part) for place in places):
            watch.look(played)
        may = self._may_sound(resolved, played)
        release = resolved.voice.release_ms / 1000 + 1e-3
        heard = any(start < within.until and end + release > within.since for start, end in may)
        if not heard and not INSTRUMENTS[resolved.voice.instrument].on_events:
            return None
        try:
            return making.voice(resolved, watch, self._samples.get(resolved.name), may)
        except DescantError as error:
            self.refused.append(str(error))
            return None

    def _may_sound(self, resolved: ResolvedVoice, played: Arrangement) -> Stretches:
        turn, found = self._may.get(resolved.name, (-1, []))
        if turn != self._unfolding.turns:
            found = in_sections(resolved, played)
            self._may[resolved.name] = self._unfolding.turns, found
        return found


def _turned(desk: Desk) -> Desk:
    """A desk, backwards in time; notes stay where they are."""

    def lane(given: Lane) -> Lane:
        return given[::-1] if isinstance(given, np.ndarray) and given.ndim else given

    def lanes(given: Mapping[str, Lane]) -> dict[str, Lane]:
        return {name: lane(values) for name, values in given.items()}

    def effects(chain: tuple[EffectLanes, ...]) -> tuple[EffectLanes, ...]:
        return tuple(EffectLanes(e.effect, lanes(e.lanes)) for e in chain)

    def voice(given: VoiceLanes) -> VoiceLanes:
        return replace(
            given,
            lanes=lanes(given.lanes),
            amplitude=lane(given.amplitude),
            pan=lane(given.pan),
            taps=lane(given.taps),
            effects=effects(given.effects),
            sends=lanes(given.sends),
        )

    def group(given: GroupLanes) -> GroupLanes:
        return replace(given, effects=effects(given.effects), gain=lane(given.gain), sends=lanes(given.sends))

    return Desk(
        {name: voice(found) for name, found in desk.voices.items()},
        {name: group(found) for name, found in desk.groups.items()},
    )
