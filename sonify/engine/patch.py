"""Patches: what a live graph is made of, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import Onset
from sonify.instruments.notes import Pieces
from sonify.strips import GroupStrip, VoiceStrip

Floats = NDArray[np.float64]


class PatchError(DescantError):
    """A patch that cannot be made."""


@dataclass(frozen=True)
class Patch:
    """What the graph of a deck is made of.

    Attributes
    ----------
    voices : mapping of str to VoiceStrip
    groups : mapping of str to GroupStrip
        In the order of their flow.
    slots : int
        How many it reads.
    share, base : int
        Share of the ring, and the slot in it, counted from the ring's first, where its own begin.
    """

    voices: Mapping[str, VoiceStrip]
    groups: Mapping[str, GroupStrip]
    slots: int
    share: int = 0
    base: int = 0


@dataclass(frozen=True)
class Window:
    """A stretch of a performance as a patch is given it.

    Attributes
    ----------
    rows : ndarray
        [slots, points].
    notes : tuple of (str, Onset)
        Voice and note, or grain, in order of time; seconds of the piece.
    """

    rows: Floats
    notes: tuple[tuple[str, Onset], ...]


def is_in_pieces(instrument: str) -> bool:
    """Whether an instrument is given its notes or grains one by one."""
    return isinstance(INSTRUMENTS[instrument], Pieces)
