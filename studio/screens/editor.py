"""The piece in the user's own editor."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from textual.app import App, SuspendNotSupported

from pieces.errors import DescantError
from studio.watch import editing


def edit(app: App[object], path: Path, say: Callable[[str], None]) -> None:
    """Open a file in the user's editor: beside the studio where there is room, else in its place until it is closed.

    Raises
    ------
    DescantError
        If there is no editor, or it cannot be started.
    """
    try:
        found = editing(path)
        if found.takes_terminal:
            with app.suspend():
                subprocess.run(found.command, check=False)
            return
        no = subprocess.DEVNULL
        subprocess.Popen(found.command, stdin=no, stdout=no, stderr=no, start_new_session=True)
    except DescantError as error:
        raise DescantError(f"{error}; the piece is in {path}") from None
    except OSError as error:
        raise DescantError(f"{found.command[0]}: {error.strerror}: name another editor in EDITOR") from None
    except SuspendNotSupported:
        raise DescantError(f"this terminal cannot make room for an editor; the piece is in {path}") from None
    say(f"{path.name} is open beside: what you save is heard at the next bar")
