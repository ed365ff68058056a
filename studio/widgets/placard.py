"""A picture with writing on it that comes and fades away: the writing is part of the picture, so nothing lies over it.

In a row of the picture every cell is a half block in the colour of its upper pixel on that of its lower one. Where a
letter stands it takes the half block's place, and the two pixels hold the letter's colour and the ground's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment

from studio.widgets.cells import Pixels
from studio.widgets.picture import Picture, ReadyStrip

#: Most cells of a line; cells left free beside it and rows under it.
WIDEST, BESIDE, BELOW = 64, 3, 2
#: How dark the picture is under the writing, and the colours of a title and of other text.
_DARK, _TITLE, _TEXT = 0.72, (255, 255, 255), (214, 216, 222)
_BLOCK = "▀"


@dataclass(frozen=True)
class Writing:
    """What is written: a title, a text under it, and how clearly, 0 to 1. A hint stands at the bottom by itself."""

    title: str = ""
    text: str = ""
    clear: float = 1.0
    hint: str = ""


@dataclass(frozen=True)
class _Line:
    """One line: its row and first cell, and what each cell holds (a wide letter is followed by an empty one)."""

    row: int
    column: int
    cells: tuple[str, ...]
    bold: bool
    clear: float


class Placard(Picture):
    """A picture that can be written on; `write` says what, `show` takes the next picture as ever."""

    def __init__(self, bits: int = 7, id: str | None = None) -> None:
        super().__init__(bits, id)
        self._writing = Writing()
        self._laid: tuple[tuple[Writing, int, int], list[_Line]] = ((Writing(), 0, 0), [])

    def write(self, writing: Writing) -> None:
        """What is written on the pictures from now on."""
        if (writing.title, writing.text, writing.hint) != (
            self._writing.title,
            self._writing.text,
            self._writing.hint,
        ):
            self._pixels = None  # letters may change where no colour does
        self._writing = writing

    @property
    def written(self) -> Writing:
        """What is written."""
        return self._writing

    def show(self, picture: Pixels) -> bool:
        """Show a picture, with the writing on it; see `Picture.show`."""
        lines = self._lines()
        before = list(self._rows)
        fits = picture.shape[1::-1] == self.wanted
        cells = (self.size.width, self.size.height)
        # Sixteen colours are dithered: grey letters would be mottled.
        text = _TITLE if self._depth == "16" else _TEXT
        if not super().show(inked(picture, lines, cells, text) if lines and fits else picture):
            return False
        for line in lines:
            fresh = line.row >= len(before) or self._rows[line.row] is not before[line.row]
            if fresh:
                self._set(line)
        return True

    def _lines(self) -> list[_Line]:
        """The lines of the writing where they stand."""
        key = (self._writing, self.size.width, self.size.height)
        if key != self._laid[0]:
            self._laid = (key, laid(*key))
        return self._laid[1]

    def _set(self, line: _Line) -> None:
        """Put the letters of a line into its row."""
        text = self._rows[line.row].render(self.app.console)
        if self._depth == "none":
            if line.clear < 0.5:
                return
            plain = text[: line.column] + "".join(line.cells) + text[line.column + len(line.cells) :]
            self._rows[line.row] = ReadyStrip(plain, self.size.width, lambda: [Segment(plain)])
            return
        pieces = text.split(_BLOCK)
        glyphs = [_BLOCK] * (len(pieces) - 1)
        for column, letter in enumerate(line.cells, line.column):
            glyphs[column] = f"\x1b[1m{letter}\x1b[22m" if line.bold and letter.strip() else letter
        whole = "".join(p for pair in zip(pieces, [*glyphs, ""], strict=True) for p in pair)
        self._rows[line.row] = ReadyStrip(whole, self.size.width, lambda: self._lettered(line, text))

    def _lettered(self, line: _Line, text: str) -> list[Segment]:
        """The row as segments, for what cannot take ready strings."""
        segments = self._segments_of(line.row, text)
        for column, letter in enumerate(line.cells, line.column):
            segments[column] = Segment(letter, segments[column].style)
        return segments


def inked(
    picture: Pixels, lines: Sequence[_Line], cells: tuple[int, int], text: tuple[int, int, int] = _TEXT
) -> Pixels:
    """A picture that is darker where something is written, and has the letters' colours.

    Parameters
    ----------
    picture : ndarray
        RGB, uint8 ``[height, width, 3]``.
    lines : sequence
        As `laid` gives them.
    cells : tuple of int
        Columns and rows that the picture fills: of one pixel by two, or of two by four where there is no colour.
    text : tuple of int
        Colour of what is no title.
    """
    picture = picture.copy()
    wide, high = picture.shape[1] // cells[0], picture.shape[0] // cells[1]
    for line in lines:
        rows = slice(line.row * high, (line.row + 1) * high)
        left, right = max(line.column - 1, 0), min(line.column + len(line.cells) + 1, cells[0])
        under = picture[rows, left * wide : right * wide]
        under[:] = under * (1 - _DARK * line.clear)
        ink = np.array(_TITLE if line.bold else text)
        for column, letter in enumerate(line.cells, line.column):
            cell = picture[rows, column * wide : (column + 1) * wide]
            ground = cell.mean(axis=(0, 1))
            cell[:] = ground if wide == 1 else 0
            if wide == 1 and letter != " ":
                cell[0] = ground + (ink - ground) * line.clear
    return picture


def laid(writing: Writing, width: int, height: int) -> list[_Line]:
    """The lines of a writing in so many cells: what does not fit is left out, from the bottom of the text up."""
    room = min(WIDEST, width - 2 * BESIDE)
    lines: list[_Line] = []
    if room < 1:
        return lines
    if writing.clear > 0:
        titles = [(line, True) for line in wrapped(writing.title, room)]
        texts = [(line, False) for paragraph in writing.text.splitlines() for line in wrapped(paragraph, room)]
        found = [*titles, *texts][: max(height - BELOW - 2, 0)]
        top = height - BELOW - len(found)
        widest = max((len(cells) for cells, _ in found), default=0)
        for row, (cells, bold) in enumerate(found, top):
            padded = (*cells, *[" "] * (widest - len(cells)))
            lines.append(_Line(row, BESIDE, padded, bold, writing.clear))
    if writing.hint and height > 2:
        (cells, *_) = wrapped(writing.hint, width - 2) or [()]
        lines.append(_Line(height - 1, max((width - len(cells)) // 2, 0), cells, False, 1.0))
    return lines


def wrapped(text: str, width: int) -> list[tuple[str, ...]]:
    """Lines of at most so many cells; what a terminal would obey and what has no width is left out."""
    lines: list[list[str]] = []
    for word in text.split():
        cells = [cell for letter in word if letter.isprintable() for cell in _cells(letter)]
        for start in range(0, len(cells), width):
            part = cells[start : start + width]
            if lines and not start and len(lines[-1]) + 1 + len(part) <= width:
                lines[-1] += [" ", *part]
            elif part:
                lines.append(part)
    return [tuple(line) for line in lines]


def _cells(letter: str) -> list[str]:
    return [letter, ""][: cell_len(letter)]
