"""Tables: numbers by column out of files and of what Python programs hold, whatever is wrong with some of them.

What can be played is played; what had to be left out or read otherwise is said in `Table.notices`.
"""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.source import nearest

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.csv import InvalidRow

Floats = NDArray[np.float64]

#: What no text contains.
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))


class SeriesError(DescantError):
    """A table that cannot be read or holds no numbers."""


@dataclass(frozen=True)
class Table:
    """Columns of numbers.

    Attributes
    ----------
    name : str
        What it is called in messages: its file.
    columns : mapping of str to ndarray
        Identifier → [rows], float64, NaN where a value is missing; at least one, each with a finite number.
    labels : mapping of str to str
        Identifier → the column's name as it was given.
    notices : tuple of str
        What was left out or read otherwise than it was written, a line each.
    """

    name: str
    columns: Mapping[str, Floats]
    labels: Mapping[str, str]
    notices: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def units(self) -> dict[str, str]:
        """Identifier → unit: what ends the column's name in brackets (``"Luft (°C)"``), or ``""``."""
        found = {i: re.search(r"[(\[]([^()\[\]]+)[)\]]\s*$", label) for i, label in self.labels.items()}
        return {i: unit[1].strip() if unit else "" for i, unit in found.items()}

    def column(self, name: str) -> str:
        """The identifier of the column called `name`, as an identifier or as it was given."""
        if name in self.columns:
            return name
        known = {label: i for i, label in self.labels.items()}
        if name not in known:
            raise SeriesError(f"{self.name}: no column {name!r}{nearest(name, known)}")
        return known[name]


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> Table:
    """Numeric columns of a file.

    Parameters
    ----------
    path : str or Path
        CSV (comma, semicolon or tab; a first line of nothing but numbers is data), Parquet, JSONL, or NPZ of
        arrays [rows] or [rows, columns]. The content says which it is, not the file's name.
    columns : sequence of str, optional
        Names of the wanted columns, as in the file or as identifiers; default all that hold numbers.

    Raises
    ------
    SeriesError
        If there is no such file or column, nothing in it, or no numbers.
    """
    path = Path(path)
    notices: list[str] = []
    return _chosen(_read(path, notices), columns, path.name, notices)


def table_of(data: Any, columns: Sequence[str] | None = None) -> Table:
    """Numeric columns of what a program holds.

    Parameters
    ----------
    data : array_like, mapping or data frame
        An array or list [rows] or [rows, columns], a structured array, a mapping name → [rows], or a table of pyarrow,
        pandas, polars or astropy (anything with ``column_names`` or ``columns`` that is indexed by them).
    columns : sequence of str, optional
        Names of the wanted columns; default all that hold numbers.

    Raises
    ------
    SeriesError
        If there is no such column, nothing in it, or no numbers.
    """
    names = getattr(data, "column_names", getattr(data, "columns", None))
    if names is None:
        names = data.keys() if isinstance(data, Mapping) else getattr(getattr(data, "dtype", None), "names", None)
    try:
        named = [("series", data)] if names is None else [(str(name), data[name]) for name in dict.fromkeys(names)]
        arrays = [(name, one if isinstance(one, np.ma.MaskedArray) else np.asarray(one)) for name, one in named]
    except (ValueError, TypeError, KeyError) as error:
        raise SeriesError(f"the data are no table ({error}): give numbers [rows] or [rows, columns]") from error
    if names is None and not 1 <= arrays[0][1].ndim <= 2:
        raise SeriesError(f"the data have shape {list(arrays[0][1].shape)}: allowed are [rows] and [rows, columns]")
    return _chosen(_from_arrays(arrays), columns, "the data", [])


def extremes(values: Floats, points: int) -> Floats:
    """Reduce a long series so that no spike is lost.

    The series is cut into ``points // 2`` buckets of as equal length as can be; each gives its smallest and its largest
    value in the order in which they occur, and NaN where it holds nothing else.

    Parameters
    ----------
    values : ndarray [n]
        NaN where missing.
    points : int
        At least 2.

    Returns
    -------
    ndarray
        ``2 * (points // 2)`` values; `values` itself where it has no more than `points`.
    """
    n, buckets = len(values), points // 2
    if n <= points:
        return values
    edges = np.arange(buckets + 1) * n // buckets
    # A short bucket repeats its last row, which changes neither extreme nor where it first occurs.
    rows = np.minimum(edges[:-1, None] + np.arange(-(-n // buckets)), edges[1:, None] - 1)
    within = values[rows]
    lowest = np.where(np.isnan(within), np.inf, within).argmin(axis=1)
    highest = np.where(np.isnan(within), -np.inf, within).argmax(axis=1)
    both = np.sort([lowest, highest], axis=0)
    return np.ascontiguousarray(within[np.arange(buckets), both].T).ravel()


def _chosen(
    raw: Sequence[tuple[str, Floats | None]], columns: Sequence[str] | None, name: str, notices: list[str]
) -> Table:
    """The wanted columns of a table as it was read."""
    table = _distinct(raw, notices)
    lengths = {len(values) for values in table.values() if values is not None}
    if len(lengths) > 1:
        raise SeriesError(f"{name}: its arrays differ in length: {', '.join(map(str, sorted(lengths)))} rows")
    if lengths == {0} or not table:
        raise SeriesError(f"{name}: it has no rows{', only the columns ' + ', '.join(table) if table else ''}")
    names = dict(zip(table, _identifiers(table), strict=True))
    playable = {raw: values for raw, values in table.items() if values is not None and np.isfinite(values).any()}
    if columns is None:
        if not playable:
            raise SeriesError(f"{name}: no column holds numbers; it has {', '.join(table)}")
        if left := [f"{raw} ({_kind(values)})" for raw, values in table.items() if raw not in playable]:
            notices.append(f"left out: {', '.join(left)}")
        chosen = list(playable)
    else:
        chosen = [_wanted(wanted, names, table, playable, name) for wanted in dict.fromkeys(columns)]
    found = {names[raw]: _finite(raw, playable[raw], notices) for raw in dict.fromkeys(chosen)}
    return Table(name, found, {names[raw]: raw for raw in chosen}, tuple(notices))


def _kind(values: Floats | None) -> str:
    return "text, not numbers" if values is None else "no finite number"


def _wanted(
    wanted: str, names: Mapping[str, str], table: Mapping[str, Floats | None], playable: Mapping[str, Floats], name: str
) -> str:
    """The column that is called `wanted`, by its name or its identifier."""
    raw = wanted if wanted in table else next((r for r, n in names.items() if n == wanted), None)
    if raw is None:
        raise SeriesError(f"{name}: no column {wanted!r}{nearest(wanted, table)}")
    if raw not in playable:
        raise SeriesError(f"{name}: column {wanted!r} holds {_kind(table[raw])}{nearest('', playable)}")
    return raw


def _finite(raw: str, values: Floats, notices: list[str]) -> Floats:
    """The column with infinities as missing values."""
    infinite = np.isinf(values)
    if infinite.any():
        notices.append(f"{raw}: infinite values are treated as missing ({infinite.sum()} of {len(values)})")
        values = np.where(infinite, np.nan, values)
    present = values[np.isfinite(values)]
    if present.min() == present.max():
        only = "a single value" if len(present) == 1 else "always"
        notices.append(f"{raw}: {only} {present[0]:g}: it sounds at the middle of its range")
    return values


def _distinct(raw: Iterable[tuple[str, Floats | None]], notices: list[str]) -> dict[str, Floats | None]:
    """Columns by name; the second that is called ``a`` is called ``a #2``."""
    raw = list(raw)
    counts = Counter(name for name, _ in raw)
    table: dict[str, Floats | None] = {}
    for name, values in raw:
        unique, number = name, 2
        while unique in table or (unique != name and unique in counts):
            unique, number = f"{name} #{number}", number + 1
        table[unique] = values
    notices += [
        f"{count} columns are called {name!r}: the others are {name + ' #2'!r} and so on"
        for name, count in counts.items()
        if count > 1
    ]
    return table


def _identifiers(names: Iterable[str]) -> list[str]:
    """Lower-case ASCII identifiers, each of its own: ``"Luft (°C)"`` becomes ``"luft_c"``.

    A name that is one already keeps it, so that it means the same column in a table and in a score; ``mix`` is the
    name of the sum of all voices.
    """
    names = list(names)
    taken = {"mix"}
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


def _read(path: Path, notices: list[str]) -> list[tuple[str, Floats | None]]:
    """All columns as in the file; None where a column holds something other than numbers."""
    import pyarrow

    if path.is_dir():
        raise SeriesError(f"{path}: is a folder, not a CSV, Parquet, JSONL or NPZ file")
    if not path.is_file():
        raise SeriesError(f"no such file: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(65_536)
        if not head.removeprefix(codecs.BOM_UTF8).strip():
            raise SeriesError(f"{path.name}: the file is empty")
        if head.startswith(b"PK\x03\x04"):
            return _from_npz(path)
        table = _from_text(path, head, notices) if not head.startswith(b"PAR1") else _from_parquet(path)
    except (OSError, ValueError, BadZipFile, pyarrow.ArrowException) as error:
        raise SeriesError(f"{path.name}: cannot be read: {str(error).splitlines()[0]}") from error
    return [(name, _numbers(column)) for name, column in zip(table.column_names, table.columns, strict=True)]


def _from_parquet(path: Path) -> pyarrow.Table:
    from pyarrow import parquet

    return parquet.read_table(path)


def _from_text(path: Path, head: bytes, notices: list[str]) -> pyarrow.Table:
    """CSV or JSONL."""
    if len(head.translate(None, _CONTROL)) < len(head):
        raise SeriesError(f"{path.name}: a binary file, not CSV (UTF-8), Parquet, JSONL or NPZ")
    # A column's type is found in the first block: let that be the whole file (pyarrow takes up to 2 GiB).
    whole = min(path.stat().st_size + 1, 2**31 - 1)
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        from pyarrow import json

        return json.read_json(path, json.ReadOptions(block_size=whole))
    return _from_csv(path, head, whole, notices)


def _from_csv(path: Path, head: bytes, whole: int, notices: list[str]) -> pyarrow.Table:
    from pyarrow.csv import ParseOptions, ReadOptions, read_csv

    lines = head.removeprefix(codecs.BOM_UTF8).splitlines()
    blank = next(i for i, line in enumerate(lines) if line.strip())
    line = lines[blank].decode("utf-8", "replace")
    delimiter = max(",;\t", key=line.count)
    cells = next(csv.reader([line], delimiter=delimiter))
    headless = all(_is_number(cell) for cell in cells)
    ragged: list[InvalidRow] = []

    def leave_out(row: InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    table = read_csv(
        path,
        read_options=ReadOptions(
            autogenerate_column_names=headless,
            block_size=whole,
            skip_rows=0 if headless else blank,
            encoding="utf-8" if _is_utf8(head) else "latin-1",
        ),
        # In a table of one column an empty line is a missing value.
        parse_options=ParseOptions(
            delimiter=delimiter, ignore_empty_lines=len(cells) > 1, invalid_row_handler=leave_out
        ),
    )
    if ragged:
        first = f"{ragged[0].text[:40]!r} fills {ragged[0].actual_columns} of {ragged[0].expected_columns} columns"
        if len(ragged) > len(table):
            raise SeriesError(
                f"{path.name}: {len(ragged)} of {len(ragged) + len(table)} rows have not as many cells as the first "
                f"line ({first}): begin the file with one line of column names"
            )
        notices.append(f"left out: rows of another length ({len(ragged)}; the first, {first})")
    return table


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # what it ends in the middle of is no error
    except UnicodeDecodeError:
        return False
    return True


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
    with np.load(path, allow_pickle=False) as arrays:
        found = dict(arrays.items())
    if not all(isinstance(array, np.ndarray) for array in found.values()):
        raise SeriesError(f"{path.name}: a ZIP archive, but not of arrays (NPZ): save a spreadsheet as CSV")
    return _from_arrays(found.items())


def _from_arrays(arrays: Iterable[tuple[str, NDArray[Any]]]) -> list[tuple[str, Floats | None]]:
    """Columns of arrays [rows] and [rows, columns]; None for what is neither, or holds no numbers."""
    columns: list[tuple[str, Floats | None]] = []
    for name, array in arrays:
        numbers = _as_floats(array)
        if numbers is not None and numbers.ndim == 2:
            columns += [(f"{name}_{i}", numbers[:, i].copy()) for i in range(numbers.shape[1])]
        else:
            columns.append((name, numbers if numbers is not None and numbers.ndim == 1 else None))
    return columns


def _as_floats(array: NDArray[Any]) -> Floats | None:
    """The array in float64, NaN where it is masked or None; itself None where it holds something else."""
    if array.dtype.kind not in "fiubO":
        return None
    try:
        return np.asarray(np.ma.filled(np.ma.asarray(array).astype(np.float64), np.nan))
    except (TypeError, ValueError):
        return None
