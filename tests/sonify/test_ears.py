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


def pair(gap, seconds=4.0, hz=440):
    return tone(hz, seconds) + tone(hz + gap, seconds)


def strikes(times, seconds=4.0, decay_s=0.05, hz=440):
    """Tones that are struck at some times and die away."""
    t = time(seconds)
    struck = (np.where(t >= at, np.exp(-np.clip(t - at, 0, None) / decay_s), 0) for at in times)
    return tone(hz, seconds, level=0.4) * np.clip(sum(struck), 0, 1)


@pytest.mark.parametrize("gap", [1, 2, 4, 9, 15])
def test_beats_are_counted(gap):
    """Two partials close together beat as often as they are apart, at any level and while they die away."""
    for sound in (pair(gap), 0.01 * pair(gap), pair(gap) * np.exp(-time(4.0))):
        ears = hear(sound, SR)
        assert ears.beating[50:-2] == pytest.approx(gap, abs=0.3)
        assert not (ears.onset_times > 0.1).any(), "no beat is an onset"


def test_beats_of_overtones_are_heard_beside_a_fundamental_that_is_still():
    sound = tone(220, 4.0) + sum(tone(f, 4.0) for f in (440, 443)) / 2
    assert hear(sound, SR).beating[50:-2] == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize(
    "sound",
    [
        tone(440, 4.0), pair(20), pair(60), pair(220), tone(261.6, 4.0) + tone(329.6, 4.0) + tone(392.0, 4.0),
        tone(49, 4.0, partials=1 / np.arange(1, 30)), tone(205, 4.0, partials=1 / np.arange(1, 30)),
        np.exp(-3 * time(4.0)) * tone(440, 4.0), np.sin(np.pi * time(4.0) / 4) * tone(440, 4.0),
        np.sin(2 * np.pi * 440 * time(4.0) + 2 * np.sin(2 * np.pi * 6 * time(4.0))),
        np.sin(2 * np.pi * 1000 * 2 ** (time(4.0) / 4)), np.random.default_rng(0).standard_normal(4 * SR) * 0.1,
        strikes(np.arange(0.1, 4, 0.25)), strikes(np.arange(0.1, 4, 0.5), decay_s=0.3), np.zeros(4 * SR),
    ],
    ids=[
        "tone", "20 Hz", "60 Hz", "a fifth", "chord", "low", "harmonic", "decay", "fade", "vibrato", "glide", "noise",
        "strikes", "slow strikes", "silence",
    ],
)  # fmt: skip
def test_what_is_no_beating_is_not_told_as_beating(sound):
    assert not hear(sound, SR).beating.any()


def test_what_comes_and_goes_without_a_rate_seldom_beats():
    """Noise of 200 Hz width swings by far more than beats need to, but at no rate of its own."""
    for seed in range(3):
        spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(4 * SR))
        hertz = np.fft.rfftfreq(4 * SR, 1 / SR)
        band = np.fft.irfft(np.where((hertz > 300) & (hertz < 500), spectrum, 0))
        assert (hear(band, SR).beating > 0).mean() < 0.25


def test_a_tremolo_is_told_as_beats_are():
    """To the ear both are a fluctuation of so many Hz, so it is no negative control."""
    for depth in (0.1, 0.5):
        ears = hear(tone(440, 4.0) * (1 + depth * np.sin(2 * np.pi * 6 * time(4.0))), SR)
        assert ears.beating[50:-2] == pytest.approx(6, abs=0.15)


def test_the_shorter_window_hears_tones_that_follow_each_other_one_at_a_time():
    rng = np.random.default_rng(0)
    hz = np.repeat(220 * 2 ** (rng.permutation(16) / 12), SR // 8)
    melody = hear(0.2 * np.sin(2 * np.pi * np.cumsum(hz) / SR), SR, 0.0625)
    assert np.median(melody.roughness) > 0.1 > 0.05 > np.median(melody.brief_roughness)
    counts = [np.median((chroma > 0.15).sum(axis=1)) for chroma in (melody.chroma, melody.brief_chroma)]
    assert counts[0] >= 2 > counts[1] == 1
    chord = hear(pair(15) + pair(60), SR, 0.0625)
    assert np.median(chord.brief_roughness) > 0.02, "what is rough is rough in it, too"


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
    for name in ("clarity", "centroid", "flatness", "roughness", "chroma", "beating", "balance", "width"):
        assert not getattr(ears, name).any(), name
    assert len(ears.onset_times) == 0
    assert roughness_of(np.zeros(1000), SR) == 0


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 3000), st.just(2)), elements=st.floats(-1, 1, width=32)))
def test_any_sound_gives_finite_measures_in_range(audio):
    ears = hear(audio, 8000)
    assert len(ears) == max(1, int(np.ceil(len(audio) / 8000 / 0.05 - 1e-6)))
    for name in (
        "loudness", "clarity", "centroid", "flatness", "roughness", "chroma", "brief_roughness", "brief_chroma",
        "beating", "balance", "width",
    ):  # fmt: skip
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
