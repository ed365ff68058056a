"""An archive of an earlier revision, with takes in it, becomes one of this release and loses nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from sqlalchemy import text

from db.archive import Archive, ArchiveError, NewTake, VisitRecord
from db.audience import ExperimentRecord, NewTranscript
from db.database import Database, alembic_config
from db.migrations import REVISIONS
from db.work import Edit, SessionRecord
from pieces.signals import Channel, Event, FrameBlock

NEWEST = REVISIONS[-1]
CHANNELS = [Channel("x", "A scalar."), Channel("w", "An array.", shape=(5,))]


def recorded(archive: Archive, parent: str | None = None) -> str:
    parents = [(parent, 3, "branch")] if parent else []
    about = {"piece_name": "p", "piece": {"title": "P"}, "piece_hash": "0" * 64, "seed": 1, "parts": [("fit", 20.0)]}
    recorder = archive.begin(NewTake(**about, parents=parents))  # type: ignore[arg-type]
    recorder.channels(CHANNELS)
    w = np.arange(50, dtype="float32").reshape(10, 5)
    recorder.append(FrameBlock(0, {"x": np.arange(10, dtype="float32"), "w": w}, (Event(4, "note", {"midi": 60}),)))
    recorder.finish(duration_s=0.5)
    return recorder.take_id


@pytest.fixture
def first_release(tmp_path: Path) -> Path:
    """An archive with the tables of revision 0001, as that revision makes them, and two takes."""
    with Archive.open(tmp_path / "new.db") as archive:
        recorded(archive, recorded(archive))
    old = Database(tmp_path / "old.db")
    with old.write() as session:
        command.upgrade(alembic_config(session.connection()), "0001")
    old.engine.dispose()
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        tables = [n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert "labels" not in tables
        database.execute("ATTACH ? AS new", (str(tmp_path / "new.db"),))
        for table in tables:
            if table != "descant_version":
                database.execute(f"DELETE FROM {table}")
                columns = ", ".join(row[1] for row in database.execute(f"PRAGMA main.table_info({table})"))
                database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")
        database.commit()
    Path(f"{tmp_path / 'new.db'}.media").rename(f"{tmp_path / 'old.db'}.media")
    return tmp_path / "old.db"


def test_upgraded_archive_keeps_everything_and_takes_labels(first_release: Path) -> None:
    with pytest.raises(ArchiveError, match=rf"revision 0001, this Descant needs {NEWEST}.*descant archive upgrade"):
        Archive.open(first_release)
    assert Archive.upgrade(first_release) == NEWEST
    with Archive.open(first_release, create=False) as archive:
        assert archive.check().clean
        child, parent = archive.takes()
        assert (child.parents, child.title, child.rating, child.tags) == ((parent.id,), "", None, ())
        frames = archive.frames(child.id)
        np.testing.assert_array_equal(frames.arrays["w"].ravel(), np.arange(50))
        assert frames.events == (Event(4, "note", {"midi": 60}),)
        archive.labels.rename(child.id, "First light")
        assert [t.id for t in archive.takes(text="light")] == [child.id]
        assert archive.sessions.interrupted() == []
    assert Archive.upgrade(first_release) == NEWEST


def test_a_session_of_revision_0002_goes_on(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.db") as archive:
        edit = Edit(0, None, "opened", {"title": "One"})
        session = archive.sessions.begin(SessionRecord(name="p", base=str(tmp_path), file=None, seed=3), edit)
    database = Database(tmp_path / "a.db")
    with database.write() as connected:
        command.downgrade(alembic_config(connected.connection()), "0002")
    with database.read() as connected:
        columns = set(connected.connection().exec_driver_sql("SELECT * FROM sessions").keys())
    assert "file" in columns
    assert "parents" not in columns
    assert Archive.upgrade(tmp_path / "a.db") == NEWEST
    with Archive.open(tmp_path / "a.db") as archive:
        record, edits = archive.sessions.take_over(session)
        assert (record.name, record.seed, record.parents, edits) == ("p", 3, (), (edit,))


def test_visits_of_revision_0003_stay_and_were_no_part_of_a_game(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.db") as archive:
        take_id = recorded(archive)
        about = {"take_id": take_id, "visitor": "listener", "seed": 3, "progress": 0.25, "words": "a hum"}
        ids = [archive.add_visit(VisitRecord(**about, rows=[{"n": n}], details={"k": "v"})) for n in range(3)]  # type: ignore[arg-type]
        before = archive.visits(take_id)
        archive.visiting.begin_transcript(NewTranscript(visitor="random", seed=1))
        archive.studies.freeze(ExperimentRecord(name="e", hash="0" * 64, design={}))
    database = Database(tmp_path / "a.db")
    with database.write() as connected:
        command.downgrade(alembic_config(connected.connection()), "0003")
    with database.read() as connected:
        columns = list(connected.connection().exec_driver_sql("SELECT * FROM visits").keys())
        tables = set(connected.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")))
    assert (columns[-1], tables & {"transcripts", "turns", "trials"}) == ("details", set())
    assert Archive.upgrade(tmp_path / "a.db") == NEWEST
    with Archive.open(tmp_path / "a.db") as archive:
        assert [visit.id for visit in before] == ids[::-1]
        assert archive.visits(take_id) == before
        assert {(visit.transcript_id, visit.room) for visit in before} == {(None, None)}
        transcript = archive.visiting.begin_transcript(NewTranscript(visitor="random", seed=1))
        archive.add_visit(VisitRecord(**about, transcript_id=transcript, room=0))  # type: ignore[arg-type]
        assert archive.check().clean
        with closing(sqlite3.connect(tmp_path / "a.db")) as opened:
            keys = {(row[2], row[3], row[6]) for row in opened.execute("PRAGMA foreign_key_list(visits)")}
        assert keys == {("takes", "take_id", "CASCADE"), ("transcripts", "transcript_id", "CASCADE")}


def test_command_upgrades(first_release: Path, descant) -> None:  # type: ignore[no-untyped-def]
    assert "archive upgrade" in descant("--archive", first_release, "takes", code=1).stderr
    descant("--archive", first_release, "archive", "upgrade")
    assert "p" in descant("--archive", first_release, "takes").stdout


def test_downgrade_leaves_the_takes(first_release: Path) -> None:
    Archive.upgrade(first_release)
    database = Database(first_release)
    with database.write() as session:
        command.downgrade(alembic_config(session.connection()), "0001")
    assert database.revision() == "0001"
    Archive.upgrade(first_release)
    with Archive.open(first_release) as archive:
        assert len(archive.takes()) == 2
