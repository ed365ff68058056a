"""The take of a live item. It is recorded as it is shown; what is made ready and never shown leaves no take."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.piece import Piece
from pieces.signals import Channel, FrameBlock
from studio import revise
from studio.keeper import Keeper, LiveTake
from studio.messages import Ended
from studio.run import Run

if TYPE_CHECKING:
    from db.archive import Archive

#: Blocks that may wait for an archive that cannot be written, some minutes of them, before the recording is given up.
_MOST = 10_000


class Recording:
    """A live item's performance, and its scratch take.

    Parameters
    ----------
    keeper : Keeper
        Its thread writes.
    name : str
        What the piece is called.
    piece : Piece
    base : Path
        Folder that its paths are read against.
    seed : int
    words : str
        The take's notes: where it was shown.
    note : callable
        Told in one line that there is a take, or why there is none.

    Attributes
    ----------
    run : Run
    """

    def __init__(
        self, keeper: Keeper, name: str, piece: Piece, base: Path, seed: int, words: str, note: Callable[[str], None]
    ) -> None:
        from studio.compose import Origin

        def begun(archive: Archive, take_id: str) -> None:
            archive.labels.note(take_id, words)
            note(f"it is recorded as take {take_id}, which is scratch")

        take = LiveTake(lambda: revise.planned(name, piece, base), seed, Origin, lambda report: None, begun)
        self.run = Run(name, piece.model_dump(mode="json"), base, seed, take)
        self.channels: Mapping[str, tuple[Channel, ...]] = {}
        self._keeper, self._note = keeper, note
        self._lock = threading.Lock()
        self._unshown: list[tuple[str, FrameBlock]] | None = []
        self._queued = self._done = 0
        self._is_over = False

    @property
    def take_id(self) -> str | None:
        """The take's id, as soon as it has one."""
        return self.run.take.take_id

    def supply(self, archive: Archive) -> None:
        """Have files written of what earlier takes give to the piece; before anything is performed."""
        self.run.paths = self.run.take.paths(archive)

    def hear(self, part: str, block: FrameBlock) -> None:
        """A part's next ticks."""
        with self._lock:
            if self._unshown is None:
                self._append(part, block)
            else:
                self._unshown.append((part, block))

    def begin(self) -> None:
        """It is shown."""
        with self._lock:
            unshown, self._unshown = self._unshown or [], None
            for part, block in unshown:
                self._append(part, block)

    def end(self, ended: Ended | None) -> None:
        """It is over as was reported; None where it was broken off."""
        with self._lock:
            if self._is_over or not self._queued:
                return
            self._is_over, take = True, self.run.take
            if ended is None:
                self._keeper.do(lambda archive: take.interrupt())
            elif ended.status == "failed":
                self._keeper.do(lambda archive: take.fail(ended.reason))
            else:
                duration = self.run.duration
                self._keeper.do(lambda archive: take.finish(duration))

    def _append(self, part: str, block: FrameBlock) -> None:
        if self._is_over:
            return
        if self._queued - self._done > _MOST:
            self._is_over = True
            self._keeper.do(lambda archive: self.run.take.interrupt())
            self._note("the archive cannot be written: what follows is not recorded")
            return
        self._queued += 1
        take, number, first = self.run.take, self._queued, self._queued == 1

        def job(archive: Archive) -> None:
            self._done = number
            if first:
                take.begin(archive, self.channels)
            take.append(part, block)

        self._keeper.do(job)
