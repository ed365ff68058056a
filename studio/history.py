"""Undo and redo: the edits of a session as a tree, in which what was undone and left stays.

A pure model. Whoever owns one stores what `edit` gives, and `head` and `tip` after every call (`db.sessions`); from
those it is made again as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from db.work import Edit
from pieces.errors import DescantError

if TYPE_CHECKING:
    from pieces.signals import Value

#: Seconds within which turns of one knob are one edit.
TURN_S = 1.0


class HistoryError(DescantError):
    """There is nothing to undo, nothing to redo, or no such edit."""


class History:
    """The edits of a session.

    Parameters
    ----------
    edits : sequence of Edit
        In order of number, from 0 on.
    head, tip : int
        See the attributes.
    now : callable
        Seconds, of a clock that only runs on.

    Attributes
    ----------
    head : int
        Number of the edit that is heard.
    tip : int
        Number of the last edit that redoing leads to; `head` lies on its way back to the first.
    """

    def __init__(
        self, edits: Sequence[Edit], head: int = 0, tip: int | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._edits = list(edits)
        self.head = head
        self.tip = head if tip is None else tip
        self._now = now
        self._turned: tuple[str, float] | None = None

    @classmethod
    def begin(
        cls, piece: Mapping[str, Any], label: str = "opened", now: Callable[[], float] = time.monotonic
    ) -> History:
        """One with nothing to undo."""
        return cls([Edit(0, None, label, piece)], now=now)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits, in order of number."""
        return tuple(self._edits)

    @property
    def piece(self) -> Mapping[str, Any]:
        """The piece after the edit that is heard."""
        return self._edits[self.head].piece

    @property
    def undo_label(self) -> str | None:
        """What `undo` would take back; None if there is nothing."""
        return self._edits[self.head].label if self.head else None

    @property
    def redo_label(self) -> str | None:
        """What `redo` would do; None if there is nothing."""
        following = self._next()
        return None if following is None else self._edits[following].label

    @property
    def way(self) -> tuple[int, ...]:
        """Numbers of the edits that undoing and redoing lead through, the last one first; the rest were left."""
        way = [self.tip]
        while (parent := self._edits[way[-1]].parent) is not None:
            way.append(parent)
        return tuple(way)

    def edit(self, label: str, piece: Mapping[str, Any], knob: str | None = None) -> Edit | None:
        """Go on from here with a changed piece.

        Parameters
        ----------
        label : str
            What was done, in a few words.
        piece : mapping
            The whole piece after it; it must not be changed later.
        knob : str, optional
            What was turned: turns of one knob that follow each other within `TURN_S` seconds are one edit.

        Returns
        -------
        Edit or None
            What is to be stored, in place of the edit of its number if there is one; None if nothing has changed.
        """
        if piece == self.piece:
            return None
        now = self._now()
        if knob is not None and self._turned is not None and self._turned[0] == knob and now - self._turned[1] < TURN_S:
            before = self._edits[self.head]
            self._edits[self.head] = Edit(before.number, before.parent, label, piece)
        else:
            self._edits.append(Edit(len(self._edits), self.head, label, piece))
            self.head = self.tip = len(self._edits) - 1
        self._turned = None if knob is None else (knob, now)
        return self._edits[self.head]

    def undo(self) -> Edit:
        """Go back by one edit; returns the one that is heard now."""
        parent = self._edits[self.head].parent
        if parent is None:
            raise HistoryError("nothing to undo: this is the piece as it was opened")
        return self._go(parent)

    def redo(self) -> Edit:
        """Do again what was undone last; returns the edit that is heard now."""
        following = self._next()
        if following is None:
            raise HistoryError("nothing to redo: this is the last edit")
        return self._go(following)

    def jump(self, number: int) -> Edit:
        """Go to any edit, also one that was left; redoing then leads on along its newest edits."""
        if not 0 <= number < len(self._edits):
            raise HistoryError(f"no edit {number}: there are 0 to {len(self._edits) - 1}")
        if number not in self.way:
            self.tip = number
            while (newest := self._newest(self.tip)) is not None:
                self.tip = newest
        return self._go(number)

    def _go(self, number: int) -> Edit:
        self.head, self._turned = number, None
        return self._edits[number]

    def _newest(self, number: int) -> int | None:
        return max((e.number for e in self._edits if e.parent == number), default=None)

    def _next(self) -> int | None:
        way = self.way
        at = way.index(self.head)
        return way[at - 1] if at else None


def spelled(value: Value) -> str:
    """A value, for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def edit_label(path: str, value: Any) -> str:
    """What a change is called: ``score.voices.tone.gain_db`` → ``tone gain_db = -3``."""
    words = path.split(".")
    short = " ".join(words[2:]) if words[0] in ("score", "parts") and len(words) > 2 else path
    plain = not isinstance(value, Mapping | list) and value is not None
    return f"{short} = {spelled(value)}"[:80] if plain else f"{short} removed" if value is None else f"{short} changed"
