"""What came of a study's trials, as flat records: a dict a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from studio.experiment.design import Design, Exclusions
from studio.experiment.freezing import design_of, frozen_design, planned
from studio.experiment.trials import RUN, Trial

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import TrialRecord

#: Why trials are left out besides what a design excludes: a deviation made the study longer; and nothing was asked.
ADDED, STEERED = "added by a deviation", "a run of steering: its takes are what is judged"


def outcomes(archive: Archive, experiment: str) -> list[dict[str, Any]]:
    """The trials of a study that are over, in order of number.

    Parameters
    ----------
    archive : Archive
    experiment : str
        Id or name.

    Returns
    -------
    list of dict
        The fields of `studio.experiment.trials.Trial` and ``experiment``, ``outcome`` (the id to which it belongs),
        ``status`` (``"done"``, ``"failed"``), ``error``; ``excluded``: the rule that leaves it out, as it was frozen,
        empty where none does; ``excluded_now``: the same by the rules of the last deviation; ``tokens``, ``cost``,
        ``seconds`` and ``attempts``. Of a choice ``chosen``, ``target`` (bool), ``p_target``, ``chance``,
        ``first_shown``, ``flips`` (0..1 or None), ``latency`` (s or None) and ``dropped`` (tokens or characters, or
        None). Of a visit ``ended``, ``moves``, ``idle`` and ``press`` (shares of its moves), ``heard`` (moments),
        ``button``, ``price``, ``reward`` and ``ratings`` (by take). Of a run of steering ``rounds``.

    Raises
    ------
    DescantError
        If there is no such study.
    """
    record, design = design_of(archive, experiment)
    registers = {row.trial: row.words for row in archive.visiting.transcripts(experiment=record.id, limit=None)}
    over = [row for row in archive.studies.trials(record.id) if row.status != "running"]
    frozen = frozen_design(record)
    changed = bool(archive.studies.deviations(record.id))
    before = _left_out(over, frozen, planned(record, frozen) if changed else None)
    now = before if design == frozen else _left_out(over, design, planned(record, design))
    return [
        {
            "experiment": record.id,
            **_flat(row, trial := Trial(**row.factors)),
            "excluded": before[row.number],
            "excluded_now": now[row.number],
            "register": registers.get(trial.number, trial.register),
        }
        for row in over
    ]


def _flat(row: TrialRecord, trial: Trial) -> dict[str, Any]:
    cost = row.cost or {}
    return {
        **trial.to_json(),
        "outcome": trial.outcome,
        "status": row.status,
        "error": row.error or "",
        "attempts": row.attempts,
        "tokens": cost.get("tokens", 0.0),
        "cost": cost.get("cost", 0.0),
        "seconds": cost.get("seconds", 0.0),
        **(row.outcome or {}),
    }


def _left_out(rows: Sequence[TrialRecord], design: Design, drawn: Sequence[Trial] | None) -> dict[int, str]:
    """By number: the rule of a design, and of the trials drawn of it, that leaves a trial out; empty: none does.

    Without a deviation (None) no trial can be of another design.
    """
    last, done, found = design.stopping.trials, 0, {}
    for row in rows:
        done += row.status == "done"
        if drawn is not None and (row.number >= len(drawn) or drawn[row.number].to_json() != row.factors):
            found[row.number] = ADDED
        elif last is not None and done > last:
            found[row.number] = f"stopping.trials = {last} was reached"
        else:
            found[row.number] = _excluded(row, design.exclusions)
    return found


def _excluded(row: TrialRecord, rules: Exclusions) -> str:
    if row.status != "done":
        return row.status
    if row.factors["task"] == RUN:
        return STEERED
    result = row.outcome or {}
    for name, most, value in (
        ("max_flips", rules.max_flips, result.get("flips")),
        ("max_latency", rules.max_latency, result.get("latency")),
        ("max_dropped", rules.max_dropped, result.get("dropped")),
    ):
        if most is not None and value is not None and value > most:
            return f"{name} = {most:g} ({value:g})"
    return ""
