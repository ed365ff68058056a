"""How large a study must be: whole experiments simulated, and analysed as they will be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from studio.audience.gallery import MOST_CURVES
from studio.experiment.analysis import FEWEST_WORKS, Reserve
from studio.experiment.crossed import Floats, StatisticsError, averaged, limits, spread
from studio.experiment.design import Design
from studio.experiment.inference import METHOD, Method
from studio.experiment.portraits import asked_by
from studio.experiment.sample import CHOSEN, Sample, answering, is_control, listeners
from studio.experiment.trials import trials
from studio.rendering import Progress, silent

#: Experiments that are simulated at once.
_BATCH = 100
#: Weights x experiments of a batch; more draws or cells make the batches smaller.
_LOAD = 200_000_000


@dataclass(frozen=True)
class Size:
    """A design in numbers: every model is asked about every pair in every wording, so many times.

    Attributes
    ----------
    models, pairs, wordings, repeats : int
        1 or more. A factor of one level is fixed.

    Raises
    ------
    StatisticsError
        On numbers below 1, or no factor with two levels.
    """

    models: int
    pairs: int
    wordings: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        if min(self.models, self.pairs, self.wordings, self.repeats) < 1:
            raise StatisticsError(f"{self}: every number must be 1 or more")
        if max(self.shape) < 2:
            raise StatisticsError(f"{self}: give at least two models, pairs or wordings")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Models, pairs, wordings."""
        return self.models, self.pairs, self.wordings

    @property
    def trials(self) -> int:
        """All of them."""
        return math.prod(self.shape) * self.repeats


@dataclass(frozen=True)
class Variation:
    """How much levels differ: standard deviations of random effects on the logit scale.

    Attributes
    ----------
    model, pair, wording : float
        Of the factors, 0 or more.
    model_pair : float
        Of models that take different sides about the same pair.
    """

    model: float = 0.5
    pair: float = 0.5
    wording: float = 0.2
    model_pair: float = 0.5

    @property
    def total(self) -> float:
        """Standard deviation of all together."""
        return math.hypot(self.model, self.pair, self.wording, self.model_pair)


@dataclass(frozen=True)
class Claim:
    """What the study is to show.

    Attributes
    ----------
    kind : {"above", "equivalent"}
        The lower end of the interval is above chance; or the interval of level 1 - 2 `alpha` lies within the margin.
    chance : float
    margin : float
        For ``equivalent``.
    alpha : float
        For ``equivalent``; ``above`` goes by the level of the interval.
    """

    kind: Literal["above", "equivalent"] = "above"
    chance: float = 0.5
    margin: float = 0.1
    alpha: float = 0.05


VARIATION, CLAIM = Variation(), Claim()


@dataclass(frozen=True)
class Power:
    """How often such a study would show what it is to show.

    Attributes
    ----------
    value, low, high : float
        Share of the simulated experiments that did, and its 95 % interval (Clopper-Pearson) over experiments.
    experiments : int
        That were simulated.
    size : Size
    width : float
        Mean width of the interval.
    """

    value: float
    low: float
    high: float
    experiments: int
    size: Size
    width: float


@dataclass(frozen=True)
class Planned:
    """What a design asks of one outcome, counted as the analysis will count it.

    Attributes
    ----------
    size : Size
    claim : Claim
    level : float
        Of the interval that must show it.
    reserves : tuple of Reserve
        Why it can be no more than provisional, whatever comes out; none for controls.
    """

    size: Size
    claim: Claim
    level: float
    reserves: tuple[Reserve, ...] = ()


def planned(design: Design, outcome: str) -> Planned:
    """An outcome of a design in numbers.

    Audiences that are one model are one, who chooses by learning progress is left out where the analysis leaves it out,
    and pairs are works, or runs of steering. A mirror's chance is that of one curve among those of all who are asked.
    Primary outcomes are to hold at the first step of Holm's method. It is supposed that all tell works apart.

    Raises
    ------
    StatisticsError
        If no trial is of this outcome, or it is of one model, one work and one wording.
    """
    rows = tuple({**trial.to_json(), "outcome": trial.outcome} for trial in trials(design))
    sample = Sample(rows, design, METHOD).where(lambda row: row["outcome"] == outcome)
    if outcome.partition("/")[0] in CHOSEN:
        sample, _ = answering(sample, listeners(design))
    if not sample.rows:
        raise StatisticsError(f"{outcome}: no trial is of it")
    models, works, wordings = (len(set(levels)) for levels in sample.factors.values())
    size = Size(models, works, wordings, max(1, len(sample.rows) // (models * works * wordings)))
    rules = design.analysis
    tested = sum(not one.startswith("visit/") for one in rules.primary) if outcome in rules.primary else 1
    alpha = (1 - rules.level) / tested
    if is_control(outcome):
        return Planned(size, Claim("equivalent", margin=rules.margin, alpha=alpha), 1 - alpha)
    curves = len({row["audience"] for row in sample.rows})
    chance = 1 / min(curves, MOST_CURVES) if outcome == "mirror" else 0.5
    return Planned(size, Claim(chance=chance), 1 - alpha, tuple(_reserves(design, outcome, size)))


def _reserves(design: Design, outcome: str, size: Size) -> Iterator[Reserve]:
    task = outcome.partition("/")[0]
    if task in (*CHOSEN, "same") and not any(map(is_control, design.outcomes)):
        yield "controls"
    if task in CHOSEN and asked_by(outcome) not in design.outcomes:
        yield "unasked"
    if size.pairs < FEWEST_WORKS:
        yield "works"


def never() -> bool:
    """Simulation that nobody stops."""
    return False


def simulated(size: Size, rate: float, variation: Variation, experiments: int, rng: np.random.Generator) -> Floats:
    """Outcomes of whole experiments.

    Parameters
    ----------
    rate : float
        Of the whole population of models, pairs and wordings, between 0 and 1.

    Returns
    -------
    array [experiments, models, pairs, wordings]
        Share of the repeats in which the target was chosen.
    """
    models, pairs, wordings = size.shape

    def effect(deviation: float, *shape: int) -> Floats:
        return deviation * rng.standard_normal((experiments, *shape))

    logits = (
        middle(rate, variation.total)
        + effect(variation.model, models, 1, 1)
        + effect(variation.pair, 1, pairs, 1)
        + effect(variation.wording, 1, 1, wordings)
        + effect(variation.model_pair, models, pairs, 1)
    )
    return rng.binomial(size.repeats, 1 / (1 + np.exp(-logits))) / size.repeats


def middle(rate: float, deviation: float) -> float:
    """The logit around which chances with this standard deviation of their logits have the mean `rate`.

    Without it the effect would shrink towards 0.5 as levels differ more.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    if not 0 < rate < 1:
        raise StatisticsError(f"a rate of {rate:g}: give one between 0 and 1, both excluded")
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    return float(brentq(lambda at: weights @ expit(at + deviation * nodes) - rate, -60, 60))


def power(
    size: Size,
    rate: float,
    rng: np.random.Generator,
    *,
    variation: Variation = VARIATION,
    claim: Claim = CLAIM,
    method: Method = METHOD,
    experiments: int = 1000,
    progress: Progress = silent,
    stop: Callable[[], bool] = never,
) -> Power:
    """How often a study of this size shows what is claimed, if the rate is so.

    Every simulated experiment is analysed by the bootstrap and the interval of `studio.experiment.inference`; all of a
    batch share the bootstrap's draws.

    Parameters
    ----------
    rate : float
        Of choosing the target, over the whole population of models, pairs and wordings; for ABX, `abx_correct` of d'.
    experiments : int
        To be simulated; where it is stopped, as many as were.
    stop : callable
        Asked between batches.

    Raises
    ------
    StatisticsError
        On a rate that is none, or if it is stopped before anything was simulated.
    """
    codes = np.stack([axis.ravel() for axis in np.indices(size.shape)], axis=1)
    names = np.array(["model", "pair", "wording"])
    random = [at for at, count in enumerate(size.shape) if count > 1 and names[at] not in method.fixed]
    if not random:
        raise StatisticsError(f"{size}: all factors are fixed, so there is nothing to generalise over")
    batch = int(np.clip(_LOAD // (len(codes) * method.draws), 1, _BATCH))
    level = method.level if claim.kind == "above" else 1 - 2 * claim.alpha
    shown = done = 0
    width = 0.0
    progress("power", 0, experiments)
    while done < experiments and not stop():
        count = min(batch, experiments - done)
        shares = simulated(size, rate, variation, count, rng).reshape(count, -1)
        columns = np.stack([np.ones_like(shares.T), shares.T], axis=-1)
        error, df = spread(columns, codes[:, random], averaged, rng, method.draws)
        share = shares.mean(axis=1)
        least = np.sqrt(share * (1 - share) / size.trials)
        low, high = limits(share, error, df, len(codes), level, (0.0, 1.0), least)
        shown += int(_shows(claim, low, high).sum())
        width += float((high - low).sum())
        done += count
        progress("power", done, experiments)
    if not done:
        raise StatisticsError("it was stopped before any experiment was simulated")
    lowest, highest = share_limits(shown, done)
    return Power(shown / done, lowest, highest, done, size, width / done)


def smallest(
    size: Size,
    rate: float,
    rng: np.random.Generator,
    *,
    grow: Sequence[Literal["pairs", "repeats", "models", "wordings"]] = ("pairs",),
    wanted: float = 0.8,
    most: int = 200,
    variation: Variation = VARIATION,
    claim: Claim = CLAIM,
    method: Method = METHOD,
    experiments: int = 1000,
    progress: Progress = silent,
    stop: Callable[[], bool] = never,
) -> Power:
    """The smallest study that shows what is claimed as often as `wanted`, growing in one number, or several together.

    Parameters
    ----------
    size : Size
        Where it begins; it does not become smaller.
    grow : sequence of {"pairs", "repeats", "models", "wordings"}
        What is made more, all to the same number, but for what is more from the beginning.
    wanted, most : float and int
        Power, between 0 and 1, reached where the simulated share is; and how far it may grow.

    Raises
    ------
    StatisticsError
        If `most` does not suffice (the line says what it reaches: other factors limit the power, then), or it is
        stopped.
    """
    names = " and ".join(grow)

    def tried(number: int) -> Power:
        if stop():
            raise StatisticsError(f"it was stopped at {number} {names}, before the smallest number was found")
        one = replace(size, **{what: max(number, getattr(size, what)) for what in grow})
        return power(
            one, rate, rng, variation=variation, claim=claim, method=method, experiments=experiments,
            progress=lambda stage, done, total: progress(f"power at {number} {names}", done, total), stop=stop,
        )  # fmt: skip

    number = min(getattr(size, what) for what in grow)
    below = number - 1
    while (found := tried(number)).value < wanted:
        if number >= most:
            raise StatisticsError(
                f"{most} {names} reach a power of {found.value:.2f} ({found.low:.2f} to {found.high:.2f}), not "
                f"{wanted:g}: make something else more, too (models and pairs together), or allow more than {most}"
            )
        below, number = number, min(2 * number, most)
    while number > below + 1:
        half = (below + number) // 2
        if (one := tried(half)).value >= wanted:
            found, number = one, half
        else:
            below = half
    return found


def share_limits(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share of independent experiments (Clopper & Pearson 1934)."""
    from scipy.stats import binomtest

    found = binomtest(count, total).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def _shows(claim: Claim, low: Floats, high: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which intervals show what is claimed."""
    if claim.kind == "above":
        return low > claim.chance
    return (low > claim.chance - claim.margin) & (high < claim.chance + claim.margin)
