"""Resolving a score: all that depends on data (domains, ranks) is closed, and every reference finds its channel.

What follows is a pure function of `ResolvedScore` and frames. Live performances resolve against declared ranges,
offline ones against the whole take.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Channel, Frames
from pieces.source import nearest
from sonify.effects import EFFECTS
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import Space
from sonify.score import CHANCE, PULSES, SEND, Effects, Group, Score, ScoreError, Voice, effect_name, given_references
from sonify.score import Mapping as Mapped


@dataclass(frozen=True, order=True)
class Place:
    """A scalar channel of a part, or one element of an array channel."""

    part: str
    name: str
    index: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.part}.{self.name}{''.join(f'[{i}]' for i in self.index)}"


@dataclass(frozen=True)
class ChannelStats:
    """What resolving needs to know of one channel (or one element of it).

    ``quantiles`` are sorted finite values: all distinct values of a short take, 4096 quantiles of a long one; empty
    where only the declared range is known.
    """

    declared: tuple[float, float]
    quantiles: NDArray[np.float64]


@dataclass(frozen=True)
class ResolvedMapping:
    """A mapping whose domain is numbers: lane value = space⁻¹(range[0] + u · width), u = shape(value) in 0..1."""

    place: Place
    domain: tuple[float, float]
    quantiles: NDArray[np.float64]
    mapping: Mapped
    space: Space


Resolved: TypeAlias = float | ResolvedMapping


@dataclass(frozen=True)
class ResolvedEffect:
    """An effect with every parameter."""

    effect: str
    lanes: Mapping[str, Resolved]


@dataclass(frozen=True)
class ResolvedVoice:
    """A voice with every parameter of its instrument and its effects, its place, its sends and its rhythm."""

    name: str
    voice: Voice
    part: str
    lanes: Mapping[str, Resolved]
    pan: Resolved
    effects: tuple[ResolvedEffect, ...] = ()
    sends: Mapping[str, Resolved] | None = None
    pulses: Resolved | None = None
    chance: Resolved = 1.0
    gate: Place | None = None
    crossing: Place | None = None


@dataclass(frozen=True)
class ResolvedGroup:
    """A group with everything that it does."""

    name: str
    group: Group
    effects: tuple[ResolvedEffect, ...]
    gain: Resolved
    sends: Mapping[str, Resolved]


@dataclass(frozen=True)
class ResolvedScore:
    """What lanes are made from: no field depends on data any more. Groups stand in the order of flow."""

    score: Score
    voices: tuple[ResolvedVoice, ...]
    groups: tuple[ResolvedGroup, ...] = ()


def locate(reference: str, part: str | None, parts: Iterable[str]) -> Place:
    """``"slow.x0[1][2]"`` → ``Place("slow", "x0", (1, 2))``; without a part's name it means `part`, or the only one.

    Raises
    ------
    ScoreError
        If there is no such part, or it is not clear which one is meant.
    """
    known = list(parts)
    path, _, _ = reference.partition("[")
    index = tuple(int(i) for i in re.findall(r"\[(\d+)\]", reference))
    owner, dot, name = path.rpartition(".")
    found = (owner if dot else part) or (known[0] if len(known) == 1 else None)
    if found is None:
        raise ScoreError(f"channel {reference!r}: of which part? Write {known[0]}.{name}, or give the voice its 'part'")
    if found not in known:
        raise ScoreError(f"channel {reference!r}: no part {found!r}{nearest(found, known)}")
    return Place(found, name, index)


def element(frames: Frames, place: Place, rows: slice = slice(None)) -> NDArray[np.float64]:
    """A scalar channel, or one element of an array channel, over time: float64 ``[ticks]``, of all rows by default."""
    where: tuple[Any, ...] = (rows, *place.index)
    return np.asarray(frames.arrays[place.name][where], dtype=np.float64)


def places(score: Score, parts: Iterable[str]) -> set[Place]:
    """All channels that a score sounds or goes by."""
    known = list(parts)
    return {locate(reference, part, known) for _, reference, part in given_references(score)}


def declared_stats(score: Score, channels: Mapping[str, Mapping[str, Channel]]) -> dict[Place, ChannelStats]:
    """Statistics for a live performance: declared ranges only.

    Parameters
    ----------
    score : Score
    channels : mapping
        Part → name → channel.

    Raises
    ------
    ScoreError
        If the score names a part, a channel or an element that is not there.
    """
    stats = {}
    for at, reference, part in given_references(score):
        try:
            place = locate(reference, part, channels)
        except ScoreError as error:
            raise ScoreError(f"{at}: {error}") from error
        known = channels[place.part]
        if place.name not in known:
            raise ScoreError(f"{at}: no channel {place.name!r}{nearest(place.name, known)}")
        shape = known[place.name].shape
        if len(place.index) != len(shape) or any(i >= n for i, n in zip(place.index, shape, strict=True)):
            said = f"{place.name} has shape {list(shape)}; name one element of it"
            raise ScoreError(f"{at}: channel {reference!r}: {said}")
        stats[place] = ChannelStats(known[place.name].range, np.empty(0))
    for name, voice in score.voices.items():
        _part_of(name, voice, channels)
    return stats


def take_stats(
    score: Score, channels: Mapping[str, Mapping[str, Channel]], recorded: Mapping[str, Frames]
) -> dict[Place, ChannelStats]:
    """Statistics of a whole take, for the final mix: every tick that was recorded counts once."""
    stats = {}
    for place, declared in declared_stats(score, channels).items():
        values = element(recorded[place.part], place)
        quantiles = np.unique(values)
        if len(quantiles) > 4096:
            quantiles = np.sort(values)[np.linspace(0, len(values) - 1, 4096).round().astype(int)]
        stats[place] = ChannelStats(declared.declared, quantiles)
    return stats


def resolve(score: Score, stats: Mapping[Place, ChannelStats], parts: Iterable[str]) -> ResolvedScore:
    """Close every data-dependent choice of a score.

    Parameters
    ----------
    score : Score
    stats : mapping
        Channel → statistics (`declared_stats` when live, `take_stats` offline).
    parts : iterable of str
        Parts of the piece.

    Raises
    ------
    ScoreError
        If a log or sqrt shape meets a domain that is not positive.
    """
    resolver = _Resolver(stats, list(parts))
    voices = tuple(resolver.voice(name, voice) for name, voice in score.voices.items())
    return ResolvedScore(score, voices, tuple(resolver.group(name, score.groups[name]) for name in score.flow))


def _part_of(name: str, voice: Voice, parts: Iterable[str]) -> str:
    known = list(parts)
    if voice.part is None and len(known) > 1:
        raise ScoreError(f"voice {name}: give it its 'part'; there are {', '.join(known)}")
    if voice.part is not None and voice.part not in known:
        raise ScoreError(f"voice {name}: part = {voice.part!r}: no such part{nearest(voice.part, known)}")
    return voice.part or known[0]


class _Resolver:
    def __init__(self, stats: Mapping[Place, ChannelStats], parts: list[str]) -> None:
        self._stats = stats
        self._parts = parts

    def voice(self, name: str, voice: Voice) -> ResolvedVoice:
        part = _part_of(name, voice, self._parts)
        lanes = {
            key: self._value(voice.lanes.get(key, parameter.default), parameter.space, part, f"{name}.{key}")
            for key, parameter in INSTRUMENTS[voice.instrument].parameters.items()
        }
        pulses: Resolved | None = None
        chance: Resolved = 1.0
        if voice.steps is not None:
            chance = self._value(voice.steps.chance, CHANCE.space, part, f"{name}.chance")
            if voice.steps.pulses is not None:
                pulses = self._value(voice.steps.pulses, PULSES.space, part, f"{name}.pulses")
        return ResolvedVoice(
            name=name,
            voice=voice,
            part=part,
            lanes=lanes,
            pan=self._value(voice.pan, "linear", part, f"{name}.pan"),
            effects=self._effects(voice.effects, part, name),
            sends={k: self._value(v, SEND.space, part, f"{name}.sends.{k}") for k, v in voice.sends.items()},
            pulses=pulses,
            chance=chance,
            gate=None if voice.gate is None else locate(voice.gate.channel, part, self._parts),
            crossing=None if voice.crossing is None else locate(voice.crossing.channel, part, self._parts),
        )

    def group(self, name: str, group: Group) -> ResolvedGroup:
        return ResolvedGroup(
            name=name,
            group=group,
            effects=self._effects(group.effects, group.part, name),
            gain=self._value(group.gain_db, SEND.space, group.part, f"{name}.gain_db"),
            sends={k: self._value(v, SEND.space, group.part, f"{name}.sends.{k}") for k, v in group.sends.items()},
        )

    def _effects(self, effects: Effects, part: str | None, name: str) -> tuple[ResolvedEffect, ...]:
        found = []
        for key, given in effects.items():
            lanes = {
                lane: self._value(given.get(lane, parameter.default), parameter.space, part, f"{name}.{key}.{lane}")
                for lane, parameter in EFFECTS[effect_name(key)].parameters.items()
            }
            found.append(ResolvedEffect(effect_name(key), lanes))
        return tuple(found)

    def _value(self, given: float | Mapped, space: Space, part: str | None, where: str) -> Resolved:
        if not isinstance(given, Mapped):
            return given
        place = locate(given.channel, part, self._parts)
        domain, quantiles = self._domain(given, self._stats[place])
        if given.shape in ("log", "sqrt") and domain[0] <= 0:
            raise ScoreError(
                f"{where}: shape {given.shape!r} of {given.channel}: "
                f"its domain starts at {domain[0]:g}, allowed is > 0; use 'symlog'"
            )
        return ResolvedMapping(place, domain, quantiles, given, given.space or space)

    def _domain(self, mapping: Mapped, known: ChannelStats) -> tuple[tuple[float, float], NDArray[np.float64]]:
        quantiles = known.quantiles if len(known.quantiles) else np.asarray(known.declared)
        if isinstance(mapping.domain, tuple):
            return mapping.domain, quantiles
        if mapping.domain == "declared":
            return known.declared, quantiles
        low, high = quantiles[[0, -1]] if mapping.domain == "data" else np.quantile(quantiles, [0.01, 0.99])
        return (float(low), float(high)), quantiles
