"""Programmes: what they say, and what is said of those that do not hold together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from studio.exhibition.programme import EXAMPLE, ProgrammeError, parse_programme, read_programme

GOOD = {"descant": 1, "title": "x", "items": [{"piece": "knots"}]}


def refused(tmp_path: Path, text: str) -> str:
    """The line that is said of a file."""
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ProgrammeError) as caught:
        read_programme(tmp_path / "p.toml")
    line = str(caught.value)
    assert "\n" not in line
    assert "p.toml" in line
    return line


def test_the_example_is_a_programme():
    programme = parse_programme(tomllib.loads(EXAMPLE), "example")
    assert [item.name for item in programme.items] == ["knots, seed 3", "cubics, seed 0"]
    assert programme.loop
    assert programme.loudness == -18
    assert programme.items[0].label.seconds == 12


def test_the_examples_take_is_one_too():
    programme = parse_programme(
        tomllib.loads(EXAMPLE.replace("# [[items]] ", "[[items]]").replace("# take", "take")), ""
    )
    assert programme.items[2].name == "take 0199f3"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["descant: missing", "descant = 1"]),
        ("descant = 2\n", ["format 2", "upgrade"]),
        ('descant = 1\ntitle = "x"\nitems = []', ["items = []", "at least one"]),
        ('descant = 1\ntitle = "x"\ncrossfade = 90\n[[items]]\npiece = "a"', ["crossfade = 90", "60"]),
        ('descant = 1\ntitle = "x"\nloudness = 0\n[[items]]\npiece = "a"', ["loudness = 0", "-8"]),
        ('descant = 1\ntitle = "x"\ncrossfade = nan\n[[items]]\npiece = "a"', ["crossfade = nan", "finite"]),
        ('descant = 1\ntitle = "x"\n[[items]]', ["items.0", "take", "piece"]),
        ('descant = 1\ntitle = "x"\n[[items]]\ntake = "a"\npiece = "b"', ["items.0", "not both"]),
        ('descant = 1\ntitle = "x"\n[[items]]\ntake = "a"\nseed = 3', ["items.0", "'seed' is for a piece"]),
        ('descant = 1\ntitle = "x"\n[[items]]\npiece = "a"\nseed = -3', ["items.0.seed = -3", "0"]),
        ('descant = 1\ntitle = "x"\n[[items]]\npiece = "a"\nlongest = 0', ["items.0.longest = 0", "1"]),
        ('descant = 1\ntitle = "x"\n[[items]]\npiece = "a"\nsed = 3', ["items.0.sed", "'seed'"]),
        ('descant = 1\ntitle = "x"\n[[items]]\npiece = "a"\nlabel.what = 3', ["items.0.label.what", "seconds, text"]),
        ("descant = 1\ntitle = ", ["not TOML"]),
    ],
)
def test_one_line_says_file_field_value_and_what_is_allowed(tmp_path, text, told):
    line = refused(tmp_path, text)
    for part in told:
        assert part in line


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ProgrammeError, match=r"No such file.*--example"):
        read_programme(tmp_path / "none.toml")
    (tmp_path / "p.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProgrammeError, match="not UTF-8"):
        read_programme(tmp_path / "p.toml")


def test_it_is_frozen():
    programme = parse_programme(GOOD, "x")
    with pytest.raises(ValueError, match="frozen"):
        programme.title = "y"  # type: ignore[misc]
