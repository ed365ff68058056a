"""Conditions: what is done to a work, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.experiment.conditions import distorted, moments_of, permutation, shuffled, silent
from studio.experiment.presenting import Work
from studio.words.artefact import Artefact
from studio.words.registers import REGISTERS, SLOTS, slots, spoken
from studio.words.tokens import tokens
from tests.studio.experiment.studying import SR, melody

RISING = melody([60, 63, 66, 69, 72, 75, 78, 81])
CHORDS = melody([40, 52, 45, 57, 50, 62, 55, 67], colour=(30, 200, 90))


def of_moment(artefact, *parts):
    """What is said of each moment by itself, without what goes by those before it, and by the joints."""
    aside = ("motion", "glide", "onsets", "rhythm", "surface")
    names = [name for part in parts for name in SLOTS[part] if name not in aside]
    return [tuple(said[name].word for name in names) for said in slots(artefact)]


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_moments_are_the_same_moments(seed):
    order = permutation(8, seed)
    found = shuffled(RISING, seed)
    assert [*sorted(order)] == [*range(8)]
    own, other = of_moment(RISING, "sound", "picture"), of_moment(found, "sound", "picture")
    kept = np.mean([own[moment] == other[place] for place, moment in enumerate(order)])
    in_place = np.mean([own[place] == other[place] for place in range(8)])
    assert kept >= 0.8
    assert in_place < 0.5
    # Pictures are moved whole, and the sound but for its joints.
    frames = np.split(RISING.pictures, 8)
    np.testing.assert_array_equal(found.pictures, np.concatenate([frames[moment] for moment in order]))
    sounds = np.split(RISING.audio, 8)
    assert (np.concatenate([sounds[m] for m in order]) == found.audio).all(axis=1).mean() > 0.85
    assert found.audio.shape == RISING.audio.shape


@pytest.mark.parametrize("work", [RISING, melody([60.0] * 8)])
@pytest.mark.parametrize("register", REGISTERS)
def test_in_words_a_moment_is_the_same_wherever_it_is_told(work, register):
    """Nothing but order tells them from the work: of a tone that goes on nothing is told that is not told of it."""
    order = permutation(8, 3).tolist()
    own, told = (found.lines(register) for found in (Work(work), Work(shuffled(work, 3), order, work)))
    alone = lambda lines: [line.partition("; course")[0] for line in lines]  # noqa: E731
    assert alone(told) == [alone(own)[moment] for moment in order]
    assert register == "tokens" or {"course" in line for line in told} == {True}
    if work is RISING:
        assert told != own
        # It is not so where the joints are listened to.
        assert sorted(spoken(shuffled(work, 3), register)) != sorted(told)


def test_joints_do_not_click():
    """Of a tone that goes on, moments in another order sound as if it went on; merely cut, each joint is struck."""
    t = np.arange(4 * SR) / SR
    tone = np.repeat((0.2 * np.sin(2 * np.pi * 443.7 * t)).astype(np.float32)[:, None], 2, axis=1)
    steady = replace(RISING, audio=tone)
    order = permutation(8, 3)
    cut = replace(steady, audio=np.concatenate([np.split(tone, 8)[moment] for moment in order]))
    struck = [len(work.ears.onset_times) for work in (steady, shuffled(steady, 3), cut)]
    assert struck[0] == 1, "it begins"
    assert struck[1] <= 2, "and what followed the last moment is nothing"
    assert struck[2] >= 5


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_an_order_is_never_its_own(seed, moments):
    order = permutation(moments, seed)
    assert sorted(order.tolist()) == list(range(moments))
    assert moments == 1 or order.tolist() != list(range(moments))
    np.testing.assert_array_equal(order, permutation(moments, seed))


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([8000, 11_025, 44_100, 48_000]), st.sampled_from([10.0, 16.0, 25.0]))
def test_length_and_what_is_left_at_the_end_stay(seed, rate, fps):
    rng = np.random.default_rng(seed)
    audio = rng.uniform(-1, 1, (int(2.3 * rate), 2)).astype(np.float32)
    pictures = rng.integers(0, 256, (int(2.3 * fps), 4, 5, 3), dtype=np.uint8)
    whole, before = Artefact(audio, rate, pictures, fps), audio.copy()
    for found in (shuffled(whole, seed), silent(whole), distorted(whole, 0.5, seed)):
        assert found.audio.shape == audio.shape
        assert found.pictures.shape == pictures.shape
        assert moments_of(found) == moments_of(whole) == 4
    rest = int(2 * rate)
    np.testing.assert_array_equal(shuffled(whole, seed).audio[rest:], audio[rest:])
    assert (audio == before).all()


def test_silent_keeps_the_pictures_alone():
    found = silent(RISING)
    assert not found.audio.any()
    assert of_moment(found, "picture") == of_moment(RISING, "picture")
    assert {said["level"].word for said in slots(found)} == {"silent"}
    assert {said["level"].word for said in slots(RISING)} != {"silent"}


@pytest.mark.parametrize("work", [RISING, CHORDS])
def test_distortion_grows_with_its_level(work):
    """In the artefact, and in the words for it: what is further away is told by more words."""
    levels = [0.0, 0.05, 0.2, 0.8, 1.0]
    found = [distorted(work, level, 7) for level in levels]
    assert found[0] is work
    heard = [float(np.abs(one.audio - work.audio).mean()) for one in found]
    seen = [float(np.abs(one.pictures.astype(int) - work.pictures).mean()) for one in found]
    words = [int((tokens(one) != tokens(work)).sum()) for one in found]
    assert heard == sorted(heard)
    assert seen == sorted(seen)
    assert len(set(heard)) == len(set(seen)) == len(levels)
    assert words[0] == 0
    assert words == sorted(words)
    assert words[-1] > 2 * words[1] > 0
    assert found[-1].pictures.min() == found[-1].pictures.max() == 128
    rms = [float(np.sqrt(np.mean(one.audio.astype(float) ** 2))) for one in (work, found[-1])]
    assert rms[1] == pytest.approx(rms[0], rel=0.02)
    assert distorted(work, 0.3, 7).audio.tobytes() == distorted(work, 0.3, 7).audio.tobytes()
    assert distorted(work, 0.3, 7).audio.tobytes() != distorted(work, 0.3, 8).audio.tobytes()


def test_the_signal_to_noise_ratio_is_the_one_that_is_said():
    for level in (0.05, 0.2, 0.5, 0.8):
        noise = distorted(RISING, level, 1).audio - (1 - level) * RISING.audio
        ratio = 20 * np.log10((1 - level) * RISING.audio.std() / noise.std())
        assert ratio == pytest.approx(20 * np.log10((1 - level) / level), abs=0.1)


@pytest.mark.parametrize("register", REGISTERS)
def test_every_condition_is_told_in_lines_of_one_length(register):
    made = [RISING, shuffled(RISING, 1), silent(RISING), *(distorted(RISING, level, 1) for level in (0.05, 0.8, 1))]
    size = (lambda line: len(line.split())) if register == "prose" else len
    assert len({size(line) for artefact in made for line in spoken(artefact, register)}) == 1
    assert len({spoken(artefact, register) for artefact in made}) == len(made)
