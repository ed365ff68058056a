"""What the compose screen looks like: two themes, two sizes, help and an editor, over a real session that holds.

Its ticks are counted, so the same picture, plots and places come on every machine. There is no engine, whose meters
and lost blocks depend on what else the machine does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from pieces.piece import find_piece
from studio.screens.compose import Compose
from studio.screens.desk import Desk
from studio.screens.shelf import Item, Shelf
from studio.settings import change_settings
from studio.widgets.picture import Picture
from tests.studio.screens.stage import Stage, is_ready, studio

#: The shelf's: what is installed differs from machine to machine.
ITEMS = [
    Item("canon", "Training canon", "A network learns handwritten digits four times from the same start.", "piece"),
    Item("knots", "Knots", "Five knots are learned, one chord each.", "piece"),
    Item("keys", "keys", "notes as they are played", "source"),
]
#: Knots in three sections, a beat of ten ticks.
STUDY = {
    "title": "Study",
    "metre.tempo": 300,
    "sections": [{"name": "dux", "bars": 2}, {"name": "comes", "bars": 2}, {"name": "coda", "bars": 32}],
}

Scene = Callable[[Stage], Awaitable[None]]
Shown = Callable[..., bool]


@pytest.fixture
def shown(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snap_compare: Callable[..., bool]) -> Shown:
    """Compares what the studio looks like in a theme and a size, after a scene."""
    monkeypatch.chdir(tmp_path)  # the piece is called the same wherever it lies
    Path("study.toml").write_text(find_piece("knots")[0].with_values(STUDY).to_toml())
    monkeypatch.setattr(Compose, "paints", True)

    def compare(theme: str, size: tuple[int, int], scene: Scene | None = None) -> bool:
        change_settings(tmp_path, theme=theme)
        app, said = studio(tmp_path, "study.toml", tmp_path / "archive.db", backend=None)
        app.animation_level = "none"

        async def before(pilot: Pilot[None]) -> None:
            stage = Stage(app, pilot, said)
            await perform(stage)
            if scene is not None:
                await scene(stage)

        try:
            return snap_compare(app, terminal_size=size, run_before=before)
        finally:
            if app.model is not None:
                app.model.close()

    return compare


async def perform(stage: Stage) -> None:
    """Make ticks, edit, mute and loop; then hold, until nothing moves."""
    await stage.until(lambda: is_ready(stage.app))
    stage.memory.now = lambda: 0.0
    stage.screen.query_one(Picture)._depth = "true"  # whatever terminal the tests run in
    stage.screen.query_one(Shelf).fill(ITEMS)
    stage.screen.query_one("#items", OptionList).highlighted = 1
    await stage.step(200)
    stage.session.edit("score.voices.root.lanes.cutoff", {"channel": "loss", "range": [400, 4000]})
    stage.screen.query_one(Desk).voices["fifth"].run_command("mute")
    for beat, key in ((8.0, "left_square_bracket"), (16.0, "right_square_bracket")):
        stage.session.seek(beat)
        await stage.until(lambda b=beat: stage.position.beat == pytest.approx(b))
        await stage.press(key)
    await stage.until(
        lambda: stage.position.loop == pytest.approx((8.0, 16.0)) and stage.position.beat == pytest.approx(8.0)
    )
    stage.session.seek(12.0)
    await stage.until(lambda: stage.position.beat == pytest.approx(12.0))
    await drawn(stage)
    for _ in range(6):  # plots are drawn every third turn
        await stage.screen.turn()
    await stage.pilot.pause()


async def drawn(stage: Stage) -> None:
    """Wait for the picture of what stands there now: of two that are asked for, the second is no older one."""
    picture, seen = stage.screen.query_one(Picture), []
    show = picture.show
    picture.show = lambda pixels: seen.append(show(pixels))
    for number in (1, 2):
        stage.screen._asked = None
        await stage.until(lambda n=number: len(seen) >= n)
    assert seen[-1]


@pytest.mark.parametrize("theme", ["descant-dark", "descant-light"])
@pytest.mark.parametrize("size", [(160, 50), (80, 24)], ids=["160x50", "80x24"])
def test_the_compose_screen(shown, theme, size):
    assert shown(theme, size)


def test_help_over_it(shown):
    async def helped(stage: Stage) -> None:
        stage.screen.query("Knob").first().focus()
        await stage.press("f1")

    assert shown("dusk", (100, 30), helped)


def test_a_mapping_that_is_refused(shown):
    async def refused(stage: Stage) -> None:
        row = stage.screen.query("Row").first()
        row.focus()
        await stage.press("enter")
        box = stage.screen.focused
        box.value = "999"
        await stage.press("enter")
        await stage.until(lambda: row.query(".error") and row.query_one(".error").region.area)
        await stage.until(lambda: box.has_focus)
        box.cursor_blink = False
        box._pause_blink(visible=True)
        await stage.pilot.pause()

    assert shown("lamp", (160, 50), refused)
