"""The computer keyboard as a piano on the compose screen, and a performance on it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pieces.piece import find_piece
from pieces.signals import Event
from studio.app import Studio
from studio.asked import Asked
from studio.messages import Made, Opened
from studio.performing import Performing
from studio.screens.compose import Compose
from studio.screens.help import Reader
from studio.session import Session
from tests.studio.screens.stage import Stage, given, play, staged
from tests.studio.test_session import Said

pytestmark = pytest.mark.usefixtures("home")


def events(stage: Stage, kind: str, since: int = 0) -> list[Event]:
    """What the keys of the performance were given."""
    blocks = [made.block for made in stage.reports(Made, since) if made.part in ("keys", "source")]
    return [event for block in blocks for event in block.events if event.given and event.kind == kind]


def notes(stage: Stage) -> list[tuple[int, bool]]:
    """Which notes it was given, and whether they began."""
    return [(e.data["midi"], e.data["velocity"] > 0) for e in events(stage, "note")]


def test_keys_are_notes_while_the_piano_is_on_and_commands_before_and_after(tmp_path):
    async def scene():
        async with staged(tmp_path, "keys") as stage:
            await stage.press("space")
            await stage.until(lambda: stage.memory.playing)
            await stage.press("f4")
            await stage.until(lambda: "piano" in stage.text("#head"))
            for key in ("z", "b", "q", "right_square_bracket", "x"):
                await stage.press(key)
            # Released by time, not by another key: the terminal does not tell.
            await stage.until(lambda: sum(not on for _, on in notes(stage)) == 4)
            assert [midi for midi, on in notes(stage) if on] == [36, 43, 48, 50]
            await stage.press("tab")
            await stage.until(lambda: [e.data["value"] for e in events(stage, "soft")] == [1.0, 0.0])
            await stage.press("f8")
            await stage.until(lambda: not stage.memory.playing)
            assert len(stage.reports(Opened)) == 1, "a slip is no command"
            await stage.press("f4", "b")
            await stage.until(lambda: len(stage.reports(Opened)) == 2)
            await stage.until(lambda: "piano" not in stage.text("#head"))

    play(scene)
    assert len(given(tmp_path, "note")) == 8


def test_what_sounds_ends_with_the_piano(tmp_path):
    async def scene():
        async with staged(tmp_path, "keys") as stage:
            await stage.press("space")
            await stage.until(lambda: stage.memory.playing)
            await stage.press("f4", "z", "space", "f4")  # the pedal holds
            await stage.until(lambda: notes(stage) == [(36, True), (36, False)])

    play(scene)


@asynccontextmanager
async def performing(folder: Path, piece: str) -> AsyncIterator[tuple[Stage, threading.Event]]:
    """The studio for a performance, whose piece opens when the event is set."""
    Compose.paints = False
    performance = Performing(Asked(find_piece(piece)[0], piece), str(folder / "archive.db"))
    goes, said = threading.Event(), Said()

    def start(post: Callable[[object], None]) -> Session:
        return performance.start(said.before(post))

    def perform() -> None:
        assert goes.wait(60)
        performance.begin()

    app = Studio(start, folder, perform=perform)
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            stage = Stage(app, pilot, said)
            await stage.until(lambda: app.model and app.composing)
            yield stage, goes
    finally:
        goes.set()
        if app.model is not None:
            app.model.close()
        performance.close()


def test_a_performance_is_a_large_picture_and_keys_that_are_notes_from_the_first_moment_on(tmp_path):
    async def scene():
        async with performing(tmp_path, "castro-live") as (stage, goes):
            await stage.until(lambda: stage.screen.has_class("-large"))
            await stage.until(lambda: "notes" in stage.notice)
            assert "F4: commands again" in " ".join(stage.notice.split())
            await stage.press("q", "n", "space", "escape")  # quit, new seed, play, panic elsewhere
            assert stage.app.is_running
            assert stage.session.name == ""
            for line in ("no camera", "no MIDI port"):
                stage.app.say(line, fault=True)
            # Nothing hides what is missing.
            await stage.until(lambda: {"no MIDI port", "no camera"} <= {s.strip() for s in stage.notice.splitlines()})
            assert "no piece is open" not in stage.notice
            goes.set()
            await stage.until(lambda: stage.memory.playing)
            await stage.until(lambda: not stage.screen.query_one("#hint").display)
            await stage.press("w", "tab")
            await stage.until(lambda: (50, True) in notes(stage) and len(events(stage, "soft")) == 2)
            assert [e.tick for e in events(stage, "await")] == [0]
            await stage.press("f8")
            await stage.until(lambda: not stage.memory.playing)
            since = len(stage.said.all)
            await stage.press("f4", "f", "n")
            await stage.until(lambda: not stage.screen.has_class("-large"))  # keys are commands again
            await stage.until(lambda: len(stage.reports(Opened)) == 2)
            await stage.press("space")
            await stage.until(lambda: stage.memory.playing and stage.trail.end > 10)
            assert not events(stage, "await", since)  # nor is a player waited for
            await stage.press("f")
            await stage.until(lambda: stage.screen.has_class("-large"))
            for line, other in (("q to p", "are commands"), ("keys are commands again", "q to p")) * 2:
                await stage.press("f4")
                await stage.until(lambda n=line: n in stage.notice)
                assert other not in stage.notice  # only what holds is said
            await stage.press("f4", "f3")
            await stage.until(lambda: isinstance(stage.app.screen, Reader))
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen)
            await stage.press("ctrl+q")
            await stage.until(lambda: not stage.app.is_running)

    play(scene)


def test_a_piece_that_hears_no_notes_leaves_the_keys_commands(tmp_path):
    async def scene():
        async with performing(tmp_path, "video") as (stage, goes):
            goes.set()
            await stage.until(lambda: "no part of this piece listens to notes" in stage.notice)
            await stage.until(lambda: stage.memory.playing)
            await stage.press("space")
            await stage.until(lambda: not stage.memory.playing)
            await stage.press("f4")
            await stage.until(lambda: "no part of this piece listens to notes" in stage.notice)
            await stage.press("n")
            await stage.until(lambda: len(stage.reports(Opened)) == 2)

    play(scene)
