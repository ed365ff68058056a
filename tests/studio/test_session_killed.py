"""A studio, its engine or its performer that is killed, at any time: all goes on, and what was made is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.archive import Archive
from studio.messages import Opened
from studio.replay import verify
from studio.reports import Crashed, EngineState, Meters, Offered
from studio.session import Session
from tests.studio.exhibition.hall import until
from tests.studio.test_session import PIECE, Said, archived, stopped


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "quick.toml"
    found.write_text(PIECE)
    return found


CHILD = """
import sys, threading, time
from studio.session import Session
from studio.messages import Opened, Position

def main():
    opened, far = threading.Event(), threading.Event()
    def post(report):
        if isinstance(report, Opened):
            opened.set()
        if isinstance(report, Position) and report.beat > 12:
            far.set()
    session = Session(post, backend=None)
    session.open(sys.argv[1])
    assert opened.wait(30)
    session.play()
    for level in (-12.0, -15.0, -18.0):
        session.edit("score.voices.tone.gain_db", level)
        time.sleep(1.05)
    session.undo()
    assert far.wait(30)
    heavy = {"torch", "pyo", "transformers", "librosa", "matplotlib"} & set(sys.modules)
    print("ready", sorted(heavy), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    main()
"""


def test_a_killed_studio_is_offered_back_whole_and_never_loads_torch(
    home: Path, said: Said, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    child = subprocess.Popen(
        [sys.executable, tmp_path / "child.py", path],
        stdout=subprocess.PIPE,
        text=True,
        env={"DESCANT_HOME": str(home), "PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready []\n"
        time.sleep(0.7)  # what was made before is committed by now
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    session = Session(said, backend=None)
    session.look_back()
    (offered,) = said.wait(Offered).sessions
    assert (offered.file, offered.head, offered.tip) == (str(path), 2, 3)
    with Archive.open(home / "archive.db") as archive:
        (take,) = archive.takes()
        assert (take.status, take.id) == ("interrupted", offered.take_id)
        assert take.ticks >= 60
        assert archive.check().clean
    session.recover(offered.id)
    said.wait(Opened)
    assert session.piece["score"]["voices"]["tone"]["gain_db"] == -15.0
    assert [e.label for e in session.history.edits] == ["opened", *(f"tone gain_db = {v}" for v in (-12, -15, -18))]
    session.redo()
    assert session.piece["score"]["voices"]["tone"]["gain_db"] == -18.0
    session.save_as(tmp_path / "back.toml")
    assert (tmp_path / "back.toml").read_text() == PIECE.replace("-6.0", "-18.0")
    session.close()
    again = Said()
    other = Session(again, backend=None)
    other.look_back()
    assert again.wait(Offered).sessions == ()
    other.close()


EDITING = """
import sys, threading, time
from studio.session import Session
from studio.messages import Opened
from studio.reports import Recording

def main():
    opened, recorded = threading.Event(), threading.Event()
    def post(report):
        if isinstance(report, Opened):
            opened.set()
        if isinstance(report, Recording):
            recorded.set()
    session = Session(post, backend=None)
    session.open(sys.argv[1])
    assert opened.wait(30)
    session.play()
    assert recorded.wait(30)
    for number in range(1, 10_000):
        session.edit(("score.voices.tone.gain_db", "score.voices.tone.pan")[number % 2], -number / 10_000)
        print(number, flush=True)
        time.sleep(0.02)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("lines", random.Random(4).sample(range(2, 60), 3))
def test_killed_at_any_time_no_edit_of_half_a_second_ago_is_lost(
    home: Path, said: Said, path: Path, tmp_path: Path, lines: int
) -> None:
    (tmp_path / "child.py").write_text(EDITING)
    env = {"DESCANT_HOME": str(home), "PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"}
    child = subprocess.Popen([sys.executable, tmp_path / "child.py", path], stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert child.stdout is not None
        seen = [(int(child.stdout.readline()), time.monotonic()) for _ in range(lines)]
        time.sleep(0.1)
    finally:
        killed = time.monotonic()
        child.send_signal(signal.SIGKILL)
        child.wait()
    session = Session(said, backend=None)
    session.look_back()
    (offered,) = said.wait(Offered).sessions
    assert offered.head >= max([0, *(number for number, at in seen if at < killed - 0.5)])
    session.recover(offered.id)
    said.wait(Opened)
    assert [e.number for e in session.history.edits] == list(range(offered.tip + 1))
    voice = session.piece["score"]["voices"]["tone"]
    expected = offered.head if offered.head % 2 == 0 else offered.head - 1
    assert voice["gain_db"] == pytest.approx(-expected / 10_000 if expected else -6.0)
    session.close()
    with Archive.open(home / "archive.db", create=False) as archive:
        assert archive.check().clean
        assert all(t.status == "interrupted" for t in archive.takes())


_SEEDED = random.Random(7)
#: Seconds after which something is killed, each time.
DELAYS = [_SEEDED.uniform(0.0, 1.5) for _ in range(4)]


@pytest.fixture
def sounding(home: Path, said: Said, path: Path) -> Iterator[Session]:
    session = Session(said, backend="silent")
    session.open(str(path))
    said.wait(Opened)
    yield session
    session.close()


def test_whenever_the_engine_is_killed_it_sounds_again_and_the_take_is_whole(
    sounding: Session, said: Said, home: Path
) -> None:
    engine = sounding.sound._engine
    assert engine is not None
    sounding.play()
    for delay in DELAYS:
        time.sleep(delay)
        pid = engine.pid
        assert pid is not None
        since = len(said.all)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: engine.pid not in (None, pid))
        assert "ended" in said.wait(EngineState, lambda s: bool(s.line), since=since).line
        said.wait(Meters, lambda m: m.strips.get("tone", 0.0) > 0.001, since=len(said.all))
    stopped(sounding, said)
    (take,) = archived(sounding, home)
    assert take.status == "done"
    with Archive.open(home / "archive.db") as archive:
        assert verify(archive, take.id).identical


def test_whenever_the_performer_is_killed_it_is_said_and_the_next_performance_sounds(
    sounding: Session, said: Said, home: Path
) -> None:
    for delay in DELAYS:
        sounding.play()
        time.sleep(delay)
        pid, since = sounding._leader._performer.pid, len(said.all)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert "killed by signal 9" in said.wait(Crashed, since=since).reason
    since = len(said.all)
    sounding.play()
    said.wait(Opened, since=since)
    said.wait(Meters, lambda m: m.strips.get("tone", 0.0) > 0.001, said.at)
    stopped(sounding, said)
    last, *before = archived(sounding, home)
    assert last.status == "done"
    assert {take.status for take in before} == {"failed"}
    with Archive.open(home / "archive.db") as archive:
        assert all(verify(archive, take.id).identical for take in (last, *before))
