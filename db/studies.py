"""Experiments as they were frozen, their trials, and what coders write: facts stay, interpretations too."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, select
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from db.audience import (
    AnnotationRecord,
    DeviationRecord,
    ExperimentRecord,
    Kind,
    TrialRecord,
    TrialStatus,
    UnblindingRecord,
)
from db.database import Database
from db.finding import iso
from db.labels import as_tag
from db.models import Annotation, Deviation, Experiment, Take, Transcript, Trial, Turn, Unblinding, Work
from db.process import this_process
from db.records import ArchiveError, Json
from db.upkeep import is_left

#: Characters of a person's name.
_NAME = 200


class Studies:
    """The experiments of an archive.

    Raises
    ------
    ArchiveError
        If there is no such experiment, trial or annotation, or it cannot be done.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def freeze(self, new: ExperimentRecord) -> str:
        """Store an experiment; returns its id. Of an equal design (by its hash) it is that of the one that is there."""
        with self._database.write() as session:
            there = session.scalar(select(Experiment.id).where(Experiment.hash == new.hash))
            if there is not None:
                return there
            values = {"id": str(uuid7()), "created": datetime.now(UTC), "name": new.name, "hash": new.hash}
            session.execute(insert(Experiment), {**values, "design": dict(new.design), "files": dict(new.files)})
            return str(values["id"])

    def experiment(self, name: str) -> ExperimentRecord:
        """One experiment: by its id, its beginning if only one experiment's begins so, or the newest of that name."""
        newest = select(Experiment).order_by(Experiment.id.desc())
        with self._database.read() as session:
            begins = newest.where(Experiment.id.startswith(name, autoescape=True)).limit(2) if name else newest.limit(0)
            called = newest.where(Experiment.name == name).limit(1)
            found = session.scalars(called).all() or session.scalars(begins).all()
            if len(found) != 1:
                raise ArchiveError(f"{len(found) or 'no'} experiments {name!r} in {self._database.where}: name one")
            return _experiment(found[0])

    def experiments(self, name: str | None = None) -> list[ExperimentRecord]:
        """Experiments, newest first, of one name if it is given."""
        query = select(Experiment).order_by(Experiment.id.desc())
        if name is not None:
            query = query.where(Experiment.name == name)
        with self._database.read() as session:
            return [_experiment(row) for row in session.scalars(query)]

    def add_work(self, experiment_id: str, name: str, take_id: str) -> str:
        """Say which take a work of the design is; returns the one that it is: the first that was said."""
        with self._database.write() as session:
            self._need(session, experiment_id)
            work = session.get(Work, (experiment_id, name))
            if work is not None:
                return work.take_id
            if session.get(Take, take_id) is None:
                raise ArchiveError(f"no take {take_id!r} in {self._database.where}")
            session.execute(insert(Work), {"experiment_id": experiment_id, "name": name, "take_id": take_id})
        return take_id

    def works(self, experiment_id: str) -> dict[str, str]:
        """The takes that an experiment is made on, by their names in the design."""
        query = select(Work).where(Work.experiment_id == experiment_id).order_by(Work.name)
        with self._database.read() as session:
            self._need(session, experiment_id)
            return {row.name: row.take_id for row in session.scalars(query)}

    def deviate(self, experiment_id: str, author: str, text: str, changes: Json | None = None) -> int:
        """Write down where it is not run as it was frozen; returns the deviation's number, from 1."""
        values = {"author": _person(author), "text": _said(text), "created": datetime.now(UTC)}
        values["changes"] = dict(changes or {})
        with self._database.write() as session:
            self._need(session, experiment_id)
            last = select(func.max(Deviation.number)).where(Deviation.experiment_id == experiment_id)
            number = (session.scalar(last) or 0) + 1
            session.execute(insert(Deviation), {**values, "experiment_id": experiment_id, "number": number})
        return number

    def deviations(self, experiment_id: str) -> list[DeviationRecord]:
        """Deviations in the order in which they were written."""
        query = select(Deviation).where(Deviation.experiment_id == experiment_id).order_by(Deviation.number)
        with self._database.read() as session:
            self._need(session, experiment_id)
            names = ("number", "author", "text", "changes")
            rows = session.scalars(query)
            return [DeviationRecord(**{n: getattr(r, n) for n in names}, created=iso(r.created)) for r in rows]

    def claim(
        self, experiment_id: str, number: int, factors: Json, *, failed: bool = False, keep: bool = False
    ) -> bool:
        """Make a trial this process's own; of several that try, exactly one is told True.

        One that was begun is given only if its process is gone. What that attempt left, its transcripts with their
        visits, is removed: the trial begins anew, unless that is to be kept.

        Parameters
        ----------
        experiment_id : str
            The experiment.
        number : int
            The trial's place in the design, from 0.
        factors : mapping
            What the design drew for it; the same in every attempt, unless a deviation was written since.
        failed : bool
            Whether one that failed may be tried again too; never if somebody has written about it.
        keep : bool
            Whether it goes on where it was: transcripts stay, and what was noted, see `note`.
        """
        if number < 0:
            raise ArchiveError(f"trial {number}: allowed are whole numbers from 0")
        process, now = this_process(), datetime.now(UTC)
        with self._database.write() as session:
            self._need(session, experiment_id)
            trial = session.get(Trial, (experiment_id, number))
            if trial is None:
                begun = {"attempts": 1, "status": "running", "started": now, "process": process}
                of = {"experiment_id": experiment_id, "number": number, "factors": dict(factors)}
                session.execute(insert(Trial), {**of, **begun})
                return True
            if not (_is_lost(trial) or (failed and trial.status == "failed" and not _is_coded(session, trial))):
                return False
            if trial.factors != json.loads(json.dumps(dict(factors))) and not _has_changed(session, trial):
                raise ArchiveError(
                    f"trial {number} of experiment {experiment_id} was begun with other factors: write a deviation"
                )
            if not keep:
                session.execute(delete(Transcript).where(_of(trial)))
                trial.outcome = None
            trial.status, trial.process, trial.started, trial.attempts = "running", process, now, trial.attempts + 1
            trial.factors, trial.ended, trial.error = dict(factors), None, None
            return True

    def note(self, experiment_id: str, number: int, outcome: Json, cost: Json) -> None:
        """What a trial that this process has claimed has given and taken so far, in all: it goes on from there."""
        with self._database.write() as session:
            trial = self._own(session, experiment_id, number)
            trial.outcome, trial.cost = dict(outcome), dict(cost)

    def finish(self, experiment_id: str, number: int, outcome: Json, cost: Json | None = None) -> None:
        """The trial that this process has claimed is done."""
        self._end(experiment_id, number, status="done", cost=cost, outcome=dict(outcome))

    def fail(self, experiment_id: str, number: int, error: str, cost: Json | None = None) -> None:
        """The trial that this process has claimed has failed."""
        self._end(experiment_id, number, status="failed", cost=cost, error=error)

    def exclude(self, experiment_id: str, number: int, reason: str) -> None:
        """Leave out a trial that is done or has failed, by a rule of the design; its outcome stays with it."""
        with self._database.write() as session:
            trial = self._trial(session, experiment_id, number)
            if trial.status == "running":
                raise ArchiveError(f"trial {number} of experiment {experiment_id} is running: it can be left out later")
            trial.status, trial.error = "excluded", _said(reason)

    def trials(self, experiment_id: str, status: TrialStatus | None = None) -> list[TrialRecord]:
        """Trials that were begun, in order of number, of one status if it is given."""
        query = select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.number)
        if status is not None:
            query = query.where(Trial.status == status)
        with self._database.read() as session:
            self._need(session, experiment_id)
            return [_trial(row) for row in session.scalars(query)]

    def annotate(self, new: AnnotationRecord) -> str:
        """Store what a coder writes on a transcript that is complete; returns its id."""
        values = {n: getattr(new, n) for n in ("transcript_id", "turn", "kind", "text")}
        values |= {"id": str(uuid7()), "created": datetime.now(UTC), "author": _person(new.author), "withdrawn": None}
        with self._database.write() as session:
            transcript = session.get(Transcript, new.transcript_id)
            if transcript is None:
                raise ArchiveError(f"no transcript {new.transcript_id!r} in {self._database.where}")
            experiment, blind = transcript.experiment_id, False
            if experiment is not None:
                if self._trial(session, experiment, transcript.trial or 0).status == "running":
                    raise ArchiveError(f"trial {transcript.trial} of experiment {experiment} is running: write later")
                blind = session.get(Unblinding, (experiment, values["author"])) is None
            if new.turn is not None and session.get(Turn, (new.transcript_id, new.turn)) is None:
                raise ArchiveError(f"transcript {new.transcript_id} has no turn {new.turn}")
            session.execute(insert(Annotation), {**values, "tag": as_tag(new.tag), "blind": blind})
        return str(values["id"])

    def withdraw(self, annotation_id: str) -> None:
        """An annotation holds no more; it stays, with the time."""
        with self._database.write() as session:
            row = session.get(Annotation, annotation_id)
            if row is None:
                raise ArchiveError(f"no annotation {annotation_id!r} in {self._database.where}")
            row.withdrawn = row.withdrawn or datetime.now(UTC)

    def annotations(
        self,
        *,
        experiment: str | None = None,
        transcript: str | None = None,
        author: str | None = None,
        kind: Kind | None = None,
        tag: str | None = None,
        withdrawn: bool = False,
    ) -> list[AnnotationRecord]:
        """Annotations in the order in which they were written, of which all is true that is given.

        Parameters
        ----------
        experiment, transcript, author, kind, tag : str, optional
            Of what, by whom.
        withdrawn : bool
            Whether those that were withdrawn are told too.
        """
        chosen = ((Annotation.transcript_id, transcript), (Annotation.author, author), (Annotation.kind, kind))
        query = select(Annotation).order_by(Annotation.id).where(*(c == v for c, v in chosen if v is not None))
        if tag is not None:
            query = query.where(Annotation.tag == as_tag(tag))
        if experiment is not None:
            of = select(Transcript.id).where(Transcript.experiment_id == experiment)
            query = query.where(Annotation.transcript_id.in_(of))
        if not withdrawn:
            query = query.where(Annotation.withdrawn.is_(None))
        with self._database.read() as session:
            return [_annotation(row) for row in session.scalars(query)]

    def unblind(self, experiment_id: str, coder: str) -> None:
        """From now on a coder knows the conditions of an experiment's trials; the first time counts."""
        with self._database.write() as session:
            self._need(session, experiment_id)
            key = {"experiment_id": experiment_id, "coder": _person(coder)}
            if session.get(Unblinding, key) is None:
                session.execute(insert(Unblinding), {**key, "created": datetime.now(UTC)})

    def unblindings(self, experiment_id: str) -> list[UnblindingRecord]:
        """Who knows the conditions of an experiment's trials, in the order of getting to know them."""
        query = select(Unblinding).where(Unblinding.experiment_id == experiment_id)
        with self._database.read() as session:
            self._need(session, experiment_id)
            rows = session.scalars(query.order_by(Unblinding.created, Unblinding.coder))
            return [UnblindingRecord(row.coder, iso(row.created)) for row in rows]

    def _need(self, session: Session, experiment_id: str) -> Experiment:
        row = session.get(Experiment, experiment_id)
        if row is None:
            raise ArchiveError(f"no experiment {experiment_id!r} in {self._database.where}")
        return row

    def _trial(self, session: Session, experiment_id: str, number: int) -> Trial:
        row = session.get(Trial, (experiment_id, number))
        if row is None:
            raise ArchiveError(f"trial {number} of experiment {experiment_id} was not begun: claim it first")
        return row

    def _own(self, session: Session, experiment_id: str, number: int) -> Trial:
        trial = self._trial(session, experiment_id, number)
        if trial.status != "running" or trial.process != this_process():
            raise ArchiveError(
                f"trial {number} of experiment {experiment_id} is {trial.status}, and not this process's: claim it"
            )
        return trial

    def _end(self, experiment_id: str, number: int, cost: Json | None, **values: Any) -> None:
        with self._database.write() as session:
            trial = self._own(session, experiment_id, number)
            values |= {"ended": datetime.now(UTC), "cost": _sum(trial.cost or {}, cost)}
            for name, value in values.items():
                setattr(trial, name, value)


def _person(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > _NAME or not name.isprintable():
        raise ArchiveError(f"name {name[:80]!r}: say who you are, in up to {_NAME} characters")
    return name


def _said(text: str) -> str:
    if not text.strip():
        raise ArchiveError("nothing is written: say why, in a sentence")
    return text


def _of(trial: Trial) -> ColumnElement[bool]:
    """Transcripts of a trial."""
    return (Transcript.experiment_id == trial.experiment_id) & (Transcript.trial == trial.number)


def _is_coded(session: Session, trial: Trial) -> bool:
    written = exists().where(Annotation.transcript_id == Transcript.id, _of(trial))
    return bool(session.scalar(select(written)))


def _has_changed(session: Session, trial: Trial) -> bool:
    """Whether a deviation was written since the trial began."""
    since = (Deviation.experiment_id == trial.experiment_id) & (Deviation.created >= trial.started)
    return bool(session.scalar(select(exists().where(since))))


def _sum(before: Json, more: Json | None) -> Json | None:
    """What was spent before and now; what is no number is that of now."""
    numbers = {k: v for k, v in before.items() if isinstance(v, int | float)}
    now = {k: v + numbers.get(k, 0) if isinstance(v, int | float) else v for k, v in (more or {}).items()}
    return {**before, **now} or None


def _is_lost(trial: Trial) -> bool:
    return trial.status == "running" and is_left(trial.process, trial.started)


def _experiment(row: Experiment) -> ExperimentRecord:
    values: dict[str, Any] = {n: getattr(row, n) for n in ("id", "name", "hash", "design", "files")}
    return ExperimentRecord(**values, created=iso(row.created))


def _trial(row: Trial) -> TrialRecord:
    names = ("number", "status", "attempts", "factors", "outcome", "cost", "error")
    values: dict[str, Any] = {n: getattr(row, n) for n in names}
    ended = None if row.ended is None else iso(row.ended)
    return TrialRecord(**values, lost=_is_lost(row), started=iso(row.started), ended=ended)


def _annotation(row: Annotation) -> AnnotationRecord:
    names = ("id", "transcript_id", "turn", "author", "kind", "tag", "text", "blind")
    values: dict[str, Any] = {n: getattr(row, n) for n in names}
    withdrawn = None if row.withdrawn is None else iso(row.withdrawn)
    return AnnotationRecord(**values, withdrawn=withdrawn, created=iso(row.created))
