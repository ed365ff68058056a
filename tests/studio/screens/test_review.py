"""Reviewing visits on the screen: by keys, with real transcripts, real takes and a real worker."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from db.archive import Archive
from studio.keymap import ACTIONS
from studio.retelling import Reteller
from studio.review import OUTSIDE
from studio.screens import review
from studio.screens.dialogs import Pick
from studio.screens.library_parts import Chip
from studio.screens.review import Reviewing
from studio.screens.review_parts import NoteDialog, fitted
from studio.themes import THEMES
from studio.widgets.picture import Picture
from studio.widgets.tones import theme_of, tone
from tests.studio.experiment.studying import write_visitors
from tests.studio.reviewing import PLANTED, make_archive
from tests.studio.screens.stage import soon

SIZES = ((140, 40), (60, 16))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviewing")
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(write_visitors(tmp_path_factory.mktemp("visitors"))))
    patch.setenv("DESCANT_HOME", str(folder / "home"))
    yield make_archive(folder)[0]
    patch.undo()
    sys.modules.pop("hearing", None)


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """An archive of one's own; the media are shared."""
    (tmp_path / "archive.db").write_bytes(made.read_bytes())
    for beside in made.parent.iterdir():
        if beside.is_dir():
            (tmp_path / beside.name).symlink_to(beside)
    return tmp_path / "archive.db"


class Host(App[None]):
    """Shows the visits."""

    def __init__(self, place: Path, sound: Any = None) -> None:
        super().__init__()
        for look in THEMES.values():
            self.register_theme(theme_of(look))
        self.theme = "descant-dark"
        self.reviewing = Reviewing(str(place), sound, author="ann")
        self.left = False

    def on_mount(self) -> None:
        self.push_screen(self.reviewing, lambda result: setattr(self, "left", True))


class Desk:
    """What a test plays with."""

    def __init__(self, app: Host, pilot: Pilot[None], place: Path) -> None:
        self.app, self.pilot, self.place, self.screen = app, pilot, place, app.reviewing

    async def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            await self.pilot.pause(0.01)

    async def press(self, *keys: str) -> None:
        await self.type(*keys)
        await self.calm()

    async def type(self, *keys: str) -> None:
        """Press keys, and do not wait for what comes of them."""
        # Textual waits for an idle process after each, which one with a worker is not.
        with patch("textual.app.wait_for_idle", soon), patch("textual.pilot.wait_for_idle", soon):
            await self.pilot.press(*keys)

    async def calm(self) -> None:
        for _ in range(2):
            await self.pilot.pause()
            await self.until(lambda: self.screen.settled)

    def text(self, selector: str = "") -> str:
        """What the terminal shows, of the whole screen or a part."""
        screen = self.app.screen
        rows = [strip.text for strip in screen._compositor.render_strips()]
        if selector:
            region = screen.query_one(selector).region
            rows = [row[region.x : region.right] for row in rows[region.y : region.bottom]]
        return "\n".join(row.rstrip() for row in rows)

    async def visit(self, ended: str) -> None:
        """Read the newest visit that ended so."""
        at = [row.ended for row in self.screen.rows.values()].index(ended)
        self.screen.table.move_cursor(row=at)
        wanted = list(self.screen.rows)[at]
        await self.until(lambda: self.screen.seen is not None and self.screen.seen.listed.id == wanted)
        await self.calm()


def reviewing(
    place: Path, test: Callable[[Desk], Awaitable[None]], size: tuple[int, int] = SIZES[0], sound: Any = None
) -> Host:
    async def run() -> Host:
        app = Host(place, sound)
        async with app.run_test(size=size) as pilot:
            desk = Desk(app, pilot, place)
            await desk.until(lambda: desk.screen.rows)
            await desk.calm()
            await test(desk)
        return app

    return asyncio.run(run())


def bars(desk: Desk) -> list[tuple[float, float, bool]]:
    """Of each option on the screen: its probability, the cells that its bar fills, and whether it is the chosen one."""
    colours = {tone(desk.screen, name).lower() for name in ("primary", "accent")}
    region = desk.app.screen.query_one("#turn").region
    found = []
    for strip in desk.app.screen._compositor.render_strips()[region.y : region.bottom]:
        line = strip.crop(region.x, region.right)
        if share := re.match(r" ([▸ ]) (?:\S.*?) +(\d\.\d{3}) ", line.text):
            drawn = [segment for segment in line if set(segment.text) <= set("█▉▊▋▌▍▎▏") and segment.text]
            assert all(segment.style.color.name in colours for segment in drawn)
            eighths = sum(8 - "█▉▊▋▌▍▎▏".index(cell) for segment in drawn for cell in segment.text)
            found.append((float(share[2]), eighths / 8, share[1] == "▸"))
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_visit_is_read_turn_by_turn_with_bars_as_long_as_its_probabilities(place, size):
    async def test(desk: Desk) -> None:
        assert len(desk.screen.rows) == 5
        await desk.visit("broken off")
        await desk.press("enter")
        assert "Work bo: 1 moment." in desk.text("#turn")
        await desk.press("n")
        found = bars(desk)
        assert [share for share, _, _ in found] == [0.5, 0.25, 0.25, 0.0], "in the order in which they were shown"
        assert [chosen for *_, chosen in found] == [False, False, True, False]
        longest = found[0][1]
        assert longest >= 3
        assert [cells for _, cells, _ in found] == pytest.approx(
            [longest * share / 0.5 for share, *_ in found], abs=1 / 8
        )
        await desk.press("n")
        assert "that was the last turn" in desk.text("#notice")
        await desk.press("p", "p")
        assert desk.screen.at == 0

    reviewing(place, test, size)


def test_who_it_was_and_what_it_took_is_seen_after_unblinding_and_not_before(place):
    """Model, revision, seed, condition, tokens, latency, retries: on the screen, and in what can be chosen of it."""
    secret = ("SECRETmodel-1", "condition", "seed", "tokens 12", "latency 0.25 s", "retries 0")

    async def test(desk: Desk) -> None:
        await desk.visit("broken off")
        await desk.press("enter", "n")
        shown = " ".join(desk.text().split())
        assert [word for word in secret if word in shown.replace("audience, model, condition,", "")] == []
        assert not desk.screen.query_one("#condition").display
        await desk.press("u", "enter", "u")
        await desk.until(lambda: "unblinded: ann" in desk.text("#notice"))
        await desk.calm()
        shown = " ".join(desk.text().split())
        assert [word for word in secret if word not in shown] == []
        chip = desk.screen.query_one("#condition", Chip)
        chip.focus()
        await desk.press("enter")
        assert (chip.value, len(desk.screen.rows)) == ("shuffled", 4)

    reviewing(place, test)


def test_the_list_is_narrowed_by_study_visitor_and_end_and_made_whole_again(place):
    async def test(desk: Desk) -> None:
        def ends() -> list[str]:
            return sorted(row.ended for row in desk.screen.rows.values())

        assert "any" not in desk.text("#chips").replace("any decision", "")
        await desk.press("c", "enter")  # the first chip is that of studies
        assert {row.study for row in desk.screen.rows.values()} != {"test study", OUTSIDE}
        await desk.press("x")
        assert len(desk.screen.rows) == 5
        await desk.press("c", "enter", "enter")
        study = {row.study for row in desk.screen.rows.values()}
        assert study in ({"test study"}, {OUTSIDE})
        await desk.press("x", "c", "tab", "enter")
        assert [row.who for row in desk.screen.rows.values()] == ["random"], "those are blind who attended the others"
        await desk.press("x", "c", "tab", "tab", "enter")
        assert isinstance(desk.app.screen, Pick), "visits end in many ways"
        await desk.type("down", "down", "enter")
        await desk.calm()
        assert ends() == ["broken off"], "failed"
        assert "failed" in desk.text("#chips")
        await desk.press("x")
        assert len(ends()) == 5

    reviewing(place, test)


def test_an_empty_archive_says_so_and_every_key_can_be_pressed(tmp_path):
    Archive.open(tmp_path / "archive.db").close()

    async def run() -> None:
        app = Host(tmp_path / "archive.db")
        async with app.run_test(size=(80, 24)) as pilot:
            desk = Desk(app, pilot, tmp_path)
            await desk.until(lambda: "no visits yet: descant attend TAKE makes one" in desk.text("#notice"))
            for action in ACTIONS:
                if action.where == "review" and action.id not in ("leave_review", "search_visits"):
                    await desk.press(action.keys[0])
            assert desk.app.screen is desk.screen
            await desk.type("escape")
            await desk.until(lambda: app.left)

    asyncio.run(run())


def test_every_key_at_the_bottom_is_there_and_does_something(place):
    """As many as there is room for; where there is little, how to go on and back."""

    async def test(desk: Desk) -> None:
        keys = " ".join(desk.text("#keys").split())
        for action in ACTIONS:
            if action.where == "review":
                assert f"{desk.screen.keymap.sign(action.id)} {action.label}" in keys

    reviewing(place, test, size=(200, 50))

    async def small(desk: Desk) -> None:
        keys = " ".join(desk.text("#keys").split())
        assert keys.startswith("n Next p Before d Jump Space Play")
        assert keys.endswith("Esc Leave")

    reviewing(place, small, size=(80, 24))


def test_whoever_turns_fast_gets_the_moment_of_the_last_turn(place, monkeypatch):
    """The worker is begun once, however soon it is asked for again."""
    begun, again = [], threading.Event()

    def slowly(where: str) -> Reteller:
        begun.append(where)
        again.set() if len(begun) > 1 else again.wait(0.5)  # as long as others have to come in
        return Reteller(where)

    monkeypatch.setattr(review, "Reteller", slowly)

    async def test(desk: Desk) -> None:
        monkeypatch.setattr(review, "REST", 0.0)
        await desk.visit("answered")
        await desk.type("enter", "n", "n", "p")
        await desk.until(lambda: desk.screen.heard is not None)
        assert desk.screen.heard.path.name.endswith("-1.wav")
        assert len(begun) == 1

    reviewing(place, test)


@pytest.mark.parametrize("size", SIZES)
def test_blind_names_stand_nowhere_until_the_coder_unblinds(place, size):
    async def shown(desk: Desk) -> str:
        """All that is seen of two trials, on all their turns."""
        told = [desk.text()]
        for row in [row for row in desk.screen.rows.values() if row.experiment][:2]:
            desk.screen.table.move_cursor(row=list(desk.screen.rows).index(row.id))
            await desk.until(lambda row=row: desk.screen.seen and desk.screen.seen.listed.id == row.id)
            await desk.type("enter")
            for _ in range(row.turns):
                told.append(desk.text())
                await desk.type("n")
            await desk.type("a")
            await desk.pilot.pause()
            told.append(desk.text())
            await desk.type("escape", "escape")
        return "\n".join(told)

    async def test(desk: Desk) -> None:
        blind = await shown(desk)
        assert [name for name in PLANTED if name in blind] == []
        await desk.visit("broken off")
        await desk.press("u", "enter", "n")
        with Archive.open(desk.place) as archive:
            study = archive.studies.experiments()[0].id
            assert archive.studies.unblindings(study) == []
        await desk.press("u", "enter", "u")
        await desk.until(lambda: "unblinded: ann" in desk.text("#notice"))
        with Archive.open(desk.place) as archive:
            assert [one.coder for one in archive.studies.unblindings(study)] == ["ann"]
        known = "".join((await shown(desk)).split())
        # A piece is never told; where there is little room the rest is told too, but further down.
        unseen = [name for name in PLANTED if name not in known]
        assert unseen == ["SECRETpiece"] if size == SIZES[0] else "SECRETaudience" not in unseen

    reviewing(place, test, size)


def test_nothing_that_a_terminal_would_obey_is_shown(place):
    async def test(desk: Desk) -> None:
        await desk.visit("broken off")
        for _ in range(2):
            shown = desk.text()
            assert "evil" in shown
            assert [c for c in shown if c != "\n" and not c.isprintable()] == []
            assert "[bold]" in shown, "markup is text"
            await desk.press("n")

    reviewing(place, test)


def test_beside_a_turn_is_what_was_seen_and_heard(place, speaker):
    async def test(desk: Desk) -> None:
        await desk.visit("answered")
        await desk.press("enter", "n")
        await desk.until(lambda: desk.screen.heard is not None)
        picture = desk.screen.query_one(Picture)
        await desk.pilot.pause()
        assert picture._pixels is not None
        assert picture._pixels.max() > 20, "something is drawn"
        speaker.record(True)
        await desk.press("space")
        await desk.until(lambda: "▶" in desk.text("#heard"))
        await desk.until(lambda: "■" in desk.text("#heard"))  # it ends by itself
        assert not desk.screen.audition.playing
        speaker.record(False)
        first = desk.screen.heard
        await desk.press("n", "n")
        await desk.until(lambda: desk.screen.heard is not None and desk.screen.heard is not first)
        await desk.press("n")
        assert "nothing was heard" in desk.text("#heard")
        await desk.press("space")
        assert "nothing was heard" in desk.text("#notice")

    reviewing(place, test, sound=speaker)


def test_facts_and_interpretations_are_written_with_their_author(place):
    async def test(desk: Desk) -> None:
        await desk.visit("left")
        await desk.press("enter", "n")
        await desk.type("i")
        await desk.pilot.pause()
        assert isinstance(desk.app.screen, NoteDialog)
        await desk.type("enter")
        assert "give a tag" in desk.text("#problem")
        await desk.type(*"lost", "tab", *"it wanders", "enter")
        await desk.until(lambda: "#lost" in desk.text("#turn"))
        line = next(line for line in desk.text("#turn").splitlines() if "#lost" in line)
        assert "interpretation" in line
        assert "it wanders" in line
        assert "ann" in " ".join(desk.text("#turn").split())
        with Archive.open(desk.place) as archive:
            (note,) = archive.studies.annotations()
            assert (note.kind, note.tag, note.text, note.turn, note.author) == (
                *("interpretation", "lost", "it wanders", 1, "ann"),
            )

    reviewing(place, test)


def test_one_jumps_to_the_next_decision_of_a_kind_searches_and_leaves(place):
    async def test(desk: Desk) -> None:
        await desk.visit("left")
        seen = desk.screen.seen
        await desk.press("enter", "k")
        assert isinstance(desk.app.screen, Pick), "they are many"
        await desk.type("down", "enter")
        await desk.calm()
        kind = str(desk.screen.query_one("#kind").value)
        expected = [step.number for step in seen.steps if kind in step.kinds]
        found = []
        for _ in expected:
            await desk.press("d")
            found.append(desk.screen.step.number)
        assert found == expected
        await desk.press("d")
        assert "no further decision" in desk.text("#notice")
        await desk.press("escape", "slash", *"1 moment.", "enter")
        assert [row.ended for row in desk.screen.rows.values()] == ["broken off"]
        desk.screen.query_one("#search", Input).value = "no such words"
        await desk.calm()
        assert desk.screen.rows == {}
        assert "no visits are like that" in desk.text("#turn")
        await desk.press("escape")
        assert len(desk.screen.rows) == 5
        await desk.type("escape")
        await desk.until(lambda: desk.app.left)

    reviewing(place, test)


def test_a_visit_is_played_again_in_the_background(place):
    async def test(desk: Desk) -> None:
        await desk.visit("answered")
        await desk.press("r")
        await desk.until(lambda: "4 turns are the same again" in desk.text("#notice"))
        desk.screen._reteller = Died()
        await desk.press("r")
        await desk.until(lambda: "cannot be played again" in desk.text("#notice"))

    reviewing(place, test)


class Died:
    """A worker that has died, as the pool tells it."""

    def replay(self, transcript: str) -> Any:
        from concurrent.futures import Future
        from concurrent.futures.process import BrokenProcessPool

        found: Future[Any] = Future()
        found.set_exception(BrokenProcessPool("it was killed"))
        return found

    def close(self) -> None: ...


def test_pictures_keep_their_proportions_on_black():
    picture = np.full((72, 128, 3), 200, np.uint8)
    for width, height in ((40, 40), (128, 20), (31, 50)):
        shown = fitted(picture, (width, height))
        assert shown.shape == (height, width, 3)
        lit = shown.max(axis=2) > 100
        columns, rows = lit.any(axis=0).sum(), lit.any(axis=1).sum()
        assert columns == width or rows == height
        assert columns / rows == pytest.approx(128 / 72, rel=0.3)


def test_every_action_of_the_screen_can_be_done():
    ours = [a for a in ACTIONS if a.where == "review"]
    assert len(ours) >= 12
    assert [a.id for a in ours if not hasattr(Reviewing, f"action_{a.id}")] == []


def test_the_screen_needs_no_torch():
    code = (
        "import sys, studio.screens.review; print([m for m in ('torch', 'transformers', 'scipy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
