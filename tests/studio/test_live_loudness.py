"""Live a piece is about as loud as its mix, and the limiter rests: nobody knows the whole, but the piece says it."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from db.archive import Archive
from pieces.piece import find_piece, library, parse_piece
from sonify.engine.client import Engine
from sonify.engine.commands import Record
from studio.compose import compose
from studio.messages import Ended, Opened, Position, Stop
from studio.plan import plan
from studio.reports import Meters, Offered
from studio.session import Session
from tests.performing import TONE, Stage, piece
from tests.studio.test_session import PIECE, Said

SECONDS = 9.0


@pytest.fixture
def engine():
    found = Engine(lambda answer: None, "silent")
    yield found
    found.close()


@pytest.fixture
def stage():
    found = Stage()
    yield found
    found.performer.close()


def heard(stage: Stage, engine: Engine, what: dict, folder: Path, name: str = "a", **more) -> np.ndarray:
    """What is played from the third second on."""
    path = folder / f"{name}.wav"
    stage.begin(what, engine=engine.address, **more)
    stage.position(lambda p: p.mode == "live" and p.seconds > 3.0)
    engine.send(Record(path))
    stage.position(lambda p: p.seconds > 3.0 + SECONDS)
    engine.send(Record(None))
    stage.send(Stop())
    stage.until(lambda: stage.of(Ended))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            sound, _ = soundfile.read(path)
            if len(sound) > 0.5 * SECONDS * 48_000:
                return sound
        except soundfile.LibsndfileError:
            pass
        time.sleep(0.05)
    raise AssertionError("nothing was recorded")


@pytest.mark.parametrize("name", ["knots", "cubics-paper"])
def test_a_piece_of_the_library_is_live_as_loud_as_its_mix(stage, engine, tmp_path, name):
    import pyloudnorm

    made, _ = find_piece(name)
    sound = heard(stage, engine, made.model_dump(mode="json"), tmp_path)
    assert pyloudnorm.Meter(48_000).integrated_loudness(sound) == pytest.approx(made.master.loudness, abs=2.0)
    ceiling = 10 ** (-1 / 20)
    assert (np.abs(sound) > 0.9 * ceiling).mean() < 1e-4


def test_every_piece_of_the_library_says_how_loud_it_is_live():
    assert all(find_piece(name)[0].master.trim is not None for name in library())


def test_whoever_begins_may_know_better_than_the_piece(stage, engine, tmp_path):
    def level(name, **more):
        sound = heard(stage, engine, piece(master={"trim": -3.0}), tmp_path, name, **more)
        return 20 * np.log10(np.sqrt((sound**2).mean()))

    assert level("a", trim=-13.0) == pytest.approx(level("b") - 10.0, abs=1.0)


def test_a_piece_of_ones_own_is_as_loud_as_a_take_of_it(descant, home, tmp_path):
    """Far from what is guessed of a piece that nobody has heard."""
    import pyloudnorm

    piece_file = tmp_path / "own.toml"
    soft = {**TONE, "voices": {"a": {**TONE["voices"]["a"], "gain_db": -24.0}}}
    piece_file.write_text(parse_piece(piece([{"name": "all", "bars": 20}], score=soft), "own").to_toml())
    descant("compose", piece_file, "--quiet")
    said, path = Said(), tmp_path / "heard.wav"
    with sounding(piece_file, said) as session:
        session.play()
        said.wait(Position, lambda p: p.mode == "live" and p.seconds > 2.0)
        session.sound.send(Record(path))
        said.wait(Position, lambda p: p.seconds > 6.0)
        session.sound.send(Record(None))
        said.wait(Position, lambda p: p.seconds > 7.0)
    sound, _ = soundfile.read(path)
    assert pyloudnorm.Meter(48_000).integrated_loudness(sound) == pytest.approx(-16.0, abs=2.5)


@contextmanager
def sounding(path: Path, said: Said) -> Iterator[Session]:
    """A session that has opened a piece, its engine heard, and knows how loud a take of it was."""
    session = Session(said, backend="silent")
    try:
        session.open(str(path))
        said.wait(Opened)
        said.wait(Meters)
        answered(session, said)
        yield session
    finally:
        session.close()


def composed(home: Path, path: Path, text: str = PIECE, bars: int = 8) -> str:
    """A take of a piece of 1000 bars, but a short one; its sound is known."""
    short = parse_piece(tomllib.loads(text.replace("bars = 1000", f"bars = {bars}")), path.stem)
    with Archive.open(home / "archive.db") as archive:
        return compose(archive, plan(str(path), short, path.parent), 1)


def answered(session: Session, said: Said) -> None:
    """Wait until the archive has said how loud it is: what is asked after it is answered after it."""
    for _ in range(2):  # a session that goes on with another asks only when it has that one
        since = len(said.all)
        session.look_back()
        said.wait(Offered, since=since)
