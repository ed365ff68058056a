"""The table of actions, the keymap file, the themes and the settings: a broken file costs a line and nothing else."""

from __future__ import annotations

import json
import tomllib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from studio.cli import descant
from studio.keymap import ACTIONS, PLACES, Keymap, key_name, key_sign, keymap_toml, read_keymap
from studio.settings import change_settings, read_settings
from studio.themes import COLOURS, THEMES, user_themes


def test_the_table_holds_together():
    assert len({a.id for a in ACTIONS}) == len(ACTIONS)
    assert {a.where for a in ACTIONS} <= set(PLACES)
    for action in ACTIONS:
        assert action.label
        assert action.help.endswith(".")
        assert action.keys
        assert [key_name(key_sign(key)) for key in action.keys] == list(action.keys)


def test_a_keymap_file_with_everything_uncommented_is_the_default(tmp_path):
    lines = [line.removeprefix("# ") for line in keymap_toml().splitlines() if " = [" in line]
    path = tmp_path / "keymap.toml"
    path.write_text("\n".join(lines))
    keymap, notice = read_keymap(path)
    assert notice == ""
    assert {a.id: keymap.keys(a.id) for a in ACTIONS} == {a.id: a.keys for a in ACTIONS}


def test_the_keymap_is_printed_as_a_file_that_says_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCANT_HOME", str(tmp_path))
    printed = CliRunner().invoke(descant, ["keymap"])
    assert printed.exit_code == 0
    assert printed.stdout == keymap_toml()
    assert str(tmp_path / "keymap.toml") in printed.stderr
    (tmp_path / "keymap.toml").write_text('play = "p"\n')
    told = json.loads(CliRunner().invoke(descant, ["keymap", "--json"]).stdout)
    assert {row["id"]: row["keys"] for row in told}["play"] == ["p"]


def test_keys_are_changed_and_taken_away(tmp_path):
    path = tmp_path / "keymap.toml"
    path.write_text('play = "p"\npanic = ["f12", "^x"]\nkeep = []\n')
    keymap, notice = read_keymap(path)
    assert notice == ""
    assert keymap.keys("play") == ("p",)
    assert keymap.keys("panic") == ("f12", "ctrl+x")
    assert keymap.keys("keep") == ()
    assert keymap.keys("undo") == ("u",)
    assert keymap.sign("panic") == "F12"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("play = ", "cannot be read"),
        ("pley = 'p'", "no action 'pley'; did you mean 'play'?"),
        ("play = 3", "play = 3: allowed is a key"),
        ("play = 'q'", "q is for 'quit' and for 'play'"),
        ("panic = []", "panic needs a key"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_broken_keymap_is_one_line_and_the_defaults(tmp_path, text, said):
    path = tmp_path / "keymap.toml"
    path.write_text(text)
    keymap, notice = read_keymap(path)
    assert keymap == Keymap({})
    assert said in notice
    assert "default keys" in notice
    assert "\n" not in notice


@given(st.binary(max_size=60))
def test_no_file_breaks_it(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("keys") / "keymap.toml"
    path.write_bytes(content)
    keymap, notice = read_keymap(path)
    assert keymap.keys("panic")
    assert "\n" not in notice


def contrast(a, b):
    """Ratio of luminances after WCAG 2."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", THEMES)
def test_themes_are_complete_and_readable(name):
    look = THEMES[name]
    assert set(look.colours) == set(COLOURS)
    ground = look.colours["background"]
    assert contrast(look.colours["foreground"], ground) >= 7
    for colour in ("accent", "secondary", "success", "warning", "error"):
        assert contrast(look.colours[colour], ground) >= 4.5, colour
    lines = [look.variables[f"channel-{n}"] for n in range(1, 9)]
    assert len(set(lines)) == 8
    assert min(contrast(colour, ground) for colour in lines) >= 3


def test_there_are_light_and_dark_ones():
    assert {look.dark for look in THEMES.values()} == {True, False}
    assert len(THEMES) == 4


def test_a_theme_of_ones_own(tmp_path):
    (tmp_path / "sea.toml").write_text('name = "sea"\ndark = true\nprimary = "#123456"\nchannel-1 = "#abcdef"\n')
    (tmp_path / "broken.toml").write_text("primary = ")
    (tmp_path / "wrong.toml").write_text('primary = "blue"')
    (tmp_path / "odd.toml").write_text('primery = "#123456"')
    found, lines = user_themes(tmp_path)
    assert [look.name for look in found] == ["sea"]
    assert found[0].colours["primary"] == "#123456"
    assert found[0].colours["accent"] == THEMES["descant-dark"].colours["accent"]
    assert found[0].variables["channel-1"] == "#abcdef"
    assert len(lines) == 3
    assert any("wrong.toml: primary = 'blue': allowed is a colour as \"#rrggbb\"" in line for line in lines)
    assert any("odd.toml: no colour 'primery'; did you mean 'primary'?" in line for line in lines)


def test_settings_are_remembered(tmp_path):
    folder = tmp_path / "new"
    assert change_settings(folder, theme="dusk") == ""
    assert change_settings(folder, piece='odd "name"\\x') == ""
    settings, notice = read_settings(folder)
    assert (settings.theme, settings.piece, notice) == ("dusk", 'odd "name"\\x', "")
    tomllib.loads((folder / "settings.toml").read_text())


def test_settings_that_cannot_be_used_are_a_line(tmp_path):
    (tmp_path / "settings.toml").write_text("theme = ")
    assert "cannot be read" in read_settings(tmp_path)[1]
    (tmp_path / "file").write_text("")
    assert "lasts until you leave" in change_settings(tmp_path / "file", theme="dusk")
