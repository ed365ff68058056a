"""K-weighting: how much each frequency counts in loudness."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def k_weighting(frequencies: ArrayLike, sample_rate: int) -> NDArray[np.complex128]:
    """Frequency response of the K-weighting filter (ITU-R BS.1770-4 annex 1, tables 1 and 2), for any sample rate.

    At 48 kHz these are the tables' coefficients; the analogue prototypes behind them are from B. De Man, "Evaluation
    of implementations of the EBU R128 loudness measurement", AES 145, 2018.

    Parameters
    ----------
    frequencies : array_like [n]
        In hertz, from 0 to half the sample rate.
    sample_rate : int
        Of the sound that is weighted, in hertz.
    """
    z = np.exp(-2j * np.pi * np.asarray(frequencies) / sample_rate) ** np.arange(3)[:, None]

    k, q = math.tan(math.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k])
    shelf_poles = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])

    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    poles = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    pass_high = np.array([1.0, -2.0, 1.0]) * poles[0]  # table 2 normalises the poles alone
    return np.asarray((shelf @ z) / (shelf_poles @ z) * (pass_high @ z) / (poles @ z))
