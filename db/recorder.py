"""Recording a take: blocks are gathered, and committed every half second and every 1.5 MB."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from db.models import Part, Take, Utc
from db.records import ArchiveError, Json, Status, combined_hash, part_name
from pieces.signals import Array, Channel, Event, FrameBlock, SignalsHash

#: A commit takes place when more than so much of a part's scalar channels would wait (of 0.25 to 4 MB measured
#: fastest), ...
COMMIT_BYTES = 1536 * 1024
#: ... or so much of its array channels, each commit of which makes a file and syncs it, ...
COMMIT_ARRAY_BYTES = 8 * 1024 * 1024
#: ... or when something has waited for so many seconds, however long the source takes for its next block: half of the
#: second that may be lost, so that the commit itself has the other half. (Only compiled code that keeps the
#: interpreter's lock throughout delays it; numpy and torch release it.)
COMMIT_S = 0.5

#: Built once, so that a commit costs little more than SQLite itself.
_GROW = (
    update(Part)
    .where(Part.take_id == bindparam("take"), Part.number == bindparam("part"))
    .values(ticks=Part.ticks + bindparam("more"))
)
_GROWN = (
    update(Take)
    .where(Take.id == bindparam("take"))
    .values(bytes=Take.bytes + bindparam("blobs"), updated=bindparam("now", type_=Utc()))
)


class Recorder:
    """Appends blocks to one running take; made by `Archive.begin` and `Archive.resume`.

    Blocks of its parts may interleave in any way; all that wait are committed in one transaction. Where a `part` is
    asked for, its name may be left out when there is one.

    Attributes
    ----------
    take_id : str
        The take.
    """

    def __init__(
        self,
        database: Database,
        store: MediaStore,
        parts: Sequence[Part],
        former: tuple[Status, str | None] = ("interrupted", None),
    ) -> None:
        self.take_id = parts[0].take_id
        self._parts = {row.name: _Part(row) for row in parts}
        self._database = database
        self._store = store
        self._former = former
        self._number = 0
        self._lock = RLock()  # between the caller's thread and the timer's
        self._timer: Timer | None = None

    def _part(self, part: str | None) -> _Part:
        return self._parts[part_name(self.take_id, self._parts, part)]

    def next_tick(self, part: str | None = None) -> int:
        """Tick that a part's next block must start at; after a failure, the one after its last committed tick."""
        return self._part(part).next_tick

    def channels(self, channels: Sequence[Channel], part: str | None = None) -> None:
        """Store what a part's source emits; before the part's first block.

        Raises
        ------
        ArchiveError
            If the part, resumed, has other channels already.
        """
        recorded = self._part(part)
        if recorded.channels:
            if tuple(channels) != recorded.channels:
                raise ArchiveError(f"{recorded.row}: the source emits other channels than were recorded")
            return
        self._update({recorded.row.number: {"channels": [asdict(c) for c in channels]}})
        recorded.declare(channels)

    def catch_up(self) -> None:
        """Continue after what is recorded already: reads it once, for the hashes."""
        for part in self._parts.values():
            for block in read_blocks(self._database, self._store, part.row):
                part.hash.update(block)
                part.next_tick = block.end_tick
                self._number += 1

    def append(self, block: FrameBlock, part: str | None = None) -> None:
        """Add a part's next block; its arrays are copied. It is committed after half a second at the latest.

        Raises
        ------
        ArchiveError
            If the block does not follow the part's last one or is not what its channels promise, or if the archive
            cannot be written (disk full, read-only, locked): what was committed stays.
        """
        with self._lock:
            to = self._part(part)
            to.check(block)
            timer_failed = self._timer is None and any(p.waiting for p in self._parts.values())
            if block.ticks > to.waiting.room or timer_failed:
                self.flush()
            if block.ticks > to.waiting.room:
                self._commit([(to, block)])
            elif block.ticks or block.events:
                to.waiting.add(block)
                self._start_timer()
            to.next_tick = max(to.next_tick, block.end_tick)

    def flush(self) -> None:
        """Commit what is waiting of all parts, as before a pause."""
        with self._lock:
            blocks = [(p, p.waiting.block(p.next_tick)) for p in self._parts.values() if p.waiting]
            if blocks:
                self._commit(blocks)
            for part, _ in blocks:
                part.waiting.clear()

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

    def _commit(self, blocks: Sequence[tuple[_Part, FrameBlock]]) -> None:
        encoded = [EncodedBlock(block, self._store) for _, block in blocks]
        with self._database.append() as connection:
            for number, ((part, block), written) in enumerate(zip(blocks, encoded, strict=True), self._number):
                written.write(connection, part.row, number)
                connection.execute(_GROW, {"take": self.take_id, "part": part.row.number, "more": block.ticks})
            added = {"take": self.take_id, "blobs": sum(e.bytes for e in encoded), "now": datetime.now(UTC)}
            connection.execute(_GROWN, added)
        for part, block in blocks:
            part.hash.update(block)
        self._number += len(blocks)

    def finish(self, *, duration_s: float) -> str:
        """Commit the rest and mark the take as done; returns the hash of its signals (`db.records.combined_hash`).

        Parameters
        ----------
        duration_s : float
            Length of the performance in seconds.
        """
        with self._lock:
            self.flush()
            self._stop_timer()
        hashes = {name: part.hash.hexdigest() for name, part in self._parts.items()}
        signals_hash = combined_hash(hashes)
        of_parts = {part.row.number: {"signals_hash": hashes[name]} for name, part in self._parts.items()}
        self._update(of_parts, status="done", duration_s=duration_s, signals_hash=signals_hash, error=None)
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
                for part in self._parts.values():
                    part.next_tick -= part.waiting.ticks
                    part.waiting.clear()
        self._update(status=status, error=error)

    def _update(self, of_parts: Mapping[int, Json] | None = None, **values: Any) -> None:
        """Change the take's row, and those of parts, by number."""
        values["updated"] = datetime.now(UTC)
        with self._database.append() as connection:
            for number, more in (of_parts or {}).items():
                row = (Part.take_id == self.take_id) & (Part.number == number)
                connection.execute(update(Part).where(row).values(more))
            connection.execute(update(Take).where(Take.id == self.take_id).values(values))


class _Part:
    """A part while it is recorded: its hash so far, and what waits."""

    def __init__(self, row: Part) -> None:
        self.row = row
        self.next_tick = 0
        self.declare(row.declared())

    def declare(self, channels: Sequence[Channel]) -> None:
        """Make room for its channels."""
        self.channels = tuple(channels)
        self.hash = SignalsHash(channels)
        self.waiting = _Waiting(channels)

    def check(self, block: FrameBlock) -> None:
        """Refuse a block that does not follow or is not what the channels promise."""
        if block.first_tick != self.next_tick:
            raise ArchiveError(f"{self.row}: a block starts at tick {block.first_tick}, expected {self.next_tick}")
        where = f"{self.row}, tick {block.first_tick}"
        declared = self.waiting.arrays
        if block.ticks and block.arrays.keys() != declared.keys():
            raise ArchiveError(
                f"{where}: a block has {sorted(block.arrays)}, declared are {sorted(declared)}: "
                f"{', '.join(sorted(block.arrays.keys() ^ declared.keys()))} differ"
            )
        for name, array in block.arrays.items():
            form = declared[name]
            if array.dtype != form.dtype or array.shape[1:] != form.shape[1:]:
                raise ArchiveError(
                    f"{where}: channel {name} came as {array.dtype} {list(array.shape[1:])}, "
                    f"declared is {form.dtype} {list(form.shape[1:])}"
                )
        for event in block.events:
            try:
                event.to_json()
            except (TypeError, ValueError) as error:
                raise ArchiveError(f"{self.row}: event {event.kind!r} at tick {event.tick}: {error}") from error


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
