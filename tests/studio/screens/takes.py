"""A small archive of real takes for tests of screens: the same ids and times wherever and whenever it is made."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db.archive import Archive
from pieces.piece import Piece, find_piece
from pieces.signals import Event
from studio.compose import Origin, compose
from studio.plan import plan
from studio.trim import excerpt

#: What they are called; the id of the n-th one ends in n.
NAMES = ("first", "louder", "scratch", "child", "middle", "broken")


def take_id(name: str) -> str:
    """The id of a take of the archive."""
    return f"0190f3a0-0000-7000-8000-{NAMES.index(name) + 1:012d}"


def short(ticks: int = 75) -> Piece:
    """Cubics, a second and a half of it."""
    piece, _ = find_piece("cubics")
    return piece.with_values({"parts.cubics.ticks": ticks, "master.tail": 0.5})


class _Then(datetime):
    """A day in 2024."""

    _next = itertools.count()

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2024, 11, 21, 12, 0, tzinfo=UTC) + timedelta(minutes=next(cls._next))


def make_archive(folder: Path) -> Path:
    """Six takes: three of their own, a child of the first, a stretch of it, and one that failed; returns its path."""
    numbers = itertools.count(1)
    with pytest.MonkeyPatch.context() as patch, Archive.open(folder / "archive.db") as archive:
        patch.setattr("db.archive.uuid7", lambda: f"0190f3a0-0000-7000-8000-{next(numbers):012d}")
        patch.setattr("db.archive.datetime", _Then)
        planned = plan("cubics", short(), Path.cwd())
        first = compose(archive, planned, 1)
        louder = compose(archive, plan("louder", short().with_controls({"learning_rate": 0.02}), Path.cwd()), 2)
        compose(archive, planned, 3, retention="scratch")
        given = {"cubics": [Event(30, "control", {"name": "learning_rate", "value": 0.05}, given=True)]}
        compose(archive, planned, 1, origin=Origin(parents=((first, 30, "branch"),)), given=given, retention="scratch")
        excerpt(archive, first, 0.5, 1.0, title="the middle")
        broken = archive.begin(like(archive, first))
        broken.fail("the source failed: loss is not a number at tick 12")
        archive.labels.rename(first, "Dawn")
        archive.labels.rate(first, 4)
        archive.labels.tag(first, ["dawn", "keep"])
        archive.labels.note(first, "The second curve is found late; the bell is worth it.")
        archive.labels.tag(louder, ["keep"])
        archive.labels.rate(louder, 2)
    return folder / "archive.db"


def like(archive: Archive, other: str) -> Any:
    """A take that has not begun, of the same piece."""
    from db.archive import NewTake

    take = archive.take(other)
    return NewTake(
        piece_name="digits",
        piece=take.piece,
        piece_hash=take.piece_hash,
        seed=9,
        parts=[("cubics", 50.0)],
        retention="scratch",
    )
