"""The feed: windows of a performance that goes on, put together, are the lanes of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from pieces.arrange import arrange
from pieces.piece import Piece, parse_piece
from pieces.signals import Channel, Event, Frames
from sonify.desk import Desk, GroupLanes, VoiceLanes
from sonify.feed import Feed
from sonify.lanes import lanes
from sonify.resolve import declared_stats, resolve
from sonify.score import parse_score
from tests.unfolding import unfolded

CHANNELS = [
    Channel("x", "a test's", range=(0, 1), dtype="float64"),
    Channel("y", "another", range=(-1, 1)),
    Channel("grid", "an array", range=(0, 1), shape=(2, 3)),
]
PARTS = {"a": {"source": "a", "per_beat": 7}, "b": {"source": "b", "rate": 13.0}}
SECTIONS = [
    {"name": "one", "parts": ["a"], "bars": 1, "tempo": 150, "voices": ["drone", "gated"]},
    {"name": "two", "bars": 3, "until": "b.turn", "quantise": "beat", "gains": {"hall": -6},
     "voices": ["drone", "cross", "pat"]},
    {"name": "three", "bars": 1.5, "tempo": [150, 220], "gains": {"drone": [-20, 0]},
     "warp": {"a": {"kind": "retrograde"}}},
    {"name": "four", "bars": 1, "warp": {"a": {"kind": "even", "ticks": 40, "channel": "x"}}, "gains": {"drone": -3}},
    {"name": "five", "bars": 1, "parts": ["b"], "tempo": 100},
    {"name": "six", "bars": 2, "warp": {"a": {"kind": "loop", "beats": 0.75}, "b": {"kind": "recall", "of": "two"}}},
    {"name": "seven", "bars": 1, "warp": {"a": {"kind": "log", "ticks": 20}, "b": {"kind": "freeze"}}},
    {"name": "eight", "bars": 2},
]  # fmt: skip
X = {"channel": "x", "domain": "declared"}
SCORE: dict[str, Any] = {
    "purpose": "music",
    "voices": {
        "drone": {
            "instrument": "glide", "part": "a", "attack_ms": 150, "release_ms": 300, "into": "hall",
            "lanes": {"pitch": {**X, "range": [100, 1600], "glide_ms": 70, "missing": "earcon"},
                      "level": {"channel": "grid[1][2]", "range": [-20, 0], "domain": "declared", "every": 0.75}},
            "pan": {"channel": "a.y", "range": [-1, 1], "domain": "declared", "missing": "silence"},
        },
        "gated": {
            "instrument": "glide", "part": "a", "gate": {"channel": "x", "above": 0.6, "hysteresis": 0.2},
            "lanes": {"pitch": {**X, "range": [200, 800]}}, "sends": {"hall": {**X, "range": [-30, 0]}},
        },
        "pat": {
            "instrument": "pluck", "part": "a", "lanes": {"pitch": {**X, "range": [100, 900]}},
            "steps": {"every": 0.25, "steps": 7, "pulses": {**X, "range": [0, 7], "every": 0.5},
                      "chance": {"channel": "b.x", "range": [0.2, 1], "domain": "declared"}},
        },
        "cross": {
            "instrument": "bell", "part": "b", "lanes": {"pitch": {**X, "range": [100, 900]}}, "on": ["turn", "a.hit"],
            "crossing": {"channel": "y", "level": 0, "edge": "both", "hysteresis": 0.1},
        },
    },
    "groups": {"hall": {"effects": {"lowpass": {"cutoff": {**X, "range": [200, 4000], "glide_ms": 400}}}, "part": "a"}},
}  # fmt: skip


def piece(sections: Any = SECTIONS) -> Piece:
    raw = {"title": "T", "metre": {"tempo": 150}, "parts": PARTS, "sections": sections, "score": SCORE}
    return parse_piece(raw, "my.toml")


def performed(what: Piece, seed: int) -> dict[str, Frames]:
    """Parts with random channels, things that happen, and values that go missing; b is over before its time."""
    dice = np.random.default_rng(seed)
    found = {}
    for part, ticks in (("a", 400), ("b", 60)):
        walk = np.cumsum(dice.normal(0, 0.2, (ticks, 8)), axis=0)
        arrays = {"x": np.abs(np.sin(walk[:, 0])), "y": np.sin(walk[:, 1]).astype("float32")}
        arrays["grid"] = np.abs(np.sin(walk[:, 2:])).reshape(ticks, 2, 3).astype("float32")
        turns = [Event(int(t), "turn") for t in sorted(dice.choice(ticks, 3, replace=False))]
        hits = [Event(int(t), "hit", {"velocity": 0.5}) for t in sorted(dice.choice(ticks, 9, replace=False))]
        lost, again = sorted(dice.choice(40, 2, replace=False))
        gone = [Event(int(lost), "diverged", {"channel": "x"}), Event(int(again), "recovered", {"channel": "x"})]
        events = sorted([*turns, *hits, *gone], key=lambda e: e.tick)
        found[part] = Frames(arrays, tuple(events), what.rate(part), ticks)
    return found


def whole(what: Piece, recorded: Mapping[str, Frames], seed: int, tail: float) -> tuple[Desk, float]:
    score = parse_score(SCORE, "test")
    stats = declared_stats(score, {part: {c.name: c for c in CHANNELS} for part in PARTS})
    played = arrange(what, recorded, seed)
    return lanes(resolve(score, stats, PARTS), played, tail), played.duration


def windows(what: Piece, recorded: Mapping[str, Frames], seed: int, tail: float, grain: float, sizes: Any) -> Any:
    """(first point, points, desk) of the live side, as soon as each can be had."""
    channels = dict.fromkeys(PARTS, CHANNELS)
    feed, first, size = None, 0, next(sizes)
    for unfolding in unfolded(what, recorded, channels, seed, grain):
        feed = feed or Feed(parse_score(SCORE, "test"), unfolding, channels, tail=tail)
        ready = min(feed.ready, (unfolding.end + tail) * 1000)
        while first + size <= ready:
            yield first, size, feed.window(first, size)
            assert not feed.refused
            first, size = first + size, next(sizes)


def of_voice(voice: VoiceLanes) -> dict[str, Any]:
    return {**voice.lanes, "pan": voice.pan, **{f"to {name}": level for name, level in voice.sends.items()}}


def of_group(group: GroupLanes) -> dict[str, Any]:
    return {"gain": group.gain, "cutoff": group.effects[0].lanes["cutoff"]}


def close(want: Any, have: Any, first: int, points: int, at: str) -> None:
    want = want[first : first + points] if np.ndim(want) else want
    scale = np.maximum(1.0, np.abs(want))
    assert (np.abs(np.broadcast_to(have, points) - want) / scale).max() < 1e-9, f"{at} from point {first}"


@pytest.mark.parametrize(("seed", "grain", "largest"), [(0, 0.03, 60), (1, 0.2, 100), (2, 1.0, 400), (3, 7.0, 250)])
def test_windows_put_together_are_the_whole(seed, grain, largest):
    what, tail = piece(), 1.0
    recorded = performed(what, seed)
    desk, duration = whole(what, recorded, seed, tail)
    dice = np.random.default_rng(seed)
    notes: dict[str, list] = {name: [] for name in desk.voices}
    sounded = end = 0
    sizes = iter(lambda: int(dice.integers(1, largest + 1)), 0)
    for first, points, part in windows(what, recorded, seed, tail, grain, sizes):
        end = first + points
        for name, want in desk.voices.items():
            have = part.voices.get(name)
            notes[name] += [] if have is None else have.onsets
            if end / 1000 < duration or name in ("drone", "gated"):  # struck voices do not fade at the end
                close(want.amplitude, 0.0 if have is None else have.amplitude, first, points, name)
            if have is None or not np.any(have.amplitude):
                continue
            sounded += 1
            close(want.taps, have.taps, first, points, f"{name} taps")
            for lane, values in of_voice(want).items():
                close(values, of_voice(have)[lane], first, points, f"{name} {lane}")
        for name, group in desk.groups.items():
            for lane, values in of_group(group).items():
                close(values, of_group(part.groups[name])[lane], first, points, f"{name} {lane}")
    assert sounded
    assert end / 1000 > duration
    for name, want in desk.voices.items():
        assert notes[name] == [note for note in want.onsets if note.time < end / 1000], name
    assert len(notes["pat"]) > 5
    assert len(notes["cross"]) > 5


def test_another_value_is_another_window():
    """A negative control: what `close` compares does differ where the data do."""
    what = piece()
    recorded = performed(what, 3)
    desk, _ = whole(what, performed(what, 4), 3, 1.0)

    def compare() -> None:
        for first, points, part in windows(what, recorded, 3, 1.0, 0.2, iter(lambda: 50, 0)):
            for name, have in part.voices.items():
                close(desk.voices[name].amplitude, have.amplitude, first, points, name)

    with pytest.raises(AssertionError, match="from point"):
        compare()


@pytest.fixture(scope="module")
def finished() -> Feed:
    what, channels = piece(), dict.fromkeys(PARTS, CHANNELS)
    *_, unfolding = unfolded(what, performed(what, 1), channels, 1, 7.0)
    return Feed(parse_score(SCORE, "test"), unfolding, channels)


def test_what_happens_after_the_last_tick_is_struck():
    voice = {"instrument": "bell", "part": "b", "on": ["turn"], "lanes": {"pitch": {**X, "range": [100, 900]}}}
    score = parse_score({"purpose": "music", "voices": {"v": voice}}, "test")
    what, channels = piece([{"name": "one", "bars": 3, "parts": ["b"]}]), dict.fromkeys(PARTS, CHANNELS)
    recorded = performed(what, 1)
    over = recorded["b"]
    recorded["b"] = Frames(over.arrays, (*over.events, Event(over.ticks, "turn")), over.rate, over.ticks)
    stats = declared_stats(score, {part: {c.name: c for c in CHANNELS} for part in PARTS})
    want = lanes(resolve(score, stats, PARTS), arrange(what, recorded, 1), 1.0).voices["v"].onsets
    feed, first, notes = None, 0, []
    for unfolding in unfolded(what, recorded, channels, 1, 0.05):
        feed = feed or Feed(score, unfolding, channels)
        while first + 20 <= min(feed.ready, (unfolding.end + 1.0) * 1000):
            notes += feed.window(first, 20).voices["v"].onsets
            first += 20
    assert notes == list(want)
    assert notes[-1].time == pytest.approx(60 / 13, abs=1e-5)


def test_backwards_is_the_same_turned_round(finished):
    for last in range(199, 9000, 200):
        ahead, back = finished.window(last - 199, 200), finished.window(last, 200, -1.0)
        for name, voice in ahead.voices.items():
            for lane, values in {**of_voice(voice), "amplitude": voice.amplitude}.items():
                turned = {**of_voice(back.voices[name]), "amplitude": back.voices[name].amplitude}[lane]
                np.testing.assert_allclose(np.broadcast_to(values, 200)[::-1], np.broadcast_to(turned, 200), rtol=1e-9)
            assert back.voices[name].onsets == voice.onsets


@pytest.mark.parametrize("speed", [0.25, 2.0, 4.0])
def test_at_another_speed_time_passes_otherwise(finished, speed):
    """Point i of a window is the time that lies i times the speed after its first one, and no note is lost."""
    seconds, notes = 9.0, []
    for first in np.arange(0.0, seconds * 1000, 100 * speed):
        at = first + np.arange(100) * speed
        plain = finished.window(np.floor(first), round(100 * speed) + 2)
        window = finished.window(first, 100, speed)
        notes += window.voices["pat"].onsets
        if "drone" in window.voices:
            amplitude = np.broadcast_to(plain.voices["drone"].amplitude, round(100 * speed) + 2)
            same = at == np.floor(at)
            have = np.broadcast_to(window.voices["drone"].amplitude, 100)[same]
            np.testing.assert_allclose(have, amplitude[(at[same] - np.floor(first)).astype(int)], atol=1e-9)
            assert same.sum() >= 25
    whole = finished.window(0, round(seconds * 1000)).voices["pat"].onsets
    assert [n for n in notes if n.time < seconds - 0.5] == [n for n in whole if n.time < seconds - 0.5]


def test_a_note_from_outside_is_struck_at_once_and_not_twice():
    score = parse_score({"voices": {"k": {"instrument": "pluck", "part": "a", "on": ["hit"]}}}, "test")
    what, channels = piece([{"name": "one", "bars": 1, "parts": ["a"]}]), dict.fromkeys(PARTS, CHANNELS)
    recorded = performed(what, 1)
    hits = (Event(2, "hit", {"midi": 69, "velocity": 0.5}, given=True), Event(4, "hit", {"midi": 57}))
    recorded["a"] = Frames(recorded["a"].arrays, hits, what.rate("a"), recorded["a"].ticks)
    *_, unfolding = unfolded(what, recorded, channels, 1, 0.1)
    feed = Feed(score, unfolding, channels)
    pitches = [[n.values["pitch"] for n in feed.window(0, 900, given=g).voices["k"].onsets] for g in (True, False)]
    assert pitches == [[440.0, 220.0], [220.0]]
    ((voice, note),) = feed.notes("hit", {"midi": 69, "velocity": 0.25}, 100)
    assert (voice, note.values["pitch"], note.values["velocity"]) == ("k", 440.0, 0.25)
    assert feed.notes("other", {"midi": 69}, 100) == []
