"""What lies between the house mind's words: the switch between dog and cat, the island, and the flight over it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pieces.minds import interconcept
from pieces.minds.coast import Coast, Radii, area, extent, field_on, radii, rays_from, survey
from pieces.minds.concepts import CONCEPTS, concept_of, open_eye
from pieces.minds.interconcept import Interconcept, channels
from pieces.minds.mind import MindError, Settings
from pieces.minds.space import Space, line, plane_through
from pieces.minds.surgery import chosen, operated, series
from pieces.minds.surveying import Surveyor
from pieces.signals import gather
from pieces.source import ControlError, SourceError, check_controls

#: Starting noises, and where on the line from dog to cat pictures are drawn; beyond, ends come first and last.
NOISES = (1, 2, 3, 4)
WAY, FAR = np.linspace(-0.25, 1.5, 8), np.array([-8.0, 9.0])
SEED = 3
CAT_ISLAND = {"radius": 8.0, "steps": 5, "cells": 6, "depth": 0}


@pytest.fixture(scope="module")
def surveyor(house) -> Surveyor:
    space = Space(house.meaning(["a dog"]))
    return Surveyor(house, open_eye(house), space, CONCEPTS, NOISES, Settings(6))


@pytest.fixture(scope="module")
def strip(surveyor):
    """Embeddings ``[n, noises, e]`` and mean scores ``[n, concepts + 1]`` from dog to cat, and far beyond both."""
    ends = surveyor.space.vectors(surveyor.mind.meaning(["a dog", "a cat"]))
    return surveyor.seen(surveyor.pictures(line(*ends, np.concatenate([WAY, FAR]))))


def flight(seed=SEED, inputs=None, **values) -> tuple[Interconcept, dict]:
    given = check_controls(Interconcept, {**CAT_ISLAND, **values})
    texts = {"right": "a dog", "above": "a house"}
    return Interconcept(seed, given, texts if inputs is None else inputs), given


@pytest.fixture(scope="module")
def flown():
    """From the cat a norm a tick towards the dog, up to the rim of the chart and a tick longer; and who flew."""
    source, given = flight(speed=1.0)
    return source, given, source.step(given, (), 10)


@pytest.fixture(scope="module")
def voyage(flown):
    return flown[2]


def test_the_line_from_dog_to_cat_is_one_clean_switch(strip):
    strongest = [(*CONCEPTS, "nothing")[i] for i in strip[1][: len(WAY)].argmax(axis=1)]
    assert strongest[0] == "a dog"
    assert strongest[-1] == "a cat"
    assert set(strongest) == {"a dog", "a cat"}, "nothing else lies between"
    assert sum(a != b for a, b in pairwise(strongest)) == 1
    of_both = strip[1][: len(WAY), [CONCEPTS.index("a dog"), CONCEPTS.index("a cat")]]
    assert (of_both.max(axis=1) < 0.6).sum() <= 2, "and hardly anything half and half"


def test_far_past_both_ends_there_is_neither(strip):
    embedded, scores = strip
    dog, cat = CONCEPTS.index("a dog"), CONCEPTS.index("a cat")
    assert scores[len(WAY) :, [dog, cat]].max() < 0.5
    ends = embedded[[1, 5]].mean(axis=1)
    away = (1 - embedded @ ends.T).min(axis=-1).mean(axis=1)
    assert away[len(WAY) :].min() > 1.5 * away[: len(WAY)].max(), "unlike anything on the way"


def island(scores) -> Coast:
    return Coast(CAT_ISLAND["radius"], scores.astype(float), np.ones(scores.shape, dtype=bool))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_closed_coast_goes_round_the_cat(seed):
    source, given = flight(seed, depth=1)
    chart = island(source.step(given, (), 1).arrays["chart"][0])
    ring = chart.around()
    assert ring is not None
    np.testing.assert_array_equal(ring[0], ring[-1])
    assert len(ring) > 12
    assert np.abs(ring).max() < chart.radius, "all of it is on the chart"
    assert area(ring) > 0.5 * chart.land * (2 * chart.radius) ** 2, "most cats are on the island of the prompt"
    assert chart.around((7.5, 7.5)) is None, "open sea has none"


def test_a_mind_that_knows_nothing_has_no_island(house, surveyor):
    ends = surveyor.space.vectors(house.meaning(["a cat", "a dog", "a house"]))
    looker = replace(surveyor, seeds=(SEED,), settings=Settings(5))
    field = field_on(plane_through(*ends), lambda vectors: looker.scores(vectors, "a cat"))
    assert field(np.zeros((1, 2)))[0] > 0.5, "there is one"
    with operated(house, series("noise", chosen(house), [1.0], seed=1)[0]):
        chart = survey(field, CAT_ISLAND["radius"], cells=4, depth=1)
    assert chart.land == chart.islands == 0
    assert chart.shores == ()


@pytest.fixture(scope="module")
def reaches(house, surveyor):
    """How far the cat reaches in twelve directions, under ever more noise in the UNet's weights."""
    directions, found = 12, []
    looker = replace(surveyor, space=Space(house.meaning(["a cat"])), seeds=(SEED,), settings=Settings(5))
    ways = looker.space.directions(directions, np.random.default_rng(1))
    rays = rays_from(looker.space.vectors(looker.space.home)[0], ways, lambda v: looker.scores(v, "a cat"))
    for operation in series("noise", chosen(house), [0.0, 0.3, 0.4], seed=1):
        with operated(house, operation):
            found.append(radii(rays, directions, 12.0, strides=6, tolerance=0.5))
    return found


def test_the_cat_reaches_less_far_the_more_noise_there_is_in_the_mind(reaches):
    whole, less, least = extents = [extent(r) for r in reaches]
    assert {e.bound for e in extents} == {"measured"}, "the prompt is still a cat, and its shores are found"
    assert whole.radius > less.radius > least.radius
    assert whole.low > least.high, "and not by chance"
    assert (reaches[2].outer < reaches[0].inner).sum() >= 9, "in nearly every direction"


def test_other_directions_of_the_same_mind_do_not_reach_less_far(reaches):
    """The judge finds no difference where there is none."""
    halves = [
        extent(Radii(*(ends[half] for ends in (reaches[0].inner, reaches[0].outer, reaches[0].endless))))
        for half in (slice(None, None, 2), slice(1, None, 2))
    ]
    assert max(e.low for e in halves) < min(e.high for e in halves)


def test_the_flight_starts_at_the_prompt_and_shores_are_where_the_concept_ends(voyage, house):
    arrays = voyage.arrays
    np.testing.assert_allclose(arrays["x"][:4], [0, 1, 2, 3], atol=1e-6)
    assert not arrays["y"].any()
    alone = house.decode(house.draw(house.meaning(["a cat"]), house.noise([SEED]), Settings(5)))[0]
    assert np.abs(arrays["picture"][0].astype(int) - alone).max() <= 1, "the middle is the prompt itself"
    np.testing.assert_allclose(arrays["scores"].sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(arrays["concept"], arrays["scores"][:, 0])
    assert arrays["shore"][0] > 0 > arrays["shore"][4]
    assert arrays["concept"][0] > 0.5 > arrays["concept"][1:].max()
    assert arrays["other"][1] > 0.5, "there is a dog"
    assert arrays["away"][0] == pytest.approx(0, abs=1e-5)
    assert arrays["away"][3:].min() > 0.03
    np.testing.assert_allclose(arrays["x"][-2:], CAT_ISLAND["radius"])


def test_what_happens_on_the_way_is_told_once(voyage):
    at = {kind: [e.tick for e in voyage.events if e.kind == kind] for kind in Interconcept.emits}
    land = voyage.arrays["shore"] > 0
    assert at["departure"] == (np.flatnonzero(land[:-1] & ~land[1:]) + 1).tolist()
    assert at["landfall"] == (np.flatnonzero(~land[:-1] & land[1:]) + 1).tolist()
    assert at["edge"] == [int(np.argmax(voyage.arrays["x"] >= CAT_ISLAND["radius"]))]
    strongest = voyage.arrays["scores"].argmax(axis=1)
    assert at["becomes"] == (np.flatnonzero(np.diff(strongest)) + 1).tolist()
    told = [e.data["what"] for e in voyage.events if e.kind == "becomes"]
    assert told == [(*CONCEPTS, "nothing")[strongest[t]] for t in at["becomes"]]
    assert at["blank"] == []


def test_every_steering_goes_where_it_is_told(flown):
    source, given, _ = flown
    assert source.step({**given, "steering": "place", "x": 0.3, "y": -0.2}, (), 1).arrays["y"][0] == pytest.approx(-0.2)
    orbit = source.step({**given, "steering": "orbit", "reach": 0.5, "heading": 90.0}, (), 1).arrays
    assert (orbit["x"][0], orbit["y"][0]) == pytest.approx((0.0, 0.5), abs=1e-6)
    on = source.step({**given, "heading": 180.0, "speed": 0.1}, (), 2).arrays
    np.testing.assert_allclose(on["x"], [-0.1, -0.2], atol=1e-6)
    beyond = source.step({**given, "steering": "place", "x": 8.0, "y": -8.0}, (), 1).arrays
    assert (beyond["x"][0], beyond["y"][0]) == (8.0, -8.0)


def test_blocks_snapshots_and_a_second_performance_give_the_same_bits(voyage, monkeypatch):
    anew: dict[str, Coast] = {}
    monkeypatch.setattr(interconcept, "_charts", anew)
    first, given = flight(speed=1.0)
    blocks = [first.step(given, (), n) for n in (1, 3)]
    assert len(anew) == 1, "it was charted once more"
    state = first.snapshot()
    other, _ = flight(speed=1.0)
    other.restore(state)
    blocks += [other.step(given, (), 2)]
    for name in (c.name for c in voyage_channels() if c.reproducible):
        joined = np.concatenate([b.arrays[name] for b in blocks])
        assert joined.tobytes() == voyage.arrays[name][:6].tobytes(), name
    assert [e for b in blocks for e in b.events] == [e for e in voyage.events if e.tick < 6]
    assert gather(blocks, 4.0).ticks == 6


def voyage_channels():
    return channels(len(CONCEPTS), 7, 8.0, (64, 64))


def test_the_seed_is_the_noise_that_pictures_begin_with(voyage):
    source, given = flight(SEED + 1, cells=2, depth=0)
    other = source.step(given, (), 1).arrays["picture"][0].astype(int)
    assert np.abs(other - voyage.arrays["picture"][0]).mean() > 5


def test_words_that_the_mind_does_not_know_are_told():
    source, given = flight(inputs={"prompt": "a zebra"}, cells=2, depth=0, steps=1)
    (notice,) = [e for e in source.step(given, (), 1).events if e.kind == "notice"]
    assert "zebra" in notice.data["line"]


def test_prompts_that_span_no_plane_are_refused():
    source, given = flight(inputs={"prompt": "a cat", "right": "a cat"})
    with pytest.raises(MindError, match="on one line span no plane"):
        source.step(given, (), 1)


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"cells": 1}, {"steering": "sail"}, {"depth": 1.5}])
def test_controls_out_of_range_are_refused(wrong):
    with pytest.raises(ControlError, match="allowed are"):
        flight(**wrong)


def test_what_is_no_snapshot_of_this_plane_is_refused():
    source, _ = flight()
    state = json.loads(source.snapshot())
    for broken in (b"", b"[]", b"{}", json.dumps({**state, "tick": -1}).encode()):
        with pytest.raises(SourceError, match="not a snapshot of interconcept"):
            source.restore(broken)
    for place in ([9.5, 0.0], ["a", 0], [0.0], [float("nan"), 0.0]):
        with pytest.raises(SourceError, match="not a snapshot of interconcept"):
            source.restore(json.dumps({**state, "place": place}).encode())
    other, _ = flight(SEED + 1)
    with pytest.raises(SourceError, match="another plane"):
        other.restore(source.snapshot())


def test_a_prompt_names_its_concept():
    assert concept_of("a cat in a party hat") == "a cat"
    assert concept_of("A DOG, at night") == "a dog"
    assert concept_of("catalogue") == "catalogue"


def test_a_picture_of_no_number_shows_nothing(surveyor):
    black = np.zeros((1, len(NOISES), 64, 64, 3), np.uint8)
    _, scores = surveyor.seen(black)
    assert scores[0, -1] == 1
    assert not scores[0, :-1].any()
