"""What tests of exhibitions share: an archive of two takes that can be told apart by ear and eye, and programmes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from db.archive import Archive
from pieces.piece import find_piece, parse_piece
from studio.compose import compose
from studio.plan import plan

#: Name → pitch in hertz, and seconds of the performance; a moment rings after it.
TONES = {"low": (300.0, 5.5), "high": (1100.0, 6.5)}
TAIL = 0.1
RATE = 48_000


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition; it is an error if it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def tone(name: str, loudness: float = -20.0) -> dict[str, Any]:
    """A piece of one steady tone, whose picture is that of a cubic being learned."""
    pitch, seconds = TONES[name]
    piece, _ = find_piece("cubics")
    voice = {"instrument": "glide", "lanes": {"pitch": pitch, "brightness": 0.2}}
    parts = piece.model_dump(exclude_none=True)["parts"]
    parts["cubics"] |= {"rate": 20.0, "ticks": round(20 * seconds)}
    return piece.model_dump(exclude_none=True) | {
        "title": f"A {name} tone",
        "knobs": [],
        "parts": parts,
        "master": {"tail": TAIL, "loudness": loudness},
        "score": {"purpose": "music", "voices": {"tone": voice}},
    }


def make_takes(folder: Path) -> dict[str, str]:
    """The takes of an archive, `folder / "archive.db"`; name → id."""
    with Archive.open(folder / "archive.db") as archive:
        return {name: compose(archive, plan(name, parse_piece(tone(name), name), folder), 1) for name in TONES}


def programme(path: Path, items: list[dict[str, Any]], **rest: Any) -> Path:
    """Write a programme's file."""
    import tomlkit

    path.write_text(tomlkit.dumps({"descant": 1, "title": "A test", "crossfade": 1.5, **rest, "items": items}))
    return path


def level(samples: NDArray[np.float64], pitch: float, window: float = 0.1) -> NDArray[np.float64]:
    """Amplitude of a pitch in each `window` of seconds."""
    size = round(window * RATE)
    count = len(samples) // size
    cut = samples[: count * size].reshape(count, size) * np.hanning(size)
    wave = np.exp(-2j * np.pi * pitch * np.arange(size) / RATE)
    return np.asarray(np.abs(cut @ wave) * 2 / np.hanning(size).sum())


def recorded(path: Path) -> NDArray[np.float64]:
    """What was played, in one channel."""
    return np.asarray(soundfile.read(path, always_2d=True)[0].mean(axis=1))
