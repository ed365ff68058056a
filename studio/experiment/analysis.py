"""From the outcomes of a study to what may be said: estimates, corrected for their number, and their verdicts.

Nothing is decided here that the frozen design does not decide: primary outcomes, margin and level are its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from studio.experiment.crossed import Floats, StatisticsError, celled
from studio.experiment.design import PROBES
from studio.experiment.inference import Equivalence, Estimate, Method, adjusted, equivalence, estimated
from studio.experiment.measures import Discrimination, abx_dprime, alpha, unbiased
from studio.experiment.portraits import Habit, Hearing, Preference, Progress, habits, hearing, preferences, progress
from studio.experiment.sample import CHOSEN, Row, Sample, Study, tried
from studio.experiment.trials import trials

#: ``control``: must be chance, where nothing leaks; ``positive``: must be above it, or nothing was heard at all.
Role: TypeAlias = Literal["primary", "exploratory", "control", "positive"]
#: ``shown``: above chance, and all controls are at chance. ``provisional``: above chance, but no control was run, or
#: one is not shown to be at chance. ``void``: away from chance, but so is a control: something was leaked. ``hint``:
#: away from chance, of an exploratory outcome. ``opposite``: below chance. ``not shown``: nothing may be
#: claimed. ``measured``: it is not tested. Of controls: ``at chance``, ``leaks``, ``undecided``, and
#: ``heard`` of positive ones. ``none``: there are no data to estimate it by.
Verdict: TypeAlias = Literal[
    "shown", "provisional", "void", "hint", "opposite", "not shown", "measured", "heard", "at chance", "leaks",
    "undecided", "none",
]  # fmt: skip
#: What the controls say, the worst of them; ``none``: there are none.
Standing: TypeAlias = Literal["at chance", "leaks", "undecided", "none"]


@dataclass(frozen=True)
class Finding:
    """One outcome.

    Attributes
    ----------
    outcome : str
        Id, as ``prefer/shuffled``.
    role : {"primary", "exploratory", "control", "positive"}
    estimate : Estimate or None
        Of ABX the share of correct answers, were there no bias; None where it cannot be estimated.
    discrimination : Discrimination or None
        Of ABX.
    equivalence : Equivalence or None
        Of controls: whether it is chance within the margin.
    p, adjusted : float or None
        Of controls that of equivalence, else against chance, both sides. Adjusted by Holm's method among the primary
        outcomes, by Benjamini's and Hochberg's among all others; None where there is no test.
    verdict : Verdict
    by_progress : bool
        Whether visitors chose by their learning progress: this is no liking.
    problem : str
        Why it cannot be estimated.
    """

    outcome: str
    role: Role
    estimate: Estimate | None = None
    discrimination: Discrimination | None = None
    equivalence: Equivalence | None = None
    p: float | None = None
    adjusted: float | None = None
    verdict: Verdict = "none"
    by_progress: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Counts:
    """How many trials there are.

    Attributes
    ----------
    planned, over, analysed : int
    failed, excluded : mapping of str to int
        By what they failed of, and by the rule.
    """

    planned: int
    over: int
    analysed: int
    failed: Mapping[str, int]
    excluded: Mapping[str, int]


@dataclass(frozen=True)
class Results:
    """All that a report says in numbers."""

    study: Study
    counts: Counts
    findings: tuple[Finding, ...]
    standing: Standing
    hearing: tuple[Hearing, ...]
    preferences: tuple[Preference, ...]
    habits: tuple[Habit, ...]
    progress: tuple[Progress, ...]
    splits: tuple[tuple[str, str, str, Estimate], ...]

    def of(self, role: Role) -> tuple[Finding, ...]:
        """The findings of a role; a control that is primary too is of both."""
        if role == "control":
            return tuple(f for f in self.findings if f.role == role or f.equivalence is not None)
        return tuple(f for f in self.findings if f.role == role)


def analysed(study: Study, draws: int = 2000) -> Results:
    """Analyse a study as it was frozen.

    Parameters
    ----------
    draws : int
        Of the bootstrap.
    """
    method = Method(level=study.analysis.level, draws=draws)
    kept = Sample(tuple(row for row in study.rows if not row["excluded"]), study.design, method)
    raw = [_found(study, kept, outcome) for outcome in _outcomes(study, kept)]
    heard = hearing(kept)
    chose = preferences(study, kept, heard)
    findings, standing = _judged(study, raw, chose)
    return Results(
        study=study,
        counts=_counts(study, kept),
        findings=findings,
        standing=standing,
        hearing=heard,
        preferences=chose,
        habits=habits(study, kept),
        progress=progress(study, kept),
        splits=tuple(_splits(study, kept)),
    )


def _outcomes(study: Study, kept: Sample) -> list[str]:
    """Ids, those of the design first; the others are exploratory."""
    more = [] if len(_levels(kept)) < 2 else ["same/slope"]
    visits = kept.where(lambda row: row["task"] == "visit")
    if len(study.design.audiences) > 1:
        more += ["alpha/prefer"] if any(row["task"] == "prefer" for row in kept.rows) else []
        more += ["alpha/ratings"] if any(row.get("ratings") for row in visits.rows) else []
    buttons = visits.split("button", "price")
    more += [f"visit/press/{label}@{price:g}" for label, price in buttons] if len(buttons) > 1 else []
    return list(dict.fromkeys([*study.design.outcomes, *study.analysis.primary, *more]))


def _levels(sample: Sample) -> list[float]:
    return sorted({row["level"] for row in sample.rows if row["task"] == "same" and row["level"] is not None})


def is_control(outcome: str) -> bool:
    """Whether an outcome must be chance, where nothing is leaked."""
    task, _, what = outcome.partition("/")
    return task in ("prefer", "same") and (what in PROBES or what == "0")


def answering(study: Study, sample: Sample) -> tuple[Sample, bool]:
    """The trials in which visitors answered; where all choose by their progress, these, and True."""
    asked = sample.where(lambda row: row["audience"] not in study.measuring)
    return (asked, False) if asked.rows or not sample.rows else (sample, True)


def _found(study: Study, kept: Sample, outcome: str) -> Finding:
    """An outcome, not yet corrected and judged."""
    primary = study.analysis.primary
    plain: Role = "control" if is_control(outcome) else "positive" if outcome.startswith("same/") else "exploratory"
    role: Role = "primary" if outcome in primary else plain
    sample, by_progress = kept.where(lambda row: _belongs(row, outcome)), False
    if outcome.partition("/")[0] in (*CHOSEN, "alpha"):
        sample, by_progress = answering(study, sample)
    if not sample.rows:
        return Finding(outcome, role, problem="no trial of it was done and kept", by_progress=by_progress)
    found, problem = tried(lambda: _estimate(sample, outcome))
    if found is None:
        return Finding(outcome, role, problem=problem, by_progress=by_progress)
    told = found if isinstance(found, Discrimination) else None
    estimate = found.correct if isinstance(found, Discrimination) else found
    if is_control(outcome):
        rules = study.analysis
        test = equivalence(estimate, rules.margin, 1 - rules.level)
        return Finding(outcome, role, estimate, told, test, p=test.p, by_progress=by_progress)
    # Agreement is measured and not tested: of few units its bootstrap finds too much.
    tested = estimate.chance is not None and not outcome.startswith("alpha/")
    p = estimate.p() if tested else None
    return Finding(outcome, role, estimate, told, p=p, by_progress=by_progress)


def _belongs(row: Row, outcome: str) -> bool:
    task, _, what = outcome.partition("/")
    if outcome == "same/slope":
        return row["task"] == "same" and row["level"] is not None
    if outcome == "alpha/prefer":
        return row["task"] == "prefer" and not is_control(row["outcome"])
    if outcome == "alpha/ratings":
        return bool(row.get("ratings"))
    if what.startswith("press/"):
        return row["task"] == "visit" and what == f"press/{row['button']}@{row['price']:g}"
    return bool(row["task"] == "visit" if task == "visit" else row["outcome"] == outcome)


def _estimate(sample: Sample, outcome: str) -> Estimate | Discrimination:
    task, _, what = outcome.partition("/")
    if outcome == "same/slope":
        return _slope(sample)
    if task == "same":
        return sample.discrimination()
    if task == "alpha":
        return _agreement(sample, what)
    if task == "visit":
        return sample.mean(what.partition("/")[0])
    # A mirror shows fewer curves where those of others are alike: chance is then that of the average mirror.
    return sample.mean("target", chance=float(np.mean(sample.column("chance"))))


def _slope(sample: Sample) -> Estimate:
    """By how much d' rises from distortion 0 to 1: the line of least squares through d' at each level."""
    levels = np.array(_levels(sample))
    right, at = sample.column("target"), np.searchsorted(levels, sample.column("level"))
    first = np.array([not row["order"] ^ row["third"] for row in sample.rows], dtype=bool)
    said = np.where(first, right, 1 - right)
    columns = np.zeros((len(right), len(levels), 4))
    columns[np.arange(len(right)), at] = np.stack([said * first, first, said * ~first, ~first], axis=1)
    columns[np.isnan(right)] = np.nan
    cells = celled(columns.reshape(len(right), -1), sample.factors)
    weights = (levels - levels.mean()) / ((levels - levels.mean()) ** 2).sum()

    def statistic(totals: Floats) -> Floats:
        share = unbiased(totals.reshape(*totals.shape[:-1], len(levels), 4))
        known = np.asarray(np.isfinite(share))
        line = abx_dprime(np.where(known, share, 0.5)) @ weights
        return np.asarray(np.where(known.all(axis=-1), line, np.nan))

    return estimated(cells, cells.sums, statistic, sample.rng("slope"), sample.method, chance=0.0)


def _agreement(sample: Sample, what: str) -> Estimate:
    """Krippendorff's alpha among models, on intervals.

    What is rated is a comparison, by how often the work as it is was chosen over both orders and sides (so that the
    same side bias in all is no agreement), or a take, by the mean rating.
    """
    given: dict[tuple[str, str], list[float]] = {}
    for row, model in zip(sample.rows, sample.factors["model"].tolist(), strict=True):
        if what == "ratings":
            rated = {str(take): float(rating) for take, rating in row["ratings"].items()}
        else:
            names = ("outcome", "work", "other", "wording", "arm", "repeat")
            rated = {"/".join(str(row[name]) for name in names): float(row["target"])}
        for unit, value in rated.items():
            given.setdefault((model, unit), []).append(value)
    models, units = (sorted({key[i] for key in given}) for i in (0, 1))
    if len(models) < 2:
        raise StatisticsError(f"{len(models)} models: agreement is between two or more")
    table = np.full((len(models), len(units)), np.nan)
    for (model, unit), values in given.items():
        # Equal means are one value, whatever the rounding.
        table[models.index(model), units.index(unit)] = round(float(np.mean(values)), 2)
    return alpha(table, "interval", sample.rng(what), sample.method)


def _judged(study: Study, raw: list[Finding], chose: Sequence[Preference]) -> tuple[tuple[Finding, ...], Standing]:
    """Correct for the number of outcomes, and say what may be claimed."""
    limit = 1 - study.analysis.level
    primary = {f.outcome: 1.0 if f.p is None else f.p for f in raw if f.role == "primary" and _is_tested(f)}
    others = {f.outcome: f.p for f in raw if f.role in ("exploratory", "positive") and f.p is not None}
    p = adjusted(primary, "holm") | adjusted(others, "bh")
    controls = [_of_control(f, limit) for f in raw if is_control(f.outcome)]
    worst: tuple[Standing, ...] = ("leaks", "undecided", "at chance")
    # A control without data shows nothing either way.
    said = ["undecided" if verdict == "none" else verdict for verdict in controls]
    standing: Standing = next((one for one in worst if one in said), "none")
    found = []
    for finding in raw:
        known = replace(finding, adjusted=p.get(finding.outcome))
        # What nobody can tell apart nobody can like, whatever was chosen.
        ears = [one.hears for one in chose if one.outcome == finding.outcome]
        deaf = bool(ears) and all(hears is False for hears in ears)
        control = is_control(finding.outcome)
        verdict = _of_control(known, limit) if control else _verdict(known, standing, deaf, limit)
        found.append(replace(known, verdict=verdict))
    return tuple(found), standing


def _is_tested(finding: Finding) -> bool:
    """Whether there is something to test; an outcome without data counts among those that were to be tested."""
    return finding.p is not None or (finding.estimate is None and not finding.outcome.startswith("visit/"))


def _of_control(finding: Finding, limit: float) -> Verdict:
    """``at chance`` where it is equivalent to chance, ``leaks`` where its interval leaves chance out."""
    estimate, test = finding.estimate, finding.equivalence
    if estimate is None or test is None:
        return "none"
    if test.holds and (finding.adjusted is None or finding.adjusted < limit):
        return "at chance"
    return "undecided" if estimate.low <= test.centre <= estimate.high else "leaks"


def _verdict(finding: Finding, standing: Standing, deaf: bool, limit: float) -> Verdict:
    estimate = finding.estimate
    if estimate is None:
        return "none"
    if finding.adjusted is None or estimate.chance is None:
        return "measured"
    if finding.adjusted >= limit or estimate.low <= estimate.chance <= estimate.high:
        return "not shown"
    guarded = finding.outcome.partition("/")[0] in ("prefer", "same", "steer")
    if guarded and standing == "leaks":
        return "void"
    if finding.role == "exploratory":
        return "hint"
    if estimate.value < estimate.chance:
        return "opposite"
    if finding.role == "positive":
        return "heard"
    return "provisional" if guarded and (standing != "at chance" or deaf) else "shown"


def _counts(study: Study, kept: Sample) -> Counts:
    excluded = [str(row["excluded"]).partition(" (")[0] for row in study.rows if row["status"] != "failed"]
    return Counts(
        planned=len(trials(study.design)),
        over=len(study.rows),
        analysed=len(kept.rows),
        failed=dict(Counter(str(row["error"]) for row in study.rows if row["status"] == "failed").most_common()),
        excluded=dict(Counter(rule for rule in excluded if rule).most_common()),
    )


def _splits(study: Study, kept: Sample) -> Iterator[tuple[str, str, str, Estimate]]:
    """Of each choice its share in each wording and arm, where there are several: outcome, factor, level, estimate."""
    for outcome in study.design.outcomes:
        if outcome.partition("/")[0] not in CHOSEN:
            continue
        sample, _ = answering(study, kept.where(lambda row, outcome=outcome: row["outcome"] == outcome))  # type: ignore[misc]
        for factor in ("wording", "arm"):
            parts = sample.split(factor)
            for (level,), part in parts.items() if len(parts) > 1 else ():
                estimate, _ = tried(lambda part=part: part.mean("target", chance=0.5))  # type: ignore[misc]
                if estimate is not None:
                    yield outcome, factor, str(level), estimate
