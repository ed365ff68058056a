"""Cartography: the coastline of a concept over a plane, and how far it reaches in many directions.

Everything here asks a *field* for scores and knows no mind, so that it can be held against fields whose coasts are
known. What scores above the level is land, everything else is sea; what is no number is sea.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.minds.space import Floats, Plane

#: Scores ``[n]`` at points ``[n, 2]`` of a plane.
Field: TypeAlias = Callable[[Floats], Floats]
#: Scores ``[n]`` in directions ``[n]`` (numbers from 0) at distances ``[n]``.
Rays: TypeAlias = Callable[[NDArray[np.intp], Floats], Floats]
#: Scores ``[n]`` at vectors ``[n, d]`` of a space.
Scoring: TypeAlias = Callable[[Floats], Floats]
#: Score that parts land from sea.
LEVEL = 0.5
#: What a radius is: see `Extent`.
Bound: TypeAlias = Literal["measured", "at least", "no island"]
#: Pairs of a point and a stretch of coast that are looked at together: some 20 MB.
PAIRS = 1 << 18


class CoastError(DescantError):
    """A chart that cannot be made."""


def field_on(plane: Plane, scoring: Scoring) -> Field:
    """The field of a scoring over a plane."""
    return lambda points: scoring(plane.at(points))


def rays_from(centre: Floats, directions: Floats, scoring: Scoring) -> Rays:
    """A scoring along directions ``[k, d]`` of length 1 from a centre ``[d]``."""
    return lambda which, distance: scoring(centre + distance[:, None] * directions[which])


@dataclass(frozen=True)
class Coast:
    """A chart of a square around (0, 0) of a plane.

    Attributes
    ----------
    radius : float
        Half the side of the square.
    scores : ndarray
        On a lattice ``[m, m]``, rows from low y to high y; where nothing was asked they are interpolated.
    asked : ndarray of bool
        Where the field was asked, ``[m, m]``.
    level : float
        What scores above it is land.
    """

    radius: float
    scores: Floats
    asked: NDArray[np.bool_]
    level: float = LEVEL

    @property
    def axis(self) -> Floats:
        """Coordinates of the lattice's rows and columns, ``[m]``."""
        return np.linspace(-self.radius, self.radius, len(self.scores))

    @cached_property
    def shores(self) -> tuple[Floats, ...]:
        """Coastlines ``[n, 2]``; a closed one ends where it begins."""
        return self.lines(self.level)

    def lines(self, level: float) -> tuple[Floats, ...]:
        """Where the scores cross a level: lines ``[n, 2]`` by marching squares."""
        from contourpy import contour_generator

        found = contour_generator(self.axis, self.axis, self.scores).lines(level)
        return tuple(np.asarray(line, dtype=np.float64) for line in found if len(line) > 1)

    @property
    def land(self) -> float:
        """Share of the lattice that is land."""
        return float((self.scores > self.level).mean())

    @property
    def islands(self) -> int:
        """Pieces of land that hang together (by their edges), those at the chart's rim with them."""
        from scipy.ndimage import label

        return int(label(self.scores > self.level)[1])

    def score(self, points: Floats) -> Floats:
        """Interpolated scores ``[n]`` at points ``[n, 2]``; beyond the rim as at the rim."""
        from scipy.ndimage import map_coordinates

        places = (points[:, ::-1].T + self.radius) / (2 * self.radius) * (len(self.scores) - 1)
        found: Floats = map_coordinates(self.scores, places, order=1, mode="nearest")
        return found

    def distance(self, points: Floats) -> Floats:
        """Distances ``[n]`` of points ``[n, 2]`` from the shore, positive on land and negative at sea.

        Never more than the chart's diameter, which also stands where there is no shore.
        """
        far = 2 * np.sqrt(2) * self.radius
        nearest = np.full(len(points), far)
        for shore in self.shores:
            nearest = np.minimum(nearest, _from_line(points, shore))
        return np.where(self.score(points) > self.level, nearest, -nearest)

    def around(self, point: tuple[float, float] = (0.0, 0.0)) -> Floats | None:
        """The closed coastline ``[n, 2]`` of the island that a point lies on.

        None if it lies in the sea, or on land that reaches the chart's rim.
        """
        if self.score(np.array([point]))[0] <= self.level:
            return None
        rings = [s for s in self.shores if np.array_equal(s[0], s[-1]) and _is_inside(point, s)]
        return min(rings, key=area, default=None)


def _from_line(points: Floats, line: Floats) -> Floats:
    """Distances ``[n]`` of points from the nearest stretch of a line, so many points at once as memory may hold."""
    start, along = line[:-1], np.diff(line, axis=0)
    length = np.maximum((along**2).sum(axis=1), 1e-300)
    found, rows = np.empty(len(points)), max(1, PAIRS // len(start))
    for first in range(0, len(points), rows):
        to = points[first : first + rows, None] - start
        share = np.clip(np.einsum("psx,sx->ps", to, along) / length, 0, 1)
        to -= share[..., None] * along
        found[first : first + rows] = np.sqrt(np.einsum("psx,psx->ps", to, to).min(axis=1))
    return found


def _is_inside(point: tuple[float, float], ring: Floats) -> bool:
    """Whether a closed line goes round a point: a ray to the right crosses it an odd number of times."""
    (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
    spans = (y0 > point[1]) != (y1 > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x0 + (point[1] - y0) / (y1 - y0) * (x1 - x0)
    return bool((spans & (point[0] < crossing)).sum() % 2)


def area(ring: Floats) -> float:
    """Area within a closed line ``[n, 2]`` (the surveyor's formula)."""
    (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
    return abs(float((x0 * y1 - x1 * y0).sum())) / 2


def survey(field: Field, radius: float, *, cells: int = 8, depth: int = 2, level: float = LEVEL) -> Coast:
    """Chart the square of half-width `radius`, ever finer where its coasts run.

    The field is asked at the corners of `cells` by `cells` squares; then every square on which land and sea have been
    seen is cut into four, `depth` times. A coast that leaves a square through a side that its corners did not tell is
    followed into the neighbour. An island or a lake between the corners of the first squares is missed.

    Parameters
    ----------
    field : callable
        Asked for many points at once, never twice for one.
    cells : int
        Squares a side in the first round, 1 to 256.
    depth : int
        Rounds of refinement, 0 to 8.

    Raises
    ------
    CoastError
        On a size out of range.
    """
    if not (0 < radius < np.inf and 1 <= cells <= 256 and 0 <= depth <= 8):
        raise CoastError(
            f"a chart of radius {radius:g}, {cells} cells, depth {depth}: "
            "allowed are a radius above 0, 1 to 256 cells, a depth of 0 to 8"
        )
    scores = np.zeros((cells + 1, cells + 1))
    asked = np.zeros(scores.shape, dtype=bool)
    _ask(field, radius, scores, asked, ~asked)
    for _ in range(depth):
        known, asked = asked, np.zeros([2 * len(scores) - 1] * 2, dtype=bool)
        asked[::2, ::2] = known
        scores = _halved(scores)
        while (wanted := _cut(scores > level) & ~asked).any():
            _ask(field, radius, scores, asked, wanted)
    return Coast(radius, scores, asked, level)


def _ask(field: Field, radius: float, scores: Floats, asked: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> None:
    """Fill in the scores that are wanted."""
    axis = np.linspace(-radius, radius, len(scores))
    rows, columns = np.nonzero(wanted)
    found = np.asarray(field(np.stack([axis[columns], axis[rows]], axis=1)), dtype=np.float64)
    scores[wanted] = np.where(np.isfinite(found), found, 0.0)
    asked |= wanted


def _cut(land: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Points of a lattice ``[2 m - 1, 2 m - 1]`` on squares of three by three with land and sea among them."""
    from scipy.ndimage import maximum_filter, minimum_filter

    some, every = maximum_filter(land, 3), minimum_filter(land, 3)
    mixed = np.zeros_like(land)
    mixed[1::2, 1::2] = (some & ~every)[1::2, 1::2]
    found: NDArray[np.bool_] = maximum_filter(mixed, 3)
    return found


def _halved(scores: Floats) -> Floats:
    """The lattice of half the step, ``[2 m - 1, 2 m - 1]``, with means of neighbours between its points."""
    fine = np.zeros([2 * len(scores) - 1] * 2)
    fine[::2, ::2] = scores
    fine[1::2, ::2] = (scores[:-1] + scores[1:]) / 2
    fine[:, 1::2] = (fine[:, :-1:2] + fine[:, 2::2]) / 2
    return fine


@dataclass(frozen=True)
class Radii:
    """How far land reaches from a point, direction by direction.

    Attributes
    ----------
    inner, outer : ndarray
        The furthest distance that was seen to be land before the first sea, and the first sea after it, ``[n]``; both
        are 0 where the point itself is sea, and both are the furthest distance where no sea was met.
    endless : ndarray of bool
        Where no sea was met, ``[n]``: the radius is at least so large.
    """

    inner: Floats
    outer: Floats
    endless: NDArray[np.bool_]

    @property
    def middle(self) -> Floats:
        """Estimates, ``[n]``."""
        found: Floats = (self.inner + self.outer) / 2
        return found


def radii(
    rays: Rays, count: int, furthest: float, *, strides: int = 8, tolerance: float = 0.02, level: float = LEVEL
) -> Radii:
    """How far land reaches in `count` directions: in strides to the first sea, then by bisection.

    A strait or a lake narrower than a stride may be stepped over.

    Parameters
    ----------
    rays : callable
        Asked for all directions that are still open at once.
    furthest : float
        Distance at which the search ends.
    strides : int
        Strides to there.
    tolerance : float
        Width of the bracket around a shore at which bisection ends.
    """
    if count < 1 or strides < 1 or not (tolerance > 0 and 0 < furthest < np.inf):
        raise CoastError(
            f"{count} directions, {strides} strides to {furthest:g} by {tolerance:g}: all must be positive"
        )
    everywhere = np.arange(count)

    def is_land(which: NDArray[np.intp], distance: Floats) -> NDArray[np.bool_]:
        return np.asarray(rays(which, distance)) > level  # what is no number compares false

    inner, outer = np.zeros(count), np.zeros(count)
    if not is_land(everywhere[:1], np.zeros(1))[0]:
        return Radii(inner, outer, np.zeros(count, dtype=bool))
    walking = everywhere
    for stride in range(1, strides + 1):
        outer[walking] = furthest * stride / strides
        walking = walking[is_land(walking, outer[walking])]
        inner[walking] = outer[walking]
        if not len(walking):
            break
    while len(wide := everywhere[outer - inner > tolerance]):
        middle = (inner[wide] + outer[wide]) / 2
        land = is_land(wide, middle)
        inner[wide] = np.where(land, middle, inner[wide])
        outer[wide] = np.where(land, outer[wide], middle)
    return Radii(inner, outer, np.isin(everywhere, walking))


@dataclass(frozen=True)
class Extent:
    """The median radius of a concept over random directions, with a bootstrap interval of the given confidence.

    Attributes
    ----------
    radius : float
        The median; a lower bound where no shore was found in half of the directions or more; 0 where there is no land.
    low, high : float
        The interval; no number (nan) where there is no land. `high` is infinite where too few shores were found to
        say how far the land reaches, or where there are too few directions to say anything.
    endless : float
        Share of the directions in which no shore was found.
    confidence : float
        Of the interval.
    bound : Bound
        ``"measured"``; ``"at least"`` where `radius` is a lower bound; ``"no island"`` where there is no land.
    """

    radius: float
    low: float
    high: float
    endless: float
    confidence: float = 0.95
    bound: Bound = "measured"


def extent(found: Radii, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Extent:
    """Median radius with a percentile bootstrap interval over the directions.

    Directions in which no shore was found are censored at the furthest distance: the median is known while they are
    less than half, else that distance bounds it from below. They are resampled like all others and stand for infinity
    at the interval's upper end and for the furthest distance at its lower one; likewise shores lie anywhere in their
    brackets, so that an interval is never narrower than these.

    Fewer directions than the confidence needs (six for 95 %, by the sign test) have the interval from 0 to infinity.

    References
    ----------
    B. Efron, "Censored Data and the Bootstrap", JASA 76, 1981. R. Brookmeyer and J. Crowley, "A Confidence Interval
    for the Median Survival Time", Biometrics 38, 1982: an upper end that is not reached is infinite.
    """
    share, count = float(found.endless.mean()), len(found.inner)
    if not found.outer.any():
        return Extent(0.0, np.nan, np.nan, share, confidence, "no island")
    furthest = np.where(found.endless, np.inf, found.outer)
    middle = float(np.median(found.middle))
    bound: Bound = "measured" if np.isfinite(np.median(furthest)) else "at least"
    if 2 * 0.5**count > 1 - confidence:
        return Extent(middle, 0.0, np.inf, share, confidence, bound)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    low, high = (np.sort(np.median(ends[drawn], axis=1)) for ends in (found.inner, furthest))
    tail = int((1 - confidence) / 2 * resamples)
    return Extent(middle, float(low[tail]), float(high[-1 - tail]), share, confidence, bound)
