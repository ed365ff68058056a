"""The studio in a real terminal: played, turned, left; killed; and where there is no terminal for it."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
import uuid
from pathlib import Path

import pytest

from studio.terminal import RESET, SMALLEST

NO_TMUX = shutil.which("tmux") is None
REASON = "no tmux here: apt-get install tmux"
COMMAND = f"{sys.executable} -c 'from studio.cli import main; main()'"


class Terminal:
    """A terminal of its own, driven by tmux."""

    def __init__(self, home: Path, width: int = 160, height: int = 50, term: str = "tmux-256color") -> None:
        self.socket = f"descant-{uuid.uuid4().hex[:8]}"
        shell = f"env COLORTERM=truecolor TERM={term} DESCANT_HOME={home} OMP_NUM_THREADS=1 PS1='ready> ' bash --norc"
        size = ("-x", str(width), "-y", str(height))
        self("-f", "/dev/null", "new-session", "-d", *size, shell)
        self.until(lambda: "ready>" in self.text())

    def __call__(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-L", self.socket, *words], capture_output=True, text=True, check=False)
        return done.stdout

    def text(self) -> str:
        return self("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self("send-keys", *keys)

    def run(self, command: str) -> None:
        self("send-keys", "-l", command)
        self.press("Enter")

    def until(self, condition, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)

    def modes(self) -> dict[str, str]:
        """What a full-screen program would have left switched on."""
        names = ("alternate_on", "mouse_any_flag", "cursor_flag", "bracket_paste_flag")
        values = self("display-message", "-p", " ".join(f"#{{{n}}}" for n in names)).split(" ")
        return dict(zip(names, (v.strip() for v in values), strict=False))

    def assert_clean(self) -> None:
        modes = self.modes()
        assert modes["alternate_on"] == "0"
        assert modes["mouse_any_flag"] == "0"
        assert modes["cursor_flag"] == "1"
        self.run("stty -a | tr ' ;' '\\n\\n' | grep -x -e icanon -e echo -e isig | sort | tr '\\n' .")
        self.until(lambda: "echo.icanon.isig." in self.text())

    def children(self) -> list[int]:
        """The shell's descendants, oldest first."""
        shell = int(self("display-message", "-p", "#{pane_pid}"))
        found, queue = [], [shell]
        while queue:
            parent = queue.pop(0)
            listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout
            ids = [int(pid) for pid in listed.split()]
            found += ids
            queue += ids
        return found

    def close(self) -> None:
        self("kill-server")


def runs(pid: int) -> bool:
    """Whether a process is there; one that only waits to be counted is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def terminal(home):
    made = []

    def open_one(**given) -> Terminal:
        made.append(Terminal(home, **given))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_a_session_from_its_start_to_its_end(terminal):
    tty = terminal()
    tty.run(COMMAND)
    tty.until(lambda: "Space  plays and holds" in tty.text() and "learning_rate" in tty.text())
    pressed = time.monotonic()
    tty.press("Space")
    tty.until(lambda: "LIVE" in tty.text())
    tty.until(lambda: "▀▀▀▀" in tty.text())
    print(f"playing {time.monotonic() - pressed:.1f} s after space")
    tty.until(lambda: "scratch" in tty.text())
    tty.press("j")
    tty.until(lambda: "press a letter" in tty.text())
    letter = (
        next(line for line in tty.text().splitlines() if "arning_rate" in line).partition("arning_rate")[0].split()[-1]
    )
    tty.press(letter)
    tty.press("0", ".", "0", "5")
    tty.until(lambda: "0.05▏" in tty.text())
    tty.press("Enter")
    tty.until(lambda: "u undoes" in tty.text())
    tty.press("u")
    tty.until(lambda: "u undoes" not in tty.text())
    tty.press("Space")
    tty.until(lambda: "HOLD" in tty.text())
    tty.press("q")
    tty.until(lambda: "HOLD" not in tty.text() and "ready>" in tty.text())
    tty.assert_clean()
    tty.until(lambda: not tty.children())
    tty.run(COMMAND + " takes")
    tty.until(lambda: "knots" in tty.text() and "done" in tty.text())


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_it_is_suspended_and_goes_on(terminal):
    tty = terminal()
    tty.run(COMMAND)
    tty.until(lambda: "Space  plays and holds" in tty.text() and "learning_rate" in tty.text())
    tty.press("Space")
    tty.until(lambda: "LIVE" in tty.text())
    for _ in range(2):
        tty.press("C-z")
        tty.until(lambda: "Stopped" in tty.text() and "ready>" in tty.text())
        tty.assert_clean()
        tty.run("clear; fg")
        tty.until(lambda: "HOLD" in tty.text() and "learning_rate" in tty.text())
        tty.press("Space")
        tty.until(lambda: "LIVE" in tty.text())
    tty.press("q")
    tty.until(lambda: "LIVE" not in tty.text() and "ready>" in tty.text())
    tty.assert_clean()
    tty.until(lambda: not tty.children())


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_it_goes_on_once_for_each_time_that_it_is_called_back(terminal, tmp_path):
    program = tmp_path / "counts.py"
    program.write_text(COUNTS)
    tty = terminal()
    tty.run(f"{sys.executable} {program}")
    for n in range(1, 5):
        tty.until(lambda: "Stopped" in tty.text() and "ready>" in tty.text())
        tty.run("clear; fg")
        tty.until(lambda n=n: f"called back {n} times" in tty.text())
    tty.until(lambda: "ready>" in tty.text())
    # what a parent may have sent late is counted in the next round, so the last line is sure of the first three
    assert "told to go on 4 times" in tty.text()


COUNTS = """
import os
import signal
from studio.terminal import supervised

told = []

def body(alive):
    signal.signal(signal.SIGCONT, lambda *_: told.append(1))
    for n in range(1, 5):
        os.kill(os.getpid(), signal.SIGSTOP)
        print(f"called back {n} times, told to go on {len(told)} times", flush=True)
    return 0

supervised(body)
"""


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_what_a_held_archive_did_not_take_is_said_when_the_studio_is_left(terminal, home):
    tty = terminal()
    tty.run(COMMAND)
    tty.until(lambda: "Space  plays and holds" in tty.text() and "learning_rate" in tty.text())
    tty.press("Space")
    tty.until(lambda: "scratch" in tty.text())
    holder = sqlite3.connect(home / "archive.db", isolation_level=None, timeout=20)
    holder.execute("BEGIN IMMEDIATE")
    tty.press("q")
    pressed = time.monotonic()
    tty.until(lambda: "LIVE" not in tty.text() and tty.text().rstrip().endswith("ready>"))
    print(f"left in {time.monotonic() - pressed:.1f} s")
    said = " ".join(tty.text().split())
    assert "descant: storing what was made ..." in said
    assert "descant: what came last is not stored: " in said
    assert "another process is holding it" in said
    assert time.monotonic() - pressed < 20  # SQLite alone would wait for half a minute
    holder.close()
    tty.assert_clean()


@pytest.mark.skipif(NO_TMUX, reason=REASON)
@pytest.mark.parametrize("victim", ["studio", "parent"])
def test_a_killed_studio_leaves_the_terminal_clean(terminal, victim):
    tty = terminal()
    tty.run(COMMAND)
    tty.until(lambda: "learning_rate" in tty.text())
    assert tty.modes()["alternate_on"] == "1"
    tty.press("Space")
    tty.until(lambda: "LIVE" in tty.text())
    parent, studio, *others = tty.children()
    killed, others = (studio, [parent, *others]) if victim == "studio" else (parent, [studio, *others])
    os.kill(killed, signal.SIGKILL)
    tty.until(lambda: tty.modes()["alternate_on"] == "0")
    tty.until(lambda: "ready>" in tty.text())
    if victim == "studio":
        tty.until(lambda: "the studio was ended by SIGKILL" in tty.text())
    tty.until(lambda: not any(runs(pid) for pid in others))
    assert "Traceback" not in tty("capture-pane", "-p", "-S", "-")  # nor does any of them complain
    tty.assert_clean()


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_the_next_start_heals_what_two_kills_left(terminal):
    tty = terminal()
    tty.run("stty raw -echo; printf '\\033[?1049h\\033[?1003h\\033[?25l'; " + COMMAND + "; echo")
    tty.until(lambda: "learning_rate" in tty.text())
    tty.press("q")
    tty.until(lambda: "ready>" in tty.text() and tty.modes()["alternate_on"] == "0")
    tty.assert_clean()


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_terms_that_end_it_leave_the_terminal_clean(terminal):
    tty = terminal(width=80, height=24)
    tty.run(COMMAND)
    tty.until(lambda: "root" in tty.text())
    os.kill(tty.children()[0], signal.SIGTERM)
    tty.until(lambda: "ready>" in tty.text() and not tty.children())
    tty.assert_clean()


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_a_terminal_with_256_colours_shows_it(home):
    tty = Terminal(home, term="screen-256color")
    try:
        tty.run("unset COLORTERM; " + COMMAND)
        tty.until(lambda: "learning_rate" in tty.text())
        tty.press("Space")
        tty.until(lambda: "▀▀▀▀" in tty.text())
        tty.until(lambda: "[38;5;" in tty("capture-pane", "-p", "-e"))
        assert "[38;2;" not in tty("capture-pane", "-p", "-e")
        tty.press("q")
        tty.until(lambda: not tty.children())
    finally:
        tty.close()


@pytest.mark.skipif(NO_TMUX, reason=REASON)
def test_a_tiny_terminal_is_told_so(terminal):
    tty = terminal(width=50, height=12)
    tty.run(COMMAND + "; echo status $?")
    tty.until(lambda: "status 1" in tty.text())
    said = "".join(tty.text().split())  # lines are broken anywhere
    assert "50x12cells:thestudioneeds60x16" in said


def test_without_a_terminal_it_says_what_still_works(error):
    line = error()
    assert "no terminal" in line
    assert "descant compose" in line


def test_a_dumb_terminal_is_told_so(home):
    status, said = in_pty({"TERM": "dumb"})
    assert status == 1
    assert "TERM = 'dumb'" in said
    assert "descant compose" in said
    assert "\x1b" not in said


#: The studio cannot be made; and the screen is left in the midst of drawing.
BROKEN = """
import studio.app
def broken(*given, **more): raise RuntimeError("no way\\nto begin")
studio.app.Studio.__init__ = broken
from studio.cli import main
main()
"""
TORN = """
import sys, termios, tty
from studio.terminal import supervised
def torn(alive):
    sys.stderr.write("\\x1b[?1049h")
    sys.stderr.flush()
    tty.setraw(0)
    raise OSError(28, "No space left on device", "/full")
status, line = supervised(torn)
print("echo", bool(termios.tcgetattr(0)[3] & termios.ECHO))
sys.exit(status)
"""


def test_a_studio_that_cannot_be_made_says_why_in_one_line(home):
    status, said = in_pty({"TERM": "xterm-256color", "DESCANT_HOME": str(home)}, BROKEN)
    assert status == 1
    assert said.strip() == (
        "descant: a fault of Descant's own: RuntimeError: no way to begin; DESCANT_DEBUG=1 shows where"
    )


def test_a_screen_that_is_torn_leaves_the_terminal_clean_and_then_says_why(home):
    status, said = in_pty({"TERM": "xterm-256color"}, TORN)
    assert status == 1
    assert said.partition(RESET)[2].splitlines() == ["descant: /full: No space left on device", "echo True"]


def in_pty(environment, code="from studio.cli import main; main()"):
    """Run ``descant`` with a pseudo-terminal for everything; its exit status and what it wrote."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execvpe(sys.executable, [sys.executable, "-c", code], {**os.environ, **environment})
    written = b""
    while True:
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            break
        if not chunk:
            break
        written += chunk
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), written.decode()


def test_what_is_reset_is_all_that_textual_switches_on():
    from textual.drivers import linux_driver

    source = Path(linux_driver.__file__).read_text()
    switched = {
        word for word in ("?1049", "?1000", "?1003", "?1015", "?1006", "?2004", "?1004") if f"{word}h" in source
    }
    assert len(switched) >= 5
    assert all(f"{word}l" in RESET for word in switched)
    assert SMALLEST == (60, 16)
