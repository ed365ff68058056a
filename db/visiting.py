"""Visits to games, each turn committed as it is told, so that a crash loses none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, select, update
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from db.audience import NewTranscript, TranscriptRecord, TranscriptRow, TurnRecord
from db.database import Database
from db.finding import iso
from db.models import Transcript, Trial, Turn, Utc, Visit
from db.process import this_process
from db.records import ArchiveError, Json

#: What lists and records share.
_COMMON = ("id", "visitor", "seed", "wording", "words", "ended", "experiment_id", "trial")
_TURN = tuple(TurnRecord.__dataclass_fields__)
#: Built once, so that a turn costs little more than SQLite itself.
_STANDS = select(
    Transcript.ended, select(func.max(Turn.number)).where(Turn.transcript_id == bindparam("of")).label("last")
)
_STANDS = _STANDS.where(Transcript.id == bindparam("of"))
_TOLD = update(Transcript).where(Transcript.id == bindparam("of")).values(updated=bindparam("now", type_=Utc()))


class Visiting:
    """The transcripts of an archive.

    Raises
    ------
    ArchiveError
        If there is no such transcript, it has ended, or what is told does not follow.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_transcript(self, new: NewTranscript) -> str:
        """A visit to a game begins; returns the transcript's id.

        One of a trial is begun by the process that has claimed it.
        """
        if not 0 <= new.seed < 2**63:
            raise ArchiveError(f"seed = {new.seed}: allowed are whole numbers from 0 to 2**63 - 1")
        if (new.experiment_id is None) != (new.trial is None):
            raise ArchiveError(f"trial {new.trial} of experiment {new.experiment_id}: give both, or neither")
        transcript_id, now = str(uuid7()), datetime.now(UTC)
        row = {"id": transcript_id, "created": now, "updated": now, "ended": None, "report": None}
        with self._database.write() as session:
            if new.experiment_id is not None:
                trial = session.get(Trial, (new.experiment_id, new.trial))
                if trial is None or trial.status != "running" or trial.process != this_process():
                    raise ArchiveError(
                        f"trial {new.trial} of experiment {new.experiment_id} is not this process's: claim it first"
                    )
            session.execute(
                insert(Transcript),
                {**vars(new), "about": dict(new.about), "setting": dict(new.setting), **row, "process": this_process()},
            )
        return transcript_id

    def add_turns(self, transcript_id: str, turns: Iterable[TurnRecord]) -> None:
        """Append turns; they are kept when this returns, all of them or, where it raises, none."""
        rows = [{n: getattr(turn, n) for n in _TURN} | {"transcript_id": transcript_id} for turn in turns]
        if not rows:
            return
        with self._database.append() as connection:
            found = connection.execute(_STANDS, {"of": transcript_id}).first()
            if found is None:
                raise ArchiveError(f"no transcript {transcript_id!r}: it was removed")
            if found.ended is not None:
                raise ArchiveError(f"transcript {transcript_id} has ended ({found.ended}): nothing is added to it")
            first = 0 if found.last is None else found.last + 1
            for number, row in enumerate(rows, first):
                _check(row, number)
            connection.execute(insert(Turn), rows)
            connection.execute(_TOLD, {"of": transcript_id, "now": datetime.now(UTC)})

    def end_transcript(
        self, transcript_id: str, ended: str, report: Json | None = None, about: Json | None = None
    ) -> None:
        """A visit is over, for a reason, with what the visitor measured of itself, and as who it was met."""
        if not ended:
            raise ArchiveError(f"transcript {transcript_id}: ended = '': say how: left, moves, or what broke it off")
        with self._database.write() as session:
            row = self.need(session, transcript_id)
            if row.ended is not None:
                raise ArchiveError(f"transcript {transcript_id} has ended already ({row.ended})")
            row.ended, row.updated = ended, datetime.now(UTC)
            row.report = None if report is None else dict(report)
            row.about = row.about if about is None else dict(about)

    def transcript(self, transcript_id: str) -> TranscriptRecord:
        """One transcript with all its turns."""
        turns = select(Turn).where(Turn.transcript_id == transcript_id).order_by(Turn.number)
        with self._database.read() as session:
            row = self.need(session, transcript_id)
            told = tuple(_turn(turn) for turn in session.scalars(turns))
            more = {n: getattr(row, n) for n in ("instruction", "about", "setting", "report")}
            return TranscriptRecord(**_common(row), **more, turns=told)

    def transcripts(
        self,
        *,
        visitor: str | None = None,
        take: str | None = None,
        experiment: str | None = None,
        trial: int | None = None,
        text: str = "",
        limit: int | None = 50,
    ) -> list[TranscriptRow]:
        """Transcripts, newest first, of which all is true that is given.

        Parameters
        ----------
        visitor : str, optional
            As it was invited.
        take : str, optional
            Id of a take that was attended.
        experiment, trial : str, int, optional
            What it belongs to.
        text : str
            Stands in a command or an observation; capitals do not count.
        limit : int, optional
            How many at most; None for all.
        """
        wanted: list[ColumnElement[bool]] = [
            column == value
            for column, value in (
                (Transcript.visitor, visitor),
                (Transcript.experiment_id, experiment),
                (Transcript.trial, trial),
            )
            if value is not None
        ]
        if take is not None:
            wanted.append(Transcript.id.in_(select(Visit.transcript_id).where(Visit.take_id == take)))
        if text:
            spoken = Turn.observation.icontains(text, autoescape=True) | Turn.command.icontains(text, autoescape=True)
            wanted.append(Transcript.id.in_(select(Turn.transcript_id).where(spoken)))
        count = select(func.count()).where(Turn.transcript_id == Transcript.id).scalar_subquery()
        columns = [getattr(Transcript, n) for n in (*_COMMON, "created")]
        query = select(*columns, count.label("turns")).where(*wanted).order_by(Transcript.id.desc()).limit(limit)
        with self._database.read() as session:
            return [TranscriptRow(**_common(row), turns=row.turns) for row in session.execute(query)]

    def need(self, session: Session, transcript_id: str) -> Transcript:
        """The row of a transcript."""
        row = session.get(Transcript, transcript_id)
        if row is None:
            raise ArchiveError(f"no transcript {transcript_id!r} in {self._database.where}")
        return row


def _check(row: dict[str, Any], number: int) -> None:
    """Refuse a turn that does not follow, or has numbers that are none."""
    if row["number"] != number:
        raise ArchiveError(f"turn {row['number']} of transcript {row['transcript_id']}: the next one is {number}")
    for name in ("budget", "reward"):
        if not math.isfinite(row[name]):
            raise ArchiveError(f"turn {number}: {name} = {row[name]}: allowed are finite numbers")


def _turn(row: Turn) -> TurnRecord:
    return TurnRecord(**{n: getattr(row, n) for n in _TURN} | {"decisions": tuple(row.decisions)})


def _common(row: Any) -> dict[str, Any]:
    return {n: getattr(row, n) for n in _COMMON} | {"created": iso(row.created)}
