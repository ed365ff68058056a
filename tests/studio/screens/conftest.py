"""An archive of takes, and a sound engine without a device."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studio.screens.takes import make_archive


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    make_archive(folder)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """An archive of one's own."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy" / "archive.db"


class Speaker:
    """A real engine in real time without a device, and what it plays as a file."""

    def __init__(self, folder: Path) -> None:
        from sonify.engine.client import Engine

        self.path = folder / "played.wav"
        self._engine = Engine(lambda answer: None, "silent")
        end = time.monotonic() + 20
        while self._engine.state() is None:
            assert time.monotonic() < end, "the engine did not start"
            time.sleep(0.01)
        self.send, self.state = self._engine.send, self._engine.state

    def record(self, on: bool) -> None:
        from sonify.engine.commands import Record

        self.send(Record(self.path if on else None))

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[Speaker]:
    found = Speaker(tmp_path)
    yield found
    found.close()
