"""What sounds on events: a plucked string and a struck bell.

No triggers: notes go round a bank of resonators whose amplitudes are computed here as lanes, so that an onset is where
the event is, whatever the block size, and every rendering is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sonify.instruments.additive import below_nyquist
from sonify.instruments.base import (
    CONTROL_RATE,
    Instrument,
    Lane,
    Onset,
    Parameter,
    Sample,
    Signal,
    declare,
    level,
    pitch,
)
from sonify.instruments.notes import unlike_a_click

#: Resonators of a voice: this many notes ring together, or as many as start at once, up to the most.
_BANK, _MOST = 6, 16
#: Seconds in which a note rises, and in which a resonator that is needed again falls silent.
_ATTACK = 0.003
_STOLEN = 0.015


class Struck(Instrument):
    """Partials that start together and decay on their own, each note on the next resonator of a small bank."""

    #: Of each partial: frequency ratio, weight, and decay time as a share of the note's.
    modes: ClassVar[tuple[tuple[float, float, float], ...]]
    on_events = True
    pitched = True

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int
    ) -> dict[str, list[Lane]]:
        """Of each resonator its pitch and the amplitude of every mode."""
        controls: dict[str, list[Lane]] = {}
        chords = [list(chord) for _, chord in groupby(onsets, key=lambda note: note.time)]
        onsets = tuple(note for chord in chords for note in sorted(chord, key=_strength, reverse=True)[:_MOST])
        bank = min(max(_BANK, *map(len, chords)), _MOST) if chords else 0
        for i, notes in enumerate(_shared(onsets, bank)):
            amplitudes = np.zeros((len(self.modes), points))
            f0 = np.full(points, notes[0].values["pitch"])
            for note, following in zip(notes, [*notes[1:], None], strict=True):
                end = points / CONTROL_RATE if following is None else following.time
                self._strike(note, end, f0, amplitudes, sample_rate)
            controls[f"pitch{i}"] = [f0]
            controls[f"modes{i}"] = list(amplitudes)
        return controls

    def _strike(
        self, note: Onset, end: float, f0: NDArray[np.float64], amplitudes: NDArray[np.float64], sample_rate: int
    ) -> None:
        stop = min(int(np.ceil(end * CONTROL_RATE)), len(f0))
        span = slice(int(np.ceil(note.time * CONTROL_RATE)), stop)
        time = np.arange(span.start, span.stop) / CONTROL_RATE - note.time
        envelope = np.clip(time / _ATTACK, 0, 1) * np.clip((end - note.time - 2 / CONTROL_RATE - time) / _STOLEN, 0, 1)
        fundamental, strength = note.values["pitch"], _strength(note)
        f0[span] = fundamental
        for row, (ratio, weight, share) in zip(amplitudes, self.modes, strict=True):
            colour = 2 * note.values["brightness"] if ratio > 1 else 1.0
            audible = below_nyquist(fundamental, sample_rate) if ratio <= 1 else unlike_a_click(ratio * fundamental)
            gain = strength * weight * colour * audible
            decay = np.exp(-np.log(1000) * time / (note.values["decay"] * share))
            row[span] = gain * envelope * decay

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """A sine for every mode of every resonator."""
        import pyo64 as pyo

        return [
            pyo.Sine(controls[f"pitch{i}"][0] * ratio, mul=amplitude)
            for i in range(len(controls) // 2)
            for (ratio, _, _), amplitude in zip(self.modes, controls[f"modes{i}"], strict=True)
        ]


def _shared(onsets: tuple[Onset, ...], bank: int) -> list[list[Onset]]:
    """The notes of each resonator: the one that has this pitch, so that striking again is an attack, or the idlest."""
    resonators: list[list[Onset]] = [[] for _ in range(bank)]
    for note in onsets:
        same = (r for r in resonators if r and r[-1].values["pitch"] == note.values["pitch"])
        idlest = min(resonators, key=lambda r: r[-1].time if r else -1.0)
        next(same, idlest).append(note)
    return [r for r in resonators if r]


def _strength(note: Onset) -> float:
    """Linear gain of a note."""
    return float(note.values["velocity"] * 10 ** (note.values["level"] / 20))


def _parameters(decay: float) -> dict[str, Parameter]:
    return declare(
        pitch(default=440.0),
        level(),
        Parameter("decay", "time to fall by 60 dB", "s", (0.05, 20.0), decay, "log2"),
        Parameter("brightness", "strength of the upper partials, 0 none", "", (0.0, 1.0), 0.5, "linear"),
    )


class Pluck(Struck):
    """A string plucked at a fifth of its length: harmonics sin(k pi / 5) / k^2, decaying as 1 / k.

    Reference: N. H. Fletcher and T. D. Rossing, The Physics of Musical Instruments, 2nd ed., sections 2.7, 9.4.
    """

    name = "pluck"
    about = "a plucked string, sounding on events"
    parameters = _parameters(2.0)
    modes = tuple((float(k), abs(np.sin(k * np.pi / 5)) / k**2, 1 / k) for k in (1, 2, 3, 4, 6, 7, 8))


class Bell(Struck):
    """A tuned church bell: hum, prime, tierce, quint, nominal, superquint, octave nominal; the prime is the pitch.

    Reference: N. H. Fletcher and T. D. Rossing, The Physics of Musical Instruments, 2nd ed., table 21.1.
    """

    name = "bell"
    about = "a church bell, sounding on events"
    parameters = _parameters(6.0)
    modes = (
        (0.5, 0.25, 1.0),
        (1.0, 1.0, 0.75),
        (1.2, 0.4, 0.55),
        (1.5, 0.15, 0.4),
        (2.0, 0.5, 0.35),
        (3.0, 0.2, 0.2),
        (4.0, 0.12, 0.12),
    )
