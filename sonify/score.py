"""The score: how channels become sound, as frozen data.

A `Voice` is one sounding part: an instrument and its lanes. A lane is either constant or mapped from a channel
(`Mapping`). `resolve` closes everything that depends on data (domains, ranks), so that what follows is a pure
function of `ResolvedScore` and frames. Live performances resolve against declared ranges, offline ones against the
whole take (Erie and Vega-Lite call the parts encoding, scale, domain and range; so do we).
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from pieces.piece import explain
from pieces.signals import Channel, DescantError, Frames
from pieces.source import nearest
from sonify.instruments import INSTRUMENTS, PAN, Parameter
from sonify.instruments.base import Space
from sonify.tuning import Tuning, hertz

Shape = Literal["linear", "log", "symlog", "sqrt", "rank"]


#: Milliseconds that a mapped pitch may lag where it is to be measured.
LONGEST_GLIDE = 500


class ScoreError(DescantError):
    """A score that does not hold together."""


class Model(BaseModel):
    """Frozen, and closed to fields nobody defined."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: A number, a note name (``"A4"``, ``"C#3"``) or a frequency (``"440hz"``).
Pitch = Annotated[float, BeforeValidator(hertz)]


class Mapping(Model):
    """One channel onto one instrument parameter.

    Equal steps of the shaped data become equal steps in `space`. `channel` names a scalar channel, or one element of
    an array channel as ``name[3]``. `domain` is the data interval that covers `range`: two numbers, the channel's
    ``declared`` range, or ``data`` / ``p1-p99`` of the take. Values outside are clipped to the domain.
    """

    channel: str = Field(pattern=r"^[A-Za-z_]\w*(\[\d+\])*$")
    range: tuple[Pitch, Pitch]
    domain: tuple[float, float] | Literal["declared", "data", "p1-p99"] = "data"
    shape: Shape = "linear"
    constant: float = Field(default=1.0, gt=0, description="size of symlog's linear region")
    space: Space | None = Field(default=None, description="where equal steps are equal; default: the parameter's own")
    polarity: Literal["positive", "negative"] = "positive"
    tuning: Tuning | None = None
    glide_ms: float = Field(default=10.0, ge=2, le=5000, description="time of every change, never 0")
    missing: Literal["hold", "silence", "earcon"] = "hold"

    @model_validator(mode="after")
    def _check(self) -> Mapping:
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range {list(self.range)} must rise; polarity = 'negative' inverts")
        if not isinstance(self.domain, str) and not self.domain[0] < self.domain[1]:
            raise ValueError(f"domain {list(self.domain)} must rise")
        if self.shape in ("log", "sqrt") and not isinstance(self.domain, str) and self.domain[0] <= 0:
            raise ValueError(f"shape {self.shape!r} needs a positive domain, not {list(self.domain)}; symlog takes any")
        return self


def _kind(given: Any) -> str:
    return "mapping" if isinstance(given, dict | Mapping) else "constant"


#: A constant or a mapping: told apart by hand, so that an error is about the one that was meant.
_Number = Annotated[Pitch, Tag("constant")]
_Mapped = Annotated[Mapping, Tag("mapping")]
_Pan = Annotated[float, Field(ge=-1, le=1), Tag("constant")]


class Voice(Model):
    """One sounding part. `on` names the event kinds that make an event instrument (pluck) sound."""

    instrument: str
    part: str | None = Field(default=None, description="part of the piece; default: its only one")
    lanes: dict[str, Annotated[_Number | _Mapped, Discriminator(_kind)]] = Field(default_factory=dict)
    on: tuple[str, ...] = ()
    gain_db: float = Field(default=0.0, ge=-60, le=12)
    pan: Annotated[_Pan | _Mapped, Discriminator(_kind)] = 0.0
    reverb_db: float | None = Field(default=None, ge=-60, le=6, description="level of the send; default: dry")
    attack_ms: float = Field(default=20.0, ge=5, le=20_000)
    release_ms: float = Field(default=60.0, ge=5, le=20_000)


class Reverb(Model):
    """One reverb that all sends share."""

    kind: Literal["plate", "hall"] = "hall"
    decay_s: float = Field(default=2.0, gt=0.1, le=20)
    damping: float = Field(default=0.5, ge=0, le=1, description="0 bright, 1 dark")


#: Names a stem's file.
VoiceName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w-]*$")]


class Score(Model):
    """How channels become sound.

    Purpose ``measure`` promises that a channel mapped onto a voice's ``pitch`` can be read back from it: the lane has
    no `tuning`, which rounds, no shape ``rank``, which needs the take's distribution to be undone, and follows its
    channel within `LONGEST_GLIDE` ms. `parse_score` refuses anything else. Other lanes are free; ``music`` wholly is.
    """

    version: Literal[1] = 1
    purpose: Literal["measure", "music"] = "measure"
    voices: Annotated[dict[VoiceName, Voice], Field(min_length=1)]
    reverb: Reverb = Reverb()


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

    channel: str
    index: tuple[int, ...]
    domain: tuple[float, float]
    quantiles: NDArray[np.float64]
    mapping: Mapping
    space: Space


@dataclass(frozen=True)
class ResolvedVoice:
    """A voice with every parameter of its instrument either a number or a resolved mapping."""

    name: str
    voice: Voice
    lanes: MappingABC[str, float | ResolvedMapping]
    pan: float | ResolvedMapping


@dataclass(frozen=True)
class ResolvedScore:
    """What a renderer takes: no field depends on data any more."""

    score: Score
    voices: tuple[ResolvedVoice, ...]


def parse_score(raw: MappingABC[str, Any], where: str) -> Score:
    """Validate a score from plain data; `ScoreError` names `where`, the field, the value and what is allowed."""
    try:
        score = Score.model_validate(raw)
    except ValidationError as error:
        raise ScoreError(explain(error, f"{where}: score")) from error
    for name, voice in score.voices.items():
        at = f"{where}: score.voices.{name}"
        if name == "reverb":
            raise ScoreError(f"{at}: the name of the reverb's own stem: give the voice another")
        if voice.instrument not in INSTRUMENTS:
            raise ScoreError(f"{at}.instrument = {voice.instrument!r}{nearest(voice.instrument, INSTRUMENTS)}")
        instrument = INSTRUMENTS[voice.instrument]
        if instrument.on_events and not voice.on:
            raise ScoreError(f"{at}.on: missing: {voice.instrument} sounds on events; name their kinds")
        for lane, value in voice.lanes.items():
            if lane not in instrument.parameters:
                raise ScoreError(f"{at}.lanes.{lane}: no such parameter{nearest(lane, instrument.parameters)}")
            _check_lane(value, instrument.parameters[lane], f"{at}.lanes.{lane}")
        if score.purpose == "measure" and isinstance(pitch := voice.lanes.get("pitch"), Mapping):
            _check_decodable(pitch, f"{at}.lanes.pitch")
        _check_lane(voice.pan, PAN, f"{at}.pan")
    return score


def _check_lane(value: float | Mapping, parameter: Parameter, at: str) -> None:
    low, high = parameter.range
    allowed = f"allowed is {low:g} to {high:g} {parameter.unit}".rstrip()
    if isinstance(value, Mapping):
        if parameter.whole:
            raise ScoreError(f"{at}: cannot be mapped from a channel: give it a whole number; {allowed}")
        if not (low <= value.range[0] and value.range[1] <= high):
            raise ScoreError(f"{at} = {list(value.range)}: {allowed}")
        space = value.space or parameter.space
        if space not in ("linear", "db") and value.range[0] <= 0:
            raise ScoreError(f"{at}.space = {space!r}: needs a range above 0, not {list(value.range)}; use 'linear'")
    elif not low <= value <= high or (parameter.whole and value != int(value)):
        raise ScoreError(f"{at} = {value:g}: {allowed}{', whole' if parameter.whole else ''}")


def _check_decodable(pitch: Mapping, at: str) -> None:
    """What `Score` promises of a pitch that measures."""
    music = "for purpose = 'measure'; set purpose = 'music' to keep it"
    if pitch.shape == "rank":
        raise ScoreError(f"{at}.shape = 'rank': allowed is linear, log, symlog or sqrt {music}")
    if pitch.tuning:
        raise ScoreError(f"{at}.tuning = {list(pitch.tuning.cents)} cents: rounds the data, allowed is none {music}")
    if pitch.glide_ms > LONGEST_GLIDE:
        raise ScoreError(f"{at}.glide_ms = {pitch.glide_ms:g}: allowed is 2 to {LONGEST_GLIDE} ms {music}")


def split_channel(reference: str) -> tuple[str, tuple[int, ...]]:
    """``"x0[1][2]"`` → ``("x0", (1, 2))``."""
    name, _, _ = reference.partition("[")
    return name, tuple(int(i) for i in re.findall(r"\[(\d+)\]", reference))


def element(frames: Frames, name: str, index: tuple[int, ...]) -> NDArray[np.float64]:
    """A scalar channel, or one element of an array channel, over time: float64 ``[ticks]``."""
    where: tuple[Any, ...] = (slice(None), *index)
    return np.asarray(frames.arrays[name][where], dtype=np.float64)


def references(score: Score) -> set[str]:
    """All channel references of a score."""
    found = set()
    for voice in score.voices.values():
        for value in (*voice.lanes.values(), voice.pan):
            if isinstance(value, Mapping):
                found.add(value.channel)
    return found


def declared_stats(score: Score, channels: MappingABC[str, Channel]) -> dict[str, ChannelStats]:
    """Statistics for a live performance: declared ranges only.

    Raises
    ------
    ScoreError
        If the score names a channel (or an element) that is not there.
    """
    stats = {}
    for reference in references(score):
        name, index = split_channel(reference)
        if name not in channels:
            raise ScoreError(f"no channel {name!r}{nearest(name, channels)}")
        shape = channels[name].shape
        if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
            raise ScoreError(f"channel {reference!r}: {name} has shape {list(shape)}; name one element of it")
        stats[reference] = ChannelStats(channels[name].range, np.empty(0))
    return stats


def take_stats(score: Score, channels: MappingABC[str, Channel], frames: Frames) -> dict[str, ChannelStats]:
    """Statistics of a whole take, for the final mix."""
    stats = {}
    for reference, declared in declared_stats(score, channels).items():
        name, index = split_channel(reference)
        values = element(frames, name, index)
        quantiles = np.unique(values)
        if len(quantiles) > 4096:
            quantiles = np.sort(values)[np.linspace(0, len(values) - 1, 4096).round().astype(int)]
        stats[reference] = ChannelStats(declared.declared, quantiles)
    return stats


def resolve(score: Score, stats: MappingABC[str, ChannelStats]) -> ResolvedScore:
    """Close every data-dependent choice of a score.

    Parameters
    ----------
    score : Score
    stats : mapping
        Channel reference → statistics (`declared_stats` when live, `take_stats` offline).

    Raises
    ------
    ScoreError
        If a log or sqrt shape meets a domain that is not positive.
    """
    voices = []
    for name, voice in score.voices.items():
        lanes: dict[str, float | ResolvedMapping] = {}
        for key, parameter in INSTRUMENTS[voice.instrument].parameters.items():
            given = voice.lanes.get(key, parameter.default)
            lanes[key] = (
                _resolved(given, stats, parameter.space, f"{name}.{key}") if isinstance(given, Mapping) else given
            )
        pan = _resolved(voice.pan, stats, "linear", f"{name}.pan") if isinstance(voice.pan, Mapping) else voice.pan
        voices.append(ResolvedVoice(name, voice, lanes, pan))
    return ResolvedScore(score, tuple(voices))


def _resolved(mapping: Mapping, stats: MappingABC[str, ChannelStats], space: Space, where: str) -> ResolvedMapping:
    known = stats[mapping.channel]
    quantiles = known.quantiles if len(known.quantiles) else np.asarray(known.declared)
    if isinstance(mapping.domain, tuple):
        domain = mapping.domain
    elif mapping.domain == "declared":
        domain = known.declared
    elif mapping.domain == "data":
        domain = float(quantiles[0]), float(quantiles[-1])
    else:
        low, high = np.quantile(quantiles, [0.01, 0.99])
        domain = float(low), float(high)
    if mapping.shape in ("log", "sqrt") and domain[0] <= 0:
        raise ScoreError(
            f"{where}: shape {mapping.shape!r} of {mapping.channel}: "
            f"its domain starts at {domain[0]:g}, allowed is > 0; use 'symlog'"
        )
    name, index = split_channel(mapping.channel)
    return ResolvedMapping(name, index, domain, quantiles, mapping, mapping.space or space)
