"""The studio's child ends where it is, whatever happens to its terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

#: The body loses its terminal, and then fails.
PROGRAM = """
import os, sys
from studio.terminal import supervised

def body(alive):
    os.close(0)
    raise RuntimeError("no terminal any more")

try:
    status, _ = supervised(body)
finally:
    with open(sys.argv[1], "a") as went_on:
        went_on.write(f"{os.getpid()}\\n")
sys.exit(7 + status)
"""


def test_where_the_terminal_is_gone_the_child_does_not_go_on_as_its_parent(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    went_on = tmp_path / "went_on"
    with closing(os.fdopen(ours, "rb", buffering=0)), closing(os.fdopen(theirs, "rb", buffering=0)):
        words = [sys.executable, "-c", PROGRAM, str(went_on)]
        process = subprocess.Popen(words, stdin=theirs, stderr=theirs, start_new_session=True)
        assert process.wait(30) == 8
    assert went_on.read_text().split() == [str(process.pid)]
