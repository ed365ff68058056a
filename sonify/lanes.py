"""Resolved score × arrangement → desk: everything voices and groups do over time, as plain arrays.

Row i of a part sounds from its start to the next row's. Lanes are sampled at `CONTROL_RATE`, and what plays them
interpolates linearly between the points. No number that is not finite leaves this module.

`lanes` makes those of a whole performance, `sonify.feed` those of one window after the other: by the same `Making`,
which looks only at the rows that matter for the times it is asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import Arrangement
from pieces.errors import DescantError
from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes, points
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Lane
from sonify.mapping import SPACES, apply
from sonify.resolve import (
    Resolved,
    ResolvedEffect,
    ResolvedGroup,
    ResolvedMapping,
    ResolvedScore,
    ResolvedVoice,
    element,
)
from sonify.strikes import ALWAYS, Watch, Within, is_within, open_stretches, strikes

Floats = NDArray[np.float64]
Stretches = list[tuple[float, float]]

#: Seconds in which a voice falls silent, or returns, where its channel has no finite value.
_DROPOUT = 0.02
#: Seconds that an earcon's tap is heard.
_TAP = 0.5
#: Seconds in which a section's gain takes over from the one before.
_TURN = 0.05


class LaneError(DescantError):
    """Frames that a score cannot be played from."""


def lanes(
    resolved: ResolvedScore, played: Arrangement, tail: float = 1.0, samples: Mapping[str, Path] | None = None
) -> Desk:
    """The lanes of every voice and group.

    Parameters
    ----------
    resolved : ResolvedScore
    played : Arrangement
        Every channel that the score names.
    tail : float
        Seconds after the end, in which voices release.
    samples : mapping of str to Path, optional
        Voice → its sound file.

    Raises
    ------
    LaneError
        If there is no tick, or a lane would not be finite.
    """
    if not any(frames.ticks for frames in played.parts.values()):
        raise LaneError("no ticks to play: 0 were performed, at least 1 is needed")
    end = played.duration + tail
    making = Making(played, np.arange(points(end)) / CONTROL_RATE, end)
    files = samples or {}
    return Desk(
        {
            v.name: making.voice(v, Watch(v).look(played), files.get(v.name))
            for v in resolved.voices
            if played.parts[v.part].ticks
        },
        {g.name: making.group(g) for g in resolved.groups},
    )


class Making:
    """Makes lanes at given times.

    Parameters
    ----------
    played : Arrangement
        What is known: all of it, or what came before a moment that no time lies after.
    time : ndarray
        Seconds, rising in equal steps.
    end : float
        Seconds at which everything has released; infinite where that is not known.
    within : Within, optional
        Where notes are wanted; default: everywhere.
    """

    def __init__(self, played: Arrangement, time: Floats, end: float, within: Within = ALWAYS) -> None:
        self._played, self._time, self._end, self._within = played, time, end, within

    def voice(
        self, resolved: ResolvedVoice, watch: Watch, sample: Path | None = None, may: Stretches | None = None
    ) -> VoiceLanes:
        """All lanes of one voice; `may` is what `in_sections` says, if that is known."""
        voice, struck = resolved.voice, INSTRUMENTS[resolved.voice.instrument].on_events
        parameters = {} if struck else {n: self._lane(given) for n, given in resolved.lanes.items()}
        level = np.asarray(parameters.pop("level", 0.0))
        gain = level + voice.gain_db + self._section_gain(resolved.name, resolved.part)
        sounding = open_stretches(resolved, self._played, watch, self._within, may)
        present, taps = self._missing((*resolved.lanes.values(), resolved.pan), sounding)
        onsets = strikes(resolved, self._played, sounding, watch, self._within) if struck else ()
        if struck:
            sounding = [(0.0, self._end - voice.release_ms / 1000)]
        attack = 0.0 if struck else voice.attack_ms / 1000
        found = VoiceLanes(
            instrument=voice.instrument,
            lanes=parameters,
            amplitude=10 ** (gain / 20) * present * self._envelope(attack, voice.release_ms / 1000, sounding),
            pan=self._lane(resolved.pan),
            taps=10 ** (voice.gain_db / 20) * np.asarray(taps),
            onsets=onsets,
            sample=sample,
            effects=self._effects(resolved.effects),
            into=voice.into,
            sends=self._sends(resolved.sends or {}),
        )
        rest = {"amplitude": found.amplitude, "pan": found.pan, "taps": found.taps}
        _check(resolved.name, {**found.lanes, **rest, **found.sends}, found.effects)
        for onset in onsets:
            if not np.isfinite(list(onset.values.values())).all():
                raise LaneError(
                    f"voice {resolved.name}: the note at {onset.time:g} s is not finite: {dict(onset.values)}"
                )
        return found

    def group(self, resolved: ResolvedGroup) -> GroupLanes:
        """All lanes of one group."""
        gain = np.asarray(self._lane(resolved.gain)) + self._section_gain(resolved.name)
        level = 10 ** (gain / 20)
        found = GroupLanes(
            effects=self._effects(resolved.effects),
            gain=float(level) if np.ndim(level) == 0 else np.asarray(level),
            into=resolved.group.into,
            sends=self._sends(resolved.sends),
        )
        _check(resolved.name, {"gain": found.gain, **found.sends}, found.effects)
        return found

    def _effects(self, effects: tuple[ResolvedEffect, ...]) -> tuple[EffectLanes, ...]:
        return tuple(EffectLanes(e.effect, {n: self._lane(given) for n, given in e.lanes.items()}) for e in effects)

    def _sends(self, sends: Mapping[str, Resolved]) -> dict[str, Lane]:
        levels = {name: self._lane(given) for name, given in sends.items()}
        return {
            n: 10 ** (level / 20) if isinstance(level, float) else np.power(10, level / 20)
            for n, level in levels.items()
        }

    def _lane(self, given: Resolved) -> Lane:
        """The lane of one parameter; a number where it never changes."""
        if not isinstance(given, ResolvedMapping):
            return given
        seconds = given.mapping.glide_ms / 1000
        values, starts = mapped(given, self._played, float(self._time[0]) - seconds, float(self._time[-1]))
        if values.min() == values.max():
            return float(values[0])
        space = SPACES[given.space]
        glided = glide(space.forward(values), starts, seconds, self._time)
        return np.asarray(space.inverse(glided))

    def _section_gain(self, name: str, part: str | None = None) -> Floats:
        """Decibels that sections add to a voice of a part, or to a group.

        Where a voice is silent the gain stays, so that what still rings is not swelled by a section it is not in.
        """
        if not any(name in s.section.gains for s in self._played.sections):
            return np.asarray(0.0)
        at: list[float] = []
        gains: list[float] = []
        for sounding in self._played.sections:
            section, (begins, ends) = sounding.section, sounding.seconds
            left_out = section.voices is not None and name not in section.voices
            if part is not None and (left_out or (section.parts and part not in section.parts)):
                continue
            given = section.gains.get(name, 0.0)
            start, end = given if isinstance(given, tuple) else (given, given)
            at += [begins, min(begins + _TURN, (begins + ends) / 2), ends]
            gains += [gains[-1] if gains else start, start, end]
        return np.interp(self._time, at, gains) if at else np.asarray(0.0)

    def _envelope(self, attack: float, release: float, sounding: Stretches) -> Floats:
        """1 while a voice sounds; it rises within `attack` seconds, and falls within `release` afterwards."""
        whole = np.zeros_like(self._time)
        for start, end in sounding:
            left = self._end - end if end < self._end else 0.0
            fade = min(release, left or release, max(self._end - start, 1e-3))
            stop = min(end + fade, self._end)
            # From the point before it begins to the one after it ends: what lies beyond is 0 anyway.
            points = self._between(np.floor(start * CONTROL_RATE), np.floor(stop * CONTROL_RATE) + 2)
            time = self._time[points]
            rise = ramp((time - start) / attack) if attack else np.ones_like(time)
            whole[points] = np.maximum(whole[points], rise * ramp((stop - time) / fade))
        return whole

    def _missing(self, given: Iterable[Resolved], sounding: Stretches) -> tuple[Floats, Lane]:
        """Gain of the voice where values of its channels are missing, and gain of the earcon's taps while it sounds."""
        time = self._time
        present: Floats = np.ones(1)
        taps: set[float] = set()
        for mapping in given:
            if not isinstance(mapping, ResolvedMapping) or mapping.mapping.missing == "hold":
                continue
            frames = self._played.parts[mapping.place.part]
            rows = rows_within(frames.starts, time[0] - _TAP, time[-1])
            known = frames.missing(mapping.place.name)
            lost, starts = known[rows], frames.starts[rows]
            if not lost.any():
                continue
            present = present * ramp(glide(1.0 - lost.astype(np.float64), starts, _DROPOUT, time))
            if mapping.mapping.missing == "earcon":
                before = bool(rows.start and known[rows.start - 1])
                gone = starts[lost & ~np.r_[before, lost[:-1]]].tolist()
                taps.update(tap for tap in gone if is_within(tap, sounding))
        if not taps:
            return present, 0.0
        tapped = np.zeros_like(time)
        for tap in taps:
            first = np.ceil(tap * CONTROL_RATE)
            points = self._between(first, first + round(_TAP * CONTROL_RATE))
            since = time[points] - tap
            tapped[points] += ramp(since / 0.004) * np.exp(-since / 0.04)
        return present, tapped

    def _between(self, first: float, last: float) -> slice:
        """Points from `first` to before `last`, counted from the piece's first at the control rate."""
        begin, end = np.searchsorted(self._time, [first / CONTROL_RATE, last / CONTROL_RATE])
        return slice(int(begin), int(end))


def mapped(
    given: ResolvedMapping, played: Arrangement, since: float = -np.inf, until: float = np.inf
) -> tuple[Floats, Floats]:
    """Values of a mapping and when each begins, in seconds: those that are in force between two times."""
    frames = played.parts[given.place.part]
    if not frames.ticks:
        raise LaneError(f"channel {given.place}: its part made no tick, so there is nothing to play")
    if given.mapping.every is None:
        rows = rows_within(frames.starts, since, until)
        return apply(given, element(frames, given.place, rows)), frames.starts[rows]
    grid = held_grid(given.mapping.every, played, since, until)
    held = rows_at(frames.starts, grid)
    first = int(held[0])
    values = apply(given, element(frames, given.place, slice(first, int(held[-1]) + 1)))
    return values[held - first], grid


def held_grid(every: float, played: Arrangement, since: float = -np.inf, until: float = np.inf) -> Floats:
    """Seconds of every so many beats that matter between two times: of all from the first on by default."""
    last = max(float(played.tempi.beats(min(played.duration, until))), every)
    first = np.floor(float(played.tempi.beats(since)) / every) if since > 0 else 0.0
    count = int(np.ceil(last / every))
    if np.isfinite(until) and until < played.duration:
        count = int(np.floor(last / every)) + 1
    return played.tempi.seconds(np.arange(min(int(first), count - 1), count) * every)


def rows_within(starts: Floats, since: float, until: float) -> slice:
    """The row that sounds at `since`, or the first, and all that begin until `until`, or the first."""
    first, last = np.searchsorted(starts, (since, until), side="right")
    return slice(max(int(first) - 1, 0), max(int(last), int(first), 1))


def rows_at(starts: Floats, seconds: Floats) -> NDArray[np.intp]:
    """The row that sounds at each time; before the first one, the first."""
    return np.maximum(np.searchsorted(starts, seconds + 1e-9, side="right") - 1, 0)


def glide(values: Floats, starts: Floats, seconds: float, time: Floats) -> Floats:
    """Values held from start to start, every change a straight line of `seconds` from the row's start.

    This is the running mean over `seconds` (a box filter) of the held values: where rows are shorter than the glide,
    lines overlap and the lane follows continuously. Exact: the integral of a step function is piecewise linear.
    """
    horizon = max(float(time[-1]), float(starts[-1])) + 1.0
    before = min(float(time[0]), float(starts[0])) - seconds - 1.0
    ends = np.concatenate([[before], starts, [horizon]])
    held = np.concatenate([[values[0]], values])
    area = np.concatenate([[0.0], np.cumsum(held * np.diff(ends))])
    glided = (np.interp(time, ends, area) - np.interp(time - seconds, ends, area)) / seconds
    return np.asarray(np.clip(glided, values.min(), values.max()))


def ramp(position: Floats) -> Floats:
    """0 to 1 along half a cosine, without a corner."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(position, 0.0, 1.0)))


def _check(name: str, found: Mapping[str, Lane], effects: tuple[EffectLanes, ...]) -> None:
    inside = {f"{e.effect}.{n}": lane for e in effects for n, lane in e.lanes.items()}
    for lane, values in {**found, **inside}.items():
        if not np.isfinite(values).all():
            raise LaneError(f"voice {name}: lane {lane} is not finite: its channel holds NaN or Inf, or is too large")
