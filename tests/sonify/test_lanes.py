"""Lanes: what is played, as arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.arrange import Arrangement, arrange
from pieces.piece import parse_piece
from pieces.signals import Event, Frames
from sonify.instruments.base import CONTROL_RATE
from sonify.lanes import LaneError, lanes
from sonify.resolve import resolve
from sonify.score import parse_score
from sonify.strikes import StrikeError


def glide(**fields):
    mapping = {"channel": "x", "range": [100, 1600], **fields}
    return {"voices": {"a": {"instrument": "glide", "lanes": {"pitch": mapping}}}}


def at(lane, *seconds):
    return np.interp(seconds, np.arange(len(lane)) / CONTROL_RATE, lane)


def test_a_tick_sounds_from_its_start_to_the_next(resolve_score):
    voice = lanes(*resolve_score(glide(), {"x": [0, 1, 2, 4]}, 2)).voices["a"]
    np.testing.assert_allclose(
        at(voice.lanes["pitch"], 0.0, 0.49, 0.52, 0.99, 1.02, 1.52, 2.9), [100, 100, 200, 200, 400, 1600, 1600]
    )


def test_a_change_glides_in_the_space_of_its_parameter(resolve_score):
    voice = lanes(*resolve_score(glide(glide_ms=400), {"x": [0, 4]}, 1)).voices["a"]
    np.testing.assert_allclose(
        at(voice.lanes["pitch"], 0.999, 1.1, 1.2, 1.3, 1.4), [100, 200, 400, 800, 1600], rtol=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=300), st.floats(0.5, 2000), st.floats(2, 500))
def test_a_lane_never_jumps_and_never_leaves_its_range(resolve_score, values, rate, glide_ms):
    voice = lanes(*resolve_score(glide(glide_ms=glide_ms), {"x": values}, rate), tail=0.1).voices["a"]
    octaves = np.log2(np.broadcast_to(voice.lanes["pitch"], len(voice.amplitude)))
    assert octaves.min() >= np.log2(100) - 1e-9
    assert octaves.max() <= np.log2(1600) + 1e-9
    assert np.abs(np.diff(octaves)).max() <= 4 * (1000 / CONTROL_RATE) / glide_ms + 1e-6


def test_ticks_shorter_than_the_glide_are_followed_continuously(resolve_score):
    x = np.linspace(0, 1, 5000)
    voice = lanes(*resolve_score(glide(), {"x": x}, 1000)).voices["a"]
    octaves = np.log2(voice.lanes["pitch"][:5000] / 100)
    assert np.abs(octaves - 4 * x).max() < 4 * 0.011 / 5  # behind by the glide at most


def test_what_does_not_change_is_no_table(resolve_score):
    voice = lanes(*resolve_score(glide(), {"x": np.full(10, 7.0)}, 10)).voices["a"]
    assert voice.lanes["pitch"] == pytest.approx(400)
    assert isinstance(voice.lanes["brightness"], float)


@settings(max_examples=40, deadline=None)
@given(st.floats(5, 3000), st.floats(5, 3000), st.floats(0, 2), st.integers(1, 40))
def test_every_voice_starts_and_ends_in_silence(resolve_score, attack, release, tail, ticks):
    score = {"voices": {"a": {"instrument": "glide", "attack_ms": attack, "release_ms": release}}}
    amplitude = lanes(*resolve_score(score, {"x": np.zeros(ticks)}, 20), tail).voices["a"].amplitude
    assert amplitude[0] == 0
    assert (amplitude[int(np.ceil((ticks / 20 + tail) * CONTROL_RATE)) :] < 1e-12).all()
    assert amplitude.max() > 0


def test_array_channels_are_played_by_element(resolve_score):
    table = np.arange(12.0).reshape(4, 3)
    voice = lanes(*resolve_score(glide(channel="x[2]"), {"x": table}, 1)).voices["a"]
    assert voice.lanes["pitch"][0] == pytest.approx(100)
    assert voice.lanes["pitch"][-1] == pytest.approx(1600)


GONE = (Event(10, "diverged", {"channel": "x", "value": "nan"}), Event(14, "recovered", {"channel": "x"}))


def test_spans_of_missing_values(resolve_score):
    _, played = resolve_score(
        glide(), {"x": np.arange(20)}, 10, (*GONE, Event(18, "diverged", {"channel": "x", "value": "inf"}))
    )
    frames = played.parts["source"]
    assert np.flatnonzero(frames.missing("x")).tolist() == [10, 11, 12, 13, 18, 19]
    assert not frames.missing("y").any()


@pytest.mark.parametrize(
    ("missing", "sounds", "taps"), [("hold", True, False), ("silence", False, False), ("earcon", False, True)]
)
def test_missing_values(resolve_score, missing, sounds, taps):
    voice = lanes(*resolve_score(glide(missing=missing), {"x": np.arange(20)}, 10, GONE)).voices["a"]
    during, after = at(voice.amplitude, 1.2, 1.6)
    assert after == pytest.approx(1)
    assert (during > 0.9) == sounds
    assert np.any(voice.taps) == taps
    if taps:
        assert 1.0 < np.argmax(voice.taps) / CONTROL_RATE < 1.01
    assert np.abs(np.diff(voice.amplitude)).max() < 0.2  # a ramp, no edge


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_nothing_that_is_not_finite_comes_out(resolve_score, broken):
    resolved, played = resolve_score(glide(domain=[0, 10]), {"x": np.arange(10)}, 10)
    played.parts["source"].arrays["x"][4] = broken
    if np.isinf(broken):  # clipped to the domain, as any large value
        assert np.isfinite(lanes(resolved, played).voices["a"].lanes["pitch"]).all()
    else:
        with pytest.raises(LaneError, match="lane pitch is not finite"):
            lanes(resolved, played)


def test_no_ticks(resolve_score):
    resolved, _ = resolve_score(glide(domain=[0, 1]), {"x": np.arange(3)}, 10)
    with pytest.raises(LaneError, match="0 were performed"):
        lanes(resolved, Arrangement.of(Frames({"x": np.empty(0)}, (), 10, 0)))


def test_events_become_notes(resolve_score):
    score = {
        "voices": {
            "a": {
                "instrument": "pluck",
                "on": ["note", "cliff"],
                "lanes": {"pitch": {"channel": "x", "range": [100, 200]}},
            }
        }
    }
    events = (
        Event(2, "note", {"midi": 69, "velocity": 0.5}),
        Event(4, "cliff", {"pitch": 300.0}),
        Event(5, "other"),
        Event(10, "note"),
    )
    notes = lanes(*resolve_score(score, {"x": np.arange(11.0)}, 10, events)).voices["a"].onsets
    assert [n.time for n in notes] == [0.2, 0.4, 1.0]
    assert [n.values["pitch"] for n in notes] == pytest.approx([440, 300, 200])
    assert [n.values["velocity"] for n in notes] == [0.5, 1, 1]


def test_what_is_asked_for_and_then_announced_sounds_once(resolve_score):
    score = {"voices": {"a": {"instrument": "pluck", "on": ["new_target"], "lanes": {"pitch": "A4"}}}}
    events = (
        Event(2, "new_target", {}, given=True),
        Event(2, "new_target", {"target": 2}),
        Event(5, "new_target", {"target": 3}),
        Event(5, "new_target", {"target": 4}),
        Event(8, "new_target", {}, given=True),
    )
    notes = lanes(*resolve_score(score, {"x": np.arange(11.0)}, 10, events)).voices["a"].onsets
    assert [n.time for n in notes] == pytest.approx([0.2, 0.5, 0.8])


def test_many_that_diverge_together_are_one_strike_and_a_chord_is_not(resolve_score):
    score = {"voices": {"a": {"instrument": "bell", "on": ["diverged", "note"], "lanes": {"pitch": "A2"}}}}
    gone = tuple(Event(3, "diverged", {"channel": c, "value": "nan"}) for c in "xyz")
    chord = tuple(Event(6, "note", {"midi": m, "velocity": v}) for m, v in ((60, 0.2), (64, 0.3), (64, 0.9)))
    notes = lanes(*resolve_score(score, {"x": np.arange(11.0)}, 10, (*gone, *chord))).voices["a"].onsets
    assert [n.time for n in notes] == pytest.approx([0.3, 0.6, 0.6])
    assert [n.values["velocity"] for n in notes] == [1, 0.2, 0.9]


@pytest.mark.parametrize("data", [{"pitch": "C4"}, {"velocity": None}, {"midi": 90_000}, {"pitch": 0.0}])
def test_an_event_that_brings_nonsense_is_one_line(resolve_score, data):
    score = {"voices": {"a": {"instrument": "bell", "on": ["hit"]}}}
    with pytest.raises(StrikeError, match=rf"event 'hit' at tick 3: {next(iter(data))} = "):
        lanes(*resolve_score(score, {"x": np.arange(9.0)}, 10, (Event(3, "hit", data),)))


def test_what_still_rings_is_not_swelled_by_a_section_that_it_is_not_in():
    piece = parse_piece(
        {
            "title": "two",
            "parts": {"p": {"source": "cubics", "rate": 10.0}},
            "sections": [
                {"name": "a", "bars": 1, "voices": ["low"], "gains": {"low": [0, -20]}},
                {"name": "b", "bars": 1, "voices": ["high"]},
            ],
        },
        "two",
    )
    voice = {"instrument": "glide", "part": "p", "release_ms": 3000}
    score = parse_score({"voices": {"low": voice, "high": voice}}, "two")
    frames = {"p": Frames({"loss": np.ones(80)}, (), 10.0, 80)}
    amplitude = lanes(resolve(score, {}, ["p"]), arrange(piece, frames)).voices["low"].amplitude
    assert at(amplitude, 0.5) > 5 * at(amplitude, 3.99)
    ringing = amplitude[4000:7000]
    assert 0 < ringing.max() <= at(amplitude, 3.99) * 1.001
    assert np.diff(ringing).max() <= 1e-9
