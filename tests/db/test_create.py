"""Several processes create one archive at the same moment: all of them get it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from db.archive import Archive, NewTake

ROUNDS, PROCESSES = 60, 3


def create(folder: Path, barrier: Barrier) -> None:
    for number in range(ROUNDS):
        barrier.wait(60)
        with Archive.open(folder / f"{number}.db") as archive:
            new = NewTake(piece_name="p", piece={}, piece_hash="", seed=number, parts=[("fit", 1.0)])
            archive.begin(new).finish(duration_s=0)


def test_processes_that_create_one_archive_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    started = [context.Process(target=create, args=(tmp_path, barrier)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [p.exitcode for p in started] == [0] * PROCESSES
    for number in range(ROUNDS):
        with Archive.open(tmp_path / f"{number}.db", create=False) as archive:
            assert len(archive.takes()) == PROCESSES
            assert archive.check().clean
