"""Every action of the compose screen, by its key: what the session is asked for, and what the screen says."""

from __future__ import annotations

from pieces.signals import FrameBlock
from studio.keymap import ACTIONS
from studio.messages import Ended, Made, Notice, Position
from studio.reports import Crashed, EngineState, Meters, Recording
from studio.screens.desk import Desk
from studio.screens.help import Help, Reader
from studio.screens.jump import Jump, reachable
from studio.screens.voices import Head, Row
from studio.widgets.knob import Knob
from studio.widgets.picture import Picture
from studio.widgets.plot import Plot
from tests.studio.screens.staging import play, staged

KEYS = [
    (["space"], [("play",)]),
    (["space", "space"], [("play",), ("pause",)]),
    (["full_stop"], [("step",)]),
    (["ctrl+e"], [("stop",)]),
    (["home"], [("seek", 0.0)]),
    (["left"], [("seek", 4.0)]),
    (["home", "right"], [("seek", 0.0), ("seek", 1.0)]),
    (["shift+left"], [("seek", 1.0)]),
    (["home", "shift+right"], [("seek", 0.0), ("seek", 4.0)]),
    (["home", "end"], [("seek", 0.0), ("seek", 5.0)]),
    (
        ["home", "left_square_bracket", "end", "right_square_bracket"],
        [("seek", 0.0), ("seek", 5.0), ("loop", (0.0, 5.0))],
    ),
    (["right_square_bracket", "backslash"], [("loop", (1.0, 5.0)), ("loop", None)]),
    (["less_than_sign"], [("speed", 0.75)]),
    (["greater_than_sign", "greater_than_sign"], [("speed", 1.5), ("speed", 2.0)]),
    (["r", "r"], [("speed", -1.0), ("speed", 1.0)]),
    (["b"], [("branch",)]),
    (["n"], [("new_seed", None)]),
    (["k"], [("keep",)]),
    (["K"], [("keep_last", 16)]),
    (["x", "y"], [("discard",)]),
    (["f8"], [("panic",)]),
    (["exclamation_mark"], [("panic",)]),
    (["escape"], [("panic",)]),
]


def test_keys_ask_the_session(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=250) as stage:  # knots: 50 ticks a second, 60 beats a minute
            model = stage.model
            for keys, deeds in KEYS:
                model.mode, model.beat, model.speed_now, model.looped = "paused", 5.0, 1.0, None
                model.end, stage.screen._loop_from = 5.0, None
                model.stand()
                model.asked.clear()
                await stage.until(lambda: not stage.app.reports)
                for key in keys:
                    await stage.press(key)
                    await stage.until(lambda: not stage.app.reports)
                await stage.until(lambda d=deeds: set(d) <= set(model.asked))
                assert model.asked == deeds, keys

    play(scene)


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


def test_no_is_no(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            await stage.press("x", "escape")
            await stage.press("x", "n")
            await stage.press("space")
            await stage.asked("play")
            assert ("discard",) not in stage.model.asked

    play(scene)


def test_space_plays_wherever_the_focus_is_but_in_text(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            plays = 0
            for selector in ("#items", "Knob", "Head", "Row", "#plot", "#timeline"):
                stage.screen.query(selector).first().focus()
                await stage.press("space")
                plays += 1
                await stage.until(lambda n=plays: len([a for a in stage.model.asked if a[0] in ("play", "pause")]) == n)
            stage.screen.query_one("#filter").focus()
            await stage.press("space", "a")
            assert stage.screen.query_one("#filter").value == " a"
            assert len([a for a in stage.model.asked if a[0] in ("play", "pause")]) == plays

    play(scene)


def test_panic_works_over_a_dialogue_and_in_a_field(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            for opening, panic in (("f1", "exclamation_mark"), ("ctrl+s", "f8"), ("ctrl+p", "f8"), ("j", "f8")):
                await stage.press(opening)
                await stage.until(lambda: len(stage.app.screen_stack) == 3)
                before = stage.model.asked.count(("panic",))
                await stage.press(panic)
                await stage.until(lambda n=before: stage.model.asked.count(("panic",)) == n + 1)
                await stage.press("escape")
                await stage.until(lambda: len(stage.app.screen_stack) <= 2)
            row = stage.screen.query(Row).first()
            row.focus()
            await stage.press("enter", "exclamation_mark")
            assert stage.screen.focused.value.endswith("!")
            before = stage.model.asked.count(("panic",))
            await stage.press("f8")
            await stage.until(lambda: stage.model.asked.count(("panic",)) == before + 1)

    play(scene)


def test_a_control_is_turned_and_a_refusal_stands_under_it(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            knob = stage.screen.query_one(Desk).knob("knot", "learning_rate") or stage.screen.query(Knob).first()
            knob.focus()
            await stage.press("0", ".", "5", "enter")
            await stage.asked("set", knob.part, knob.declared.name, 0.5)
            await stage.press("9", "9", "9", "9", "enter")
            assert "allowed are numbers from" in knob.error

    play(scene)


def test_a_mapping_is_edited_where_it_stands(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            row = next(r for r in stage.screen.query(Row) if r.path == "score.voices.root.lanes.cutoff")
            row.focus()
            await stage.press("enter")
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
            assert stage.model.piece["score"]["voices"]["root"]["lanes"]["cutoff"]["channel"] == "loss"
            assert row.has_focus
            await stage.until(lambda: "loss → 400..4000" in stage_text(stage, row))
            await stage.press("u")
            await stage.until(lambda: "2500" in stage_text(stage, row))
            await stage.press("u")
            await stage.until(lambda: stage.notice == "there is nothing to undo")

    play(scene)


def stage_text(stage, widget):
    return "\n".join(strip.text for strip in widget.render_lines(widget.region.size.region))


def test_escape_leaves_the_editor_and_changes_nothing(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            row = stage.screen.query(Row).first()
            row.focus()
            await stage.press("enter", "9", "escape")
            await stage.until(lambda: not row.editing)
            assert not any(a[0] in ("edit", "panic") for a in stage.model.asked)

    play(scene)


def test_voices_are_muted_soloed_and_made_louder(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            box = stage.screen.query_one(Desk).voices["fifth"]
            box.head.focus()
            await stage.press("m")
            await stage.asked("strip", "fifth", True, None)
            await stage.until(lambda: box.muted)
            assert stage_text(stage, box.head).split()[0] == "M"
            await stage.press("m", "s")
            await stage.asked("strip", "fifth", None, True)
            await stage.until(lambda: box.soloed)
            assert not stage.screen.query_one(Desk).voices["root"].heard
            await stage.press("plus")
            await stage.asked("edit", "score.voices.fifth.gain_db", -5.0)
            await stage.until(lambda: "-5.0" in stage_text(stage, box.head))
            before = box.folded
            await stage.press("enter")
            assert box.folded != before
            assert all(row.display == before for row in box.query(Row))
            box.query(Row).first().display = True
            box.query(Row).first().focus()
            await stage.press("m")
            await stage.until(lambda: box.muted)

    play(scene)


def test_help_is_about_what_has_the_focus(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            knob = stage.screen.query(Knob).first()
            knob.focus()
            await stage.press("f1")
            assert isinstance(stage.app.screen, Help)
            shown = "\n".join(strip.text for strip in stage.app.screen._compositor.render_strips())
            assert knob.label in shown
            assert knob.declared.about[:20] in shown
            assert "on a control" in shown
            await stage.press("escape")
            assert knob.has_focus
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
            assert isinstance(stage.app.screen, Jump)
            letters = stage.app.screen._targets
            assert {type(w).__name__ for w in letters.values()} >= wanted
            letter, target = next((k, w) for k, w in letters.items() if isinstance(w, Plot))
            await stage.press(letter)
            await stage.until(lambda: stage.screen.focused is target)
            await stage.press("j", "escape")
            assert stage.screen.focused is target

    play(scene)


def test_the_palette_does_what_is_typed(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            await stage.press("ctrl+p")
            await stage.pilot.press(*"Keep 16 bars")
            options = stage.app.screen.query_one("CommandList")
            await stage.until(lambda: options.option_count == 1)
            await stage.press("enter")
            await stage.until(lambda: ("keep_last", 16) in stage.model.asked)

    play(scene)


def test_another_piece_is_opened_from_the_shelf(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            await stage.press("o")
            assert stage.screen.focused.id == "items"
            stage.screen.query_one("#filter").focus()
            await stage.pilot.press(*"cubic paper")
            await stage.until(lambda: stage.screen.query_one("#items").option_count == 1)
            await stage.press("enter")
            await stage.asked("open", "cubics-paper")
            await stage.until(lambda: "cubics-paper" in stage.text("#head"))
            assert stage.app.keymap
            assert 'piece = "cubics-paper"' in (tmp_path / "settings.toml").read_text()

    play(scene)


def test_what_cannot_be_opened_is_a_notice(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            stage.screen.query_one("#filter").focus()
            await stage.pilot.press(*"nowhere.toml", "enter")
            await stage.until(lambda: "nowhere.toml: cannot be read" in stage.notice)
            assert "knots" in stage.text("#head")

    play(scene)


def test_a_small_terminal_has_the_shelf_on_a_key(tmp_path):
    async def scene():
        async with staged(tmp_path, size=(80, 24)) as stage:
            assert not stage.screen.query_one("#shelf").region.area
            await stage.press("o")
            assert stage.screen.query_one("#shelf").region.width == 80
            await stage.press("escape")
            assert not stage.screen.query_one("#shelf").region.area
            assert ("panic",) not in stage.model.asked
            await stage.press("f")
            await stage.until(lambda: stage.screen.query_one(Picture).region.width == 80)

    play(scene)


def test_what_happens_is_shown(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=50) as stage:
            post = stage.app.reports.append
            post(EngineState("silent", False, 0, "no sound device: silent, and everything else works"))
            await stage.until(lambda: "no sound device" in stage.notice)
            post(EngineState("jack", True, 3, "3 blocks of sound came too late"))
            await stage.until(lambda: "3 underruns" in stage.text("#sound"))
            post(Recording("id", "scratch"))
            await stage.until(lambda: "scratch" in stage.text("#head"))
            post(Meters((0.5, 1.1), {"root": 1.0}))
            await stage.until(lambda: "CLIP" in stage.text("#transport"))
            assert "█" in stage_text(stage, stage.screen.query_one(Desk).voices["root"].head)
            assert "█" not in stage_text(stage, stage.screen.query_one(Desk).voices["fifth"].head)
            post(Position("recorded", 9.0, 9.0, 12.0, 3, 60.0, -0.5, "coda", {"knot": 20}, (4.0, 10.0)))
            await stage.until(lambda: "TAPE" in stage.text("#transport"))
            said = stage.text("#transport")
            assert "×-0.5" in said
            assert "coda" in said
            assert "2–3.5" in said
            post(Crashed("the source was killed (SIGKILL)"))
            await stage.until(lambda: "SIGKILL" in stage.notice)
            post(Ended("failed", "it broke"))
            await stage.until(lambda: stage.notice == "it broke")
            post(Notice("text from\nelsewhere [bold]with[/] \x1b[31mmarkup"))
            await stage.until(lambda: "elsewhere [bold]with[/]" in stage.notice)

    play(scene)


def test_the_picture_and_the_lines_are_those_of_the_frames(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=100, paints=True) as stage:
            picture = stage.screen.query_one(Picture)
            await stage.until(lambda: picture.painted and picture._pixels.max() > 100, 40)
            first = picture._pixels.copy()
            stage.model.make(100)
            await stage.until(lambda: not (picture._pixels == first).all(), 40)
            plot = stage.screen.query_one(Plot)
            await stage.until(lambda: plot.lanes and len(plot.lanes[0].values) == 200)
            assert [lane.name for lane in plot.lanes][:2] == ["loss", "note"]  # what is heard comes first
            trail = stage.screen.memory.trails[next(iter(stage.screen.memory.trails))]
            assert plot.lanes[0].values[-1] == trail.window("loss", 199, 1)[0]

    play(scene)


def test_a_flood_of_reports_is_taken_in_without_a_queue(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            part = next(iter(stage.screen.memory.trails))
            names = stage.screen.memory.trails[part].channels
            import numpy as np

            for tick in range(3000):
                stage.app.reports.append(Made(part, FrameBlock(tick, {n: np.full(1, float(tick)) for n in names})))
            await stage.until(lambda: not stage.app.reports, 5)
            assert stage.screen.memory.trails[part].end == 3000

    play(scene)


def test_leaving_asks_only_where_something_would_be_lost(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            stage.model.unsaved = "edits of knots are in no file: save as writes one"
            await stage.press("q")
            await stage.until(lambda: len(stage.app.screen_stack) == 3)
            await stage.press("n")
            assert stage.app.is_running
            await stage.press("q", "l")
            await stage.until(lambda: not stage.app.is_running)
        async with staged(tmp_path) as stage:
            await stage.press("q")
            await stage.until(lambda: not stage.app.is_running)

    play(scene)


def test_themes_go_round_and_are_remembered(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            first = stage.app.theme
            await stage.press("f9")
            assert stage.app.theme == "descant-light"
            await stage.press("f9", "f9", "f9")
            assert stage.app.theme == first
            await stage.press("f9")
        async with staged(tmp_path) as stage:
            assert stage.app.theme == "descant-light"

    play(scene)


def test_broken_files_are_notices_and_the_defaults_work(tmp_path):
    (tmp_path / "keymap.toml").write_text("play = ")
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "mine.toml").write_text("primary = 3")

    async def scene():
        async with staged(tmp_path) as stage:
            await stage.until(lambda: "mine.toml" in stage.notice)
            await stage.press("space")
            await stage.asked("play")

    play(scene)


def test_a_keymap_changes_keys_and_what_is_said_of_them(tmp_path):
    (tmp_path / "keymap.toml").write_text('play = "p"\nkeep = []')

    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            assert "p Play/pause" in stage.text("#keys")
            assert stage.text("#hint").count("p  plays") == 1
            await stage.press("space", "k", "p")
            await stage.asked("play")
            assert stage.model.asked.count(("play",)) == 1
            assert ("keep",) not in stage.model.asked

    play(scene)
