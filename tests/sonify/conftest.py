"""What the tests of sound share: a score played into audio, and judges of that audio."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt

from pieces.arrange import Arrangement
from pieces.piece import Master
from pieces.signals import Channel, Event, Frames
from sonify.lanes import lanes
from sonify.render import Rendering, render
from sonify.resolve import ResolvedScore, resolve, take_stats
from sonify.score import parse_score


@dataclass
class Played:
    """A rendering, what it was made from, and its samples."""

    resolved: ResolvedScore
    played: Arrangement
    rendering: Rendering
    audio: np.ndarray  # [samples, 2]

    def between(self, start: float, end: float, side: int = 0) -> np.ndarray:
        """One channel from `start` to `end` seconds."""
        rate = self.rendering.sample_rate
        return self.audio[round(start * rate) : round(end * rate), side]

    def frequency(self, start: float, end: float, low: float = 20.0, high: float = 20_000.0) -> float:
        """Frequency of the strongest partial between two times, from `low` to `high` Hz."""
        return strongest(self.between(start, end), self.rendering.sample_rate, low, high)


def resolved(
    score: dict, arrays: dict, rate: float, events: tuple[Event, ...] = ()
) -> tuple[ResolvedScore, Arrangement]:
    """A score resolved against the whole take of one part."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
    channels = {name: Channel(name, "a test's", shape=array.shape[1:]) for name, array in arrays.items()}
    frames = Frames(arrays, events, rate, len(next(iter(arrays.values()))))
    parsed = parse_score(score, "test")
    stats = take_stats(parsed, {"source": channels}, {"source": frames})
    return resolve(parsed, stats, ["source"]), Arrangement.of(frames)


def strongest(sound: np.ndarray, rate: int, low: float, high: float) -> float:
    """Frequency of the strongest partial: the peak of a windowed, zero-padded spectrum, its logarithm interpolated."""
    size = 1 << (len(sound) * 8 - 1).bit_length()
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size)) + 1e-30)
    first, last = int(low * size / rate), min(int(high * size / rate), len(spectrum) - 2)
    peak = first + int(np.argmax(spectrum[first:last]))
    a, b, c = spectrum[peak - 1 : peak + 2]
    return float((peak + 0.5 * (a - c) / (a - 2 * b + c)) * rate / size)


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Played]:
    """``play(score, arrays, rate, events=(), stems=True, **master)`` renders and reads back."""

    def player(
        score: dict, arrays: dict, rate: float, events: tuple[Event, ...] = (), stems: bool = True, **master: float
    ) -> Played:
        what, played = resolved(score, arrays, rate, events)
        folder: Path = tmp_path_factory.mktemp("played")
        whole = Master(**master)
        rendering = render(lanes(what, played, whole.tail), played.duration + whole.tail, whole, folder, stems)
        audio, _ = soundfile.read(rendering.mix, dtype="float32", always_2d=True)
        return Played(what, played, rendering, audio)

    return player


@pytest.fixture(scope="session")
def resolve_score() -> Callable[..., tuple[ResolvedScore, Arrangement]]:
    """`resolved`, for tests that need no sound."""
    return resolved


def find_clicks(sound: np.ndarray, rate: int) -> np.ndarray:
    """Times of 1 ms frames whose peak above 12 kHz is 12 dB over the median frame's and above -40 dB of the sound's."""
    high = sosfilt(butter(8, 12_000, "high", fs=rate, output="sos"), sound.astype(np.float64), axis=0)
    frame = rate // 1000
    peaks = np.abs(high[: len(high) // frame * frame]).reshape(-1, frame * sound.shape[1]).max(axis=1)
    found = (peaks > 4 * np.median(peaks)) & (peaks > 0.01 * np.abs(sound).max())
    return np.flatnonzero(found) / 1000


@pytest.fixture(scope="session")
def clicks() -> Callable[[np.ndarray, int], np.ndarray]:
    """`find_clicks`, the judge."""
    return find_clicks


@pytest.fixture(scope="session")
def partial() -> Callable[..., float]:
    """`strongest`, for sounds that no test of this folder has played."""
    return strongest
