"""What came of a study's trials, as flat records: a dict a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.experiment.design import Exclusions
from studio.experiment.freezing import design_of
from studio.experiment.trials import Trial

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import TrialRecord


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
        ``status`` (``"done"``, ``"failed"``), ``error``; ``excluded``: the rule that leaves it out, empty where none
        does; ``tokens``, ``cost``, ``seconds`` and ``attempts``. Of a choice ``chosen``, ``target`` (bool),
        ``p_target``, ``chance``, ``first_shown``, ``flips`` (0..1 or None) and ``latency`` (s or None). Of a visit
        ``ended``, ``moves``, ``idle`` and ``press`` (shares of its moves), ``heard`` (moments), ``button``, ``price``,
        ``reward`` and ``ratings`` (by take).

    Raises
    ------
    DescantError
        If there is no such study.
    """
    record, design = design_of(archive, experiment)
    registers = {row.trial: row.words for row in archive.visiting.transcripts(experiment=record.id, limit=None)}
    found = []
    for row in archive.studies.trials(record.id):
        if row.status != "running":
            trial = Trial(**row.factors)
            told = {"register": registers.get(trial.number, trial.register)}
            found.append({"experiment": record.id, **_flat(row, trial, design.exclusions), **told})
    return found


def _flat(row: TrialRecord, trial: Trial, rules: Exclusions) -> dict[str, Any]:
    cost, result = row.cost or {}, dict(row.outcome or {})
    return {
        **trial.to_json(),
        "outcome": trial.outcome,
        "status": row.status,
        "error": row.error or "",
        "excluded": _excluded(row, result, rules),
        "attempts": row.attempts,
        "tokens": cost.get("tokens", 0.0),
        "cost": cost.get("cost", 0.0),
        "seconds": cost.get("seconds", 0.0),
        **result,
    }


def _excluded(row: TrialRecord, result: dict[str, Any], rules: Exclusions) -> str:
    """The rule that leaves a trial out."""
    if row.status != "done":
        return row.status
    for name, most, value in (
        ("max_flips", rules.max_flips, result.get("flips")),
        ("max_latency", rules.max_latency, result.get("latency")),
    ):
        if most is not None and value is not None and value > most:
            return f"{name} = {most:g} ({value:g})"
    return ""
