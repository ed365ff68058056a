"""Pitches and scales."""

from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pieces.piece import explain
from sonify.score import ScoreError, parse_score
from sonify.tuning import CHORDS, MEASURED, SCALES, SYSTEMS, Tuning, hertz, midi_hertz, ratio_cents

PYTHAGOREAN_COMMA = 1200 * log2(531441 / 524288)
SYNTONIC_COMMA = 1200 * log2(81 / 80)
NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("A4", 440.0), ("a4", 440.0), ("C4", 261.6255653), ("C#3", 138.5913155), ("Bb2", 116.5409404), ("C-1", 8.1757989)],
)
def test_note_names(written, expected):
    assert hertz(written) == pytest.approx(expected, rel=1e-8)


@given(st.integers(0, 127))
def test_every_key_has_its_name(key):
    assert hertz(f"{NAMES[key % 12]}{key // 12 - 1}") == pytest.approx(midi_hertz(key))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_pass(number):
    assert hertz(number) == number


@pytest.mark.parametrize(("written", "expected"), [("440hz", 440.0), ("27.5 Hz", 27.5), (".5HZ", 0.5)])
def test_frequencies(written, expected):
    assert hertz(written) == expected


@pytest.mark.parametrize(
    "wrong", ["H4", "A", "A##4", "", "hz", "-3hz", "440", None, True, [440], float("nan"), float("inf")]
)
def test_anything_else_is_refused_with_its_value(wrong):
    with pytest.raises(ValueError, match="allowed are") as error:
        hertz(wrong)
    assert repr(wrong) in str(error.value)


def tuning(written):
    return Tuning.model_validate(written)


def ratios(text):
    return [1200 * log2(Fraction(ratio)) for ratio in text.split()]


#: Semitones of twelve-tone equal temperament, as any textbook has them; the octave is left out.
SEMITONES = {
    "major": "0 2 4 5 7 9 11",
    "ionian": "0 2 4 5 7 9 11",
    "dorian": "0 2 3 5 7 9 10",
    "phrygian": "0 1 3 5 7 8 10",
    "lydian": "0 2 4 6 7 9 11",
    "mixolydian": "0 2 4 5 7 9 10",
    "aeolian": "0 2 3 5 7 8 10",
    "natural minor": "0 2 3 5 7 8 10",
    "minor": "0 2 3 5 7 8 10",
    "locrian": "0 1 3 5 6 8 10",
    "harmonic minor": "0 2 3 5 7 8 11",
    "melodic minor": "0 2 3 5 7 9 11",
    "harmonic major": "0 2 4 5 7 8 11",
    "hungarian minor": "0 2 3 6 7 8 11",
    "double harmonic": "0 1 4 5 7 8 11",
    "acoustic": "0 2 4 6 7 9 10",
    "lydian dominant": "0 2 4 6 7 9 10",
    "altered": "0 1 3 4 6 8 10",
    "pentatonic": "0 2 4 7 9",
    "major pentatonic": "0 2 4 7 9",
    "minor pentatonic": "0 3 5 7 10",
    "blues": "0 3 5 6 7 10",
    "whole tone": "0 2 4 6 8 10",
    "octatonic": "0 2 3 5 6 8 9 11",
    "whole-half octatonic": "0 2 3 5 6 8 9 11",
    "half-whole octatonic": "0 1 3 4 6 7 9 10",
    "chromatic": "0 1 2 3 4 5 6 7 8 9 10 11",
    "hirajoshi": "0 2 3 7 8",
    "miyako-bushi": "0 1 5 7 8",
    "yo": "0 2 5 7 9",
    "hijaz": "0 1 4 5 7 8 10",
    "phrygian dominant": "0 1 4 5 7 8 10",
    "maj": "0 4 7",
    "M": "0 4 7",
    "min": "0 3 7",
    "m": "0 3 7",
    "dim": "0 3 6",
    "aug": "0 4 8",
    "sus2": "0 2 7",
    "sus4": "0 5 7",
    "5": "0 7",
    "6": "0 4 7 9",
    "m6": "0 3 7 9",
    "6/9": "0 2 4 7 9",
    "maj7": "0 4 7 11",
    "M7": "0 4 7 11",
    "7": "0 4 7 10",
    "m7": "0 3 7 10",
    "min7": "0 3 7 10",
    "mmaj7": "0 3 7 11",
    "dim7": "0 3 6 9",
    "m7b5": "0 3 6 10",
    "aug7": "0 4 8 10",
    "7sus4": "0 5 7 10",
    "add9": "0 2 4 7",
    "madd9": "0 2 3 7",
    "maj9": "0 2 4 7 11",
    "9": "0 2 4 7 10",
    "m9": "0 2 3 7 10",
    "7b9": "0 1 4 7 10",
    "7#9": "0 3 4 7 10",
    "11": "0 2 4 5 7 10",
    "m11": "0 2 3 5 7 10",
    "maj7#11": "0 4 6 7 11",
    "13": "0 2 4 7 9 10",
}
QUARTER_TONES = {
    "rast": "0 200 350 500 700 900 1050",
    "bayati": "0 150 300 500 700 800 1000",
    "saba": "0 150 300 400 700 800 1000",
}


def test_the_tables_above_hold_every_named_scale_and_chord():
    assert {*SEMITONES, *QUARTER_TONES} == {*SCALES, *CHORDS}


@pytest.mark.parametrize("name", SEMITONES)
def test_intervals_in_twelve_tone_equal_temperament(name):
    expected = [100.0 * int(step) for step in SEMITONES[name].split()]
    found = tuning(f"D {name}")
    np.testing.assert_allclose([0, *found.cents], [*expected, 1200], atol=1e-9)
    np.testing.assert_allclose(1200 * np.log2(found.degrees() / hertz("D3")), expected, atol=1e-9)
    assert tuning({"scale" if name in SCALES else "chord": name, "root": "D3", "system": "12-edo"}) == found


@pytest.mark.parametrize("name", QUARTER_TONES)
def test_maqamat_take_quarter_tones(name):
    expected = [float(cent) for cent in QUARTER_TONES[name].split()]
    np.testing.assert_allclose([0, *tuning(f"D {name}").cents], [*expected, 1200], atol=1e-9)
    with pytest.raises(ValidationError, match="12-edo has no such tones"):
        tuning(f"D {name} in 12-edo")


@pytest.mark.parametrize(
    ("written", "root", "cents"),
    [
        ("D dorian", "D3", [200, 300, 500, 700, 900, 1000, 1200]),
        ("  d4   DORIAN ", "D4", [200, 300, 500, 700, 900, 1000, 1200]),
        ("A minor pentatonic", "A3", [300, 500, 700, 1000, 1200]),
        ("bb2 Minor-Pentatonic", "Bb2", [300, 500, 700, 1000, 1200]),
        ("blues", "A3", [300, 500, 600, 700, 1000, 1200]),
        ("Dm7", "D3", [300, 700, 1000, 1200]),
        ("DM7", "D3", [400, 700, 1100, 1200]),
        ("D MAJ7", "D3", [400, 700, 1100, 1200]),
        ("Bb7", "Bb3", [400, 700, 1000, 1200]),
        ("C6/9", "C3", [200, 400, 700, 900, 1200]),
        ("F#m7b5", "F#3", [300, 600, 1000, 1200]),
        ("add9", "A3", [200, 400, 700, 1200]),
        ("5-EDO", "A3", [240, 480, 720, 960, 1200]),
        ("E 5 tet", "E3", [240, 480, 720, 960, 1200]),
        ("Cmaj in just", "C3", [ratio_cents("5/4"), ratio_cents("3/2"), 1200]),
    ],
)
def test_a_tuning_as_one_text(written, root, cents):
    found = tuning(written)
    np.testing.assert_allclose(found.cents, cents, atol=1e-9)
    assert found.degree(0) == pytest.approx(hertz(root))


@pytest.mark.parametrize("count", [5, 12, 19, 31, 53])
def test_equal_divisions_of_the_octave(count):
    found = tuning(f"{count}-edo")
    np.testing.assert_allclose(found.degrees() / 220, 2 ** (np.arange(count) / count), rtol=1e-12)


def test_bohlen_pierce_divides_the_twelfth():
    found = tuning({"system": "Bohlen-Pierce", "root_hz": 200})
    np.testing.assert_allclose(found.degrees(), 200 * 3 ** (np.arange(13) / 13), rtol=1e-12)
    assert found == tuning({"system": "13-ed3", "root_hz": 200})
    assert found.degree(26) == pytest.approx(1800, rel=1e-12)
    assert tuning({"system": "13-ed3", "scale": [0, 3, 6]}).cents == tuple(
        tuning("13-ed3").cents[i] for i in (2, 5, 12)
    )


#: The Scala archive: duodene.scl, grady7.scl, pyth_12.scl, meanquar.scl, werck3.scl, vallotti.scl; all from C.
PUBLISHED = {
    "just": "16/15 9/8 6/5 5/4 4/3 45/32 3/2 8/5 5/3 9/5 15/8 2/1",
    "7-limit": "21/20 9/8 7/6 5/4 4/3 7/5 3/2 14/9 5/3 7/4 15/8 2/1",
    "pythagorean": "2187/2048 9/8 32/27 81/64 4/3 729/512 3/2 6561/4096 27/16 16/9 243/128 2/1",
    "meantone": "76.049 193.15686 310.26471 386.31371 503.42157 579.47057 "
    "696.57843 772.62743 889.73529 1006.84314 1082.89214 1200",
    "werckmeister III": "90.225 192.18 294.135 390.225 498.045 588.27 696.09 792.18 888.26999 996.09 1092.18 1200",
    "vallotti": "94.135 196.09 298.045 392.18 501.955 592.18 698.045 796.09 894.135 1000.0 1090.225 1200",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_systems_have_their_published_cents(name):
    chain = {"wolf": "G#"} if name in ("pythagorean", "meantone") else {}
    found = tuning({"system": name, "root": "C4", **chain})
    if "/" in PUBLISHED[name]:
        np.testing.assert_allclose(found.cents, ratios(PUBLISHED[name]), atol=1e-9)
    else:
        np.testing.assert_allclose(found.cents, [float(cent) for cent in PUBLISHED[name].split()], atol=1e-3)


def test_measured_scales_keep_their_own_octave():
    assert tuning("D slendro").cents == (231, 474, 717, 955, 1208)
    assert tuning("pelog").cents == (120, 270, 540, 670, 785, 950, 1200)
    with pytest.raises(ValidationError, match="was measured"):
        tuning("D pelog in just")


def test_the_commas():
    fifths = tuning({"ratios": ["3/2"], "root_hz": 20})
    octaves = fifths.degree(12) / 20 / 2**7
    assert 1200 * log2(octaves) == pytest.approx(PYTHAGOREAN_COMMA, abs=1e-9)
    assert pytest.approx(23.46, abs=0.001) == PYTHAGOREAN_COMMA
    third = {name: tuning(f"C major in {name}").degree(2) for name in ("just", "pythagorean", "meantone")}
    assert 1200 * log2(third["pythagorean"] / third["just"]) == pytest.approx(SYNTONIC_COMMA, abs=1e-9)
    assert third["meantone"] == pytest.approx(third["just"], rel=1e-12)


@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(["pythagorean", "meantone"]))
def test_the_wolf_is_where_it_was_put_and_nowhere_else(root, wolf, system):
    found = tuning({"system": system, "root": root, "wolf": wolf})
    pure = 1200 * log2(1.5) - (SYNTONIC_COMMA / 4 if system == "meantone" else 0)
    for n in range(12):
        fifth = 1200 * log2(found.degree(n + 7) / found.degree(n))
        note = NAMES[(NAMES.index(root) + n) % 12]
        assert fifth == pytest.approx(8400 - 11 * pure if note == wolf else pure, abs=1e-9)


def pure_fifths(written):
    degrees = 1200 * np.log2(tuning(written).degrees())
    return int(np.isclose((degrees - degrees[:, None]) % 1200, 701.955, atol=0.001).sum())


@pytest.mark.parametrize("mode", ["ionian", "dorian", "phrygian", "lydian", "mixolydian", "aeolian"])
def test_without_a_word_about_it_the_wolf_spares_the_church_modes(mode):
    assert pure_fifths(f"E {mode} in pythagorean") == 6
    assert pure_fifths({"system": "pythagorean", "scale": mode, "root": "E", "wolf": "E"}) < 6
    # The diminished fifth of Locrian is beyond the wolf, which has to give way.
    assert pure_fifths("E locrian in pythagorean") == 5
    assert pure_fifths({"system": "pythagorean", "scale": "locrian", "root": "E", "wolf": "D#"}) == 6


def test_well_temperaments_belong_to_the_keyboard_so_that_keys_differ():
    def third(key, system):
        return 1200 * log2(np.divide(*tuning(f"{key} major in {system}").degrees()[[2, 0]]))

    assert third("C", "werckmeister") == pytest.approx(390.225, abs=0.001)
    assert third("C#", "werckmeister") == pytest.approx(407.82, abs=0.001)
    assert third("C", "just") == pytest.approx(third("C#", "just"))


def test_in_equal_temperaments_a_flat_is_not_the_sharp_below_it():
    """31 steps: the augmented fifth is two major thirds of 10, the diminished seventh three minor thirds of 8."""
    step = 1200 / 31
    np.testing.assert_allclose(tuning("Caug in 31-edo").cents, [10 * step, 20 * step, 1200])
    np.testing.assert_allclose(tuning("Cdim7 in 31-edo").cents, [8 * step, 16 * step, 24 * step, 1200])
    np.testing.assert_allclose(tuning("C rast in 31-edo").cents[1], 9 * step)


@pytest.mark.parametrize("system", ["12-edo", "19-edo", "31-edo", "just", "7-limit", "pythagorean", "meantone"])
@pytest.mark.parametrize("name", [*SEMITONES])
def test_every_scale_is_about_the_same_in_every_system(name, system):
    """Tones are a third of a tone apart at most, which tells a wrong tone from a tone in another temperament."""
    np.testing.assert_allclose(tuning(f"G {name} in {system}").cents, tuning(f"G {name}").cents, atol=66)


@pytest.mark.parametrize("system", ["12-edo", "just", "pythagorean"])
def test_a_scale_in_a_system_that_is_written_out(system):
    written = {"cents": tuning(system).cents, "scale": "dorian", "root": "D3"}
    assert tuning(written).cents == tuning(f"D dorian in {system}").cents


def test_dorian_in_just_intonation():
    found = tuning({"system": "just", "scale": "dorian", "root": "D3"})
    np.testing.assert_allclose(found.cents, ratios("9/8 6/5 4/3 3/2 5/3 9/5 2/1"), atol=1e-9)


SCALE = st.lists(st.floats(-2400, 2400), min_size=1, max_size=15).filter(lambda cents: abs(cents[-1]) >= 10)


@given(SCALE, st.floats(20, 2000), st.integers(-40, 40))
def test_degrees_keep_their_order_and_follow_each_other_in_periods(cents, root, n):
    found = Tuning(cents=tuple(cents), root_hz=root)
    assert found.degree(0) == pytest.approx(root, rel=1e-12)
    for index, cent in enumerate(cents, start=1):
        assert 1200 * log2(found.degree(index) / root) == pytest.approx(cent, abs=1e-9)
    assert 1200 * log2(found.degree(n + len(cents)) / found.degree(n)) == pytest.approx(cents[-1], abs=1e-6)
    np.testing.assert_allclose(found.degrees(), [found.degree(i) for i in range(len(cents))])


@given(SCALE, st.lists(st.floats(200, 800), min_size=1, max_size=10))
def test_snapping_finds_the_nearest_of_all_degrees_and_stays_there(cents, frequencies):
    found = Tuning(cents=tuple(cents), root_hz=400.0)
    reach = 500 * len(cents)  # the narrowest period is 10 cents, and a degree lies up to 2400 from its own
    degrees = np.array([found.degree(n) for n in range(-reach, reach)])
    snapped = found.snap(frequencies)
    distance = np.abs(1200 * np.log2(snapped[:, None] / degrees)).min(axis=1)
    assert distance.max() < 1e-6
    shortest = np.abs(1200 * np.log2(np.array(frequencies)[:, None] / degrees)).min(axis=1)
    np.testing.assert_allclose(np.abs(1200 * np.log2(snapped / frequencies)), shortest, atol=1e-6)
    np.testing.assert_allclose(found.snap(snapped), snapped, rtol=1e-9)


def test_a_period_other_than_the_octave():
    tritave = Tuning(cents=(951.0, 1901.955), root_hz="A3")
    np.testing.assert_allclose(tritave.snap([220, 660.0, 1980]), [220, 660, 1980], rtol=1e-6)


def test_keys_without_a_mapping_are_degrees_one_after_the_other():
    twelve = tuning("D chromatic")
    for key in range(128):
        assert twelve.key_hertz(key) == pytest.approx(midi_hertz(key), rel=1e-12)
    assert tuning("D4 major").key_hertz(62 + 7) == pytest.approx(hertz("D5"))


def test_keys_with_a_mapping():
    mapped = Tuning(cents=(700.0, 1200.0), root_hz=100.0, keys={60: 0, 61: 2, 59: -1})
    assert (mapped.key_hertz(60), mapped.key_hertz(61), mapped.key_hertz(62)) == (100.0, 200.0, None)
    assert mapped.key_hertz(59) == pytest.approx(100 * 2 ** (-500 / 1200))


@given(st.sampled_from([*SCALES, *CHORDS, *MEASURED]), st.sampled_from(NAMES))
def test_what_a_tuning_comes_to_is_a_tuning_again(name, root):
    found = tuning(f"{root} {name}")
    assert tuning(found.model_dump(mode="json")) == found


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("case", [str.lower, str.upper, lambda name: name.replace("-", " ")])
def test_names_of_systems_are_read_in_any_case(name, case):
    assert tuning({"system": case(name)}) == tuning(name) == tuning(f"A {case(name)}")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("D dorain", "did you mean 'dorian'"),
        ("pythagorian", "did you mean 'pythagorean'"),
        ("D major in werkmeister", "did you mean 'werckmeister'"),
        ("", "('31-edo', 'just')"),
        ("D", "('Dm7')"),
        ("0-edo", "1 to 1200 equal divisions"),
        ("5-ed1", "a ratio above 1"),
        ("5-ed3/0", "'3/0' is no ratio"),
        ("major in 5-edo", "5-edo has no such tones"),
        ("major in 13-ed3", "not 13-ed3"),
        ({}, "cents: missing"),
        ({"sistem": "just", "cents": [1200]}, "sistem: no such field"),
        ({"system": 5}, "system = 5"),
        ({"chord": "mayor"}, "did you mean 'maj'"),
        ({"scale": 7}, "dorian"),
        ({"scale": [4, 2]}, "rising steps of 12-edo, 1 to 11"),
        ({"scale": [12]}, "rising steps of 12-edo, 1 to 11"),
        ({"scale": "dorian", "chord": "maj"}, "scale and chord: allowed is one"),
        ({"root": "D", "root_hz": 100, "scale": "dorian"}, "root and root_hz: allowed is one"),
        ({"root": "H", "scale": "dorian"}, "'H'"),
        ({"system": "just", "cents": [1200]}, "one of cents, ratios and system"),
        ({"system": "just", "wolf": "C"}, "'pythagorean' or 'meantone'"),
        ({"system": "pythagorean", "wolf": "H"}, "wolf = 'H'"),
        ({"ratios": ["3/2", 1.5]}, "'1.5' is no ratio"),
        ({"ratios": ["-3/2"]}, "'-3/2' is no ratio"),
        ({"ratios": "3/2"}, "allowed is a list"),
        ({"cents": 700, "scale": "major"}, "allowed is a list"),
        ({"cents": [700, "x"], "scale": [1]}, "allowed are numbers"),
        ({"cents": [200, 700, 1200], "scale": "major"}, "not these cents"),
        ({"cents": []}, "at least 1 item"),
        ({"cents": [700, 0]}, "the last of cents is the period"),
        ({"cents": [1e9]}, "38400"),
        ({"cents": [float("nan")]}, "finite"),
        ({"cents": [1200], "keys": {"200": 1}}, "127"),
        ({"root_hz": -1, "scale": "dorian"}, "allowed is above 0"),
        ({"scl": "x.scl"}, "no file is read here"),
        (7, "valid dictionary"),
    ],
)
def test_what_no_tuning_is_says_so_in_one_line(written, said):
    with pytest.raises(ValidationError) as refused:
        tuning(written)
    line = explain(refused.value, "here")
    assert said in line
    assert "\n" not in line


def test_a_score_names_the_field_and_the_value():
    pitch = {"channel": "x", "range": [100, 200], "tuning": "D dorain"}
    with pytest.raises(ScoreError, match=r"pitch.*tuning = 'D dorain': .* did you mean 'dorian'"):
        parse_score({"purpose": "music", "voices": {"a": {"instrument": "glide", "lanes": {"pitch": pitch}}}}, "here")


@pytest.mark.parametrize("written", ["A minor pentatonic in just", "Em7 in 31-edo", "13-ed3"])
def test_a_lane_sounds_on_its_degrees_within_a_cent(play, written):
    meant = tuning(written)
    x = np.array([0.0, 1.1, 2.3, 3.2, 4.9, 6.0, 2.6])

    def heard(**fields):
        pitch = {"channel": "x", "range": [200, 800], **fields}
        score = {"purpose": "music", "voices": {"a": {"instrument": "glide", "lanes": {"pitch": pitch}}}}
        played = play(score, {"x": x}, 1, stems=False)
        return np.array([played.frequency(i + 0.1, i + 0.97, 150, 1000) for i in range(len(x))])

    degrees = np.array([meant.degree(n) for n in range(-40, 40)])

    def cents_off(frequencies):
        return np.abs(1200 * np.log2(frequencies[:, None] / degrees)).min(axis=1)

    on, off = heard(tuning=written), heard()
    assert cents_off(on).max() < 1
    assert cents_off(off).max() > 5  # without the tuning the same lane is elsewhere
    np.testing.assert_allclose(1200 * np.log2(on / meant.snap(200 * 4 ** (x / 6))), 0, atol=1)


@pytest.mark.parametrize("value", ["C99999", "A-100", "1" * 400 + "hz", 10**400, float("inf"), True, None])
def test_what_is_beyond_any_pitch_is_refused_in_one_line(value):
    with pytest.raises(ValueError, match="allowed are finite numbers") as refused:
        hertz(value)
    assert len(str(refused.value)) < 160
