"""A plan: everything that can be refused is refused before anything is performed, in a line that a composer reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pieces.errors import DescantError
from pieces.piece import Piece, parse_piece
from studio.plan import CODE, Plan, plan

PARTS = {
    "slow": {"source": "knots", "per_beat": 4},
    "fit": {"source": "cubics", "per_beat": "3/2"},
    "ride": {"source": "landscape", "rate": 20},
}
VOICES = {
    "tone": {"instrument": "glide", "part": "slow", "lanes": {"pitch": {"channel": "loss", "range": ["A2", "A4"]}}},
    "bell": {"instrument": "bell", "part": "fit", "on": ["converged", "slow.converged"]},
}
SECTION = {"name": "one", "bars": 4}


def section(**fields: Any) -> dict[str, Any]:
    return {"sections": [{**SECTION, **fields}]}


def voice(**fields: Any) -> dict[str, Any]:
    return {"score": {"purpose": "music", "voices": {**VOICES, "more": fields}, "groups": {"hall": {}}}}


def piece(**fields: Any) -> Piece:
    score = {"purpose": "music", "voices": VOICES, "groups": {"hall": {"effects": {"hall": {}}}}}
    return parse_piece({"title": "T", "parts": PARTS, "sections": [SECTION], "score": score} | fields, "my.toml")


def planned(base: Path, **fields: Any) -> Plan:
    return plan("my.toml", piece(**fields), base)


def follow(**fields: Any) -> dict[str, Any]:
    return {"channel": "slow.loss", "domain": [0.01, 1], "range": [0.1, 0.2], **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        section(voices=["tone"], gains={"bell": -6, "hall": [-12, 0]}, until="slow.converged"),
        section(controls={"fit.noise": [0, 1], "fit.optimiser": "adam", "fit.points": [4, 1000], "slow.rest": 3}),
        section(controls={"fit.learning_rate": follow(shape="log"), "fit.points": follow(range=[100.2, 8.4])}),
        section(warp={"ride": {"kind": "even", "ticks": 100, "channel": "curvature"}}),
        section(until="slow.diverged"),
        voice(instrument="pluck", part="ride", on=["cliff"], crossing={"channel": "fit.loss", "level": 0.1}, steps={}),
        voice(instrument="glide", part="ride", lanes={"pitch": {"channel": "class_loss[3]", "range": [100, 200]}}),
    ],
)
def test_what_holds_together(tmp_path, fields):
    made = planned(tmp_path, **fields)
    assert list(made.players) == list(PARTS)
    assert made.players["fit"].controls["learning_rate"] > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (section(voices=["tune"]), "section 'one': voices: no voice 'tune'; did you mean 'tone'?"),
        (section(gains={"hal": -3}), "section 'one': gains: no voice or group 'hal'; did you mean 'hall'?"),
        (
            section(until="slow.convergd"),
            "section 'one': until: knots has no event 'convergd'; did you mean 'converged'?",
        ),
        (
            section(controls={"fit.nose": 1}),
            "section 'one': controls.fit.nose: cubics has no control 'nose'; did you mean 'noise'?",
        ),
        (
            section(controls={"fit.noise": 2}),
            "section 'one': controls.fit.noise: noise = 2.0: allowed are numbers from 0 to 1",
        ),
        (
            section(controls={"fit.noise": [0, 2]}),
            "section 'one': controls.fit.noise: noise = 2.0: allowed are numbers from 0 to 1",
        ),
        (
            section(controls={"fit.noise": follow(range=[-0.5, 1])}),
            "section 'one': controls.fit.noise: noise = -0.5: allowed are numbers from 0 to 1",
        ),
        (
            section(controls={"fit.points": 4.5}),
            "section 'one': controls.fit.points: points = 4.5: allowed are whole numbers from 4 to 1000",
        ),
        (
            section(controls={"fit.optimiser": "sdg"}),
            "section 'one': controls.fit.optimiser: optimiser = 'sdg': allowed are sgd, momentum, adam",
        ),
        (
            section(controls={"fit.optimiser": [0, 1]}),
            "controls.fit.optimiser: optimiser is a choice and knows no in between: sgd, momentum, adam",
        ),
        (
            section(controls={"ride.reach": [0, 1]}),
            "controls.ride.reach: reach is read once, at the first tick: set it in the part",
        ),
        (
            section(controls={"fit.noise": follow(channel="slow.los", range=[0, 1])}),
            "section 'one': slow has no scalar channel 'los'; did you mean 'loss'?",
        ),
        (
            section(controls={"fit.noise": follow(channel="ride.class_loss", range=[0, 1])}),
            "section 'one': ride has no scalar channel 'class_loss'; did you mean 'loss'?",
        ),
        (
            section(warp={"slow": {"kind": "even", "ticks": 9, "channel": "curvature"}}),
            "section 'one': slow has no scalar channel 'curvature'",
        ),
        (
            voice(instrument="glide", part="slwo"),
            "score.voices.more.part = 'slwo'; did you mean 'slow'?",
        ),
        (voice(instrument="glide"), "voice more: give it its 'part'; there are slow, fit, ride"),
        (
            voice(instrument="bell", part="fit", on=["convergd"]),
            "score.voices.more.on: cubics has no event 'convergd'; did you mean 'converged'?",
        ),
        (
            voice(instrument="bell", part="fit", on=["slwo.converged"]),
            "score.voices.more.on: no part 'slwo'; did you mean 'slow'?",
        ),
        (
            voice(instrument="glide", part="fit", lanes={"pitch": {"channel": "slow.los", "range": [100, 200]}}),
            "no channel 'los'; did you mean 'loss'?",
        ),
        (
            voice(instrument="glide", part="ride", lanes={"pitch": {"channel": "class_loss", "range": [100, 200]}}),
            "channel 'class_loss': class_loss has shape [10]; name one element of it",
        ),
        (
            voice(instrument="glide", part="fit", gate={"channel": "slwo.loss", "above": 1}),
            "channel 'slwo.loss': no part 'slwo'; did you mean 'slow'?",
        ),
        (
            voice(instrument="sampler", part="fit", on=["converged"], sample="none.wav"),
            "score.voices.more.sample: ",
        ),
        ({"picture": {"view": "curve", "part": "slow"}}, "view 'curve' needs channel 'd'"),
        ({"picture": {"view": "plots", "beside": [{"view": "knot"}]}}, "no view 'knot'; did you mean 'knots'?"),
        (
            {"picture": {"view": "plots", "part": "slow", "options": {"colour": 1}}},
            "view 'plots' has no option 'colour'",
        ),
        (
            {"parts": {**PARTS, "fit": {"source": "cubics", "rate": 4, "controls": {"noise": 3}}}},
            "parts.fit: noise = 3: allowed are numbers from 0 to 1",
        ),
        (
            {"parts": {**PARTS, "again": {"source": "recording", "rate": 4, "inputs": {"tkae": "x"}}}},
            "parts.again: recording has no input 'tkae'; did you mean 'take'?",
        ),
    ],
)
def test_what_does_not_is_refused_in_one_line(tmp_path, fields, message):
    with pytest.raises(DescantError) as caught:
        planned(tmp_path, **fields)
    assert message in str(caught.value)
    assert str(caught.value).startswith("my.toml: ")
    assert "\n" not in str(caught.value)


def test_what_a_take_needs_is_named(tmp_path):
    """Files by where they lie, takes by their ids; a recording's channels are not known before it is read."""
    soundfile.write(tmp_path / "hum.wav", np.zeros(4800), 48_000)
    (tmp_path / "mine.py").write_text(
        "from pieces.signals import Channel\n"
        "from pieces.source import Source\n"
        "class Mine(Source):\n"
        "    name, about, channels = 'mine', 'Mine.', (Channel('y', 'why'),)\n"
        "    def step(self, controls, events, n): ...\n"
    )
    parts = {
        "again": {"source": "recording", "rate": 20, "inputs": {"take": "0123/fit"}},
        "mine": {"source": "mine.py:Mine", "rate": 20},
    }
    voices = {
        "a": {"instrument": "glide", "part": "again", "lanes": {"pitch": {"channel": "anything", "range": [100, 200]}}},
        "b": {"instrument": "sampler", "part": "again", "on": ["whatever"], "sample": "hum.wav"},
        "c": {"instrument": "granular", "part": "mine", "sample": "take:4567"},
    }
    made = planned(tmp_path, parts=parts, score={"purpose": "music", "voices": voices})
    assert made.takes == {"again.take": "0123/fit", "sample.c": "4567"}
    assert made.files == {"sample.b": str(tmp_path / "hum.wav"), f"mine.{CODE}": str(tmp_path / "mine.py")}


def test_the_library_can_be_planned():
    from pieces.piece import find_piece, library

    for name in library():
        found, base = find_piece(name)
        assert plan(name, found, base).piece.title == found.title
