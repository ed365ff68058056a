"""Crossed random factors: trials in cells, and how far a statistic would move with other models, takes and wordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pieces.errors import DescantError

Floats: TypeAlias = NDArray[np.float64]
#: Factor levels, one a trial, by the factor's name.
Factors: TypeAlias = Mapping[str, ArrayLike]
#: From weighted totals of some columns, [..., columns], to what is estimated, [...].
Statistic: TypeAlias = Callable[[Floats], Floats]

#: Numbers (draws x cells, or draws x columns) that are held at a time.
_HELD = 2_000_000


class StatisticsError(DescantError):
    """Data from which this cannot be estimated."""


@dataclass(frozen=True)
class Cells:
    """Trials, summed in the combinations of factor levels in which they were made.

    Attributes
    ----------
    sums : array [cells, columns]
    counts : array [cells]
        Trials of each cell.
    codes : array [cells, factors]
        Level of each factor, counted from 0.
    names : tuple of str
        Of the factors.
    dropped : int
        Trials without an outcome.
    """

    sums: Floats
    counts: NDArray[np.int64]
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    dropped: int = 0

    @property
    def levels(self) -> dict[str, int]:
        """How many levels each factor has."""
        return dict(zip(self.names, (self.codes.max(axis=0) + 1).tolist(), strict=True))


def celled(columns: ArrayLike, factors: Factors, fixed: Sequence[str] = ()) -> Cells:
    """Sum trials within cells.

    Where no factor that is not `fixed` has two levels, there are only trials to go by: each is then a cell of its own.

    Parameters
    ----------
    columns : array [trials] or [trials, columns]
        What is summed; a trial with NaN is left out and counted.
    factors : mapping of str to array [trials]
    fixed : sequence of str
        Factors that are not generalised over; names of others are ignored.

    Raises
    ------
    StatisticsError
        If a factor has not one level a trial, or no trial has an outcome.
    """
    values = np.asarray(columns, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    levels = {name: np.asarray(given) for name, given in factors.items()}
    for name, given in levels.items():
        if given.shape != (len(values),):
            raise StatisticsError(f"{name!r} has {given.size} levels for {len(values)} trials: give one a trial")
    there = np.isfinite(values).all(axis=1)
    if not there.any():
        raise StatisticsError(f"none of {len(values)} trials has an outcome, so nothing can be estimated")
    coded = {name: np.unique(one[there].astype(str), return_inverse=True)[1] for name, one in levels.items()}
    if not any(code.max() for name, code in coded.items() if name not in fixed):
        coded["trial"] = np.arange(there.sum())
    codes = np.stack(list(coded.values()), axis=1)
    cells, at, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(cells), values.shape[1]))
    np.add.at(sums, at.ravel(), values[there])
    return Cells(sums, counts, cells, tuple(coded), int((~there).sum()))


def averaged(totals: Floats) -> Floats:
    """The mean of which `totals` are: [..., (weight, weighted outcome)]."""
    share: Floats = totals[..., 1] / totals[..., 0]
    return share


def spread(
    columns: Floats, codes: NDArray[np.int64], statistic: Statistic, rng: np.random.Generator, draws: int
) -> tuple[Floats, Floats]:
    """Standard error and degrees of freedom of a statistic over crossed random factors: the multiway bootstrap.

    The levels of each factor are drawn anew, independently of those of the others, and a cell weighs the product of how
    often its levels were drawn (the pigeonhole bootstrap). That alone counts what is of k factors together, and noise,
    2^k - 1 times (Owen 2007). Here each set of factors is also drawn by itself, which gives its mean square; the
    components of variance follow as in an analysis of variance, from all factors together downwards, none below 0, and
    each counts once. Of n levels n - 1 are drawn, so that few levels do not look too much alike (Rao & Wu 1988);
    degrees of freedom are Satterthwaite's (1946), no fewer than those of the smallest factor.

    In simulations of choices by 3 to 8 models, on 8 to 20 pairs, in 1 to 8 wordings, intervals of level 0.95 made of it
    held the truth in 0.94 to 0.996 of the experiments, the more the less levels differ; with 2 models that differ much
    in 0.87.

    Parameters
    ----------
    columns : array [cells, ..., columns]
        What lies between is many experiments of one design.
    codes : array [cells, factors]
        Levels of the random factors, each from 0, each factor with 2 or more.
    statistic : callable
        From weighted totals, [..., columns], to [...].

    Returns
    -------
    error, df : array [...]

    References
    ----------
    Owen 2007, The pigeonhole bootstrap; Owen & Eckles 2012, Bootstrapping data arrays of arbitrary order; Rao & Wu
    1988, Resampling inference with complex survey data; Satterthwaite 1946, An approximate distribution of estimates of
    variance components; Searle, Casella & McCulloch 1992, Variance components, chapter 4.
    """
    levels = codes.max(axis=0) + 1
    subsets = list(_subsets(len(levels)))
    replicates: dict[tuple[int, ...], list[Floats]] = {subset: [] for subset in subsets}
    stretch = max(1, _HELD // max(len(codes), columns[0].size))
    for start in range(0, draws, stretch):
        count = min(stretch, draws - start)
        weights = [_drawn(int(n), count, rng)[:, code] for n, code in zip(levels, codes.T, strict=True)]
        for subset in subsets:
            weight = reduce(np.multiply, (weights[f] for f in subset))
            with np.errstate(divide="ignore", invalid="ignore"):
                replicates[subset].append(statistic(np.tensordot(weight, columns, 1)))
    total = {subset: _variance(np.concatenate(found)) for subset, found in replicates.items()}
    variance = unsure = np.zeros(columns.shape[1:-1])
    part: dict[tuple[int, ...], Floats] = {}
    for one in reversed(subsets):
        square = sum((-1) ** (len(one) - len(s)) * total[s] for s in subsets if set(s) <= set(one))
        part[one] = np.maximum(square - sum(part[s] for s in part if set(s) > set(one)), 0.0)
        variance = variance + part[one]
        unsure = unsure + (part[one] > 0) * square**2 / np.prod(levels[list(one)] - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(unsure > 0, variance**2 / unsure, 1.0)
    # Rounding of sums is no variance.
    error = np.where(variance > 1e-18, np.sqrt(variance), 0.0)
    return error, np.maximum(df, float(levels.min() - 1))


def limits(
    value: ArrayLike,
    error: ArrayLike,
    df: ArrayLike,
    cells: int,
    level: float,
    within: tuple[float, float],
    least: ArrayLike = 0.0,
) -> tuple[Floats, Floats]:
    """The interval of a value: Student's t, kept `within` what is possible, and no narrower than `binomial` allows.

    Few cells look alike by chance, so that t alone would be sure of what a handful of trials cannot tell. Of the two
    intervals, t and Clopper & Pearson's (1934), the wider end counts: whoever tests by it is wrong no more often than
    with either of them. Where trials vary less than independent ones (both sides asked in turn of a visitor that
    follows the side), that is more careful than it need be.

    Parameters
    ----------
    least : array
        Standard error were all trials independent, see `binomial`.
    """
    from scipy.special import betaincinv, stdtrit

    value, error = np.asarray(value, dtype=np.float64), np.asarray(error, dtype=np.float64)
    reach = stdtrit(df, 0.5 + level / 2) * error
    low, high = np.clip(value - reach, *within), np.clip(value + reach, *within)
    hits, trials = binomial(value, error, cells, within, least)
    counted, tail, span = np.isfinite(trials), (1 - level) / 2, within[1] - within[0]
    if counted.any():
        hits, trials = np.where(counted, hits, 0.0), np.where(counted, trials, 0.0)
        misses = trials - hits
        lowest = np.where(hits > 0, betaincinv(np.maximum(hits, 1e-9), misses + 1, tail), 0.0)
        highest = np.where(misses > 0, betaincinv(hits + 1, np.maximum(misses, 1e-9), 1 - tail), 1.0)
        low = np.where(counted, np.minimum(low, within[0] + span * lowest), low)
        high = np.where(counted, np.maximum(high, within[0] + span * highest), high)
    return low, high


def binomial(
    value: ArrayLike, error: ArrayLike, cells: int, within: tuple[float, float], least: ArrayLike
) -> tuple[Floats, Floats]:
    """The hits, and trials, of a binomial share that is as uncertain as a value is at least; they need not be whole.

    Of choices the trials are those that were made, if all cells have as many. Where there is no error at all to go by
    (all cells agree on a bound, or do so without any variance within them) they are as many as there are cells: no
    measure between two bounds can vary more (Bhatia & Davis 2000, A better bound on the variance).

    Parameters
    ----------
    least : array
        Standard error were all trials independent: of choices the binomial one, else from the variance within cells; 0
        where it is not known.

    Returns
    -------
    hits, trials : array
        Not finite where nothing bounds the value, or there is an error and `least` is not known.
    """
    low, high = within
    value, error = np.asarray(value, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if not (math.isfinite(low) and math.isfinite(high)):
        return np.full(value.shape, np.inf), np.full(value.shape, np.inf)
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    least = np.asarray(least, dtype=np.float64) / (high - low)
    agreed = (error == 0) & (least == 0)
    share = np.where(agreed & extreme(value, cells, within), np.round(share), share)
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = share * (1 - share) / least**2
    trials = np.where(agreed, cells, trials)
    return share * np.where(np.isfinite(trials), trials, np.inf), trials


def extreme(value: ArrayLike, cells: int, within: tuple[float, float]) -> NDArray[np.bool_]:
    """Whether a value lies closer to a bound than one cell could move it."""
    low, high = within
    if not (math.isfinite(low) and math.isfinite(high)):
        return np.zeros(np.shape(value), dtype=bool)
    share = (np.asarray(value, dtype=np.float64) - low) / (high - low)
    near: NDArray[np.bool_] = np.minimum(share, 1 - share) * cells < 1 - 1e-9
    return near


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Sets of some of the first numbers, the smaller first, but for the empty one."""
    return chain.from_iterable(combinations(range(count), size) for size in range(1, count + 1))


def _drawn(levels: int, draws: int, rng: np.random.Generator) -> Floats:
    """How often each level is drawn, [draws, levels], 1 on average."""
    counts = rng.multinomial(levels - 1, np.full(levels, 1 / levels), size=draws)
    return np.asarray(counts * (levels / (levels - 1)), dtype=np.float64)


def _variance(replicates: Floats) -> Floats:
    """Over draws; those that drew nothing tell nothing."""
    drawn = np.isfinite(replicates)
    count = np.maximum(drawn.sum(axis=0), 1)
    centre = np.where(drawn, replicates, 0.0).sum(axis=0) / count
    variance: Floats = (np.where(drawn, replicates - centre, 0.0) ** 2).sum(axis=0) / np.maximum(count - 1, 1)
    return variance
