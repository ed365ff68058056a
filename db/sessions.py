"""Sessions of the studio and their edits, each committed as it is made, so that a crash loses none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from db.database import Database
from db.finding import iso
from db.models import SessionEdit, StudioSession, Take
from db.process import this_process
from db.records import ArchiveError, Parent
from db.upkeep import is_left
from db.work import Edit, SessionRecord


class Sessions:
    """The sessions of an archive.

    Raises
    ------
    ArchiveError
        If there is no such session, or another studio works on it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, new: SessionRecord, first: Edit) -> str:
        """Begin a session with the piece as it was opened; returns its id."""
        session_id, now = str(uuid7()), datetime.now(UTC)
        values = {n: getattr(new, n) for n in ("name", "base", "file", "seed", "head", "tip", "take_id", "parents")}
        with self._database.write() as session:
            row = {"id": session_id, "created": now, "updated": now, "closed": False, "process": this_process()}
            session.execute(insert(StudioSession), row | values)
            session.execute(insert(SessionEdit), _edit_row(session_id, first))
        return session_id

    def keep(self, session_id: str, edit: Edit | None, head: int, tip: int) -> None:
        """Store an edit, in place of the one of its number if there is one, and where undoing and redoing stand."""
        with self._database.write() as session:
            self._change(session, session_id, head=head, tip=tip)
            if edit is not None:
                session.merge(SessionEdit(**_edit_row(session_id, edit)))

    def set(self, session_id: str, **values: Any) -> None:
        """Store another ``take_id``, ``seed``, ``name`` or ``file``."""
        with self._database.write() as session:
            self._change(session, session_id, **values)

    def close(self, session_id: str) -> None:
        """End a session as it was wished; it is not offered again."""
        with self._database.write() as session:
            self._change(session, session_id, closed=True)

    def remove(self, session_id: str) -> None:
        """Forget a session with all its edits; its takes stay."""
        with self._database.write() as session:
            session.delete(self._need(session, session_id))

    def interrupted(self) -> list[SessionRecord]:
        """Sessions that were not closed and whose process is gone, the last one that was worked on first."""
        query = select(StudioSession).where(~StudioSession.closed).order_by(StudioSession.updated.desc())
        with self._database.read() as session:
            return [_record(row) for row in session.scalars(query) if is_left(row.process, row.updated)]

    def earlier(self, limit: int = 200) -> list[tuple[SessionRecord, str]]:
        """Sessions that nobody works on, and the edit at which each stands; the last one that was worked on first."""
        stands = (SessionEdit.session_id == StudioSession.id) & (SessionEdit.number == StudioSession.head)
        query = select(StudioSession, SessionEdit.label).join(SessionEdit, stands)
        with self._database.read() as session:
            rows = session.execute(query.order_by(StudioSession.updated.desc()).limit(limit)).all()
            return [(_record(row), label) for row, label in rows if row.closed or is_left(row.process, row.updated)]

    def take_over(self, session_id: str) -> tuple[SessionRecord, tuple[Edit, ...]]:
        """Go on with a session in this process; returns it with all its edits, in order of number.

        Takes that it came from are named as far as they are still there.
        """
        with self._database.write() as session:
            row = self._need(session, session_id)
            if not row.closed and not is_left(row.process, row.updated) and row.process != this_process():
                raise ArchiveError(
                    f"session {row.name!r} is open in process {row.process['pid']} on {row.process['host']}: "
                    "close it there first"
                )
            row.process, row.closed, row.updated = this_process(), False, datetime.now(UTC)
            found = session.scalars(
                select(SessionEdit).where(SessionEdit.session_id == session_id).order_by(SessionEdit.number)
            )
            there = set(session.scalars(select(Take.id).where(Take.id.in_([parent[0] for parent in row.parents]))))
            row.parents = [parent for parent in row.parents if parent[0] in there]
            return _record(row), tuple(Edit(e.number, e.parent, e.label, e.piece, iso(e.created)) for e in found)

    def _need(self, session: Session, session_id: str) -> StudioSession:
        row = session.get(StudioSession, session_id)
        if row is None:
            raise ArchiveError(f"no session {session_id!r}: it was removed")
        return row

    def _change(self, session: Session, session_id: str, **values: Any) -> None:
        self._need(session, session_id)
        values["updated"] = datetime.now(UTC)
        session.execute(update(StudioSession).where(StudioSession.id == session_id).values(**values))


def _edit_row(session_id: str, edit: Edit) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "number": edit.number,
        "parent": edit.parent,
        "created": datetime.fromisoformat(edit.created),
        "label": edit.label,
        "piece": dict(edit.piece),
    }


def _record(row: StudioSession) -> SessionRecord:
    names = ("name", "base", "file", "seed", "head", "tip", "take_id", "id", "closed")
    values: dict[str, Any] = {n: getattr(row, n) for n in names}
    parents = tuple(Parent(*parent) for parent in row.parents)
    return SessionRecord(**values, parents=parents, created=iso(row.created), updated=iso(row.updated))
