"""A performer that dies, sources that fail, takes that are missing: one line each, and what is asked then is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from db.archive import Archive
from pieces.errors import DescantError
from pieces.signals import FrameBlock
from studio.camera import Camera
from studio.filming import Filming
from studio.messages import Ended, Made, Notice, Opened, Position
from studio.replay import verify
from studio.reports import Crashed, Offered
from studio.session import Session
from tests.studio.test_camera import PICTURE
from tests.studio.test_live_loudness import composed
from tests.studio.test_session import PIECE, Said

Kind = TypeVar("Kind")


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def session(home: Path, said: Said) -> Iterator[Session]:
    session = Session(said, backend=None)
    yield session
    session.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "quick.toml"
    found.write_text(PIECE)
    return found


def then(
    said: Said, deed: Callable[[], object], kind: type[Kind], which: Callable[[Kind], bool] = lambda r: True
) -> Kind:
    """Do something; the first report of a kind that comes after it."""
    since = len(said.all)
    deed()
    return said.wait(kind, which, since)


def plays(session: Session, said: Said) -> None:
    then(said, session.play, Made, lambda made: made.block.ticks > 0)


def far(said: Said, beats: float) -> None:
    """Wait until so much is performed."""
    then(said, lambda: None, Position, lambda p: p.end > beats)


def dies(session: Session, said: Said) -> Crashed:
    return then(said, lambda: os.kill(performer(session), signal.SIGKILL), Crashed)


def performer(session: Session) -> int:
    found = session._leader._performer.pid
    assert found is not None
    return found


@pytest.mark.parametrize("again", ["new_seed", "branch", "open"])
def test_a_performer_that_dies_after_another_beginning_is_noticed_and_replaced(
    session: Session, said: Said, path: Path, again: str
) -> None:
    session.open(str(path))
    plays(session, said)
    far(said, 2.0)
    anew = {"new_seed": session.new_seed, "branch": session.branch, "open": lambda: session.open(str(path))}[again]
    then(said, anew, Opened)
    plays(session, said)
    assert "killed by signal 9" in dies(session, said).reason
    with pytest.raises(DescantError, match="the performance has failed: play begins another"):
        session.step()
    with pytest.raises(DescantError, match="the performance has failed"):
        session.seek(0.0)
    plays(session, said)


def test_one_that_dies_when_all_is_over_is_noticed_too(session: Session, said: Said, path: Path) -> None:
    session.open(str(path))
    plays(session, said)
    then(said, session.stop, Ended)
    dies(session, said)
    plays(session, said)


def test_what_waited_when_the_performer_died_is_not_taken_for_what_follows(
    session: Session, said: Said, path: Path, home: Path
) -> None:
    session.open(str(path))
    plays(session, said)
    os.kill(performer(session), signal.SIGSTOP)
    session.new_seed(111)
    dies(session, said)
    then(said, lambda: session.new_seed(222), Opened)
    plays(session, said)
    session.set("fit", "learning_rate", 0.02)  # the sources are there
    far(said, 4.0)
    then(said, session.stop, Ended)
    session.close()
    with Archive.open(home / "archive.db") as archive:
        found = {archive.take(record.id).seed: record for record in archive.takes()}
        assert set(found) == {0, 222}
        assert (found[0].status, found[222].status) == ("failed", "done")
        assert verify(archive, found[222].id).identical


def test_a_piece_whose_take_is_gone_is_one_line_and_nothing_else_is_played(
    session: Session, said: Said, path: Path, tmp_path: Path
) -> None:
    session.open(str(path))
    plays(session, said)
    part = PIECE[PIECE.index("[parts.fit]") : PIECE.index("[[sections]]")]
    lost = '[parts.fit]\nsource = "recording"\nrate = 50\ninputs = { take = "take:nothing/fit" }\n\n'
    (tmp_path / "lost.toml").write_text(PIECE.replace(part, lost))
    for deed in (lambda: session.open(str(tmp_path / "lost.toml")), session.play):
        line = then(said, deed, Notice, lambda notice: "nothing" in notice.text).text
        assert "\n" not in line
    since = len(said.all)
    then(said, lambda: session.open(str(path)), Opened)
    assert not [r for r in said.all[since:] if isinstance(r, Made)]
    plays(session, said)


@pytest.mark.parametrize("data", [{}, {"midi": "c4"}, {"midi": float("nan")}, {"midi": 60, "velocity": "loud"}])
def test_a_note_that_is_none_is_one_line_and_the_performance_goes_on(
    session: Session, said: Said, path: Path, data: dict[str, object]
) -> None:
    session.open(str(path))
    plays(session, said)
    with pytest.raises(DescantError, match="note"):
        session.send("note", data)
    then(said, lambda: None, Made)
    assert not [r for r in said.all if isinstance(r, Crashed | Ended)]


def test_what_was_discarded_is_gone_though_its_performer_died(
    session: Session, said: Said, path: Path, home: Path
) -> None:
    session.open(str(path))
    plays(session, said)
    far(said, 2.0)
    os.kill(performer(session), signal.SIGSTOP)
    session.discard()
    dies(session, said)
    session.close()
    with Archive.open(home / "archive.db") as archive:
        assert not list(archive.takes())


def test_whoever_fails_to_hear_a_report_is_told_and_hears_the_next(home: Path, path: Path) -> None:
    said, failed = Said(), []

    def post(report: object) -> None:
        if isinstance(report, Made) and not failed:
            failed.append(report)
            raise OSError(28, "No space left on device")
        said(report)

    session = Session(post, backend=None)
    try:
        session.open(str(path))
        session.play()
        assert "No space left" in said.wait(Notice, lambda n: "Made" in n.text).text
        said.wait(Made)
    finally:
        session.close()
    with Archive.open(home / "archive.db") as archive:
        (take,) = archive.takes()
        assert verify(archive, take.id).identical


def test_a_film_that_is_put_away_holds_nobody_up(tmp_path: Path) -> None:
    """Whoever holds the session may report while a film is given to it."""
    holding, asked, heard = threading.Lock(), threading.Event(), threading.Event()

    class Held:
        def attach(self, role: str, path: Path) -> None:
            asked.set()
            with holding:
                heard.set()

    filming = Filming("video", Held(), pytest.fail, lambda path: Camera(path, PICTURE, "lavfi"))
    try:
        filming.hear(Opened({}, {}, {}))
        filming.hear(Made("video", FrameBlock(0, {"media_time": np.array([0.5], dtype=np.float32)}, ())))
        with holding:
            closing = threading.Thread(target=filming.hear, args=(Ended("done"),), daemon=True)
            closing.start()
            assert asked.wait(10)
            telling = threading.Thread(target=filming.hear, args=(Notice("an edit"),), daemon=True)
            telling.start()
            telling.join(10)
            assert not telling.is_alive()
        closing.join(10)
        assert heard.is_set()
    finally:
        filming.__exit__()


#: Holds an archive as one does that makes its index anew after a crash, so that nobody can read, until its input ends.
HOLDER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX, 3, 120)
    shared.write(bytes(96))
    shared.flush()
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(archive: Path) -> Iterator[None]:
    """While this lasts nobody reads the archive."""
    words = [sys.executable, "-c", HOLDER, f"{archive}-shm"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield


def test_a_piece_of_a_take_that_waits_for_its_archive_has_not_failed(
    session: Session, said: Said, path: Path, home: Path, tmp_path: Path
) -> None:
    take = composed(home, path)
    part = PIECE[PIECE.index("[parts.fit]") : PIECE.index("[[sections]]")]
    again = f'[parts.fit]\nsource = "recording"\nrate = 50\ninputs = {{ take = "{take}" }}\n\n'
    (tmp_path / "again.toml").write_text(PIECE.replace(part, again))
    then(said, session.look_back, Offered)  # the archive is open
    with held(home / "archive.db"):
        line = then(said, lambda: session.open(str(tmp_path / "again.toml")), Notice).text
        assert "another process is holding it" in line
    said.wait(Opened)
    then(said, session.step, Made)
