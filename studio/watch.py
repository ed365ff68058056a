"""The piece in the user's own editor: how it is opened, and how its saves are noticed."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pieces.errors import DescantError

#: Editors with a window of their own.
_WINDOWED = frozenset({"code", "codium", "cursor", "gedit", "gnome-text-editor", "gvim", "kate", "subl", "xed", "zed"})
#: Where the user names none.
_USUAL = ("nano", "vim", "vi", "emacs", "micro", "hx")
#: Terminals that open a window, and what stands before the command.
_TERMINALS = {"x-terminal-emulator": ("-e",), "gnome-terminal": ("--",), "konsole": ("-e",), "xterm": ("-e",)}


@dataclass(frozen=True)
class Editing:
    """How an editor is started.

    Attributes
    ----------
    command : tuple of str
        As `subprocess.run` takes it.
    takes_terminal : bool
        Whether it needs the terminal for itself until it ends; else it opens beside the studio and is let run.
    """

    command: tuple[str, ...]
    takes_terminal: bool


def editing(
    path: Path,
    environment: Mapping[str, str] = os.environ,
    which: Callable[[str], str | None] = shutil.which,
) -> Editing:
    """The command that opens a file in ``$VISUAL`` or ``$EDITOR``: beside the studio if there is a way.

    A pane of tmux, or a window where there is a display, lets the piece play on in view.

    Raises
    ------
    DescantError
        If there is no editor.
    """
    command = (*_editor(environment, which), str(path))
    if Path(command[0]).name in _WINDOWED:
        return Editing(command, takes_terminal=False)
    if environment.get("TMUX") and which("tmux"):
        return Editing(("tmux", "split-window", "-h", shlex.join(command)), takes_terminal=False)
    if environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        for terminal, before in _TERMINALS.items():
            if which(terminal):
                return Editing((terminal, *before, *command), takes_terminal=False)
    return Editing(command, takes_terminal=True)


def _editor(environment: Mapping[str, str], which: Callable[[str], str | None]) -> tuple[str, ...]:
    for variable in ("VISUAL", "EDITOR"):
        if given := environment.get(variable, "").strip():
            try:
                words = shlex.split(given)
            except ValueError as error:
                raise DescantError(f"{variable} = {given!r}: cannot be read as a command ({error})") from None
            if words and which(words[0]):
                return tuple(words)
            raise DescantError(f"{variable} = {given!r}: no such program: name an editor that is installed")
    found = next((name for name in _USUAL if which(name)), None)
    if found is None:
        raise DescantError("no editor: name one in EDITOR (export EDITOR=nano)")
    return (found,)


class Watch:
    """Looks at a file now and then, and tells what was saved in it.

    Parameters
    ----------
    path : Path
        It may be missing for a moment, as some editors write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = self._read()
        self._mark = self._told = self._stat()

    def expect(self, text: str) -> None:
        """What is about to be written is our own and no news."""
        self._text = text

    def look(self) -> str | None:
        """The file's text if it was saved since it was told last; None if not, or while it is still being written.

        A save is told at the second look that finds it as the first one did: one that is half written is no save.
        """
        mark = self._stat()
        settled, self._mark = mark == self._mark, mark
        if mark is None or not settled or mark == self._told:
            return None
        text = self._read()
        if text is None or self._stat() != mark:
            return None
        self._told = mark
        if text == self._text:
            return None
        self._text = text
        return text

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8-sig")
        except OSError:
            return None
        except UnicodeDecodeError:
            return "\0"  # no TOML either: whoever parses it says so
