"""Pieces: a file that is written is read again; what is wrong is said with file, field, value and what is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.piece import (
    ALIASES,
    Knob,
    PieceError,
    check_piece,
    default_score,
    find_piece,
    library,
    parse_piece,
    piece_names,
)

MINE: dict[str, Any] = {
    "title": "Mine",
    "parts": {"fit": {"source": "cubics", "rate": 50.0, "ticks": 100, "controls": {"points": 50}}},
    "score": {"voices": {"tone": {"instrument": "partials"}}},
    "knobs": [{"path": "parts.fit.controls.points", "range": [10, 100]}],
}
BUILT_IN = sorted(library())


def changed(path: str, value: Any) -> dict[str, Any]:
    return parse_piece(MINE, "mine.toml").with_values({path: value}).model_dump(mode="json")


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(max_size=20).filter(lambda s: "\r" not in s and "\0" not in s)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40)
plain = st.recursive(
    numbers | texts | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
parts = st.fixed_dictionaries(
    {"source": names, "rate": st.floats(1e-3, 1e6), "ticks": st.integers(1, 10**8)},
    optional={
        "controls": st.dictionaries(names, numbers | texts, max_size=3),
        "inputs": st.dictionaries(names, texts, max_size=2),
    },
)
pieces = st.fixed_dictionaries(
    {"title": texts, "parts": st.dictionaries(names, parts, min_size=1, max_size=3)},
    optional={"about": texts, "score": st.dictionaries(names, plain, max_size=3)},
)


@settings(max_examples=60, deadline=None)
@given(raw=pieces)
def test_toml_round_trip(raw: dict[str, Any]) -> None:
    piece = parse_piece(raw, "x")
    again = parse_piece(tomllib.loads(piece.to_toml()), "x")
    assert again == piece
    assert again.hash == piece.hash


@pytest.mark.parametrize("name", BUILT_IN)
def test_library(name: str, tmp_path: Path) -> None:
    """Every built-in piece holds together, says what it is, and survives `--toml > my.toml`."""
    piece, _ = find_piece(name)
    assert len(piece.about) > 80
    classes = check_piece(piece, name)
    for knob in piece.knobs:
        for u in (0.0, 0.5, 1.0):
            check_piece(piece.with_values({knob.path: knob.value(u)}), name)
    (tmp_path / "my.toml").write_text(piece.to_toml())
    mine, base = find_piece(str(tmp_path / "my.toml"))
    assert mine == piece
    assert base == tmp_path
    assert classes


def test_names() -> None:
    assert set(BUILT_IN) | set(ALIASES) == set(piece_names())
    if "cubics-robust" in BUILT_IN:
        assert find_piece("cubics")[0] == find_piece("cubics-robust")[0]
    with pytest.raises(PieceError, match="no piece 'cubcis'; did you mean 'cubics'"):
        find_piece("cubcis")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("parts.fit.rate", 0, r"parts\.fit\.rate = 0: Input should be greater than 0"),
        ("parts.fit.rate", 2e6, r"parts\.fit\.rate = 2000000\.0: Input should be less than or equal to 1000000"),
        ("parts.fit.ticks", "long", r"parts\.fit\.ticks = 'long': Input should be a valid integer"),
        ("parts.fit.colour", 3, r"parts\.fit\.colour: no such field"),
        ("master.loudness", 3, r"master\.loudness = 3: Input should be less than or equal to -8"),
        ("master.sample_rate", 8000, r"master\.sample_rate = 8000: Input should be 44100 or 48000"),
        ("title", None, "title = None: Input should be a valid string"),
        ("parts", {}, "parts = {}: Dictionary should have at least 1 item"),
        ("sections", [{"name": "a", "parts": ["fot"]}], "section 'a' names part 'fot'; did you mean 'fit'"),
        ("knobs", [{"path": "x", "range": [2, 1]}], r"knobs\.0 = .*: range must rise"),
        ("knobs", [{"path": "x", "range": [0, 1], "shape": "log"}], "a log knob needs a positive range"),
    ],
)
def test_errors_name_file_field_value_and_what_is_allowed(path: str, value: Any, message: str) -> None:
    with pytest.raises(PieceError, match=message) as caught:
        changed(path, value)
    assert str(caught.value).startswith("Mine: ")
    assert "\n" not in str(caught.value)


def test_missing_fields_and_versions() -> None:
    with pytest.raises(PieceError, match=r"mine\.toml: title: missing \(and 1 more\)"):
        parse_piece({}, "mine.toml")
    with pytest.raises(PieceError, match=r"mine\.toml: written by a newer Descant \(format 2, this one reads 1\)"):
        parse_piece({**MINE, "descant": 2}, "mine.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "cannot be read: not UTF-8 text"),
        (b"title = ", r"my\.toml: not TOML: Invalid value"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: bytes | None, message: str) -> None:
    path = tmp_path / "my.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(PieceError, match=message):
        find_piece(str(path))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("parts.fit.source", "cubcis", "parts.fit: no source 'cubcis'; did you mean 'cubics'"),
        ("parts.fit.controls.points", 3, "parts.fit: points = 3: allowed are whole numbers from 4 to 1000"),
        ("parts.fit.controls.pionts", 30, "parts.fit: cubics has no control 'pionts'; did you mean 'points'"),
        ("parts.fit.inputs", {"data": "x.csv"}, "parts.fit: cubics has no input 'data'; there are none"),
    ],
)
def test_check_piece(path: str, value: Any, message: str) -> None:
    piece = parse_piece(changed(path, value), "mine.toml")
    with pytest.raises(PieceError, match=message):
        check_piece(piece, "mine.toml")


def test_with_values_and_controls() -> None:
    piece = parse_piece(MINE, "mine.toml")
    louder = piece.with_values({"master.loudness": -20, "parts.fit.controls.noise": 0.1})
    assert louder.master.loudness == -20
    assert louder.parts["fit"].controls == {"points": 50, "noise": 0.1}
    assert piece.parts["fit"].controls == {"points": 50}, "the piece itself stays as it was"
    assert louder.hash != piece.hash
    assert piece.with_controls({"noise": 0.1}) == piece.with_controls({"fit.noise": 0.1})
    with pytest.raises(PieceError, match=r"fut.noise = 1: no part 'fut'; did you mean 'fit'"):
        piece.with_controls({"fut.noise": 1})
    with pytest.raises(PieceError, match=r"parts.fat.rate: no 'fat'; did you mean 'fit'"):
        piece.with_values({"parts.fat.rate": 1})
    with pytest.raises(PieceError, match="'title' is a value, not a table"):
        piece.with_values({"title.x": 1})


def test_controls_of_several_parts_need_the_part() -> None:
    two = {**MINE, "parts": {"a": MINE["parts"]["fit"], "b": MINE["parts"]["fit"]}}
    piece = parse_piece(two, "two.toml")
    with pytest.raises(PieceError, match=r"noise = 1: say of which part \(a, b\), as in part\.noise"):
        piece.with_controls({"noise": 1})
    assert piece.with_controls({"b.noise": 0.5}).parts["a"].controls == {"points": 50}


@given(
    u=st.floats(0, 1), low=st.floats(1e-3, 1e3), width=st.floats(1e-3, 1e3), shape=st.sampled_from(["linear", "log"])
)
def test_knobs_stay_in_range(u: float, low: float, width: float, shape: Any) -> None:
    knob = Knob(path="x", range=(low, low + width), shape=shape)
    assert low * (1 - 1e-9) <= knob.value(u) <= (low + width) * (1 + 1e-9)
    assert knob.value(0) == pytest.approx(low)
    assert knob.value(1) == pytest.approx(low + width)


def test_a_source_file_is_a_piece(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from pieces.signals import Channel\nfrom pieces.source import Source\n"
        "class Mine(Source):\n    name = 'mine'\n    about = 'mine'\n"
        "    channels = (Channel('height', 'h'), Channel('map', 'm', shape=(2,)))\n"
        "    def step(self, controls, events, n): ...\n"
    )
    piece, _ = find_piece(str(tmp_path / "mine.py"))
    assert piece.score == default_score(["height"])


def test_default_score_spreads_voices() -> None:
    voices = default_score(["Loss", "b", "c"], "C3", "C6")["voices"]
    assert [v["pan"] for v in voices.values()] == [-0.8, 0.0, 0.8]
    assert voices["loss"]["lanes"]["pitch"]["range"] == ["C3", "C6"]
