"""What is no archive, or cannot be written, is one clear line; what was committed stays."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db.archive import Archive, ArchiveError, NewTake, Recorder
from db.database import judge
from pieces.signals import Channel, FrameBlock

NEW = NewTake(piece_name="p", piece={}, piece_hash="0" * 64, seed=1, parts=[("fit", 20.0)])
CHANNELS = [Channel(f"c{i}", "A channel.", dtype="float64") for i in range(16)]


def refused(where: Path | str, match: str, create: bool = True) -> None:
    with pytest.raises(ArchiveError, match=match) as caught:
        Archive.open(where, create=create)
    assert "\n" not in str(caught.value)
    assert str(where) in str(caught.value)


def made(where: Path) -> Path:
    with Archive.open(where) as archive:
        archive.begin(NEW).interrupt()
    return where


def append(recorder: Recorder, ticks: int = 512) -> None:
    noise = np.random.default_rng(recorder.next_tick()).random((16, ticks))
    recorder.append(FrameBlock(recorder.next_tick(), {f"c{i}": noise[i] for i in range(16)}))


def append_for_ever(recorder: Recorder) -> None:
    while True:
        append(recorder)


def test_foreign_files(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("These are notes, long enough to be read as the header of a database file: " * 4)
    refused(text, "not an SQLite file")
    refused(tmp_path, "a folder")
    refused(text / "sub" / "a.db", "its folder cannot be made")
    refused(tmp_path / "none.db", "no archive there", create=False)
    refused("nodialect://x", "say where its media|plugin")
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("CREATE TABLE takes (id TEXT)")
    before = foreign.read_bytes()
    refused(foreign, "another program's database")
    assert foreign.read_bytes() == before
    assert text.read_text().startswith("These are notes")


def test_server_needs_a_media_folder() -> None:
    refused("postgresql://localhost/descant", "add .media=")


def test_empty_file_becomes_an_archive(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    refused(empty, "an empty database", create=False)
    with Archive.open(empty) as archive:
        assert archive.takes() == []


def test_torn_file(tmp_path: Path) -> None:
    where = made(tmp_path / "a.db")
    whole = where.read_bytes()
    where.write_bytes(whole[: len(whole) // 3])
    refused(where, "damaged")
    where.write_bytes(whole[:60])
    refused(where, "damaged|not an SQLite file")


def test_newer_archive(tmp_path: Path) -> None:
    where = made(tmp_path / "a.db")
    with sqlite3.connect(where) as database:
        database.execute("UPDATE descant_version SET version_num = '9999'")
    refused(where, "written by a newer Descant .revision 9999, this one knows up to")
    with pytest.raises(ArchiveError, match="written by a newer"):
        Archive.upgrade(where)


def test_older_archive_is_told_to_upgrade() -> None:
    with pytest.raises(ArchiveError, match="descant archive upgrade"):
        judge("0001", ("0001", "0002"), "a.db")
    judge("0002", ("0001", "0002"), "a.db")


def test_locked_archive(tmp_path: Path) -> None:
    where = made(tmp_path / "a.db")
    holder = sqlite3.connect(where, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Archive.open(f"sqlite:///{where}?timeout=0.05") as archive:
        with pytest.raises(ArchiveError, match="another process is holding it"):
            archive.begin(NEW)
        assert len(archive.takes()) == 1  # who only reads is not kept waiting
        holder.execute("ROLLBACK")
        archive.begin(NEW)
    holder.close()


def test_read_only_disk(small_disk: Path) -> None:
    where = made(small_disk / "a.db")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(small_disk / "b.db", "writable")
    refused(where, "writable")


def test_full_disk_while_recording(small_disk: Path) -> None:
    with Archive.open(small_disk / "a.db") as archive:
        recorder = archive.begin(NEW)
        recorder.channels(CHANNELS)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        append(recorder)
        recorder.flush()
        with pytest.raises(ArchiveError, match="the disk is full"):
            append_for_ever(recorder)
        ballast.unlink()
        recorder.fail("the disk is full")
    with Archive.open(small_disk / "a.db") as archive:
        take = archive.take("latest")
        assert (take.status, take.error) == ("failed", "the disk is full")
        assert take.ticks == recorder.next_tick() >= 512
        frames = archive.frames(take.id)
        assert frames.ticks == take.ticks
        np.testing.assert_array_equal(frames.arrays["c3"][:512], np.random.default_rng(0).random((16, 512))[3])
        assert archive.check().clean


def test_file_size_limit_while_recording(tmp_path: Path) -> None:
    code = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_faults import *
archive = Archive.open(sys.argv[1])
recorder = archive.begin(NEW)
recorder.channels(CHANNELS)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, -1))
try:
    append_for_ever(recorder)
except ArchiveError as error:
    print(error)
"""
    where = tmp_path / "a.db"
    child = subprocess.run(
        [sys.executable, "-c", code, where, Path(__file__).parent], capture_output=True, text=True, check=True
    )
    assert str(where) in child.stdout
    assert "what was committed is kept" in child.stdout
    assert child.stdout.count("\n") == 1
    with Archive.open(where) as archive:
        take = archive.take("latest")
        assert take.status == "interrupted"
        assert archive.frames(take.id).ticks == take.ticks > 0
        assert archive.check().clean
