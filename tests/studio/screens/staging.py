"""The studio on a stage without a terminal: a piece is open, and a condition is waited for, never slept for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from studio.app import Studio
from studio.screens.compose import Compose
from tests.studio.screens.rehearsal import Rehearsal


@dataclass
class Stage:
    """What a test plays with."""

    app: Studio
    pilot: Pilot[None]
    model: Rehearsal

    @property
    def screen(self) -> Compose:
        found = self.app.composing
        assert found is not None
        return found

    async def until(self, condition: Callable[[], Any], seconds: float = 20.0) -> None:
        """Wait for a condition; it must come true in time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            await self.pilot.pause(0.02)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def asked(self, *deed: Any) -> None:
        """Wait until the session was asked for this."""
        await self.until(lambda: tuple(deed) in self.model.asked)

    def text(self, selector: str) -> str:
        """What a widget says, without colours."""
        widget = self.screen.query_one(selector)
        shown = [widget, *(child for child in widget.children if child.display)]
        return "\n".join(s.text.rstrip() for w in shown for s in w.render_lines(w.region.size.region))

    @property
    def notice(self) -> str:
        return self.text("#notice").strip()


@asynccontextmanager
async def staged(
    folder: Path, piece: str = "knots", size: tuple[int, int] = (160, 50), ticks: int = 0, paints: bool = False
) -> AsyncIterator[Stage]:
    """The studio with a piece open and so many ticks made; without the process that draws, unless it `paints`."""
    Compose.paints = paints
    made: list[Rehearsal] = []

    def start(post: Callable[[object], None]) -> Rehearsal:
        made.append(Rehearsal(post))
        return made[0]

    app = Studio(start, folder, piece)
    async with app.run_test(size=size) as pilot:
        end = time.monotonic() + 30
        while not (
            app.composing and app.composing.query("VoiceBox") and app.composing.query_one("#items").option_count
        ):
            assert time.monotonic() < end, "the piece did not open"
            await pilot.pause(0.02)
        stage = Stage(app, pilot, made[0])
        if ticks:
            stage.model.make(ticks)
            await stage.until(lambda: next(iter(stage.screen.memory.trails.values())).end == ticks)
        yield stage


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scene to its end."""
    asyncio.run(scene())
