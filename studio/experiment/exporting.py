"""A study as tables for other programs: trials, turns and estimates as JSON lines, CSV and Parquet, with a codebook.

Equal tables in all formats: what is not there is null, in CSV an empty cell; a text is never null. In CSV a text that
a spreadsheet would take for a formula, or that begins with an apostrophe, has an apostrophe before it.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pieces.errors import DescantError
from studio.experiment.analysis import Finding, Results, analysed
from studio.experiment.codebook import BOOK, Kind
from studio.experiment.sample import Study, gathered
from studio.experiment.verdicts import sentence
from studio.files import check_folder

if TYPE_CHECKING:
    import pyarrow

    from db.archive import Archive
    from db.audience import TranscriptRecord, TurnRecord

Format: TypeAlias = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "parquet")
#: Rows that are written at a time.
_STRETCH = 2000
#: Beginnings of a text that a spreadsheet takes for a formula, and the mark that stands before them.
_FORMULA, _MARK = ("=", "+", "-", "@", "\t", "\r", "'"), "'"


TRIALS, TURNS, ESTIMATES = ({one.name: one.kind for one in BOOK[name]} for name in ("trials", "turns", "estimates"))
CODEBOOK: dict[str, Kind] = dict.fromkeys(("table", "column", "kind", "unit", "meaning"), "text")


def export(
    archive: Archive, experiment: str, folder: Path, formats: Sequence[Format] = FORMATS, results: Results | None = None
) -> list[Path]:
    """Write ``trials``, ``turns``, ``estimates`` and a ``codebook`` of a study in some formats; returns the files.

    Parameters
    ----------
    archive : Archive
    experiment : str
        Id or name.
    folder : Path
        Made where it is not there.
    formats : sequence of {"jsonl", "csv", "parquet"}
    results : Results, optional
        Its analysis, if it was made already.

    Raises
    ------
    DescantError
        If there is no such study, no such format, or a file cannot be written.
    """
    for one in formats:
        if one not in FORMATS:
            raise DescantError(f"format {one!r}: allowed are {', '.join(FORMATS)}")
    found = results or analysed(gathered(archive, experiment))
    check_folder(folder)
    trials = list(_trials(archive, found.study))
    tables: dict[str, tuple[Mapping[str, Kind], Callable[[], Iterable[Mapping[str, Any]]]]] = {
        "trials": (TRIALS, lambda: trials),
        "turns": (TURNS, lambda: _turns(archive, found.study)),
        "estimates": (ESTIMATES, lambda: [_estimate(found, one) for one in found.findings]),
        "codebook": (CODEBOOK, _codebook),
    }
    written = []
    for name, (columns, rows) in tables.items():
        written += [write(folder / f"{name}.{one}", columns, rows()) for one in formats]
    return written


def _transcripts(archive: Archive, study: Study) -> Iterator[TranscriptRecord]:
    rows = archive.visiting.transcripts(experiment=study.record.id, limit=None)
    for row in sorted(rows, key=lambda row: row.trial or 0):
        yield archive.visiting.transcript(row.id)


def _trials(archive: Archive, study: Study) -> Iterator[dict[str, Any]]:
    told = {one.trial: _told(one) for one in _transcripts(archive, study)}
    visitors = {audience.name: audience.visitor for audience in study.design.audiences}
    for row in study.rows:
        yield {"visitor": visitors.get(row["audience"], ""), **row, **told.get(row["number"], {})}


def _told(transcript: TranscriptRecord) -> dict[str, Any]:
    """What a trial's transcript says of it: who decided, and how; of a visit the decisions stand in its turns."""
    about, report = dict(transcript.about), transcript.report or {}
    asked: Mapping[str, Any] = {}
    if transcript.turns and not transcript.turns[-1].command and transcript.turns[-1].decisions:
        asked = transcript.turns[-1].decisions[-1]
    facts = asked.get("facts", {})
    return {
        "transcript": transcript.id,
        "visitor": transcript.visitor,
        "options": asked.get("options"),
        "probabilities": asked.get("probabilities"),
        "facts": facts or None,
        "retries": _sum(transcript.turns, "retries"),
        "about": about,
        "model": str(about.get("model", transcript.visitor)),
        "revision": str(about.get("revision", about.get("served", ""))),
        "prompt": str(about.get("prompt", "")),
        "progress": report.get("progress"),
        "verdict": report.get("verdict") or "",
    }


def _sum(turns: Sequence[TurnRecord], fact: str) -> float | None:
    """Of a fact over all decisions; None where nobody tells it."""
    found = [one.get("facts", {}).get(fact) for turn in turns for one in turn.decisions]
    known = [float(value) for value in found if isinstance(value, int | float)]
    return sum(known) if known else None


def _turns(archive: Archive, study: Study) -> Iterator[dict[str, Any]]:
    for transcript in _transcripts(archive, study):
        of = {"experiment": study.record.id, "transcript": transcript.id, "trial": transcript.trial}
        yield from ({**vars(turn), "decisions": list(turn.decisions), **of} for turn in transcript.turns)


def _estimate(results: Results, finding: Finding) -> dict[str, Any]:
    one, told, test = finding.estimate, finding.discrimination, finding.equivalence
    row = {name: getattr(finding, name) for name in ("outcome", "role", "verdict", "p", "adjusted", "by_progress")}
    row |= {"experiment": results.study.record.id, "problem": finding.problem, "sentence": sentence(finding, results)}
    if one is not None:
        names = ("value", "low", "high", "level", "chance", "error", "df", "trials", "cells")
        row |= {name: getattr(one, name) for name in names}
        row |= {"levels": dict(one.levels), "notes": list(one.notes)}
    if told is not None:
        row |= {"dprime": told.dprime, "dprime_low": told.low, "dprime_high": told.high}
    if test is not None:
        row |= {"equivalence_low": test.estimate.low, "equivalence_high": test.estimate.high, "margin": test.margin}
    return row


def _codebook() -> Iterator[dict[str, Any]]:
    for table, columns in BOOK.items():
        yield from ({"table": table, "column": one.name, **vars(one)} for one in columns)


def write(path: Path, columns: Mapping[str, Kind], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a table, whole or not at all; the format is that of the file's suffix.

    Fields that are no columns are left out, and numbers that are not finite; half surrogates, which no file can hold,
    become question marks.

    Raises
    ------
    DescantError
        If the file cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    given = ({name: _plain(kind, row.get(name)) for name, kind in columns.items()} for row in rows)
    try:
        _WRITERS[path.suffix](part, columns, given)
        part.replace(path)
    except OSError as error:
        raise DescantError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _plain(kind: Kind, value: Any) -> Any:
    """A value as its column has it."""
    if kind == "text":
        return str(value or "").encode(errors="replace").decode()
    if value is None or kind == "json":
        return value
    if kind == "number":
        return float(value) if math.isfinite(value) else None
    return int(value) if kind == "integer" else bool(value)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _write_jsonl(path: Path, columns: Mapping[str, Kind], rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _write_csv(path: Path, columns: Mapping[str, Kind], rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_CELLS[kind].written(row[name]) for name, kind in columns.items()] for row in rows)


def _write_parquet(path: Path, columns: Mapping[str, Kind], rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = _schema(columns)
    with ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, _STRETCH)):
            told = [{n: _json(row[n]) if kind == "json" else row[n] for n, kind in columns.items()} for row in some]
            writer.write_table(pyarrow.Table.from_pylist(told, schema))


def _schema(columns: Mapping[str, Kind]) -> pyarrow.Schema:
    import pyarrow

    types = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64(), "flag": pyarrow.bool_(),
             "json": pyarrow.string()}  # fmt: skip
    return pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])


def read(path: Path, columns: Mapping[str, Kind]) -> list[dict[str, Any]]:
    """Read a table that `write` wrote: a dict a row.

    Raises
    ------
    DescantError
        If it cannot be read.
    """
    try:
        return list(_READERS[path.suffix](path, columns))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DescantError(f"{path}: not such a table: {error}") from error


def _read_jsonl(path: Path, columns: Mapping[str, Kind]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


def _read_csv(path: Path, columns: Mapping[str, Kind]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: _CELLS[kind].read(row[name]) for name, kind in columns.items()}


def _read_parquet(path: Path, columns: Mapping[str, Kind]) -> Iterator[dict[str, Any]]:
    from pyarrow.parquet import read_table

    for row in read_table(path).to_pylist():
        yield {n: json.loads(v) if columns[n] == "json" and v is not None else v for n, v in row.items()}


@dataclass(frozen=True)
class _Cell:
    """A value of one kind as a cell of CSV, and back."""

    written: Callable[[Any], str]
    read: Callable[[str], Any]


def _optional(written: Callable[[Any], str], read: Callable[[str], Any]) -> _Cell:
    return _Cell(lambda v: "" if v is None else written(v), lambda cell: read(cell) if cell else None)


_CELLS: dict[Kind, _Cell] = {
    "text": _Cell(lambda v: _MARK + v if v.startswith(_FORMULA) else v, lambda cell: cell.removeprefix(_MARK)),
    "integer": _optional(str, int),
    "number": _optional(repr, float),
    "flag": _optional(lambda v: "true" if v else "false", lambda cell: cell == "true"),
    "json": _optional(json.dumps, json.loads),
}
_WRITERS = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}
_READERS = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
