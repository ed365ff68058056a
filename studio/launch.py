"""Opening the studio in this terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pieces.signals import DescantError
from studio import terminal

if TYPE_CHECKING:
    from studio.screens.model import Model


def launch(archive: str | None = None, piece: str = "") -> int:
    """Open the studio, and leave the terminal as it was; gives the exit status.

    Raises
    ------
    DescantError
        If there is no terminal that it can be shown in, or it was killed.
    """
    if line := terminal.unusable():
        raise DescantError(line)
    status, line = terminal.supervised(lambda alive: _play(archive, piece, alive))
    if line:
        raise DescantError(line)
    return status


def _play(archive: str | None, piece: str, alive: int) -> int:
    from studio.app import Studio
    from studio.config import configuration

    def start(post: Callable[[object], None]) -> Model:
        from studio.session import Session

        return Session(post, archive)

    app = Studio(start, configuration(), piece)
    app.run_beside(lambda leave: asyncio.get_running_loop().add_reader(alive, leave))
    if app.model is not None:
        with suppress(DescantError):
            app.model.close()
    if app.fault:
        print(f"descant: {' '.join(app.fault.split())}", file=sys.stderr)
    return app.return_code or 0
