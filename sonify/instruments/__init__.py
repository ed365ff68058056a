"""Instruments: what each can do is declared here without pyo, which only the rendering process loads."""

from __future__ import annotations

from collections.abc import Mapping

from sonify.instruments.base import Instrument, Lane, Onset, Parameter
from sonify.instruments.glide import Glide
from sonify.instruments.noise import Noise
from sonify.instruments.pad import Pad
from sonify.instruments.partials import Partials
from sonify.instruments.struck import Bell, Pluck

INSTRUMENTS: Mapping[str, Instrument] = {i.name: i for i in (Glide(), Partials(), Pluck(), Bell(), Noise(), Pad())}

#: Every voice has a place between left and right.
PAN = Parameter("pan", "place in the stereo field, equal power", "", (-1.0, 1.0), 0.0, "linear")

__all__ = ["INSTRUMENTS", "PAN", "Instrument", "Lane", "Onset", "Parameter"]
