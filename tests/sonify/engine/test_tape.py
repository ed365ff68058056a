"""Files on decks: positions are decoded from a file whose every sample says where it is."""

import numpy as np
import pytest
import soundfile

from sonify.engine import commands as c
from sonify.engine.sources import JUMP, Player
from sonify.engine.tape import TapeError, read
from tests.sonify.engine.conftest import RATE, until
from tests.sonify.engine.test_life import written

SECONDS = 8.0


@pytest.fixture
def place(tmp_path):
    """A file from 0 to 0.8."""
    return written(tmp_path / "place.wav", SECONDS, lambda t: t / 10)


def test_a_deck_plays_seeks_and_loops(rig, place):
    r = rig()
    r.record()
    r.engine.send(c.LoadFile("tape", place, at=1.0, fade=0.01))
    until(lambda: "tape" in r.engine.state().decks)
    r.wait(0.4)
    r.engine.send(c.Seek("tape", 5.0))
    r.wait(0.4)
    r.engine.send(c.Loop("tape", (2.0, 2.1)))
    r.engine.send(c.Seek("tape", 2.0))
    r.wait(0.45)
    at = r.engine.state().decks["tape"][0]
    assert 1.99 <= at <= 2.1
    where = r.heard()[:, 0] * 10
    where = where[np.flatnonzero(where > 0.9)[0] + 960 :]
    jumps = np.flatnonzero(np.abs(np.diff(where)) > 1.5 / RATE)
    # It goes at one second a second, but for the moments of a jump.
    assert len(jumps) < 8 * JUMP * RATE + 50
    assert where[0] == pytest.approx(1.02, abs=0.03)
    seek = np.flatnonzero(where > 4.999)
    assert where[seek[0] + 4800] == pytest.approx(5.1, abs=1e-3)
    looped = where[-round(0.35 * RATE) :]
    np.testing.assert_allclose(looped[:9600], looped[4800:14400], atol=1e-4)  # a tenth of a second, exactly
    assert looped.max() < 2.1 + 1e-3
    assert looped.min() > 1.99


def test_a_file_ends_once_and_holds_where_it_is_held(rig, place):
    r = rig()
    r.engine.send(c.LoadFile("tape", place, at=SECONDS - 0.3, paused=True))
    until(lambda: "tape" in r.engine.state().decks)
    r.wait(0.5)
    assert r.engine.state().decks["tape"][0] == pytest.approx(SECONDS - 0.3, abs=0.001)
    assert c.Ended("tape") not in r.answers
    r.engine.send(c.Hold("tape", False))
    until(lambda: c.Ended("tape") in r.answers)
    r.wait(0.3)
    assert r.answers.count(c.Ended("tape")) == 1


def test_gains_of_file_and_deck_multiply(rig, tmp_path):
    r = rig()
    r.engine.send(c.DeckGain("tape", -6.0))
    r.engine.send(c.LoadFile("tape", written(tmp_path / "a.wav", 5.0), gain_db=-6.0))
    until(lambda: "tape" in r.engine.state().decks)
    r.record()
    r.wait(0.3)
    assert np.abs(r.heard()[4800:]).max() == pytest.approx(0.2 * 10 ** (-12 / 20), rel=0.01)


def test_a_loop_has_its_length_to_the_sample_and_its_attack():
    """A click at the start of a loop is there every time, at full height; and nothing is louder than that."""
    samples = np.zeros((48_000, 2), dtype=np.float32)
    samples[12_000] = 1.0
    player = Player(samples, 12_000, (12_000, 17_001), RATE, lambda: None)
    out = np.concatenate([_block(player, 1024) for _ in range(40)])[:, 0]
    clicks = np.flatnonzero(out > 0.5)
    np.testing.assert_array_equal(np.diff(clicks), 5001)
    np.testing.assert_allclose(out[clicks], 1.0)


@pytest.mark.parametrize("block", [64, 1024])
def test_seeking_again_and_again_never_jumps(block):
    dice = np.random.default_rng(0)
    t = np.arange(480_000) / RATE
    samples = np.repeat(0.5 * np.sin(2 * np.pi * 100 * t)[:, None], 2, axis=1).astype(np.float32)
    player = Player(samples, 0, None, RATE, lambda: None)
    out = []
    for i in range(300):
        if i % 3 == 0:
            player.seek(int(dice.integers(0, 400_000)))
        out.append(_block(player, block))
    steepest = np.abs(np.diff(np.concatenate(out)[:, 0])).max()
    assert steepest < 2 * np.pi * 100 / RATE * 0.5 + 4 / (JUMP * RATE)


def test_other_rates_and_formats_are_read_and_ours_is_mapped(tmp_path, place):
    ours = read(place, RATE)
    assert ours.base is not None
    np.testing.assert_allclose(ours[:, 1], np.arange(len(ours)) / RATE / 10, atol=1e-6)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(44_100) / 44_100)
    soundfile.write(tmp_path / "b.flac", tone, 44_100)
    other = read(tmp_path / "b.flac", RATE)
    assert other.shape == (RATE, 2)
    meant = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(other[1000:-1000, 0], meant[1000:-1000], atol=2e-3)
    soundfile.write(tmp_path / "three.wav", np.zeros((10, 3)), RATE)
    for path, said in ((tmp_path / "three.wav", "3 channels"), (tmp_path, "cannot be read")):
        with pytest.raises(TapeError, match=said):
            read(path, RATE)


def _block(player, size):
    out = np.empty((size, 2))
    player.block(out)
    return out
