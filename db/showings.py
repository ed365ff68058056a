"""What an exhibition has shown, and how far it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update
from uuid_utils import uuid7

from db.database import Database
from db.finding import iso
from db.models import Showing
from db.work import Outcome, ShowingRecord


class Showings:
    """The showings of an archive."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, programme: str, item: int, label: str, position: float = 0.0, take_id: str | None = None) -> str:
        """An item of a programme begins, which plays or records a take; returns the showing's id."""
        showing_id, now = str(uuid7()), datetime.now(UTC)
        times = {"started": now, "updated": now, "ended": None}
        values = {"id": showing_id, "programme": programme, "item": item, "label": label, "position": position}
        values["take_id"] = take_id
        with self._database.write() as session:
            session.execute(insert(Showing), {**values, **times, "outcome": None, "reason": ""})
        return showing_id

    def at(self, showing_id: str, position: float) -> None:
        """It has come so many seconds far."""
        self._set(showing_id, position=position)

    def end(self, showing_id: str, outcome: Outcome, reason: str = "") -> None:
        """It is over, for a reason where it was skipped or failed."""
        self._set(showing_id, outcome=outcome, reason=reason, ended=datetime.now(UTC))

    def list(self, programme: str | None = None, limit: int = 50) -> list[ShowingRecord]:
        """Showings, newest first, of one programme if it is given; the first one is where it stands."""
        query = select(Showing).order_by(Showing.id.desc()).limit(limit)
        if programme is not None:
            query = query.where(Showing.programme == programme)
        with self._database.read() as session:
            return [_record(row) for row in session.scalars(query)]

    def _set(self, showing_id: str, **values: object) -> None:
        values["updated"] = datetime.now(UTC)
        with self._database.write() as session:
            session.execute(update(Showing).where(Showing.id == showing_id).values(**values))


def _record(row: Showing) -> ShowingRecord:
    names = ("programme", "item", "label", "position", "outcome", "reason", "take_id", "id")
    values: dict[str, Any] = {n: getattr(row, n) for n in names}
    ended = None if row.ended is None else iso(row.ended)
    return ShowingRecord(**values, started=iso(row.started), updated=iso(row.updated), ended=ended)
