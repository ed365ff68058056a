"""The performance loop: two clocks, one recording; whatever is not finite becomes an event."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.errors import ControlError
from pieces.signals import Channel, Control, Event, FrameBlock, SignalsHash, Value
from pieces.source import Source
from studio.performance import Finite, Performance, RealTimeClock, VirtualClock


class Counter(Source):
    """Counts in steps of a control; every event it is given is counted too."""

    name = "counter"
    about = "Counts."
    channels = (Channel("count", "the sum so far", range=(0, 1000), dtype="float64"), Channel("notes", "notes so far"))
    controls: ClassVar[tuple[Control, ...]] = (
        Control("by", "what is added each tick", 1.0, (0.0, 10.0)),
        Control("size", "read once", 3, (1, 9), live=False),
    )
    listens: ClassVar[Mapping[str, str]] = {"note": "counted"}

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self.tick, self.count, self.notes, self.last = 0, 0.0, 0, 10_000

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        n = min(n, self.last - self.tick)
        self.notes += len(events)
        rows = np.add.accumulate([self.count, *[float(controls["by"])] * n])[1:]
        self.count = float(rows[-1]) if n else self.count
        block = FrameBlock(self.tick, {"count": rows, "notes": np.full(n, self.notes, dtype="float32")})
        self.tick += n
        return block


def counter() -> Counter:
    return Counter(0, {})


def run(performance: Performance) -> tuple[np.ndarray[Any, Any], list[Event], str]:
    hashed = SignalsHash(performance.source.channels)
    rows, events = [], []
    for block in performance:
        hashed.update(block)
        rows.append(block.arrays["count"])
        events.extend(block.events)
    return np.concatenate(rows), events, hashed.hexdigest()


class Steps:
    """A clock with block sizes from a list: any way of cutting a performance."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes, self.i = sizes, 0

    def due(self, tick: int) -> int:
        self.i += 1
        return self.sizes[self.i % len(self.sizes)]

    def hold(self) -> None:
        raise AssertionError("nobody paused")


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=8),
    changes=st.lists(st.tuples(st.integers(0, 199), st.floats(0, 10)), max_size=6),
    notes=st.lists(st.integers(0, 199), max_size=6),
)
def test_blocks_are_cut_at_given_events_and_cutting_changes_nothing(sizes, changes, notes):
    script = [Event(t, "control", {"name": "by", "value": v}, True) for t, v in changes]
    script += [Event(t, "note", {}, True) for t in notes]
    expected = run(Performance(counter(), {}, 200, given=script))
    found = run(Performance(counter(), {}, 200, clock=Steps(sizes), given=script))
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[2] == expected[2]
    by = 1.0
    count = 0.0
    changed = dict(sorted(changes, key=lambda c: c[0]))
    for tick in range(200):
        by = changed.get(tick, by)
        count += by
        assert found[0][tick] == pytest.approx(count, rel=1e-9, abs=1e-6)


def test_changes_made_while_it_runs_are_recorded_and_replay_to_the_same_hash():
    performance = Performance(counter(), {"by": 2.0}, 500, clock=Steps([7]))
    hashed, events = SignalsHash(performance.source.channels), []
    for i, block in enumerate(performance):
        hashed.update(block)
        events.extend(block.events)
        if i == 3:
            performance.set("by", 5)
            performance.send("note", {"midi": 60})
    assert [e.kind for e in events] == ["control", "note"]
    assert {e.tick for e in events} == {28}
    assert all(e.given for e in events)
    again = run(Performance(counter(), {"by": 2.0}, 500, given=events))
    assert again[2] == hashed.hexdigest()
    without = run(Performance(counter(), {"by": 2.0}, 500))
    assert without[2] != hashed.hexdigest()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("by", 11, "by = 11: allowed are numbers from 0 to 10"),
        ("by", float("nan"), "allowed are numbers from 0 to 10"),
        ("bye", 1, "did you mean 'by'"),
        ("size", 4, "read once"),
    ],
)
def test_a_control_out_of_range_is_refused_and_nothing_changes(name, value, said):
    performance = Performance(counter(), {}, 100)
    with pytest.raises(ControlError, match=said):
        performance.set(name, value)
    assert run(performance)[0][-1] == 100


def test_an_event_the_source_does_not_know_is_refused():
    with pytest.raises(ControlError, match="did you mean 'note'"):
        Performance(counter(), {}, 10).send("notes")


def test_a_source_that_is_over_ends_the_performance():
    source = counter()
    source.last = 130
    assert len(run(Performance(source, {}, 1000))[0]) == 130


def test_pause_holds_and_stop_ends():
    performance = Performance(counter(), {}, 10_000, clock=VirtualClock())
    blocks = iter(performance)
    next(blocks)
    performance.pause()
    at = performance.tick
    went_on = threading.Timer(0.05, performance.go_on)
    went_on.start()
    block = next(blocks)
    assert not went_on.is_alive() or performance._running.is_set()
    assert block.first_tick == at
    performance.stop()
    assert list(blocks) == []


class Time:
    """Seconds that pass only when somebody sleeps, or when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def test_real_time_gives_one_tick_a_period_and_holds_late_ticks_back():
    time = Time()
    clock = RealTimeClock(50.0, time, time.sleep)
    made = []
    for tick in range(10):
        assert clock.due(tick) == 1
        made.append(time.now)
    np.testing.assert_allclose(np.diff(made), 0.02, atol=1e-9)
    time.now += 1.0
    late = time.now
    after = []
    for tick in range(10, 15):
        clock.due(tick)
        after.append(time.now - late)
    np.testing.assert_allclose(after, np.arange(5) * 0.02, atol=1e-9)


def test_live_and_offline_give_the_same_signals():
    time = Time()
    live = run(Performance(counter(), {}, 90, clock=RealTimeClock(100.0, time, time.sleep)))
    assert live[2] == run(Performance(counter(), {}, 90))[2]


def test_a_slow_source_gets_smaller_blocks():
    time = Time()
    clock = VirtualClock(time)
    sizes = []
    for _ in range(12):
        n = clock.due(0)
        sizes.append(n)
        time.now += n * 0.05
    assert sizes[-1] * 0.05 <= 0.45
    assert sizes[-1] >= 1


CHANNELS = (Channel("x", "any number", range=(-1, 1)), Channel("w", "a pair", shape=(2,)))
wild = st.one_of(st.floats(width=32, allow_nan=True, allow_infinity=True))


@settings(deadline=None)
@given(values=st.lists(wild, min_size=1, max_size=40), cuts=st.lists(st.integers(1, 10), min_size=1, max_size=5))
def test_nothing_that_is_not_finite_passes_and_spans_are_marked(values, cuts):
    x = np.array(values, dtype="float32")
    w = np.stack([x, np.zeros_like(x)], axis=1)
    finite = Finite(CHANNELS)
    out, events, tick, i = [], [], 0, 0
    while tick < len(x):
        n = min(cuts[i % len(cuts)], len(x) - tick)
        block = finite(FrameBlock(tick, {"x": x[tick : tick + n], "w": w[tick : tick + n]}))
        assert all(np.isfinite(a).all() for a in block.arrays.values())
        out.append(block.arrays["x"])
        events += [e for e in block.events if e.data["channel"] == "x"]
        tick, i = tick + n, i + 1
    found = np.concatenate(out)
    good = np.isfinite(x)
    np.testing.assert_array_equal(found[good], x[good])
    last = np.float32(0)
    for k in range(len(x)):
        last = x[k] if good[k] else last
        assert found[k] == last
    padded = np.concatenate([[True], good])
    lost = [k for k in range(len(x)) if padded[k] and not good[k]]
    back = [k for k in range(len(x)) if not padded[k] and good[k]]
    assert [e.tick for e in events if e.kind == "diverged"] == lost
    assert [e.tick for e in events if e.kind == "recovered"] == back
