"""Recording a take: blocks are gathered, and committed every half second and every 1.5 MB."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from threading import RLock, Timer
from typing import Any

import numpy as np
from sqlalchemy import bindparam, update

from db.blocks import EncodedBlock, read_blocks
from db.database import Database
from db.media import MediaStore
from db.models import Take, Utc
from db.records import ArchiveError, Status
from pieces.signals import Array, Channel, Event, FrameBlock, SignalsHash

#: A commit takes place when more than so much of scalar channels would wait (of 0.25 to 4 MB measured fastest), ...
COMMIT_BYTES = 1536 * 1024
#: ... or so much of array channels, each commit of which makes a file and syncs it, ...
COMMIT_ARRAY_BYTES = 8 * 1024 * 1024
#: ... or when something has waited for so many seconds, however long the source takes for its next block: half of the
#: second that may be lost, so that the commit itself has the other half. (Only compiled code that keeps the
#: interpreter's lock throughout delays it; numpy and torch release it.)
COMMIT_S = 0.5

#: Built once, so that a commit costs little more than SQLite itself.
_GROW = (
    update(Take)
    .where(Take.id == bindparam("take"))
    .values(
        ticks=Take.ticks + bindparam("more"),
        bytes=Take.bytes + bindparam("blob"),
        updated=bindparam("now", type_=Utc()),
    )
)


class Recorder:
    """Appends blocks to one running take; made by `Archive.begin` and `Archive.resume`.

    Attributes
    ----------
    take_id : str
        The take.
    next_tick : int
        Tick that the next block must start at; after a failure, the tick after the last committed one.
    """

    def __init__(
        self,
        database: Database,
        store: MediaStore,
        take_id: str,
        channels: Sequence[Channel] = (),
        former: tuple[Status, str | None] = ("interrupted", None),
    ) -> None:
        self.take_id = take_id
        self.next_tick = 0
        self._database = database
        self._store = store
        self._former = former
        self._number = 0
        self._lock = RLock()  # between the caller's thread and the timer's
        self._timer: Timer | None = None
        self._declare(channels)

    def _declare(self, channels: Sequence[Channel]) -> None:
        self._channels = tuple(channels)
        self._hash = SignalsHash(channels)
        self._waiting = _Waiting(channels)

    def channels(self, channels: Sequence[Channel]) -> None:
        """Store what the source emits; before the first block.

        Raises
        ------
        ArchiveError
            If the take, resumed, has other channels already.
        """
        if self._channels:
            if tuple(channels) != self._channels:
                raise ArchiveError(f"take {self.take_id}: the source emits other channels than were recorded")
            return
        self._update(channels=[asdict(c) for c in channels])
        self._declare(channels)

    def catch_up(self) -> None:
        """Continue after what is recorded already: reads it once, for the hash."""
        for block in read_blocks(self._database, self._store, self.take_id):
            self._hash.update(block)
            self.next_tick = block.end_tick
            self._number += 1

    def append(self, block: FrameBlock) -> None:
        """Add the block that follows; its arrays are copied. It is committed after half a second at the latest.

        Raises
        ------
        ArchiveError
            If the block does not follow or is not what the channels promise, or if the archive cannot be written
            (disk full, read-only, locked): what was committed stays.
        """
        with self._lock:
            self._check(block)
            timer_failed = self._waiting and self._timer is None
            if block.ticks > self._waiting.room or timer_failed:
                self.flush()
            if block.ticks > self._waiting.room:
                self._commit(block)
            elif block.ticks or block.events:
                self._waiting.add(block)
                self._start_timer()
            self.next_tick = max(self.next_tick, block.end_tick)

    def _check(self, block: FrameBlock) -> None:
        if block.first_tick != self.next_tick:
            raise ArchiveError(
                f"take {self.take_id}: a block starts at tick {block.first_tick}, expected {self.next_tick}"
            )
        if block.ticks and block.arrays.keys() != self._waiting.arrays.keys():
            declared = self._waiting.arrays.keys()
            raise ArchiveError(
                f"take {self.take_id}, tick {block.first_tick}: a block has {sorted(block.arrays)}, "
                f"declared are {sorted(declared)}: {', '.join(sorted(block.arrays.keys() ^ declared))} differ"
            )
        for name, array in block.arrays.items():
            form = self._waiting.arrays[name]
            if array.dtype != form.dtype or array.shape[1:] != form.shape[1:]:
                raise ArchiveError(
                    f"take {self.take_id}, tick {block.first_tick}: channel {name} came as {array.dtype} "
                    f"{list(array.shape[1:])}, declared is {form.dtype} {list(form.shape[1:])}"
                )
        for event in block.events:
            try:
                event.to_json()
            except (TypeError, ValueError) as error:
                raise ArchiveError(
                    f"take {self.take_id}: event {event.kind!r} at tick {event.tick}: {error}"
                ) from error

    def flush(self) -> None:
        """Commit what is waiting, as before a pause."""
        with self._lock:
            if self._waiting:
                self._commit(self._waiting.block(self.next_tick))
                self._waiting.clear()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = Timer(COMMIT_S, self._on_time)
            self._timer.daemon = True
            self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
            with suppress(Exception):  # it still waits then: the next append, or the end, tries again and raises
                self.flush()

    def _commit(self, block: FrameBlock) -> None:
        encoded = EncodedBlock(block, self._store)
        with self._database.append() as connection:
            encoded.write(connection, self.take_id, self._number)
            added = {"take": self.take_id, "more": block.ticks, "blob": encoded.bytes, "now": datetime.now(UTC)}
            connection.execute(_GROW, added)
        self._hash.update(block)
        self._number += 1

    def finish(self, *, duration_s: float) -> str:
        """Commit the rest and mark the take as done; returns the hash of its signals.

        Parameters
        ----------
        duration_s : float
            Length of the performance in seconds.
        """
        with self._lock:
            self.flush()
            self._stop_timer()
        signals_hash = self._hash.hexdigest()
        self._update(status="done", duration_s=duration_s, signals_hash=signals_hash, error=None)
        return signals_hash

    def interrupt(self) -> None:
        """Commit the rest, if that is possible, and mark the take as interrupted."""
        self._end("interrupted", None)

    def fail(self, error: str) -> None:
        """Commit the rest, if that is possible, and mark the take as failed, with the reason."""
        self._end("failed", error)

    def release(self) -> None:
        """Give a resumed take back as it was found: interrupted or failed, with its error."""
        self._end(*self._former)

    def _end(self, status: Status, error: str | None) -> None:
        with self._lock:
            self._stop_timer()
            try:
                self.flush()
            except ArchiveError:
                # A mark is smaller than a block and may still find room; if not, its own error is raised.
                self.next_tick -= self._waiting.ticks
                self._waiting.clear()
        self._update(status=status, error=error)

    def _update(self, **values: Any) -> None:
        values["updated"] = datetime.now(UTC)
        with self._database.append() as connection:
            connection.execute(update(Take).where(Take.id == self.take_id).values(values))


class _Waiting:
    """Ticks and events that wait for their commit, in arrays that are used again for the next ones.

    New arrays for each commit would cost as much as SQLite: the system hands out and takes back their pages each time.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        size = {c.name: np.dtype(c.dtype).itemsize * math.prod(c.shape) for c in channels}
        scalars = sum(size[c.name] for c in channels if c.shape == ())
        arrays = sum(size[c.name] for c in channels if c.shape != ())
        capacity = max(1, min(COMMIT_BYTES // max(1, scalars), COMMIT_ARRAY_BYTES // max(1, arrays)))
        self.arrays: dict[str, Array] = {c.name: np.empty((capacity, *c.shape), c.dtype) for c in channels}
        self.ticks = 0
        self.room = capacity
        self._events: list[Event] = []

    def __bool__(self) -> bool:
        return bool(self.ticks or self._events)

    def add(self, block: FrameBlock) -> None:
        """Copy a block for which there is room."""
        end = self.ticks + block.ticks
        for name, array in block.arrays.items():
            self.arrays[name][self.ticks : end] = array
        self._events.extend(block.events)
        self.ticks = end
        self.room -= block.ticks

    def block(self, end_tick: int) -> FrameBlock:
        """What waits, as one block that ends before `end_tick`; its arrays are valid until `clear`."""
        arrays = {name: array[: self.ticks] for name, array in self.arrays.items()} if self.ticks else {}
        return FrameBlock(end_tick - self.ticks, arrays, tuple(self._events))

    def clear(self) -> None:
        """Wait for the next ones."""
        self.room += self.ticks
        self.ticks = 0
        self._events.clear()
