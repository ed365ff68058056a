"""What happens to a session is shown: no device, lost blocks, a crash, a fault; and what a busy screen missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from textual.widgets import Static

from pieces.piece import find_piece
from studio.messages import Made
from studio.screens.dialogs import Ask
from studio.widgets.plot import Plot
from tests.studio.screens.stage import play, staged, stepped, takes

pytestmark = pytest.mark.usefixtures("home")

FAILS = r"""
from pieces.training.knots import Knots

class Fails(Knots):
    name, about = "fails", "Fails at its fourth tick, and says so with text from elsewhere."

    def step(self, controls, events, n):
        block = super().step(controls, events, n)
        if block.end_tick > 3:
            raise RuntimeError("text from\nelsewhere [bold]with[/] \x1b[31mmarkup")
        return block
"""

KILLED = """
import os, signal, sys
from db.archive import Archive
from db.work import Edit, SessionRecord
from pieces.piece import find_piece

piece, base = find_piece("knots")
with Archive.open(sys.argv[1]) as archive:
    record = SessionRecord(name="knots", base=str(base), file=None, seed=3)
    first = piece.model_dump(mode="json")
    session = archive.sessions.begin(record, Edit(0, None, "opened", first))
    archive.sessions.keep(session, Edit(1, 0, "louder", {**first, "title": "Louder knots"}), 1, 1)
    os.kill(os.getpid(), signal.SIGKILL)
"""

PLAYED = """
import os, signal, sys, threading
from studio.messages import Opened, Position
from studio.session import Session

def main():
    opened, far = threading.Event(), threading.Event()
    def post(report):
        if isinstance(report, Opened):
            opened.set()
        if isinstance(report, Position) and report.beat > 3:
            far.set()
    session = Session(post, sys.argv[1], backend=None)
    session.open("knots")
    assert opened.wait(60)
    session.gain("root", -9.0)
    session.play()
    assert far.wait(60)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    main()
"""


def test_a_device_that_is_not_there_and_blocks_that_are_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "descant-none")

    async def scene():
        async with staged(tmp_path, backend="jack") as stage:
            await stage.until(lambda: "no jack server runs" in stage.notice)
            await stage.until(lambda: stage.text("#sound") == " silent")
            engine = stage.session.sound._engine.pid
            os.kill(engine, signal.SIGSTOP)
            await stage.until(lambda: stage.session.sound.state() is None)
            os.kill(engine, signal.SIGCONT)
            await stage.until(lambda: "underruns" in stage.text("#sound"))

    play(scene)


def test_too_loud_stands_at_the_ceiling_of_the_limiter(tmp_path):
    async def scene():
        async with staged(tmp_path, backend="silent") as stage:
            for voice in ("root", "fifth", "tenth"):
                stage.session.gain(voice, 12.0)
            await stage.press("space")
            await stage.until(lambda: stage.text("#transport").endswith(" -1.0"))
            assert stage.peak("root") > 1.0

    play(scene)


def test_a_crash_is_said_with_its_reason_and_play_performs_anew(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=10) as stage:
            os.kill(stage.session._leader._performer.pid, signal.SIGKILL)
            await stage.until(lambda: "killed by signal 9" in stage.notice)
            await stage.press("space")
            await stage.until(lambda: stage.memory.playing and stage.trail.end > 20)

    play(scene)
    assert [t.status for t in takes(tmp_path)] == ["done", "failed"]


def test_what_a_source_says_is_shown_as_it_is(tmp_path):
    (tmp_path / "fails.py").write_text(FAILS)
    text = find_piece("knots")[0].with_values({"parts.knots.source": "fails.py"}).to_toml()
    (tmp_path / "fails.toml").write_text(text)

    async def scene():
        async with staged(tmp_path, str(tmp_path / "fails.toml")) as stage:
            await stage.press("space")
            await stage.until(lambda: "elsewhere [bold]with[/]" in stage.notice)
            assert "\x1b" not in stage.notice

    play(scene)


def test_a_screen_that_was_busy_takes_everything_in_at_once(tmp_path, monkeypatch):
    async def scene():
        async with staged(tmp_path) as stage:
            stepped(stage.session, stage.said, 150)  # the screen's loop is held meanwhile
            assert sum(isinstance(r, Made) for r in stage.app.reports) == 150
            assert stage.app.composing is not None
            drawn: list[object] = []
            plot = stage.app.composing.query_one(Plot)
            monkeypatch.setattr(plot, "show", drawn.append)
            await stage.app.composing.turn()
            assert stage.trail.end == 150
            assert not stage.app.reports
            assert len(drawn) <= 1  # and draws it once at most

    play(scene)


def test_a_session_that_was_killed_is_offered_in_words(tmp_path):
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path / "archive.db"], timeout=60).returncode == -9

    async def scene() -> None:
        async with staged(tmp_path) as stage:
            await stage.until(lambda: isinstance(stage.app.screen, Ask))
            words = " ".join(str(static.render()) for static in stage.app.screen.query(Static))
            assert "A session of knots was not closed" in words
            await stage.press("y")
            await stage.until(lambda: "u undoes louder" in stage.text("#head"))
            assert stage.session.piece["title"] == "Louder knots"

    play(scene)


def test_who_goes_on_is_told_where_the_recording_is(tmp_path):
    (tmp_path / "played.py").write_text(PLAYED)
    command = [sys.executable, tmp_path / "played.py", tmp_path / "archive.db"]
    assert subprocess.run(command, timeout=120, env={**os.environ, "PYTHONPATH": str(Path.cwd())}).returncode == -9

    async def scene() -> None:
        async with staged(tmp_path) as stage:
            await stage.until(lambda: isinstance(stage.app.screen, Ask))
            await stage.press("y")
            (played,) = [t.id for t in takes(tmp_path) if t.ticks]
            await stage.until(lambda: f"what was recorded is take {played[:8]}: F2 shows it" in stage.notice)

    play(scene)
