"""Optimisers: they look for the best rated point of the unit cube (ask, tell, best), and know no pieces."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pieces.errors import DescantError
from pieces.source import nearest

Point: TypeAlias = NDArray[np.float64]
#: From any points ``[n, dims]`` to those nearest to them that there are.
Snap: TypeAlias = Callable[[Point], Point]


class SteererError(DescantError):
    """No such steerer, or it was told what cannot be."""


class Optimiser(Protocol):
    """Looks for the best rated point of the unit cube."""

    def ask(self) -> Point:
        """The point to try next, ``[dims]`` in 0..1; asked again before a `tell`, another one."""
        ...

    def tell(self, point: ArrayLike, rating: float) -> None:
        """What came of a point (any point, asked for or not): a rating in 0..1."""
        ...

    def best(self) -> tuple[Point, float]:
        """The best of the points told, and its predicted (`gp`) or observed (`random`) rating."""
        ...

    def why(self) -> str:
        """One sentence on the point last asked for, with the numbers that led to it."""
        ...


class RandomOptimiser:
    """Uniform points; the floor that any steerer must beat."""

    def __init__(self, dims: int, seed: int) -> None:
        if dims < 1:
            raise SteererError(f"{dims} dimensions: there must be at least 1 knob to turn")
        self.dims, self.seed = dims, seed
        self.points: list[Point] = []
        self.ratings: list[float] = []
        self._asked = 0

    def ask(self) -> Point:
        """A uniform point; it depends on the seed and on how many points were told."""
        return self._next_generator().random(self.dims)

    def tell(self, point: ArrayLike, rating: float) -> None:
        """Take note of a rating.

        Raises
        ------
        SteererError
            If the point has other dimensions or leaves the cube, or the rating is not in 0..1.
        """
        at = np.asarray(point, dtype=np.float64)
        if at.shape != (self.dims,):
            raise SteererError(f"point of shape {list(at.shape)}: this steerer turns {self.dims} knobs")
        if not ((at >= 0) & (at <= 1)).all():
            raise SteererError(f"point {np.round(at, 4).tolist()}: allowed are numbers from 0 to 1")
        if not 0 <= rating <= 1:
            raise SteererError(f"rating {rating}: allowed are numbers from 0 to 1")
        self.points.append(at.copy())
        self.ratings.append(float(rating))
        self._asked = 0

    def best(self) -> tuple[Point, float]:
        """The point with the highest rating.

        Raises
        ------
        SteererError
            If nothing has been rated.
        """
        self._require_ratings()
        top = int(np.argmax(self.ratings))
        return self.points[top].copy(), self.ratings[top]

    def why(self) -> str:
        """Chance, and nothing else."""
        return f"A uniform random point; the {len(self.points)} ratings so far play no part."

    def _require_ratings(self) -> None:
        if not self.points:
            raise SteererError("nothing has been rated yet: tell at least one point")

    def _next_generator(self) -> np.random.Generator:
        self._asked += 1
        return np.random.default_rng([self.seed, len(self.points), self._asked])


class GaussianProcessOptimiser(RandomOptimiser):
    """A Gaussian process with an upper confidence bound.

    Srinivas et al. 2010, "Gaussian process optimization in the bandit setting" (GP-UCB): of many candidates, the one
    with the highest mean plus `CAUTION` standard deviations. The Matérn 5/2 kernel's length is fixed: fitted by
    likelihood to few noisy ratings it does worse than chance. Where not every point is there (whole numbers, choices),
    candidates are moved to those that are before anything is predicted: Garrido-Merchán and Hernández-Lobato 2020,
    "Dealing with categorical and integer-valued variables in Bayesian optimization with Gaussian processes".
    """

    LENGTH = 0.6
    #: Share of the ratings' variance that is noise.
    NOISE = 0.1
    CAUTION = 1.0
    #: Least standard deviation that ratings are held to have: where all are the same, they say the same of anything.
    SPREAD = 0.1
    CANDIDATES = 1024

    def __init__(self, dims: int, seed: int, snap: Snap | None = None) -> None:
        super().__init__(dims, seed)
        #: While there are fewer ratings than this, the model chooses among as many points that are spread evenly:
        #: left free it would run to the corners of the cube, which are far from everything.
        self.first = min(max(dims, 2), 6)
        self._snap = snap
        self._model: Any = None
        self._why = ""

    def tell(self, point: ArrayLike, rating: float) -> None:
        """Take note of a rating; see `RandomOptimiser.tell`."""
        super().tell(point, rating)
        self._model = None

    def ask(self) -> Point:
        """The candidate with the highest upper bound; the first ones (2 to 6, as many as dimensions) are spread out."""
        told, rng = len(self.points), self._next_generator()
        candidates = self._spread_out() if told < self.first else self._everywhere(rng)
        if not told:
            self._why = "A first point, spread out by chance: nothing has been rated yet."
            return np.asarray(candidates[(self._asked - 1) % len(candidates)])
        mean, spread = self._predicted(candidates)
        order = np.argsort(-(mean + self.CAUTION * spread), kind="stable")
        chosen = order[(self._asked - 1) % len(order)] if told < self.first else order[0]
        self._why = (
            f"Highest upper bound (ratings: {told}, candidates: {len(candidates)}): predicted {mean[chosen]:.2f} "
            f"± {spread[chosen]:.2f}; the best so far is predicted {self.best()[1]:.2f}."
        )
        return np.asarray(candidates[chosen])

    def _spread_out(self) -> Point:
        """The first points of a scrambled Sobol sequence that have not been rated yet."""
        from scipy.stats import qmc

        design = self._there(qmc.Sobol(self.dims, rng=np.random.default_rng(self.seed)).random(8))[: self.first]
        new = [x for x in design if all(np.abs(x - p).max() > 0.01 for p in self.points)]
        return np.asarray(new or design)

    def _everywhere(self, rng: np.random.Generator) -> Point:
        """An even spread, and points around the best: in many dimensions an even spread comes nowhere near it."""
        from scipy.stats import qmc

        even = qmc.Sobol(self.dims, rng=rng).random(self.CANDIDATES)
        size = rng.choice([0.05, 0.15, 0.3], size=(self.CANDIDATES // 4, 1))
        near = self.best()[0] + size * rng.standard_normal((len(size), self.dims))
        return self._there(np.concatenate([even, np.clip(near, 0, 1)]))

    def _there(self, points: Point) -> Point:
        """Points as they can be, each once."""
        if self._snap is None:
            return points
        _, first = np.unique(there := self._snap(points), axis=0, return_index=True)
        return there[np.sort(first)]

    def best(self) -> tuple[Point, float]:
        """The rated point with the highest predicted rating, which a lucky rating does not decide."""
        self._require_ratings()
        mean, _ = self._predicted(np.asarray(self.points))
        top = int(np.argmax(mean))
        return self.points[top].copy(), float(np.clip(mean[top], 0, 1))

    def why(self) -> str:
        """What the model expected of the point last asked for."""
        return self._why

    def _predicted(self, points: Point) -> tuple[Point, Point]:
        """What the ratings so far say of points ``[n, dims]``: mean and standard deviation, ``[n]`` each."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern

        ratings = np.asarray(self.ratings)
        centre, scale = ratings.mean(), max(float(ratings.std()), self.SPREAD)
        if self._model is None:
            model = GaussianProcessRegressor(Matern(self.LENGTH, nu=2.5), alpha=self.NOISE, optimizer=None)
            self._model = model.fit(np.asarray(self.points), (ratings - centre) / scale)
        mean, spread = self._model.predict(points, return_std=True)
        return centre + scale * mean, scale * spread


#: Names of the built-in optimisers; an entry point in ``descant.steerers`` adds one, called with (dims, seed).
BUILT_IN = ("gp", "random")


def optimiser_names() -> list[str]:
    """Names of all optimisers: built in and installed."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group="descant.steerers"))})


def make(name: str, dims: int, seed: int, snap: Snap | None = None) -> Optimiser:
    """The optimiser called `name` over the unit cube of `dims` dimensions.

    Parameters
    ----------
    snap : callable, optional
        Where not every point is there: those that are.

    Raises
    ------
    SteererError
        If there is none (with the nearest name), it does not load, or `dims` is less than 1.
    """
    if name == "gp":
        return GaussianProcessOptimiser(dims, seed, snap)
    if name == "random":
        return RandomOptimiser(dims, seed)
    entry = next((e for e in entry_points(group="descant.steerers") if e.name == name), None)
    if entry is None:
        raise SteererError(f"no steerer {name!r}{nearest(name, optimiser_names())}")
    try:
        found: Optimiser = entry.load()(dims, seed)
    except Exception as error:
        raise SteererError(f"steerer {name!r} ({entry.value}) does not load: {error}") from error
    return found
