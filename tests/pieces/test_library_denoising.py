"""What the programme note of "Out of noise" says, heard in its rendered sound: its leap and its twenty steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pieces.minds.denoising import Denoising
from pieces.piece import check_piece, find_piece
from sonify.ears import hear
from sonify.score import parse_score
from tests.pieces.minds.lively import still, strays
from tests.sounding import Whole, whole

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
CHANNELS = range(4)


@pytest.fixture(scope="module")
def heard(scratch: Path) -> Whole:
    """Two of its sections with seed 1: a picture in one leap, and in twenty steps."""
    piece, _ = find_piece("denoising")
    sections = {s["name"]: s for s in piece.model_dump(mode="json", exclude_none=True)["sections"]}
    sections["steps"]["controls"]["mind.guidance"] = sections["strides"]["controls"]["mind.guidance"]  # it stays so
    short = {"sections": [sections["a leap"], sections["steps"]], "parts.mind.controls.pictures": 2, "master.tail": 1.0}
    path = scratch / "short.toml"
    path.write_text(piece.with_values(short).to_toml())
    return whole(str(path), 1, scratch)


def forming(heard: Whole) -> tuple[float, float]:
    """Seconds in which the picture of twenty steps forms."""
    begun, finished = heard.times("mind", "picture")[1], heard.times("mind", "finished")[1]
    return begun, finished


def bandwidth(sound: Floats, rate: int) -> float:
    """Octaves that hold the middle four fifths of the power."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    f = np.fft.rfftfreq(len(sound), 1 / rate)
    share = np.cumsum(power) / power.sum()
    low, high = np.interp((0.1, 0.9), share, f)
    return float(np.log2(high / low))


def test_signals_stay_where_they_are_declared_and_all_that_is_mapped_moves(heard):
    frames = heard.played.parts["mind"]
    assert not strays(Denoising.channels, frames)
    assert not still(parse_score(find_piece("denoising")[0].score, "denoising"), Denoising.channels, frames)


def test_from_noise_to_tone(heard):
    begun, finished = forming(heard)
    mix = heard.mix()
    noise = hear(heard.cut(mix, begun, begun + 1.5), heard.rate)
    tone = hear(heard.cut(mix, finished + 1.0, finished + 2.5), heard.rate)
    assert np.median(noise.clarity) < 0.4 < 0.6 < np.median(tone.clarity)
    assert np.median(noise.flatness) > 5 * np.median(tone.flatness)


@pytest.mark.parametrize("channel", CHANNELS)
def test_spread_is_the_bandwidth_of_every_voices_wind(channel, heard):
    frames = heard.played.parts["mind"]
    ticks = np.flatnonzero((frames.starts > forming(heard)[0] + 0.01) & (frames.arrays["noise_level"] > 0))
    stem = heard.stem(f"wind{channel}")
    widths = [bandwidth(heard.cut(stem, frames.starts[t], frames.starts[t + 1]), heard.rate) for t in ticks]
    spread = frames.arrays["spread"][ticks]
    assert spearmanr(widths, spread)[0] > 0.7
    assert spearmanr(widths, spread[::-1])[0] < 0, "the measure can fail"
    assert widths[0] > 4 * widths[-1]


def test_the_four_channels_are_four_voices_from_left_to_right(heard):
    balance = [np.median(hear(_stereo(heard, f"tone{c}"), heard.rate).balance) for c in CHANNELS]
    assert balance == sorted(balance)
    assert np.diff(balance).min() > 0.2
    ends = heard.cut(np.stack([heard.stem(f"tone{c}") for c in CHANNELS], axis=1), *_rest(heard))
    peaks = [_peak(ends[:, c], heard.rate) for c in CHANNELS]
    assert len({round(12 * np.log2(p / 440)) for p in peaks}) >= 3, "a chord"


def _stereo(heard: Whole, voice: str) -> Floats:
    import soundfile

    return heard.cut(soundfile.read(heard.rendering.stems[voice])[0], *_rest(heard))


def _rest(heard: Whole) -> tuple[float, float]:
    finished = forming(heard)[1]
    return finished + 1.0, finished + 3.0


def _peak(sound: Floats, rate: int) -> float:
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.fft.rfftfreq(len(sound), 1 / rate)[power.argmax()])


def test_steps_are_plucked_and_small_ones_often(heard):
    strokes = hear(heard.stem("strings"), heard.rate, 0.01).onset_times
    begun, finished = forming(heard)
    leap = np.sum(strokes < begun - 0.05)
    during = np.sum((strokes > begun - 0.05) & (strokes < finished + 0.4))
    assert leap == 1
    assert during >= 2 * 20
    assert not np.sum((strokes > finished + 0.6) & (strokes < heard.played.duration))


def test_a_bell_rings_when_a_picture_is_finished(heard):
    onsets = hear(heard.stem("bells"), heard.rate).onset_times
    np.testing.assert_allclose(onsets, heard.times("mind", "finished"), atol=0.011)


def test_a_leap_leaves_a_duller_chord(heard):
    leap = heard.times("mind", "finished")[0]
    chords = np.sum([heard.stem(f"tone{c}") for c in CHANNELS], axis=0)
    dull, clear = (heard.cut(chords, *when) for when in ((leap + 2, leap + 4), _rest(heard)))

    def bright(sound: Floats) -> float:
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        f = np.fft.rfftfreq(len(sound), 1 / heard.rate)
        return float(power[f > 1000].sum() / power.sum())

    assert bright(clear) > 1.5 * bright(dull)


def test_the_piece_holds_together_and_its_pictures_fill_its_sections():
    piece, base = find_piece("denoising")
    assert check_piece(piece, "denoising", base)["mind"] is Denoising
    assert piece.parts["mind"].controls["pictures"] == len(piece.sections)
    for section in piece.sections:
        ticks = section.controls["mind.steps"] + section.controls["mind.rest"]
        assert ticks == section.bars * 4 * piece.parts["mind"].per_beat, section.name
