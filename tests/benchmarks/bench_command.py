"""Start-up: what the command line costs before it does anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.benchmarks.measure import Row, command, descant


def rows() -> Iterator[Row]:
    bare = command([sys.executable, "-c", "import click"], 7)
    ours = command(descant("--help"), 7)
    yield Row("descant --help", ours, "CPU s", "<= 0.3", ours <= 0.3, "import click alone", bare)
