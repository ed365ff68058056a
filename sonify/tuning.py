"""Pitches as people write them, and scales to snap to."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_LARGEST = sys.float_info.max
_NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d{1,2})")
_HERTZ = re.compile(r"(\d{1,6}(?:\.\d*)?|\.\d+)\s*hz", re.IGNORECASE)
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"": 0, "#": 1, "b": -1}


def hertz(value: Any) -> float:
    """A number as it is; a note name or a frequency as hertz.

    Parameters
    ----------
    value : float or str
        A finite number; a note in scientific pitch notation, equal-tempered at A4 = 440 Hz (``"C#3"``, ``"Bb2"``);
        or ``"440hz"``.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(value, int | float | np.number) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST:
        return float(value)
    if isinstance(value, str):
        if note := _NOTE.fullmatch(value.strip()):
            letter, accidental, octave = note.groups()
            return midi_hertz(12 * (int(octave) + 1) + _SEMITONES[letter.lower()] + _ACCIDENTALS[accidental])
        if frequency := _HERTZ.fullmatch(value.strip()):
            return float(frequency[1])
    shown = str(value)[:40]
    raise ValueError(f"{shown!r}: allowed are finite numbers, notes ('A4', 'C#3', 'Bb2') and frequencies ('440hz')")


def midi_hertz(key: float) -> float:
    """Frequency of a MIDI key number (69 is A4 = 440 Hz)."""
    return float(440.0 * 2.0 ** ((key - 69.0) / 12.0))


class Tuning(BaseModel):
    """A scale as Scala writes it: degrees in cents above the root, rising, the period last.

    ``cents = [200, 400, 700, 900, 1200]`` is the major pentatonic scale of twelve-tone equal temperament.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cents: tuple[float, ...] = Field(min_length=1)
    root_hz: Annotated[float, BeforeValidator(hertz), Field(gt=0)] = 220.0

    @model_validator(mode="after")
    def _rises(self) -> Tuning:
        if not all(low < high for low, high in zip((0.0, *self.cents), self.cents, strict=False)):
            raise ValueError(f"cents {list(self.cents)} must rise from above 0 to the period")
        return self

    def snap(self, hz: ArrayLike) -> NDArray[np.float64]:
        """The nearest degree (in cents) to every frequency in hertz."""
        degrees = np.array([0.0, *self.cents])
        period = self.cents[-1]
        cents = 1200.0 * np.log2(np.asarray(hz, dtype=np.float64) / self.root_hz)
        octave, above = np.divmod(cents, period)
        nearest = degrees[np.abs(above[..., None] - degrees).argmin(-1)]
        return np.asarray(self.root_hz * np.exp2((octave * period + nearest) / 1200.0))
