"""The performer, as a real process: its time, its transport, what it records, and how it ends."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import studio.stage
from pieces.piece import parse_piece
from studio.compose import conduct
from studio.messages import (
    Begin,
    Ended,
    Loop,
    Made,
    Notice,
    Opened,
    Pause,
    Play,
    Position,
    Rescore,
    Rescored,
    Seek,
    Send,
    Set,
    Speed,
    Step,
    Stop,
    Turned,
)
from studio.plan import plan
from studio.sounding import Links
from tests.performing import TONE, Stage, again, piece

BROKEN = """
import os
from pieces.signals import Channel, FrameBlock
from pieces.source import Source
import numpy as np

class Broken(Source):
    name, about = "broken", "Breaks."
    channels = (Channel("loss", "zero"),)
    listens = {"note": "breaks", "die": "dies"}
    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = 0
    def step(self, controls, events, n):
        for event in events:
            if event.kind == "die":
                print("the last words", flush=True)
                os._exit(3)
            raise RuntimeError("a string snapped")
        block = FrameBlock(self.tick, {"loss": np.zeros(n, "float32")})
        self.tick += n
        return block
"""


SLOW = BROKEN.replace(
    "    def step(",
    """    def prepare(self, controls):
        import pathlib, time
        here = pathlib.Path(__file__).parent
        (here / "begun").touch()
        while not (here / "enough").exists():
            time.sleep(0.01)
    def step(""",
)


@pytest.fixture(scope="module")
def kept() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.performer.close()


@pytest.fixture
def stage(kept: Stage) -> Iterator[Stage]:
    yield kept
    kept.rest()


def broken(folder: Path) -> dict:
    (folder / "broken.py").write_text(BROKEN)
    what = piece()
    return {**what, "parts": {"fit": {"source": "broken.py", "rate": 40.0}}}


def score(gain: float) -> dict:
    voice = {**TONE["voices"]["a"], "gain_db": gain}
    return {**TONE, "voices": {"a": voice}}


def pace(stage: Stage) -> float:
    """Seconds of the performance in a second of real time, over one second and more."""
    first = stage.position(lambda p: p.mode == "live")
    begun = time.monotonic()
    last = stage.position(lambda p: p.seconds > first.seconds + 1.2 * p.speed)
    return (last.seconds - first.seconds) / (time.monotonic() - begun)


def test_it_keeps_the_time_at_every_speed(stage):
    stage.begin(piece())
    assert pace(stage) == pytest.approx(1.0, rel=0.15)
    stage.send(Speed(2.0))
    assert pace(stage) == pytest.approx(2.0, rel=0.15)
    at = stage.of(Position)[-1]
    assert at.ticks["fit"] == pytest.approx(at.seconds * 40, abs=3)
    assert at.beat == pytest.approx(at.seconds * 2)
    assert (at.bar, at.section, at.tempo) == (int(at.beat // 4) + 1, "one", 120)


def test_what_was_performed_live_is_performed_again_bit_for_bit(stage):
    what = piece([{"name": "one", "bars": 2, "controls": {"fit.noise": [0, 0.3]}}, {"name": "two", "bars": 200}])
    stage.begin(what, seed=5)
    stage.until(lambda: stage.ticks() > 10)
    stage.send(Set("fit", "learning_rate", 0.05), Send("new_target", {}))
    stage.until(lambda: stage.ticks() > 30)
    stage.send(Rescore(score(-6), "now"), Set("fit", "learning_rate", 0.02))
    stage.until(lambda: stage.ticks() > 60)
    stage.send(Pause(), Set("fit", "steps_per_tick", 3), Play())
    stage.until(lambda: stage.ticks() > 170)
    stage.send(Stop())
    assert stage.ended() == Ended("done")
    kinds = sorted(event.kind for event in stage.given())
    assert kinds == ["control", "control", "control", "new_target", "score", "stopped"]
    assert [e.data["value"] for e in stage.given() if e.kind == "control"] == [0.05, 0.02, 3]
    assert next(e for e in stage.given() if e.kind == "score").data["score"] == score(-6)
    assert [(t.control, t.value) for t in stage.of(Turned) if t.control != "noise"] == [
        ("learning_rate", 0.05), ("learning_rate", 0.02), ("steps_per_tick", 3)]  # fmt: skip
    assert stage.hashes() == again(what, 5, {"fit": stage.given()})
    assert stage.hashes() != again(what, 5, {"fit": stage.given()[2:]})


def test_a_step_is_one_tick_of_the_slowest_part(stage):
    what = piece()
    parts = {"fit": what["parts"]["fit"], "slow": {**what["parts"]["fit"], "rate": 5.0}}
    voices = {"a": {**TONE["voices"]["a"], "part": "fit"}}
    stage.begin({**what, "parts": parts, "score": {**TONE, "voices": voices}}, paused=True)
    assert stage.ticks() == 0
    made = []
    for _ in range(4):
        before = stage.ticks("slow")
        stage.send(Step())
        stage.position(lambda p, before=before: p.mode == "paused" and p.ticks["slow"] == before)
        made.append((stage.ticks("slow"), stage.ticks("fit")))
    assert made == [(1, 8), (2, 16), (3, 24), (4, 32)]


def test_a_step_of_one_fast_part_is_one_tick(stage):
    stage.begin(piece(rate=400.0), paused=True)
    for n in range(1, 6):
        stage.send(Step())
        stage.until(lambda n=n: stage.ticks() >= n)
        assert stage.ticks() == n
    assert [block.ticks for block in stage.blocks()] == [1] * 5


def test_recorded_ticks_are_scrubbed_looped_and_played_backwards_while_the_source_waits(stage):
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 90)
    stage.send(Speed(-2.0))
    back = stage.position(lambda p: p.mode == "recorded")
    made = stage.ticks()
    assert stage.position(lambda p: p.seconds < back.seconds - 0.5).ticks["fit"] < back.ticks["fit"] - 15
    stage.send(Speed(1.0), Loop((1.0, 2.0)))
    stage.position(lambda p: p.loop == pytest.approx((1.0, 2.0)))
    seen = [stage.position().beat for _ in range(30)]
    assert min(seen[5:]) >= 1.0 - 1e-6
    assert max(seen[5:]) <= 2.0 + 1e-6
    assert (np.diff(seen[5:]) < -0.5).sum() >= 1, "it goes round"
    stage.send(Pause(), Loop(None), Seek(0.5))
    assert stage.position(lambda p: p.mode == "paused" and p.beat == pytest.approx(0.5)).ticks["fit"] == 10
    assert stage.ticks() == made, "the source made no tick all the while"
    stage.send(Play(), Seek(1e6))
    assert stage.position(lambda p: p.mode == "live" and p.ticks["fit"] > made).end > back.end
    assert stage.ticks() > made


def test_played_to_the_live_end_it_goes_on_live(stage):
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 40)
    stage.send(Pause(), Seek(1.0))
    end = stage.position(lambda p: p.beat == pytest.approx(1.0)).end
    stage.send(Play())
    assert stage.position(lambda p: p.mode == "recorded").beat < end
    later = stage.position(lambda p: p.mode == "live" and p.beat > end + 0.5)
    assert later.ticks["fit"] == pytest.approx(later.seconds * 40, abs=3)


def test_a_branch_performs_what_it_comes_from_and_waits(stage):
    stage.begin(piece(), seed=3)
    stage.until(lambda: stage.ticks() > 20)
    stage.send(Set("fit", "noise", 0.25), Rescore(score(-3), "now"))
    stage.until(lambda: stage.ticks() > 200)
    stage.send(Stop())
    stage.ended()
    first = np.concatenate([b.arrays["loss"] for b in stage.blocks()])
    given = tuple({"tick": e.tick, "kind": e.kind, "data": e.data} for e in stage.given())
    stage.begin(piece(), seed=3, given={"fit": given}, until=6.0)
    at = stage.position(lambda p: p.mode == "paused" and p.beat == pytest.approx(6.0))
    assert at.end == pytest.approx(6.0)
    assert stage.ticks() == 120
    assert np.array_equal(np.concatenate([b.arrays["loss"] for b in stage.blocks()]), first[:120])
    assert stage.of(Rescored)[0].score == score(-3)
    assert [(t.control, t.value) for t in stage.of(Turned)] == [("noise", 0.25)]
    stage.send(Play())
    stage.until(lambda: stage.ticks() > 140)


def test_a_score_comes_at_the_next_beat_or_bar(stage):
    stage.begin(piece())
    stage.position(lambda p: p.beat > 0.3)
    stage.send(Rescore(score(-6), "beat"))
    stage.until(lambda: len(stage.of(Rescored)) == 1)
    stage.send(Rescore(score(-9), "bar"))
    stage.until(lambda: len(stage.of(Rescored)) == 2)
    beat, bar = (r.beat for r in stage.of(Rescored))
    assert beat == pytest.approx(round(beat))
    assert bar == pytest.approx(4.0)
    stage.until(lambda: len(stage.given()) == 2)
    assert [e.tick for e in stage.given()] == [round(beat * 20), 80]
    assert [e.data["beat"] for e in stage.given()] == pytest.approx([beat, bar])


def test_nonsense_is_said_and_it_goes_on(stage):
    stage.begin(piece())
    nonsense = [
        (Set("fit", "noise", 99), "noise = 99: allowed are"),
        (Set("fti", "noise", 0), "did you mean 'fit'"),
        (Send("nte", {}), "did you mean 'note'"),
        (Speed(9), "allowed are 0.25 to 4"),
        (Loop((5000, 6000)), "of what is recorded"),
        (Rescore({"voices": {}}), "voices"),
        (Rescore({"voices": {"a": {"instrument": "glide", "pan": {"channel": "los", "range": [0, 1]}}}}), "loss"),
    ]  # fmt: skip
    for number, (command, said) in enumerate(nonsense, 1):
        stage.send(command)
        stage.until(lambda number=number: len(stage.of(Notice)) == number)
        assert said in stage.of(Notice)[-1].text
    made = stage.ticks()
    stage.until(lambda: stage.ticks() > made + 10)
    assert stage.given() == []


def test_a_piece_that_ends_by_itself_can_be_heard_again(stage):
    what = piece([{"name": "one", "bars": 0.5}], master={"tail": 0.2})
    stage.begin(what, seed=4)
    assert stage.ended() == Ended("done")
    assert stage.ticks() == 40
    assert stage.hashes() == again(what, 4, {})
    stage.send(Seek(0.0), Play())
    stage.position(lambda p: p.mode == "recorded" and 0.2 < p.beat < 1.5)
    assert stage.ticks() == 40


def test_another_piece_ends_the_one_before(stage):
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 5)
    stage.begin(piece(rate=20.0), seed=2)
    stage.until(lambda: stage.ticks() > 20)
    kinds = [type(r) for r in stage.reports if isinstance(r, Ended | Opened)]
    assert kinds == [Ended, Opened]


def test_a_piece_that_cannot_be_performed_is_refused_in_one_line(stage):
    what = piece()
    stage.begin({**what, "parts": {"fit": {"source": "cubix", "rate": 1}}})
    ended = stage.ended()
    assert ended.status == "failed"
    assert "did you mean 'cubics'" in ended.reason


def test_a_source_that_breaks_ends_its_take_and_nothing_else(stage, tmp_path):
    stage.begin(broken(tmp_path), base=tmp_path)
    stage.until(lambda: stage.ticks() > 5)
    process = stage.performer.pid
    stage.send(Send("note", {"midi": 60}))
    ended = stage.ended()
    assert ended.status == "failed"
    assert ended.reason.endswith("RuntimeError: a string snapped")
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 5)
    assert stage.performer.pid == process


def test_a_source_that_takes_the_process_with_it(stage, tmp_path):
    stage.begin(broken(tmp_path), base=tmp_path)
    stage.until(lambda: stage.ticks() > 5)
    stage.send(Send("die", {}))
    assert stage.ended() == Ended("failed", "the performer ended with code 3: the last words")
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 5)


def test_a_performer_that_is_killed_is_replaced(stage):
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 5)
    killed = stage.performer.pid
    os.kill(killed, signal.SIGKILL)
    ended = stage.ended()
    assert (ended.status, "killed by signal 9" in ended.reason) == ("failed", True)
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 5)
    assert stage.performer.pid != killed


def test_it_ends_when_the_studio_is_killed():
    code = (
        "import sys, time; from tests.performing import Stage, piece; stage = Stage(); stage.begin(piece());"
        "stage.until(lambda: stage.ticks() > 5); print(stage.performer.pid, flush=True); time.sleep(100)"
    )
    studio = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    performer = int(studio.stdout.readline())
    studio.kill()
    studio.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{performer}").exists() and "Z" not in state(performer) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{performer}").exists() or "Z" in state(performer)


def state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_frames_wait_for_a_studio_that_is_busy_and_none_is_lost(stage):
    """A studio that takes in nothing for a while finds everything afterwards, and the performer kept its time."""
    stage.begin(piece(rate=400.0))
    stage.until(lambda: stage.ticks() > 50)
    before = stage.of(Made)[-1].block.end_tick
    with stage._told:  # the reader waits for this lock
        time.sleep(1.5)
    stage.until(lambda: stage.ticks() > before + 450)
    ends = [0, *(b.end_tick for b in stage.blocks())]
    assert [b.first_tick for b in stage.blocks()] == ends[:-1]


def test_it_says_how_many_ticks_its_section_began_with(stage):
    sections = [{"name": "one", "bars": 0.25}, {"name": "two", "bars": 0.25}, {"name": "three", "bars": 50}]
    stage.begin(piece(sections))
    for number, name in enumerate(("one", "two", "three")):
        assert stage.position(lambda p, name=name: p.section == name).begun == {"fit": 20 * number}
    stage.send(Pause(), Seek(1.5))
    back = stage.position(lambda p: p.mode == "paused" and p.section == "two")
    assert back.begun == {"fit": 20}


def test_what_a_source_needs_is_loaded_while_it_waits_and_the_performer_listens_meanwhile(stage, tmp_path):
    what = broken(tmp_path)
    (tmp_path / "broken.py").write_text(SLOW)
    stage.begin(what, base=tmp_path, paused=True)
    stage.until((tmp_path / "begun").exists)  # before anybody plays
    stage.send(Play(), Speed(2.0))
    stage.position(lambda p: p.speed == 2.0)
    assert not stage.blocks()
    stage.send(Stop())
    assert stage.ended() == Ended("done")  # nor does it keep anybody from leaving
    stage.begin(what, base=tmp_path)
    stage.position()
    assert not stage.blocks()
    (tmp_path / "enough").touch()
    stage.until(lambda: stage.ticks() > 10)
    assert pace(stage) == pytest.approx(1.0, rel=0.15)


def test_what_is_answered_when_a_branch_is_there_is_done(monkeypatch):
    """The answer may be there before whoever has told it looks at anything else."""
    monkeypatch.setattr(studio.stage, "_TOLD", 0.0)
    planned = plan("test", parse_piece(piece(), "test"), Path("."))
    conductor = conduct(planned.piece, planned.players, 1)
    commands, positions = queue.SimpleQueue(), []

    def told(report):
        if isinstance(report, Position):
            if report.end >= 4.0 - 1e-6 and not any(p.end >= 4.0 - 1e-6 for p in positions):
                commands.put(Play())
            positions.append(report)

    begin = Begin("test", piece(), ".", 1, until=4.0, paused=True)
    led = studio.stage.LiveStage(begin, planned, conductor.performances, commands, told, Links(told))
    thread = threading.Thread(target=led.perform, args=(conductor,), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not positions or positions[-1].end < 5.0:
        assert time.monotonic() < deadline, positions[-1]
        time.sleep(0.01)
    commands.put(Stop())
    thread.join(10)
    assert not thread.is_alive()


def test_a_replay_that_fails_is_a_second_end_and_the_next_performance_is_heard(stage):
    stage.begin(piece([{"name": "one", "bars": 0.5}], master={"tail": 0.1}))
    assert stage.ended() == Ended("done")
    process = stage.performer.pid
    stage.send(Seek("nowhere"))
    stage.until(lambda: len(stage.of(Ended)) == 2)
    assert stage.of(Ended)[1].status == "failed"
    stage.begin(piece())
    stage.until(lambda: stage.ticks() > 5)
    assert stage.performer.pid == process
