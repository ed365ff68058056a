"""Ears: what is measured on rendered sound. They know the samples and nothing of where these came from.

Three short-time spectra are taken, each as long as its question needs: 85 ms for loudness, pitch and colour, 0.34 s for
partials that lie close together (roughness, chroma), 21 ms for the time of an onset and for beats. All are the sum of
both channels' powers, so that sound in opposite phase does not vanish.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonify.weighting import k_weighting

Floats: TypeAlias = NDArray[np.float32]

#: Loudness of silence, in dB; nothing is quieter.
FLOOR = -100.0
#: A hop below this is silent: it has no pitch, colour or place (the absolute gate of ITU-R BS.1770-4).
GATE = -70.0
#: Least periodicity (0..1) of a sound with a pitch.
PITCHED = 0.6
_BATCH = 128
_PARTIALS = 20
#: Beats in Hz that are heard one by one (Fastl & Zwicker 2007, "Psychoacoustics: facts and models": up to about 20 Hz
#: it is fluctuation that is heard, ch. 10; from about 15 Hz on roughness, ch. 11), and the swing in dB from which they
#: count: about the least change of level that is noticed.
BEATS, BEAT_DB = (0.5, 16.0), 1.0
#: An onset that is weaker than this is none where it beats: it is a beat.
_STRUCK_DB = 2.0
#: Seconds between two values of the envelope; stretches of it that beats are looked for in, the shortest first, and
#: how many beats one must hold; how much of what is not decay they must explain: of a stretch below 1 s more, as some
#: cosine fits any short piece of noise.
_HOP, _STRETCHES, _WHOLE, _EXPLAINED, _BRIEFLY = 0.005, (0.25, 0.5, 1.0, 2.0, 4.0), 2.0, 0.3, 0.6


@dataclass(frozen=True, eq=False)
class Ears:
    """What is heard, one row per hop; row i covers ``i * hop_s`` to ``(i + 1) * hop_s`` seconds.

    Attributes
    ----------
    hop_s, duration : float
        Length of a hop and of the sound, in seconds.
    loudness : ndarray [t]
        K-weighted level of both channels in dB (LUFS of an 85-ms window, ITU-R BS.1770-4); -100 is silence.
    f0 : ndarray [t]
        Fundamental in Hz; NaN where there is none.
    clarity : ndarray [t]
        Periodicity, 0 (noise, silence) to 1 (an exactly periodic sound).
    centroid : ndarray [t]
        Spectral centroid of the power in Hz; 0 in silence.
    flatness : ndarray [t]
        Geometric over arithmetic mean of the power from 50 Hz to 16 kHz: 0 a tone (and silence), 0.56 to 0.76
        white noise (the same or unrelated in both channels), 1 an impulse.
    roughness : ndarray [t]
        `roughness` of the 20 strongest partials at unit power, so that it does not depend on level. Partials closer
        than about 9 Hz are one partial here: see `beating`.
    chroma : ndarray [t, 12]
        Amplitude of the partials in each pitch class from C to B (equal temperament, A4 = 440 Hz); sums to 1, or 0.
    brief_roughness : ndarray [t]
    brief_chroma : ndarray [t, 12]
        The same over 85 ms, of partials at least about 30 Hz apart: for tones that follow each other so fast that the
        longer window hears several of them at once.
    beating : ndarray [t]
        Beats per second, 0.5 to 16; 0 where there are none. See `beats`.
    balance : ndarray [t]
        Power right minus left over their sum: -1 left, 0 middle, 1 right.
    width : ndarray [t]
        Power of the side signal over mid plus side: 0 mono, 0.5 unrelated channels, 1 opposite phase.
    onset_times, onset_strengths : ndarray [k]
        Seconds at which something begins or jumps, and the mean rise of the log spectrum there (dB).
    """

    hop_s: float
    duration: float
    loudness: Floats
    f0: Floats
    clarity: Floats
    centroid: Floats
    flatness: Floats
    roughness: Floats
    chroma: Floats
    brief_roughness: Floats
    brief_chroma: Floats
    beating: Floats
    balance: Floats
    width: Floats
    onset_times: Floats
    onset_strengths: Floats

    def __len__(self) -> int:
        return len(self.loudness)


@dataclass(frozen=True, eq=False)
class PitchTrack:
    """Pitch over time: centres of the windows in seconds, fundamental in Hz (NaN: none), periodicity 0..1."""

    times: Floats
    f0: Floats
    clarity: Floats


def hear(audio: ArrayLike, sample_rate: int, hop_s: float = 0.05) -> Ears:
    """Measure a sound.

    Parameters
    ----------
    audio : array_like [n] or [n, 2]
        Samples, finite, full scale 1.
    sample_rate : int
        In Hz, at least 8000.
    hop_s : float
        Seconds per row.

    Raises
    ------
    ValueError
        If the audio is empty, not finite, or of another shape.
    """
    sound = _stereo(audio, sample_rate)
    duration = len(sound) / sample_rate
    centres = _centres(duration, hop_s)
    short = [
        (*_short_window(*pair, sample_rate), *_partial_measures(*pair, sample_rate))
        for pair in _spectra(sound, sample_rate, centres, 0.085, pad=2)
    ]
    long = [_partial_measures(*pair, sample_rate) for pair in _spectra(sound, sample_rate, centres, 0.34)]
    loudness, f0, clarity, centroid, flatness, balance, width, brief_rough, brief_chroma = (
        np.concatenate(part) for part in zip(*short, strict=True)
    )
    rough, chroma = (np.concatenate(part) for part in zip(*long, strict=True))
    level = _levels(sound, sample_rate)
    times, strengths = _onsets(level, duration)
    struck = strengths >= _STRUCK_DB
    beating = beats((10 ** (level / 10)).sum(axis=1), times[struck], centres + hop_s / 2)
    begun = struck | ~_within(beating > 0, times, hop_s)
    silent = loudness < GATE
    f0[silent] = np.nan
    for measured in (
        clarity, centroid, flatness, rough, chroma, brief_rough, brief_chroma, beating, balance, width
    ):  # fmt: skip
        measured[silent] = 0
    return Ears(
        hop_s, duration, loudness, f0, clarity, centroid, flatness, rough, chroma, brief_rough, brief_chroma, beating,
        balance, width, times[begun], strengths[begun],
    )  # fmt: skip


def pitch_track(
    audio: ArrayLike,
    sample_rate: int,
    hop_s: float = 0.01,
    window_s: float = 0.085,
    low: float = 50.0,
    high: float = 4000.0,
) -> PitchTrack:
    """Fundamental over time, to a few cents on a sine or a harmonic tone.

    The period is the first high peak of the autocorrelation, divided by that of the window (Boersma 1993, "Accurate
    short-term analysis of the fundamental frequency", eq. 9; peak choice of McLeod & Wyvill 2005, k = 0.9). The
    frequency is then read from the spectral peak at the fundamental, by a parabola through the log power; so upper
    partials may be detuned without moving it.

    Parameters
    ----------
    audio : array_like [n] or [n, 2]
    sample_rate : int
    hop_s, window_s : float
        Seconds between windows and their length (rounded to a power of two samples); a window should hold at least
        four periods of `low`.
    low, high : float
        Range of the search in Hz.
    """
    sound = _stereo(audio, sample_rate)
    centres = _centres(len(sound) / sample_rate, hop_s)
    power = (np.abs(a) ** 2 + np.abs(b) ** 2 for a, b in _spectra(sound, sample_rate, centres, window_s, pad=2))
    f0, clarity = zip(*(_pitch(p, sample_rate, low, high) for p in power), strict=True)
    return PitchTrack(centres.astype(np.float32), np.concatenate(f0), np.concatenate(clarity))


def roughness(frequencies: ArrayLike, amplitudes: ArrayLike) -> NDArray[np.float64]:
    """Sensory dissonance of a set of partials.

    Sethares 1993, "Local consonance and the relationship between timbre and scale", JASA 94(3), eqs. 2-4: the sum over
    all pairs ``f1 <= f2`` of ``a1 a2 (exp(-3.5 s (f2 - f1)) - exp(-5.75 s (f2 - f1)))`` with
    ``s = 0.24 / (0.021 f1 + 19)``. It is 0 for one partial, and for a pair it rises up to about a quarter of a critical
    band and then falls.

    Parameters
    ----------
    frequencies, amplitudes : array_like [..., k]
        Partials along the last axis: Hz, and linear amplitudes.

    Returns
    -------
    ndarray [...]
    """
    f = np.asarray(frequencies, dtype=np.float64)
    a = np.asarray(amplitudes, dtype=np.float64)
    i, j = np.triu_indices(f.shape[-1], k=1)
    distance = np.abs(f[..., i] - f[..., j]) * 0.24 / (0.021 * np.minimum(f[..., i], f[..., j]) + 19)
    pairs = a[..., i] * a[..., j] * (np.exp(-3.5 * distance) - np.exp(-5.75 * distance))
    return np.asarray(pairs.sum(axis=-1))


def beats(power: ArrayLike, onset_times: ArrayLike, ends: ArrayLike) -> Floats:
    """Beats per second of a sound's power up to some moments, since what was struck last.

    Two partials of amplitudes a and b, d Hz apart, have the power ``a² + b² + 2 a b cos(2 π d t)``: a single line
    at d in the spectrum of the envelope. So of the power, its exponential decay taken out, the cosine that explains
    most of it is taken, by least squares. It must swing by `BEAT_DB`, go round twice and explain 0.3 of what there
    is, 0.6 of a stretch below 1 s. Looked at are the last 0.25, 0.5, 1, 2 and 4 s, and the first of these that has
    beats tells them. Strikes are no beats, whatever their rate: a stretch begins after the last of them. A tremolo
    is told as beats, to the ear it is the same fluctuation (Fastl & Zwicker 2007, ch. 10); a vibrato is not, as it
    leaves the power as it is. What beats faster is `roughness`.

    Parameters
    ----------
    power : array_like [k]
        Every 5 ms, the first at -17.5 ms, each over 21 ms.
    onset_times, ends : array_like
        In seconds.

    Returns
    -------
    ndarray, as long as `ends`
        In Hz, within `BEATS`; 0 where there are none.
    """
    power, begun, ends = (np.asarray(given, dtype=np.float64) for given in (power, onset_times, ends))
    last = np.floor((ends + 0.02) / _HOP + 1e-6).astype(int)
    before = np.searchsorted(begun, ends, side="right") - 1
    free = np.ceil((np.where(before >= 0, begun[before] if len(begun) else 0, 0) + 0.05) / _HOP).astype(int)
    found = np.zeros(len(ends), np.float32)
    for seconds in _STRETCHES:
        n = round(seconds / _HOP)
        rows = np.flatnonzero((found == 0) & (last - n >= free) & (last <= len(power)))
        if len(rows):
            found[rows] = _beats(power[last[rows, None] - n + np.arange(n)])
    return found


def _within(rows: NDArray[np.bool_], times: Floats, hop_s: float) -> NDArray[np.bool_]:
    """Whether any row within half a second from each of some times on is true."""
    first = np.minimum((times / hop_s).astype(int), len(rows) - 1)
    upto = np.r_[0, np.cumsum(rows)]
    found: NDArray[np.bool_] = upto[np.minimum(first + round(0.5 / hop_s) + 1, len(rows))] > upto[first]
    return found


def _beats(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Beats per second of some stretches ``[rows, n]`` of power; 0: none."""
    n = power.shape[1]
    time = np.arange(n) * _HOP
    # The decay, in steps of 3 dB over the stretch, without which it varies least.
    decays = 10 ** (np.arange(-60, 61, 3)[:, None] / 10 * (np.arange(n) / n))
    power = power + 1e-12
    varying = (power**2 @ (decays**2).T) / (power @ decays.T) ** 2
    level = power * decays[varying.argmin(axis=1)]
    swing = level / level.mean(axis=1, keepdims=True) - 1
    hertz = np.arange(0.25, BEATS[1] + 1, 0.125)
    turns = np.exp(2j * np.pi * hertz[:, None] * time)
    pairs = np.stack([turns.real, turns.imag], axis=2)
    waves = np.linalg.qr(pairs - pairs.mean(axis=1, keepdims=True))[0]
    explained = ((swing @ waves) ** 2).sum(axis=2).T
    best = explained.argmax(axis=1)
    rate, most = hertz[best], explained.max(axis=1)
    depth = np.minimum(np.sqrt(2 * most / n), 0.999)
    heard = 10 * np.log10((1 + depth) / (1 - depth)) >= BEAT_DB
    whole = (rate * n * _HOP >= _WHOLE) & (rate >= BEATS[0]) & (rate <= BEATS[1])
    share = _EXPLAINED if n * _HOP >= 1 else _BRIEFLY
    return np.where(heard & whole & (most >= share * (swing**2).sum(axis=1)), rate, 0.0)


def roughness_of(audio: ArrayLike, sample_rate: int) -> float:
    """`roughness` of one stretch of sound at unit power of its partials, over a window as long as the stretch.

    Two partials are told apart when they are at least ``3 / seconds`` Hz apart; silence gives 0.
    """
    sound = _stereo(audio, sample_rate)
    window = np.hanning(len(sound)).astype(np.float32)
    power = sum(np.abs(np.fft.rfft(channel * window)) ** 2 for channel in sound.T)
    frequencies, amplitudes = _partials(np.asarray(power)[None], sample_rate / len(sound))
    return float(roughness(frequencies, amplitudes)[0])


def _stereo(audio: ArrayLike, sample_rate: int) -> Floats:
    sound = np.asarray(audio, dtype=np.float32)
    if sample_rate < 8000:
        raise ValueError(f"sample rate {sample_rate} Hz: ears need at least 8000")
    if sound.ndim not in (1, 2) or len(sound) == 0 or (sound.ndim == 2 and sound.shape[1] > 2):
        raise ValueError(f"audio of shape {list(sound.shape)}: expected [samples] or [samples, 2], and not empty")
    if not np.isfinite(sound).all():
        raise ValueError("audio holds NaN or Inf")
    if sound.ndim == 1:
        sound = sound[:, None]
    return sound if sound.shape[1] == 2 else np.repeat(sound, 2, axis=1)


def _centres(duration: float, hop_s: float) -> NDArray[np.float64]:
    if not hop_s > 0:
        raise ValueError(f"hop of {hop_s} s: must be positive")
    rows = max(1, int(np.ceil(duration / hop_s - 1e-6)))
    return np.asarray((np.arange(rows) + 0.5) * hop_s, dtype=np.float64)


def _spectra(
    sound: Floats, sample_rate: int, centres: NDArray[np.float64], window_s: float, pad: int = 1
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Complex spectra of both channels in batches of rows, scaled so that |X|² sums to the mean square.

    The window is a Hann window of a power of two samples, zero-padded `pad`-fold. Around the sound there
    is silence.
    """
    n = 2 ** max(6, round(np.log2(window_s * sample_rate)))
    window = np.hanning(n + 1)[:-1]
    window = (window * np.sqrt(2 / (pad * n * np.sum(window**2)))).astype(np.float32)
    starts = np.clip(np.round(centres * sample_rate).astype(int) + n // 2, 0, len(sound) + n)
    views = [np.lib.stride_tricks.sliding_window_view(np.pad(c, n), n) for c in sound.T]
    mono = bool(np.array_equal(sound[:, 0], sound[:, 1]))
    for i in range(0, len(starts), _BATCH):
        rows = starts[i : i + _BATCH]
        left = np.fft.rfft(views[0][rows] * window, pad * n)
        yield left, left if mono else np.fft.rfft(views[1][rows] * window, pad * n)


def _short_window(left: NDArray[Any], right: NDArray[Any], sample_rate: int) -> tuple[Floats, ...]:
    """Loudness, f0, clarity, centroid, flatness, balance, width of a batch of rows."""
    tiny = np.float32(1e-20)
    powers = np.abs(left) ** 2, np.abs(right) ** 2
    power = powers[0] + powers[1]
    hertz = np.fft.rfftfreq(2 * (power.shape[1] - 1), 1 / sample_rate).astype(np.float32)
    weights = (np.abs(k_weighting(hertz, sample_rate)) ** 2).astype(np.float32)
    loudness = -0.691 + 10 * np.log10(power @ weights + tiny)
    total = power.sum(axis=1) + tiny
    band = power[:, (hertz >= 50) & (hertz <= 16_000)] + tiny
    flatness = np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1)
    side = (np.abs(left - right) ** 2).sum(axis=1) / 2
    balance = (powers[1] - powers[0]).sum(axis=1) / total
    f0, clarity = _pitch(power, sample_rate, 50.0, 4000.0)
    measured = np.maximum(loudness, FLOOR), f0, clarity, power @ hertz / total, flatness, balance, side / total
    return tuple(m.astype(np.float32) for m in measured)


def _pitch(power: NDArray[Any], sample_rate: int, low: float, high: float) -> tuple[Floats, Floats]:
    """f0 in Hz (NaN: none) and periodicity of a batch of power spectra, zero-padded twofold."""
    size = 2 * (power.shape[1] - 1)
    last = min(int(sample_rate / low) + 2, size // 4)
    first = max(2, int(sample_rate / high))
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size // 2 + 1)[:-1], size)) ** 2)[: last + 1]
    r = np.fft.irfft(power)[:, : last + 1]
    r = r / (r[:, :1] + 1e-20) / (window / window[0])
    before, at, after = r[:, first - 1 : last - 1], r[:, first:last], r[:, first + 1 : last + 1]
    peak = (at > before) & (at >= after)
    shift, rise = _parabola(before, at, after)
    height = np.where(peak, at + rise, 0)
    clarity = np.clip(height.max(axis=1), 0, 1)
    rows = np.arange(len(r))
    column = np.argmax(height >= 0.9 * clarity[:, None], axis=1)
    coarse = sample_rate / (first + column + shift[rows, column])
    f0 = np.where(clarity >= PITCHED, _refined(power, coarse, sample_rate / size), np.nan)
    return f0.astype(np.float32), clarity.astype(np.float32)


def _refined(power: NDArray[Any], coarse: NDArray[Any], bin_hz: float) -> NDArray[Any]:
    """The spectral peak within 2 bins or 8 % of `coarse`; `coarse` itself where the fundamental is missing."""
    rows = np.arange(len(power))
    reach = np.maximum(2, np.ceil(0.08 * coarse / bin_hz)).astype(int)
    centre = np.clip(np.round(coarse / bin_hz).astype(int), 2, power.shape[1] - 2)
    offsets = np.arange(-reach.max(), reach.max() + 1)
    bins = np.clip(centre[:, None] + offsets, 1, power.shape[1] - 2)
    near = np.where(np.abs(offsets) <= reach[:, None], power[rows[:, None], bins], 0)
    best = bins[rows, near.argmax(axis=1)]
    before, at, after = (np.log(power[rows, best + d] + 1e-20) for d in (-1, 0, 1))
    shift, _ = _parabola(before, at, after)
    present = (at >= before) & (at >= after) & (power[rows, best] > 1e-3 * power.max(axis=1))
    return np.asarray(np.where(present, (best + shift) * bin_hz, coarse))


def _parabola(before: NDArray[Any], at: NDArray[Any], after: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Offset (within ±0.5) and rise of the vertex of the parabola through three neighbouring values."""
    bend = np.minimum(before - 2 * at + after, -1e-12)
    shift = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    return shift, -0.25 * (before - after) * shift


def _partial_measures(left: NDArray[Any], right: NDArray[Any], sample_rate: int) -> tuple[Floats, Floats]:
    """Roughness and chroma of a batch of rows, as far as their window tells partials apart."""
    power = np.abs(left) ** 2 + np.abs(right) ** 2
    frequencies, amplitudes = _partials(power, sample_rate / (2 * (power.shape[1] - 1)))
    heard = (frequencies > 50) & (frequencies < 5000)
    classes = np.round(12 * np.log2(np.where(heard, frequencies, 440) / 440) + 9).astype(int) % 12
    chroma = np.stack([(amplitudes * heard * (classes == c)).sum(axis=1) for c in range(12)], axis=1)
    chroma /= chroma.sum(axis=1, keepdims=True) + 1e-12
    return roughness(frequencies, amplitudes).astype(np.float32), chroma.astype(np.float32)


def _partials(power: NDArray[Any], bin_hz: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Frequency and amplitude (unit power in sum) of the strongest peaks within 50 dB; unused ones have amplitude 0."""
    inner = power[:, 1:-1]
    peaks = np.where((inner > power[:, :-2]) & (inner >= power[:, 2:]), inner, 0)
    peaks[peaks < np.maximum(1e-5 * peaks.max(axis=1, keepdims=True), 1e-12)] = 0
    count = min(_PARTIALS, peaks.shape[1])
    column = np.argpartition(peaks, -count, axis=1)[:, -count:]
    rows = np.arange(len(power))[:, None]
    before, at, after = (np.log(power[rows, column + d] + 1e-20).astype(np.float64) for d in (0, 1, 2))
    shift, rise = _parabola(before, at, after)
    amplitudes = np.where(peaks[rows, column] > 0, np.exp((at + rise) / 2), 0)
    amplitudes /= np.sqrt((amplitudes**2).sum(axis=1, keepdims=True)) + 1e-12
    return (column + 1 + shift) * bin_hz, amplitudes


def _levels(sound: Floats, sample_rate: int) -> NDArray[np.float64]:
    """Levels in dB of sixth-octave bands, every 5 ms, the first at -17.5 ms, each over 21 ms."""
    centres = _centres(len(sound) / sample_rate + 0.05, _HOP) - 0.02
    levels = []
    for left, right in _spectra(sound, sample_rate, centres, 0.021):
        top = 2 * (left.shape[1] - 1) / sample_rate
        edges = np.unique(np.round(np.geomspace(60, min(16_000, 0.45 * sample_rate), 50) * top).astype(int))
        bands = np.add.reduceat(np.abs(left) ** 2 + np.abs(right) ** 2, edges, axis=1)[:, :-1]
        levels.append(10 * np.log10(bands + 1e-8))
    return np.concatenate(levels)


def _onsets(level: NDArray[np.float64], duration: float) -> tuple[Floats, Floats]:
    """Peaks of the spectral flux of sixth-octave bands, a rise in the neighbouring bands being no news.

    Böck & Widmer 2013, "Maximum filter vibrato suppression for onset detection" (SuperFlux).
    """
    lag, reach = 2, 12
    centres = (np.arange(len(level)) + 0.5) * _HOP - 0.02
    wide = np.pad(level, ((0, 0), (1, 1)), mode="edge")
    held = np.maximum(level, np.maximum(wide[:, :-2], wide[:, 2:]))
    flux = np.zeros(len(level))
    flux[lag:] = np.maximum(level[lag:] - held[:-lag], 0).mean(axis=1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(flux, reach, mode="edge"), 2 * reach + 1)
    peak = (flux >= around[:, reach - 6 : reach + 7].max(axis=1)) & (flux > np.median(around, axis=1) + 1.2)
    found = np.flatnonzero(peak & (centres < duration - 0.011))
    return np.maximum(centres[found], 0).astype(np.float32), flux[found].astype(np.float32)
