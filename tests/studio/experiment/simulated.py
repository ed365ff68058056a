"""Studies that were never run: visitors of whom we know what they hear and prefer answer all trials of a design."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from db.audience import ExperimentRecord
from studio.experiment.design import Design, parse
from studio.experiment.sample import Study
from studio.experiment.trials import Trial, trials

RAW: dict[str, Any] = {
    "descant": 1,
    "name": "simulated",
    "seed": 7,
    "question": "Does the form matter?",
    "hypotheses": {"H1": "Visitors choose a work as it is."},
    "audiences": [{"name": f"model {i}", "visitor": f"hf:/models/{i}", "registers": ["numbers"]} for i in range(6)],
    "works": [{"name": f"w{i}", "piece": "cubics", "seed": i + 1} for i in range(6)],
    "tasks": [
        {"task": "prefer", "conditions": ["shuffled", "silent", "blind"]},
        {"task": "same", "levels": [0.8], "conditions": ["shuffled"]},
    ],
    "wordings": ["plain", "guest", "short"],
    "repeats": 1,
    "analysis": {"primary": ["prefer/shuffled"], "margin": 0.1},
}


@dataclass(frozen=True)
class Mind:
    """A visitor of known habits.

    Attributes
    ----------
    prefers : mapping of str to float
        Chance that it chooses the work as it is, by condition; 0.5 elsewhere.
    right : float
        Chance that it knows what the third work of an ABX is, in any condition and at the strongest level; nearer 0.5
        below.
    side : float
        Chance that it chooses what is shown first, whatever it is told: 0 to 1; None: it has no side.
    """

    prefers: Mapping[str, float] = field(default_factory=dict)
    right: float = 0.5
    side: float | None = None


#: One that hears, and likes what it hears. Draws of the bootstrap, enough for a test.
HEARS, DRAWS = Mind({"shuffled": 0.75, "silent": 0.6}, right=0.95), 200


def design(**replaced: Any) -> Design:
    return parse({**RAW, **replaced}, "simulated")


def study(minds: Mind | Callable[[str], Mind], seed: int = 2, found: Design | None = None, **more: Any) -> Study:
    """A study of which all trials are done."""
    rules, rng = found or design(), np.random.default_rng(seed)
    rows = tuple(row(trial, minds(trial.audience) if callable(minds) else minds, rng) for trial in trials(rules))
    frozen = {"design": rules.model_dump(mode="json")}
    record = ExperimentRecord(
        name=rules.name, hash="ab" * 32, design=frozen, id="0190-study", created="2026-11-22T10:00:00+00:00"
    )
    return Study(record, rules, rows, **more)


def row(trial: Trial, mind: Mind, rng: np.random.Generator) -> dict[str, Any]:
    """An outcome as `studio.experiment.outcomes.outcomes` tells it."""
    if trial.task == "same":
        target = rng.random() < 0.5 + (mind.right - 0.5) * (0.8 if trial.level is None else trial.level) / 0.8
    else:
        target = rng.random() < mind.prefers.get(trial.condition, 0.5)
    of_first = trial.order ^ trial.third ^ trial.side == 0
    if mind.side is not None:
        target = bool((rng.random() < mind.side) == of_first)
    return {
        **trial.to_json(),
        "experiment": "0190-study",
        "outcome": trial.outcome,
        "status": "done",
        "error": "",
        "excluded": "",
        "attempts": 1,
        "tokens": 100.0,
        "cost": 0.001,
        "seconds": 0.5,
        "chosen": "rolo" if target else "mira",
        "target": bool(target),
        "p_target": 0.5,
        "chance": 0.5,
        "first_shown": bool(target) == of_first,
        "flips": None,
        "latency": 0.1,
    }


def listeners(count: int, prefers: float, seed: int = 1) -> Study:
    """A study of which some audiences choose by learning progress: 0.5 nats for a work as it is, 0.2 for the other."""
    audiences = [{**one, "visitor": "listener"} if i < count else one for i, one in enumerate(RAW["audiences"])]
    rules = design(audiences=audiences)
    names = {a["name"] for a in audiences[:count]}
    made = study(
        lambda name: Mind({"shuffled": 1.0}, 0.95) if name in names else Mind({"shuffled": prefers}, 0.95), seed, rules
    )
    reports = {
        row["number"]: {
            "progress": 0.35,
            "moments": [
                {"room": room, "progress": 0.5 if room == row["order"] else 0.2} for room in (0, 0, 1, 1)
            ],
        }
        for row in made.rows
        if row["audience"] in names
    }  # fmt: skip
    return replace(made, reports=reports)
