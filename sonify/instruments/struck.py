"""What is struck and rings: a plucked string and a bell, as sums of partials that decay on their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sonify.instruments.additive import below_nyquist
from sonify.instruments.base import Parameter, Sample, declare, level, pitch
from sonify.instruments.notes import Floats, Notes, unlike_a_click

#: Seconds in which a note rises.
_ATTACK = 0.003
#: Amplitude below which a partial is over: -80 dB.
_OVER = 1e-4
#: Samples that are turned at once: a whole note is their phasors times those of its stretches.
_STRETCH = 512


class Struck(Notes):
    """Partials that start together and decay on their own."""

    #: Of each partial: frequency ratio, weight, and decay time as a share of the note's.
    modes: ClassVar[tuple[tuple[float, float, float], ...]]
    pitched = True

    def note(self, values: Mapping[str, float], index: int, sample_rate: int, sample: Sample | None) -> Floats:
        """One note."""
        fundamental = values["pitch"]
        sound = np.zeros(0)
        for ratio, weight, share in self.modes:
            colour = 2 * values["brightness"] if ratio > 1 else 1.0
            audible = below_nyquist(fundamental, sample_rate) if ratio <= 1 else unlike_a_click(ratio * fundamental)
            gain = float(weight * colour * audible)
            if gain > _OVER:
                partial = gain * _ringing(ratio * fundamental, values["decay"] * share, gain, sample_rate)
                sound, partial = (sound, partial) if len(sound) >= len(partial) else (partial, sound)
                sound[: len(partial)] += partial
        rise = round(_ATTACK * sample_rate)
        sound[:rise] *= np.arange(len(sound[:rise])) / rise
        return sound


def _ringing(frequency: float, decay: float, gain: float, sample_rate: int) -> Floats:
    """A sine that falls by 60 dB in `decay` seconds, until it is over.

    The powers of a complex number, as the outer product of the first few and of those of whole stretches: a fraction
    of the time that as many sines and exponentials take, and no error that grows.
    """
    step = (2j * np.pi * frequency - np.log(1000) / decay) / sample_rate
    length = int(np.log(gain / _OVER) / -step.real) + 1
    stretches = -(-length // _STRETCH)
    short, long = np.exp(step * np.arange(_STRETCH)), np.exp(step * _STRETCH * np.arange(stretches))
    # The imaginary part of their product, as one product of real matrices.
    left, right = np.stack([long.real, long.imag], axis=1), np.stack([short.imag, short.real])
    return np.asarray((left @ right).ravel()[:length])


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
