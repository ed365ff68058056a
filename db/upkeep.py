"""Looking after an archive: marking what was left running, verifying, and removing what nobody keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, func, select, text, update
from sqlalchemy.orm import Session

from db.blocks import read_blocks
from db.database import Database
from db.finding import children
from db.media import MediaStore, Stored
from db.models import (
    Annotation,
    Block,
    Media,
    Part,
    Showing,
    StudioSession,
    Take,
    TakeMedia,
    TakeParent,
    Transcript,
    Turn,
    Visit,
    Work,
)
from db.process import is_gone
from db.records import ArchiveError, CheckReport, GcReport, Json, combined_hash
from pieces.signals import SignalsHash

#: Whoever works on another machine and has committed nothing for so long is taken for gone.
ELSEWHERE = timedelta(days=1)
#: How a transcript ended whose process is gone.
INTERRUPTED = "interrupted"


def mark_gone(database: Database, repair: bool = True) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find running takes and transcripts whose process is gone, and mark them as interrupted; returns their ids."""
    takes = _mark(database, Take, Take.status == "running", {"status": "interrupted"}, repair)
    return takes, _mark(database, Transcript, Transcript.ended.is_(None), {"ended": INTERRUPTED}, repair)


def _mark(
    database: Database,
    table: type[Take] | type[Transcript],
    which: ColumnElement[bool],
    values: Mapping[str, str],
    repair: bool,
) -> tuple[str, ...]:
    running = select(table.id, table.process, table.updated).where(which).order_by(table.id)
    with database.read() as session:
        gone = tuple(row.id for row in session.execute(running) if is_left(row.process, row.updated))
    if gone and repair:
        with database.write() as session:
            # Looked at again: somebody may have resumed one meanwhile.
            rows = session.execute(running.where(table.id.in_(gone)))
            gone = tuple(row.id for row in rows if is_left(row.process, row.updated))
            session.execute(update(table).where(table.id.in_(gone)).values(**values))
    return gone


def is_left(process: Json, updated: datetime) -> bool:
    """Whether nobody works on it: its process has ended or, on another machine, has kept nothing for long."""
    gone = is_gone(process)
    return datetime.now(UTC) - updated > ELSEWHERE if gone is None else gone


def check(database: Database, store: MediaStore, repair: bool = True) -> CheckReport:
    """Read everything once.

    The database's own consistency; that each part's blocks decode, follow each other and are what the part says;
    signals of finished takes against their hashes; media files against theirs.

    Parameters
    ----------
    database, store
        The archive.
    repair : bool
        Whether running takes and transcripts whose process is gone are marked as interrupted.
    """
    interrupted, broken_off = mark_gone(database, repair)
    problems = list(_database_problems(database))
    with database.read() as session:
        problems.extend(_audience_problems(session))
        transcripts = session.scalar(select(func.count()).select_from(Transcript)) or 0
        take_ids = list(session.scalars(select(Take.id).order_by(Take.id)))
        blocks = session.scalar(select(func.count()).select_from(Block)) or 0
        files = [
            Stored(*row) for row in session.execute(select(Media.sha256, Media.suffix, Media.bytes).where(_REFERENCED))
        ]
    for take_id in take_ids:
        problems.extend(_take_problems(database, store, take_id))
    problems.extend(p for stored in files if (p := store.problem(stored)))
    return CheckReport(len(take_ids), blocks, len(files), interrupted, tuple(problems), transcripts, broken_off)


def _database_problems(database: Database) -> Iterator[str]:
    if database.file is None:
        return  # a server looks after itself
    with database.read() as session:
        found = session.scalars(text("PRAGMA quick_check")).all()
        yield from (f"{database.where}: {line}" for line in found if line != "ok")
        for table, row, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
            yield f"{database.where}: row {row} of {table} refers to a row that {parent} has not"


def _audience_problems(session: Session) -> Iterator[str]:
    count, first, last = func.count(), func.min(Turn.number), func.max(Turn.number)
    turns = select(Turn.transcript_id, count, first, last).group_by(Turn.transcript_id)
    for transcript_id, told, begins, ends in session.execute(turns.having((first != 0) | (last != count - 1))):
        yield f"transcript {transcript_id}: of its turns up to {ends} it has {told}, from {begins} on"
    visits = select(Visit.id, Visit.take_id).outerjoin(Take, Take.id == Visit.take_id).where(Take.id.is_(None))
    for visit_id, take_id in session.execute(visits.order_by(Visit.id)):
        yield f"visit {visit_id}: its take {take_id} is not there"


def _take_problems(database: Database, store: MediaStore, take_id: str) -> Iterator[str]:
    try:
        with database.read() as session:
            take = session.get(Take, take_id)
            if take is None:
                return  # pruned meanwhile
            parts = [(part, SignalsHash(part.declared())) for part in take.parts]
    except (ValueError, KeyError, TypeError) as error:
        yield f"take {take_id}: its row cannot be read: {error}"
        return
    for part, signals in parts:
        try:
            yield from _part_problems(database, store, take.status, part, signals)
        except ArchiveError as error:
            yield str(error)
    hashes = {part.name: part.signals_hash or "" for part, _ in parts}
    if take.status == "done" and combined_hash(hashes) != take.signals_hash:
        yield f"take {take_id}: its hash is not that of its parts"


def _part_problems(
    database: Database, store: MediaStore, status: str, part: Part, signals: SignalsHash
) -> Iterator[str]:
    ticks = 0
    for block in read_blocks(database, store, part):
        if block.first_tick != ticks:
            yield f"{part}: a block starts at tick {block.first_tick}, expected {ticks}"
        ticks = block.end_tick
        signals.update(block)
    if status != "running" and ticks != part.ticks:
        yield f"{part}: its blocks hold {ticks} ticks, {part.ticks} were committed"
    if status == "done" and signals.hexdigest() != part.signals_hash:
        yield f"{part}: its signals have changed since they were recorded: they no longer give its hash"


def gc(
    database: Database, store: MediaStore, scratch_age_days: float, scratch_quota_bytes: int, dry_run: bool = False
) -> GcReport:
    """Remove scratch takes that are too old, then the oldest ones beyond the quota, then files nobody refers to.

    Kept and running takes are never touched, nor are scratch takes that a remaining take descends from or that an
    experiment was made on. A transcript goes with the last take that it attended. Sessions that were closed so long
    ago go too, with their edits, but not one whose take is kept; so do showings, but not the one that says where its
    programme stands.

    Parameters
    ----------
    database, store
        The archive.
    scratch_age_days : float
        Scratch takes, closed sessions and showings older than this go.
    scratch_quota_bytes : int
        Room for the scratch takes that stay, their media included.
    dry_run : bool
        Whether to report only.
    """
    before = datetime.now(UTC) - timedelta(days=scratch_age_days)
    if dry_run:
        with database.write() as session:
            takes, freed, transcripts = _prune(session, before, scratch_quota_bytes)
            work = _prune_work(session, before)
            files = list(_unreferenced(session, store))
            report = GcReport(takes, len(files), freed + sum(_size(f) for f in files), *work, transcripts)
            session.rollback()
        return report
    with database.write() as session:
        takes, freed, transcripts = _prune(session, before, scratch_quota_bytes)
        work = _prune_work(session, before)
    with database.write() as session:
        # Unlinked before the commit and under the writer's lock: whoever adds the same content either keeps its row
        # from being found here, or finds the file gone and writes it again.
        files = list(_unreferenced(session, store))
        for file in files:
            freed += _size(file)
            file.unlink(missing_ok=True)
    return GcReport(takes, len(files), freed, *work, transcripts)


def discard(database: Database, store: MediaStore, take_id: str, kept: bool) -> int:
    """Remove one take with the files that are its own, see `db.archive.Archive.discard`; returns the bytes given back.

    Parameters
    ----------
    database, store
        The archive.
    take_id : str
        The take.
    kept : bool
        Whether it may be a kept one.
    """
    with database.write() as session:
        take = session.get(Take, take_id)
        if take is None:
            raise ArchiveError(f"no take {take_id!r} in {database.where}")
        if take.status == "running" and not is_left(take.process, take.updated):
            raise ArchiveError(f"take {take_id} is being recorded: stop it first")
        if take.retention == "kept" and not kept:
            raise ArchiveError(f"take {take_id} is kept: make it scratch first")
        if heirs := children(session, [take_id]):
            raise ArchiveError(f"take {take_id}: {len(heirs)} came from it ({heirs[0]} ...): discard them first")
        if take_id in session.scalars(_STUDIED).all():
            raise ArchiveError(f"take {take_id} belongs to an experiment: what was found there rests on it")
        own = select(TakeMedia.sha256).where(TakeMedia.take_id == take_id)
        arrays = select(Block.arrays).where(Block.take_id == take_id)
        freed, hashes = take.bytes, {*session.scalars(own), *session.scalars(arrays)}
        _remove(session, [take_id])
        for sha256 in hashes - {None}:
            media = session.scalar(select(Media).where(Media.sha256 == sha256, ~_REFERENCED))
            if media is not None:
                freed += media.bytes
                session.delete(media)
                store.path(media.sha256, media.suffix).unlink(missing_ok=True)
    return freed


def _prune(session: Session, before: datetime, quota: int) -> tuple[tuple[str, ...], int, int]:
    """Delete scratch takes; returns their ids, newest first, the size of their blocks, and the count of transcripts."""
    scratch = and_(Take.retention == "scratch", Take.status != "running", Take.id.not_in(_STUDIED))
    query = select(Take.id, Take.created, Take.bytes, _file_bytes()).where(scratch).order_by(Take.id.desc())
    chosen: dict[str, int] = {}
    room = quota
    for take_id, created, block_bytes, file_bytes in session.execute(query):
        room -= block_bytes + file_bytes
        if created < before or room < 0:
            chosen[take_id] = block_bytes
    for needed in _ancestors(session, chosen):
        chosen.pop(needed, None)
    return tuple(chosen), sum(chosen.values()), _remove(session, tuple(chosen))


def _remove(session: Session, take_ids: Sequence[str]) -> int:
    """Delete takes, children before their parents, and transcripts of no other take; returns how many of these.

    What goes on or is coded stays.
    """
    if not take_ids:
        return 0
    attended = [{"gone": i} for i in session.scalars(_ATTENDED.where(Visit.take_id.in_(take_ids)).distinct())]
    connection = session.connection()
    connection.execute(delete(Take).where(Take.id == bindparam("gone")), [{"gone": i} for i in take_ids])
    if not attended:
        return 0
    coded = select(Annotation.transcript_id)
    alone = ~exists().where(Visit.transcript_id == Transcript.id) & Transcript.id.not_in(coded)
    over = delete(Transcript).where(Transcript.id == bindparam("gone"), Transcript.ended.is_not(None), alone)
    return connection.execute(over, attended).rowcount


def _prune_work(session: Session, before: datetime) -> tuple[int, int]:
    """Delete closed sessions and showings of before; returns how many of each."""
    kept = exists().where(Take.id == StudioSession.take_id, Take.retention == "kept")
    old = StudioSession.closed & (StudioSession.updated < before) & ~kept
    # What was skipped is no place to go on from.
    shown = Showing.outcome.is_(None) | (Showing.outcome != "skipped")
    standing = select(func.max(Showing.id)).where(shown).group_by(Showing.programme)
    gone = (Showing.started < before) & Showing.id.not_in(standing)
    deleted = [
        session.connection().execute(delete(t).where(which)) for t, which in ((StudioSession, old), (Showing, gone))
    ]
    return deleted[0].rowcount, deleted[1].rowcount


def _file_bytes() -> ColumnElement[int]:
    """Size of a take's media files and array channels, as a scalar subquery."""
    files = select(TakeMedia.sha256).where(TakeMedia.take_id == Take.id)
    arrays = select(Block.arrays).where(Block.take_id == Take.id)
    total = select(func.coalesce(func.sum(Media.bytes), 0)).where(Media.sha256.in_(files) | Media.sha256.in_(arrays))
    return total.scalar_subquery()


def _ancestors(session: Session, chosen: Collection[str]) -> set[str]:
    """All takes from which a take outside `chosen` descends."""
    parents: dict[str, list[str]] = {}
    for child, parent in session.execute(select(TakeParent.take_id, TakeParent.parent_id)):
        parents.setdefault(child, []).append(parent)
    waiting = [p for child, of_child in parents.items() if child not in chosen for p in of_child]
    found: set[str] = set()
    while waiting:
        take_id = waiting.pop()
        if take_id not in found:
            found.add(take_id)
            waiting.extend(parents.get(take_id, ()))
    return found


def _unreferenced(session: Session, store: MediaStore) -> Iterator[Path]:
    """Delete the rows of media that nothing refers to; yields their files, and old files that have no row."""
    for media in session.scalars(select(Media).where(~_REFERENCED)):
        session.delete(media)
        if (path := store.path(media.sha256, media.suffix)).exists():
            yield path
    session.flush()
    known = {store.path(*row) for row in session.execute(select(Media.sha256, Media.suffix))}
    yield from (path for path in store.old_files() if path not in known)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


#: Whether a media row's file belongs to something.
_REFERENCED = exists().where(TakeMedia.sha256 == Media.sha256).correlate(Media) | exists().where(
    Block.arrays == Media.sha256
).correlate(Media)
#: Transcripts of visits, and takes that experiments are made on.
_ATTENDED = select(Visit.transcript_id).where(Visit.transcript_id.is_not(None))
_STUDIED = (
    select(Visit.take_id)
    .join(Transcript, Transcript.id == Visit.transcript_id)
    .where(Transcript.experiment_id.is_not(None))
    .union(select(Work.take_id))
)
