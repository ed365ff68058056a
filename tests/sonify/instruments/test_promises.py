"""What every instrument keeps: loudness while pitch moves, no clicks, nothing aliased, the same samples again."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonify.ears import hear
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import Sample

RATE = 48_000
DRONES = ("glide", "partials", "pad", "fm", "formant")
STRUCK = [name for name, i in INSTRUMENTS.items() if i.on_events]
#: Without what beats, so that the level of a short sound is its level.
STEADY = {"pad": {"spread": 0.0}, "formant": {"spread": 0.0, "vibrato": 0.0, "breath": 0.0}}
NOISY = Sample(np.random.default_rng(0).uniform(-1, 1, RATE), RATE)


def decibels(sound: np.ndarray) -> float:
    return float(20 * np.log10(sound.std()))


def spectrum_peaks(sound: np.ndarray, rate: int, floor_db: float = -60) -> np.ndarray:
    """Frequencies of the partials above a floor."""
    spectrum = np.abs(np.fft.rfft(sound * np.blackman(len(sound)), 2 * len(sound)))
    inner = spectrum[1:-1]
    top = (inner > spectrum[:-2]) & (inner > spectrum[2:]) & (inner > spectrum.max() * 10 ** (floor_db / 20))
    return (np.flatnonzero(top) + 1) * rate / (2 * len(sound))


@pytest.mark.parametrize("name", DRONES)
def test_loudness_stays_while_only_pitch_moves(sound, loudness, name):
    """From C2 to C6, K-weighted; without the weighting it does not, which is what that costs."""
    sounds = [
        sound(name, {"pitch": p, **STEADY.get(name, {})}, 1.5)[RATE // 2 :] for p in np.geomspace(65.4, 1046.5, 9)
    ]
    assert np.ptp([loudness(s) for s in sounds]) < 0.2
    if name != "formant":  # its harmonics meet formants
        assert 2 < np.ptp([decibels(s) for s in sounds]) < 5


@pytest.mark.parametrize("name", DRONES)
def test_loudness_stays_in_a_glissando_with_everything_at_its_default(sound, loudness, name):
    """Over seconds: a chorus beats."""
    pitch = np.geomspace(80, 1000, 16_004)
    whole = sound(name, {"pitch": pitch}, 16)
    levels = [loudness(whole[i : i + 4 * RATE]) for i in range(0, len(whole), 4 * RATE)]
    assert np.ptp(levels) < (2 if name == "pad" else 1)


@pytest.mark.parametrize(("name", "lane"), [("fm", "index"), ("formant", "vowel"), ("formant", "breath")])
def test_colour_is_not_loudness(sound, loudness, name, lane):
    values = np.linspace(*INSTRUMENTS[name].parameters[lane].range, 6)
    assert np.ptp([loudness(sound(name, STEADY.get(name, {}) | {lane: v}, 3)[RATE // 2 :]) for v in values]) < 1


def test_the_fundamental_of_glide_is_its_strongest_partial(sound, partial):
    for pitch in (20.0, 65.4, 440.0, 5000.0, 16_000.0):
        heard = partial(sound("glide", {"pitch": pitch, "brightness": 1.0}), RATE, 10, 24_000)
        assert heard == pytest.approx(pitch, rel=0.01)


@pytest.mark.parametrize(
    ("name", "lanes", "series"),
    [
        ("glide", {"brightness": 1.0, "pitch": 16_000.0}, [1]),
        ("glide", {"brightness": 1.0, "pitch": 5100.0}, [1, 2, 3, 4]),
        ("partials", {"count": 16.0, "detune": 0.0, "pitch": 1500.0}, range(1, 17)),
        ("pad", {"brightness": 12_000.0, "spread": 0.0, "pitch": 4100.0}, range(1, 9)),
        ("fm", {"index": 10.0, "ratio": 8.0, "pitch": 1100.0}, [abs(1 + 8 * n) for n in range(-20, 21)]),
        ("fm", {"index": 10.0, "ratio": 2.7, "pitch": 9000.0}, [abs(1 + 2.7 * n) for n in range(-20, 21)]),
        ("formant", {"spread": 0.0, "vibrato": 0.0, "breath": 0.0, "pitch": 1597.0}, range(1, 16)),
    ],
)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_nothing_aliases(sound, name, lanes, series, rate):
    """Every partial within 60 dB belongs to the series."""
    frequencies = spectrum_peaks(sound(name, lanes, rate=rate)[rate // 4 :], rate)
    distance = np.abs(frequencies[:, None] / lanes["pitch"] - np.asarray(series)).min(axis=1)
    assert distance.max() < 0.02, frequencies
    assert frequencies.max() < 0.46 * rate


def test_notes_do_not_alias(sound):
    """A string's top, a skin that sweeps through it, a recording sent above it: all that sounds is where it belongs."""
    string = sound("string", notes=[(0.0, {"pitch": 3999.0, "brightness": 1.0})])
    assert np.abs(spectrum_peaks(string, RATE) / 3999 - np.round(spectrum_peaks(string, RATE) / 3999)).max() < 0.02
    drum = {"pitch": 2000.0, "sweep": 36.0, "tone": 1.0, "brightness": 1.0}
    assert spectrum_peaks(sound("drum", notes=[(0.0, drum)])[RATE // 4 :], RATE).min() > 1900
    high = Sample(np.sin(2 * np.pi * 8000 * np.arange(RATE) / RATE), RATE)
    for ratio, audible in ((2.5, True), (3.2, False), (7.0, False)):
        played = sound("sampler", notes=[(0.0, {"pitch": 440 * ratio, "root": 440.0})], sample=high, seconds=0.14)
        assert (np.abs(played[2400:4800]).max() > 0.5) == audible
        assert audible or np.abs(played[2400:4800]).max() < 1e-3


def corner(draw: st.DrawFn, name: str) -> dict[str, float]:
    """Extreme values, each low, default or high."""
    values = {}
    for key, p in INSTRUMENTS[name].parameters.items():
        values[key] = draw(st.sampled_from([p.range[0], p.default, p.range[1]]))
    return values | {"level": 0.0}


@pytest.mark.parametrize("name", INSTRUMENTS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_extremes_are_finite_and_bounded(sound, name, data):
    values = data.draw(st.composite(corner)(name))
    notes = [(0.05, values), (0.1, values), (0.2, values)]
    lanes = {k: v for k, v in values.items() if k != "level"}
    if INSTRUMENTS[name].on_events:
        heard = sound(name, seconds=0.4, notes=notes, sample=NOISY)
    else:
        heard = sound(name, lanes, 0.4, sample=NOISY) / max(lanes.get("amplitude", 1.0), 1.0)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() < 12


SMOOTH = Sample(np.sin(2 * np.pi * 300 * np.arange(2 * RATE) / RATE), RATE)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_no_clicks(sound, clicks, name):
    """Notes at the hardest attack, cut by others; lanes that jump within the shortest glide."""
    parameters = INSTRUMENTS[name].parameters
    if INSTRUMENTS[name].on_events:
        hardest = {"brightness": 1.0, "attack": 2.0, "release": 2.0, "tone": 0.5, "decay": 1.0, "length": 0.3}
        hardest = {k: v for k, v in hardest.items() if k in parameters}
        keys = [48, 60, 60, 72, 48, 55, 67, 79, 91, 60, 62, 64, 48]
        notes = [(0.11 * i, hardest | {"pitch": 440 * 2 ** ((key - 69) / 12)}) for i, key in enumerate(keys)]
        heard = sound(name, seconds=2, notes=notes, sample=SMOOTH)
    else:
        time = np.arange(2004) / 1000
        jump = np.clip((time - 1.0) / 0.01, 0, 1)
        lanes = {n: p.default for n, p in parameters.items() if n not in ("level", "pitch")}
        heard = sound(name, lanes | ({"pitch": 220 + 220 * jump} if "pitch" in parameters else {}), 2, sample=SMOOTH)
        heard[: RATE // 200] *= np.linspace(0, 1, RATE // 200)  # the shortest attack that a renderer gives
    assert not len(clicks(heard[:, None], RATE)), clicks(heard[:, None], RATE)


def test_the_judge_of_clicks_hears_one(sound, clicks):
    heard = sound("glide")
    heard[RATE // 2 + np.argmax(heard[RATE // 2 :][:300]) :] *= 0.5
    assert len(clicks(heard[:, None], RATE))


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_the_same_samples_again(sound, name):
    notes = [(0.0, {}), (0.1, {}), (0.25, {})] if INSTRUMENTS[name].on_events else ()
    first, second = (sound(name, seconds=0.5, notes=notes, sample=NOISY) for _ in range(2))
    assert np.abs(first).max() > 0.01
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", ["pluck", "string", "drum"])
@pytest.mark.parametrize("pitch", [110.0, 440.0, 1200.0])
def test_striking_again_50_ms_later_is_heard_as_an_attack(sound, name, pitch):
    times = 0.5 + 0.05 * np.arange(6)
    heard = sound(name, seconds=1.5, notes=[(t, {"pitch": pitch}) for t in times])
    found = hear(np.stack([heard, heard], axis=1).astype(np.float32), RATE).onset_times
    assert len(found) == 6
    np.testing.assert_allclose(found, times, atol=0.01)


@pytest.mark.parametrize("name", STRUCK)
def test_velocity_is_strength_and_an_onset_is_on_time(sound, name):
    for time in (0.1, 0.2503, 0.33337):
        loud, soft = (sound(name, seconds=0.8, notes=[(time, {"velocity": v})], sample=SMOOTH) for v in (1.0, 0.25))
        np.testing.assert_allclose(soft, loud / 4, atol=1e-6)
        assert not loud[: int((time - 0.001) * RATE)].any()  # a lane's points are 1 ms apart
        begun = np.argmax(np.abs(loud) > 0.1 * np.abs(loud).max()) / RATE
        assert time <= begun < time + 0.006


@pytest.mark.parametrize("name", STRUCK)
def test_no_notes_are_silence(sound, name):
    assert not sound(name, seconds=0.1, notes=[], sample=SMOOTH).any()


def test_strings_are_in_tune_over_their_range(sound, partial):
    for pitch in np.geomspace(20, 4000, 16):
        heard = sound("string", seconds=2.1, notes=[(0.0, {"pitch": pitch, "decay": 6.0})])[RATE // 10 :]
        assert abs(1200 * np.log2(partial(heard, RATE, 0.8 * pitch, 1.2 * pitch) / pitch)) < 1


def test_many_notes_of_a_string_ring_together(sound):
    """More than a bank of resonators would hold."""
    keys = 220 * 2 ** (np.arange(24) / 12)
    heard = sound("string", seconds=2, notes=[(0.01 * i, {"pitch": k, "brightness": 0.0}) for i, k in enumerate(keys)])
    found = spectrum_peaks(heard[RATE // 2 :], RATE, -30)
    assert all(np.abs(found / key - 1).min() < 0.005 for key in keys)
