"""Measures that can fail: what a choice, a discrimination, an agreement or a habit is worth, against who knows nothing.

Every function takes one row a trial; one without an answer holds NaN, and is left out.
"""

from __future__ import annotations

import math
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
#: Trials of a level below which d' is mostly that of the log-linear correction, so that no slope is taken through it.
FEWEST_TRIALS = 20


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


def slope(
    right: ArrayLike,
    first: ArrayLike,
    level: ArrayLike,
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
) -> Estimate:
    """By how much d' of ABX rises from level 0 to 1: the line of least squares through d' at each level.

    Its interval is no narrower than if all trials were independent.

    Parameters
    ----------
    right, first : array [trials]
        See `abx`.
    level : array [trials]
        Of difference, two or more of them.
    factors : mapping of str to array [trials]

    Raises
    ------
    StatisticsError
        If there is one level only, or one with fewer than `FEWEST_TRIALS` trials, or where X was not both A and B.
    """
    hits, is_first = np.asarray(right, dtype=np.float64), np.asarray(first, dtype=bool)
    levels, at = np.unique(np.asarray(level, dtype=np.float64), return_inverse=True)
    if len(levels) < 2:
        raise StatisticsError(f"{len(levels)} level of difference: a slope needs 2 or more")
    counts = np.bincount(at[np.isfinite(hits)], minlength=len(levels))
    if counts.min() < FEWEST_TRIALS:
        least_at = levels[counts.argmin()]
        raise StatisticsError(
            f"{counts.min()} trials at level {least_at:g}: a slope needs {FEWEST_TRIALS} of each level"
        )
    said = np.where(is_first, hits, 1 - hits)
    columns = np.zeros((len(hits), len(levels), 4))
    columns[np.arange(len(hits)), at] = np.stack([said * is_first, is_first, said * ~is_first, ~is_first], axis=1)
    columns[np.isnan(hits)] = np.nan
    cells = celled(columns.reshape(len(hits), -1), factors, method.fixed)
    weights = (levels - levels.mean()) / ((levels - levels.mean()) ** 2).sum()

    def line(totals: Floats) -> Floats:
        share = unbiased(totals.reshape(*totals.shape[:-1], len(levels), 4))
        known = np.asarray(np.isfinite(share))
        return np.asarray(np.where(known.all(axis=-1), abx_dprime(np.where(known, share, 0.5)) @ weights, np.nan))

    alone = _dprime_alone(cells.sums.sum(axis=0).reshape(len(levels), 4))
    least = float(np.sqrt(((weights * alone) ** 2).sum()))
    return estimated(cells, cells.sums, line, rng, method, chance=0.0, least=least)


def _dprime_alone(totals: Floats) -> Floats:
    """Standard error of d' were trials independent: half of how far it is from one error of the share below to above.

    Near chance d' goes as the root of the share, so that the slope there would say infinity.
    """
    share, signals, noises = unbiased(totals), totals[..., 1], totals[..., 3]
    top = unbiased(np.stack([signals, signals, 0 * noises, noises], axis=-1))
    if not np.isfinite(share).all():
        return np.zeros(share.shape)  # what is not determined is refused with the estimate
    error = np.sqrt(share * (1 - share) / (signals + noises))
    low, high = abx_dprime(np.clip([share - error, share + error], 1 - top, top))
    return np.asarray((high - low) / 2)


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


def rows_of(factors: Factors, rows: Rows) -> dict[str, NDArray[Any]]:
    """The factors of some of the trials."""
    return {name: np.asarray(levels)[rows] for name, levels in factors.items()}
