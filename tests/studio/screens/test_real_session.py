"""The whole studio without a terminal: its screens over a real session, with its performer, engine and archive."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
from textual.pilot import Pilot
from textual.widgets import Static

from sonify.engine.commands import Record
from studio.app import Studio
from studio.audition import A
from studio.messages import Notice
from studio.screens.compose import Compose
from studio.screens.dialogs import Ask
from studio.screens.library import Library
from studio.session import Session
from studio.sound import DECK
from tests.studio.exhibition.hall import RATE, TONES, level, make_takes, recorded, tone


class House:
    """What a test plays with."""

    def __init__(self, app: Studio, pilot: Pilot[None], session: Session) -> None:
        self.app, self.pilot, self.session = app, pilot, session

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            await self.pilot.pause(0.02)

    @property
    def library(self) -> Library:
        """The library, in front."""
        assert isinstance(self.app.screen, Library)
        return self.app.screen

    def decks(self) -> set[str]:
        """What sounds on the engine."""
        state = self.session.sound.state()
        return set() if state is None else set(state.decks)

    def text(self, selector: str) -> str:
        """What a widget of the screen in front says."""
        widget = self.app.screen.query_one(selector)
        return "\n".join(strip.text.rstrip() for strip in widget.render_lines(widget.region.size.region))


@asynccontextmanager
async def studio(folder: Path, place: Path, piece: str = "knots") -> AsyncIterator[House]:
    """The studio on an archive, with a piece that is ready to play; without a device, and without pictures."""
    Compose.paints = False
    made: list[Session] = []

    def start(post: Callable[[object], None]) -> Session:
        made.append(Session(post, str(place), backend="silent"))
        return made[0]

    app = Studio(start, folder, piece)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            house = House(app, pilot, None)  # type: ignore[arg-type]
            await house.until(lambda: made and app.composing and app.composing.memory.opened is not None)
            house.session = made[0]
            yield house
    finally:
        for session in made:
            session.close()


KILLED = """
import os, signal, sys
from db.archive import Archive
from db.work import Edit, SessionRecord
from pieces.piece import find_piece

piece, base = find_piece("knots")
with Archive.open(sys.argv[1]) as archive:
    record = SessionRecord(name="knots", base=str(base), file=None, seed=3)
    archive.sessions.begin(record, Edit(0, None, "opened", piece.model_dump(mode="json")))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_session_that_was_killed_is_offered_in_words(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.db"
    assert subprocess.run([sys.executable, "-c", KILLED, place], timeout=60).returncode == -9

    async def scene() -> None:
        async with studio(tmp_path, place) as house:
            await house.until(lambda: isinstance(house.app.screen, Ask))
            words = " ".join(str(static.render()) for static in house.app.screen.query(Static))
            assert "A session of knots was not closed" in words

    asyncio.run(scene())


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An archive of two takes of a tone each, which is nobody's default."""
    folder = tmp_path_factory.mktemp("tones")
    return folder / "archive.db", make_takes(folder)


def test_the_library_shows_the_archive_that_the_session_writes(tones, home: Path, tmp_path: Path) -> None:
    place, takes = tones

    async def scene() -> None:
        async with studio(tmp_path, place) as house:
            await house.pilot.press("space")
            await house.until(lambda: "● scratch" in house.text("#head"))
            await house.pilot.press("space", "f2")
            await house.until(lambda: isinstance(house.app.screen, Library) and len(house.library.rows) == 3)
            assert set(takes.values()) < set(house.library.rows)
            await house.pilot.press("escape")

    asyncio.run(scene())
    assert not (home / "archive.db").exists()


def test_what_happens_is_said_in_the_library_too(tones, home: Path, tmp_path: Path) -> None:
    place, _ = tones

    async def scene() -> None:
        async with studio(tmp_path, place) as house:
            await house.pilot.press("f2")
            await house.until(lambda: isinstance(house.app.screen, Library) and house.library.rows)
            await house.pilot.press("f8")
            await house.until(lambda: "silence" in house.text("#notice"))
            house.app.reports.append(Notice("the performer was killed by signal 9"))
            await house.until(lambda: "signal 9" in house.text("#notice"))
            await house.pilot.press("escape")
            await house.until(lambda: house.app.screen is house.app.composing)
            assert "signal 9" in house.text("#notice")  # and is still there

    asyncio.run(scene())


def test_a_take_that_is_heard_holds_the_performance(tones, home: Path, tmp_path: Path) -> None:
    """The piece is a low tone, the take a high one: at no time do both sound, and the performance waits meanwhile."""
    place, takes = tones
    low = tone("low")
    low["parts"]["cubics"]["ticks"] = 20 * 600
    (tmp_path / "low.toml").write_text(tomlkit.dumps(low))
    heard = tmp_path / "heard.wav"

    async def scene() -> None:
        async with studio(tmp_path, place, str(tmp_path / "low.toml")) as house:
            memory = house.app.composing.memory
            await house.until(lambda: house.session.sound.state() is not None)
            house.session.sound.send(Record(heard))
            await house.pilot.press("space")
            await house.until(lambda: memory.seconds() > 1.0)
            await house.pilot.press("f2")
            await house.until(lambda: isinstance(house.app.screen, Library) and takes["high"] in house.library.rows)
            house.library.table.move_cursor(row=list(house.library.rows).index(takes["high"]))
            await house.until(lambda: house.library.card is not None and house.library.card.take.id == takes["high"])
            assert memory.playing  # to look at takes holds nothing
            await house.pilot.press("space")
            await house.until(lambda: A in house.decks() and DECK not in house.decks())
            await house.until(lambda: not memory.playing)
            assert "the performance holds" in house.text("#notice")
            held = memory.position.end
            await house.until(lambda: (house.library.audition.position() or 0.0) > 1.0)
            await house.pilot.press("escape")
            await house.until(lambda: house.app.screen is house.app.composing and not house.decks())
            assert memory.position.end == held
            await house.pilot.press("space")
            await house.until(lambda: memory.position.end > held + 1.0)
            house.session.sound.send(Record(None))
            await house.until(lambda: heard.exists() and len(recorded(heard)) > 2 * RATE)

    asyncio.run(scene())
    sound = recorded(heard)
    loud = {name: level(sound, pitch) > 0.01 for name, (pitch, _) in TONES.items()}
    order = [name for k in range(len(loud["low"])) for name in loud if loud[name][k]]
    assert [n for k, n in enumerate(order) if k == 0 or n != order[k - 1]] == ["low", "high", "low"]
    assert np.sum(loud["low"] & loud["high"]) <= 1  # while one goes, and the other comes
