"""Small parts of the engine by themselves: gains, notes, shared memory, the wire, and how underruns are noticed."""

import socket
import threading
import time

import numpy as np
import pytest

from sonify.engine.device import Underruns
from sonify.engine.ring import LaneRing, RingError
from sonify.engine.sources import Ramp, Ringing
from sonify.engine.wire import Wire

RATE = 48_000


def test_a_ramp_is_one_line_over_blocks_of_any_size():
    ramp = Ramp(0.2)
    ramp.to(1.0, 1000)
    made = np.concatenate([np.broadcast_to(ramp.block(n), n) for n in (1, 300, 64, 700, 100)])
    np.testing.assert_allclose(made[:1000], 0.2 + 0.8 * np.arange(1, 1001) / 1000, atol=1e-12)
    assert (made[1000:] == 1.0).all()


@pytest.mark.parametrize("block", [64, 1000, 1024])
def test_notes_are_added_at_their_samples_whatever_the_block(block):
    dice = np.random.default_rng(0)
    notes = [(int(dice.integers(0, 20_000)), dice.standard_normal(dice.integers(1, 9000))) for _ in range(100)]
    ringing = Ringing(False, RATE)
    meant = np.zeros(40_000)
    for first, samples in notes:
        ringing.add(first, samples)
        meant[first : first + len(samples)] += samples
    out, late = [], 0
    for start in range(0, 40_000 - block, block):
        out.append(np.empty(block))
        late += ringing.block(start, out[-1])
    made = np.concatenate(out)
    np.testing.assert_allclose(made, meant[: len(made)], atol=1e-12)
    assert late == 0


def test_a_note_ends_the_one_of_its_pitch_smoothly_and_no_other():
    ringing = Ringing(True, RATE)
    ringing.add(0, np.full(RATE, 1.0), 440.0)
    ringing.add(0, np.full(RATE, 0.1), 550.0)
    ringing.add(10_000, np.zeros(RATE), 440.0)
    made = np.concatenate([_ringing(ringing, start) for start in range(0, 20_480, 1024)])
    np.testing.assert_allclose(made[:10_000], 1.1)
    np.testing.assert_allclose(made[10_800:], 0.1)
    assert np.abs(np.diff(made)).max() < 0.01


def test_a_note_that_is_late_sounds_at_once_and_is_counted():
    ringing = Ringing(False, RATE)
    ringing.add(100, np.ones(10))
    out = np.empty(1024)
    assert ringing.block(4096, out) == 1
    assert (out[:10] == 1).all()


def test_a_ring_holds_what_its_writer_has_written(tmp_path):
    ring = LaneRing.create(tmp_path, slots=64, points=100)
    other = LaneRing.attach(tmp_path)
    lines = np.arange(3)[:, None] * 1000.0 + np.arange(500)
    for first in range(0, 300, 30):
        other.write(1, 16, first, lines[:, first : first + 30])
    other.written(1, 300)
    points, have = ring.read(16, 3, 250, 50, ring.until(1))
    assert have == 50
    np.testing.assert_array_equal(points, lines[:, 250:300])
    points, have = ring.read(16, 3, 280, 50, ring.until(1))
    assert have == 20
    np.testing.assert_array_equal(points[:, 20:], np.repeat(lines[:, 299:300], 30, axis=1))
    with pytest.raises(RingError, match="a share is 16"):
        other.write(1, 30, 0, lines[:, :10])
    ring.close()
    other.close()
    LaneRing.create(tmp_path, slots=8, points=8).close()  # an old one gives way


def test_the_clock_is_never_read_half_written(tmp_path):
    ring = LaneRing.create(tmp_path)
    ended = threading.Event()

    def write():
        i = 0
        while not ended.is_set():
            ring.publish(float(i), 2.0 * i)
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    other = LaneRing.attach(tmp_path)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        seconds, monotonic = other.clock()
        assert monotonic == 2 * seconds
    ended.set()
    writer.join()


def test_a_deck_is_never_told_where_another_one_is(tmp_path):
    ring = LaneRing.create(tmp_path)
    ended = threading.Event()

    def write():
        i = 0
        while not ended.is_set():
            i += 1
            here = [i, i + 1][: 1 + i % 2]
            ring.name("silent", [f"deck {number}" for number in here], [])
            time.sleep(0.0002)  # as long as a block takes from there to its end
            ring.publish(0.0, 0.0, positions=[float(number) for number in here])

    writer = threading.Thread(target=write)
    writer.start()
    other, seen = LaneRing.attach(tmp_path), set()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        for name, (position, _, _) in other.state().decks.items():
            assert name == f"deck {position:.0f}"
            seen.add(name)
    ended.set()
    writer.join()
    assert len(seen) > 20


def test_an_engine_that_died_while_it_wrote_holds_nobody(tmp_path):
    ring = LaneRing.create(tmp_path)
    ring.name("silent", ["tone"], [])
    ring.publish(3.0, 6.0, positions=[1.5])
    ring._head["turn"][0] += 1  # killed here
    other = LaneRing.attach(tmp_path)
    assert other.clock() == (3.0, 6.0)
    assert other.state().decks["tone"][0] == 1.5


def test_sending_never_waits_and_nothing_is_lost_or_reordered():
    ours, theirs = (Wire(end) for end in socket.socketpair())
    big = b"x" * 100_000
    begun = time.monotonic()
    for i in range(300):
        assert ours.send((i, big))  # 30 MB, and nobody reads
    assert time.monotonic() - begun < 2.0
    assert [theirs.receive()[0] for _ in range(300)] == list(range(300))
    theirs.close()
    with pytest.raises(EOFError):
        ours.receive()
    for _ in range(3):
        sent = ours.send("gone")
    assert not sent


def test_underruns_are_told_from_jitter_and_drift():
    length, dice = 1024 / RATE, np.random.default_rng(0)
    blocks = np.arange(3000)
    even = blocks * length * (1 + 100e-6)  # a device whose clock goes wrong by 100 ppm
    jitter = dice.exponential(0.004, len(blocks)) + np.where(dice.random(len(blocks)) < 0.01, 0.015, 0.0)
    for lost in ([], [500], [500, 1200, 2000, 2001]):
        late = sum((blocks >= at) * length for at in lost) if lost else 0.0
        counter = Underruns(length)
        for moment in even + jitter + late:
            counter.asked(float(moment))
        assert counter.count == len(lost)


def _ringing(ringing, start):
    out = np.empty(1024)
    ringing.block(start, out)
    return out
