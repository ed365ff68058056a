"""check finds damage; gc removes what nobody keeps, and never what somebody does; migrations give the models."""

from __future__ import annotations

import os
import sqlite3
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from db.archive import Archive, ArchiveError, NewTake
from db.database import alembic_config
from db.migrations import REVISIONS, VERSION_TABLE
from db.models import Base
from db.work import Edit, SessionRecord
from pieces.signals import Channel, FrameBlock
from pieces.stream import encode_block

CHANNELS = [Channel("x", "A scalar."), Channel("w", "An array.", shape=(50,))]


def record(archive: Archive, fill: int = 0, **more: object) -> str:
    about = {"piece_name": "p", "piece": {}, "piece_hash": "0" * 64, "seed": 1, "parts": [("fit", 20.0)], **more}
    recorder = archive.begin(NewTake(**about))  # type: ignore[arg-type]
    recorder.channels(CHANNELS)
    for first in (0, 10):
        w = np.full((10, 50), fill + first, "float32")
        recorder.append(FrameBlock(first, {"x": np.arange(10, dtype="float32"), "w": w}))
        recorder.flush()
    recorder.finish(duration_s=1.0)
    return recorder.take_id


def change(archive: Archive, sql: str, *values: object) -> None:
    with sqlite3.connect(archive.where) as database:
        database.execute(sql, values)


def test_check_finds_each_kind_of_damage(archive: Archive, tmp_path: Path) -> None:
    takes = [record(archive, fill=100 * i) for i in range(5)]
    (tmp_path / "mix.wav").write_bytes(b"sound")
    mix = archive.add_media(takes[0], "mix", tmp_path / "mix.wav")
    assert archive.check().clean
    mix.path.write_bytes(b"sOund")
    x = np.arange(10, dtype="float32")
    change(archive, "UPDATE blocks SET payload = x'00' WHERE number = 0 AND take_id = ?", takes[1])
    other = encode_block(FrameBlock(0, {"x": x + 1}))
    change(archive, "UPDATE blocks SET payload = ? WHERE number = 0 AND take_id = ?", other, takes[2])
    change(archive, "DELETE FROM blocks WHERE number = 0 AND take_id = ?", takes[3])
    gone = next(iter(archive.media_folder.rglob("*.block")))
    gone.unlink()
    problems = "\n".join(archive.check().problems)
    assert f"{mix.path}: damaged" in problems
    assert f"take {takes[1]}, part fit, ticks 0 to 9: damaged" in problems
    assert f"take {takes[2]}, part fit: its signals have changed" in problems
    assert f"take {takes[3]}, part fit: a block starts at tick 10, expected 0" in problems
    assert f"{gone}: missing" in problems
    with pytest.raises(ArchiveError, match="damaged"):
        archive.frames(takes[1])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.booleans()), min_size=1, max_size=8),
    quota=st.integers(0, 20_000),
    dry=st.booleans(),
)
def test_gc_never_touches_what_is_kept(
    archive: Archive, plan: list[tuple[bool, int, bool]], quota: int, dry: bool
) -> None:
    before = {t.id for t in archive.takes(limit=1000)}
    takes: list[str] = []
    parent_of: dict[str, str] = {}
    for kept, parent, has_parent in plan:
        parents = [(takes[parent % len(takes)], None, "branch")] if takes and has_parent else []
        take_id = record(archive, fill=len(takes), retention="kept" if kept else "scratch", parents=parents)
        takes.append(take_id)
        if parents:
            parent_of[take_id] = parents[0][0]
    report = archive.gc(scratch_age_days=1, scratch_quota_bytes=quota, dry_run=dry)
    left = {t.id for t in archive.takes(limit=1000)}
    assert {i for i, (kept, _, _) in zip(takes, plan, strict=True) if kept} <= left
    assert {parent_of[i] for i in left if i in parent_of} <= left
    if dry:
        assert left == before | set(takes)
        assert archive.gc(scratch_age_days=1, scratch_quota_bytes=quota) == report
    assert set(report.takes) == (before | set(takes)) - {t.id for t in archive.takes(limit=1000)}
    assert archive.check().clean


def test_gc_removes_old_work_that_is_closed_but_none_of_what_is_kept(archive: Archive) -> None:
    kept, scratch = record(archive), record(archive, fill=1, retention="scratch")

    def session(name: str, take_id: str | None, closed: bool) -> str:
        about = SessionRecord(name=name, base=".", file=None, seed=1, take_id=take_id)
        session_id = archive.sessions.begin(about, Edit(0, None, "opened", {"title": name}))
        archive.sessions.keep(session_id, Edit(1, 0, "louder", {"title": name}), 1, 1)
        if closed:
            archive.sessions.close(session_id)
        return session_id

    stay = [session("not closed", scratch, False), session("of a kept take", kept, True)]
    go = [session("of a scratch take", scratch, True), session("of no take", None, True)]
    shown = [archive.showings.begin("evening", n, f"item {n}") for n in range(3)]
    archive.showings.end(archive.showings.begin("evening", 3, "item 3"), "skipped", "it is gone")
    other = archive.showings.begin("morning", 0, "item 0")
    for table in ("sessions", "showings"):
        change(archive, f"UPDATE {table} SET {'updated' if table == 'sessions' else 'started'} = '2001-01-01 00:00:00'")
    stay.append(session("young", None, True))
    before = archive.gc(scratch_age_days=1, scratch_quota_bytes=10**9, dry_run=True)
    assert archive.gc(scratch_age_days=1, scratch_quota_bytes=10**9) == before
    assert (before.takes, before.sessions, before.showings) == ((), 2, 3)
    assert "2 closed sessions, 3 showings" in str(before)
    for session_id in stay:
        assert len(archive.sessions.take_over(session_id)[1]) == 2
    for session_id in go:
        with pytest.raises(ArchiveError, match="it was removed"):
            archive.sessions.take_over(session_id)
    with sqlite3.connect(archive.where) as database:
        assert database.execute("SELECT count(*) FROM edits").fetchone() == (6,)
    assert {s.id for s in archive.showings.list()} == {shown[-1], other}  # where their programmes stand


def test_gc_prunes_by_age_then_quota_and_sweeps_their_files(archive: Archive, tmp_path: Path) -> None:
    kept = record(archive, fill=7)
    old, young = record(archive, fill=7, retention="scratch"), record(archive, fill=9, retention="scratch")
    running = archive.begin(
        NewTake(piece_name="p", piece={}, piece_hash="", seed=1, parts=[("fit", 1.0)], retention="scratch")
    )
    change(archive, "UPDATE takes SET created = '2001-01-01 00:00:00.000000' WHERE id IN (?, ?)", old, running.take_id)
    (tmp_path / "mix.wav").write_bytes(b"sound of the old one")
    mix = archive.add_media(old, "mix", tmp_path / "mix.wav").path
    leftovers = [archive.media_folder / "tmp" / ("0" * 32), archive.media_folder / "making-x1y2_z3w" / "mix.wav"]
    fresh = archive.media_folder / "tmp" / ("1" * 32)
    for path in (*leftovers, fresh):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half a file")
    for path in leftovers:
        os.utime(path, (0, 0))
    report = archive.gc(scratch_age_days=1, scratch_quota_bytes=10**9)
    assert report.takes == (old,)
    assert report.bytes > 0
    assert not mix.exists()
    assert not any(path.exists() for path in leftovers)
    assert fresh.exists()
    assert archive.frames(kept).arrays["w"][0, 0] == 7  # shared with the pruned take
    assert archive.gc(scratch_age_days=1, scratch_quota_bytes=0).takes == (young,)
    assert {t.id for t in archive.takes()} == {kept, running.take_id}
    running.finish(duration_s=0.0)
    assert archive.check().clean


def test_gc_leaves_the_files_of_others_in_its_media_folder(tmp_path: Path) -> None:
    address = "ab" * 32
    theirs = [
        *("cover.png", "artist/song.mp3", "artist/album/song.mp3", "tmp/letter.txt", "making-of/film.mp4"),
        *(f"cd/{address}.wav", f"ab/{address[:-1]}.wav", f"ab/{address.upper()}.wav"),
    ]
    ours = f"ab/{address}.wav"
    for name in (*theirs, ours):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")
        os.utime(path, (0, 0))
    with Archive.open(f"sqlite:///{tmp_path / 'a.db'}?media={tmp_path / 'music'}") as archive:
        record(archive)
        assert archive.gc(scratch_age_days=1, scratch_quota_bytes=0).files == 1
        assert archive.check().clean
    assert [name for name in (*theirs, ours) if not (tmp_path / "music" / name).exists()] == [ours]


def test_a_media_folder_belongs_to_one_archive(tmp_path: Path) -> None:
    def where(name: str) -> str:
        return f"sqlite:///{tmp_path / name}?media={tmp_path / 'shared'}"

    with Archive.open(where("a.db")) as archive:
        record(archive)
    with pytest.raises(ArchiveError, match="holds the media of another archive") as caught:
        Archive.open(where("b.db"))
    assert "\n" not in str(caught.value)
    with Archive.open(where("a.db"), create=False) as archive:
        assert archive.check().clean
    (tmp_path / "a.db").rename(tmp_path / "c.db")  # it is the archive that owns the folder, not the file's name
    with Archive.open(where("c.db"), create=False) as archive:
        assert archive.check().clean


def test_media_folder_may_lie_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Archive.open(f"sqlite:///{tmp_path / 'a.db'}?media=~/music") as archive:
        assert archive.media_folder == tmp_path / "music"


def test_swept_content_can_come_back(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    (tmp_path / "b.wav").write_bytes(b"b")
    take_id = record(archive)
    archive.add_media(take_id, "mix", tmp_path / "a.wav")
    archive.add_media(take_id, "mix", tmp_path / "b.wav")
    assert archive.gc(scratch_age_days=1, scratch_quota_bytes=0).files == 1
    assert archive.add_media(take_id, "sheet", tmp_path / "a.wav").path.read_bytes() == b"a"
    assert archive.check().clean


def test_migrations_give_the_models(archive: Archive) -> None:
    with create_engine(f"sqlite:///{archive.where}").connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    assert [s.revision for s in scripts.walk_revisions()][::-1] == list(REVISIONS)
    assert archive.revision() == Archive.upgrade(archive.where) == REVISIONS[-1]
    assert (files("db.migrations") / "script.py.mako").is_file()


@pytest.mark.parametrize("broken", ["[1", '[{"name": "x"}]', '[{"name": "x", "about": "", "range": [null, 1]}]'])
def test_a_row_that_cannot_be_read_is_a_problem_and_hides_no_other(archive: Archive, broken: str) -> None:
    bad, good = record(archive), record(archive, fill=5)
    change(archive, "UPDATE parts SET channels = ? WHERE take_id = ?", broken, bad)
    change(archive, "UPDATE parts SET ticks = 19 WHERE take_id = ?", good)
    problems = archive.check().problems
    assert any(f"take {bad}: its row cannot be read" in p for p in problems)
    assert any(f"take {good}, part fit: its blocks hold 20 ticks" in p for p in problems)
