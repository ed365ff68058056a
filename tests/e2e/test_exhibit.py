"""``descant exhibit`` as people start it: killed and started again, in a terminal, and where it cannot be shown."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.archive import Archive
from db.work import ShowingRecord
from tests.studio.exhibition.hall import make_takes, programme, until

DESCANT = [sys.executable, "-c", "from studio.cli import main; main()"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("exhibited")
    return folder, make_takes(folder)


@pytest.fixture
def path(made: tuple[Path, dict[str, str]], home: Path, tmp_path: Path) -> Path:
    """A programme of two takes."""
    folder, takes = made
    shutil.copytree(folder, home)
    return programme(tmp_path / "p.toml", [{"take": take} for take in takes.values()], crossfade=0.5)


def newest(home: Path) -> ShowingRecord | None:
    with Archive.open(home / "archive.db") as archive:
        return next(iter(archive.showings.list()), None)


def parents() -> dict[int, int]:
    """Process → its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def children(pid: int) -> set[int]:
    """All processes that descend from one."""
    known, found, more = parents(), set[int](), {pid}
    while more := {child for child, parent in known.items() if parent in more} - found:
        found |= more
    return found


def screen_of(shell: int) -> int:
    """The process in which the screen runs: a child of the one that the shell has started."""
    known = parents()
    started = next(child for child, parent in known.items() if parent == shell)
    return next(child for child, parent in known.items() if parent == started)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def exhibited(path: Path, home: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    words = [*DESCANT, "exhibit", str(path), "--no-screen", "--backend", "silent", *more]
    environment = {**os.environ, "DESCANT_HOME": str(home)}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def in_second(home: Path) -> Callable[[], bool]:
    """Whether the second item has been shown for a while."""

    def true() -> bool:
        found = newest(home)
        return found is not None and found.item == 1 and found.position > 1.5

    return true


def test_killed_in_the_second_item_it_goes_on_within_a_second_and_fresh_begins_anew(path, home):
    with exhibited(path, home) as process:
        until(in_second(home), 90)
        others = children(process.pid)
        assert others
        process.send_signal(signal.SIGKILL)
        killed = datetime.now(UTC)
        before = newest(home)
        assert before is not None
        process.wait()
        until(lambda: not any(runs(pid) for pid in others), 10)
    assert before.outcome is None
    was = before.position if before.position > 0 else 0.0
    gone = (killed - datetime.fromisoformat(before.started)).total_seconds()  # the item began at 0
    with exhibited(path, home) as process:
        until(lambda: (found := newest(home)) is not None and found.id != before.id, 60)
        after = newest(home)
        assert after is not None
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert after.item == 1
    assert was <= after.position < was + 1.0
    assert abs(gone - was) < 1.5  # the place is saved each second; a loaded machine is a little late
    assert "it goes on with item 2" in said
    assert "stopped in item 2" in said
    logged = (home / "exhibition.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in logged[3:]] == said.splitlines()  # three lines before it was killed
    with exhibited(path, home, "--fresh") as process:
        until(lambda: (found := newest(home)) is not None and found.id > after.id, 60)
        fresh = newest(home)
        assert fresh is not None
        assert (fresh.item, fresh.position < 1.0) == (0, True)


def test_without_a_terminal_one_line_says_what_still_works(path, error):
    line = error("exhibit", path)
    assert "no terminal" in line
    assert "--no-screen" in line


def test_errors_are_one_line(descant, error, tmp_path, home):
    assert "--example" in error("exhibit", code=2)
    assert "cannot be read" in error("exhibit", "none.toml")
    (tmp_path / "bad.toml").write_text('descant = 1\ntitle = "x"\ncrossfade = -1\n[[items]]\npiece = "knots"')
    assert "bad.toml: crossfade = -1" in error("exhibit", "bad.toml", "--no-screen")
    (tmp_path / "gone.toml").write_text('descant = 1\ntitle = "x"\n[[items]]\ntake = "ffff"')
    line = error("exhibit", "gone.toml", "--no-screen", "--backend", "silent")
    assert "none of its 1 items can be shown" in line
    (tmp_path / "example.toml").write_text(descant("exhibit", "--example").stdout)
    assert "no archive" in error("--archive", tmp_path / "none.db", "exhibit", "example.toml", "--no-screen")


@pytest.fixture
def tmux() -> Iterator[Callable[..., str]]:
    """A tmux of this test's own: one that was just told to end may take the next session down with it."""
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    name = f"exhibit-{uuid.uuid4().hex}"

    def run(*words: str) -> str:
        return subprocess.run(["tmux", "-L", name, *words], capture_output=True, text=True).stdout

    yield run
    run("kill-server")


#: The command, whose screen has a fault at each key.
FAULTY = """
import studio.screens.exhibit as screen
def broken(self, event): raise RuntimeError("no key\\nfits")
screen.Exhibit._key = broken
from studio.cli import main
main()
"""


def test_a_fault_of_the_screen_ends_it_in_order_with_one_line(path, home, tmp_path, tmux):
    (tmp_path / "faulty.py").write_text(FAULTY)
    code = f"exec(open('{tmp_path / 'faulty.py'}').read())"
    words = f'{sys.executable} -c "{code}" exhibit {path} --backend silent'
    (tmp_path / "run.sh").write_text(
        f"export DESCANT_HOME={home} COLORTERM=truecolor TERM=tmux-256color\n{words}; echo status $?\nsleep 60\n"
    )

    def shown() -> str:
        return tmux("capture-pane", "-p")

    tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", f"sh {tmp_path / 'run.sh'}")
    until(lambda: (found := newest(home)) is not None and found.position > 0.0, 60)
    tmux("send-keys", "a")
    until(lambda: "status 1" in shown(), 20)
    text = " ".join(shown().split())
    assert "p.toml: a fault of Descant's own: RuntimeError: no key fits;" in text
    assert "Traceback" not in text
    assert "stopped in item" in text  # its place is kept
    assert (last := newest(home)) is not None
    assert last.outcome == "stopped"
    assert "no key" in (home / "fault.txt").read_text()


def test_in_a_terminal_it_hides_the_cursor_and_leaves_all_as_it_was_even_killed(path, home, tmp_path, tmux):
    words = " ".join(f"'{word}'" for word in [*DESCANT, "exhibit", str(path), "--backend", "silent"])
    (tmp_path / "run.sh").write_text(
        f"export DESCANT_HOME={home} COLORTERM=truecolor TERM=tmux-256color\n"
        f"{words}; echo first $?\n{words}; echo second $?\nsleep 60\n"
    )

    def flags() -> str:
        return tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip()

    def shown() -> str:
        return tmux("capture-pane", "-p")

    tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", f"sh {tmp_path / 'run.sh'}")
    until(lambda: flags() == "1 0" and "A low tone" in shown(), 60)
    until(lambda: (found := newest(home)) is not None and found.position > 0.0, 30)  # its place is stored
    shell = int(tmux("display-message", "-p", "#{pane_pid}"))
    os.kill(screen_of(shell), signal.SIGKILL)
    until(lambda: flags() == "0 1", 20)
    until(lambda: flags() == "1 0" and "tone" in shown(), 60)  # it was started again
    tmux("send-keys", "x")
    until(lambda: "type exit" in shown(), 10)
    tmux("send-keys", "C-c")
    tmux("send-keys", "C-z")
    time.sleep(0.3)  # whatever these would do has been done
    assert flags() == "1 0"
    tmux("send-keys", "q", "q", "q")
    until(lambda: "second 0" in shown(), 20)
    assert flags() == "0 1"
    text = " ".join(shown().split())
    assert "first 1" in text
    assert "SIGKILL" in text
    assert "it goes on with item" in text
    assert "stopped in item" in text
