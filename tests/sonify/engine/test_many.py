"""Decks come and go by the hundred while blocks are made: the process lives, and the sound goes on."""

import random
import time

import numpy as np
import pytest
import soundfile

from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.effects import EFFECTS
from sonify.engine import commands as c
from sonify.engine.client import EngineLink
from sonify.engine.lines import Lines
from sonify.engine.patch import Window
from sonify.engine.ring import point
from sonify.instruments import INSTRUMENTS
from tests.sonify.engine.conftest import RATE, hum, until

#: Loads, and decks that they go to.
CYCLES, DECKS = 120, ("a", "b", "c")
MOVES = np.linspace(0.2, 0.8, 129)


def moving(declared):
    return {
        n: p.default if p.whole else p.range[0] + (p.range[1] - p.range[0]) * MOVES
        for n, p in declared.items()
        if n != "level"
    }


def patches():
    """Large ones, in which everything moves, with a window of 100 points for each."""
    effects = [tuple(EffectLanes(n, moving(EFFECTS[n].parameters)) for n in names) for names in WAYS]
    drones = [
        name for name, instrument in INSTRUMENTS.items() if not instrument.on_events and not instrument.needs_sample
    ]
    for effect in effects:
        voices = {
            f"{name} {i}": VoiceLanes(name, moving(INSTRUMENTS[name].parameters), 0.01 * MOVES, into="g")
            for name in drones
            for i in range(3)
        }
        lines = Lines(Desk(voices, {"g": GroupLanes(effect, MOVES)}))
        rows = np.full((lines.patch.slots, 100), 0.01)
        yield lines.patch, Window(rows, ())


WAYS = (("distortion", "delay"), ("hall", "lowpass"), ("plate", "compressor"))


def test_decks_come_and_go_while_blocks_are_made(rig):
    r = rig()
    performer = r.performer()
    performer.play({"on": hum(440.0, 0.2)})
    pid, before = r.engine.pid, r.engine.state()
    answers = []
    link = EngineLink(r.engine.address, answers.append)
    assert link.wait(10)
    dice, given = random.Random(1), list(patches())
    for number in range(CYCLES):
        deck = dice.choice(DECKS)
        patch, window = given[number % len(given)]
        link.load(deck, patch, window, point(link.ring.now()), dice.choice([0.0, 0.02, 0.2]))
        link.send(c.Unload(dice.choice(DECKS), dice.choice([0.0, 0.02])))
        time.sleep(dice.uniform(0.0, 0.1))
    for deck in DECKS:
        link.send(c.Unload(deck, 0.0))
    until(lambda: (state := r.engine.state()) and set(state.decks) == {"live"}, 30)
    r.record()
    r.wait(0.5)
    heard = r.heard()
    link.close()
    state = r.engine.state()
    assert (r.engine.pid, state.faults) == (pid, 0), (answers[:5], r.answers)
    assert state.blocks > before.blocks + 100
    assert not [a for a in (*answers, *r.answers) if isinstance(a, c.Refused | c.Died)]
    assert np.sqrt((heard[4800:] ** 2).mean()) > 0.05  # and that which was there all the time is heard


#: A tone whose waves fit no block, so that a block too few or too many shows; large graphs that come meanwhile.
HERTZ, GRAPHS = 253.7, 60
_WAVE = 2 * np.pi * HERTZ / RATE


def breaks(sound):
    """Samples that do not follow from the two before them, as those of a sine do."""
    return np.flatnonzero(np.abs(sound[2:] - 2 * np.cos(_WAVE) * sound[1:-1] + sound[:-2]) > 1e-4)


@pytest.mark.parametrize("block", [512, 1024])
def test_a_block_that_is_missing_or_repeated_is_noticed(block):
    sine = 0.25 * np.sin(_WAVE * np.arange(RATE))
    assert not len(breaks(sine))
    assert len(breaks(np.concatenate([sine[:9000], sine[9000 + block :]])))
    assert len(breaks(np.concatenate([sine[:9000], np.zeros(block), sine[9000:]])))
    assert len(breaks(np.concatenate([sine[:9000], sine[9000 - block :]])))


def test_no_block_is_lost_while_graphs_come_and_go(rig, tmp_path):
    r = rig()
    soundfile.write(tmp_path / "sine.wav", 0.25 * np.sin(_WAVE * np.arange(60 * RATE)), RATE, subtype="FLOAT")
    r.engine.send(c.LoadFile("sine", tmp_path / "sine.wav", fade=0.0))
    until(lambda: c.Ready("sine") in r.answers)
    answers = []
    link = EngineLink(r.engine.address, answers.append)
    assert link.wait(10)
    link.send(c.DeckGain("graphs", -200.0))
    given = list(patches())
    r.record()
    number, long_enough = 0, link.ring.now() + 3.0  # on a fast machine more graphs come and go
    while number < GRAPHS or link.ring.now() < long_enough:
        link.load("graphs", *given[number % len(given)], point(link.ring.now()), 0.0)
        number += 1
        until(lambda many=number: answers.count(c.Ready("graphs")) >= many, 30)
        assert "graphs" in link.ring.state().decks  # what is ready is named
    heard = r.heard()[:, 0]
    link.close()
    assert not [a for a in answers if isinstance(a, c.Refused)]
    begins = np.flatnonzero(heard)[0]
    assert len(heard) - begins > 2 * RATE
    assert not len(breaks(heard[begins:]))
