"""What the session knows of a performance, against the performance itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pieces.form import Stretch
from pieces.piece import find_piece, parse_piece
from pieces.signals import Event, FrameBlock
from studio.compose import conduct
from studio.messages import Made, Opened, Position
from studio.performance import Performance
from studio.plan import plan
from studio.run import Run

TAKE: Any = None  # nothing is recorded here, nor noted


class Observer:
    """A stage that notes how many ticks every part has made at every beat."""

    grain = 0.25

    def __init__(self) -> None:
        self.seen: dict[float, dict[str, int]] = {}

    def wait(self, stretch: Stretch, performances: Mapping[str, Performance]) -> None:
        self.seen[stretch.beat] = {part: p.tick for part, p in performances.items()}

    def hear(self, part: str, block: FrameBlock) -> None: ...


def piece(name: str) -> Any:
    if name != "bent":
        return find_piece(name)[0]
    fit = {"source": "cubics", "rate": 20, "controls": {"targets": 100}}
    knot = {"source": "knots", "per_beat": "7/2", "controls": {"targets": 100}}
    sections = [
        {"name": "a", "bars": 1.5, "tempo": [60, 140]},
        {"name": "b", "bars": 2, "parts": ["knot"], "tempo": 90},
        {"name": "c", "bars": 3, "until": "knot.converged", "quantise": "beat"},
        {"name": "d", "bars": 1, "warp": {"fit": {"kind": "freeze"}, "knot": {"kind": "retrograde"}}},
        {"name": "e", "bars": 1},
    ]
    score = {"voices": {"x": {"instrument": "glide", "part": "fit"}}}
    return parse_piece({"title": "b", "parts": {"fit": fit, "knot": knot}, "sections": sections, "score": score}, "b")


def performed(name: str, seed: int = 3) -> tuple[Run, Observer]:
    found = piece(name)
    planned = plan(name, found, Path.cwd())
    run, observer = Run(name, planned.piece.model_dump(mode="json"), Path.cwd(), seed, TAKE), Observer()
    for part, block in conduct(planned.piece, planned.players, seed, stage=observer):
        run.made(Made(part, block))
    return run, observer


@pytest.mark.parametrize("name", ["cubics", "bent", "knots"])
def test_ticks_at_a_beat_are_those_that_were_made_by_then(name: str) -> None:
    run, observer = performed(name)
    assert len(observer.seen) > 8
    for beat, made in observer.seen.items():
        assert run.ticks_at(beat) == made, beat
    assert run.ticks_at(1e9) == run.ticks
    assert run.duration == pytest.approx(run.form().spans[-1].seconds[1])


def test_what_was_given_is_told_up_to_a_tick_and_gives_the_state_there() -> None:
    found = piece("cubics")
    run = Run("cubics", found.model_dump(mode="json"), Path.cwd(), 0, TAKE)
    score = {"voices": {}}
    events = (
        Event(0, "note", {"midi": 60}, True),
        Event(5, "control", {"name": "learning_rate", "value": 0.02}, True),
        Event(7, "control", {"name": "noise", "value": 0.5}, False),  # the piece itself
        Event(9, "score", {"score": score, "beat": 0.5}, True),
        Event(12, "control", {"name": "learning_rate", "value": 0.03}, True),
        Event(19, "stopped", {"section": 0, "bars": 1.0, "ticks": {"cubics": 20}}, True),
    )
    run.made(Made("cubics", FrameBlock(0, {}, events)))
    told = run.told_until({"cubics": 12})
    assert [e.tick for e in told["cubics"]] == [0, 5, 9]
    assert [e.kind for e in run.told_until({"cubics": 99}, "control", "score")["cubics"]] == ["note"]
    state = run.state(told)
    assert state["parts"]["cubics"]["controls"]["learning_rate"] == 0.02
    assert state["score"] == score
    assert run.piece["score"] != score
    run.given, run.until = told, 0.5
    begin = run.begin("address")
    assert begin.paused
    assert begin.given["cubics"][1] == {
        "tick": 5,
        "kind": "control",
        "data": {"name": "learning_rate", "value": 0.02},
        "given": True,
    }


def test_the_last_bars_begin_on_a_bar_line() -> None:
    run, _ = performed("bent")
    for end, bars, first in ((13.0, 2, 4), (12.0, 2, 4), (13.0, 99, 0), (0.5, 1, 0)):
        run.position = Position("live", end, 0.0, end, 1, 60.0, 1.0, "", {})
        start, stop = run.last(bars)
        tempi = run.form().tempi
        assert (start, stop) == pytest.approx(tuple(tempi.seconds([float(first), end])))


def test_paths_stand_for_earlier_takes_and_only_there() -> None:
    raw = {
        "title": "x",
        "parts": {"old": {"source": "recording", "rate": 20, "ticks": 9, "inputs": {"take": "0190"}}},
        "score": {
            "voices": {
                "s": {"instrument": "sampler", "sample": "take:0190", "on": ["old.x"]},
                "t": {"instrument": "sampler", "sample": "own.wav", "on": ["old.x"]},
            }
        },
    }
    data = parse_piece(raw, "x").model_dump(mode="json")
    run = Run("x", data, Path.cwd(), 0, TAKE, paths={"old.take": "/a/old.stream", "sample.s": "/a/mix.wav"})
    begin = run.begin(None)
    assert begin.piece["parts"]["old"]["inputs"] == {"take": "/a/old.stream"}
    assert [v["sample"] for v in begin.piece["score"]["voices"].values()] == ["/a/mix.wav", "own.wav"]
    assert data["parts"]["old"]["inputs"] == {"take": "0190"}
    assert (begin.paused, begin.seed, begin.engine) == (True, 0, None)
    run.opened = Opened({}, {}, {})
    assert not run.begun
