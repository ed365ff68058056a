"""What all tests share: a data directory of their own, and the command line as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A loaded machine is no failure: examples are bounded in number, never in time. They are the same wherever the tests
# run, so that a failure is everybody's; to look for new ones: pytest --hypothesis-profile search
settings.register_profile("descant", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("descant")

Descant = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no worker is left alone with one at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what a whole module looks at, gone with it: unpacked, takes are large."""
    folder = tmp_path_factory.mktemp("scratch")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that nothing else uses."""
    monkeypatch.setenv("DESCANT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DESCANT_ARCHIVE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def descant(home: Path, tmp_path: Path) -> Descant:
    """Runs ``descant ...`` as a process of its own in `tmp_path`; `code` is the exit status expected."""

    def run(*words: object, code: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from studio.cli import main; main()", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "DESCANT_HOME": str(home), **more},
            timeout=300,
        )
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error that a user sees: exactly one line that starts with the program's name (after usage, if any)."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("descant: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def error(descant: Descant) -> Callable[..., str]:
    """Runs ``descant ...``, which must fail, and gives its one line."""

    def run(*words: object, code: int = 1, **more: str) -> str:
        return one_line(descant(*words, code=code, **more))

    return run
