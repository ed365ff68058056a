"""The database under the archive: where it lies, its engine, transactions, and the revision it is at."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from db.migrations import REVISIONS, VERSION_TABLE
from db.models import Identity
from db.records import ArchiveBusy, ArchiveError

if TYPE_CHECKING:
    from alembic.config import Config

#: Seconds that a process waits for another one's commit.
BUSY_S = 30.0
#: Number of the advisory lock that stands for PostgreSQL's one writer.
_WRITERS = int.from_bytes(b"descant")

_SAYINGS = (
    ("disk is full", "the disk is full: free some space; what was committed is kept"),
    ("disk I/O error", "the disk refuses: free some space or check it; what was committed is kept"),
    ("readonly database", "cannot be written: make the file and its folder writable, or name another archive"),
    ("unable to open", "cannot be opened: make the file and its folder readable and writable, or name another archive"),
    ("locked", "another process is holding it: try again when that has finished"),
    ("malformed", "damaged: copy it away, then recover what can be read with the sqlite3 program's .recover"),
    ("not a database", "not an archive, and not an SQLite file at all: name another one"),
)


#: What of it may pass by itself.
_PASSING = frozenset(saying for sign, saying in _SAYINGS if sign in ("disk is full", "disk I/O error", "locked"))


class Database:
    """An engine and its two kinds of transaction.

    Parameters
    ----------
    where : str or Path
        Path of an SQLite file, or a SQLAlchemy URL. A server's URL says in ``media`` which folder holds the media
        (``postgresql://lab/descant?media=/shared/descant``); beside an SQLite file it is ``<file>.media``.
    patience : float
        Seconds that it waits for another process's commit; an SQLite URL's ``timeout`` goes before it.

    Raises
    ------
    ArchiveError
        If the place is none.
    """

    def __init__(self, where: str | Path, patience: float = BUSY_S) -> None:
        url, self.file, self.media_folder = _place(where)
        self.where = str(self.file) if self.file else url.render_as_string(hide_password=True)
        self._patience = patience
        self.engine = _engine(url, self.where, patience)
        self._writing = self.engine.execution_options(writing=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session in a transaction that sees one state throughout; keep it short."""
        with self._explained(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in a transaction that is committed at the end; one process at a time has one."""
        with self._explained(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def append(self) -> Iterator[Connection]:
        """Like `write`, as a bare connection: a session would cost as much as SQLite takes for a block."""
        with self._explained(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (StatementError, sqlite3.Error) as error:
            reason = _explain(error)
            kind = ArchiveBusy if reason in _PASSING else ArchiveError
            raise kind(f"{self.where}: {reason}") from error

    def revision(self) -> str | None:
        """The revision it is at; None for an empty database.

        Raises
        ------
        ArchiveError
            If it holds something else than an archive.
        """
        with self.read() as session:
            return _revision(session.connection(), self.where)

    def identity(self) -> str:
        """The archive's id."""
        with self.read() as session:
            return session.scalars(select(Identity.id)).one()

    def migrate(self) -> None:
        """Create the tables or bring them to this version, in one transaction."""
        from alembic import command

        if self.file:
            self._shape()
        with self.write() as session:
            connection = session.connection()
            if _revision(connection, self.where) == REVISIONS[-1]:
                return  # another process did it while this one waited
            command.upgrade(alembic_config(connection), "head")

    def _shape(self) -> None:
        """Choose what an SQLite file keeps for good.

        Pages of 8 KB suit blobs (sqlite.org, "Internal Versus External BLOBs"); with a write-ahead log others read
        while one writes.
        """
        with self._explained(), closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA page_size = 8192")
            deadline = time.monotonic() + self._patience
            while True:
                try:
                    cursor.execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as error:
                    # Here SQLite itself does not wait: several processes may be creating one archive.
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings for a connection; the revisions are found in the installed package."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "db:migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    return config


def judge(revision: str, known: Sequence[str], where: str) -> None:
    """Refuse a revision that is not the newest of `known` (oldest first).

    Raises
    ------
    ArchiveError
        Saying whether the archive or Descant has to be upgraded.
    """
    if revision not in known:
        raise ArchiveError(
            f"{where}: written by a newer Descant (revision {revision}, this one knows up to {known[-1]}): "
            "upgrade descant"
        )
    if revision != known[-1]:
        raise ArchiveError(
            f"{where}: an older archive (revision {revision}, this Descant needs {known[-1]}): "
            "run `descant archive upgrade`"
        )


def _place(where: str | Path) -> tuple[URL, Path | None, Path]:
    """URL, SQLite file if it is one, and media folder."""
    if "://" not in str(where):
        file = Path(where).expanduser().absolute()
        return URL.create("sqlite", database=str(file)), file, Path(f"{file}.media")
    try:
        url = make_url(str(where))
    except ArgumentError:
        raise ArchiveError(f"{where}: neither a path nor a SQLAlchemy URL") from None
    media = url.query.get("media")
    folder = Path(str(media)).expanduser().absolute()
    url = url.difference_update_query(["media"])
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ArchiveError(f"{where}: an archive in memory would be lost at the end: name a file")
        file = Path(url.database).absolute()
        return url, file, folder if media else Path(f"{file}.media")
    if not media:
        raise ArchiveError(
            f"{url.render_as_string()}: say where its media files lie: add ?media=/path/of/a/folder to the URL"
        )
    return url, None, folder


def _engine(url: URL, where: str, patience: float) -> Engine:
    waiting = {"timeout": patience} if url.get_backend_name() == "sqlite" and "timeout" not in url.query else {}
    try:
        engine = create_engine(url, json_serializer=_dumps, connect_args=waiting)
    except ImportError as error:
        raise ArchiveError(f"{where}: needs the Python package {error.name}: install it beside descant") from error
    except ArgumentError as error:
        raise ArchiveError(f"{where}: {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _dumps(value: object) -> str:
    """JSON, in which numbers that are none (the loudness of silence) are null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    """Settings of every SQLite connection.

    In WAL mode, with ``synchronous = NORMAL`` it syncs at checkpoints only: a commit survives the death of the process
    at any moment, a power cut may cost the last commits but never consistency, and live recording never waits for the
    disk. The log grows to 32 MB (4000 pages) before a checkpoint: a quarter of the default's syncs, a sixth less time
    for long recordings.
    """
    connection.isolation_level = None  # sqlite3 would begin transactions by itself, and too late
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")


def _begin_sqlite(connection: Connection) -> None:
    """Writers queue at once: a reader that becomes a writer is refused where another has written meanwhile."""
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    """The same: one writer at a time, and readers who see one state throughout."""
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql(
        f"SELECT pg_advisory_xact_lock({_WRITERS})" if writing else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    )


def _revision(connection: Connection, where: str) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if not {VERSION_TABLE, "takes", "blocks"} <= tables:
        shown = ", ".join(sorted(tables)[:3])
        raise ArchiveError(f"{where}: not an archive but another program's database (tables {shown}): name another one")
    return str(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")))


def _explain(error: StatementError | sqlite3.Error) -> str:
    reason = str(error.orig if isinstance(error, StatementError) else error).splitlines()[0]
    if isinstance(error, IntegrityError):
        return f"another process changed the same take ({reason})"
    return next((saying for sign, saying in _SAYINGS if sign in reason), reason)
