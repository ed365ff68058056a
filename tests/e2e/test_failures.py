"""What goes wrong while composing: nothing is lost, the take says what happened, and the user gets one line."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db.archive import Archive

RAISES = '''
"""A source that fails at tick 70."""
import numpy as np
from pieces.signals import Channel, FrameBlock
from pieces.source import Source


class Fails(Source):
    name = "fails"
    about = "Counts to 70 and raises."
    channels = (Channel("count", "ticks so far", range=(0, 100)),)

    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = 0

    def step(self, controls, events, n):
        if self.tick + n > 70:
            n = 70 - self.tick
            if n == 0:
                raise ZeroDivisionError("the number was zero")
        block = FrameBlock(self.tick, {"count": np.arange(self.tick, self.tick + n, dtype="float32")})
        self.tick += n
        return block if self.tick < 70 else self._raise(block)

    def _raise(self, block):
        raise ZeroDivisionError("the number was zero")
'''

NAN = '''
"""A source whose value is lost from tick 200 to 300."""
import numpy as np
from pieces.signals import Channel, FrameBlock
from pieces.source import Source


class Lost(Source):
    name = "lost"
    about = "A ramp with a hole."
    channels = (Channel("x", "a ramp", range=(0, 400)),)

    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = 0

    def step(self, controls, events, n):
        t = np.arange(self.tick, self.tick + n)
        self.tick += n
        x = np.where((t >= 200) & (t < 250), np.nan, np.where((t >= 250) & (t < 300), np.inf, t))
        return FrameBlock(int(t[0]), {"x": x.astype("float32")})
'''

#: Seconds of performing: several commits (one each half second), and not much less than all else takes.
PERFORMING = 2.0


def long_take() -> tuple[str, ...]:
    """A command whose source takes `PERFORMING` seconds on this machine, so that kills fall everywhere."""
    from pieces.source import check_controls, find_source

    cls = find_source("cubics")
    controls = check_controls(cls, {"steps_per_tick": 100, "targets": 1000})
    source = cls(5, controls)
    began = time.monotonic()
    source.step(controls, (), 100)
    steps = round(100 * PERFORMING / (4 * (time.monotonic() - began)))
    slow = ("--set", f"steps_per_tick={min(max(steps, 50), 1000)}", "--set", "targets=10000")
    return ("compose", "cubics", "--seed", "5", "--ticks", "400", *slow, "--quiet")


def start(home: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from studio.cli import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DESCANT_HOME": str(home)},
        start_new_session=True,
    )


def test_a_source_that_raises_keeps_its_take(descant, error, tmp_path, home):
    (tmp_path / "fails.py").write_text(RAISES)
    line = error("compose", "fails.py", "--quiet")
    assert "ZeroDivisionError: the number was zero" in line
    (take,) = json.loads(descant("takes", "--json").stdout)
    assert take["status"] == "failed"
    assert take["id"] in line
    shown = json.loads(descant("show", take["id"], "--json").stdout)
    assert "the number was zero" in shown["error"]
    assert 0 < shown["ticks"] < 70
    csv = descant("export", take["id"], "--to", tmp_path / "x", "--format", "csv").stdout.split()[0]
    assert len(Path(csv).read_text().splitlines()) == 1 + shown["ticks"]


def test_values_that_are_not_finite_become_an_event_and_are_not_heard(descant, tmp_path):
    import numpy as np
    import soundfile

    (tmp_path / "lost.py").write_text(NAN)
    take_id = descant("compose", "lost.py:Lost", "--ticks", 400, "--quiet", "--out", tmp_path / "o").stdout.strip()
    lines = Path(descant("export", take_id, "--to", tmp_path / "x", "--format", "jsonl").stdout.split()[0])
    assert "NaN" not in lines.read_text()
    with Archive.open(os.environ["DESCANT_HOME"] + "/archive.db") as archive:
        frames = archive.frames(take_id)
    assert [(e.tick, e.kind) for e in frames.events] == [(200, "diverged"), (300, "recovered")]
    assert set(frames.arrays["x"][200:300]) == {199.0}
    audio, _ = soundfile.read(next((tmp_path / "o").glob("*.wav")))
    assert np.isfinite(audio).all()
    assert "bit for bit" in descant("replay", take_id, "--verify").stdout


@pytest.mark.slow
def test_kill_at_fifty_random_points_loses_nothing_committed(home, descant):
    command = long_take()
    whole = descant(*command).stdout.strip()
    began = time.monotonic()
    descant(*command)
    length = time.monotonic() - began
    random.seed(20)
    killed = []
    for _ in range(50):
        process = start(home, *command)
        try:
            process.wait(random.uniform(0.05, 1.0) * length)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        with Archive.open(home / "archive.db") as archive:
            newest = archive.takes(limit=1)[0]
            assert newest.status in ("interrupted", "done")
            committed = sum(b.ticks for b in archive.blocks(newest.id))
            assert committed == newest.ticks
            if newest.status == "interrupted" and newest.id not in killed:
                killed.append(newest.id)
    assert len(killed) >= 15
    with Archive.open(home / "archive.db") as archive:
        assert archive.check().clean
        ticks = {archive.take(k).ticks for k in killed}
        assert ticks - {0, 400}, "some were killed while they performed"
        expected = archive.take(whole).signals_hash
    for take_id in (killed[0], killed[len(killed) // 2], killed[-1]):
        descant("resume", take_id, "--quiet")
        with Archive.open(home / "archive.db") as archive:
            take = archive.take(take_id)
            assert take.status == "done"
            assert take.signals_hash == expected
            assert take.render["samples_hash"] == archive.take(whole).render["samples_hash"]
    assert "clean" in descant("archive", "check").stdout


def test_a_wish_to_stop_keeps_the_take(home):
    endless = ("--ticks", "1000000", "--set", "targets=10000", "--set", "steps_per_tick=1000")
    process = start(home, "compose", "cubics", *endless, "--quiet")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (home / "archive.db").exists():
            with Archive.open(home / "archive.db") as archive:
                if archive.takes(limit=1) and archive.takes(limit=1)[0].ticks > 0:
                    break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # SIGINT is ignored in what a shell started in the background
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    with Archive.open(home / "archive.db") as archive:
        take = archive.takes(limit=1)[0]
        assert take.status == "interrupted"
        assert take.ticks > 0


def test_two_processes_on_one_archive(home, descant):
    words = ("compose", "cubics", "--ticks", "200", "--quiet")
    both = [start(home, *words, "--seed", str(i)) for i in range(2)]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert {t["status"] for t in json.loads(descant("takes", "--json").stdout)} == {"done"}
    assert "clean" in descant("archive", "check").stdout


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_while_composing_keeps_the_take_so_far(small_disk, descant, error):
    home = str(small_disk / "home")
    line = error("compose", "knots", "--quiet", DESCANT_HOME=home)
    assert "full" in line or "space" in line
    (take,) = json.loads(descant("takes", "--json", DESCANT_HOME=home).stdout)
    assert take["status"] in ("failed", "interrupted")
    assert take["ticks"] > 0


def test_a_folder_that_cannot_be_written(error, tmp_path):
    (tmp_path / "file").write_text("here is a file")
    assert "file" in error("compose", "cubics", "--out", tmp_path / "file" / "below", "--quiet")
    assert "file" in error("compose", "cubics", "--quiet", DESCANT_HOME=str(tmp_path / "file" / "home"))
