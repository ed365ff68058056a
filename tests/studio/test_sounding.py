"""What is heard of a live performance: recorded by the engine, in real time, and held against what was performed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sonify.engine.client import Engine
from sonify.engine.commands import Record
from studio.messages import (
    Ended,
    Made,
    Notice,
    Pause,
    Play,
    Position,
    Rescore,
    Rescored,
    Seek,
    Send,
    Set,
    Speed,
    Stop,
    UseEngine,
)
from studio.playhead import DELAY
from tests.performing import Stage, piece

STAIRS = """
import numpy as np
from pieces.signals import Channel, Control, FrameBlock
from pieces.source import Source

class Stairs(Source):
    name, about = "stairs", "Goes up a stair every half second, and round again."
    channels = (Channel("x", "where it is", range=(0, 4), dtype="float64"),
                Channel("turn", "the control", range=(0, 1)))
    controls = (Control("level", "how loud", 1.0, (0.0, 1.0)),)
    listens = {"note": "nothing comes of it"}
    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = 0
    def step(self, controls, events, n):
        ticks = self.tick + np.arange(n)
        self.tick += n
        x = (ticks // 20 % 5).astype("float64")
        return FrameBlock(int(ticks[0]), {"x": x, "turn": np.full(n, controls["level"], "float32")})
"""
#: Octaves: a stair is one.
PITCH = {"channel": "x", "domain": "declared", "range": [110, 1760]}
RATE = 48_000


def score(**more: Any) -> dict[str, Any]:
    level = {"channel": "turn", "domain": "declared", "range": [-40, 0]}
    voice = {"instrument": "glide", "lanes": {"pitch": PITCH, "level": level, "brightness": 0.0}}
    return {"purpose": "music", "voices": {"a": {**voice, **more}}}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine(lambda answer: None, "silent")
    yield found
    found.close()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    found = Stage()
    yield found
    found.performer.close()


class Listening:
    """A performance of the stairs while the engine records."""

    def __init__(
        self, stage: Stage, engine: Engine, folder: Path, what: dict[str, Any] | None = None, source: str = STAIRS
    ) -> None:
        (folder / "stairs.py").write_text(source)
        self.stage, self.engine, self.path = stage, engine, folder / "heard.wav"
        deadline = time.monotonic() + 20
        while engine.state() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        engine.send(Record(self.path))
        parts = {"fit": {"source": "stairs.py", "rate": 40.0}}
        made = {**piece(score=what or score(), master={"trim": 0.0}), "parts": parts}
        stage.begin(made, base=folder, engine=engine.address)

    def end(self) -> np.ndarray:
        """Everything that was heard, mono; it begins where the first sound does."""
        self.stage.send(Stop())
        self.stage.until(lambda: self.stage.of(Ended))
        wait_until(2 * DELAY)
        self.engine.send(Record(None))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                sound, _ = soundfile.read(self.path, dtype="float32")
                break
            except soundfile.LibsndfileError:
                time.sleep(0.05)
        assert not self.stage.of(Notice)
        mono = sound.sum(axis=1)
        return mono[int(np.argmax(np.abs(mono) > 1e-3)) :]


def hertz(sound: np.ndarray, at: float, seconds: float = 0.1) -> float:
    """Frequency of the strongest partial of a stretch."""
    cut = sound[round(at * RATE) : round((at + seconds) * RATE)]
    spectrum = np.abs(np.fft.rfft(cut * np.hanning(len(cut)), 1 << 18))
    return float(spectrum.argmax() * RATE / (1 << 18))


def loud(sound: np.ndarray, step: float = 0.02) -> np.ndarray:
    """Level of every 20 ms, in dB."""
    n = round(step * RATE)
    blocks = sound[: len(sound) // n * n].reshape(-1, n)
    return 20 * np.log10(np.sqrt((blocks**2).mean(axis=1)) + 1e-9)


def test_the_pitch_that_is_heard_follows_the_channel(stage, engine, tmp_path):
    listening = Listening(stage, engine, tmp_path)
    stage.position(lambda p: p.seconds > 3.2)
    heard = listening.end()
    for step in range(6):
        want = 110 * 2.0 ** (step % 5)
        assert hertz(heard, 0.5 * step + 0.2) == pytest.approx(want, rel=0.01), f"stair {step}"


def test_a_control_is_heard_and_so_is_a_score_at_its_beat(stage, engine, tmp_path):
    listening = Listening(stage, engine, tmp_path)
    stage.position(lambda p: p.seconds > 0.9)
    stage.send(Set("fit", "level", 0.25))
    stage.position(lambda p: p.seconds > 2.2)
    stage.send(Rescore(score(lanes={"pitch": {**PITCH, "polarity": "negative"}}), "beat"))
    stage.position(lambda p: p.seconds > 4.3)
    turned = next(e.tick for e in stage.given() if e.kind == "control") / 40
    scored = next(e.tick for e in stage.given() if e.kind == "score") / 40
    heard = listening.end()
    level = loud(heard)
    before, after = level[int(turned / 0.02) - 10 : int(turned / 0.02) - 5], level[int(turned / 0.02) + 5 :][:5]
    assert before.mean() - after.mean() == pytest.approx(30, abs=3), "40 dB of range, three quarters down"
    assert scored == pytest.approx(stage.of(Rescored)[0].beat / 2)
    for time_, polarity in ((scored - 0.2, 1), (scored + 0.2, -1)):
        stair = int(time_ * 2) % 5
        assert hertz(heard, time_ - 0.05) == pytest.approx(
            110 * 2.0 ** (stair if polarity > 0 else 4 - stair), rel=0.01
        )


def test_a_pause_is_silent_and_backwards_goes_down_the_stairs(stage, engine, tmp_path):
    listening = Listening(stage, engine, tmp_path)
    stage.position(lambda p: p.seconds > 2.2)
    stage.send(Pause())
    held = stage.position(lambda p: p.mode == "paused").seconds
    wait_until(0.6)
    stage.send(Speed(-1.0), Play())
    stage.position(lambda p: p.mode == "recorded" and p.seconds < 0.3)
    heard = listening.end()
    quiet = loud(heard) < -60
    first = 50 + int(np.argmax(quiet[50:]))  # after a second: it comes in softly
    last = first + int(np.argmin(quiet[first:]))
    assert (last - first) * 0.02 == pytest.approx(0.6, abs=0.25)
    times = np.arange(0.05, held - 0.3, 0.1)
    stairs = [round(np.log2(hertz(heard, last * 0.02 + t, 0.08) / 110)) for t in times]
    down = [int(2 * (held - t)) for t in times]
    assert stairs[-1] == 0
    assert (np.diff([s for s, stair in zip(stairs, down, strict=True) if stair < 5]) <= 0).all()
    assert np.mean([s == stair % 5 for s, stair in zip(stairs, down, strict=True)]) > 0.7, (stairs, down)


def test_a_pause_is_silent_however_late_a_source_is(stage, engine, tmp_path):
    """Ticks that were due when it was paused are not made any more: what was last is not heard for ever."""
    late = STAIRS.replace("ticks = self", "time.sleep(0.03); ticks = self")
    late = late.replace("import numpy", "import time, numpy")
    listening = Listening(stage, engine, tmp_path, source=late)
    stage.position(lambda p: p.seconds > 0.6)
    pauses = 8
    for n in range(pauses):
        wait_until(0.3 + 0.011 * n)  # at other places between two ticks
        stage.send(Pause())
        wait_until(0.5)
        stage.send(Play())
    wait_until(0.5)
    quiet = (loud(listening.end()) < -60).astype(int)
    runs = np.diff(np.flatnonzero(np.diff(quiet, prepend=0, append=0)).reshape(-1, 2), axis=1)
    assert (runs > 15).sum() == pauses, runs.ravel()


def test_a_key_sounds_at_once(stage, engine, tmp_path):
    """The direct path: a note is heard long before the tick that it falls on is."""
    keys = {"instrument": "bell", "on": ["note"], "lanes": {"decay": 0.2}}
    silent = {**score(gain_db=-60)["voices"]["a"]}
    listening = Listening(stage, engine, tmp_path, {"purpose": "music", "voices": {"a": silent, "k": keys}})
    waits = []
    for n in range(5):
        stage.position(lambda p, n=n: p.seconds > 0.6 * (n + 1))
        sent = time.monotonic()
        stage.send(Send("note", {"midi": 69, "velocity": 1.0}))
        while (state := engine.state()) is not None and max(state.peak) < 0.01 and time.monotonic() < sent + 2:
            time.sleep(0.001)
        waits.append(time.monotonic() - sent)
        wait_until(0.3)
    heard = listening.end()
    assert np.median(waits) < 0.09, waits
    level = loud(heard)
    struck = np.flatnonzero((level[1:] > -40) & (np.diff(level) > 12))
    struck = struck[np.diff(struck, prepend=-9) > 3]  # an attack may lie across two looks
    assert len(struck) == 5, "each note once"
    assert hertz(heard, (struck[0] + 1) * 0.02, 0.08) == pytest.approx(440, rel=0.02)


def test_scrubbing_is_heard_where_it_goes(stage, engine, tmp_path):
    listening = Listening(stage, engine, tmp_path)
    stage.position(lambda p: p.seconds > 2.3)
    stage.send(Seek(1.2))  # beats: the second stair; slowly, so that it is heard also where the machine is busy
    stage.send(Speed(0.25))
    stage.position(lambda p: p.mode == "recorded" and p.seconds > 0.9)
    heard = listening.end()
    times = np.arange(0.0, len(heard) / RATE - 0.1, 0.02)
    high = np.diff([hertz(heard, t, 0.05) > 1000 for t in times], prepend=False, append=False).nonzero()[0]
    fifth = max(zip(high[::2], high[1::2], strict=True), key=lambda run: run[1] - run[0])  # a click may be high as well
    sought = times[fifth[1] - 1] + 0.05  # from the fifth stair
    # Within the stair, however late it is stopped: at its end the pitch is on its way to the next one.
    assert hertz(heard, sought + 0.1, 0.15) == pytest.approx(220, rel=0.01)
    assert sum(made.block.ticks for made in stage.of(Made)) > 80
    assert isinstance(stage.of(Position)[-1], Position)


def test_it_sounds_on_when_the_engine_was_killed_or_another_one_is_used(stage, engine, tmp_path):
    Listening(stage, engine, tmp_path)
    stage.position(lambda p: p.seconds > 0.5)
    os.kill(engine.pid, signal.SIGKILL)
    stage.until(lambda: True)
    sounds(engine)
    stage.send(UseEngine(None))
    stage.position(lambda p: p.seconds > 2.0)
    silent = time.monotonic() + 10
    while max(engine.state().peak) > 1e-3 and time.monotonic() < silent:
        wait_until(0.02)
    assert max(engine.state().peak) < 1e-3
    stage.send(UseEngine(engine.address))
    sounds(engine)
    stage.send(Stop())
    stage.until(lambda: stage.of(Ended))


def sounds(engine: Engine) -> None:
    """Wait until a new block of it is heard."""
    begun, deadline = time.monotonic(), time.monotonic() + 20
    while time.monotonic() < deadline:
        state = engine.state()
        if state is not None and state.monotonic > begun + 0.3 and max(state.peak) > 0.01:
            return
        wait_until(0.02)
    raise AssertionError("no sound")


def wait_until(seconds: float) -> None:
    """Let real time pass: what is tested is real time."""
    time.sleep(seconds)
