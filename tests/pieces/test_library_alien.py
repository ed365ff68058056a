"""The pieces of alien minds heard: what they promise, measured on rendered stems and on pictures of a real sheet."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pieces.minds.alien import Alien
from pieces.minds.alien_keys import Knockouts
from pieces.piece import Piece, find_piece
from pieces.signals import Event, FrameBlock, Frames, gather
from pieces.source import check_controls
from pieces.stream import StreamWriter
from sonify.ears import hear
from sonify.render import Rendering
from sonify.score import parse_score
from studio.pictures.draw import picture
from tests.pieces.minds.lively import still, strays
from tests.sounding import rendered, resolved

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]

#: The sheet of the piece with few knock-outs and few steps; among what becomes of its pictures is every verdict.
SHORT = {"modules": 8, "steps": 6}
VERDICTS = ("unmoved", "changed", "lost")
#: Ticks that a key of the keyboard is held, and then not.
HELD = 30


@dataclass(frozen=True)
class Heard:
    frames: Frames
    sound: Rendering

    def cut(self, voice: str, tick: float, ticks: float = 1.0) -> tuple[Floats, int]:
        """The later part of some ticks of a voice, mono."""
        sound, rate = soundfile.read(self.sound.stems[voice])
        start, end = ((tick + part * ticks) / self.frames.rate for part in (0.6, 0.95))
        return sound[int(start * rate) : int(end * rate)].mean(axis=1), rate

    def levels(self, voice: str) -> Floats:
        """Level in dB of a voice at each tick."""
        sounds = (self.cut(voice, tick)[0] for tick in range(self.frames.ticks))
        return np.array([level(sound) for sound in sounds])

    def onsets(self, voice: str) -> Floats:
        return hear(*soundfile.read(self.sound.stems[voice])).onset_times

    def seconds(self, *kinds: str) -> list[float]:
        """When events of these kinds happened."""
        return [e.tick / self.frames.rate for e in self.frames.of_kind(*kinds)]


def level(sound: Floats) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(sound**2)) + 1e-9))


def tells(values: Floats, is_so: NDArray[np.bool_], by: float) -> bool:
    """Whether values are higher by so much wherever something is so than wherever it is not."""
    return bool(values[is_so].min() > values[~is_so].max() + by)


def assert_tells(values: Floats, is_so: NDArray[np.bool_], by: float) -> None:
    """See that values tell what is so, and that those of no other assignment of sound to ticks would."""
    assert is_so.any()
    assert not is_so.all()
    assert tells(values, is_so, by), (values.round(2), is_so)
    others = [np.roll(is_so, k) for k in range(1, len(is_so))]
    assert not any(tells(values, other, by) for other in others if not np.array_equal(other, is_so))


def sheet() -> FrameBlock:
    """What the house mind draws under the surgeries of a short sheet."""
    given = find_piece("alien")[0].parts["mind"].controls
    source = Alien(1, check_controls(Alien, {**given, **SHORT}))
    return source.step({}, (), source.bench.ticks)


@pytest.fixture(scope="module")
def heard(scratch: Path) -> Heard:
    """The score of the piece over a sheet, slowly, so that tails end."""
    return performed("alien", gather([sheet()], 0.8), Alien, scratch / "alien")


@pytest.fixture(scope="module")
def played(heard: Heard, scratch: Path) -> Heard:
    """The keyboard over the same sheet: each key is held a while, and then let go."""
    piece, count = find_piece("alien-keyboard")[0], heard.frames.ticks - 1
    path = scratch / "sheet.stream"
    with path.open("wb") as file:
        StreamWriter(file, Alien.channels, {}).write(FrameBlock(0, heard.frames.arrays, heard.frames.events))
    controls = check_controls(Knockouts, {**piece.parts["mind"].controls, "keys": count})
    source, lowest = Knockouts(1, controls, {"sheet": str(path)}), int(controls["lowest"])
    blocks = []
    for key, velocity in itertools.product(range(count), (0.7, 0.0)):
        event = Event(0, "note", {"midi": lowest + key, "velocity": velocity}, given=True)
        blocks.append(source.step(controls, [event], HELD))
    return performed("alien-keyboard", gather(blocks, piece.rate("mind")), Knockouts, scratch / "keys")


def performed(name: str, frames: Frames, source: type[Alien | Knockouts], folder: Path) -> Heard:
    folder.mkdir()
    piece = find_piece(name)[0]
    score = resolved(parse_score(piece.score, name), source.channels, frames)
    return Heard(frames, rendered(score, frames, piece.master.model_copy(update={"tail": 1.0}), folder))


def test_the_sheet_holds_every_verdict(heard: Heard) -> None:
    assert {e.kind for e in heard.frames.events} >= {"surgery", *VERDICTS}


@pytest.mark.parametrize(("name", "source"), [("alien", Alien), ("alien-keyboard", Knockouts)])
def test_signals_stay_where_they_are_declared_and_all_that_is_mapped_moves(
    name: str, source: type[Alien | Knockouts], heard: Heard, played: Heard
) -> None:
    frames = (heard if name == "alien" else played).frames
    assert not strays(source.channels, frames)
    assert not still(parse_score(find_piece(name)[0].score, name), source.channels, frames)


def test_every_surgery_is_plucked(heard: Heard) -> None:
    np.testing.assert_allclose(heard.onsets("scalpel"), heard.seconds("surgery"), atol=0.015)
    assert len(heard.seconds("surgery")) == heard.frames.ticks


@pytest.mark.parametrize(
    ("voice", "channel", "by"), [("cat", "concept", 12), ("hat", "complete", 12), ("nothing", "nothing", 20)]
)
def test_choir_high_voice_and_wind_are_cat_hat_and_nothing(voice: str, channel: str, by: float, heard: Heard) -> None:
    assert_tells(heard.levels(voice), heard.frames.arrays[channel] > 0.5, by)


def test_bells_ring_for_other_dreams_and_for_none(heard: Heard) -> None:
    for voice, kind in (("other", "changed"), ("lost", "lost")):
        assert heard.seconds(kind)
        np.testing.assert_allclose(heard.onsets(voice), heard.seconds(kind), atol=0.015)


def test_a_mind_out_of_shape_is_out_of_tune(heard: Heard) -> None:
    """The share of the body's sound that is at multiples of its fundamental: all while the mind is untouched."""

    def harmonic(tick: int) -> float:
        part, rate = heard.cut("body", tick)
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        hertz = np.fft.rfftfreq(len(part), 1 / rate)
        root = 440 * 2 ** (-19 / 12)  # D3
        inside = (hertz > 1.5 * root) & (hertz < 8 * root)
        off = np.abs(hertz / root - np.round(hertz / root))
        return float(power[inside & (off < 0.04)].sum() / power[inside].sum())

    shares, moved = (
        np.array([harmonic(t) for t in range(heard.frames.ticks)]),
        heard.frames.arrays["distance_embedding"],
    )
    assert shares[0] > 0.95
    clear = (moved < 0.02) | (moved > 0.3)
    assert_tells(shares[clear], moved[clear] < 0.02, 0.2)


def test_a_key_is_heard_as_long_as_it_is_held(heard: Heard, played: Heard) -> None:
    """Of the key whose module the cat depends on, and of one that is not missed."""
    np.testing.assert_allclose(played.onsets("scalpel"), played.seconds("struck"), atol=0.015)
    verdicts = {e.tick: e.kind for e in heard.frames.of_kind(*VERDICTS)}
    gone, spared = (next(t for t, k in verdicts.items() if k == kind) - 1 for kind in ("lost", "unmoved"))

    def levels(voice: str) -> tuple[float, float, float, float]:
        at = (2 * HELD * gone, 2 * HELD * gone + HELD, 2 * HELD * spared, 2 * HELD * spared + HELD)
        held, free, other, after = (level(played.cut(voice, tick, HELD)[0]) for tick in at)
        return held, free, other, after

    choir, wind = levels("cat"), levels("nothing")
    assert min(choir[1:]) > choir[0] + 12
    assert wind[0] > max(wind[1:]) + 20


def test_the_picture_is_the_mind_s(heard: Heard) -> None:
    """Its pixels stand in the frame, and change with the tick; without its sheet it stands alone."""
    frames = heard.frames
    kinds = {e.kind: e.tick for e in frames.of_kind(*VERDICTS)}
    for tick in (0, kinds["changed"], kinds["lost"]):
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
        assert near[tick] > 0.9


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
    assert {c.name for c in Alien.channels} <= {c.name for p in planned.players.values() for c in p.source.channels}
