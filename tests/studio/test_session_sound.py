"""A session with everything: performer, archive and the sound engine, in silence; and each of them killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.archive import Archive
from studio.messages import Opened, Position
from studio.reports import Crashed, EngineState, Meters
from studio.session import Session
from tests.studio.test_live_loudness import composed, sounding
from tests.studio.test_session import PIECE, Said, stopped

TWO = PIECE + PIECE[PIECE.index("[score.voices.tone]") :].replace("tone", "other")


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def session(home: Path, said: Said, tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "two.toml").write_text(TWO)
    made = Session(said, backend="silent")
    made.open(str(tmp_path / "two.toml"))
    said.wait(Opened)
    made.play()
    said.wait(Meters, lambda m: m.strips.get("tone", 0) > 0.001 and m.strips.get("other", 0) > 0.001)
    yield made
    made.close()


def heard(said: Said, tone: bool, other: bool) -> None:
    """Wait until these voices are heard, and no other."""

    def right(meters: Meters) -> bool:
        return all((meters.strips.get(v, 0.0) > 1e-4) == on for v, on in (("tone", tone), ("other", other)))

    said.wait(Meters, right, since=len(said.all))


def test_voices_are_muted_and_soloed_also_in_another_score(session: Session, said: Said) -> None:
    session.strip("tone", mute=True)
    heard(said, tone=False, other=True)
    session.edit("score.voices.other.pan", 0.5)  # another score: who is muted stays so
    said.wait(Meters, since=len(said.all))
    heard(said, tone=False, other=True)
    session.strip("tone", mute=False)
    heard(said, tone=True, other=True)
    session.strip("tone", solo=True)
    heard(said, tone=True, other=False)
    session.strip("tone", solo=False)
    heard(said, tone=True, other=True)


def test_panic_is_silence_and_play_sounds_again(session: Session, said: Said) -> None:
    session.panic()
    said.wait(Meters, lambda m: max(m.peak) == 0.0, since=len(said.all))
    said.wait(Position, lambda p: p.mode == "paused", since=len(said.all))
    session.play()
    heard(said, tone=True, other=True)


def test_a_killed_engine_comes_back_and_the_take_goes_on(session: Session, said: Said, home: Path) -> None:
    engine = session.sound._engine
    assert engine is not None
    assert engine.pid is not None
    before = said.wait(Position, since=len(said.all))
    os.kill(engine.pid, signal.SIGKILL)
    said.wait(EngineState, lambda s: "ended" in s.line, since=said.at)
    said.wait(Meters, lambda m: m.strips.get("tone", 0) > 0.001, since=said.at)
    said.wait(Position, lambda p: p.beat > before.beat + 20, since=said.at)
    stopped(session, said)
    session.close()
    with Archive.open(home / "archive.db") as archive:
        (take,) = archive.takes()
        assert take.status == "done"
        assert take.duration_s > (before.beat + 20) / 10


def test_a_killed_performer_is_said_and_the_next_performance_sounds(session: Session, said: Said, home: Path) -> None:
    pid = session._leader._performer.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    crashed = said.wait(Crashed)
    assert "killed by signal 9" in crashed.reason
    said.wait(Meters, lambda m: max(m.peak) == 0.0, since=said.at)  # nothing hangs on
    session.edit("score.voices.other.pan", 0.5)  # and the piece can be edited meanwhile
    session.play()
    said.wait(Opened, since=said.at)
    heard(said, tone=True, other=True)
    session.close()
    with Archive.open(home / "archive.db") as archive:
        new, old = archive.takes()
        assert (new.status, old.status) == ("done", "failed")
        assert old.ticks > 0
        assert archive.check().clean


def test_how_loud_a_piece_is_is_what_it_says_and_not_what_a_take_of_it_needed(home: Path, tmp_path: Path) -> None:
    path, said = tmp_path / "two.toml", Said()
    path.write_text(TWO)
    composed(home, path, TWO)
    with sounding(path, said) as session:
        session.edit("master.trim", -40.0)
        session.new_seed(5)
        session.play()
        began = len(said.all)
        said.wait(Position, lambda p: p.seconds > 2.0, since=began)
        peaks = [max(report.peak) for report in said.all[began:] if isinstance(report, Meters)]
        assert 0.0 < max(peaks) < 0.02
