"""The computer keyboard as a piano on the compose screen."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from studio.app import Studio
from studio.screens.compose import Compose
from tests.studio.screens.rehearsal import Rehearsal
from tests.studio.screens.staging import Stage, play, staged


def notes(asked):
    return [(deed[2]["midi"], deed[2]["velocity"] > 0) for deed in asked if deed[:2] == ("send", "note")]


def test_keys_are_notes_while_the_piano_is_on_and_commands_before_and_after(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=50) as stage:
            asked = stage.model.asked
            asked.clear()
            await stage.press("b")
            await stage.asked("branch")
            asked.clear()
            await stage.press("f4")
            assert ("awaits", True) in asked
            assert "piano" in stage.text("#head")
            for key in ("z", "b", "q", "right_square_bracket", "x"):
                await stage.press(key)
            # Released by time, not by another key: the terminal does not tell.
            await stage.until(lambda: sum(not on for _, on in notes(asked)) == 4)
            assert [midi for midi, on in notes(asked) if on] == [36, 43, 48, 50]
            await stage.press("tab")
            assert [d[2]["value"] for d in asked if d[:2] == ("send", "soft")] == [1.0, 0.0]
            await stage.press("f8")
            await stage.asked("panic")
            assert not {d[0] for d in asked} & {"branch", "quit", "seek", "loop", "play"}, "a slip is no command"
            asked.clear()
            await stage.press("f4", "b")
            await stage.asked("branch")
            assert not notes(asked)
            assert "piano" not in stage.text("#head")

    play(scene)


def test_what_sounds_ends_with_the_piano(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=50) as stage:
            await stage.press("f4", "z", "space", "f4")  # the pedal holds
            assert notes(stage.model.asked) == [(36, True), (36, False)]

    play(scene)


@asynccontextmanager
async def performing(folder: Path, piece: str) -> AsyncIterator[tuple[Stage, threading.Event]]:
    """The studio for a performance, whose piece opens when the event is set."""
    Compose.paints = False
    made: list[Rehearsal] = []
    goes = threading.Event()

    def start(post: Callable[[object], None]) -> Rehearsal:
        made.append(Rehearsal(post))
        return made[0]

    def perform() -> None:
        assert goes.wait(60)
        made[0].open(piece)
        made[0].play()

    app = Studio(start, folder, perform=perform)
    async with app.run_test(size=(100, 30)) as pilot:
        stage = Stage(app, pilot, None)  # type: ignore[arg-type]
        await stage.until(lambda: made and app.composing)
        stage.model = made[0]
        yield stage, goes
        goes.set()


def test_a_performance_is_a_large_picture_and_keys_that_are_notes_from_the_first_moment_on(tmp_path):
    async def scene():
        async with performing(tmp_path, "castro-live") as (stage, goes):
            assert stage.screen.has_class("-large")
            assert "notes" in stage.notice
            assert "F4: commands again" in " ".join(stage.notice.split())
            await stage.press("q", "n", "space", "escape")  # quit, new seed, play, panic elsewhere
            assert stage.app.is_running
            assert not {d[0] for d in stage.model.asked} & {"new_seed", "play", "panic", "look_back"}
            for line in ("no camera", "no MIDI port"):
                stage.app.say(line)
            await stage.until(lambda: "no MIDI port" in stage.notice)
            said = stage.notice.splitlines()
            assert [line.strip() for line in said[:2]] == ["no MIDI port", "no camera"], "nothing hides what is missing"
            goes.set()
            await stage.until(lambda: ("play",) in stage.model.asked)
            assert not stage.screen.query_one("#hint").display
            stage.model.asked.clear()
            await stage.press("w", "tab")
            assert (50, True) in notes(stage.model.asked)
            assert ("send", "soft", {"value": 1.0}) in stage.model.asked
            await stage.press("f8")
            await stage.asked("panic")
            await stage.press("f4", "f")
            assert not stage.screen.has_class("-large"), "keys are commands again"
            assert ("awaits", False) in stage.model.asked
            await stage.press("f4", "ctrl+q")
            await stage.until(lambda: not stage.app.is_running)

    play(scene)


def test_a_piece_that_hears_no_notes_leaves_the_keys_commands(tmp_path):
    async def scene():
        async with performing(tmp_path, "digits") as (stage, goes):
            goes.set()
            await stage.until(lambda: "no part of this piece listens to notes" in stage.notice)
            await stage.until(lambda: stage.screen.memory.playing)
            await stage.press("space")
            await stage.asked("pause")
            await stage.press("f4", "n")
            assert "no part of this piece listens to notes" in stage.notice
            await stage.until(lambda: any(d[0] == "new_seed" for d in stage.model.asked))

    play(scene)
