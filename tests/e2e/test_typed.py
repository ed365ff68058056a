"""`descant perform` on a real terminal: what is typed is played, and the terminal is left as it was."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from db.archive import Archive

pytestmark = pytest.mark.slow


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, home: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from studio.cli import main; main()", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "DESCANT_HOME": str(home), "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: os.login_tty(theirs) if hasattr(os, "login_tty") else None,
        )

    def wait(self, text: bytes | None = None, seconds: float = 60.0) -> None:
        """Until it has shown something, or has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if select.select([self._ours], [], [], 0.05)[0]:
                self.shown += os.read(self._ours, 4096)
            if text is not None and text in self.shown:
                return
            if self.process.poll() is not None:
                assert text is None, self.shown
                return
        raise AssertionError(f"it took too long: {self.shown!r}")

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    @property
    def now(self) -> list:
        return termios.tcgetattr(self._theirs)


def last(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from studio.cli import main; main()", "takes", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "DESCANT_HOME": str(home)},
    )
    (take,) = json.loads(done.stdout)
    assert take["status"] == "done", take
    return take["id"]


def notes(home: Path, part: str = "keys") -> list[tuple[int, float]]:
    with Archive.open(home / "archive.db") as archive:
        found = archive.frames(last(home), part=part).of_kind("note")
    return [(e.data["midi"], e.data["velocity"]) for e in found]


def test_four_parts_are_played_on_the_computer_keyboard(home):
    terminal = Terminal(home, "perform", "--no-screen", "--quiet")
    terminal.wait(b"tab: next part")
    assert terminal.now[3] & termios.ICANON == 0, "keys come one by one"
    for key in (b"z", b"q", b"\x1b[A", b"]", b"q"):
        terminal.type(key)
        time.sleep(0.25)
    for _ in range(4):
        terminal.type(b"\t")
        time.sleep(0.6)
    terminal.wait()
    assert terminal.process.returncode == 0, terminal.shown
    assert terminal.now == terminal.before
    assert b"\x1b[<u" in terminal.shown, "the protocol is taken back"
    struck = [midi for midi, velocity in notes(home) if velocity > 0]
    assert struck == [36, 48, 60]
    assert sorted(midi for midi, velocity in notes(home) if velocity == 0) == [36, 48, 60]


@pytest.mark.parametrize("how", ["signal", "key"])
def test_ctrl_c_ends_it_and_keeps_the_take_whole(home, how):
    terminal = Terminal(home, "perform", "2", "--no-screen", "--quiet")
    terminal.wait(b"tab: next part")
    terminal.type(b"\x1b[?11u\x1b[122u")  # a terminal that tells releases
    time.sleep(1.2)
    terminal.type(b"\x1b[122;1:3u")
    time.sleep(0.4)
    if how == "signal":
        os.kill(terminal.process.pid, signal.SIGINT)
    else:
        terminal.type(b"\x1b[99;5u")
    terminal.wait()
    assert terminal.process.returncode == 0, terminal.shown
    assert terminal.now == terminal.before
    found = notes(home)
    assert [(midi, velocity > 0) for midi, velocity in found] == [(36, True), (36, False)]
    with Archive.open(home / "archive.db") as archive:
        ticks = [e.tick for e in archive.frames(last(home), part="keys").of_kind("note")]
    assert ticks[1] - ticks[0] > 0.9 * 50, "it lasted as long as its key was down, and not a set time"


def test_without_a_terminal_it_says_so(error):
    assert "--keys: there is no terminal to type on" in error("perform", "--keys")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("5",), "part 5: allowed are 1 to 4: 1 cubics, 2 knots, 3 shift, 4 bubbles"),
        (("2", "--video", "nothing.mp4"), "input video: no file"),
        (("cubics", "--video", "moving"), "no part of 'Cubics' is a video"),
        (("--mid", "nothing.mid"), "nothing.mid: cannot be read"),
    ],
)
def test_what_cannot_be_performed_is_one_line(error, words, said):
    assert said in error("perform", *words)
