"""The engine as the session has it: meters, muting and soloing, and an engine that dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonify.engine.commands import LoadFile
from studio.reports import EngineState, Meters
from studio.sound import DECK, Sound


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.fixture
def said() -> list[object]:
    return []


@pytest.fixture
def sound(said: list[object]) -> Iterator[Sound]:
    made = Sound(said.append, "silent")
    made.start()
    until(lambda: made.state() is not None)
    yield made
    made.close()


def peak(sound: Sound, said: list[object]) -> float:
    said.clear()
    sound.look()
    return max((max(r.peak) for r in said if isinstance(r, Meters)), default=-1.0)


def test_meters_tell_what_is_heard_and_panic_ends_it(sound: Sound, said: list[object], tmp_path: Path) -> None:
    tone = 0.5 * np.sin(np.arange(48_000) * 2 * np.pi * 440 / 48_000)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], axis=1).astype("float32"), 48_000, subtype="FLOAT")
    sound.look()
    assert [r.backend for r in said if isinstance(r, EngineState)] == ["silent"]
    assert peak(sound, said) == 0.0
    sound.send(LoadFile(DECK, tmp_path / "tone.wav", loop=(0.0, 1.0)))
    until(lambda: peak(sound, said) == pytest.approx(0.5, abs=0.1))
    sound.panic()
    until(lambda: peak(sound, said) == 0.0)


def test_an_engine_that_dies_is_said_and_its_address_stays(sound: Sound, said: list[object]) -> None:
    address, engine = sound.address, sound._engine
    assert address is not None
    assert engine is not None
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: sound.look() is None and any(isinstance(r, EngineState) and "ended" in r.line for r in said))
    until(lambda: engine.pid not in (None, pid) and sound.state() is not None)
    assert sound.address == address


class Ear(Sound):
    """Without an engine; notes which voices it would be told of."""

    def __init__(self) -> None:
        super().__init__(lambda report: None, None)
        self.told: list[tuple[str, bool]] = []

    def send(self, command: object) -> None:
        self.told.append((command.voice, command.on))  # type: ignore[attr-defined]

    def now(self) -> list[tuple[str, bool]]:
        told, self.told = self.told, []
        return told


def test_solo_and_mute_decide_who_is_heard() -> None:
    ear, voices = Ear(), ["a", "b", "c"]
    ear.strip("a", True, None, voices)
    assert ear.now() == [("a", False)]
    ear.strip("b", None, True, voices)
    assert ear.now() == [("c", False)]
    ear.strip("a", False, None, voices)  # no more muted, but not soloed either
    assert ear.now() == []
    ear.strip("a", None, True, voices)
    assert ear.now() == [("a", True)]
    ear.tell_strips(["a", "c"])  # b is gone from the piece; it is told as one that is heard, in case it comes back
    assert ear.now() == []
    ear.strip("a", None, False, ["a", "c"])
    assert ear.now() == [("c", True)]
