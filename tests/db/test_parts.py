"""Takes of several parts: each has its own rate, channels, ticks, blocks and events, and is as safe as one alone."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from db.archive import Archive, ArchiveError, NewTake, PartRecord, Recorder
from db.export import export_signals
from db.models import Base
from db.records import combined_hash
from pieces.signals import Channel, Event, FrameBlock, SignalsHash
from pieces.stream import StreamReader, decode_block, encode_block

RATES = {"slow": 8.0, "fast": 60.0, "still": 0.5}
CHANNELS = {
    "slow": (Channel("loss", "A scalar.", dtype="float64"),),
    "fast": (Channel("loss", "Of the same name.", dtype="int32"), Channel("w", "An array.", shape=(3,))),
    "still": (Channel("x", "A scalar."), Channel("took", "Varies.", reproducible=False)),
}
NAMES = tuple(RATES)


def new_take(names: Sequence[str] = NAMES, **more: object) -> NewTake:
    about = {"piece_name": "p", "piece": {}, "piece_hash": "0" * 64, "seed": 1}
    return NewTake(**{**about, "parts": [(n, RATES[n]) for n in names], **more})  # type: ignore[arg-type]


def whole(name: str, ticks: int) -> FrameBlock:
    """All ticks of a part, which no other part has."""
    random = np.random.default_rng([NAMES.index(name), ticks])
    arrays = {c.name: (random.random((ticks, *c.shape)) * 100).astype(c.dtype) for c in CHANNELS[name]}
    return FrameBlock(0, arrays, tuple(Event(t, "note", {"of": name, "key": t}) for t in range(0, ticks, 3)))


def cut(block: FrameBlock, points: Sequence[int]) -> list[FrameBlock]:
    edges = [0, *sorted(points), block.ticks]
    return [
        FrameBlock(a, {n: x[a:b] for n, x in block.arrays.items()}, tuple(e for e in block.events if a <= e.tick < b))
        for a, b in pairwise(edges)
    ]


def begin(archive: Archive, names: Sequence[str] = NAMES, **more: object) -> Recorder:
    recorder = archive.begin(new_take(names, **more))
    for name in names:
        recorder.channels(CHANNELS[name], name)
    return recorder


def record(archive: Archive, ticks: Mapping[str, int], **more: object) -> str:
    """A finished take, in blocks of 10 ticks, one of each part in turn, each commit on its own."""
    recorder = begin(archive, tuple(ticks), **more)
    waiting = {name: cut(whole(name, n), range(10, n, 10)) for name, n in ticks.items()}
    while any(waiting.values()):
        for name, blocks in waiting.items():
            if blocks:
                recorder.append(blocks.pop(0), name)
        recorder.flush()
    recorder.finish(duration_s=1.0)
    return recorder.take_id


def assert_holds(archive: Archive, take_id: str, name: str, expected: FrameBlock) -> None:
    frames = archive.frames(take_id, part=name)
    assert (frames.rate, frames.ticks, frames.events) == (RATES[name], expected.ticks, expected.events)
    assert archive.events(take_id, part=name) == list(expected.events)
    for channel, array in expected.arrays.items() if expected.ticks else ():
        assert frames.arrays[channel].dtype == array.dtype
        np.testing.assert_array_equal(frames.arrays[channel], array)


def change(archive: Archive, sql: str, *values: object) -> None:
    with sqlite3.connect(archive.where) as database:
        database.execute(sql, values)


def refused(match: str, call: Callable[[], object]) -> None:
    with pytest.raises(ArchiveError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


@st.composite
def performances(draw: st.DrawFn) -> tuple[dict[str, FrameBlock], list[tuple[str, FrameBlock, bool]]]:
    """Two or three parts, and their blocks in any order that keeps each part's own, with commits in between."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(2, 3))]
    parts = {name: whole(name, draw(st.integers(0, 90))) for name in names}
    blocks = {name: cut(part, draw(st.lists(st.integers(0, part.ticks), max_size=5))) for name, part in parts.items()}
    order = draw(st.permutations([name for name, own in blocks.items() for _ in own]))
    return parts, [(name, blocks[name].pop(0), draw(st.booleans())) for name in order]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(performance=performances())
def test_any_interleaving_gives_each_part_back(
    archive: Archive, performance: tuple[dict[str, FrameBlock], list[tuple[str, FrameBlock, bool]]]
) -> None:
    parts, order = performance
    recorder = begin(archive, tuple(parts))
    for name, block, flush in order:
        assert recorder.next_tick(name) == block.first_tick
        recorder.append(block, name)
        if flush:
            recorder.flush()
    recorder.flush()
    take = archive.take(recorder.take_id)
    assert take.duration_s == max(part.ticks / RATES[name] for name, part in parts.items())
    signals_hash = recorder.finish(duration_s=7.0)
    take = archive.take(recorder.take_id)
    expected = {}
    for name, part in parts.items():
        assert_holds(archive, take.id, name, part)
        hashed = SignalsHash(CHANNELS[name])
        hashed.update(part)
        expected[name] = PartRecord(RATES[name], part.ticks, CHANNELS[name], hashed.hexdigest())
    assert list(take.parts.items()) == list(expected.items())
    assert take.signals_hash == signals_hash == combined_hash({n: str(p.signals_hash) for n, p in expected.items()})
    assert (take.ticks, take.duration_s) == (sum(p.ticks for p in parts.values()), 7.0)
    row = archive.takes(limit=1)[0]
    assert (row.id, row.ticks, row.duration_s) == (take.id, take.ticks, 7.0)
    assert archive.check().clean


def test_hash_of_one_part_is_its_own_and_of_several_that_of_their_names_and_hashes_in_order() -> None:
    a, b = "a" * 64, "b" * 64
    assert combined_hash({"fit": a}) == a
    text = f'[["fit","{a}"],["study","{b}"]]'
    assert combined_hash({"fit": a, "study": b}) == hashlib.sha256(text.encode()).hexdigest()
    others = ({"study": b, "fit": a}, {"fit": b, "study": a}, {"fit": a, "other": b}, {"fit": a, "study": b, "x": a})
    assert combined_hash({"fit": a, "study": b}) not in [combined_hash(other) for other in others]


def test_events_of_all_parts_come_in_order_of_commit(archive: Archive) -> None:
    recorder = begin(archive, ("slow", "fast"))
    slow, fast = cut(whole("slow", 9), [3, 6]), cut(whole("fast", 6), [3])
    for name, block in (("slow", slow[0]), ("slow", slow[1]), ("fast", fast[0]), ("slow", slow[2]), ("fast", fast[1])):
        recorder.append(block, name)
        recorder.flush()
    recorder.append(FrameBlock(6, {}, (Event(6, "converged"),)), "fast")
    recorder.finish(duration_s=1.0)
    found = [(e.data["of"], e.tick) for e in archive.events(recorder.take_id, "note")]
    assert found == [("slow", 0), ("slow", 3), ("fast", 0), ("slow", 6), ("fast", 3)]
    assert archive.events(recorder.take_id, "converged") == [Event(6, "converged")]
    assert archive.events(recorder.take_id, "converged", part="fast") == [Event(6, "converged")]
    assert archive.events(recorder.take_id, "converged", part="slow") == []


def test_each_part_follows_its_own_ticks(archive: Archive) -> None:
    recorder = begin(archive, ("slow", "fast"))
    recorder.append(whole("slow", 10), "slow")
    fast = whole("fast", 5)
    refused(
        "part fast: a block starts at tick 10, expected 0", lambda: recorder.append(FrameBlock(10, fast.arrays), "fast")
    )
    refused("part slow: a block starts at tick 0, expected 10", lambda: recorder.append(whole("slow", 10), "slow"))
    refused(
        "part slow, tick 10: a block has .'loss', 'w'.", lambda: recorder.append(FrameBlock(10, fast.arrays), "slow")
    )
    recorder.append(fast, "fast")
    assert (recorder.next_tick("slow"), recorder.next_tick("fast")) == (10, 5)
    recorder.finish(duration_s=1.25)
    assert archive.check().clean


def test_a_part_is_named_where_there_are_several(archive: Archive, tmp_path: Path) -> None:
    recorder = begin(archive, ("slow", "fast"))
    take_id = recorder.take_id
    calls: list[Callable[[str | None], object]] = [
        recorder.next_tick,
        lambda part: recorder.channels(CHANNELS["slow"], part),
        lambda part: recorder.append(whole("slow", 2), part),
        lambda part: archive.blocks(take_id, part=part),
        lambda part: archive.frames(take_id, part=part),
        lambda part: archive.stream(take_id, io.BytesIO(), part),
        lambda part: export_signals(archive, take_id, "csv", tmp_path / "out.csv", part),
    ]
    for call in calls:
        refused(f"take {take_id} has 2 parts: name one of slow, fast", lambda call=call: call(None))
        refused(f"take {take_id} has no part 'slo'; did you mean 'slow'", lambda call=call: call("slo"))
        call("slow")
    assert archive.events(take_id) == []
    refused("has no part 'slo'", lambda: archive.events(take_id, part="slo"))
    refused(
        "part slow has no channel 'w'; known are loss",
        lambda: archive.blocks(take_id, ["w"], part="slow"),
    )
    assert [b.ticks for b in archive.blocks(take_id, ["w"], part="fast")] == []
    alone = begin(archive, ("slow",))
    alone.append(whole("slow", 4))
    assert alone.next_tick() == alone.next_tick("slow") == 4
    alone.finish(duration_s=0.5)
    assert archive.frames(alone.take_id).ticks == 4


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ([], "one part at least"),
        ([("a", 1.0), ("b", 2.0), ("a", 3.0)], "'a' comes twice"),
        ([("a", 1.0), ("b", 0.0)], "part b: rate = 0.0: allowed"),
        ([("a", math.inf)], "part a: rate = inf: allowed"),
        ([("a", math.nan)], "part a: rate = nan: allowed"),
    ],
)
def test_parts_that_are_none_are_refused(archive: Archive, parts: list[tuple[str, float]], match: str) -> None:
    refused(match, lambda: archive.begin(new_take(parts=parts)))
    assert archive.takes() == []


def test_what_waits_of_all_parts_is_committed_in_one_transaction(archive: Archive) -> None:
    recorder = begin(archive)
    change(
        archive,
        "CREATE TRIGGER no_room BEFORE INSERT ON blocks WHEN NEW.part = 1 BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    parts = {name: whole(name, n) for name, n in (("slow", 5), ("fast", 40), ("still", 3))}
    for name, part in parts.items():
        recorder.append(part, name)
    refused("no room", recorder.flush)
    assert archive.take(recorder.take_id).ticks == 0
    assert [list(archive.blocks(recorder.take_id, part=name)) for name in NAMES] == [[], [], []]
    change(archive, "DROP TRIGGER no_room")
    recorder.finish(duration_s=1.0)  # nothing was lost
    for name, part in parts.items():
        assert_holds(archive, recorder.take_id, name, part)
    assert archive.check().clean


def test_after_a_failure_each_part_stands_at_its_last_committed_tick(archive: Archive) -> None:
    recorder = begin(archive, ("slow", "fast"))
    (slow, slow2), (fast, fast2) = cut(whole("slow", 9), [4]), cut(whole("fast", 50), [20])
    recorder.append(slow, "slow")
    recorder.append(fast, "fast")
    recorder.flush()
    recorder.append(slow2, "slow")
    recorder.append(fast2, "fast")
    change(archive, "CREATE TRIGGER no_room BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, 'no room'); END")
    recorder.fail("no room")
    change(archive, "DROP TRIGGER no_room")
    assert (recorder.next_tick("slow"), recorder.next_tick("fast")) == (4, 20)
    assert {n: p.ticks for n, p in archive.take(recorder.take_id).parts.items()} == {"slow": 4, "fast": 20}
    assert archive.check().clean
    again = archive.resume(recorder.take_id)
    again.append(slow2, "slow")
    again.append(fast2, "fast")
    other = record(archive, {"slow": 9, "fast": 50})
    assert again.finish(duration_s=1.0) == archive.take(other).signals_hash


def test_what_waits_of_all_parts_is_committed_though_nothing_follows(archive: Archive) -> None:
    recorder = begin(archive)
    for name in NAMES:
        recorder.append(whole(name, 6), name)
    deadline = time.monotonic() + 2
    with Archive.open(archive.where) as other:
        while not other.take(recorder.take_id).ticks and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [p.ticks for p in other.take(recorder.take_id).parts.values()] == [6, 6, 6]
    recorder.interrupt()


def test_failure_of_a_late_commit_is_raised_by_the_next_append_of_any_part(archive: Archive) -> None:
    recorder = begin(archive, ("slow", "fast"))
    change(archive, "CREATE TRIGGER no_room BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, 'no room'); END")
    recorder.append(whole("slow", 6), "slow")
    for timer in [t for t in threading.enumerate() if isinstance(t, threading.Timer)]:
        timer.join()
    refused("no room", lambda: recorder.append(whole("fast", 8), "fast"))
    change(archive, "DROP TRIGGER no_room")
    recorder.append(whole("fast", 8), "fast")
    recorder.finish(duration_s=1.0)
    assert_holds(archive, recorder.take_id, "slow", whole("slow", 6))
    assert_holds(archive, recorder.take_id, "fast", whole("fast", 8))


def test_resumed_take_goes_on_in_all_parts(archive: Archive) -> None:
    ticks = {"slow": 30, "fast": 200, "still": 7}
    expected = archive.take(record(archive, ticks)).signals_hash
    blocks = {name: cut(whole(name, n), [n // 2]) for name, n in ticks.items()}
    recorder = archive.begin(new_take())
    for name in ("slow", "fast"):  # the third one has not even started
        recorder.channels(CHANNELS[name], name)
        recorder.append(blocks[name][0], name)
    recorder.interrupt()
    recorder = archive.resume(recorder.take_id)
    assert {name: recorder.next_tick(name) for name in NAMES} == {"slow": 15, "fast": 100, "still": 0}
    refused("part slow: the source emits other channels", lambda: recorder.channels(CHANNELS["fast"], "slow"))
    recorder.channels(CHANNELS["slow"], "slow")
    recorder.channels(CHANNELS["still"], "still")
    recorder.append(blocks["still"][0], "still")
    for name in NAMES:
        recorder.append(blocks[name][1], name)
    assert recorder.finish(duration_s=1.0) == expected
    assert archive.check().clean


def test_check_names_the_part_that_is_damaged(archive: Archive) -> None:
    ticks = {"slow": 20, "fast": 40, "still": 10}
    takes = [record(archive, ticks) for _ in range(5)]
    assert archive.check().clean
    of_fast = "number = (SELECT max(number) FROM blocks WHERE take_id = ? AND part = 1)"
    change(archive, f"UPDATE blocks SET payload = x'00' WHERE take_id = ? AND {of_fast}", takes[0], takes[0])
    change(archive, "DELETE FROM blocks WHERE take_id = ? AND part = 0 AND first_tick = 0", takes[0])
    change(archive, "UPDATE parts SET ticks = 11 WHERE take_id = ? AND number = 2", takes[0])
    change(archive, "DELETE FROM blocks WHERE take_id = ? AND part = 2", takes[1])
    with sqlite3.connect(archive.where) as database:
        where = "take_id = ? AND part = 0 AND first_tick = 10"
        (payload,) = database.execute(f"SELECT payload FROM blocks WHERE {where}", [takes[2]]).fetchone()
        loss = decode_block(payload).arrays["loss"] + 1
        other = encode_block(FrameBlock(10, {"loss": loss}))
        database.execute(f"UPDATE blocks SET payload = ? WHERE {where}", [other, takes[2]])
    change(archive, "UPDATE takes SET signals_hash = ? WHERE id = ?", "0" * 64, takes[3])
    problems = archive.check().problems
    assert {p.partition(": ")[0] for p in problems if takes[0] in p} == {
        f"take {takes[0]}, part slow",
        f"take {takes[0]}, part fast, ticks 30 to 39",
        f"take {takes[0]}, part still",
    }
    assert f"take {takes[0]}, part slow: a block starts at tick 10, expected 0" in problems
    assert [p for p in problems if takes[1] in p] == [
        f"take {takes[1]}, part still: its blocks hold 0 ticks, 10 were committed",
        f"take {takes[1]}, part still: its signals have changed since they were recorded: they no longer give its hash",
    ]
    assert [p.partition(": ")[:2] for p in problems if takes[2] in p] == [(f"take {takes[2]}, part slow", ": ")]
    assert [p for p in problems if takes[3] in p] == [f"take {takes[3]}: its hash is not that of its parts"]
    assert not [p for p in problems if takes[4] in p]
    assert_holds(archive, takes[0], "still", whole("still", 10))  # what is whole can still be had
    refused("part fast, ticks 30 to 39: damaged", lambda: archive.frames(takes[0], part="fast"))


def test_gc_removes_all_parts_of_a_take(archive: Archive) -> None:
    gone = record(archive, {"slow": 20, "fast": 40, "still": 10}, retention="scratch")
    kept = record(archive, {"slow": 20, "fast": 30})
    files = set(archive.media_folder.rglob("*.block"))
    report = archive.gc(scratch_age_days=1, scratch_quota_bytes=0)
    assert report.takes == (gone,)
    assert len(files - set(archive.media_folder.rglob("*.block"))) == report.files > 0
    with sqlite3.connect(archive.where) as database:
        for table in ("parts", "blocks", "events"):
            assert database.execute(f"SELECT DISTINCT take_id FROM {table}").fetchall() == [(kept,)]
    assert_holds(archive, kept, "fast", whole("fast", 30))
    assert archive.check().clean


@pytest.mark.parametrize("name", NAMES)
def test_a_part_is_written_as_a_stream(archive: Archive, name: str) -> None:
    take_id = record(archive, {"slow": 20, "fast": 45, "still": 10})
    file = io.BytesIO()
    archive.stream(take_id, file, name)
    file.seek(0)
    reader = StreamReader(file)
    assert reader.channels == CHANNELS[name]
    assert reader.about == {"take": take_id, "part": name, "rate": RATES[name]}
    hashed, ticks = SignalsHash(reader.channels), 0
    for block in reader:
        assert block.first_tick == ticks
        hashed.update(block)
        ticks = block.end_tick
    part = archive.take(take_id).parts[name]
    assert (ticks, hashed.hexdigest()) == (part.ticks, part.signals_hash)


@pytest.mark.parametrize(("name", "columns"), [("slow", ["loss"]), ("fast", ["loss", "w[0]", "w[1]", "w[2]"])])
def test_a_part_is_exported_with_its_own_ticks_and_events(
    archive: Archive, tmp_path: Path, name: str, columns: list[str]
) -> None:
    take_id = record(archive, {"slow": 20, "fast": 45, "still": 10})
    exported = export_signals(archive, take_id, "csv", tmp_path / "out.csv", name)
    rows = list(csv.DictReader(exported.signals.open()))
    expected = whole(name, len(rows))
    assert list(rows[0]) == ["tick", "time_s", *columns]
    assert [float(r["time_s"]) for r in rows] == [t / RATES[name] for t in range({"slow": 20, "fast": 45}[name])]
    loss = expected.arrays["loss"]
    np.testing.assert_array_equal(np.array([float(r["loss"]) for r in rows]).astype(loss.dtype), loss)
    assert exported.events is not None
    events = list(csv.DictReader(exported.events.open()))
    assert [json.loads(e["data"])["of"] for e in events] == [name] * len(expected.events)
    assert [float(e["time_s"]) for e in events] == [e.tick / RATES[name] for e in expected.events]


CHILD = """
import sys, numpy as np
from db.archive import Archive, NewTake
from pieces.signals import Channel, Event, FrameBlock
archive = Archive.open(sys.argv[1])
sizes = {"slow": 2, "fast": 16, "odd": 5}
new = NewTake(piece_name="p", piece={}, piece_hash="", seed=1, parts=[(n, float(s)) for n, s in sizes.items()])
recorder = archive.begin(new)
for n in sizes:
    recorder.channels([Channel("x", "Its tick.", dtype="int64"), Channel("w", "Again.", shape=(2,), dtype="int32")], n)
while True:
    for n, size in sizes.items():
        first = recorder.next_tick(n)
        x = np.arange(first, first + size)
        w = np.repeat(x, 2).reshape(size, 2).astype("int32")
        recorder.append(FrameBlock(first, {"x": x, "w": w}, (Event(first, "note", {"of": n}),)), n)
    if recorder.next_tick("slow") % 16 == 0:
        recorder.flush()
        print(recorder.next_tick("slow"), flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 9, 23])
def test_killed_midway_every_part_is_whole_and_goes_on(tmp_path: Path, lines: int) -> None:
    sizes = {"slow": 2, "fast": 16, "odd": 5}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "a.db")], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(lines)][-1]
        child.send_signal(signal.SIGKILL)
    with Archive.open(tmp_path / "a.db", create=False) as archive:
        (row,) = archive.takes()
        take = archive.take(row.id)
        assert take.status == "interrupted"
        assert archive.check().clean
        recorder = archive.resume(take.id)
        for name, size in sizes.items():
            frames = archive.frames(take.id, part=name)
            assert frames.ticks == take.parts[name].ticks == recorder.next_tick(name) >= told // 2 * size
            np.testing.assert_array_equal(frames.arrays["x"], np.arange(frames.ticks))
            np.testing.assert_array_equal(frames.arrays["w"], np.repeat(np.arange(frames.ticks), 2).reshape(-1, 2))
            assert [e.tick for e in frames.events] == list(range(0, frames.ticks, size))
            assert {e.data["of"] for e in frames.events} == {name}
            more = np.arange(frames.ticks, frames.ticks + 3)
            w = np.repeat(more, 2).reshape(3, 2).astype("int32")
            recorder.append(FrameBlock(frames.ticks, {"x": more, "w": w}), name)
        recorder.finish(duration_s=1.0)
        assert archive.take(take.id).ticks == take.ticks + 9
        assert archive.check().clean


def test_tables_have_types_that_postgresql_shares() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    types = {str(c.type.compile(dialect)).partition("(")[0] for t in Base.metadata.tables.values() for c in t.columns}
    shared = {
        "BIGINT",
        "BOOLEAN",
        "BYTEA",
        "DOUBLE PRECISION",
        "JSON",
        "TEXT",
        "TIMESTAMP WITHOUT TIME ZONE",
        "VARCHAR",
    }
    assert types == shared
    for table in Base.metadata.tables.values():
        assert "SERIAL" not in str(CreateTable(table).compile(dialect=dialect))  # the archive itself numbers
        for key in table.foreign_key_constraints:  # PostgreSQL refers to what is unique only
            assert list(key.referred_table.primary_key.columns) == [e.column for e in key.elements]
