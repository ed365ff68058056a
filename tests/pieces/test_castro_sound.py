"""Losses heard: what the pieces after Castro promise, measured on rendered stems and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import find_peaks, get_window
from scipy.stats import spearmanr

from pieces.piece import find_piece
from pieces.signals import Frames, gather
from pieces.source import check_controls, find_source
from sonify.ears import roughness_of
from sonify.score import parse_score
from studio.performance import Performance
from tests.sounding import desk, rendered, resolved

Floats = NDArray[np.float64]

#: Seconds of sound from which partials are read.
WINDOW = 0.25


@dataclass(frozen=True)
class Heard:
    """A stem, mono, and the frames it was made from."""

    sound: Floats
    rate: int
    frames: Frames

    def partials(self, time: float, count: int, window: float = WINDOW) -> Floats:
        """Frequencies of the `count` strongest peaks around a time, rising: parabola through the log spectrum."""
        n = int(window * self.rate)
        start = int((time - window / 2) * self.rate)
        spectrum = np.abs(np.fft.rfft(self.sound[start : start + n] * get_window("blackmanharris", n), 4 * n))
        log = np.log(spectrum + 1e-12)
        peaks, _ = find_peaks(log)
        peaks = np.sort(peaks[np.argsort(log[peaks])[-count:]])
        left, middle, right = log[peaks - 1], log[peaks], log[peaks + 1]
        return (peaks + 0.5 * (left - right) / (left - 2 * middle + right)) * self.rate / (4 * n)

    def detuning(self, time: float, count: int) -> float:
        """L, from the overtones' places against the fundamental's: f_k = k f0 (1 + L)."""
        fundamental, *overtones = self.partials(time, count)
        return float(np.mean(np.array(overtones) / (np.arange(2, count + 1) * fundamental)) - 1)

    def mean(self, channel: str, time: float) -> float:
        """A channel's mean over the window, weighted as the window weighs the sound."""
        ticks = (np.arange(self.frames.ticks) + 0.5) / self.frames.rate
        near = np.abs(ticks - time) < WINDOW / 2
        weights = np.interp(
            ticks[near], np.linspace(time - WINDOW / 2, time + WINDOW / 2, 101), get_window("hann", 101, False)
        )
        return float(np.average(self.frames.arrays[channel][near], weights=weights))


def performed(name: str, seed: int, ticks: int | None = None, **controls: Any) -> Frames:
    """A piece's source, headless."""
    piece, _ = find_piece(name)
    (part,) = piece.parts.values()
    cls = find_source(part.source)
    complete = check_controls(cls, {**part.controls, **controls})
    return gather([cls(seed, complete).step(complete, (), ticks or part.ticks)], part.rate)


def stem(name: str, voice: str, frames: Frames) -> Heard:
    """One voice of a piece, alone and dry, as the piece's score has it."""
    piece, _ = find_piece(name)
    alone: Mapping[str, Any] = {k: v for k, v in piece.score["voices"][voice].items() if k != "sends"}
    score = parse_score({**piece.score, "voices": {voice: alone}}, name)
    (part,) = piece.parts.values()
    with TemporaryDirectory() as folder:
        dry = resolved(score, find_source(part.source).channels, frames)
        rendering = rendered(dry, frames, piece.master, Path(folder))
        sound, rate = soundfile.read(rendering.stems[voice])
    return Heard(sound.sum(axis=1), rate, frames)


@cache
def learned(name: str, voice: str) -> Heard:
    """Two targets at the piece's own tempo."""
    return stem(name, voice, performed(name, seed=1, targets=2))


@cache
def slowly(name: str, voice: str) -> Heard:
    """The first 12 seconds of a target at one gradient step a tick, so that the ear's window sees L nearly still."""
    return stem(name, voice, performed(name, seed=1, ticks=600, steps_per_tick=1))


def r_squared(measured: Floats, true: Floats) -> float:
    return float(1 - np.sum((measured - true) ** 2) / np.sum((true - true.mean()) ** 2))


@pytest.mark.parametrize(
    ("name", "voice", "count", "law"),
    [
        ("cubics-paper", "tone", 4, lambda h, t: h.mean("loss", t)),
        ("cubics-code", "tone", 5, lambda h, t: 0.05 * h.mean("mean_error", t)),
        ("knots", "root", 5, lambda h, t: 0.1 * np.sqrt(h.mean("loss", t))),
    ],
)
def test_loss_is_decoded_from_the_partials(name: str, voice: str, count: int, law: Any) -> None:
    sound = slowly(name, voice)
    times = np.arange(WINDOW, sound.frames.duration - WINDOW, 0.1)
    decoded = np.array([sound.detuning(t, count) for t in times])
    true = np.array([law(sound, t) for t in times])
    assert true.max() - true.min() > 0.02, "there is something to decode"
    assert r_squared(decoded, true) >= 0.99


def test_fundamental_stays_while_overtones_move() -> None:
    sound = slowly("cubics-paper", "tone")
    f0 = 440 * 2 ** ((sound.frames.arrays["note"][0] - 69) / 12)
    for time in np.arange(WINDOW, sound.frames.duration - WINDOW, 0.5):
        assert abs(1200 * np.log2(sound.partials(time, 4)[0] / f0)) < 2


@pytest.mark.parametrize(
    ("name", "voice", "count"),
    [("cubics-paper", "tone", 4), ("cubics-code", "tone", 5), ("cubics-robust", "tone", 4), ("knots", "root", 5)],
)
def test_convergence_is_a_harmonic_tone(name: str, voice: str, count: int) -> None:
    """In the rest after each target every partial is within 5 cents of its place."""
    sound = learned(name, voice)
    for end in sound.frames.of_kind("converged"):
        time = end.tick / sound.frames.rate + 1.0
        fundamental, *overtones = sound.partials(time, count)
        cents = 1200 * np.log2(np.array(overtones) / (np.arange(2, count + 1) * fundamental))
        assert np.all(np.abs(cents) < 5)


def test_a_chord_that_clears_is_just() -> None:
    """Root, fifth and tenth of `knots` stand 2 : 3 : 5 apart."""
    found = []
    for voice in ("root", "fifth", "tenth"):
        sound = learned("knots", voice)
        (end, *_) = sound.frames.of_kind("converged")
        found.append(sound.partials(end.tick / sound.frames.rate + 1.0, 5)[0])
    np.testing.assert_allclose(np.array(found) / found[0], [1, 1.5, 2.5], rtol=5e-4)


def stairs(low: float, high: float, steps: int, note: float, seconds: float = 1.0) -> Frames:
    """Losses in equal ratios, each held for so many seconds."""
    rate = 50.0
    loss = np.repeat(np.geomspace(low, high, steps), int(rate * seconds)).astype(np.float32)
    return Frames({"loss": loss, "note": np.full_like(loss, note)}, (), rate, len(loss))


def roughness_by_step(heard: Heard, steps: int) -> list[float]:
    width = heard.frames.duration / steps
    cuts = [(int((i + 0.1) * width * heard.rate), int((i + 0.98) * width * heard.rate)) for i in range(steps)]
    return [roughness_of(heard.sound[a:b], heard.rate) for a, b in cuts]


@pytest.mark.parametrize("note", [57, 64, 67])
def test_robust_is_rougher_the_larger_the_loss(note: int) -> None:
    """L over 0..0.02; at its foot there is no roughness but that of the harmonic tone."""
    rough = roughness_by_step(stem("cubics-robust", "tone", stairs(1e-3, 2.0, 12, note)), 12)
    assert spearmanr(rough, range(12)).statistic > 0.95
    assert rough[-1] > 3 * rough[0]


def test_paper_grows_smoother_instead() -> None:
    """Negative control: one common factor widens every gap, so that the published mapping falls in roughness."""
    rough = roughness_by_step(stem("cubics-paper", "tone", stairs(0.02, 0.8, 8, 57)), 8)
    assert spearmanr(rough, range(8)).statistic < -0.5


def test_paper_is_blind_where_the_loss_is_whole() -> None:
    """At L = 1 the partials stand at 4, 6 and 8 f0: harmonic again, though the fit is bad."""
    sound = stem("cubics-paper", "tone", stairs(1.0, 1.0 + 1e-6, 1, 57))
    places = sound.partials(0.5, 4) / 220.0
    np.testing.assert_allclose(places, [1, 4, 6, 8], rtol=1e-3)


def level(sound: Floats) -> float:
    """Root mean square in dB."""
    return float(20 * np.log10(np.sqrt(np.mean(sound**2)) + 1e-12))


def test_divergence_is_a_knell_and_the_tone_is_gone(tmp_path: Path) -> None:
    """Points far out make the descent run away: a low bell where it does, then no tone that could be data."""
    piece, _ = find_piece("cubics-robust")
    piece = piece.with_controls({"x_range": 5.0, "targets": 1, "steps_per_tick": 1})
    (part,) = piece.parts.values()
    source = find_source(part.source)
    controls = check_controls(source, part.controls)
    frames = gather(list(Performance(source(1, controls), controls, part.ticks)), part.rate)
    lost = [e.tick / part.rate for e in frames.of_kind("diverged")]
    score = parse_score(piece.score, "cubics-robust")
    whole = resolved(score, source.channels, frames)
    assert len(desk(whole, frames).voices["knell"].onsets) == len(set(lost)) < len(lost), "one strike a tick"
    stems = rendered(whole, frames, piece.master, tmp_path).stems
    sounds = {voice: soundfile.read(path)[0].sum(axis=1) for voice, path in stems.items()}
    rate = piece.master.sample_rate
    before = slice(rate // 5, int(lost[0] * rate))
    after = slice(int((lost[-1] + 0.3) * rate), int(frames.duration * rate))

    struck = np.flatnonzero(np.abs(sounds["knell"]) > 0.01 * np.abs(sounds["knell"]).max())
    assert struck[0] / rate == pytest.approx(lost[0], abs=0.01)
    mix, at = sum(sounds.values()), int(lost[0] * rate)

    def tierce(start: int) -> float:
        """Level of the bell's minor third, which nothing else in the piece plays."""
        window = mix[start : start + rate // 5] * get_window("hann", rate // 5)
        return level(np.abs(np.fft.rfft(window))[25:29])  # 125 to 140 Hz

    assert tierce(at) > tierce(at - rate // 5) + 15, "heard in the mix too"
    for voice in ("tone", "breath"):
        assert level(sounds[voice][after]) < level(sounds[voice][before]) - 40
    assert level(sounds["knell"][after]) > level(sounds["tone"][before]) - 20
    assert not np.any(sounds["arrival"]), "nothing arrives"
