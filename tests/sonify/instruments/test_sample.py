"""Recordings: what is read, what is refused, and that a piece at another pitch is exact."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sonify.instruments.base import Sample
from sonify.instruments.sample import SampleError, excerpt, read_sample

RATE = 48_000


def test_stereo_is_averaged_and_the_rate_is_kept(tmp_path):
    left, right = np.linspace(-0.5, 0.5, 100), np.linspace(0.25, 0.0, 100)
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, np.stack([left, right], axis=1), 22_050)
        sample = read_sample(tmp_path / name)
        assert sample.rate == 22_050
        assert sample.samples.dtype == np.float64
        np.testing.assert_allclose(sample.samples, (left + right) / 2, atol=1e-4)


def write_nan(path):
    soundfile.write(path, np.array([0.0, np.nan]), RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "no such sound file"),
        (lambda path: path.mkdir(), "no such sound file"),
        (lambda path: path.write_text("not a sound at all" * 9), "cannot be read as sound"),
        (lambda path: path.write_bytes(b""), "cannot be read as sound"),
        (lambda path: soundfile.write(path, np.zeros(0), RATE), "0 samples"),
        (lambda path: soundfile.write(path, np.zeros(601 * 100), 100), "601 s long"),
        (write_nan, "not finite"),
    ],
)
def test_what_is_no_sample_is_one_clear_line(tmp_path, write, said):
    path = tmp_path / "a.wav"
    write(path)
    with pytest.raises(SampleError, match=said) as caught:
        read_sample(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(
    frequency=st.floats(300, 3000),
    semitones=st.floats(-30, 20),
    start=st.floats(0, 0.5),
    rate=st.sampled_from([22_050, 44_100, 48_000]),
)
def test_a_piece_is_the_same_wave_at_another_speed(frequency, semitones, start, rate):
    """Of a sine everything is known: its value at every moment, of whatever rate and ratio."""
    ratio = 2 ** (semitones / 12)
    sample = Sample(np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate), rate)
    length = min(4000, int(1.2 / ratio * RATE))
    heard = excerpt(sample, start, ratio, length, RATE)
    begins = round(start * rate) / rate
    meant = np.sin(2 * np.pi * frequency * (begins + ratio * np.arange(length) / RATE))
    first = int(0.01 / ratio * RATE)  # the sample itself begins at once
    late = 0.5 / rate + 1.1e-4 * ratio * length / RATE  # half a sample, and 0.2 cents
    if frequency * ratio < 0.4 * RATE:
        np.testing.assert_allclose(heard[first:], meant[first:], atol=0.005 + 2 * np.pi * frequency * late)


def test_before_and_after_the_sample_there_is_silence():
    sample = Sample(np.ones(1000), RATE)
    assert not excerpt(sample, 1.0, 1.0, 500, RATE).any()
    heard = excerpt(sample, 0.0, 1.0, 2000, RATE)
    assert (heard[:1000] == 1).all()
    assert not heard[1000:].any()
