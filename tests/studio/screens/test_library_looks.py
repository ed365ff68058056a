"""How the library looks: two themes, two sizes; and that it is a part of the studio."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from textual.app import App
from textual.pilot import Pilot

from db.archive import Archive, NewTake
from pieces.piece import find_piece
from pieces.signals import Channel, FrameBlock
from studio.screens.library import Library
from studio.takes import Takes
from studio.themes import THEMES
from studio.widgets.tones import theme_of
from studio.widgets.waveform import Waveform
from tests.studio.screens.stage import staged, takes

RATE = 48_000


def sound(seed: int, seconds: float) -> np.ndarray:
    """Notes that die away over a slow noise: made by arithmetic alone, so that every machine draws the same."""
    t = np.arange(round(seconds * RATE)) / RATE
    found = 0.02 * np.sin(seed + 1e5 * t**2)
    for k in range(int(seconds * 2)):
        begun = np.clip(t - k / 2, 0, None)
        found += (t >= k / 2) * 0.5 * np.exp(-6 * begun) * np.sin(2 * np.pi * 110 * (2 + (seed * k) % 7) * begun)
    return np.stack([found, np.roll(found, RATE // 50) * 0.7], axis=1).astype(np.float32)


class Then(datetime):
    """A day in 2024."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2024, 11, 21, 12, 0, tzinfo=UTC) + timedelta(minutes=next(_minutes))


_minutes = itertools.count()


def fill(folder: Path) -> None:
    """Takes that only look as if they had been performed: what is drawn of them is the same everywhere."""
    numbers = itertools.count(1)
    piece, _ = find_piece("cubics")
    plain = piece.model_dump(mode="json")

    def take(archive: Archive, name: str, seed: int, seconds: float, **more: Any) -> str:
        parts = [("cubics", 50.0)]
        new = NewTake(piece_name=name, piece=plain, piece_hash=piece.hash, seed=seed, parts=parts, **more)
        recorder = archive.begin(new)
        recorder.channels([Channel("x", "a number")])
        ticks = round(50 * seconds)
        recorder.append(FrameBlock(0, {"x": np.zeros(ticks, dtype=np.float32)}))
        soundfile.write(folder / "mix.wav", sound(seed, seconds), RATE, subtype="FLOAT")
        archive.add_media(recorder.take_id, "mix", folder / "mix.wav")
        archive.set_render(recorder.take_id, {"loudness": -16.0, "true_peak": -1.0, "limited": False})
        recorder.finish(duration_s=seconds)
        return recorder.take_id

    with pytest.MonkeyPatch.context() as patch, Archive.open(folder / "archive.db") as archive:
        patch.setattr("db.archive.uuid7", lambda: f"0190f3a0-0000-7000-8000-{next(numbers):012d}")
        patch.setattr("db.archive.datetime", Then)
        first = take(archive, "cubics", 1, 8.0)
        take(archive, "knots", 2, 12.5)
        branch = take(archive, "cubics", 1, 6.0, retention="scratch", parents=[(first, 120, "branch")])
        take(archive, "cubics", 1, 2.0, retention="scratch", parents=[(branch, 40, "trim")], origin="captured")
        new = NewTake(piece_name="digits", piece=plain, piece_hash=piece.hash, seed=9, parts=[("digits", 20.0)])
        archive.begin(new).fail("loss is not a number")
        for n in range(9):
            take(
                archive, ("weather", "strata", "canon")[n % 3], n + 3, 1.0 + n, retention="scratch" if n % 2 else "kept"
            )
        archive.labels.rename(first, "Dawn")
        archive.labels.rate(first, 4)
        archive.labels.tag(first, ["dawn", "keep"])
        archive.labels.note(first, "The second curve is found late; the bell is worth it.")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    fill(folder)
    return folder / "archive.db"


class Host(App[None]):
    def __init__(self, place: Path, theme: str) -> None:
        super().__init__()
        for look in THEMES.values():
            self.register_theme(theme_of(look))
        self.theme = theme
        self.library = Library(Takes(str(place)))

    def on_mount(self) -> None:
        self.push_screen(self.library)


async def look_at_dawn(pilot: Pilot[None]) -> None:
    """The oldest take, its waveform and spectrogram, zoomed, with a selection."""
    app = pilot.app
    assert isinstance(app, Host)
    library = app.library

    async def until(condition: Any) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            await pilot.pause(0.01)

    await until(lambda: library.rows and library.card is not None)
    library.table.move_cursor(row=len(library.rows) - 1)
    await until(lambda: library.card.take.title == "Dawn" and library.query_one(Waveform).duration == 8.0)
    await until(lambda: library.settled)
    library.add_class("-both")
    await pilot.pause()
    wave = library.query_one(Waveform)
    wave.show(1.0, 5.0)
    wave.select(2.0, 3.0)
    await pilot.pause()
    await until(lambda: library.settled)
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (140, 44)], ids=["small", "large"])
@pytest.mark.parametrize("theme", ["descant-dark", "descant-light"])
def test_it_looks_as_it_did(place, snap_compare, theme, size):
    assert snap_compare(Host(place, theme), terminal_size=size, run_before=look_at_dawn)


def test_the_studio_opens_its_library_and_what_is_chosen_there(place, home, tmp_path):
    shutil.copytree(place.parent, tmp_path, dirs_exist_ok=True)
    chosen: list[str | None] = []

    async def run() -> None:
        async with staged(tmp_path, size=(120, 40)) as stage:
            await stage.press("f2")
            await stage.until(lambda: isinstance(stage.app.screen, Library))
            library = stage.app.screen
            assert isinstance(library, Library)
            await stage.until(lambda: library.rows and library.settled and library.card is not None)
            assert {"library", "everywhere"} <= set(stage.app.places())
            await stage.press("f1")
            await stage.until(lambda: stage.app.screen is not library)
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is library)
            await stage.press("ctrl+p")
            await stage.until(lambda: stage.app.screen is not library)
            await stage.press(*"spectrogram")
            await stage.until(lambda: len(stage.app.screen.query("CommandList")) == 1)
            await stage.until(lambda: stage.app.screen.query_one("CommandList").option_count == 1)
            await stage.press("enter")
            await stage.until(lambda: library.has_class("-spectrum"))
            await stage.until(lambda: stage.app.screen is library)
            await stage.press("j")
            await stage.until(lambda: stage.app.screen is not library)
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is library)
            chosen.append(library.current)
            await stage.press("d")
            await stage.until(lambda: stage.app.screen is stage.screen)
            await stage.until(lambda: [*stage.memory.trails] == ["cubics"])
            await stage.step(5)

    asyncio.run(run())
    assert [parent[::2] for parent in takes(tmp_path)[0].parents] == [(chosen[0], "derived")]
