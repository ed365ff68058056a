"""The library over a studio that performs: what is written, said and heard in the one is there for the other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tomlkit

from sonify.engine.commands import Record
from studio.audition import A
from studio.screens.library import Library
from studio.sound import DECK
from tests.studio.exhibition.hall import RATE, TONES, level, make_takes, recorded, tone
from tests.studio.screens.stage import Stage, play, staged


def library(stage: Stage) -> Library:
    """The library, in front."""
    assert isinstance(stage.app.screen, Library)
    return stage.app.screen


def is_there(stage: Stage, take: str = "") -> bool:
    """Whether the library is in front, with a take or with any."""
    return isinstance(stage.app.screen, Library) and bool(take in library(stage).rows if take else library(stage).rows)


def notice(stage: Stage) -> str:
    """What it says in front."""
    return stage.text(stage.app.screen.query_one("#notice"))


def decks(stage: Stage) -> set[str]:
    """What sounds on the engine."""
    state = stage.session.sound.state()
    return set() if state is None else set(state.decks)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An archive of two takes of a tone each, which is nobody's default."""
    folder = tmp_path_factory.mktemp("tones")
    return folder / "archive.db", make_takes(folder)


def test_the_library_shows_the_archive_that_the_session_writes(tones, home: Path, tmp_path: Path) -> None:
    place, takes = tones

    async def scene() -> None:
        async with staged(tmp_path, archive=place) as stage:
            await stage.press("space")
            await stage.until(lambda: "● scratch" in stage.text("#head"))
            await stage.press("space", "f2")
            await stage.until(lambda: is_there(stage) and len(library(stage).rows) == 3)
            assert set(takes.values()) < set(library(stage).rows)
            await stage.press("escape")

    play(scene)
    assert not (home / "archive.db").exists()


def test_what_happens_is_said_in_the_library_too(tones, home: Path, tmp_path: Path) -> None:
    place, _ = tones

    async def scene() -> None:
        async with staged(tmp_path, archive=place) as stage:
            await stage.press("f2")
            await stage.until(lambda: is_there(stage))
            await stage.press("f8")
            await stage.until(lambda: "silence" in notice(stage))
            os.kill(stage.session._leader._performer.pid, signal.SIGKILL)
            await stage.until(lambda: "killed by signal 9" in notice(stage))
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen)
            assert "killed by signal 9" in notice(stage)  # and is still there

    play(scene)


def test_a_take_that_is_heard_holds_the_performance(tones, home: Path, tmp_path: Path) -> None:
    """The piece is a low tone, the take a high one: at no time do both sound, and the performance waits meanwhile."""
    place, takes = tones
    low = tone("low")
    low["parts"]["cubics"]["ticks"] = 20 * 600
    (tmp_path / "low.toml").write_text(tomlkit.dumps(low))
    heard = tmp_path / "heard.wav"

    async def scene() -> None:
        async with staged(tmp_path, str(tmp_path / "low.toml"), archive=place, backend="silent") as stage:
            memory = stage.memory
            await stage.until(lambda: stage.session.sound.state() is not None)
            stage.session.sound.send(Record(heard))
            await stage.press("space")
            await stage.until(lambda: memory.seconds() > 1.0)
            await stage.press("f2")
            await stage.until(lambda: is_there(stage, takes["high"]))
            library(stage).table.move_cursor(row=list(library(stage).rows).index(takes["high"]))
            await stage.until(lambda: library(stage).card is not None and library(stage).card.take.id == takes["high"])
            assert memory.playing  # to look at takes holds nothing
            await stage.press("space")
            await stage.until(lambda: A in decks(stage) and DECK not in decks(stage))
            await stage.until(lambda: not memory.playing)
            assert "the performance holds" in notice(stage)
            held = memory.position.end
            await stage.until(lambda: (library(stage).audition.position() or 0.0) > 1.0)
            await stage.press("escape")
            await stage.until(lambda: stage.app.screen is stage.screen and not decks(stage))
            assert memory.position.end == held
            await stage.press("space")
            await stage.until(lambda: memory.position.end > held + 1.0)
            stage.session.sound.send(Record(None))
            await stage.until(lambda: heard.exists() and len(recorded(heard)) > 2 * RATE)

    play(scene)
    sound = recorded(heard)
    loud = {name: level(sound, pitch) > 0.01 for name, (pitch, _) in TONES.items()}
    order = [name for k in range(len(loud["low"])) for name in loud if loud[name][k]]
    assert [n for k, n in enumerate(order) if k == 0 or n != order[k - 1]] == ["low", "high", "low"]
    assert np.sum(loud["low"] & loud["high"]) <= 1  # while one goes, and the other comes
