"""What the programme note of "Strata" says, heard in its rendered sound, at twice its tempo to spare time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly
from scipy.stats import spearmanr

from sonify.ears import hear, pitch_track
from tests.sonify.conftest import find_clicks
from tests.sounding import Whole, hurried, whole

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]

#: A voice of each layer, from the bottom up, and the sections in which each layer sounds.
LAYERS = {"ground": "bed", "crystal": "root", "pulse": "conv1", "vein": "vein_a"}
SECTIONS = {
    "ground": {"ground"},
    "crystal": {"ground", "crystal"},
    "pulse": {"ground", "crystal", "pulse"},
    "vein": {"ground", "crystal", "pulse", "vein"},
    "without ground": {"crystal", "pulse", "vein"},
    "without crystal": {"pulse", "vein"},
    "vein alone": {"vein"},
}


@pytest.fixture(scope="module")
def strata(scratch: Path) -> Whole:
    """The piece with seed 1."""
    return whole(hurried("strata", scratch), 1, scratch)


def last(strata: Whole, sound: Floats, section: str, share: float = 1 / 3) -> Floats:
    """The end of a section, where what came before it has died away."""
    start, end = strata.section(section)
    return strata.cut(sound, end - share * (end - start), end)


def decibels(sound: Floats) -> float:
    """Root mean square."""
    return float(10 * np.log10(np.mean(sound**2) + 1e-12))


def bars(strata: Whole, part: str) -> Floats:
    """Seconds at which the whole bars of the sections begin and end in which a part plays, [n, 2]."""
    found = []
    for sounding in strata.played.sections:
        if part in (sounding.section.parts or strata.played.parts):
            first, end = strata.played.tempi.beats(np.array(sounding.seconds))
            lines = strata.played.tempi.seconds(first + np.arange(int((end - first) / 4 + 1e-6) + 1) * 4)
            found += list(pairwise(lines))
    return np.array(found)


def strokes(sound: Floats, rate: int) -> Floats:
    """Seconds at which a drum, alone in its stem, is struck: within 10 ms its peak rises by half."""
    frame = rate // 100
    peak = np.abs(sound[: len(sound) // frame * frame]).reshape(-1, frame).max(axis=1)
    rises = np.r_[False, peak[1:] > 1.5 * peak[:-1]] & (peak > 0.03 * peak.max())
    return np.flatnonzero(rises & ~np.r_[False, rises[:-1]]) / 100


def at(strata: Whole, part: str, channel: str, seconds: Floats) -> Floats:
    """Values of a channel at some times."""
    frames = strata.played.parts[part]
    rows = np.maximum(np.searchsorted(frames.starts, seconds + 1e-6, side="right") - 1, 0)
    return frames.arrays[channel][rows].astype(float)


def test_it_is_loud_enough_whole_and_clean(strata):
    sound = strata.mix()
    assert pyloudnorm.Meter(strata.rate).integrated_loudness(sound) == pytest.approx(-16, abs=0.1)
    assert 20 * np.log10(np.abs(resample_poly(sound.astype(np.float32), 4, 1, axis=0)).max()) <= -1
    assert np.abs(sound[0]).max() < 1e-4
    assert np.abs(sound[-strata.rate // 100 :]).max() < 1e-3
    assert len(find_clicks(sound, strata.rate)) == 0


def test_layers_enter_and_leave_from_the_bottom_up(strata):
    stems = {layer: strata.stem(voice) for layer, voice in LAYERS.items()}
    heard = {s: {n for n, stem in stems.items() if decibels(last(strata, stem, s)) > -60} for s in SECTIONS}
    assert heard == SECTIONS


def test_each_layer_stands_higher_than_the_one_below(strata):
    """The last that is left is bright beside the first that lies."""
    ears = {layer: hear(last(strata, strata.stem(voice), "vein"), strata.rate) for layer, voice in LAYERS.items()}
    centroid = {layer: float(np.median(e.centroid)) for layer, e in ears.items()}
    assert centroid["vein"] > 1.5 * centroid["crystal"] > 1.5 * 1.5 * centroid["ground"]


def test_the_hush_is_almost_silent_and_all_four_are_the_loudest(strata):
    mix = strata.mix().sum(axis=1)
    level = {s: decibels(last(strata, mix, s)) for s in (*SECTIONS, "hush")}
    assert level["hush"] < level["ground"] - 10
    assert level["hush"] < level["vein"] - 25
    assert decibels(last(strata, strata.stem("drips"), "hush")) > -65, "drips go on"
    assert max(level, key=lambda s: level[s]) == "vein"


def test_the_cliff_tolls_and_ends_the_full_section(strata):
    (cliff,) = [t for t in strata.times("ground", "cliff") if t < strata.section("hush")[1]]
    onsets = hear(strata.stem("toll"), strata.rate).onset_times
    assert np.abs(onsets - cliff).min() < 0.01
    beat = 60 / strata.played.tempi.tempo(float(strata.played.tempi.beats(cliff)))
    assert 0 <= strata.section("vein")[1] - cliff <= beat + 1e-6


@pytest.mark.parametrize("layer", ["conv2", "hidden"])
def test_a_layer_strikes_more_often_in_a_bar_the_larger_its_gradient(layer, strata):
    struck, lines = strokes(strata.stem(layer), strata.rate), bars(strata, "pulse")
    count = np.array([np.sum((struck > start - 0.015) & (struck < end - 0.015)) for start, end in lines])
    gradient = at(strata, "pulse", f"grad_norm_{layer}", lines[:, 0])
    assert count.max() >= count.min() + 3
    assert spearmanr(count, gradient)[0] > 0.9
    assert spearmanr(count, np.roll(gradient, 7))[0] < 0.6, "the measure can fail"


def test_the_crystals_note_is_the_root_of_the_grounds_bass(strata):
    track = pitch_track(strata.stem("bed"), strata.rate, hop_s=0.05, window_s=0.17, low=60, high=200)
    start, end = strata.section("crystal")[0], strata.section("vein")[1]
    posed = np.array([start, *(t for t in strata.times("crystal", "new_target") if start < t < end), end])
    middles = ((posed[1:] + posed[:-1]) / 2)[np.diff(posed) > 2]
    heard = [69 + 12 * np.log2(np.nanmedian(track.f0[np.abs(track.times - m) < 0.5]) / 440) for m in middles]
    notes = at(strata, "crystal", "note", middles)
    assert len(set(notes)) >= 3
    np.testing.assert_allclose(heard, notes, atol=0.1)


def test_the_crystal_clears_as_the_pulse_learns(strata):
    """What of the chord above its corner is let through, before the network learns and when it has learned."""
    chord, filtered = strata.stem("root", "fifth", "ninth", "harp_a", "harp_b", "harp_c"), strata.stem("crystals")

    def bright(section: str) -> float:
        before, after = (last(strata, sound, section, 0.8) for sound in (chord, filtered))
        f = np.fft.rfftfreq(len(before), 1 / strata.rate)
        powers = [np.abs(np.fft.rfft(sound)) ** 2 for sound in (before, after)]
        shares = [p[(f > 1000) & (f < 4000)].sum() / p[(f > 150) & (f < 400)].sum() for p in powers]
        return 10 * float(np.log10(shares[1] / shares[0]))

    assert bright("crystal") < -6
    assert bright("without ground") > bright("crystal") + 5


@pytest.mark.parametrize("coefficient", ["a", "b", "c", "d"])
def test_the_figure_is_the_four_coefficients(coefficient, strata):
    start, end = strata.section("without ground")[0], strata.section("vein alone")[1]
    track = pitch_track(strata.cut(strata.stem(f"vein_{coefficient}"), start, end), strata.rate, hop_s=0.02, low=300)
    times = np.asarray(track.times, dtype=float)
    heard = np.isfinite(track.f0) & (track.clarity > 0.9)
    told = {c: at(strata, "vein", c, times[heard] + start - 0.1) for c in "abcd"}
    match = {c: np.corrcoef(values, np.log2(track.f0[heard]))[0, 1] for c, values in told.items()}
    assert heard.mean() > 0.5
    assert match[coefficient] > 0.9
    assert max(match, key=lambda c: match[c]) == coefficient
