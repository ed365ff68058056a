"""Steering in a study: runs of the loop whose last takes fresh visitors are to choose between.

A run is a trial of the study, so that it is begun once, counts in the budget, and where it fails says why. After every
round what came of it is noted, and so it goes on there when its process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from pieces.form import shortened
from studio.audience.loop import Steered, steer
from studio.audience.proposal import Answer
from studio.audience.text import plain
from studio.audience.visitor import Visitor
from studio.experiment.design import Design, SteerTask, Stopping, StudyError, piece_of
from studio.experiment.spending import Went, added, since, so_far, taken, taken_by
from studio.experiment.trials import DONOR, RUN, Trial
from studio.experiment.works import long_enough

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import TranscriptRecord, TrialRecord
    from studio.audience.playing import Transcript

#: The take with which the run of the first steerer begins.
FIRST = "first"


def run_key(run: str, steerer: str) -> str:
    """Under which name the last take of a steerer's run is kept."""
    return f"{run}/{steerer}"


class Steering:
    """The runs of a study's steering in one process.

    Every steerer begins each run with the same seed. What ``yoked`` is given are the ratings of another run, steered by
    the first steerer for another audience of the study, with another seed.

    Parameters
    ----------
    archive : Archive
    experiment_id : str
    design : Design
    base : Path
        Folder that the pieces of the study are read against.
    """

    def __init__(self, archive: Archive, experiment_id: str, design: Design, base: Path) -> None:
        self._archive, self._id, self._design, self._base = archive, experiment_id, design, base

    def attempt(
        self, trial: Trial, visitor: Callable[[], Visitor], counted: Callable[[Transcript], None]
    ) -> tuple[Went, dict[str, float]]:
        """A run that this process has claimed, from the round on that it came to; how it went, and what it took.

        It is left where it is when the study's budget is spent. `visitor` gives who steers, or says why it is asked
        nothing more; `counted` is told every visit.
        """
        studies, task = self._archive.studies, self._task
        record, began = self._record(trial.number), time.perf_counter()
        rounds = [*(record.outcome or {}).get("rounds", [])]
        before = dict(record.cost or {})
        # Of a visit that was broken off, too: each turn is in the archive as it happens.
        told = self._told(trial.number)

        def cost() -> dict[str, float]:
            return {**told, "seconds": before.get("seconds", 0.0) + time.perf_counter() - began}

        problem = ""
        try:
            answers = [Answer(**{**one, "wishes": tuple(one["wishes"])}) for one in rounds]
            for one in steer(self._archive, self._what(trial), visitor(), task.rounds, before=answers):
                told = added(told, taken_by(one.visit.transcript))
                rounds.append(asdict(one.answer) | {"wishes": [*one.answer.wishes]})
                studies.note(self._id, trial.number, {"rounds": rounds}, cost())
                counted(one.visit.transcript)
                if len(rounds) < task.rounds:
                    visitor()
                if len(rounds) < task.rounds and self._spent():
                    return "left", since(before, cost())
            self._keep(trial, [one["take"] for one in rounds])
        except DescantError as error:
            problem = str(error)
        except Exception as error:  # a visitor may be anybody's code
            problem = f"{trial.audience}: {type(error).__name__}: {error}"
        if problem:
            told = self._told(trial.number)
        studies.note(self._id, trial.number, {"rounds": rounds}, cost())
        if problem:
            line = plain(f"steering by {trial.condition}, {trial.work}, round {len(rounds) + 1}: {problem}")
            studies.fail(self._id, trial.number, line)
            return "failed", since(before, cost())
        studies.finish(self._id, trial.number, {"rounds": rounds})
        return "done", since(before, cost())

    def lacks(self, trial: Trial) -> str | None:
        """Why a run that goes by another one cannot be begun, or a choice between takes cannot be asked for.

        The line of the run that failed; empty: it is not over yet; None: all is there.
        """
        if trial.task == RUN:
            donor = self._run(DONOR, trial.work) if trial.condition == "yoked" else None
            if trial.condition != "yoked" or (donor is not None and donor.status == "done"):
                return None
            return str(donor.error) if donor is not None and donor.status == "failed" else ""
        known = self._archive.studies.works(self._id)
        missing = [name for name in (self._task.steerers[0], trial.condition) if run_key(trial.work, name) not in known]
        if not missing:
            return None
        runs = [self._run(name, trial.work) for name in missing if name != FIRST]
        return next((str(run.error) for run in runs if run is not None and run.status == "failed"), "")

    @property
    def _task(self) -> SteerTask:
        return next(task for task in self._design.tasks if isinstance(task, SteerTask))

    def _what(self, trial: Trial) -> Steered:
        """What is steered, and by what."""
        task = self._task
        piece, folder = piece_of(task.piece, self._base)
        piece = piece if task.duration is None else shortened(piece, task.duration)
        yoked: tuple[float | None, ...] = ()
        if trial.condition == "yoked":
            donor = self._run(DONOR, trial.work)
            if donor is None or donor.status != "done":
                raise StudyError(f"it goes by the ratings of a run that is not over: {donor and donor.error}")
            yoked = tuple(one["value"] for one in (donor.outcome or {})["rounds"])
        steerer = task.steerers[0] if trial.condition == DONOR else trial.condition
        part_of = (self._id, trial.number)
        return Steered(task.piece, piece, folder, steerer, trial.seed, yoked=yoked, part_of=part_of)

    def _keep(self, trial: Trial, takes: list[str]) -> None:
        """The study knows the last take of a run, and of the first steerer's the first one too."""
        kept = {trial.condition: takes[-1]}
        if trial.condition == self._task.steerers[0]:
            kept[FIRST] = takes[0]
        for name, take in kept.items():
            long_enough(self._archive, self._design, take)
            self._archive.studies.add_work(self._id, run_key(trial.work, name), take)

    def _record(self, number: int) -> TrialRecord:
        return next(one for one in self._archive.studies.trials(self._id) if one.number == number)

    def _run(self, steerer: str, run: str) -> TrialRecord | None:
        """A run as far as it came; None: it was not begun."""
        wanted = (RUN, steerer, run)
        known = self._archive.studies.trials(self._id)
        return next((t for t in known if tuple(t.factors[n] for n in ("task", "condition", "work")) == wanted), None)

    def _told(self, number: int) -> dict[str, float]:
        """What all visits of a run took, in whatever attempt."""
        rows = self._archive.visiting.transcripts(experiment=self._id, trial=number, limit=None)
        return added(taken((), {}), *(_taken(self._archive.visiting.transcript(row.id)) for row in rows))

    def _spent(self) -> str:
        """The rule of the budget by which no further round is begun."""
        budget = self._design.budget.model_copy(update={"max_trials": None})
        return so_far(self._archive.studies.trials(self._id)).reached(budget, Stopping())


def _taken(transcript: TranscriptRecord) -> dict[str, float]:
    facts = (one.get("facts") or {} for turn in transcript.turns for one in turn.decisions)
    return taken(facts, transcript.report or {})
