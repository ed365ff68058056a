"""Keys and pedals as channels, and the clock of a video."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.keys import PHRASES, SLOTS, Keys
from pieces.signals import Event, FrameBlock, gather
from pieces.source import SourceError, check_controls
from pieces.video import Video


def start(**controls: Any) -> tuple[Keys, dict[str, Any]]:
    complete = check_controls(Keys, controls)
    return Keys(0, complete), complete


def note(midi: int, velocity: float = 0.5, tick: int = 0) -> Event:
    return Event(tick, "note", {"midi": midi, "velocity": velocity}, given=True)


def sounding(block: FrameBlock, tick: int = -1) -> dict[int, float]:
    """Note → how hard it was struck, of those that sound at a tick of a block."""
    found = zip(*(block.arrays[n][tick] for n in ("notes", "struck", "held")), strict=True)
    return {int(n): round(float(s), 3) for n, s, held in found if held}


def test_every_note_has_a_slot_of_its_own_and_keeps_it():
    keys, controls = start()
    block = keys.step(controls, [note(60), note(64, 0.7), note(67, 1.0)], 3)
    assert sounding(block, 0) == sounding(block) == {60: 0.5, 64: 0.7, 67: 1.0}
    slots = block.arrays["notes"][0]
    after = keys.step(controls, [note(64, 0.0)], 2)
    assert sounding(after) == {60: 0.5, 67: 1.0}
    np.testing.assert_array_equal(after.arrays["notes"][0], slots)
    np.testing.assert_array_equal(after.arrays["struck"], np.repeat(block.arrays["struck"][-1:], 2, axis=0))
    assert after.arrays["sounding"].tolist() == [2, 2]
    assert after.arrays["latest"].tolist() == [67, 67]
    last = keys.step(controls, [note(71)], 1)
    at = np.flatnonzero(last.arrays["notes"][0] == 71)[0]
    assert slots[at] == 60 != slots[at - 1], "the slot that was never used, before the one that still rings"


def test_where_all_slots_sound_the_oldest_gives_way():
    keys, controls = start()
    block = keys.step(controls, [note(50 + k) for k in range(SLOTS + 2)], 1)
    assert set(sounding(block)) == {50 + k for k in range(2, SLOTS + 2)}
    again = keys.step(controls, [note(52, 0.9)], 1)
    assert sounding(again)[52] == 0.9
    assert len(sounding(again)) == SLOTS


def test_the_pedal_holds_what_is_let_go():
    keys, controls = start()
    pedal = [Event(0, "pedal", {"value": v}, given=True) for v in (1.0, 0.0)]
    keys.step(controls, [pedal[0], note(60), note(64)], 1)
    assert set(sounding(keys.step(controls, [note(60, 0.0)], 1))) == {60, 64}
    assert set(sounding(keys.step(controls, [pedal[1]], 1))) == {64}


def test_the_soft_pedal_turns_the_page_once_for_each_press():
    keys, controls = start()
    values = [0.2, 0.6, 1.0, 0.7, 0.0, 1.0]
    turned = []
    for tick, value in enumerate(values):
        block = keys.step(controls, [Event(tick, "soft", {"value": value}, given=True)], 1)
        turned += [(e.tick, e.data["part"]) for e in block.events if e.kind == "next_part"]
    assert turned == [(1, 2), (5, 3)]
    assert block.arrays["part"].tolist() == [3]
    assert [e.kind for e in keys.step(controls, [Event(6, "end")], 1).events] == ["ended"]


def test_left_alone_it_plays_and_once_played_it_waits():
    keys, controls = start(every=10, turn=40)
    block = keys.step(controls, (), 170)
    assert [e.tick for e in block.events if e.kind == "next_part"] == [40, 80, 120, 160]
    for tick in range(170):
        phrase = PHRASES[tick // 40 % len(PHRASES)]
        assert set(sounding(block, tick)) == set(phrase[tick % 40 // 10 % len(phrase)])
    began = [e.data["midi"] for e in block.events if e.kind == "note" and e.data["velocity"] > 0]
    ended = [e.data["midi"] for e in block.events if e.kind == "note" and e.data["velocity"] == 0]
    assert sorted(began) == sorted([*ended, *sounding(block)])
    for first in (Event(0, "await"), note(60, 0.0)):
        other, _ = start(every=10, turn=40)
        waiting = other.step(controls, [first], 200)
        assert not waiting.events
        assert not waiting.arrays["held"].any()


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    played=st.booleans(),
    before=st.integers(1, 60),
)
def test_any_partition_and_any_snapshot_give_the_same_bits(cuts, played, before):
    events = [note(60), note(64)] if played else []
    (whole, controls), (cut, _), (other, _) = start(every=7, turn=31), start(every=7, turn=31), start(every=7, turn=31)
    one = [whole.step(controls, events, before), whole.step(controls, (), sum(cuts))]
    many = [cut.step(controls, events, before)]
    other.restore(cut.snapshot())
    cut.step(controls, (), 3)
    many += [other.step(controls, (), n) for n in cuts]
    a, b = gather(one, 50.0), gather(many, 50.0)
    assert a.events == b.events
    assert all(a.arrays[n].tobytes() == b.arrays[n].tobytes() for n in a.arrays)


@pytest.mark.parametrize("event", [Event(0, "await", {}, given=True), note(72)])
def test_what_it_plays_by_itself_ends_where_a_player_begins(event):
    keys, controls = start()
    assert sounding(keys.step(controls, (), 10)) == {PHRASES[0][0][0]: 0.7}
    block = keys.step(controls, [event], 200)
    assert sounding(block) == ({72: 0.5} if event.kind == "note" else {})
    assert [(e.data["midi"], e.data["velocity"]) for e in block.events] == [(PHRASES[0][0][0], 0.0)]


def test_what_is_none_is_refused():
    keys, controls = start()
    for event in (Event(0, "note", {"midi": 200}), Event(0, "soft", {"value": "down"})):
        with pytest.raises(SourceError, match=r"needs (midi|value)"):
            keys.step(controls, [event], 1)
    good = json.loads(keys.snapshot())
    for bad in (b"", b"{}", json.dumps({**good, "slots": good["slots"][:3]}).encode()):
        with pytest.raises(SourceError, match="not a snapshot of keys"):
            keys.restore(bad)
    with pytest.raises(SourceError, match="not a snapshot of video"):
        Video(0, {}).restore(b"1 2 3")


def test_a_video_shows_its_moments_at_its_speed():
    controls = check_controls(Video, {"step": 0.04})
    video = Video(0, controls)
    first = video.step(controls, (), 50)
    np.testing.assert_allclose(first.arrays["media_time"], np.arange(50) * 0.04)
    state = video.snapshot()
    back = video.step({**controls, "speed": -2.0}, (), 10).arrays["media_time"]
    np.testing.assert_allclose(back, 2.0 - np.arange(10) * 0.08)
    other = Video(0, controls)
    other.restore(state)
    assert other.step({**controls, "speed": -2.0}, (), 10).arrays["media_time"].tobytes() == back.tobytes()
