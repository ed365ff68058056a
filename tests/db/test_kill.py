"""kill -9 at any point: what was committed is there, the archive is clean, the take opens and can be resumed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from db.archive import Archive

CHILD = """
import sys, numpy as np
from db.archive import Archive, NewTake
from pieces.signals import Channel, Event, FrameBlock
where, ticks, kill_me = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "kill"
CHANNELS = [Channel("x", "Its tick.", dtype="int64"), Channel("w", "An array.", shape=(4,), dtype="int32")]
print("open", flush=True)
archive = Archive.open(where)
recorder = archive.begin(NewTake(piece_name="p", piece={}, piece_hash="0" * 64, seed=1, parts=[("fit", 20.0)]))
print("began", recorder.take_id, flush=True)
recorder.channels(CHANNELS)
for first in range(0, ticks, 8):
    x = np.arange(first, first + 8)
    w = np.repeat(x, 4).reshape(8, 4).astype("int32")
    recorder.append(FrameBlock(first, {"x": x, "w": w}, (Event(first, "note", {"key": first}),)))
    if first % 32 == 24:
        recorder.flush()
        print("committed", recorder.next_tick(), flush=True)
while kill_me:
    print("committed", recorder.next_tick(), flush=True)
recorder.finish(duration_s=ticks / 20)
"""


def start(where: Path, ticks: int, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(where), str(ticks), mode], stdout=subprocess.PIPE, text=True
    )


def assert_whole(archive: Archive, take_id: str, at_least: int) -> int:
    frames = archive.frames(take_id)
    assert frames.ticks >= at_least
    if frames.ticks:
        np.testing.assert_array_equal(frames.arrays["x"], np.arange(frames.ticks))
        np.testing.assert_array_equal(frames.arrays["w"], np.repeat(np.arange(frames.ticks), 4).reshape(-1, 4))
    assert [e.tick for e in frames.events] == list(range(0, frames.ticks, 8))
    return frames.ticks


@pytest.mark.parametrize("lines", [2, 3, 4, *random.Random(1).sample(range(5, 40), 5)])
def test_killed_while_recording(tmp_path: Path, lines: int) -> None:
    child = start(tmp_path / "a.db", 8000, "kill")
    assert child.stdout is not None
    told = [child.stdout.readline().split() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    child.wait()
    committed = max([0, *(int(line[1]) for line in told if line[0] == "committed")])
    with Archive.open(tmp_path / "a.db", create=False) as archive:
        (take,) = archive.takes()
        assert (take.id, take.status) == (told[1][1], "interrupted")
        ticks = assert_whole(archive, take.id, committed)
        assert take.ticks == ticks
        report = archive.check()
        assert report.clean, report.problems
        recorder = archive.resume(take.id)
        assert recorder.next_tick() == ticks
        recorder.interrupt()


def test_killed_while_the_source_stalls(tmp_path: Path) -> None:
    stalls = CHILD.replace(
        "    if first % 32 == 24:", "    if first == 40:\n        import time; time.sleep(600)\n    if False:"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", stalls, str(tmp_path / "a.db"), "8000", "kill"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    take_id = [child.stdout.readline() for _ in range(2)][1].split()[1]
    try:
        with Archive.open(tmp_path / "a.db", create=False) as archive:
            deadline = time.monotonic() + 5
            while archive.take(take_id).ticks < 48 and time.monotonic() < deadline:
                time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    with Archive.open(tmp_path / "a.db", create=False) as archive:
        assert archive.take(take_id).status == "interrupted"
        assert assert_whole(archive, take_id, 48) == 48
        assert archive.check().clean


def test_killed_while_the_archive_is_made(tmp_path: Path) -> None:
    wait = random.Random(2)
    for number in range(6):
        where = tmp_path / f"{number}.db"
        child = start(where, 8, "kill")
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(wait.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        with Archive.open(where) as archive:
            assert archive.check().clean
            assert all(t.status == "interrupted" for t in archive.takes())


def test_two_processes_record_into_one_new_archive(tmp_path: Path) -> None:
    children = [start(tmp_path / "a.db", 1600, "finish") for _ in range(3)]
    for child in children:
        child.communicate()
        assert child.returncode == 0
    with Archive.open(tmp_path / "a.db", create=False) as archive:
        takes = archive.takes(status="done")
        assert len(takes) == 3
        assert len({archive.take(t.id).signals_hash for t in takes}) == 1
        for take in takes:
            assert assert_whole(archive, take.id, 1600) == 1600
        assert archive.check().clean


def test_take_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    child = start(tmp_path / "a.db", 64, "kill")
    assert child.stdout is not None
    take_id = [child.stdout.readline() for _ in range(3)][1].split()[1]
    try:
        with Archive.open(tmp_path / "a.db") as archive:
            assert archive.take(take_id).status == "running"
            assert archive.check().interrupted == ()
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert archive.check(repair=False).interrupted == (take_id,)
            assert archive.take(take_id).status == "running"
            assert archive.check().interrupted == (take_id,)
            assert archive.take(take_id).status == "interrupted"
    finally:
        child.kill()
