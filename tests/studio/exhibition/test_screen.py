"""The exhibition's screen: the picture, the label that fades, and a door that is not opened by accident."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from textual.pilot import Pilot

from studio.exhibition.opening import exhibition
from studio.keymap import Keymap
from studio.screens.exhibit import Exhibit, Guard
from studio.widgets.placard import Placard, Writing, inked, laid, wrapped
from tests.studio.exhibition.hall import programme


@asynccontextmanager
async def on_screen(path: Path, home: Path) -> AsyncIterator[tuple[Exhibit, Pilot[None]]]:
    """A programme on a screen of 80 x 24."""
    with exhibition(path, str(home / "archive.db"), backend="silent") as (showing, _):
        app = Exhibit(showing, home, Keymap({}))
        async with app.run_test(size=(80, 24)) as pilot:
            yield app, pilot
            showing.stop()
            await until(pilot, showing.over.is_set)


async def until(pilot: Pilot[None], true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        await pilot.pause(0.02)


def text_of(app: Exhibit) -> list[str]:
    """What stands on the screen, row by row."""
    return [
        "".join(segment.text for segment in strip) for strip in app.query_one(Placard).render_lines(app.screen.region)
    ]


def test_pictures_label_hint_and_the_guarded_door(takes, home, tmp_path):
    label = {"title": "Dawn\x1b[31m", "text": "A cubic learns another.", "seconds": 1.5}
    path = programme(tmp_path / "p.toml", [{"take": takes["low"], "label": label}, {"take": takes["high"]}])

    async def visit() -> None:
        async with on_screen(path, home) as (app, pilot):
            placard, seen = app.query_one(Placard), []

            def lit() -> bool:
                if placard._pixels is not None:
                    seen.append(placard._pixels.copy())
                return len(seen) > 0 and int(seen[-1].max()) > 60

            await until(pilot, lambda: app.exhibition.caption is not None and app.exhibition.caption.clear == 1.0)
            await until(pilot, lambda: "Dawn[31m" in "\n".join(text_of(app)))
            assert any("A cubic learns another." in row for row in text_of(app))
            assert not any("to leave" in row for row in text_of(app))
            await until(pilot, lambda: app.exhibition.caption is None)
            await until(pilot, lambda: not any("Dawn" in row for row in text_of(app)))
            await until(pilot, lit)
            first = seen[-1]
            await until(pilot, lambda: lit() and bool((seen[-1] != first).any()))  # it moves
            for key in ("x", "ctrl+c", "q", "escape", "q", "ctrl+q", "enter", "ctrl+z", "ctrl+p", "f1"):
                await pilot.press(key)
                assert app.is_running
            await until(pilot, lambda: "type exit" in text_of(app)[-1])
            assert not app.exhibition.over.is_set()
            await pilot.press("q", "q", "q")
            await until(pilot, app.exhibition.over.is_set, 10)
            await until(pilot, lambda: not app.is_running, 10)

    asyncio.run(visit())


def test_typing_the_word_leaves_and_panic_silences(takes, home, tmp_path):
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}])

    async def visit() -> None:
        async with on_screen(path, home) as (app, pilot):
            sound = app.exhibition._house.sound

            def peak() -> float:
                state = sound.state()
                return max(state.peak) if state else 0.0

            await until(pilot, lambda: peak() > 0.01)
            await pilot.press("f8")
            await until(pilot, lambda: peak() < 1e-4, 2)
            await pilot.press("f8")
            await until(pilot, lambda: "Space: sound" in text_of(app)[-1])
            assert "type exit" in text_of(app)[-1]  # it has room
            assert peak() < 1e-4
            await pilot.press("space")
            await until(pilot, lambda: peak() > 0.01, 3)
            await until(pilot, lambda: "F8 or !: silence" in text_of(app)[-1])
            await pilot.press(*"exi")
            assert not app.exhibition.over.is_set()
            await pilot.press("t")
            await until(pilot, app.exhibition.over.is_set, 10)

    asyncio.run(visit())


def test_the_door():
    now = [0.0]
    guard = Guard(lambda: now[0])

    def pressed(keys: str, every: float) -> bool:
        left = False
        for key in keys:
            now[0] += every
            left = guard.leaves(key, key)
        return left

    assert pressed("qqq", 0.9)
    assert not pressed("zqqq", 1.1)
    assert not pressed("zqqzq", 0.1)
    assert pressed("q" * 20, 0.03)  # held
    assert pressed("zexit", 5.0)
    assert not pressed("zexxit", 0.1)
    assert [guard.leaves("ctrl+c", "\x03") for _ in range(3)] == [False, False, True]


def test_writing_is_laid_where_it_fits():
    lines = laid(
        Writing("A title", "One word after the other until it is too long for a line of that many cells."), 40, 12
    )
    assert all(0 <= line.row < 12 and line.column + len(line.cells) <= 40 for line in lines)
    assert "".join(lines[0].cells).strip() == "A title"
    assert lines[0].bold
    assert [line.row for line in lines] == list(range(lines[0].row, lines[0].row + len(lines)))
    assert laid(Writing("A title"), 4, 3) == []
    assert laid(Writing("A title", clear=0.0), 40, 12) == []
    assert wrapped("one two", 5) == [("o", "n", "e"), ("t", "w", "o")]
    assert wrapped("a\u202eb\x1b[1m", 9) == [tuple("ab[1m")]  # nothing that a terminal would obey
    assert wrapped("日本", 9) == [("日", "", "本", "")]  # each is two cells wide


def test_letters_fade_into_the_picture():
    """The clearer the writing, the further its cells are from the picture; around it nothing changes."""
    picture = np.full((24, 40, 3), 120, dtype=np.uint8)
    far = []
    for clear in (0.05, 0.3, 0.7, 1.0):
        (line,) = laid(Writing("A title", clear=clear), 40, 12)
        found = inked(picture, [line], (40, 12))
        far.append(int(np.abs(found.astype(int) - picture).max()))
        rows = slice(2 * line.row, 2 * line.row + 2)
        assert (np.delete(found, rows, axis=0) == 120).all()
        assert (found[rows, 20:] == 120).all()
    assert far == sorted(far)
    assert far[0] < 12
    assert far[-1] > 80
