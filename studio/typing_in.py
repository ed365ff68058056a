"""The keys of a terminal, played as a piano into an inbox while something else runs."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from studio.piano import INTERRUPT, Piano, decode

if TYPE_CHECKING:
    from sonify.incoming import Inbox

#: Seconds between two looks at notes whose time is over.
_LOOK = 0.01
#: Ask whether keys let go can be told, and ask for it; and take that back.
_ASK, _TAKE_BACK = b"\x1b[?u\x1b[>11u", b"\x1b[<u"


class TypedIn:
    """Plays what is typed; the terminal is as it was afterwards.

    Parameters
    ----------
    inbox : Inbox
    terminal : int, optional
        File descriptor; default: standard input.

    Raises
    ------
    DescantError
        If it is no terminal.
    """

    def __init__(self, inbox: Inbox, terminal: int | None = None) -> None:
        self._inbox = inbox
        self._terminal = sys.stdin.fileno() if terminal is None else terminal
        if not os.isatty(self._terminal):
            raise DescantError("--keys: there is no terminal to type on: play with --midi-in PORT or --mid FILE")
        self._piano = Piano()
        self._ended = threading.Event()
        self._kept: Any = None

    def __enter__(self) -> TypedIn:
        self._kept = termios.tcgetattr(self._terminal)
        tty.setcbreak(self._terminal)
        os.write(self._terminal, _ASK)
        self._thread = threading.Thread(target=self._read, name="typed in", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        os.write(self._terminal, _TAKE_BACK)
        termios.tcsetattr(self._terminal, termios.TCSAFLUSH, self._kept)

    def _read(self) -> None:
        rest = b""
        while not self._ended.is_set():
            if select.select([self._terminal], [], [], _LOOK)[0]:
                read = os.read(self._terminal, 1024)
                if not read:
                    return
                keys, speaks, rest = decode(rest + read)
                self._piano.exact |= speaks
                for key, kind in keys:
                    if key == INTERRUPT:
                        os.kill(os.getpid(), signal.SIGINT)
                    for event in self._piano.key(key, time.monotonic(), kind):
                        self._inbox.put(*event)
            for event in self._piano.due(time.monotonic()):
                self._inbox.put(*event)
