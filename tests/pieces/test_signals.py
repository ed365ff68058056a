"""The vocabulary: what is refused, and that events and blocks survive being written and joined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pieces.errors import ControlError
from pieces.signals import Channel, Control, Event, FrameBlock, Frames, gather

RATE = Control("rate", "a rate", 0.5, (0.1, 2.0), unit="Hz")
COUNT = Control("count", "a count", 3, (1, 8))
KIND = Control("kind", "a choice", "sgd", choices=("sgd", "adam"))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=st.floats(0.1, 2.0))
def test_control_passes_what_is_in_range(value: float) -> None:
    assert RATE.check(value) == value
    assert RATE.check(str(value)) == value


@given(value=st.floats(allow_nan=True, allow_infinity=True).filter(lambda v: not 0.1 <= v <= 2.0))
def test_control_refuses_what_is_not(value: float) -> None:
    with pytest.raises(ControlError, match=r"rate = .*: allowed are numbers from 0\.1 to 2 Hz"):
        RATE.check(value)


@pytest.mark.parametrize("value", [0, 9, 2.5, "many", None, float("nan")])
def test_whole_control(value: object) -> None:
    with pytest.raises(ControlError, match=r"count = .*: allowed are whole numbers from 1 to 8"):
        COUNT.check(value)


def test_controls_keep_their_type() -> None:
    assert isinstance(COUNT.check(3.0), int)
    assert isinstance(RATE.check(1), float)
    assert KIND.check("adam") == "adam"
    with pytest.raises(ControlError, match="kind = 'lion': allowed are sgd, adam"):
        KIND.check("lion")


def test_channels_are_sound() -> None:
    for name, span, dtype, error in (
        ("a b", (0, 1), "float32", ValueError),
        ("x", (1, 1), "float32", ValueError),
        ("x", (0, float("nan")), "float32", ValueError),
        ("x", (0, 1), "float33", TypeError),
    ):
        with pytest.raises(error):
            Channel(name, "a channel", range=span, dtype=dtype)


@given(tick=st.integers(0, 2**53), kind=st.text(), data=st.dictionaries(st.text(), json_values), given_=st.booleans())
def test_event_round_trip(tick: int, kind: str, data: dict[str, object], given_: bool) -> None:
    event = Event(tick, kind, data, given_)
    assert Event.from_json(event.to_json()) == event
    assert Event.from_json(event.to_json()).to_json() == event.to_json()


def test_event_json_is_canonical_and_finite() -> None:
    assert Event(1, "note", {"b": 1, "a": 2}).to_json() == Event(1, "note", {"a": 2, "b": 1}).to_json()
    with pytest.raises(ValueError, match="JSON"):
        Event(1, "loss", {"value": float("nan")}).to_json()


@given(cuts=st.lists(st.integers(0, 30), max_size=5))
def test_gather_undoes_any_partition(cuts: list[int]) -> None:
    whole = np.arange(30, dtype=np.float32)
    edges = sorted({0, 30, *cuts})
    blocks = [
        FrameBlock(a, {"x": whole[a:b], "y": np.stack([whole[a:b]] * 2, 1)}, (Event(a, "cut"),))
        for a, b in itertools.pairwise(edges)
    ]
    frames = gather(blocks, rate=10.0)
    np.testing.assert_array_equal(frames.arrays["x"], whole)
    assert frames.arrays["y"].shape == (30, 2)
    assert (frames.ticks, frames.duration) == (30, 3.0)
    assert [e.tick for e in frames.of_kind("cut")] == edges[:-1]
    assert set(gather(blocks, 10.0, ["y"]).arrays) == {"y"}


def test_gather_notices_a_gap() -> None:
    block = FrameBlock(0, {"x": np.zeros(4)})
    with pytest.raises(ValueError, match="starts at tick 5, expected 4"):
        gather([block, FrameBlock(5, {"x": np.zeros(4)})], 1.0)


def test_blocks_are_rectangular() -> None:
    with pytest.raises(ValueError, match=r"differ in length: \[3, 4\]"):
        FrameBlock(0, {"x": np.zeros(3), "y": np.zeros(4)})
    block = FrameBlock(7, {"x": np.zeros((3, 2))})
    assert (block.ticks, block.end_tick) == (3, 10)
    assert FrameBlock(7, {}).ticks == 0


def test_frames_of_kind() -> None:
    events = (Event(0, "a"), Event(1, "b"), Event(2, "a"))
    assert [e.tick for e in Frames({}, events, 1.0, 3).of_kind("a")] == [0, 2]
