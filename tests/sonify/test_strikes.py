"""When voices sound in the time of a piece: strikes, and the lanes at the edges of sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.arrange import Arrangement, arrange
from pieces.errors import DescantError
from pieces.piece import Piece, parse_piece
from pieces.signals import Channel, Event, Frames
from sonify.desk import Desk
from sonify.instruments.base import CONTROL_RATE
from sonify.lanes import lanes
from sonify.resolve import resolve, take_stats
from sonify.rhythm import euclid
from sonify.score import parse_score
from sonify.strikes import StrikeError

PLUCK = {"instrument": "pluck", "part": "a"}
DRONE = {"instrument": "glide", "part": "a", "attack_ms": 100, "release_ms": 200}
BAR = {"name": "one", "bars": 1}


def piece(parts: Mapping[str, Any], *sections: Mapping[str, Any], **more: Any) -> Piece:
    """A piece of parts that nobody performs: a number is ticks a beat."""
    written = {n: {"source": n, **(p if isinstance(p, dict) else {"per_beat": p})} for n, p in parts.items()}
    return parse_piece({"title": "T", "parts": written, "sections": sections, **more}, "my.toml")


def desk(
    what: Piece,
    voices: Mapping[str, Any],
    x: Mapping[str, Any],
    events: Mapping[str, Sequence[Event]] | None = None,
    seed: int = 0,
    **score: Any,
) -> tuple[Desk, Arrangement]:
    """Voices of a piece whose parts emitted one channel, ``x``."""
    recorded = {}
    for part, values in x.items():
        array = np.asarray(values, dtype=np.float64)
        recorded[part] = Frames({"x": array}, tuple((events or {}).get(part, ())), what.rate(part), len(array))
    channels = {part: {"x": Channel("x", "a test's", dtype="float64")} for part in x}
    parsed = parse_score({"purpose": "music", "voices": voices, **score}, "test")
    played = arrange(what, recorded, seed)
    return lanes(resolve(parsed, take_stats(parsed, channels, recorded), x), played), played


def struck(made: tuple[Desk, Arrangement], voice: str = "v") -> np.ndarray:
    """Times of a voice's notes."""
    return np.array([note.time for note in made[0].voices[voice].onsets])


def at(lane: Any, *seconds: float) -> np.ndarray:
    whole = np.broadcast_to(lane, 100_000) if np.ndim(lane) == 0 else lane
    return np.interp(seconds, np.arange(len(whole)) / CONTROL_RATE, whole)


def decibels(lane: Any, *seconds: float) -> np.ndarray:
    return 20 * np.log10(at(lane, *seconds))


FAST = {"tempo": 120, "beats": 4}


def stepped(steps: Mapping[str, Any], *sections: Mapping[str, Any], seed: int = 0, name: str = "v", x: Any = None):
    """One voice on the metre; a part with 4 ticks a beat."""
    what = piece({"a": 4}, *(sections or (BAR,)), metre=FAST)
    values = np.zeros(100_000) if x is None else x
    return desk(what, {name: {**PLUCK, "steps": steps}}, {"a": values}, seed=seed)


def test_steps_stand_on_the_metre():
    times = struck(stepped({"every": 0.25}, {"name": "x", "bars": 300}))
    np.testing.assert_allclose(times, np.arange(4800) / 8, atol=1e-9)


def test_steps_follow_a_tempo_that_changes():
    section = {"name": "x", "bars": 2, "tempo": [60, 120]}
    times = struck(stepped({"every": 0.5}, section, {"name": "y", "bars": 1}))
    np.testing.assert_allclose(times[:16], 8 * np.log1p(np.arange(16) * 0.5 / 8), atol=1e-9)
    np.testing.assert_allclose(times[16:], 8 * np.log(2) + np.arange(8) * 0.25, atol=1e-9)


def test_a_pattern_begins_with_its_section():
    sections = [{"name": "x", "bars": 1.5}, {"name": "y", "bars": 1}]
    times = struck(stepped({"every": 0.5, "steps": 8, "pulses": 3}, *sections)) * 2
    assert times.tolist() == pytest.approx([0, 1.5, 3, 4, 5.5, 6, 7.5, 9])
    turned = struck(stepped({"every": 0.5, "steps": 8, "pulses": 3, "rotate": 1}, BAR)) * 2
    assert turned.tolist() == pytest.approx([0.5, 2, 3.5])


def test_the_density_follows_a_channel_from_cycle_to_cycle():
    wanted = [0, 1, 5, 8, 3, 2]
    x = np.repeat(wanted, 16).astype(float)
    x[17:32] = 8  # what it does within a cycle waits for the next
    pulses = {"channel": "x", "domain": [0, 8], "range": [0, 8]}
    times = struck(stepped({"every": 0.5, "steps": 8, "pulses": pulses}, {"name": "x", "bars": 6}, x=x))
    expected = np.concatenate([k * 8 + np.flatnonzero(euclid(n, 8)) for k, n in enumerate(wanted)]) / 4
    np.testing.assert_allclose(times, expected, atol=1e-9)


@pytest.mark.parametrize("chance", [0.05, 0.3, 0.9])
def test_a_chance_is_a_frequency(chance):
    section = {"name": "x", "bars": 500}
    n = 8000
    times = struck(stepped({"chance": chance}, section, seed=3))
    assert abs(len(times) - n * chance) < 5 * np.sqrt(n * chance * (1 - chance))
    np.testing.assert_array_equal(times, struck(stepped({"chance": chance}, section, seed=3)))
    others = [struck(stepped({"chance": chance}, section, seed=4))]
    others.append(struck(stepped({"chance": chance}, section, seed=3, name="w"), "w"))
    for other in others:  # neither the same nor their complement
        both = len(np.intersect1d(np.round(times, 6), np.round(other, 6)))
        assert abs(both - n * chance**2) < 5 * np.sqrt(n * chance**2)


def test_a_chance_may_follow_a_channel():
    chance = {"channel": "x", "domain": [0, 1], "range": [0, 1]}
    section = {"name": "x", "bars": 100}
    times = struck(stepped({"chance": chance}, section, x=np.repeat([0.0, 1.0, 0.0, 0.5], 400)))
    counts = np.histogram(times, [0, 50, 100, 150, 200])[0]
    assert counts[:3].tolist() == [0, 400, 0]
    assert 140 < counts[3] < 260


def test_strikes_of_what_the_chance_left_out_do_not_move_the_others():
    """A lot is drawn for every step, struck or not: what changes one section changes no other."""
    one, two = ({"name": n, "bars": 20} for n in "xy")
    both = struck(stepped({"chance": 0.5}, one, two))
    alone = struck(stepped({"chance": 0.5}, {**one, "voices": []}, two))
    np.testing.assert_array_equal(both[both >= 40], alone)


def test_a_voice_strikes_in_its_sections_alone():
    """The line between two sections belongs to the second."""
    sections = [
        {**BAR, "name": "0", "voices": ["w"]},
        {**BAR, "name": "1"},
        {**BAR, "name": "2", "voices": []},
        {**BAR, "name": "3", "voices": ["v"]},
    ]
    what = piece({"a": 4}, *sections, metre=FAST)
    events = [Event(t, "e") for t in (0, 15, 16, 31, 32, 47, 48)]
    x = np.arange(64) % 16 == 0  # rises where every section begins
    for how in ({"steps": {"every": 1}}, {"on": ["e"]}, {"crossing": {"channel": "x", "level": 0.5}}):
        times = struck(desk(what, {"v": {**PLUCK, **how}, "w": DRONE}, {"a": x}, {"a": events}))
        assert {int(t // 2) for t in times} == {1, 3}
        assert 2.0 in times
        assert 4.0 not in times


def test_a_voice_strikes_while_its_part_plays_alone():
    sections = [BAR, {"name": "two", "bars": 1, "parts": ["b"]}, {"name": "three", "bars": 2}]
    made = desk(
        piece({"a": 4, "b": 1}, *sections),
        {"v": {**PLUCK, "steps": {"every": 1}}},
        {"a": np.zeros(24), "b": np.zeros(99)},
    )
    assert struck(made).tolist() == pytest.approx([0, 1, 2, 3, 8, 9])  # paused, and over after 24 ticks


def test_a_gate_of_another_part_opens_and_closes():
    gate = {"channel": "b.x", "above": 0.5}
    x = {"a": np.zeros(32), "b": [0, 1, 1, 0, 0, 1, 0, 0]}
    voices = {"v": {**PLUCK, "steps": {"every": 0.5}, "gate": gate}, "w": {**DRONE, "gate": gate}}
    made = desk(piece({"a": 4, "b": 1}, {"name": "x", "bars": 2}), voices, x)
    assert struck(made).tolist() == pytest.approx([1, 1.5, 2, 2.5, 5, 5.5])
    amplitude = made[0].voices["w"].amplitude
    np.testing.assert_allclose(
        at(amplitude, 0.9, 1.0, 1.11, 2.9, 3.21, 4.9, 5.5, 6.3), [0, 0, 1, 1, 0, 0, 1, 0], atol=1e-6
    )


def test_events_and_crossings_of_another_part():
    voices = {
        "v": {**PLUCK, "on": ["b.converged"], "lanes": {"pitch": {"channel": "b.x", "range": [100, 400]}}},
        "w": {**PLUCK, "crossing": {"channel": "b.x", "level": 2.5}, "lanes": {"pitch": 300}},
    }
    events = {"b": [Event(2, "converged"), Event(3, "other")], "a": [Event(1, "converged")]}
    made = desk(piece({"a": 8, "b": 1}, BAR), voices, {"a": np.zeros(32), "b": np.arange(4)}, events)
    assert struck(made).tolist() == [2]
    assert made[0].voices["v"].onsets[0].values["pitch"] == pytest.approx(100 * 4 ** (2 / 3))
    assert struck(made, "w").tolist() == [3]


def test_what_follows_the_last_tick_is_heard_as_the_part_ends():
    """Other parts may go on for long."""
    what = piece({"a": 4, "b": 1}, {"name": "x", "bars": 8})
    voices = {"v": {**PLUCK, "on": ["end"]}, "w": {**PLUCK, "part": "b", "on": ["a.end"]}, "n": {**PLUCK, "steps": {}}}
    made = desk(what, voices, {"a": np.zeros(16), "b": np.zeros(32)}, {"a": [Event(16, "end")]})
    assert struck(made).tolist() == pytest.approx([4], abs=1e-5)
    assert struck(made, "w").tolist() == pytest.approx([4], abs=1e-5)
    assert struck(made, "n").max() < 4


def test_notes_stand_in_order_of_time_and_one_moment_and_pitch_is_one_strike():
    voice = {
        **PLUCK,
        "on": ["late", "note"],
        "crossing": {"channel": "x", "level": 0.5},
        "steps": {"every": 2},
        "lanes": {"pitch": 440},
    }
    events = [
        Event(4, "note", {"velocity": 0.3}),
        Event(4, "note", {"velocity": 0.6}, given=True),
        Event(4, "note", {"pitch": 330.0, "velocity": 0.2}),
        Event(8, "note", {"velocity": 0.4}),  # and a step
        Event(12, "late"),  # and a crossing
    ]
    made = desk(piece({"a": 4}, BAR), {"v": voice}, {"a": np.arange(16) >= 12}, {"a": events})
    notes = [(n.time, n.values["pitch"], n.values["velocity"]) for n in made[0].voices["v"].onsets]
    assert notes == [(0, 440, 1), (1, 440, 0.6), (1, 330, 0.2), (2, 440, 1), (3, 440, 1)]


@pytest.mark.parametrize("data", [{"velocity": 2}, {"velocity": True}, {"midi": 200}, {"pitch": "A4"}])
def test_notes_that_cannot_be_played(data):
    with pytest.raises(StrikeError, match=r"event 'note' at tick 3: .*: allowed is") as caught:
        desk(
            piece({"a": 4}, BAR), {"v": {**PLUCK, "on": ["note"]}}, {"a": np.zeros(16)}, {"a": [Event(3, "note", data)]}
        )
    assert "\n" not in str(caught.value)


def test_what_is_looped_or_turned_round_strikes_again():
    two = {"name": "two", "bars": 1}
    events = {"a": [Event(13, "e")]}
    x = np.arange(16) >= 6
    voice = {**PLUCK, "on": ["e"], "crossing": {"channel": "x", "level": 0.5, "edge": "falling"}}
    for warp, expected in (
        ({"kind": "loop", "beats": 1}, [3.25, 4.25, 5.25, 6.25, 7.25]),
        ({"kind": "retrograde"}, [3.25, 4.5, 6.5]),  # tick 13 comes third; the rise of x is now a fall
        ({"kind": "freeze"}, [3.25]),
    ):
        made = desk(piece({"a": 4}, BAR, {**two, "warp": {"a": warp}}), {"v": voice}, {"a": x}, events)
        assert struck(made).tolist() == expected


def test_sample_and_hold_keeps_to_the_beat():
    """Of a drone as of strikes: the value of the last beat, whatever the tempo does."""
    pitch = {"channel": "x", "domain": [0, 1], "range": [100, 1600], "every": 1, "glide_ms": 2}
    section = {"name": "x", "bars": 2, "tempo": [60, 120]}
    x = np.random.default_rng(1).random(64)
    voices = {
        "v": {**PLUCK, "steps": {"every": 0.25}, "lanes": {"pitch": pitch}},
        "w": {**DRONE, "lanes": {"pitch": pitch}},
    }
    made = desk(piece({"a": 8}, section), voices, {"a": x})
    expected = 100 * 16 ** x[::8]
    np.testing.assert_allclose([n.values["pitch"] for n in made[0].voices["v"].onsets], np.repeat(expected, 4))
    within = 8 * np.log1p((np.arange(8)[:, None] + [0.05, 0.5, 0.95]) / 8)
    found = at(made[0].voices["w"].lanes["pitch"], *within.ravel())
    np.testing.assert_allclose(found, np.repeat(expected, 3), rtol=1e-6)


def test_a_lane_holds_while_its_part_pauses():
    sections = [BAR, {"name": "two", "bars": 1, "parts": ["b"]}, {"name": "three", "bars": 1}]
    pitch = {"channel": "a.x", "domain": [0, 8], "range": [100, 900], "space": "linear"}
    made = desk(
        piece({"a": 1, "b": 1}, *sections),
        {"v": {**DRONE, "part": "b", "lanes": {"pitch": pitch}}},
        {"a": np.arange(8), "b": np.zeros(12)},
    )
    np.testing.assert_allclose(at(made[0].voices["v"].lanes["pitch"], 2.5, 3.5, 5, 7.9, 8.5), [300, 400, 400, 400, 500])


SECTIONS = [
    {"name": "0", "bars": 1, "voices": ["w"]},
    {"name": "1", "bars": 1, "voices": ["v"]},
    {"name": "2", "bars": 1, "voices": ["v", "w"]},
    {"name": "3", "bars": 1, "voices": []},
]


def test_a_drone_rises_and_falls_at_the_edges_of_its_sections():
    made = desk(piece({"a": 4}, *SECTIONS), {"v": DRONE, "w": DRONE}, {"a": np.zeros(64)})
    amplitude = made[0].voices["v"].amplitude
    np.testing.assert_allclose(
        at(amplitude, 3.99, 4, 4.05, 4.1, 7.999, 8, 8.001, 12, 12.1, 12.2, 14),
        [0, 0, 0.5, 1, 1, 1, 1, 1, 0.5, 0, 0],
        atol=1e-3,
    )
    np.testing.assert_allclose(
        at(made[0].voices["w"].amplitude, 3.9, 4.1, 4.2, 8, 8.05, 8.1), [1, 0.5, 0, 0, 0.5, 1], atol=1e-3
    )


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.02, 1), st.booleans()), min_size=1, max_size=8),
    st.floats(5, 3000),
    st.floats(5, 3000),
    st.integers(1, 40),
)
def test_no_edge_is_steeper_than_its_fade(sections, attack, release, ticks):
    """Sections may be shorter than fades, and voices come back while they die away."""
    written = [{"name": str(i), "bars": b, "voices": ["v"] * on} for i, (b, on) in enumerate(sections)]
    voice = {**DRONE, "attack_ms": attack, "release_ms": release}
    made, played = desk(piece({"a": {"rate": 5}}, *written), {"v": voice}, {"a": np.zeros(ticks)})
    amplitude = made.voices["v"].amplitude
    fades = 1 / attack + 1 / min(release, 1000)  # both at once, where a section is short; the tail is a second
    assert np.abs(np.diff(amplitude)).max() <= np.pi / 2 * fades * (1000 / CONTROL_RATE) * 1.01
    assert amplitude[0] == 0
    assert (amplitude[int(np.ceil((played.duration + 1) * CONTROL_RATE)) :] < 1e-9).all()
    if not any(on for _, on in sections):
        assert not amplitude.any()


def test_gains_of_sections_are_decibels_and_ramps():
    sections = [
        {"name": "0", "bars": 1, "gains": {"v": -12, "hall": [0, -20]}},
        {"name": "1", "bars": 1, "gains": {"v": [-24, 0]}},
        {"name": "2", "bars": 1},
    ]
    voice = {**DRONE, "gain_db": -3, "into": "hall"}
    made, _ = desk(
        piece({"a": 4}, *sections), {"v": voice, "w": DRONE}, {"a": np.zeros(48)}, groups={"hall": {"gain_db": -1}}
    )
    found = decibels(made.voices["v"].amplitude, 0.5, 2, 3.999, 4.05, 6.025, 8, 8.05, 10)
    np.testing.assert_allclose(found, [-15, -15, -15, -27, -15, -3, -3, -3], atol=0.02)
    np.testing.assert_allclose(
        decibels(made.groups["hall"].gain, 0.05, 2.025, 4, 4.05, 6), [-1, -11, -21, -1, -1], atol=1e-6
    )
    np.testing.assert_allclose(at(made.voices["w"].amplitude, 2, 6, 10), 1)
    assert made.voices["v"].into == "hall"


def test_levels_sends_groups_and_effects_follow_channels():
    along = {"channel": "x", "domain": [0, 1], "glide_ms": 2}
    voice = {
        **DRONE,
        "lanes": {"level": {**along, "range": [-20, 0]}},
        "sends": {"hall": {**along, "range": [-40, -10]}},
        "effects": {"lowpass": {"cutoff": {**along, "range": [100, 1600]}, "q": 2}},
    }
    hall = {
        "part": "a",
        "effects": {"lowpass": {}, "lowpass_2": {"cutoff": {**along, "channel": "b.x", "range": [200, 800]}}},
        "gain_db": {**along, "range": [-6, 0]},
    }
    x = {"a": [0.0, 0.5, 1.0, 0.25], "b": [1.0, 0.0, 1.0, 0.0]}
    made, _ = desk(piece({"a": 1, "b": 1}, BAR), {"v": voice}, x, groups={"hall": hall})
    times = [0.5, 1.5, 2.5, 3.5]
    voice_lanes, group = made.voices["v"], made.groups["hall"]
    u = np.array(x["a"])
    np.testing.assert_allclose(decibels(voice_lanes.amplitude, *times), -20 + 20 * u, atol=1e-6)
    np.testing.assert_allclose(decibels(voice_lanes.sends["hall"], *times), -40 + 30 * u, atol=1e-6)
    (lowpass,) = voice_lanes.effects
    np.testing.assert_allclose(at(lowpass.lanes["cutoff"], *times), 100 * 16**u)
    assert lowpass.lanes["q"] == 2
    assert [e.effect for e in group.effects] == ["lowpass", "lowpass"]
    np.testing.assert_allclose(at(group.effects[1].lanes["cutoff"], *times), [800, 200, 800, 200])
    np.testing.assert_allclose(decibels(group.gain, *times), -6 + 6 * u, atol=1e-6)


def test_an_earcon_is_heard_while_its_voice_sounds_alone():
    pitch = {"channel": "x", "range": [100, 200], "missing": "earcon"}
    sections = [
        {"name": "0", "bars": 1, "voices": []},
        {"name": "1", "bars": 1},
        {"name": "2", "bars": 1, "warp": {"a": {"kind": "retrograde"}}},
    ]
    gone = [
        Event(t, k, {"channel": "x", "value": "nan"})
        for t, k in ((4, "diverged"), (8, "recovered"), (20, "diverged"), (22, "recovered"))
    ]
    made = desk(
        piece({"a": 4}, *sections), {"v": {**DRONE, "lanes": {"pitch": pitch}}}, {"a": np.arange(32)}, {"a": gone}
    )
    voice = made[0].voices["v"]
    starts = np.flatnonzero((voice.taps > 0) & (np.r_[0, voice.taps[:-1]] == 0)) / CONTROL_RATE
    np.testing.assert_allclose(starts, [5, 8 + 10 / 4], atol=0.01)  # not the first; turned round, tick 21 is lost first
    np.testing.assert_allclose(at(voice.amplitude, 5.2, 5.6, 8 + 10.5 / 4, 8 + 12.5 / 4), [0, 1, 0, 1], atol=1e-6)


def test_a_part_that_made_no_tick():
    """Its voices are silent; to follow its channels is refused in a line that names it."""
    what = piece({"a": 4, "b": 4}, {**BAR, "parts": ["a"]}, {"name": "two", "bars": 1})
    x = {"a": np.zeros(10), "b": np.zeros(0)}
    made, _ = desk(what, {"v": DRONE, "w": {**DRONE, "part": "b"}}, x)
    assert list(made.voices) == ["v"]
    follows = {"channel": "b.x", "range": [100, 200]}
    for voice in (
        {**DRONE, "lanes": {"pitch": follows}},
        {**PLUCK, "steps": {}, "lanes": {"pitch": follows}},
        {**PLUCK, "steps": {"chance": {"channel": "b.x", "range": [0, 1]}}},
    ):
        with pytest.raises(DescantError, match=r"channel b\.x: its part made no tick, so there is nothing to play"):
            desk(what, {"v": voice}, x)
