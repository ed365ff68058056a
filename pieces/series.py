"""A table of numbers as a source: one channel for each column, one row at each tick; and the pieces made of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from pieces.piece import Piece, default_score, parse_piece
from pieces.signals import Channel, Event, FrameBlock, Value
from pieces.source import Input, Source, SourceError
from pieces.tables import SeriesError, Table, extremes, read_table

Floats = NDArray[np.float64]
T = TypeVar("T")
#: One value for every column, or a mapping from a column's name to its own.
PerColumn: TypeAlias = T | Mapping[str, T]

#: Points a second that a lane follows: its shortest glide is 2 ms.
FOLLOWED = 500
#: Points a second to which what is longer is reduced, so that an extreme sounds for 5 ms.
REDUCED = 200
#: Seconds after the last point.
TAIL = 0.25


class Series(Source):
    """Plays a CSV, Parquet, JSONL or NPZ file: its numeric columns are channels, its rows are ticks.

    What is missing in the table is NaN. A channel's declared range is the smallest and largest number of its column.
    """

    name = "series"
    about = "a table of numbers, played row by row"
    inputs = {
        "data": Input("series", "a CSV, Parquet, JSONL or NPZ file"),
        "columns": Input("text", "names of the columns to play, with commas between them; default: all with numbers"),
        "points": Input("text", "most ticks: a longer table is reduced to its extremes, stretch by stretch"),
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        if "data" not in self.given:
            raise SourceError("series has no data: give it a CSV, Parquet, JSONL or NPZ file as the input 'data'")
        names = [n.strip() for n in self.given.get("columns", "").split(",") if n.strip()]
        points = self.given.get("points", "")
        if points and not (points.isdecimal() and int(points) >= 2):
            raise SourceError(f"series: input points = {points!r}: allowed are whole numbers from 2")
        table = read_table(self.given["data"], names or None)
        self.channels = table_channels(table)
        self._columns = table_columns(table, int(points or table.rows))
        self._tick = 0

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


@dataclass(frozen=True)
class Voicing:
    """How columns are heard. Each option is one for all columns, or a mapping from columns to their own.

    In a mapping ``"*"`` stands for all columns that are not named; without it they have the default.

    Attributes
    ----------
    range : pair of str or float
        Pitches of the smallest and the largest value: notes (``"A2"``) or frequencies (``"200hz"``).
    domain : pair of float, ``"data"`` or ``"p1-p99"``
        Data that cover the range; what lies outside sounds at its end.
    shape : str
        ``"linear"``, ``"log"``, ``"symlog"``, ``"sqrt"`` or ``"rank"``.
    polarity : str
        ``"positive"``, or ``"negative"``: larger is lower.
    instrument : str
        One with a pitch that sounds all the time.
    scale : str or mapping
        Tuning whose degrees the pitch is rounded to; default none.
    """

    range: PerColumn[tuple[Value, Value]] = ("A2", "A5")
    domain: PerColumn[tuple[float, float] | str] = "data"
    shape: PerColumn[str] = "linear"
    polarity: PerColumn[str] = "positive"
    instrument: PerColumn[str] = "glide"
    scale: str | Mapping[str, Any] | None = None

    def by_column(self, table: Table) -> dict[str, dict[str, Any]]:
        """Options of every column of a table, by its identifier.

        Raises
        ------
        SeriesError
            If an option is given for a column that is not there.
        """
        default = Voicing()
        found: dict[str, dict[str, Any]] = {column: {} for column in table.columns}
        for option in (f.name for f in fields(self) if f.name != "scale"):
            given = getattr(self, option)
            each = given if isinstance(given, Mapping) else {"*": given}
            own = {table.column(c): value for c, value in each.items() if c != "*"}
            for column in found:
                found[column][option] = own.get(column, each.get("*", getattr(default, option)))
        return found


def table_channels(table: Table) -> tuple[Channel, ...]:
    """A channel for each column."""
    units = table.units()
    return tuple(
        Channel(name, f"column {table.labels[name]}", units[name], _span(values), dtype="float64")
        for name, values in table.columns.items()
    )


def table_columns(table: Table, points: int) -> dict[str, Floats]:
    """What is played of a table: all of it, or its extremes where it has more rows than `points`."""
    return {name: extremes(values, points) for name, values in table.columns.items()}


def ticks(rows: int, duration: float) -> int:
    """How many points of a table are played: all its rows, unless they pass faster than a lane can follow."""
    return rows if rows <= FOLLOWED * duration else max(2, 2 * int(REDUCED * duration / 2))


def table_score(table: Table, voicing: Voicing, duration: float) -> dict[str, Any]:
    """A score as plain data that plays a table: a voice for each column, in equal steps of log2.

    Its purpose is ``measure``, or ``music`` where pitch is rounded to a scale or ranked, which cannot be undone.

    Raises
    ------
    SeriesError
        If an option names a column that is not there, or a shape that its values do not allow.
    """
    score = default_score(list(table.columns))
    each = voicing.by_column(table)
    glide = float(np.clip(500 * duration / ticks(table.rows, duration), 2, 10))
    for name, options in each.items():
        _check_shape(table, name, options)
        voice = score["voices"][name]
        voice["instrument"] = options.pop("instrument")
        voice["lanes"]["pitch"] |= {**options, "range": list(options["range"]), "glide_ms": glide}
        if voicing.scale is not None:
            voice["lanes"]["pitch"]["tuning"] = voicing.scale
    if voicing.scale is not None or any(options["shape"] == "rank" for options in each.values()):
        score["purpose"] = "music"
    return score


def _check_shape(table: Table, name: str, options: Mapping[str, Any]) -> None:
    smallest = np.nanmin(table.columns[name])
    if options["shape"] in ("log", "sqrt") and isinstance(options["domain"], str) and smallest <= 0:
        raise SeriesError(
            f"{table.name}: column {table.labels[name]!r} starts at {smallest:g}: "
            f"shape {options['shape']!r} allows values above 0; use symlog"
        )


def table_piece(path: str | Path, table: Table, voicing: Voicing = Voicing(), duration: float = 30.0) -> Piece:
    """A piece that plays the table that was read from `path`.

    Point i of N sounds from ``i * duration / N`` to ``(i + 1) * duration / N`` seconds; of more than `FOLLOWED` points
    a second the extremes are played, see `ticks`.
    """
    path = Path(path)
    played = ticks(table.rows, duration)
    inputs = {"data": str(path.resolve()), "columns": ",".join(table.columns)}
    if played < table.rows:
        inputs["points"] = str(played)
    raw = {
        "title": path.stem,
        "about": f"{', '.join(table.columns)} of {path.name}: {table.rows} points in {duration:g} s.",
        "parts": {"series": {"source": "series", "rate": played / duration, "ticks": played, "inputs": inputs}},
        "score": table_score(table, voicing, duration),
        "master": {"tail": TAIL},
    }
    return parse_piece(raw, path.name)


def series_piece(
    path: str | Path,
    columns: Sequence[str] | None = None,
    low: Value = "A2",
    high: Value = "A5",
    duration: float = 30.0,
) -> Piece:
    """`table_piece` of a file: minimum to maximum of each column onto `low` to `high` in `duration` seconds."""
    return table_piece(path, read_table(path, columns), Voicing(range=(low, high)), duration)


def _span(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    around = max(0.5, 1e-6 * abs(low))
    return (low, high) if low < high else (low - around, high + around)
