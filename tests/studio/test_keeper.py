"""The archive's thread: what is queued is stored, in order, however long another program holds the archive."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from db.archive import Archive
from db.work import Edit, SessionRecord
from pieces.piece import find_piece, parse_piece
from pieces.signals import Channel, FrameBlock
from studio.compose import Origin, conduct
from studio.keeper import Keeper, LiveTake, Notebook
from studio.messages import Notice
from studio.plan import Plan, plan
from studio.replay import verify
from studio.reports import Recording

SESSION = SessionRecord(name="cubics", base="/tmp", file=None, seed=3)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@pytest.fixture
def said() -> list[object]:
    return []


@pytest.fixture
def keeper(tmp_path: Path, said: list[object]) -> Iterator[Keeper]:
    made = Keeper(f"sqlite:///{tmp_path / 'a.db'}?timeout=0.05", said.append)
    yield made
    made.close(5.0)


@pytest.fixture
def planned() -> Plan:
    piece, base = find_piece("cubics")
    return plan("cubics", piece.with_values({"parts.cubics.ticks": 40}), base)


def performed(found: Plan, seed: int) -> list[tuple[str, FrameBlock]]:
    return list(conduct(found.piece, found.players, seed))


def record(keeper: Keeper, found: Plan, said: list[object]) -> LiveTake:
    take = LiveTake(lambda: found, 7, lambda: Origin(), said.append)
    channels = {part: player.source.channels for part, player in found.players.items()}
    keeper.do(lambda archive: take.begin(archive, channels))
    for part, block in performed(found, 7):
        keeper.do(lambda archive, part=part, block=block: take.append(part, block))  # type: ignore[misc]
    keeper.do(lambda archive: take.finish(2.0))
    return take


def test_a_live_take_is_recorded_as_scratch_and_replays(
    keeper: Keeper, planned: Plan, said: list[object], tmp_path: Path
) -> None:
    take = record(keeper, planned, said)
    keeper.do(take.keep)
    assert keeper.close(20.0)
    assert [r.state for r in said if isinstance(r, Recording)] == ["scratch", "kept"]
    with Archive.open(tmp_path / "a.db") as archive:
        (row,) = archive.takes()
        assert (row.id, row.status, row.retention, row.ticks, row.duration_s) == (take.take_id, "done", "kept", 40, 2.0)
        assert verify(archive, row.id).identical
        assert archive.check().clean


def test_nothing_is_lost_while_another_program_holds_the_archive(
    keeper: Keeper, planned: Plan, said: list[object], tmp_path: Path
) -> None:
    keeper.do(lambda archive: None)
    until(lambda: (tmp_path / "a.db").exists())
    book = Notebook(SESSION)
    keeper.do(lambda archive: book.keep(archive, [Edit(0, None, "opened", {})], 0, 0))
    with Archive.open(tmp_path / "a.db") as archive:
        until(lambda: bool(list(archive._database.engine.connect().exec_driver_sql("select 1 from sessions"))))
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    take = record(keeper, planned, said)
    edits = [Edit(0, None, "opened", {}), Edit(1, 0, "louder", {"gain": 1})]
    keeper.do(lambda archive: book.keep(archive, edits, 1, 1))
    until(lambda: any(isinstance(r, Notice) for r in said))
    holder.execute("ROLLBACK")
    holder.close()
    assert keeper.close(20.0)
    notices = [r.text for r in said if isinstance(r, Notice)]
    assert len(notices) == 1
    assert "another process is holding it" in notices[0]
    assert "\n" not in notices[0]
    with Archive.open(tmp_path / "a.db") as archive:
        assert archive.take(str(take.take_id)).ticks == 40
        assert archive.check().clean
        with sqlite3.connect(tmp_path / "a.db") as database:
            assert database.execute("SELECT number, label FROM edits").fetchall() == [(0, "opened"), (1, "louder")]


def test_an_archive_that_cannot_be_opened_is_said_once(tmp_path: Path, said: list[object], planned: Plan) -> None:
    (tmp_path / "a.db").write_text("no archive at all, and long enough to be seen for what it is" * 20)
    keeper = Keeper(str(tmp_path / "a.db"), said.append)
    record(keeper, planned, said)
    assert keeper.close(10.0)
    (off,) = said
    assert isinstance(off, Recording)
    assert off.state == "off"
    assert "not an SQLite file" in off.line


def test_a_failed_job_is_a_notice_and_the_next_one_is_done(keeper: Keeper, said: list[object]) -> None:
    done = []
    keeper.do(lambda archive: archive.labels.rename("gone", "x"))
    keeper.do(lambda archive: done.append(len(archive.takes())))
    assert keeper.close(10.0)
    assert done == [0]
    assert [r.text for r in said if isinstance(r, Notice)] == ["no take 'gone': descant takes lists them"]


def test_discarded_it_is_gone_and_interrupted_it_stays(keeper: Keeper, planned: Plan, said: list[object]) -> None:
    take = record(keeper, planned, said)
    keeper.do(take.discard)
    other = LiveTake(lambda: planned, 7, lambda: Origin(), said.append)
    channels = {part: player.source.channels for part, player in planned.players.items()}
    keeper.do(lambda archive: other.begin(archive, channels))
    keeper.do(lambda archive: other.interrupt())
    found = []
    keeper.do(lambda archive: found.extend((t.id, t.status) for t in archive.takes()))
    assert keeper.close(20.0)
    assert found == [(other.take_id, "interrupted")]
    assert [r.state for r in said if isinstance(r, Recording)] == ["scratch", "discarded", "scratch"]


def test_a_session_in_which_nothing_was_done_is_forgotten(keeper: Keeper, tmp_path: Path) -> None:
    idle, busy = Notebook(SESSION), Notebook(SESSION)
    first = Edit(0, None, "opened", {})
    keeper.do(lambda archive: idle.keep(archive, [first], 0, 0))
    keeper.do(lambda archive: busy.keep(archive, [first, Edit(1, 0, "x", {"a": 1})], 1, 1))
    keeper.do(idle.close)
    keeper.do(busy.close)
    assert keeper.close(10.0)
    with sqlite3.connect(tmp_path / "a.db") as database:
        assert database.execute("SELECT closed, head FROM sessions").fetchall() == [(1, 1)]


def test_a_piece_of_an_earlier_take_is_given_its_material(
    keeper: Keeper, planned: Plan, said: list[object], tmp_path: Path
) -> None:
    first = record(keeper, planned, said)
    until(lambda: first.ended)
    raw = {
        "title": "again",
        "parts": {"old": {"source": "recording", "rate": 20, "ticks": 40, "inputs": {"take": str(first.take_id)}}},
        "score": {
            "voices": {"a": {"instrument": "glide", "lanes": {"pitch": {"channel": "loss", "range": [200, 400]}}}}
        },
    }
    again = plan("again", parse_piece(raw, "again"), tmp_path)
    take = LiveTake(lambda: again, 1, lambda: Origin(), said.append)
    paths: dict[str, str] = {}
    keeper.do(lambda archive: paths.update(take.paths(archive)))
    until(lambda: bool(paths))
    assert Path(paths["old.take"]).stat().st_size > 1000


def notices(said: list[object]) -> list[str]:
    return [r.text for r in said if isinstance(r, Notice)]


def noise(number: int) -> FrameBlock:
    """Sixteen ticks of a channel of arrays, which are kept in a file."""
    frames = np.random.default_rng(number).random((16, 32, 32)).astype("float32")
    return FrameBlock(16 * number, {"a": frames})


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def begun(keeper: Keeper, found: Plan, said: list[object]) -> LiveTake:
    take = LiveTake(lambda: found, 7, lambda: Origin(), said.append)
    keeper.do(lambda archive: take.begin(archive, {"cubics": [Channel("a", "Noise.", shape=(32, 32))]}))
    return take


def test_a_take_on_a_full_disk_waits_for_room_and_is_whole(small_disk: Path, planned: Plan, said: list[object]) -> None:
    keeper = Keeper(str(small_disk / "a.db"), said.append)
    take = begun(keeper, planned, said)
    keeper.do(lambda archive: take.append("cubics", noise(0)))
    keeper.do(lambda archive: take.flush())
    keeper.do(lambda archive: said.append("stored"))
    until(lambda: "stored" in said)
    fill(small_disk / "ballast")
    for number in range(1, 6):
        keeper.do(lambda archive, number=number: take.append("cubics", noise(number)))  # type: ignore[misc]
        keeper.do(lambda archive: take.flush())
    keeper.do(lambda archive: take.finish(2.0))
    until(lambda: bool(notices(said)))
    (small_disk / "ballast").unlink()
    assert keeper.close(20.0)
    (line,) = notices(said)
    assert f"{small_disk / 'a.db.media'}" in line
    assert "No space left on device" in line
    assert "nothing is lost" in line
    with Archive.open(small_disk / "a.db") as archive:
        assert archive.take(str(take.take_id)).status == "done"
        stored = archive.frames(str(take.take_id)).arrays["a"]
        np.testing.assert_array_equal(stored, np.concatenate([noise(n).arrays["a"] for n in range(6)]))
        assert archive.check().clean


def test_a_take_of_which_a_block_is_refused_is_never_done(
    keeper: Keeper, planned: Plan, said: list[object], tmp_path: Path
) -> None:
    take = begun(keeper, planned, said)
    for number in (0, 1, 3, 4, 5):
        keeper.do(lambda archive, number=number: take.append("cubics", noise(number)))  # type: ignore[misc]
    keeper.do(lambda archive: take.finish(2.0))
    assert keeper.close(20.0)
    (line,) = notices(said)
    assert "starts at tick 48, expected 32; what follows of this take is not recorded" in line
    with Archive.open(tmp_path / "a.db") as archive:
        found = archive.take(str(take.take_id))
        assert (found.status, found.ticks) == ("interrupted", 32)


def test_closing_waits_for_a_held_archive_as_long_as_it_says_and_says_what_is_lost(
    tmp_path: Path, said: list[object]
) -> None:
    keeper = Keeper(str(tmp_path / "a.db"), said.append)
    keeper.do(lambda archive: said.append("opened"))
    until(lambda: "opened" in said)
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    book = Notebook(SESSION)
    keeper.do(lambda archive: book.keep(archive, [Edit(0, None, "opened", {})], 0, 0))
    began = time.monotonic()
    assert not keeper.close(3.0)
    assert time.monotonic() - began < 6.0  # SQLite alone would wait for half a minute
    (line,) = notices(said)
    assert line.startswith(f"what came last is not stored: {tmp_path / 'a.db'}: another process is holding it")
    holder.execute("ROLLBACK")
    holder.close()
    keeper._thread.join(10.0)


def test_a_take_that_is_refused_when_its_row_is_there_is_never_done(
    keeper: Keeper, planned: Plan, said: list[object], tmp_path: Path
) -> None:
    def told(archive: Archive, take_id: str) -> None:
        archive.labels.rename("gone", "x")

    take = LiveTake(lambda: planned, 7, lambda: Origin(), said.append, told)
    channels = {part: player.source.channels for part, player in planned.players.items()}
    keeper.do(lambda archive: take.begin(archive, channels))
    (part, block), *_ = performed(planned, 7)
    keeper.do(lambda archive: take.append(part, block))
    keeper.do(lambda archive: take.finish(2.0))
    assert keeper.close(20.0)
    assert notices(said) == ["no take 'gone': descant takes lists them"]
    with Archive.open(tmp_path / "a.db") as archive:
        (row,) = archive.takes()
        assert (row.id, row.status, row.ticks) == (take.take_id, "interrupted", 0)
