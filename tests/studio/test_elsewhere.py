"""What is asked in a process of its own: its answer, or one line that names what was asked about."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from pieces.errors import DescantError
from pieces.piece import parse_piece
from studio import revise
from studio.elsewhere import elsewhere
from tests.performing import piece as performed


def strange() -> object:
    """Something of a module that is known to this process alone."""
    module = types.ModuleType("only_there")
    sys.modules["only_there"] = module
    exec("class Own: pass", module.__dict__)
    return module.__dict__["Own"]()


def refused(line: str) -> None:
    raise DescantError(line)


def test_what_cannot_be_understood_here_is_one_line():
    with pytest.raises(DescantError) as caught:
        elsewhere("own.py", strange)
    assert str(caught.value) == "own.py: its sources cannot be read: ModuleNotFoundError"


def test_a_line_names_what_was_asked_about_once():
    for line in ("no such thing", "own.py: no such thing"):
        with pytest.raises(DescantError) as caught:
            elsewhere("own.py", refused, line)
        assert str(caught.value) == "own.py: no such thing"


def test_a_source_that_dies_while_it_is_read_is_named(tmp_path: Path):
    path = tmp_path / "dies.py"
    path.write_text("import os; os._exit(3)")
    with pytest.raises(DescantError) as caught:
        revise.read(str(path))
    assert str(caught.value).startswith(f"{path}: its sources cannot be read")
    piece = parse_piece({**performed(), "parts": {"fit": {"source": "dies.py", "rate": 20}}}, "mine")
    with pytest.raises(DescantError) as caught:
        revise.planned("mine.toml", piece, tmp_path)
    assert str(caught.value).startswith("mine.toml: its sources cannot be read")
