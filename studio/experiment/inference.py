"""What a study may say: estimates with intervals that hold for other models, takes and wordings, not for other trials.

Models, takes (or pairs of them) and wordings are crossed random factors. Trials of one cell, a combination of their
levels, are averaged first: seeds of one model are no subjects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studio.experiment.crossed import (
    Cells,
    Factors,
    Floats,
    Statistic,
    StatisticsError,
    averaged,
    binomial,
    celled,
    limits,
    spread,
)


@dataclass(frozen=True)
class Method:
    """How intervals are made.

    Attributes
    ----------
    level : float
        Confidence level of the interval, between 0 and 1.
    draws : int
        Of the bootstrap; 100 or more.
    few : int
        A factor with fewer levels is warned of.
    fixed : tuple of str
        Factors over which nothing is to be generalised, though they have several levels.

    Raises
    ------
    StatisticsError
        On a level or a number of draws out of range.
    """

    level: float = 0.95
    draws: int = 2000
    few: int = 5
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise StatisticsError(f"a confidence level of {self.level:g}: give one between 0 and 1, as 0.95")
        if self.draws < 100:
            raise StatisticsError(f"{self.draws} draws of the bootstrap: give 100 or more")


METHOD = Method()


@dataclass(frozen=True)
class Estimate:
    """What was found, and how far it can be trusted.

    Attributes
    ----------
    value, low, high : float
        The estimate and its interval.
    level : float
        Confidence level of the interval.
    trials : int
        With an outcome.
    levels : dict of str to int
        How many levels each factor has.
    notes : tuple of str
        What a reader must know: few levels, what nothing generalises over, what was left out.
    chance : float or None
        The value for whoever knows nothing, where there is one.
    error, df : float
        Standard error, and its degrees of freedom.
    cells : int
        Combinations of levels with a trial.
    within : (float, float)
        What the value can be at all.
    least : float
        Standard error were all trials independent, or 0; see `studio.experiment.crossed.limits`.
    """

    value: float
    low: float
    high: float
    level: float
    trials: int
    levels: Mapping[str, int]
    notes: tuple[str, ...]
    chance: float | None
    error: float
    df: float
    cells: int
    within: tuple[float, float] = (-math.inf, math.inf)
    least: float = 0.0

    def at(self, level: float) -> Estimate:
        """The same with an interval of another confidence level."""
        low, high = limits(self.value, self.error, self.df, self.cells, level, self.within, self.least)
        return replace(self, low=float(low), high=float(high), level=level)

    def p(self, null: float | None = None, side: Literal["both", "above", "below"] = "both") -> float:
        """p value against the value `null` (chance, if it is left out); it agrees with the interval.

        Where no trial differs from another, and nothing bounds what they could be, nothing can be tested: it is 1.

        Raises
        ------
        StatisticsError
            If there is neither a null nor a chance value.
        """
        from scipy.special import betainc, betaincc, stdtr

        null = self.chance if null is None else null
        if null is None:
            raise StatisticsError("a p value of what has no chance value: say against which value")
        low, high = self.within
        hits, trials = (float(x) for x in binomial(self.value, self.error, self.cells, self.within, self.least))
        if self.error == 0 and not math.isfinite(trials):
            return 1.0
        above = float(stdtr(self.df, (null - self.value) / self.error)) if self.error else float(null >= self.value)
        below = 1 - above if self.error else float(null <= self.value)
        if math.isfinite(trials):
            share = min(max((null - low) / (high - low), 0.0), 1.0)
            above = max(above, float(betainc(hits, trials - hits + 1, share)) if hits > 0 else 1.0)
            below = max(below, float(betaincc(hits + 1, trials - hits, share)) if hits < trials else 1.0)
        return {"both": min(1.0, 2 * min(above, below)), "above": above, "below": below}[side]


@dataclass(frozen=True)
class Equivalence:
    """Whether something differs by less than a margin from where it should be.

    Attributes
    ----------
    estimate : Estimate
        With the interval of level 1 - 2 `alpha`, which must lie within the margin.
    centre, margin, alpha : float
    p : float
        The greater of the two one-sided tests.
    holds : bool
    """

    estimate: Estimate
    centre: float
    margin: float
    alpha: float
    p: float
    holds: bool


def mean(
    outcome: ArrayLike,
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
    *,
    chance: float | None = None,
    within: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """The mean outcome over cells, or the proportion, with its interval.

    The interval is that of `estimated`, no narrower than what the trials would give if all were independent: of choices
    the exact binomial one, of other measures by their variance within cells. Repeats that cannot differ, as of a
    visitor without chance, are no further trials: give them once.

    Parameters
    ----------
    outcome : array [trials]
        0 or 1, probabilities, or any measure; NaN where there is none.
    factors : mapping of str to array [trials]
        What is generalised over: ``"model"``, ``"take"`` or ``"pair"``, ``"wording"``. Whatever is not named here is
        averaged within cells, as repeats are.
    chance : float, optional
        The value for whoever knows nothing.
    within : (float, float)
        What an outcome can be.

    Raises
    ------
    StatisticsError
        On an outcome out of `within`, or data that `celled` refuses.
    """
    _check_within(outcome, within)
    values = np.asarray(outcome, dtype=np.float64)
    cells = celled(np.stack([values, values**2], axis=1), factors, method.fixed)
    sums, squares = cells.sums.T
    means = sums / cells.counts
    least = math.sqrt(_trials_alone(sums, squares, cells.counts, within))
    return estimated(cells, _weighed(means), averaged, rng, method, chance=chance, within=within, least=least)


def difference(
    outcome: ArrayLike,
    treated: ArrayLike,
    factors: Factors,
    rng: np.random.Generator,
    method: Method = METHOD,
    *,
    within: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Mean outcome of one condition minus that of another on the same cells, paired cell by cell.

    Parameters
    ----------
    outcome : array [trials]
        As for `mean`.
    treated : bool array [trials]
        Which trials are of the one condition; the others are of the other.
    within : (float, float)
        What an outcome can be.

    Raises
    ------
    StatisticsError
        If no cell has trials of both, on an outcome out of `within`, or data that `celled` refuses.
    """
    values, one = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=bool)
    _check_within(values, within)
    there = np.isfinite(values)
    sides = np.stack(
        [one * values, one * values**2, one, ~one * values, ~one * values**2, ~one], axis=1, dtype=np.float64
    )
    cells = celled(np.where(there[:, None], sides, np.nan), factors, method.fixed)
    both = (cells.sums[:, 2] > 0) & (cells.sums[:, 5] > 0)
    if not both.any():
        raise StatisticsError(f"none of {len(both)} cells has trials of both conditions: ask both of the same cells")
    kept = replace(cells, sums=cells.sums[both], counts=cells.counts[both], codes=_recoded(cells.codes[both]))
    treats, treated_squares, treated_n, others, others_squares, others_n = kept.sums.T
    gaps = treats / treated_n - others / others_n
    least = math.sqrt(
        _trials_alone(treats, treated_squares, treated_n, within)
        + _trials_alone(others, others_squares, others_n, within)
    )
    lone, span = int((~both).sum()), within[1] - within[0]
    notes = (f"{lone} of {len(both)} cells have trials of one condition only: left out",) if lone else ()
    return estimated(
        kept, _weighed(gaps), averaged, rng, method, chance=0.0, within=(-span, span), notes=notes, least=least
    )  # fmt: skip


def estimated(
    cells: Cells,
    columns: Floats,
    statistic: Statistic,
    rng: np.random.Generator,
    method: Method = METHOD,
    *,
    chance: float | None = None,
    within: tuple[float, float] = (-math.inf, math.inf),
    notes: tuple[str, ...] = (),
    least: float = 0.0,
) -> Estimate:
    """Any statistic of weighted totals over cells, with the interval of `spread` and `limits`.

    Parameters
    ----------
    columns : array [cells, columns]
        What `statistic` gets the weighted totals of.
    least : float
        Standard error were all trials independent, if it is known: no interval is narrower than by it.

    Raises
    ------
    StatisticsError
        If the data do not determine it.
    """
    codes, said = _random(cells, method)
    value = float(statistic(columns.sum(axis=0)))
    if not math.isfinite(value):
        raise StatisticsError(f"{int(cells.counts.sum())} trials do not determine what is asked of them: make more")
    error, df = (float(x) for x in spread(columns, codes, statistic, rng, method.draws))
    bounded = math.isfinite(within[0]) and math.isfinite(within[1])
    if not bounded:
        error = max(error, least)
    low, high = (float(x) for x in limits(value, error, df, len(codes), method.level, within, least))
    if cells.dropped:
        said.append(f"{cells.dropped} trials have no outcome: left out")
    if error == 0:
        exact = f"an exact binomial interval that takes {'trials' if least else 'cells'} as independent"
        said.append(f"all {len(codes)} cells agree: " + (exact if bounded else "there is no error to go by"))
    return Estimate(
        value, low, high, method.level, int(cells.counts.sum()), cells.levels, (*said, *notes), chance, error, df,
        len(codes), within, least,
    )  # fmt: skip


def equivalence(estimate: Estimate, margin: float, alpha: float = 0.05, centre: float | None = None) -> Equivalence:
    """Two one-sided tests: whether the interval of level 1 - 2 `alpha` lies within `centre` ± `margin`.

    It never holds where so many trials, were they independent, could not show it. Simulated at the margin itself (0.05
    or 0.1; 2 works of 4, 40 or 240 trials, 4 or 6 of 40; works that differ by 0, 0.5 or 1 logit), it held in 0 to
    0.025 of 400 studies for an `alpha` of 0.05: it is careful, the more the fewer trials there are.

    Parameters
    ----------
    margin : float
        The smallest difference that would matter; stated before the data are seen.
    centre : float, optional
        The chance value, if it is left out.

    Raises
    ------
    StatisticsError
        On a margin that is not above 0, or no centre.

    References
    ----------
    Schuirmann 1987; Lakens 2017, Equivalence tests.
    """
    centre = estimate.chance if centre is None else centre
    if centre is None or not margin > 0:
        raise StatisticsError(f"equivalence to {centre} within {margin}: give a centre, and a margin above 0")
    narrow = estimate.at(1 - 2 * alpha)
    p = max(estimate.p(centre - margin, "above"), estimate.p(centre + margin, "below"))
    holds = centre - margin < narrow.low and narrow.high < centre + margin
    return Equivalence(narrow, centre, margin, alpha, p, holds)


def adjusted(p: Mapping[str, float], how: Literal["holm", "bh"]) -> dict[str, float]:
    """p values of several outcomes, adjusted for there being several.

    Parameters
    ----------
    p : mapping of str to float
        By the outcome's name.
    how : {"holm", "bh"}
        ``holm`` keeps the chance of any false finding (primary outcomes: Holm 1979), ``bh`` the share of false ones
        among the findings (exploratory outcomes: Benjamini & Hochberg 1995).

    Raises
    ------
    StatisticsError
        On what is no p value.
    """
    from scipy.stats import false_discovery_control

    values = np.array(list(p.values()), dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise StatisticsError(f"p values {', '.join(f'{k} {v:g}' for k, v in p.items())}: they lie between 0 and 1")
    if not len(values) or how == "bh":
        found = false_discovery_control(values) if len(values) else values
        return dict(zip(p, found.tolist(), strict=True))
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(np.arange(len(values), 0, -1) * values[order])
    found = np.empty_like(values)
    found[order] = np.minimum(steps, 1.0)
    return dict(zip(p, found.tolist(), strict=True))


def _trials_alone(sums: Floats, squares: Floats, counts: NDArray[Any], within: tuple[float, float]) -> float:
    """Variance of the mean over cells were trials independent: of choices binomial, else by the variance in cells."""
    low, high = within
    at, total = sums.sum() / counts.sum(), counts.sum()
    room = (low + high) * sums.sum() - low * high * total - squares.sum() if math.isfinite(high - low) else math.inf
    if room < 1e-9 * (high - low) ** 2:
        # No outcome lies between the bounds: choices.
        each = (at - low) * (high - at)
    else:
        inner = (squares - sums**2 / counts).sum() / max(total - len(counts), 1)
        # Rounding of sums is no variance.
        each = inner if inner > 1e-12 * squares.sum() / total else 0.0
    return float(max(each, 0.0) * (1 / counts).sum() / len(counts) ** 2)


def _weighed(values: Floats) -> Floats:
    """Every cell's weight, 1, and outcome."""
    return np.stack([np.ones_like(values), values], axis=1)


def _check_within(outcome: ArrayLike, within: tuple[float, float]) -> None:
    values = np.asarray(outcome, dtype=np.float64)
    wrong = values[(values < within[0]) | (values > within[1])]
    if len(wrong):
        raise StatisticsError(f"an outcome of {wrong[0]:g}: this measure goes from {within[0]:g} to {within[1]:g}")


def _recoded(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Levels that are still there, counted from 0 without gaps."""
    return np.stack([np.unique(code, return_inverse=True)[1] for code in codes.T], axis=1)


def _random(cells: Cells, method: Method) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of the factors that are generalised over, [cells, factors], and what is to be said of all."""
    notes, kept = [], []
    for at, (name, count) in enumerate(cells.levels.items()):
        if count < 2 or name in method.fixed:
            notes.append(f"{'one' if count < 2 else f'{count} fixed'} of {name}: nothing generalises over {name}")
            continue
        kept.append(at)
        if count < method.few:
            notes.append(f"{count} of {name}, fewer than {method.few}: hardly anything generalises over {name}")
    if kept:
        return cells.codes[:, kept], notes
    raise StatisticsError("one trial, or one cell: an interval needs a factor of two or more levels, or more trials")
