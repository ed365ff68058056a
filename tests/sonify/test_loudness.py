"""Loudness and true peak against the libraries that define them for the field."""

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import freqz, resample_poly

from sonify.limiter import Limiter
from sonify.loudness import SILENT_DBTP, SILENT_LUFS
from sonify.weighting import k_weighting

RATES = [44100, 48000]


def heard(chunks, rate, ceiling=0.0):
    limiter = Limiter(rate, ceiling)
    for chunk in chunks:
        limiter.add(chunk)
    return limiter


def signals(rate):
    time = np.arange(9 * rate) / rate
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 440 * time)
    return {
        "tone": np.stack([tone, tone], 1),
        "left": np.stack([tone, 0 * tone], 1),
        "noise": 0.1 * rng.standard_normal((len(time), 2)),
        "sweep": 0.4 * np.sin(2 * np.pi * 1000 * np.stack([time * time, time * (9 - time)], 1)),
        "gated": np.stack([tone, tone], 1) * ((time % 3 < 1) + 1e-3)[:, None],
        "clipped": np.clip(3 * np.sin(2 * np.pi * 11_900 * time)[:, None] * [1, 0.5], -0.9, 0.9),
    }


@pytest.mark.parametrize("rate", RATES)
def test_agrees_with_pyloudnorm_and_resample_poly(rate):
    for name, sound in signals(rate).items():
        sound = (sound * np.hanning(len(sound))[:, None] ** 0.1).astype(np.float32)
        loudness, highest = heard(np.array_split(sound, 7), rate).level()
        judge = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(sound.astype(np.float64))
        peak = 20 * np.log10(np.abs(resample_poly(sound, 4, 1, axis=0)).max())
        assert loudness == pytest.approx(judge, abs=0.01), name
        assert highest == pytest.approx(peak, abs=0.02), name


def test_k_weighting_at_48_khz_is_that_of_the_tables():
    """BS.1770-4 annex 1, tables 1 and 2, as printed."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]
    frequencies = np.geomspace(10, 23_900, 200)
    expected = np.prod([freqz(b, a, frequencies, fs=48_000)[1] for b, a in (shelf, high_pass)], axis=0)
    np.testing.assert_allclose(k_weighting(frequencies, 48_000), expected, rtol=1e-6)


def test_the_standards_own_calibration():
    """BS.1770-5: a 0 dBFS 997 Hz sine in one front channel reads -3.01 LUFS."""
    tone = np.sin(2 * np.pi * 997 * np.arange(5 * 48000) / 48000).astype(np.float32)
    assert heard([np.stack([tone, 0 * tone], 1)], 48000).level()[0] == pytest.approx(-3.01, abs=0.005)


def test_true_peak_between_samples_is_found():
    tone = np.sin(np.pi / 2 * np.arange(48000) + np.pi / 4).astype(np.float32)  # samples at 0.707, crests at 1
    tone *= np.hanning(48000).astype(np.float32) ** 0.01
    assert heard([np.stack([tone, tone], 1)], 48000).level()[1] == pytest.approx(0, abs=0.1)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60_000), st.floats(-60, 12), st.integers(0, 1000), st.floats(-40, -8), st.floats(-12, 0))
def test_the_gain_reaches_the_loudness_or_the_ceiling(samples, level, seed, loudness, ceiling):
    sound = (
        np.random.default_rng(seed).standard_normal((samples, 2))
        * 10 ** (level / 20)
        * np.hanning(samples + 2)[1:-1, None]
    )
    gain = heard([sound.astype(np.float32)], 48000, ceiling).settle(loudness, most=0.0)
    reached, peak = heard([(sound * 10 ** (gain.gain_db / 20)).astype(np.float32)], 48000).level()
    assert peak <= ceiling + 1e-3
    if gain.limited:
        assert peak == pytest.approx(ceiling, abs=0.011)  # it aims a hundredth of a dB low
        assert reached <= loudness + 1e-3
    else:
        assert reached == pytest.approx(loudness, abs=1e-3)


def test_silence_is_left_alone():
    limiter = heard([np.zeros((48000, 2), np.float32)], 48000)
    assert limiter.level() == (SILENT_LUFS, SILENT_DBTP)
    gain = limiter.settle(-16.0)
    assert (gain.gain_db, gain.limited) == (0.0, False)
