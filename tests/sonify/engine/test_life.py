"""The engine's process dies, its parent dies, its device goes and comes back: the sound goes on, and nothing stays."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from sonify.engine import commands as c
from sonify.engine.client import Engine
from sonify.engine.ring import LaneRing, RingError
from sonify.wav import StereoWav
from tests.sonify.engine.conftest import RATE, hum, until
from tests.sonify.engine.test_graph import everything

ROOT = Path(__file__).parents[3]


def written(path, seconds, value=lambda t: 0.2 * np.sin(2 * np.pi * 440 * t)):
    """A file as renderings are."""
    samples = value(np.arange(round(seconds * RATE)) / RATE).astype(np.float32)
    with StereoWav(path, RATE, len(samples)) as file:
        file.write(np.stack([samples, samples], axis=1))
    return path


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_engine_that_is_killed_is_replaced_within_a_second_and_plays_on(rig, tmp_path):
    r = rig()
    performer = r.performer()
    performer.play({"low": hum(200.0, 0.2), "high": hum(900.0, 0.2)})
    r.engine.send(c.Strip("live", "high", on=False))
    r.engine.send(c.LoadFile("tape", written(tmp_path / "a.wav", 30.0), at=3.0))
    until(lambda: "tape" in r.engine.state().decks)
    for _ in range(2):
        r.wait(0.4)
        before, pid = r.engine.state(), r.engine.pid
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: r.engine.pid not in (None, pid))
        until(lambda at=before: (s := r.engine.state()) and s.seconds > at.seconds + 0.1 and len(s.decks) == 2)
        took = time.monotonic() - killed
        assert took < 1.0 if os.getloadavg()[0] < 1.5 else took < 4.0
        r.wait(0.2)
        after = r.engine.state()
        # Its clock has gone on, with the time that passed.
        assert after.seconds - before.seconds == pytest.approx(time.monotonic() - before.monotonic, abs=0.3)
        assert before.decks["tape"][0] - 0.1 < after.decks["tape"][0] < before.decks["tape"][0] + 1.5
        until(lambda: (s := r.engine.state().strips) and s["live", "high"] < 1e-6 < 0.01 < s["live", "low"])
    assert sum(isinstance(answer, c.Died) for answer in r.answers) == 2


def test_who_hangs_is_replaced(rig, monkeypatch):
    monkeypatch.setattr("sonify.engine.client._HANGS", 1.0)
    r = rig()
    r.wait(0.2)
    pid = r.engine.pid
    time.sleep(1.0)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: r.engine.pid not in (None, pid) and r.engine.state() is not None, 60.0)
    assert not runs(pid)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_parent_dies_nothing_stays(tmp_path, sent):
    script = tmp_path / "studio.py"
    script.write_text(
        textwrap.dedent("""
        import time
        from sonify.engine.client import Engine
        if __name__ == "__main__":
            engine = Engine(lambda answer: None, "silent")
            while not engine.state():
                time.sleep(0.01)
            print(engine.address, engine.pid, flush=True)
            time.sleep(60)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    studio = subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    address, pid = studio.stdout.readline().split()
    assert runs(pid)
    assert (Path(address) / "ring").exists()
    studio.send_signal(sent)
    studio.wait()
    until(lambda: not runs(pid) and not Path(address).exists(), 3.0)
    assert studio.stderr.read() == ""  # nobody complains of memory that was left behind


def test_what_the_dead_have_left_is_swept(tmp_path):
    """Both were killed at once."""
    place = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, ours = place / f"descant-{dead.pid}-0123", place / f"descant-{os.getpid()}-0123"
    for folder in (left, ours):
        folder.mkdir()
        (folder / "ring").write_bytes(b"x")
    Engine(lambda answer: None, "silent").close()
    assert not left.exists()
    assert ours.exists()
    with pytest.raises(RingError, match="no ring of lanes"):
        LaneRing.attach(ours)
    (ours / "ring").unlink()
    with pytest.raises(RingError, match="no shared memory"):
        LaneRing.attach(ours)
    ours.rmdir()


def test_a_device_that_goes_leaves_silence_and_comes_back(jackd, rig):
    r = rig("jack")
    until(lambda: c.Lost("no jack server runs") in r.answers)
    assert r.engine.state().backend == "silent"
    assert not r.engine.state().alive
    performer = r.performer()
    performer.play({"a": hum(300.0, 0.3)})
    server = jackd()
    for turn in (1, 2):
        until(lambda turn=turn: r.answers.count(c.Back("jack")) == turn)
        r.wait(0.3)
        state = r.engine.state()
        assert (state.backend, state.alive) == ("jack", True)
        assert max(state.peak) > 0.2
        lost = len([a for a in r.answers if isinstance(a, c.Lost)])
        seconds, monotonic = state.seconds, state.monotonic
        server.kill()
        server.wait()
        until(lambda lost=lost: len([a for a in r.answers if isinstance(a, c.Lost)]) > lost)
        r.wait(0.3)
        state = r.engine.state()
        assert (state.backend, state.alive) == ("silent", False)
        assert max(state.peak) > 0.2  # the piece goes on
        assert state.seconds - seconds == pytest.approx(state.monotonic - monotonic, abs=0.3)
        if turn == 1:
            server = jackd()
    r.engine.send(c.Use("silent"))
    until(lambda: r.engine.state().alive)


def test_a_device_of_another_rate_is_named_and_taken_when_it_has_ours(jackd, rig):
    server = jackd(rate=44_100)
    r = rig("jack")
    lost = c.Lost("jack runs at 44100 Hz, not at 48000: let it run at that rate")
    until(lambda: lost in r.answers)
    server.kill()
    server.wait()
    jackd()
    until(lambda: c.Back("jack") in r.answers, 5.0)
    assert [a for a in r.answers if isinstance(a, c.Lost)] == [lost]


def test_a_device_of_no_use_is_tried_more_and_more_rarely_and_another_one_soon(jackd, rig):
    """It lets one port be made, and two are needed."""
    server = jackd(ports=3)
    began = time.monotonic()
    r = rig("jack")
    log = Path(r.engine.address) / "log"
    until(lambda: c.Lost("jack cannot be opened") in r.answers)
    until(lambda: log.read_text().count("Server not booted") == 4, 30.0)
    assert time.monotonic() - began > 1 + 2 + 4
    server.kill()
    server.wait()
    gone = log.read_text().count("jack server is not running")
    until(lambda: log.read_text().count("jack server is not running") > gone)
    jackd()
    until(lambda: c.Back("jack") in r.answers, 5.0)  # the next trial of the other one was eight seconds away
    until(lambda: r.engine.state().alive)


def test_the_last_word_about_the_device_counts_however_soon_it_comes(rig, monkeypatch):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "descant-none")
    r = rig()
    until(lambda: r.engine.state() is not None)
    r.engine.send(c.LoadPatch("live", everything()))  # what silence is made anew with takes its time
    until(lambda: "live" in r.engine.state().decks, 60.0)
    for _ in range(4):
        for backend in ("silent", "jack"):
            lost = sum(isinstance(a, c.Lost) for a in r.answers)
            r.engine.send(c.Use(backend))
        until(lambda lost=lost: sum(isinstance(a, c.Lost) for a in r.answers) > lost)
        r.engine.send(c.Use("silent"))  # while silence is made anew
        before = r.engine.state().blocks
        until(lambda before=before: (s := r.engine.state()) and s.blocks > before + 5 and s.alive, 5.0)


def test_a_folder_of_files_that_cannot_be_played_is_refused_in_a_line_each(rig, tmp_path):
    r = rig()
    text = tmp_path / "a.wav"
    text.write_text("not a sound")
    for path, said in ((tmp_path / "none.wav", "cannot be read"), (text, "cannot be read as sound")):
        link = r.performer().link
        answers = r.performers[-1].answers
        link.send(c.LoadFile("tape", path))
        until(lambda answers=answers: any(isinstance(a, c.Refused) for a in answers))
        (refused,) = [a for a in answers if isinstance(a, c.Refused)]
        assert said in refused.reason
        assert str(path) in refused.reason
        assert "\n" not in refused.reason
    assert r.engine.state().decks == {}
    assert r.engine.state().faults == 0


def test_a_fifth_performance_is_refused_and_a_share_is_given_back(rig):
    r = rig()
    four = [r.performer() for _ in range(4)]
    from sonify.engine.client import EngineLink

    answers = []
    fifth = EngineLink(r.engine.address, answers.append)
    assert not fifth.wait(0.5)
    four[0].close()
    r.performers.remove(four[0])
    assert fifth.wait(5)
    fifth.close()
