"""What the programme note of "Weather" says, heard in its rendered sound, at one and a half times its tempo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly
from scipy.stats import spearmanr

from pieces.piece import find_piece
from sonify.ears import hear, pitch_track
from tests.sonify.conftest import find_clicks
from tests.sounding import Whole, whole

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]

#: Ticks a beat of the parts, and a voice that is struck where a gradient of each changes its sign.
PACES = {"ground": 2, "wind_d": 4, "rain_d": 6}


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The piece with seed 1: the same beats and ticks in two thirds of the time."""
    folder = tmp_path_factory.mktemp("weather")
    piece, _ = find_piece("weather")
    sections = piece.model_dump(mode="json", exclude_none=True)["sections"]
    for section in sections:
        if "tempo" in section:
            section["tempo"] = (1.5 * np.asarray(section["tempo"])).tolist()
    path: Path = folder / "weather.toml"
    path.write_text(piece.with_values({"metre.tempo": 1.5 * piece.metre.tempo, "sections": sections}).to_toml())
    return whole(str(path), 1, folder)


def strokes(sound: Floats, rate: int) -> Floats:
    """Seconds at which a string or a drum, alone in its stem, is struck: its level, 5 ms long, rises by half."""
    frame = rate // 200
    level = np.sqrt(np.mean(sound[: len(sound) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    risen = (level[2:] > 1.5 * level[:-2]) & (level[2:] > 3e-4)
    return np.flatnonzero(risen & ~np.r_[False, risen[:-1]]) / 200


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


def test_the_line_falls_until_a_new_curve_is_posed(weather):
    """Its pitch falls and its notes become fewer; the next target lifts it by more than a fifth."""
    start, posed = weather.section("still")[0], weather.times("front", "new_target")
    line = weather.stem("line")
    track = pitch_track(weather.cut(line, start, posed[1]), weather.rate)
    sure = np.isfinite(track.f0) & (track.clarity > 0.9)
    assert spearmanr(track.times[sure], track.f0[sure])[0] < -0.9
    counts = np.histogram(strokes(weather.cut(line, start, posed[1]), weather.rate), 3, (0, posed[1] - start))[0]
    assert counts[0] > 2 * counts[-1]
    fallen = np.nanmedian(track.f0[track.times > track.times[-1] - 3])
    lifted = pitch_track(weather.cut(line, weather.section("breeze")[0], weather.section("breeze")[0] + 3), weather.rate)
    assert np.nanmax(lifted.f0) > 1.5 * fallen


def test_nothing_is_struck_while_a_curve_is_approached_and_nearly_every_tick_in_the_storm(weather):
    """Strokes for each tick that was made."""

    def share(voice: str, section: str, ticks: int) -> float:
        start, end = (float(b) for b in weather.played.tempi.beats(np.asarray(weather.section(section))))
        return len(struck(weather, voice, section)) / ((end - start) * ticks)

    for voice, ticks in PACES.items():
        assert share(voice, "storm", ticks) > 0.5, voice
    assert share("rain_d", "eye", PACES["rain_d"]) < 0.2
    assert share("wind_d", "breeze", PACES["wind_d"]) < 0.5 * share("wind_d", "storm", PACES["wind_d"])


def test_the_storm_is_a_polyrhythm(weather):
    """Between two strokes a tick passes mostly: a half, a quarter and a sixth of a beat, 3 : 2 : 1 in pace."""
    for voice, ticks in PACES.items():
        gaps = np.diff(struck(weather, voice, "storm")) * ticks
        assert np.median(gaps) == pytest.approx(1.0, abs=0.12), voice
    drops = np.diff(struck(weather, "rain_d", "rain")) * PACES["rain_d"]
    assert np.std(drops) > 3 * np.std(np.diff(struck(weather, "rain_d", "storm")) * PACES["rain_d"])


def test_rain_follows_the_front(weather):
    """More drops in the half of a target in which the line is high: its error is large, and so is the rain's noise."""
    posed = [t for t in weather.times("front", "new_target") if weather.section("rain")[0] <= t][0]
    end = weather.section("rain")[1]
    rain = strokes(weather.cut(weather.stem("rain_d", "rain_a"), posed, end), weather.rate)
    early, late = np.histogram(rain, 2, (0, end - posed))[0]
    assert early > 1.3 * late > 0


def test_the_storm_grows_until_the_overflow_ends_it(weather):
    start, end = weather.section("storm")
    overflow = weather.times("front", "diverged")[0]
    assert start < overflow <= end < overflow + 1.0
    blow = strokes(weather.stem("bolt"), weather.rate)
    assert len(blow) >= 1 and blow[0] == pytest.approx(overflow, abs=0.03)
    gale = weather.stem("gale")
    grown = [level(weather.cut(gale, a, a + 2)) for a in (start - 8, start - 1, end - 2)]
    assert grown[0] < grown[1] < grown[2] - 6
    storm = weather.stem("storm")
    assert level(weather.cut(storm, end + 3, end + 5)) < level(weather.cut(storm, end - 2, end)) - 25


def test_the_piece_ends_when_the_front_has_found_its_curve(weather):
    start, end = weather.section("after")
    found = [t for t in weather.times("front", "converged") if t > start]
    assert found and end - found[0] < 4.0
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
