"""What is wrong with a part of a table costs that part and no more, and is said; what is too long keeps its spikes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv

from pieces.piece import check_piece
from pieces.series import FOLLOWED, REDUCED, Series, Voicing, series_piece, table_piece, table_score, ticks
from pieces.source import SourceError
from pieces.tables import SeriesError, extremes, read_table, table_of

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "columns", "notices"),
    [
        ("a,b\n1,2\n2,4\n", {"a": [1, 2], "b": [2, 4]}, []),
        ("a,who,c\n1,x,\n2,y,\n", {"a": [1, 2]}, ["left out: who (text, not numbers), c (no finite number)"]),
        ("a\n1\n-inf\n3\ninf\n", {"a": [1, NAN, 3, NAN]}, ["a: infinite values are treated as missing (2 of 4)"]),
        ("a,b\n5,1\n5,2\n", {"a": [5, 5], "b": [1, 2]}, ["a: always 5: it sounds at the middle of its range"]),
        ("a\n7\n", {"a": [7]}, ["a: a single value 7: it sounds at the middle of its range"]),
        (
            "a,b\n1,2\n3\n3,4\n5,6,7\n5,6\n",
            {"a": [1, 3, 5], "b": [2, 4, 6]},
            ["left out: rows of another length (2; the first, '3' fills 1 of 2 columns)"],
        ),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_is_read(
    tmp_path: Path, text: str, columns: dict[str, list[float]], notices: list[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    table = read_table(path)
    assert list(table.columns) == list(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(table.columns[name], values)
    assert list(table.notices) == notices


def test_latin_1_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "alt.csv"
    path.write_bytes("Höhe (m);Wärme [°C]\n1;2\n3;4\n".encode("latin-1"))
    table = read_table(path)
    assert table.labels == {"hohe_m": "Höhe (m)", "warme_c": "Wärme [°C]"}
    assert table.units() == {"hohe_m": "m", "warme_c": "°C"}


def test_a_spreadsheet_is_no_archive_of_arrays(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(SeriesError, match=r"book.xlsx: a ZIP archive, but not of arrays \(NPZ\): save a spreadsheet"):
        read_table(tmp_path / "book.xlsx")


class Frame:
    """A data frame as pandas has it: names, and columns by name."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = list(columns)
        self._columns = columns

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]


STRUCTURED = np.array([(1.0, 3), (2.0, 4)], dtype=[("x", "f8"), ("y", "i4")])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([1, 2], {"series": [1, 2]}),
        ([1, None], {"series": [1, NAN]}),
        (np.array([[1, 3], [2, 4]]), {"series_0": [1, 2], "series_1": [3, 4]}),
        ({"x": (1, 2), "y": np.array([3, 4]), "who": ["a", "b"]}, {"x": [1, 2], "y": [3, 4]}),
        (pa.table({"x": [1.0, None], "who": ["a", "b"]}), {"x": [1, NAN]}),
        (Frame({"x": np.array([1, 2]), "who": np.array(["a", "b"], dtype=object)}), {"x": [1, 2]}),
        (STRUCTURED, {"x": [1, 2], "y": [3, 4]}),
        ({"x": np.ma.masked_greater([1.0, 9.0], 5)}, {"x": [1, NAN]}),
        (np.array([True, False]), {"series": [1, 0]}),
    ],
)
def test_what_programs_hold(data: Any, expected: dict[str, Sequence[float]]) -> None:
    table = table_of(data)
    assert list(table.columns) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(table.columns[name], values)


@pytest.mark.parametrize(
    ("data", "columns", "message"),
    [
        ("abc", None, r"the data have shape \[\]"),
        (np.zeros((2, 2, 2)), None, r"the data have shape \[2, 2, 2\]"),
        ([[1], [2, 3]], None, "the data are no table"),
        ([], None, "the data: it has no rows"),
        ({}, None, "the data: it has no rows"),
        ({"x": [1], "y": [1, 2]}, None, "its arrays differ in length: 1, 2 rows"),
        ({"x": ["a"]}, None, "no column holds numbers; it has x"),
        ({"x": [1], "who": ["a"]}, ["who"], "column 'who' holds text, not numbers; known are x"),
        ({"x": [1], "y": [2]}, ["z"], "no column 'z'"),
        ({"x": [NAN, NAN]}, ["x"], "column 'x' holds no finite number; there are none"),
    ],
)
def test_what_cannot_be_heard_of_what_programs_hold(data: Any, columns: list[str] | None, message: str) -> None:
    with pytest.raises(SeriesError, match=message) as caught:
        table_of(data, columns)
    assert "\n" not in str(caught.value)


def buckets(values: np.ndarray, points: int) -> Iterator[np.ndarray]:
    n, count = len(values), points // 2
    for i in range(count):
        yield values[i * n // count : (i + 1) * n // count]


@given(
    values=st.lists(st.one_of(st.just(NAN), st.integers(-9, 9).map(float)), min_size=1, max_size=200),
    points=st.integers(2, 60),
)
def test_every_bucket_keeps_its_extremes_in_order(values: list[float], points: int) -> None:
    series = np.array(values)
    found = extremes(series, points)
    if len(series) <= points:
        assert found is series, "what is short enough is not touched"
        return
    assert len(found) == 2 * (points // 2)
    for pair, bucket in zip(found.reshape(-1, 2), buckets(series, points), strict=True):
        present = bucket[~np.isnan(bucket)]
        if not len(present):
            assert np.isnan(pair).all(), "nothing is made up"
            continue
        assert sorted(pair) == [present.min(), present.max()]
        where = [np.flatnonzero(bucket == value)[0] for value in pair]
        assert where == sorted(where)


def test_a_spike_among_five_million_rows_survives_at_its_place(tmp_path: Path) -> None:
    rows, duration, at = 5_000_000, 30.0, 3_141_592
    values = np.sin(np.arange(rows) / 1e5)
    values[at] = 7.0
    csv.write_csv(pa.table({"x": values}), tmp_path / "long.csv")
    piece = series_piece(tmp_path / "long.csv", duration=duration)
    part = piece.parts["series"]
    source = check_piece(piece, "long")["series"](0, {}, part.inputs)
    played = source.step({}, (), part.ticks).arrays["x"]
    assert part.rate is not None
    assert len(played) == part.ticks == REDUCED * duration
    assert part.ticks / part.rate == pytest.approx(duration)
    assert played.max() == 7.0
    assert (played == 7.0).sum() == 1
    bucket = 2 / part.rate
    assert abs(played.argmax() / part.rate - at / rows * duration) <= bucket
    assert source.channels[0].range[1] == 7.0
    without = np.sort(played)[-2]
    assert without < 1.0 + 1e-9, "nothing else is lifted"


@pytest.mark.parametrize("beyond", [0, 1])
def test_nothing_changes_below_the_limit(tmp_path: Path, beyond: int) -> None:
    duration = 2.0
    rows = int(FOLLOWED * duration) + beyond
    np.savez(tmp_path / "x.npz", x=np.arange(float(rows)))
    piece = series_piece(tmp_path / "x.npz", duration=duration)
    assert piece.parts["series"].ticks == (REDUCED * duration if beyond else rows) == ticks(rows, duration)
    assert ("points" in piece.parts["series"].inputs) == bool(beyond)


@pytest.mark.parametrize("points", ["x", "1", "-4", "2.5"])
def test_points_that_are_no_number_of_ticks(tmp_path: Path, points: str) -> None:
    np.savez(tmp_path / "x.npz", x=np.arange(9.0))
    with pytest.raises(SourceError, match=r"points = .*: allowed are whole numbers from 2"):
        Series(0, {}, {"data": str(tmp_path / "x.npz"), "points": points})
    assert Series(0, {}, {"data": str(tmp_path / "x.npz"), "points": "4"}).step({}, (), 9).ticks == 4


def test_options_are_for_all_columns_or_for_one() -> None:
    table = table_of({"Luft (°C)": [1.0, 2.0], "b": [3.0, 4.0]})
    voicing = Voicing(range={"Luft (°C)": ("C3", "C4"), "*": ("C5", "C6")}, shape="log", polarity={"b": "negative"})
    each = voicing.by_column(table)
    assert (each["luft_c"]["range"], each["b"]["range"]) == (("C3", "C4"), ("C5", "C6"))
    assert (each["luft_c"]["shape"], each["b"]["shape"]) == ("log", "log")
    assert (each["luft_c"]["polarity"], each["b"]["polarity"]) == ("positive", "negative")
    with pytest.raises(SeriesError, match="the data: no column 'c'; known are"):
        Voicing(shape={"c": "log"}).by_column(table)


@pytest.mark.parametrize(("shape", "allowed"), [("log", False), ("sqrt", False), ("symlog", True), ("linear", True)])
def test_the_logarithm_of_what_has_none(shape: str, allowed: bool) -> None:
    table = table_of({"x": [0.0, 1.0, 2.0]})
    if allowed:
        assert table_score(table, Voicing(shape=shape), 1.0)["voices"]["x"]["lanes"]["pitch"]["shape"] == shape
        return
    with pytest.raises(SeriesError, match=f"column 'x' starts at 0: shape '{shape}' allows values above 0; use symlog"):
        table_score(table, Voicing(shape=shape), 1.0)
    table_score(table, Voicing(shape=shape, domain=(0.5, 2.0)), 1.0)


def test_what_rounds_does_not_measure(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.arange(9.0))
    table = read_table(tmp_path / "x.npz")

    def purpose(**options: Any) -> str:
        return str(table_piece(tmp_path / "x.npz", table, Voicing(**options)).score["purpose"])

    assert purpose() == purpose(shape="symlog") == "measure"
    assert purpose(scale="D dorian") == purpose(shape="rank") == "music"
