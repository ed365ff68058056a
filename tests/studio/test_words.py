"""Words are a function of the artefact alone, and they say what is there."""

import dataclasses
import inspect
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.words.artefact import Artefact
from studio.words.describe import describe
from studio.words.tokens import FIELDS, PER_MOMENT, RANGES, VOCABULARY, tokens

SR, FPS = 24_000, 16.0
JUDGEMENTS = {"beautiful", "ugly", "nice", "good", "bad", "pleasant", "harsh", "sad", "happy", "calm", "tense"}
INNER = {"loss", "gradient", "accuracy", "seed", "cubics", "knots", "digits", "landscape", "channel"}


def tone(hz, seconds, level=0.2):
    t = np.arange(round(seconds * SR)) / SR
    return level * np.sin(2 * np.pi * hz * t)


def disc(rgb, x, y, size=64):
    rows, columns = np.mgrid[:size, :size] / size
    picture = np.zeros((size, size, 3), np.uint8)
    picture[(columns - x) ** 2 + (rows - y) ** 2 < 0.03] = rgb
    return picture


def artefact(mono, pictures):
    audio = np.repeat(np.asarray(mono, np.float32)[:, None], 2, axis=1)
    return Artefact(audio, SR, np.asarray(pictures, np.uint8), FPS)


def stretch(hz, rgb, seconds=2.0, x=0.2, y=0.2):
    return tone(hz, seconds), np.repeat(disc(rgb, x, y)[None], round(seconds * FPS), axis=0)


def test_text_says_what_is_heard_and_seen():
    sound, pictures = stretch(440, (255, 0, 0))
    text = describe(artefact(sound, pictures))
    assert "a tone at A4" in text
    assert "red" in text
    assert "weight top left" in text
    assert "still" in text


def test_text_says_what_changed():
    a, b = stretch(440, (255, 0, 0)), stretch(660, (0, 0, 255), x=0.8, y=0.8)
    text = describe(artefact(np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])))
    assert "up 7 semitones" in text
    assert "from red to blue" in text
    assert text.index("A4") < text.index("E5")


def test_text_tells_smooth_from_beating_from_noise():
    _, pictures = stretch(440, (90, 90, 90))
    noise = np.random.default_rng(0).standard_normal(2 * SR) * 0.1
    smooth, beating, hiss = (
        describe(artefact(sound, pictures)) for sound in (tone(440, 2), tone(440, 2) + tone(470, 2), noise)
    )
    assert "smooth" in smooth
    assert "rough" in beating
    assert "smooth" not in beating
    assert "noise" in hiss
    assert "noise" not in smooth + beating


def test_silence_and_black_are_said_in_one_line():
    assert describe(Artefact.silent(3.0)) == (
        "3.0 s of sound and pictures.\n0.0-3.0 s. Sound: silence. Picture: black, still."
    )


def test_no_judgement_and_no_name_is_in_any_text():
    rng = np.random.default_rng(0)
    sound = np.concatenate([tone(hz, 0.5) for hz in rng.uniform(80, 2000, 12)])
    pictures = rng.integers(0, 256, (96, 24, 24, 3), dtype=np.uint8)
    words = set(describe(artefact(sound, pictures)).lower().replace(".", " ").replace(",", " ").split())
    assert not words & (JUDGEMENTS | INNER)


def test_words_take_an_artefact_and_nothing_else():
    """An artefact has no place for a name, and the public functions accept nothing beside it."""
    assert [f.name for f in dataclasses.fields(Artefact)] == ["audio", "sample_rate", "pictures", "fps"]
    for function in (describe, tokens):
        assert [p.annotation for p in inspect.signature(function, eval_str=True).parameters.values()] == [Artefact]
    assert typing.get_type_hints(tokens)["return"]


def test_different_frames_with_an_identical_artefact_give_identical_words():
    """Two performances differ in every number, but both are rendered as the sign of their channel: same artefact."""
    rng = np.random.default_rng(0)
    frames = np.abs(rng.standard_normal((2, 40))) * np.repeat([1, -1, 1, -1], 10)

    def perform(channel):
        hz = np.where(channel > 0, 440, 660)
        return artefact(
            np.concatenate([tone(f, 0.1) for f in hz]),
            np.repeat([disc((255, 0, 0) if f == 440 else (0, 0, 255), 0.5, 0.5) for f in hz], 2, axis=0)[:64],
        )

    one, other, inverted = perform(frames[0]), perform(frames[1]), perform(-frames[0])
    assert not np.array_equal(frames[0], frames[1])
    assert describe(one) == describe(other)
    assert np.array_equal(tokens(one), tokens(other))
    assert describe(one) != describe(inverted)
    assert not np.array_equal(tokens(one), tokens(inverted))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 2.2), st.sampled_from([1.0, 12.5, 30.0]))
def test_tokens_keep_to_their_ranges(seed, seconds, fps):
    rng = np.random.default_rng(seed)
    audio = (rng.standard_normal((round(seconds * 8000), 2)) * rng.choice([0, 1e-4, 0.1, 1])).astype(np.float32)
    pictures = rng.integers(0, 256, (rng.integers(1, 9), 7, 5, 3), dtype=np.uint8)
    found = tokens(Artefact(audio, 8000, pictures, fps))
    assert found.dtype == np.int64
    assert found.shape == (int(len(audio) / 8000 / 0.5 + 1e-6), PER_MOMENT)
    assert ((found >= RANGES[:, 0]) & (found < RANGES[:, 1])).all()


def test_vocabulary_is_64_in_disjoint_ranges():
    assert VOCABULARY == PER_MOMENT == 64
    assert len(FIELDS) == 8
    assert np.array_equal(RANGES[:7, 1], RANGES[1:8, 0])


def words_of(found, field):
    column = list(FIELDS).index(field)
    return set((found[:, column :: len(FIELDS)] - RANGES[column, 0]).ravel().tolist())


def test_sound_moves_sound_words_and_pictures_move_picture_words():
    low, red = stretch(440, (255, 0, 0))
    high, _ = stretch(660, (255, 0, 0))
    _, blue = stretch(440, (0, 0, 255))
    base, other_sound, other_picture = (tokens(artefact(s, p)) for s, p in ((low, red), (high, red), (low, blue)))
    picture = np.arange(PER_MOMENT) % 8 >= 4
    assert np.array_equal(base[:, picture], other_sound[:, picture])
    assert not np.array_equal(base[:, ~picture], other_sound[:, ~picture])
    assert np.array_equal(base[:, ~picture], other_picture[:, ~picture])
    assert not np.array_equal(base[:, picture], other_picture[:, picture])
    assert words_of(base[1:-1], "pitch") == {1 + 9}
    assert words_of(other_sound[1:-1], "pitch") == {1 + 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros((10, 2))}, "float64: expected an array of float32"),
        ({"audio": np.zeros(10, np.float32)}, r"\[10\]: expected \[n, 2\]"),
        ({"audio": np.full((10, 2), np.inf, np.float32)}, "NaN or Inf"),
        ({"audio": [[0.0, 0.0]]}, "of list"),
        ({"pictures": np.zeros((0, 4, 4, 3), np.uint8)}, "not empty"),
        ({"pictures": np.zeros((2, 4, 4, 4), np.uint8)}, r"\[2, 4, 4, 4\]"),
        ({"sample_rate": 10}, "10 Hz"),
        ({"fps": 0.0}, "0.0 pictures per second"),
    ],
)
def test_what_is_no_artefact_is_refused(change, message):
    parts = {f.name: getattr(Artefact.silent(1.0), f.name) for f in dataclasses.fields(Artefact)}
    with pytest.raises(ValueError, match=message):
        Artefact(**{**parts, **change})
