"""What the programme note of "Forgetting" says, heard in its rendered sound, at twice its tempo to spare time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pieces.piece import find_piece
from sonify.ears import hear
from tests.sonify.conftest import find_clicks, strongest
from tests.sounding import Whole, whole

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]

#: The digits in the order of the roll call, and the note of each in hertz: A major without its fourth, in just tuning.
NOTES = dict(
    zip(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        (220.0, 330.0, 495.0, 366.667, 550.0, 440.0, 660.0, 412.5, 275.0, 733.333),
        strict=True,
    )
)
BEATS = 5


@pytest.fixture(scope="module")
def forgetting(scratch: Path) -> Whole:
    """The piece with seed 1, every tempo doubled: the same beats and ticks in half the time."""
    piece, _ = find_piece("forgetting")
    sections = piece.model_dump(mode="json", exclude_none=True)["sections"]
    for section in sections:
        section["tempo"] = (2 * np.asarray(section.get("tempo", piece.metre.tempo))).tolist()
    path: Path = scratch / "forgetting.toml"
    path.write_text(piece.with_values({"sections": sections}).to_toml())
    return whole(str(path), 1, scratch)


@pytest.fixture(scope="module")
def calls(forgetting: Whole) -> dict[str, NDArray[np.int64]]:
    """Section → of each bar, how many digits are heard in it."""
    found = {}
    stems = [forgetting.stem(name) for name in NOTES]
    for sounding in forgetting.played.sections:
        edges = bars(forgetting, sounding.section.name)
        counts = np.zeros(len(edges) - 1, dtype=np.int64)
        for sound in stems:
            struck = strokes(forgetting.cut(sound, edges[0], edges[-1]), forgetting.rate) + edges[0]
            counts += np.histogram(struck, edges)[0] > 0
        found[sounding.section.name] = counts
    return found


def bars(piece: Whole, section: str) -> Floats:
    """Seconds at which the whole bars of a section begin, and the last ends."""
    first, last = piece.played.tempi.beats(np.asarray(piece.section(section)))
    count = int((last - first) / BEATS + 1e-6)
    return piece.played.tempi.seconds(first + BEATS * np.arange(count + 1))


def strokes(sound: Floats, rate: int) -> Floats:
    """Seconds at which something, alone in its stem, is struck: its level, 10 ms long, at least doubles."""
    frame = rate // 100
    level = np.sqrt(np.mean(sound[: len(sound) // frame * frame].reshape(-1, frame) ** 2, axis=1))
    risen = (level[1:] > 2 * level[:-1]) & (level[1:] > 1e-4)
    return np.flatnonzero(risen & ~np.r_[False, risen[:-1]]) / 100


def decibels(sound: Floats) -> float:
    """Root mean square, in dB."""
    return float(10 * np.log10(np.mean(sound**2) + 1e-12))


def brightness(sound: Floats, pitch: float, rate: int) -> float:
    """Power above the fundamental over that of the fundamental."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / rate)
    return float(power[frequency > 1.5 * pitch].sum() / power[np.abs(frequency / pitch - 1) < 0.1].sum())


def parted(piece: Whole, sound: Floats, section: str, count: int) -> list[Floats]:
    """A section of a stem in so many stretches of equal length."""
    edges = np.linspace(*piece.section(section), count + 1)
    return [piece.cut(sound, a, b) for a, b in pairwise(edges)]


def test_it_is_loud_enough_whole_and_clean(forgetting):
    sound = forgetting.mix()
    assert pyloudnorm.Meter(forgetting.rate).integrated_loudness(sound) == pytest.approx(-16, abs=0.1)
    assert 20 * np.log10(np.abs(resample_poly(sound.astype(np.float32), 4, 1, axis=0)).max()) <= -1
    assert np.abs(sound[0]).max() < 1e-4
    assert np.abs(sound[-forgetting.rate // 100 :]).max() < 1e-3
    assert len(find_clicks(sound, forgetting.rate)) == 0


@pytest.mark.parametrize("place", range(10))
def test_a_digit_has_its_own_note_and_its_own_place_in_the_bar(place, forgetting):
    name, pitch = list(NOTES.items())[place]
    edges = bars(forgetting, "reading")
    sound = forgetting.cut(forgetting.stem(name), edges[0], edges[-1])
    bar = (edges[-1] - edges[0]) / (len(edges) - 1)
    struck = strokes(sound, forgetting.rate)
    assert len(struck) >= 4
    late = (struck / bar - place / 10 + 0.5) % 1 - 0.5
    assert np.abs(late * bar).max() < 0.021  # two frames
    first = round((struck[-1] + 0.03) * forgetting.rate)
    heard = strongest(sound[first : first + forgetting.rate // 5], forgetting.rate, 100, 1200)
    assert 1200 * np.log2(heard / pitch) == pytest.approx(0, abs=10)


def test_the_roll_call_fills_and_empties_to_one(calls):
    """Few answer at first sight, nearly all once it reads, fewer and fewer as it forgets, and at last one a bar."""
    assert calls["first sight"][:4].mean() <= 3
    assert calls["reading"][-4:].mean() >= 8
    assert calls["reading"][-4:].mean() > calls["forgetting"][:2].mean() + 2 > calls["forgetting"][-2:].mean() + 3
    assert calls["panic"].mean() <= 2
    assert calls["blind"].max() == 1
    assert calls["memory"][-4:].mean() >= 8


def test_certainty_goes_before_the_answers_do(forgetting, calls):
    """Two thirds through the doubt nearly all digits still answer, but dull and short."""
    assert calls["doubt"][:8].mean() >= 8
    sound = forgetting.stem("zero")
    certain, doubtful = (parted(forgetting, sound, name, 3)[2] for name in ("reading", "doubt"))
    assert brightness(certain, NOTES["zero"], forgetting.rate) > 2 * brightness(
        doubtful, NOTES["zero"], forgetting.rate
    )
    rings = [np.percentile(hear(s, forgetting.rate).loudness, 25) for s in (certain, doubtful)]
    assert rings[0] > rings[1] + 10  # between two notes


def test_the_scratching_is_the_error(forgetting):
    """Dense at first, rare once it reads, dense again when it has forgotten: strokes a beat."""

    def density(section: str, part: int) -> float:
        start, end = np.linspace(*forgetting.section(section), 4)[part : part + 2]
        struck = strokes(forgetting.cut(forgetting.stem("brush"), start, end), forgetting.rate)
        beats = forgetting.played.tempi.beats(np.array([start, end]))
        return float(len(struck) / (beats[1] - beats[0]))

    assert density("first sight", 0) > 2.5
    assert density("reading", 2) < 1.0
    assert density("forgetting", 2) > 2.5


def test_drums_grow_with_the_steps_until_it_is_blind(forgetting):
    drums = forgetting.stem("drums")
    grown = [decibels(s) for name in ("forgetting", "panic") for s in parted(forgetting, drums, name, 2)]
    assert (np.diff(grown) > 1.5).all(), grown
    assert grown[-1] > grown[0] + 10
    (collapsed,) = forgetting.times("pupil", "collapsed")
    start, end = forgetting.section("blind")
    assert start - 0.5 < collapsed <= start  # the panic ends on the next beat
    mix = hear(forgetting.cut(forgetting.mix(), start + 2.5, end), forgetting.rate)
    assert np.mean(mix.loudness < -40) > 0.5  # silence, but for the one note


def test_the_memory_is_what_was_heard_before_from_afar(forgetting):
    """What the network does is struck on the same beats as in the bars that are recalled; it comes near, and slows."""
    for voice in ("bells", "surprise"):
        beats = []
        for section in ("reading", "memory"):
            start, end = forgetting.section(section)
            struck = strokes(forgetting.cut(forgetting.stem(voice), start, end), forgetting.rate) + start
            beats.append(forgetting.played.tempi.beats(struck) - forgetting.played.tempi.beats(start))
        assert len(beats[0]) >= 2
        np.testing.assert_allclose(beats[0], beats[1], atol=0.06)
    page = [decibels(s) for s in parted(forgetting, forgetting.stem("page"), "memory", 4)]
    assert (np.diff(page) > 3).all(), page
    lengths = np.diff(bars(forgetting, "memory"))
    assert lengths[-1] > 2 * lengths[0]


def test_sections_differ_and_no_minute_is_flat(forgetting):
    ears = hear(forgetting.mix(), forgetting.rate, hop_s=0.25)
    times = (np.arange(len(ears)) + 0.5) * 0.25

    def mean(values: Floats, name: str) -> float:
        start, end = forgetting.section(name)
        return float(np.mean(values[(times >= start) & (times < end)]))

    loud = {s.section.name: mean(ears.loudness, s.section.name) for s in forgetting.played.sections}
    assert min(loud, key=loud.__getitem__) == "blind"
    assert min(loud["reading"], loud["panic"]) > loud["first sight"] + 3
    assert loud["panic"] > loud["forgetting"] + 4
    assert mean(ears.centroid, "reading") > 1.5 * mean(ears.centroid, "panic")
    assert mean(ears.roughness, "panic") > 2 * mean(ears.roughness, "reading")
    for start in range(0, int(forgetting.played.duration) - 30, 15):
        stretch = ears.loudness[(times >= start) & (times < start + 30)]
        assert np.percentile(stretch, 90) - np.percentile(stretch, 10) > 5
