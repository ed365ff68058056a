"""Resolved score × frames → lanes: everything a voice does over time, as plain arrays.

Tick t sounds from t / rate to (t + 1) / rate seconds. Lanes are sampled at `CONTROL_RATE`, and what plays them
interpolates linearly between the points. No number that is not finite leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pieces.signals import DescantError, Event, Frames
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Lane, Onset
from sonify.mapping import SPACES, apply
from sonify.score import ResolvedMapping, ResolvedScore, ResolvedVoice, element
from sonify.tuning import midi_hertz

Floats = NDArray[np.float64]

#: Seconds in which a voice falls silent, or returns, where its channel has no finite value.
_DROPOUT = 0.02


class LaneError(DescantError):
    """Frames that a score cannot be played from."""


@dataclass(frozen=True)
class VoiceLanes:
    """One voice, ready to be played.

    Attributes
    ----------
    instrument : str
    lanes : mapping of str to Lane
        Every parameter of the instrument except ``level``, in its unit.
    amplitude : Lane
        Linear gain: level, gain and envelope, and silence where values are missing.
    pan : Lane
        -1 left to 1 right.
    send : float
        Linear gain into the reverb; 0 is dry.
    taps : Lane
        Linear gain of the earcon's low noise.
    onsets : tuple of Onset
        Notes of an event instrument.
    """

    instrument: str
    lanes: Mapping[str, Lane]
    amplitude: Lane
    pan: Lane
    send: float
    taps: Lane
    onsets: tuple[Onset, ...]


def lanes(resolved: ResolvedScore, frames: Frames, tail: float = 1.0) -> dict[str, VoiceLanes]:
    """The lanes of every voice.

    Parameters
    ----------
    resolved : ResolvedScore
    frames : Frames
        Every channel that the score names.
    tail : float
        Seconds after the last tick, in which voices release.

    Raises
    ------
    LaneError
        If there is no tick, or a lane would not be finite.
    """
    if frames.ticks < 1:
        raise LaneError("no ticks to play: 0 were performed, at least 1 is needed")
    time = np.arange(points(frames.duration + tail)) / CONTROL_RATE
    return {voice.name: _voice(voice, frames, tail, time) for voice in resolved.voices}


def points(duration: float) -> int:
    """Length of a lane that covers `duration` seconds, with a few points to spare for the interpolation."""
    return int(np.ceil(duration * CONTROL_RATE)) + 4


def missing_spans(frames: Frames, channel: str) -> list[tuple[int, int]]:
    """Spans of ticks [start, end) in which `channel` holds its last value because the source gave no finite one.

    An array channel is missing as a whole while any of its elements is: `diverged` events name the channel alone.
    """
    spans: list[tuple[int, int]] = []
    start = None
    for event in frames.of_kind("diverged", "recovered"):
        if event.data.get("channel") == channel:
            if event.kind == "diverged" and start is None:
                start = event.tick
            elif event.kind == "recovered" and start is not None:
                spans.append((start, event.tick))
                start = None
    return spans if start is None else [*spans, (start, frames.ticks)]


def _voice(resolved: ResolvedVoice, frames: Frames, tail: float, time: Floats) -> VoiceLanes:
    voice, struck = resolved.voice, INSTRUMENTS[resolved.voice.instrument].on_events
    parameters = {} if struck else {n: _lane(given, frames, time) for n, given in resolved.lanes.items()}
    level = np.asarray(parameters.pop("level", 0.0)) + voice.gain_db
    end = frames.duration + tail if struck else min(frames.duration + voice.release_ms / 1000, frames.duration + tail)
    attack = 0.0 if struck else voice.attack_ms / 1000
    present, taps = _missing((*resolved.lanes.values(), resolved.pan), frames, time)
    found = VoiceLanes(
        instrument=voice.instrument,
        lanes=parameters,
        amplitude=10 ** (level / 20) * present * _envelope(attack, voice.release_ms / 1000, end, time),
        pan=_lane(resolved.pan, frames, time),
        send=0.0 if voice.reverb_db is None else 10 ** (voice.reverb_db / 20),
        taps=10 ** (voice.gain_db / 20) * taps,
        onsets=_onsets(resolved, frames) if struck else (),
    )
    _check(found, resolved.name)
    return found


def _lane(given: float | ResolvedMapping, frames: Frames, time: Floats) -> Lane:
    """The lane of one parameter; a number where it never changes."""
    if not isinstance(given, ResolvedMapping):
        return given
    values = _mapped(given, frames)
    if values.min() == values.max():
        return float(values[0])
    space = SPACES[given.space]
    glided = _glide(space.forward(values), frames.rate, given.mapping.glide_ms / 1000, time)
    return np.asarray(space.inverse(glided))


def _mapped(given: ResolvedMapping, frames: Frames) -> Floats:
    return apply(given, element(frames, given.channel, given.index))


def _glide(values: Floats, rate: float, seconds: float, time: Floats) -> Floats:
    """Values held for a tick each, every change a straight line of `seconds` from the tick's start.

    This is the running mean over `seconds` (a box filter) of the held values: where ticks are shorter than the glide,
    lines overlap and the lane follows continuously. Exact: the integral of a step function is piecewise linear.
    """
    ends = np.arange(len(values) + 1) / rate
    area = np.concatenate([[0.0], np.cumsum(values) / rate])
    reach = time[-1] + 1.0
    ends = np.concatenate([[-seconds], ends, [ends[-1] + reach]])
    area = np.concatenate([[-seconds * values[0]], area, [area[-1] + reach * values[-1]]])
    glided = (np.interp(time, ends, area) - np.interp(time - seconds, ends, area)) / seconds
    return np.asarray(np.clip(glided, values.min(), values.max()))


def _ramp(position: Floats) -> Floats:
    """0 to 1 along half a cosine, without a corner."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(position, 0.0, 1.0)))


def _envelope(attack: float, release: float, end: float, time: Floats) -> Floats:
    rise = _ramp(time / attack) if attack else np.ones_like(time)
    return np.asarray(rise * _ramp((end - time) / min(release, end)))


def _missing(given: Iterable[float | ResolvedMapping], frames: Frames, time: Floats) -> tuple[Lane, Lane]:
    """Gain of the voice where values of its channels are missing, and gain of the earcon's taps."""
    silent = np.zeros(frames.ticks, dtype=bool)
    taps: set[float] = set()
    for mapping in given:
        if not isinstance(mapping, ResolvedMapping) or mapping.mapping.missing == "hold":
            continue
        for start, end in missing_spans(frames, mapping.channel):
            silent[start:end] = True
            if mapping.mapping.missing == "earcon":
                taps.add(start / frames.rate)
    if not silent.any():
        return 1.0, 0.0
    present = _ramp(_glide(1.0 - silent, frames.rate, _DROPOUT, time))
    tapped = np.zeros_like(time)
    for tap in taps:
        first = int(np.ceil(tap * CONTROL_RATE))
        since = time[first : first + CONTROL_RATE // 2] - tap
        tapped[first : first + len(since)] += _ramp(since / 0.004) * np.exp(-since / 0.04)
    return present, tapped


def _onsets(resolved: ResolvedVoice, frames: Frames) -> tuple[Onset, ...]:
    """Notes in order of time; those of one tick and pitch are one strike, the strongest.

    So what a performer asks for and the source then announces sounds once, as do many channels that diverge together.
    """
    sampled = {
        n: _mapped(v, frames) if isinstance(v, ResolvedMapping) else np.full(frames.ticks, v)
        for n, v in resolved.lanes.items()
    }
    strikes: dict[tuple[int, float], Onset] = {}
    for event in sorted(frames.of_kind(*resolved.voice.on), key=lambda e: e.tick):
        values = {n: float(v[min(event.tick, frames.ticks - 1)]) for n, v in sampled.items()}
        if "pitch" in event.data:
            values["pitch"] = _given(event, "pitch", 1.0, 20_000.0)
        elif "midi" in event.data:
            values["pitch"] = midi_hertz(_given(event, "midi", 0.0, 127.0))
        values["velocity"] = _given(event, "velocity", 0.0, 1.0) if "velocity" in event.data else 1.0
        struck = strikes.get((event.tick, values["pitch"]))
        if struck is None or struck.values["velocity"] < values["velocity"]:
            strikes[event.tick, values["pitch"]] = Onset(event.tick / frames.rate, values)
    return tuple(strikes.values())


def _given(event: Event, name: str, low: float, high: float) -> float:
    """A number that an event brings along."""
    value = event.data[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise LaneError(
            f"event {event.kind!r} at tick {event.tick}: {name} = {value!r}: allowed is {low:g} to {high:g}"
        )
    return float(value)


def _check(found: VoiceLanes, name: str) -> None:
    everything = {**found.lanes, "amplitude": found.amplitude, "pan": found.pan, "taps": found.taps}
    for lane, values in everything.items():
        if not np.isfinite(values).all():
            raise LaneError(f"voice {name}: lane {lane} is not finite: its channel holds NaN or Inf, or is too large")
    for onset in found.onsets:
        if not np.isfinite(list(onset.values.values())).all():
            raise LaneError(f"voice {name}: the note at {onset.time:g} s is not finite: {dict(onset.values)}")
