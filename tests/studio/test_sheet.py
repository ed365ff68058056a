"""Sheets: what a person finds on one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pieces.arrange import Layout
from pieces.errors import DescantError
from pieces.piece import Picture
from pieces.signals import Channel, Event, Frames
from studio.pictures.canvas import BREAK
from studio.pictures.scene import Scene
from studio.pictures.sheet import sheet

RATE = 8000


def frames(events: tuple[Event, ...] = ()) -> Frames:
    t = np.linspace(0, 1, 100)
    arrays = {"loss": 10.0 ** (-4 * t), "accuracy": t, "steady": np.ones(100)}
    return Frames(arrays, events, 50.0, 100)


def tone(hertz: float) -> np.ndarray:
    t = np.arange(2 * RATE) / RATE
    return np.repeat(0.3 * np.sin(2 * np.pi * hertz * t)[:, None], 2, axis=1).astype(np.float32)


def made(path: Path, title: str = "A $title_1", **given: object) -> np.ndarray:
    events = given.pop("events", ())
    found = frames(events)
    scene = Scene(Picture(view="plots"), {"a": found}, {"a": Layout.plain(found)}, found.duration)
    sheet(scene, {"a": found}, title, "seed 1", path, **given)  # type: ignore[arg-type]
    return np.asarray(Image.open(path).convert("RGB"))


def test_same_bytes_again_and_other_bytes_for_another_title(tmp_path: Path) -> None:
    units = {"a": (Channel("loss", "How wrong.", "nats"),)}
    for name, title in (("one", "x"), ("two", "x"), ("three", "y")):
        image = made(tmp_path / name, title, channels=units, waveform=tone(440), sample_rate=RATE)
        assert image.shape == (1000, 1600, 3)
    one, two, three = ((tmp_path / n).read_bytes() for n in ("one", "two", "three"))
    assert one == two != three
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "three", "two"]


def test_spectrogram_shows_the_tones_height(tmp_path: Path) -> None:
    rows = []
    for hertz in (200, 2000):
        image = made(tmp_path / "s.png", waveform=tone(hertz), sample_rate=RATE)
        corner = image[700:930, 1000:1400].sum(axis=2).mean(axis=1)
        rows.append(int(corner.argmax()))
    assert rows[0] > rows[1] + 30


def test_a_break_is_marked_and_nothing_else_is_red(tmp_path: Path) -> None:
    def red(image: np.ndarray) -> int:
        right = image[:, 860:].astype(int)
        return int((np.abs(right - BREAK).sum(axis=2) < 150).sum())

    assert red(made(tmp_path / "a.png")) == 0
    assert red(made(tmp_path / "b.png", events=(Event(50, "diverged"),))) > 100


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DescantError, match="sheet cannot be written: No such file"):
        made(tmp_path / "nowhere" / "s.png")
