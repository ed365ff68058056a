"""Lanes → strips: everything that the graph of a voice or a group is given, as numbers and plain arrays.

This is one half of making sound, numpy's; `sonify.graph` is the other, pyo's. A renderer's strips hold whole lanes. A
live engine's hold a number or a `Slot` of shared memory for each control (`sonify.engine.patch`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sonify.desk import EffectLanes, GroupLanes, VoiceLanes
from sonify.effects import EFFECTS, Memory
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import Lane
from sonify.instruments.notes import Pieces


@dataclass(frozen=True)
class Slot:
    """A control that is read from shared memory: the number of its slot, counted from a patch's first."""

    index: int


#: What a control is set to.
Given: TypeAlias = Lane | Slot
#: Left and right.
Sides: TypeAlias = tuple[Given, Given]
#: Of each effect what it remembers between two windows, by the path of its controls.
Memories: TypeAlias = defaultdict[str, Memory]


@dataclass(frozen=True)
class EffectStrip:
    """One effect of a chain and its controls."""

    effect: str
    controls: Mapping[str, Given]


@dataclass(frozen=True)
class VoiceStrip:
    """What the graph of a voice is given.

    Attributes
    ----------
    instrument : str
    controls : mapping of str to list
        As the instrument's `build` takes them.
    amplitude : Given
        Linear gain of the instrument.
    taps : Given
        Linear gain of the earcon's low noise.
    pan : tuple of Given
        Gains of left and right before the effects.
    effects : tuple of EffectStrip
    outs : tuple of (str, tuple of Given)
        Where it goes, `into` first, with the gains of left and right.
    sample : Path or None
    """

    instrument: str
    controls: Mapping[str, list[Given]]
    amplitude: Given
    taps: Given
    pan: Sides
    effects: tuple[EffectStrip, ...]
    outs: tuple[tuple[str, Sides], ...]
    sample: Path | None = None


@dataclass(frozen=True)
class GroupStrip:
    """What the graph of a group is given: effects, gain, and where it goes, `into` first."""

    effects: tuple[EffectStrip, ...]
    gain: Given
    outs: tuple[tuple[str, Sides], ...]


def voice_strip(
    voice: VoiceLanes, points: int, sample_rate: int, first: int = 0, memories: Memories | None = None
) -> VoiceStrip:
    """A voice's strip.

    Parameters
    ----------
    voice : VoiceLanes
    points : int
        Length of its lanes.
    sample_rate : int
    first : int
        Point of the piece at which the lanes begin.
    memories : Memories, optional
        Where lanes come in windows: what is carried from one to the next.
    """
    instrument, live = INSTRUMENTS[voice.instrument], memories is not None
    if live and isinstance(instrument, Pieces):
        controls = {}  # live, notes and grains come one by one
    else:
        controls = instrument.controls(voice.lanes, voice.onsets, points, sample_rate, first)
    makeup = controls.pop("makeup", [1.0])[0]
    angle = np.pi / 4 * np.asarray(voice.pan)  # equal power
    pan: tuple[Lane, Lane] = (np.cos(np.pi / 4 + angle), np.cos(np.pi / 4 - angle))
    # Without effects the pan is part of the gains that lead out, which saves a product for each side.
    left, right = (np.ones(()), np.ones(())) if voice.effects else pan
    ways = (voice.into, 1.0), *voice.sends.items()
    return VoiceStrip(
        instrument=voice.instrument,
        controls={name: list(lanes) for name, lanes in controls.items()},
        amplitude=np.asarray(voice.amplitude) * np.asarray(makeup),
        taps=voice.taps,
        pan=pan,
        effects=_effects(voice.effects, sample_rate, memories),
        outs=tuple((way, (gain * left, gain * right)) for way, gain in ways),
        sample=voice.sample,
    )


def group_strip(group: GroupLanes, sample_rate: int, memories: Memories | None = None) -> GroupStrip:
    """A group's strip; as `voice_strip`."""
    ways = (group.into, 1.0), *group.sends.items()
    effects = _effects(group.effects, sample_rate, memories)
    return GroupStrip(effects, group.gain, tuple((way, (gain, gain)) for way, gain in ways))


def each_of_voice(strip: VoiceStrip, change: Callable[[str, Given], Given]) -> VoiceStrip:
    """The strip with every control replaced by what `change` makes of its path and of itself."""
    sides = _sides(strip.pan, "pan", change) if strip.effects else strip.pan
    return replace(
        strip,
        controls={
            name: [change(f"{name}.{i}", lane) for i, lane in enumerate(lanes)]
            for name, lanes in strip.controls.items()
        },
        amplitude=change("amplitude", strip.amplitude),
        taps=change("taps", strip.taps),
        pan=sides,
        effects=_each_effect(strip.effects, change),
        outs=tuple((way, _sides(gains, f"out.{i}", change)) for i, (way, gains) in enumerate(strip.outs)),
    )


def each_of_group(strip: GroupStrip, change: Callable[[str, Given], Given]) -> GroupStrip:
    """As `each_of_voice`. A group's gains are the same on both sides."""
    outs = []
    for i, (way, (gain, _)) in enumerate(strip.outs):
        changed = change(f"out.{i}", gain)
        outs.append((way, (changed, changed)))
    return GroupStrip(_each_effect(strip.effects, change), change("gain", strip.gain), tuple(outs))


def _effects(effects: tuple[EffectLanes, ...], sample_rate: int, memories: Memories | None) -> tuple[EffectStrip, ...]:
    return tuple(
        EffectStrip(
            e.effect,
            dict(EFFECTS[e.effect].controls(e.lanes, sample_rate, None if memories is None else memories[str(i)])),
        )
        for i, e in enumerate(effects)
    )


def _each_effect(effects: tuple[EffectStrip, ...], change: Callable[[str, Given], Given]) -> tuple[EffectStrip, ...]:
    return tuple(
        EffectStrip(e.effect, {name: change(f"effect.{i}.{name}", lane) for name, lane in e.controls.items()})
        for i, e in enumerate(effects)
    )


def _sides(gains: Sides, path: str, change: Callable[[str, Given], Given]) -> Sides:
    return change(f"{path}.left", gains[0]), change(f"{path}.right", gains[1])
