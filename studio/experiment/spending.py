"""What a study has taken so far, and the rules that end it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from studio.audience.playing import Transcript
from studio.experiment.design import Budget, Stopping

if TYPE_CHECKING:
    from db.audience import TrialRecord

#: How a trial went; ``taken``: another process has it, or had it; ``left``: it goes on another time.
Went: TypeAlias = Literal["done", "failed", "taken", "left"]
#: Of so many last trials the share that failed is taken.
LATEST = 20
#: What is summed over all trials.
SPENT = ("tokens", "cost", "seconds")


@dataclass
class Spent:
    """What a study has taken so far, over all its runs."""

    begun: int = 0
    done: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    latest: deque[bool] = field(default_factory=lambda: deque(maxlen=LATEST))

    def add(self, went: Went, cost: Mapping[str, Any] | None) -> None:
        """A trial is over, or has taken this much so far."""
        self.done += went == "done"
        if went in ("done", "failed"):
            self.latest.append(went == "failed")
        for name in SPENT:
            self.sums[name] = self.sums.get(name, 0.0) + float((cost or {}).get(name, 0.0))

    def reached(self, budget: Budget, stopping: Stopping) -> str:
        """The rule by which no further trial is begun; empty while there is none."""
        used = {name: self.sums.get(name, 0.0) for name in SPENT}
        for name, most, value in (
            ("budget.max_trials", budget.max_trials, float(self.begun)),
            ("budget.max_tokens", budget.max_tokens, used["tokens"]),
            ("budget.max_cost", budget.max_cost, used["cost"]),
            ("budget.max_hours", budget.max_hours, used["seconds"] / 3600),
            ("stopping.trials", stopping.trials, float(self.done)),
        ):
            if most is not None and value >= most:
                return f"{name} = {most:g} is reached ({value:g})"
        failed = sum(self.latest)
        if len(self.latest) == LATEST and failed / LATEST > stopping.failures:
            return f"stopping.failures = {stopping.failures:g}: of the last {LATEST} trials {failed} failed"
        return ""


def so_far(trials: Iterable[TrialRecord]) -> Spent:
    """What trials have taken that were begun; what did not come to an end counts as begun when it is begun again."""
    spent = Spent()
    for trial in trials:
        went: Went = trial.status if trial.status in ("done", "failed") else "left"
        spent.begun += went != "left"
        spent.add(went, trial.cost)
    spent.latest.clear()
    return spent


def taken(facts: Iterable[Mapping[str, Any]], report: Mapping[str, Any]) -> dict[str, float]:
    """What visits took: tokens, cost, retries, and how many decisions there were.

    Parameters
    ----------
    facts : iterable of mapping
        Of each decision, as the visitor tells them.
    report : mapping
        What the visitor measured of itself. Where it counted tokens or cost these count, for they are also those of
        what was no answer; else the sums over decisions do.
    """
    known = list(facts)
    sums = {name: sum(_number(one.get(name)) for one in known) for name in ("tokens", "cost", "retries")}
    sums |= {name: _number(report[name]) for name in ("tokens", "cost") if report.get(name) is not None}
    return {"decisions": float(len(known)), **sums}


def taken_by(transcript: Transcript) -> dict[str, float]:
    """What a visit took that is just over; see `taken`."""
    asked = [one.facts for turn in transcript.turns for one in turn.decisions]
    asked += [one.facts for one in transcript.answers]
    return taken(asked, transcript.report.model_dump(include={"tokens", "cost"}))


def since(before: Mapping[str, Any], now: Mapping[str, float]) -> dict[str, float]:
    """What was taken between two countings."""
    return {name: value - float(before.get(name, 0.0)) for name, value in now.items()}


def added(*costs: Mapping[str, float]) -> dict[str, float]:
    """Costs, name by name."""
    return {name: sum(one.get(name, 0.0) for one in costs) for name in dict.fromkeys(chain(*costs))}


def _number(fact: object) -> float:
    return float(fact) if isinstance(fact, int | float) else 0.0
