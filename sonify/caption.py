"""What is heard, in words, for people: the same for the same take, on every day and machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pieces.arrange import Arrangement
from pieces.signals import Channel
from sonify.desk import MIX
from sonify.instruments import Parameter
from sonify.legend import mapped, place_name
from sonify.mapping import apply
from sonify.resolve import ResolvedMapping, ResolvedScore, ResolvedVoice

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_MISSING = {"hold": "the last is held", "silence": "silence", "earcon": "a soft tap, then silence"}


def caption(
    resolved: ResolvedScore,
    played: Arrangement,
    channels: Mapping[str, Mapping[str, Channel]],
    duration: float,
    loudness: float,
) -> str:
    """A paragraph for each voice.

    Parameters
    ----------
    resolved, played
        What was rendered.
    channels : mapping
        Part → name → declaration, of what is heard.
    duration, loudness : float
        Of the rendering: seconds, LUFS.
    """
    voices = "1 voice" if len(resolved.voices) == 1 else f"{len(resolved.voices)} voices"
    lines = [f"{duration:.1f} s at {loudness:.1f} LUFS, {voices}; purpose: {resolved.score.purpose}"]
    for voice in resolved.voices:
        place = "placed by a channel" if isinstance(voice.pan, ResolvedMapping) else _direction(voice.pan)
        lines.append(f"{voice.name}: {voice.voice.instrument}, {place}")
        lines += [f"  {_mapping(lane, p, given, played, channels)}" for lane, p, given in mapped(voice)]
        lines += [f"  {said}" for said in _sounding(voice, played)]
        if voice.effects:
            lines.append(f"  through {', '.join(effect.effect for effect in voice.effects)}")
        through = [t for t in (voice.voice.into, *(voice.sends or {})) if t != MIX]
        if through:
            lines.append(f"  into {', '.join(through)}")
    for group in resolved.groups:
        lines.append(f"{group.name}: {', '.join(e.effect for e in group.effects) or 'no effects'}")
    return "\n".join(lines) + "\n"


def _direction(pan: float) -> str:
    return f"{abs(pan):.0%} {'left' if pan < 0 else 'right'}" if pan else "in the middle"


def _mapping(
    lane: str,
    parameter: Parameter,
    given: ResolvedMapping,
    played: Arrangement,
    channels: Mapping[str, Mapping[str, Channel]],
) -> str:
    mapping, place = given.mapping, given.place
    channel, frames = channels[place.part][place.name], played.parts[place.part]
    unit = f" {channel.unit}" if channel.unit else ""
    low, high = given.domain
    data = f"{low:.6g} to {high:.6g}{unit}" if low < high else f"always {low:.6g}{unit}"
    ends = [_sound(float(apply(given, value)), lane, parameter.unit) for value in dict.fromkeys((low, high))]
    sense = "rises with the data" if mapping.polarity == "positive" else "falls as the data rise"
    said = [
        f"{lane} ← {place_name(place, played)} ({channel.about.rstrip('.')}), {data} → {' to '.join(ends)}",
        f"{mapping.shape}, in equal steps of {given.space}",
        f"{mapping.polarity}: {sense}",
    ]
    if mapping.domain != "data":
        said.append("what lies outside sounds at the ends")
    if mapping.tuning:
        said.append("rounded to its tuning")
    if mapping.every is not None:
        said.append(f"sampled every {mapping.every:g} beats")
    if missing := int(frames.missing(place.name).sum()):
        said.append(f"{missing} of {frames.ticks} points are missing: {_MISSING[mapping.missing]}")
    return "; ".join(said)


def _sounding(voice: ResolvedVoice, played: Arrangement) -> Iterator[str]:
    """When a voice sounds, where it does not sound all the time."""
    given = voice.voice
    if given.on:
        counted = []
        for kind in given.on:
            owner, dot, name = kind.rpartition(".")
            counted.append(f"{kind} ({len(played.parts[owner if dot else voice.part].of_kind(name))})")
        yield f"sounds on {', '.join(counted)}"
    if given.crossing is not None and voice.crossing is not None:
        edge = {"both": "either way"}.get(given.crossing.edge, given.crossing.edge)
        yield f"sounds where {place_name(voice.crossing, played)} crosses {given.crossing.level:g}, {edge}"
    if given.steps is not None:
        yield f"sounds on the metre, in cycles of {given.steps.steps} steps of {given.steps.every:g} beats"
    if given.gate is not None and voice.gate is not None:
        side = "above" if given.gate.above is not None else "below"
        level = given.gate.above if given.gate.above is not None else given.gate.below
        yield f"sounds while {place_name(voice.gate, played)} is {side} {level:g}"


def _sound(value: float, lane: str, unit: str) -> str:
    shown = f"{value:.5g} {unit}".rstrip()
    return f"{shown} ({note(value)})" if lane == "pitch" else shown


def note(hz: float) -> str:
    """The nearest note at twelve to the octave (A4 = 440 Hz), and how far from it where that is a cent or more."""
    key = 69 + 12 * float(np.log2(hz / 440))
    cents = round(100 * (key - round(key)))
    name = f"{_NOTES[round(key) % 12]}{round(key) // 12 - 1}"
    return f"{name} {cents:+d} cents" if cents else name
