"""The judges of the promises: each finds what is there, and fails what is not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sonify.promises import judges
from tests.sonify.promises.judges import Floats, cents

RATE = 48_000


def tone(frequency: float, seconds: float = 0.5, weights: dict[float, float] | None = None) -> Floats:
    time = np.arange(int(seconds * RATE)) / RATE
    partials = (weights or {1.0: 1.0, 2.0: 0.25, 3.0: 0.08}).items()
    return 0.1 * np.sum([w * np.sin(2 * np.pi * k * frequency * time + k) for k, w in partials], axis=0)


@pytest.mark.parametrize("frequency", [40.0, 97.3, 440.0, 3951.0])
@pytest.mark.parametrize("sharp", [0.0, 10.0])
def test_the_lowest_strong_line_to_half_a_cent(frequency, sharp):
    stretched = {1.0: 1.0, 1.6: 0.5, 3.3: 0.98}
    heard = judges.lowest(tone(frequency * 2 ** (sharp / 1200), 0.2, stretched), RATE)
    assert cents(heard, frequency) == pytest.approx(sharp, abs=0.5)


def test_a_weak_fundamental_is_not_the_lowest_strong_line():
    assert judges.lowest(tone(200.0, weights={1.0: 0.3, 2.0: 1.0}), RATE) == pytest.approx(400, rel=1e-4)


@pytest.mark.parametrize(
    "weights", [{2.0: 1.0, 3.0: 0.5}, {1.0: 0.2, 2.0: 1.0, 3.0: 0.2, 4.0: 0.3}, {3.0: 0.9, 5.0: 1}]
)
@pytest.mark.parametrize("sharp", [0.0, -10.0])
def test_the_fundamental_of_a_harmonic_sound_that_lacks_it(weights, sharp):
    heard = judges.fundamental(tone(155.0 * 2 ** (sharp / 1200), 0.2, weights), RATE, 60, 900)
    assert cents(heard, 155.0) == pytest.approx(sharp, abs=0.1)


def test_an_overtone_alone_is_heard_as_the_pitch():
    """What a vowel would do to a high note if its singers kept their mouths closed."""
    lonely = tone(500.0, weights={1.0: 0.05, 2.0: 1.0})
    assert judges.fundamental(lonely, RATE, 300, 1500) == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize("late", [0.0, 0.015, -0.02])
@pytest.mark.parametrize(("one", "other"), [(220.0, 290.0), (880.0, 110.0), (300.0, 600.0)])
def test_when_one_tone_gives_way_to_another(one, other, late):
    cut = int((0.2 + late) * RATE)
    sound = np.concatenate([tone(one)[:cut], 0.5 * tone(other)[: int(0.4 * RATE) - cut]])
    assert judges.turn(sound, RATE) == pytest.approx(0.2 + late, abs=0.004)


def test_a_tone_that_stays_does_not_turn():
    assert judges.turn(tone(300.0), RATE) is None


def test_a_blow_is_heard_when_it_comes_though_another_rings():
    decay = np.exp(-np.arange(RATE // 2) / RATE / 0.1)
    sound = np.concatenate([0.2 * tone(400.0, 0.1), tone(400.0, 0.4) + 0.0]) * 1.0
    sound[RATE // 10 :] *= decay[: len(sound) - RATE // 10]
    assert judges.struck(sound, RATE) == pytest.approx(0.1, abs=0.002)
    assert judges.struck(sound[RATE // 50 :], RATE) == pytest.approx(0.08, abs=0.002)


def test_loudness_counts_frequencies_as_the_ear_does():
    """A sine of full scale in one channel is -3.01 LUFS near 1 kHz (BS.1770), less below, more above."""

    def level(frequency: float) -> float:
        sound = np.stack([10 * tone(frequency, 1.0, {1.0: 1.0}), np.zeros(RATE)], axis=1)
        power = judges.weighted(sound, RATE)[RATE // 4 :].mean()
        assert judges.loudness(sound, RATE) == pytest.approx(-0.691 + 10 * np.log10(power), abs=0.1)
        return judges.loudness(sound, RATE)

    assert level(997.0) == pytest.approx(-3.01, abs=0.05)
    assert level(60.0) < -5
    assert level(4000.0) > -0.5


def test_a_peak_between_samples():
    """A quarter of the sample rate at 45 degrees: every sample is 3 dB below the crest."""
    sound = np.sin(np.pi / 2 * np.arange(4800) + np.pi / 4)[:, None] * np.hanning(4800)[:, None]
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-3.01, abs=0.01)
    assert judges.true_peak(sound) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(("gain", "longest"), [(9.0, 0), (10.5, 3)])
def test_runs_at_full_scale(gain, longest):
    sound = np.clip(gain * tone(1000.0, weights={1.0: 1.0}), -1, 1)[:, None]
    assert judges.longest_run(sound) >= longest
    assert (judges.longest_run(sound) > 0) == (longest > 0)
    assert judges.longest_run(np.full((7, 2), -1.0)) == 7


def test_explained():
    true = np.arange(10.0)
    assert judges.explained(true, true) == 1
    assert judges.explained(true + 0.1, true) > 0.99
    assert judges.explained(true[::-1], true) < 0
    assert judges.explained(np.full(10, true.mean()), true) == 0
