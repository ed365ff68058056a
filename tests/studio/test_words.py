"""Words are a function of the artefact alone, and they say what is there."""

import copy
import dataclasses
import inspect
import re
import typing
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.words.artefact import Artefact
from studio.words.registers import CHANGES, REGISTERS, Register, spoken
from studio.words.tokens import FIELDS, PER_MOMENT, RANGES, VOCABULARY, tokens
from tests.tasting import SMALL, Studio, small

SR, FPS = 24_000, 16.0
JUDGEMENTS = {
    "beautiful",
    "ugly",
    "nice",
    "good",
    "bad",
    "pleasant",
    "harsh",
    "sad",
    "happy",
    "calm",
    "tense",
    "dull",
    "duller",
}
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


def told(sound, pictures, register="prose"):
    return spoken(artefact(sound, pictures), register)


def joined(*stretches):
    return [np.concatenate(parts) for parts in zip(*stretches, strict=True)]


def slot(line, name):
    """The word of a slot in a line of prose."""
    return re.search(rf"{name} ([^,;]+)", line)[1]


def test_text_says_what_is_heard_and_seen():
    for line in told(*stretch(440, (255, 0, 0)))[1:-1]:
        assert slot(line, "pitch") == "A4"
        assert slot(line, "glide") == "level"
        assert slot(line, "surface") == "smooth"
        assert slot(line, "notes") == "1"
        assert slot(line, "hue") == "red"
        assert slot(line, "place") == "top-left"
        assert slot(line, "motion") == "none"


def test_text_says_what_changed_and_what_returned():
    """One thing changes at a time; the first comes back twice, and what merely stays does not return."""
    a, higher = stretch(440, (255, 0, 0)), stretch(660, (255, 0, 0))
    blue = stretch(660, (0, 0, 255))
    lines = told(*joined(a, higher, blue, a, blue))
    assert len(lines) == 20
    assert slot(lines[4], "change") == "higher"
    assert slot(lines[8], "change") == "recoloured"
    for now, then in ((13, range(4)), (17, range(8, 12))):
        assert now - int(slot(lines[now], "return")) in then
    assert all(slot(line, "return") == "none" for line in lines[1:12])
    assert all(slot(lines[at], "change") == "nothing" for at in (2, 6, 10, 14))


def test_a_glide_rises_and_a_crescendo_grows_louder():
    t = np.arange(3 * SR) / SR
    _, pictures = stretch(440, (90, 90, 90), 3.0)
    glide = 0.2 * np.sin(2 * np.pi * 300 / np.log(2) * (2.0**t - 1))
    assert {slot(line, "glide") for line in told(glide, pictures)[1:-1]} == {"rising"}
    assert {slot(line, "glide") for line in told(glide[::-1], pictures)[1:-1]} == {"falling"}
    steps = np.concatenate([tone(440, 1, level) for level in (0.02, 0.08, 0.3)])
    lines = told(steps, pictures)
    assert "louder" in lines[2]
    assert "louder" in lines[4]
    assert "softer" in told(steps[::-1], pictures)[2]


def test_text_counts_onsets_and_notes():
    _, pictures = stretch(440, (90, 90, 90))
    beats = np.zeros(2 * SR)
    for start in np.arange(0.05, 2, 0.125):
        burst = tone(800, 0.05, 0.4) * np.linspace(1, 0, round(0.05 * SR))
        beats[round(start * SR) :][: len(burst)] += burst
    assert [int(slot(line, "onsets")) for line in told(beats, pictures)][1:3] == [4, 4]
    chord = tone(261.63, 2, 0.1) + tone(329.63, 2, 0.1) + tone(392.0, 2, 0.1)
    assert [slot(line, "notes") for line in told(chord, pictures)][1:3] == ["3", "3"]


GREY = stretch(440, (90, 90, 90))[1]


@pytest.mark.parametrize(
    ("gap", "word"),
    [(0, "smooth"), (1, "beating"), (4, "beating"), (15, "beating"), (30, "rough"), (60, "coarse"), (220, "smooth")],
)
def test_beating_is_told_from_roughness(gap, word):
    """Partials up to 16 Hz apart beat, and the numbers say how often; further apart they are rough, and then smooth."""
    sound = tone(440, 4) + tone(440 + gap, 4)
    assert {slot(line, "surface") for line in told(sound, GREY)[4:]} == {word}
    for number in (slot(line, "surface") for line in told(sound, GREY, "numbers")[4:]):
        assert float(number.split("/")[1]) == pytest.approx(gap if word == "beating" else 0, abs=0.2)


def test_a_tremolo_is_told_as_beating_and_noise_and_strikes_are_not():
    tremolo = tone(440, 3) * (1 + 0.5 * np.sin(2 * np.pi * 5 * np.arange(3 * SR) / SR))
    noise = np.random.default_rng(0).standard_normal(3 * SR) * 0.1
    found = [{slot(line, "surface") for line in told(sound, GREY)[2:]} for sound in (tremolo, noise)]
    assert found == [{"beating"}, {"noisy"}]
    assert "beating" not in {slot(line, "surface") for line in told(struck(np.arange(0.1, 3, 0.2)), GREY)}


@pytest.mark.parametrize("pink", [False, True])
def test_steady_noise_has_neither_beats_nor_a_rhythm(pink):
    noise = np.random.default_rng(3).standard_normal(6 * SR)
    if pink:
        hertz = np.fft.rfftfreq(len(noise), 1 / SR)
        noise = np.fft.irfft(np.fft.rfft(noise) / np.sqrt(np.maximum(hertz, 1)))
    lines = told(0.1 * noise / noise.std(), GREY)
    assert "beating" not in {slot(line, "surface") for line in lines}
    assert {slot(line, "rhythm") for line in lines} == {"none"}


def test_one_tone_after_another_is_one_tone():
    """Eight pure tones a second, without a gap: neither rough nor several; a chord that lasts is both."""
    hz = 220 * 2 ** (np.random.default_rng(0).permutation(16) / 12)
    melody = 0.2 * np.sin(2 * np.pi * np.cumsum(np.repeat(hz, SR // 8)) / SR)
    lines = told(melody, GREY)
    assert {slot(line, "surface") for line in lines} <= {"smooth", "grained"}
    assert {slot(line, "notes") for line in lines} == {"1"}
    chord = told(sum(tone(f, 2) for f in (440, 470, 587.3)), GREY)[1:]
    assert {slot(line, "surface") for line in chord} <= {"coarse", "rough"}
    assert {slot(line, "notes") for line in chord} == {"3"}


def struck(times, seconds=3.0, level=0.5, decay_s=0.012):
    """A tone that is struck at some times and dies away."""
    t = np.arange(round(seconds * SR)) / SR
    dying = (np.where(t >= at, np.exp(-np.clip(t - at, 0, None) / decay_s), 0) for at in times)
    return tone(440, seconds, level) * np.clip(sum(dying), 0, 1)


def test_strikes_are_as_loud_as_their_power():
    """What is silent between them does not make strikes faint; the level is that of the moment's mean power."""
    sound = struck(np.arange(0.1, 3, 0.5))
    assert {slot(line, "level") for line in told(sound, GREY)} == {"medium"}
    for line in told(sound, GREY, "numbers"):
        power = 2 * np.mean(sound[: SR // 2] ** 2)
        assert float(slot(line, "level")) == pytest.approx(10 * np.log10(power) - 0.7, abs=1.5)
    assert {slot(line, "level") for line in told(struck(np.arange(0.1, 3, 0.5), level=0.02), GREY)} == {"faint"}


@pytest.mark.parametrize("rate", [1.0, 3.0, 8.0])
def test_even_strikes_are_told_from_uneven_ones(rate):
    """As many in as long: a pulse is even, the same strikes with every second one late are not."""
    pulse = np.arange(0.05, 6, 1 / rate)
    late = pulse + np.where(np.arange(len(pulse)) % 2, 0.4 / rate, 0)
    pace = "slow" if rate < 2 else "moderate" if rate < 5 else "fast"
    for times, word, uneven in ((pulse, "even", 0), (late, "uneven", 0.4)):
        sound = struck(times, 6)
        assert {slot(line, "rhythm") for line in told(sound, GREY)[8:]} == {f"{word}-{pace}"}
        for line in told(sound, GREY, "numbers")[8:]:
            found = [float(number) for number in slot(line, "rhythm").split("/")]
            assert found == [pytest.approx(rate, rel=0.25), pytest.approx(uneven, abs=0.08)]


def test_what_is_not_struck_or_no_more_has_no_rhythm():
    for sound in (tone(440, 4), np.zeros(4 * SR), struck([0.1, 1.1, 2.3], 4), tone(440, 4) + tone(444, 4)):
        assert {slot(line, "rhythm") for line in told(sound, GREY)} == {"none"}
    stops = [slot(line, "rhythm") for line in told(struck(np.arange(0.1, 2, 0.25), 4), GREY)]
    assert stops[2:4] == ["even-moderate"] * 2
    assert stops[5:] == ["none"] * 3


def rendered(*voices):
    """Takes of one voice each, as the engine renders them."""
    pieces = []
    for name, changes in voices:
        raw = copy.deepcopy({key: SMALL[key] for key in ("parts", "score")})
        raw["parts"]["fit"]["ticks"] = 80
        voice = raw["score"]["voices"][name]
        raw["score"]["voices"] = {name: {**voice, **changes}}
        pieces.append(small(**raw, knobs=[]))
    with Studio() as studio:
        return studio.takes(pieces)


def test_rhythm_and_beating_of_rendered_takes():
    """A drum on every second of 16 places, and on 7 of them; overtones 0, 4.4 and 44 Hz beside those in tune."""
    steps = [("tick", {"steps": {"every": 0.125, "steps": 16, "pulses": pulses}}) for pulses in (8, 7)]
    lanes = SMALL["score"]["voices"]["tone"]["lanes"]
    tones = [("tone", {"lanes": {**lanes, "pitch": 440.0, "detune": detune}}) for detune in (0.0, 0.005, 0.05)]
    takes = rendered(*steps, *tones)
    rhythms = [{slot(line, "rhythm") for line in spoken(take)[4:]} for take in takes]
    assert rhythms == [{"even-moderate"}, {"uneven-moderate"}, {"none"}, {"none"}, {"none"}]
    surfaces = [{slot(line, "surface") for line in spoken(take)[3:]} for take in takes[2:]]
    assert surfaces == [{"smooth"}, {"beating"}, {"coarse"}]
    beats = {float(slot(line, "surface").split("/")[1]) for line in spoken(takes[3], "numbers")[3:]}
    assert max(abs(rate - 4.4) for rate in beats) < 0.2


def test_in_another_order_moments_are_what_they_were_and_the_course_is_made_anew():
    sound, pictures = joined(*(stretch(hz, (255, 0, 0), 1.0) for hz in (440, 660, 880)))
    work, order = artefact(sound, pictures), [4, 5, 0, 1, 2, 3]
    for register in ("prose", "numbers"):
        own, other = spoken(work, register), spoken(work, register, order)
        cut = [line.split("; course")[0] for line in own]
        assert [line.split("; course")[0] for line in other] == [cut[moment] for moment in order]
        assert spoken(work, register, range(6)) == own
    assert [slot(line, "change") for line in spoken(work, "prose", order)][::2] == ["nothing", "lower", "higher"]
    own = spoken(work, "tokens")
    assert spoken(work, "tokens", order) == tuple(own[moment] for moment in order)


def test_silence_and_black_are_said():
    lines = spoken(Artefact.silent(3.0))
    assert len(lines) == 6
    assert len(set(lines)) == 1
    assert slot(lines[0], "level") == "silent"
    assert slot(lines[0], "light") == "black"
    assert slot(lines[0], "change") == "nothing"
    assert slot(lines[0], "return") == "none"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["tones", "noise", "silence", "clicks"]), st.booleans())
def test_length_tells_nothing(seed, kind, coloured):
    """Every line of a register is as long as every other, whatever is heard and seen."""
    rng = np.random.default_rng(seed)
    sound = {
        "tones": np.concatenate([tone(hz, 0.25, rng.uniform(0.001, 1)) for hz in rng.uniform(40, 8000, 8)]),
        "noise": rng.standard_normal(2 * SR) * rng.uniform(0, 1),
        "silence": np.zeros(2 * SR),
        "clicks": (rng.random(2 * SR) < 0.001) * 1.0,
    }[kind]
    pictures = rng.integers(0, 256, (32, 16, 16, 3)) * (1 if coloured else 0)
    known = spoken(Artefact.silent(0.5), "numbers")[0]
    for line in told(sound, pictures, "prose"):
        assert len(line.split()) == 33
    for line in told(sound, pictures, "numbers"):
        assert len(line) == len(known)
        assert "nan" not in line
        assert "inf" not in line
    assert {len(line) for line in told(sound, pictures, "tokens")} == {PER_MOMENT}


def test_registers_say_the_same_of_the_same_and_something_else_of_something_else():
    one, other = stretch(440, (255, 0, 0)), stretch(470, (255, 0, 0))
    for register in REGISTERS:
        assert told(*one, register) == told(*one, register)
        assert told(*one, register) != told(*other, register)
    with pytest.raises(ValueError, match="register 'poem': allowed are prose, numbers, tokens"):
        told(*one, "poem")


def test_no_judgement_and_no_name_is_in_any_text():
    rng = np.random.default_rng(0)
    sound = np.concatenate([tone(hz, 0.5) for hz in rng.uniform(80, 2000, 12)])
    pictures = rng.integers(0, 256, (96, 24, 24, 3), dtype=np.uint8)
    for register in ("prose", "numbers"):
        words = set(re.findall(r"[a-z]+", " ".join(told(sound, pictures, register)).lower()))
        assert not words & (JUDGEMENTS | INNER)
    assert not {word for pair in CHANGES.values() for word in pair} & (JUDGEMENTS | INNER)


def test_words_take_an_artefact_and_nothing_else():
    """An artefact has no place for a name, and the public functions accept nothing beside it."""
    assert [f.name for f in dataclasses.fields(Artefact)] == ["audio", "sample_rate", "pictures", "fps"]
    assert [p.annotation for p in inspect.signature(tokens, eval_str=True).parameters.values()] == [Artefact]
    given = [p.annotation for p in inspect.signature(spoken, eval_str=True).parameters.values()]
    assert given == [Artefact, Register, Sequence[int] | None]
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
    assert all(spoken(one, register) == spoken(other, register) for register in REGISTERS)
    assert np.array_equal(tokens(one), tokens(other))
    assert all(spoken(one, register) != spoken(inverted, register) for register in REGISTERS)
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
