"""An exhibition whose archive is held, or whose machine has no room for an engine, goes on."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from db.archive import Archive
from studio.exhibition.journal import Places
from studio.exhibition.opening import exhibition
from studio.keeper import Job, Keeper
from tests.studio.exhibition.hall import programme, until


class Counted(Keeper):
    """A keeper that counts what it is asked to do."""

    asked = 0

    def do(self, job: Job) -> None:
        self.asked += 1
        super().do(job)


def test_while_the_archive_is_held_one_place_waits_which_is_the_newest(tmp_path: Path) -> None:
    said: list[object] = []
    keeper = Counted(f"sqlite:///{tmp_path / 'a.db'}?timeout=0.05", said.append)
    places = Places(keeper, "evening")
    places.begin(0, "Strata", 0.0)
    places.at(1.0)
    keeper.do(lambda archive: said.append("stored"))
    until(lambda: "stored" in said)
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    before, ends, position = keeper.asked, time.monotonic() + 3.5, 1.0  # three tries at least
    while time.monotonic() < ends:
        position += 0.05
        places.at(position)
        time.sleep(0.05)
    assert keeper.asked == before + 1
    holder.execute("ROLLBACK")
    holder.close()
    assert keeper.close(20.0)
    with Archive.open(tmp_path / "a.db") as archive:
        (showing,) = archive.showings.list()
        assert showing.position == pytest.approx(position)


def test_a_place_that_waits_is_that_of_its_item(tmp_path: Path) -> None:
    """Though the next one has begun by the time at which it is written."""
    keeper, held = Keeper(str(tmp_path / "a.db"), lambda report: None), threading.Event()
    places = Places(keeper, "evening")
    places.begin(0, "Strata", 0.0)

    def hold(archive: Archive) -> None:
        assert held.wait(30)

    keeper.do(hold)
    places.at(7.0)
    places.end(8.0, "done")
    places.begin(1, "Canon", 0.0)
    places.at(1.5)
    places.end(2.5, "stopped")
    held.set()
    assert keeper.close(20.0)
    with Archive.open(tmp_path / "a.db") as archive:
        found = [(s.item, s.position, s.outcome) for s in archive.showings.list()]
    assert found == [(1, 2.5, "stopped"), (0, 8.0, "done")]


def test_where_there_is_no_room_for_an_engine_it_is_shown_in_silence(
    takes: dict[str, str], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}])
    monkeypatch.setattr("sonify.engine.client._place", lambda: path)  # no folder: an OSError, as on a full disk
    with exhibition(path, str(home / "archive.db"), backend="silent", pictures=False) as (_, journal):
        assert [line for line in journal.lines if line.startswith("no sound: ")], journal.lines
