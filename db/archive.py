"""The archive: the only way in and out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar, cast

from sqlalchemy import and_, insert, select, update
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from db import finding, upkeep
from db.blocks import read_blocks, refer
from db.database import BUSY_S, Database, judge
from db.finding import Wanted, iso
from db.labels import Labels
from db.media import MediaStore
from db.migrations import REVISIONS
from db.models import Block, BlockEvent, Media, Part, Proposal, Take, TakeMedia, TakeParent, Visit
from db.process import is_gone, this_process
from db.recorder import Recorder
from db.records import (
    ArchiveError,
    CheckReport,
    Family,
    GcReport,
    MediaRow,
    NewTake,
    Parent,
    PartRecord,
    ProposalRecord,
    Retention,
    Status,
    TakeRecord,
    TakeRow,
    VisitRecord,
    part_name,
)
from db.sessions import Sessions
from db.showings import Showings
from db.studies import Studies
from db.visiting import Visiting
from pieces.signals import Event, FrameBlock, Frames, gather
from pieces.source import nearest
from pieces.stream import StreamWriter

__all__ = [
    "Archive",
    "ArchiveError",
    "CheckReport",
    "Family",
    "GcReport",
    "MediaRow",
    "NewTake",
    "Parent",
    "PartRecord",
    "ProposalRecord",
    "Recorder",
    "TakeRecord",
    "TakeRow",
    "VisitRecord",
    "Wanted",
]

Attended = TypeVar("Attended", VisitRecord, ProposalRecord)


class Archive:
    """Takes, their media, and who attended them; several processes may have one open. See `open`.

    Attributes
    ----------
    where : str
        Path, or URL without its password.
    media_folder : Path
        Where media files lie.
    labels : Labels
        What a person writes on takes.
    sessions : Sessions
        Work in the studio.
    showings : Showings
        What exhibitions show.
    visiting : Visiting
        Visits to games, turn by turn.
    studies : Studies
        Experiments with their trials, and what coders write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.labels = Labels(database)
        self.sessions = Sessions(database)
        self.showings = Showings(database)
        self.visiting = Visiting(database)
        self.studies = Studies(database)
        self._store = MediaStore(database.media_folder)
        self.where = database.where
        self.media_folder = database.media_folder

    @classmethod
    def open(cls, where: str | Path, create: bool = True, patience: float = BUSY_S) -> Archive:
        """Open an archive, or create one; what runs and whose process is gone is marked as interrupted.

        Parameters
        ----------
        where : str or Path
            Path of an SQLite file, or a SQLAlchemy URL (a server's with ``?media=FOLDER``).
        create : bool
            Whether to create what is not there.
        patience : float
            Seconds after which an archive that another process is writing is refused as busy.

        Raises
        ------
        ArchiveError
            If it is no archive, cannot be read or written, is of another version, or its media folder is another's.
        """
        database = Database(where, patience)
        _check_file(database.file, create)
        revision = database.revision()
        if revision is not None:
            judge(revision, REVISIONS, database.where)
        elif create:
            database.migrate()
        else:
            raise ArchiveError(f"{database.where}: an empty database: compose something into it first")
        archive = cls(database)
        archive._store.claim(database.identity())
        upkeep.mark_gone(database)
        return archive

    @classmethod
    def upgrade(cls, where: str | Path) -> str:
        """Bring an existing archive to this version, in one transaction; returns its revision.

        Raises
        ------
        ArchiveError
            If there is none, or it is of a newer version.
        """
        database = Database(where)
        _check_file(database.file, create=False)
        revision = database.revision()
        if revision not in (None, *REVISIONS):
            judge(str(revision), REVISIONS, database.where)
        database.migrate()
        return REVISIONS[-1]

    def revision(self) -> str:
        """The revision of its tables."""
        return str(self._database.revision())

    def close(self) -> None:
        """Close all connections; recorders end before."""
        self._database.engine.dispose()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, new: NewTake) -> Recorder:
        """Commit a new take as running, before anything heavy loads.

        Raises
        ------
        ArchiveError
            If the parts or the seed are not allowed, a parent or the proposal is unknown, or the archive cannot be
            written.
        """
        _check_parts(new.parts)
        if not 0 <= new.seed < 2**63:
            raise ArchiveError(f"seed = {new.seed}: allowed are whole numbers from 0 to 2**63 - 1")
        take_id = str(uuid7())
        now = datetime.now(UTC)
        fields = {k: v for k, v in vars(new).items() if k not in ("parents", "parts")}
        parts = [Part(number=i, name=name, rate=rate, channels=[]) for i, (name, rate) in enumerate(new.parts)]
        with self._database.write() as session:
            for parent, _, _ in new.parents:
                self._need(session, parent)
            if new.proposal_id is not None:
                self._proposal(session, new.proposal_id)
            take = Take(
                id=take_id, status="running", created=now, updated=now, process=this_process(), parts=parts, **fields
            )
            session.add(take)
            session.flush()
            for number, (parent, tick, relation) in enumerate(new.parents):
                session.add(TakeParent(take_id=take_id, number=number, parent_id=parent, tick=tick, relation=relation))
        return Recorder(self._database, self._store, parts)

    def resume(self, take_id: str) -> Recorder:
        """Go on with an interrupted or failed take after each part's last committed tick; it is running again.

        Raises
        ------
        ArchiveError
            If there is no such take, it is done, or another process is recording it.
        """
        with self._database.write() as session:
            take = self._need(session, take_id)
            if take.status == "done" or (take.status == "running" and not is_gone(take.process)):
                held = (
                    f" in process {take.process['pid']} on {take.process['host']}" if take.status == "running" else ""
                )
                raise ArchiveError(
                    f"take {take_id} is {take.status}{held}: only interrupted and failed takes can be resumed"
                )
            former: Status = "failed" if take.status == "failed" else "interrupted"
            error = take.error
            take.status, take.error, take.process = "running", None, this_process()
            take.updated = datetime.now(UTC)
            parts = list(take.parts)
        recorder = Recorder(self._database, self._store, parts, (former, error))
        recorder.catch_up()
        return recorder

    def takes(self, *, limit: int = 50, offset: int = 0, **wanted: Any) -> list[TakeRow]:
        """A page of takes, newest first, of those that are `wanted` (see `db.finding.Wanted`; default all)."""
        with self._database.read() as session:
            return finding.page(session, Wanted(**wanted), limit, offset)

    def count(self, **wanted: Any) -> int:
        """How many takes are `wanted`."""
        with self._database.read() as session:
            return finding.count(session, Wanted(**wanted))

    def family(self, take_id: str) -> Family:
        """A take with all that it came from and all that came of those."""
        with self._database.read() as session:
            self._need(session, take_id)
            return finding.family(session, take_id)

    def retain(self, take_id: str, retention: Retention) -> None:
        """Keep a take, or let it be pruned by `gc`."""
        with self._database.write() as session:
            self._need(session, take_id)
            session.execute(update(Take).where(Take.id == take_id).values(retention=retention))

    def discard(self, take_id: str, *, kept: bool = False) -> int:
        """Remove a take with its files, a kept one only if `kept` says so; returns the bytes given back.

        Raises
        ------
        ArchiveError
            If it is kept, is being recorded, or others came from it.
        """
        return upkeep.discard(self._database, self._store, take_id, kept)

    def take(self, id_or_prefix: str) -> TakeRecord:
        """Everything about one take.

        Parameters
        ----------
        id_or_prefix : str
            An id, its beginning if only one take's begins so, or ``latest``: see `db.finding.newest`.

        Raises
        ------
        ArchiveError
            If no take or several are meant.
        """
        with self._database.read() as session:
            take = self._find(session, id_or_prefix.strip().lower())
            same = ("piece_name", "piece", "piece_hash", "controls", "inputs", "versions", "platform", "threads")
            more = ("proposal_id", "signals_hash", "render", "error")
            return TakeRecord(
                **finding.common(take, take.parts, finding.labels(session, [take.id]).get(take.id)),
                **{name: getattr(take, name) for name in (*same, *more)},
                parts={p.name: PartRecord(p.rate, p.ticks, p.declared(), p.signals_hash) for p in take.parts},
                parents=finding.parents(session, [take.id]).get(take.id, ()),
            )

    def _find(self, session: Session, name: str) -> Take:
        if name == "latest":
            if (take := finding.newest(session)) is None:
                raise ArchiveError(f"{self.where} holds no take yet that somebody made: descant compose cubics")
            return take
        query = select(Take).where(Take.id.startswith(name, autoescape=True)).order_by(Take.id.desc())
        found = list(session.scalars(query.limit(3))) if name else []
        if not found:
            raise ArchiveError(f"no take {name!r} in {self.where}: descant takes lists them")
        if len(found) > 1:
            shown = ", ".join(t.id for t in found)
            raise ArchiveError(f"several takes begin with {name!r} ({shown} ...): give more of the id")
        return found[0]

    def _need(self, session: Session, take_id: str) -> Take:
        take = session.get(Take, take_id)
        if take is None:
            raise ArchiveError(f"no take {take_id!r} in {self.where}")
        return take

    def _proposal(self, session: Session, proposal_id: str) -> Proposal:
        proposal = session.get(Proposal, proposal_id)
        if proposal is None:
            raise ArchiveError(f"no proposal {proposal_id!r} in {self.where}")
        return proposal

    def _part(self, take_id: str, part: str | None) -> Part:
        with self._database.read() as session:
            parts = {p.name: p for p in self._need(session, take_id).parts}
        return parts[part_name(take_id, parts, part)]

    def blocks(
        self, take_id: str, channels: Collection[str] | None = None, first_tick: int = 0, part: str | None = None
    ) -> Iterator[FrameBlock]:
        """Stream a part's blocks in order, from `first_tick` on, with `channels` (default all).

        Parameters
        ----------
        take_id : str
            The take.
        channels : collection of str, optional
            Those of the part that are wanted.
        first_tick : int
            Of the part's own ticks.
        part : str, optional
            Its name; may be left out when there is one.

        Raises
        ------
        ArchiveError
            If there is no such take, part or channel, several parts and none is named, or a block is damaged.
        """
        row = self._part(take_id, part)
        known = {c.name for c in row.declared()}
        for name in channels or ():
            if name not in known:
                raise ArchiveError(f"{row} has no channel {name!r}{nearest(name, sorted(known))}")
        return read_blocks(self._database, self._store, row, channels, first_tick)

    def frames(self, take_id: str, channels: Sequence[str] | None = None, part: str | None = None) -> Frames:
        """A whole part in memory, see `blocks`."""
        return gather(self.blocks(take_id, channels, part=part), self._part(take_id, part).rate)

    def stream(self, take_id: str, file: BinaryIO, part: str | None = None) -> None:
        """Write a part (see `blocks`) in the stream format, with ``{"take": id, "part": name, "rate": rate}``."""
        row = self._part(take_id, part)
        writer = StreamWriter(file, row.declared(), {"take": row.take_id, "part": row.name, "rate": row.rate})
        for block in self.blocks(take_id, part=row.name):
            writer.write(block)

    def events(self, take_id: str, *kinds: str, part: str | None = None) -> list[Event]:
        """A part's events in order (default: of all parts in order of commit), of the given kinds (default all)."""
        query = (
            select(BlockEvent.tick, BlockEvent.kind, BlockEvent.data, BlockEvent.given)
            .where(BlockEvent.take_id == take_id)
            .order_by(BlockEvent.block, BlockEvent.number)
        )
        if kinds:
            query = query.where(BlockEvent.kind.in_(kinds))
        if part is not None:
            of_block = and_(Block.take_id == BlockEvent.take_id, Block.number == BlockEvent.block)
            query = query.join(Block, of_block).where(Block.part == self._part(take_id, part).number)
        with self._database.read() as session:
            return [Event(*row) for row in session.execute(query)]

    def add_media(self, take_id: str, role: str, path: Path, suffix: str | None = None) -> MediaRow:
        """Copy a file into the archive as the take's `role`, in place of the one that had it.

        Parameters
        ----------
        take_id : str
            The take.
        role : str
            ``mix``, ``stem:<voice>``, ``sheet``, ``film`` or ``input:<name>``.
        path : Path
            The file.
        suffix : str, optional
            Of the copy; default that of `path`.
        """
        stored = self._store.put(path, path.suffix if suffix is None else suffix)
        with self._database.write() as session:
            self._need(session, take_id)
            stored = refer(session.connection(), self._store, stored, path)
            session.merge(TakeMedia(take_id=take_id, role=role, sha256=stored.sha256))
        return MediaRow(role, stored.sha256, self._store.path(stored.sha256, stored.suffix), stored.bytes)

    def media(self, take_id: str) -> list[MediaRow]:
        """The take's files in order of role; those that hold array channels are read through `blocks`."""
        query = (
            select(TakeMedia.role, Media.sha256, Media.suffix, Media.bytes)
            .join(Media, TakeMedia.sha256 == Media.sha256)
            .where(TakeMedia.take_id == take_id)
            .order_by(TakeMedia.role)
        )
        with self._database.read() as session:
            return [MediaRow(r, sha, self._store.path(sha, end), size) for r, sha, end, size in session.execute(query)]

    def set_render(self, take_id: str, render: Mapping[str, Any]) -> None:
        """Store what rendering measured; numbers that are not finite become null."""
        with self._database.write() as session:
            self._need(session, take_id)
            session.execute(update(Take).where(Take.id == take_id).values(render=dict(render)))

    def add_visit(self, visit: VisitRecord) -> str:
        """Store a visit; returns its id."""
        with self._database.write() as session:
            self._need(session, visit.take_id)
            if visit.transcript_id is not None:
                self.visiting.need(session, visit.transcript_id)
            return _add(session, Visit, visit)

    def visits(self, take_id: str | None = None) -> list[VisitRecord]:
        """Visits, newest first, of one take if it is given."""
        query = select(Visit).order_by(Visit.id.desc())
        if take_id is not None:
            query = query.where(Visit.take_id == take_id)
        with self._database.read() as session:
            return [_record(VisitRecord, row) for row in session.scalars(query)]

    def add_proposal(self, proposal: ProposalRecord) -> str:
        """Store a proposal; returns its id."""
        with self._database.write() as session:
            for parent in proposal.parents:
                self._need(session, parent)
            return _add(session, Proposal, proposal)

    def proposal(self, proposal_id: str) -> ProposalRecord:
        """One proposal.

        Raises
        ------
        ArchiveError
            If there is none of that id.
        """
        with self._database.read() as session:
            return _record(ProposalRecord, self._proposal(session, proposal_id))

    def proposals(self, steerer: str | None = None) -> list[ProposalRecord]:
        """Proposals, newest first, of one steerer if it is given."""
        query = select(Proposal).order_by(Proposal.id.desc())
        if steerer is not None:
            query = query.where(Proposal.steerer == steerer)
        with self._database.read() as session:
            return [_record(ProposalRecord, row) for row in session.scalars(query)]

    def check(self, repair: bool = True) -> CheckReport:
        """Verify every block, hash and file; see `db.upkeep.check`."""
        return upkeep.check(self._database, self._store, repair)

    def gc(self, *, scratch_age_days: float, scratch_quota_bytes: int, dry_run: bool = False) -> GcReport:
        """Remove old scratch takes and unreferenced files; see `db.upkeep.gc`."""
        return upkeep.gc(self._database, self._store, scratch_age_days, scratch_quota_bytes, dry_run)


def _check_file(file: Path | None, create: bool) -> None:
    """Say what SQLite would say less clearly."""
    if file is None:
        return
    if file.is_dir():
        raise ArchiveError(f"{file}: a folder, not an archive: name a file in it, such as {file / 'archive.db'}")
    if file.exists():
        return
    if not create:
        raise ArchiveError(f"{file}: no archive there: compose something first, or name another one")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(f"{file}: its folder cannot be made ({error.strerror}): name another archive") from error


def _check_parts(parts: Sequence[tuple[str, float]]) -> None:
    names = [name for name, _ in parts]
    if not names:
        raise ArchiveError("parts = []: a take has one part at least: give its name and its ticks per second")
    for name, rate in parts:
        if names.count(name) > 1:
            raise ArchiveError(f"parts = {', '.join(names)}: {name!r} comes twice: give each part a name of its own")
        if not (math.isfinite(rate) and rate > 0):
            raise ArchiveError(f"part {name}: rate = {rate}: allowed are finite numbers above 0 (ticks per second)")


def _add(session: Session, table: type[Visit | Proposal], record: VisitRecord | ProposalRecord) -> str:
    values = asdict(record) | {"id": str(uuid7()), "created": datetime.now(UTC)}
    session.execute(insert(table), values)
    return cast(str, values["id"])


def _record(kind: type[Attended], row: Visit | Proposal) -> Attended:
    names = [n for n in kind.__dataclass_fields__ if n != "created"]
    return kind(**{n: getattr(row, n) for n in names}, created=iso(row.created))
