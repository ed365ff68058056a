"""Going on with an earlier session: what its takes come from, how loud it is, and what stands in its file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import soundfile

from db.archive import Archive
from sonify.engine.commands import Backend, Record
from studio.messages import Notice, Opened, Position
from studio.reports import Meters, Recording
from studio.session import Session
from tests.studio.test_live_loudness import answered, composed
from tests.studio.test_session import GAIN, PIECE, Said, archived


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "quick.toml"
    found.write_text(PIECE)
    return found


@pytest.fixture
def interrupted(home: Path, said: Said) -> Iterator[Session]:
    """A session that is never closed while another one takes it over, as after a crash."""
    made = Session(said, backend=None)
    yield made
    made.close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def stored(home: Path, edits: int) -> str:
    """The id of the only session, as soon as so many of its edits are in the archive."""

    def count() -> int:
        with closing(sqlite3.connect(home / "archive.db")) as database:
            return int(database.execute("SELECT count(*) FROM edits").fetchone()[0])

    until(lambda: count() == edits)
    with closing(sqlite3.connect(home / "archive.db")) as database:
        return str(database.execute("SELECT id FROM sessions").fetchone()[0])


def recovered(session_id: str, backend: Backend | None = None) -> tuple[Session, Said]:
    said = Said()
    session = Session(said, backend=backend)
    session.recover(session_id)
    said.wait(Opened)
    return session, said


def test_what_is_performed_of_a_derived_piece_is_still_the_takes_child_and_as_loud_as_it(
    interrupted: Session, said: Said, home: Path, path: Path, tmp_path: Path
) -> None:
    import pyloudnorm

    soft = PIECE.replace("-6.0", "-24.0")  # far from what is guessed of a piece that nobody has heard
    take = composed(home, path, soft, bars=30)
    interrupted.open_take(take)
    said.wait(Opened)
    interrupted.edit("title", "Another")
    session, heard = recovered(stored(home, 2), "silent")
    heard.wait(Meters)
    answered(session, heard)
    session.play()
    heard.wait(Recording, lambda r: r.state == "scratch")
    heard.wait(Position, lambda p: p.mode == "live" and p.seconds > 2.0)
    session.sound.send(Record(tmp_path / "heard.wav"))
    heard.wait(Position, lambda p: p.seconds > 6.0)
    session.sound.send(Record(None))
    heard.wait(Position, lambda p: p.seconds > 7.0)
    child, parent = archived(session, home)
    assert child.parents == ((take, None, "derived"),)
    sound, rate = soundfile.read(tmp_path / "heard.wav")
    assert parent.render is not None
    assert pyloudnorm.Meter(rate).integrated_loudness(sound) == pytest.approx(parent.render["loudness"], abs=2.0)


def test_a_session_whose_take_is_gone_records_without_it(
    interrupted: Session, said: Said, home: Path, path: Path
) -> None:
    take = composed(home, path)
    interrupted.open_take(take)
    said.wait(Opened)
    interrupted.edit("title", "Another")
    session_id = stored(home, 2)
    with Archive.open(home / "archive.db") as archive:
        archive.discard(take, kept=True)
    session, heard = recovered(session_id)
    session.play()
    heard.wait(Recording, lambda r: r.state == "scratch")
    (child,) = archived(session, home)
    assert child.parents == ()


def test_what_was_saved_in_an_editor_is_in_the_file(interrupted: Session, said: Said, home: Path, path: Path) -> None:
    interrupted.open(str(path))
    said.wait(Opened)
    path.write_text(PIECE.replace("-6.0", "-18.0"))
    until(lambda: interrupted.piece["score"]["voices"]["tone"]["gain_db"] == -18.0)
    session, _ = recovered(stored(home, 2))
    assert session.unsaved == ""
    assert session.file() == path
    session.edit(GAIN, -3.0)
    assert "in no file" in session.unsaved
    session.save_as(path.with_name("back.toml"))
    assert path.with_name("back.toml").read_text() == PIECE.replace("-6.0", "-3.0")
    session.close()


def test_a_session_whose_file_is_gone_or_broken_goes_on_and_says_so(
    interrupted: Session, said: Said, home: Path, path: Path
) -> None:
    interrupted.open(str(path))
    said.wait(Opened)
    interrupted.edit(GAIN, -3.0)
    session_id = stored(home, 2)
    path.write_text("no piece")
    session, heard = recovered(session_id)
    assert heard.wait(Notice).text == f"{path}: no piece can be read there: the session goes on without it"
    assert session.piece["score"]["voices"]["tone"]["gain_db"] == -3.0
    session.edit(GAIN, -4.0)
    assert session.file() != path
    session.close()
