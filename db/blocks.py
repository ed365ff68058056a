"""How blocks of frames lie in the archive, both ways.

A block holds ticks of one part. Its scalar channels are one blob, in the stream format; its array channels are one
media file in the same format; its events are rows, so that they can be asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from db.database import Database
from db.media import MediaStore, Stored
from db.models import Block, BlockEvent, Media, Part
from db.records import ArchiveError
from pieces.signals import Array, Event, FrameBlock
from pieces.stream import StreamError, decode_block, encode_block

#: Suffix of a media file that holds the array channels of a block.
ARRAYS = ".block"
_INSERT = insert(Block)
#: Rows read in one transaction: a reader that paused in the middle of one would keep SQLite's log from being reset.
_PAGE = 8


class EncodedBlock:
    """A block as it will lie in the archive. The media file is written at once, before anything refers to it."""

    def __init__(self, block: FrameBlock, store: MediaStore) -> None:
        scalars = {n: a for n, a in block.arrays.items() if a.ndim == 1}
        arrays = {n: a for n, a in block.arrays.items() if a.ndim > 1}
        self._block = block
        self._store = store
        self._payload = encode_block(FrameBlock(block.first_tick, scalars))
        self._arrays = encode_block(FrameBlock(block.first_tick, arrays)) if arrays else None
        self._stored = None if self._arrays is None else store.put(self._arrays, ARRAYS)
        self.bytes = len(self._payload)

    def write(self, connection: Connection, part: Part, number: int) -> None:
        """Insert it as the part's next one, which is the take's block `number` (counted from 0 over all parts)."""
        block = self._block
        if self._stored and self._arrays:
            refer(connection, self._store, self._stored, self._arrays)
        row = {
            "take_id": part.take_id,
            "number": number,
            "part": part.number,
            "first_tick": block.first_tick,
            "ticks": block.ticks,
            "events": len(block.events),
            "arrays": self._stored.sha256 if self._stored else None,
            "payload": self._payload,
        }
        connection.execute(_INSERT, row)
        if block.events:
            key = {"take_id": part.take_id, "block": number}
            rows = [
                {**key, "number": i, "tick": e.tick, "kind": e.kind, "given": e.given, "data": dict(e.data)}
                for i, e in enumerate(block.events)
            ]
            connection.execute(insert(BlockEvent), rows)


def refer(connection: Connection, store: MediaStore, stored: Stored, source: Path | bytes) -> Stored:
    """Give a stored file its row, within a writing transaction, and put it back if it was swept meanwhile."""
    columns = (Media.sha256, Media.suffix, Media.bytes)
    row = connection.execute(select(*columns).where(Media.sha256 == stored.sha256)).one_or_none()
    if row is None:
        connection.execute(insert(Media), stored._asdict())
    else:
        stored = Stored._make(row)
    if not store.path(stored.sha256, stored.suffix).exists():
        store.put(source, stored.suffix)
    return stored


def read_blocks(
    database: Database,
    store: MediaStore,
    part: Part,
    channels: Collection[str] | None = None,
    first_tick: int = 0,
) -> Iterator[FrameBlock]:
    """Blocks of a take's part from `first_tick` on, in order, a few at a time; `channels` narrows them (default all).

    Raises
    ------
    ArchiveError
        If a block is damaged or its media file is.
    """
    number = -1
    while True:
        with database.read() as session:
            page = _page(session, part, number, first_tick)
        for row, events in page:
            number = row.number
            arrays = _arrays(store, part, row, channels)
            yield _cut(FrameBlock(row.first_tick, arrays, events), first_tick)
        if len(page) < _PAGE:
            return


class _Row(NamedTuple):
    number: int
    first_tick: int
    ticks: int
    events: int
    payload: bytes
    arrays: str | None
    suffix: str | None


def _page(session: Session, part: Part, after: int, first_tick: int) -> list[tuple[_Row, tuple[Event, ...]]]:
    query = (
        select(
            *(Block.number, Block.first_tick, Block.ticks, Block.events),
            *(Block.payload, Block.arrays, Media.suffix),
        )
        .join(Media, Block.arrays == Media.sha256, isouter=True)
        .where(Block.take_id == part.take_id, Block.part == part.number, Block.number > after)
        .where(Block.first_tick + Block.ticks >= first_tick)
        .order_by(Block.number)
        .limit(_PAGE)
    )
    rows = [_Row._make(row) for row in session.execute(query)]
    return [(row, _events(session, part.take_id, row.number) if row.events else ()) for row in rows]


def _events(session: Session, take_id: str, block: int) -> tuple[Event, ...]:
    query = (
        select(BlockEvent.tick, BlockEvent.kind, BlockEvent.data, BlockEvent.given)
        .where(BlockEvent.take_id == take_id, BlockEvent.block == block)
        .order_by(BlockEvent.number)
    )
    return tuple(Event(*row) for row in session.execute(query))


def _arrays(store: MediaStore, part: Part, row: _Row, channels: Collection[str] | None) -> dict[str, Array]:
    where = f"{part}, ticks {row.first_tick} to {row.first_tick + row.ticks - 1}"
    try:
        arrays = dict(decode_block(row.payload).arrays)
        if row.arrays is not None and (channels is None or not arrays.keys() >= set(channels)):
            arrays |= decode_block(store.path(row.arrays, row.suffix or ARRAYS).read_bytes()).arrays
    except StreamError as error:
        raise ArchiveError(f"{where}: damaged: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{where}: {error.filename}: {error.strerror}: run `descant archive check`") from error
    if any(len(a) != row.ticks for a in arrays.values()):
        raise ArchiveError(f"{where}: damaged: the block holds another number of ticks")
    return arrays if channels is None else {n: a for n, a in arrays.items() if n in channels}


def _cut(block: FrameBlock, first_tick: int) -> FrameBlock:
    """The block without what lies before a tick."""
    skip = first_tick - block.first_tick
    if skip <= 0:
        return block
    events = tuple(e for e in block.events if e.tick >= first_tick)
    return FrameBlock(first_tick, {n: a[skip:] for n, a in block.arrays.items()}, events)
