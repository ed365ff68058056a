"""Patches made of scores, and how windows of a desk become points of their slots.

Live and offline go the same way: desk → strips (`sonify.strips`) → graph (`sonify.graph`). Only, a live desk comes
window by window, and of a control nobody knows what it will be. So a *probe* goes before: a desk whose lanes run
through everything that they may ever be. What is constant over it is a number for good, and what is not gets a slot.

The probe's lanes are also put behind each window's before controls are made of them: whatever an instrument makes of
the extent of a lane (which partials there are, how far a curve reaches) it then makes the same way every time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.engine.patch import Floats, Patch, PatchError, Window
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Lane, Onset
from sonify.instruments.granular import Cloud, Granular
from sonify.mapping import apply
from sonify.resolve import Resolved, ResolvedEffect, ResolvedMapping, ResolvedScore
from sonify.strips import (
    Given,
    GroupStrip,
    Memories,
    Slot,
    VoiceStrip,
    each_of_group,
    each_of_voice,
    group_strip,
    voice_strip,
)

#: Points of a probe.
_PROBED = 129


class Lines:
    """What the slots of a patch are to follow, window by window.

    Parameters
    ----------
    probe : Desk
        As `probe` makes it: every lane that may ever change is an array. Lanes of one voice are of one length.
    sample_rate : int

    Attributes
    ----------
    patch : Patch
    """

    def __init__(self, probe: Desk, sample_rate: int = 48_000) -> None:
        self._probe, self._rate = probe, sample_rate
        self._slots: dict[str, int] = {}
        self._clouds = {name: Cloud() for name in probe.voices}
        self._memories: defaultdict[str, Memories] = defaultdict(_memories)
        voices = {name: self._place(name, self._strip(voice)) for name, voice in probe.voices.items()}
        groups = {name: self._place_group(name, group) for name, group in probe.groups.items()}
        self.patch = Patch(voices, groups, len(self._slots))
        self._last = np.zeros(len(self._slots))

    def window(self, desk: Desk, first: int, points: int) -> Window:
        """The points of a window.

        Parameters
        ----------
        desk : Desk
            Lanes of `points` points, or numbers; onsets that fall into the window, in seconds of the piece. A voice
            that is not there is silent.
        first : int
            Point of the piece at which the window begins: where the one before ended.
        points : int
            At least 1.
        """
        rows = np.repeat(self._last[:, None], points, axis=1)
        notes: list[tuple[str, Onset]] = []
        for name in self._probe.voices:
            if name not in desk.voices:
                for lane in ("amplitude", "taps"):
                    self._put(rows, f"{name}/{lane}", 0.0)
                continue
            strip = self._windowed(name, desk.voices[name], first, points)
            each_of_voice(strip, lambda path, given, at=f"{name}/": self._put(rows, at + path, given))  # type: ignore[misc]
            notes += [(name, note) for note in self._notes(name, desk.voices[name], first, points)]
        for name, group in desk.groups.items():
            stretched = _stretched_group(group, self._probe.groups[name], points)
            of_group = group_strip(stretched, self._rate, self._memories[name])
            each_of_group(of_group, lambda path, given, at=f"{name}/": self._put(rows, at + path, given))  # type: ignore[misc]
        if not np.isfinite(rows).all():
            raise PatchError(f"{self._culprits(rows)}: not finite: its channel holds NaN or Inf, or is too large")
        self._last = rows[:, -1].copy()
        return Window(rows, tuple(sorted(notes, key=lambda note: note[1].time)))

    def _strip(self, voice: VoiceLanes) -> VoiceStrip:
        """The probe's; at its point 1, since only a piece's very first is special."""
        return voice_strip(replace(voice, onsets=()), _PROBED, self._rate, 1, _memories())

    def _windowed(self, name: str, voice: VoiceLanes, first: int, points: int) -> VoiceStrip:
        stretched = _stretched(voice, self._probe.voices[name], points)
        return voice_strip(stretched, points + _PROBED, self._rate, max(first, 1), self._memories[name])

    def _notes(self, name: str, voice: VoiceLanes, first: int, points: int) -> list[Onset]:
        instrument = INSTRUMENTS[voice.instrument]
        if not isinstance(instrument, Granular):
            return list(voice.onsets)
        grains = instrument.grains(voice.lanes, points, self._clouds[name])
        begun = first / CONTROL_RATE
        rows = (dict(zip(grains, row, strict=True)) for row in zip(*(v.tolist() for v in grains.values()), strict=True))
        return [Onset(begun + row.pop("time"), row) for row in rows]

    def _place(self, name: str, strip: VoiceStrip) -> VoiceStrip:
        return each_of_voice(strip, lambda path, given: self._slot(f"{name}/{path}", given))

    def _place_group(self, name: str, group: GroupLanes) -> GroupStrip:
        strip = group_strip(group, self._rate, _memories())
        return each_of_group(strip, lambda path, given: self._slot(f"{name}/{path}", given))

    def _slot(self, path: str, given: Given) -> Given:
        assert not isinstance(given, Slot)
        values = np.asarray(given, dtype=np.float64)
        if not np.isfinite(values).all():
            raise PatchError(f"{path}: not finite somewhere in the range of its lanes: narrow them")
        if values.min() == values.max():
            return float(values.flat[0])
        return Slot(self._slots.setdefault(path, len(self._slots)))

    def _put(self, rows: Floats, path: str, given: Given) -> Given:
        if path in self._slots:
            assert not isinstance(given, Slot)
            values = np.asarray(given)
            rows[self._slots[path]] = values[: rows.shape[1]] if values.ndim else values
        return given

    def _culprits(self, rows: Floats) -> str:
        bad = np.asarray(~np.isfinite(rows).all(axis=1))
        return ", ".join(sorted({path.replace("/", ": ") for path, slot in self._slots.items() if bad[slot]}))


def probe(resolved: ResolvedScore, samples: Mapping[str, Path] | None = None) -> Desk:
    """A desk whose lanes run through everything that a score lets them be, in an order of chance.

    Parameters
    ----------
    resolved : ResolvedScore
    samples : mapping of str to Path, optional
        Voice → its sound file.
    """
    dice = np.random.default_rng(0)
    files = samples or {}

    def lane(given: Resolved) -> Lane:
        if not isinstance(given, ResolvedMapping):
            return given
        values = dice.permutation(apply(given, np.linspace(*given.domain, _PROBED)))
        return float(values[0]) if values.min() == values.max() else np.asarray(values)

    def gain(given: Resolved) -> Lane:
        return np.asarray(10 ** (np.asarray(lane(given)) / 20))

    def effects(chain: tuple[ResolvedEffect, ...]) -> tuple[EffectLanes, ...]:
        return tuple(EffectLanes(e.effect, {n: lane(given) for n, given in e.lanes.items()}) for e in chain)

    moving = np.linspace(0.0, 1.0, _PROBED)  # envelopes and the gains of sections
    voices = {}
    for v in resolved.voices:
        struck = INSTRUMENTS[v.voice.instrument].on_events
        given = (*v.lanes.values(), v.pan)
        earcon = any(isinstance(g, ResolvedMapping) and g.mapping.missing == "earcon" for g in given)
        voices[v.name] = VoiceLanes(
            instrument=v.voice.instrument,
            lanes={} if struck else {n: lane(g) for n, g in v.lanes.items() if n != "level"},
            amplitude=moving,
            pan=lane(v.pan),
            taps=moving if earcon else 0.0,
            sample=files.get(v.name),
            effects=effects(v.effects),
            into=v.voice.into,
            sends={n: gain(g) for n, g in (v.sends or {}).items()},
        )
    groups = {
        g.name: GroupLanes(effects(g.effects), moving, g.group.into, {n: gain(level) for n, level in g.sends.items()})
        for g in resolved.groups
    }
    return Desk(voices, groups)


def _memories() -> Memories:
    return defaultdict(dict)


def _is_array(lane: Lane) -> bool:
    return isinstance(lane, np.ndarray) and lane.ndim > 0


def _broad(lane: Lane, probed: Lane, points: int) -> Lane:
    """A window's lane, as long as the window where the probe says that it may change."""
    if _is_array(lane):
        return lane
    return np.full(points, lane, np.float64) if _is_array(probed) else probed


def _long(lane: Lane, probed: Lane, points: int) -> Lane:
    """The same, with the probe's behind it."""
    broad = _broad(lane, probed, points)
    if not _is_array(broad):
        return broad
    behind = probed if _is_array(probed) else np.full(_PROBED, probed, np.float64)
    return np.concatenate([np.asarray(broad), np.asarray(behind)])


def _stretched(voice: VoiceLanes, probed: VoiceLanes, points: int) -> VoiceLanes:
    """A window's voice, its lanes made long; but for effects, which remember where they were at a window's end."""
    return replace(
        voice,
        lanes={n: _long(lane, probed.lanes[n], points) for n, lane in voice.lanes.items()},
        amplitude=_long(voice.amplitude, probed.amplitude, points),
        pan=_long(voice.pan, probed.pan, points),
        taps=_long(voice.taps, probed.taps, points),
        onsets=(),
        effects=_broad_effects(voice.effects, probed.effects, points),
        sends={n: _long(level, probed.sends[n], points) for n, level in voice.sends.items()},
    )


def _stretched_group(group: GroupLanes, probed: GroupLanes, points: int) -> GroupLanes:
    return GroupLanes(
        _broad_effects(group.effects, probed.effects, points),
        _long(group.gain, probed.gain, points),
        group.into,
        {n: _long(level, probed.sends[n], points) for n, level in group.sends.items()},
    )


def _broad_effects(
    effects: tuple[EffectLanes, ...], probed: tuple[EffectLanes, ...], points: int
) -> tuple[EffectLanes, ...]:
    return tuple(
        EffectLanes(e.effect, {n: _broad(lane, p.lanes[n], points) for n, lane in e.lanes.items()})
        for e, p in zip(effects, probed, strict=True)
    )
