"""Steerers: from what was heard, and what came of it, to what is made next.

An `Optimiser` works on the unit cube (ask, tell, best); a `KnobSteerer` wraps one with the knobs of a piece. A steerer
keeps nothing between proposals: the next one is a function of seed and history, so that it replays from the archive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from pieces.errors import DescantError
from pieces.piece import Knob, Piece, check_piece, knob_value
from pieces.signals import Control
from pieces.source import Source, nearest
from studio.audience.visitor import Record

Point: TypeAlias = NDArray[np.float64]


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
    likelihood to few noisy ratings it does worse than chance.
    """

    LENGTH = 0.7
    #: Share of the ratings' variance that is noise.
    NOISE = 0.1
    CAUTION = 1.0
    CANDIDATES = 1024

    def __init__(self, dims: int, seed: int) -> None:
        super().__init__(dims, seed)
        #: While there are fewer ratings than this, the model chooses among as many points that are spread evenly:
        #: left free it would run to the corners of the cube, which are far from everything.
        self.first = min(max(dims, 2), 6)
        self._why = ""

    def ask(self) -> Point:
        """The candidate with the highest upper bound; the first ones (2 to 6, as many as dimensions) are spread out."""
        told, rng = len(self.points), self._next_generator()
        candidates = self._spread_out() if told < self.first else self._everywhere(rng)
        if not told:
            self._why = "A first point, spread out by chance: nothing has been rated yet."
            return np.asarray(candidates[(self._asked - 1) % len(candidates)])
        model = self._fitted()
        mean, spread = model.predict(candidates, return_std=True)
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

        design = qmc.Sobol(self.dims, rng=np.random.default_rng(self.seed)).random(8)[: self.first]
        new = [x for x in design if all(np.abs(x - p).max() > 0.01 for p in self.points)]
        return np.asarray(new or design)

    def _everywhere(self, rng: np.random.Generator) -> Point:
        """An even spread, and points around the best: in many dimensions an even spread comes nowhere near it."""
        from scipy.stats import qmc

        even = qmc.Sobol(self.dims, rng=rng).random(self.CANDIDATES)
        size = rng.choice([0.05, 0.15, 0.3], size=(self.CANDIDATES // 4, 1))
        near = self.best()[0] + size * rng.standard_normal((len(size), self.dims))
        return np.concatenate([even, np.clip(near, 0, 1)])

    def best(self) -> tuple[Point, float]:
        """The rated point with the highest predicted rating, which a lucky rating does not decide."""
        self._require_ratings()
        mean = self._fitted().predict(np.asarray(self.points))
        top = int(np.argmax(mean))
        return self.points[top].copy(), float(np.clip(mean[top], 0, 1))

    def why(self) -> str:
        """What the model expected of the point last asked for."""
        return self._why

    def _fitted(self) -> Any:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern

        kernel = Matern(self.LENGTH, nu=2.5)
        model = GaussianProcessRegressor(kernel, alpha=self.NOISE, optimizer=None, normalize_y=True)
        return model.fit(np.asarray(self.points), np.asarray(self.ratings))


#: Built-in optimisers; an entry point in ``descant.steerers`` adds one, called with (dims, seed).
BUILT_IN: dict[str, Callable[[int, int], Optimiser]] = {"gp": GaussianProcessOptimiser, "random": RandomOptimiser}


def steerer_names() -> list[str]:
    """Names of all steerers: built in and installed."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group="descant.steerers"))})


def make(name: str, dims: int, seed: int) -> Optimiser:
    """The optimiser called `name` over the unit cube of `dims` dimensions.

    Raises
    ------
    SteererError
        If there is none (with the nearest name), it does not load, or `dims` is less than 1.
    """
    if name in BUILT_IN:
        return BUILT_IN[name](dims, seed)
    entry = next((e for e in entry_points(group="descant.steerers") if e.name == name), None)
    if entry is None:
        raise SteererError(f"no steerer {name!r}{nearest(name, steerer_names())}")
    try:
        found: Optimiser = entry.load()(dims, seed)
    except Exception as error:
        raise SteererError(f"steerer {name!r} ({entry.value}) does not load: {error}") from error
    return found


@dataclass(frozen=True)
class Answer:
    """What came of a take: where it lies in the unit cube, its `Response.steering_value`, and its id."""

    point: ArrayLike
    value: float
    take: str


class Proposal(Record):
    """What a steerer wants to hear next."""

    steerer: str = Field(description="registered name of the optimiser")
    seed: int
    changes: dict[str, float | int] = Field(description="dotted path in the piece → value, see Piece.with_values")
    point: tuple[float, ...] = Field(description="the same in the unit cube, in the order of the changes")
    reason: str = Field(description="one sentence with the numbers that led to it")
    parents: tuple[str, ...] = Field(description="ids of the takes whose ratings it was given, oldest first")


class Steerer(Protocol):
    """Whoever proposes."""

    def propose(self, history: Sequence[Answer]) -> Proposal:
        """The next thing to make; equal histories give equal proposals."""
        ...


class KnobSteerer:
    """An optimiser with its hands on the knobs of a piece.

    Parameters
    ----------
    piece : Piece
        Its own knobs are turned or, where it names none, the numeric controls of its parts that are no whole numbers.
    name : str
        See `steerer_names`.
    seed : int
    base : Path, optional
        Folder that the piece's relative paths are read against.

    Raises
    ------
    SteererError
        If the piece has nothing to turn, or there is no such steerer.
    PieceError
        If a knob turns nothing.
    """

    def __init__(self, piece: Piece, name: str, seed: int, base: Path | None = None) -> None:
        self.piece, self.name, self.seed = piece, name, seed
        self._classes = check_piece(piece, piece.title, base)
        self._controls = _controls(self._classes)
        self.knobs = piece.knobs or tuple(
            Knob.model_validate({"path": path, "range": c.range, "shape": c.shape})
            for path, c in self._controls.items()
            if c.range is not None and isinstance(c.default, float) and all(map(math.isfinite, c.range))
        )
        if not self.knobs:
            raise SteererError(f"piece {piece.title!r} has no knobs and its sources no numeric controls: add [[knobs]]")
        make(name, len(self.knobs), seed)

    def propose(self, history: Sequence[Answer]) -> Proposal:
        """The next values of the knobs, given the answers to all takes so far, oldest first."""
        optimiser = make(self.name, len(self.knobs), self.seed)
        for answer in history:
            optimiser.tell(answer.point, answer.value)
        point = np.asarray(optimiser.ask(), dtype=np.float64)
        return Proposal(
            steerer=self.name,
            seed=self.seed,
            changes={k.path: self._value(k, u) for k, u in zip(self.knobs, point.tolist(), strict=True)},
            point=tuple(point.tolist()),
            reason=optimiser.why(),
            parents=tuple(answer.take for answer in history),
        )

    def point_of(self, piece: Piece) -> Point:
        """Where the knobs of `piece`, a variant of this piece, stand in the unit cube (clipped to it).

        Raises
        ------
        PieceError
            If a knob's path leads to no number in it.
        """
        return np.asarray([k.position(knob_value(piece, k.path, self._classes)) for k in self.knobs])

    def _value(self, knob: Knob, u: float) -> float | int:
        control = self._controls.get(knob.path)
        return round(knob.value(u)) if control and isinstance(control.default, int) else knob.value(u)


def _controls(classes: Mapping[str, type[Source]]) -> dict[str, Control]:
    """All controls of a piece's sources by their path in it."""
    return {f"parts.{part}.controls.{c.name}": c for part, source in classes.items() for c in source.controls}
