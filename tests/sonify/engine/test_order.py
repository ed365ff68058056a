"""Several tell the engine about one deck, each on its own way: what was said last counts, whatever comes last."""

import random
import threading
import time

import numpy as np
import pytest

from sonify.desk import Desk, VoiceLanes
from sonify.engine import commands as c
from sonify.engine.client import EngineLink
from sonify.engine.lines import Lines
from sonify.engine.ring import point
from tests.sonify.engine.conftest import hum, until

ENDS = np.linspace(0.0, 1.0, 129)


def decks(r):
    return set(r.engine.state().decks)


def test_an_unload_that_was_said_before_a_load_does_not_end_it(rig):
    r = rig()
    said = time.monotonic()
    performer = r.performer()
    performer.play({"a": hum()})
    r.engine.send(c.Unload("live", 0.0, said=said))
    r.wait(0.3)
    assert max(r.engine.state().peak) > 0.05
    r.engine.send(c.Unload("live", 0.0))
    until(lambda: not decks(r))


def test_a_load_that_was_said_before_an_unload_is_not_played(rig, tmp_path):
    r = rig()
    performer = r.performer()
    said = time.monotonic()
    r.engine.send(c.Unload("live", 0.0))
    patch = Lines(Desk({"a": VoiceLanes("glide", {"pitch": 300.0, "brightness": 0.3}, ENDS)}, {})).patch
    performer.link.send(c.LoadPatch("live", patch, said=said))
    performer.play({"b": hum()}, deck="other")  # which comes after it
    assert decks(r) == {"other"}


def test_what_is_loaded_at_once_after_panic_is_heard(rig):
    """And not forgotten by whoever writes it, when the engine says that panic is over."""
    r = rig()
    performer = r.performer()
    begins = [0.0]
    performer.play({"a": hum(300.0, lambda seconds: np.where(seconds > begins[0], 0.2, 0.0))})
    lines, voices = performer._decks["live"]
    for _ in range(3):
        silenced = sum(isinstance(a, c.Silenced) for a in performer.answers)
        r.engine.send(c.Panic())
        with performer._lock:  # as `play`, but without any time in between
            begins[0] = performer.now() + 0.5  # what is heard is written later
            window = performer._window(lines, voices, None, performer._until, 1)
            performer.link.load("live", lines.patch, window, performer._until)
        until(lambda n=silenced: sum(isinstance(a, c.Silenced) for a in performer.answers) > n)
        until(lambda: decks(r) == {"live"})
        r.wait(1.0)
        assert max(r.engine.state().peak) > 0.05


def test_a_load_that_was_said_before_panic_is_not_played(rig):
    r = rig()
    performer = r.performer()
    said = time.monotonic()
    r.engine.send(c.Panic())
    until(lambda: any(isinstance(a, c.Silenced) for a in performer.answers))
    patch = Lines(Desk({"a": VoiceLanes("glide", {"pitch": 300.0, "brightness": 0.3}, ENDS)}, {})).patch
    performer.link.send(c.LoadPatch("live", patch, said=said))
    performer.play({"b": hum()}, deck="other")
    assert decks(r) == {"other"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_two_who_speak_at_once_the_last_word_counts(rig, seed):
    r = rig()
    words: list[tuple[float, str | None]] = []

    def speak(link, voice, dice):
        lanes = {"pitch": 300.0, "brightness": 0.3}
        lines = Lines(Desk({voice: VoiceLanes("glide", lanes, ENDS)}, {}))
        window = lines.window(Desk({voice: VoiceLanes("glide", lanes, np.ones(100))}, {}), 1, 100)
        for _ in range(25):
            if dice.random() < 0.5:
                command = c.Unload("live", 0.0)
                words.append((command.said, None))
                link.send(command)
            else:
                link.load("live", lines.patch, window, point(link.ring.now()), 0.0)
                words.append((link._loaded["live"].said, voice))
            time.sleep(dice.uniform(0.0, 0.03))

    links = [EngineLink(r.engine.address) for _ in range(2)]
    assert all(link.wait(10) for link in links)
    speakers = [
        threading.Thread(target=speak, args=(link, voice, random.Random(f"{seed}{voice}")))
        for link, voice in zip(links, ("one", "two"), strict=True)
    ]
    for thread in speakers:
        thread.start()
    for thread in speakers:
        thread.join()
    voice = max(words, key=lambda word: word[0])[1]
    meant = [] if voice is None else [("live", voice)]
    until(lambda: list(r.engine.state().strips) == meant)
    r.wait(0.3)
    assert list(r.engine.state().strips) == meant
    for link in links:
        link.close()
