"""A part's signals as tables: CSV, Parquet, JSON lines. Streamed block by block, so that length costs no memory."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from db.archive import Archive
from db.records import ArchiveError, part_name
from pieces.signals import Array, Channel, Event, FrameBlock

if TYPE_CHECKING:
    import pyarrow

Format: TypeAlias = Literal["csv", "parquet", "jsonl"]
#: Columns of equal length, in order.
Table: TypeAlias = Mapping[str, Array]
#: An array channel with more elements a tick than this is no table.
LARGEST = 64


@dataclass(frozen=True)
class Exported:
    """What `export_signals` wrote.

    Attributes
    ----------
    signals : Path
        One row a tick: ``tick``, ``time_s`` (its start in seconds) and a column for each channel; array channels are
        flattened in C order as ``name[i]``. A channel called like another column has ``_`` appended.
    events : Path or None
        One row an event: ``tick``, ``time_s``, ``kind``, ``given`` and ``data`` (JSON); None if there was none.
    left_out : tuple of str
        Channels too large for a table.
    """

    signals: Path
    events: Path | None
    left_out: tuple[str, ...]


def export_signals(archive: Archive, take_id: str, fmt: str, path: Path, part: str | None = None) -> Exported:
    """Write the signals of a take's part to `path` and its events beside it, as ``<stem>.events<suffix>``.

    NaN is empty in CSV and null in Parquet and JSON lines; so is infinity, but Parquet keeps it. Files appear when
    they are complete.

    Cells are empty also where the source gave no finite number (from a channel's ``diverged`` event to its
    ``recovered`` one): the take holds the last finite value there. Of an array channel all elements are.

    Parameters
    ----------
    archive : Archive
        Where the take is.
    take_id : str
        Its id.
    fmt : {'csv', 'parquet', 'jsonl'}
        The format.
    path : Path
        The signals' file.
    part : str, optional
        The part's name; may be left out when there is one.

    Raises
    ------
    ArchiveError
        On another format, an unknown take or part, several parts and none named, or a file that cannot be written.
    """
    if fmt not in _WRITERS:
        raise ArchiveError(f"format {fmt!r}: signals can be exported as {', '.join(_WRITERS)}")
    parts = archive.take(take_id).parts
    part = part_name(take_id, parts, part)
    rate, channels = parts[part].rate, parts[part].channels
    small = [c for c in channels if math.prod(c.shape) <= LARGEST]
    names = [c.name for c in small]
    left_out = tuple(c.name for c in channels if c not in small)
    beside = path.with_name(f"{path.stem}.events{path.suffix}")
    events = archive.events(take_id, part=part)
    happened = _events(events, rate)
    held = {c.name: _Held(events, c.name) for c in small if np.dtype(c.dtype).kind == "f"}
    try:
        with _writer(fmt, path, _empty(small)) as write:
            for block in archive.blocks(take_id, names, part=part):
                if block.ticks:
                    write(_rows(block, small, rate, held))
        if happened:
            with _writer(fmt, beside, happened) as write:
                write(happened)
    except OSError as error:
        raise ArchiveError(f"{error.filename or path}: cannot be written: {error.strerror or error}") from error
    return Exported(path, beside if happened else None, left_out)


class _Held:
    """Tells the ticks at which a channel's value is not the source's but its last finite one."""

    def __init__(self, events: Sequence[Event], channel: str) -> None:
        own = [e for e in events if e.kind in ("diverged", "recovered") and e.data.get("channel") == channel]
        self._changes = np.array([e.tick for e in own], np.int64)
        self._after = np.array([False, *(e.kind == "diverged" for e in own)])

    def __call__(self, ticks: Array) -> Array:
        return self._after[np.searchsorted(self._changes, ticks, side="right")]


def _rows(block: FrameBlock, channels: Sequence[Channel], rate: float, held: Mapping[str, _Held]) -> Table:
    ticks = np.arange(block.first_tick, block.end_tick, dtype=np.int64)
    table: dict[str, Array] = {"tick": ticks, "time_s": ticks / rate}
    for channel in channels:
        flat = block.arrays[channel.name].reshape(len(ticks), math.prod(channel.shape))
        if channel.name in held and (invented := held[channel.name](ticks)).any():
            flat = np.where(invented[:, None], np.nan, flat)
        label = channel.name
        while label in table:
            label += "_"
        labels = [label] if channel.shape == () else [f"{label}[{i}]" for i in range(flat.shape[1])]
        table.update(zip(labels, flat.T, strict=True))
    return table


def _empty(channels: Sequence[Channel]) -> Table:
    """A table without rows, for names and types of the columns."""
    return _rows(FrameBlock(0, {c.name: np.empty((0, *c.shape), c.dtype) for c in channels}), channels, 1.0, {})


def _events(events: Sequence[Event], rate: float) -> Table:
    if not events:
        return {}
    ticks = np.array([e.tick for e in events], np.int64)
    data = [json.dumps(dict(e.data), sort_keys=True) for e in events]
    kinds, given = [e.kind for e in events], [e.given for e in events]
    text = {"kind": np.array(kinds, object), "given": np.array(given), "data": np.array(data, object)}
    return {"tick": ticks, "time_s": ticks / rate, **text}


@contextmanager
def _writer(fmt: str, path: Path, like: Table) -> Iterator[Callable[[Table], None]]:
    """Writes tables like `like` one after another to a file that appears under its name when it is complete."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with ExitStack() as stack:
            yield _WRITERS[fmt](stack, temporary, like)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _csv(stack: ExitStack, path: Path, like: Table) -> Callable[[Table], None]:
    rows = csv.writer(stack.enter_context(path.open("w", newline="", encoding="utf-8")))
    rows.writerow(like)

    def write(table: Table) -> None:
        rows.writerows(zip(*map(_plain, table.values()), strict=True))

    return write


def _jsonl(stack: ExitStack, path: Path, like: Table) -> Callable[[Table], None]:
    file = stack.enter_context(path.open("w", encoding="utf-8"))

    def write(table: Table) -> None:
        for row in zip(*map(_plain, table.values()), strict=True):
            file.write(json.dumps(dict(zip(like, row, strict=True)), allow_nan=False) + "\n")

    return write


def _parquet(stack: ExitStack, path: Path, like: Table) -> Callable[[Table], None]:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    def arrow(table: Table) -> pyarrow.Table:
        return pyarrow.table({n: pyarrow.array(np.ascontiguousarray(a), from_pandas=True) for n, a in table.items()})

    writer = stack.enter_context(ParquetWriter(path, arrow(like).schema))

    def write(table: Table) -> None:
        writer.write_table(arrow(table))

    return write


_WRITERS: dict[str, Callable[[ExitStack, Path, Table], Callable[[Table], None]]] = {
    "csv": _csv,
    "parquet": _parquet,
    "jsonl": _jsonl,
}


def _plain(column: Array) -> list[Any]:
    """Python values: the shortest decimals that give the same number in the column's own precision; None for NaN."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [
        float(text) if finite else None for text, finite in zip(column.astype(str), np.isfinite(column), strict=True)
    ]
