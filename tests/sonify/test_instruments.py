"""Phenomena of the instruments, measured on rendered sound."""

import numpy as np
import pytest
import soundfile
from scipy.stats import spearmanr

from pieces.signals import Event
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import Instrument


def sethares(frequencies, amplitudes):
    """Roughness of a set of partials (W. A. Sethares, Tuning, Timbre, Spectrum, Scale, 2nd ed., appendix E)."""
    f, a = np.asarray(frequencies), np.asarray(amplitudes)
    low, difference = np.minimum.outer(f, f), np.abs(np.subtract.outer(f, f))
    s = difference * 0.24 / (0.0207 * low + 18.96)
    return 0.5 * float((np.minimum.outer(a, a) * 5 * (np.exp(-3.51 * s) - np.exp(-5.75 * s))).sum())


def peaks(sound, rate, floor_db=-50):
    """Frequencies and amplitudes of the partials in a spectrum."""
    spectrum = np.abs(np.fft.rfft(sound * np.blackman(len(sound)), 4 * len(sound)))
    inner = spectrum[1:-1]
    top = (inner > spectrum[:-2]) & (inner > spectrum[2:]) & (inner > spectrum.max() * 10 ** (floor_db / 20))
    at = np.flatnonzero(top) + 1
    return at * rate / (4 * len(sound)), spectrum[at] / spectrum.max()


def partials(detune, **lanes):
    return {"voices": {"a": {"instrument": "partials", "lanes": {"detune": detune, "pitch": 220, **lanes}}}}


PRESETS = {
    # name: (largest |L|, smallest L, lanes)
    "paper": (0.0, 0.9, {"count": 4}),
    "code": (-0.1, 0.1, {"count": 5, "cutoff": 2000}),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_detuning_is_decoded_from_the_partials(play, preset):
    """The fundamental stays and overtone k is heard at k f0 (1 + L); signed L in `code`."""
    low, high, lanes = PRESETS[preset]
    detune = np.random.default_rng(0).uniform(low, high, 20)
    if preset == "code":
        fade = {"channel": "L", "range": [1.9, 2.1], "domain": [-0.1, 0.1], "polarity": "negative"}
        lanes = lanes | {"amplitude": fade}
    mapping = {"channel": "L", "range": [low, high], "domain": [low, high]}
    played = play(partials(mapping, **lanes), {"L": detune}, 4)
    for k in range(2, lanes["count"] + 1):
        decoded = []
        for i, meant in enumerate(detune):
            heard = played.frequency(
                i / 4 + 0.04, i / 4 + 0.24, k * 220 * (1 + meant) * 0.97, k * 220 * (1 + meant) * 1.03
            )
            decoded.append(heard / (k * 220) - 1)
            assert played.frequency(i / 4 + 0.04, i / 4 + 0.24, 150, 230) == pytest.approx(220, rel=0.01)
        assert 1 - np.var(decoded - detune) / np.var(detune) >= 0.99


def test_the_blind_decoding_of_the_first_overtone(play):
    """Nothing is known but f0: the strongest partial above it is 2 f0 (1 + L)."""
    detune = np.random.default_rng(2).uniform(0, 0.4, 20)
    played = play(partials({"channel": "L", "range": [0, 0.4], "domain": [0, 0.4]}, count=2), {"L": detune}, 4)
    decoded = [played.frequency(i / 4 + 0.04, i / 4 + 0.24, 300, 2000) / 440 - 1 for i in range(20)]
    assert 1 - np.var(decoded - detune) / np.var(detune) >= 0.99


@pytest.mark.parametrize(("beside", "rises"), [(1, True), (0, False)])
def test_roughness_rises_with_the_detuning_only_beside_partials_in_tune(play, beside, rises):
    detune = np.linspace(0.002, 0.02, 8)
    score = partials({"channel": "L", "range": [0.002, 0.02]}, count=6, beside=beside)
    played = play(score, {"L": detune}, 0.5)
    rough = [sethares(*peaks(played.between(2 * i + 0.05, 2 * i + 1.95), 48_000)) for i in range(8)]
    rank = spearmanr(detune, rough).statistic
    assert rank > 0.95 if rises else rank < 0


def test_in_tune_everything_is_harmonic(play):
    played = play(partials(0, count=6, beside=1), {"L": np.zeros(2)}, 1)
    frequencies, _ = peaks(played.between(0.2, 1.8), 48_000)
    np.testing.assert_allclose(frequencies, 220 * np.arange(1, 7), rtol=1e-3)


@pytest.mark.parametrize(
    ("instrument", "lanes", "rate"),
    [
        ("glide", {"brightness": 1}, 48_000),
        ("partials", {"count": 16, "detune": 9}, 44_100),
        ("pad", {"brightness": 12_000}, 44_100),
    ],
)
def test_nothing_aliases(play, instrument, lanes, rate):
    """As the pitch rises to the top nothing comes down: every partial found belongs to the series."""
    lanes = {"pitch": {"channel": "x", "range": [1000, 16_000]}, **lanes}
    played = play(
        {"voices": {"a": {"instrument": instrument, "lanes": lanes}}}, {"x": np.arange(5)}, 1, sample_rate=rate
    )
    for i, pitch in enumerate([1000, 2000, 4000, 8000, 16_000]):
        frequencies, _ = peaks(played.between(i + 0.1, i + 0.95), rate, -60)
        stretched = (instrument == "partials") & (frequencies > 1.5 * pitch)
        ratios = frequencies / np.where(stretched, 10 * pitch, pitch)
        assert np.abs(ratios - np.round(ratios)).max() < 0.05, (pitch, frequencies)
        assert frequencies.max() <= 0.46 * rate


@pytest.mark.parametrize("instrument", ["pluck", "bell"])
def test_struck_pitch(play, instrument):
    score = {"voices": {"a": {"instrument": instrument, "on": ["note"]}}}
    events = tuple(Event(i, "note", {"midi": 57 + 5 * i}) for i in range(5))
    played = play(score, {"x": np.zeros(5)}, 2, events)
    for i in range(5):
        meant = 220 * 2 ** (5 * i / 12)
        frequencies, _ = peaks(played.between(i / 2 + 0.02, i / 2 + 0.48), 48_000, -40)
        assert np.abs(1200 * np.log2(frequencies / meant)).min() < 15


@pytest.mark.parametrize("count", [9, 20])
def test_every_note_of_a_chord_sounds(play, count):
    """However many there are."""
    score = {"voices": {"a": {"instrument": "pluck", "on": ["note"], "lanes": {"brightness": 0, "decay": 4}}}}
    keys = range(57, 57 + 2 * count, 2)
    events = tuple(Event(1, "note", {"midi": k, "velocity": 0.2 + 0.8 * i / count}) for i, k in enumerate(keys))
    played = play(score, {"x": np.zeros(30)}, 10, events)
    frequencies, _ = peaks(played.between(0.2, 2.2), 48_000, -40)
    np.testing.assert_allclose(frequencies, [440 * 2 ** ((k - 69) / 12) for k in keys], rtol=2e-3)


def test_velocity_is_loudness(play):
    score = {"voices": {"a": {"instrument": "pluck", "on": ["note"], "lanes": {"decay": 0.2}}}}
    events = tuple(Event(i, "note", {"velocity": v}) for i, v in enumerate([1.0, 0.5, 0.25]))
    played = play(score, {"x": np.zeros(3)}, 1, events)
    loud = [np.abs(played.between(i, i + 0.3)).max() for i in range(3)]
    np.testing.assert_allclose(loud / loud[0], [1, 0.5, 0.25], rtol=0.02)


def test_noise_keeps_its_level_and_its_place(play):
    bandwidth = {"channel": "x", "range": [0.1, 3]}
    score = {"voices": {"a": {"instrument": "noise", "lanes": {"pitch": 1000, "bandwidth": bandwidth}}}}
    played = play(score, {"x": np.arange(5)}, 0.5)
    levels, widths = [], []
    for i in range(5):
        sound = played.between(2 * i + 0.1, 2 * i + 1.9)
        power = np.abs(np.fft.rfft(sound)) ** 2
        octaves = np.log2(np.fft.rfftfreq(len(sound), 1 / 48_000)[1:] / 1000)
        centre = np.average(octaves, weights=power[1:])
        levels.append(20 * np.log10(sound.std()))
        widths.append(np.sqrt(np.average((octaves - centre) ** 2, weights=power[1:])))
        assert abs(centre) < 0.35 or i > 2  # the power of a wide band leans to its upper end
    assert np.ptp(levels) < 3
    assert (np.diff(widths) > 0).all()


def test_level_is_in_decibels(play):
    level = {"channel": "x", "range": [-24, 0]}
    score = {"voices": {"a": {"instrument": "glide", "lanes": {"pitch": 440, "level": level}}}}
    played = play(score, {"x": np.arange(5)}, 2)
    levels = [20 * np.log10(played.between(i / 2 + 0.1, i / 2 + 0.45).std()) for i in range(5)]
    np.testing.assert_allclose(np.diff(levels), 6, atol=0.1)


@pytest.mark.parametrize("name", [name for name, i in INSTRUMENTS.items() if not i.needs_sample])
def test_every_instrument_declares_itself_and_sounds(play, name):
    instrument = INSTRUMENTS[name]
    assert isinstance(instrument, Instrument)
    for key, parameter in instrument.parameters.items():
        assert key == parameter.name
        assert parameter.range[0] <= parameter.default <= parameter.range[1]
        assert parameter.about
    voice = {"instrument": name} | ({"on": ["note"]} if instrument.on_events else {})
    played = play({"voices": {"a": voice}}, {"x": np.zeros(4)}, 4, (Event(0, "note"), Event(2, "note")))
    assert played.rendering.loudness == pytest.approx(-16, abs=0.1) or played.rendering.limited
    assert np.array_equal(soundfile.read(played.rendering.stems["a"], dtype="float32")[0], played.audio)
