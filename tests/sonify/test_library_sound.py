"""The six pieces as they are shipped: what every one of them promises, judged on its files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyloudnorm
import pytest
import soundfile
from scipy.signal import resample_poly

from pieces.piece import find_piece
from pieces.signals import Frames, gather
from pieces.source import check_controls, find_source
from sonify.render import Rendering
from sonify.score import parse_score
from studio.performance import Performance
from tests.sounding import rendered, resolved

pytestmark = pytest.mark.slow

SHIPPED = ["cubics-paper", "cubics-code", "cubics-robust", "knots", "digits", "landscape"]


@dataclass(frozen=True)
class Shipped:
    """A piece as its file has it, performed with a seed and rendered."""

    frames: Frames
    rendering: Rendering


@pytest.fixture(scope="session")
def shipped(tmp_path_factory):
    @cache
    def composed(name, seed=3):
        piece, _ = find_piece(name)
        (part,) = piece.parts.values()
        source = find_source(part.source)
        controls = check_controls(source, part.controls)
        frames = gather(list(Performance(source(seed, controls), controls, part.ticks)), part.rate)
        score = parse_score(piece.score, name)
        sound = rendered(resolved(score, source.channels, frames), frames, piece.master, tmp_path_factory.mktemp(name))
        return Shipped(frames, sound)

    return composed


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_piece_is_loud_enough_whole_and_clean(name, shipped, clicks):
    """-16 LUFS and at most -1 dBTP, silence at both ends, no clicks."""
    sound, rate = soundfile.read(shipped(name).rendering.mix)
    assert pyloudnorm.Meter(rate).integrated_loudness(sound) == pytest.approx(-16, abs=0.1)
    assert 20 * np.log10(np.abs(resample_poly(sound.astype(np.float32), 4, 1, axis=0)).max()) <= -1
    assert np.abs(sound[0]).max() < 1e-4
    assert np.abs(sound[-rate // 100 :]).max() < 1e-3
    assert len(clicks(sound, rate)) == 0


@pytest.mark.parametrize(
    ("name", "law"), [("cubics-paper", lambda f: f["loss"]), ("cubics-code", lambda f: 0.05 * f["mean_error"])]
)
def test_the_loss_is_decoded_from_the_stem_of_a_shipped_piece(name, law, shipped, partial):
    """The second partial, the strongest above the fundamental, stands at 2 f0 (1 + L) whatever else the piece plays.

    Judged where L stands above what a window of 120 ms tells apart, and while one target is learned throughout it.
    """
    width, resolution = 0.12, 1e-3
    take = shipped(name)
    rate, frames = take.rendering.sample_rate, take.frames
    tone = soundfile.read(take.rendering.stems["tone"])[0].sum(axis=1)
    ticks = (np.arange(frames.ticks) + 0.5) / frames.rate
    posed = np.array([e.tick / frames.rate for e in frames.of_kind("new_target")])
    true, decoded = [], []
    for start in np.arange(0.2, frames.duration - width, 0.02):
        if np.any((posed > start - 0.1) & (posed < start + width)):
            continue
        near = (ticks > start) & (ticks < start + width)
        weights = np.sin(np.pi * (ticks[near] - start) / width) ** 4  # power of the judge's Hann window
        detune = float(np.average(law(frames.arrays)[near], weights=weights))
        window = tone[int(start * rate) : int((start + width) * rate)]
        f0 = partial(window, rate, 100, 420)
        if abs(detune) > resolution:
            true.append(detune)
            decoded.append(partial(window, rate, 1.5 * f0, 8 * f0) / (2 * f0) - 1)
    assert len(true) >= 100
    assert 1 - np.mean(np.subtract(decoded, true) ** 2) / np.var(true) >= 0.99
