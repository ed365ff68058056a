"""Sessions of the studio and showings of an exhibition are in the archive as soon as they happen."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from db.archive import Archive, ArchiveError
from db.records import ArchiveBusy
from db.work import Edit, SessionRecord

NEW = SessionRecord(name="cubics", base="/a folder", file=None, seed=3)
FIRST = Edit(0, None, "opened", {"title": "One"})

CHILD = """
import sys, time
from db.archive import Archive
from db.work import Edit, SessionRecord
archive = Archive.open(sys.argv[1])
new = SessionRecord(name="cubics", base="/a folder", file="/a folder/my.toml", seed=3)
session = archive.sessions.begin(new, Edit(0, None, "opened", {"title": "One"}))
archive.sessions.keep(session, Edit(1, 0, "louder", {"title": "Two"}), 1, 1)
archive.sessions.keep(session, Edit(2, 1, "bells", {"title": "Three"}), 2, 2)
archive.sessions.keep(session, None, 1, 2)
print(session, flush=True)
time.sleep(600)
"""


def test_session_of_a_killed_process_is_offered_whole_and_only_then(archive: Archive) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, archive.where], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        session_id = child.stdout.readline().strip()
        assert archive.sessions.interrupted() == archive.sessions.earlier() == []
        with pytest.raises(ArchiveError, match=f"'cubics' is open in process {child.pid} on "):
            archive.sessions.take_over(session_id)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    (offered,) = archive.sessions.interrupted()
    assert archive.sessions.earlier() == [(offered, "louder")]
    assert (offered.id, offered.file, offered.seed) == (session_id, "/a folder/my.toml", 3)
    record, edits = archive.sessions.take_over(session_id)
    assert (record.head, record.tip) == (1, 2)
    assert edits == (FIRST, Edit(1, 0, "louder", {"title": "Two"}), Edit(2, 1, "bells", {"title": "Three"}))
    made = [datetime.fromisoformat(edit.created) for edit in edits]
    assert made == sorted(made)
    assert timedelta() < datetime.now(UTC) - made[0] < timedelta(minutes=5)
    assert archive.sessions.interrupted() == archive.sessions.earlier() == []  # it is ours now


def test_sessions_that_are_closed_come_back_with_the_edit_at_which_they_stand(archive: Archive) -> None:
    ids = [archive.sessions.begin(NEW, FIRST) for _ in range(2)]
    archive.sessions.keep(ids[0], Edit(1, 0, "louder", {"title": "Two"}), 1, 1)
    for session_id in ids:
        archive.sessions.close(session_id)
    assert [(record.id, label) for record, label in archive.sessions.earlier()] == [
        (ids[1], "opened"),
        (ids[0], "louder"),
    ]
    assert len(archive.sessions.earlier(1)) == 1
    archive.sessions.take_over(ids[1])
    assert [record.id for record, _ in archive.sessions.earlier()] == [ids[0]]


def test_closed_session_is_not_offered(archive: Archive) -> None:
    session_id = archive.sessions.begin(NEW, FIRST)
    archive.sessions.close(session_id)
    with sqlite3.connect(archive.where) as database:
        database.execute("UPDATE sessions SET process = json_set(process, '$.pid', 4194304)")
    assert archive.sessions.interrupted() == []
    with sqlite3.connect(archive.where) as database:
        database.execute("UPDATE sessions SET closed = 0")
    assert [s.id for s in archive.sessions.interrupted()] == [session_id]


def test_edit_of_the_same_number_takes_its_place(archive: Archive) -> None:
    session_id = archive.sessions.begin(NEW, FIRST)
    for level in (1, 2, 3):
        archive.sessions.keep(session_id, Edit(1, 0, f"gain {level}", {"gain": level}), 1, 1)
    archive.sessions.set(session_id, seed=9)
    record, edits = archive.sessions.take_over(session_id)
    assert [e.piece for e in edits] == [{"title": "One"}, {"gain": 3}]
    assert record.seed == 9


def test_a_held_archive_is_one_line_and_then_all_is_well(archive: Archive) -> None:
    session_id = archive.sessions.begin(NEW, FIRST)
    holder = sqlite3.connect(archive.where, isolation_level=None)
    with Archive.open(f"sqlite:///{archive.where}?timeout=0.05") as other:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(ArchiveBusy, match="another process is holding it: try again") as error:
            other.sessions.keep(session_id, Edit(1, 0, "x", {}), 1, 1)
        assert "\n" not in str(error.value)
        holder.execute("ROLLBACK")
        other.sessions.keep(session_id, Edit(1, 0, "x", {}), 1, 1)
    holder.close()
    with pytest.raises(ArchiveError, match="no session 'none'"):
        archive.sessions.close("none")


def test_showings_say_where_a_programme_stands(archive: Archive) -> None:
    first = archive.showings.begin("evening", 0, "Strata")
    archive.showings.at(first, 12.5)
    archive.showings.end(first, "done")
    second = archive.showings.begin("evening", 1, "Canon", position=3.0)
    archive.showings.at(second, 4.0)
    archive.showings.end(archive.showings.begin("other", 0, "Gone"), "skipped", "no take '0190'")
    latest, before = archive.showings.list("evening")
    assert (latest.item, latest.position, latest.outcome, latest.ended) == (1, 4.0, None, None)
    assert (before.id, before.position, before.outcome) == (first, 12.5, "done")
    assert before.ended is not None
    assert before.ended >= before.started
    assert archive.showings.list()[0].reason == "no take '0190'"
