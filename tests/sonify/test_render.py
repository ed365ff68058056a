"""Rendered sound: what a score promises is measured on the files."""

import hashlib

import numpy as np
import pyloudnorm
import pytest
import soundfile
from scipy.signal import resample_poly

from pieces.piece import Master
from pieces.signals import Event
from sonify.lanes import lanes
from sonify.mapping import invert
from sonify.render import render


def glide(name="x", low=110, high=880, **fields):
    return {"instrument": "glide", "lanes": {"pitch": {"channel": name, "range": [low, high], **fields}}}


def rendered(played, folder, **options):
    """The same take once more."""
    return render(lanes(played.resolved, played.played), played.rendering.duration, Master(), folder, **options)


@pytest.fixture(scope="module")
def staircase(play):
    return play({"voices": {"a": glide()}}, {"x": [0, 1, 2, 3, 4, 5, 6, 3, 0, 6]}, 2)


@pytest.fixture(scope="module")
def ensemble(play):
    """Pitched, noisy and struck instruments at once, panned, jumping, with both earcon and reverb."""
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-1, 1, 80), rng.standard_normal(80)
    notes = tuple(Event(int(t), "note", {"midi": int(rng.integers(40, 90))}) for t in range(0, 80, 3))
    gone = (Event(30, "diverged", {"channel": "y", "value": "nan"}), Event(36, "recovered", {"channel": "y"}))
    voices = {
        "glide": glide("y", missing="earcon") | {"pan": {"channel": "x", "range": [-1, 1]}},
        "partials": {
            "instrument": "partials",
            "lanes": {"detune": {"channel": "x", "range": [-0.1, 0.5]}, "beside": 0.5},
        },
        "pluck": {"instrument": "pluck", "on": ["note"], "sends": {"room": -9}, "pan": 0.6},
        "bell": {"instrument": "bell", "on": ["note"], "gain_db": -9},
        "noise": {
            "instrument": "noise",
            "gain_db": -20,
            "lanes": {
                "pitch": {"channel": "x", "range": [100, 3000]},
                "bandwidth": {"channel": "y", "range": [0.1, 2]},
            },
        },
        "pad": {"instrument": "pad", "sends": {"room": -6}, "lanes": {"pitch": {"channel": "y", "range": [100, 400]}}},
    }
    events = tuple(sorted((*notes, *gone), key=lambda e: e.tick))
    groups = {"room": {"effects": {"plate": {"decay": 1.0}}}}
    return play({"voices": voices, "groups": groups}, {"x": x, "y": y}, 10, events)


def test_equal_steps_of_data_are_equal_intervals(staircase):
    heard = np.array([staircase.frequency(i / 2 + 0.1, i / 2 + 0.48) for i in range(10)])
    np.testing.assert_allclose(1200 * np.log2(heard / 110), 600 * np.array([0, 1, 2, 3, 4, 5, 6, 3, 0, 6]), atol=5)


def test_data_is_decoded_from_the_sound(play):
    """Up and down by steps, log-shaped, negative: R^2 of the data decoded from the strongest partial."""
    x = np.exp(np.random.default_rng(1).uniform(-4, 4, 40))
    played = play({"voices": {"a": glide(shape="log", polarity="negative", space="erb")}}, {"x": x}, 8)
    heard = [played.frequency(i / 8 + 0.02, i / 8 + 0.12, 100, 1000) for i in range(40)]
    decoded = invert(played.resolved.voices[0].lanes["pitch"], np.array(heard))
    assert np.corrcoef(np.log(decoded), np.log(x))[0, 1] ** 2 >= 0.99


def test_a_moving_pitch_follows_its_lane_within_five_cents(play):
    x = np.sin(np.linspace(0, 20, 3000)) + np.linspace(0, 1, 3000)
    played = play({"voices": {"a": glide()}}, {"x": x}, 300)
    lane = lanes(played.resolved, played.played).voices["a"].lanes["pitch"]
    for start in np.arange(0.1, 9.8, 0.1):
        heard = played.frequency(start, start + 0.06, 90, 1000)
        meant = np.exp2(
            np.average(np.log2(lane[round(start * 1000) : round(start * 1000) + 61]), weights=np.hanning(61) ** 2)
        )
        assert abs(1200 * np.log2(heard / meant)) < 5


def test_the_fundamental_of_glide_is_its_strongest_partial(play):
    played = play({"voices": {"a": glide()}, "purpose": "measure"}, {"x": np.arange(6)}, 2)
    for i in range(6):
        meant = 110 * 2 ** (3 * i / 5)
        assert played.frequency(i / 2 + 0.1, i / 2 + 0.48) == pytest.approx(meant, rel=0.003)


def test_loudness_and_peak(ensemble, staircase):
    for played in (ensemble, staircase):
        found = pyloudnorm.Meter(played.rendering.sample_rate).integrated_loudness(played.audio.astype(np.float64))
        peak = 20 * np.log10(np.abs(resample_poly(played.audio, 4, 1, axis=0)).max())
        assert peak <= -1 + 0.01
        assert played.rendering.true_peak == pytest.approx(peak, abs=0.02)
        assert played.rendering.loudness == pytest.approx(found, abs=0.1)
        assert played.rendering.limited or found == pytest.approx(-16, abs=0.1)
    assert not staircase.rendering.limited


def test_the_peak_wins_where_both_cannot_hold(play):
    events = (Event(0, "note"), Event(60, "note"))
    score = {"voices": {"a": {"instrument": "pluck", "on": ["note"], "lanes": {"decay": 0.1}}}}
    played = play(score, {"x": np.zeros(80)}, 20, events, loudness=-8)
    assert played.rendering.limited
    assert played.rendering.true_peak == pytest.approx(-1, abs=0.02)
    assert played.rendering.loudness < -8


def test_the_exact_length_and_silence_at_both_ends(ensemble, staircase):
    for played, seconds in ((ensemble, 9), (staircase, 6)):
        assert len(played.audio) == played.rendering.samples == seconds * played.rendering.sample_rate
        assert np.abs(played.audio[0]).max() == 0
        assert np.abs(played.audio[-10:]).max() < 1e-5
        assert np.abs(played.audio[len(played.audio) // 2 :][:48000]).max() > 0.01


def test_no_clicks(clicks, ensemble, staircase):
    for played in (ensemble, staircase):
        assert len(clicks(played.audio, played.rendering.sample_rate)) == 0


def test_the_judge_of_clicks_finds_a_splice(clicks, staircase):
    spliced = staircase.audio.copy()
    at = 100_000 + np.argmax(np.abs(staircase.audio[100_000:101_000, 0]))
    spliced[at:] = np.roll(spliced[at:], 37, axis=0)
    found = clicks(spliced, 48_000)
    assert len(found) > 0
    np.testing.assert_allclose(found, at / 48_000, atol=0.003)


def test_stems_sum_to_the_mix(ensemble):
    stems = {name: soundfile.read(path, dtype="float32")[0] for name, path in ensemble.rendering.stems.items()}
    assert list(stems) == ["glide", "partials", "pluck", "bell", "noise", "pad", "room"]
    assert all(np.abs(stem).max() > 1e-3 for stem in stems.values())
    np.testing.assert_allclose(sum(stems.values()), ensemble.audio, atol=2e-6)


def test_two_processes_make_the_same_samples(ensemble, tmp_path):
    again = rendered(ensemble, tmp_path, stems=False)
    assert again.samples_hash == ensemble.rendering.samples_hash
    assert again.mix.read_bytes() == ensemble.rendering.mix.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["mix.wav"]
    assert again.samples_hash == hashlib.sha256(ensemble.audio.astype("<f4").tobytes()).hexdigest()


def test_other_frames_make_other_samples(staircase, play):
    other = play({"voices": {"a": glide()}}, {"x": [0, 1, 2, 3, 4, 5, 6, 3, 1, 6]}, 2)
    assert other.rendering.samples_hash != staircase.rendering.samples_hash


@pytest.mark.parametrize(("pan", "left", "right"), [(-1, 1, 0), (0, 0.5, 0.5), (0.5, 0.1464, 0.8536)])
def test_pan_keeps_the_power(play, pan, left, right):
    played = play({"voices": {"a": glide() | {"pan": pan}}}, {"x": [0, 1]}, 4, sample_rate=44100)
    power = np.square(played.audio.astype(np.float64)).sum(axis=0)
    np.testing.assert_allclose(power / power.sum(), [left, right], atol=1e-3)
    if pan == 0:
        np.testing.assert_array_equal(played.audio[:, 0], played.audio[:, 1])


@pytest.mark.parametrize(("instrument", "rate"), [("pluck", 44100), ("bell", 48000)])
def test_onsets_are_where_the_events_are(play, instrument, rate):
    ticks = [3, 11, 17, 20, 31, 42, 57, 58, 61]
    score = {"voices": {"a": {"instrument": instrument, "on": ["cliff"], "lanes": {"decay": 0.1}}}}
    events = tuple(Event(t, "cliff") for t in ticks)
    played = play(score, {"x": np.zeros(70)}, 7, events, sample_rate=rate)
    for tick in ticks:
        onset = tick / 7
        assert np.abs(played.between(onset - 0.05, onset - 0.001)).max() < 0.02 * np.abs(played.audio).max()
        assert np.abs(played.between(onset, onset + 0.01)).max() > 0.1 * np.abs(played.audio).max()


def test_nothing_drifts_in_ten_minutes(play):
    """A tone that starts at 590 s of 600 s starts on time within 1 ms."""
    level = {"channel": "x", "range": [-60, 0], "glide_ms": 2}
    score = {"voices": {"a": {"instrument": "glide", "lanes": {"pitch": 2000, "brightness": 0, "level": level}}}}
    played = play(score, {"x": np.arange(600) >= 590}, 1, stems=False, tail=0, sample_rate=44100)
    loud = np.abs(played.between(589.5, 590.5))
    assert np.flatnonzero(loud > 0.1 * loud.max())[0] / 44100 == pytest.approx(0.5, abs=0.002)
    assert np.flatnonzero(loud > 0.002 * loud.max())[0] / 44100 == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("missing", ["hold", "silence", "earcon"])
def test_missing_values_are_heard(clicks, play, missing):
    gone = (Event(10, "diverged", {"channel": "x", "value": "nan"}), Event(20, "recovered", {"channel": "x"}))
    played = play({"voices": {"a": glide(missing=missing)}}, {"x": np.linspace(0, 1, 30)}, 10, gone)
    before, start, during = (played.between(a, b).std() for a, b in ((0.5, 0.9), (1.02, 1.1), (1.4, 1.9)))
    assert (during > 0.5 * before) == (missing == "hold")
    assert (start > 0.01 * before) == (missing != "silence")
    if missing == "earcon":
        assert played.frequency(1.03, 1.2) < 400
        assert len(clicks(played.audio, 48_000)) == 0


def test_silence_renders_as_silence(play):
    voice = {"instrument": "pluck", "on": ["note"], "sends": {"room": 0}}
    score = {"voices": {"a": voice}, "groups": {"room": {"effects": {"hall": {}}}}}
    played = play(score, {"x": np.zeros(5)}, 10)
    assert not played.audio.any()
    assert (played.rendering.gain_db, played.rendering.limited) == (0, False)
    assert np.isfinite([played.rendering.loudness, played.rendering.true_peak]).all()


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_the_shortest_takes(play, seconds):
    played = play({"voices": {"a": glide()}}, {"x": [0.0]}, 1 / seconds, tail=0)
    assert len(played.audio) == round(48_000 * seconds)
    assert played.rendering.loudness == pytest.approx(-16, abs=0.01)
