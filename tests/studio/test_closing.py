"""A studio that is closed: what was wished last is done, or said to be lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from db.archive import Archive
from studio.background import Background
from studio.jobs import Excerpt
from studio.messages import Notice
from studio.session import Session
from tests.studio.test_session import PIECE, Said, archived, playing


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "quick.toml"
    found.write_text(PIECE)
    return found


@pytest.fixture
def take(home: Path, said: Said, path: Path) -> str:
    """A kept take, whose sound was not made."""
    session = Session(said, backend=None)
    playing(session, said, path, beats=40)
    session.keep()
    (found,) = archived(session, home)
    return found.id


def test_bars_that_are_kept_at_the_last_moment_are_kept(home: Path, said: Said, path: Path) -> None:
    session = Session(said, backend=None)
    playing(session, said, path, beats=20)
    session.keep_last(2)
    part, whole = archived(session, home)
    assert (part.title, part.retention, part.status) == ("last 2 bars of quick", "kept", "done")
    assert part.parents[0][0] == whole.id
    assert whole.status == "done"
    assert [r.text for r in said.all if isinstance(r, Notice)] == []


def test_a_stretch_is_made_before_the_studio_is_gone_and_a_sound_is_not(home: Path, said: Said, take: str) -> None:
    background = Background(str(home / "archive.db"), said)
    background.mix(take)
    background.excerpt(Excerpt(take, 0.0, 1.2, title="first bars"))
    background.close(60.0)
    with Archive.open(home / "archive.db") as archive:
        titles = {row.title: row.id for row in archive.takes()}
        assert set(titles) == {"first bars", ""}
        assert [m.role for m in archive.media(take)] == []
        assert archive.check().clean


def test_a_stretch_that_takes_too_long_is_said_to_be_lost_and_leaves_nothing(home: Path, said: Said, take: str) -> None:
    background = Background(str(home / "archive.db"), said)
    background.excerpt(Excerpt(take, 0.4, 1.2, title="some bars"))
    background.excerpt(Excerpt(take, 0.0, 1.2, title="more bars"))
    began = time.monotonic()
    background.close(0.05)
    assert time.monotonic() - began < 5.0
    assert [r.text for r in said.all if isinstance(r, Notice)] == [
        f"some bars was not made in 0.05 s: it is 0.4 to 1.2 s of take {take}",
        f"more bars was not made in 0.05 s: it is 0.0 to 1.2 s of take {take}",
    ]
    deadline = time.monotonic() + 30
    while background._running is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with Archive.open(home / "archive.db") as archive:
        assert [row.id for row in archive.takes()] == [take]
