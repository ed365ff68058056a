"""A performance in real time: what comes in reaches whom it concerns, and another machine's clock leads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pieces.piece import Piece, PieceError, parse_piece
from pieces.signals import Event, FrameBlock
from sonify.clock import ClockFollower
from sonify.incoming import Inbox, TimedEvent
from studio.compose import conduct
from studio.live import Hall, script
from studio.plan import Plan, plan
from studio.prompt import parse_controllers

LANES = {"pitch": {"channel": "loss", "range": [110, 440], "domain": "declared"}}


def piece(seconds: float = 1.0, **more: Any) -> Piece:
    return parse_piece(
        {
            "title": "live",
            "metre": {"tempo": 240},
            "parts": {"fit": {"source": "cubics", "per_beat": 10, "ticks": round(40 * seconds)}},
            "score": {"voices": {"a": {"instrument": "glide", "lanes": LANES}}},
            **more,
        },
        "live",
    )


def planned(**more: Any) -> Plan:
    return plan("live", piece(**more), Path.cwd())


def controls() -> dict[str, Any]:
    return {part: player.source.controls for part, player in planned().players.items()}


def performed(hall: Hall) -> tuple[list[FrameBlock], float]:
    began = time.monotonic()
    blocks = [block for _, block in conduct(hall.plan.piece, hall.plan.players, 1, stage=hall)]
    return blocks, time.monotonic() - began


def given(blocks: list[FrameBlock]) -> list[Event]:
    return [e for block in blocks for e in block.events if e.given]


def test_it_takes_as_long_as_it_lasts_and_gives_the_same_signals():
    made = planned()
    live, seconds = performed(Hall(made, Inbox()))
    offline = [block for _, block in conduct(made.piece, made.players, 1)]
    assert seconds > 0.9
    for name in offline[0].arrays:
        a, b = (np.concatenate([block.arrays[name] for block in blocks]) for blocks in (live, offline))
        assert np.array_equal(a, b)


def test_what_comes_in_turns_controls_and_plays_and_nonsense_is_said_and_left():
    inbox, said = Inbox(), []
    hall = Hall(planned(), inbox, controllers={1: ("fit", "learning_rate")}, notice=said.append)
    inbox.put("set", {"part": "fit", "control": "noise", "value": 0.25})
    inbox.put("control", {"cc": 1, "value": 1.0, "channel": 1})
    inbox.put("control", {"cc": 2, "value": 1.0, "channel": 1})
    inbox.put("note", {"midi": 60, "velocity": 0.5, "channel": 1})
    inbox.put("note_off", {"midi": 60, "velocity": 0.3, "channel": 1})
    inbox.put("set", {"part": "fit", "control": "noise", "value": 9})
    inbox.put("set", {"part": "fti", "control": "noise", "value": 0})
    blocks, _ = performed(hall)
    events = given(blocks)
    highest = next(c for c in hall.plan.players["fit"].source.controls if c.name == "learning_rate").range[1]
    assert [(e.data["name"], e.data["value"]) for e in events if e.kind == "control"] == [
        ("noise", 0.25),
        ("learning_rate", pytest.approx(highest)),
    ]
    assert [e.data["velocity"] for e in events if e.kind == "note"] == [0.5, 0.0]
    assert len(said) == 2
    assert "noise = 9: allowed are" in said[0]
    assert "did you mean 'fit'" in said[1]


def test_another_clock_leads():
    """A clock of 480 beats a minute plays a piece of 240 in half its time."""
    clock, ended = ClockFollower(), threading.Event()

    def tick() -> None:
        clock.feed(time.monotonic(), "start")
        began = time.monotonic()
        for k in range(100_000):
            if ended.wait(max(0.0, began + k * 60 / 480 / 24 - time.monotonic())):
                return
            clock.feed(time.monotonic(), "clock")

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        while clock.tempo is None:
            time.sleep(0.001)
        _, seconds = performed(Hall(planned(seconds=2.0), Inbox(), clock=clock))
    finally:
        ended.set()
        thread.join()
    assert seconds < 1.6


def test_the_events_of_a_file_fall_on_their_ticks():
    made = planned()
    notes = [TimedEvent(0.26, "note", {"midi": 60, "velocity": 1.0}), TimedEvent(0.5, "note_off", {"midi": 60})]
    assert [(e.tick, e.kind, e.data["velocity"]) for e in script(made, notes)["fit"]] == [
        (10, "note", 1.0),
        (20, "note", 0.0),
    ]
    with pytest.raises(PieceError, match="none of the 1 events is for it: it listens to"):
        script(made, [TimedEvent(0, "bend", {"semitones": 1.0})])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x=fit.noise", "NUMBER=part.control"),
        ("128=fit.noise", "0 to 127"),
        ("1", "NUMBER=part.control"),
        ("1=fat.noise", "did you mean 'fit'"),
        ("1=fit.nose", "did you mean 'noise'"),
        ("1=fit.optimiser", "no control 'optimiser' that a knob can turn"),
    ],
)
def test_controllers_that_turn_nothing(text, said):
    with pytest.raises(PieceError) as caught:
        parse_controllers(controls(), [text])
    assert said in str(caught.value)


def test_controllers():
    assert parse_controllers(controls(), ["1=fit.noise", "74=learning_rate"]) == {
        1: ("fit", "noise"),
        74: ("fit", "learning_rate"),
    }
