"""What is said at the bottom of the screen: each line long enough to be read, none longer than it is true."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from studio.messages import Notice
from studio.widgets.plain import plain

#: Seconds that a line stays, that a fault stays, and that each is seen at least where others wait.
WORD_S, FAULT_S, LEAST_S = 6.0, 12.0, 2.0
#: Lines that can be read again.
REMEMBERED = 50


class Word(Notice):
    """A notice that nothing is wrong: what was done, or what can be done next."""


@dataclass
class Line:
    """Something that is said.

    Attributes
    ----------
    text : str
    fault : bool
        Whether something is wrong: that comes first, and stays longer.
    since : float or None
        When it was first seen.
    """

    text: str
    fault: bool
    since: float | None = None


class Notices:
    """What is said, and what was.

    Parameters
    ----------
    now : callable
        Seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lines: list[Line] = []
        self._said: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)

    def say(self, text: str, fault: bool) -> str:
        """Say something, as one plain line: a fault as soon as those before it were seen; a word in place of the last
        word."""
        text = " ".join(plain(text).split())
        self._said.append((time.strftime("%H:%M:%S"), text))
        others = [line for line in self._lines if line.text != text]
        words = [line.text for line in others if not line.fault and fault and not self._was_read(line)]
        self._lines = [line for line in others if line.fault] + [Line(word, False) for word in words]
        self._lines.append(Line(text, fault))
        self._lines.sort(key=lambda line: not line.fault)
        return text

    def _was_read(self, line: Line) -> bool:
        return line.since is not None and self._now() - line.since >= LEAST_S

    def act(self) -> None:
        """Something else is done: what was said of the last deed is no longer true."""
        self._lines = [line for line in self._lines if line.fault]

    def shown(self, room: int) -> list[str]:
        """What is to be seen now, in so many lines at most."""
        now = self._now()
        waits = len(self._lines) > room
        self._lines = [line for line in self._lines if not _is_over(line, now, waits)]
        for line in self._lines[:room]:
            line.since = now if line.since is None else line.since
        return [line.text for line in self._lines[:room]]

    def page(self) -> str:
        """What was said, the newest first."""
        return "\n".join(f"{at}  {text}" for at, text in reversed(self._said)) or "nothing was said yet"


def _is_over(line: Line, now: float, waits: bool) -> bool:
    life = LEAST_S if waits else FAULT_S if line.fault else WORD_S
    return line.since is not None and now - line.since > life
