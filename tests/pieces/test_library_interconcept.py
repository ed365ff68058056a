"""Cat island heard: what the piece `interconcept` says of chord, water and bells on a short flight of a real mind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pieces.minds.interconcept import Interconcept
from pieces.piece import check_piece, find_piece
from pieces.signals import Frames
from pieces.source import check_controls
from sonify.ears import hear, pitch_track
from sonify.score import parse_score
from tests.pieces.minds.lively import still, strays
from tests.sounding import Whole, whole

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]

#: From the prompt towards the dog, out to sea, and back: sections with how many bars of 2 s they have, and the reach.
WAY = {"home": (2, 0.0), "out": (2, [0.0, 3.9]), "at sea": (2, 3.9), "back": (1, [3.9, 0.0]), "ashore": (1, 0.0)}
#: A coarse chart, quickly drawn pictures, two of them a second.
SHORT = {
    "metre.tempo": 120,
    "parts.flight.per_beat": 1,
    "parts.flight.controls.radius": 4.0,
    "parts.flight.controls.cells": 4,
    "parts.flight.controls.depth": 0,
    "parts.flight.controls.steps": 5,
    "master.tail": 1.0,
}
#: The chord's notes on land (Hz), in just intonation over D.
NOTES = {"fifth": 110.13, "third": 183.55, "ninth": 330.39}


@pytest.fixture(scope="module")
def flight(scratch: Path) -> Whole:
    piece, _ = find_piece("interconcept")
    sections = [{"name": n, "bars": bars, "controls": {"flight.reach": r}} for n, (bars, r) in WAY.items()]
    path = scratch / "short.toml"
    path.write_text(piece.with_values({**SHORT, "sections": sections}).to_toml())
    return whole(str(path), 1, scratch)


def frames(flight: Whole) -> Frames:
    return flight.played.parts["flight"]


def later(flight: Whole, section: str) -> tuple[float, float]:
    """A section without its first second and a half, in which voices glide."""
    start, end = flight.section(section)
    return start + 1.5, end


def cents(flight: Whole, voice: str, section: str) -> Floats:
    """How far a voice is from its note, where its pitch is heard."""
    note = NOTES[voice]
    sound = flight.cut(flight.stem(voice), *later(flight, section))
    track = pitch_track(sound, flight.rate, hop_s=0.05, window_s=0.2, low=0.7 * note, high=1.4 * note)
    found = track.f0[np.isfinite(track.f0)]
    assert len(found) > 5
    cents: Floats = 1200 * np.log2(found / note)
    return cents


def levels(flight: Whole, voice: str) -> Floats:
    """Level in dB of a voice at each tick."""
    sound, ends = flight.stem(voice), [*frames(flight).starts[1:], frames(flight).duration]
    ticks = zip(frames(flight).starts, ends, strict=True)
    return np.array([10 * np.log10(np.mean(flight.cut(sound, *tick) ** 2) + 1e-12) for tick in ticks])


def test_the_flight_goes_out_to_sea_and_comes_home(flight: Whole) -> None:
    land = frames(flight).arrays["shore"] > 0
    assert np.flatnonzero(np.diff(land)).size == 2
    assert land[0]
    assert land[-1]
    concept = frames(flight).arrays["concept"]
    assert np.median(concept[land]) > 0.9 > 0.1 > np.median(concept[~land]), "coarse as the chart is"


def test_signals_stay_where_they_are_declared_and_all_that_is_mapped_moves(flight: Whole) -> None:
    short = {path.rpartition(".")[2]: value for path, value in SHORT.items() if ".controls." in path}
    part, score = find_piece("interconcept")[0].parts["flight"], parse_score(find_piece("interconcept")[0].score, "")
    channels = Interconcept(1, check_controls(Interconcept, {**part.controls, **short}), part.inputs).channels
    assert not strays(channels, frames(flight))
    assert not still(score, channels, frames(flight))


@pytest.mark.parametrize("voice", list(NOTES))
def test_on_land_the_chord_is_in_tune_and_at_sea_it_is_not(voice: str, flight: Whole) -> None:
    assert np.abs(cents(flight, voice, "home")).max() < 4
    assert np.abs(np.median(cents(flight, voice, "at sea"))) > 60


def test_water_rises_with_the_distance_from_the_shore(flight: Whole) -> None:
    surf, depth = levels(flight, "surf"), -frames(flight).arrays["shore"]
    assert spearmanr(surf, depth)[0] > 0.85
    assert max(spearmanr(surf, np.roll(depth, k))[0] for k in range(8, len(depth) - 7)) < 0.5, "a flight at other times"
    on_land = frames(flight).starts < later(flight, "home")[1]
    assert surf[on_land].max() < -65
    assert surf.max() > -45


@pytest.mark.parametrize("kind", ["landfall", "departure"])
def test_a_bell_tells_of_every_crossing(kind: str, flight: Whole) -> None:
    crossings = flight.times("flight", kind)
    assert len(crossings) == 1
    onsets = hear(flight.stem(kind), flight.rate).onset_times
    np.testing.assert_allclose(onsets, crossings, atol=0.015)
    land = frames(flight).arrays["shore"] > 0
    (tick,) = np.flatnonzero(land[1:] & ~land[:-1] if kind == "landfall" else ~land[1:] & land[:-1]) + 1
    assert frames(flight).starts[tick] == crossings[0]


def test_a_string_is_plucked_when_something_else_is_there(flight: Whole) -> None:
    strongest = frames(flight).arrays["scores"].argmax(axis=1)
    turns = frames(flight).starts[np.flatnonzero(np.diff(strongest)) + 1]
    assert len(turns) >= 2
    np.testing.assert_allclose(hear(flight.stem("turn"), flight.rate).onset_times, turns, atol=0.015)


def test_a_second_voice_sings_while_something_else_is_there(flight: Whole) -> None:
    (start, end), starts = later(flight, "at sea"), frames(flight).starts
    assert frames(flight).arrays["other"][(starts >= start) & (starts < end)].min() > 0.55
    home, sea = (flight.cut(flight.stem("stranger"), *later(flight, s)) for s in ("home", "at sea"))
    assert np.sqrt(np.mean(sea**2)) > 100 * np.sqrt(np.mean(home**2))


def test_the_piece_holds_together() -> None:
    piece, base = find_piece("interconcept")
    assert check_piece(piece, "interconcept", base)["flight"] is Interconcept
    declared = {c.name for c in Interconcept.controls}
    for section in piece.sections:
        assert {name.partition(".")[2] for name in section.controls} <= declared
