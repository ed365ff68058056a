"""The studio on a stage without a terminal: its screens over a real session, with performer, archive and engine.

Nothing is slept for: a condition is waited for.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from textual.pilot import Pilot
from textual.widget import Widget

from db.archive import Archive, TakeRecord
from sonify.engine.commands import Backend
from studio.app import Studio
from studio.messages import Made, Position
from studio.reports import Crashed
from studio.screens.compose import Compose
from studio.screens.model import Memory
from studio.screens.trails import Trail
from studio.session import Session
from studio.sound import DECK
from tests.studio.test_session import Kind, Said

#: Seconds in which what is waited for must come, also where others want the machine.
PATIENCE = 60.0


@dataclass
class Stage:
    """What a test plays with."""

    app: Studio
    pilot: Pilot[None]
    said: Said

    @property
    def screen(self) -> Compose:
        found = self.app.composing
        assert found is not None
        return found

    @property
    def session(self) -> Session:
        assert isinstance(self.app.model, Session)
        return self.app.model

    @property
    def memory(self) -> Memory:
        """What the screen knows."""
        return self.screen.memory

    @property
    def position(self) -> Position:
        assert self.memory.position is not None
        return self.memory.position

    @property
    def trail(self) -> Trail:
        """The first part's ticks, as the screen has them."""
        return next(iter(self.memory.trails.values()))

    async def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Wait for a condition; it must come true in time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it did not come true; said last: {self.said.all[-3:]}"
            await asyncio.sleep(0.02)

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until they have come where they go."""
        # Textual waits for an idle process, which a studio is not: for a second at each key.
        with patch("textual.app.wait_for_idle", soon), patch("textual.pilot.wait_for_idle", soon):
            for key in keys:
                await self.pilot.press(key)
                await self.pilot.pause()

    async def step(self, ticks: int) -> None:
        """Make so many ticks of the only part, one by one, and stand at their end."""
        (part,) = self.memory.trails
        end = self.trail.end + ticks
        await asyncio.to_thread(stepped, self.session, self.said, ticks)
        await self.until(lambda: self.trail.end == end and self.position.ticks == {part: end - 1})

    def reports(self, kind: type[Kind], since: int = 0) -> list[Kind]:
        """What the session has said of a kind."""
        return [report for report in self.said.all[since:] if isinstance(report, kind)]

    def peak(self, voice: str = "") -> float:
        """How loud the engine is, or a voice on it, linear."""
        state = self.session.sound.state()
        if state is None:
            return 0.0
        return state.strips.get((DECK, voice), 0.0) if voice else max(state.peak)

    def text(self, what: str | Widget) -> str:
        """What a widget says, without colours."""
        widget = self.screen.query_one(what) if isinstance(what, str) else what
        shown = [widget, *(child for child in widget.children if child.display)]
        return "\n".join(s.text.rstrip() for w in shown for s in w.render_lines(w.region.size.region))

    @property
    def notice(self) -> str:
        return self.text("#notice").strip()


async def soon(*seconds: float) -> None:
    """Let others go first."""
    await asyncio.sleep(0.01)


def stepped(session: Session, said: Said, ticks: int) -> None:
    """Make ticks one by one, as fast as they are made, and go to their end."""
    for _ in range(ticks):
        at = len(said.all)
        session.step()
        made = said.wait(Made, since=at, seconds=PATIENCE)
    session.seek(1e6)
    last = made.block.end_tick - 1
    said.wait(Position, lambda p: p.mode == "paused" and p.beat == p.end and p.ticks[made.part] == last, at, PATIENCE)


def studio(folder: Path, piece: str, archive: Path, backend: Backend | None = None) -> tuple[Studio, Said]:
    """The studio with its session, and what that says; it has no engine where `backend` is None."""
    said = Said()

    def start(post: Callable[[object], None]) -> Session:
        return Session(said.before(post), str(archive), backend)

    return Studio(start, folder, piece), said


@asynccontextmanager
async def staged(
    folder: Path,
    piece: str = "knots",
    size: tuple[int, int] = (160, 50),
    ticks: int = 0,
    paints: bool = False,
    archive: Path | None = None,
    backend: Backend | None = None,
) -> AsyncIterator[Stage]:
    """The studio with a piece open and so many ticks made.

    It has an engine where a `backend` is named, and the process that draws where it `paints`: what a test is not about
    need not run.
    """
    Compose.paints = paints
    app, said = studio(folder, piece, archive or folder / "archive.db", backend)
    try:
        async with app.run_test(size=size) as pilot:
            stage = Stage(app, pilot, said)
            await stage.until(lambda: is_ready(app) or stage.reports(Crashed))
            assert not stage.reports(Crashed), stage.reports(Crashed)  # what cannot begin is not waited for
            if ticks:
                await stage.step(ticks)
            yield stage
    finally:
        if app.model is not None:
            app.model.close()


def is_ready(app: Studio) -> bool:
    """Whether a piece is there and everything of it is shown."""
    screen = app.composing
    if screen is None or screen.memory.position is None or not screen.query("VoiceBox"):
        return False
    return bool(screen.query_one("#items").option_count)  # type: ignore[attr-defined]


def takes(folder: Path) -> list[TakeRecord]:
    """All takes of the stage's archive, newest first."""
    with Archive.open(folder / "archive.db", create=False) as archive:
        return [archive.take(t.id) for t in archive.takes()]


def given(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Events of a kind that its first take was given."""
    with Archive.open(folder / "archive.db", create=False) as archive:
        return [dict(e.data) for e in archive.events(archive.takes()[-1].id, kind) if e.given]


def stored_edits(folder: Path) -> list[str]:
    """Labels of the edits that its archive holds."""
    with closing(sqlite3.connect(folder / "archive.db")) as archive:
        return [label for (label,) in archive.execute("SELECT label FROM edits ORDER BY number")]


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scene to its end."""
    asyncio.run(scene())
