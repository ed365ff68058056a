"""Scala's files: what is in them, what is wrong with them, and that a score needs them once."""

import json
from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pieces.errors import DescantError
from sonify.scala import KeyMap, ScalaError, Scale, inline, read_kbm, read_scl
from sonify.score import parse_score
from sonify.tuning import Tuning, hertz, midi_hertz

MEANTONE = """! meanquar.scl
!
1/4-comma meantone scale. Pietro Aaron's temperament (1523)
 12
!
 76.04900
 193.15686
 310.26471
 5/4
 503.42157
 579.47057
 696.57843
 25/16
 889.73529
 1006.84314
 1082.89214
 2/1
"""
WHITE_KEYS = """! white keys from 59
! Size of map. The pattern repeats every so many keys:
12
! First MIDI note number to retune:
0
! Last MIDI note number to retune:
127
! Middle note where the first entry of the mapping is mapped to:
60
! Reference note for which frequency is given:
69
! Frequency to tune the above note to (floating point e.g. 440.0):
432.0
! Scale degree to consider as formal octave:
7
! Mapping.
0
x
1
X
2
3
x
4
x
5
x
6
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scala")


def scale(folder, text):
    path = folder / "scale.scl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_scl(path)


def keymap(folder, text):
    path = folder / "keys.kbm"
    path.write_text(text)
    return read_kbm(path)


def planned(raw, folder):
    """A tuning after its files were read, as it comes back from where a piece is stored."""
    return Tuning.model_validate(json.loads(json.dumps(inline(raw, folder))))


def cents(ratio):
    return 1200 * log2(Fraction(ratio))


def test_the_example_of_the_specification(folder):
    found = scale(folder, MEANTONE)
    assert found.description == "1/4-comma meantone scale. Pietro Aaron's temperament (1523)"
    assert len(found.cents) == 12
    assert found.cents[:3] == (76.049, 193.15686, 310.26471)
    np.testing.assert_allclose([found.cents[i] for i in (3, 7, 11)], [cents("5/4"), cents("25/16"), 1200], atol=1e-9)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("81/64", cents("81/64")),
        ("408.0", 408.0),
        ("408.", 408.0),
        (".5", 0.5),
        ("5", cents("5")),
        ("-5.0", -5.0),
        ("10/20", -1200.0),
        ("100.0 cents", 100.0),
        ("\t100.0 C#", 100.0),
        (" 5/4   E\\", cents("5/4")),
        ("2957/2048!Gb", cents("2957/2048")),
        ("3 / 2", cents("3/2")),
        ("2147483647/2147483646", cents("2147483647/2147483646")),
        ("156348578434374084375/147573952589676412928", cents("156348578434374084375/147573952589676412928")),
    ],
)
def test_pitches_the_specification_allows(folder, line, value):
    assert scale(folder, f"any\n1\n{line}\n").cents == pytest.approx((value,), abs=1e-9)


RATIO = st.builds(
    lambda a, b: (f"{a}/{b}", cents(Fraction(a, b))), st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)
)
CENTS = st.floats(-9000, 9000).map(lambda value: (f"{value:.6f}", float(f"{value:.6f}")))
AROUND = st.sampled_from(["{}", " {} ", "\t{}", "{} ! remark", "{} cents", "! 1/1\n{}"])
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60)


@given(
    description=TEXT.filter(lambda text: not text.startswith("!")),
    pitches=st.lists(st.tuples(RATIO | CENTS, AROUND), max_size=30),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_written_is_read(folder, description, pitches, end):
    lines = [
        "! name.scl",
        description,
        f" {len(pitches)} ",
        *(around.format(text) for (text, _), around in pitches),
        "",
    ]
    found = scale(folder, "\n".join(lines).replace("\n", end))
    assert found.description == description.strip()
    np.testing.assert_allclose(found.cents, [value for (_, value), _ in pitches], rtol=1e-9, atol=1e-9)


def test_an_old_file_in_latin_1(folder):
    text = "! müller.scl\r\nStimmung für Orgel, ½ Komma \x85\r\n 1\r\n 2/1\r\n".encode("latin-1")
    assert scale(folder, text) == Scale("Stimmung für Orgel, ½ Komma", (1200.0,))


def test_a_scale_that_does_not_rise_keeps_its_order_but_is_snapped_to_in_any(folder):
    (folder / "fall.scl").write_text("order of a keyboard, a tone below the root\n4\n701.955\n-200.0\n5/4\n2/1\n")
    found = planned({"scl": "fall.scl", "root": "C4"}, folder)
    root = hertz("C4")
    expected = root * np.array([1.0, 1.5, 2 ** (-200 / 1200), 1.25, 2.0, 3.0])
    np.testing.assert_allclose([found.degree(n) for n in range(6)], expected, rtol=1e-6)
    np.testing.assert_allclose(
        found.snap(root * np.array([1.01, 1.24, 1.48, 1.79])),
        root * np.array([1, 1.25, 1.5, 2 ** (1000 / 1200)]),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 2: '' is no number of pitches"),
        ("only a description\n", "line 2: '' is no number of pitches"),
        ("a\ntwelve\n", "line 2: 'twelve' is no number of pitches"),
        ("a\n-1\n", "line 2: '-1' is no number of pitches"),
        ("a\n2\n3/2\n", "line 2: 2 pitches announced, 1 there"),
        ("a\n1\n3/2\n2/1\n", "line 2: 1 pitches announced, 2 there"),
        ("a\n! remark\n2\n! remark\n3/2\noctave\n", "line 6: 'octave' is no pitch: allowed are cents with a period"),
        ("a\n1\n697//441\n", "line 3: '697//441' is no pitch"),
        ("a\n1\n3/2/1\n", "line 3: '3/2/1' is no pitch"),
        ("a\n1\n-3/2\n", "line 3: '-3/2' is no pitch"),
        ("a\n1\n3/-2\n", "line 3: '3/-2' is no pitch"),
        ("a\n1\n3/0\n", "line 3: '3/0' is no pitch"),
        ("a\n1\n0\n", "line 3: '0' is no pitch"),
        ("a\n1\n1e3\n", "line 3: '1e3' is no pitch"),
        ("a\n1\n100.0.0\n", "line 3: '100.0.0' is no pitch"),
        ("a\n1\n.\n", "line 3: '.' is no pitch"),
        ("a\n1\n99999.0\n", "line 3: '99999.0' is too wide: allowed are -38400 to 38400"),
        ("a\n1\n" + "9" * 5000 + "\n", "is no pitch"),
        (b"\x00\x01\x02\n\x1b[31m\n", "line 2: '\\x1b[31m' is no number"),
        (b"x" * 1_000_001, "longer than 1000000 bytes"),
    ],
)
def test_errors_of_a_scale_name_file_line_text_and_what_is_allowed(folder, text, said):
    with pytest.raises(DescantError) as refused:
        scale(folder, text)
    line = str(refused.value)
    assert line.startswith("scale.scl: ")
    assert said in line
    assert "allowed" in line
    assert "\n" not in line
    assert len(line) < 250


def test_a_file_that_is_none(folder):
    for path in (folder / "nowhere.scl", folder):
        with pytest.raises(ScalaError, match=r"allowed is a \.scl or .kbm file"):
            read_scl(path)


def refusal(read, folder, text):
    try:
        read(folder, text)
    except ScalaError as error:
        return str(error)
    return ""


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("0123456789./!x \n", max_size=60))
def test_any_text_is_read_or_refused_in_one_line(folder, text):
    assert "\n" not in refusal(scale, folder, text) + refusal(keymap, folder, text)


def test_white_keys_play_a_scale_of_seven(folder):
    (folder / "seven.scl").write_text("just major\n7\n9/8\n5/4\n4/3\n3/2\n5/3\n15/8\n2/1\n")
    (folder / "white.kbm").write_text(WHITE_KEYS)
    found = planned({"scl": "seven.scl", "kbm": "white.kbm"}, folder)
    assert found.key_hertz(69) == pytest.approx(432.0, rel=1e-12)
    tonic = 432.0 / Fraction(5, 3)
    white = {60: 1, 62: "9/8", 64: "5/4", 65: "4/3", 67: "3/2", 69: "5/3", 71: "15/8", 72: 2, 48: "1/2", 83: "15/4"}
    for key, ratio in white.items():
        assert found.key_hertz(key) == pytest.approx(tonic * Fraction(ratio), rel=1e-12)
    assert [found.key_hertz(key) for key in (61, 63, 66, 68, 70, 73)] == [None] * 6


@given(
    notes=st.integers(5, 20),
    degrees=st.lists(st.none() | st.integers(0, 30), max_size=20),
    middle=st.integers(0, 127),
    reference=st.integers(0, 127),
    frequency=st.floats(20, 2000).map(lambda value: round(value, 6)),
    octave=st.integers(0, 12),
    span=st.tuples(st.integers(0, 127), st.integers(0, 127)).map(sorted),
)
def test_any_mapping_sounds_its_reference_and_repeats(
    folder, notes, degrees, middle, reference, frequency, octave, span
):
    entries = ["x" if degree is None else degree for degree in degrees]
    header = [len(degrees), *span, middle, reference, frequency, octave]
    written = "\n".join(map(str, ["! a mapping", *header, *entries])) + "\n"
    found = keymap(folder, written)
    assert found == KeyMap(*span, middle, reference, frequency, octave, tuple(degrees))
    equal = {"system": f"{notes}-edo", "kbm": "keys.kbm"}

    def degree(key):
        """A walk up or down the keyboard, pattern by pattern."""
        if not degrees:
            return key - middle
        shift = 0
        while key < middle:
            key, shift = key + len(degrees), shift - (octave or notes)
        while key >= middle + len(degrees):
            key, shift = key - len(degrees), shift + (octave or notes)
        return None if degrees[key - middle] is None else degrees[key - middle] + shift

    if (sounding := degree(reference)) is None:
        with pytest.raises(ScalaError, match=f"reference key {reference} is unmapped"):
            inline(equal, folder)
        return
    tuning = planned(equal, folder)
    for key in range(128):
        if not span[0] <= key <= span[1] or degree(key) is None:
            assert tuning.key_hertz(key) is None or not tuning.keys
        else:
            assert log2(tuning.key_hertz(key) / frequency) == pytest.approx((degree(key) - sounding) / notes, abs=1e-9)


def test_unmapped_keys_at_the_end_may_be_left_out_and_the_octave_may_be_zero(folder):
    found = keymap(folder, "3\n60\n64\n60\n60\n100.0\n0\n0\n1\n")
    assert found.degrees == (0, 1, None)
    assert [found.degree(key, 5) for key in range(60, 67)] == [0, 1, None, 5, 6, None, 10]


def test_a_linear_mapping_of_twelve_equal_tones_is_a_keyboard(folder):
    (folder / "a440.kbm").write_text("0\n0\n127\n60\n69\n440.0\n0\n")
    found = planned({"system": "12-edo", "kbm": "a440.kbm"}, folder)
    for key in range(128):
        assert found.key_hertz(key) == pytest.approx(midi_hertz(key), rel=1e-12)


HEADER = ["12", "0", "127", "60", "69", "440.0", "12"]


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (0, "twelve", "line 1: 'twelve' is no size"),
        (1, "128", "line 2: '128' is no first key: allowed are whole numbers from 0 to 127"),
        (2, "-1", "line 3: '-1' is no last key"),
        (3, "60.5", "line 4: '60.5' is no middle key"),
        (4, "A4", "line 5: 'A4' is no reference key"),
        (5, "0", "line 6: '0' is no reference frequency"),
        (5, "-440", "line 6: '-440' is no reference frequency"),
        (5, "nan", "line 6: 'nan' is no reference frequency"),
        (6, "octave", "line 7: 'octave' is no octave degree"),
    ],
)
def test_errors_of_a_mapping_name_file_line_text_and_what_is_allowed(folder, line, text, said):
    with pytest.raises(ScalaError) as refused:
        keymap(folder, "\n".join([*HEADER[:line], text, *HEADER[line + 1 :]]))
    assert str(refused.value).startswith(f"keys.kbm: {said}")
    assert "allowed" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join(HEADER[:5]), "missing is the reference frequency"),
        ("\n".join(["2", *HEADER[1:], "0", "1", "2"]), "size 2, but 3 keys"),
        ("\n".join([*HEADER, "0", "y"]), "line 9: 'y' is no degree (or 'x')"),
        ("\n".join(["12", "70", "60", *HEADER[3:]]), "line 3: '60' is no last key: allowed is 70"),
    ],
)
def test_a_mapping_that_does_not_add_up(folder, text, said):
    with pytest.raises(ScalaError) as refused:
        keymap(folder, text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"scl": "none.scl"}, "no period"),
        ({"scl": "flat.scl"}, "no period"),
        ({"scl": "nowhere.scl"}, "no such file"),
        ({"scl": "meantone.scl", "system": "just"}, "system and scl = 'meantone.scl': allowed is one of them"),
        ({"scl": "meantone.scl", "kbm": "white.kbm", "root": "D"}, "root and kbm = 'white.kbm'"),
        ({"system": "jsut", "kbm": "white.kbm"}, "did you mean 'just'"),
        ({"system": "1-edo", "kbm": "far.kbm"}, "far.kbm: repeats every 30 degrees: keys lie beyond all frequencies"),
    ],
)
def test_what_does_not_go_together(folder, raw, said):
    (folder / "none.scl").write_text("no notes\n0\n")
    (folder / "flat.scl").write_text("comes back\n2\n3/2\n1/1\n")
    (folder / "meantone.scl").write_text(MEANTONE)
    (folder / "white.kbm").write_text(WHITE_KEYS)
    (folder / "far.kbm").write_text("1\n0\n127\n60\n60\n100.0\n30\n0\n")
    with pytest.raises(ScalaError) as refused:
        inline(raw, folder)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_scale_of_twelve_is_a_system_for_the_scales_by_name(folder):
    (folder / "meantone.scl").write_text(MEANTONE)
    found = planned({"scl": "meantone.scl", "scale": "dorian", "root": "D3"}, folder)
    np.testing.assert_allclose(found.cents, [193.157, 310.265, 503.422, 696.578, 889.735, 1006.843, 1200], atol=0.001)
    assert found.degree(0) == pytest.approx(hertz("D3"))


def test_a_score_needs_its_files_once(folder):
    (folder / "meantone.scl").write_text(MEANTONE)

    def voice(tuning):
        pitch = {"channel": "x", "range": [100, 900], "tuning": tuning}
        return {"instrument": "glide", "lanes": {"pitch": pitch}}

    written = {"table": {"scl": "meantone.scl", "root": "A3"}, "scl": "meantone.scl", "name": "D dorian"}
    score = {"purpose": "music", "voices": {name: voice(tuning) for name, tuning in written.items()}}
    before = json.dumps(score)
    plain = inline(score, folder)
    assert json.dumps(score) == before
    assert "meantone.scl" not in json.dumps(plain)
    assert inline(plain, folder / "elsewhere") == plain
    (folder / "meantone.scl").unlink()
    voices = parse_score(plain, "here").voices
    assert voices["table"].lanes["pitch"].tuning.cents[6] == 696.57843
    assert voices["scl"].lanes["pitch"].tuning.cents == voices["table"].lanes["pitch"].tuning.cents
    assert plain["voices"]["name"] == score["voices"]["name"]
    with pytest.raises(ScalaError, match="no such file"):
        inline(score, folder)
