"""Steerers find what a hidden taste likes, and nothing where ratings mean nothing."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.piece import Knob, PieceError, parse_piece
from pieces.signals import Control
from pieces.source import BUILT_IN, Source
from studio.audience.steerers import Answer, KnobSteerer, SteererError, make, steerer_names

DIMS, RATINGS, TASTES = 8, 20, 60


class Bell(Source):
    """A source with three controls, of which one is a whole number and one a choice of scale."""

    name, about = "bell", "a bell"
    controls = (
        Control("hardness", "of the mallet", 0.5, (0.0, 2.0)),
        Control("decay", "of the sound", 1.0, (0.1, 10.0), unit="s", shape="log"),
        Control("strokes", "how many", 4, (1, 9)),
    )

    def step(self, controls, events, n):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def bell(monkeypatch):
    monkeypatch.setitem(BUILT_IN, "bell", f"{__name__}:Bell")
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("types").SimpleNamespace(Bell=Bell))


def piece(knobs=(), controls: Mapping[str, float] | None = None):
    part = {"source": "bell", "rate": 10, "ticks": 10, "controls": dict(controls or {})}
    return parse_piece({"title": "Bell", "parts": {"tower": part}, "knobs": list(knobs)}, "test")


def hidden_taste(seed):
    """Two hills in 4 of the 8 knobs; returns the taste, its best and its average value."""
    rng = np.random.default_rng([7, seed])
    mattering, centres = rng.permutation(DIMS)[:4], rng.random((2, 4))

    def taste(points):
        x = np.atleast_2d(points)[:, mattering]
        return np.exp(-((x[:, None] - centres) ** 2).sum(axis=2) / 0.245) @ np.array([1.0, 0.6])

    values = taste(np.random.default_rng(0).random((20_000, DIMS)))
    return taste, values.max(), values.mean()


def regret(name, seed, shuffled=False):
    """After 20 ratings of 0 to 4 with noise: 0 is the best point there is, 1 an average random one."""
    taste, top, average = hidden_taste(seed)
    rng = np.random.default_rng([9, seed])
    optimiser, heard = make(name, DIMS, seed), []
    for _ in range(RATINGS):
        point = optimiser.ask()
        heard.append(np.clip(np.round(4 * (taste(point)[0] / top + 0.1 * rng.standard_normal())), 0, 4) / 4)
        optimiser.tell(point, rng.choice(heard) if shuffled else heard[-1])
    return (top - taste(optimiser.best()[0])[0]) / (top - average)


def lower_bound(differences):
    """2.5 % quantile of the bootstrapped mean."""
    rng = np.random.default_rng(0)
    draws = rng.choice(differences, size=(4000, len(differences)))
    return np.quantile(draws.mean(axis=1), 0.025)


def test_gp_beats_random_and_shuffled_ratings_do_not():
    seeds = range(TASTES)
    by_chance = np.array([regret("random", s) for s in seeds])
    steered = np.array([regret("gp", s) for s in seeds])
    misled = np.array([regret("gp", s, shuffled=True) for s in seeds])
    assert lower_bound(by_chance - steered) > 0
    assert lower_bound(by_chance - misled) < 0
    assert lower_bound(misled - steered) > 0


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
    assert {"gp", "random"} <= set(steerer_names())
    with pytest.raises(SteererError, match="did you mean 'random'"):
        make("randon", 2, 0)
    with pytest.raises(SteererError, match="0 dimensions"):
        make("gp", 0, 0)


def test_knobs_are_the_piece_s_own_or_its_real_controls():
    assert [k.path for k in KnobSteerer(piece(), "gp", 0).knobs] == [
        "parts.tower.controls.hardness",
        "parts.tower.controls.decay",
    ]
    own = KnobSteerer(piece([{"path": "master.loudness", "range": [-30, -12]}]), "gp", 0)
    assert [k.path for k in own.knobs] == ["master.loudness"]


def test_a_proposal_makes_a_piece_that_lies_at_its_point():
    steerer = KnobSteerer(piece(), "gp", 3)
    proposal = steerer.propose([])
    changed = piece().with_values(proposal.changes)
    assert steerer.point_of(changed) == pytest.approx(proposal.point, abs=1e-9)
    assert 0.1 <= proposal.changes["parts.tower.controls.decay"] <= 10
    assert steerer.point_of(piece()) == pytest.approx([0.25, 0.5])
    assert steerer.point_of(piece(controls={"decay": 10.0, "hardness": 0.0})) == pytest.approx([0, 1])


def test_whole_numbers_stay_whole():
    knob = Knob(path="parts.tower.controls.strokes", range=(1, 9))
    steerer = KnobSteerer(piece([knob.model_dump(mode="json")]), "random", 0)
    assert isinstance(steerer.propose([]).changes[knob.path], int)


def test_proposals_replay_from_the_history():
    answers: list[Answer] = []
    steerer, proposals = KnobSteerer(piece(), "gp", 3), []
    for k in range(5):
        proposals.append(steerer.propose(answers))
        answers.append(Answer(proposals[-1].point, k / 4, f"take{k}"))
    for k, proposal in enumerate(proposals):
        assert KnobSteerer(piece(), "gp", 3).propose(answers[:k]) == proposal
        assert proposal.parents == tuple(f"take{i}" for i in range(k))
    other = [*answers[:-1], Answer(answers[-1].point, 0.0, "take4")]
    assert steerer.propose(answers).point != steerer.propose(other).point
    assert "ratings: 5" in steerer.propose(answers).reason
    assert type(proposals[-1]).model_validate_json(proposals[-1].model_dump_json()) == proposals[-1]


def test_two_ratings_already_decide_what_comes_next():
    """The order of the first points follows the model, so a loop of three rounds is steered by what was answered."""

    def third(ratings):
        optimiser = make("gp", 8, 1)
        for rating in ratings:
            optimiser.tell(optimiser.ask(), rating)
        return tuple(optimiser.ask())

    assert len({third(ratings) for ratings in [(0.0, 1.0), (1.0, 0.0)]}) == 2


def test_a_knob_that_leads_nowhere_is_refused():
    with pytest.raises(PieceError, match=r"score\.voices\.bell\.gain_db: nothing is there"):
        KnobSteerer(piece([{"path": "score.voices.bell.gain_db", "range": [-6, 6]}]), "gp", 0)
