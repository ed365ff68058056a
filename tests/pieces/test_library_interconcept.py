"""Cat island heard: what the piece `interconcept` says of chord, water and bells, measured on rendered stems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pieces.minds.interconcept import Interconcept
from pieces.piece import check_piece, find_piece
from pieces.signals import Event, FrameBlock, Frames, gather
from sonify.ears import hear, pitch_track
from sonify.render import Rendering
from sonify.score import parse_score
from tests.sounding import rendered, resolved

Floats = NDArray[np.float64]

#: Ticks on land, of the way out, and far out at sea.
LAND, OUT, SEA = 8, 8, 8
VOICES = ("fifth", "third", "surf", "landfall", "departure")
#: The chord's notes on land (Hz), in just intonation over D.
NOTES = {"fifth": 110.13, "third": 183.55}


@dataclass(frozen=True)
class Flight:
    frames: Frames
    sound: Rendering

    def stem(self, voice: str) -> tuple[Floats, int]:
        return soundfile.read(self.sound.stems[voice])

    def cut(self, voice: str, first: float, last: float) -> tuple[Floats, int]:
        """A voice between two ticks."""
        sound, rate = self.stem(voice)
        return sound[round(first / self.frames.rate * rate) : round(last / self.frames.rate * rate)], rate


def flown() -> FrameBlock:
    """A flight from the middle of an island 1.5 norms wide, 2.5 out to sea and back; the mind is left out."""
    x = np.concatenate([np.zeros(LAND), np.linspace(0, 4.0, OUT), np.full(SEA, 4.0), np.zeros(4)])
    land = x < 1.5
    told = {"x": x, "distance": x, "shore": 1.5 - x, "concept": 0.05 + 0.9 * land, "other": 0.9 - 0.8 * land}
    arrays = {c.name: np.full((len(x), *c.shape), 0.01).astype(c.dtype) for c in Interconcept.channels}
    arrays |= {name: values.astype(np.float32) for name, values in told.items()}
    turns = np.flatnonzero(land[1:] != land[:-1]) + 1
    return FrameBlock(0, arrays, tuple(Event(int(t), "landfall" if land[t] else "departure") for t in turns))


@pytest.fixture(scope="module")
def flight(scratch: Path) -> Flight:
    piece, _ = find_piece("interconcept")
    frames = gather([flown()], 2.0)
    score = parse_score(piece.score, "interconcept")
    score = score.model_copy(update={"voices": {n: v for n, v in score.voices.items() if n in VOICES}})
    whole = resolved(score, Interconcept.channels, frames)
    return Flight(frames, rendered(whole, frames, piece.master, scratch))


def heard(flight: Flight, voice: str, first: float, last: float) -> Floats:
    """Pitches in hertz, where one is heard."""
    low, high = 0.7 * NOTES[voice], 1.4 * NOTES[voice]
    track = pitch_track(*flight.cut(voice, first, last), hop_s=0.05, window_s=0.2, low=low, high=high)
    found: Floats = track.f0[np.isfinite(track.f0)]
    assert len(found) > 5
    return found


@pytest.mark.parametrize("voice", list(NOTES))
def test_on_land_the_chord_is_in_tune_and_at_sea_it_is_not(voice: str, flight: Flight) -> None:
    def cents(first: float, last: float) -> Floats:
        return 1200 * np.log2(heard(flight, voice, first, last) / NOTES[voice])

    land, sea = cents(3, LAND - 0.5), cents(LAND + OUT + 1, LAND + OUT + SEA - 0.5)
    assert np.abs(land).max() < 4
    assert np.abs(np.median(sea)) > 60


def test_water_rises_with_the_distance_from_the_shore(flight: Flight) -> None:
    def level(first: float, last: float) -> float:
        return float(10 * np.log10(np.mean(flight.cut("surf", first, last)[0] ** 2) + 1e-12))

    inland, at_shore = level(3, LAND - 0.5), level(LAND + 4, LAND + 5)
    out = level(LAND + OUT + 2, LAND + OUT + SEA - 0.5)
    assert inland < -65
    assert inland + 15 < at_shore < out - 3


@pytest.mark.parametrize("kind", ["landfall", "departure"])
def test_a_bell_tells_of_every_crossing(kind: str, flight: Flight) -> None:
    crossings = np.array([e.tick / flight.frames.rate for e in flight.frames.of_kind(kind)])
    assert len(crossings) == 1
    onsets = hear(*flight.stem(kind)).onset_times
    np.testing.assert_allclose(onsets, crossings, atol=0.015)


def test_the_piece_holds_together() -> None:
    piece, base = find_piece("interconcept")
    assert check_piece(piece, "interconcept", base)["flight"] is Interconcept
    declared = {c.name for c in Interconcept.controls}
    for section in piece.sections:
        assert {name.partition(".")[2] for name in section.controls} <= declared
