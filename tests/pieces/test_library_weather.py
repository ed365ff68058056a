"""What the programme note of "Weather" says, heard in its rendered sound, at one and a half times its tempo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, resample_poly, sosfilt
from scipy.stats import spearmanr

from pieces.piece import find_piece
from sonify.ears import hear
from tests.sonify.conftest import find_clicks, strongest
from tests.sounding import Whole, whole

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]

#: Ticks a beat of the parts, and a voice that is struck where a gradient of each changes its sign.
PACES = {"ground": 2, "wind_d": 4, "rain_d": 6}


@pytest.fixture(scope="module")
def weather(scratch: Path) -> Whole:
    """The piece with seed 1: the same beats and ticks in two thirds of the time."""
    piece, _ = find_piece("weather")
    sections = piece.model_dump(mode="json", exclude_none=True)["sections"]
    for section in sections:
        if "tempo" in section:
            section["tempo"] = (1.5 * np.asarray(section["tempo"])).tolist()
    path: Path = scratch / "weather.toml"
    path.write_text(piece.with_values({"metre.tempo": 1.5 * piece.metre.tempo, "sections": sections}).to_toml())
    return whole(str(path), 1, scratch)


def strokes(sound: Floats, rate: int) -> Floats:
    """Seconds at which a string or a drum, alone in its stem, is struck: its envelope above 1.2 kHz rises by half.

    The envelope is the largest of 20 ms, longer than a period of the lowest string.
    """
    frame = rate // 200
    high = sosfilt(butter(4, 1200, "high", fs=rate, output="sos"), sound)
    peaks = np.abs(high[: len(high) // frame * frame]).reshape(-1, frame).max(axis=1)
    envelope = maximum_filter1d(np.r_[np.zeros(4), peaks], 4, origin=1)
    risen = (envelope[1:] > 1.5 * envelope[:-1]) & (envelope[1:] > 2e-4)
    found: list[float] = []
    for row in np.flatnonzero(risen) - 3:
        if not found or row / 200 > found[-1] + 0.045:
            found.append(row / 200)
    return np.array(found)


def struck(weather: Whole, voice: str, section: str, share: tuple[float, float] = (0.0, 1.0)) -> Floats:
    """Beats, from the section's beginning, at which a voice is struck in a share of it."""
    start, end = weather.section(section)
    first, last = start + share[0] * (end - start), start + share[1] * (end - start)
    times = strokes(weather.cut(weather.stem(voice), first, last), weather.rate) + first
    return weather.played.tempi.beats(times) - float(weather.played.tempi.beats(start))


def level(sound: Floats) -> float:
    """Root mean square, in dB."""
    return float(10 * np.log10(np.mean(sound**2) + 1e-12))


def test_it_is_loud_enough_whole_and_clean(weather):
    sound = weather.mix()
    assert pyloudnorm.Meter(weather.rate).integrated_loudness(sound) == pytest.approx(-16, abs=0.1)
    assert 20 * np.log10(np.abs(resample_poly(sound.astype(np.float32), 4, 1, axis=0)).max()) <= -1
    assert np.abs(sound[0]).max() < 1e-4
    assert np.abs(sound[-weather.rate // 100 :]).max() < 1e-3
    assert len(find_clicks(sound, weather.rate)) == 0


def test_the_line_falls_and_thins_out_until_a_new_curve_is_posed(weather):
    line, (start, posed, *_) = weather.stem("line"), weather.times("front", "new_target")
    times = strokes(weather.cut(line, start, posed + 3), weather.rate) + start
    pitch = [strongest(weather.cut(line, t + 0.03, t + 0.2), weather.rate, 150, 1500) for t in times]
    before = times < posed
    assert before.sum() >= 10
    assert spearmanr(times[before], np.array(pitch)[before])[0] < -0.95
    assert max(np.array(pitch)[~before]) > 2 * pitch[before.sum() - 1]
    early, middle, late = np.histogram(times, 3, (start, posed))[0]
    assert early > middle >= late


def test_gradients_keep_their_signs_in_the_calm_and_turn_at_every_tick_in_the_storm(weather):
    """Strokes for each tick that was made."""

    def share(voice: str, section: str) -> float:
        start, end = (float(b) for b in weather.played.tempi.beats(np.asarray(weather.section(section))))
        return len(struck(weather, voice, section)) / ((end - start) * PACES[voice])

    for section in ("still", "breeze", "eye"):
        assert share("ground", section) < 0.1
    assert share("wind_d", "eye") < 0.1
    assert share("rain_d", "eye") < 0.6 * share("rain_d", "storm")
    assert share("ground", "storm") > 0.9
    assert min(share("wind_d", "storm"), share("rain_d", "storm")) > 0.55


def test_the_storm_is_a_polyrhythm(weather):
    """From stroke to stroke it is a tick: a half, a quarter, a sixth of a beat. In the breeze the wind is uneven."""
    gaps = {voice: np.diff(struck(weather, voice, "storm")) * pace for voice, pace in PACES.items()}
    for voice, found in gaps.items():
        assert np.median(found) == pytest.approx(1.0, abs=0.06), voice
    assert np.std(np.diff(struck(weather, "wind_d", "breeze")) * PACES["wind_d"]) > 2 * np.std(gaps["wind_d"])


def test_rain_follows_the_front(weather):
    """More drops in the half of a target in which the line is high: its error is large, and so is the rain's noise."""
    posed = next(t for t in weather.times("front", "new_target") if weather.section("rain")[0] <= t)
    end = weather.section("rain")[1]
    rain = strokes(weather.cut(weather.stem("rain_d", "rain_a"), posed, end), weather.rate)
    early, late = np.histogram(rain, 2, (0, end - posed))[0]
    assert early > 1.3 * late > 0


def test_the_storm_grows_until_the_overflow_ends_it(weather):
    start, end = weather.section("storm")
    overflow = weather.times("front", "diverged")[0]
    assert start < overflow <= end < overflow + 1.0
    blow = strokes(weather.stem("bolt"), weather.rate)
    assert len(blow) >= 1
    assert blow[0] == pytest.approx(overflow, abs=0.03)
    gale = weather.stem("gale")
    grown = [level(weather.cut(gale, a, a + 2)) for a in (start - 8, start - 1, end - 2)]
    assert grown[0] < grown[1] < grown[2] - 6
    storm = weather.stem("storm")
    assert level(weather.cut(storm, end + 3, end + 5)) < level(weather.cut(storm, end - 2, end)) - 25


def test_the_piece_ends_when_the_front_has_found_its_curve(weather):
    start, end = weather.section("after")
    found = [t for t in weather.times("front", "converged") if t > start]
    assert found
    assert end - found[0] < 4.0
    bells = strokes(weather.stem("clearing"), weather.rate)
    assert np.abs(bells - found[0]).min() < 0.03
    assert len(strokes(weather.cut(weather.stem("ground", "thunder"), end, end + 5), weather.rate)) == 0


def test_sections_differ_and_no_minute_is_flat(weather):
    ears = hear(weather.mix(), weather.rate, hop_s=0.25)
    times = (np.arange(len(ears)) + 0.5) * 0.25

    def mean(values: Floats, name: str) -> float:
        start, end = weather.section(name)
        return float(np.mean(values[(times >= start) & (times < end)]))

    def density(name: str) -> float:
        start, end = weather.section(name)
        return float(np.sum((ears.onset_times >= start) & (ears.onset_times < end)) / (end - start))

    loud = {s.section.name: mean(ears.loudness, s.section.name) for s in weather.played.sections}
    assert max(loud, key=loud.__getitem__) == "storm"
    assert loud["storm"] > max(loud["still"], loud["eye"]) + 8
    assert loud["gusts"] > loud["eye"] + 4
    assert density("pressure") > 4 * density("still")
    assert density("gusts") > 2 * density("eye")
    assert mean(ears.roughness, "storm") > 2 * mean(ears.roughness, "eye")
    for start in range(0, int(weather.played.duration) - 30, 20):
        stretch = ears.loudness[(times >= start) & (times < start + 40)]
        assert np.percentile(stretch, 90) - np.percentile(stretch, 10) > 5
