"""For people: a sounded legend, an audible axis, a caption and a timing table.

None of it is part of a take's artefact: an audience hears the mix and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import Arrangement
from pieces.errors import DescantError
from pieces.signals import Event, Frames
from sonify.effects import EFFECTS
from sonify.instruments import INSTRUMENTS, PAN, Parameter
from sonify.limiter import Limiter
from sonify.mapping import SPACES, apply, invert
from sonify.resolve import Place, Resolved, ResolvedEffect, ResolvedMapping, ResolvedScore, ResolvedVoice, element
from sonify.score import Mapping as Mapped
from sonify.score import Score, Voice
from sonify.wav import StereoWav

Floats = NDArray[np.float64]
#: Values of a channel from one tick to another (None: the end); later ones count. A value is there before it sounds.
Course: TypeAlias = list[tuple[int, int | None, float]]

#: The part whose channels a legend plays.
_PART = "legend"
#: A legend's ticks a second; ticks of silence before each sound, of the sound, and of rest after each mapping.
_RATE, _GAP, _SOUND, _REST = 5.0, 1, 3, 2
#: Samples read at once.
_CHUNK = 48_000
#: Frequency (Hz), attack and decay (s) of a mark, its amplitude, and that of every fifth.
_MARK_HZ, _MARK_ATTACK, _MARK_DECAY, _MARK, _FIFTH = 2000.0, 0.002, 0.010, 0.1, 0.25


class LegendError(DescantError):
    """A legend or an axis that cannot be made."""


@dataclass(frozen=True)
class Sample:
    """One sound of a legend: a `value` of the data, ``low``, ``middle`` or ``high``, and what a lane makes of it.

    `start` and `end` are in seconds, `sound` is in the parameter's unit. The middle is that of the range.
    """

    start: float
    end: float
    voice: str
    lane: str
    place: Place
    what: str
    value: float
    sound: float


@dataclass(frozen=True)
class Legend:
    """What lanes are made from, to be rendered like any piece, and what is heard in it."""

    resolved: ResolvedScore
    played: Arrangement
    samples: tuple[Sample, ...]


def mapped(voice: ResolvedVoice) -> Iterator[tuple[str, Parameter, ResolvedMapping]]:
    """What of a voice follows a channel: lanes, place (``pan``), effects (``lowpass.cutoff``)."""
    parameters = INSTRUMENTS[voice.voice.instrument].parameters
    given: list[tuple[str, Parameter, Resolved]] = [(n, parameters[n], lane) for n, lane in voice.lanes.items()]
    given.append(("pan", PAN, voice.pan))
    for effect in voice.effects:
        given += [(f"{effect.effect}.{n}", EFFECTS[effect.effect].parameters[n], x) for n, x in effect.lanes.items()]
    yield from ((name, parameter, x) for name, parameter, x in given if isinstance(x, ResolvedMapping))


def legend(resolved: ResolvedScore) -> Legend:
    """Every mapping alone: its low, middle and high, of 0.6 s each, on the instrument of its voice.

    Voices and what is mapped in them come in the score's order. What else is mapped in a voice rests in the middle of
    its range; other voices, effects that follow no channel, and groups are silent.

    Raises
    ------
    LegendError
        If nothing is mapped.
    """
    samples: list[Sample] = []
    voices: list[ResolvedVoice] = []
    courses: dict[str, Course] = {}
    heard: dict[str, list[tuple[int, int]]] = {}
    tick = 0
    for voice in resolved.voices:
        shown = {id(x): _alone(x, f"{voice.name}.{i}") for i, (_, _, x) in enumerate(mapped(voice))}
        if not shown:
            continue
        played, place = _legend_voice(voice, shown)
        voices.append(played)
        courses[place.name] = [(0, None, voice.pan)] if isinstance(voice.pan, float) else []
        spans = heard[place.name] = []
        for lane, _, given in mapped(voice):
            first, values = tick, _values(given)
            course = courses[shown[id(given)].place.name] = [(0, None, values["middle"])]
            for what, value in values.items():
                start, end = tick + _GAP, tick + _GAP + _SOUND
                sound = float(apply(given, value))
                samples.append(Sample(start / _RATE, end / _RATE, voice.name, lane, given.place, what, value, sound))
                course.append((tick, end, value))
                # What is struck rings on between its own sounds.
                spans.append((first if played.voice.on else start, end))
                tick = end
            tick += _REST
    if not samples:
        raise LegendError("a legend needs something that is mapped from a channel: this score has nothing")
    score = Score(purpose="music", voices={v.name: v.voice for v in voices})
    events = tuple(Event(round(s.start * _RATE), _strike(s.voice)) for s in samples)
    played_by = Arrangement.of(_frames(courses, heard, tick, events), _PART)
    return Legend(ResolvedScore(score, tuple(voices)), played_by, tuple(samples))


def _alone(given: ResolvedMapping, channel: str) -> ResolvedMapping:
    """The mapping as a legend plays it, from a channel of its own."""
    mapping = given.mapping.model_copy(update={"missing": "hold", "glide_ms": 10.0, "every": None})
    return replace(given, place=Place(_PART, channel), mapping=mapping)


def _legend_voice(voice: ResolvedVoice, shown: Mapping[int, ResolvedMapping]) -> tuple[ResolvedVoice, Place]:
    """The voice as a legend plays it, and the channel of its pan, which silences it.

    It has its instrument, and those of its effects that are mapped.
    """

    def swapped(lanes: Mapping[str, Resolved]) -> dict[str, Resolved]:
        return {name: shown.get(id(given), given) for name, given in lanes.items()}

    effects = [ResolvedEffect(e.effect, swapped(e.lanes)) for e in voice.effects]
    follow = [e for e in effects if any(isinstance(given, ResolvedMapping) for given in e.lanes.values())]
    struck = INSTRUMENTS[voice.voice.instrument].on_events
    plain = Voice(
        instrument=voice.voice.instrument,
        sample=voice.voice.sample,
        gain_db=voice.voice.gain_db,
        on=(f"{_PART}.{_strike(voice.name)}",) if struck else (),
    )
    pan = shown.get(id(voice.pan)) or _identity(f"{voice.name}.pan")
    pan = replace(pan, mapping=pan.mapping.model_copy(update={"missing": "silence"}))
    return ResolvedVoice(voice.name, plain, _PART, swapped(voice.lanes), pan, tuple(follow)), pan.place


def _identity(channel: str) -> ResolvedMapping:
    """A pan that is what its channel says."""
    mapping = Mapped(channel="pan", range=PAN.range)
    return ResolvedMapping(Place(_PART, channel), PAN.range, np.empty(0), mapping, PAN.space)


def _strike(voice: str) -> str:
    """Kind of the event that strikes a voice."""
    return f"strike_{voice}"


def _values(given: ResolvedMapping) -> dict[str, float]:
    """Data at the ends of the domain, and what becomes the middle of the range."""
    low, high = given.domain
    if low == high:
        return {"middle": low}
    space = SPACES[given.space]
    start, end = (space.forward(r) for r in given.mapping.range)
    return {"low": low, "middle": float(invert(given, space.inverse((start + end) / 2))), "high": high}


def _frames(
    courses: Mapping[str, Course], heard: Mapping[str, list[tuple[int, int]]], ticks: int, events: tuple[Event, ...]
) -> Frames:
    """The channels of a legend; those that silence a voice are lost where it is not heard."""
    arrays, lost = {}, {}
    for channel, course in courses.items():
        arrays[channel] = np.empty(ticks)
        for start, end, value in course:
            arrays[channel][start:end] = value
    for channel, spans in heard.items():
        lost[channel] = np.ones(ticks, dtype=bool)
        for start, end in spans:
            lost[channel][start:end] = False
    return Frames(arrays, events, _RATE, ticks, lost=lost)


def marks(duration: float, every: float) -> Floats:
    """Seconds of the marks of an axis: 0, `every`, 2 `every` ... before `duration`."""
    if not 0.1 <= every < np.inf:
        raise LegendError(f"marks every {every:g} s: allowed are 0.1 s and more")
    return np.asarray(np.arange(int(np.ceil(duration / every))) * every, dtype=np.float64)


def axis(mix: Path, every: float, path: Path, ceiling: float = -1.0) -> Path:
    """Write a mix with a soft tick every so many seconds, the first and every fifth after it louder.

    Parameters
    ----------
    mix : Path
        WAV of two channels, at 44.1 or 48 kHz.
    every : float
        Seconds, at least 0.1.
    path : Path
        The file to write, as long as `mix`.
    ceiling : float
        True peak in dBTP; where the ticks pass it the whole is made softer.
    """
    import soundfile

    with soundfile.SoundFile(mix) as sound:
        rate, limiter = sound.samplerate, Limiter(sound.samplerate, ceiling)
        starts = np.round(marks(sound.frames / rate, every) * rate).astype(int)
        tick, first = _tick(rate), 0
        with StereoWav(path, rate, sound.frames) as out:
            for chunk in sound.blocks(_CHUNK, dtype="float32", always_2d=True):
                end = first + len(chunk)
                for k in np.flatnonzero((starts < end) & (starts + len(tick) > first)):
                    start, stop = max(starts[k], first), min(starts[k] + len(tick), end)
                    loud = _MARK if k % 5 else _FIFTH
                    chunk[start - first : stop - first] += loud * tick[start - starts[k] : stop - starts[k], None]
                limiter.add(chunk)
                out.write(chunk)
                first = end
            if (gain_db := ceiling - limiter.level()[1]) < 0:
                for _ in out.scale(10 ** (gain_db / 20), _CHUNK):
                    pass
    return path


def _tick(rate: int) -> NDArray[np.float32]:
    time = np.arange(round(8 * _MARK_DECAY * rate)) / rate
    envelope = np.clip(time / _MARK_ATTACK, 0, 1) * np.exp(-time / _MARK_DECAY)
    return np.asarray(envelope * np.sin(2 * np.pi * _MARK_HZ * time), dtype=np.float32)


class Row(NamedTuple):
    """One line of a timing table: seconds, what happens, in which channel, at which value (None: of no value)."""

    seconds: float
    what: str
    channel: str
    value: float | None


def timing(resolved: ResolvedScore, played: Arrangement) -> list[Row]:
    """What happens when, in order of time.

    ``start`` and ``end``, the beginnings of sections, the ``smallest`` and ``largest`` value of each channel that is
    mapped in a voice (where it first occurs), every event by its kind, and ``missing`` and ``present`` where a
    channel's values are lost and back.
    """
    rows = [Row(0.0, "start", "", None)]
    if len(played.sections) > 1:
        rows += [Row(s.seconds[0], f"section {s.section.name}", "", None) for s in played.sections]
    for place in dict.fromkeys(given.place for voice in resolved.voices for _, _, given in mapped(voice)):
        frames = played.parts[place.part]
        present = np.flatnonzero(~frames.missing(place.name))
        if len(present):
            values = element(frames, place)[present]
            for what, at in (("smallest", values.argmin()), ("largest", values.argmax())):
                start = float(frames.starts[present[at]])
                rows.append(Row(start, what, place_name(place, played), float(values[at])))
    names = {"diverged": "missing", "recovered": "present"}
    for part, frames in played.parts.items():
        times = [*frames.starts.tolist(), frames.duration]
        for event in frames.events:
            channel = str(event.data.get("channel", ""))
            shown = place_name(Place(part, channel), played) if channel else ""
            rows.append(Row(times[min(event.tick, frames.ticks)], names.get(event.kind, event.kind), shown, None))
    rows.sort(key=lambda row: row.seconds)
    return [*rows, Row(played.duration, "end", "", None)]


def place_name(place: Place, played: Arrangement) -> str:
    """A channel's name, with its part's where there are several."""
    return str(place) if len(played.parts) > 1 else str(place).partition(".")[2]
