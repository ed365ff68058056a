"""What a source made is recalled, not made again: the same ticks, bit for bit, and the same from there on."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.archive import Archive
from pieces.signals import Channel, Event, FrameBlock, Value
from pieces.source import Source, check_controls, find_source
from studio import memory
from studio.memory import Memory
from studio.messages import Ended, Opened, Position
from studio.performance import Performance
from studio.replay import verify
from studio.session import Session
from tests.studio.test_session import Said

#: Given to the cubics: a control, a new target, a note and its end.
GIVEN = [
    Event(40, "control", {"name": "learning_rate", "value": 0.05}, given=True),
    Event(90, "new_target", {}, given=True),
    Event(130, "note", {"midi": 60, "velocity": 0.8}, given=True),
    Event(160, "note", {"midi": 60, "velocity": 0.0}, given=True),
]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is kept after every block."""
    monkeypatch.setattr(memory, "EVERY", 0.0)
    monkeypatch.setattr(memory, "STATES", 10_000)


class Count:
    """The cubics, how many ticks they were asked to compute, and their memory."""

    def __init__(self, earlier: Memory | None = None, tick: int = 0, **controls: Value) -> None:
        kind = find_source("cubics")
        self.controls = check_controls(kind, {"targets": 10_000, "noise": 0.1, **controls})
        self.source = kind(3, self.controls)
        self.computed, step = 0, self.source.step

        def counted(controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
            self.computed += n
            return step(controls, events, n)

        self.source.step = counted  # type: ignore[method-assign]
        self.memory = Memory(self.source, earlier, tick)

    def perform(
        self, given: Sequence[Event], to: int, grain: int = 7, plain: bool = False
    ) -> tuple[dict[str, np.ndarray], list[Event]]:
        """All arrays and events of a performance up to a tick."""
        performance = Performance(self.source, self.controls, to, given=given)
        performance.memory = None if plain else self.memory
        ends = [*range(grain, to, grain), to]
        blocks = [block for end in ends for block in performance.run(end)]
        names = blocks[0].arrays
        arrays = {name: np.concatenate([b.arrays[name] for b in blocks if b.ticks]) for name in names}
        return arrays, [event for block in blocks for event in block.events]


def same(a: tuple[dict[str, np.ndarray], list[Event]], b: tuple[dict[str, np.ndarray], list[Event]]) -> None:
    for name, array in a[0].items():
        assert (array == b[0][name]).all(), name
    assert a[1] == b[1]


@pytest.mark.parametrize("tick", random.Random(2).sample(range(1, 300), 6))
def test_a_branch_recalls_up_to_its_last_state_and_goes_on_as_if_all_had_been_made(often, tick):
    first = Count()
    first.perform(GIVEN, 300)
    told = [event for event in GIVEN if event.tick < tick]
    other = [Event(tick, "control", {"name": "learning_rate", "value": 0.3}, given=True)]
    branch, plain = Count(first.memory, tick), Count()
    same(
        branch.perform([*told, *other], 340, grain=random.Random(tick).randrange(3, 40)),
        plain.perform([*told, *other], 340, plain=True),
    )
    assert tick - 7 <= branch.memory.recalls <= tick
    assert (branch.computed, plain.computed) == (340 - branch.memory.recalls, 340)
    # And a branch of that branch, from before its beginning and from after it.
    for later in (tick // 2, tick + 25):
        events = [event for event in [*told, *other] if event.tick < later]
        again = Count(branch.memory, later)
        same(again.perform(events, 360), Count().perform(events, 360, plain=True))
        assert again.computed == 360 - again.memory.recalls < 360


def test_a_source_that_is_over_is_over_again(often):
    def performed(earlier: Memory | None = None, tick: int = 0) -> tuple[Count, Any]:
        count = Count(earlier, tick, targets=1, rest=20, noise=0.0, learning_rate=0.1)
        return count, count.perform([], 10_000)

    first, whole = performed()
    ticks = len(whole[0]["loss"])
    assert ticks < 10_000
    for tick in (ticks // 2, ticks - 1, ticks):
        count, found = performed(first.memory, tick)
        same(found, whole)
        assert count.computed < 10_000


def test_states_are_few_and_lie_evenly(monkeypatch):
    monkeypatch.setattr(memory.time, "perf_counter", itertools.count(0.0, 0.3).__next__)  # a step takes 0.3 s
    first = Count()
    first.perform([], 7000)
    assert 10 < len(first.memory._states) <= memory.STATES
    for tick in (1000, 4000, 7000):  # of 300 s one computes again 30 at most
        assert tick - 700 < Count(first.memory, tick).memory.recalls <= tick


def test_what_is_too_much_is_not_remembered(often, monkeypatch):
    monkeypatch.setattr(memory, "LARGEST", 100_000)
    first = Count()
    first.perform([], 2000)
    again = Count(first.memory, 2000)
    assert 0 < again.memory.recalls < 1000
    same(again.perform([], 1200), Count().perform([], 1200, plain=True))


class Bare(Source):
    """Keeps no states, or says that it does and fails."""

    name, about = "bare", "Counts."
    channels = (Channel("x", "its tick"),)
    tick = 0

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        self.tick += n
        return FrameBlock(self.tick - n, {"x": np.arange(self.tick - n, self.tick, dtype=np.float32)})


class Failing(Bare):
    def snapshot(self) -> bytes:
        raise RuntimeError("not today")


class Changed(Bare):
    """Its states are of no use any more."""

    def snapshot(self) -> bytes:
        return b"state"

    def restore(self, state: bytes) -> None:
        raise RuntimeError("another file")


@pytest.mark.parametrize("kind", [Bare, Failing, Changed])
def test_a_source_without_states_is_made_again(often, kind):
    earlier = None
    for _ in range(2):
        performance = Performance(kind(1, {}), {}, 100)
        performance.memory = earlier = Memory(performance.source, earlier, 80)
        assert earlier.recalls == 0
        assert np.concatenate([block.arrays["x"] for block in performance]).tolist() == list(range(100))


def test_another_class_recalls_nothing(often):
    """A user's own source that was written anew has the same name, and is another."""
    first = Count()
    first.perform([], 100)
    other = type("Cubics", (find_source("cubics"),), {})
    assert Memory(other(3, first.controls), first.memory, 80).recalls == 0


TRAINING = """
title = "Training"

[metre]
tempo = 60

[parts.fit]
source = "digits"
rate = 20
controls = { steps_per_tick = STEPS, batch_size = 256 }

[[sections]]
name = "all"
bars = 100

[score]
purpose = "music"

[score.voices.tone]
instrument = "glide"
lanes = { pitch = { channel = "loss", range = [200, 800] } }
"""


def steps_within(seconds: float) -> int:
    """How many steps of that training this machine makes in a time."""
    digits = find_source("digits")
    controls = check_controls(digits, {"steps_per_tick": 4, "batch_size": 256})
    source = digits(0, controls)
    source.step(controls, [], 2)
    took = source.step(controls, [], 8).arrays["step_time"]
    return int(min(max(4 * seconds / np.median(took), 1), 64))


def test_a_branch_in_the_studio_does_not_train_again_what_was_trained(home: Path, tmp_path: Path) -> None:
    """The time that each step took is measured anew wherever it is made: where it is the same, it was recalled."""
    (tmp_path / "training.toml").write_text(TRAINING.replace("STEPS", str(steps_within(0.04))))
    said = Said()
    session = Session(said, backend=None)
    session.open(str(tmp_path / "training.toml"))
    said.wait(Opened)
    session.play()
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= 4, seconds=90)
    at = len(said.all)
    session.branch(3.5)
    said.wait(Opened, since=at, seconds=90)
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= 4.5, since=said.at, seconds=90)
    at = len(said.all)
    session.stop()
    said.wait(Ended, since=at)
    session.close()
    with Archive.open(home / "archive.db") as archive:
        branch, first = (archive.take(row.id) for row in archive.takes())
        assert branch.parents[0][:2] == (first.id, 70)
        took = [archive.frames(take.id, ["step_time"]).arrays["step_time"] for take in (first, branch)]
        # A state is kept after every second of computing, so all but the last seconds of it are recalled.
        settled = took[0][:70].cumsum() < took[0][:70].sum() - 1.5 * memory.EVERY
        assert settled.sum() >= 5
        assert (took[0][:70] == took[1][:70])[settled].all()
        assert len(took[1]) > 80
        assert verify(archive, branch.id).identical
