"""A table of numbers as a source: one channel for each column, one row at each tick."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pieces.piece import Piece, default_score, parse_piece
from pieces.signals import Channel, DescantError, Event, FrameBlock, Value
from pieces.source import Input, Source, SourceError, nearest

if TYPE_CHECKING:
    import pyarrow

Floats = NDArray[np.float64]


class SeriesError(DescantError):
    """A table that cannot be read or holds no numbers."""


class Series(Source):
    """Plays a CSV, Parquet, JSONL or NPZ file: its numeric columns are channels, its rows are ticks.

    What is missing in the table is NaN. A channel's declared range is the smallest and largest number of its column.
    """

    name = "series"
    about = "a table of numbers, played row by row"
    inputs = {
        "data": Input("series", "a CSV, Parquet, JSONL or NPZ file"),
        "columns": Input("text", "names of the columns to play, with commas between them; default: all with numbers"),
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        if "data" not in self.given:
            raise SourceError("series has no data: give it a CSV, Parquet, JSONL or NPZ file as the input 'data'")
        names = [n.strip() for n in self.given.get("columns", "").split(",") if n.strip()]
        self._columns = series_columns(self.given["data"], names or None)
        self._tick = 0
        self.channels = tuple(
            Channel(name, f"column {name}", range=_span(values), dtype="float64")
            for name, values in self._columns.items()
        )

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """The next `n` rows, fewer at the end."""
        first = self._tick
        arrays = {name: values[first : first + n] for name, values in self._columns.items()}
        block = FrameBlock(first, arrays)
        self._tick = block.end_tick
        return block

    def snapshot(self) -> bytes:
        """The row that comes next."""
        return str(self._tick).encode()

    def restore(self, state: bytes) -> None:
        """Go to a row; `SourceError` if `state` is no snapshot, or of a longer table."""
        rows = len(next(iter(self._columns.values())))
        try:
            tick = int(state)
        except ValueError:
            raise SourceError(f"not a snapshot of series ({len(state)} bytes)") from None
        if not 0 <= tick <= rows:
            raise SourceError(f"a snapshot of row {tick:g}: {Path(self.given['data']).name} has rows 0 to {rows}")
        self._tick = tick


def series_columns(path: str | Path, columns: Sequence[str] | None = None) -> dict[str, Floats]:
    """Numeric columns of a table.

    Parameters
    ----------
    path : str or Path
        CSV (comma, semicolon or tab; a first line of nothing but numbers is data), Parquet, JSONL, or NPZ of
        arrays [rows] or [rows, columns]. The content says which it is, not the file's name.
    columns : sequence of str, optional
        Names of the wanted columns, as in the file or as identifiers; default all that hold numbers.

    Returns
    -------
    dict of str to ndarray
        Identifier → [rows], float64, NaN where a value is missing.

    Raises
    ------
    SeriesError
        If there is no such file or column, nothing in it, or no numbers.
    """
    path = Path(path)
    table = _read(path)
    names = dict(zip(table, _identifiers(table), strict=True))
    if columns is None:
        found = {names[raw]: v for raw, v in table.items() if v is not None and np.isfinite(v).any()}
        if not found:
            raise SeriesError(f"{path.name}: no column holds numbers; it has {', '.join(table) or 'none'}")
    else:
        found = {}
        for wanted in columns:
            raw = wanted if wanted in table else next((r for r, n in names.items() if n == wanted), None)
            if raw is None:
                raise SeriesError(f"{path.name}: no column {wanted!r}{nearest(wanted, table)}")
            values = table[raw]
            if values is None or not np.isfinite(values).any():
                numeric = [r for r, v in table.items() if v is not None and v is not values]
                kind = "text, not numbers" if values is None else "no finite number"
                raise SeriesError(f"{path.name}: column {wanted!r} holds {kind}{nearest('', numeric)}")
            found[names[raw]] = values
    return found


def series_piece(
    path: str | Path,
    columns: Sequence[str] | None = None,
    low: str = "A2",
    high: str = "A5",
    duration: float = 30.0,
) -> Piece:
    """A piece that plays a table: minimum to maximum of each column onto `low` to `high`, equal steps in log2.

    Point i of N sounds from ``i * duration / N`` to ``(i + 1) * duration / N`` seconds.

    Parameters
    ----------
    path, columns
        As in `series_columns`.
    low, high : str
        Notes (``"A2"``) or frequencies (``"200hz"``).
    duration : float
        Seconds.
    """
    path = Path(path)
    found = series_columns(path, columns)
    rows = len(next(iter(found.values())))
    score = default_score(list(found), low, high)
    for voice in score["voices"].values():
        voice["lanes"]["pitch"]["glide_ms"] = float(np.clip(500 * duration / rows, 2, 10))
    raw = {
        "title": path.stem,
        "about": f"{', '.join(found)} of {path.name}: {rows} points in {duration:g} s, from {low} to {high}.",
        "parts": {
            "series": {
                "source": "series",
                "rate": rows / duration,
                "ticks": rows,
                "inputs": {"data": str(path.resolve()), "columns": ",".join(found)},
            }
        },
        "score": score,
        "master": {"tail": 0.25},
    }
    return parse_piece(raw, path.name)


def _span(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    around = max(0.5, 1e-6 * abs(low))
    return (low, high) if low < high else (low - around, high + around)


def _identifiers(names: Mapping[str, Any]) -> list[str]:
    """Lower-case ASCII identifiers, each of its own: ``"Luft (°C)"`` becomes ``"luft_c"``.

    A name that is one already keeps it, so that it means the same column in a table and in a score; ``reverb`` is the
    name of a stem.
    """
    taken = {"reverb"}
    found = {}
    for name in sorted(names, key=lambda name: name != _identifier(name)):
        base = _identifier(name)
        unique, count = base, 2
        while unique in taken:
            unique, count = f"{base}_{count}", count + 1
        taken.add(unique)
        found[name] = unique
    return [found[name] for name in names]


def _identifier(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "column"
    return base if base[0].isalpha() else f"c{base}"


def _read(path: Path) -> dict[str, Floats | None]:
    """All columns by their names in the file; None where a column holds something other than numbers."""
    import pyarrow

    if path.is_dir():
        raise SeriesError(f"{path}: is a folder, not a CSV, Parquet, JSONL or NPZ file")
    if not path.is_file():
        raise SeriesError(f"no such file: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(65_536)
        if not head.removeprefix(b"\xef\xbb\xbf").strip():
            raise SeriesError(f"{path.name}: the file is empty")
        table = _from_npz(path) if head.startswith(b"PK\x03\x04") else _table(path, head)
    except (OSError, ValueError, BadZipFile, pyarrow.ArrowException) as error:
        raise SeriesError(f"{path.name}: cannot be read: {str(error).splitlines()[0]}") from error
    columns = dict(table)
    if len(columns) < len(table):
        names = [name for name, _ in table]
        twice = next(name for name in names if names.count(name) > 1)
        raise SeriesError(f"{path.name}: two columns are called {twice!r}: rename one of them")
    lengths = {len(values) for values in columns.values() if values is not None}
    if len(lengths) > 1:
        raise SeriesError(f"{path.name}: its arrays differ in length: {', '.join(map(str, sorted(lengths)))} rows")
    return columns


def _table(path: Path, head: bytes) -> list[tuple[str, Floats | None]]:
    # A column's type is found in the first block: let that be the whole file (pyarrow takes up to 2 GiB).
    whole = min(path.stat().st_size + 1, 2**31 - 1)
    if head.startswith(b"PAR1"):
        from pyarrow import parquet

        table = parquet.read_table(path)
    elif head.lstrip().startswith(b"{"):
        from pyarrow import json

        table = json.read_json(path, json.ReadOptions(block_size=whole))
    else:
        from pyarrow.csv import ParseOptions, ReadOptions, read_csv

        lines = head.removeprefix(b"\xef\xbb\xbf").splitlines()
        blank = next(i for i, line in enumerate(lines) if line.strip())
        line = lines[blank].decode("utf-8", "replace")
        delimiter = max(",;\t", key=line.count)
        cells = next(csv.reader([line], delimiter=delimiter))
        headless = all(_is_number(cell) for cell in cells)
        table = read_csv(
            path,
            read_options=ReadOptions(
                autogenerate_column_names=headless, block_size=whole, skip_rows=0 if headless else blank
            ),
            # In a table of one column an empty line is a missing value.
            parse_options=ParseOptions(delimiter=delimiter, ignore_empty_lines=len(cells) > 1),
        )
    return [(name, _numbers(column)) for name, column in zip(table.column_names, table.columns, strict=True)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(column: pyarrow.ChunkedArray) -> Floats | None:
    import pyarrow.types as types

    kind = column.type
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
        return None
    return np.asarray(column.cast("float64", safe=False).to_numpy(), dtype=np.float64)


def _from_npz(path: Path) -> list[tuple[str, Floats | None]]:
    columns: list[tuple[str, Floats | None]] = []
    with np.load(path, allow_pickle=False) as arrays:
        for name, array in arrays.items():
            real = array.dtype.kind in "fiub"
            if real and array.ndim == 1:
                columns.append((name, array.astype(np.float64)))
            elif real and array.ndim == 2:
                columns += [(f"{name}_{i}", array[:, i].astype(np.float64)) for i in range(array.shape[1])]
            else:
                columns.append((name, None))
    return columns
