"""The ride heard: what the piece `landscape` promises, measured on rendered stems and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pieces.piece import find_piece
from pieces.signals import Frames, gather
from pieces.source import check_controls
from pieces.weights.landscape import Landscape
from sonify.ears import hear, pitch_track
from sonify.mapping import invert
from sonify.render import Rendering
from sonify.resolve import ResolvedMapping, ResolvedScore
from sonify.score import parse_score
from tests.sounding import rendered, resolved

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ride:
    frames: Frames
    score: ResolvedScore
    sound: Rendering

    def stem(self, voice: str) -> tuple[Floats, int]:
        return soundfile.read(self.sound.stems[voice])


@pytest.fixture(scope="module")
def ride(scratch: Path) -> Ride:
    """The piece in a third of its time, without the ten digits that sing in the background."""
    piece, _ = find_piece("landscape")
    part = piece.parts["ride"]
    given = check_controls(Landscape, {**part.controls, "points": 240})
    frames = gather([Landscape(1, given).step(given, (), 240)], part.rate)
    score = parse_score(piece.score, "landscape")
    kept = {n: v for n, v in score.voices.items() if not n.startswith("digit")}
    score = score.model_copy(update={"voices": kept})
    whole = resolved(score, Landscape.channels, frames)
    return Ride(frames, whole, rendered(whole, frames, piece.master, scratch))


def explained(truth: Floats, decoded: Floats) -> float:
    """R², the share of the variance of `truth` that `decoded` accounts for, with no fit in between."""
    return float(1 - np.sum((truth - decoded) ** 2) / np.sum((truth - truth.mean()) ** 2))


def test_pitch_decodes_to_the_loss(ride: Ride) -> None:
    track = pitch_track(*ride.stem("height"), hop_s=0.01, low=100)
    frames = ride.frames
    # The lane reaches a tick's value at the tick's end, when its glide of one tick is over.
    times = (np.arange(frames.ticks) + 1) / frames.rate
    inside = slice(4, -4)
    heard = np.interp(times[inside], track.times, track.f0)
    (height,) = [v for v in ride.score.voices if v.name == "height"]
    mapping = height.lanes["pitch"]
    assert isinstance(mapping, ResolvedMapping)
    decoded, loss = invert(mapping, heard), frames.arrays["loss"][inside].astype(float)
    assert explained(loss, decoded) >= 0.99
    assert explained(np.log(loss), np.log(decoded)) >= 0.99
    assert explained(loss, decoded[::-1]) < 0.5, "the measure can fail"


def test_every_cliff_is_a_bell_within_ten_milliseconds(ride: Ride) -> None:
    cliffs = np.array([e.tick / ride.frames.rate for e in ride.frames.of_kind("cliff")])
    assert len(cliffs) == 2
    onsets = hear(*ride.stem("cliffs")).onset_times
    assert len(onsets) == len(cliffs)
    np.testing.assert_allclose(onsets, cliffs, atol=0.01)


def test_digits_learned_and_forgotten_are_plucked(ride: Ride) -> None:
    onsets = hear(*ride.stem("strings")).onset_times
    strokes = np.unique([e.tick / ride.frames.rate for e in ride.frames.of_kind("learned", "forgotten")])
    assert len(strokes) >= 10
    for stroke in strokes:
        assert np.abs(onsets - stroke).min() <= 0.011


def test_steep_is_loud(ride: Ride) -> None:
    sound, sample_rate = ride.stem("height")
    tick = int(sample_rate / ride.frames.rate)
    level = np.array([np.sqrt(np.mean(sound[i * tick : (i + 1) * tick] ** 2)) for i in range(10, 230)])
    slope = ride.frames.arrays["slope"][10:230]
    assert np.corrcoef(np.log(level), np.arcsinh(slope / 0.2))[0, 1] > 0.95
