"""Cartography held against fields whose coasts are known."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pieces.minds import coast
from pieces.minds.coast import Coast, CoastError, Radii, area, extent, radii, survey

TURN = 2 * np.pi
#: Directions of the synthetic rays.
ANGLES = np.linspace(0, TURN, 24, endpoint=False)


def smooth(height):
    """A score from a signed height: above 1/2 where it is positive."""
    return 1 / (1 + np.exp(-np.clip(8 * height, -60, 60)))


def disc(centre=(0.0, 0.0), radius=0.5, squeeze=1.0):
    def field(points):
        x, y = (points - np.asarray(centre)).T
        return smooth(radius - np.hypot(x, y * squeeze))

    return field


def both(*fields):
    return lambda points: np.max([f(points) for f in fields], axis=0)


@settings(max_examples=30)
@given(
    radius=st.floats(0.3, 0.85),
    x=st.floats(-0.1, 0.1),
    y=st.floats(-0.1, 0.1),
    squeeze=st.sampled_from([1.0, 1.5, 2.0]),
    cells=st.integers(6, 12),
)
def test_a_round_island_is_charted_where_it_lies(radius, x, y, squeeze, cells):
    assume(radius / squeeze > np.sqrt(2) / cells)  # the first squares may miss what is smaller than they are
    chart = survey(disc((x, y), radius, squeeze), 1.0, cells=cells, depth=3)
    ring = chart.around((x, y))
    assert ring is not None
    np.testing.assert_array_equal(ring[0], ring[-1])
    np.testing.assert_allclose(np.hypot(ring[:, 0] - x, (ring[:, 1] - y) * squeeze), radius, atol=0.02)
    assert area(ring) == pytest.approx(np.pi * radius**2 / squeeze, rel=0.03)
    assert chart.islands == 1


def test_refinement_asks_near_the_coast_and_nowhere_else():
    chart = survey(disc(radius=0.6), 1.0, cells=8, depth=3)
    assert chart.scores.shape == (65, 65)
    assert chart.asked.sum() < 0.25 * chart.asked.size
    rows, columns = np.nonzero(chart.asked)
    fine = (rows % 8 > 0) | (columns % 8 > 0)
    distances = np.hypot(chart.axis[columns], chart.axis[rows]) - 0.6
    assert np.abs(distances[fine]).max() < 0.25 * np.sqrt(2)
    asked = np.stack([chart.axis[columns], chart.axis[rows]], axis=1)
    np.testing.assert_allclose(chart.scores[rows, columns], disc(radius=0.6)(asked))


def test_the_field_is_asked_once_for_every_point():
    seen = []

    def field(points):
        seen.append(points)
        return disc(radius=0.6)(points)

    chart = survey(field, 1.0, cells=8, depth=2)
    asked = np.round(np.concatenate(seen), 9)
    assert len(np.unique(asked, axis=0)) == len(asked) == chart.asked.sum()
    assert len(seen) <= 6, "in few batches"


@pytest.mark.parametrize(("level", "land"), [(0.0, 0.0), (1.0, 1.0)])
def test_open_sea_and_a_continent_have_no_coast(level, land):
    chart = survey(lambda points: np.full(len(points), level), 1.0, cells=4, depth=2)
    assert chart.shores == ()
    assert chart.around() is None
    assert chart.land == land
    assert chart.islands == land
    assert chart.asked.sum() == 25, "nothing to refine"
    far = 2 * np.sqrt(2)
    np.testing.assert_allclose(chart.distance(np.zeros((2, 2))), far if land else -far)


def test_land_that_reaches_the_rim_is_no_island():
    half_plane = survey(lambda points: smooth(points[:, 0] + 0.2), 1.0)
    assert half_plane.around() is None
    assert len(half_plane.shores) == 1
    assert half_plane.distance(np.array([[0.3, 0.0]]))[0] == pytest.approx(0.5, abs=0.02)


def test_two_islands_are_told_apart():
    small, large = disc((0.5, 0.4), 0.25), disc((-0.4, -0.3), 0.4)
    chart = survey(both(small, large), 1.0, cells=12, depth=2)
    assert chart.islands == 2
    assert chart.around((0.0, 0.2)) is None, "the strait"
    rings = [chart.around((0.5, 0.4)), chart.around((-0.4, -0.3))]
    assert [area(r) for r in rings if r is not None] == pytest.approx([np.pi * 0.25**2, np.pi * 0.4**2], rel=0.06)


def test_a_lake_is_not_the_shore_of_its_island():
    ring = survey(lambda p: smooth(0.25 - np.abs(np.hypot(*p.T) - 0.6)), 1.0, cells=16, depth=2)
    assert ring.around((0.0, 0.0)) is None, "the lake is water"
    shore = ring.around((0.6, 0.0))
    assert shore is not None
    assert area(shore) == pytest.approx(np.pi * 0.85**2, rel=0.04), "the outer shore"
    assert ring.distance(np.array([[0.0, 0.0]]))[0] == pytest.approx(-0.35, abs=0.03)


def test_a_coast_that_leaves_a_square_unseen_is_followed():
    """A cape runs between the rows of corners, which never touch it."""

    def field(points):
        x, y = points.T
        cape = np.minimum(0.08 - np.abs(y - 0.125), 0.9 - x)
        return smooth(np.maximum(0.5 - np.hypot(x + 0.3, y), np.where(x > -0.3, cape, -1.0)))

    coarse, fine = survey(field, 1.0, cells=8, depth=0), survey(field, 1.0, cells=8, depth=3)
    reach = [max(s[:, 0].max() for s in chart.shores) for chart in (coarse, fine)]
    assert reach[1] == pytest.approx(0.9, abs=0.02)
    assert reach[0] < 0.3
    assert fine.around() is not None
    assert fine.asked.mean() < 0.5


@settings(max_examples=30)
@given(x=st.floats(-0.9, 0.9), y=st.floats(-0.9, 0.9))
def test_distance_from_a_round_shore(x, y):
    chart = survey(disc(radius=0.6), 1.0, depth=3)
    found = chart.distance(np.array([[x, y]]))[0]
    assert found == pytest.approx(0.6 - np.hypot(x, y), abs=0.015)


def plain(points, shores):
    """Distances from the nearest stretch of any shore, pair by pair."""
    found = []
    for x, y in points:
        near = np.inf
        for (x0, y0), (x1, y1) in ((a, b) for shore in shores for a, b in pairwise(shore)):
            along, length = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)), (x1 - x0) ** 2 + (y1 - y0) ** 2
            share = min(max(along / length, 0), 1) if length else 0
            near = min(near, np.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0)))
        found.append(near)
    return np.array(found)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(2, 7), st.integers(1, 9), st.integers(1, 12))
def test_distances_are_those_of_the_plain_formula_however_many_at_once(seed, side, count, pairs):
    rng = np.random.default_rng(seed)
    chart = Coast(2.0, rng.random((side, side)), np.ones((side, side), dtype=bool))
    points = rng.uniform(-2.5, 2.5, (count, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coast, "PAIRS", pairs)
        found = chart.distance(points)
    expected = plain(points, chart.shores) if chart.shores else 4 * np.sqrt(2)
    np.testing.assert_allclose(np.abs(found), np.minimum(expected, 4 * np.sqrt(2)), atol=1e-12)
    np.testing.assert_array_equal(found > 0, chart.score(points) > 0.5)


def test_distances_from_a_long_coast_take_little_memory():
    axis = np.linspace(-1, 1, 301)
    chart = Coast(
        1.0, disc(radius=0.7)(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)).reshape(301, 301), axis > 9
    )
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 2))
    assert len(points) * len(chart.shores[0]) > 10**7, "all pairs at once would be 160 MB and more"
    tracemalloc.start()
    found = chart.distance(points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    np.testing.assert_allclose(found, 0.7 - np.hypot(*points.T), atol=1e-3)


def test_what_is_no_number_is_sea():
    chart = survey(lambda p: np.where(p[:, 0] > 0.1, np.nan, disc(radius=0.6)(p)), 1.0)
    assert np.isfinite(chart.scores).all()
    assert chart.distance(np.array([[0.4, 0.0]]))[0] < 0


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"radius": np.inf}, {"cells": 0}, {"cells": 999}, {"depth": 9}])
def test_a_chart_of_absurd_size_is_refused(wrong):
    with pytest.raises(CoastError, match="allowed are a radius above 0, 1 to 256 cells"):
        survey(disc(), **{"radius": 1.0, **wrong})


def along(true):
    """Rays of a star-shaped land with a radius a direction."""
    return lambda which, distance: smooth(np.asarray(true)[which] - distance)


@settings(max_examples=30)
@given(st.lists(st.floats(0.02, 1.9), min_size=1, max_size=30), st.floats(0.005, 0.1))
def test_bisection_brackets_known_radii(true, tolerance):
    found = radii(along(true), len(true), 2.0, strides=5, tolerance=tolerance)
    assert (found.inner <= np.array(true) + 1e-9).all()
    assert (found.outer >= np.array(true) - 1e-9).all()
    assert (found.outer - found.inner <= tolerance).all()
    assert not found.endless.any()


def test_radii_of_an_ellipse_in_its_directions():
    true = 1 / np.hypot(np.cos(ANGLES) / 1.2, np.sin(ANGLES) / 0.6)
    field = disc(radius=1.2, squeeze=2.0)

    def rays(which, distance):
        return field(distance[:, None] * np.stack([np.cos(ANGLES[which]), np.sin(ANGLES[which])], axis=1))

    found = radii(rays, len(ANGLES), 2.0, tolerance=0.01)
    np.testing.assert_allclose(found.middle, true, atol=0.006)


def test_a_point_at_sea_has_no_extent_and_a_continent_no_end():
    sea = radii(lambda which, distance: np.zeros(len(which)), 6, 2.0)
    assert not sea.middle.any()
    assert not sea.endless.any()
    land = radii(lambda which, distance: np.ones(len(which)), 6, 2.0)
    assert land.endless.all()
    np.testing.assert_array_equal(land.middle, 2.0)
    assert (extent(sea).bound, extent(sea).radius) == ("no island", 0.0)
    assert np.isnan([extent(sea).low, extent(sea).high]).all(), "no interval of what is not there"
    assert (extent(land).bound, extent(land).radius, extent(land).low) == ("at least", 2.0, 2.0)
    assert extent(land).high == np.inf
    assert extent(land).endless == 1.0
    broken = radii(lambda which, distance: np.full(len(which), np.nan), 6, 2.0)
    assert extent(broken).bound == "no island"


def test_the_first_shore_counts_and_not_an_island_behind_it():
    def rays(which, distance):
        return ((distance < 0.4) | (distance > 1.1)).astype(float)

    np.testing.assert_allclose(radii(rays, 3, 2.0, strides=8, tolerance=0.01).middle, 0.4, atol=0.01)


def test_bisection_asks_little():
    asked = 0

    def rays(which, distance):
        nonlocal asked
        asked += len(which)
        return smooth(0.7 - distance)

    radii(rays, 10, 2.0, strides=8, tolerance=0.02)
    assert asked <= 1 + 10 * (3 + 4), "three strides, then a quarter norm halved four times"


def censored(values, furthest=np.inf):
    """Radii that are known exactly, up to the furthest distance."""
    seen = np.minimum(values, furthest)
    return Radii(seen, seen, np.asarray(values) >= furthest)


@pytest.mark.parametrize(("directions", "furthest"), [(12, np.inf), (24, np.inf), (24, 1.25)])
def test_the_interval_covers_the_true_median_as_often_as_it_says(directions, furthest):
    rng = np.random.default_rng(3)
    trials = 200
    hits = narrow = 0
    for trial in range(trials):
        drawn = rng.lognormal(0.0, 0.4, directions)
        found = extent(censored(drawn, furthest), resamples=400, seed=trial)
        assert found.low <= found.radius <= found.high
        hits += found.low <= 1.0 <= found.high
        narrow += found.low <= 1.35 <= found.high
    assert 0.89 <= hits / trials <= 0.985
    if furthest == np.inf:
        assert narrow < 0.6 * trials, "the measure can fail"


def test_a_median_beyond_the_furthest_distance_is_never_said_to_be_measured():
    rng = np.random.default_rng(4)
    found = [extent(censored(rng.lognormal(0.0, 0.4, 16), 0.6), resamples=400, seed=trial) for trial in range(100)]
    assert {e.bound for e in found} == {"at least"}
    assert all(e.radius == 0.6 < e.high == np.inf for e in found)
    assert all(e.low <= 0.6 for e in found)


@settings(max_examples=60)
@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=20), st.floats(0.2, 2.5), st.floats(0.0, 0.05))
def test_what_was_not_seen_is_not_told(true, furthest, bracket):
    """Of radii cut off at some distance, all that is said holds of the whole ones."""
    true = np.array(true)
    endless = true >= furthest
    seen = np.where(endless, furthest, true)
    found = extent(Radii(seen - bracket * ~endless, seen + bracket * ~endless, endless), resamples=200)
    whole = np.median(true)
    assert found.low <= found.radius <= found.high
    assert found.bound == ("at least" if endless.mean() >= 0.5 else "measured")
    assert found.radius <= whole + 1e-9 if found.bound == "at least" else found.radius == pytest.approx(whole)
    assert found.high == np.inf or found.bound == "measured"


def test_the_median_does_not_ask_how_far_endless_directions_are():
    values = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 2.0, 2.0])
    further = np.where(values == 2.0, 5.0, values)
    near, far = (extent(Radii(v, v, v >= 2)) for v in (values, further))
    assert near.radius == far.radius == 0.5
    assert near.bound == far.bound == "measured"
    assert near.endless == pytest.approx(2 / 7)
    assert near.high == far.high == np.inf, "two of seven are often most of a resample"


def test_equal_radii_have_an_interval_as_wide_as_their_brackets():
    same = np.full(8, 0.7)
    found = extent(Radii(same - 0.05, same + 0.01, np.zeros(8, dtype=bool)))
    assert (found.low, found.radius, found.high) == pytest.approx((0.65, 0.68, 0.71))


def test_five_directions_say_nothing_with_such_confidence():
    few, enough = (extent(censored(np.linspace(0.4, 0.5, n))) for n in (5, 6))
    assert (few.radius, few.low, few.high) == (pytest.approx(0.45), 0.0, np.inf)
    assert 0.4 <= enough.low < enough.high <= 0.5
    assert extent(censored(np.linspace(0.4, 0.5, 5)), confidence=0.9).high <= 0.5, "with less, they do"


@pytest.mark.parametrize("wrong", [{"count": 0}, {"furthest": 0.0}, {"strides": 0}, {"tolerance": 0.0}])
def test_a_search_without_end_is_refused(wrong):
    with pytest.raises(CoastError, match="all must be positive"):
        radii(along([1.0]), **{"count": 1, "furthest": 1.0, **wrong})
