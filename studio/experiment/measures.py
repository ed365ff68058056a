"""Measures that can fail: what a choice, a discrimination, an agreement or a habit is worth, against who knows nothing.

Every function takes one row a trial; one without an answer holds NaN, and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studio.experiment.crossed import Cells, Factors, Floats, StatisticsError, celled
from studio.experiment.inference import METHOD, Estimate, Method, estimated, mean

Strategy: TypeAlias = Literal["differencing", "independent"]
Metric: TypeAlias = Literal["nominal", "ordinal", "interval"]
#: Which trials, [trials].
Rows: TypeAlias = NDArray[np.bool_]

#: The most different values of which agreement is measured.
MOST_VALUES = 100


def forced_choice(
    target: ArrayLike,
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
    options: int = 2,
) -> Estimate:
    """How often the target was chosen; chance is one of so many.

    Two-alternative forced choice, and the mirror with as many options as it shows curves. With whether the option that
    was shown first was chosen, it is the side bias: 0.5 is none.

    Parameters
    ----------
    target : array [trials]
        1 where the target was chosen, whichever side it was on; 0 where not; or its probability.
    factors : mapping of str to array [trials]
        See `studio.experiment.inference.mean`.
    options : int
        2 or more, the same in all trials.
    """
    if options < 2:
        raise StatisticsError(f"a choice of {options}: give 2 options or more")
    return mean(target, factors, rng, method, chance=1 / options)


def swap_flips(
    first: ArrayLike,
    side: ArrayLike,
    asked: ArrayLike,
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
) -> Estimate:
    """How often the choice stays on its side when the same is asked again with the sides swapped.

    0 is a choice that follows what is shown, 1 one that follows the side, 0.5 (chance) one of no reason.

    Parameters
    ----------
    first : array [trials]
        1 where the option that was shown first was chosen, else 0.
    side : array [trials]
        Which way round the options were shown.
    asked : array [trials]
        What the two askings have in common, and no other trial.
    factors : mapping of str to array [trials]

    Raises
    ------
    StatisticsError
        If there are more than two askings of one, or two the same way round.
    """
    chosen, sides = np.asarray(first, dtype=np.float64), np.asarray(side).astype(str)
    names, at, counts = np.unique(np.asarray(asked).astype(str), return_inverse=True, return_counts=True)
    if (counts > 2).any():
        raise StatisticsError(f"{str(names[counts.argmax()])!r} was asked {counts.max()} times: twice, once each way")
    order = np.argsort(at, kind="stable")
    once, again = order[counts[at[order]] == 2].reshape(-1, 2).T
    if (same := sides[once] == sides[again]).any():
        raise StatisticsError(f"{str(names[at[once[same.argmax()]]])!r} was asked twice the same way round: swap sides")
    stayed = np.full(len(chosen), np.nan)
    stayed[once] = np.where(np.isnan(chosen[once] + chosen[again]), np.nan, chosen[once] == chosen[again])
    told = np.ones(len(chosen), dtype=bool)
    told[again] = False
    return mean(stayed[told], rows_of(factors, told), rng, method, chance=0.5)


def habits(
    share: ArrayLike,
    groups: Mapping[str, ArrayLike],
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
) -> list[tuple[dict[str, Any], Estimate]]:
    """Share of moves in which visitors were idle, or pressed the button: no measure of liking, and no chance value.

    Parameters
    ----------
    share : array [visits]
        Waits and sleeps, or presses, by moves; 0 to 1.
    groups : mapping of str to array [visits]
        Of which each combination is told by itself: ``"condition"``; the button's ``"label"`` and ``"price"``.
    factors : mapping of str to array [visits]
    """
    shares = np.asarray(share, dtype=np.float64)
    return list(by(len(shares), groups, lambda rows: mean(shares[rows], rows_of(factors, rows), rng, method)))


@dataclass(frozen=True)
class Discrimination:
    """How well two takes are told apart.

    Attributes
    ----------
    dprime, low, high : float
        Sensitivity and its interval, in standard deviations of the observer's noise; 0 is chance.
    strategy : {"differencing", "independent"}
    correct : Estimate
        Share of correct answers of an observer of this sensitivity without bias; p values are taken from it.
    """

    dprime: float
    low: float
    high: float
    strategy: Strategy
    correct: Estimate


def abx_correct(dprime: ArrayLike, strategy: Strategy = "differencing") -> Floats:
    """Share of correct answers to ABX of an observer without bias.

    Parameters
    ----------
    dprime : array
        Sensitivity; below 0 the share is below 0.5.
    strategy : {"differencing", "independent"}
        ``differencing``: X is taken for what it lies closer to. It is the default, being what can be done where the
        pair changes from trial to trial (a roving design), as takes do. ``independent``: X is judged by the likelihood
        ratio of all three, which supposes that the two are known beforehand (a fixed design); it gives smaller d'.

    Returns
    -------
    array
        0 to 1.

    References
    ----------
    Macmillan & Creelman 2005, Detection theory, chapter 9 (ABX).
    """
    from scipy.special import ndtr

    values = np.asarray(dprime, dtype=np.float64)
    one = np.abs(values) / np.sqrt(2)
    other = np.abs(values) / (np.sqrt(6) if strategy == "differencing" else 2)
    correct = ndtr(one) * ndtr(other) + ndtr(-one) * ndtr(-other)
    return np.asarray(np.where(values < 0, 1 - correct, correct))


def abx_dprime(correct: ArrayLike, strategy: Strategy = "differencing") -> Floats:
    """Sensitivity at a share of correct answers: the inverse of `abx_correct`.

    Parameters
    ----------
    correct : array
        Between 0 and 1, both excluded: there d' would be infinite (see `log_linear`).
    """
    from scipy.optimize import elementwise

    shares = np.asarray(correct, dtype=np.float64)
    if not ((shares > 0) & (shares < 1)).all():
        raise StatisticsError("d' of a share of 0 or 1 is infinite: give counts, which are corrected")
    better = np.abs(shares - 0.5) + 0.5
    found = elementwise.find_root(
        lambda d, share: abx_correct(d, strategy) - share, (np.zeros_like(better), np.full_like(better, 50.0)),
        args=(better,),
    ).x  # fmt: skip
    return np.asarray(np.sign(shares - 0.5) * found)


def log_linear(hits: ArrayLike, trials: ArrayLike) -> Floats:
    """A rate that is never 0 or 1: (hits + 0.5) / (trials + 1) (Hautus 1995)."""
    return (np.asarray(hits, dtype=np.float64) + 0.5) / (np.asarray(trials, dtype=np.float64) + 1)


def unbiased(totals: Floats) -> Floats:
    """Share of correct answers, were there no bias: Φ((z(H) - z(F)) / 2), rates by `log_linear`.

    Parameters
    ----------
    totals : array [..., 4]
        Answers "A" to A, trials of A, answers "A" to B, trials of B.
    """
    from scipy.special import ndtr, ndtri

    hits, signals, alarms, noises = np.moveaxis(totals, -1, 0)
    share: Floats = ndtr((ndtri(log_linear(hits, signals)) - ndtri(log_linear(alarms, noises))) / 2)
    return np.where((signals > 0) & (noises > 0), share, np.nan)


def abx(
    right: ArrayLike,
    first: ArrayLike,
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
    strategy: Strategy = "differencing",
) -> Discrimination:
    """d' of ABX trials, free of a bias to one answer.

    Of a visitor that is always right, or always wrong, d' would be infinite: it is then that of the log-linear
    correction, which is also where its interval ends; the other end is that of the exact interval of the share.

    Parameters
    ----------
    right : array [trials]
        1 where X was recognised, else 0.
    first : bool array [trials]
        Whether X was A.
    factors : mapping of str to array [trials]

    Raises
    ------
    StatisticsError
        If X was not both A and B.
    """
    hits, is_first = np.asarray(right, dtype=np.float64), np.asarray(first, dtype=bool)
    said_first = np.where(is_first, hits, 1 - hits)
    columns = np.stack([said_first * is_first, is_first, said_first * ~is_first, ~is_first], axis=1)
    cells = celled(columns, factors, method.fixed)
    totals = cells.sums.sum(axis=0)
    said, signals, wrongly, noises = totals
    if signals and noises and abs(said / signals - wrongly / noises) == 1:
        share = mean(hits, factors, rng, method, chance=0.5)
        note = "d' is that of the log-linear correction: so many trials cannot tell how far it goes"
        share = replace(share, notes=(*share.notes, note))
    else:
        found = float(unbiased(totals))
        least = math.sqrt(found * (1 - found) / cells.counts.sum())
        share = estimated(cells, cells.sums, unbiased, rng, method, chance=0.5, within=(0.0, 1.0), least=least)
    # As high, and as low, as so many trials can tell.
    top = float(unbiased(np.array([signals, signals, 0.0, noises])))
    low, value, high = abx_dprime(np.clip([share.low, share.value, share.high], 1 - top, top), strategy)
    return Discrimination(float(value), float(low), float(high), strategy, share)


def psychometric(
    right: ArrayLike,
    first: ArrayLike,
    groups: Mapping[str, ArrayLike],
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
    strategy: Strategy = "differencing",
) -> list[tuple[dict[str, Any], Discrimination]]:
    """d' of each level of difference, model and register: what can be told apart at all, by whom, in which words.

    Parameters
    ----------
    right, first : array [trials]
        See `abx`.
    groups : mapping of str to array [trials]
        ``"level"`` of difference, ``"model"``, ``"register"``.
    factors : mapping of str to array [trials]
        What is generalised over within a group: takes or pairs, wordings.
    """
    hits, is_first = np.asarray(right, dtype=np.float64), np.asarray(first, dtype=bool)

    def measured(rows: Rows) -> Discrimination:
        return abx(hits[rows], is_first[rows], rows_of(factors, rows), rng, method, strategy)

    return list(by(len(hits), groups, measured))


def alpha(ratings: ArrayLike, metric: Metric, rng: np.random.Generator, method: Method = METHOD) -> Estimate:
    """Krippendorff's alpha: agreement among observers beyond chance; 1 is perfect, 0 chance.

    The interval is over units; observers are as they are.

    Parameters
    ----------
    ratings : array [observers, units]
        Numbers, or where `metric` is nominal any words; None, NaN or an empty string where there is none.
    metric : {"nominal", "ordinal", "interval"}

    Raises
    ------
    StatisticsError
        If fewer than two units were rated twice, all ratings are equal, or there are more than `MOST_VALUES` values.

    References
    ----------
    Krippendorff 2011, Computing Krippendorff's alpha-reliability.
    """
    table = np.asarray(ratings, dtype=object)
    if table.ndim != 2:
        raise StatisticsError(f"ratings of shape {table.shape}: give observers x units")
    given = ~np.isin(table.astype(str), ("None", "", "nan"))
    kept = given.sum(axis=0) >= 2
    values = table[:, kept][given[:, kept]]
    found, at = np.unique(values.astype(str) if metric == "nominal" else values.astype(float), return_inverse=True)
    if kept.sum() < 2 or not 2 <= len(found) <= MOST_VALUES:
        raise StatisticsError(
            f"agreement of {len(found)} different values in {kept.sum()} units that were rated twice: "
            f"2 to {MOST_VALUES} values and 2 units or more are needed"
        )
    counts = np.zeros((kept.sum(), len(found)))
    np.add.at(counts, (np.nonzero(given[:, kept])[1], at), 1)
    together = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(found))
    coincidences = (together / (counts.sum(axis=1) - 1)[:, None, None]).reshape(len(counts), -1)
    units = Cells(coincidences, counts.sum(axis=1).astype(int), np.arange(len(counts))[:, None], ("unit",))
    positions = np.arange(len(found), dtype=float) if metric == "nominal" else found.astype(float)
    lone = int((~kept).sum())
    notes = (f"{len(table)} observers: nothing generalises over observers",)
    left = (f"{lone} units were rated less than twice: left out",) if lone else ()
    return estimated(
        units, coincidences, lambda totals: _alpha(totals, positions, metric), rng, method,
        chance=0.0, within=(-1.0, 1.0), notes=notes + left,
    )  # fmt: skip


def _alpha(totals: Floats, positions: Floats, metric: Metric) -> Floats:
    """Of coincidences, [..., values * values]; `positions` are the values themselves."""
    size = len(positions)
    together = totals.reshape(*totals.shape[:-1], size, size)
    marginal = together.sum(axis=-1)
    if metric == "ordinal":
        # The ordinal metric is the interval one on mid-ranks.
        positions = np.cumsum(marginal, axis=-1) - marginal / 2
    gap = positions[..., :, None] - positions[..., None, :]
    apart = (gap != 0).astype(float) if metric == "nominal" else gap**2
    observed = (together * apart).sum(axis=(-2, -1))
    expected = np.einsum("...i,...j,...ij->...", marginal, marginal, np.broadcast_to(apart, together.shape))
    share: Floats = 1 - (marginal.sum(axis=-1) - 1) * observed / expected
    return share


def by(
    count: int, groups: Mapping[str, ArrayLike], measure: Callable[[Rows], Any]
) -> Iterator[tuple[dict[str, Any], Any]]:
    """A measure of each combination of levels that occurs, in sorted order.

    Parameters
    ----------
    count : int
        Of trials.
    groups : mapping of str to array [trials]
        None: all trials are one.
    measure : callable
        Is given which trials are meant.
    """
    levels = {name: np.unique(np.asarray(given), return_inverse=True) for name, given in groups.items()}
    codes = np.stack([np.zeros(count, dtype=int), *(code for _, code in levels.values())], axis=1)
    for row in np.unique(codes, axis=0):
        named = {name: known[k].item() for (name, (known, _)), k in zip(levels.items(), row[1:], strict=True)}
        yield named, measure((codes == row).all(axis=1))


def rows_of(factors: Factors, rows: Rows) -> dict[str, NDArray[Any]]:
    """The factors of some of the trials."""
    return {name: np.asarray(levels)[rows] for name, levels in factors.items()}
