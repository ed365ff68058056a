"""Reviewing visits on the screen: by keys, with real transcripts, real takes and a real worker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from db.archive import Archive
from studio.keymap import ACTIONS
from studio.screens.review import Reviewing
from studio.screens.review_parts import NoteDialog, fitted
from studio.themes import THEMES
from studio.widgets.picture import Picture
from studio.widgets.tones import theme_of
from tests.studio.experiment.studying import write_visitors
from tests.studio.reviewing import PLANTED, make_archive

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
        await self.pilot.press(*keys)
        await self.calm()

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


def bars(shown: str) -> list[tuple[float, int]]:
    """Probability and cells of each option on the screen."""
    found = []
    for line in shown.splitlines():
        words = line.split()
        numbers = [i for i, word in enumerate(words) if word.count(".") == 1 and word.replace(".", "").isdigit()]
        if numbers and len(words[numbers[0]]) == 5:
            cells = words[numbers[0] + 1] if len(words) > numbers[0] + 1 else ""
            found.append((float(words[numbers[0]]), len(cells)))
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_visit_is_read_turn_by_turn_with_bars_for_probabilities(place, size):
    async def test(desk: Desk) -> None:
        assert len(desk.screen.rows) == 5
        await desk.visit("broken off")
        await desk.press("enter")
        assert "Work bo: 1 moment." in desk.text("#turn")
        await desk.press("n")
        found = bars(desk.text("#turn"))
        assert [share for share, _ in found] == [0.5, 0.25, 0.25, 0.0]
        longest = found[0][1]
        assert longest >= 3
        assert [abs(cells - longest * share / 0.5) <= 1 for share, cells in found] == [True] * 4
        assert found[3][1] == 0
        assert "tokens 12" in " ".join(desk.text("#turn").split())
        await desk.press("n")
        assert "that was the last turn" in desk.text("#notice")
        await desk.press("p", "p")
        assert desk.screen.at == 0

    reviewing(place, test, size)


@pytest.mark.parametrize("size", SIZES)
def test_blind_names_stand_nowhere_until_the_coder_unblinds(place, size):
    async def shown(desk: Desk) -> str:
        """All that is seen of two trials, on all their turns."""
        told = [desk.text()]
        for row in [row for row in desk.screen.rows.values() if row.experiment][:2]:
            desk.screen.table.move_cursor(row=list(desk.screen.rows).index(row.id))
            await desk.until(lambda row=row: desk.screen.seen and desk.screen.seen.listed.id == row.id)
            await desk.pilot.press("enter")
            for _ in range(row.turns):
                told.append(desk.text())
                await desk.pilot.press("n")
            await desk.pilot.press("a")
            await desk.pilot.pause()
            told.append(desk.text())
            await desk.pilot.press("escape", "escape")
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
        await desk.pilot.press("i")
        await desk.pilot.pause()
        assert isinstance(desk.app.screen, NoteDialog)
        await desk.pilot.press("enter")
        assert "give a tag" in desk.text("#problem")
        await desk.pilot.press(*"lost", "tab", *"it wanders", "enter")
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
        await desk.pilot.press("escape")
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
