"""What a renderer takes: every voice and group of a piece over time, as plain arrays, and where each of them goes.

Signals flow one way: voices into groups and the mix, groups into later groups and the mix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sonify.instruments.base import CONTROL_RATE, Lane, Onset

#: Where what is in no group goes.
MIX = "mix"


def points(duration: float) -> int:
    """Length of a lane that covers `duration` seconds, with a few points to spare for the interpolation."""
    return math.ceil(duration * CONTROL_RATE) + 4


@dataclass(frozen=True)
class EffectLanes:
    """One effect of a chain: its name in `sonify.effects.EFFECTS`, and every parameter of it over time."""

    effect: str
    lanes: Mapping[str, Lane]


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
        -1 left to 1 right, equal power.
    taps : Lane
        Linear gain of the earcon's low noise.
    onsets : tuple of Onset
        Notes of an event instrument.
    sample : Path or None
        Sound file of an instrument that needs one.
    effects : tuple of EffectLanes
        Inserts, in order, after the pan.
    into : str
        `MIX`, or the group that it goes through.
    sends : mapping of str to Lane
        Group → linear gain of what it is given beside, after the inserts.
    """

    instrument: str
    lanes: Mapping[str, Lane]
    amplitude: Lane
    pan: Lane = 0.0
    taps: Lane = 0.0
    onsets: tuple[Onset, ...] = ()
    sample: Path | None = None
    effects: tuple[EffectLanes, ...] = ()
    into: str = MIX
    sends: Mapping[str, Lane] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupLanes:
    """A group: the sum of what goes into it, through its effects and its gain, into the mix or a later group."""

    effects: tuple[EffectLanes, ...]
    gain: Lane = 1.0
    into: str = MIX
    sends: Mapping[str, Lane] = field(default_factory=dict)


@dataclass(frozen=True)
class Desk:
    """All voices and groups. Groups stand in the order of flow: each goes into later ones only."""

    voices: Mapping[str, VoiceLanes]
    groups: Mapping[str, GroupLanes]
