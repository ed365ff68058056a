"""When a voice of an arrangement sounds: the stretches in which a drone is heard, the notes of what is struck."""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import Arrangement
from pieces.errors import DescantError
from pieces.signals import Event
from sonify.instruments.base import Onset
from sonify.mapping import apply
from sonify.resolve import Place, Resolved, ResolvedMapping, ResolvedVoice, element
from sonify.rhythm import Crossings, euclid, gate_open
from sonify.score import Steps
from sonify.tuning import midi_hertz

Floats = NDArray[np.float64]
#: Stretches of time, in seconds, that do not touch.
Stretches = list[tuple[float, float]]
#: Seconds by which a stretch that is over may still matter, beside the release: that of an earcon.
_LAG = 1.0


class StrikeError(DescantError):
    """A note that cannot be played."""


@dataclass(frozen=True)
class Within:
    """A window of time, to a microsecond: from `since` to before `until`, in seconds; and the same in beats."""

    since: float
    until: float
    beats: tuple[float, float]

    @classmethod
    def of(cls, played: Arrangement, since: float, until: float) -> Within:
        """A window of an arrangement."""
        first, last = played.tempi.beats([since, until])
        return cls(since, until, (float(first), float(last)))

    def has(self, time: float) -> bool:
        """Whether a moment is in it."""
        return self.since <= round(time, 6) < self.until


#: All that there is.
ALWAYS = Within(-np.inf, np.inf, (-np.inf, np.inf))


class Watch:
    """What has to be known of all that came before: when a voice's gate was open, and when its channel crossed."""

    def __init__(self, resolved: ResolvedVoice) -> None:
        self._resolved = resolved
        voice = resolved.voice
        self._crossings = None if voice.crossing is None else Crossings(voice.crossing)
        self._seen = {"gate": 0, "crossing": 0}
        self.opened: Stretches = []
        self.crossed: list[float] = []

    @property
    def _is_open(self) -> bool:
        return bool(self.opened) and self.opened[-1][1] == np.inf

    def look(self, played: Arrangement) -> Watch:
        """Take notice of the rows that are new."""
        resolved = self._resolved
        if resolved.gate is not None:
            assert resolved.voice.gate is not None
            values, starts = self._new("gate", resolved.gate, played)
            before = self._is_open
            states = gate_open(values, resolved.voice.gate, before)
            for row in np.flatnonzero(states != np.r_[before, states[:-1]]).tolist():
                time = float(starts[row])
                if states[row]:
                    self.opened.append((time, np.inf))
                else:
                    self.opened[-1] = (self.opened[-1][0], time)
        if self._crossings is not None and resolved.crossing is not None:
            values, starts = self._new("crossing", resolved.crossing, played)
            self.crossed += [float(starts[row]) for row in self._crossings.rows(values)]
        return self

    def open_in(self, within: Within, lag: float, end: float) -> Stretches:
        """Stretches in which the gate is open, up to `end`; of those that ended `lag` before a window, none."""
        last = bisect_right(self.opened, (within.until, np.inf))
        found: Stretches = []
        while last and self.opened[last - 1][1] >= within.since - lag:
            last -= 1
            found.append((self.opened[last][0], min(self.opened[last][1], end)))
        return found[::-1]

    def _new(self, what: str, place: Place, played: Arrangement) -> tuple[Floats, Floats]:
        """Values of a place that were not seen yet, and when their rows begin."""
        frames = played.parts[place.part]
        rows = slice(self._seen[what], frames.ticks)
        self._seen[what] = frames.ticks
        return element(frames, place, rows), frames.starts[rows]


def in_sections(resolved: ResolvedVoice, played: Arrangement) -> Stretches:
    """When a voice may sound, its gate aside: in its sections, while its part plays."""
    wanted: Stretches = []
    for sounding in played.sections:
        voices = sounding.section.voices
        if voices is None or resolved.name in voices:
            wanted.append(sounding.seconds)
    return _both(_joined(wanted), _joined(list(played.active[resolved.part])))


def open_stretches(
    resolved: ResolvedVoice, played: Arrangement, watch: Watch, within: Within = ALWAYS, may: Stretches | None = None
) -> Stretches:
    """When a voice may sound: in its sections (`may`, if that is known), while its part plays and its gate is open."""
    found = in_sections(resolved, played) if may is None else may
    if resolved.gate is None:
        return found
    return _both(found, watch.open_in(within, resolved.voice.release_ms / 1000 + _LAG, played.duration))


def strikes(
    resolved: ResolvedVoice,
    played: Arrangement,
    sounding: Stretches,
    watch: Watch,
    within: Within = ALWAYS,
) -> tuple[Onset, ...]:
    """Notes within a window in order of time; those of one moment and pitch are one strike, the strongest.

    So what a performer asks for and the source then announces sounds once, as do many channels that diverge together.
    """
    found: dict[tuple[float, float], Onset] = {}
    moments = _moments(resolved, played, sounding, watch, within)
    for time, given in sorted(moments, key=lambda moment: moment[0]):
        if not (within.has(time) and is_within(time, sounding)):
            continue
        values = sampled(resolved, played, time) | given
        moment = round(time, 6), values["pitch"]
        if moment not in found or found[moment].values["velocity"] < values["velocity"]:
            found[moment] = Onset(time, values)
    return tuple(found.values())


def is_within(time: float, stretches: Stretches) -> bool:
    """Whether a moment is in one of them; their end is not."""
    return any(start - 1e-6 <= time < end - 1e-6 for start, end in stretches)


def _moments(
    resolved: ResolvedVoice, played: Arrangement, sounding: Stretches, watch: Watch, within: Within
) -> Iterator[tuple[float, dict[str, float]]]:
    """Times of all strikes in a window, with what events bring along."""
    voice = resolved.voice
    for kind in voice.on:
        owner, dot, name = kind.rpartition(".")
        frames = played.parts[owner if dot else resolved.part]
        for event in frames.of_kind(name):
            # What follows the last tick belongs to it.
            time = frames.starts[event.tick] if event.tick < frames.ticks else frames.duration - 2e-6
            yield float(time), brought(event)
    first, last = (bisect_left(watch.crossed, s) for s in (within.since - 1e-3, within.until + 1e-3))
    for time in watch.crossed[first:last]:
        yield time, {"velocity": 1.0}
    if voice.steps is not None:
        for time in _stepped(resolved, voice.steps, played, sounding, within):
            yield time, {"velocity": 1.0}


def _stepped(
    resolved: ResolvedVoice, steps: Steps, played: Arrangement, sounding: Stretches, within: Within
) -> Iterator[float]:
    """Times of the steps that are struck, section by section."""
    drawn = 0
    for section in played.sections:
        first, last = section.beats
        count = np.ceil((last - first) / steps.every - 1e-6)
        begin = max(np.floor((within.beats[0] - first) / steps.every) - 1, 0)
        end = min(np.ceil((within.beats[1] - first) / steps.every) + 1, count)
        if begin < end:
            yield from _struck(resolved, steps, played, sounding, within, first, (int(begin), int(end)), drawn)
        drawn += 0 if np.isinf(count) else int(count)


def _struck(
    resolved: ResolvedVoice,
    steps: Steps,
    played: Arrangement,
    sounding: Stretches,
    within: Within,
    first: float,
    numbers: tuple[int, int],
    drawn: int,
) -> Iterator[float]:
    """The same in one section, which begins at the beat `first`; `drawn` lots were drawn before it."""
    begin, end = numbers
    start = begin - begin % steps.steps
    times = played.tempi.seconds(first + np.arange(start, end) * steps.every)
    lots = np.zeros(end - begin)
    if resolved.chance != 1.0:
        bits = np.random.PCG64([played.seed, zlib.crc32(resolved.name.encode())])
        lots = np.random.Generator(bits.advance(drawn + begin)).random(end - begin)
    pattern, cycle = np.ones(steps.steps, dtype=bool), -1
    for k in range(begin, end):
        time = float(times[k - start])
        if not (within.has(time) and is_within(time, sounding)):
            continue
        if resolved.pulses is not None and k // steps.steps != cycle:
            cycle = k // steps.steps
            begun = float(times[cycle * steps.steps - start])
            pattern = euclid(round(_value(resolved.pulses, played, begun)), steps.steps, steps.rotate)
        if pattern[k % steps.steps] and lots[k - begin] < _value(resolved.chance, played, time):
            yield time


def _value(given: Resolved, played: Arrangement, time: float) -> float:
    """A parameter at a moment."""
    if not isinstance(given, ResolvedMapping):
        return given
    frames = played.parts[given.place.part]
    if not frames.ticks:
        raise StrikeError(f"channel {given.place}: its part made no tick, so there is nothing to play")
    if given.mapping.every is not None:
        beat = float(played.tempi.beats(time)) + 1e-6
        time = float(played.tempi.seconds(beat - beat % given.mapping.every))
    row = max(int(np.searchsorted(frames.starts, time + 1e-9, side="right")) - 1, 0)
    place = given.place
    return float(apply(given, _cell(frames.arrays[place.name], row, place)))


def _cell(array: NDArray[Any], row: int, place: Place) -> float:
    return float(array[(row, *place.index)])


def sampled(resolved: ResolvedVoice, played: Arrangement, time: float) -> dict[str, float]:
    """The parameters of a voice's instrument at a moment."""
    return {name: _value(given, played, time) for name, given in resolved.lanes.items()}


def brought(event: Event) -> dict[str, float]:
    """What an event says of its note."""
    values = {"velocity": _given(event, "velocity", 0.0, 1.0) if "velocity" in event.data else 1.0}
    if "pitch" in event.data:
        values["pitch"] = _given(event, "pitch", 1.0, 20_000.0)
    elif "midi" in event.data:
        values["pitch"] = midi_hertz(_given(event, "midi", 0.0, 127.0))
    return values


def _given(event: Event, name: str, low: float, high: float) -> float:
    """A number that an event brings along."""
    value = event.data[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise StrikeError(
            f"event {event.kind!r} at tick {event.tick}: {name} = {value!r}: allowed is {low:g} to {high:g}"
        )
    return float(value)


def _joined(stretches: Stretches) -> Stretches:
    found: Stretches = []
    for start, end in stretches:
        if found and start - found[-1][1] < 1e-3:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _both(one: Stretches, other: Stretches) -> Stretches:
    """Where both are."""
    met = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return sorted((start, end) for start, end in met if end > start)
