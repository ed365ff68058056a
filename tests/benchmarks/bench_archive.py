"""Recording: what a tick costs, bytes per second beside raw sqlite3, a page of takes, memory of a long performance."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from db.archive import Archive, NewTake
from pieces.signals import Channel, FrameBlock
from tests.benchmarks.measure import Row, peak_memory

CHANNELS = tuple(Channel(f"c{i}", "noise") for i in range(32))

MEMORY = """
import tempfile, numpy as np
from pathlib import Path
from db.archive import Archive, NewTake
from pieces.signals import Channel, FrameBlock
from pieces.source import Source
from studio.performance import Performance

class Noise(Source):
    name = "noise"; about = "Noise."
    channels = tuple(Channel(f"c{i}", "noise") for i in range(64))
    tick = 0
    def step(self, controls, events, n):
        rows = np.random.default_rng(self.tick).random((64, n), dtype="float32")
        block = FrameBlock(self.tick, {c.name: rows[i] for i, c in enumerate(self.channels)})
        self.tick += n
        return block

with tempfile.TemporaryDirectory() as folder, Archive.open(Path(folder) / "a.db") as archive:
    new = dict(piece_name="noise", piece={}, piece_hash="", seed=0, parts=[("noise", 100.0)])
    recorder = archive.begin(NewTake(**new))
    source = Noise(0, {})
    recorder.channels(source.channels)
    for block in Performance(source, {}, TICKS):
        recorder.append(block)
    recorder.finish(duration_s=TICKS / 100)
"""


def new(seed: int = 0) -> NewTake:
    return NewTake(piece_name="bench", piece={}, piece_hash="", seed=seed, parts=[("noise", 100.0)])


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield _tick(Path(folder))
        yield _bytes(Path(folder))
        yield from _lists(Path(folder))
    small, large = (peak_memory(MEMORY.replace("TICKS", n)) for n in ("100_000", "1_000_000"))
    grown = large - small
    yield Row(
        "memory, 100,000 to 1,000,000 ticks x 64 channels", grown, "MB", "<= 20", grown <= 20, "peak at 100,000", small
    )


def _tick(folder: Path) -> Row:
    ticks, size = 100_000, 64
    block = [np.random.default_rng(i).random(size, dtype="float32") for i in range(32)]
    with Archive.open(folder / "tick.db") as archive:
        recorder = archive.begin(new())
        recorder.channels(CHANNELS)
        began = time.process_time()
        for first in range(0, ticks, size):
            recorder.append(FrameBlock(first, {f"c{i}": a for i, a in enumerate(block)}))
        recorder.flush()
        spent = (time.process_time() - began) / ticks * 1e6
    return Row("recording a tick, 32 channels, blocks of 64", spent, "us", "<= 20", spent <= 20)


def _bytes(folder: Path) -> Row:
    """The same 256 KB blobs through the archive (less its hashing, measured apart) and through sqlite3, in turn."""
    arrays = np.random.default_rng(0).random((32, 2048), dtype="float32")
    count = 200
    total = count * arrays.nbytes / 1e6
    turns = [
        (_ours(folder / f"ours{i}.db", arrays, count), _raw(folder / f"raw{i}.db", arrays, count)) for i in range(7)
    ]
    ours, raw = (total / float(np.median(seconds)) for seconds in zip(*turns, strict=True))
    what = "archive, 256 KB blobs, hashing excluded (medians of 7)"
    return Row(what, ours, "MB/s", ">= 0.8 of raw", ours >= 0.8 * raw, "raw sqlite3", raw)


def _ours(path: Path, arrays: np.ndarray[tuple[int, int], np.dtype[np.float32]], count: int) -> float:
    size = arrays.shape[1]
    with Archive.open(path) as archive:
        recorder = archive.begin(new())
        recorder.channels(CHANNELS)
        began = time.perf_counter()
        for i in range(count):
            recorder.append(FrameBlock(i * size, {c.name: arrays[k] for k, c in enumerate(CHANNELS)}))
        recorder.flush()
        spent = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(count):
        for row in arrays:
            hashlib.sha256(row.data)
    return spent - (time.perf_counter() - began)


def _raw(path: Path, arrays: np.ndarray[tuple[int, int], np.dtype[np.float32]], count: int) -> float:
    blob = arrays.tobytes()
    base = sqlite3.connect(path)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=normal")
    base.execute("create table b (take text, first integer, payload blob, primary key (take, first))")
    began = time.perf_counter()
    for i in range(count):
        with base:
            base.execute("insert into b values (?, ?, ?)", ("t", i, blob))
    spent = time.perf_counter() - began
    base.close()
    return spent


def _lists(folder: Path) -> Iterator[Row]:
    """Pages and searches among 100,000 takes, every one labelled and with a piece of 2 KB."""
    with Archive.open(folder / "many.db") as archive:
        _fill(archive)
        pages = max(_seconds(archive, offset=offset) for offset in (0, 50_000, 99_900)) * 1e3
        wanted: tuple[dict[str, Any], ...] = (
            {"text": "nowhere"},
            {"text": "piece3 loud"},
            {"text": "heard", "offset": 50_000},
            {"tags": ["loud"], "rating": 5, "retention": "kept"},
            {"text": "00ff"},
        )
        searches = max(_seconds(archive, **one) for one in wanted) * 1e3
    yield Row("a page of takes among 100,000 (first, middle, last: slowest)", pages, "ms", "<= 100", pages <= 100)
    yield Row("a search among 100,000 labelled takes (slowest of 5)", searches, "ms", "<= 100", searches <= 100)


def _seconds(archive: Archive, **wanted: Any) -> float:
    """The median of five."""
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        archive.takes(limit=50, **wanted)
        spent.append(time.perf_counter() - began)
    return float(np.median(spent))


def _fill(archive: Archive) -> None:
    from sqlalchemy import insert

    from db.models import Label, Part, Tag, Take

    archive.begin(new()).finish(duration_s=0)
    words = "what was heard in it, and where it should be softer"
    with archive._database.write() as session:
        first = session.query(Take).one()
        shared = {c.key: getattr(first, c.key) for c in Take.__mapper__.column_attrs} | {"piece": {"about": "x" * 2000}}
        for start in range(0, 100_000, 10_000):
            ids = [f"{start + i:08x}-bench" for i in range(10_000)]
            names = [{"piece_name": f"piece{i % 12}", "retention": ("kept", "scratch")[i % 2]} for i in range(10_000)]
            rows = zip(ids, names, strict=True)
            session.execute(insert(Take), [{**shared, **name, "id": take_id} for take_id, name in rows])
            part = {"number": 0, "name": "noise", "rate": 100.0, "channels": []}
            session.execute(insert(Part), [{**part, "take_id": take_id} for take_id in ids])
            label = {"title": "A take", "notes": words, "words": f"a take\n{words}\nloud"}
            rated = [{**label, "take_id": take_id, "rating": i % 6} for i, take_id in enumerate(ids)]
            session.execute(insert(Label), rated)
            session.execute(insert(Tag), [{"take_id": take_id, "tag": "loud"} for take_id in ids])
