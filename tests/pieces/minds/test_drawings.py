"""The house mind's drawings: what a caption says is on the paper, and nothing else moves."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pieces.minds.house.drawings import (
    BACKGROUNDS,
    COLOURS,
    OBJECTS,
    SIZE,
    THINGS,
    WEARERS,
    Drawing,
    album,
    caption,
    described,
    draw,
    imagine,
    unknown_words,
    vocabulary,
)

seeds = st.integers(0, 2**32 - 1)


def drawn(drawing: Drawing, seed: int = 0) -> np.ndarray:
    return draw(drawing, np.random.default_rng(seed)).astype(int)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which pixels differ visibly."""
    return np.abs(a - b).max(axis=2) > 24


@given(seeds)
def test_the_same_seed_draws_the_same(seed):
    one, again = (album(1, seed) for _ in range(2))
    assert (one.pictures == again.pictures).all()
    assert (list(one.captions), list(one.drawings)) == described(1, seed)
    assert one.pictures.shape == (1, SIZE, SIZE, 3)


def test_an_album_is_the_same_however_it_is_cut():
    whole, rest = album(12, 5), album(7, 5, first=5)
    assert (whole.pictures[5:] == rest.pictures).all()
    assert whole.captions[5:] == rest.captions


@given(seeds)
def test_a_caption_says_what_is_there_in_known_words(seed):
    rng = np.random.default_rng(seed)
    drawing = imagine(rng)
    said = caption(drawing, rng)
    assert not unknown_words(said)
    assert re.search(rf"\b{drawing.thing}\b", said)
    assert {t for t in THINGS if t in said} == set(drawing.wears)
    assert set(said.split()) & set(COLOURS) <= {drawing.colour}
    assert all(drawing.background == ground for ground in BACKGROUNDS if ground in said)


def test_captions_are_english():
    assert caption(Drawing("cat", "orange", "at night", ("party hat",))) == "an orange cat in a party hat at night"
    assert caption(Drawing("person", "red", "in the snow", ("glasses",))) == "a person in red in glasses in the snow"
    assert caption(Drawing("tree", "green", "on a white background")) == "a green tree on a white background"


def test_only_wearers_wear():
    rng = np.random.default_rng(1)
    drawings = [imagine(rng) for _ in range(600)]
    assert all(d.thing in WEARERS for d in drawings if d.wears)
    for thing in THINGS:
        share = np.mean([thing in d.wears for d in drawings if d.thing in WEARERS])
        assert 0.33 < share < 0.47
    assert {d.thing for d in drawings} == set(OBJECTS)
    with pytest.raises(ValueError, match="a tree wears nothing"):
        Drawing("tree", "green", "at night", ("party hat",))


@pytest.mark.parametrize("wearer", WEARERS)
@pytest.mark.parametrize("thing", ["bow tie", "glasses"])
def test_an_accessory_changes_the_picture_where_it_is_worn_alone(wearer, thing):
    bare = Drawing(wearer, "blue", "on a white background")
    changed = apart(drawn(bare), drawn(replace(bare, wears=(thing,))))
    assert 15 < changed.sum() < 0.2 * SIZE**2
    rows, columns = np.nonzero(changed)
    assert np.ptp(rows) < SIZE / 3
    assert np.ptp(columns) < SIZE / 1.5


@pytest.mark.parametrize("wearer", WEARERS)
def test_a_party_hat_is_magenta_and_sits_above(wearer):
    def magenta(picture: np.ndarray) -> np.ndarray:
        return (np.abs(picture - np.array([225, 45, 130])).max(axis=2) < 40).nonzero()[0]

    bare = Drawing(wearer, "green", "in the day")
    assert not len(magenta(drawn(bare)))
    rows = magenta(drawn(replace(bare, wears=("party hat",))))
    assert len(rows) > 20
    assert rows.mean() < SIZE / 2


@pytest.mark.parametrize("thing", OBJECTS)
def test_the_colour_asked_for_is_the_commonest_after_the_ground(thing):
    for name, colour in COLOURS.items():
        picture = drawn(Drawing(thing, name, "on a white background")).reshape(-1, 3)
        ground = picture[:1]
        figure = picture[np.abs(picture - ground).max(axis=1) > 40]
        near = {other: (np.abs(figure - np.array(value)).max(axis=1) < 30).sum() for other, value in COLOURS.items()}
        assert max(near, key=near.__getitem__) == name, (colour, near)


@pytest.mark.parametrize(("thing", "wears"), [*((t, ()) for t in OBJECTS), *((t, ("party hat",)) for t in WEARERS)])
def test_figures_are_big_and_stay_on_the_paper(thing, wears):
    for seed in range(20):
        picture = drawn(Drawing(thing, "red", "on a purple background", wears), seed)
        figure = apart(picture, np.broadcast_to(picture[0, 0], picture.shape))
        assert 0.12 < figure.mean() < 0.6
        rows, columns = np.nonzero(figure)
        assert max(np.ptp(rows), np.ptp(columns)) > 0.6 * SIZE
        for places in (rows, columns):  # ground is left around it
            assert places.min() >= 1
            assert places.max() <= SIZE - 2


def test_words_it_does_not_know():
    assert unknown_words("a purple elephant in a party hat, at night") == ("elephant",)
    assert unknown_words("A CAT") == ()
    assert unknown_words("two cats, no hat") == ("two", "cats", "no")
    said = {word for text in described(3000, 1)[0] for word in text.split()}
    assert set(vocabulary()) == said  # no word that no caption uses, and none is forgotten
