"""From the outcomes of a study to what may be said: estimates, corrected for their number, and their verdicts.

Nothing is decided here that the frozen design does not decide: primary outcomes, margin and level are its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from studio.experiment.agreement import blind, of_coders, of_models, tags
from studio.experiment.inference import Equivalence, Estimate, Method, adjusted, equivalence
from studio.experiment.measures import Discrimination
from studio.experiment.portraits import (
    Habit,
    Hearing,
    Preference,
    Progress,
    habits,
    hearing,
    preferences,
    progress,
    telling,
)
from studio.experiment.sample import CHOSEN, Row, Sample, Study, answering, is_control, tried
from studio.experiment.trials import RUN, trials

#: ``control``: must be chance, where nothing leaks; ``positive``: must be above it, or nothing was heard at all.
Role: TypeAlias = Literal["primary", "exploratory", "control", "positive"]
#: ``shown``: above chance, and nothing stands against it. ``provisional``: above chance, but with a `Reserve`.
#: ``void``: away from chance, but so is a control: something was leaked. ``hint``: away from chance, of an
#: exploratory outcome. ``opposite``: below chance. ``not shown``: nothing may be
#: claimed. ``measured``: it is not tested. Of controls: ``at chance``, ``leaks``, ``undecided``, and
#: ``heard`` of positive ones. ``none``: there are no data to estimate it by.
Verdict: TypeAlias = Literal[
    "shown", "provisional", "void", "hint", "opposite", "not shown", "measured", "heard", "at chance", "leaks",
    "undecided", "none",
]  # fmt: skip
#: Why what is above chance is not shown. ``controls``: none was run, or one is not shown to be at chance. ``deaf``:
#: nobody is shown to tell such works apart. ``unasked``: nobody was asked whether they do. ``works``: it rests on fewer
#: works, or runs of steering, than `FEWEST_WORKS`. ``changed``: a deviation changed more than is in `HARMLESS`.
Reserve: TypeAlias = Literal["controls", "deaf", "unasked", "works", "changed"]
#: What a deviation may change and the trials stay what they were.
HARMLESS = tuple(
    f"design.{name}" for name in ("analysis", "exclusions", "stopping", "budget", "repeats", "question", "hypotheses")
)
#: What the controls say, the worst of them; ``none``: there are none.
Standing: TypeAlias = Literal["at chance", "leaks", "undecided", "none"]

#: Works, or runs of steering, from which on a finding may be about more than these very takes. In simulations of 6
#: models that prefer nothing, but for works of random appeal (0.7 to 2.1 logits; 400 studies), outcomes were above
#: chance in 0.05 to 0.07 of the studies with 2 works, 0.02 to 0.06 with 3 or 4, and 0.01 to 0.03 with 5 or 8, for a
#: level of 0.95; where works differed by 12 logits, in 0.05 with 5 and 0.015 with 6.
FEWEST_WORKS = 6


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
    reserves : tuple of Reserve
        Why it is ``provisional``; else empty.
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
    reserves: tuple[Reserve, ...] = ()
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
    """All that a report says in numbers.

    `deviating` are the primary outcomes once more, of the trials that are kept by the rules of the last deviation;
    empty where these are the same. Their p values are not adjusted, and nothing is to be claimed by them.
    """

    study: Study
    counts: Counts
    findings: tuple[Finding, ...]
    standing: Standing
    hearing: tuple[Hearing, ...]
    preferences: tuple[Preference, ...]
    habits: tuple[Habit, ...]
    progress: tuple[Progress, ...]
    splits: tuple[tuple[str, str, str, Estimate], ...]
    deviating: tuple[Finding, ...] = ()

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
    heard = hearing(kept)
    raw = [_found(study, kept, outcome, heard) for outcome in _outcomes(study, kept)]
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
        deviating=tuple(_deviating(study, kept)),
    )


def _deviating(study: Study, kept: Sample) -> Iterator[Finding]:
    """The primary outcomes as the last deviation would have them, where that is another matter."""
    rows = tuple(row for row in study.rows if not row.get("excluded_now", row["excluded"]))
    if [row["number"] for row in rows] == [row["number"] for row in kept.rows]:
        return
    changed = replace(kept, rows=rows)
    heard = hearing(changed)
    for outcome in study.analysis.primary:
        yield replace(_found(study, changed, outcome, heard), verdict="measured")


def _outcomes(study: Study, kept: Sample) -> list[str]:
    """Ids, those of the design first; the others are exploratory."""
    more = [] if len(_levels(kept)) < 2 else ["same/slope"]
    visits = kept.where(lambda row: row["task"] == "visit")
    if len(study.design.audiences) > 1:
        more += ["alpha/prefer"] if any(row["task"] == "prefer" for row in kept.rows) else []
        more += ["alpha/ratings"] if any(row.get("ratings") for row in visits.rows) else []
    for kind in ("fact", "interpretation"):
        more += [f"alpha/{kind}/{tag}" for tag in tags(blind(study.annotations, kind))]
    for task in CHOSEN:
        if any(row["task"] == task for row in kept.rows):
            more += [f"arm/{task}/{arm}" for arm in [*study.design.arms][1:]]
    buttons = visits.split("button", "price")
    more += [f"visit/press/{label}@{price:g}" for label, price in buttons] if len(buttons) > 1 else []
    return list(dict.fromkeys([*study.design.outcomes, *study.analysis.primary, *more]))


def _levels(sample: Sample) -> list[float]:
    return sorted({row["level"] for row in sample.rows if row["task"] == "same" and row["level"] is not None})


def _found(study: Study, kept: Sample, outcome: str, heard: Sequence[Hearing]) -> Finding:
    """An outcome, not yet corrected and judged."""
    primary = study.analysis.primary
    plain: Role = "control" if is_control(outcome) else "positive" if outcome.startswith("same/") else "exploratory"
    role: Role = "primary" if outcome in primary else plain
    task, _, what = outcome.partition("/")
    sample, by_progress = kept.where(lambda row: _belongs(row, outcome)), False
    if task in (*CHOSEN, "alpha", "arm"):
        sample, by_progress = answering(sample, study.measuring)
    if task in (*CHOSEN, "arm") and not is_control(outcome):
        sample = telling(sample, heard)
    kind, _, tag = what.partition("/")
    coded = blind(study.annotations, kind) if task == "alpha" else []
    if not (sample.rows or coded):
        return Finding(outcome, role, problem="no trial of it was done and kept", by_progress=by_progress)
    found, problem = tried(
        lambda: of_coders(coded, tag, kept.rng(outcome), kept.method) if coded else _estimate(sample, outcome)
    )
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
    if task == "arm":
        return bool(row["task"] == what.partition("/")[0] and not is_control(row["outcome"]))
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
        return sample.slope()
    if task == "same":
        return sample.discrimination()
    if task == "alpha":
        return of_models(sample, "prefer" if what == "prefer" else "ratings")
    if task == "arm":
        arm = what.partition("/")[2]
        return sample.where(lambda row: row["arm"] in (next(iter(sample.design.arms)), arm)).contrast(arm)
    if task == "visit":
        return sample.mean(what.partition("/")[0])
    # A mirror shows fewer curves where those of others are alike: chance is then that of the average mirror.
    return sample.mean("target", chance=float(np.mean(sample.column("chance"))))


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
        verdict = _of_control(known, limit) if is_control(finding.outcome) else _verdict(known, standing, limit)
        if verdict == "shown" and (reserves := tuple(_reserves(study, known, standing, chose))):
            known, verdict = replace(known, reserves=reserves), "provisional"
        found.append(replace(known, verdict=verdict))
    return tuple(found), standing


def _reserves(study: Study, finding: Finding, standing: Standing, chose: Sequence[Preference]) -> Iterator[Reserve]:
    """What stands against that an outcome above chance is shown."""
    if finding.outcome.partition("/")[0] in (*CHOSEN, "same"):
        if standing != "at chance":
            yield "controls"
        # What nobody can tell apart nobody can like, whatever was chosen.
        both = (finding.outcome, finding.by_progress)
        ears = [one.hears for one in chose if (one.outcome, one.by_progress) == both]
        if ears and not any(ears):
            yield "deaf" if False in ears else "unasked"
    if finding.estimate is not None and finding.estimate.levels.get("work", FEWEST_WORKS) < FEWEST_WORKS:
        yield "works"
    changed = [path for one in study.deviations for path in one.changes.get("changed", {})]
    if any(not path.startswith(HARMLESS) for path in changed):
        yield "changed"


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


def _verdict(finding: Finding, standing: Standing, limit: float) -> Verdict:
    estimate = finding.estimate
    if estimate is None:
        return "none"
    if finding.adjusted is None or estimate.chance is None:
        return "measured"
    if finding.adjusted >= limit or estimate.low <= estimate.chance <= estimate.high:
        return "not shown"
    if standing == "leaks" and finding.outcome.partition("/")[0] in (*CHOSEN, "same", "arm"):
        return "void"
    if finding.role == "exploratory":
        return "hint"
    if estimate.value < estimate.chance:
        return "opposite"
    return "heard" if finding.role == "positive" else "shown"


def _counts(study: Study, kept: Sample) -> Counts:
    rows = [row for row in study.rows if row["task"] != RUN]
    excluded = [str(row["excluded"]).partition(" (")[0] for row in rows if row["status"] != "failed"]
    return Counts(
        planned=sum(trial.task != RUN for trial in trials(study.design)),
        over=len(rows),
        analysed=len(kept.rows),
        failed=dict(Counter(str(row["error"]) for row in rows if row["status"] == "failed").most_common()),
        excluded=dict(Counter(rule for rule in excluded if rule).most_common()),
    )


def _splits(study: Study, kept: Sample) -> Iterator[tuple[str, str, str, Estimate]]:
    """Of each choice its share in each wording and arm, where there are several: outcome, factor, level, estimate."""
    for outcome in study.design.outcomes:
        if outcome.partition("/")[0] not in CHOSEN:
            continue
        of_it = kept.where(lambda row, outcome=outcome: row["outcome"] == outcome)  # type: ignore[misc]
        sample, _ = answering(of_it, study.measuring)
        for factor in ("wording", "arm"):
            parts = sample.split(factor)
            for (level,), part in parts.items() if len(parts) > 1 else ():
                estimate, _ = tried(lambda part=part: part.mean("target", chance=0.5))  # type: ignore[misc]
                if estimate is not None:
                    yield outcome, factor, str(level), estimate
