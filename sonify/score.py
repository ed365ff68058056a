"""The score: how channels become sound, as frozen data.

A `Voice` is one sounding part: an instrument and its lanes. A lane is either constant or mapped from a channel
(`Mapping`). Voices go through groups, and beside into groups that they send to; both have effects whose parameters are
lanes too. `sonify.resolve` closes everything that depends on data (Erie and Vega-Lite call the parts encoding, scale,
domain and range; so do we).
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as MappingABC
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from pieces.errors import DescantError
from pieces.piece import explain
from pieces.source import nearest
from sonify.desk import MIX
from sonify.effects import EFFECTS
from sonify.instruments import INSTRUMENTS, PAN, Parameter
from sonify.instruments.base import Space
from sonify.tuning import Tuning, hertz

Shape = Literal["linear", "log", "symlog", "sqrt", "rank"]

#: Milliseconds that a mapped pitch may lag where it is to be measured.
LONGEST_GLIDE = 500
#: Level of a send, or of a group.
SEND = Parameter("send", "level of what is sent", "dB", (-60.0, 12.0), 0.0, "db")
#: What the rhythm of a voice may follow a channel with.
PULSES = Parameter("pulses", "strikes among the steps of a cycle", "", (0.0, 64.0), 0.0, "linear")
CHANCE = Parameter("chance", "probability of every strike", "", (0.0, 1.0), 1.0, "linear")


class ScoreError(DescantError):
    """A score that does not hold together."""


class Model(BaseModel):
    """Frozen, and closed to fields nobody defined."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: A number, a note name (``"A4"``, ``"C#3"``) or a frequency (``"440hz"``).
Pitch = Annotated[float, BeforeValidator(hertz)]
#: A channel of the voice's part, or of another one, or one element of an array: ``loss``, ``slow.loss``, ``x0[3][1]``.
Reference = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*\.)?[A-Za-z_]\w*(\[\d+\])*$")]


class Mapping(Model):
    """One channel onto one parameter.

    Equal steps of the shaped data become equal steps in `space`. `domain` is the data interval that covers `range`: two
    numbers, the channel's ``declared`` range, or ``data`` / ``p1-p99`` of the take. Values outside are clipped to the
    domain. With `every` the channel is sampled on every so many beats and held in between.
    """

    channel: Reference
    range: tuple[Pitch, Pitch]
    domain: tuple[float, float] | Literal["declared", "data", "p1-p99"] = "data"
    shape: Shape = "linear"
    constant: float = Field(default=1.0, gt=0, description="size of symlog's linear region")
    space: Space | None = Field(default=None, description="where equal steps are equal; default: the parameter's own")
    polarity: Literal["positive", "negative"] = "positive"
    tuning: Tuning | None = None
    every: float | None = Field(default=None, gt=0, le=4096, description="sample and hold, in beats")
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
_Mapped = Annotated[Mapping, Tag("mapping")]
_Number = Annotated[Pitch, Tag("constant")]
Value = Annotated[_Number | _Mapped, Discriminator(_kind)]

#: Effects in the order of the signal: name (``lowpass``, a second one ``lowpass_2``) → parameters.
Effects = dict[Annotated[str, Field(pattern=r"^[a-z]+(_\d+)?$")], dict[str, Value]]


class Gate(Model):
    """Open while a channel is `above` a value, or `below` one; it must come back by `hysteresis` to close."""

    channel: Reference
    above: float | None = None
    below: float | None = None
    hysteresis: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _one(self) -> Gate:
        if (self.above is None) == (self.below is None):
            raise ValueError("give 'above' or 'below', and not both")
        return self


class Crossing(Model):
    """A strike whenever a channel crosses `level`; it must leave it by `hysteresis` before it can cross again."""

    channel: Reference
    level: float
    edge: Literal["rising", "falling", "both"] = "rising"
    hysteresis: float = Field(default=0.0, ge=0)


class Steps(Model):
    """Strikes on the metre: cycles of `steps`, each `every` beats long, from the beginning of a section.

    `pulses` of them are struck, spread as evenly as they can be (E. Bjorklund, 2003; G. Toussaint, "The Euclidean
    algorithm generates traditional musical rhythms", 2005), turned by `rotate` steps; each with probability `chance`.
    """

    every: float = Field(default=0.25, gt=0, le=4096)
    steps: int = Field(default=16, ge=1, le=64)
    pulses: Value | None = Field(default=None, description="default: all of them")
    rotate: int = Field(default=0, ge=0, le=63)
    chance: Value = 1.0


class Voice(Model):
    """One sounding part.

    A struck instrument sounds `on` kinds of events (of its part, or ``part.kind``), on `crossing`s and on `steps`.
    """

    instrument: str
    part: str | None = Field(default=None, description="part of the piece; default: its only one")
    lanes: dict[str, Value] = Field(default_factory=dict)
    on: tuple[str, ...] = ()
    crossing: Crossing | None = None
    steps: Steps | None = None
    gate: Gate | None = None
    sample: str | None = Field(default=None, description="a sound file, or take:ID, of an instrument that needs one")
    gain_db: float = Field(default=0.0, ge=-60, le=12)
    pan: Value = 0.0
    effects: Effects = Field(default_factory=dict)
    into: str = Field(default=MIX, description="group that it goes through")
    sends: dict[str, Value] = Field(default_factory=dict, description="group → level in dB")
    attack_ms: float = Field(default=20.0, ge=5, le=20_000)
    release_ms: float = Field(default=60.0, ge=5, le=20_000)


class Group(Model):
    """What goes into it, or is sent to it, through effects."""

    effects: Effects = Field(default_factory=dict)
    gain_db: Value = 0.0
    into: str = MIX
    sends: dict[str, Value] = Field(default_factory=dict)
    part: str | None = Field(default=None, description="part whose channels its mappings name; default: the only one")


#: Names a stem's file.
TrackName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w-]*$")]


class Score(Model):
    """How channels become sound.

    Purpose ``measure`` promises that a channel that is mapped onto the ``pitch`` of a pitched instrument can be read
    back from the voice's stem:

    - *Pitch.* Where the data rest for longer than the glide, what is heard over 100 ms and at least six periods is
      within 5 cents of the lane, from 40 Hz up (notes that are struck: from 100 Hz up, until the next one). So more is
      higher, equal steps of the shaped data are equal steps in the `space` to 10 cents, and negative polarity is the
      mirror of positive.
    - *Time.* A step between pitches above 100 Hz begins, and a note is struck, within 10 ms.
    - *Loudness* (K-weighted) stays within 1 dB while nothing but the pitch moves, above 40 Hz, below the corner of the
      instrument's own low-pass, with overtones below 18 kHz, and unless a limiter works on the master. Notes decay.
    - *Decoding.* `sonify.mapping.invert` of what is heard explains the data with R squared of 0.99 or more, over a
      range of a fifth or more; of a struck voice, the data at its strikes.

    So the lane has no `tuning`, which rounds, no shape ``rank``, which needs the take's distribution to be undone, no
    `every`, and follows its channel within `LONGEST_GLIDE` ms; the voice has no effects of its own; and what else
    would move or hide the pitch (`Instrument.steady`: a chorus, vibrato, breath) keeps still, and is still where it is
    not given. `parse_score` refuses anything else. Other lanes are free, and so is the pitch of what has none: noise,
    drums, recordings. Purpose ``music`` promises nothing of this.
    """

    version: Literal[1] = 1
    purpose: Literal["measure", "music"] = "measure"
    voices: Annotated[dict[TrackName, Voice], Field(min_length=1)]
    groups: dict[TrackName, Group] = Field(default_factory=dict)

    @property
    def flow(self) -> list[str]:
        """Groups in an order in which each goes into later ones only; a circle raises `CycleError`."""
        # Lists, since a set has another order in every process, and the sum of three groups depends on it.
        before: dict[str, list[str]] = {name: [] for name in self.groups}
        for name, group in self.groups.items():
            for target in (group.into, *group.sends):
                if target in before:
                    before[target].append(name)
        return list(TopologicalSorter(before).static_order())


def parse_score(raw: MappingABC[str, Any], where: str) -> Score:
    """Validate a score from plain data; `ScoreError` names `where`, the field, the value and what is allowed."""
    try:
        score = Score.model_validate(raw)
    except ValidationError as error:
        raise ScoreError(explain(error, f"{where}: score")) from error
    voices = {name: _checked_voice(score, name, voice, where) for name, voice in score.voices.items()}
    for name, group in score.groups.items():
        at = f"{where}: score.groups.{name}"
        if name == MIX:
            raise ScoreError(f"{at}: the mix has that name: give another")
        _check_routing(score, group, at)
        _check_value(group.gain_db, SEND, f"{at}.gain_db")
    try:
        _ = score.flow
    except CycleError as error:
        raise ScoreError(
            f"{where}: score.groups go into each other in a circle: {' -> '.join(error.args[1])}"
        ) from None
    return score.model_copy(update={"voices": voices})


def _checked_voice(score: Score, name: str, voice: Voice, where: str) -> Voice:
    """The voice, which holds its pitch still where that is measured."""
    at = f"{where}: score.voices.{name}"
    if name in (*score.groups, MIX):
        raise ScoreError(f"{at}: {'a group' if name in score.groups else 'the mix'} has that name: give another")
    _check_instrument(voice, at)
    _check_value(voice.pan, PAN, f"{at}.pan")
    _check_routing(score, voice, at)
    if voice.steps is not None:
        if voice.steps.pulses is not None:
            _check_value(voice.steps.pulses, PULSES, f"{at}.steps.pulses")
        _check_value(voice.steps.chance, CHANCE, f"{at}.steps.chance")
    if score.purpose == "music" or not isinstance(pitch := voice.lanes.get("pitch"), Mapping):
        return voice
    _check_decodable(pitch, voice, at)
    still = {lane: parameter.default for lane, parameter in INSTRUMENTS[voice.instrument].steady.items()}
    return voice.model_copy(update={"lanes": still | voice.lanes})


def _check_instrument(voice: Voice, at: str) -> None:
    if voice.instrument not in INSTRUMENTS:
        raise ScoreError(f"{at}.instrument = {voice.instrument!r}{nearest(voice.instrument, INSTRUMENTS)}")
    instrument = INSTRUMENTS[voice.instrument]
    struck = bool(voice.on or voice.crossing or voice.steps)
    if instrument.on_events and not struck:
        raise ScoreError(
            f"{at}.on: missing: {voice.instrument} sounds on events; name their kinds, or give 'crossing' or 'steps'"
        )
    if struck and not instrument.on_events:
        raise ScoreError(
            f"{at}: {voice.instrument} sounds all the time and knows no strikes: use 'gate', or pluck, bell or the like"
        )
    if instrument.needs_sample != (voice.sample is not None):
        said = "needs a sound file" if instrument.needs_sample else "plays no sound file: leave it out"
        raise ScoreError(f"{at}.sample: {voice.instrument} {said}")
    for lane, value in voice.lanes.items():
        if lane not in instrument.parameters:
            raise ScoreError(f"{at}.lanes.{lane}: no such parameter{nearest(lane, instrument.parameters)}")
        _check_value(value, instrument.parameters[lane], f"{at}.lanes.{lane}")


def _check_routing(score: Score, strip: Voice | Group, at: str) -> None:
    """See that it goes into groups that there are, through effects that there are."""
    for field, target in (("into", strip.into), *((f"sends.{target}", target) for target in strip.sends)):
        if target not in score.groups and not (field == "into" and target == MIX):
            raise ScoreError(f"{at}.{field}: no group {target!r}{nearest(target, score.groups)}")
    for target, level in strip.sends.items():
        _check_value(level, SEND, f"{at}.sends.{target}")
    for key, lanes in strip.effects.items():
        name = effect_name(key)
        if name not in EFFECTS:
            raise ScoreError(f"{at}.effects.{key}: no such effect{nearest(name, EFFECTS)}")
        for lane, value in lanes.items():
            if lane not in EFFECTS[name].parameters:
                raise ScoreError(
                    f"{at}.effects.{key}.{lane}: no such parameter{nearest(lane, EFFECTS[name].parameters)}"
                )
            _check_value(value, EFFECTS[name].parameters[lane], f"{at}.effects.{key}.{lane}")


def effect_name(key: str) -> str:
    """``"lowpass_2"`` → ``"lowpass"``."""
    return key.partition("_")[0]


def _check_value(value: float | Mapping, parameter: Parameter, at: str, where: str = "") -> None:
    low, high = parameter.range
    allowed = f"allowed is {low:g} to {high:g}" if low < high else f"allowed is {low:g}"
    allowed = f"{allowed} {parameter.unit}".rstrip()
    if isinstance(value, Mapping):
        if parameter.whole:
            raise ScoreError(f"{at}: cannot be mapped from a channel: give it a whole number; {allowed}{where}")
        if not (low <= value.range[0] and value.range[1] <= high):
            raise ScoreError(f"{at} = {list(value.range)}: {allowed}{where}")
        space = value.space or parameter.space
        if space not in ("linear", "db") and value.range[0] <= 0:
            raise ScoreError(f"{at}.space = {space!r}: needs a range above 0, not {list(value.range)}; use 'linear'")
    elif not low <= value <= high or (parameter.whole and value != int(value)):
        raise ScoreError(f"{at} = {value:g}: {allowed}{', whole' if parameter.whole else ''}{where}")


def _check_decodable(pitch: Mapping, voice: Voice, at: str) -> None:
    """What `Score` promises of a pitch that measures."""
    music = "for purpose = 'measure'; set purpose = 'music' to keep it"
    at_pitch = f"{at}.lanes.pitch"
    if pitch.shape == "rank":
        raise ScoreError(f"{at_pitch}.shape = 'rank': allowed is linear, log, symlog or sqrt {music}")
    if pitch.tuning:
        raise ScoreError(f"{at_pitch}.tuning: rounds the data, allowed is none {music}")
    if pitch.every is not None:
        raise ScoreError(f"{at_pitch}.every = {pitch.every:g}: leaves out data, allowed is none {music}")
    if pitch.glide_ms > LONGEST_GLIDE:
        raise ScoreError(f"{at_pitch}.glide_ms = {pitch.glide_ms:g}: allowed is 2 to {LONGEST_GLIDE} ms {music}")
    if voice.effects:
        raise ScoreError(f"{at}.effects = {list(voice.effects)}: change what is measured, allowed are none {music}")
    for lane, parameter in INSTRUMENTS[voice.instrument].steady.items():
        if lane in voice.lanes:
            _check_value(voice.lanes[lane], parameter, f"{at}.lanes.{lane}", f" {music}")


def given_references(score: Score) -> Iterator[tuple[str, str, str | None]]:
    """Every channel that a score names: where in the score, the reference, and the part it means by default."""

    def mapped(values: MappingABC[str, Any], part: str | None, at: str) -> Iterator[tuple[str, str, str | None]]:
        for key, value in values.items():
            if isinstance(value, Mapping | Gate | Crossing):
                yield f"{at}.{key}", value.channel, part
            elif isinstance(value, dict):
                yield from mapped(value, part, f"{at}.{key}")

    for name, voice in score.voices.items():
        steps = {} if voice.steps is None else {"pulses": voice.steps.pulses, "chance": voice.steps.chance}
        rest = {"pan": voice.pan, "sends": voice.sends, "effects": voice.effects, "steps": steps}
        more = {"gate": voice.gate, "crossing": voice.crossing}
        yield from mapped({"lanes": voice.lanes, **rest, **more}, voice.part, f"score.voices.{name}")
    for name, group in score.groups.items():
        lanes = {"gain_db": group.gain_db, "sends": group.sends, "effects": group.effects}
        yield from mapped(lanes, group.part, f"score.groups.{name}")
