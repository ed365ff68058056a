"""Training heard: what the piece `digits` promises, measured on rendered sound and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pieces.piece import find_piece
from pieces.signals import Frames, gather
from pieces.source import check_controls
from pieces.training.digits import Digits
from sonify.ears import hear
from sonify.render import Rendering
from sonify.score import parse_score
from studio.performance import Performance
from tests import sounding

Floats = NDArray[np.float64]
RATES = (0.01, 0.1, 1.0)
SEEDS = (1, 2, 3, 4)


def performed(seed: int, ticks: int, **controls: Any) -> Frames:
    """The piece's source, headless, finite as a performance makes it."""
    part = find_piece("digits")[0].parts["network"]
    complete = check_controls(Digits, {**part.controls, **controls})
    return gather(list(Performance(Digits(seed, complete), complete, ticks)), part.rate)


def rendered(frames: Frames, folder: Path, *voices: str) -> Rendering:
    """The piece, or some of its voices, with half a second of tail."""
    piece = find_piece("digits")[0].with_values({"master.tail": 0.5})
    score = parse_score(piece.score, "digits")
    if voices:
        chosen = {v: score.voices[v].model_copy(update={"sends": {}}) for v in voices}
        score = score.model_copy(update={"voices": chosen})
    resolved = sounding.resolved(score, Digits.channels, frames)
    return sounding.rendered(resolved, frames, piece.master, folder, stems=bool(voices))


def heard(path: Path) -> tuple[Floats, int]:
    """Samples, mono."""
    sound, sample_rate = soundfile.read(path)
    return sound.mean(axis=1), sample_rate


def begins(path: Path) -> float:
    """Seconds of silence before the first sound; infinity for silence."""
    sound, sample_rate = heard(path)
    loud = np.flatnonzero(np.abs(sound) > 1e-3 * np.abs(sound).max())
    return loud[0] / sample_rate if len(loud) else np.inf


def features(path: Path) -> Floats:
    """Mean and spread, in each half of the sound, of the level in 24 bands relative to the whole."""
    sound, sample_rate = heard(path)
    windows = np.lib.stride_tricks.sliding_window_view(sound, 4096)[::2048] * np.hanning(4096)
    power = np.abs(np.fft.rfft(windows)) ** 2
    edges = np.unique(np.geomspace(60, 12_000, 25) * 4096 / sample_rate).astype(int)
    level = np.log(np.add.reduceat(power, edges, axis=1)[:, :-1] + 1e-6)
    level -= level.mean()
    halves = np.array_split(level, 2)
    return np.concatenate([f(axis=0) for half in halves for f in (half.mean, half.std)])


def held_out_accuracy(x: Floats, y: Floats, seeds: Floats) -> float:
    """Share of the sounds told apart by a classifier that never heard their seed."""
    right = []
    for seed in np.unique(seeds):
        unheard = seeds == seed
        judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x[~unheard], y[~unheard])
        right.append(judge.predict(x[unheard]) == y[unheard])
    return float(np.mean(right))


@pytest.mark.slow
def test_three_learning_rates_are_told_apart_by_ear_and_shuffled_labels_are_not(tmp_path: Path) -> None:
    trials = [(rate, seed) for rate in RATES for seed in SEEDS]
    x = np.stack(
        [
            features(rendered(performed(seed, 80, learning_rate=rate), tmp_path / f"{rate}-{seed}").mix)
            for rate, seed in trials
        ]
    )
    y, seeds = np.array([RATES.index(rate) for rate, _ in trials]), np.array([seed for _, seed in trials])
    # Measured: 11 of 12. Ten or more would come by guessing once in 1800 times (binomial, p = 1/3).
    assert held_out_accuracy(x, y, seeds) >= 10 / 12
    random = np.random.default_rng(0)
    shuffled = [held_out_accuracy(x, random.permutation(y), seeds) for _ in range(20)]
    assert np.mean(shuffled) < 0.5
    assert max(shuffled) < 10 / 12


def test_collapse_is_a_knell_and_the_choir_falls_silent(tmp_path: Path) -> None:
    for seed in SEEDS:
        frames = performed(seed, 130, learning_rate=1.0)
        if frames.of_kind("collapsed"):
            break
    (collapse, *_) = frames.of_kind("collapsed", "exploded")
    stems = rendered(frames, tmp_path, "conv1", "knell").stems
    assert begins(stems["knell"]) == pytest.approx(collapse.tick / frames.rate, abs=0.01)
    choir, sample_rate = heard(stems["conv1"])
    at = int(frames.of_kind("collapsed")[0].tick / frames.rate * sample_rate)
    loud = np.sqrt(np.mean(choir[: at - sample_rate // 2] ** 2))
    silent = np.sqrt(np.mean(choir[at : int(frames.duration * sample_rate)] ** 2))
    assert 20 * np.log10(loud / silent) > 20


def test_explosion_is_a_knell_and_the_wind_roars(tmp_path: Path) -> None:
    frames = performed(1, 60, learning_rate=100.0)
    (explosion,) = frames.of_kind("exploded")
    exploded = rendered(frames, tmp_path / "exploded", "wind", "conv2", "knell")
    assert begins(exploded.stems["knell"]) == pytest.approx(explosion.tick / frames.rate, abs=0.01)
    calm = rendered(performed(1, 60, learning_rate=0.1), tmp_path / "calm", "wind", "conv2", "knell")
    assert begins(calm.stems["knell"]) == np.inf

    def wind_over_choir(sound: Rendering) -> float:
        levels = [np.sqrt(np.mean(heard(sound.stems[v])[0] ** 2)) for v in ("wind", "conv2")]
        return float(20 * np.log10(levels[0] / levels[1]))

    assert wind_over_choir(exploded) > wind_over_choir(calm) + 20


def test_every_milestone_is_a_bell(tmp_path: Path) -> None:
    frames = performed(1, 220, learning_rate=0.1)
    milestones = [e.tick / frames.rate for e in frames.of_kind("milestone", "converged")]
    assert len(milestones) >= 3
    bells = rendered(frames, tmp_path, "bells").stems["bells"]
    onsets = hear(*heard(bells)).onset_times
    for time in milestones:
        assert np.abs(onsets - time).min() < 0.01, f"no bell at {time} s"
    assert len(onsets) == len(milestones)


def test_lead_falls_as_the_held_out_loss_does(tmp_path: Path) -> None:
    frames = performed(1, 160, learning_rate=0.1)
    sound, sample_rate = heard(rendered(frames, tmp_path, "lead").stems["lead"])
    times = np.arange(0.6, frames.duration - 0.3, 0.2)
    pitch = []
    for time in times:
        start = int((time - 0.1) * sample_rate)
        spectrum = np.abs(np.fft.rfft(sound[start : start + sample_rate // 5] * np.hanning(sample_rate // 5), 1 << 17))
        pitch.append(spectrum[: int(1000 * (1 << 17) / sample_rate)].argmax() * sample_rate / (1 << 17))
    # The lane is the mean of the last 350 ms.
    ticks = (np.arange(frames.ticks) + 0.5) / frames.rate
    loss = [frames.arrays["held_out_loss"][np.abs(ticks - (t - 0.175)) <= 0.175].mean() for t in times]
    assert np.corrcoef(np.log(pitch), np.log(loss))[0, 1] > 0.98


def test_training_that_gives_no_number_is_played_to_its_end(tmp_path: Path) -> None:
    takes = (performed(seed, 60, learning_rate=1000.0) for seed in range(1, 20))
    frames = next(f for f in takes if f.of_kind("diverged") and not f.of_kind("recovered"))
    assert frames.ticks < 60, "the source ends by itself"
    assert all(np.isfinite(a).all() for a in frames.arrays.values())
    sound, _ = heard(rendered(frames, tmp_path / "all").mix)
    assert np.isfinite(sound).all()
    lost = frames.of_kind("diverged", "exploded", "collapsed")[0].tick / frames.rate
    assert begins(rendered(frames, tmp_path / "knell", "knell").stems["knell"]) == pytest.approx(lost, abs=0.01)
    assert np.abs(sound[-100:]).max() < 1e-3 < np.abs(sound).max()
