"""Opening the studio in this terminal."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from studio import terminal
from studio.console import complain

if TYPE_CHECKING:
    from studio.asked import Asked
    from studio.performing import Performing
    from studio.screens.model import Model

#: Seconds after which a studio that is not closed yet says what it does.
_SLOW = 3.0


def launch(archive: str | None = None, asked: Asked | None = None) -> int:
    """Open the studio, for a performance if one is asked for, and leave the terminal as it was; gives the exit status.

    Raises
    ------
    DescantError
        If there is no terminal that it can be shown in, or it was killed.
    """
    if line := terminal.unusable():
        raise DescantError(line)
    status, line = terminal.supervised(lambda alive: _play(archive, asked, alive))
    if line:
        raise DescantError(line)
    return status


def settle() -> None:
    """Let garbage be collected, but none of what is there now: to look at all of it holds the screen for 0.1 s."""
    gc.freeze()
    gc.enable()


def _play(archive: str | None, asked: Asked | None, alive: int) -> int:
    gc.disable()  # until it has begun: of what is imported nothing goes
    from studio.app import Studio
    from studio.config import configuration

    performing: Performing | None = None
    if asked is not None:
        from studio.performing import Performing

        performing = Performing(asked, archive)

    def start(post: Callable[[object], None]) -> Model:
        from studio.session import Session

        try:
            return Session(post, archive) if performing is None else performing.start(post)
        finally:
            settle()

    app = Studio(start, configuration(), perform=None if performing is None else performing.begin)
    app.run_beside(lambda leave: asyncio.get_running_loop().add_reader(alive, leave))
    with _heard(app.reports):
        if app.model is not None:
            with suppress(DescantError):
                app.model.close()
        if performing is not None:
            performing.close()
    if app.fault:
        complain(app.fault)
    return app.return_code or 0


@contextmanager
def _heard(reports: deque[object]) -> Iterator[None]:
    """What is said meanwhile is written to the terminal, in one line, since no screen is there any more to show it."""
    from studio.messages import Notice

    reports.clear()
    slow = Timer(_SLOW, complain, ("storing what was made ...",))
    slow.start()
    try:
        yield
    finally:
        slow.cancel()
    if lines := dict.fromkeys(r.text for r in reports if isinstance(r, Notice)):
        complain("; ".join(lines))
