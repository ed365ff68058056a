"""Gates, crossings and steps, as arrays."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonify.rhythm import crossed, euclid, gate_open, schmitt
from sonify.score import Crossing, Gate

#: G. Toussaint, "The Euclidean algorithm generates traditional musical rhythms", BRIDGES 2005: the rhythms of its list.
TOUSSAINT = [
    "x.x..",  # E(2,5): khafif-e-ramal
    "x.x",  # E(2,3)
    "x.xx",  # E(3,4): cumbia
    "x.x.x",  # E(3,5)
    "x.x.x..",  # E(3,7): ruchenitza
    "x..x..x.",  # E(3,8): tresillo
    "x.x.x.x..",  # E(4,9): aksak
    "x..x..x..x.",  # E(4,11): Frank Zappa
    "x.xxx",  # E(4,5)
    "x.xxxx",  # E(5,6): York-Samai
    "x.xx.xx",  # E(5,7): nawakhat
    "x.xx.xx.",  # E(5,8): cinquillo
    "x.x.x.x.x",  # E(5,9): agsag-samai
    "x.x.x.x.x..",  # E(5,11)
    "x..x.x..x.x.",  # E(5,12): venda
    "x..x..x..x..x...",  # E(5,16): bossa nova
    "x.xxxxxx",  # E(7,8)
    "x.xx.x.xx.x.",  # E(7,12)
    "x..x.x.x..x.x.x.",  # E(7,16): samba
    "x.xx.x.x.xx.x.x.",  # E(9,16)
    "x..x.x.x.x.x..x.x.x.x.x.",  # E(11,24): Aka
    "x.xx.x.x.x.x.xx.x.x.x.x.",  # E(13,24): Aka
]


def struck(pattern: str) -> np.ndarray:
    return np.array([c == "x" for c in pattern])


def turned(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two patterns are the same up to rotation."""
    return len(one) == len(other) and any((np.roll(one, k) == other).all() for k in range(len(one)))


@pytest.mark.parametrize("pattern", TOUSSAINT)
def test_toussaints_rhythms(pattern):
    expected = struck(pattern)
    assert turned(euclid(int(expected.sum()), len(expected)), expected)


def bjorklund(pulses: int, steps: int) -> np.ndarray:
    """Bjorklund's algorithm as Toussaint writes it down: remainders are dealt out until at most one is left."""
    heads, tails = [[True]] * pulses, [[False]] * (steps - pulses)
    while len(tails) > 1:
        dealt = min(len(heads), len(tails))
        rest = heads[dealt:] or tails[dealt:]
        heads, tails = [h + t for h, t in zip(heads, tails, strict=False)], rest
    return np.array(list(chain(*heads, *tails)))


@given(st.integers(1, 64).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_they_are_bjorklunds_up_to_rotation(size):
    pulses, steps = size
    assert turned(euclid(pulses, steps), bjorklund(pulses, steps))


@given(st.integers(0, 80), st.integers(1, 64), st.integers(0, 63))
def test_strikes_are_as_even_as_they_can_be(pulses, steps, rotate):
    pattern = euclid(pulses, steps, rotate)
    count = min(pulses, steps)
    assert pattern.sum() == count
    np.testing.assert_array_equal(pattern, np.roll(euclid(pulses, steps), rotate))
    if count:
        assert euclid(pulses, steps)[0]
        places = np.flatnonzero(pattern)
        apart = np.diff(np.append(places, places[0] + steps))
        assert set(apart) <= {steps // count, -(-steps // count)}
        twice = np.tile(pattern, 2)
        for width in range(1, steps + 1):  # any window of this width holds one more or less than any other
            held = [twice[k : k + width].sum() for k in range(steps)]
            assert max(held) - min(held) <= 1


values = st.lists(st.integers(-5, 5), min_size=1, max_size=60).map(lambda v: np.array(v, dtype=np.float64))


@given(values, st.integers(-5, 5), st.integers(0, 4))
def test_a_schmitt_trigger(signal, level, hysteresis):
    state = False
    for value, found in zip(signal, schmitt(signal, level, hysteresis), strict=True):
        state = value >= level or (state and value >= level - hysteresis)
        assert found == state


def test_a_gate_needs_to_come_back_by_its_hysteresis():
    signal = np.array([0, 1.2, 0.9, 0.6, 0.4, 0.9, 1.0])
    assert gate_open(signal, Gate(channel="x", above=1)).tolist() == [0, 1, 0, 0, 0, 0, 1]
    assert gate_open(signal, Gate(channel="x", above=1, hysteresis=0.5)).tolist() == [0, 1, 1, 1, 0, 0, 1]
    assert gate_open(signal, Gate(channel="x", below=0.5)).tolist() == [1, 0, 0, 0, 1, 0, 0]
    assert gate_open(signal, Gate(channel="x", below=0.5, hysteresis=0.45)).tolist() == [1, 0, 0, 0, 1, 1, 0]


@given(values, st.integers(-5, 5), st.integers(0, 4))
def test_below_is_above_upside_down(signal, level, hysteresis):
    above = gate_open(signal, Gate(channel="x", above=level, hysteresis=hysteresis))
    below = gate_open(-signal, Gate(channel="x", below=-level, hysteresis=hysteresis))
    np.testing.assert_array_equal(above, below)


def rows(signal: list[float], edge: str, hysteresis: float = 0.0) -> list[int]:
    crossing = Crossing(channel="x", level=0.5, edge=edge, hysteresis=hysteresis)
    return crossed(np.array(signal, dtype=np.float64), crossing).tolist()


def test_edges():
    signal = [0, 1, 1, 0, 0, 1, 0]
    assert rows(signal, "rising") == [1, 5]
    assert rows(signal, "falling") == [3, 6]
    assert rows(signal, "both") == [1, 3, 5, 6]


def test_a_signal_that_begins_beyond_the_level_has_not_crossed_it():
    assert rows([1, 1, 0, 1], "rising") == [3]
    assert rows([0, 0, 1, 0], "falling") == [3]
    assert rows([1], "both") == []


def test_a_signal_that_trembles_about_the_level_crosses_it_once():
    signal = [0, 0.55, 0.45, 0.55, 0.45, 0.55, 1, 0.45, 0.55, 0]
    assert len(rows(signal, "rising")) == 4
    assert rows(signal, "rising", 0.2) == [1]
    assert rows(signal, "falling", 0.2) == [7]
    assert rows(signal, "both", 0.2) == [1, 7]


@given(values, st.integers(-5, 5), st.integers(0, 4))
def test_between_two_risings_the_signal_was_low(signal, level, hysteresis):
    crossing = Crossing(channel="x", level=level, edge="rising", hysteresis=hysteresis)
    found = crossed(signal, crossing)
    assert (signal[found] >= level).all()
    for one, two in pairwise(found):
        assert signal[one:two].min() < level - hysteresis
    mirrored = Crossing(channel="x", level=-level, edge="falling", hysteresis=hysteresis)
    np.testing.assert_array_equal(crossed(-signal, mirrored), found)
