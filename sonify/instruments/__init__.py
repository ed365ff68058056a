"""Instruments: what each can do is declared here without pyo, which only the rendering process loads."""

from __future__ import annotations

from collections.abc import Mapping

from sonify.instruments.base import Instrument, Lane, Onset, Parameter, Sample
from sonify.instruments.drum import Drum
from sonify.instruments.fm import Fm
from sonify.instruments.formant import Formant
from sonify.instruments.glide import Glide
from sonify.instruments.granular import Granular
from sonify.instruments.noise import Noise
from sonify.instruments.pad import Pad
from sonify.instruments.partials import Partials
from sonify.instruments.sampler import Sampler
from sonify.instruments.string import String
from sonify.instruments.struck import Bell, Pluck

_DRONES = (Glide(), Partials(), Pad(), Fm(), Formant(), Noise(), Granular())
_STRUCK = (Pluck(), String(), Bell(), Drum(), Sampler())

INSTRUMENTS: Mapping[str, Instrument] = {i.name: i for i in (*_DRONES, *_STRUCK)}

#: Every voice has a place between left and right.
PAN = Parameter("pan", "place in the stereo field, equal power", "", (-1.0, 1.0), 0.0, "linear")

__all__ = ["INSTRUMENTS", "PAN", "Instrument", "Lane", "Onset", "Parameter", "Sample"]
