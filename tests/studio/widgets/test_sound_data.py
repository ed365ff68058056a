"""What waveform and spectrogram are drawn from shows what the file holds."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pieces.errors import DescantError
from studio.widgets.peaks import BUCKET, Peaks
from studio.widgets.spectra import bands, cividis, levels, row_of

RATE = 48_000


def wav(folder: Path, sound: np.ndarray, name: str = "a.wav") -> Path:
    soundfile.write(folder / name, sound.astype(np.float32), RATE, subtype="FLOAT")
    return folder / name


def sine(hertz: float, seconds: float, level: float = 1.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def read(path: Path) -> Peaks:
    found = Peaks.read(path)
    assert found is not None
    return found


@pytest.fixture
def click(tmp_path: Path) -> Path:
    """Ten seconds of silence with one sample of 1 at 2 s."""
    sound = np.zeros((10 * RATE, 2))
    sound[2 * RATE, 0] = 1.0
    return wav(tmp_path, sound)


@pytest.mark.parametrize(
    ("start", "end", "column"), [(0.0, 10.0, 20), (1.5, 2.5, 50), (1.9, 2.1, 50), (1.999, 2.001, 50), (0.0, 4.0, 50)]
)
def test_a_click_is_in_its_column_at_every_zoom(click, start, end, column):
    found = read(click).columns(start, end, 100)
    assert found.high[0].max() == pytest.approx(1.0, abs=0.3)  # closer than a sample a column: a curve through it
    assert abs(int(found.high[0].argmax()) - column) <= 1
    assert (found.high[0] > 0).sum() <= 2 or end - start < 0.01
    assert not found.high[1].any()  # the other channel


def test_peaks_are_those_of_the_samples(tmp_path):
    sound = np.random.default_rng(1).normal(0, 0.2, (5 * RATE + 17, 2))
    peaks = read(wav(tmp_path, sound))
    for start, end, columns in ((0.0, peaks.duration, 90), (1.0, 3.0, 60), (1.25, 1.3, 80)):
        found = peaks.columns(start, end, columns)
        edges = np.linspace(start, end, columns + 1) * RATE
        for k in range(columns):
            inner = sound[int(edges[k]) + BUCKET : int(edges[k + 1]) - BUCKET]
            outer = sound[max(int(edges[k]) - BUCKET, 0) : int(edges[k + 1]) + BUCKET]
            for channel in range(2):
                assert found.high[channel, k] <= outer[:, channel].max() + 1e-6
                if len(inner):
                    assert found.high[channel, k] >= inner[:, channel].max() - 1e-6
                    assert found.low[channel, k] <= inner[:, channel].min() + 1e-6


def test_the_power_of_a_sine_is_that_of_a_sine(tmp_path):
    peaks = read(wav(tmp_path, np.stack([sine(441, 4, 0.5), sine(441, 4, 0.1)], axis=1)))
    found = peaks.columns(0.0, 4.0, 40)
    np.testing.assert_allclose(found.rms[0], 0.5 / np.sqrt(2), rtol=0.02)
    np.testing.assert_allclose(found.rms[1], 0.1 / np.sqrt(2), rtol=0.02)
    assert peaks.highest == pytest.approx(0.5, abs=1e-3)


def test_eight_minutes_take_little_memory(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        minute = np.random.default_rng(2).normal(0, 0.1, (60 * RATE, 2))
        for _ in range(8):
            file.write(minute)
    del minute
    tracemalloc.start()
    peaks = read(path)
    peaks.columns(0.0, peaks.duration, 200)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 50e6
    assert peaks.bytes < 4e6
    assert peaks.duration == 480


def test_reading_stops_when_it_is_told_to(click):
    assert Peaks.read(click, stop=lambda: True) is None


def test_what_is_no_sound_is_said(tmp_path):
    (tmp_path / "no.wav").write_text("no sound")
    for path, said in ((tmp_path / "no.wav", "cannot be read"), (wav(tmp_path, np.zeros((0, 2))), "is empty")):
        with pytest.raises(DescantError, match=said):
            Peaks.read(path)
    with pytest.raises(DescantError, match="cannot be read"):
        levels(tmp_path / "no.wav", 0.0, 1.0, 10, 10)


@pytest.mark.parametrize("hertz", [120.0, 1000.0, 7000.0])
@pytest.mark.parametrize(("start", "end"), [(0.0, 20.0), (5.0, 7.0)])
def test_a_sine_lights_its_row_and_no_other(tmp_path, hertz, start, end):
    path = wav(tmp_path, np.repeat(sine(hertz, 20, 0.5)[:, None], 2, axis=1))
    found = levels(path, start, end, 50, 40)
    row = row_of(hertz, 40, RATE)
    top, bottom = bands(40, RATE)[row : row + 2]
    assert bottom <= hertz <= top
    inside = found[:, 2:-2]
    assert (inside.argmax(axis=0) == row).all()
    assert inside[row].mean() == pytest.approx(-6, abs=1.5)  # dBFS of half of full scale
    far = np.delete(inside, range(max(row - 4, 0), row + 5), axis=0)
    assert far.max() < -50


def test_a_click_lights_its_column(click):
    found = levels(click, 1.5, 2.5, 50, 40)
    loud = found[:10].mean(axis=0)  # the highest bands: where a click is and a tone is not
    assert abs(int(loud.argmax()) - 25) <= 1
    assert loud[:20].max() < -100
    assert loud[30:].max() < -100


def test_the_colours_are_those_of_cividis():
    from matplotlib import colormaps

    values = np.linspace(0, 1, 101)
    expected = np.asarray(colormaps["cividis"](values))[:, :3] * 255
    assert np.abs(cividis(values).astype(float) - expected).max() < 5
    light = cividis(values).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > -0.5).all()  # lighter is louder, for every eye
