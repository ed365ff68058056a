"""Playing a take: through a real jack server, and one clear line where there is no device."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from sonify.ears import pitch_track


@pytest.fixture
def jack() -> Iterator[None]:
    """A jack server on its dummy device, which keeps real time without any hardware."""
    if not shutil.which("jackd") or not shutil.which("jack_rec"):
        pytest.skip("jackd is not installed (make apt)")
    words = ["jackd", "-r", "-d", "dummy", "-r", "48000", "-p", "1024", "-C", "0", "-P", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "JACK_NO_AUDIO_RESERVATION": "1"}
    server = subprocess.Popen(words, env=environment, **quiet)
    try:
        if not until(lambda: "system:playback_1" in ports(), 20):
            pytest.skip("jackd does not start here")
        yield
    finally:
        server.terminate()
        server.wait(10)


def ports() -> str:
    environment = {**os.environ, "JACK_NO_START_SERVER": "1"}
    return subprocess.run(["jack_lsp"], capture_output=True, text=True, env=environment).stdout


def until(true: object, seconds: float) -> bool:
    """Ask until it is so, or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_what_is_played_is_what_was_rendered(jack, descant, home, tmp_path: Path):
    (tmp_path / "flat.csv").write_text("x\n" + "1\n" * 100)  # a constant maps to the middle of its range
    take = descant("listen", "flat.csv", "--range", "A3..A5", "--duration", 6, "--quiet").stdout.strip()
    playing = subprocess.Popen(
        [sys.executable, "-c", "from studio.cli import main; main()", "play", take, "--backend", "jack", "--quiet"],
        env={**os.environ, "DESCANT_HOME": str(home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert until(lambda: "descant:output_1" in ports() or playing.poll() is not None, 30)
    heard = tmp_path / "heard.wav"
    subprocess.run(
        ["jack_rec", "-f", heard, "-d", "2", "-b", "16", "descant:output_1", "descant:output_2"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    _, said = playing.communicate(timeout=60)
    assert playing.returncode == 0, said
    audio, rate = soundfile.read(heard, dtype="float32", always_2d=True)
    track = pitch_track(audio, rate)
    found = sorted(f for f in track.f0 if f == f)
    assert len(found) > 50
    assert found[len(found) // 2] == pytest.approx(440, rel=0.002)


def test_without_a_jack_server_the_line_says_where_the_sound_is(descant, error, tmp_path):
    if shutil.which("jackd") and ports():
        pytest.skip("a jack server is running on this machine")
    (tmp_path / "flat.csv").write_text("x\n1\n2\n3\n")
    take = descant("listen", "flat.csv", "--duration", 1, "--quiet").stdout.strip()
    line = error("play", take, "--backend", "jack")
    assert "no sound through jack" in line
    assert ".wav" in line
