"""Judges of rendered sound: none knows how a sound was made, and `test_judges` shows each one fail.

A sound is float [n], or [n, 2] where both sides count; times are seconds, frequencies hertz.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyloudnorm import Meter
from pyloudnorm.iirfilter import IIRfilter
from scipy.signal import fftconvolve, get_window, resample_poly

Floats = NDArray[np.float64]


def cents(heard: Floats | float, meant: Floats | float) -> Floats:
    """Interval between two frequencies."""
    return np.asarray(1200 * np.log2(np.asarray(heard) / np.asarray(meant)))


def partials(sound: Floats, rate: int, floor_db: float = -40.0) -> tuple[Floats, Floats]:
    """Frequencies and amplitudes, the strongest 1, of the lines of a spectrum."""
    size = 1 << (8 * len(sound) - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(sound * get_window("blackman", len(sound)), size)) + 1e-30
    a, b, c = np.log(spectrum[:-2]), np.log(spectrum[1:-1]), np.log(spectrum[2:])
    top = np.flatnonzero((b > a) & (b >= c) & (b > np.log(spectrum.max()) + floor_db * np.log(10) / 20))
    shift = 0.5 * (a[top] - c[top]) / (a[top] - 2 * b[top] + c[top])
    return (top + 1 + shift) * rate / size, spectrum[top + 1] / spectrum.max()


def lowest(sound: Floats, rate: int) -> float:
    """The lowest of the strongest lines, which are those within 1 dB."""
    frequencies, amplitudes = partials(sound, rate)
    return float(frequencies[amplitudes > 0.9][0])


def fundamental(sound: Floats, rate: int, low: float, high: float) -> float:
    """Of a harmonic sound, somewhere from `low` to `high`: the shortest period that its strong lines have in common."""
    lines, amplitudes = partials(sound, rate, -20.0)
    periods = np.linspace(0.94 / high, 1.06 / low, 100 + int(20 * lines.max() / low))
    alike = np.cos(2 * np.pi * periods[:, None] * lines) @ amplitudes**2
    peaks = 1 + np.flatnonzero((alike[1:-1] > alike[:-2]) & (alike[1:-1] >= alike[2:]))
    coarse = 1 / periods[peaks[alike[peaks] > 0.92 * alike[peaks].max()][0]]
    numbers = np.round(lines / coarse)
    weights = amplitudes**2 * (np.abs(lines / coarse - numbers) < 0.1)
    return float(np.sum(weights * numbers * lines) / np.sum(weights * numbers**2))


def turn(sound: Floats, rate: int, nearest: float = 60.0) -> float | None:
    """When a sound's first half gives way to its second: the strongest lines that each has alone are equally there.

    None where every strong line of one is within `nearest` hertz of a line of the other.
    """
    half = len(sound) // 2
    ends = (sound[: half * 2 // 3], sound[-half * 2 // 3 :])
    lines = [partials(end, rate, -30.0) for end in ends]
    levels = []
    for (own, strength), (other, _), end in zip(lines, lines[::-1], ends, strict=True):
        alone = (np.abs(own[:, None] - other).min(axis=1) > nearest) & (strength > 0.2)
        if not alone.any():
            return None
        line = own[alone][np.argmax(strength[alone])]
        window = get_window("hann", int(2.4 / nearest * rate))
        wave = np.exp(-2j * np.pi * line * np.arange(len(sound)) / rate)
        settled = np.abs(np.mean(end * wave[: len(end)] * get_window("hann", len(end)))) * 2
        levels.append(np.abs(fftconvolve(sound * wave, window / window.sum(), mode="same")) / settled)
    return float(np.count_nonzero(levels[0] > levels[1])) / rate


def struck(sound: Floats, rate: int) -> float:
    """When a blow is heard: the first millisecond that is louder than a third of the loudest."""
    frame = rate // 1000
    peaks = np.abs(sound[: len(sound) // frame * frame]).reshape(-1, frame).max(axis=1)
    return float(np.argmax(peaks > peaks.max() / 3)) / 1000


def loudness(sound: Floats, rate: int, gate: float = -10.0) -> float:
    """Integrated loudness in LUFS (BS.1770) of all whole blocks of 400 ms (pyloudnorm takes half of one for one)."""
    meter = Meter(rate, "DeMan")
    meter.integrated_loudness(sound[: len(sound) // (rate // 10) * (rate // 10)])
    powers = 10 ** (np.array(meter.blockwise_loudness) / 10)
    powers = powers[powers > 1e-7]
    return float(10 * np.log10(powers[powers > powers.mean() * 10 ** (gate / 10)].mean()))


def weighted(sound: Floats, rate: int) -> Floats:
    """A sound as BS.1770 weighs its frequencies: its K-weighted power over time, [n]."""
    shelf = IIRfilter(3.99984385397, 0.7071752369554193, 1681.9744509555319, rate, "high_shelf_DeMan")
    high_pass = IIRfilter(0.0, 0.5003270373253953, 38.13547087613982, rate, "high_pass_DeMan")
    sides = (high_pass.apply_filter(shelf.apply_filter(side)) for side in sound.T)
    return np.asarray(sum(side**2 for side in sides))


def true_peak(sound: Floats) -> float:
    """In dBTP, four-fold interpolated by scipy."""
    return float(20 * np.log10(np.abs(resample_poly(sound, 4, 1, axis=0)).max() + 1e-10))


def longest_run(sound: Floats, level: float = 0.999) -> int:
    """Most samples in a row, of one side, that are at full scale."""
    full = np.pad(np.abs(sound) >= level, ((1, 1), (0, 0))).T
    edges = [np.flatnonzero(np.diff(side.astype(int))) for side in full]
    return max((int((e[1::2] - e[::2]).max()) for e in edges if len(e)), default=0)


def explained(decoded: Floats, true: Floats) -> float:
    """R squared."""
    return float(1 - np.sum((decoded - true) ** 2) / np.sum((true - np.mean(true)) ** 2))
