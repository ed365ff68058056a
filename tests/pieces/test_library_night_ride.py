"""What the programme note of "Night ride" says, heard in its rendered sound, at twice its tempo to spare time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from sonify.ears import hear, pitch_track
from tests.sonify.conftest import find_clicks
from tests.sounding import Whole, hurried, whole

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]

#: What is compared is read at so many places of each beat.
PLACES = 4
OUT = ("stars", "plain", "down", "valley", "climb")
LOOPS = {"loop": 8, "tighter": 4, "tighter still": 2, "tightest": 1}


@pytest.fixture(scope="module")
def ride(scratch: Path) -> Whole:
    """The piece with seed 1."""
    return whole(hurried("night-ride", scratch), 1, scratch)


class Contour:
    """The pitch that is heard of the voice that sings the height."""

    def __init__(self, ride: Whole) -> None:
        self._ride = ride
        track = pitch_track(ride.stem("height"), ride.rate, hop_s=0.01, low=100, high=800)
        found = np.isfinite(track.f0) & (track.clarity > 0.8)
        self._times, self._pitch = track.times[found].astype(float), 12 * np.log2(track.f0[found].astype(float))

    def beats(self, section: str) -> Floats:
        """Beats of the piece at which a section is read, a whole number of places from its beginning."""
        first, last = self._ride.played.tempi.beats(np.array(self._ride.section(section)))
        return float(first) + (np.arange(round((last - first) * PLACES)) + 0.5) / PLACES

    def __call__(self, beats: Floats) -> Floats:
        """Semitones at some beats."""
        return np.interp(self._ride.played.tempi.seconds(beats), self._times, self._pitch)


@pytest.fixture(scope="module")
def contour(ride: Whole) -> Contour:
    """Of the whole piece."""
    return Contour(ride)


def decibels(ride: Whole, sound: Floats, section: str, share: float = 1 / 3) -> float:
    """Root mean square at the end of a section."""
    start, end = ride.section(section)
    return float(10 * np.log10(np.mean(ride.cut(sound, end - share * (end - start), end) ** 2) + 1e-12))


def test_it_is_loud_enough_whole_and_clean(ride):
    sound = ride.mix()
    assert pyloudnorm.Meter(ride.rate).integrated_loudness(sound) == pytest.approx(-16, abs=0.1)
    assert 20 * np.log10(np.abs(resample_poly(sound.astype(np.float32), 4, 1, axis=0)).max()) <= -1
    assert np.abs(sound[0]).max() < 1e-4
    assert np.abs(sound[-ride.rate // 100 :]).max() < 1e-3
    assert len(find_clicks(sound, ride.rate)) == 0


def test_the_height_is_the_pitch_from_the_first_bar_to_the_last(ride, contour):
    frames = ride.played.parts["ride"]
    beats = np.concatenate([contour.beats(s.section.name) for s in ride.played.sections])
    rows = np.searchsorted(frames.starts, ride.played.tempi.seconds(beats) - 0.02, side="right") - 1  # half a glide
    height = np.log(frames.arrays["loss"][np.maximum(rows, 0)].astype(float))
    assert np.corrcoef(height, contour(beats))[0, 1] ** 2 > 0.99
    assert np.corrcoef(height[::-1], contour(beats))[0, 1] ** 2 < 0.5, "the measure can fail"


def test_the_way_back_is_the_way_out_mirrored(contour):
    out = contour(np.concatenate([contour.beats(section) for section in OUT]))
    back = contour(contour.beats("back"))
    assert abs(len(out) - len(back)) <= PLACES
    n = min(len(out), len(back))
    assert np.corrcoef(out[-n:][::-1], back[:n])[0, 1] > 0.99
    assert np.median(np.abs(out[-n:][::-1] - back[:n])) < 0.2
    assert np.corrcoef(out[-n:], back[:n])[0, 1] < 0.5, "not simply the same again"


def test_the_way_back_is_faster(ride, contour):
    seconds = {s.section.name: s.seconds[1] - s.seconds[0] for s in ride.played.sections}
    assert seconds["back"] < 0.75 * sum(seconds[section] for section in OUT)


@pytest.mark.parametrize(("section", "beats"), LOOPS.items())
def test_the_loops_go_over_the_steepest_beats_again(section, beats, contour):
    places = beats * PLACES
    down = contour(contour.beats("down")[-places:])
    assert down[0] - down[-1] > 0.5 * beats, "it falls"
    passes = contour(contour.beats(section)).reshape(-1, places)
    assert len(passes) >= 2
    inside = slice(1, -1) if places > 4 else slice(None)  # the fall itself, not the leap back
    for again in passes:
        np.testing.assert_allclose(again[inside], down[inside], atol=0.6)


def test_at_the_end_of_the_line_time_stands_still(ride, contour):
    still = contour(contour.beats("summit"))
    assert np.ptp(still) < 0.1
    assert np.ptp(contour(contour.beats("climb"))) > 5
    assert decibels(ride, ride.mix().sum(axis=1), "summit", 0.1) < decibels(ride, ride.mix().sum(axis=1), "climb") - 8


def test_the_bell_rings_at_the_cliff_in_every_round(ride):
    onsets = hear(ride.stem("cliff"), ride.rate).onset_times
    start, end = ride.section("down")[0], ride.section("tighter")[1]
    cliffs = [t for t in ride.times("ride", "cliff") if start < t < end]
    assert len(cliffs) == 1 + 2 + 3
    for cliff in cliffs:
        assert np.abs(onsets - cliff).min() < 0.011


def test_strings_and_drums_are_for_the_steep_and_the_choir_for_the_level(ride):
    choir, others = ride.stem("choir"), ride.stem("strings", "drums")
    balance = {s: decibels(ride, choir, s) - decibels(ride, others, s) for s in ("plain", "loop", "tightest", "valley")}
    assert min(balance["plain"], balance["valley"]) > 3
    assert max(balance["loop"], balance["tightest"]) < -10


def test_steep_is_loud_and_bright(ride):
    mix = ride.mix()
    loud = {s: decibels(ride, mix.sum(axis=1), s) for s in ("stars", "loop", "tightest", "valley", "climb", "summit")}
    assert loud["tightest"] > loud["valley"] + 4
    assert loud["loop"] > loud["stars"] + 10
    assert max(loud, key=lambda s: loud[s]) == "tightest"
    ears = hear(mix, ride.rate)
    start, end = ride.section("loop")[0], ride.section("tightest")[1]
    steep = ears.centroid[int(start / ears.hop_s) : int(end / ears.hop_s)]
    start, end = ride.section("climb")
    level = ears.centroid[int(start / ears.hop_s) : int(end / ears.hop_s)]
    assert np.median(steep) > 1.4 * np.median(level)


def test_both_ends_of_the_road_lie_far_away(ride):
    mix, (start, end) = ride.mix().sum(axis=1), ride.section("back")
    ends = [mix[: round(1.0 * ride.rate)], ride.cut(mix, end - 1.0, end)]
    middle = 10 * np.log10(np.mean(ride.cut(mix, start, end) ** 2))
    for sound in ends:
        assert 10 * np.log10(np.mean(sound**2)) < middle - 8
