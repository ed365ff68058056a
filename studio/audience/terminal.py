"""A plain terminal: lines are typed and edited, text is wrapped, and pictures are drawn in its cells."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from studio.audience.text import plain
from studio.widgets.cells import Depth, encode, pixel_size

#: Columns and rows where nobody says how many there are.
SIZE = (80, 24)
#: The fewest rows in which a picture is still one.
LEAST = 3


def size() -> tuple[int, int]:
    """Columns and rows of the terminal that is written to."""
    try:
        found = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return SIZE
    return found.columns or SIZE[0], found.lines or SIZE[1]


def wrapped(text: str, columns: int) -> list[str]:
    """The rows that a text takes; what goes on is indented."""
    lines = (textwrap.wrap(line, max(columns, 20), subsequent_indent="  ") or [""] for line in text.splitlines())
    return [row for rows in lines for row in rows]


def show(text: str) -> None:
    """On standard error, in rows as wide as the terminal."""
    for row in wrapped(text, size()[0]):
        print(row, file=sys.stderr, flush=True)


def draw(text: str) -> None:
    """On standard error, as it is."""
    print(text, file=sys.stderr, flush=True)


def hear(asks: str, words: Sequence[str] = ()) -> str:
    """A line that is typed.

    In a terminal it is edited, with a history, and Tab completes `words`. Else the question stands on standard error:
    standard output is for what comes of the visit.

    Raises
    ------
    EOFError, KeyboardInterrupt
        If there is nobody any more.
    """
    if sys.stdin is None:
        raise EOFError
    beside = not (sys.stdin.isatty() and sys.stdout.isatty())
    if beside:
        print(asks, end=" ", file=sys.stderr, flush=True)
    else:
        _edited(words)
    try:
        typed = input("" if beside else f"{asks} ")
        if not sys.stdin.isatty():  # what is read from a file or a pipe does not show by itself
            print(plain(typed), file=sys.stderr)
        return typed
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}"
    except EOFError:
        print(file=sys.stderr)  # what is said next does not stand behind the question
        raise


def _edited(words: Sequence[str]) -> None:
    """Let readline edit, remember and complete; without it a line can be typed all the same."""
    try:
        import readline
    except ImportError:
        return
    readline.set_completer_delims(" \t,=")
    readline.set_completer(lambda text, state: ([*(word for word in words if word.startswith(text)), None])[state])
    editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if editline else "tab: complete")


def depth() -> Depth | None:
    """The colours that the terminal shows; ``"none"`` where ``NO_COLOR`` is set; None where there is no terminal."""
    if not sys.stderr.isatty() or "utf" not in (sys.stderr.encoding or "").lower():
        return None
    term = os.environ.get("TERM", "")
    if os.environ.get("NO_COLOR") or term in ("", "dumb"):
        return "none"
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "true"
    return "256" if "256" in term else "16"


def strip(pictures: Mapping[str, NDArray[np.uint8]], columns: int, rows: int, depth: Depth) -> str:
    """Pictures beside each other, each below its label, as large as there is room for.

    Parameters
    ----------
    pictures : mapping of str to ndarray
        RGB ``[height, width, 3]``, all of one size, by label.
    columns, rows : int
        Cells that there are; of rows, `LEAST` and one for the labels are taken in any case.
    depth : str
        See `depth`.
    """
    from PIL import Image

    high, wide = next(iter(pictures.values())).shape[:2]
    room = max(2, (columns + 1) // len(pictures) - 1)
    height = max(LEAST, min(rows - 1, round(room * high / wide / 2)))
    width = max(2, min(room, round(2 * height * wide / high)))
    to = pixel_size(width, height, depth)
    drawn = [
        encode(np.asarray(Image.fromarray(picture).resize(to, Image.Resampling.BOX)), depth)
        for picture in pictures.values()
    ]
    labels = " ".join(label[:width].ljust(width) for label in pictures)
    return "\n".join([labels.rstrip(), *(" ".join(row) for row in zip(*drawn, strict=True))])
