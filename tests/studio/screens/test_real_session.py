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

from textual.pilot import Pilot
from textual.widgets import Static

from studio.app import Studio
from studio.screens.compose import Compose
from studio.screens.dialogs import Ask
from studio.session import Session


class House:
    """What a test plays with."""

    def __init__(self, app: Studio, pilot: Pilot[None], session: Session) -> None:
        self.app, self.pilot, self.session = app, pilot, session

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            await self.pilot.pause(0.02)

    def text(self, selector: str) -> str:
        """What a widget of the screen in front says."""
        widget = self.app.screen.query_one(selector)
        return "\n".join(strip.text.rstrip() for strip in widget.render_lines(widget.region.size.region))


@asynccontextmanager
async def studio(folder: Path, place: Path) -> AsyncIterator[House]:
    """The studio on an archive, with a piece that is ready to play; in silence, and without pictures."""
    Compose.paints = False
    made: list[Session] = []

    def start(post: Callable[[object], None]) -> Session:
        made.append(Session(post, str(place), backend="silent"))
        return made[0]

    app = Studio(start, folder, "knots")
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
