"""Voices that sing vowels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sonify.instruments.additive import TABLE_SIZE, k_power, wave
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
    silent,
)

Floats = NDArray[np.float64]

#: A tenor's formants of a, e, i, o and u: frequency (Hz), level (dB) and bandwidth (Hz). Csound manual, appendix
#: "Formant values", after the tables of IRCAM's CHANT.
VOWELS = np.array(
    [
        [[650, 1080, 2650, 2900, 3250], [0, -6, -7, -8, -22], [80, 90, 120, 130, 140]],
        [[400, 1700, 2600, 3200, 3580], [0, -14, -12, -14, -20], [70, 80, 100, 120, 120]],
        [[290, 1870, 2800, 3250, 3540], [0, -15, -18, -20, -30], [40, 90, 100, 120, 120]],
        [[400, 800, 2600, 2800, 3000], [0, -10, -12, -12, -26], [40, 80, 100, 120, 120]],
        [[350, 600, 2700, 2900, 3300], [0, -20, -17, -14, -26], [40, 60, 100, 120, 120]],
    ],
    dtype=np.float64,
)
#: Neighbouring formants are in opposite phase, or they would cancel between their peaks (Klatt).
_SIGNS = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
#: Of each of the singers: rate (Hz) and phase (turns) of its drift and of its vibrato.
_SINGERS = ((0.11, 0.0, 5.3, 0.0), (0.173, 0.37, 5.9, 0.4), (0.071, 0.71, 5.6, 0.8), (0.139, 0.19, 5.05, 0.6))
#: Turns at which the singers' waves begin: the first one's between two pulses, no two together.
_PHASES = (0.5, 0.118, 0.736, 0.354)
#: Hertz above which glottal pulses and breath fall by 6 dB an octave.
_TILT = 100.0
#: Hertz: pitches, an octave apart, of the glottal waves that are crossfaded, and the top of a wave's harmonics there.
_WAVES, _TOP = 40.0 * 2.0 ** np.arange(6), 8000.0


class Formant(Instrument):
    """Four singers, each a train of glottal pulses, and breath through the five resonances of a mouth.

    Where neither spread nor vibrato parts the singers there is one. As sopranos do, they open the mouth so that the
    first resonance is never below the pitch: else a vowel with a low one would leave an overtone alone, an octave or
    a twelfth above.

    The gain before the mouth is known from its response at every harmonic, so that neither a harmonic that meets a
    formant nor another vowel is louder.

    References: D. H. Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc. Am. 67, 1980;
    J. Sundberg, "The acoustics of the singing voice", Scientific American 236(3), 1977.
    """

    name = "formant"
    about = "a small choir that sings vowels"
    pitched = True
    parameters = declare(
        pitch(default=165.0, low=40.0, high=1600.0),
        level(),
        Parameter("vowel", "a, e, i, o, u at 0, 0.25, 0.5, 0.75, 1, and between", "", (0.0, 1.0), 0.0, "linear"),
        Parameter("breath", "0 voice alone, 1 a whisper", "", (0.0, 1.0), 0.02, "linear"),
        Parameter("spread", "how far the singers drift apart", "cents", (0.0, 50.0), 8.0, "linear"),
        Parameter("vibrato", "how far their pitch swings to each side", "cents", (0.0, 100.0), 18.0, "linear"),
    )  # fmt: skip
    steady = declare(
        replace(parameters["spread"], range=(0.0, 0.0), default=0.0),
        replace(parameters["vibrato"], range=(0.0, 0.0), default=0.0),
        replace(parameters["breath"], range=(0.0, 0.02)),
    )

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """Pitches of the singers, gains of their waves and their breath; place, sharpness and gain of the formants."""
        time = np.arange(first, first + points) / CONTROL_RATE
        f0, vowel, breath, spread, vibrato = (
            np.asarray(lanes[n]) for n in ("pitch", "vowel", "breath", "spread", "vibrato")
        )
        singers = _SINGERS if np.any(spread) or np.any(vibrato) else _SINGERS[:1]
        cents = [
            spread * np.sin(2 * np.pi * (drift * time + phase)) + vibrato * np.sin(2 * np.pi * (rate * time + swing))
            for drift, phase, rate, swing in singers
        ]
        voiced = np.sqrt((1.0 - breath) / len(singers)) * _gain(f0, vowel, _voiced, 0.01)
        whispered = np.sqrt(breath * sample_rate) * _gain(f0, vowel, _whispered, 0.04)
        sources = [w * voiced for w in _waves(f0)] + [whispered]
        *waves, whisper = (np.broadcast_to(gain, points).copy() for gain in sources)
        for gain in (*waves, whisper) if not first else ():
            gain[0] = 0.0  # a filter takes its first sample for its past, and would ring with it
        centre, width, level = _formants(f0, vowel)
        return {
            "pitch": [f0 * np.exp2(c / 1200) for c in cents],
            "waves": waves,
            "breath": [whisper],
            "centre": list(centre),
            "q": list(centre / width),
            "gain": list(level),
        }

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """Wave tables and noise into five resonant low-passes."""
        import pyo64 as pyo

        sources = [pyo.Noise(mul=b) for b in controls["breath"] if not silent(b)]
        for base, gain in zip(_WAVES, controls["waves"], strict=True):
            if not silent(gain):
                table = wave(int(_TOP / base), 16 * TABLE_SIZE)
                singers = zip(controls["pitch"], _PHASES, strict=False)
                sources += [pyo.Osc(table, pitch, phase=phase, mul=gain) for pitch, phase in singers]
        throat = pyo.Tone(pyo.Mix(sources, voices=1), freq=_TILT)
        mouth = zip(controls["centre"], controls["q"], controls["gain"], strict=True)
        return [pyo.Biquad(throat, freq=centre, q=q, type=0, mul=gain) for centre, q, gain in mouth]


def _formants(f0: Floats, vowel: Floats) -> tuple[Floats, Floats, Floats]:
    """Frequency, bandwidth (Hz) and gain of the five resonators, [5, ...]; the gain makes up for the tilt and for q."""
    place = np.linspace(0.0, 1.0, len(VOWELS))

    def between(values: Floats) -> Floats:
        return np.stack([np.broadcast_to(np.interp(vowel, place, column), shape) for column in values.T])

    shape = np.broadcast_shapes(f0.shape, vowel.shape)
    frequency, level, width = np.log2(VOWELS[:, 0]), VOWELS[:, 1], np.log2(VOWELS[:, 2])
    centre, band = np.exp2(between(frequency)), np.exp2(between(width))
    opened = np.maximum(f0 / centre[0], 1.0)
    centre[0] *= opened
    band[0] *= opened
    peak = 10 ** (between(level) / 20) * _throat(centre[0]) / _throat(centre)
    return centre, band, _SIGNS.reshape(-1, *[1] * len(shape)) * peak * band / centre


def _mouth(frequency: Floats, formants: tuple[Floats, Floats, Floats]) -> Floats:
    """Magnitude of the formants' common response, whose arguments are broadcast."""
    total = np.zeros(np.broadcast_shapes(frequency.shape, formants[0].shape[1:]), dtype=np.complex128)
    for centre, width, gain in zip(*formants, strict=True):
        total += gain / (1.0 - (frequency / centre) ** 2 + 1j * frequency * width / centre**2)
    return np.abs(total) * _throat(frequency)


def _throat(frequency: Floats) -> Floats:
    """Magnitude of the tilt before the mouth."""
    return np.asarray(1.0 / np.sqrt(1.0 + (frequency / _TILT) ** 2))


def _waves(f0: Floats) -> list[Floats]:
    """Weight of each glottal wave: a triangle over log2 of the pitch."""
    octave = np.log2(np.clip(f0, _WAVES[0], _WAVES[-1]) / _WAVES[0])
    return [np.maximum(1.0 - np.abs(octave - i), 0.0) for i in range(len(_WAVES))]


def _gain(f0: Floats, vowel: Floats, power: Callable[[Floats, Floats], Floats], step: float) -> Floats:
    """Gain that makes a source as loud behind the mouth as a sine of amplitude 1, K-weighted.

    Looked up between pitches a `step` and vowels 1/32 apart, over what the lanes hold; `power` is given both, [p, 1]
    and [1, v].
    """
    from scipy.ndimage import map_coordinates

    low, high, first, last = (float(edge) for edge in (f0.min(), f0.max(), vowel.min(), vowel.max()))
    pitches, vowels, heard = _heard(power, low, high, first, last, step)
    x = np.log(f0 / low) / max(np.log(high / low), 1e-9) * (pitches - 1)
    y = (vowel - first) / max(last - first, 1e-9) * (vowels - 1)
    found = map_coordinates(heard, np.stack(np.broadcast_arrays(x, y)).reshape(2, -1), order=1, mode="nearest")
    return np.asarray(np.exp(-0.5 * found).reshape(np.broadcast_shapes(f0.shape, vowel.shape)))


@lru_cache(maxsize=32)
def _heard(
    power: Callable[[Floats, Floats], Floats], low: float, high: float, first: float, last: float, step: float
) -> tuple[int, int, Floats]:
    """Numbers of pitches and of vowels, and the logarithm of the power that is heard of each, [pitches, vowels]."""
    pitches = np.geomspace(low, high, 2 + int(np.log(high / low) / step))
    vowels = np.linspace(first, last, 2 + int((last - first) * 32))
    return len(pitches), len(vowels), np.log(power(pitches[:, None], vowels[None]))


def _voiced(f0: Floats, vowel: Floats) -> Floats:
    """K-weighted power of the harmonics of the glottal waves behind the mouth."""
    heard, (centre, width, level) = np.zeros((f0.size, vowel.size)), _formants(f0, vowel)
    waves = np.stack(_waves(f0))
    for k in range(1, int(_TOP / _WAVES[0]) + 1):
        has = waves[k * _WAVES <= _TOP].sum(axis=0)
        at = np.flatnonzero(has)
        mouth = centre[:, at], width[:, at], level[:, at]
        heard[at] += (has**2 * k_power(k * f0))[at] * _mouth(k * f0[at], mouth) ** 2
    return heard


def _whispered(f0: Floats, vowel: Floats) -> Floats:
    """The same of white noise, times the sample rate: it has a third of a square wave's power."""
    heard, mouth = np.zeros((f0.size, vowel.size)), _formants(f0, vowel)
    band = 20.0
    for f in np.arange(band / 2, _TOP, band):
        heard += 4 / 3 * band * k_power(f) * _mouth(np.asarray(f), mouth) ** 2
    return heard
