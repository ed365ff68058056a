"""Nothing that was edited is lost: what was left is in the history, and a session that was closed is opened again."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from textual.app import App
from textual.widgets import Input, OptionList, Static

from db.archive import Archive
from db.work import Edit
from studio.history import History
from studio.messages import Rescored
from studio.reports import Offered
from studio.screens.past import Earlier, Past, differences, laid
from tests.studio.screens.stage import Stage, play, staged

pytestmark = pytest.mark.usefixtures("home")


def lines(stage: Stage) -> list[str]:
    """What the list of the dialogue says."""
    options = stage.app.screen.query_one(OptionList)
    return [str(options.get_option_at_index(i).prompt) for i in range(options.option_count)]


def words(stage: Stage) -> str:
    return " ".join(str(static.render()) for static in stage.app.screen.query(Static))


def gain(stage: Stage) -> float:
    return stage.session.piece["score"]["voices"]["root"]["gain_db"]


def test_what_was_left_stands_in_the_history_and_is_heard_again(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=5) as stage:
            opened = gain(stage)
            stage.session.gain("root", -9.0)
            stage.session.gain("fifth", -12.0)
            stage.session.undo()
            stage.session.undo()
            stage.session.gain("root", -3.0)  # the two are left
            await stage.press("h")
            await stage.until(lambda: isinstance(stage.app.screen, Past) and len(lines(stage)) == 4)
            shown = lines(stage)
            assert [line.partition("  ")[2] for line in shown] == [
                "  opened",
                "  ├ root -9.0 dB  left",
                "  │ fifth -12.0 dB  left",
                "▶ root -3.0 dB",
            ]
            await stage.until(lambda: f"score.voices.root.gain_db: {opened:g} → -3" in words(stage))
            await stage.press("up")
            await stage.until(lambda: "score.voices.fifth.gain_db" in words(stage))
            at = len(stage.said.all)
            await stage.press("enter")
            await stage.until(
                lambda: [r.score["voices"]["root"]["gain_db"] for r in stage.reports(Rescored, at)] == [-9]
            )
            await stage.until(
                lambda: (
                    [line.partition("  ")[2] for line in lines(stage)]
                    == ["  opened", "  ├ root -9.0 dB", "▶ │ fifth -12.0 dB", "  root -3.0 dB  left"]
                )
            )
            await stage.press("home", "enter")
            await stage.until(lambda: gain(stage) == opened)
            stage.session.edit("title", "from elsewhere")
            await stage.until(lambda: len(lines(stage)) == 5)
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen)

    play(scene)


async def choose(stage: Stage, name: str) -> None:
    """Open a piece by the shelf."""
    stage.screen.query_one("#filter", Input).value = ""
    stage.screen.query_one("#filter").focus()
    await stage.press(*name)
    await stage.until(lambda: stage.screen.query_one("#items", OptionList).option_count == 1)
    await stage.press("enter")


def test_another_piece_is_opened_only_after_asking_and_the_edits_come_back(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            stage.session.gain("root", -9.0)
            await choose(stage, "cubic paper")
            await stage.until(lambda: "edits of knots are in no file" in words(stage))
            await stage.press("n")
            await stage.until(lambda: stage.app.screen is stage.screen)
            assert stage.session.name == "knots"
            await choose(stage, "cubic paper")
            await stage.until(lambda: "edits of knots are in no file" in words(stage))
            await stage.press("o")
            await stage.until(lambda: "cubics-paper" in stage.text("#head"))
            await stage.until(lambda: [*stage.memory.trails] == ["cubics"])
            stage.session.edit("title", "Another paper")
            await stage.press("H")
            await stage.until(lambda: isinstance(stage.app.screen, Earlier) and len(lines(stage)) == 1)
            assert lines(stage)[0].endswith("knots  root -9.0 dB")
            await stage.press("enter")
            await stage.until(lambda: "edits of cubics-paper are in no file" in words(stage))
            await stage.press("o")
            await stage.until(lambda: stage.session.name == "knots" and gain(stage) == -9.0)
            await stage.until(lambda: [*stage.memory.trails] == ["knots"])
            assert [edit.label for edit in stage.session.history.edits] == ["opened", "root -9.0 dB"]
            await stage.press("H")
            await stage.until(lambda: isinstance(stage.app.screen, Earlier) and len(lines(stage)) == 1)
            assert lines(stage)[0].endswith("cubics-paper  title = Another paper")

    play(scene)


def test_what_is_saved_first_is_opened_from_afterwards(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            stage.session.gain("root", -9.0)
            await choose(stage, "cubic paper")
            await stage.until(lambda: "edits of knots are in no file" in words(stage))
            await stage.press("s")
            await stage.until(lambda: stage.app.screen is not stage.screen and stage.app.screen.query(Input))
            stage.app.screen.query_one(Input).value = str(tmp_path / "mine.toml")
            await stage.press("enter")
            await stage.until(lambda: [*stage.memory.trails] == ["cubics"])
        assert "gain_db = -9.0" in (tmp_path / "mine.toml").read_text()

    play(scene)


def test_without_earlier_sessions_it_says_so(tmp_path):
    async def scene():
        async with staged(tmp_path) as stage:
            await stage.until(lambda: stage.reports(Offered))  # the archive is there
            await stage.press("H")
            await stage.until(lambda: "no session was closed yet" in words(stage))
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen)

    play(scene)


def test_branches_stand_where_they_were_left():
    """0 1 2, back to 1, 3, back to 2, 4 5, back to 0, 6, and then a jump to 4."""
    parents = [None, 0, 1, 1, 2, 4, 0]
    history = History([Edit(n, parent, str(n), {}) for n, parent in enumerate(parents)], head=6)
    rows = ["0", "├1", "│├2", "││4", "││5", "│3", "6"]
    shown = [f"{'│' * (depth - begins)}{'├' * begins}{e.number}" for e, depth, begins in laid(history.edits)]
    assert shown == rows
    assert history.way == (6, 0)
    history.jump(4)
    assert history.way == (5, 4, 2, 1, 0)


def test_a_long_history_is_laid_out():
    edits = [Edit(n, n - 2 if n % 2 and n > 1 else n - 1 if n else None, str(n), {}) for n in range(5000)]
    assert sorted(e.number for e, _, _ in laid(edits)) == list(range(5000))


def test_differences_are_lines():
    lane = {"channel": "loss", "range": [1, 2]}
    old = {
        "title": "a",
        "score": {"voices": {"v": {"gain_db": -6.0, "lanes": {"pitch": lane}}}},
        "sections": [{"b": 1}],
    }
    new = {
        "title": "b",
        "score": {"voices": {"v": {"lanes": {"pitch": {**lane, "range": [1, 4]}}}}},
        "sections": [{"b": 2}],
    }
    assert list(differences(old, new)) == [
        "title: a → b",
        "score.voices.v.gain_db: -6 → nothing",
        "score.voices.v.lanes.pitch: loss → 1..2 → loss → 1..4",
        "sections.0.b: 1 → 2",
    ]
    assert list(differences(new, new)) == []


class Edited(History):
    """One that is edited by another thread whenever its edits were read."""

    @property
    def edits(self) -> tuple[Edit, ...]:
        found = super().edits
        self.edit(f"edit {len(found)}", {"n": len(found)})
        return found


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.02)


def shown(options: OptionList) -> list[str]:
    return [str(options.get_option_at_index(i).prompt) for i in range(options.option_count)]


def test_edits_that_come_while_they_are_shown_do_no_harm():
    async def scene():
        app, history = App[None](), Edited([Edit(0, None, "opened", {})])
        async with app.run_test(size=(100, 40)):
            await app.push_screen(Past("knots", lambda: history, history.jump))
            options = app.screen.query_one(OptionList)
            await until(lambda: options.option_count > 5)

    asyncio.run(scene())


def test_a_long_history_is_laid_out_again_only_where_it_has_changed():
    async def scene():
        looks, now = [], [0.0]
        history = History([Edit(n, n - 1 if n else None, f"edit {n}", {"n": n}) for n in range(600)], 599)
        history._now = lambda: now[0]
        app = App[None]()

        def given() -> History:
            looks.append(history.head)
            return history

        async with app.run_test(size=(100, 40)):
            await app.push_screen(Past("knots", given, history.jump))
            options = app.screen.query_one(OptionList)
            first, seen = options.get_option_at_index(0), len(looks)
            await until(lambda: len(looks) > seen + 4)
            assert options.get_option_at_index(0) is first
            for turn in (1, 2):  # the second takes the place of the first
                history.edit(f"gain = {turn}", {"gain": turn}, "gain")
                await until(lambda turn=turn: f"gain = {turn}" in shown(options)[-1])
            assert options.option_count == 601
            short = History.begin({})
            history = short
            options.highlighted = 500
            await until(lambda: options.option_count == 1)

    asyncio.run(scene())


def test_earlier_sessions_of_an_archive_that_is_held_are_not_waited_for(tmp_path, monkeypatch):
    async def scene():
        place = tmp_path / "held.db"
        Archive.open(place).close()
        holder = sqlite3.connect(place, isolation_level=None)
        with closing(holder):
            holder.execute("PRAGMA locking_mode = EXCLUSIVE")
            holder.execute("BEGIN IMMEDIATE")
            app = App[None]()
            async with app.run_test(size=(100, 40)):
                with monkeypatch.context() as patch:
                    patch.setattr("studio.takes.TRY_S", 60.0)
                    for is_there in (lambda: True, lambda: app.screen.query("#said")):  # however soon one leaves
                        app.push_screen(Earlier(str(place)))
                        await until(lambda is_there=is_there: isinstance(app.screen, Earlier) and is_there())
                        app.simulate_key("escape")
                        await until(lambda: not isinstance(app.screen, Earlier))
                app.push_screen(Earlier(str(place)))
                await until(lambda: app.screen.query("#said"))
                said = app.screen.query_one("#said")
                await until(lambda: "another process is holding it" in str(said.render()))

    asyncio.run(scene())
