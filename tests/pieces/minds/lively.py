"""Judges of what a piece makes of real frames: signals stay where they are declared, and all that is mapped moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pieces.signals import Channel, Frames
from sonify.mapping import apply
from sonify.resolve import ResolvedMapping, element
from sonify.score import Score
from tests.sounding import resolved

#: Share of ticks that a channel may spend outside its declared range.
STRAY = 0.05


def strays(channels: Iterable[Channel], frames: Frames) -> dict[str, float]:
    """Scalar channels that leave their declared range for too many ticks, and for which share of them."""
    found = {}
    for channel in channels:
        if not channel.shape and channel.reproducible:
            values, (low, high) = frames.arrays[channel.name].astype(np.float64), channel.range
            found[channel.name] = float(np.mean(~((values >= low - 1e-6) & (values <= high + 1e-6))))
    return {name: share for name, share in found.items() if share > STRAY}


def still(score: Score, channels: Sequence[Channel], frames: Frames) -> set[str]:
    """Mappings that say the same at every tick, as ``voice.lane``."""
    found = set()
    for voice in resolved(score, channels, frames).voices:
        given = {**voice.lanes, "pan": voice.pan, "pulses": voice.pulses, **(voice.sends or {})}
        for lane, mapping in given.items():
            if isinstance(mapping, ResolvedMapping) and not np.ptp(apply(mapping, element(frames, mapping.place))):
                found.add(f"{voice.name}.{lane}")
    return found
