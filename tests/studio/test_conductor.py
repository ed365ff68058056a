"""The conductor: parts go on together, sections change their controls, and whatever was performed is found again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.arrange import recorded_form
from pieces.errors import DescantError
from pieces.form import Stretch
from pieces.piece import Piece, parse_piece
from pieces.signals import Channel, Control, Event, FrameBlock, Frames, SignalsHash, Value, gather
from pieces.source import Source
from studio.conductor import Conductor
from studio.performance import Performance


class Wander(Source):
    """A random walk that now and then announces that it is done, and is over after `length` ticks."""

    name = "wander"
    about = "Walks."
    channels = (
        Channel("x", "where it is", range=(0, 10), dtype="float64"),
        Channel("step", "the control as it is used", range=(0, 10), dtype="float64"),
        Channel("count", "the whole control", range=(0, 10), dtype="float64"),
        Channel("notes", "notes so far", range=(0, 10), dtype="float64"),
    )
    controls: ClassVar[tuple[Control, ...]] = (
        Control("step", "size of a step", 1.0, (0.1, 10.0), shape="log"),
        Control("count", "whole", 3, (1, 9)),
        Control("way", "where to", "up", choices=("up", "down")),
    )
    listens: ClassVar[Mapping[str, str]] = {"note": "counted"}
    emits: ClassVar[Mapping[str, str]] = {"done": "now and then", "end": "after the last tick"}
    chance = 0.02

    def __init__(self, seed: int, controls: Mapping[str, Value] | None = None, length: int = 10_000) -> None:
        super().__init__(seed, controls or {})
        self.random = np.random.default_rng(seed)
        self.tick, self.x, self.notes, self.length = 0, 5.0, 0, length

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        self.notes += len(events)
        n = min(n, self.length - self.tick)
        rows, happened = np.empty((n, 4)), []
        for row in rows:
            jump, lot = self.random.random(2)
            way = 1 if controls["way"] == "up" else -1
            self.x = (self.x + way * jump * float(controls["step"])) % 10
            row[:] = self.x, float(controls["step"]), float(controls["count"]), self.notes
            if lot < self.chance:
                happened.append(Event(self.tick, "done", {"x": self.x}))
            self.tick += 1
        if self.tick == self.length and n:
            happened.append(Event(self.tick, "end"))
        return FrameBlock(self.tick - n, {c.name: rows[:, i] for i, c in enumerate(self.channels)}, tuple(happened))


class Cut:
    """A clock with block sizes from a list: any way of cutting a performance."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes, self.i = sizes, 0

    def due(self, tick: int) -> int:
        self.i += 1
        return self.sizes[self.i % len(self.sizes)]

    def hold(self) -> None:
        raise AssertionError("nobody paused")


@dataclass
class Stage:
    """Real time without its waiting: notes what it is told, and plays what `plays` says before the n-th stretch."""

    grain: float
    plays: Mapping[int, Sequence[tuple[str, str, Any]]] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)

    def wait(self, stretch: Stretch, performances: Mapping[str, Performance]) -> None:
        for part, what, value in self.plays.get(len(self.stretches), ()):
            performance = performances[part]
            performance.send("note", {"midi": value}) if what == "note" else performance.set(what, value)
        self.stretches.append(stretch)

    def hear(self, part: str, block: FrameBlock) -> None:
        assert block.ticks


def piece(parts: Mapping[str, Any], *sections: Mapping[str, Any], **more: Any) -> Piece:
    written = {n: {"source": n, **(p if isinstance(p, dict) else {"per_beat": p})} for n, p in parts.items()}
    return parse_piece({"title": "T", "parts": written, "sections": sections, **more}, "my.toml")


def conductor(
    what: Piece,
    lengths: Mapping[str, int] | None = None,
    stage: Stage | None = None,
    given: Mapping[str, Iterable[Event]] | None = None,
    sizes: Sequence[int] = (64,),
) -> Conductor:
    performances = {
        name: Performance(
            Wander(seed, length=(lengths or {}).get(name, 10_000)),
            part.controls,
            part.ticks,
            clock=Cut(sizes),
            given=(given or {}).get(name, ()),
        )
        for seed, (name, part) in enumerate(what.parts.items())
    }
    return Conductor(what, performances, stage)


def performed(what: Piece, *args: Any, **more: Any) -> dict[str, Frames]:
    """Every part as it would be recorded."""
    blocks: dict[str, list[FrameBlock]] = {part: [] for part in what.parts}
    for part, block in conductor(what, *args, **more):
        blocks[part].append(block)
    empty = {c.name: np.empty(0) for c in Wander.channels}
    return {p: gather([FrameBlock(0, empty), *found], what.rate(p)) for p, found in blocks.items()}


def hashed(recorded: Mapping[str, Frames]) -> dict[str, str]:
    """Every part's signals and events, to the last bit."""
    found = {}
    for part, frames in recorded.items():
        digest = SignalsHash(Wander.channels)
        digest.update(FrameBlock(0, frames.arrays, frames.events))
        found[part] = digest.hexdigest()
    return found


changes = st.fixed_dictionaries(
    {},
    optional={
        "a.step": st.floats(0.1, 10) | st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
        "a.count": st.integers(1, 9) | st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "a.way": st.sampled_from(["up", "down"]),
        "b.step": st.just({"channel": "a.x", "domain": (1.0, 9.0), "range": (0.1, 10.0), "shape": "log"}),
        "b.count": st.just({"channel": "a.step", "domain": (0.0, 10.0), "range": (9, 1)}),
    },
)


@st.composite
def composed(draw: st.DrawFn) -> tuple[Piece, dict[str, int]]:
    """A piece of two parts, slow or fast, and how many ticks their sources last."""
    parts = {
        name: {
            draw(st.sampled_from(["rate", "per_beat"])): draw(st.floats(0.15, 12)),
            "ticks": draw(st.integers(1, 300)),
        }
        for name in ("a", "b")
    }
    sections = []
    for number in range(draw(st.integers(1, 4))):
        active = draw(st.sampled_from([["a", "b"], ["a", "b"], ["a"]]))
        controls = {k: v for k, v in draw(changes).items() if k[0] in active}
        section = {"name": str(number), "parts": active, "bars": draw(st.sampled_from([0.5, 1, 2.3, 4, 9]))}
        if draw(st.booleans()):
            section["until"] = draw(st.sampled_from(["a.done", "a.end"]))
            section["quantise"] = draw(st.sampled_from(["bar", "beat"]))
        elif draw(st.booleans()):
            section["tempo"] = draw(st.floats(30, 200) | st.tuples(st.floats(30, 200), st.floats(30, 200)))
        elif not any(isinstance(v, tuple) for v in controls.values()) and draw(st.booleans()):
            del section["bars"]
        sections.append({**section, "controls": controls})
    lengths = {name: draw(st.integers(1, 200) | st.just(10_000)) for name in parts}
    return piece(parts, *sections, metre={"beats": draw(st.sampled_from([3, 4]))}), lengths


blocks = st.lists(st.integers(1, 70), min_size=1, max_size=4)
plays = st.dictionaries(
    st.integers(0, 60),
    st.lists(
        st.tuples(st.sampled_from("ab"), st.just("note"), st.integers(0, 127))
        | st.tuples(st.sampled_from("ab"), st.just("step"), st.floats(0.1, 10)),
        max_size=3,
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(composed(), st.sampled_from([0.25, 0.25, 0.1, 1 / 3, 1.0, 50.0]), blocks, blocks, plays)
def test_whatever_was_performed_is_found_again(made, grain, sizes, other, played):
    """However it was cut, live or not: the recording leads to the form of the performance, and so does a replay."""
    what, lengths = made
    stage = Stage(grain, played)
    live = performed(what, lengths, stage, sizes=sizes)
    given = {part: [e for e in frames.events if e.given] for part, frames in live.items()}
    assert hashed(performed(what, lengths, given=given, sizes=other)) == hashed(live)
    form = recorded_form(what, live)
    begun = [s for s in stage.stretches if s.first]
    assert [s.section for s in begun] == [s.section for s in form.spans]
    assert [(s.beat, s.seconds) for s in begun] == [(s.beats[0], s.seconds[0]) for s in form.spans]
    assert {p: max(s.ticks.get(p, (0, 0))[1] for s in form.spans) for p in what.parts} == {
        p: frames.ticks for p, frames in live.items()
    }


@settings(max_examples=30)
@given(composed(), blocks)
def test_nothing_depends_on_the_grain_or_on_blocks(made, sizes):
    what, lengths = made
    expected = hashed(performed(what, lengths, sizes=[256]))
    for grain in (0.25, 0.1, 1 / 3, 2.0):
        assert hashed(performed(what, lengths, Stage(grain), sizes=sizes)) == expected


@settings(max_examples=30)
@given(st.integers(1, 300), st.floats(0.7, 3000), st.integers(1, 400), st.sampled_from([0.25, 3.0]))
def test_one_part_without_sections_lasts_its_ticks_over_its_rate(ticks, rate, length, grain):
    what = piece({"a": {"rate": rate, "ticks": ticks}})
    recorded = performed(what, {"a": length}, Stage(grain) if rate < 100 else None)
    assert recorded["a"].ticks == min(ticks, length)
    assert recorded_form(what, recorded).spans[0].seconds == (0.0, recorded["a"].duration)


def test_a_ramp_reaches_its_ends_in_equal_ratios_where_the_control_is_one_of_ratios():
    what = piece(
        {"a": 16},
        {"name": "x", "bars": 2, "controls": {"a.step": [0.1, 10.0], "a.count": [1, 9]}},
        {"name": "y", "bars": 1},
    )
    frames = performed(what)["a"]
    step, count = frames.arrays["step"], frames.arrays["count"]
    values = step[:128:4]  # a value lasts a quarter of a beat
    assert (np.diff(step[:128].reshape(32, 4), axis=1) == 0).all()
    assert values[0] == 0.1
    assert values[-1] == 10.0
    np.testing.assert_allclose(values[1:] / values[:-1], 100 ** (1 / 31), rtol=1e-9)
    assert (step[128:] == 10).all()  # and there it stays
    assert sorted(set(count)) == list(range(1, 10))
    assert (np.diff(count) >= 0).all()
    turns = frames.of_kind("control")
    assert not any(e.given for e in turns)
    assert len(turns) == 32 + 9  # written down where it turns, and only there


def test_a_ramp_of_a_slow_part_reaches_its_end_too():
    what = piece({"a": "1/3"}, {"name": "x", "bars": 3, "controls": {"a.step": [1.0, 10.0]}}, {"name": "y", "bars": 3})
    step = performed(what)["a"].arrays["step"]
    np.testing.assert_allclose(step[:4], 10.0 ** (np.array([0, 12, 24, 36]) / 47))
    assert (step[4:] == 10.0).all()


def test_a_value_is_set_at_the_first_tick_that_a_part_makes_in_a_section():
    """A slow part may make it long after the section has begun."""
    what = piece(
        {"a": "2/5", "b": 8},
        {"name": "x", "bars": 1},
        {"name": "y", "bars": 2, "controls": {"a.way": "down", "a.count": 7, "b.step": [1.0, 2.0]}},
    )
    for stage in (None, Stage(0.25)):
        frames = performed(what, stage=stage)["a"]
        assert frames.arrays["count"].tolist() == [3, 3, 7, 7, 7]
        assert [(e.tick, e.data["name"]) for e in frames.of_kind("control")] == [(2, "way"), (2, "count")]


def test_what_follows_a_channel_knows_its_past_alone():
    """Each quarter of a beat the follower takes the leader's last value before it, whatever the order of the parts."""
    rule = {"channel": "a.x", "domain": [0, 10], "range": [1, 5]}
    for parts in ({"a": 5, "b": 8}, {"b": 8, "a": 5}):
        what = piece(parts, {"name": "x", "bars": 6, "controls": {"b.step": rule}})
        recorded = performed(what)
        x, step = recorded["a"].arrays["x"], recorded["b"].arrays["step"]
        for tick in range(len(step)):
            before = int(np.ceil(tick // 2 * 0.25 * 5))  # the leader's ticks that were made when this quarter began
            assert step[tick] == pytest.approx(1 + 0.4 * x[before - 1] if before else 1.0)
        assert len(set(step)) > 20


def test_a_follower_holds_while_its_leader_pauses():
    rule = {"channel": "a.x", "domain": [0, 10], "range": [0.1, 10]}
    alone = {"name": "y", "bars": 2, "parts": ["b"], "controls": {"b.step": rule}}
    recorded = performed(piece({"a": 4, "b": 4}, {"name": "x", "bars": 1}, alone))
    expected = 0.1 + 0.99 * recorded["a"].arrays["x"][15]
    np.testing.assert_allclose(recorded["b"].arrays["step"], [1.0] * 16 + [expected] * 32)


def test_who_plays_turns_a_control_until_the_section_does():
    what = piece({"a": 4}, {"name": "x", "bars": 2}, {"name": "y", "bars": 1, "controls": {"a.step": 7}})
    frames = performed(what, stage=Stage(0.25, {4: [("a", "step", 2.0)], 32: [("a", "step", 3.0)]}))["a"]
    assert frames.arrays["step"].tolist() == [1.0] * 4 + [2.0] * 28 + [7.0] * 16
    assert [(e.tick, e.data["value"], e.given) for e in frames.of_kind("control")] == [
        (4, 2.0, True), (32, 3.0, True), (32, 7, False)
    ]  # fmt: skip


def test_a_performance_that_is_stopped_is_as_long_as_it_was():
    what = piece({"a": {"rate": 20, "ticks": 400}, "b": {"rate": 5, "ticks": 400}})
    leading = conductor(what, stage=Stage(0.25))
    blocks: dict[str, list[FrameBlock]] = {"a": [], "b": []}
    for part, block in leading:
        blocks[part].append(block)
        if part == "a" and block.end_tick == 100:
            for performance in leading.performances.values():
                performance.stop()
    recorded = {p: gather(found, what.rate(p)) for p, found in blocks.items()}
    assert {p: f.ticks for p, f in recorded.items()} == {"a": 100, "b": 24}
    assert recorded_form(what, recorded).spans[0].seconds == (0.0, 5.0)


def test_a_performance_may_be_left_at_any_block():
    """What was recorded until then is arranged as far as it goes."""
    what = piece({"a": 8, "b": 4}, {"name": "x", "bars": 4}, {"name": "y", "bars": 4, "parts": ["b"]})
    seen: dict[str, list[FrameBlock]] = {"a": [], "b": []}
    for part, block in conductor(what, stage=Stage(1.0)):
        seen[part].append(block)
        if block.end_tick == 32 and part == "b":
            break
    recorded = {p: gather(found, what.rate(p)) for p, found in seen.items()}
    form = recorded_form(what, recorded)
    assert [s.ticks for s in form.spans] == [{"a": (0, 64), "b": (0, 32)}, {"b": (32, 32)}]


def test_a_source_that_fails_is_named_in_one_line():
    class Broken(Wander):
        name = "broken"

        def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
            if self.tick >= 64:
                raise ZeroDivisionError("float division by zero")
            return super().step(controls, events, n)

    what = piece({"a": 64}, {"name": "x", "bars": 1})
    with pytest.raises(DescantError, match="broken failed at tick 64: ZeroDivisionError: float division by zero"):
        list(Conductor(what, {"a": Performance(Broken(0), {}, 1000, clock=Cut([64]))}))
