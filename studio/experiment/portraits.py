"""What each audience of a study is like: what it can tell apart, what it prefers, its habits, progress and cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from studio.experiment.inference import Estimate
from studio.experiment.measures import Discrimination, swap_flips
from studio.experiment.sample import CHOSEN, Row, Sample, Study, is_probe, tried

_HEARD = ("audience", "register", "condition", "level")


@dataclass(frozen=True)
class Hearing:
    """What an audience tells apart, in one register.

    Attributes
    ----------
    audience, register : str
    condition : str
        What works were held against; ``"distorted"``, by `level`.
    level : float or None
        Share that was distorted, 0..1.
    discrimination : Discrimination or None
        None where it cannot be estimated; `problem` says why.
    """

    audience: str
    register: str
    condition: str
    level: float | None
    discrimination: Discrimination | None
    problem: str = ""


@dataclass(frozen=True)
class Preference:
    """What an audience chose, in one register.

    Attributes
    ----------
    by_progress : bool
        It chose by its learning progress: this is no liking.
    hears : bool or None
        Whether it tells just these works apart, see `hears`; None: it was not asked.
    """

    audience: str
    register: str
    outcome: str
    estimate: Estimate | None
    by_progress: bool
    hears: bool | None


@dataclass(frozen=True)
class Habit:
    """How an audience chooses, whatever it is told.

    Attributes
    ----------
    side : Estimate or None
        How often it chose the option that was shown first; 0.5 is no bias.
    flips : Estimate or None
        How often it stayed on that side when the sides were swapped: 0 follows what is told, 1 the side. Of whoever
        gives probabilities it is the likelier option that counts, not the one that was drawn.
    rotations : float or None
        Share of the further orders of the options of one decision in which it would have decided otherwise.
    by_progress : bool
    """

    audience: str
    side: Estimate | None
    flips: Estimate | None
    rotations: float | None
    by_progress: bool


@dataclass(frozen=True)
class Progress:
    """What an audience learned, in nats per token; never liking.

    Attributes
    ----------
    audience, outcome : str
    trials : int
    own, other : float or None
        Mean of the work as it is, and of what it is held against; of a visit all is its own.
    difference : Estimate or None
        The first minus the second, trial by trial.
    chosen : Estimate or None
        How often it chose the work as it is, by its progress.
    """

    audience: str
    outcome: str
    trials: int
    own: float | None
    other: float | None
    difference: Estimate | None
    chosen: Estimate | None


@dataclass(frozen=True)
class Cost:
    """What an audience took, with its failed trials: tokens, cost as it is reported, seconds."""

    audience: str
    trials: int
    tokens: float
    cost: float
    seconds: float


def hearing(kept: Sample) -> tuple[Hearing, ...]:
    """d' of each audience, register and difference; controls are left out: there is nothing to be heard.

    It is of the works and wordings of the study alone: as trials are balanced, who hears nothing is right in half of
    them, whatever its habits.
    """
    asked = kept.where(lambda row: row["task"] == "same" and not is_probe(row))
    found = []
    for (audience, register, condition, level), sample in asked.split(*_HEARD).items():
        of_these = replace(sample, method=replace(sample.method, fixed=("work", "wording")))
        measured, problem = tried(of_these.discrimination)
        found.append(Hearing(audience, register, condition, level, measured, problem))
    return tuple(found)


def hears(heard: Sequence[Hearing], audience: str, register: str, outcome: str) -> bool | None:
    """Whether an audience tells apart what an outcome is about: its d' is above 0, by its interval.

    False: that is not shown; what cannot be told apart cannot be liked. None: it was not asked of this very condition.
    That it tells works from noise says nothing of it. The takes of steering are no condition of ABX: of these it is
    whether two works are told apart (``sham``).
    """
    key = (audience, register, asked_by(outcome).partition("/")[2])
    for one in heard:
        if (one.audience, one.register, one.condition) == key:
            return one.discrimination is not None and one.discrimination.low > 0
    return None


def asked_by(outcome: str) -> str:
    """The outcome of ABX that tells whether what a choice is about can be told apart."""
    task, _, condition = outcome.partition("/")
    return f"same/{'sham' if task == 'steer' else condition}"


def telling(sample: Sample, heard: Sequence[Hearing]) -> Sample:
    """Of choices those of audiences that tell apart what they chose between; all, where nobody is shown to."""
    names = ("audience", "register", "outcome")
    able = {key for key in sample.split(*names) if hears(heard, *key)}
    return sample.where(lambda row: tuple(row[name] for name in names) in able) if able else sample


def preferences(study: Study, kept: Sample, heard: Sequence[Hearing]) -> tuple[Preference, ...]:
    """How often each audience chose the work as it is, or the last take of steering."""
    found = []
    chosen = kept.where(lambda row: row["task"] in CHOSEN)
    for (audience, register, outcome), sample in chosen.split("audience", "register", "outcome").items():
        estimate, _ = tried(_choosing(sample))
        ears = hears(heard, audience, register, outcome)
        by_progress = audience in study.measuring
        found.append(Preference(audience, register, outcome, estimate, by_progress, ears))
    return tuple(found)


def _choosing(sample: Sample) -> Callable[[], Estimate]:
    return lambda: sample.mean("target", chance=0.5)


def habits(study: Study, kept: Sample) -> tuple[Habit, ...]:
    """Side bias and swap flips of each audience over all pairs that it was asked of."""
    asked = kept.where(lambda row: row["task"] in (*CHOSEN, "same"))
    return tuple(_habit(study, audience, sample) for (audience,), sample in asked.split("audience").items())


def _habit(study: Study, audience: str, sample: Sample) -> Habit:
    side, _ = tried(lambda: sample.mean("first_shown", chance=0.5))
    # Where both works are told alike, as in controls, there is nothing but the side to follow.
    told = sample.where(lambda row: not is_probe(row))
    both = [f"{row['cell']}/{row['order']}/{row['third']}" for row in told.rows]
    first, sides = [_leaning(row) for row in told.rows], [row["side"] for row in told.rows]
    flips, _ = tried(lambda: swap_flips(first, sides, both, told.factors, told.rng("flips"), told.method))
    turned = sample.column("flips")
    rotations = float(np.nanmean(turned)) if np.isfinite(turned).any() else None
    return Habit(audience, side, flips, rotations, audience in study.measuring)


def _leaning(row: Row) -> float:
    """1 where the option that was shown first is the likelier one, or was chosen where both are as likely; else 0."""
    p = row.get("p_target")
    if p is None or p == 0.5:
        return float(row["first_shown"])
    return float((p > 0.5) == (row["first_shown"] == row["target"]))


def progress(study: Study, kept: Sample) -> tuple[Progress, ...]:
    """What those learned who measure it."""
    measured = kept.where(lambda row: row["number"] in study.reports)
    parts = measured.split("audience", "outcome").items()
    return tuple(_progress(study, audience, outcome, sample) for (audience, outcome), sample in parts)


def _progress(study: Study, audience: str, outcome: str, sample: Sample) -> Progress:
    pairs = [_pair(study.reports[row["number"]], row) for row in sample.rows]
    own, other = (_mean([pair[i] for pair in pairs]) for i in (0, 1))
    rows = (
        {**row, "gained": None if b is None or a is None else a - b}
        for row, (a, b) in zip(sample.rows, pairs, strict=True)
    )
    gained = Sample(tuple(rows), sample.design, sample.method)
    difference, _ = tried(lambda: gained.mean("gained", chance=0.0, within=(-math.inf, math.inf)))
    chosen = tried(_choosing(sample))[0] if outcome.partition("/")[0] in CHOSEN else None
    return Progress(audience, outcome, len(pairs), own, other, difference, chosen)


def _pair(report: Mapping[str, Any], row: Row) -> tuple[float | None, float | None]:
    """Progress on the work as it is, and on what it is held against."""
    if row["task"] not in CHOSEN:
        return report["progress"], None
    rooms: dict[int, list[float]] = {0: [], 1: []}
    for moment in report.get("moments") or ():
        if moment["progress"] is not None:
            rooms.setdefault(moment["room"], []).append(moment["progress"])
    return _mean(rooms[row["order"]]), _mean(rooms[1 - row["order"]])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def costs(study: Study) -> list[Cost]:
    """What each audience took, and in the end all of them."""
    rows = {a.name: [row for row in study.rows if row["audience"] == a.name] for a in study.design.audiences}
    return [_cost(name, own) for name, own in (*rows.items(), ("all", study.rows))]


def _cost(name: str, rows: Sequence[Row]) -> Cost:
    return Cost(name, len(rows), *(sum(float(row[what]) for row in rows) for what in ("tokens", "cost", "seconds")))
