"""Exported tables hold the numbers that were recorded, exactly."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from db.archive import Archive, ArchiveError, NewTake
from db.export import export_signals
from pieces.signals import Channel, Event, FrameBlock
from studio.performance import Finite

CHANNELS = [
    Channel("loss", "A scalar."),
    Channel("steps", "Another one.", dtype="int64"),
    Channel("gradient", "A small array.", shape=(2, 2), dtype="float64"),
    Channel("weights", "A large one.", shape=(65,)),
]


@pytest.fixture
def take_id(archive: Archive) -> str:
    recorder = archive.begin(NewTake(piece_name="p", piece={}, piece_hash="0" * 64, seed=1, parts=[("fit", 8.0)]))
    recorder.channels(CHANNELS)
    random = np.random.default_rng(0)
    for first in (0, 5):
        arrays = {
            "loss": random.random(5, "float32") * np.float32(1e-3),
            "steps": np.arange(first, first + 5) ** 5,
            "gradient": random.normal(size=(5, 2, 2)),
            "weights": random.random((5, 65), "float32"),
        }
        arrays["loss"][2] = math.nan
        recorder.append(FrameBlock(first, arrays, (Event(first + 1, "note", {"key": 60}),)))
        recorder.flush()
    recorder.finish(duration_s=1.25)
    return recorder.take_id


def columns(path: Path, fmt: str) -> dict[str, list[object]]:
    if fmt == "parquet":
        return dict(parquet.read_table(path).to_pydict())
    if fmt == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(path.open())]
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize("fmt", ["csv", "parquet", "jsonl"])
def test_signals_are_exact(archive: Archive, take_id: str, tmp_path: Path, fmt: str) -> None:
    exported = export_signals(archive, take_id, fmt, tmp_path / f"out.{fmt}")
    found = columns(exported.signals, fmt)
    frames = archive.frames(take_id)
    flat = [f"gradient[{i}]" for i in range(4)]
    assert list(found) == ["tick", "time_s", "loss", "steps", *flat]
    assert found["tick"] == list(range(10))
    assert found["time_s"] == [t / 8 for t in range(10)]
    assert [x is None for x in found["loss"]] == list(np.isnan(frames.arrays["loss"]))
    np.testing.assert_array_equal(np.array(found["loss"], "float32"), frames.arrays["loss"])
    assert found["steps"] == frames.arrays["steps"].tolist()
    np.testing.assert_array_equal(np.array([found[n] for n in flat]).T, frames.arrays["gradient"].reshape(10, 4))
    assert exported.left_out == ("weights",)


@pytest.mark.parametrize("fmt", ["csv", "parquet", "jsonl"])
def test_held_values_are_not_exported(archive: Archive, tmp_path: Path, fmt: str) -> None:
    source = [0.5, math.nan, math.inf, 2.0, 3.0, 4.0, math.nan, math.nan]
    pair = [[1.0, 2.0]] * 4 + [[math.nan, 2.0]] + [[1.0, 2.0]] * 3
    channels = [Channel("x", "Is lost twice."), Channel("w", "Is lost once.", shape=(2,)), Channel("y", "Is whole.")]
    recorder = archive.begin(NewTake(piece_name="p", piece={}, piece_hash="0" * 64, seed=1, parts=[("fit", 8.0)]))
    recorder.channels(channels)
    finite = Finite(channels)
    for first in (0, 3, 6):  # the spans cross the blocks' edges
        rows = slice(first, first + 3)
        arrays = {"x": np.array(source[rows], "float32"), "w": np.array(pair[rows], "float32")}
        recorder.append(finite(FrameBlock(first, {**arrays, "y": np.full_like(arrays["x"], 7)})))
        recorder.flush()
    recorder.finish(duration_s=1.0)
    found = columns(export_signals(archive, recorder.take_id, fmt, tmp_path / f"out.{fmt}").signals, fmt)
    assert found["x"] == [0.5, None, None, 2.0, 3.0, 4.0, None, None]
    assert found["w[0]"] == [1.0] * 4 + [None] + [1.0] * 3
    assert found["w[1]"] == [2.0] * 4 + [None] + [2.0] * 3
    assert found["y"] == [7.0] * 8


def test_channels_called_like_the_time_columns_stand_beside_them(archive: Archive, tmp_path: Path) -> None:
    names = ("tick", "time_s", "tick_")
    recorder = archive.begin(NewTake(piece_name="p", piece={}, piece_hash="0" * 64, seed=1, parts=[("fit", 8.0)]))
    recorder.channels([Channel(n, "A scalar.") for n in names])
    recorder.append(FrameBlock(0, {n: np.full(2, 10 + i, "float32") for i, n in enumerate(names)}))
    recorder.finish(duration_s=0.25)
    found = columns(export_signals(archive, recorder.take_id, "csv", tmp_path / "out.csv").signals, "csv")
    assert found == {
        "tick": [0, 1],
        "time_s": [0, 0.125],
        "tick_": [10, 10],
        "time_s_": [11, 11],
        "tick__": [12, 12],
    }


def test_events_lie_beside_the_signals(archive: Archive, take_id: str, tmp_path: Path) -> None:
    exported = export_signals(archive, take_id, "jsonl", tmp_path / "out.jsonl")
    assert exported.events == tmp_path / "out.events.jsonl"
    assert columns(exported.events, "jsonl") == {
        "tick": [1, 6],
        "time_s": [0.125, 0.75],
        "kind": ["note", "note"],
        "given": [False, False],
        "data": ['{"key": 60}'] * 2,
    }


def test_what_cannot_be_written_is_said_and_leaves_nothing(archive: Archive, take_id: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="format 'xls': signals can be exported as csv, parquet, jsonl"):
        export_signals(archive, take_id, "xls", tmp_path / "out.xls")
    with pytest.raises(ArchiveError, match="cannot be written"):
        export_signals(archive, take_id, "csv", tmp_path / "none" / "out.csv")
    archive.media_folder.rename(tmp_path / "away")
    before = set(tmp_path.iterdir())
    with pytest.raises(ArchiveError, match="No such file"):
        export_signals(archive, take_id, "csv", tmp_path / "out.csv")
    assert set(tmp_path.iterdir()) == before
