"""What the engine plays, recorded and measured."""

import time

import numpy as np
import pytest

from sonify.desk import EffectLanes, GroupLanes
from sonify.engine import commands as c
from tests.sonify.engine.conftest import RATE, hum, struck, until


def peaks(sound, size=480):
    """Peak of each 10 ms."""
    return np.abs(sound[: len(sound) // size * size, 0]).reshape(-1, size).max(axis=1)


def eased(sound):
    """A piece cut out of a sound, without the edges that the cut has made."""
    ramp = np.minimum(np.arange(len(sound)) / 960, 1.0)
    return sound * (ramp * ramp[::-1])[:, None]


def cents(heard, meant):
    return 1200 * np.log2(heard / meant)


def test_a_lane_is_heard_at_its_pitch_and_when_it_moves(rig, partial, clicks):
    r = rig()
    performer = r.performer()
    turn = performer.now() + 1.0
    performer.play({"a": hum(lambda t: np.where(t < turn, 311.0, 466.0), 0.3)})
    r.record()
    r.wait(turn + 0.5 - performer.now())
    heard = r.heard()
    assert abs(cents(partial(heard[4800:19200, 0], RATE, 100, 2000), 311.0)) < 5
    assert abs(cents(partial(heard[-14400:, 0], RATE, 100, 2000), 466.0)) < 5
    assert not len(clicks(eased(heard[4800:]), RATE))
    assert r.engine.state().late == 0


def test_notes_fall_on_their_samples_in_any_order(rig):
    r = rig()
    performer = r.performer()
    performer.play({"a": struck()})
    r.record()
    begin = performer.now() + 0.3
    gaps = np.array([0.0, 0.1234, 0.3001, 0.7])
    for gap in gaps[[2, 0, 3, 1]]:
        performer.strike("a", begin + gap, decay=0.05)
    r.wait(1.3)
    sound = np.abs(r.heard()[:, 0])
    onsets = [np.flatnonzero(sound > 0)[0]]
    for gap in gaps[1:]:
        after = onsets[0] + round(gap * RATE) - 960
        assert not sound[after : after + 940].any()  # silence before it
        onsets.append(after + np.flatnonzero(sound[after:] > 0)[0])
    np.testing.assert_allclose((onsets - onsets[0]) / RATE, gaps, atol=1.5 / RATE)


def test_no_note_is_lost_when_another_score_takes_over(rig):
    """Notes are sent ahead; some wait when the voice that they are for is replaced."""
    r = rig()
    performer = r.performer()
    voices = {"a": struck(), "b": hum(300.0, 0.0)}
    performer.play(voices)
    r.record()
    begin = performer.now() + 0.3
    for i in range(20):
        performer.strike("a", begin + 0.1 * i, decay=0.06)
        if i % 4 == 3:
            r.wait(begin + 0.1 * i - 0.25 - performer.now())
            performer.play(voices, wait=False)
    r.wait(begin + 2.2 - performer.now())
    sound = np.abs(r.heard()[:, 0])
    first = np.flatnonzero(sound > 1e-4)[0]
    for i in range(20):
        onset = first + round(0.1 * i * RATE)
        assert sound[onset : onset + 480].max() > 0.05
        assert sound[max(onset - 480, 0) : onset - 24].max(initial=0.0) < 0.01


def test_a_key_sounds_in_the_next_blocks(rig):
    """A note without a time, against one whose time is known."""
    r = rig()
    performer = r.performer()
    performer.play({"a": struck()})
    r.record()
    begin = performer.now() + 0.2
    performer.strike("a", begin, decay=0.05)
    r.wait(0.5)
    pressed = performer.now()
    performer.strike("a", None, decay=0.05)
    r.wait(0.4)
    sound = np.abs(r.heard()[:, 0])
    first = np.flatnonzero(sound > 0)[0]
    second = first + 9600 + np.flatnonzero(sound[first + 9600 :] > 0)[0]
    assert 0 <= begin + (second - first) / RATE - pressed < 0.06


def test_another_score_takes_over_without_click_or_gap(rig, clicks):
    r = rig()
    performer = r.performer()
    performer.play({"a": hum(300.0, 0.3)})
    r.record()
    for pitch in (420.0, 300.0, 500.0):
        r.wait(0.25)
        performer.play({"a": hum(pitch, 0.3)})
    r.wait(0.3)
    heard = r.heard()[4800:]
    assert not len(clicks(eased(heard), RATE))
    assert peaks(heard).min() > 0.6 * np.median(peaks(heard))
    assert peaks(heard).max() < 1.6 * np.median(peaks(heard))
    # The judge hears what a hard cut would be.
    cut = np.concatenate([heard[:9613], heard[14000:]])
    assert len(clicks(eased(cut), RATE))


def test_decks_crossfade_and_keep_their_own_gains(rig, partial):
    r = rig()
    performer = r.performer()
    performer.play({"a": hum(300.0, 0.2)}, "one")
    performer.play({"a": hum(700.0, 0.2)}, "two")
    r.wait(0.3)
    assert set(r.engine.state().decks) == {"one", "two"}
    r.engine.send(c.DeckGain("two", -100.0))
    r.wait(0.2)
    r.record()
    r.wait(0.3)
    sound = r.heard()[:, 0]
    assert abs(cents(partial(sound, RATE, 100, 2000), 300.0)) < 5
    level = {f: np.abs(np.exp(-2j * np.pi * f / RATE * np.arange(9600)) @ sound[:9600]) for f in (300, 700)}
    assert level[700] < 0.001 * level[300]
    r.engine.send(c.Unload("one", 0.05))
    until(lambda: "one" not in r.engine.state().decks)
    r.wait(0.15)
    assert max(r.engine.state().peak) < 1e-3


def test_a_fader_that_is_moved_while_another_score_comes_is_moved(rig):
    """However it falls: before it is built, while it is, or after."""
    r = rig()
    performer = r.performer()
    voices = {"low": hum(200.0, 0.2), "high": hum(900.0, 0.2)}
    performer.play(voices)
    for n in range(24):
        on = n % 2 == 1
        performer.play(voices, wait=False)
        time.sleep(0.002 * (n // 2))
        r.engine.send(c.Strip("live", "high", on=on))
        r.wait(0.3)
        assert (r.engine.state().strips["live", "high"] > 1e-3) == on, n


def test_mute_is_silent_without_a_click_and_stays_through_a_change(rig, clicks):
    r = rig()
    performer = r.performer()
    voices = {"low": hum(200.0, 0.2), "high": hum(900.0, 0.2)}
    performer.play(voices)
    r.record()
    r.wait(0.3)
    r.engine.send(c.Strip("live", "high", on=False))
    r.wait(0.3)
    performer.play(voices)
    r.wait(0.3)
    state = r.engine.state()
    assert state.strips["live", "high"] < 1e-6 < state.strips["live", "low"]
    r.engine.send(c.Strip("live", "high", gain_db=-6.0))
    r.wait(0.3)
    heard = r.heard()

    def level(frequency, start, end):
        part = heard[start:end, 0]
        return np.abs(np.exp(-2j * np.pi * frequency / RATE * np.arange(len(part))) @ part) / len(part)

    first, last = (2400, 12_000), (len(heard) - 9600, len(heard))
    muted = (len(heard) - 24_000, len(heard) - 19_200)
    assert level(900, *muted) < 1e-3 * level(900, *first)
    assert level(200, *muted) == pytest.approx(level(200, *first), rel=0.1)
    assert 20 * np.log10(level(900, *last) / level(900, *first)) == pytest.approx(-6, abs=0.3)
    assert not len(clicks(eased(heard), RATE))


def test_groups_and_sends_are_heard(rig):
    """A voice through a group with a gain of -12 dB, beside one that goes straight to the mix."""
    r = rig()
    performer = r.performer()
    groups = {"room": GroupLanes((EffectLanes("lowpass", {"cutoff": 2000.0, "q": 0.71}),), 0.25)}
    performer.play({"dry": hum(300.0, 0.2), "wet": hum(500.0, 0.2, into="room")}, groups=groups)
    r.record()
    r.wait(0.4)
    sound = r.heard()[4800:14400, 0]
    dry, wet = (np.abs(np.exp(-2j * np.pi * f / RATE * np.arange(9600)) @ sound) for f in (300, 500))
    assert 20 * np.log10(wet / dry) == pytest.approx(-12, abs=1)
    assert ("live", "room") in r.engine.state().strips


@pytest.mark.parametrize("building", [False, True])
def test_panic_silences_at_once_even_while_a_graph_is_built(rig, building):
    r = rig()
    performer = r.performer()
    performer.play({"a": hum(300.0, 0.4), "b": struck("bell")})
    performer.strike("b", decay=10.0)
    r.wait(0.2)
    r.record()
    if building:
        hall = EffectLanes("hall", {"decay": 2.0, "damping": 0.5, "predelay": 0.0, "mix": 0.3})
        performer.play({f"v{i}": hum(200.0 + i, 0.01, effects=(hall,)) for i in range(40)}, "big", wait=False)
        r.wait(0.03)
    pressed = r.engine.ring.now()
    r.engine.send(c.Panic())
    until(lambda: any(isinstance(answer, c.Silenced) for answer in r.answers))
    assert not building or c.Ready("big") not in performer.answers  # it was still being built
    took = r.engine.ring.now() - pressed
    r.wait(0.2)
    sound = np.abs(r.heard()).max(axis=1)
    last = np.flatnonzero(sound > 1e-6)[-1]
    smooth = np.convolve(sound, np.ones(240) / 240, "same")
    full = np.flatnonzero(smooth > 0.5 * np.median(smooth[: last // 2]))[-1]
    assert (last - full) / RATE < 0.010  # from loud to nothing
    assert len(sound) - last > 0.1 * RATE
    assert took < 0.35
    assert r.engine.state().decks == {}
    performer.play({"a": hum(300.0, 0.4)})  # and it plays again
    r.wait(0.2)
    assert max(r.engine.state().peak) > 0.1


def test_nothing_leaves_above_the_ceiling(rig):
    r = rig()
    performer = r.performer()
    performer.play({"a": hum(300.0, 0.5), "b": struck()})
    r.engine.send(c.MasterGain(30.0))
    r.record()
    for _ in range(5):
        performer.strike("b", velocity=1.0)
        r.wait(0.1)
    heard = np.abs(r.heard())
    assert heard.max() <= 10 ** (-1 / 20) + 1e-6
    assert heard.max() > 0.5


def test_a_writer_that_is_late_is_held_then_silent_then_heard_again(rig, partial):
    r = rig()
    performer = r.performer()
    performer.play({"a": hum(300.0, 0.3)})
    r.wait(0.2)
    r.record()
    performer.late.set()
    r.wait(0.7)
    state = r.engine.state()
    assert state.late > 5
    assert max(state.peak) > 0.2  # held
    r.wait(1.6)
    assert max(r.engine.state().peak) < 1e-3
    performer.late.clear()
    r.wait(0.8)
    assert max(r.engine.state().peak) > 0.2
    held = r.heard()[round(0.4 * RATE) : round(0.6 * RATE), 0]
    assert abs(cents(partial(held, RATE, 100, 2000), 300.0)) < 5


def test_what_is_replaced_slowly_does_not_play_its_past_again(rig, partial):
    """Its slots are written no more, and the ring would come round to what they were a second ago."""
    r = rig()
    performer = r.performer()
    turn = performer.now() + 1.0
    performer.play({"a": hum(lambda t: np.where(t < turn, 311.0, 466.0), 0.3)})
    r.wait(turn + 0.3 - performer.now())
    r.record()
    performer.play({"a": hum(500.0, 0.0)}, fade=4.0)
    r.wait(2.0)
    heard = r.heard()[:, 0]
    for start in range(0, len(heard) - 9600, 9600):
        assert abs(cents(partial(heard[start : start + 9600], RATE, 100, 2000), 466.0)) < 5


def test_a_performer_that_dies_leaves_nothing_sounding(rig):
    r = rig()
    performer, other = r.performer(), r.performer()
    performer.play({"a": hum(300.0, 0.3)}, "one")
    other.play({"a": hum(500.0, 0.1)}, "two")
    r.performers.remove(performer)
    performer.close()
    until(lambda: set(r.engine.state().decks) == {"two"}, 3.0)
    r.wait(0.7)
    assert 0.05 < max(r.engine.state().peak) < 0.15


def test_what_is_not_finite_is_stopped_and_the_rest_plays_on(rig):
    r = rig()
    performer, other = r.performer(), r.performer()
    performer.play({"a": hum(300.0, 0.3)}, "good")
    other.play({"a": hum(300.0, 0.3)}, "bad")
    bad = other.link._loaded["bad"].patch
    performer.late.clear()
    other.late.set()
    other.link.ring.fill(bad.base, np.full(bad.slots, np.nan))
    until(lambda: any(isinstance(a, c.Refused) and "deck bad" in a.reason for a in r.answers))
    r.wait(1.0)  # the limiter has held back
    state = r.engine.state()
    assert set(state.decks) == {"good"}
    assert 0.1 < max(state.peak) < 0.9
