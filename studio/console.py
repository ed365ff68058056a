"""What the command line prints: progress on stderr, tables and JSON on stdout."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import click

#: How to see where a fault is.
_SHOWS = "DESCANT_DEBUG=1 shows where"


class Bar:
    """Progress of one stage after another, drawn by tqdm on stderr.

    A `studio.compose.Progress`. With ``quiet``, or where nobody looks (stderr is no terminal), nothing is drawn.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Draw `done` of `total`; a total of 0 says only that the stage is under way."""
        if self._quiet:
            return
        if stage != self._stage or self._bar is None:
            self._open(stage, total)
        self._bar.n = min(done, total) if total else done
        self._bar.refresh() if done >= total else self._bar.update(0)

    def _open(self, stage: str, total: float) -> None:
        from tqdm import tqdm

        self.close()
        self._stage = stage
        shape = "{desc:9}{bar}| {percentage:3.0f}% {elapsed}<{remaining}" if total else "{desc:9}... {elapsed}"
        self._bar = tqdm(total=total or None, desc=stage, bar_format=shape, leave=False, disable=None, mininterval=0.1)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def emit(value: Any, as_json: bool) -> None:
    """Print text, or any plain data as JSON."""
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False) if as_json else value)


def complain(line: str) -> None:
    """Say what went wrong, as one line on stderr."""
    click.echo(f"descant: {' '.join(line.split())}", err=True)


def explained(error: BaseException) -> str:
    """What ended a command, for people."""
    from pieces.errors import DescantError

    if isinstance(error, DescantError):
        return str(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "stopped; what was recorded is kept (descant takes)"
    if isinstance(error, OSError):
        return f"{error.filename or 'input or output'}: {error.strerror or error}"
    return f"{_fault(error)}; {_SHOWS}"


def fault_in(folder: Path, error: Exception) -> str:
    """What to say of a fault that ended a screen; where it was is written to a file in the folder."""
    path = folder / "fault.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return f"{_fault(error)}; {_SHOWS}"
    return f"{_fault(error)}; {path} says where"


def _fault(error: BaseException) -> str:
    return f"a fault of Descant's own: {type(error).__name__}: {error}"


def columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Rows as aligned columns with a header."""
    return "\n".join(table([names, *([_cell(row.get(n)) for n in names] for row in rows)]))


def table(rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Rows of cells as aligned lines."""
    cells = [[" ".join(c.split()) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [indent + "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
