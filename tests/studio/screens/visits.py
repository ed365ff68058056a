"""A person in the library: what they press, and what they see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from db.archive import Archive
from studio.screens.library import Library
from studio.takes import Takes
from studio.themes import THEMES
from studio.widgets.tones import theme_of
from tests.studio.screens.takes import NAMES, take_id


class Host(App[None]):
    """Shows a library, and what it was left with."""

    def __init__(self, place: Path, sound: Any = None, folder: str = "", theme: str = "descant-dark") -> None:
        super().__init__()
        for look in THEMES.values():
            self.register_theme(theme_of(look))
        self.theme = theme
        self.library = Library(Takes(str(place)), sound, folder=folder)
        self.left: list[str | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.library, self.left.append)


class Visit:
    """What a test plays with."""

    def __init__(self, app: Host, pilot: Pilot[None], place: Path) -> None:
        self.app, self.pilot, self.place, self.library = app, pilot, place, app.library

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            await self.pilot.pause(0.01)

    async def calm(self) -> None:
        """Wait until what is asked for is there."""

        def quiet() -> bool:
            card, current = self.library.card, self.library.current
            return self.library.settled and (current is None or (card is not None and card.take.id == current))

        await self.until(quiet)
        await self.pilot.pause()
        await self.until(quiet)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.calm()

    async def goto(self, name: str) -> None:
        ids = list(self.library.rows)
        self.library.table.move_cursor(row=ids.index(take_id(name)))
        await self.until(lambda: self.library.card is not None and self.library.card.take.id == take_id(name))
        await self.calm()

    @property
    def listed(self) -> tuple[str, ...]:
        return tuple(NAMES[int(i[-3:]) - 1] if i.startswith("0190f3a0") else i for i in self.library.rows)

    def text(self, selector: str) -> str:
        widget = self.app.screen.query_one(selector)
        return "\n".join(strip.text.rstrip() for strip in widget.render_lines(widget.region.size.region))

    def line(self, name: str) -> str:
        return " ".join(str(cell) for cell in self.library.table.get_row(take_id(name)))

    def stored(self, name: str) -> Any:
        with Archive.open(self.place) as archive:
            return archive.take(take_id(name))


def visit(
    place: Path, test: Callable[[Visit], Awaitable[None]], size: tuple[int, int] = (120, 40), **more: Any
) -> Host:
    async def run() -> Host:
        app = Host(place, **more)
        async with app.run_test(size=size) as pilot:
            seen = Visit(app, pilot, place)
            await seen.until(lambda: seen.library.card is not None or seen.library.query("#facts"))
            await seen.calm()
            await test(seen)
        return app

    return asyncio.run(run())
