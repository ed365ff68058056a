"""An archive of two takes, copied for every test that asks for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.studio.exhibition.hall import make_takes


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of the archive, and its takes by name."""
    folder = tmp_path_factory.mktemp("exhibition")
    return folder, make_takes(folder)


@pytest.fixture
def takes(made: tuple[Path, dict[str, str]], home: Path) -> dict[str, str]:
    """Ids of the takes in the archive of this test's own data directory."""
    folder, found = made
    shutil.copytree(folder, home, dirs_exist_ok=True)
    return found
