"""The terminal: whether the studio can be shown in it, and leaving it as it was, however the studio ends.

The studio runs in a child; this small parent has nothing to do but to wait, and to clean up where the child could not:
a process that is killed leaves the screen, the mouse and the keyboard as they are.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

#: Smallest terminal that the studio can be shown in: columns and rows.
SMALLEST = (60, 16)
#: What a full-screen program may have switched on: alternate screen, mouse, paste, focus, keyboard protocol,
#: synchronised output, hidden cursor, colours.
RESET = (
    "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?2004l\x1b[?1004l"
    "\x1b[<u\x1b[?2026l\x1b[?7h\x1b[?25h\x1b[0m"
)


def unusable() -> str:
    """Why the studio cannot be shown here, as one line with what still works; empty if it can."""
    still = "what still works: descant compose PIECE, descant takes, descant --help"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return f"no terminal: the studio needs one to draw in and to hear keys; {still}"
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        return f"TERM = {os.environ.get('TERM', '')!r}: the studio needs a terminal that can place text; {still}"
    with suppress(OSError):
        columns, rows = os.get_terminal_size(sys.stderr.fileno())
        if columns and rows and (columns < SMALLEST[0] or rows < SMALLEST[1]):
            wanted = f"{SMALLEST[0]} x {SMALLEST[1]}"
            return f"the terminal has {columns} x {rows} cells: the studio needs {wanted}; make it larger, or: {still}"
    return ""


def heal() -> None:
    """Make good what a program that was killed here has left: no echo, no lines, another screen."""
    with suppress(termios.error, OSError, ValueError):
        state = termios.tcgetattr(sys.stdin.fileno())
        if state[3] & termios.ICANON and state[3] & termios.ECHO:
            return
        state[0] |= termios.ICRNL | termios.IXON | termios.BRKINT
        state[1] |= termios.OPOST | termios.ONLCR
        state[3] |= termios.ICANON | termios.ECHO | termios.ECHOE | termios.ECHOK | termios.ISIG | termios.IEXTEN
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, state)
        clean()


def clean() -> None:
    """Leave every mode of a full-screen program."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), RESET.encode())


def supervised(body: Callable[[int], int]) -> tuple[int, str]:
    """Run `body` in a child, and see that the terminal is as it was when it is over.

    Parameters
    ----------
    body : callable
        Given a file descriptor that ends when this process is gone; gives an exit status.

    Returns
    -------
    tuple of (int, str)
        The exit status, and one line if the child was killed.
    """
    heal()
    state = termios.tcgetattr(sys.stdin.fileno())
    alive, held = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(held)
            os._exit(_run(body, alive, state))
        finally:  # whatever went wrong, what follows is the parent's
            os._exit(1)
    os.close(alive)
    status = _wait(child)
    os.close(held)
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status), ""
    _restore(state)
    name = signal.Signals(os.WTERMSIG(status)).name
    return 1, f"the studio was ended by {name}; what was recorded is kept, and descant opens the session again"


def _run(body: Callable[[int], int], alive: int, state: list[Any]) -> int:
    try:
        return body(alive)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        from studio.console import complain, explained

        if termios.tcgetattr(sys.stdin.fileno()) != state:  # else it has not begun to draw, or has cleaned up itself
            _restore(state)
        if os.environ.get("DESCANT_DEBUG"):
            sys.excepthook(*sys.exc_info())
        complain(explained(error))
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _restore(state: list[Any]) -> None:
    clean()
    with suppress(termios.error):
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, state)


def _wait(child: int) -> int:
    """Wait for the child: signals go on to it, and where it is stopped we stop too, so that the shell is back.

    The shell lets both go on, as one job. Told twice the child would take the terminal twice: two threads that read it,
    one of which can hold up the end for ever.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    before = {n: signal.signal(n, forward) for n in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)  # in raw mode it is a key
    try:
        while True:
            _, status = os.waitpid(child, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                return status
            os.kill(os.getpid(), signal.SIGSTOP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
