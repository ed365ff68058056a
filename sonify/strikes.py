"""When a voice of an arrangement sounds: the stretches in which a drone is heard, the notes of what is struck."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import Arrangement
from pieces.signals import DescantError, Event
from sonify.instruments.base import Onset
from sonify.mapping import apply
from sonify.resolve import Place, Resolved, ResolvedMapping, ResolvedVoice, element
from sonify.rhythm import crossed, euclid, gate_open
from sonify.score import Steps
from sonify.tuning import midi_hertz

Floats = NDArray[np.float64]
#: Stretches of time, in seconds, that do not touch.
Stretches = list[tuple[float, float]]


class StrikeError(DescantError):
    """A note that cannot be played."""


def open_stretches(resolved: ResolvedVoice, played: Arrangement) -> Stretches:
    """When a voice may sound: in its sections, while its part plays and its gate is open."""
    wanted: Stretches = []
    for sounding in played.sections:
        voices = sounding.section.voices
        if voices is None or resolved.name in voices:
            wanted.append(sounding.seconds)
    found = _both(_joined(wanted), _joined(list(played.active[resolved.part])))
    if resolved.gate is None:
        return found
    assert resolved.voice.gate is not None
    frames = played.parts[resolved.gate.part]
    starts = np.append(frames.starts, played.duration)
    opened = np.r_[False, gate_open(element(frames, resolved.gate), resolved.voice.gate), False]
    turns = np.flatnonzero(np.diff(opened.astype(int)))
    return _both(found, [(float(starts[a]), float(starts[b])) for a, b in zip(turns[::2], turns[1::2], strict=True)])


def strikes(resolved: ResolvedVoice, played: Arrangement, sounding: Stretches) -> tuple[Onset, ...]:
    """Notes in order of time; those of one moment and pitch are one strike, the strongest.

    So what a performer asks for and the source then announces sounds once, as do many channels that diverge together.
    """
    sampler = _Sampler(resolved, played)
    found: dict[tuple[float, float], Onset] = {}
    for time, given in sorted(_moments(resolved, played), key=lambda moment: moment[0]):
        if not is_within(time, sounding):
            continue
        values = sampler.at(time) | given
        moment = round(time, 6), values["pitch"]
        if moment not in found or found[moment].values["velocity"] < values["velocity"]:
            found[moment] = Onset(time, values)
    return tuple(found.values())


def is_within(time: float, stretches: Stretches) -> bool:
    """Whether a moment is in one of them; their end is not."""
    return any(start - 1e-6 <= time < end - 1e-6 for start, end in stretches)


def _moments(resolved: ResolvedVoice, played: Arrangement) -> Iterator[tuple[float, dict[str, float]]]:
    """Times of all strikes, with what events bring along."""
    voice = resolved.voice
    for kind in voice.on:
        owner, dot, name = kind.rpartition(".")
        frames = played.parts[owner if dot else resolved.part]
        times = np.append(frames.starts, frames.duration - 2e-6)  # what follows the last tick belongs to it
        for event in frames.of_kind(name):
            yield float(times[min(event.tick, frames.ticks)]), _brought(event)
    if resolved.crossing is not None:
        assert voice.crossing is not None
        frames = played.parts[resolved.crossing.part]
        for row in crossed(element(frames, resolved.crossing), voice.crossing):
            yield float(frames.starts[row]), {"velocity": 1.0}
    if voice.steps is not None:
        for time in _stepped(resolved, voice.steps, played):
            yield time, {"velocity": 1.0}


def _stepped(resolved: ResolvedVoice, steps: Steps, played: Arrangement) -> Iterator[float]:
    """Times of the steps that are struck, section by section."""
    drawn = np.random.default_rng([played.seed, zlib.crc32(resolved.name.encode())])
    for sounding in played.sections:
        first, last = played.tempi.beats(np.array(sounding.seconds))
        count = int(np.ceil((last - first) / steps.every - 1e-6))
        times = played.tempi.seconds(first + np.arange(count) * steps.every)
        lots = drawn.random(count)
        pattern = np.ones(steps.steps, dtype=bool)
        for k, time in enumerate(times.tolist()):
            if resolved.pulses is not None and k % steps.steps == 0:
                pattern = euclid(round(_value(resolved.pulses, played, time)), steps.steps, steps.rotate)
            if pattern[k % steps.steps] and lots[k] < _value(resolved.chance, played, time):
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


class _Sampler:
    """The parameters of a voice's instrument at a moment."""

    def __init__(self, resolved: ResolvedVoice, played: Arrangement) -> None:
        self._lanes = resolved.lanes
        self._played = played

    def at(self, time: float) -> dict[str, float]:
        return {name: _value(given, self._played, time) for name, given in self._lanes.items()}


def _brought(event: Event) -> dict[str, float]:
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
