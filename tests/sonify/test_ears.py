"""Ears measure synthesised sounds whose answer is known, and stay silent where there is nothing to hear."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonify.ears import FLOOR, hear, pitch_track, roughness, roughness_of

SR = 48_000


def time(seconds=1.0, sample_rate=SR):
    return np.arange(round(seconds * sample_rate)) / sample_rate


def tone(hz, seconds=1.0, sample_rate=SR, partials=(1.0,), level=0.2):
    t = time(seconds, sample_rate)
    return level * sum(a * np.sin(2 * np.pi * hz * k * t + k) for k, a in enumerate(partials, 1))


def cents(found, true):
    return 1200 * np.log2(found / true)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
@pytest.mark.parametrize(
    "partials", [(1.0,), (1.0, 0.5, 0.33, 0.25, 0.2), (0.3, 1.0, 0.5)], ids=["sine", "saw", "weak first"]
)
@pytest.mark.parametrize("hz", [82.4, 100.0, 146.8, 333.0, 440.0, 1234.5, 2000.0])
def test_pitch_is_right_to_three_cents(hz, partials, sample_rate):
    found = pitch_track(tone(hz, 0.5, sample_rate, partials), sample_rate).f0[10:-10]
    assert np.abs(cents(found, hz)).max() < 3


def test_detuned_overtones_do_not_move_the_pitch():
    t = time()
    sound = sum(np.sin(2 * np.pi * 330 * k * (1.02 if k > 1 else 1) * t) / k**2 for k in range(1, 6))
    assert np.abs(cents(pitch_track(sound, SR).f0[10:-10], 330)).max() < 5


def test_pitch_follows_a_glide():
    hz = 200 * 2 ** (2 * time(2.0) / 2)
    track = pitch_track(0.3 * np.sin(2 * np.pi * np.cumsum(hz) / SR), SR)
    inside = slice(10, -10)
    assert np.abs(cents(track.f0[inside], 200 * 2 ** track.times[inside])).max() < 8


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).standard_normal(SR) * 0.1
    assert np.isnan(pitch_track(noise, SR).f0).all()
    assert np.isnan(hear(np.zeros(SR), SR).f0).all()


def test_loudness_of_the_reference_tone():
    """A 997-Hz sine at full scale in one channel is -3.01 LUFS (ITU-R BS.1770-4, annex 1)."""
    sine = tone(997, level=1.0)
    ears = hear(np.stack([sine, 0 * sine], axis=1), SR)
    assert ears.loudness[5:-5] == pytest.approx(-3.01, abs=0.05)
    quieter = hear(np.stack([sine, 0 * sine], axis=1) * 0.1, SR)
    assert quieter.loudness[5:-5] == pytest.approx(-23.01, abs=0.05)


def test_centroid_and_flatness_tell_tone_from_noise():
    sine, noise = hear(tone(1000), SR), hear(np.random.default_rng(0).standard_normal(SR) * 0.1, SR)
    assert sine.centroid[5:-5] == pytest.approx(1000, rel=0.01)
    assert noise.centroid.mean() == pytest.approx(SR / 4, rel=0.05)
    assert sine.flatness[5:-5].max() < 0.01 < 0.5 < noise.flatness.min()


def test_chroma_names_the_pitch_classes_of_a_chord():
    chord = tone(261.63) + tone(329.63) + tone(392.0)
    chroma = hear(chord, SR).chroma[10]
    assert set(np.argsort(chroma)[-3:]) == {0, 4, 7}
    assert chroma[[0, 4, 7]].sum() > 0.95


def test_place_in_the_stereo_field():
    sine, other = tone(440), tone(570)
    left, middle, opposite = (
        hear(np.stack(pair, axis=1), SR) for pair in ((sine, 0 * sine), (sine, sine), (sine, -sine))
    )
    assert left.balance[10] == pytest.approx(-1, abs=1e-3)
    assert (middle.balance[10], middle.width[10]) == pytest.approx((0, 0), abs=1e-3)
    assert opposite.width[10] == pytest.approx(1, abs=1e-3)
    assert np.abs(cents(opposite.f0[5:-5], 440)).max() < 3
    assert hear(np.stack([sine, other], axis=1), SR).width[10] == pytest.approx(0.5, abs=0.02)


def test_roughness_formula():
    """The pair's value by hand from Sethares' eq. 2-4, and its maximum near a quarter of a critical band."""
    s = 0.24 / (0.021 * 440 + 19)
    expected = 0.6 * (np.exp(-3.5 * s * 20) - np.exp(-5.75 * s * 20))
    assert roughness([440, 460], [1.0, 0.6]) == pytest.approx(expected, rel=1e-12)
    assert roughness([460, 440], [0.6, 1.0]) == pytest.approx(expected, rel=1e-12)
    assert roughness([440], [1.0]) == 0
    gaps = np.arange(0, 200)
    curve = np.array([roughness([440, 440 + g], [1, 1]) for g in gaps])
    assert np.all(np.diff(np.sign(np.diff(curve))) <= 0)
    assert 20 <= gaps[curve.argmax()] <= 35


@pytest.mark.parametrize("gap", [4, 9, 15, 30, 60])
def test_roughness_heard_is_roughness_computed(gap):
    pair = tone(440, 2.0) + tone(440 + gap, 2.0)
    expected = roughness([440, 440 + gap], np.full(2, 0.5**0.5))
    assert roughness_of(pair, SR) == pytest.approx(expected, rel=0.02)
    assert roughness_of(0.1 * pair, SR) == pytest.approx(expected, rel=0.02)
    if gap >= 9:
        assert hear(pair, SR).roughness[15] == pytest.approx(expected, rel=0.02)


def test_a_harmonic_tone_is_smoother_than_a_beating_one():
    partials = (1.0, 0.5, 0.33)
    assert roughness_of(tone(440, partials=partials) + tone(455, partials=partials), SR) > 5 * roughness_of(
        tone(440, partials=partials), SR
    )


def test_onsets_are_found_within_ten_milliseconds():
    t = time(4.0)
    clicks, notes, jump = np.zeros_like(t), np.zeros_like(t), np.where(t < 2, 400, 800)
    clicks[[24_000, 60_000, 100_003]] = 0.5
    for start in (0.5, 1.25, 2.6):
        notes += (
            np.clip((t - start) / 0.005, 0, 1) * np.exp(-8 * np.clip(t - start, 0, None)) * tone(300 * (1 + start), 4)
        )
    leap = 0.2 * np.sin(2 * np.pi * np.cumsum(jump) / SR) * np.clip(t / 0.02, 0, 1)
    for sound, times in ((clicks, [0.5, 1.25, 2.0834]), (notes, [0.5, 1.25, 2.6]), (leap, [0.0, 2.0])):
        assert hear(sound, SR).onset_times == pytest.approx(np.array(times), abs=0.01)


def test_what_only_moves_has_no_onsets():
    t = time(4.0)
    fade = np.clip(np.minimum(t, 4 - t) / 0.5, 0, 1)
    glide = np.sin(2 * np.pi * np.cumsum(300 * 2 ** (t / 4)) / SR)
    tremolo = np.sin(2 * np.pi * 300 * t) * (1 + 0.4 * np.sin(2 * np.pi * 6 * t))
    for sound in (glide, tremolo):
        times = hear(0.1 * fade * sound, SR).onset_times
        assert not np.any((times > 0.1) & (times < 3.9))


def test_silence_is_finite_and_defined():
    ears = hear(np.zeros((SR, 2)), SR)
    assert (ears.loudness == FLOOR).all()
    for name in ("clarity", "centroid", "flatness", "roughness", "chroma", "balance", "width"):
        assert not getattr(ears, name).any(), name
    assert len(ears.onset_times) == 0
    assert roughness_of(np.zeros(1000), SR) == 0


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 3000), st.just(2)), elements=st.floats(-1, 1, width=32)))
def test_any_sound_gives_finite_measures_in_range(audio):
    ears = hear(audio, 8000)
    assert len(ears) == max(1, int(np.ceil(len(audio) / 8000 / 0.05 - 1e-6)))
    for name in ("loudness", "clarity", "centroid", "flatness", "roughness", "chroma", "balance", "width"):
        assert np.isfinite(getattr(ears, name)).all(), name
    assert (ears.loudness >= FLOOR).all()
    assert (np.abs(ears.balance) <= 1.0001).all()
    for name in ("clarity", "flatness", "width"):
        assert (getattr(ears, name) <= 1.0001).all(), name


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros((0, 2)), SR, "not empty"),
        (np.zeros((5, 3)), SR, r"\[5, 3\]"),
        (np.array([np.nan]), SR, "NaN"),
        (np.zeros(5), 100, "100 Hz"),
    ],
)
def test_what_is_no_sound_is_refused(audio, rate, message):
    with pytest.raises(ValueError, match=message):
        hear(audio, rate)
