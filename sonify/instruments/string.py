"""A string, as its equation of motion has it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from sonify.instruments.base import Parameter, Sample, declare, level, pitch
from sonify.instruments.notes import HIGHEST, Floats, Notes, fades, unlike_a_click

#: Seconds between a note's event and the middle of its first pulse, whose rise begins before.
_LEAD = 0.002


class String(Notes):
    """The plucked-string loop of Karplus and Strong as Jaffe and Smith extended it: an excitation goes round a delay.

    y = x / (1 - G e^(-jw/f0)), where x is the force on the bridge of a string plucked at a point (pulses as wide as
    the point is far), rounded by the plectrum, and G is what one round trip leaves: 60 dB less after `decay` at the
    fundamental, and losses that grow with the square of frequency. The loop is solved in the frequency domain, where a
    delay of any length is exact: so is the tuning, which a loop of whole samples and filters only approaches.

    References: K. Karplus and A. Strong, Computer Music Journal 7(2), 1983; D. A. Jaffe and J. O. Smith, ibid.;
    J. Bensa, S. Bilbao, R. Kronland-Martinet and J. O. Smith, J. Acoust. Soc. Am. 114, 2003 (the losses).
    """

    name = "string"
    about = "a plucked string, a physical model, sounding on events"
    pitched = True
    parameters = declare(
        pitch(default=220.0, high=4000.0),
        level(),
        Parameter("decay", "time in which the fundamental falls by 60 dB", "s", (0.05, 20.0), 4.0, "log2"),
        Parameter("brightness", "hardness of the plectrum, and how long overtones last", "", (0.0, 1.0), 0.5, "linear"),
        Parameter(
            "position", "where it is plucked, in string lengths from the bridge", "", (0.02, 0.5), 0.18, "linear"
        ),
    )

    def note(self, values: Mapping[str, float], index: int, sample_rate: int, sample: Sample | None) -> Floats:
        """One pluck."""
        return pluck(values["pitch"], values["decay"], values["brightness"], values["position"], sample_rate)


@lru_cache(maxsize=24)
def pluck(f0: float, decay: float, brightness: float, position: float, sample_rate: int) -> Floats:
    """The samples of one pluck, whose peak is 1 and 2 ms after its beginning."""
    from scipy.fft import irfft, next_fast_len

    length = next_fast_len(int((1.3 * decay + 0.05) * sample_rate), real=True)  # what comes round is 78 dB below
    f = np.arange(1, int(HIGHEST * length / sample_rate)) * sample_rate / length
    turns = -2j * np.pi * f / f0  # phase of one round trip
    lossy = 500.0 * 2 ** (4 * brightness)  # a partial that far above the fundamental lasts half as long
    losses = np.log(1000) / decay * (1.0 + np.maximum(f**2 - f0**2, 0.0) / lossy**2)
    soft = max(f0, 300.0 * 2 ** (3.8 * brightness))
    plectrum = np.exp(-0.3466 * (f / soft) ** 2)  # -3 dB at `soft`
    still = (1j * f / (1j * f + f0 / 4)) ** 2  # nothing below the fundamental
    pulses = (1.0 - np.exp(turns * position)) / (1j * f / f0)
    late = np.exp(-2j * np.pi * f * _LEAD)
    spectrum = late * pulses * plectrum * still * unlike_a_click(f) / (1.0 - np.exp(turns - losses / f0))
    sound = np.asarray(irfft(np.concatenate([[0.0], spectrum]), length))[: int((1.15 * decay + _LEAD) * sample_rate)]
    ends = fades(len(sound), round(_LEAD / 2 * sample_rate), round(0.15 * decay * sample_rate))
    return np.asarray(sound / np.abs(sound).max() * ends)
