"""What the compose screen looks like: two themes, two sizes, help and an editor; made of plain numbers alone."""

from __future__ import annotations

import numpy as np
import pytest

from pieces.signals import FrameBlock
from studio.app import Studio
from studio.messages import Made, Position
from studio.reports import EngineState, Recording
from studio.reports import History as Undoable
from studio.screens.compose import Compose
from studio.screens.shelf import Item, Shelf
from studio.settings import change_settings
from studio.widgets.picture import Picture
from tests.studio.screens.rehearsal import Rehearsal

ITEMS = [
    Item("canon", "Training canon", "A network learns handwritten digits four times from the same start.", "piece"),
    Item("knots", "Knots", "Five knots are learned, one chord each.", "piece"),
    Item("keys", "keys", "notes as they are played", "source"),
]


def saw(ticks, period, height):
    """Values of integers only: the same on every machine."""
    return (np.arange(ticks) % period) * (height / period)


def drawn(width, height):
    """Rings, of integers only."""
    y, x = np.mgrid[0:height, 0:width]
    far = (2 * x - width) ** 2 + (2 * y - height) ** 2
    light = np.where(far // max(width * height // 8, 1) % 2 == 0, 200, 24)
    return np.stack([light, light * 3 // 4, light // 3 + 20], axis=-1).astype(np.uint8)


async def set_up(pilot):
    app = pilot.app
    for _ in range(1000):
        if app.composing and app.composing.query("VoiceBox") and app.composing.query_one("#items").option_count:
            break
        await pilot.pause(0.02)
    screen = app.composing
    screen.memory.now = lambda: 0.0
    screen.query_one(Shelf).fill(ITEMS)
    screen.query_one("#items").highlighted = 1
    (part, trail), *_ = screen.memory.trails.items()
    arrays = {name: saw(400, 20 + 7 * n, 1.0 + n) for n, name in enumerate(trail.channels)}
    app.reports.extend(
        [
            Made(part, FrameBlock(0, arrays)),
            Position("paused", 17.5, 17.5, 32.0, 5, 60.0, 1.0, "whole", {part: 350}, (8.0, 16.0)),
            EngineState("silent", False, 2, "no sound device: silent, and everything else works"),
            Recording("id", "scratch"),
            Undoable("pitch of root", None, "pitch of root"),
        ]
    )
    screen.memory.sections.extend([(0.0, "dux"), (12.0, "comes")])
    for _ in range(1000):
        if not app.reports:
            break
        await pilot.pause(0.02)
    screen.query_one("#hint").display = False
    await pilot.pause()
    picture = screen.query_one(Picture)
    picture._depth = "true"
    assert picture.show(drawn(*picture.wanted))
    for _ in range(6):  # plots are drawn every third turn
        await screen.turn()
    await pilot.pause()


def studio(folder, theme):
    Compose.paints = False
    change_settings(folder, theme=theme)
    app = Studio(Rehearsal, folder, "knots")
    app.animation_level = "none"
    return app


@pytest.mark.parametrize("theme", ["descant-dark", "descant-light"])
@pytest.mark.parametrize("size", [(160, 50), (80, 24)], ids=["160x50", "80x24"])
def test_the_compose_screen(snap_compare, tmp_path, theme, size):
    assert snap_compare(studio(tmp_path, theme), terminal_size=size, run_before=set_up)


def test_help_over_it(snap_compare, tmp_path):
    async def helped(pilot):
        await set_up(pilot)
        pilot.app.composing.query("Knob").first().focus()
        await pilot.press("f1")
        await pilot.pause()

    assert snap_compare(studio(tmp_path, "dusk"), terminal_size=(100, 30), run_before=helped)


def test_a_mapping_that_is_refused(snap_compare, tmp_path):
    async def refused(pilot):
        await set_up(pilot)
        row = pilot.app.composing.query("Row").first()
        row.focus()
        await pilot.press("enter")
        box = pilot.app.composing.focused
        box.value = "999"
        await pilot.press("enter")
        for _ in range(1000):
            if row.query(".error") and row.query_one(".error").region.area:
                break
            await pilot.pause(0.02)
        for _ in range(1000):
            if box.has_focus:
                break
            await pilot.pause(0.02)
        box.cursor_blink = False
        box._pause_blink(visible=True)
        await pilot.pause()

    assert snap_compare(studio(tmp_path, "lamp"), terminal_size=(160, 50), run_before=refused)
