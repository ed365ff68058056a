"""Frequency modulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sonify.instruments.additive import below_nyquist, steady
from sonify.instruments.base import Instrument, Lane, Onset, Parameter, Sample, Signal, declare, level, pitch, silent

Floats = NDArray[np.float64]

#: Largest index, and the sidebands on each side of the carrier that it fills to 60 dB below.
_INDEX, _SIDEBANDS = 10.0, 17
#: Hertz between which a sideband that crosses 0 Hz fades: below there is nothing to be heard.
_INAUDIBLE = (10.0, 20.0)


class Fm(Instrument):
    """A sine whose frequency is modulated by another: sidebands at pitch · (1 + n · ratio) with weights J_n(index).

    The sidebands are made one by one, so that none is ever above the Nyquist frequency and the loudness is known;
    those below 0 Hz come back inverted, as in Chowning's instrument, and where they meet others they add.

    Reference: J. M. Chowning, "The synthesis of complex audio spectra by means of frequency modulation", JAES 21, 1973.
    """

    name = "fm"
    about = "frequency modulation: from a sine to brass, bells and metal"
    pitched = True
    parameters = declare(
        pitch(),
        level(),
        Parameter("ratio", "modulating over sounding frequency; whole is harmonic", "", (0.1, 8.0), 1.0, "log2"),
        Parameter("index", "depth of the modulation, 0 a sine: brightness", "", (0.0, _INDEX), 2.0, "linear"),
    )  # fmt: skip
    steady = declare(
        replace(parameters["pitch"], range=(20.0, 3600.0)),  # the sidebands beside the carrier are still heard
        replace(parameters["ratio"], range=(1.0, 4.0), whole=True),
    )

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """Frequency and weight of every sideband, and the gain that keeps them equally loud."""
        f0, ratio, index = (np.asarray(lanes[name]) for name in ("pitch", "ratio", "index"))
        bands: list[tuple[Lane, Lane]] = []
        for multiple, weight in _sidebands(ratio, index):
            frequency = np.abs(multiple) * f0
            audible = np.clip((frequency - _INAUDIBLE[0]) / (_INAUDIBLE[1] - _INAUDIBLE[0]), 0.0, 1.0)
            bands.append((frequency, np.sign(multiple) * weight * audible * below_nyquist(frequency, sample_rate)))
        return {
            "frequency": [frequency for frequency, _ in bands],
            "weight": [weight for _, weight in bands],
            "makeup": [steady(bands, 1.0)],
        }

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """A sine for every sideband."""
        import pyo64 as pyo

        pairs = zip(controls["frequency"], controls["weight"], strict=True)
        return [pyo.Sine(f, mul=w) for f, w in pairs if not silent(w)]


def _sidebands(ratio: Floats, index: Floats) -> list[tuple[Floats, Floats]]:
    """Multiple of the pitch, below 0 for what comes back inverted, and weight; equals are one if the ratio rests."""
    met: dict[float, tuple[Floats, Floats]] = {}
    for n in range(-_SIDEBANDS, _SIDEBANDS + 1):
        multiple, weight = 1.0 + n * ratio, np.interp(index, *_bessel(n))
        if n and np.abs(weight).max() < 1e-4:
            continue
        if ratio.ndim:
            met[n] = multiple, weight
            continue
        place = round(abs(float(multiple)), 9)
        met[place] = np.abs(multiple), np.sign(multiple) * weight + (met[place][1] if place in met else 0.0)
    return list(met.values())


@cache
def _bessel(n: int) -> tuple[Floats, Floats]:
    """Indices, and J_n of them."""
    from scipy.special import jv

    grid = np.linspace(0.0, _INDEX, 1001)
    return grid, np.asarray(jv(n, grid))
