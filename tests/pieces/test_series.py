"""Series: the same table in four formats is the same source; what cannot be played is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pieces.errors import DescantError
from pieces.piece import check_piece
from pieces.series import Series, series_piece
from pieces.signals import gather
from pieces.source import SourceError, find_source
from pieces.tables import SeriesError, read_table

HEIGHT = [1.5, float("nan"), -2.0, 4.0]
COUNT = [3, 1, 4, 1]


def write(folder: Path, kind: str) -> Path:
    path = folder / f"table.{kind}"
    blank = ["" if h != h else str(h) for h in HEIGHT]
    if kind == "csv":
        path.write_text("height,count,name\n" + "".join(f"{h},{c},x\n" for h, c in zip(blank, COUNT, strict=True)))
    elif kind == "jsonl":
        rows = [{"height": None if h != h else h, "count": c} for h, c in zip(HEIGHT, COUNT, strict=True)]
        path.write_text("\n".join(map(json.dumps, rows)))
    elif kind == "parquet":
        heights = pa.array([None if h != h else h for h in HEIGHT])
        parquet.write_table(pa.table({"height": heights, "count": COUNT, "name": list("abcd")}), path)
    else:
        np.savez(path, height=np.array(HEIGHT), count=np.array(COUNT), name=np.array(list("abcd")))
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "npz"])
def test_every_format_is_the_same_source(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    source = Series(0, {}, {"data": str(path)})
    assert [(c.name, c.range, c.dtype) for c in source.channels] == [
        ("height", (-2.0, 4.0), "float64"),
        ("count", (1.0, 4.0), "float64"),
    ]
    blocks = [source.step({}, (), n) for n in (1, 2, 2)]
    assert [b.ticks for b in blocks] == [1, 2, 1], "one row at a tick, over at the end"
    assert source.step({}, (), 5).ticks == 0
    frames = gather(blocks, 10.0)
    np.testing.assert_array_equal(frames.arrays["height"], HEIGHT)
    np.testing.assert_array_equal(frames.arrays["count"], COUNT)
    again = path.with_suffix(".of_another_name")
    path.rename(again)
    np.testing.assert_array_equal(read_table(again).columns["height"], HEIGHT)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_csv_keeps_every_bit(values: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_text("x\n" + "".join(f"{v!r}\n" for v in values))
    np.testing.assert_array_equal(read_table(path).columns["x"], values)


def test_snapshot(tmp_path: Path) -> None:
    source = Series(0, {}, {"data": str(write(tmp_path, "csv"))})
    source.step({}, (), 1)
    state = source.snapshot()
    first = source.step({}, (), 2)
    source.restore(state)
    np.testing.assert_array_equal(source.step({}, (), 2).arrays["count"], first.arrays["count"])
    before = source.snapshot()
    for broken in (b"", b"x", b"1" * 5000, b"-1", b"5"):
        with pytest.raises(SourceError, match="snapshot of"):
            source.restore(broken)
        assert source.snapshot() == before


def test_columns_become_identifiers(tmp_path: Path) -> None:
    path = tmp_path / "weather.csv"
    path.write_text("Luft (°C);2020;Éa;ea;class;%\n1;2;3;4;5;6\n2;3;4;5;6;7\n")
    assert list(read_table(path).columns) == ["luft_c", "c2020", "ea_2", "ea", "class", "column"]
    assert list(read_table(path, ["Luft (°C)", "ea_2"]).columns) == ["luft_c", "ea_2"]


def test_numbers_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("1\n5\n2\n")
    assert read_table(path).columns["f0"].tolist() == [1, 5, 2]


def test_a_column_is_what_all_its_rows_are(tmp_path: Path) -> None:
    """A number with a fraction far down, where a reader that guesses from the first megabyte would fail."""
    (tmp_path / "long.csv").write_text("x\n" + "1\n" * 800_000 + "2.5\n")
    (tmp_path / "long.jsonl").write_text('{"x": 1}\n' * 200_000 + '{"x": 2.5}\n')
    for name in ("long.csv", "long.jsonl"):
        assert read_table(tmp_path / name).columns["x"][-1] == 2.5


def test_matrices(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.arange(6.0).reshape(3, 2))
    found = read_table(tmp_path / "m.npz").columns
    assert {n: v.tolist() for n, v in found.items()} == {"w_0": [0, 2, 4], "w_1": [1, 3, 5]}


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (b"", None, "t.csv: the file is empty"),
        (b"\n\n", None, "t.csv: the file is empty"),
        (b"a,b\n", None, "t.csv: it has no rows, only the columns a, b"),
        (b"a,b\nx,y\n", None, "t.csv: no column holds numbers; it has a, b"),
        (b"a,b\n1,y\n", ["b"], "t.csv: column 'b' holds text, not numbers; known are a"),
        (b"height,b\n1,2\n", ["heigth"], "t.csv: no column 'heigth'; did you mean 'height'"),
        (b"a,b\nnan,1\nnan,2\n", ["a"], "t.csv: column 'a' holds no finite number; known are b"),
        (b"Weather\na,b\n1,2\n3,4\n", None, r"t.csv: 3 of 3 rows .* \('a,b' fills 2 of 1 columns\): begin"),
        (b"\x89PNG\r\n\x1a\n\0\0", None, "t.csv: a binary file, not CSV"),
        ("a\n1\n".encode("utf-16"), None, r"t.csv: a binary file, not CSV \(UTF-8\), Parquet, JSONL or NPZ"),
        (b'{"a": 1}\n{"a":\n', None, "t.csv: cannot be read: "),
        (b"PAR1 nothing else", None, "t.csv: cannot be read: "),
        (b"PK\x03\x04 nothing else", None, "t.csv: cannot be read: "),
    ],
)
def test_what_cannot_be_played(tmp_path: Path, text: bytes, columns: list[str] | None, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text)
    with pytest.raises(SeriesError, match=message) as caught:
        read_table(path, columns)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match=r"no such file: .*nowhere.csv"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(SeriesError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(SourceError, match="series has no data"):
        Series(0, {})


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SeriesError, match=r"p.npz: cannot be read: .*pickle"):
        read_table(tmp_path / "p.npz")


def test_lengths(tmp_path: Path) -> None:
    np.savez(tmp_path / "l.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(SeriesError, match="its arrays differ in length: 3, 4 rows"):
        read_table(tmp_path / "l.npz")


@pytest.mark.parametrize(("rows", "duration"), [(10, 30.0), (10_000, 30.0), (1, 2.0), (200_000, 4.0)])
def test_piece(tmp_path: Path, rows: int, duration: float) -> None:
    """Point i of N sounds from i·S/N to (i+1)·S/N."""
    path = tmp_path / "long.csv"
    path.write_text("y,text\n" + "".join(f"{i % 17},a\n" for i in range(rows)))
    piece = series_piece(path, low="C3", high="200hz", duration=duration)
    part = piece.parts["series"]
    assert part.ticks / part.rate == pytest.approx(duration)
    cls = check_piece(piece, "long")["series"]
    source = cls(0, {}, part.inputs)
    assert gather([source.step({}, (), part.ticks)], part.rate).duration == pytest.approx(duration)
    pitch = piece.score["voices"]["y"]["lanes"]["pitch"]
    assert (pitch["range"], pitch["channel"], pitch["domain"]) == (["C3", "200hz"], "y", "data")
    assert 2 <= pitch["glide_ms"] <= 10


def test_piece_refuses_at_once(tmp_path: Path) -> None:
    with pytest.raises(DescantError, match="no such file"):
        series_piece(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("header", ["x\n", '"a, b"\n', "\n\nx\n", ""])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["\n", ""])
def test_an_empty_line_in_a_table_of_one_column_is_a_missing_value(
    tmp_path: Path, header: str, newline: str, end: str
) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text(header + "1\n\n3\n\n\n6\n7" + end, newline=newline)
    (column,) = read_table(path).columns.values()
    np.testing.assert_array_equal(column, [1, np.nan, 3, np.nan, np.nan, 6, 7])


def test_empty_lines_between_rows_of_many_columns_are_none(tmp_path: Path) -> None:
    path = tmp_path / "airy.csv"
    path.write_text("\na,b\n1,2\n\n3,4\n\n")
    assert {n: v.tolist() for n, v in read_table(path).columns.items()} == {"a": [1, 3], "b": [2, 4]}


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    path.write_text("a,b,a,a\n1,2,3,5\n4,5,6,7\n")
    table = read_table(path)
    assert {n: v.tolist() for n, v in table.columns.items()} == {"a": [1, 4], "b": [2, 5], "a_2": [3, 6], "a_3": [5, 7]}
    assert table.notices == ("3 columns are called 'a': the others are 'a #2' and so on",)
    assert read_table(path, ["a #2"]).columns["a_2"].tolist() == [3, 6]
    np.savez(tmp_path / "twice.npz", w=np.ones((3, 2)), w_0=np.zeros(3))
    assert read_table(tmp_path / "twice.npz").columns["w_0_2"].tolist() == [0, 0, 0]


def test_names_that_differ_in_case_are_both_played(tmp_path: Path) -> None:
    path = tmp_path / "case.csv"
    path.write_text("B,b,mix\n1,10,5\n2,20,6\n")
    found = read_table(path).columns
    np.testing.assert_array_equal(found["b"], [10, 20])
    np.testing.assert_array_equal(found["b_2"], [1, 2])
    assert "mix_2" in found, "the mix is no voice"
    piece = series_piece(path, duration=1.0)
    ((_, part),) = piece.parts.items()
    source = find_source("series")(0, {}, part.inputs)
    np.testing.assert_array_equal(source.step({}, [], 2).arrays["b_2"], [1, 2])


@pytest.mark.parametrize("value", ["1e20", "9007199254740993", "1700000000000000001"])
def test_large_constants_are_a_series_too(tmp_path: Path, value: str) -> None:
    path = tmp_path / "large.csv"
    path.write_text("x\n" + f"{value}\n" * 5)
    source = find_source("series")(0, {}, {"data": str(path)})
    assert source.step({}, [], 9).ticks == 5


def test_a_file_of_nothing_but_a_byte_order_mark_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "bom.csv"
    path.write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(SeriesError, match="empty"):
        read_table(path)
