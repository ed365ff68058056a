"""Lines of braille: no peak is lost, the height is the value, every row is as wide as the widget."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App

from studio.widgets.lines import envelope, line, scaled
from studio.widgets.plot import Lane, Plot, short

BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def dots(rows):
    """Braille back to dots, ``[rows * 4, columns * 2]``."""
    found = np.zeros((len(rows) * 4, len(rows[0]) * 2), bool)
    for y, row in enumerate(rows):
        for x, character in enumerate(row):
            found[4 * y : 4 * y + 4, 2 * x : 2 * x + 2] = (ord(character) - 0x2800) & BITS > 0
    return found


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(1, 80))
def test_the_envelope_keeps_the_highest_and_the_lowest(values, columns):
    low, high = envelope(np.array(values), columns)
    assert len(low) == len(high) == columns
    assert (low <= high).all()
    if len(values) >= columns:
        assert low.min() == min(values)
        assert high.max() == max(values)


def test_one_tick_among_thousands_is_seen():
    values = np.zeros(10_000)
    values[7_777] = 1.0
    drawn = dots(line(values, (0.0, 1.0), 50, 3))
    assert np.flatnonzero(drawn[0]).tolist() == [77]
    assert drawn[-1].all()


@pytest.mark.parametrize("value", [0.0, 0.25, 0.5, 1.0])
def test_the_height_is_the_value(value):
    drawn = dots(line(np.full(9, value), (0.0, 1.0), 20, 4))
    rows = np.flatnonzero(drawn.any(axis=1))
    assert rows.tolist() == [round((1 - value) * 15)]
    assert drawn[rows[0]].all()


def test_neighbours_are_joined():
    drawn = dots(line(np.array([0.0, 1.0] * 10), (0.0, 1.0), 10, 4))
    assert drawn.any(axis=0).all()
    columns = [np.flatnonzero(drawn[:, x]) for x in range(drawn.shape[1])]
    for before, after in pairwise(columns):
        assert before.min() - 1 <= after.max()
        assert after.min() - 1 <= before.max()


def test_what_is_not_finite_is_a_gap():
    values = np.array([0.5] * 10 + [np.nan] * 10 + [0.5] * 10)
    drawn = dots(line(values, (0.0, 1.0), 15, 2))
    assert drawn[:, :9].any(axis=0).all()
    assert not drawn[:, 11:19].any()
    assert drawn[:, 21:].any(axis=0).all()


def test_a_wide_span_is_logarithmic_and_a_narrow_one_is_not():
    assert scaled(np.array([0.1]), (0.001, 10.0))[0] == pytest.approx(0.5)
    assert scaled(np.array([5.5]), (1.0, 10.0))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.025, 123456789.0, -1.2345e-12, 1.0, 0.0, np.nan, -0.000123456])
def test_numbers_are_short(value):
    assert len(short(value)) <= 8
    if np.isfinite(value):
        assert float(short(value)) == pytest.approx(value, rel=0.05)


def test_lanes_on_a_screen():
    class Frame(App[None]):
        def compose(self):
            yield Plot()

    async def scene():
        app = Frame()
        async with app.run_test(size=(70, 9)) as pilot:
            plot = app.query_one(Plot)
            plot.focus()
            lanes = [Lane(f"channel_{n}", "nats", np.linspace(0, n + 1, 50), (0.0, n + 1.0)) for n in range(6)]
            plot.show(lanes)
            await pilot.pause()
            rows = [strip.text for strip in plot.render_lines(plot.size.region)]
            assert [len(row) for row in rows] == [70] * 9
            assert "channel_0" in rows[0]
            assert "1 nats" in rows[1]  # the value now
            assert sum("channel" in row for row in rows) == 4
            await pilot.press("down", "down", "down")
            rows = [strip.text for strip in plot.render_lines(plot.size.region)]
            assert "channel_2" in rows[0]
            assert "channel_5" in rows[6]

    asyncio.run(scene())
