"""Waveform and spectrogram on the screen: cells show the sound, keys and mouse move over it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from studio.widgets.peaks import Peaks
from studio.widgets.soundview import SoundView, clock, ticks
from studio.widgets.spectra import row_of
from studio.widgets.spectrogram import Spectrogram
from studio.widgets.waveform import Waveform, lane

RATE = 48_000
COLUMNS, ROWS = 100, 13


class Host(App[None]):
    CSS = "Waveform, Spectrogram { height: 13; }"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def compose(self) -> ComposeResult:
        yield Waveform()
        yield Spectrogram()

    def on_mount(self) -> None:
        peaks = Peaks.read(self._path)
        assert peaks is not None
        self.query_one(Waveform).hear(peaks)
        self.query_one(Spectrogram).hear(self._path, peaks.duration, peaks.sample_rate)
        self.query_one(Waveform).focus()


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until everything is drawn."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        await pilot.pause()
        if all(view.settled for view in pilot.app.query(SoundView)):
            await pilot.pause()
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it is still being drawn after 20 s")


def on_screen(path: Path, test: Callable[[Pilot[Any], Waveform, Spectrogram], Awaitable[None]]) -> None:
    async def run() -> None:
        app = Host(path)
        async with app.run_test(size=(COLUMNS, 2 * ROWS)) as pilot:
            await settled(pilot)
            await test(pilot, app.query_one(Waveform), app.query_one(Spectrogram))

    asyncio.run(run())


def cells(widget: Widget, y: int) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Characters of a line with their colours."""
    found = []
    for segment in widget.render_line(y):
        assert segment.style is not None
        assert segment.style.color is not None
        assert segment.style.bgcolor is not None
        colours = (tuple(segment.style.color.triplet or ()), tuple(segment.style.bgcolor.triplet or ()))
        found += [(char, *colours) for char in segment.text]
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds: silence with a click at 2 s, and from 6 s on 1 kHz."""
    sound = np.zeros((10 * RATE, 2), dtype=np.float32)
    sound[2 * RATE] = 1.0
    sound[6 * RATE :] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE)[:, None]
    file = tmp_path_factory.mktemp("sound") / "a.wav"
    soundfile.write(file, sound, RATE, subtype="FLOAT")
    return file


def test_the_click_stands_at_its_column_before_and_after_zoom(path):
    async def test(pilot, wave, spectrum):
        def columns_reaching_the_top() -> list[int]:
            return [x for x, cell in enumerate(cells(wave, 0)) if cell[0] == "█" and x > 8]

        assert columns_reaching_the_top() == [20]
        wave.place(2.0)
        for _ in range(5):
            await pilot.press("plus")
        await settled(pilot)
        assert wave.end - wave.start == pytest.approx(10 / 1.6**5)
        assert wave.column(2.0) == 20  # the cursor stays where it is
        wave.place(0.0)  # the cursor covers its column
        wave.show(1.7, 2.3)
        await settled(pilot)
        assert columns_reaching_the_top() == [50]

    on_screen(path, test)


def test_one_kilohertz_lights_the_row_of_one_kilohertz(path):
    async def test(pilot, wave, spectrum):
        row = row_of(1000, 2 * (ROWS - 1), RATE)

        def light(y: int, x: int) -> float:
            _, upper, lower = cells(spectrum, y // 2)[x]
            return float(np.dot(lower if y % 2 else upper, [0.2126, 0.7152, 0.0722]))

        column = [light(y, 80) for y in range(2 * (ROWS - 1))]
        assert int(np.argmax(column)) == row
        assert column[row] > 150
        assert light(row, 40) < 60  # before 6 s there is nothing
        for name, y in ((" 1k", row // 2),):
            assert "".join(c for c, *_ in cells(spectrum, y))[:3] in (name, f"│{name[1:]}")

    on_screen(path, test)


def test_a_selection_by_mouse_and_by_keys(path):
    async def test(pilot, wave, spectrum):
        async def move(x: int) -> None:
            await pilot._post_mouse_events([events.MouseMove], wave, (x, 3), button=1)

        await pilot.mouse_down(wave, (20, 3))
        await move(35)
        await move(40)
        await pilot.mouse_up(wave, (40, 3))
        assert wave.selection == pytest.approx((2.0, 4.1))
        chosen, other = cells(wave, 5)[30][2], cells(wave, 5)[60][2]
        assert chosen != other
        assert chosen == cells(wave, 5)[40][2] != cells(wave, 5)[41][2]
        await pilot.press("backspace")
        assert wave.selection is None
        await pilot.press("home", *["right"] * 5, *["shift+right"] * 10)
        assert wave.selection == pytest.approx((0.5, 1.5))
        await pilot.press(*["shift+left"] * 12)
        assert wave.selection == pytest.approx((0.3, 0.5))
        await pilot.press("z")
        await settled(pilot)
        assert (wave.start, wave.end) == pytest.approx((0.3, 0.5))
        await pilot.press("0")
        assert (wave.start, wave.end) == (0.0, 10.0)
        await pilot.press("right")
        assert wave.selection is None

    on_screen(path, test)


def test_the_wheel_zooms_around_the_mouse_and_pans(path):
    async def test(pilot, wave, spectrum):
        await pilot._post_mouse_events([events.MouseScrollUp], wave, (20, 3))
        assert wave.end - wave.start == pytest.approx(10 / 1.6)
        assert wave.seconds(20) == pytest.approx(2.0)
        start = wave.start
        await pilot._post_mouse_events([events.MouseScrollDown], wave, (20, 3), shift=True)
        assert wave.start == pytest.approx(start + 0.2 * 10 / 1.6)
        for _ in range(4):
            await pilot._post_mouse_events([events.MouseScrollDown], wave, (20, 3))
        assert (wave.start, wave.end) == (0.0, 10.0)
        for _ in range(17):
            await pilot._post_mouse_events([events.MouseScrollUp], wave, (50, 3))
        assert wave.end - wave.start == pytest.approx(0.005)

    on_screen(path, test)


def test_the_playhead_and_the_cursor_are_seen(path):
    async def test(pilot, wave, spectrum):
        wave.playhead = 5.0
        wave.place(3.0)
        assert cells(wave, 4)[50][0] == "┃"
        assert cells(wave, 4)[30][0] == "│"
        spectrum.match(wave)
        assert cells(spectrum, 4)[30][0] == "│"
        wave.playhead = None
        assert cells(wave, 4)[50][0] != "┃"

    on_screen(path, test)


def test_every_line_is_exactly_as_wide_as_the_widget(path):
    async def test(pilot, wave, spectrum):
        for size in ((100, 26), (33, 20), (7, 12), (1, 6)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
            for view in (wave, spectrum):
                assert {view.render_line(y).cell_length for y in range(view.size.height)} <= {view.size.width}

    on_screen(path, test)


def test_a_broken_file_is_a_line_and_no_fault(path, tmp_path):
    async def test(pilot, wave, spectrum):
        (tmp_path / "b.wav").write_text("no")
        spectrum.hear(tmp_path / "b.wav", 3.0, RATE)
        await settled(pilot)
        assert "cannot be read" in spectrum.said

    on_screen(path, test)


def test_drawing_a_long_sound_leaves_the_event_loop_alone(tmp_path):
    long = tmp_path / "long.wav"
    with soundfile.SoundFile(long, "w", RATE, 2, "PCM_16") as file:
        minute = np.random.default_rng(2).normal(0, 0.1, (60 * RATE, 2))
        for _ in range(8):
            file.write(minute)

    async def test(pilot, wave, spectrum):
        late: list[float] = []

        async def measure() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.01)
                late.append(time.perf_counter() - before - 0.01)

        watch = asyncio.create_task(measure())
        peaks = await asyncio.to_thread(Peaks.read, long)
        wave.hear(peaks)
        spectrum.hear(long, peaks.duration, RATE)
        await settled(pilot)
        for _ in range(6):
            await pilot.press("plus")
        await settled(pilot)
        watch.cancel()
        assert len(late) > 20
        assert np.quantile(late, 0.95) < 0.05

    on_screen(long, test)


def test_a_lane_is_drawn_to_an_eighth_of_a_row():
    values = np.linspace(0, 1, 17, dtype=np.float32)
    text, fore, _ = lane(-values, values, np.zeros_like(values), 4)
    heights = [sum(" ▁▂▃▄▅▆▇█".index(c) for c in text[:2, x]) for x in range(1, 17)]
    assert heights == list(range(1, 17))  # eighths above the middle, from the lower half blocks
    assert set(fore[:2, 16]) == {1}
    text, fore, _ = lane(-values, values, values / 2, 4)
    assert set(fore[1, 12:]) == {2}  # the power is inside


def test_times_are_written_as_finely_as_they_stand_apart():
    assert [clock(65), clock(0.25, 0.05), clock(61.5, 0.1), clock(59.999, 1)] == ["1:05", "0:00.25", "1:01.5", "1:00"]
    for span, columns in ((480, 120), (2, 80), (0.01, 60), (5, 30)):
        step, found = ticks(1.0, 1.0 + span, columns)
        assert 1 <= len(found) <= columns / 8 + 1
        assert all(abs(t / step - round(t / step)) < 1e-6 for t in found)
