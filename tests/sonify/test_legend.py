"""Legend, axis, caption and timing table: what people are told is what is heard."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from pieces.arrange import Arrangement
from pieces.piece import Master
from pieces.signals import Channel, Event, Frames
from sonify.caption import caption, note
from sonify.lanes import lanes
from sonify.legend import Legend, LegendError, axis, legend, marks, timing
from sonify.render import render
from sonify.resolve import ResolvedScore, resolve, take_stats
from sonify.score import parse_score
from sonify.wav import StereoWav

RATE = 10.0
HEIGHT = [0.0, 3.0, -2.0, 8.0, 1.0]
COUNT = [1.0, 10.0, 100.0, 10.0, 1.0]


def resolved(voices: Mapping[str, Any], arrays: Mapping[str, Any], events: tuple[Event, ...] = ()) -> Any:
    """A score resolved against the frames of one part, and these in time."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
    channels = {"data": {name: Channel(name, f"the {name}", "m", dtype="float64") for name in arrays}}
    frames = Frames(arrays, events, RATE, len(next(iter(arrays.values()))))
    score = parse_score({"purpose": "music", "voices": voices}, "test")
    found = resolve(score, take_stats(score, channels, {"data": frames}), ["data"])
    return found, Arrangement.of(frames, "data"), channels


def played(made: Legend, folder: Path) -> tuple[np.ndarray, int]:
    desk = lanes(made.resolved, made.played, 0.25)
    rendering = render(desk, made.played.duration + 0.25, Master(), folder, stems=False)
    audio, rate = soundfile.read(rendering.mix, dtype="float64", always_2d=True)
    return audio, rate


def strongest(sound: np.ndarray, rate: int) -> float:
    """Frequency of the strongest partial, by a parabola through the logarithm of a zero-padded spectrum."""
    size = 1 << (len(sound) * 8 - 1).bit_length()
    spectrum = np.log(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size)) + 1e-30)
    peak = int(spectrum.argmax())
    a, b, c = spectrum[peak - 1 : peak + 2]
    return float((peak + 0.5 * (a - c) / (a - 2 * b + c)) * rate / size)


def level(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.square(sound).mean() + 1e-30))


def pitch(channel: str, **more: Any) -> dict[str, Any]:
    return {"channel": channel, "range": ["A2", "A4"], **more}


def test_every_mapping_sounds_at_its_low_middle_and_high(tmp_path: Path) -> None:
    what, _, _ = resolved(
        {
            "rising": {"instrument": "glide", "lanes": {"pitch": pitch("height")}, "attack_ms": 5000},
            "falling": {
                "instrument": "glide",
                "lanes": {"pitch": pitch("count", shape="log", polarity="negative", glide_ms=5000)},
                "pan": -1.0,
            },
            "struck": {"instrument": "bell", "on": ["control"], "lanes": {"pitch": pitch("height")}},
            "drone": {"instrument": "pad"},
        },
        {"height": HEIGHT, "count": COUNT},
    )
    made = legend(what)
    assert [(s.voice, s.what, s.value) for s in made.samples] == [
        (voice, *one)
        for voice, data in (("rising", (-2, 3, 8)), ("falling", (1, 10, 100)), ("struck", (-2, 3, 8)))
        for one in zip(("low", "middle", "high"), map(pytest.approx, data), strict=True)
    ]
    audio, rate = played(made, tmp_path)
    wanted = {"rising": (110, 220, 440), "falling": (440, 220, 110), "struck": (110, 220, 440)}
    for k, sample in enumerate(made.samples):
        assert sample.end - sample.start == pytest.approx(0.6)
        assert sample.sound == pytest.approx(wanted[sample.voice][k % 3])
        side = audio[:, 0][int((sample.start + 0.05) * rate) : int((sample.end - 0.05) * rate)]
        found = strongest(side, rate)
        assert abs(1200 * np.log2(found / sample.sound)) < 5, (sample, found)
    for first, second in zip(made.samples, made.samples[1:], strict=False):
        between = audio[int((first.end + 0.05) * rate) : int(second.start * rate)]
        if first.voice != "struck":
            assert level(between) < -60, "a gap"
    falling = [s for s in made.samples if s.voice == "falling"]
    right = audio[int(falling[0].start * rate) : int(falling[-1].end * rate), 1]
    assert level(right) < -60, "where the voice stands, and nobody else"


def test_what_is_no_pitch_is_heard_at_an_unmoved_one(tmp_path: Path) -> None:
    what, _, _ = resolved(
        {
            "tone": {
                "instrument": "glide",
                "lanes": {"pitch": pitch("height"), "level": {"channel": "count", "range": [-30, 0]}},
                "pan": {"channel": "height", "range": [-1, 1]},
            }
        },
        {"height": HEIGHT, "count": COUNT},
    )
    made = legend(what)
    assert [s.lane for s in made.samples[::3]] == ["pitch", "level", "pan"]
    audio, rate = played(made, tmp_path)

    def during(lane: str) -> list[np.ndarray]:
        found = [s for s in made.samples if s.lane == lane]
        return [audio[int((s.start + 0.05) * rate) : int((s.end - 0.05) * rate)] for s in found]

    levels = [level(sound) for sound in during("level")]
    assert np.diff(levels) == pytest.approx([15, 15], abs=0.2)
    for sound in during("level"):
        assert strongest(sound.sum(axis=1), rate) == pytest.approx(220, rel=0.002), "in the middle of its range"
    left, middle, right = ([level(sound[:, side]) for side in (0, 1)] for sound in during("pan"))
    assert left[0] > left[1] + 60
    assert middle[0] == pytest.approx(middle[1], abs=0.1)
    assert right[1] > right[0] + 60


def test_an_effect_that_follows_a_channel_is_shown_and_others_are_not(tmp_path: Path) -> None:
    effects = {
        "lowpass": {"cutoff": {"channel": "height", "range": [300, 6000]}},
        "delay": {"time": 0.15, "mix": 1.0},
    }
    voice = {"instrument": "glide", "lanes": {"pitch": 300.0, "brightness": 1.0}, "effects": effects}
    what, arrangement, channels = resolved({"tone": voice}, {"height": HEIGHT})
    made = legend(what)
    assert [(s.lane, s.sound) for s in made.samples] == [
        ("lowpass.cutoff", pytest.approx(hz)) for hz in (300, 1800000**0.5, 6000)
    ]
    audio, rate = played(made, tmp_path)
    brightness = []
    for sample in made.samples:
        sound = audio[int((sample.start + 0.05) * rate) : int((sample.end - 0.05) * rate), 0]
        power = np.square(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))))
        hertz = np.fft.rfftfreq(len(sound), 1 / rate)
        brightness.append(power[hertz > 450].sum() / power.sum())
    assert brightness == sorted(brightness)
    assert brightness[2] > 4 * brightness[0]
    for first, second in zip(made.samples, made.samples[1:], strict=False):
        assert level(audio[int((first.end + 0.06) * rate) : int(second.start * rate)]) < -60, "no echo"
    said = caption(what, arrangement, channels, 1.0, -16.0)
    assert "lowpass.cutoff ← height (the height), -2 to 8 m → 300 Hz to 6000 Hz" in said
    assert "through lowpass, delay" in said


def test_a_constant_has_one_sound_and_a_score_of_nothing_has_none() -> None:
    what, _, _ = resolved({"tone": {"instrument": "glide", "lanes": {"pitch": pitch("x")}}}, {"x": [3, 3, 3]})
    assert [(s.what, s.value, s.sound) for s in legend(what).samples] == [("middle", 3.0, pytest.approx(220))]
    what, _, _ = resolved({"tone": {"instrument": "glide"}}, {"x": [3, 3, 3]})
    with pytest.raises(LegendError, match="a legend needs something that is mapped"):
        legend(what)


def test_a_legend_shows_scale_and_rank_as_they_sound() -> None:
    what, _, _ = resolved(
        {"tone": {"instrument": "glide", "lanes": {"pitch": pitch("height", tuning="major pentatonic in just")}}},
        {"height": [0, 1, 2, 3, 7]},
    )
    (given,) = (lane for lane in what.voices[0].lanes.values() if not isinstance(lane, float))
    tuned = [s.sound for s in legend(what).samples]
    np.testing.assert_allclose(given.mapping.tuning.snap(tuned), tuned)
    what, _, _ = resolved(
        {"tone": {"instrument": "glide", "lanes": {"pitch": pitch("height", shape="rank")}}},
        {"height": [0, 1, 2, 3, 700]},
    )
    assert [s.value for s in legend(what).samples] == pytest.approx([0, 2, 700])


def wav(path: Path, sound: np.ndarray, rate: int = 48_000) -> Path:
    with StereoWav(path, rate, len(sound)) as out:
        out.write(sound.astype(np.float32))
    return path


def onsets(sound: np.ndarray, rate: int) -> list[float]:
    """Seconds at which the sound rises above a hundredth after 50 ms below it."""
    loud = np.flatnonzero(np.abs(sound).max(axis=1) > 0.01)
    return [float(t / rate) for t in loud[np.diff(loud, prepend=-rate) > 0.05 * rate]]


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize(("duration", "every"), [(7.3, 1.0), (4.0, 0.25), (2.0, 5.0)])
def test_marks_are_where_they_belong(tmp_path: Path, rate: int, duration: float, every: float) -> None:
    time = np.arange(int(duration * rate)) / rate
    mix = wav(tmp_path / "mix.wav", 0.1 * np.sin(2 * np.pi * 220 * time)[:, None] * [1, 0.5], rate)
    before = hashlib.sha256(mix.read_bytes()).hexdigest()
    marked, found_rate = soundfile.read(axis(mix, every, tmp_path / "axis.wav"), dtype="float64")
    assert hashlib.sha256(mix.read_bytes()).hexdigest() == before, "the mix is left as it is"
    plain, _ = soundfile.read(mix, dtype="float64")
    assert (found_rate, len(marked)) == (rate, len(plain))
    wanted = marks(duration, every)
    assert onsets(marked - plain, rate) == pytest.approx(wanted.tolist(), abs=0.01)
    peaks = [np.abs((marked - plain)[int(t * rate) : int((t + 0.05) * rate)]).max() for t in wanted]
    for k, peak in enumerate(peaks):
        assert (peak > 2 * min(peaks)) == (k % 5 == 0 and len(peaks) > 1)
    away = np.min(np.abs(time[:, None] - wanted) + (time[:, None] < wanted) * 9, axis=1) > 0.09
    np.testing.assert_array_equal(marked[away], plain[away])


def test_marks_never_pass_the_ceiling(tmp_path: Path) -> None:
    time = np.arange(96_000) / 48_000
    mix = wav(tmp_path / "mix.wav", 0.88 * np.sin(2 * np.pi * 2000 * time)[:, None] * [1, 1])
    marked, _ = soundfile.read(axis(mix, 0.5, tmp_path / "axis.wav"), dtype="float64")
    assert 20 * np.log10(np.abs(resample_poly(marked, 4, 1)).max()) <= -0.99


@pytest.mark.parametrize("every", [0.0, -1.0, float("nan"), float("inf")])
def test_marks_that_are_none(every: float) -> None:
    with pytest.raises(LegendError, match=r"marks every .* s: allowed are 0.1 s and more"):
        marks(10.0, every)


PIECE = {
    "rising": {"instrument": "glide", "lanes": {"pitch": pitch("height", missing="earcon")}, "pan": -0.8},
    "falling": {
        "instrument": "pad",
        "lanes": {
            "pitch": {"channel": "count", "range": ["200hz", "C5"], "shape": "log", "polarity": "negative"},
            "brightness": {"channel": "height", "range": [400, 4000], "domain": [0, 4]},
        },
    },
    "struck": {"instrument": "bell", "on": ["converged", "diverged"], "pan": 0.25},
}
LOST = (
    Event(2, "diverged", {"channel": "height", "value": "nan"}),
    Event(3, "recovered", {"channel": "height"}),
    Event(4, "converged"),
)
CAPTION = """\
1.5 s at -16.0 LUFS, 3 voices; purpose: music
rising: glide, 80% left
  pitch ← height (the height), 0 to 8 m → 110 Hz (A2) to 440 Hz (A4); linear, in equal steps of log2; \
positive: rises with the data; 1 of 5 points are missing: a soft tap, then silence
falling: pad, in the middle
  pitch ← count (the count), 1 to 100 m → 523.25 Hz (C5) to 200 Hz (G3 +35 cents); log, in equal steps of log2; \
negative: falls as the data rise
  brightness ← height (the height), 0 to 4 m → 400 Hz to 4000 Hz; linear, in equal steps of log2; \
positive: rises with the data; what lies outside sounds at the ends; 1 of 5 points are missing: the last is held
struck: bell, 25% right
  sounds on converged (1), diverged (1)
"""


def test_a_caption_says_what_is_heard() -> None:
    arrays = {"height": [0.0, 3.0, 3.0, 8.0, 1.0], "count": COUNT}
    said = [caption(*resolved(PIECE, arrays, LOST), duration=1.5, loudness=-16.0) for _ in range(2)]
    assert said[0] == said[1] == CAPTION


def test_a_caption_of_several_parts_names_them() -> None:
    frames = {part: Frames({"x": np.arange(3.0)}, (), RATE, 3) for part in ("slow", "fast")}
    channels = {part: {"x": Channel("x", "a ramp")} for part in frames}
    voices = {p: {"instrument": "glide", "part": p, "lanes": {"pitch": pitch("x")}} for p in frames}
    score = parse_score({"voices": voices}, "test")
    what: ResolvedScore = resolve(score, take_stats(score, channels, frames), list(frames))
    one = Arrangement.of(frames["slow"], "slow")
    both = Arrangement(frames, dict.fromkeys(frames, ((0.0, 0.3),)), one.sections, one.tempi, 4, 0.3)
    said = caption(what, both, channels, 0.3, -16.0)
    assert "pitch ← slow.x (a ramp)" in said
    assert "pitch ← fast.x (a ramp)" in said
    assert {row.channel for row in timing(what, both)} == {"", "slow.x", "fast.x"}


@pytest.mark.parametrize(
    ("hz", "name"),
    [(440, "A4"), (110, "A2"), (261.6256, "C4"), (27.5, "A0"), (445, "A4 +20 cents"), (430, "A4 -40 cents")],
)
def test_notes(hz: float, name: str) -> None:
    assert note(hz) == name


def test_timing_gives_the_extremes_of_the_data() -> None:
    what, arrangement, _ = resolved(PIECE, {"height": [0.0, 3.0, 3.0, 8.0, 1.0], "count": COUNT}, LOST)
    assert [tuple(row) for row in timing(what, arrangement)] == [
        (0.0, "start", "", None),
        (0.0, "smallest", "height", 0.0),
        (0.0, "smallest", "count", 1.0),
        (0.2, "largest", "count", 100.0),
        (0.2, "missing", "height", None),
        (pytest.approx(0.3), "largest", "height", 8.0),
        (pytest.approx(0.3), "present", "height", None),
        (0.4, "converged", "", None),
        (0.5, "end", "", None),
    ]


def test_what_is_held_while_a_channel_is_missing_is_no_extreme() -> None:
    lost = (Event(0, "diverged", {"channel": "height"}), Event(2, "recovered", {"channel": "height"}))
    for events, smallest in (((), 0.0), (lost, 1.0)):
        what, arrangement, _ = resolved({"rising": PIECE["rising"]}, {"height": [0.0, 0.0, 5.0, 8.0, 1.0]}, events)
        assert next(row.value for row in timing(what, arrangement) if row.what == "smallest") == smallest
