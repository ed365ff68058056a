"""What is kept of an exhibition: one line in a file for everything that happens, and in the archive where it is."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from studio.keeper import Keeper

if TYPE_CHECKING:
    from db.archive import Archive
    from db.work import Outcome

#: Name of the file in the data directory; its size in bytes at which another one is begun, and the old one kept.
FILE, LARGEST = "exhibition.log", 1 << 20


class Journal:
    """A file of lines; an exhibition runs unattended, so nothing is said on its screen.

    Parameters
    ----------
    path : Path
    echo : callable, optional
        Told each line too, at once.

    Attributes
    ----------
    lines : deque of str
        The last ones that were said since this began.
    """

    def __init__(self, path: Path, echo: Callable[[str], None] = lambda line: None) -> None:
        self.path, self._echo = path, echo
        self.lines: deque[str] = deque(maxlen=100)
        self._lock = threading.Lock()
        self._refused = False

    def say(self, line: str) -> None:
        """Write a line with the time."""
        line = " ".join(line.split())
        with self._lock:
            self.lines.append(line)
            self._echo(line)
            try:
                self._write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {line}\n")
            except OSError as error:
                if not self._refused:
                    self._refused = True
                    said = f"{self.path}: cannot be written: {error.strerror}: the exhibition goes on without a log"
                    self.lines.append(said)
                    self._echo(said)

    def _write(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size > LARGEST:
            self.path.replace(self.path.with_suffix(".log.1"))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)


class Places:
    """Where a programme is, in the archive; no call waits for it.

    Parameters
    ----------
    keeper : Keeper
        Its thread writes.
    programme : str
        By which the place is found again.
    """

    def __init__(self, keeper: Keeper, programme: str) -> None:
        self._keeper, self._programme = keeper, programme
        self._shown: _Shown | None = None
        self._lock = threading.Lock()

    def begin(self, item: int, label: str, position: float, take: Callable[[], str | None] = lambda: None) -> None:
        """An item begins; `take` gives the take that is played or recorded, when it is asked in the keeper's thread."""
        shown = self._shown = _Shown(position)

        def job(archive: Archive) -> None:
            shown.id = archive.showings.begin(self._programme, item, label, position, take())

        self._keeper.do(job)

    def at(self, position: float) -> None:
        """It has come so far. Where the archive is slow the newest place of an item alone is written."""
        shown = self._shown
        if shown is None:
            return
        with self._lock:
            shown.position, waits, shown.waits = position, shown.waits, True
        if not waits:
            self._keeper.do(lambda archive: self._save(archive, shown))

    def end(self, position: float, outcome: Outcome, reason: str = "") -> None:
        """The item is over."""
        self.at(position)
        shown, self._shown = self._shown, None

        def job(archive: Archive) -> None:
            if shown is not None and shown.id is not None:
                archive.showings.end(shown.id, outcome, reason)

        self._keeper.do(job)

    def skipped(self, item: int, label: str, reason: str) -> None:
        """An item was left out; it does not become the place."""

        begun: list[str] = []

        def job(archive: Archive) -> None:
            if not begun:  # it may be tried again
                begun.append(archive.showings.begin(self._programme, item, label))
            archive.showings.end(begun[0], "skipped", reason)

        self._keeper.do(job)

    def _save(self, archive: Archive, shown: _Shown) -> None:
        while True:
            position = shown.position
            if shown.id is not None:
                archive.showings.at(shown.id, position)
            with self._lock:  # not before it is written: where the archive is busy this is tried again
                shown.waits = position != shown.position
            if not shown.waits:
                return


@dataclass
class _Shown:
    """An item that is shown: how far it has come, its row as soon as there is one, and whether its place waits."""

    position: float
    id: str | None = None
    waits: bool = False
