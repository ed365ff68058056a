"""The piece in the user's own editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from textual.app import App, SuspendNotSupported

from pieces.signals import DescantError


def edit(app: App[object], path: Path, say: Callable[[str], None]) -> None:
    """Open a file in ``$VISUAL`` or ``$EDITOR``: beside the studio under tmux, else in its place until it is closed.

    Raises
    ------
    DescantError
        If there is no editor.
    """
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not given:
        raise DescantError(f"$EDITOR is not set; the piece is in {path}: what you save in it is heard at the next bar")
    words = [*shlex.split(given), str(path)]
    if shutil.which(words[0]) is None:
        raise DescantError(f"$EDITOR = {given!r} is not there; the piece is in {path}: edit it with any other")
    if os.environ.get("TMUX"):
        subprocess.run(["tmux", "split-window", "-h", shlex.join(words)], check=False, capture_output=True)
        say(f"{path.name} is open beside: what you save is heard at the next bar")
        return
    try:
        with app.suspend():
            subprocess.run(words, check=False)
    except SuspendNotSupported:
        raise DescantError(f"this terminal cannot make room for an editor; the piece is in {path}") from None
