"""The compose screen: its controls, voices, lists and dialogues, over a real session."""

from __future__ import annotations

import pytest
from textual.widgets import Input, Static

from studio.keymap import ACTIONS
from studio.messages import Opened, Rescored, Turned
from studio.screens.desk import Desk
from studio.screens.help import Help, Reader
from studio.screens.jump import Jump, reachable
from studio.screens.voices import Head, Row
from studio.widgets.knob import Knob
from studio.widgets.picture import Picture
from studio.widgets.plot import Plot
from tests.studio.screens.stage import given, play, staged, stored_edits

pytestmark = pytest.mark.usefixtures("home")


def test_every_action_of_the_table_can_be_done(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            nodes = {
                "everywhere": stage.app,
                "compose": stage.screen,
                "control": stage.screen.query(Knob).first(),
                "voice": stage.screen.query("VoiceBox").first(),
                "mapping": stage.screen.query(Row).first(),
            }
            for action in ACTIONS:
                if action.where in nodes and action.id != "fold":
                    assert hasattr(nodes[action.where], f"action_{action.id}"), action.id
            assert hasattr(Head, "action_fold")

    play(scene)


def test_space_plays_wherever_the_focus_is_but_in_text(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            for selector in ("#items", "Knob", "Head", "Row", "#plot", "#timeline"):
                was = stage.memory.playing
                stage.screen.query(selector).first().focus()
                await stage.press("space")
                await stage.until(lambda w=was: stage.memory.playing != w)
            await stage.press("space")
            await stage.until(lambda: stage.memory.playing)
            stage.screen.query_one("#filter").focus()
            await stage.press("space", "a")
            await stage.until(lambda: stage.screen.query_one("#filter").value == " a")
            beat = stage.position.beat
            await stage.until(lambda: stage.position.beat > beat + 0.3)
            assert stage.memory.playing

    play(scene)


def test_a_control_is_turned_and_a_refusal_stands_under_it(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            knob = stage.screen.query_one(Desk).knob("knots", "learning_rate")
            knob.focus()
            await stage.press("0", ".", "5", "enter")
            await stage.until(lambda: stage.reports(Turned))
            assert stage.session.piece["parts"]["knots"]["controls"]["learning_rate"] == 0.5
            await stage.press("9", "9", "9", "9", "enter")
            await stage.until(lambda: knob.error.startswith("9999.0: allowed are "))
            await stage.step(1)

    play(scene)
    assert given(tmp_path, "control") == [{"name": "learning_rate", "value": 0.5}]


def test_a_mapping_is_edited_where_it_stands(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            row = next(r for r in stage.screen.query(Row) if r.path == "score.voices.root.lanes.cutoff")
            row.focus()
            await stage.press("enter")
            await stage.until(lambda: isinstance(stage.screen.focused, Input))
            box = stage.screen.focused
            assert box.value == "2500"
            box.value = "9e9"
            await stage.press("enter")
            await stage.until(lambda: row.query(".error"))
            said = str(row.query_one(".error").render())
            assert "cutoff" in said
            assert "allowed is" in said
            assert row.editing
            box.value = "{ channel = "
            await stage.press("enter")
            await stage.until(lambda: "not TOML" in str(row.query(".error").last().render()))
            box.value = '{ channel = "loss", range = [400, 4000] }'
            await stage.press("enter")
            await stage.until(lambda: not row.editing)
            assert row.has_focus
            await stage.until(lambda: "loss → 400..4000" in stage.text(row))
            await stage.until(lambda: stage.reports(Rescored))  # it is heard
            assert stage.reports(Rescored)[0].score["voices"]["root"]["lanes"]["cutoff"]["channel"] == "loss"
            await stage.press("u")
            await stage.until(lambda: "2500" in stage.text(row))
            await stage.press("u")
            await stage.until(lambda: "nothing to undo" in stage.notice)
            await stage.press("U")
            await stage.until(lambda: "loss → 400..4000" in stage.text(row))

    play(scene)
    assert stored_edits(tmp_path)[1:] == ["root lanes cutoff changed"]


def test_escape_leaves_the_editor_and_changes_nothing(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            await stage.press("space")
            row = stage.screen.query(Row).first()
            row.focus()
            await stage.press("enter")
            await stage.until(lambda: isinstance(stage.screen.focused, Input))
            await stage.press("9", "escape")
            await stage.until(lambda: not row.editing)
            assert len(stage.session.history.edits) == 1
            beat = stage.position.beat
            await stage.until(lambda: stage.position.beat > beat + 0.3)  # nor is it silence

    play(scene)


def test_voices_are_muted_soloed_and_made_louder(tmp_path):
    async def scene():
        async with staged(tmp_path, backend="silent") as stage:

            async def heard(root: bool, fifth: bool) -> None:
                await stage.until(lambda: ((stage.peak("root") > 1e-3), (stage.peak("fifth") > 1e-3)) == (root, fifth))

            await stage.press("space")
            await heard(True, True)
            box, other = (stage.screen.query_one(Desk).voices[name] for name in ("fifth", "root"))
            await stage.until(lambda: "█" in stage.text(box.head))
            box.head.focus()
            await stage.press("m")
            await heard(True, False)
            await stage.until(lambda: stage.text(box.head).split()[0] == "M")
            await stage.until(lambda: "█" not in stage.text(box.head))
            assert "█" in stage.text(other.head)
            await stage.press("m", "s")
            await heard(False, True)
            await stage.until(lambda: stage.text(box.head).split()[:2] == ["m", "S"] and not other.heard)
            await stage.press("plus")
            await stage.until(lambda: "-5.0" in stage.text(box.head))
            await stage.until(lambda: any(r.score["voices"]["fifth"]["gain_db"] == -5 for r in stage.reports(Rescored)))
            before = box.folded
            await stage.press("enter")
            await stage.until(lambda: box.folded != before)
            assert all(row.display == before for row in box.query(Row))
            box.query(Row).first().display = True
            box.query(Row).first().focus()
            await stage.press("m")
            await heard(False, False)

    play(scene)


def test_help_is_about_what_has_the_focus(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            knob = stage.screen.query(Knob).first()
            knob.focus()
            await stage.press("f1")
            await stage.until(lambda: isinstance(stage.app.screen, Help))
            told = (knob.label, knob.declared.about[:20], "on a control")

            def shown() -> str:
                return "\n".join(strip.text for strip in stage.app.screen._compositor.render_strips())

            await stage.until(lambda: all(words in shown() for words in told))
            await stage.press("escape")
            await stage.until(lambda: knob.has_focus)
            await stage.press("i")
            await stage.until(lambda: isinstance(stage.app.screen, Reader))
            text = stage.app.screen._text
            assert "references" in text
            assert "Castro" in text

    play(scene)


def test_jumping_goes_to_a_letter(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            wanted = {"Knob", "Head", "Plot", "Timeline", "OptionList"}
            await stage.until(lambda: {type(w).__name__ for w in reachable(stage.screen)} >= wanted)  # it is laid out
            await stage.press("j")
            await stage.until(lambda: isinstance(stage.app.screen, Jump))
            letters = stage.app.screen._targets
            assert {type(w).__name__ for w in letters.values()} >= wanted
            letter, target = next((k, w) for k, w in letters.items() if isinstance(w, Plot))
            await stage.press(letter)
            await stage.until(lambda: stage.screen.focused is target)
            await stage.press("j")
            await stage.until(lambda: isinstance(stage.app.screen, Jump))
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen)
            assert stage.screen.focused is target

    play(scene)


def test_the_palette_does_what_is_typed(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            await stage.press("ctrl+p")
            await stage.until(lambda: stage.app.screen.query("CommandList"))
            await stage.press(*"on the first")
            await stage.until(lambda: stage.app.screen.query_one("CommandList").option_count == 1)
            await stage.press("enter")
            await stage.until(lambda: stage.position.beat == 0)

    play(scene)


def test_another_piece_is_opened_from_the_shelf(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            await stage.press("o")
            await stage.until(lambda: stage.screen.focused.id == "filter")
            await stage.press(*"cubic paper")
            await stage.until(lambda: stage.screen.query_one("#items").option_count == 1)
            await stage.press("enter")
            await stage.until(lambda: "cubics-paper" in stage.text("#head"))
            await stage.until(lambda: [*stage.memory.trails] == ["cubics"])
            await stage.until(lambda: {k.part for k in stage.screen.query(Knob)} == {"cubics"})
            await stage.step(3)
            await stage.until(lambda: 'piece = "cubics-paper"' in (tmp_path / "settings.toml").read_text())
            stage.screen.query_one("#filter").focus()
            await stage.press(*["backspace"] * 11, *"nowhere.toml", "enter")
            await stage.until(lambda: "nowhere.toml: cannot be read" in stage.notice)
            assert "cubics-paper" in stage.text("#head")

    play(scene)


@pytest.mark.parametrize("size", [(160, 50), (80, 24)])
def test_in_the_shelf_letters_are_text_and_the_arrows_choose(tmp_path, size):
    async def scene():
        async with staged(tmp_path, size=size) as stage:
            field, begun = stage.screen.query_one("#filter", Input), len(stage.reports(Opened))
            await stage.press("o")
            await stage.until(lambda: stage.screen.focused is field)
            await stage.press(*"no", "x", "i", "backspace", "backspace", "backspace", "backspace")
            assert stage.app.screen is stage.screen
            assert field.value == ""
            options = stage.screen.query_one("#items")
            assert options.highlighted == 0
            await stage.press("down", "down", "down", "up")
            assert options.highlighted == 2
            assert stage.screen.focused is field
            await stage.press("c", "escape")
            await stage.until(lambda: stage.screen.focused.id == "timeline")
            assert field.value == ""
            assert stage.notice != "silence"
            assert len(stage.reports(Opened)) == begun  # no new seed
            await stage.press("o", *"ca")  # which stands in the words about others
            await stage.until(lambda: [options.get_option_at_index(i).id for i in (0, 1)] == ["canon", "castro"])
            assert options.option_count > 3
            assert options.highlighted == 0
            await stage.press("enter")
            await stage.until(lambda: "Training canon" in stage.text("#head"))

    play(scene)


def test_a_small_terminal_has_the_shelf_on_a_key(tmp_path):
    async def scene():
        async with staged(tmp_path, size=(80, 24)) as stage:
            assert not stage.screen.query_one("#shelf").region.area
            await stage.press("o")
            await stage.until(lambda: stage.screen.query_one("#shelf").region.width == 80)
            await stage.press("escape")
            await stage.until(lambda: not stage.screen.query_one("#shelf").region.area)
            assert stage.notice != "silence"
            await stage.press("f")
            await stage.until(lambda: stage.screen.query_one(Picture).region.width == 80)

    play(scene)


def test_the_picture_and_the_lines_are_those_of_the_frames(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=40, paints=True) as stage:
            picture = stage.screen.query_one(Picture)
            await stage.until(lambda: picture.painted and picture._pixels.max() > 100)
            first = picture._pixels.copy()
            await stage.step(20)
            await stage.until(lambda: not (picture._pixels == first).all())
            plot = stage.screen.query_one(Plot)
            await stage.until(lambda: plot.lanes and len(plot.lanes[0].values) == 60)
            assert [lane.name for lane in plot.lanes][:2] == ["loss", "note"]  # what is heard comes first
            assert plot.lanes[0].values[-1] == stage.trail.window("loss", 59, 1)[0]

    play(scene)


def test_leaving_asks_only_where_something_would_be_lost(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            stage.session.gain("root", -9.0)
            await stage.press("q")
            await stage.until(lambda: len(stage.app.screen_stack) == 3)
            words = " ".join(str(static.render()) for static in stage.app.screen.query(Static))
            assert "edits of knots are in no file" in words
            await stage.press("n")
            await stage.until(lambda: len(stage.app.screen_stack) == 2)
            await stage.press("q")
            await stage.until(lambda: len(stage.app.screen_stack) == 3)
            await stage.press("s")
            await stage.until(lambda: stage.app.screen.query(Input))
            stage.app.screen.query_one("Input").value = str(tmp_path / "mine.toml")
            await stage.press("enter")
            await stage.until(lambda: not stage.app.is_running)
        assert "gain_db = -9.0" in (tmp_path / "mine.toml").read_text()
        async with staged(tmp_path) as stage:
            stage.session.gain("root", -9.0)
            await stage.press("q")
            await stage.until(lambda: len(stage.app.screen_stack) == 3)
            await stage.press("l")
            await stage.until(lambda: not stage.app.is_running)

    play(scene)


def test_themes_go_round_and_are_remembered(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            first = stage.app.theme
            await stage.press("f9")
            await stage.until(lambda: stage.app.theme == "descant-light")
            await stage.press("f9", "f9", "f9")
            await stage.until(lambda: stage.app.theme == first)
            await stage.press("f9")
            await stage.until(lambda: stage.app.theme == "descant-light")
        async with staged(tmp_path) as stage:
            assert stage.app.theme == "descant-light"

    play(scene)


def test_where_files_are_broken_the_defaults_work(tmp_path):
    (tmp_path / "keymap.toml").write_text("play = ")
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "mine.toml").write_text("primary = 3")

    async def scene():
        async with staged(tmp_path) as stage:
            assert stage.app.theme == "descant-dark"
            assert "mine" not in stage.app.available_themes
            await stage.press("space")
            await stage.until(lambda: stage.memory.playing)

    play(scene)


def test_a_keymap_changes_keys_and_what_is_said_of_them(tmp_path):
    (tmp_path / "keymap.toml").write_text('play = "p"\nkeep = []\nloop_to = "z"')

    async def scene():
        async with staged(tmp_path) as stage:
            assert "p Play/pause" in stage.text("#keys")
            assert stage.text("#hint").count("p  plays") == 1
            await stage.step(10)
            await stage.press("space", "k", "home")
            await stage.until(lambda: stage.position.beat == 0)
            assert not stage.memory.playing
            assert "● scratch" in stage.text("#head")
            await stage.press("left_square_bracket")
            await stage.until(lambda: stage.notice == "the loop begins at bar 1; z ends it")
            await stage.press("p")
            await stage.until(lambda: stage.memory.playing)

    play(scene)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("vi '", 'EDITOR = "vi \'": cannot be read as a command (No closing quotation); the piece is in'),
        ("{folder}/gvim", "gvim: Exec format error: name another editor in EDITOR"),
    ],
)
def test_an_editor_that_cannot_be_started_is_a_notice(tmp_path, monkeypatch, given, line):
    (tmp_path / "gvim").write_text("no program")
    (tmp_path / "gvim").chmod(0o755)
    monkeypatch.setenv("EDITOR", given.format(folder=tmp_path))
    for name in ("VISUAL", "TMUX"):
        monkeypatch.delenv(name, raising=False)

    async def scene():
        async with staged(tmp_path) as stage:
            await stage.press("e")
            await stage.until(lambda: line in stage.notice)

    play(scene)


def test_an_editor_beside_opens_the_file_that_is_heard(tmp_path, monkeypatch):
    editor = tmp_path / "gvim"
    editor.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/edited\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    for name in ("VISUAL", "TMUX"):
        monkeypatch.delenv(name, raising=False)

    async def scene():
        async with staged(tmp_path) as stage:
            await stage.press("e")
            await stage.until(lambda: "knots.toml is open beside" in stage.notice)
            await stage.until((tmp_path / "edited").exists)
            await stage.until(lambda: (tmp_path / "edited").read_text().strip() == str(stage.session.file()))

    play(scene)
