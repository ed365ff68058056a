"""Optimisers find what a hidden taste likes to hear, and nothing where ratings mean nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.audience.optimisers import SteererError, make, optimiser_names
from tests.tasting import Gallery, interval

TASTES = 120


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Takes of two seconds, rendered and heard."""
    return Gallery(64)


def test_gp_beats_random_over_the_ears_of_rendered_takes_and_shuffled_ratings_do_not(gallery: Gallery) -> None:
    by_chance, steered = gallery.regrets("random", TASTES), gallery.regrets("gp", TASTES)
    misled = gallery.regrets("gp", TASTES, shuffled=True)
    assert interval(by_chance - steered)[0] > 0
    assert interval(misled - steered)[0] > 0
    assert interval(by_chance - misled)[0] < 0


def test_gp_finds_nothing_where_a_taste_does_not_listen(gallery: Gallery) -> None:
    """The best of the takes is as easily found by chance when their ratings have nothing to do with their sound."""
    by_chance, steered = (gallery.regrets(name, TASTES, deaf=True) for name in ("random", "gp"))
    assert interval(by_chance - steered)[0] < 0


def test_the_takes_of_the_gallery_differ_in_all_that_tastes_are_about(gallery: Gallery) -> None:
    assert np.isfinite(gallery.heard).all()
    assert len(np.unique(gallery.heard.round(3), axis=0)) == len(gallery.points)


@pytest.mark.parametrize("name", ["gp", "random"])
def test_the_same_history_gives_the_same_point(name):
    def run():
        optimiser = make(name, 3, 5)
        points = []
        for k in range(6):
            points.append(optimiser.ask())
            optimiser.tell(points[-1], (k % 3) / 2)
        return np.array(points), optimiser.why()

    points, why = run()
    again, why_again = run()
    assert np.array_equal(points, again)
    assert why == why_again
    assert len(np.unique(points, axis=0)) == 6
    assert not np.array_equal(points, [make(name, 3, 6).ask() for _ in range(6)])


def test_asked_twice_it_names_two_points():
    for told in (0, 12):
        for name in ("gp", "random"):
            optimiser = make(name, 2, 0)
            for k in range(told):
                optimiser.tell(np.full(2, k / told), 0.5)
            assert not np.array_equal(optimiser.ask(), optimiser.ask())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.lists(st.sampled_from([0.0, 0.25, 1.0]), max_size=14), st.sampled_from(["gp", "random"]))
def test_points_stay_in_the_cube_whatever_is_told(dims, ratings, name):
    """Duplicates, corners and equal ratings included."""
    optimiser = make(name, dims, 1)
    for rating in ratings:
        optimiser.tell(np.full(dims, rating), rating)
    point = optimiser.ask()
    assert point.shape == (dims,)
    assert ((point >= 0) & (point <= 1)).all()
    if ratings:
        best, value = optimiser.best()
        assert any(np.array_equal(best, np.full(dims, r)) for r in ratings)
        assert 0 <= value <= 1


def test_best_of_gp_is_not_decided_by_one_lucky_rating():
    optimiser = make("gp", 1, 0)
    for x, rating in ((0.1, 1.0), (0.1, 0.0), (0.1, 0.0), (0.12, 0.0), (0.9, 0.8), (0.9, 0.8), (0.88, 0.8)):
        optimiser.tell([x], rating)
    assert optimiser.best()[0][0] > 0.8


@pytest.mark.parametrize(
    ("point", "rating", "message"),
    [
        ([0.5], 1.2, "rating 1.2: allowed are numbers from 0 to 1"),
        ([0.5], -0.1, "rating -0.1"),
        ([0.5], float("nan"), "rating nan"),
        ([0.5, 0.5], 0.5, "turns 1 knobs"),
        ([1.5], 0.5, "allowed are numbers from 0 to 1"),
        ([float("nan")], 0.5, "allowed are numbers from 0 to 1"),
    ],
)
@pytest.mark.parametrize("name", ["gp", "random"])
def test_what_cannot_be_told_is_refused(name, point, rating, message):
    optimiser = make(name, 1, 0)
    with pytest.raises(SteererError, match=message):
        optimiser.tell(point, rating)
    with pytest.raises(SteererError, match="nothing has been rated"):
        optimiser.best()


def test_unknown_names_are_refused_with_the_nearest():
    assert {"gp", "random"} <= set(optimiser_names())
    with pytest.raises(SteererError, match="did you mean 'random'"):
        make("randon", 2, 0)
    with pytest.raises(SteererError, match="0 dimensions"):
        make("gp", 0, 0)


def test_two_ratings_already_decide_what_comes_next():
    """The order of the first points follows the model, so a loop of three rounds is steered by what was answered."""

    def third(ratings):
        optimiser = make("gp", 8, 1)
        for rating in ratings:
            optimiser.tell(optimiser.ask(), rating)
        return tuple(optimiser.ask())

    assert len({third(ratings) for ratings in [(0.0, 1.0), (1.0, 0.0)]}) == 2


def test_whoever_rates_all_the_same_goes_on_to_hear_what_is_new() -> None:
    optimiser = make("gp", 2, 0)
    for _ in range(12):
        optimiser.tell(optimiser.ask(), 0.7)
        assert "± 0.00" not in optimiser.why()
    points = np.array(optimiser.points)
    apart = np.linalg.norm(points[:, None] - points, axis=2) + 9 * np.eye(12)
    assert apart.min() > 0.1


def test_only_points_that_there_are_are_asked_for_and_told_ones_are_left() -> None:
    """On five points, rated by their place, all are tried before the best is asked for again."""
    there = np.linspace(0, 1, 5)[:, None]

    def snap(points):
        return there[np.abs(points - there.T).argmin(axis=1)]

    optimiser = make("gp", 1, 0, snap)
    asked = []
    for _ in range(8):
        point = optimiser.ask()
        assert point in there
        asked.append(float(point[0]))
        optimiser.tell(point, asked[-1])
    assert optimiser.best()[0][0] == 1.0
    assert asked[-1] == 1.0


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings an optimiser, and one that does not load."""
    about = tmp_path / "middling-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: middling\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[descant.steerers]\nmiddle = middling:Middle\nbroken = middling:Nothing\n")
    (tmp_path / "middling.py").write_text(
        "import numpy as np\n"
        "class Middle:\n"
        "    def __init__(self, dims, seed): self.dims = dims\n"
        "    def ask(self): return np.full(self.dims, 0.5)\n"
        "    def tell(self, point, rating): pass\n"
        "    def best(self): return self.ask(), 0.5\n"
        "    def why(self): return 'the middle'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "middling", raising=False)


@pytest.mark.usefixtures("installed")
def test_an_installed_optimiser_is_found_and_one_that_does_not_load_is_refused() -> None:
    assert {"middle", "broken"} <= set(optimiser_names())
    assert make("middle", 3, 0).ask().tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(SteererError, match=r"steerer 'broken' \(middling:Nothing\) does not load"):
        make("broken", 3, 0)
