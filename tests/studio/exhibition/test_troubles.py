"""An exhibition whose archive is held, or whose machine has no room for an engine, goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from db.archive import Archive
from studio.exhibition.journal import Places
from studio.keeper import Job, Keeper
from tests.studio.exhibition.hall import programme, until
from tests.studio.exhibition.test_showing import shown

ROOT = Path(__file__).parents[3]


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


#: Where memory is shared nothing more can be made: for this process and its children only.
FULL = 'mount -t tmpfs -o nr_inodes=1 tmpfs /dev/shm && exec "$@"'
SHOWN = """
import sys
from pathlib import Path
from tests.studio.exhibition.hall import until
from tests.studio.exhibition.test_showing import playing

if __name__ == "__main__":
    pictures = []
    with playing(Path(sys.argv[1]), Path(sys.argv[2]), pictures=True) as (showing, journal):

        def over():
            picture = showing.draw(80, 48)
            if picture is not None and not any((picture == other).all() for other in pictures):
                pictures.append(picture)
            return showing.over.is_set()

        until(over, 60)
    print(len(pictures), *journal.lines, sep="\\n")
"""


def test_where_there_is_no_room_for_an_engine_it_is_shown_in_silence(
    takes: dict[str, str], home: Path, tmp_path: Path
) -> None:
    full = ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL, "sh"]
    if subprocess.run([*full, "true"], capture_output=True, check=False).returncode:
        pytest.skip("here nobody may mount a small disk")
    (tmp_path / "shown.py").write_text(SHOWN)
    path = programme(tmp_path / "p.toml", [{"take": takes["low"]}])
    words = [*full, sys.executable, str(tmp_path / "shown.py"), str(path), str(home)]
    child = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert child.returncode == 0, child.stderr
    pictures, *lines = child.stdout.splitlines()
    assert [line for line in lines if line.startswith("no sound: ") and "No space left" in line], lines
    assert int(pictures) > 5
    assert [(s.item, s.outcome) for s in shown(home)] == [(0, "done")]
