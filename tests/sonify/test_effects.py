"""Every parameter of every effect does to rendered sound what it says."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from sonify.effects import EFFECTS
from sonify.instruments.base import CONTROL_RATE

RATE = 48_000


def through(name, sound, rate=RATE, **lanes):
    """A sound [samples, 2] after an effect: every lane a number, or values at the control rate."""
    import pyo64 as pyo

    effect, samples = EFFECTS[name], len(sound)
    defaults = {key: parameter.default for key, parameter in effect.parameters.items()}
    controls = effect.controls(defaults | lanes, rate)
    server = pyo.Server(sr=rate, nchnls=2, buffersize=rate // 150, duplex=0, audio="manual")
    server.setVerbosity(1)
    server.boot()
    server.setGlobalSeed(1)
    server.start()
    server.process()  # the server fades in

    def signal(values, points):
        values = np.asarray(values, dtype=np.float64)
        if values.ndim == 0:
            return float(values)
        values = np.append(values, np.repeat(values[-1:], 4))
        table = pyo.DataTable(len(values))
        np.asarray(table.getBuffer())[:] = values
        return pyo.TableRead(table, freq=points / len(values), loop=0, interp=2).play()

    left, right = (signal(side, rate) for side in sound.T)
    built = effect.build(left, right, {key: signal(lane, CONTROL_RATE) for key, lane in controls.items()})
    for i, side in enumerate(built):
        side.out(i)
    block = (ctypes.c_float * (2 * (rate // 150))).from_address(int(server.getOutputAddr(), 16))
    heard = []
    for _ in range(0, samples, rate // 150):
        server.process()
        heard.append(np.array(block, dtype=np.float64).reshape(-1, 2))
    server.stop()
    server.shutdown()
    return np.concatenate(heard)[:samples]


def stereo(sound, right=1.0):
    return np.stack([sound, right * sound], 1)


def sine(frequency, seconds=1.0, amplitude=0.5):
    return stereo(amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE))


def impulse(seconds=1.0, at=1000):
    return stereo((np.arange(int(seconds * RATE)) == at) * 0.5)


def noise(seconds=1.0, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal((int(seconds * RATE), 2))


def rich(seconds=3.0):
    """A low chord with soft overtones, whose first sample is silence."""
    time = np.arange(int(seconds * RATE)) / RATE
    partials = [np.sin(2 * np.pi * f * time) / k for k, f in enumerate((110, 221, 331, 442, 990), 1)]
    return stereo(0.15 * sum(partials) * np.minimum(time / 0.05, 1), 0.7)


def response(name, seconds=2.0, **lanes):
    """Frequencies and gain in dB, of an impulse."""
    heard = through(name, impulse(seconds), **lanes)[:, 0] / 0.5
    return np.fft.rfftfreq(len(heard), 1 / RATE)[1:], 20 * np.log10(np.abs(np.fft.rfft(heard))[1:] + 1e-12)


def decibels(amplitude):
    return 20 * np.log10(np.maximum(amplitude, 1e-12))


def centroid(sound):
    power = np.abs(np.fft.rfft(sound[:, 0])) ** 2
    return (np.fft.rfftfreq(len(sound), 1 / RATE) * power).sum() / power.sum()


def distortion(sound, fundamental):
    """Total harmonic distortion of one second."""
    spectrum = np.abs(np.fft.rfft(sound[-RATE:, 0]))
    return np.sqrt((spectrum[2 * fundamental :: fundamental] ** 2).sum()) / spectrum[fundamental]


# Filters


@pytest.mark.parametrize(("name", "side"), [("lowpass", 1), ("highpass", -1)])
@pytest.mark.parametrize("cutoff", [80, 1000, 5000])
def test_a_cutoff_is_at_minus_three_decibels(name, side, cutoff):
    frequencies, gain = response(name, cutoff=cutoff)
    assert frequencies[np.argmin(np.abs(gain + 3.01))] == pytest.approx(cutoff, rel=0.05)
    assert np.abs(gain[side * frequencies < side * cutoff * 4.0**-side]).max() < 0.1
    far, farther = (np.interp(cutoff * f**side, frequencies, gain) for f in (4, 8))
    if name == "highpass" or cutoff < 5000:  # a digital low-pass falls ever faster towards half the sample rate
        assert far - farther == pytest.approx(12, abs=1.5)


@pytest.mark.parametrize(("centre", "q"), [(100, 1), (1000, 0.5), (1000, 8), (3000, 20)])
def test_a_band_is_where_and_as_wide_as_it_should_be(centre, q):
    frequencies, gain = response("bandpass", centre=centre, q=q)
    assert frequencies[np.argmax(gain)] == pytest.approx(centre, rel=0.05)
    assert gain.max() == pytest.approx(0, abs=0.1)
    inside = frequencies[gain > -3.01]
    assert inside[-1] - inside[0] == pytest.approx(centre / q, rel=0.05)


@pytest.mark.parametrize("name", ["lowpass", "highpass"])
def test_q_is_the_gain_at_the_cutoff(name):
    for q in (0.5, 2, 10):
        frequencies, gain = response(name, cutoff=500, q=q)
        assert np.interp(500, frequencies, gain) == pytest.approx(20 * np.log10(q), abs=0.2)


def test_a_filter_follows_its_cutoff():
    """A tone of 1 kHz through a low-pass that falls from 8 kHz to 125 Hz is 3 dB down when it meets the tone."""
    seconds = 3.0
    cutoff = np.geomspace(8000, 125, int(seconds * CONTROL_RATE))
    heard = through("lowpass", sine(1000, seconds), cutoff=cutoff)[:, 0]
    level = decibels(np.sqrt(np.square(heard).reshape(-1, RATE // 100).mean(axis=1)) / (0.5 / np.sqrt(2)))
    met = np.argmax(level < -3.01) / 100
    assert cutoff[int(met * CONTROL_RATE)] == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("hold", [2, 3, 5, 7, 50])
@pytest.mark.parametrize("name", ["lowpass", "highpass", "bandpass"])
def test_a_resonance_is_not_pumped_up(name, hold):
    """From end to end of the range and back in milliseconds, the sharpest filter adds no more than its resonance."""
    jumps = np.tile(np.repeat([20.0, 20_000.0], hold), 1000)[:1000]
    sound = np.clip(20 * noise(1.0), -1, 1)
    assert np.abs(through(name, sound, q=20, **{"centre" if name == "bandpass" else "cutoff": jumps})).max() < 20


# Delay


@pytest.mark.parametrize("time", [0.03, 0.25, 0.7303])
def test_echoes_come_in_time_and_fall_by_the_feedback(time):
    start = 0.1
    heard = through("delay", sine(500, 0.02 + 3 * time + start) * 0, time=time)  # nothing in, nothing out
    assert not heard.any()
    burst = sine(500, 4 * time + start) * 0
    length = int(0.02 * RATE)
    at = int(start * RATE)
    burst[at : at + length] = (sine(1000, 0.02) * np.hanning(length)[:, None])[:length]
    heard = through("delay", burst, time=time, feedback=0.5, damping=0, mix=1)[:, 0]
    levels = []
    for echo in (1, 2, 3):
        expected = int((start + echo * time) * RATE)
        if expected + length > len(heard):
            break
        near = heard[expected - 200 : expected + length + 200]
        lag = np.argmax(np.correlate(near, burst[at : at + length, 0], "valid")) - 200
        assert abs(lag) < RATE / 1000
        levels.append(np.abs(near).max())
    assert decibels(levels[0]) == pytest.approx(decibels(0.5), abs=0.5)
    np.testing.assert_allclose(np.diff(decibels(np.array(levels))), 20 * np.log10(0.5), atol=0.5)


def test_damping_darkens_echo_after_echo():
    centroids = {}
    for damping in (0.0, 0.5, 1.0):
        heard = through("delay", impulse(1.2), time=0.25, feedback=0.8, damping=damping, mix=1)
        centroids[damping] = [centroid(heard[k * 12_000 + 500 :][:12_000]) for k in (1, 2, 3, 4)]
        assert np.all(np.diff(centroids[damping]) < 0)
    last = [centroids[damping][-1] for damping in (0.0, 0.5, 1.0)]
    assert last[0] > 1.5 * last[1] > 1.5 * 1.5 * last[2]


def test_spread_sends_echoes_from_side_to_side():
    def balance(spread, sound):
        heard = through("delay", sound, time=0.2, feedback=0.9, damping=0, spread=spread, mix=1)
        echoes = [np.square(heard[1000 + k * 9600 - 100 :][:200]).sum(axis=0) for k in (1, 2, 3, 4)]
        return [(left - right) / (left + right) for left, right in echoes]

    middle, left = impulse(1.0), impulse(1.0) * [1, 0]
    np.testing.assert_allclose(balance(0.0, middle), 0, atol=1e-6)
    np.testing.assert_allclose(balance(0.0, left), 1, atol=1e-6)
    np.testing.assert_allclose(balance(1.0, middle), [1, -1, 1, -1], atol=1e-6)
    half = balance(0.5, middle)
    assert np.all(np.sign(half) == [1, -1, 1, -1])
    assert np.all(np.abs(half) < 0.95)


def test_a_time_that_moves_bends_the_pitch_like_a_tape(partial):
    """Half a second longer in a second: what is heard meanwhile is an octave lower."""
    time = np.clip(0.1 + 0.5 * (np.arange(3000) / CONTROL_RATE - 1.0), 0.1, 0.6)
    heard = through("delay", sine(1000, 3), time=time, feedback=0, mix=1)[:, 0]
    for start, frequency in ((0.5, 1000), (1.4, 500), (2.6, 1000)):
        found = partial(heard[int(start * RATE) :][: RATE // 4], RATE, 100, 3000)
        assert found == pytest.approx(frequency, rel=0.01)


# Distortion


def test_drive_bends_the_wave_and_keeps_its_level():
    amounts, peaks = [], []
    for drive in (0, 10, 20, 30, 40):
        heard = through("distortion", sine(200, 1.2), drive=drive, tone=20_000)
        amounts.append(distortion(heard, 200))
        peaks.append(np.abs(heard[-RATE:]).max())
    assert np.all(np.diff(amounts) > 0)
    assert amounts[0] < 0.03
    assert amounts[-1] > 0.3
    np.testing.assert_allclose(decibels(np.array(peaks)), decibels(0.5), atol=2.0)


@pytest.mark.parametrize(("frequency", "drive", "most"), [(1000, 40, -60), (5000, 24, -60), (4990, 40, -35)])
def test_what_the_curve_makes_above_half_the_rate_does_not_come_back(frequency, drive, most):
    """Whatever is no harmonic, below 16 kHz, against the sound."""
    sound = sine(frequency, 2.0)
    bent = through("distortion", sound, drive=drive, tone=20_000)
    naive = np.tanh(10 ** (drive / 20) * sound)

    def strange(heard):
        spectrum = np.abs(np.fft.rfft(heard[-RATE:, 0] * np.kaiser(RATE, 20)))
        harmonic = np.abs((np.arange(len(spectrum)) + frequency / 2) % frequency - frequency / 2) < 12
        harmonic[:20] = True
        return decibels(spectrum[:16_000][~harmonic[:16_000]].max() / spectrum.max())

    assert strange(bent) < most
    if (frequency, drive) == (4990, 40):
        assert strange(naive) > most + 10


def test_tone_darkens_what_is_bent():
    """The 11th harmonic of 300 Hz against the fundamental is as a first-order low-pass leaves it."""

    def level(tone):
        spectrum = np.abs(np.fft.rfft(through("distortion", sine(300, 1.2), drive=30, tone=tone)[-RATE:, 0]))
        return decibels(spectrum[3300] / spectrum[300])

    for tone in (300, 2000):
        fall = 10 * np.log10((1 + (3300 / tone) ** 2) / (1 + (300 / tone) ** 2))
        assert level(20_000) - level(tone) == pytest.approx(fall, abs=1.0)


# Dynamics


def settled(**lanes):
    """Level out, in dB, of a steady tone of each level in."""
    levels = np.array([-50, -35, -24, -18, -12, -6, 0])
    heard = [through("compressor", sine(400, 1.5, 10 ** (level / 20)), **lanes)[-RATE // 4 :, 0] for level in levels]
    return levels, decibels(np.array([np.abs(sound).max() for sound in heard]))


@pytest.mark.parametrize(("threshold", "ratio", "makeup"), [(-20, 4, 0), (-40, 2, 6), (-12, 20, 0), (-30, 1, 0)])
def test_the_static_curve(threshold, ratio, makeup):
    levels, heard = settled(threshold=threshold, ratio=ratio, makeup=makeup, attack=5, release=200)
    meant = np.where(levels > threshold, threshold + (levels - threshold) / ratio, levels) + makeup
    np.testing.assert_allclose(heard, meant, atol=1.0)
    below = levels < threshold
    np.testing.assert_allclose(heard[below], meant[below], atol=0.01)


@pytest.mark.parametrize(("attack", "release"), [(5, 100), (20, 400), (50, 150)])
def test_attack_and_release(attack, release):
    """The gain has gone 63 % of its way, in dB, after the time constant."""
    loud, quiet = 0.8, 0.01
    level = np.where((np.arange(3 * RATE) // RATE) == 1, loud, quiet)[:, None]
    sound = level * sine(2000, 3.0, 1.0)
    heard = through("compressor", sound, threshold=-20, ratio=10, attack=attack, release=release)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = decibels(np.abs(heard[:, 0] / sound[:, 0]))
    gain = np.nanmedian(np.where(np.abs(sound[:, 0]) > 0.3 * level[:, 0], gain, np.nan).reshape(-1, 48), axis=1)
    bottom = gain[1900:1990].mean()
    assert bottom < -15
    fell = np.argmax(gain[1000:] < 0.632 * bottom)
    rose = np.argmax(gain[2000:] > 0.368 * bottom)
    assert attack / 1.5 < fell < attack * 1.5
    assert release / 1.5 < rose < release * 1.5


def test_one_gain_for_both_sides():
    """A tone on the left turns down what is on the right as much."""
    left, right = sine(300, 1.5, 0.9)[:, 0], sine(1000, 1.5, 0.01)[:, 0]
    heard = through("compressor", np.stack([left, right], 1), threshold=-30, ratio=8)[RATE:]
    turned = decibels(np.abs(heard).max(axis=0) / [0.9, 0.01])
    assert turned[0] == pytest.approx(turned[1], abs=0.1)
    assert turned[0] < -20


# Reverbs


def t60(sound, low=200, high=800):
    """Seconds to fall by 60 dB, from -5 to -25 dB of Schroeder's backward integral."""
    band = sosfiltfilt(butter(3, [low, high], "band", fs=RATE, output="sos"), sound, axis=0)
    left = decibels(np.sqrt(np.cumsum(np.square(band).sum(axis=1)[::-1])[::-1]))
    left -= left[0]
    return 3 * (np.argmax(left < -25) - np.argmax(left < -5)) / RATE


def burst(seconds, seed=0):
    sound = noise(0.5 + seconds, seed)
    sound[RATE // 2 :] = 0
    sound[0] = 0
    return sound


@pytest.mark.parametrize("name", ["hall", "plate"])
@pytest.mark.parametrize("decay", [0.3, 0.7, 1.5, 4.0])
def test_a_reverb_decays_in_its_time(name, decay):
    heard = through(name, burst(max(decay, 1.0)), decay=decay, damping=0.2)[RATE // 2 + 480 :]
    assert t60(heard) == pytest.approx(decay, rel=0.2)


@pytest.mark.parametrize("name", ["hall", "plate"])
def test_a_decay_may_grow_while_it_sounds(name):
    sound = burst(2.0)
    grows = np.linspace(0.4, 8.0, 2500)
    short, longer = (through(name, sound, decay=decay, damping=0.2)[2 * RATE :] for decay in (0.4, grows))
    assert decibels(np.abs(longer).max() / np.abs(short).max()) > 20


@pytest.mark.parametrize("name", ["hall", "plate"])
def test_damping_darkens_the_tail(name):
    tails = [through(name, burst(1.5), decay=2, damping=damping)[RATE:] for damping in (0.0, 0.5, 1.0)]
    found = [centroid(tail) for tail in tails]
    assert found[0] > 1.3 * found[1] > 1.3 * 1.3 * found[2]


@pytest.mark.parametrize("name", ["hall", "plate"])
def test_predelay(name):
    early, late = (through(name, impulse(0.6), predelay=ms)[:, 0] for ms in (20, 145))
    np.testing.assert_allclose(np.argmax(np.abs(late) > 1e-4) - np.argmax(np.abs(early) > 1e-4), 6000, atol=48)


@pytest.mark.parametrize("name", ["hall", "plate"])
def test_a_reverb_is_wide_and_survives_mono(name):
    tail = through(name, burst(1.5), decay=2)[RATE // 2 :]
    assert np.abs(np.corrcoef(tail.T)[0, 1]) < 0.5
    mono, both = np.square(tail.sum(axis=1)).sum(), np.square(tail).sum()
    assert abs(10 * np.log10(mono / both)) < 2


# All of them


@pytest.mark.parametrize("name", [name for name, effect in EFFECTS.items() if "mix" in effect.parameters])
def test_without_its_mix_an_effect_does_nothing(name):
    sound = noise(0.5)
    heard = through(name, sound, mix=0)
    late = 17 if name == "distortion" else 0
    assert np.abs(heard[late:] - sound[: len(sound) - late].astype(np.float32)).max() < 3e-7 * np.abs(sound).max()
    assert np.abs(through(name, sound, mix=1) - heard).max() > 0.01


@pytest.mark.parametrize("name", ["lowpass", "highpass", "bandpass", "delay", "compressor"])
def test_what_is_the_same_on_both_sides_stays_so(name):
    heard = through(name, stereo(noise(0.5)[:, 0]))
    np.testing.assert_array_equal(heard[:, 0], heard[:, 1])
    assert np.abs(heard).max() > 0.01


def sweeps():
    return [(name, key) for name, effect in EFFECTS.items() for key in effect.parameters]


def swept(parameter, seconds=3.0, glide=0.01):
    """From end to end of the range and back, slowly, then at once (as fast as a lane glides by default)."""
    time = np.arange(int(seconds * CONTROL_RATE)) / CONTROL_RATE
    slow = 0.5 - 0.5 * np.cos(2 * np.pi * time)
    steps = np.interp(time % 0.5, [0.0, glide, 0.25, 0.25 + glide], [0.0, 1.0, 1.0, 0.0])
    place = np.where(time < 2.0, slow, steps)
    low, high = parameter.range
    return low * (high / low) ** place if parameter.space == "log2" else low + (high - low) * place


@pytest.mark.parametrize(("name", "key"), sweeps())
def test_a_parameter_moves_without_a_click(clicks, name, key):
    parameters = EFFECTS[name].parameters
    lanes = {"mix": 1.0} if "mix" in parameters and key != "mix" else {}
    if key == "drive":
        lanes["tone"] = 300.0  # what a square wave has above 12 kHz is no click
    heard = through(name, rich(), **lanes, **{key: swept(parameters[key])})
    still = through(name, rich(), **lanes)
    assert len(clicks(heard, RATE)) == 0
    assert np.abs(heard - still).max() > 1e-3


def test_the_judge_of_clicks_finds_a_delay_that_jumps(clicks):
    sound = rich()
    moved = np.roll(sound, 137, axis=0)
    at = RATE + np.argmax(np.abs(moved - sound)[RATE : 2 * RATE, 0])
    found = clicks(np.concatenate([sound[:at], moved[at:]]), RATE)
    np.testing.assert_allclose(found, at / RATE, atol=0.002)
    assert len(found) > 0


EXTREMES = st.sampled_from(list(EFFECTS)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.fixed_dictionaries(
            {
                key: st.sampled_from([*p.range, p.default]) | st.just(np.tile(np.repeat(p.range, 7), 40))
                for key, p in EFFECTS[name].parameters.items()
            }
        ),
        st.sampled_from([44_100, 48_000]),
    )
)


@settings(max_examples=40)
@given(EXTREMES)
def test_extremes_are_finite_and_silence_stays_silence(drawn):
    name, lanes, rate = drawn
    loud = np.clip(20 * noise(0.5), -1, 1)
    heard = through(name, loud, rate, **lanes)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() < 100
    assert not through(name, 0 * loud[: RATE // 10], rate, **lanes).any()


@pytest.mark.parametrize("name", EFFECTS)
def test_two_runs_make_the_same_samples(name):
    parameters = EFFECTS[name].parameters
    lanes = {key: swept(parameter, 0.5) for key, parameter in parameters.items()}
    np.testing.assert_array_equal(*(through(name, noise(0.5), **lanes) for _ in range(2)))


@pytest.mark.parametrize("name", EFFECTS)
def test_what_is_declared_holds_together(name):
    effect = EFFECTS[name]
    assert effect.name == name
    assert effect.about
    for key, parameter in effect.parameters.items():
        assert key == parameter.name
        assert parameter.range[0] <= parameter.default <= parameter.range[1]
        assert parameter.space != "log2" or parameter.range[0] > 0
