"""What the programme note of "Losses and Dissonances" says, heard in its rendered sound and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import resample_poly

from sonify.ears import hear, roughness_of
from tests.sonify.conftest import find_clicks, strongest
from tests.sounding import Whole, whole

pytestmark = pytest.mark.slow

CHORD = ("root", "fifth", "tenth")


@pytest.fixture(scope="module")
def castro(scratch: Path) -> Whole:
    """The piece with seed 1."""
    return whole("castro", 1, scratch)


def rough(castro: Whole, sound: np.ndarray, start: float, seconds: float = 1.5) -> float:
    """Roughness of a stretch, long enough to tell partials apart that are 2 Hz apart."""
    return roughness_of(castro.cut(sound, start, start + seconds), castro.rate)


def fits(castro: Whole, part: str) -> list[tuple[float, float]]:
    """When each target was posed and when it was found."""
    return list(zip(castro.times(part, "new_target"), castro.times(part, "converged"), strict=True))


def test_it_is_loud_enough_whole_and_clean(castro):
    sound = castro.mix()
    assert pyloudnorm.Meter(castro.rate).integrated_loudness(sound) == pytest.approx(-16, abs=0.1)
    assert 20 * np.log10(np.abs(resample_poly(sound.astype(np.float32), 4, 1, axis=0)).max()) <= -1
    assert np.abs(sound[0]).max() < 1e-4
    assert np.abs(sound[-castro.rate // 100 :]).max() < 1e-3
    assert len(find_clicks(sound, castro.rate)) == 0


def test_five_curves_and_four_knots_are_posed_and_found_each_in_its_section(castro):
    curves, knots = fits(castro, "cubics"), fits(castro, "knots")
    assert len(curves) == 5
    assert len(knots) == 4
    names = ("first", "second", "third", "fourth", "fifth")
    for name, (posed, _) in zip(names, curves, strict=True):
        assert posed == pytest.approx(castro.section(name)[0], abs=0.05)
    for name, (_, found) in zip((*names[:4], "return"), curves, strict=True):
        assert 0 <= castro.section(name)[1] - found <= 1.1 * 60 / 54  # the section ends on the next beat
    for name, (posed, found) in zip(("held", "second knot", "third knot", "fourth knot"), knots, strict=True):
        start, end = castro.section(name)
        assert posed == pytest.approx(start, abs=0.05)
        assert 0 <= end - found <= 1.1


def test_roughness_falls_where_a_curve_or_a_knot_is_found(castro):
    """In the stems of what is detuned; and in the mix, with all that is plucked and struck besides, until both meet.

    A chord of six partials a note keeps some roughness of its own, a single tone next to none.
    """
    mix, tone, chord = castro.mix(), castro.stem("tone"), castro.stem(*CHORD)
    for posed, found in fits(castro, "cubics"):
        assert rough(castro, tone, found + 0.1) < 0.1 * rough(castro, tone, posed + 0.3)
    for posed, found in fits(castro, "knots"):
        assert rough(castro, chord, found + 0.1) < 0.75 * rough(castro, chord, posed + 0.3)
    for posed, found in fits(castro, "cubics")[:4] + fits(castro, "knots"):
        assert rough(castro, mix, found + 1.5) < 0.9 * rough(castro, mix, posed + 0.3)


def test_the_fifth_curve_freezes_on_its_dissonance_while_the_first_knot_begins(castro):
    tone = castro.stem("tone")
    start, end = castro.section("held")
    unfound = rough(castro, tone, start - 2)
    assert unfound > 0.01
    for at in np.arange(start + 0.2, end - 2):
        assert rough(castro, tone, at) == pytest.approx(unfound, rel=0.1)
    assert np.abs(castro.cut(castro.stem(*CHORD), start - 2, start)).max() < 1e-5
    assert np.abs(castro.cut(castro.stem(*CHORD), start + 1, start + 2)).max() > 0.01


def test_it_returns_in_tune_with_the_last_chord(castro):
    """The octave of the chord's fifth, and the chord 2 : 3 : 5, each within a cent; the found overtones are whole."""
    start = castro.section("in tune")[0] + 1

    def partial(voice: str, low: float, high: float) -> float:
        return strongest(castro.cut(castro.stem(voice), start, start + 4), castro.rate, low, high)

    root, fifth, tenth = partial("root", 90, 105), partial("fifth", 140, 155), partial("tenth", 235, 255)
    tone = partial("tone", 280, 310)
    for ratio, true in ((fifth / root, 3 / 2), (tenth / root, 5 / 2), (tone / fifth, 2), (tone / root, 3)):
        assert abs(1200 * np.log2(ratio / true)) < 1
    for k in (2, 3):
        assert abs(1200 * np.log2(partial("tone", 0.95 * k * tone, 1.05 * k * tone) / (k * tone))) < 1


def test_one_more_coefficient_is_plucked_with_every_curve(castro):
    stems = {c: castro.stem(f"arp_{c}") for c in "abcd"}

    def sounding(name: str) -> list[str]:
        return [c for c, stem in stems.items() if np.mean(castro.cut(stem, *castro.section(name)) ** 2) > 1e-4]

    assert [sounding(n) for n in ("first", "second", "third", "fourth")] == [
        ["d"],
        ["c", "d"],
        ["b", "c", "d"],
        ["a", "b", "c", "d"],
    ]


def test_strings_turn_as_often_in_a_bar_as_the_knot(castro):
    """Strokes of each string in the first bar of the third knot; the last may be the next bar's first."""
    start, _ = castro.section("third knot")
    tempi, frames = castro.played.tempi, castro.played.parts["knots"]
    bar = float(tempi.seconds(tempi.beats(start) + 4)) - start
    row = int(np.searchsorted(frames.starts, start + bar / 2))
    for string, axis in (("wheel_a", "nx"), ("wheel_b", "ny"), ("wheel_c", "nz")):
        strokes = len(hear(castro.cut(castro.stem(string), start, start + bar), castro.rate).onset_times)
        assert 0 <= strokes - frames.arrays[axis][row] <= 1


def test_sections_differ_and_no_minute_is_flat(castro):
    """The third knot is the loudest by far, what is found is softer than what is sought, chords are darker."""
    meter, mix = pyloudnorm.Meter(castro.rate), castro.mix()
    loud = {s.section.name: meter.integrated_loudness(castro.cut(mix, *s.seconds)) for s in castro.played.sections}
    assert max(loud, key=loud.__getitem__) == "third knot"
    for name in ("first", "second", "third", "fourth", "third knot"):
        assert loud[f"{name} found"] < loud[name] - 1.5
    assert max(loud.values()) - min(loud.values()) > 8
    ears = hear(mix, castro.rate, hop_s=0.25)
    times = (np.arange(len(ears)) + 0.5) * 0.25
    start, end = castro.section("fourth")
    high = ears.centroid[(times >= start) & (times < end)].mean()
    start, end = castro.section("second knot")
    assert high > 1.3 * ears.centroid[(times >= start) & (times < end)].mean()
    for start in range(0, int(castro.played.duration) - 30, 30):
        stretch = ears.loudness[(times >= start) & (times < start + 60)]
        assert np.percentile(stretch, 90) - np.percentile(stretch, 10) > 5
