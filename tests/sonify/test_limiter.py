"""The master limiter against independent judges: an interpolator, a loudness meter, a spectrum."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, resample_poly, sosfilt

from sonify.limiter import Limiter
from sonify.loudness import SILENT_DBTP, SILENT_LUFS

RATES = [44_100, 48_000]


def hear(sound, rate=48_000, ceiling=-1.0, chunk=50_000, **more):
    limiter = Limiter(rate, ceiling, **more)
    for start in range(0, len(sound), chunk):
        limiter.add(sound[start : start + chunk])
    return limiter


def true_peak(sound):
    return 20 * np.log10(np.abs(resample_poly(sound.astype(np.float64), 4, 1, axis=0)).max())


def loudness(sound, rate):
    return pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(sound.astype(np.float64))


def sounds(rate, seconds=4):
    """What is hard to limit: sparse clicks, edges, peaks between samples, bursts out of silence, beating near the end
    of the band."""
    rng, n = np.random.default_rng(0), seconds * rate
    time = np.arange(n)[:, None] / rate
    noise = 0.1 * rng.standard_normal((n, 2))
    sparse = 0.1 * noise
    sparse[rng.integers(0, n, 60)] += rng.standard_normal((60, 2))
    return {
        "noise": noise,
        "bursts": noise * np.repeat(rng.random(50) ** 6 * 8, n // 50)[:, None],
        "sparse": sparse,
        "square": np.sign(np.sin(2 * np.pi * 73.3 * time)) * [1, 0.5] * np.abs(np.sin(time)),
        "alternating": rng.choice([-0.7, 0.7], (n, 2)) * rng.random((n, 1)) ** 8,
        "beating": np.cos(np.pi * np.arange(n) * (1 - 1e-4))[:, None] * [0.5, 0.4] * (1 + np.sin(250 * time)),
        "high": sosfilt(butter(2, 9000, "high", fs=rate, output="sos"), noise, axis=0) * (time % 0.5 < 0.1),
        "strikes": np.sin(2 * np.pi * 220 * time)
        * [1, 0.8]
        * np.exp(-(time % 0.5) * 25)
        * np.clip(time % 0.5, 0, 0.003),
    }


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", sounds(44_100, 1))
def test_the_loudness_is_reached_under_the_ceiling(rate, name):
    sound = sounds(rate)[name].astype(np.float32)
    needed = 0
    for target, ceiling in ((-23, -1), (-14, -1), (-4, -3)):
        gain = hear(sound, rate, ceiling).settle(target)
        limited = sound * gain.at(0, len(sound))
        assert true_peak(limited) <= ceiling
        assert gain.true_peak == pytest.approx(true_peak(limited), abs=0.02)
        assert gain.loudness == pytest.approx(loudness(limited, rate), abs=0.05)
        assert gain.loudness <= target + 0.001
        assert gain.limited or gain.loudness == pytest.approx(target, abs=0.001)
        assert gain.reduction_db <= 12.01
        unlimited = true_peak(sound * np.float32(10 ** (gain.gain_db / 20)))
        assert unlimited - gain.reduction_db <= ceiling + 0.01
        needed += unlimited > ceiling
    assert needed > 0


@settings(max_examples=40)
@given(st.integers(1, 200_000), st.integers(0, 1000), st.floats(-40, 12), st.floats(-24, -6), st.floats(0, 24))
def test_any_sound(samples, seed, level, target, most):
    rng = np.random.default_rng(seed)
    shape = np.repeat(rng.random(samples // 500 + 1) ** rng.integers(0, 9), 500)[:samples, None]
    sound = (10 ** (level / 20) * shape * rng.standard_normal((samples, 2))).astype(np.float32)
    gain = hear(sound).settle(target, most)
    limited = sound * gain.at(0, samples)
    assert true_peak(limited) <= -1
    assert gain.loudness == pytest.approx(hear(limited).level()[0], abs=0.05)
    assert gain.reduction_db <= most + 0.01
    silent = gain.loudness == -70
    assert gain.limited or silent or gain.loudness == pytest.approx(target, abs=0.001)
    assert not silent or true_peak(limited) < -50, "below the gate"


@settings(max_examples=25)
@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=6), st.lists(st.integers(1, 90_000), max_size=6))
def test_the_curve_does_not_depend_on_how_the_sound_is_cut(heard, asked):
    sound = sounds(48_000)["bursts"].astype(np.float32)
    whole = hear(sound, chunk=len(sound)).settle(-12)
    limiter = Limiter(48_000, -1)
    for part in np.split(sound, np.minimum(np.cumsum(heard), len(sound))):
        limiter.add(part)
    gain = limiter.settle(-12)
    assert gain.reduction_db > 1
    cuts = [0, *np.minimum(np.cumsum(asked), len(sound)), len(sound)]
    curve = np.concatenate([gain.at(int(a), int(b)) for a, b in pairwise(cuts)])
    np.testing.assert_array_equal(curve, whole.at(0, len(sound)))


def test_what_no_peak_comes_near_is_left_as_it_is():
    """Peaks for a second in the middle: a few milliseconds before and a release after it only the gain is changed."""
    rng = np.random.default_rng(1)
    sound = (0.05 * rng.standard_normal((5 * 48_000, 2))).astype(np.float32)
    sound[2 * 48_000 : 3 * 48_000 : 4000] = 1.0
    gain = hear(sound).settle(-16)
    assert not gain.limited
    assert gain.reduction_db > 3
    curve, plain = gain.at(0, len(sound))[:, 0], np.float32(10 ** (gain.gain_db / 20))
    assert np.all(curve[: 96_000 - 480] == plain)
    assert np.all(curve[144_000 + 48_000 :] == plain)
    assert curve.max() == plain
    assert curve[96_000:144_000].max() < plain


def test_without_a_peak_above_the_ceiling_it_is_a_plain_gain():
    sound = sounds(48_000)["noise"].astype(np.float32)
    gain = hear(sound).settle(-23)
    assert gain.reduction_db == 0
    assert np.all(gain.at(0, len(sound)) == np.float32(10 ** (gain.gain_db / 20)))
    assert gain.gain_db == pytest.approx(-23 - loudness(sound, 48_000), abs=0.01)


def test_limiting_that_makes_nothing_louder_is_not_done():
    """A loud second of dense peaks among four soft ones: more gain would only bring the soft ones up."""
    sound = (0.05 * np.random.default_rng(1).standard_normal((5 * 48_000, 2))).astype(np.float32)
    sound[2 * 48_000 : 3 * 48_000] *= 8
    gain = hear(sound).settle(-3)
    assert gain.limited
    softer = sound * hear(sound).settle(-3, most=0).at(0, len(sound))
    assert gain.loudness >= loudness(softer, 48_000) - 0.01
    assert gain.reduction_db < 6


def test_without_leave_to_limit_the_peak_wins():
    sound = sounds(48_000)["sparse"].astype(np.float32)
    gain = hear(sound).settle(-14, most=0)
    assert gain.limited
    assert gain.loudness < -20
    assert gain.gain_db == pytest.approx(-1 - true_peak(sound), abs=0.02)
    assert np.ptp(gain.at(0, len(sound))) < 1e-6


def test_the_gain_falls_ahead_of_a_peak_and_rises_after_it():
    sound = np.repeat(0.1 * np.sin(np.arange(48_000))[:, None], 2, 1).astype(np.float32)
    sound[24_000] = 1.0
    gain = hear(sound, lookahead=0.005, release=0.1).settle(0, most=6)
    reduction = 20 * np.log10(gain.at(0, len(sound))[:, 0].astype(np.float64)) - gain.gain_db
    assert gain.reduction_db > 5
    assert reduction[24_000] == pytest.approx(-gain.reduction_db, abs=0.001)
    first = np.flatnonzero(reduction < -0.01)[0]
    assert 0.004 < (24_000 - first) / 48_000 < 0.009
    assert np.ptp(reduction[24_000 - 20 : 24_000 + 20]) < 1e-4  # level, wherever an interpolator looks
    later = [reduction[24_000 + round(seconds * 48_000)] for seconds in (0.05, 0.15, 0.25)]
    np.testing.assert_allclose(np.divide(later[1:], later[:-1]), np.exp(-1), rtol=0.02)


@pytest.mark.parametrize(
    ("frequency", "most", "bound"), [(40, 3, 0.005), (60, 3, 1e-5), (100, 3, 1e-5), (100, 12, 1e-5)]
)
def test_low_notes_are_not_bent(frequency, most, bound):
    """Two loud seconds of a tone, turned down to where the others are."""
    time = np.arange(6 * 48_000) / 48_000
    level = np.where((time >= 2) & (time < 4), 1.0, 10 ** (-most / 20))
    sound = np.repeat((level * np.sin(2 * np.pi * frequency * time))[:, None], 2, 1).astype(np.float32)
    gain = hear(sound).settle(0, most)
    assert gain.reduction_db > most - 0.6
    second = slice(120_000, 168_000)
    limited = (sound * gain.at(0, len(sound)))[second, 0].astype(np.float64)
    clipped = np.clip(sound[second, 0], -(10 ** (-most / 20)), 10 ** (-most / 20))

    def distortion(sound):
        spectrum = np.abs(np.fft.rfft(sound))
        return np.sqrt((spectrum[2 * frequency :: frequency] ** 2).sum()) / spectrum[frequency]

    assert distortion(limited) < bound
    assert distortion(clipped) > 0.05


def test_limiting_makes_no_clicks(clicks):
    """A soft low chord that jumps by 12 dB within 5 ms, and what an instant gain makes of it."""
    time = np.arange(4 * 48_000) / 48_000
    level = 0.2 + 0.6 * np.clip((time % 0.5 - 0.25) / 0.005, 0, 1) * np.clip((0.5 - time % 0.5) / 0.005, 0, 1)
    chord = sum(np.sin(2 * np.pi * f * time) for f in (110, 165, 277)) / 3
    sound = np.stack([level * chord, 0.7 * level * chord], 1).astype(np.float32)
    gain = hear(sound).settle(-9)
    assert gain.reduction_db > 3
    limited = sound * gain.at(0, len(sound))
    assert len(clicks(sound, 48_000)) == len(clicks(limited, 48_000)) == 0
    loud = np.abs(sound[:, :1]) > np.abs(sound).max() / 2
    assert len(clicks(np.where(loud, sound / 2, sound), 48_000)) > 0


def test_stems_still_sum_to_the_mix():
    stems = [sound.astype(np.float32) for sound in sounds(48_000).values()]
    mix = np.sum(stems, axis=0, dtype=np.float32)
    gain = hear(mix).settle(-10)
    assert gain.reduction_db > 1
    curve = gain.at(0, len(mix))
    np.testing.assert_allclose(sum(stem * curve for stem in stems), mix * curve, atol=2e-6)


@pytest.mark.parametrize("samples", [0, 1, 19, 4800, 57_600, 57_601])
def test_silence_and_the_shortest_sounds(samples):
    gain = hear(np.zeros((samples, 2), np.float32)).settle(-16)
    assert (gain.gain_db, gain.loudness, gain.true_peak, gain.limited) == (0, SILENT_LUFS, SILENT_DBTP, False)
    assert np.all(gain.at(0, samples) == 1)
    loud = hear(np.ones((samples, 2), np.float32)).settle(-16)
    assert samples == 0 or loud.true_peak <= -1
    assert np.isfinite(loud.at(0, samples)).all()


def test_memory_is_a_few_bytes_a_millisecond():
    chunk = sounds(48_000, 1)["noise"].astype(np.float32)
    limiter = Limiter(48_000, -1)
    for _ in range(4):
        limiter.add(chunk)
    tracemalloc.start()
    for _ in range(60):
        limiter.add(chunk)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 60_000 * 12
