"""Arrangement: recorded ticks in the time of a piece, bent, held, repeated and turned round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.arrange import Arrangement, Layout, arrange, recorded_form, warped_channels
from pieces.piece import Piece, parse_piece
from pieces.signals import Event, Frames


def piece(parts: Mapping[str, Any], *sections: Mapping[str, Any], **more: Any) -> Piece:
    """A piece of parts that nobody performs: a number is ticks a beat."""
    written = {n: {"source": n, **(p if isinstance(p, dict) else {"per_beat": p})} for n, p in parts.items()}
    return parse_piece({"title": "T", "parts": written, "sections": sections, **more}, "my.toml")


def frames(what: Piece, part: str, x: Any, events: tuple[Event, ...] = ()) -> Frames:
    """What was recorded of a part: its tick as a channel, and another one."""
    values = np.asarray(x, dtype=np.float64)
    return Frames({"tick": np.arange(len(values)), "x": values}, events, what.rate(part), len(values))


def laid(what: Piece, *ticks: int, events: tuple[Event, ...] = (), x: Any = None) -> Arrangement:
    """An arrangement of so many ticks of each part; events are of the first."""
    recorded = {}
    for number, (part, n) in enumerate(zip(what.parts, ticks, strict=True)):
        values = x if x is not None and not number else np.zeros(n)
        recorded[part] = frames(what, part, values, () if number else events)
    return arrange(what, recorded)


def warped(kind: str, **fields: Any) -> Piece:
    """Two bars of 4 ticks a beat, then two bars bent; a beat is half a second."""
    one, two = {"name": "one", "bars": 2}, {"name": "two", "bars": 2, "warp": {"a": {"kind": kind, **fields}}}
    return piece({"a": 4}, one, two, metre={"tempo": 120})


def second(arrangement: Arrangement) -> tuple[list[int], Any]:
    """Ticks that are heard in the second section, and the times of their rows from its beginning on."""
    found, start = arrangement.layouts["a"], arrangement.sections[1].seconds[0]
    inside = found.starts >= start - 1e-9
    return found.rows[inside].tolist(), found.starts[inside] - start


def test_one_part_without_sections_is_what_it_was():
    what = piece({"a": {"rate": 30, "ticks": 100}})
    recorded = frames(what, "a", np.arange(77), (Event(3, "x"), Event(77, "end")))
    found, plain = arrange(what, {"a": recorded}), Arrangement.of(recorded, "a")
    for name in ("duration", "active", "bar", "seed"):
        assert getattr(found, name) == getattr(plain, name)
    np.testing.assert_array_equal(found.parts["a"].starts, recorded.starts)  # to the last bit
    np.testing.assert_array_equal(found.parts["a"].arrays["x"], recorded.arrays["x"])
    assert found.parts["a"].events == recorded.events
    assert found.parts["a"].duration == recorded.duration
    assert found.tempi.beats(12.3) == plain.tempi.beats(12.3)


def test_a_part_pauses_outside_its_sections_and_goes_on_in_time():
    what = piece(
        {"a": 1.5, "b": 1},
        {"name": "one", "bars": 0.25},
        {"name": "two", "bars": 2, "parts": ["b"]},
        {"name": "three", "bars": 0.5},
    )
    found = laid(what, 5, 12)
    np.testing.assert_allclose(found.parts["a"].starts, [0, 2 / 3, 9 + 0.5 / 1.5, 9 + 1.5 / 1.5, 9 + 2.5 / 1.5])
    assert found.active == {"a": ((0, 1), (9, 11)), "b": ((0, 11),)}


def test_a_part_that_is_over_plays_no_more():
    what = piece({"a": 4, "b": 4}, {"name": "one", "bars": 2}, {"name": "two", "bars": 2})
    found = laid(what, 10, 64, events=(Event(9, "last"), Event(10, "end")))
    assert found.active == {"a": ((0, 2.5),), "b": ((0, 16),)}
    assert found.parts["a"].duration == 2.5
    times = np.append(found.parts["a"].starts, found.parts["a"].duration)
    assert [(e.kind, times[e.tick]) for e in found.parts["a"].events] == [("last", 2.25), ("end", 2.5)]
    assert found.layouts["a"].tick(12.0) == pytest.approx(10, abs=1e-6)
    assert found.duration == 16


def test_a_part_that_never_begins():
    what = piece({"a": 4, "b": 4}, {"name": "one", "bars": 1, "parts": ["a"]}, {"name": "two", "bars": 1})
    found = laid(what, 16, 0)
    assert found.active["b"] == ()
    assert found.layouts["b"].begins == found.duration == 8
    assert found.layouts["b"].tick(5.0) == 0.0
    assert found.parts["b"].ticks == 0


def test_log_gives_equal_times_to_equal_ratios():
    rows, times = second(laid(warped("log", ticks=1023), 32 + 1023))
    assert rows == list(range(32, 32 + 1023))
    whole = 4.0
    for octave in range(10):  # the first tick, the next two, the next four ... each lasts a tenth
        assert times[2**octave - 1] == pytest.approx(octave * whole / 10)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=200), st.sampled_from([120, (60, 200)]))
def test_even_gives_equal_change_to_equal_times(values, tempo):
    what = warped("even", ticks=len(values), channel="x").with_values({"metre.tempo": 60})
    sections = [s.model_dump(exclude_none=True) for s in what.sections]
    what = what.with_values({"sections": [sections[0], {**sections[1], "tempo": tempo}]})
    found = laid(what, 32 + len(values), x=np.concatenate([np.zeros(32), values]))
    rows, _ = second(found)
    assert rows == list(range(32, 32 + len(values)))
    start = found.sections[1].seconds[0]
    beats = found.tempi.beats(found.layouts["a"].starts[32:]) - found.tempi.beats(start)
    assert (np.diff(beats) > 0).all()
    change = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(values)))])
    total = change[-1] if change[-1] > 0 else 1.0
    if change[-1] > 0:
        np.testing.assert_allclose(beats / 8, change / total, atol=2e-3)
    for bar in (1, 2):  # the same change in every bar, within a tick's and the thousandth that all ticks share
        inside = (beats >= 4 * bar - 4) & (beats < 4 * bar)
        if inside.sum() > 1:
            happened = np.ptp(change[np.flatnonzero(inside)])
            assert happened <= total * (0.5 + 2e-3) + 1e-9


def test_even_of_a_channel_that_explodes():
    values = np.concatenate([np.zeros(32), np.geomspace(1, 1.7e308, 25).repeat(2) * (-1) ** np.arange(50)])
    found = laid(warped("even", ticks=50, channel="x"), 82, x=values)
    assert np.isfinite(found.layouts["a"].starts).all()
    assert (np.diff(found.layouts["a"].starts) > 0).all()


def test_even_of_a_channel_that_rests_gives_equal_times_to_all():
    _, times = second(laid(warped("even", ticks=16, channel="x"), 48))
    np.testing.assert_allclose(times, np.arange(16) / 4)
    assert warped_channels(warped("even", ticks=16, channel="x"), "a") == {"x"}


def test_freeze_holds_the_last_tick():
    found = laid(warped("freeze"), 32)
    assert second(found)[0] == [31]
    assert found.active["a"] == ((0, 8),)
    assert {int(found.layouts["a"].tick(t)) for t in np.arange(4, 8, 0.1)} == {31}


def test_loop_repeats_the_last_beats():
    rows, times = second(laid(warped("loop", beats=1.5), 32, events=(Event(30, "x"), Event(3, "y"))))
    assert rows == [26 + k % 6 for k in range(32)]
    np.testing.assert_allclose(times, np.arange(32) / 8)


def test_an_event_is_heard_again_with_its_tick():
    found = laid(warped("loop", beats=2), 32, events=(Event(3, "once"), Event(30, "again"), Event(30, "too")))
    heard = [(e.kind, e.tick) for e in found.parts["a"].events]
    again = [30, 38, 46, 54, 62]
    assert heard == [("once", 3), *((kind, row) for row in again for kind in ("again", "too"))]
    assert all(found.layouts["a"].rows[e.tick] == 30 for e in found.parts["a"].events[1:])


def test_retrograde_is_the_exact_mirror():
    found = laid(warped("retrograde"), 32)
    rows, times = second(found)
    assert rows == list(range(31, -1, -1))
    np.testing.assert_allclose(times, found.layouts["a"].starts[:32])


def test_retrograde_is_over_at_the_first_tick():
    """As a part is over after its last one."""
    what = piece(
        {"a": 4}, {"name": "one", "bars": 1}, {"name": "two", "bars": 3, "warp": {"a": {"kind": "retrograde"}}}
    )
    found = laid(what, 16)
    assert second(found)[0] == list(range(15, -1, -1))
    assert found.active["a"] == ((0, 8),)
    assert found.duration == 16


def test_recall_plays_what_an_earlier_section_performed():
    what = piece(
        {"a": 2},
        {"name": "one", "bars": 1},
        {"name": "two", "bars": 1},
        {"name": "three", "bars": 1},
        {"name": "four", "bars": 2, "warp": {"a": {"kind": "recall", "of": "two"}}},
        {"name": "five", "bars": 1},
    )
    found = laid(what, 32)
    assert found.layouts["a"].rows.tolist() == [*range(24), *range(8, 16), *range(24, 32)]
    assert found.active["a"] == ((0, 16), (20, 24))  # what was performed in one bar is over after one


def test_warps_take_the_time_of_the_metre_where_the_part_does():
    """A loop of beats under a tempo that rises keeps to the beat, and a part with a rate to its seconds."""
    loop = {"name": "two", "bars": 2, "tempo": [60, 120], "warp": {"a": {"kind": "loop", "beats": 1}}}
    for part, n in ((4, 16), ({"rate": 4}, 16)):
        found = laid(piece({"a": part}, {"name": "one", "bars": 1}, loop), n)
        rows, times = second(found)
        assert rows == [12 + k % 4 for k in range(len(rows))]
        beats = found.tempi.beats(found.sections[1].seconds[0] + times) - 4
        np.testing.assert_allclose(beats if part == 4 else times, np.arange(len(rows)) / 4, atol=1e-9)


GONE = (
    Event(8, "diverged", {"channel": "x", "value": "nan"}),
    Event(12, "recovered", {"channel": "x"}),
    Event(30, "diverged", {"channel": "x", "value": "inf"}),
)


@pytest.mark.parametrize("fields", [{"kind": "retrograde"}, {"kind": "loop", "beats": 6}, {"kind": "freeze"}])
def test_values_are_missing_where_their_ticks_are(fields):
    """Not from a row with a 'diverged' to the next 'recovered': turned round, these come in the other order."""
    found = laid(warped(**fields), 32, events=GONE)
    rows = found.layouts["a"].rows
    np.testing.assert_array_equal(found.parts["a"].missing("x"), ((rows >= 8) & (rows < 12)) | (rows >= 30))
    assert not found.parts["a"].missing("tick").any()


@st.composite
def forms(draw: st.DrawFn) -> tuple[Piece, dict[str, Frames]]:
    """A piece of one part and another, in sections of all kinds, and a recording."""
    clocks = {p: {draw(st.sampled_from(["rate", "per_beat"])): draw(st.floats(0.3, 30))} for p in ("a", "b")}
    sections: list[dict[str, Any]] = [{"name": "0", "bars": draw(st.floats(0.5, 4))}]
    kinds = ["none", "log", "even", "freeze", "loop", "retrograde", "recall"]
    for number in range(1, draw(st.integers(2, 5))):
        kind = draw(st.sampled_from(kinds))
        more: dict[str, dict[str, Any]] = {
            "log": {"ticks": draw(st.integers(2, 60))},
            "even": {"ticks": draw(st.integers(2, 60)), "channel": "x"},
            "loop": {"beats": draw(st.floats(0.1, 8))},
            "recall": {"of": "0"},
        }
        section = {"name": str(number), "bars": draw(st.floats(0.1, 4)), "tempo": draw(st.floats(40, 200))}
        section["parts"] = draw(st.sampled_from([["a"], ["b"], ["a", "b"]]))
        if kind != "none":
            section["warp"] = {section["parts"][0]: {"kind": kind, **more.get(kind, {})}}
        if draw(st.booleans()) and "b" in section["parts"] and "b" not in section.get("warp", {}):
            section["until"] = "b.done"
        sections.append(section)
    what = piece(clocks, *sections)
    recorded = {}
    for part in ("a", "b"):
        n = draw(st.integers(1, 150))
        happened = draw(st.lists(st.integers(0, n), max_size=5))
        x = np.random.default_rng(n).standard_normal(n)
        recorded[part] = frames(what, part, x, tuple(Event(t, "done") for t in sorted(happened)))
    return what, recorded


@settings(max_examples=150)
@given(forms())
def test_rows_rise_in_time_and_lie_in_their_sections(made):
    what, recorded = made
    form, found = recorded_form(what, recorded), arrange(what, recorded)
    assert found.duration == form.spans[-1].seconds[1]
    for part, layout in found.layouts.items():
        assert (np.diff(layout.starts) > 0).all()
        assert ((layout.rows >= 0) & (layout.rows < recorded[part].ticks)).all()
        assert all(a[1] < b[0] for a, b in pairwise(layout.active))
        within = np.zeros(len(layout.starts), dtype=bool)
        for span in (s for s in form.spans if part in s.ticks):
            begin, end = span.seconds
            inside = (layout.starts >= begin - 1e-6) & (layout.starts < end - 1e-9)
            within |= inside
            first, last = span.ticks[part]
            if part not in span.section.warp:
                assert layout.rows[inside].tolist() == list(range(first, last))
        assert within.all()
        plays = [any(a - 1e-6 <= t < b for a, b in layout.active) for t in layout.starts]
        assert all(plays)


@settings(max_examples=60)
@given(forms())
def test_pictures_follow_sound(made):
    """The tick at the time of a row is the row's; between two rows it is on its way."""
    what, recorded = made
    for layout in arrange(what, recorded).layouts.values():
        ends = [*layout.starts[1:], layout.over]
        for row, start, stop, end in zip(layout.rows, layout.starts, layout.stops, ends, strict=True):
            assert stop == start or layout.tick(start) == row  # frozen, its end is held
            assert math.floor(layout.tick(start + (end - start) * 0.99)) == row
            if start < stop < end - 1e-6:
                assert layout.tick((start + stop) / 2) == pytest.approx(row + 0.5, abs=1e-3)
                assert layout.tick((stop + end) / 2) == pytest.approx(row + 1, abs=1e-6)
        if len(layout.rows):
            assert layout.tick(-1.0) == layout.rows[0]


def test_a_layout_of_one_part():
    plain = Layout.plain(Frames({"x": np.zeros(40)}, (), 10, 40))
    assert plain.tick(1.25) == pytest.approx(12.5)
    assert plain.tick(1e9) == pytest.approx(40, abs=1e-6)
    assert plain.begins == 0
