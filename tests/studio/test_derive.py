"""A piece from a take: performed again it is the take, as it ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from db.archive import Archive
from pieces.piece import find_piece, parse_piece
from pieces.signals import Event
from studio.compose import compose
from studio.derive import derived_piece
from studio.plan import plan


def test_controls_are_as_they_ended_and_the_rest_is_the_piece(tmp_path):
    piece, _ = find_piece("cubics")
    short = piece.with_values({"parts.cubics.ticks": 60})
    given = [
        Event(10, "control", {"name": "learning_rate", "value": 0.02}, given=True),
        Event(30, "control", {"name": "learning_rate", "value": 0.05}, given=True),
    ]
    with Archive.open(tmp_path / "archive.db") as archive:
        take = compose(archive, plan("cubics", short, Path.cwd()), 1, given={"cubics": given})
        made = derived_piece(archive, take)
        assert made.parts["cubics"].controls["learning_rate"] == 0.05
        assert made.with_controls({"learning_rate": 0.01}) == short
        again = compose(archive, plan("again", made, Path.cwd()), 1)
        assert archive.take(again).controls["cubics"]["learning_rate"] == 0.05


def test_the_score_is_the_last_one_that_was_played(tmp_path):
    piece, _ = find_piece("cubics")
    score = {"purpose": "music", "voices": {"tone": {"instrument": "glide", "lanes": {"pitch": "A4"}}}}
    given = [Event(10, "score", {"score": score, "beat": 0.2}, given=True)]
    short = piece.with_values({"parts.cubics.ticks": 60, "knobs": []})
    with Archive.open(tmp_path / "archive.db") as archive:
        take = compose(archive, plan("cubics", short, Path.cwd()), 1, given={"cubics": given})
        assert list(derived_piece(archive, take).score["voices"]) == ["tone"]
        assert list(parse_piece(archive.take(take).piece, "take").score["voices"]) != ["tone"]


def test_files_are_those_that_the_archive_kept(tmp_path):
    """A user's own source and sound file may be gone: the take has them."""
    (tmp_path / "mine.py").write_text(_SOURCE)
    tone = np.sin(np.arange(24_000) / 20).astype(np.float32)
    soundfile.write(tmp_path / "tone.wav", tone, 48_000)
    voices = {"tone": {"instrument": "sampler", "sample": "tone.wav", "on": ["struck"]}}
    raw = {
        "title": "mine",
        "parts": {"a": {"source": "mine.py:Mine", "rate": 20.0, "ticks": 20}},
        "score": {"purpose": "music", "voices": voices},
        "master": {"tail": 0.0},
    }
    with Archive.open(tmp_path / "archive.db") as archive:
        take = compose(archive, plan("mine", parse_piece(raw, "mine"), tmp_path), 1)
        (tmp_path / "mine.py").unlink()
        (tmp_path / "tone.wav").unlink()
        made = derived_piece(archive, take)
        again = compose(archive, plan("again", made, Path("/")), 1)
        np.testing.assert_array_equal(archive.frames(again).arrays["x"], archive.frames(take).arrays["x"])


_SOURCE = """
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from pieces.signals import Channel, Event, FrameBlock
from pieces.source import Source


class Mine(Source):
    name = "mine"
    about = "Counts."
    channels: ClassVar = (Channel("x", "a number", range=(0.0, 100.0)),)
    controls: ClassVar = ()
    emits: ClassVar = {"struck": "every fifth tick"}

    def __init__(self, seed, controls, inputs):
        self.tick = 0

    def step(self, controls, events, n):
        x = np.arange(self.tick, self.tick + n, dtype=np.float32)
        struck = tuple(Event(int(t), "struck", {}) for t in x if t % 5 == 0)
        block = FrameBlock(self.tick, {"x": x}, struck)
        self.tick += n
        return block
"""
