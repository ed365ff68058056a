"""What a live performance leaves in its take: other scores, and where it was stopped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from db.archive import Archive
from pieces.form import stopped
from pieces.piece import Piece, find_piece, parse_piece
from pieces.signals import Event
from studio.compose import compose, resume
from studio.plan import plan
from studio.rendering import final_piece, heard
from studio.replay import verify

COUNTING = """
import numpy as np
from pieces.signals import Channel, FrameBlock
from pieces.source import Source

class Counting(Source):
    name, about = "counting", "Counts what it is told."
    channels = (Channel("x", "ticks", range=(0, 100)), Channel("told", "events it saw", range=(0, 100)))
    listens = {"note": "counts"}
    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = self.told = 0
    def step(self, controls, events, n):
        self.told += len(events)
        block = FrameBlock(self.tick, {
            "x": np.arange(self.tick, self.tick + n, dtype="float32"), "told": np.full(n, self.told, "float32")})
        self.tick += n
        return block
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive.open(tmp_path_factory.mktemp("scores") / "archive.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def piece() -> Piece:
    found, _ = find_piece("cubics")
    return found.with_values({"parts.cubics.ticks": 60})


def score_of(piece: Piece, gain: float) -> dict:
    score = copy.deepcopy(piece.score)
    for voice in score["voices"].values():
        voice["gain_db"] = gain
    score["voices"]["added"] = {"instrument": "glide", "lanes": {"pitch": {"channel": "loss", "range": [200, 800]}}}
    return score


def rescored(score: dict, tick: int, beat: float) -> Event:
    return Event(tick, "score", {"score": score, "beat": beat}, given=True)


def test_the_final_mix_is_that_of_the_last_score_and_a_replay_gives_it_again(archive, piece):
    last = score_of(piece, -9.0)
    given = {"cubics": [rescored(score_of(piece, -30.0), 10, 1.0), rescored(last, 30, 3.0)]}
    take = archive.take(compose(archive, plan("cubics", piece, Path.cwd()), 7, given=given))
    assert final_piece(archive, take).score == last
    assert [e.tick for e in archive.events(take.id, "score")] == [10, 30]
    written = archive.take(compose(archive, plan("c", piece.model_copy(update={"score": last}), Path.cwd()), 7))
    plain = archive.take(compose(archive, plan("cubics", piece, Path.cwd()), 7))
    assert take.render["samples_hash"] == written.render["samples_hash"]
    assert take.render["samples_hash"] != plain.render["samples_hash"]
    verdict = verify(archive, take.id)
    assert verdict.identical
    assert verdict.samples is True


def test_the_last_score_is_the_latest_one_in_whatever_part_it_is_noted(archive, piece):
    raw = piece.model_dump()
    raw["parts"] = {"one": raw["parts"]["cubics"], "two": raw["parts"]["cubics"]}
    raw["score"] = {"voices": {"a": {"instrument": "glide", "part": "one"}}}
    raw["picture"] = {"view": "plots"}
    raw["knobs"] = []
    late, early = ({"voices": {"a": {"instrument": "glide", "part": "one", "gain_db": g}}} for g in (-3.0, -6.0))
    given = {"one": [rescored(late, 40, 8.0)], "two": [rescored(early, 50, 2.0)]}
    take = archive.take(compose(archive, plan("two", parse_piece(raw, "two"), Path.cwd()), 1, given=given))
    assert final_piece(archive, take).score == late


def test_no_source_sees_a_score_or_a_stop_and_notes_it_does(archive, tmp_path):
    (tmp_path / "counting.py").write_text(COUNTING)
    raw = {
        "title": "counting",
        "parts": {"count": {"source": "counting.py", "rate": 20, "ticks": 40}},
        "score": {"voices": {"a": {"instrument": "glide", "lanes": {"pitch": {"channel": "x", "range": [200, 400]}}}}},
    }
    marks = [rescored(raw["score"], 10, 0.5), Event(20, "note", {"midi": 60}, given=True)]
    take_id = compose(archive, plan("counting", parse_piece(raw, "c"), tmp_path), 0, given={"count": marks})
    told = archive.frames(take_id).arrays["told"]
    assert told[:20].max() == 0
    assert told[20:].min() == told.max() == 1


def test_a_performance_that_was_stopped_is_as_long_as_it_was(archive):
    part = {"source": "cubics", "rate": 20}
    sections = [{"name": n, "bars": 1} for n in ("one", "two", "three")]
    score = {"voices": {"a": {"instrument": "glide", "lanes": {"pitch": {"channel": "loss", "range": [200, 800]}}}}}
    raw = {"title": "long", "parts": {"fit": part}, "sections": sections, "score": score, "master": {"tail": 0.5}}
    stop = Event(119, "stopped", {"section": 1, "bars": 0.5, "ticks": {"fit": 120}}, given=True)
    planned = plan("long", parse_piece(raw, "long"), Path.cwd())
    take = archive.take(compose(archive, planned, 3, given={"fit": [stop]}))
    assert take.ticks == 120
    assert [s.name for s in final_piece(archive, take).sections] == ["one", "two"]
    assert soundfile.info(heard(archive, take)).duration == pytest.approx(6.5)
    assert verify(archive, take.id).identical
    whole = archive.take(compose(archive, planned, 3))
    assert whole.ticks == 240
    a, b = archive.frames(take.id).arrays["loss"], archive.frames(whole.id).arrays["loss"]
    assert np.array_equal(a, b[:120])


def test_a_stopped_section_ends_where_its_ramps_had_come_to():
    ramp = {"name": "one", "bars": 8, "tempo": [60, 120], "gains": {"a": [-20, 0], "b": -3}}
    voices = {name: {"instrument": "glide"} for name in "ab"}
    raw = {
        "title": "t",
        "parts": {"p": {"source": "cubics", "rate": 20}},
        "sections": [ramp],
        "score": {"voices": voices},
    }
    piece = parse_piece(raw, "t")
    (section,) = stopped(piece, 0, 2.0).sections
    assert (section.bars, section.tempo, section.gains) == (2.0, (60, 75), {"a": (-20, -15), "b": -3})
    assert stopped(piece, 0, 8.0) == piece


def test_an_interrupted_take_is_resumed_with_its_scores(archive, piece):
    last = score_of(piece, -9.0)
    given = {"cubics": [rescored(last, 10, 1.0)]}
    whole = archive.take(compose(archive, plan("cubics", piece, Path.cwd()), 7, given=given))

    def interrupt(stage: str, done: float, total: float) -> None:
        if stage == "render":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compose(archive, plan("cubics", piece, Path.cwd()), 7, given=given, progress=interrupt)
    (torn,) = [t.id for t in archive.takes() if t.status == "interrupted"]
    resume(archive, torn)
    assert archive.take(torn).render["samples_hash"] == whole.render["samples_hash"]
