"""Metre: beats and seconds are one line, forwards and backwards."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.metre import Metre, TempoMap

tempi = st.floats(10, 1000)
#: Sections: beats that each lasts, its tempo and the one that it moves to.
sections = st.lists(st.tuples(st.floats(0.25, 500), tempi, tempi), min_size=1, max_size=6)


def mapped(given: list[tuple[float, float, float]]) -> tuple[TempoMap, float]:
    """A map of sections, and the beat at which the last one ends."""
    found, beat = TempoMap(), 0.0
    for beats, tempo, to in given:
        found.change(beat, tempo, to, beats)
        beat += beats
    return found, beat


@settings(max_examples=100)
@given(sections, st.lists(st.floats(0, 1.5), min_size=2, max_size=20))
def test_seconds_and_beats_are_inverse_and_rise(given, places):
    tempo_map, end = mapped(given)
    beats = np.unique(np.round(np.array(places) * end, 6))
    seconds = tempo_map.seconds(beats)
    assert (np.diff(seconds) > 0).all()
    np.testing.assert_allclose(tempo_map.beats(seconds), beats, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tempo_map.seconds(tempo_map.beats(seconds)), seconds, rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(sections, st.floats(0, 1.2))
def test_the_time_of_a_beat_is_the_integral_of_60_over_the_tempo(given, place):
    tempo_map, end = mapped(given)
    beat = place * end
    edges = [*(b for b in np.cumsum([0.0, *(s[0] for s in given)]) if b < beat), beat]
    nodes, weights = np.polynomial.legendre.leggauss(128)
    area = 0.0
    for start, stop in pairwise(edges):
        inside = start + (nodes + 1) / 2 * (stop - start)
        area += (stop - start) / 2 * sum(w * 60 / tempo_map.tempo(b) for b, w in zip(inside, weights, strict=True))
    assert float(tempo_map.seconds(beat)) == pytest.approx(area, rel=1e-7, abs=1e-9)


@given(tempi, st.floats(0, 10_000))
def test_a_constant_tempo(tempo, beat):
    tempo_map = TempoMap()
    tempo_map.change(0.0, tempo, tempo, math.inf)
    assert float(tempo_map.seconds(beat)) == pytest.approx(beat * 60 / tempo, rel=1e-12)
    assert tempo_map.tempo(beat) == tempo


@given(tempi, tempi.filter(lambda t: t != 100), st.floats(1, 1000))
def test_a_ramp_takes_the_analytic_time_and_then_the_tempo_stays(tempo, to, beats):
    tempo_map = TempoMap()
    tempo_map.change(0.0, tempo, to, beats)
    end = float(tempo_map.seconds(beats))
    # log1p keeps the digits of two tempi that hardly differ.
    taken = 60 * beats / tempo if tempo == to else 60 * beats * math.log1p((to - tempo) / tempo) / (to - tempo)
    assert end == pytest.approx(taken, rel=1e-9)
    assert tempo_map.tempo(beats / 2) == pytest.approx((tempo + to) / 2)
    assert tempo_map.tempo(beats + 7) == pytest.approx(to)
    assert float(tempo_map.seconds(beats + 7)) - end == pytest.approx(7 * 60 / to, rel=1e-6)


def test_without_a_metre_a_beat_is_a_second_to_the_last_bit():
    tempo_map = TempoMap()
    tempo_map.change(0.0, Metre().tempo, Metre().tempo, math.inf)
    times = np.random.default_rng(1).uniform(0, 1000, 10_000)
    np.testing.assert_array_equal(tempo_map.seconds(times), times)
    np.testing.assert_array_equal(tempo_map.beats(times), times)


def test_what_begins_where_nothing_lasted_takes_over():
    """A section may last no time at all; the tempo after it is the next one's."""
    tempo_map = TempoMap()
    tempo_map.change(0.0, 60.0, 60.0, math.inf)
    tempo_map.change(4.0, 30.0, 30.0, math.inf)
    tempo_map.change(4.0, 120.0, 120.0, math.inf)
    assert tempo_map.tempo(4.0) == 120
    np.testing.assert_allclose(tempo_map.seconds([4, 6]), [4, 5])
    np.testing.assert_allclose(tempo_map.beats([4, 5]), [4, 6])
