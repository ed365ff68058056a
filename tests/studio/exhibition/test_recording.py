"""What is performed live in an exhibition is a take: whole, replayed bit for bit, and resumed where it was."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tomlkit

from db.archive import Archive, TakeRecord
from pieces.piece import parse_piece
from pieces.signals import Channel, FrameBlock
from studio.compose import compose
from studio.exhibition.recording import Recording
from studio.keeper import Keeper
from studio.messages import Ended
from studio.plan import plan
from studio.replay import verify
from tests.studio.exhibition.hall import TONES, level, programme, recorded, tone, until
from tests.studio.exhibition.test_showing import playing, shown

#: As long as the machine sleeps, a tick a time.
SLOW = """
import time
import numpy as np
from pieces.signals import Channel, FrameBlock
from pieces.source import Source

class Slow(Source):
    name = "slow"
    about = "Needs as long as it plays."
    channels = (Channel("x", "its tick"),)

    def step(self, controls, events, n):
        self.tick = getattr(self, "tick", 0) + 1
        time.sleep(0.045)
        return FrameBlock(self.tick - 1, {"x": np.full(1, self.tick, dtype="float32")})
"""


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """A folder with the tones as pieces."""
    for name in TONES:
        (tmp_path / f"{name}.toml").write_text(tomlkit.dumps(tone(name)))
    return tmp_path


def live_takes(home: Path, takes: dict[str, str]) -> list[TakeRecord]:
    """Those that the exhibition has recorded, oldest first."""
    with Archive.open(home / "archive.db") as archive:
        assert archive.check().clean
        return [archive.take(row.id) for row in archive.takes()[::-1] if row.id not in takes.values()]


def loss(home: Path, take_id: str) -> np.ndarray:
    with Archive.open(home / "archive.db") as archive:
        return archive.frames(take_id, ["loss"]).arrays["loss"]


def test_a_live_item_is_the_take_that_compose_would_have_made(takes, home, pieces):
    path = programme(pieces / "p.toml", [{"piece": "high.toml", "seed": 1}], title="Evening")
    with playing(path, home) as (showing, journal):
        until(showing.over.is_set, 60)
    (take,) = live_takes(home, takes)
    assert (take.status, take.retention, take.seed, take.origin) == ("done", "scratch", 1, "generated")
    assert "Evening" in take.notes
    assert any(take.id in line for line in journal.lines)
    assert shown(home)[-1].take_id == take.id
    with Archive.open(home / "archive.db") as archive:
        composed = archive.take(takes["high"])
        assert take.signals_hash == composed.signals_hash
        assert verify(archive, take.id).identical
    assert take.duration_s == pytest.approx(TONES["high"][1])


def test_what_is_stopped_is_a_take_to_there_and_goes_on_as_one_from_the_beginning(takes, home, pieces):
    path = programme(pieces / "p.toml", [{"piece": "high.toml", "seed": 1}])
    for so_far in (1.5, 3.5):
        with playing(path, home) as (showing, _):
            until(lambda so_far=so_far: (showing.position or 0) > so_far, 60)
    first, second = live_takes(home, takes)
    assert [first.status, second.status] == ["done", "done"]
    assert 1.5 < first.duration_s < second.duration_s < 6.0
    whole = loss(home, takes["high"])
    for take in (first, second):
        found = loss(home, take.id)
        assert (found == whole[: len(found)]).all()
        assert len(found) == pytest.approx(20 * take.duration_s, abs=2)
        with Archive.open(home / "archive.db") as archive:
            assert verify(archive, take.id).identical
    assert [s.take_id for s in shown(home)] == [first.id, second.id]


def test_what_is_made_ready_and_not_shown_leaves_no_take(takes, home, pieces):
    path = programme(pieces / "p.toml", [{"take": takes["low"]}, {"piece": "high.toml"}])
    with playing(path, home) as (showing, _):
        until(lambda: showing._coming is not None and showing._coming.item == 1 and showing._coming.ready, 60)
        assert showing.item == 0
    assert live_takes(home, takes) == []
    assert shown(home)[-1].take_id == takes["low"]


def test_what_is_scratch_and_old_goes_and_what_the_programme_shows_stays(takes, home, pieces):
    with Archive.open(home / "archive.db") as archive:
        old = compose(archive, plan("low", parse_piece(tone("low"), "low"), pieces), 2, retention="scratch")
        archive.retain(takes["low"], "scratch")
    with closing(sqlite3.connect(home / "archive.db")) as database, database:
        database.execute("UPDATE takes SET created = '2001-01-01 00:00:00.000000'")
    path = programme(pieces / "p.toml", [{"take": takes["low"]}])
    with playing(path, home) as (showing, journal):
        until(lambda: any("was removed" in line for line in journal.lines), 60)
        assert any("is kept from now on" in line for line in journal.lines)
        assert (showing.item, showing.failure) == (0, "")
    with Archive.open(home / "archive.db") as archive:
        assert old not in {row.id for row in archive.takes()}
        assert {archive.take(take).retention for take in takes.values()} == {"kept"}


def test_killed_what_was_shown_is_there(takes, home, pieces):
    path = programme(pieces / "p.toml", [{"piece": "high.toml", "seed": 1}])
    words = [sys.executable, "-c", "from studio.cli import main; main()", "exhibit", str(path)]
    environment = {**os.environ, "DESCANT_HOME": str(home)}
    process = subprocess.Popen([*words, "--no-screen", "--backend", "silent"], env=environment)
    try:
        until(lambda: shown(home) and shown(home)[-1].position > 2.5, 90)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (take,) = live_takes(home, takes)
    last = shown(home)[-1]
    assert (take.status, take.id, last.outcome) == ("interrupted", last.take_id, None)
    found, whole = loss(home, take.id), loss(home, takes["high"])
    assert len(found) >= 20 * (last.position - 1.2)  # blocks are committed at least once a second
    assert (found == whole[: len(found)]).all()


def test_it_goes_on_exactly_where_it_was_though_a_section_ended_early(takes, home, pieces):
    """A low tone until the cubic is learned, then slower and high: in the longest form it would be low much longer."""
    voices = {
        name: {"instrument": "glide", "lanes": {"pitch": pitch, "brightness": 0.2}}
        for name, (pitch, _) in TONES.items()
    }
    sections = [
        {"name": "low", "bars": 30, "tempo": 240, "until": "cubics.converged", "quantise": "beat", "voices": ["low"]},
        {"name": "high", "bars": 10, "tempo": 100, "voices": ["high"]},
    ]
    part = {"source": "cubics", "rate": 20.0, "ticks": 2000, "controls": {"steps_per_tick": 200, "rest": 10000}}
    piece = {"title": "Two", "parts": {"cubics": part}, "sections": sections}
    piece |= {"score": {"purpose": "music", "voices": voices}, "master": {"tail": 0.1}}
    (pieces / "two.toml").write_text(tomlkit.dumps(piece))
    path = programme(pieces / "p.toml", [{"piece": "two.toml"}])
    with playing(path, home) as (showing, _):
        until(lambda: (now := showing._now) is not None and now._known and now._known.section == "high", 60)
        begun = showing.position or 0.0
        until(lambda: (showing.position or 0) > begun + 2.0)
    last = shown(home)[-1]
    assert begun < 15  # of the 30 s that it might have lasted
    with playing(path, home, pieces / "heard.wav") as (showing, _):
        until(lambda: showing._now is not None, 60)
        assert (showing.position or 0) == pytest.approx(last.position, abs=0.3)
        until(lambda: (showing.position or 0) > last.position + 2.0)
    low, high = (level(recorded(pieces / "heard.wav"), pitch) for pitch, _ in TONES.values())
    assert high.max() > 0.05
    assert low.max() < 0.005
    first, second = (loss(home, take.id) for take in live_takes(home, takes))
    assert len(second) > len(first) + 20
    assert (second[: len(first)] == first).all()


def test_what_takes_too_long_to_come_back_begins_anew(takes, home, pieces, monkeypatch):
    (pieces / "slow.py").write_text(SLOW)
    path = programme(pieces / "p.toml", [{"piece": "slow.py"}])
    with playing(path, home) as (showing, _):
        until(lambda: (showing.position or 0) > 3.0, 60)
    monkeypatch.setattr("studio.exhibition.live.CATCHES_UP", 1.0)
    with playing(path, home) as (showing, journal):
        until(lambda: showing.position is not None, 60)
        assert showing.position is not None
        assert showing.position < 1.0
        (said,) = [line for line in journal.lines if "begins anew" in line]
        assert "did not come to 3 s within 1 s" in said


def test_a_take_of_which_a_block_is_refused_ends_though_the_archive_was_held_then(tmp_path):
    said: list[object] = []
    keeper = Keeper(f"sqlite:///{tmp_path / 'archive.db'}?timeout=0.05", said.append)
    piece = parse_piece(tone("high"), "high")
    recording = Recording(keeper, "high", piece, tmp_path, 1, "Shown.", said.append)
    recording.channels = {"cubics": (Channel("loss", "Noise."),)}
    blocks = [FrameBlock(first, {"loss": np.zeros(10, "float32")}) for first in (0, 10, 50)]
    recording.begin()
    recording.hear("cubics", blocks[0])
    until(lambda: recording.take_id is not None and any("is recorded as take" in str(line) for line in said))
    with closing(sqlite3.connect(tmp_path / "archive.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        recording.hear("cubics", blocks[1])
        recording.hear("cubics", blocks[2])  # it does not follow
        until(lambda: any("what follows of this take is not recorded" in str(line) for line in said))
        recording.end(Ended("done"))
    assert keeper.close(20.0)
    with Archive.open(tmp_path / "archive.db") as archive:
        (row,) = archive.takes()
        assert (row.id, row.status, row.ticks) == (recording.take_id, "interrupted", 20)
