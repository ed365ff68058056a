"""Every declared parameter does to the sound what it says, and not what it does not say."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import find_peaks, welch
from scipy.special import jv

from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import Sample
from sonify.instruments.formant import VOWELS

RATE = 48_000
CHECKS: dict[tuple[str, str], Callable] = {}


def check(*names: str):
    """The decorated function tests ``instrument.parameter``; it is given how to play, how to measure, and the name."""

    def register(function: Callable) -> Callable:
        CHECKS.update({tuple(name.split(".")): function for name in names})
        return function

    return register


@pytest.fixture(scope="session")
def played(sound):
    """The sound of one instrument, its sample given where it needs one."""

    def play(name: str, seconds: float = 1.0, sample: Sample | None = None, at: float = 0.0, **values) -> np.ndarray:
        instrument = INSTRUMENTS[name]
        sample = sample or (tone(440) if instrument.needs_sample else None)
        if instrument.on_events:
            return sound(name, seconds=seconds, notes=[(at, values)], sample=sample)
        return sound(name, values, seconds, sample=sample)

    return play


def tone(frequency: float, seconds: float = 2.0) -> Sample:
    return Sample(0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE), RATE)


def sweep(low: float = 200.0, high: float = 3200.0, seconds: float = 4.0) -> Sample:
    """A sine whose pitch rises by equal intervals in equal times."""
    position = np.arange(int(seconds * RATE)) / RATE / seconds
    return Sample(0.5 * np.sin(2 * np.pi * np.cumsum(low * (high / low) ** position) / RATE), RATE)


def level(sound: np.ndarray, frequency: float) -> float:
    """Of one partial, in dB."""
    window = np.blackman(len(sound))
    phase = np.exp(-2j * np.pi * frequency * np.arange(len(sound)) / RATE)
    return float(20 * np.log10(abs((sound * window * phase).sum()) / window.sum() * 2 + 1e-12))


def centroid(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    return float(power @ np.fft.rfftfreq(len(sound), 1 / RATE) / power.sum())


def decay_of(sound: np.ndarray, frequency: float) -> float:
    """Seconds in which a partial would fall by 60 dB: a line through its level from 0.1 s after the start to -45 dB."""
    hop, size = 480, 4800
    starts = np.arange(4800, len(sound) - size, hop)
    levels = np.array([level(sound[s : s + size], frequency) for s in starts])
    used = levels > levels[0] - 45
    used[np.argmin(used) if not used.all() else len(used) :] = False
    return float(-60 / np.polyfit(starts[used] / RATE, levels[used], 1)[0])


def width(sound: np.ndarray, frequency: float, reach: float = 200.0) -> float:
    """Cents that hold 98 % of the power around a partial."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    cents = 1200 * np.log2(np.fft.rfftfreq(len(sound), 1 / RATE)[1:] / frequency)
    near = np.abs(cents) < reach
    share = np.cumsum(power[1:][near]) / power[1:][near].sum()
    return float(np.diff(np.interp([0.01, 0.99], share, cents[near]))[0])


def envelope(sound: np.ndarray, hop: int = 48) -> np.ndarray:
    """Peak of each millisecond."""
    return np.abs(sound[: len(sound) // hop * hop]).reshape(-1, hop).max(axis=1)


def same_pitch(partial, sounds, frequency, low=0.9, high=1.1) -> None:
    """The negative control: what moves the colour leaves the pitch."""
    for sound in sounds:
        assert abs(1200 * np.log2(partial(sound, RATE, frequency * low, frequency * high) / frequency)) < 5


def monotone(values) -> None:
    assert (np.diff(values) > 0).all(), values


ONE_SINGER = {"spread": 0.0, "vibrato": 0.0, "breath": 0.0}
#: What makes the pitch of each one line in the spectrum.
PLAIN = {
    "pad": {"spread": 0.0},
    "fm": {"index": 1.0},
    "formant": ONE_SINGER,
    "drum": {"sweep": 0.0, "tone": 1.0, "decay": 3.0},
    "sampler": {"root": 440.0},
}


@check(*(f"{name}.pitch" for name in ("glide", "partials", "pad", "fm", "formant", "pluck", "string", "bell", "drum")))
@check("sampler.pitch")
def pitch(played, partial, name):
    for frequency in (82.4, 220.0, 932.3):
        sound = played(name, pitch=frequency, **PLAIN.get(name, {}))
        same_pitch(partial, [sound[4800:]], frequency)


@check("noise.pitch")
def place_of_noise(played, partial, name):
    for frequency in (100.0, 1000.0, 10_000.0):
        sound = played(name, seconds=3, pitch=frequency, bandwidth=0.2)[RATE // 2 :]
        power = np.abs(np.fft.rfft(sound)) ** 2
        assert power @ np.fft.rfftfreq(len(sound), 1 / RATE) / power.sum() == pytest.approx(frequency, rel=0.05)


@check("noise.bandwidth")
def band_of_noise(played, partial, name):
    for octaves in (0.2, 0.5, 1.0, 2.0):
        f, power = welch(played(name, seconds=12, pitch=1000.0, bandwidth=octaves)[4800:], RATE, nperseg=4096)
        power = np.convolve(power, np.ones(5) / 5, "same")
        inside = f[power > power[np.abs(f - 1000) < 60].mean() / 4]
        assert np.log2(inside.max() / inside.min()) == pytest.approx(octaves, rel=0.2, abs=0.03)


@check("glide.brightness")
def strength_of_harmonics(played, partial, name):
    for b in (0.2, 0.6, 1.0):
        sound = played(name, pitch=300.0, brightness=b)
        for k in range(2, 5):
            assert level(sound, 300 * k) - level(sound, 300) == pytest.approx(20 * np.log10(b ** (k - 1) / k), abs=0.1)
        same_pitch(partial, [sound], 300, 0.1, 30)  # the strongest of all partials
    assert level(played(name, pitch=300.0, brightness=0.0), 600) < -80


@check("partials.detune")
def detuning(played, partial, name):
    for detune in (-0.1, 0.03, 0.4):
        sound = played(name, pitch=220.0, detune=detune)
        for k in (2, 3, 4):
            same_pitch(partial, [sound], 220 * k * (1 + detune), 0.97, 1.03)
        same_pitch(partial, [sound], 220, 0.9, 1.1)


@check("partials.count")
def number_of_partials(played, partial, name):
    for count in (2, 5, 16):
        sound = played(name, pitch=220.0, count=float(count))
        heard = [k for k in range(1, 20) if level(sound, 220 * k) > -50]
        assert heard == list(range(1, count + 1))


@check("partials.beside")
def partials_in_tune_beside(played, partial, name):
    for beside in (0.25, 1.0):
        sound = played(name, pitch=220.0, detune=0.2, beside=beside)
        for k in (2, 3, 4):
            weight = level(sound, 220 * k) - level(sound, 220 * k * 1.2)
            assert weight == pytest.approx(20 * np.log10(beside), abs=0.2)
    assert level(played(name, pitch=220.0, detune=0.2, beside=0.0), 440) < -80


@check("partials.cutoff", "pad.brightness")
def corner_of_the_low_pass(played, partial, name):
    corner, plain = next(n for n in INSTRUMENTS[name].parameters if n in ("cutoff", "brightness")), PLAIN.get(name, {})
    top = INSTRUMENTS[name].parameters[corner].range[1]

    def overtone(cutoff: float) -> float:
        sound = played(name, pitch=100.0, **plain, **{corner: cutoff})
        same_pitch(partial, [sound], 100)
        return level(sound, 400) - level(sound, 100)

    assert overtone(400.0) - overtone(top) == pytest.approx(-3, abs=0.3)
    assert overtone(200.0) - overtone(top) == pytest.approx(-12, abs=0.5)


@check("partials.amplitude")
def linear_gain(played, partial, name):
    one = played(name, amplitude=1.0)
    for gain in (0.0, 0.5, 4.0):
        np.testing.assert_allclose(played(name, amplitude=gain), gain * one, atol=1e-5)


@check("pad.spread", "formant.spread")
def drift(played, partial, name):
    others = ONE_SINGER if name == "formant" else {}
    heard = [width(played(name, 20, pitch=1000.0, **others | {"spread": s}), 1000) for s in (0.0, 10.0, 40.0)]
    assert heard[0] < 0.6
    np.testing.assert_allclose(heard[1:], [20, 80], rtol=0.15)


@check("formant.vibrato")
def swing(played, partial, name):
    heard = [width(played(name, 3, pitch=1500.0, **ONE_SINGER | {"vibrato": v}), 1500) for v in (0.0, 40.0, 80.0)]
    assert heard[0] < 2
    swung = 1200 * np.log2(1 + 5.6 / 1500)  # J. R. Carson: a band reaches as far beyond its swing as it swings fast
    np.testing.assert_allclose(heard[1:], [2 * (40 + swung), 2 * (80 + swung)], rtol=0.05)


@check("formant.vowel")
def formants(played, partial, name):
    """The levels of the harmonics of 40 Hz have a peak at each of the three lowest formants of the table."""
    multiples = 40.0 * np.arange(1, 100)
    for i, (frequencies, *_) in enumerate(VOWELS):
        sound = played(name, pitch=40.0, vowel=i / 4, **ONE_SINGER)[RATE // 4 :]
        found = multiples[find_peaks([level(sound, f) for f in multiples])[0]]
        for formant in frequencies[:3]:
            assert np.abs(found / formant - 1).min() < 0.1, (i, formant, found)
    sung = [played(name, pitch=165.0, vowel=v, **ONE_SINGER) for v in (0.0, 0.4, 1.0)]
    same_pitch(partial, sung, 165)


@check("formant.breath")
def share_of_noise(played, partial, name):
    shares = []
    for breath in (0.0, 0.3, 0.6, 1.0):
        sound = played(name, 4, pitch=165.0, **ONE_SINGER | {"breath": breath})[RATE // 2 :]
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        f = np.fft.rfftfreq(len(sound), 1 / RATE)
        shares.append(power[np.abs(f - 165 * np.round(f / 165)) > 3].sum() / power.sum())
    np.testing.assert_allclose(shares, [0.0, 0.3, 0.6, 1.0], atol=0.12)


@check("fm.index")
def depth(played, partial, name):
    for ratio in (1.0, 2.0, 1.414):
        sounds = [played(name, pitch=440.0, ratio=ratio, index=i) for i in (0.0, 0.5, 1.0, 2.0, 4.0, 7.0, 10.0)]
        monotone([centroid(sound) for sound in sounds])
    same_pitch(partial, [played(name, pitch=440.0, ratio=2.0, index=i) for i in (0.0, 1.0)], 440)


@check("fm.ratio")
def sidebands(played, partial, name):
    """Chowning's spectrum: J_n(index) at pitch (1 + n ratio), inverted below 0 Hz."""
    for ratio in (0.7, 1.3, 2.2):
        sound = played(name, pitch=1000.0, ratio=ratio, index=2.0)
        carrier = level(sound, 1000) - 20 * np.log10(jv(0, 2))
        for n in range(-4, 5):
            heard = level(sound, abs(1000 * (1 + n * ratio))) - carrier
            assert heard == pytest.approx(20 * np.log10(abs(jv(n, 2))), abs=0.3), (ratio, n)


@check("granular.position")
def place_in_the_file(played, partial, name):
    for position in (0.0, 0.3, 0.7, 1.0):
        sound = played(name, sample=sweep(), position=position, jitter=0.0, grain=100.0)
        assert partial(sound, RATE, 100, 5000) == pytest.approx(200 * 16 ** (0.0125 + 0.975 * position), rel=0.06)


@check("granular.transposition")
def interval(played, partial, name):
    for semitones in (-24.0, -5.0, 0.0, 7.0, 36.0):
        sound = played(name, 2, sample=tone(500), transposition=semitones, grain=500.0, density=20.0)
        same_pitch(partial, [sound], 500 * 2 ** (semitones / 12))


@check("granular.grain")
def length_of_a_grain(played, partial, name):
    """A Hann window is above half its height for half its length."""
    for grain in (20.0, 100.0, 400.0):
        sound = played(name, sample=tone(3000), grain=grain, density=0.5, jitter=0.0)
        assert (envelope(sound) > 0.25).sum() == pytest.approx(grain / 2, rel=0.1, abs=2)


@check("granular.density")
def grains_in_a_second(played, partial, name):
    for density in (2.0, 10.0, 40.0):
        sound = played(name, 4, sample=tone(3000), grain=8.0, density=density, jitter=0.0)
        loud = envelope(sound) > 0.2
        assert (loud[1:] & ~loud[:-1]).sum() + loud[0] == pytest.approx(4 * density, abs=1)
    levels = [played(name, 6, sample=sweep(), density=d).std() for d in (10.0, 50.0, 200.0)]
    assert np.ptp(20 * np.log10(levels)) < 3


@check("granular.jitter")
def straying(played, partial, name):
    intervals, places = [], []
    for jitter in (0.0, 0.4, 1.0):
        sound = played(name, 12, sample=tone(3000), grain=8.0, density=5.0, jitter=jitter)
        loud = np.concatenate([[False], envelope(sound) > 0.2])
        intervals.append(np.diff(np.flatnonzero(loud[1:] & ~loud[:-1])).std())
        swept = played(name, 3, sample=sweep(), grain=200.0, density=40.0, jitter=jitter, position=0.5)
        places.append(width(swept, 800, 1200))
    assert intervals[0] < 1.5
    monotone(intervals)
    monotone(places)


@check("pluck.decay", "string.decay", "bell.decay", "drum.decay")
def decay(played, partial, name):
    for seconds in (0.4, 1.2) if name == "drum" else (0.5, 1.5, 4.0):
        plain = PLAIN.get(name, {}) | {"decay": seconds}
        sound = played(name, seconds=min(seconds, 2.0) + 0.3, pitch=220.0, **plain)
        longest = 110.0 if name == "bell" else 220.0  # of a bell that is the hum
        assert decay_of(sound, longest) == pytest.approx(seconds, rel=0.15)
        same_pitch(partial, [sound[2400:]], 220)


@check("pluck.brightness", "string.brightness", "bell.brightness", "drum.brightness")
def colour(played, partial, name):
    sounds = [played(name, pitch=220.0, brightness=b, **PLAIN.get(name, {})) for b in (0.0, 0.3, 0.6, 1.0)]
    monotone([centroid(sound[: RATE // 2]) for sound in sounds])
    same_pitch(partial, [sound[2400:] for sound in sounds], 220)
    if name == "drum":
        monotone([centroid(played(name, tone=0.0, brightness=b)) for b in (0.0, 0.5, 1.0)])


@check("string.position")
def point_of_plucking(played, partial, name):
    """A string plucked at 1 / n of its length has no n-th harmonic (T. Young)."""
    for n in (2, 3, 5):
        sound = played(name, pitch=220.0, position=1 / n, brightness=0.8)
        assert level(sound, 220 * n) < level(sound, 220 * (n - 1)) - 30
        assert level(sound, 220 * n) < level(sound, 220 * (n + 1)) - 30
        same_pitch(partial, [sound[4800:]], 220)
    assert level(played(name, pitch=220.0, position=0.23, brightness=0.8), 660) > -40


@check("drum.tone")
def skin_or_noise(played, partial, name):
    shares = []
    for share in (0.0, 0.3, 0.7, 1.0):
        sound = played(name, pitch=200.0, tone=share, sweep=0.0, decay=1.0, brightness=0.5)
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        f = np.fft.rfftfreq(len(sound), 1 / RATE)
        shares.append(power[np.abs(f - 200) < 10].sum() / power.sum())
    monotone(shares)
    assert shares[0] < 0.1
    assert shares[-1] > 0.5


@check("drum.sweep")
def fall(played, partial, name):
    for semitones in (0.0, 12.0, 24.0):
        sound = played(name, pitch=200.0, sweep=semitones, tone=1.0, brightness=0.0, decay=2.0)
        crossings = np.flatnonzero((sound[:-1] < 0) & (sound[1:] >= 0))
        first = RATE / (crossings[1] - crossings[0])
        middle = (crossings[0] + crossings[1]) / 2 / RATE
        meant = 200 * 2 ** (semitones / 12 * np.exp(-middle / 0.03))
        assert first == pytest.approx(meant, rel=0.06)
        same_pitch(partial, [sound[RATE // 3 :]], 200)


@check("sampler.root")
def pitch_as_recorded(played, partial, name):
    for root in (110.0, 440.0, 1500.0):
        same_pitch(partial, [played(name, sample=tone(440), pitch=root, root=root)], 440)
        same_pitch(partial, [played(name, sample=tone(440), pitch=330.0, root=root)], 440 * 330 / root)


@check("sampler.start")
def beginning(played, partial, name):
    for start in (0.0, 0.4, 0.8):
        sound = played(name, 0.12, sample=sweep(), start=start, length=0.1)
        assert partial(sound, RATE, 100, 5000) == pytest.approx(200 * 16 ** (start + 0.0125), rel=0.06)


@check("sampler.length")
def duration(played, partial, name):
    for length in (0.1, 0.5, 1.0):
        sound = played(name, 3, at=0.2, length=length, release=2.0)
        heard = np.flatnonzero(envelope(sound) > 0.05)
        assert heard[0] / 1000 == pytest.approx(0.2, abs=0.004)
        assert (heard[-1] - heard[0]) / 1000 == pytest.approx(length, abs=0.005)
    assert np.flatnonzero(envelope(played(name, 3, length=60.0)))[-1] < 2001  # the file is over


@check("sampler.attack", "sampler.release")
def ramps(played, partial, name):
    for ms in (10.0, 100.0, 400.0):
        rising = envelope(played(name, sample=tone(3000), length=1.0, attack=ms, release=2.0))
        falling = envelope(played(name, sample=tone(3000), length=1.0, attack=2.0, release=ms))
        assert np.argmax(rising > 0.25) == pytest.approx(ms / 2, rel=0.05, abs=1.5)
        assert 1000 - np.flatnonzero(falling > 0.25)[-1] == pytest.approx(ms / 2, rel=0.05, abs=1.5)


@check("sampler.reverse")
def backwards(played, partial, name):
    forwards, back = (played(name, 1.0, sample=sweep(), start=0.5, length=0.9, reverse=r) for r in (0.0, 1.0))
    for sound, sign in ((forwards, 1), (back, -1)):
        pitches = [partial(sound[i * RATE // 10 : (i + 1) * RATE // 10], RATE, 100, 5000) for i in range(9)]
        monotone(sign * np.array(pitches))


@check(*(f"{name}.level" for name, i in INSTRUMENTS.items() if i.on_events))
def decibels(played, partial, name):
    loud = [np.abs(played(name, level=db)).max() for db in (0.0, -6.0, -24.0)]
    np.testing.assert_allclose(20 * np.log10(np.array(loud) / loud[0]), [0, -6, -24], atol=0.05)


@pytest.mark.parametrize(("name", "parameter"), CHECKS)
def test_a_parameter_does_what_it_says(played, partial, name, parameter):
    CHECKS[name, parameter](played, partial, name)


def test_no_parameter_is_left_out():
    """The level of a drone is a lane that the renderer applies, so it is tested there."""
    declared = {
        (name, parameter)
        for name, instrument in INSTRUMENTS.items()
        for parameter in instrument.parameters
        if instrument.on_events or parameter != "level"
    }
    assert set(CHECKS) == declared
