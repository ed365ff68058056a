"""Skins and noises that are struck."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sonify.instruments.base import Parameter, Sample, declare, level, pitch
from sonify.instruments.notes import Floats, Notes, fades, unlike_a_click

#: Modes of an ideal circular membrane: ratio to the lowest (zeros of Bessel functions), weight of a blow off the
#: middle, share of the decay. N. H. Fletcher and T. D. Rossing, The Physics of Musical Instruments, 2nd ed., 3.3.
_MODES = (
    (1.0, 1.0, 1.0),
    (1.594, 0.55, 0.6),
    (2.136, 0.4, 0.45),
    (2.296, 0.25, 0.4),
    (2.653, 0.25, 0.33),
    (2.918, 0.18, 0.3),
    (3.501, 0.12, 0.25),
)
#: Seconds in which the sweep has fallen to 1 / e, and in which a blow rises.
_SWEEP, _ATTACK = 0.03, 0.0015


class Drum(Notes):
    """The modes of a membrane, falling in pitch as a skin does that was hit hard, and a burst of noise above them."""

    name = "drum"
    about = "a drum, from a noise to a skin, sounding on events"
    parameters = declare(
        pitch(default=90.0, high=2000.0),
        level(),
        Parameter("decay", "time to fall by 60 dB", "s", (0.02, 10.0), 0.6, "log2"),
        Parameter("tone", "0 noise alone, 1 membrane alone", "", (0.0, 1.0), 0.7, "linear"),
        Parameter("sweep", "how far above its pitch a blow begins", "semitones", (0.0, 36.0), 7.0, "linear"),
        Parameter(
            "brightness", "strength of the upper modes, and upper end of the noise", "", (0.0, 1.0), 0.5, "linear"
        ),
    )

    def note(self, values: Mapping[str, float], index: int, sample_rate: int, sample: Sample | None) -> Floats:
        """One blow; its noise is another one each time, the same in every rendering."""
        length = int((1.25 * values["decay"] + 0.01) * sample_rate)
        time = np.arange(length) / sample_rate
        envelope = fades(length, round(_ATTACK * sample_rate), round(0.2 * values["decay"] * sample_rate))
        skin, noise = np.sqrt(values["tone"]), np.sqrt(1.0 - values["tone"])
        sound = np.zeros(length)
        if skin:
            sound += skin * _membrane(values, time, sample_rate)
        if noise:
            sound += noise * _noise(values, time, index, sample_rate)
        return envelope * sound


def _membrane(values: Mapping[str, float], time: Floats, sample_rate: int) -> Floats:
    """The modes, each a sine of falling pitch."""
    pitch = values["pitch"] * 2 ** (values["sweep"] / 12 * np.exp(-time / _SWEEP))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    sound = np.zeros(len(time))
    for ratio, weight, share in _MODES:
        colour = 2 * values["brightness"] if ratio > 1 else 1.0
        decay = np.exp(-np.log(1000) * time / (values["decay"] * share))
        sound += weight * colour * unlike_a_click(ratio * pitch) * decay * np.sin(ratio * phase)
    return sound / 1.5


def _noise(values: Mapping[str, float], time: Floats, index: int, sample_rate: int) -> Floats:
    """Noise between the pitch and an upper end that brightness sets, at one power whatever the band."""
    white = np.random.default_rng(index).standard_normal(len(time))
    f = np.fft.rfftfreq(len(time), 1 / sample_rate)
    top = 500.0 * 2 ** (3.9 * values["brightness"])
    band = np.exp(-0.3466 * (f / top) ** 8) * f**2 / (f**2 + min(values["pitch"], top / 2) ** 2)
    sound = np.fft.irfft(np.fft.rfft(white) * band, len(time))
    return np.asarray(0.35 * sound / sound.std() * np.exp(-np.log(1000) * time / values["decay"]))
