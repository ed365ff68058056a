"""The pieces of alien minds heard: what they promise, measured on rendered stems and on pictures, nothing else."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pieces.minds.alien import channels
from pieces.piece import Piece, find_piece
from pieces.signals import Array, Event, Frames
from sonify.ears import hear
from sonify.render import Rendering
from sonify.score import parse_score
from studio.pictures.draw import picture
from tests.sounding import rendered, resolved

DECLARED = channels((4, 16, 16), (64, 64), 8)
#: What happens at each tick: the verdict, distance, concept, hat, nothing.
STORY = (
    ("", 0.0, 0.97, 0.98, 0.0),
    ("unmoved", 0.002, 0.97, 0.98, 0.0),
    ("lost", 0.42, 0.01, 0.5, 0.98),
    ("unmoved", 0.001, 0.97, 0.98, 0.0),
    ("changed", 0.15, 0.03, 0.5, 0.01),
    ("", 0.08, 0.95, 0.02, 0.0),
)


def told(rate: float) -> Frames:
    """A short sheet of every verdict there is."""
    ticks = len(STORY)
    arrays: dict[str, Array] = {c.name: np.zeros((ticks, *c.shape), c.dtype) for c in DECLARED}
    _, distance, concept, hat, nothing = (np.array(column) for column in zip(*STORY, strict=True))
    arrays |= {"distance_pixels": distance, "concept": concept, "complete": hat, "nothing": nothing}
    arrays["distance_embedding"] = np.minimum(2 * distance, 1)
    arrays["depth"] = np.arange(ticks) / (ticks - 1)
    arrays["detail"] = 16 + 22 * nothing
    arrays["picture"] = np.random.default_rng(0).integers(0, 255, (ticks, 64, 64, 3), dtype=np.uint8)
    events = [Event(t, kind) for t in range(ticks) for kind in ("surgery", STORY[t][0]) if kind]
    return Frames(arrays, tuple(events), rate, ticks)


@dataclass(frozen=True)
class Heard:
    frames: Frames
    sound: Rendering

    def level(self, voice: str, tick: int) -> float:
        """Level in dB of a voice in the second half of a tick."""
        sound, rate = soundfile.read(self.sound.stems[voice])
        start, end = ((tick + part) / self.frames.rate for part in (0.6, 0.95))
        return float(20 * np.log10(np.sqrt(np.mean(sound[int(start * rate) : int(end * rate)] ** 2)) + 1e-9))

    def onsets(self, voice: str) -> NDArray[np.float64]:
        return hear(*soundfile.read(self.sound.stems[voice])).onset_times


@pytest.fixture(scope="module")
def heard(scratch: Path) -> Heard:
    """The score of the piece over the story, slowly, so that tails end."""
    piece, _ = find_piece("alien")
    frames = told(rate=0.8)
    score = parse_score(piece.score, "alien")
    whole = resolved(score, DECLARED, frames)
    return Heard(frames, rendered(whole, frames, piece.master.model_copy(update={"tail": 1.0}), scratch))


def test_every_surgery_is_plucked(heard: Heard) -> None:
    np.testing.assert_allclose(heard.onsets("scalpel"), np.arange(len(STORY)) / heard.frames.rate, atol=0.015)


def test_the_choir_falls_silent_where_the_cat_is_gone(heard: Heard) -> None:
    there, gone = [heard.level("cat", t) for t in (0, 1, 3, 5)], [heard.level("cat", t) for t in (2, 4)]
    assert min(there) > max(gone) + 12


def test_the_high_voice_is_the_hat(heard: Heard) -> None:
    assert heard.level("hat", 0) > heard.level("hat", 5) + 20


def test_wind_is_nothing(heard: Heard) -> None:
    others = [heard.level("nothing", t) for t in (0, 1, 4)]
    assert heard.level("nothing", 2) > max(others) + 20


def test_bells_ring_for_other_dreams_and_for_none(heard: Heard) -> None:
    np.testing.assert_allclose(heard.onsets("other"), [4 / heard.frames.rate], atol=0.015)
    np.testing.assert_allclose(heard.onsets("lost"), [2 / heard.frames.rate], atol=0.015)


def test_a_mind_out_of_shape_is_out_of_tune(heard: Heard) -> None:
    """The share of the body's sound that is at multiples of its fundamental: all while the mind is untouched."""
    sound, rate = soundfile.read(heard.sound.stems["body"])

    def harmonic(tick: int) -> float:
        start, end = (int((tick + part) / heard.frames.rate * rate) for part in (0.35, 0.98))
        part = sound[start:end].mean(axis=1)
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        hertz = np.fft.rfftfreq(len(part), 1 / rate)
        root = 440 * 2 ** (-19 / 12)  # D3
        inside = (hertz > 1.5 * root) & (hertz < 8 * root)
        off = np.abs(hertz / root - np.round(hertz / root))
        return float(power[inside & (off < 0.04)].sum() / power[inside].sum())

    assert harmonic(0) > 0.95
    assert harmonic(3) > 0.9
    assert harmonic(2) < 0.7
    assert harmonic(4) < 0.7


def test_the_picture_is_the_mind_s(heard: Heard) -> None:
    """Its pixels stand in the frame, and change with the tick; without its sheet it stands alone."""
    frames = heard.frames
    for tick in (0, 2):
        drawn = picture("alien", frames, tick, 640, 360, {"cells": 0})
        side = int(360 * (1 - 2 * 0.05 - 0.14))
        left, top = (640 - side) // 2, 18
        seen = drawn[top : top + side, left : left + side].astype(float)
        rows = (np.linspace(0.5, 63.5, 64) * side / 64).astype(int)
        near = [
            np.corrcoef(seen[rows][:, rows].ravel(), frames.arrays["picture"][t].astype(float).ravel())[0, 1]
            for t in range(frames.ticks)
        ]
        assert int(np.argmax(near)) == tick
        assert near[tick] > 0.5


def test_the_sheet_fills_as_it_is_played(heard: Heard) -> None:
    def lit(tick: int, **options: int) -> float:
        drawn = picture("alien", heard.frames, tick, 640, 360, options)
        return float((drawn[:290, 330:].max(axis=2) > 90).mean())

    amounts = [lit(tick) for tick in range(heard.frames.ticks)]
    assert all(b > a for a, b in itertools.pairwise(amounts))
    again = Frames({n: a[[0, 1, 0, 1, 0, 1]] for n, a in heard.frames.arrays.items()}, (), 1.0, 6)
    several = picture("alien", again, 5, 640, 360, {"once": 0})
    once = picture("alien", again, 5, 640, 360, {"once": 1})
    assert not np.array_equal(several, once)
    np.testing.assert_array_equal(once[:280, 330:], picture("alien", again, 3, 640, 360, {"once": 1})[:280, 330:])


@pytest.mark.parametrize("name", ["alien", "alien-keyboard"])
def test_every_voice_hears_a_channel_that_is_there(name: str) -> None:
    from studio.plan import plan

    piece, base = find_piece(name)
    planned = plan(name, piece, base)
    assert isinstance(planned.piece, Piece)
    assert {c.name for c in DECLARED} <= {c.name for p in planned.players.values() for c in p.source.channels}
