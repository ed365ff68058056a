"""Metre and tempo: beats to seconds and back."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Frozen, and closed to fields nobody defined."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: Beats a minute.
Tempo = Annotated[float, Field(ge=10, le=1000)]


class Metre(Model):
    """Beats a minute and beats a bar. Without it a beat is a second."""

    tempo: Tempo = 60.0
    beats: int = Field(default=4, ge=1, le=64)


@dataclass(frozen=True)
class Pulse:
    """A tempo (beats a minute) from a beat, and its time in seconds, on; it may first move evenly to another.

    Over `length` beats the tempo changes by `slope` a beat, then it stays.
    """

    beat: float
    seconds: float
    tempo: float
    slope: float = 0.0
    length: float = 0.0

    def elapsed(self, beats: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds of so many beats after its start: the integral of 60 / tempo."""
        last = self.tempo + self.slope * self.length
        moving = np.clip(beats, 0, self.length)
        within = (
            np.log1p(moving * self.slope / self.tempo) * 60 / self.slope if self.slope else moving * (60 / self.tempo)
        )
        return np.asarray(within + np.maximum(beats - self.length, 0) * (60 / last))  # exact at 60 beats a minute

    def counted(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse of `elapsed`."""
        last = self.tempo + self.slope * self.length
        whole = float(self.elapsed(np.asarray(self.length)))
        moving = np.clip(seconds, 0, whole)
        within = (
            np.expm1(moving * self.slope / 60) * self.tempo / self.slope if self.slope else moving * (self.tempo / 60)
        )
        return np.asarray(within + np.maximum(seconds - whole, 0) * (last / 60))


class TempoMap:
    """Beats to seconds and back; both start at 0."""

    def __init__(self) -> None:
        self._pulses: list[Pulse] = []

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Where each tempo begins."""
        return tuple(self._pulses)

    def change(self, beat: float, tempo: float, to: float, beats: float) -> None:
        """From `beat` on the tempo is `tempo`, and moves within `beats` evenly to `to`."""
        seconds = float(self.seconds(beat)) if self._pulses else 0.0
        moves = tempo != to and math.isfinite(beats)
        self._pulses.append(Pulse(beat, seconds, tempo, *(((to - tempo) / beats, beats) if moves else ())))

    def tempo(self, beat: float) -> float:
        """Beats a minute at a beat."""
        pulse = next(p for p in reversed(self._pulses) if p.beat <= beat or p is self._pulses[0])
        return pulse.tempo + pulse.slope * min(max(beat - pulse.beat, 0.0), pulse.length)

    def seconds(self, beat: ArrayLike) -> NDArray[np.float64]:
        """Time of beats."""
        beats = np.asarray(beat, dtype=np.float64)
        found = np.zeros_like(beats)
        for pulse in self._within(beats, [p.beat for p in self._pulses]):
            found = np.where(beats >= pulse.beat, pulse.seconds + pulse.elapsed(beats - pulse.beat), found)
        return found

    def beats(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Inverse of `seconds`."""
        times = np.asarray(seconds, dtype=np.float64)
        found = np.zeros_like(times)
        for pulse in self._within(times, [p.seconds for p in self._pulses]):
            found = np.where(times >= pulse.seconds, pulse.beat + pulse.counted(times - pulse.seconds), found)
        return found

    def _within(self, places: NDArray[np.float64], begins: list[float]) -> list[Pulse]:
        """Pulses that one of the places may lie in."""
        if not places.size:
            return []
        first = bisect_right(begins, float(places.min())) - 1
        return self._pulses[max(first, 0) : bisect_right(begins, float(places.max()))]
