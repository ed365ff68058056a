"""Groups, sends and effects on the rendered files, of desks built by hand."""

import numpy as np
import pytest
import soundfile

from pieces.piece import Master
from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.effects import EFFECTS
from sonify.instruments.base import CONTROL_RATE
from sonify.mixdown import banks
from sonify.render import render

SECONDS = 2.0
TIME = np.arange(int(SECONDS * CONTROL_RATE) + 4) / CONTROL_RATE


def sine(pitch=440.0, amplitude=0.3, **fields):
    return VoiceLanes("glide", {"pitch": pitch, "brightness": 0.0}, amplitude, **fields)


def wind(**fields):
    return VoiceLanes("noise", {"pitch": 1000.0, "bandwidth": 3.0}, 0.3, **fields)


def effect(name, **lanes):
    return EffectLanes(name, {p.name: p.default for p in EFFECTS[name].parameters.values()} | lanes)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """``rendered(voices, groups, **options)`` → the rendering, and the samples of the mix and of each stem."""

    def make(voices, groups=None, master=None, **options):
        folder = tmp_path_factory.mktemp("rendered")
        made = render(Desk(voices, groups or {}), SECONDS, master or Master(), folder, **options)
        return made, {
            name: soundfile.read(path, dtype="float32")[0] for name, path in {"mix": made.mix, **made.stems}.items()
        }

    return make


def level(sound):
    """Of the second half, in dB."""
    return 20 * np.log10(np.sqrt(np.square(sound[len(sound) // 2 :], dtype=np.float64).mean()))


def spectrum(sound):
    """Amplitudes of the second half of the left side, in dB of the strongest; bins of 1 Hz."""
    half = sound[len(sound) // 2 :, 0].astype(np.float64)
    found = np.abs(np.fft.rfft(half * np.blackman(len(half))))
    return 20 * np.log10(found / found.max() + 1e-12)


@pytest.mark.parametrize("decibels", [0.0, -12.0, -30.0])
def test_the_level_of_a_send_is_the_level_of_its_return(rendered, decibels):
    voice = sine(pan=0.5, sends={"room": 10 ** (decibels / 20)})
    _, sounds = rendered({"a": voice}, {"room": GroupLanes(())})
    assert level(sounds["room"]) - level(sounds["a"]) == pytest.approx(decibels, abs=0.001)
    np.testing.assert_allclose(sounds["mix"], sounds["a"] + sounds["room"], atol=1e-6)


def test_a_send_may_move(rendered):
    _, sounds = rendered({"a": sine(sends={"room": TIME / SECONDS})}, {"room": GroupLanes(())})
    dry, wet = (sounds[name].reshape(20, -1).std(axis=1) for name in ("a", "room"))
    np.testing.assert_allclose(wet / dry, (np.arange(20) + 0.5) / 20, atol=0.02)


@pytest.mark.parametrize("gain", [0.5, 2.0, np.where(TIME < 1, 1.0, 0.25)])
def test_the_gain_of_a_group(rendered, gain):
    _, sounds = rendered({"a": sine(into="bus")}, {"bus": GroupLanes((), gain)})
    heard = level(sounds["bus"]) - level(sounds["a"])
    assert heard == pytest.approx(20 * np.log10(np.asarray(gain).flat[-1]), abs=0.02)


def test_an_empty_group_hands_on_what_it_is_given_bit_for_bit(rendered):
    """And a voice in it is heard once: in the group's return."""
    _, sounds = rendered({"a": wind(into="bus", pan=-0.3)}, {"bus": GroupLanes((), into="all"), "all": GroupLanes(())})
    assert np.abs(sounds["a"]).max() > 0.1
    for name in ("bus", "all", "mix"):
        np.testing.assert_array_equal(sounds[name], sounds["a"])


def test_effects_stand_in_order(rendered):
    """A distortion makes harmonics of 440 Hz; a low-pass at 600 Hz takes them away only where it comes after."""
    bend, dull = effect("distortion", drive=30.0, tone=20_000.0), effect("lowpass", cutoff=600.0, q=0.71)
    heard = {}
    for name, chain in {"after": (bend, dull), "before": (dull, bend)}.items():
        _, sounds = rendered({"a": sine(into="bus"), "b": sine(effects=chain)}, {"bus": GroupLanes(chain)})
        np.testing.assert_allclose(sounds["bus"], sounds["b"], atol=1e-4)  # an insert and a group do the same
        heard[name] = spectrum(sounds["bus"])[5 * 440]
    assert heard["before"] > -20
    assert heard["after"] < heard["before"] - 18


def test_groups_flow_into_groups(rendered):
    groups = {"one": GroupLanes((), 0.5, "two", {"three": 0.25}), "two": GroupLanes((), 3.0), "three": GroupLanes(())}
    _, sounds = rendered({"a": sine(into="one")}, groups)
    found = [level(sounds[name]) - level(sounds["a"]) for name in ("one", "two", "three", "mix")]
    np.testing.assert_allclose(10 ** (np.array(found) / 20), [0.5, 1.5, 0.125, 1.625], rtol=1e-4)


@pytest.fixture(scope="module")
def band():
    """Two banks of voices; inserts, sends that move, groups within groups, noise in either bank."""
    tones = {
        f"v{i}": sine(
            220 * 2 ** (i / 5 + 0.1 * np.sin(5 * TIME + i)),
            0.05 + 0.04 * np.cos(7 * TIME + i),
            pan=i / 4 - 1,
            into="bus" if i % 3 == 0 else "mix",
            sends={"room": 0.1 * i * TIME / SECONDS} if i % 2 else {},
            effects=(effect("bandpass", centre=600 + 200 * np.sin(TIME), q=1.0),) if i % 4 == 1 else (),
        )
        for i in range(7)
    }
    voices = {"wind": wind(pan=-1.0), **tones, "storm": wind(pan=1.0, sends={"echo": 0.3}), "last": sine(880.0, 0.02)}
    groups = {
        "bus": GroupLanes((effect("compressor"),), 0.7, "mix", {"echo": 0.2}),
        "echo": GroupLanes((effect("delay"),), 1.0, "room"),
        "room": GroupLanes((effect("hall", decay=1.0),), 0.5),
    }
    return voices, groups


@pytest.mark.parametrize("limiter", [False, True])
def test_stems_sum_to_the_mix(rendered, band, limiter):
    voices, groups = band
    made, sounds = rendered(*band, Master(limiter=limiter, loudness=-10.0))
    assert list(made.stems) == [*voices, *groups]
    heard = [name for name, track in (voices | groups).items() if track.into == "mix"]
    residue = sounds["mix"] - sum(sounds[name].astype(np.float64) for name in heard)
    assert 20 * np.log10(np.abs(residue).max()) < -120
    everything = sounds["mix"] - sum(sound.astype(np.float64) for name, sound in sounds.items() if name != "mix")
    assert np.abs(everything).max() > 0.01


def test_the_samples_are_the_same_for_any_number_of_processes(rendered, band):
    made = {
        (processes, stems): rendered(*band, processes=processes, stems=stems)[0]
        for processes, stems in ((1, True), (1, False), (2, True), (2, False), (3, False), (None, False))
    }
    assert len({found.samples_hash for found in made.values()}) == 1
    for name, stem in made[1, True].stems.items():
        assert stem.read_bytes() == made[2, True].stems[name].read_bytes()
    voices, groups = band
    other, _ = rendered({"other": wind(), **voices}, groups, stems=False)
    assert other.samples_hash != made[1, False].samples_hash


def test_noises_of_different_banks_differ(rendered, band):
    _, sounds = rendered(*band)
    left, right = sounds["wind"][:, 0], sounds["storm"][:, 1]
    assert level(np.stack([left, right])) > -60
    assert np.abs(np.correlate(left[1000:20_000], right[1500:19_500], "valid")).max() < 0.1 * np.square(left).sum()
    assert np.abs(np.correlate(left[1000:20_000], left[1500:19_500], "valid")).max() > 0.1 * np.square(left).sum()


def test_noise_does_not_repeat_itself(rendered):
    """Stretches of 1.2 s begin with random states of their own."""
    _, sounds = rendered({"a": wind()})
    first, second = sounds["a"][9600:38_400, 0], sounds["a"][57_600 + 9600 :, 0][:28_800]
    assert np.abs(np.corrcoef(first, second)[0, 1]) < 0.1


@pytest.mark.parametrize(("chain", "silent"), [("hall", True), ("delay", True), ("lowpass", False)])
def test_what_rings_is_faded_at_the_end(rendered, chain, silent):
    """A voice held to the very end: its reverb is silent there; through a filter it is as loud as before."""
    _, sounds = rendered({"a": sine(into="bus")}, {"bus": GroupLanes((effect(chain),))})
    before, end = (np.abs(sounds["bus"][at : at + 480]).max() for at in (40_000, 95_520))
    assert end < 0.01 * before if silent else end > 0.99 * before


def test_the_limiter_holds_the_loudness(rendered):
    """Of a sound whose peaks forbid it, and the stems share its curve."""
    beats = 0.1 + 0.8 * np.exp(-(TIME % 0.5) / 0.005)
    voices = {"a": sine(amplitude=beats), "b": sine(300.0, 0.02)}
    free, _ = rendered(voices, master=Master(loudness=-8.0), stems=False)
    wanted = free.loudness + 3
    held, sounds = rendered(voices, master=Master(loudness=wanted, limiter=True))
    assert free.limited
    assert not held.limited
    assert held.loudness == pytest.approx(wanted, abs=0.05)
    assert max(free.true_peak, held.true_peak) <= -1.0
    steady = np.abs(sounds["b"][:96_000, 0]).reshape(-1, 960).max(axis=1)
    assert steady.min() < 0.8 * steady.max()


def test_markers_are_in_every_file(rendered):
    made, _ = rendered({"a": sine()}, markers=[(0.5, "here"), (1.5, "there")])
    for path in (made.mix, made.stems["a"]):
        data = path.read_bytes()
        assert b"here" in data
        assert b"there" in data
        assert data.count(b"cue ") == 1
    plain, _ = rendered({"a": sine()})
    assert b"cue " not in plain.mix.read_bytes()
    assert plain.samples_hash == made.samples_hash


def test_an_empty_desk_is_silent(rendered):
    made, sounds = rendered({}, {"room": GroupLanes((effect("plate"),))})
    assert not sounds["mix"].any()
    assert list(made.stems) == ["room"]


@pytest.mark.parametrize("voices", [1, 3, 4, 5, 12, 33, 64])
def test_banks_hold_all_voices_in_their_order(voices):
    """Four each at most or eight banks, as many as two, four or eight processes share evenly."""
    cut = banks(Desk({f"v{i}": sine() for i in range(voices)}, {}))
    assert [name for strips in cut for name in strips.voices] == [f"v{i}" for i in range(voices)]
    assert max(len(strips.voices) for strips in cut) <= max(4, -(-voices // 8))
    assert len(cut) in (1, 2, 4, 8)
    assert all(set(strips.ways) == {"mix"} for strips in cut)
