"""What the programme note of "Training canon" says, heard in its rendered sound and nothing else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from sonify.ears import hear, pitch_track
from tests.sonify.conftest import find_clicks
from tests.sounding import Whole, whole

pytestmark = pytest.mark.slow

#: Of each part: the section in which it enters, ticks per beat, notes that are compared, semitones below the leader.
PARTS = {
    "presto": ("dux", 4.0, 64, 0),
    "andante": ("comes", 2.0, 64, 5),
    "adagio": ("three", 1.0, 64, 12),
    "largo": ("four", 0.5, 24, 24),
}
#: Stretches that are tried, as factors of the leader's time.
STRETCHES = np.exp2(np.arange(-1.0, 4.01, 0.25))


@pytest.fixture(scope="module")
def canon(scratch: Path) -> Whole:
    """The piece with seed 1."""
    return whole("canon", 1, scratch)


@pytest.fixture(scope="module")
def lines(canon: Whole) -> dict[str, NDArray[np.float64]]:
    """Semitones heard in each part's stem at its ticks, from its entry on."""
    return {part: notes(canon, part, entry) for part, (entry, *_) in PARTS.items()}


def notes(canon: Whole, part: str, section: str) -> NDArray[np.float64]:
    """Semitones heard at the ticks of a part in a section and what follows."""
    _, per_beat, count, _ = PARTS[part]
    start, tempi = canon.section(section)[0], canon.played.tempi
    edges = tempi.seconds(tempi.beats(start) + np.arange(count + 1) / per_beat)
    track = pitch_track(canon.cut(canon.stem(f"{part}_line"), start, edges[-1]), canon.rate, hop_s=0.02)
    heard = []
    for first, last in zip(edges[:-1] - start, edges[1:] - start, strict=True):
        within = track.f0[(track.times >= first + 0.04) & (track.times < last)]
        heard.append(np.nanmedian(within))
    return np.asarray(12 * np.log2(heard))


def strokes(sound: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Seconds at which a bell or a drum, alone in its stem, is struck: its level rises by half within 20 ms."""
    level = np.sqrt(np.mean(sound[: len(sound) // (rate // 50) * (rate // 50)].reshape(-1, rate // 50) ** 2, axis=1))
    struck = (level[1:] > 1.5 * level[:-1]) & (level[1:] > 0.02 * level.max())
    return np.flatnonzero(struck & ~np.r_[False, struck[:-1]]) / 50


def apart(lines: dict[str, NDArray[np.float64]], part: str, leader: NDArray[np.float64]) -> NDArray[np.float64]:
    """Semitones (root mean square) between a follower and the leader stretched by each of `STRETCHES`."""
    _, per_beat, _, interval = PARTS[part]
    own = lines[part] + interval
    found = []
    for stretch in STRETCHES:
        at = np.arange(len(own)) * (4.0 / per_beat) / stretch
        both = at <= len(leader) - 1
        expected = np.interp(at[both], np.arange(len(leader)), leader)
        found.append(np.sqrt(np.mean((own[both] - expected) ** 2)))
    return np.array(found)


def test_it_is_loud_enough_whole_and_clean(canon):
    sound = canon.mix()
    assert pyloudnorm.Meter(canon.rate).integrated_loudness(sound) == pytest.approx(-16, abs=0.1)
    assert 20 * np.log10(np.abs(resample_poly(sound.astype(np.float32), 4, 1, axis=0)).max()) <= -1
    assert np.abs(sound[0]).max() < 1e-4
    assert np.abs(sound[-canon.rate // 100 :]).max() < 1e-3
    assert len(find_clicks(sound, canon.rate)) == 0


@pytest.mark.parametrize("part", ["andante", "adagio", "largo"])
def test_a_follower_sings_the_leaders_line_slower(part, lines):
    """Tick by tick, each its own time, the contours agree; backwards they do not."""
    own = lines[part]
    leader = lines["presto"][: len(own)]
    assert np.corrcoef(own, leader)[0, 1] > 0.9
    assert np.corrcoef(own[::-1], leader)[0, 1] < -0.5


def test_the_stretch_that_is_heard_doubles_from_voice_to_voice(lines):
    """Nearly: the largest steps lose way by stumbling. At its stretch a voice is the leader, a fourth, one and two
    octaves lower, to about a semitone; as fast as the leader, or against it backwards, it is another line."""
    best = {part: apart(lines, part, lines["presto"]) for part in ("andante", "adagio", "largo")}
    measured = {part: STRETCHES[np.argmin(found)] for part, found in best.items()}
    assert 1.4 <= measured["andante"] <= 2.1
    assert 2.4 <= measured["adagio"] <= 4.1
    assert 4.7 <= measured["largo"] <= 8.1
    for part, found in best.items():
        assert found.min() < 1.6
        assert found[STRETCHES == 1.0][0] > 2 * found.min()
        assert apart(lines, part, lines["presto"][::-1]).min() > 2 * found.min()


def test_what_happens_happens_later_in_every_slower_voice(canon):
    """Beats from a voice's entry to its second bell: eight tenths are read."""
    beats = []
    for part, (entry, *_) in PARTS.items():
        start = canon.section(entry)[0]
        rung = strokes(canon.cut(canon.stem(f"{part}_bell"), start, canon.section("blind")[0]), canon.rate)
        beats.append(float(canon.played.tempi.beats(start + rung[1]) - canon.played.tempi.beats(start)))
    assert all(later > 1.3 * sooner for sooner, later in pairwise(beats)), beats
    assert beats[-1] > 3.5 * beats[0]


def test_the_leader_is_heard_backwards_and_as_a_memory(canon, lines):
    leader = lines["presto"]
    backwards = notes(canon, "presto", "comes")
    assert np.corrcoef(backwards[::-1], leader)[0, 1] > 0.9
    assert np.corrcoef(backwards, leader)[0, 1] < 0
    np.testing.assert_allclose(notes(canon, "presto", "memory"), leader, atol=0.2)  # slower, the same notes


def test_haste_ends_on_one_note(canon, lines):
    """The drum counts the growing steps; the leader, of many notes before, has one left when it is blind."""
    start, end = canon.section("haste")
    blows = strokes(canon.cut(canon.stem("drum"), start, end), canon.rate)
    quarters = np.histogram(blows, np.linspace(0, end - start, 5))[0]
    assert (np.diff(quarters) > 0).all()
    assert quarters[-1] > 3 * quarters[0]
    start, end = canon.section("blind")
    hammered = 12 * np.log2(pitch_track(canon.cut(canon.stem("presto_line"), start + 0.3, end), canon.rate).f0)
    assert np.nanpercentile(hammered, 99) - np.nanpercentile(hammered, 1) < 0.5
    assert len(np.unique(np.round(lines["presto"]))) >= 10


def test_the_slowest_arrives_last_and_lowest(canon):
    arrivals = {part: canon.times(part, "converged") for part in PARTS}
    assert max(arrivals["largo"]) == max(t for times in arrivals.values() for t in times)
    last = canon.section("memory")[1]
    ground = pitch_track(canon.cut(canon.stem("largo_ground"), last - 6, last), canon.rate, window_s=0.17).f0
    assert np.nanmedian(ground) == pytest.approx(73.4, rel=0.08)  # D2, or the tone above it


def test_sections_differ_and_no_minute_is_flat(canon):
    """The slow passage is quiet and dark, the haste the loudest; the end is softer than the beginning of the canon."""
    ears = hear(canon.mix(), canon.rate, hop_s=0.25)
    times = (np.arange(len(ears)) + 0.5) * 0.25

    def mean(values, name):
        start, end = canon.section(name)
        return float(np.mean(values[(times >= start) & (times < end)]))

    loud = {s.section.name: mean(ears.loudness, s.section.name) for s in canon.played.sections}
    assert max(loud, key=loud.__getitem__) == "haste"
    assert loud["haste"] > loud["slow"] + 4
    assert loud["memory"] < min(loud["comes"], loud["haste"]) - 4
    assert mean(ears.centroid, "dux") > 1.5 * mean(ears.centroid, "slow") > 0
    assert mean(ears.centroid, "haste") > 1.3 * mean(ears.centroid, "memory")
    for start in range(0, int(canon.played.duration) - 30, 30):
        stretch = ears.loudness[(times >= start) & (times < start + 60)]
        assert np.percentile(stretch, 90) - np.percentile(stretch, 10) > 5
