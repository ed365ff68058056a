"""Form: how far the parts go and when sections end, and what a piece may not ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.form import GRAIN, Form, Stretch, lead, longest_form, reported, shortened, walk
from pieces.piece import Piece, PieceError, parse_piece
from pieces.sections import between

Happened = Mapping[str, Mapping[int, set[str]]]
TICKS = 10_000


def piece(parts: Mapping[str, Any], *sections: Mapping[str, Any], **more: Any) -> Piece:
    """A piece of parts that nobody performs: a number is ticks a beat."""
    written = {n: {"source": n, **(p if isinstance(p, dict) else {"per_beat": p})} for n, p in parts.items()}
    return parse_piece({"title": "T", "parts": written, "sections": sections, **more}, "my.toml")


def walked(
    what: Piece, lengths: Mapping[str, int] | None = None, happened: Happened | None = None, grain: float = math.inf
) -> tuple[Form, list[Stretch]]:
    """Walk through a piece whose sources are so long and announce so much."""
    walking, stretches = walk(what, grain), []
    made = dict.fromkeys(what.parts, 0)
    try:
        stretch = next(walking)
        while True:
            stretches.append(stretch)
            assert all(made[p] < n for p, n in stretch.ticks.items())
            ends = {p: min(n, (lengths or {}).get(p, n)) for p, n in stretch.ticks.items()}
            report = reported(stretch, made, ends, happened or {})
            made |= ends
            stretch = walking.send(report)
    except StopIteration as stop:
        return stop.value, stretches


def ends(form: Form) -> list[float]:
    """Beats at which sections end."""
    return [span.beats[1] for span in form.spans]


ratios = st.fractions(min_value=Fraction(1, 12), max_value=24, max_denominator=12)


@settings(max_examples=15)
@given(ratios, ratios, st.lists(st.sampled_from([0.25, 0.5, 1, 1.25, 2, 3, 7]), min_size=1, max_size=5))
def test_ratios_between_parts_are_exact_over_hundreds_of_bars(one, other, bars):
    parts = {"a": str(one), "b": str(other)}
    sections = [{"name": str(i), "bars": bars[i % len(bars)]} for i in range(200)]
    for span in walked(piece(parts, *sections))[0].spans:
        for part, ratio in (("a", one), ("b", other)):
            assert span.ticks[part] == tuple(math.ceil(Fraction(beat) * ratio) for beat in span.beats)


def test_three_against_two():
    form, _ = walked(piece({"a": 3, "b": "2"}, {"name": "x", "bars": 300, "tempo": [40, 220]}))
    assert form.spans[0].ticks == {"a": (0, 3600), "b": (0, 2400)}


@settings(max_examples=30)
@given(st.floats(0.3, 300), st.lists(st.tuples(st.floats(0.3, 40), st.floats(30, 240), st.floats(30, 240)), min_size=1))
def test_a_part_with_a_rate_keeps_the_seconds_whatever_the_tempo(rate, sections):
    written = [{"name": str(i), "bars": b, "tempo": [t, u]} for i, (b, t, u) in enumerate(sections)]
    for span in walked(piece({"a": {"rate": rate}}, *written))[0].spans:
        assert span.ticks["a"][1] == pytest.approx(rate * span.seconds[1], abs=1.001)
        assert span.ticks["a"][1] >= rate * span.seconds[1] - 1e-5


def test_the_tempo_of_a_section_lasts_until_another_is_given():
    form, _ = walked(
        piece(
            {"a": 1},
            {"name": "slow", "bars": 1},
            {"name": "faster", "bars": 2, "tempo": [60, 120]},
            {"name": "fast", "bars": 1},
            {"name": "slow again", "bars": 1, "tempo": 30},
            metre={"tempo": 30, "beats": 4},
        )
    )
    lasts = [b - a for a, b in (span.seconds for span in form.spans)]
    assert lasts == pytest.approx([8, 8 * 60 * math.log(2) / 60, 2, 8])


@settings(max_examples=100)
@given(
    st.integers(0, 400),
    st.sampled_from(["1/3", "1", "5/2", "4"]),
    st.sampled_from(["bar", "beat"]),
    st.sampled_from([3, 4, 5]),
    st.sampled_from([0, 0.75, 2]),
    st.sampled_from([math.inf, 0.25, 0.1, 1 / 3, 5.0]),
)
def test_until_ends_on_the_first_line_after_the_event_and_at_bars_at_the_latest(
    tick, ratio, quantise, beats, before, grain
):
    """The line is one of the section's own: it may begin anywhere."""
    written = [{"name": "before", "bars": before}] if before else []
    what = piece(
        {"a": ratio},
        *written,
        {"name": "x", "bars": 9.5, "until": "a.done", "quantise": quantise},
        metre={"beats": beats},
    )
    form, _ = walked(what, happened={"a": {3: {"other"}, tick: {"done"}}}, grain=grain)
    begin, end = (Fraction(b) for b in form.spans[-1].beats)
    line, happens = beats if quantise == "bar" else 1, tick / Fraction(ratio)
    latest = begin + Fraction(9.5) * beats
    expected = begin + (math.floor((happens - begin) / line) + 1) * line
    assert end == (min(expected, latest) if happens >= begin else latest)


def test_what_happened_before_a_section_does_not_end_it():
    what = piece({"a": 1}, {"name": "x", "bars": 2}, {"name": "y", "bars": 8, "until": "a.done"})
    assert ends(walked(what, happened={"a": {5: {"done"}}})[0]) == [8, 40]
    assert ends(walked(what, happened={"a": {8: {"done"}}})[0]) == [8, 12]


@pytest.mark.parametrize(("length", "expected"), [(3, 4), (16, 20), (17, 20), (1000, 40)])
def test_a_section_ends_when_the_part_it_waits_for_is_over(length, expected):
    """That it is over shows when another tick is due."""
    what = piece({"a": 1, "b": 1}, {"name": "x", "bars": 10, "until": "a.done"})
    assert ends(walked(what, {"a": length})[0]) == [expected]
    assert ends(walked(what, {"b": 3})[0]) == [40]


def test_the_last_word_of_a_source_that_is_over_counts():
    """An event may stand after the last tick."""
    what = piece({"a": 4, "b": 4}, {"name": "x", "bars": 10, "until": "b.done"}, {"name": "y", "bars": 1})
    happened = {"b": {10: {"done"}}}
    assert ends(walked(what, {"b": 10}, happened)[0]) == [4, 8]


def test_parts_outside_a_section_pause_and_go_on_where_they_were():
    what = piece(
        {"a": 1.5, "b": 1},
        {"name": "both", "bars": 0.25},
        {"name": "b alone", "bars": 10, "parts": ["b"]},
        {"name": "both again", "bars": 0.25},
    )
    form, stretches = walked(what)
    assert [s.ticks.get("a") for s in stretches] == [2, None, 3]
    assert [s.ticks.get("b") for s in stretches] == [1, 41, 42]
    assert form.spans[2].ticks["a"] == (2, 3)
    assert form.spans[2].clocks["a"] == 1.5  # half way through its tick


def test_sections_without_a_length_last_until_their_parts_are_over():
    limits = {"per_beat": 2, "ticks": 30}
    what = piece({"a": limits, "b": limits}, {"name": "x"}, {"name": "y", "bars": 1, "warp": {"a": {"kind": "freeze"}}})
    assert ends(walked(what)[0]) == [16, 20]  # 15 beats, and on to the bar line
    assert ends(walked(what, {"a": 3, "b": 5})[0]) == [4, 8]
    assert ends(walked(piece({"a": limits}, {"name": "x"}))[0]) == [15]  # at the end of a piece no line is waited for
    alone = piece({"a": limits, "b": 1}, {"name": "x", "parts": ["a"]}, {"name": "y", "bars": 1})
    assert ends(walked(alone)[0]) == [16, 20]


@settings(max_examples=100)
@given(st.integers(1, TICKS), st.integers(1, TICKS) | st.none(), st.floats(0.01, 5000), st.floats(10, 1000))
def test_one_part_without_sections_lasts_its_ticks_over_its_rate(ticks, length, rate, tempo):
    what = piece({"a": {"rate": rate, "ticks": ticks}})
    form, _ = walked(what, {"a": length or ticks})
    made = min(length or ticks, ticks)
    assert form.spans[0].seconds == (0.0, made / rate)  # to the last bit
    form, _ = walked(what.with_values({"metre.tempo": tempo}), {"a": length or ticks}, grain=1000.0)
    assert form.spans[0].seconds[1] == pytest.approx(made / rate, rel=1e-12)


@st.composite
def forms(draw: st.DrawFn) -> Piece:
    """Small pieces of two parts in up to four sections."""
    parts = {
        name: {
            draw(st.sampled_from(["rate", "per_beat"])): draw(st.floats(0.2, 20)),
            "ticks": draw(st.integers(1, 200)),
        }
        for name in ("a", "b")
    }
    sections = []
    for number in range(draw(st.integers(1, 4))):
        section: dict[str, Any] = {"name": str(number)}
        section["parts"] = draw(st.sampled_from([["a"], ["b"], ["a", "b"]]))
        if draw(st.booleans()):
            section["bars"] = draw(st.floats(0.1, 6) | st.sampled_from([1, 2, 4]))
            if draw(st.booleans()):
                section["until"] = f"{draw(st.sampled_from(section['parts']))}.done"
                section["quantise"] = draw(st.sampled_from(["bar", "beat"]))
            else:
                section["tempo"] = draw(st.floats(20, 300) | st.tuples(st.floats(20, 300), st.floats(20, 300)))
            if draw(st.booleans()):
                section["controls"] = {f"{section['parts'][0]}.x": (0.0, 1.0)}
        sections.append(section)
    return piece(parts, *sections, metre={"beats": draw(st.sampled_from([1, 3, 4]))})


@settings(max_examples=200)
@given(
    forms(),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 150)),
    st.dictionaries(st.sampled_from("ab"), st.dictionaries(st.integers(0, 150), st.just({"done"}), max_size=4)),
    st.sampled_from([0.25, 0.1, 1 / 3, 1.0, 7.3, 1000.0]),
)
def test_no_grain_changes_the_form(what, lengths, happened, grain):
    whole, _ = walked(what, lengths, happened)
    fine, stretches = walked(what, lengths, happened, grain)
    assert fine.spans == whole.spans
    assert fine.tempi.pulses == whole.tempi.pulses
    assert all(b.beat - a.beat <= grain * (1 + 1e-9) + 1e-6 for a, b in pairwise(stretches) if not b.first)
    made = {p: max([0, *(s.ticks[p][1] for s in whole.spans if p in s.ticks)]) for p in what.parts}
    assert lead(what, made, happened).spans == whole.spans


@settings(max_examples=50)
@given(st.floats(0.3, 12), st.sampled_from([math.inf, 0.25, 0.1, 1 / 3]))
def test_what_changes_goes_evenly_from_its_first_value_to_its_last(bars, grain):
    section = {"name": "x", "bars": bars, "controls": {"a.x": [0.0, 1.0]}}
    turns = [s for s in walked(piece({"a": 8}, section), grain=grain)[1] if s.turns]
    assert [s.beat for s in turns] == pytest.approx([i * GRAIN for i in range(len(turns))])
    assert len(turns) == math.ceil(bars * 4 / GRAIN - 1e-6)
    assert turns[0].at == 0
    assert turns[-1].at == 1
    np.testing.assert_allclose(np.diff([s.at for s in turns]), 1 / (len(turns) - 1), atol=1e-9)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1), st.sampled_from(["linear", "log"]))
def test_between_two_values(low, high, u, shape):
    assert between((low, high), 0.0, shape) == pytest.approx(low, rel=1e-12)
    assert between((low, high), 1.0, shape) == pytest.approx(high, rel=1e-9)
    value = between((low, high), u, shape)
    assert min(low, high) <= value <= max(low, high)  # not by a rounding error beyond what a control allows
    if shape == "log":
        middle = between((low, high), u / 2, shape)
        assert middle / low == pytest.approx(value / middle, rel=1e-6)


def test_a_warp_makes_its_ticks_or_none():
    what = piece(
        {"a": {"per_beat": 2, "ticks": 100}},
        {"name": "x", "bars": 1},
        {"name": "still", "bars": 2, "warp": {"a": {"kind": "freeze"}}},
        {"name": "bent", "bars": 3, "warp": {"a": {"kind": "log", "ticks": 50}}},
        {"name": "on", "bars": 1},
        {"name": "too many", "bars": 3, "warp": {"a": {"kind": "log", "ticks": 50}}},
    )
    form, _ = walked(what)
    assert [s.ticks["a"] for s in form.spans] == [(0, 8), (8, 8), (8, 58), (58, 66), (66, 100)]
    assert [s.beats[1] - s.beats[0] for s in form.spans] == [4, 8, 12, 4, 12]


def test_the_longest_form_waits_for_nothing():
    what = piece(
        {"a": {"rate": 10, "ticks": 100}, "b": 4}, {"name": "x", "bars": 9, "until": "a.done"}, {"name": "y", "bars": 1}
    )
    assert ends(longest_form(what)) == [12, 16]  # a is over after 10 beats
    assert ends(longest_form(what.with_values({"parts.a.ticks": 1000}))) == [36, 40]


@settings(max_examples=50)
@given(forms(), st.floats(0.05, 60))
def test_a_piece_is_shortened_to_a_time(what, seconds):
    whole, cut = longest_form(what), longest_form(shortened(what, seconds))
    length = whole.spans[-1].seconds[1]
    assert cut.spans[-1].seconds[1] <= seconds + 1e-6
    assert cut.spans[-1].seconds[1] == pytest.approx(min(seconds, length), rel=1e-6, abs=1e-6)
    for before, after in zip(whole.spans, cut.spans[:-1], strict=False):
        assert after.seconds == before.seconds


def test_a_piece_without_sections_is_shortened_by_its_ticks():
    what = piece({"a": {"rate": 10, "ticks": 1000}, "b": {"rate": 3, "ticks": 9}})
    cut = shortened(what, 20)
    assert {n: p.ticks for n, p in cut.parts.items()} == {"a": 200, "b": 60}


FOLLOW = {"channel": "a.loss", "domain": [0, 1], "range": [0, 1]}
LOG = {"a": {"kind": "log", "ticks": 4}}
FREEZE = {"a": {"kind": "freeze"}}


def one(**fields: Any) -> dict[str, Any]:
    return {"name": "one", "bars": 4, **fields}


def two(**fields: Any) -> dict[str, Any]:
    return one(name="two", **fields)


def endless(**fields: Any) -> dict[str, Any]:
    return {"name": "one", "parts": ["b"], **fields}


LENGTH = "a tempo that changes needs a known length: give 'bars' without 'until', or one tempo"


@pytest.mark.parametrize(
    ("message", "sections"),
    [
        ("two sections are called 'one': rename one", [one(), one()]),
        ("section 'one' never ends: give it 'bars', or the part 'a' 'ticks'", [endless(parts=[])]),
        ("section 'one' names part 'c'; known are a, b", [one(parts=["c"])]),
        ("section 'one': controls names part 'c'; known are a, b", [one(controls={"c.x": 1})]),
        ("section 'one': warp names part 'a', which is not among its parts: add it", [one(parts=["b"], warp=LOG)]),
        ("section 'one': until names part 'a', which is not among", [one(parts=["b"], until="a.done")]),
        ("until 'b.done' may never come: give 'bars', the longest length", [endless(until="b.done")]),
        ("sections.0.until = 'done': write it with its part in front, as in part.name", [one(until="done")]),
        ("sections.0.controls.x.[key] = 'x': write it with its part in front", [one(controls={"x": 1})]),
        (LENGTH, [one(until="a.done", tempo=[60, 90])]),
        (LENGTH, [endless(tempo=[60, 90])]),
        ("controls.b.x changes along the section: give it 'bars', its length", [endless(controls={"b.x": [0, 1]})]),
        ("a time-warp needs 'bars', the length that it fills", [{"name": "one", "warp": LOG}]),
        ("section 'one': warp.a = 'freeze': nothing of a was performed before", [one(warp=FREEZE)]),
        (
            "section 'two': warp.a.of = 'oen': no earlier section of that name performs a",
            [one(), two(warp={"a": {"kind": "recall", "of": "oen"}})],
        ),
        (
            "section 'three': warp.a.of = 'two': no earlier section of that name performs a",
            [one(), two(warp=FREEZE), one(name="three", warp={"a": {"kind": "recall", "of": "two"}})],
        ),
        ("kind 'loop' needs 'beats'", [one(warp={"a": {"kind": "loop"}})]),
        ("kind 'log' has no 'beats'", [one(warp={"a": {**LOG["a"], "beats": 1}})]),
        ("should be 'log', 'even', 'freeze', 'loop', 'retrograde' or 'recall'", [one(warp={"a": {"kind": "x"}})]),
        ("section 'one': until 'a.done': that part is warped here, so it cannot", [one(until="a.done", warp=LOG)]),
        (
            "section 'one': controls.a.x: can only be set to one value where a is warped ('log')",
            [one(controls={"a.x": [0, 1]}, warp=LOG)],
        ),
        (
            "section 'two': controls.a.x: cannot be set where a is warped ('freeze')",
            [one(), two(controls={"a.x": 1}, warp=FREEZE)],
        ),
        (
            "section 'one': controls.b.x cannot follow a.loss: a is warped in it",
            [one(controls={"b.x": FOLLOW}, warp=LOG)],
        ),
        ("controls.b.x cannot follow a.loss: a has not begun", [one(parts=["b"], controls={"b.x": FOLLOW})]),
        (
            "section 'one': controls.b.x: no part 'c'; known are a, b",
            [one(controls={"b.x": {**FOLLOW, "channel": "c.loss"}})],
        ),
        (
            "section 'one': controls follow each other in a circle: b -> a -> b",
            [one(controls={"b.x": FOLLOW, "a.x": {**FOLLOW, "channel": "b.loss"}})],
        ),
        ("section 'one': controls follow each other in a circle: a -> a", [one(controls={"a.x": FOLLOW})]),
        ("domain [1.0, 0.0] must rise", [one(controls={"b.x": {**FOLLOW, "domain": [1, 0]}})]),
        ("shape 'log' needs a domain and a range above 0", [one(controls={"b.x": {**FOLLOW, "shape": "log"}})]),
        ("sections.0.controls.b.x.ramp = [0, 1, 2]: Tuple should have", [one(controls={"b.x": [0, 1, 2]})]),
        ("sections.0.gains.tone.value = 1000: Input should be less than or equal to 24", [one(gains={"tone": 1000})]),
        ("sections.0.gains.tone.ramp.1 = 'loud': Input should be a valid number", [one(gains={"tone": [0, "loud"]})]),
        ("sections.0.tempo.value = 2000: Input should be less than or equal to 1000", [one(tempo=2000)]),
        ("sections.0.bars = 0: Input should be greater than 0", [one(bars=0)]),
        ("sections.0.quantise = 'half': Input should be 'bar' or 'beat'", [one(quantise="half")]),
        ("sections.0.colour: no such field", [one(colour=3)]),
    ],
)
def test_forms_that_do_not_hold_together_are_refused_in_one_line(message, sections):
    with pytest.raises(PieceError) as caught:
        piece({"a": 4, "b": {"rate": 20, "ticks": 100}}, *sections)
    assert message in str(caught.value)
    assert str(caught.value).startswith("my.toml: ")
    assert "\n" not in str(caught.value)
    assert "more)" not in str(caught.value)  # about what was meant alone, not about every other reading of it


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({}, "give 'rate' (ticks per second) or 'per_beat' (ticks per beat), and not both"),
        ({"rate": 1, "per_beat": 1}, "give 'rate' (ticks per second) or 'per_beat' (ticks per beat), and not both"),
        ({"per_beat": "3/0"}, "parts.a.per_beat = '3/0': allowed are numbers and ratios such as '3/2'"),
        ({"per_beat": "three"}, "parts.a.per_beat = 'three': allowed are numbers and ratios such as '3/2'"),
        ({"per_beat": "-1/2"}, "parts.a.per_beat = '-1/2': allowed are numbers and ratios such as '3/2'"),
        ({"per_beat": 4}, "the piece never ends: give it 'sections', or the part 'a' 'ticks'"),
    ],
)
def test_parts_that_do_not_hold_together_are_refused_in_one_line(part, message):
    with pytest.raises(PieceError) as caught:
        piece({"a": part})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_form_survives_its_file(tmp_path):
    """Sections, warps, ramps and couplings are written as they are read."""
    import tomllib

    what = piece(
        {"a": "3/2", "b": {"rate": 20, "ticks": 100}},
        one(gains={"tone": [-12, 0], "bass": -3}, controls={"b.x": FOLLOW, "a.x": [1, 2], "b.y": "sgd"}),
        {"name": "two", "bars": 2.5, "tempo": [60, 90], "warp": {"a": {"kind": "recall", "of": "one"}}},
        {"name": "three", "bars": 2, "until": "b.done", "quantise": "beat", "voices": [], "tempo": 80},
    )
    again = parse_piece(tomllib.loads(what.to_toml()), "again")
    assert again == what
    assert again.hash == what.hash
    assert longest_form(again).spans == longest_form(what).spans
