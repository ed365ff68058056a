"""The pictures of a take, drawn in a process of their own from what was recorded, at any time of the take."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, TypeAlias

from pieces.errors import DescantError

if TYPE_CHECKING:
    from studio.pictures.canvas import Pixels

#: Seconds after which it has not begun to draw.
PATIENCE = 120.0
#: A time of the take in seconds, and width and height in pixels.
Wish: TypeAlias = tuple[float, int, int]


@dataclass(frozen=True)
class _Failed:
    reason: str


class Projector:
    """Draws a take. A wish that was not begun before the next one came is dropped.

    Parameters
    ----------
    place : str
        The archive's path or URL.
    take_id : str

    Attributes
    ----------
    picture : ndarray or None
        The newest one, uint8 ``[height, width, 3]``.
    failed : str
        Why it draws no more, in one line; empty while it does.
    """

    def __init__(self, place: str, take_id: str) -> None:
        self.picture: Pixels | None = None
        self.failed = ""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=project, args=(theirs, place, take_id), name="descant projector", daemon=True
        )
        self._process.start()
        theirs.close()
        self._lock = threading.Lock()
        self._busy = True
        self._next: Wish | None = None
        self._asked: Wish | None = None
        self._ready = threading.Event()
        threading.Thread(target=self._listen, name="projector", daemon=True).start()

    def wait(self) -> None:
        """Wait until it can draw.

        Raises
        ------
        DescantError
            If it cannot.
        """
        if not self._ready.wait(PATIENCE):
            self.failed = f"its pictures were not there after {PATIENCE:.0f} s"
        if self.failed:
            raise DescantError(self.failed)

    def draw(self, wish: Wish) -> None:
        """Ask for a picture; returns at once."""
        with self._lock:
            if wish == self._asked:
                return
            self._asked = wish
            if self._busy:
                self._next = wish
            else:
                self._send(wish)

    def close(self) -> None:
        """End the process."""
        self._process.kill()

    @property
    def pid(self) -> int | None:
        """The process that draws."""
        return self._process.pid

    def _send(self, wish: Wish) -> None:
        self._busy, self._next = True, None
        with suppress(OSError):  # it is gone, and `_listen` knows
            self._pipe.send(wish)

    def _listen(self) -> None:
        try:
            while True:
                answer = self._pipe.recv()
                if isinstance(answer, _Failed):
                    self.failed = answer.reason
                elif answer is not None:
                    self.picture = answer
                self._ready.set()
                with self._lock:
                    self._busy = False
                    if self._next is not None:
                        self._send(self._next)
        except (EOFError, OSError):
            self._process.join()
            self.failed = self.failed or f"the process of its pictures ended with code {self._process.exitcode}"
            self._ready.set()
            self._pipe.close()


def project(pipe: Connection, place: str, take_id: str) -> None:
    """Body of the process: opens the take, says so (None), and draws what is asked for until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        from db.archive import Archive
        from studio.rendering import final_piece, staged

        with Archive.open(place, create=False) as archive:
            take = archive.take(take_id)
            _, scene = staged(archive, take, final_piece(archive, take))
        pipe.send(None)
        while True:
            seconds, width, height = pipe.recv()
            pipe.send(scene.draw(min(max(seconds, 0.0), scene.duration), width, height))
    except (EOFError, OSError):
        return
    except Exception as error:
        reason = str(error) if isinstance(error, DescantError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):
            pipe.send(_Failed(f"its pictures cannot be drawn: {reason}"))
