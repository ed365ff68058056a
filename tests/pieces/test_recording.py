"""A recording as a source: the same ticks and events, however they are asked for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pieces.errors import DescantError
from pieces.recording import Recording
from pieces.signals import Channel, Event, FrameBlock, SignalsHash
from pieces.source import SourceError, find_source
from pieces.stream import StreamWriter

CHANNELS = (
    Channel("loss", "a number", "nats", (0, 10), dtype="float32"),
    Channel("x0", "an array", shape=(2, 3), dtype="float64"),
    Channel("ms", "what differs", "ms", dtype="float64", reproducible=False),
)
TICKS = 100
EVENTS = (
    Event(0, "new_target", {"target": 1}),
    Event(7, "note", {"midi": 60}, given=True),
    Event(7, "converged", {"steps": 3}),
    Event(50, "control", {"name": "rate", "value": 2.0}, given=True),
    Event(51, "control", {"name": "rate", "value": 3.0}),
    Event(60, "diverged", {"channel": "loss", "value": "nan"}),
    Event(100, "end"),
)


def arrays(ticks: int = TICKS) -> dict[str, Any]:
    random = np.random.default_rng(7)
    return {c.name: random.standard_normal((ticks, *c.shape)).astype(c.dtype) for c in CHANNELS}


def stream(path: Path, cuts: list[int] | None = None) -> Path:
    """A stream on disk, cut into blocks."""
    whole, edges = arrays(), [0, *(cuts or [40, 64]), TICKS]
    with path.open("wb") as file:
        writer = StreamWriter(file, CHANNELS)
        for a, b in pairwise(edges):
            happened = tuple(e for e in EVENTS if a <= e.tick < b or e.tick == b == TICKS)
            writer.write(FrameBlock(a, {n: v[a:b] for n, v in whole.items()}, happened))
    return path


def recording(path: Path) -> Recording:
    return Recording(0, {}, {"take": str(path)})


def played(source: Recording, sizes: list[int]) -> tuple[dict[str, Any], list[Event], str]:
    """Everything it emits until it is over, asked for in blocks of these sizes."""
    blocks, digest, i = [], SignalsHash(source.channels), 0
    while True:
        n = sizes[i % len(sizes)]
        i += 1
        blocks.append(source.step({}, [], n))
        digest.update(blocks[-1])
        if blocks[-1].ticks < n:
            break
    after = source.step({}, [], 5)
    assert (after.first_tick, after.ticks, after.events) == (TICKS, 0, ())  # over, and nothing is said twice
    joined = {c.name: np.concatenate([b.arrays[c.name] for b in blocks]) for c in source.channels}
    return joined, [e for b in blocks for e in b.events], digest.hexdigest()


def test_it_is_a_source_like_any_other(tmp_path):
    assert find_source("recording") is Recording
    source = recording(stream(tmp_path / "a.stream"))
    assert source.channels == CHANNELS


def test_what_was_recorded_is_played_but_not_what_was_given(tmp_path):
    found, events, _ = played(recording(stream(tmp_path / "a.stream")), [33])
    for name, expected in arrays().items():
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype
    assert events == [e for e in EVENTS if not e.given]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 120), min_size=1, max_size=6),
    st.lists(st.integers(1, TICKS - 1), max_size=5, unique=True).map(sorted),
)
def test_neither_blocks_asked_for_nor_blocks_recorded_matter(tmp_path, sizes, cuts):
    _, events, digest = played(recording(stream(tmp_path / "a.stream", cuts)), sizes)
    assert events == [e for e in EVENTS if not e.given]
    assert digest == played(recording(stream(tmp_path / "b.stream")), [64])[2]


@pytest.mark.parametrize("tick", [0, 13, 99, 100])
def test_a_snapshot_is_a_place_to_go_on_from(tmp_path, tick):
    path = stream(tmp_path / "a.stream")
    source = recording(path)
    if tick:
        source.step({}, [], tick)
    state = source.snapshot()
    rest = source.step({}, [], 30)
    source.step({}, [], 11)
    other = recording(path)
    for one in (source, other):
        one.restore(state)
        again = one.step({}, [], 30)
        assert again.first_tick == rest.first_tick == tick
        assert again.events == rest.events
        for name, array in rest.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)


@pytest.mark.parametrize("state", [b"", b"101", b"-1", b"garbage", b"1.5"])
def test_what_is_no_snapshot_is_refused(tmp_path, state):
    with pytest.raises(SourceError, match="not a snapshot of a recording of 100 ticks"):
        recording(stream(tmp_path / "a.stream")).restore(state)


@pytest.mark.parametrize("lost", [1, 5, 300])
def test_a_torn_stream_is_played_as_far_as_it_goes(tmp_path, lost):
    """Whole blocks count, as everywhere."""
    path = stream(tmp_path / "a.stream", [30, 60, 90])
    path.write_bytes(path.read_bytes()[:-lost])
    source = recording(path)
    block = source.step({}, [], 1000)
    assert block.ticks == 90
    np.testing.assert_array_equal(block.arrays["loss"], arrays()["loss"][:90])
    assert [e.kind for e in block.events] == ["new_target", "converged", "control", "diverged"]


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", b"DSCNT1\n", b"DSCNT1\nB\0\0"])
def test_what_is_no_stream_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "a.stream"
    path.write_bytes(content)
    with pytest.raises(DescantError, match="Descant stream") as caught:
        recording(path)
    assert "\n" not in str(caught.value)


def test_a_stream_that_begins_late_is_refused(tmp_path):
    path = tmp_path / "a.stream"
    with path.open("wb") as file:
        StreamWriter(file, CHANNELS).write(FrameBlock(10, arrays(5)))
    with pytest.raises(SourceError, match="ticks are missing: block starts at tick 10, expected 0"):
        recording(path)


def test_without_a_take(tmp_path):
    with pytest.raises(SourceError, match="recording has no take: give its input 'take' a take's id"):
        Recording(0, {})
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        recording(tmp_path / "nothing")


def test_an_empty_take_is_over_at_once(tmp_path):
    path = tmp_path / "a.stream"
    with path.open("wb") as file:
        StreamWriter(file, CHANNELS)
    block = recording(path).step({}, [], 10)
    assert block.ticks == 0
    assert block.arrays["x0"].shape == (0, 2, 3)
