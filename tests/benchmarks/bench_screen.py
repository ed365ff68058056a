"""The studio's screen in a terminal of its own, while a session trains digits and sounds: pictures, CPU, lateness."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.measure import ROOT, Row

#: Columns and rows of the terminal in which the large picture has 128 x 64 cells.
TERMINAL = (128, 67)
#: Seconds that it plays before it is measured, and while.
WARM, MEASURED = 4.0, 15.0
#: Seconds between two looks at how late the event loop is.
LOOK = 0.01


def rows() -> Iterator[Row]:
    bare = _first(BARE)
    ours = _first(OURS)
    yield Row("first screen", ours, "CPU s", "<= 0.6", ours <= 0.6, "bare Textual", bare)
    found = _in_terminal([sys.executable, "-m", "tests.benchmarks.bench_screen"])
    size = f"{found['cells'][0]} x {found['cells'][1]} cells"
    yield Row(f"pictures, {size}, digits training", found["fps"], "fps", ">= 20", found["fps"] >= 20)
    yield Row("the screen's process meanwhile", found["cpu"], "of a core", "<= 0.25", found["cpu"] <= 0.25)
    yield Row("of it, made by the picture alone", found["picture"], "of a core", "-", None)
    yield Row("the process that draws", found["painter"], "of a core", "-", None)
    yield Row("lateness of the event loop, p95", found["p95"], "ms", "< 50", found["p95"] < 50)
    yield Row("lateness of the event loop, worst", found["worst"], "ms", "-", None)
    yield Row("torch in the screen's process", float(found["torch"]), "", "0", not found["torch"])


#: What is written to fd 3 when the first screen is there.
_TOLD = "os.write(3, str(time.process_time()).encode())"
BARE = f"""
import os, time
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("hello")
    def on_mount(self):
        self.call_after_refresh(self.told)
    def told(self):
        {_TOLD}
        self.exit()
Bare().run()
"""
OURS = f"""
import os, time
import studio.cli
from studio import launch
from studio.app import Studio
class Told(Studio):
    def begin(self):
        {_TOLD}
        self.exit()
import studio.app
studio.app.Studio = Told
launch.terminal.supervised = lambda body: (body(os.open("/dev/null", os.O_WRONLY)), "")
launch.terminal.unusable = lambda: ""
alive, held = os.pipe()
launch._play(None, None, alive)
"""


def _first(code: str) -> float:
    """Median CPU seconds of an interpreter until its first screen is there, in a terminal."""
    found = sorted(float(_in_terminal([sys.executable, "-c", code], raw=True)) for _ in range(5))
    return found[2]


def _in_terminal(words: list[str], raw: bool = False):  # type: ignore[no-untyped-def]
    """Run a command in a pseudo-terminal that is read as fast as it writes; what it tells on fd 3."""
    with tempfile.TemporaryDirectory() as home:
        told, tell = os.pipe()
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", TERMINAL[1], TERMINAL[0], 0, 0))
        env = {**os.environ, "DESCANT_HOME": home, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        code = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tell), *words],
            stdin=slave, stdout=slave, stderr=slave, pass_fds=(tell,), env=env, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        os.close(tell)
        threading.Thread(target=_drain, args=(master,), daemon=True).start()
        with open(told, "rb") as answers:
            text = answers.read().decode()
        process.wait(60)
        os.close(master)
    return text if raw else json.loads(text)


def _drain(master: int) -> None:
    try:
        while os.read(master, 1 << 20):
            pass
    except OSError:
        pass


def measured() -> None:
    """Body of the process: the studio as it is, in large view, and a task that measures it."""
    import asyncio

    from studio.app import Studio
    from studio.config import configuration
    from studio.launch import settle
    from studio.session import Session
    from studio.widgets.picture import Picture

    spent = [0.0]
    lates: list[float] = []
    show, lines = Picture.show, Picture.render_lines

    def timed(method):  # type: ignore[no-untyped-def]
        def run(*given):  # type: ignore[no-untyped-def]
            before = time.thread_time()
            try:
                return method(*given)
            finally:
                spent[0] += time.thread_time() - before

        return run

    Picture.show, Picture.render_lines = timed(show), timed(lines)  # type: ignore[method-assign]

    async def measure(app: Studio) -> None:
        while app.composing is None or not app.composing.memory.opened:
            await asyncio.sleep(0.05)
        screen = app.composing
        screen.action_larger()
        screen.action_play()
        picture = screen.query_one(Picture)
        while screen.memory.trails["network"].end < 20:  # torch loads with the first tick
            await asyncio.sleep(0.05)
        await asyncio.sleep(WARM)
        painter = screen._painter.pid if screen._painter else 0
        before = (time.monotonic(), time.process_time(), picture.painted, spent[0], _cpu(painter))
        while (now := time.monotonic()) < before[0] + MEASURED:
            await asyncio.sleep(LOOK)
            lates.append(time.monotonic() - now - LOOK)
        after = (time.monotonic(), time.process_time(), picture.painted, spent[0], _cpu(painter))
        wall, cpu, painted, drawn, drew = (b - a for a, b in zip(before, after, strict=True))
        lates.sort()
        told = {
            "cells": list(picture.size),
            "fps": painted / wall,
            "cpu": cpu / wall,
            "picture": drawn / wall,
            "painter": drew / wall,
            "p95": 1000 * lates[int(0.95 * len(lates))],
            "worst": 1000 * lates[-1],
            "torch": "torch" in sys.modules,
        }
        os.write(3, json.dumps(told).encode())
        app.exit()

    class Measured(Studio):
        def on_ready(self) -> None:
            self.measuring = asyncio.create_task(measure(self))

    def start(post: Callable[[object], None]) -> Session:
        session = Session(post, backend="silent")
        settle()
        return session

    app = Measured(start, configuration(), "digits")
    app.run()
    if app.model is not None:
        app.model.close()


def _cpu(pid: int) -> float:
    """CPU seconds of another process."""
    if not pid:
        return 0.0
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    measured()
