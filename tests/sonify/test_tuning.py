"""Pitches and scales."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sonify.tuning import Tuning, hertz, midi_hertz

NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [("A4", 440.0), ("a4", 440.0), ("C4", 261.6255653), ("C#3", 138.5913155), ("Bb2", 116.5409404), ("C-1", 8.1757989)],
)
def test_note_names(written, expected):
    assert hertz(written) == pytest.approx(expected, rel=1e-8)


@given(st.integers(0, 127))
def test_every_key_has_its_name(key):
    assert hertz(f"{NAMES[key % 12]}{key // 12 - 1}") == pytest.approx(midi_hertz(key))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_pass(number):
    assert hertz(number) == number


@pytest.mark.parametrize(("written", "expected"), [("440hz", 440.0), ("27.5 Hz", 27.5), (".5HZ", 0.5)])
def test_frequencies(written, expected):
    assert hertz(written) == expected


@pytest.mark.parametrize(
    "wrong", ["H4", "A", "A##4", "", "hz", "-3hz", "440", None, True, [440], float("nan"), float("inf")]
)
def test_anything_else_is_refused_with_its_value(wrong):
    with pytest.raises(ValueError, match="allowed are") as error:
        hertz(wrong)
    assert repr(wrong) in str(error.value)


@given(st.lists(st.floats(30, 8000), min_size=1, max_size=20), st.floats(50, 500))
def test_snapping_finds_the_nearest_degree_and_stays_there(frequencies, root):
    degrees = np.array([200.0, 400.0, 700.0, 900.0, 1200.0])
    tuning = Tuning(cents=tuple(degrees), root_hz=root)
    snapped = tuning.snap(frequencies)
    above = 1200 * np.log2(snapped / root) % 1200
    assert np.abs(above[:, None] - np.array([0.0, *degrees])).min(axis=1).max() < 1e-6
    assert np.abs(1200 * np.log2(snapped / frequencies)).max() <= 150 + 1e-6  # half the widest step
    np.testing.assert_allclose(tuning.snap(snapped), snapped, rtol=1e-9)


def test_a_period_other_than_the_octave():
    tritave = Tuning(cents=(951.0, 1901.955), root_hz="A3")
    np.testing.assert_allclose(tritave.snap([220, 660.0, 1980]), [220, 660, 1980], rtol=1e-6)


@pytest.mark.parametrize("cents", [(), (0.0, 1200.0), (700.0, 400.0), (-1200.0,)])
def test_a_scale_that_does_not_rise_is_refused(cents):
    with pytest.raises(ValidationError):
        Tuning(cents=cents)


@pytest.mark.parametrize("value", ["C99999", "A-100", "1" * 400 + "hz", 10**400, float("inf"), True, None])
def test_what_is_beyond_any_pitch_is_refused_in_one_line(value):
    with pytest.raises(ValueError, match="allowed are finite numbers") as refused:
        hertz(value)
    assert len(str(refused.value)) < 160
