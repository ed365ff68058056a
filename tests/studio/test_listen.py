"""Any series in one call: what is heard is what was given, in memory or in a file, with or without a flaw."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pieces.errors import DescantError
from sonify.ears import pitch_track
from sonify.tuning import Tuning
from studio.listen import Listened, ListenError, listen, parse_voicing, timing_csv

WALK = np.cumsum(np.random.default_rng(5).standard_normal(24))


def pitches(heard: Listened, n: int, duration: float, side: int | None = None) -> np.ndarray:
    """Fundamental in the middle of each of `n` points, in Hz."""
    sound = heard.samples.mean(axis=1) if side is None else heard.samples[:, side]
    track = pitch_track(sound, heard.rate, hop_s=0.005, window_s=0.085)
    middles = (np.arange(n) + 0.55) * duration / n
    return np.array([track.f0[np.abs(track.times - t).argmin()] for t in middles])


def wanted(values: np.ndarray, low: float = 110.0, high: float = 880.0) -> np.ndarray:
    return low * (high / low) ** ((values - values.min()) / np.ptp(values))


def cents(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return 1200 * np.abs(np.log2(found / expected))


def test_the_series_is_what_is_heard() -> None:
    heard = listen(WALK, duration=6)
    assert (heard.samples.dtype, heard.samples.shape, heard.rate) == (np.float32, (300_000, 2), 48_000)
    assert (heard.path, heard.files, heard.notices) == (None, (), ())
    found = pitches(heard, len(WALK), 6)
    assert cents(found, wanted(WALK)).max() < 5
    assert np.corrcoef(np.log2(found), WALK)[0, 1] ** 2 > 0.99


@pytest.fixture(scope="module")
def reference() -> Listened:
    return listen({"x": WALK[:8]}, duration=1)


@pytest.mark.parametrize("kind", ["list", "array", "arrow", "csv", "npz"])
def test_every_way_to_give_it_sounds_the_same(tmp_path: Path, kind: str, reference: Listened) -> None:
    values = WALK[:8]
    (tmp_path / "x.csv").write_text("x\n" + "".join(f"{v!r}\n" for v in values.tolist()))
    np.savez(tmp_path / "x.npz", x=values)
    data: Any = {
        "list": {"x": values.tolist()},
        "array": values,
        "arrow": pa.table({"x": values}),
        "csv": str(tmp_path / "x.csv"),
        "npz": tmp_path / "x.npz",
    }[kind]
    np.testing.assert_array_equal(listen(data, duration=1).samples, reference.samples)
    assert not np.array_equal(listen(values[::-1], duration=1).samples, reference.samples)


def test_columns_have_options_of_their_own_and_places() -> None:
    options: dict[str, Any] = {"range": {"a": ("A2", "A3"), "b": (400, 800)}, "polarity": {"b": "negative"}}
    heard = listen({"a": WALK, "b": WALK}, duration=6, stems=False, **options)
    power = np.square(heard.samples).mean(axis=0)
    assert power.min() > 0.1 * power.max()
    assert "a: glide, 80% left" in heard.caption
    assert "b: glide, 80% right" in heard.caption
    alone = listen({"b": WALK}, duration=6, range=(400, 800), polarity="negative")
    assert cents(pitches(alone, len(WALK), 6), wanted(-WALK, 400, 800)).max() < 5, "an exact mirror"


def test_a_scale_by_its_name() -> None:
    heard = listen(WALK, duration=6, scale="D dorian")
    found, tuning = pitches(heard, len(WALK), 6), Tuning.model_validate("D dorian")
    assert cents(found, tuning.snap(wanted(WALK))).max() < 5
    assert cents(tuning.snap(wanted(WALK)), wanted(WALK)).max() > 20, "it rounds"
    assert "purpose: music" in heard.caption


@pytest.mark.parametrize(("data", "notice"), [([4.0] * 9, "always 4"), ([4.0], "a single value 4")])
def test_what_never_changes_sounds_at_the_middle(data: list[float], notice: str) -> None:
    heard = listen(data, duration=1)
    assert heard.notices == (f"series: {notice}: it sounds at the middle of its range",)
    assert cents(pitches(heard, 5, 1), np.sqrt(110.0 * 880.0)).max() < 5


def test_infinities_are_gaps() -> None:
    values = np.array([0.0, 1.0, np.inf, np.inf, 2.0, 3.0])
    heard = listen(values, duration=3)
    assert heard.notices == ("series: infinite values are treated as missing (2 of 6)",)

    def level(start: float, end: float) -> float:
        return float(np.square(heard.samples[int(start * heard.rate) : int(end * heard.rate)]).mean())

    assert level(1.4, 1.95) < 1e-4 * level(0.2, 0.9)
    assert level(2.2, 2.9) > 0.1 * level(0.2, 0.9)


@pytest.mark.parametrize("spike", [True, False])
def test_a_spike_in_a_million_is_heard_where_it_is(spike: bool) -> None:
    values = np.zeros(1_000_000)
    values[0] = -1.0  # so that the range is the same without the spike
    values[-1] = 1.0
    values[637_000] = float(spike)
    heard = listen(values, duration=2, instrument="glide", range=("A2", "3000hz"))
    assert heard.notices == ("1000000 rows in 2 s: of every 5000 the smallest and the largest are heard",)
    frame = heard.rate // 200
    frames = heard.samples[: 2 * heard.rate, 0].reshape(-1, frame)
    high = np.square(np.abs(np.fft.rfft(frames * np.hanning(frame), 4096)))[:, 213:]  # from 2500 Hz
    powers = high.sum(axis=1)[4:-4]
    assert (powers.max() > 100 * np.median(powers)) == spike
    if spike:
        assert abs((powers.argmax() + 4.5) / 200 - 2 * 0.637) < 0.01


def test_files_for_people(tmp_path: Path) -> None:
    (tmp_path / "air.csv").write_text("day,Temp (°C)\n1,-3\n2,8\n3,5\n")
    heard = listen(tmp_path / "air.csv", columns=["Temp (°C)"], duration=2, out=tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["air.wav"], "one file, unless more is wished"
    assert heard.path == tmp_path / "out" / "air.wav"
    np.testing.assert_array_equal(soundfile.read(heard.path, dtype="float32")[0], heard.samples)
    options: dict[str, Any] = {"columns": ["Temp (°C)"], "duration": 2, "out": tmp_path / "all"}
    more = listen(tmp_path / "air.csv", **options, stems=True, legend=True, marks=0.5)
    ends = [".wav", "-axis.wav", "-caption.txt", "-legend.wav", "-stem-temp_c.wav", "-timing.csv"]
    assert sorted(p.name for p in more.files) == sorted(f"air{end}" for end in ends)
    assert sorted(more.files) == sorted((tmp_path / "all").iterdir())
    np.testing.assert_array_equal(more.samples, heard.samples)
    assert (tmp_path / "all" / "air-caption.txt").read_text(encoding="utf-8") == more.caption == heard.caption
    assert "pitch ← temp_c (column Temp (°C)), -3 to 8 °C → 110 Hz (A2) to 880 Hz (A5)" in more.caption
    with (tmp_path / "all" / "air-timing.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["what"], float(r["seconds"]), r["value"]) for r in rows] == [
        ("start", 0.0, ""),
        ("smallest", 0.0, "-3.0"),
        ("largest", pytest.approx(2 / 3, abs=1e-5), "8.0"),
        ("end", 2.0, ""),
    ]
    legend, rate = soundfile.read(tmp_path / "all" / "air-legend.wav")
    middles = [pitch_track(legend[int(t * rate) : int((t + 0.5) * rate)], rate).f0 for t in (0.25, 1.05, 1.85)]
    assert cents(np.array([np.median(f) for f in middles]), np.array([110, 110 * 8**0.5, 880])).max() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"legend": True}, "stems, legend and marks are files: give the folder 'out'"),
        ({"marks": 0.0, "out": "x"}, "marks every 0 s: allowed are 0.1 s and more"),
        ({"duration": 0.0}, "duration = 0: allowed are 0.5 to 3600 s"),
        ({"duration": float("nan")}, "duration = nan: allowed are"),
        ({"instrument": "bell"}, "instrument = 'bell'; known are .*glide"),
        ({"instrument": "glyde"}, "instrument = 'glyde'; did you mean 'glide'"),
        ({"range": ("H2", "A5")}, "range.0 = 'H2'"),
        ({"range": ("A5", "A2")}, "must rise"),
        ({"shape": "log"}, "column 'series' starts at -1: shape 'log' allows values above 0; use symlog"),
        ({"shape": "cubic"}, "shape = 'cubic'"),
        ({"scale": "dorain"}, "dorain"),
        ({"columns": ["y"]}, "the data: no column 'y'"),
        ({"polarity": {"y": "negative"}}, "the data: no column 'y'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    if "out" in options:
        options = {**options, "out": tmp_path / options["out"]}
    with pytest.raises(DescantError, match=message) as caught:
        listen([-1.0, 2.0, 3.0], **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DescantError, match="cannot be made"):
        listen([1.0, 2.0], duration=0.5, out=tmp_path / "taken" / "out")


NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=8)


@given(column=NAMES.filter(lambda name: name != "*"), low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_options_as_they_are_written(column: str, low: float, width: float) -> None:
    high = low + width
    voicing = parse_voicing(
        {"range": ["C3..C6", f"{column}=200hz..1600hz"], "domain": [f"{column}={low!r}..{high!r}"], "shape": ["log"]},
        "D dorian",
    )
    assert voicing.range == {"*": ("C3", "C6"), column: ("200hz", "1600hz")}
    assert voicing.domain == {column: (low, high)}
    assert (voicing.shape, voicing.polarity, voicing.scale) == ({"*": "log"}, "positive", "D dorian")


@pytest.mark.parametrize(
    ("option", "text"), [("range", "C3"), ("range", "C3.."), ("range", "a=..C4"), ("domain", "1..x"), ("domain", "..")]
)
def test_options_that_are_none(option: str, text: str) -> None:
    with pytest.raises(ListenError, match=f"--{option} .*: write it as"):
        parse_voicing({option: [text]})


def test_a_timing_table_is_csv() -> None:
    from sonify.legend import Row

    text = timing_csv([Row(0.0, "start", "", None), Row(1 / 3, 'a "b", c', "x", -1e-9)])
    assert list(csv.reader(text.splitlines())) == [
        ["seconds", "what", "channel", "value"],
        ["0", "start", "", ""],
        ["0.333333", 'a "b", c', "x", "-1e-09"],
    ]
