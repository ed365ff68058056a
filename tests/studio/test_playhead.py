"""The playhead: places and times, without waiting for any."""

from __future__ import annotations

import numpy as np
import pytest

from pieces.errors import DescantError
from pieces.piece import parse_piece
from pieces.signals import Frames
from pieces.source import find_source
from pieces.unfold import Unfolding
from studio.playhead import FADE, LATE, Playhead, Timeline
from tests.performing import piece
from tests.unfolding import unfolded


def recorded(beats: float) -> Unfolding:
    """An unfolding that has come so far, of one that goes on; a beat is half a second."""
    what = parse_piece(piece(), "test")
    channels = {"fit": find_source("cubics").channels}
    arrays = {c.name: np.zeros((9000, *c.shape), c.dtype) for c in channels["fit"]}
    for found in unfolded(what, {"fit": Frames(arrays, (), 40.0, 9000)}, channels, grain=0.5):
        if found.until >= beats / 2:
            return found
    raise AssertionError


@pytest.fixture
def head() -> Playhead:
    """Where 10 s are recorded, live at their end at the time 100."""
    found = Playhead(0.0, recorded(20), tail=1.0)
    found.seek(90.0, 10.0)
    found.play(100.0)
    return found


def test_a_timeline_is_where_it_was_moved_to():
    line = Timeline(0.0)
    line.move(1.0, 2.0)
    line.move(3.0, -1.0)
    line.move(4.0, 0.0, 0.5)
    assert [line.place(t) for t in (0.0, 1.0, 2.0, 3.0, 3.5, 4.0, 9.0)] == [0, 0, 2, 4, 3.5, 0.5, 0.5]
    line.move(3.5, 1.0)
    assert line.place(9.0) == pytest.approx(9.0), "what was to come then comes no more"
    line.forget(3.6)
    assert line.place(5.0) == pytest.approx(5.0)


def test_sound_comes_and_goes_where_it_jumps_or_stops_and_only_there():
    line = Timeline(0.0)
    line.move(1.0, 1.0)
    line.move(2.0, 2.0)
    line.move(3.0, 1.0, 0.0)
    line.move(4.0, 0.0, sounds=False)
    gains = {t: line.gate(np.array([t, t + 1e-6])) for t in (1.0, 1.5, 2.0, 3.0 - FADE / 2, 3.0, 3.5, 4.0 - FADE / 2)}
    heard = {t: 1.0 if gain is None else float(gain[0]) for t, gain in gains.items()}
    assert heard == pytest.approx(dict(zip(gains, (0, 1, 1, 0.5, 0, 1, 0.5), strict=True)), abs=1e-3)


def test_ticks_that_are_late_are_waited_for(head):
    assert head.plays_live
    assert not head.is_due(100.0, 10.5, 0.0)
    assert head.is_due(100.0, 10.5, 0.6), "a slow source begins before its time"
    assert head.is_due(100.5 + LATE / 2, 10.5, 0.0)
    assert head.place(100.5 + LATE / 2) == pytest.approx(10.5 + LATE / 2), "a little is made good"
    assert head.is_due(103.0, 10.5, 0.0)
    assert head.place(103.0) == pytest.approx(10.5), "the rest is held"
    assert head.place(104.0) == pytest.approx(11.5)
    assert head.place(102.0) == pytest.approx(10.5)
    assert head.mode(102.0) == "live"


def test_backwards_it_comes_to_the_beginning_and_stops(head):
    head.set_speed(100.0, -4.0)
    assert head.mode(101.0) == "recorded"
    assert head.place(101.0) == pytest.approx(6.0)
    assert not head.is_due(101.0, 10.0, 0.0), "the source waits"
    head.turn(103.0)
    assert not head.playing
    assert head.place(103.0) == 0.0
    assert head.mode(103.0) == "paused"
    head.play(104.0)
    assert head.speed == 4.0, "from there it can only go forwards"


def test_a_loop_goes_round_at_its_very_end(head):
    head.set_loop(100.0, (4.0, 6.0))  # 2 to 3 s
    assert head.place(100.0) == pytest.approx(2.0)
    head.turn(101.25)
    assert head.place(101.25) == pytest.approx(2.25)
    assert not head.is_due(101.25, 10.0, 0.0)
    head.set_loop(101.25, None)
    assert head.place(109.0) == pytest.approx(10.0)
    assert head.is_due(109.0, 10.0, 0.0)
    assert head.mode(109.0) == "live"
    for beats in ((6.0, 4.0), (30.0, 40.0)):
        with pytest.raises(DescantError, match="allowed are two beats that rise"):
            head.set_loop(110.0, beats)


def test_a_step_among_what_is_recorded_makes_no_tick(head):
    head.hold(100.0)
    assert head.step(101.0, 10.0, 10.1)
    assert head.place(105.0) == pytest.approx(10.1)
    head.seek(106.0, 4.0)
    assert not head.step(107.0, 10.0, 10.1)
    assert head.place(108.0) == pytest.approx(4.1)


def test_what_is_over_is_played_again_from_its_beginning(head):
    head._unfolding.finish(20.0, 10.0)
    head.turn(111.5)
    assert not head.playing
    assert head.place(112.0) == pytest.approx(11.0), "its tail was heard"
    head.play(113.0)
    assert head.place(113.0) == 0.0
    assert head.mode(113.0) == "recorded"
