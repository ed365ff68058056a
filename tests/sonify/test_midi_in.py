"""MIDI in: files in seconds, clocks as tempo and beat, live ports through a real JACK server."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonify.clock import ClockFollower
from sonify.desk import Desk, VoiceLanes
from sonify.incoming import Inbox
from sonify.instruments.base import Onset
from sonify.midi import MidiError, write_midi
from sonify.midi_in import MidiIn, midi_ports, read_midi


def saved(path, *tracks, ticks=480, kind=1):
    mido.MidiFile(type=kind, ticks_per_beat=ticks, tracks=[mido.MidiTrack(t) for t in tracks]).save(path)
    return path


def message(kind, *, time=0, **fields):
    return mido.Message(kind, time=time, **fields)


def test_what_a_player_does_is_an_event_with_its_time(tmp_path):
    path = saved(
        tmp_path / "a.mid",
        [
            message("note_on", channel=2, note=60, velocity=127),
            message("control_change", channel=2, control=74, value=127, time=480),
            message("control_change", channel=2, control=64, value=127),
            message("note_on", channel=2, note=60, velocity=0, time=240),
            message("note_off", channel=2, note=61, velocity=9),
            message("program_change", program=3),
            message("pitchwheel", channel=2, pitch=-4096),
        ],
    )
    events = read_midi(path)
    assert [(e.seconds, e.kind) for e in events] == [
        (0.0, "note"),
        (0.5, "control"),
        (0.5, "pedal"),
        (0.75, "note_off"),
        (0.75, "note_off"),
        (0.75, "bend"),
    ]
    assert [dict(e.data) for e in events] == [
        {"midi": 60, "velocity": 1.0, "channel": 3},
        {"cc": 74, "value": 1.0, "channel": 3},
        {"value": 1.0, "channel": 3},
        {"midi": 60, "velocity": 0.0, "channel": 3},
        {"midi": 61, "velocity": 0.0, "channel": 3},
        {"semitones": -1.0, "channel": 3},
    ]


def test_bends_reach_as_far_as_their_channel_says(tmp_path):
    def data(channel, *pairs):
        return [message("control_change", channel=channel, control=c, value=v) for c, v in pairs]

    def bend(channel):
        return message("pitchwheel", channel=channel, pitch=4096)

    wide = data(0, (101, 0), (100, 0), (6, 48), (38, 50), (101, 127), (100, 127), (6, 7))
    other = data(1, (101, 0), (100, 1), (6, 30), (99, 0), (98, 0), (6, 30))  # fine tuning, then a maker's own
    events = read_midi(saved(tmp_path / "a.mid", [*wide, *other, bend(0), bend(1)]))
    assert [(e.kind, e.data["semitones"]) for e in events] == [("bend", 24.25), ("bend", 1.0)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 1 << 24).map(lambda t: t - 1)), max_size=6),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 127)), max_size=20),
    st.integers(24, 32_767),
)
def test_seconds_follow_the_tempo_map(tmp_path_factory, tempi, notes, ticks):
    path = saved(
        tmp_path_factory.mktemp("midi") / "a.mid",
        [mido.MetaMessage("set_tempo", tempo=tempo, time=delta) for delta, tempo in tempi],
        [message("note_on", note=note, velocity=64, time=delta) for delta, note in notes],
        ticks=ticks,
    )
    changes = [(0, 500_000)]
    for delta, tempo in tempi:
        changes.append((sum(d for d, _ in tempi[: len(changes) - 1]) + delta, tempo))

    def seconds(tick):
        ends = [start for start, _ in changes[1:]] + [1 << 40]
        spans = (max(min(tick, e) - s, 0) * tempo for (s, tempo), e in zip(changes, ends, strict=True))
        return sum(spans) / 1e6 / ticks

    expected = [seconds(tick) for tick in np.cumsum([delta for delta, _ in notes]).tolist()]
    events = read_midi(path)
    assert [e.data["midi"] for e in events] == [note for _, note in notes]
    assert [e.seconds for e in events] == pytest.approx(expected)


def test_what_is_written_is_read(tmp_path):
    strikes = tuple(
        Onset(k / 7, {"pitch": 440 * 2 ** (k / 12), "velocity": 0.5, "level": 0.0, "decay": 0.1, "brightness": 0.5})
        for k in range(20)
    )
    desk = Desk({"bell": VoiceLanes("bell", {}, 0.5, onsets=strikes)}, {})
    events = read_midi(write_midi(desk, tmp_path / "a.mid", duration=4, tempi=[(0, 70), (1.3, 173.2)]))
    notes = [e for e in events if e.kind == "note"]
    assert [n.seconds for n in notes] == pytest.approx([s.time for s in strikes], abs=0.001)
    assert [n.data["midi"] for n in notes] == list(range(69, 89))
    assert sum(e.kind == "note_off" for e in events) == 20


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_broken_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    path = saved(
        tmp_path_factory.mktemp("midi") / "a.mid",
        [mido.MetaMessage("track_name", name="x"), mido.MetaMessage("set_tempo", tempo=400_000)],
        [mido.MetaMessage("key_signature", key="Am"), message("sysex", data=(1, 2)), message("note_on", time=100)],
    )
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    line = ""
    try:
        assert all(np.isfinite(e.seconds) for e in read_midi(path))
    except MidiError as error:
        line = str(error)
    assert "\n" not in line
    assert not line or str(path) in line


def test_files_that_are_none(tmp_path):
    with pytest.raises(MidiError, match=r"a\.mid: cannot be read: No such file"):
        read_midi(tmp_path / "a.mid")
    (tmp_path / "text.mid").write_text("do re mi fa so la ti do")
    with pytest.raises(MidiError, match=r"text\.mid: no MIDI file: MThd not found"):
        read_midi(tmp_path / "text.mid")
    with pytest.raises(MidiError, match="type 2"):
        read_midi(saved(tmp_path / "two.mid", [message("note_on")], kind=2))
    with pytest.raises(MidiError, match="SMPTE"):
        read_midi(saved(tmp_path / "film.mid", [message("note_on")], ticks=-6400))


def test_an_inbox_keeps_order_and_the_latest():
    inbox = Inbox()
    for k in range(70_000):
        inbox.put("note", {"midi": k}, seconds=float(k))
    events = inbox.drain()
    assert [e.data["midi"] for e in events] == list(range(70_000 - 65_536, 70_000))
    assert inbox.drain() == []


def ticking(follower, bpm, jitter, start=0.0):
    """Feed clocks, each late or early by its jitter; when each was meant."""
    times = start + np.arange(len(jitter)) * 60 / bpm / 24
    for at, off in zip(times, jitter, strict=True):
        follower.feed(float(at + off), "clock")
    return times


@settings(max_examples=100, deadline=None)
@given(st.floats(30, 125), st.lists(st.sampled_from([-1.0, 1.0, 0.3]), min_size=96, max_size=96))
def test_tempo_and_beat_through_three_milliseconds_of_any_jitter(bpm, signs):
    """The worst that ±3 ms can do to a line through 96 clocks is 9 · 3 ms / 96 a clock."""
    follower = ClockFollower()
    follower.feed(0.0, "start")
    times = ticking(follower, bpm, 0.003 * np.array(signs))
    assert follower.tempo == pytest.approx(bpm, rel=0.005)
    now = float(times[-1]) + 0.4 * 60 / bpm / 24
    assert follower.beat(now) * 60 / bpm == pytest.approx(now, abs=0.013)


@settings(max_examples=60, deadline=None)
@given(st.floats(20, 300), st.integers(0, 1 << 32), st.integers(96, 400))
def test_tempo_through_random_jitter(bpm, seed, clocks):
    follower = ClockFollower()
    follower.feed(5.0, "start")
    jitter = np.random.default_rng(seed).uniform(-0.003, 0.003, clocks)
    times = ticking(follower, bpm, jitter, start=5.0)
    assert follower.tempo == pytest.approx(bpm, rel=0.005)
    assert (follower.beat(float(times[-1])) - (clocks - 1) / 24) * 60 / bpm == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("then", [90, 126, 240])
def test_a_new_tempo_is_followed_within_two_beats(then):
    follower = ClockFollower()
    rng = np.random.default_rng(then)
    times = ticking(follower, 120, rng.uniform(-0.001, 0.001, 200))
    ticking(follower, then, rng.uniform(-0.001, 0.001, 48), start=float(times[-1]) + 60 / then / 24)
    assert follower.tempo == pytest.approx(then, rel=0.03)
    ticking(follower, then, rng.uniform(-0.001, 0.001, 96), start=float(times[-1]) + 49 * 60 / then / 24)
    assert follower.tempo == pytest.approx(then, rel=0.005)


def test_clocks_that_come_late_all_at_once_are_no_new_tempo():
    follower = ClockFollower()
    follower.feed(0.0, "start")
    times = np.arange(300) * 60 / 120 / 24
    late = np.where((times > 4) & (times < 4.1), 4.1, times)  # a stall of 100 ms
    worst = 0.0
    for at in late:
        follower.feed(float(at), "clock")
        if at > 3:
            worst = max(worst, abs(follower.tempo / 120 - 1))
    assert worst < 0.02
    assert follower.beat(float(times[-1])) == pytest.approx(299 / 24, abs=0.01)


def test_a_song_starts_stops_is_placed_and_goes_on():
    follower = ClockFollower()
    assert follower.tempo is None
    assert follower.beat(1.0) is None
    step = 60 / 120 / 24
    ticking(follower, 120, np.zeros(48))
    assert follower.tempo == pytest.approx(120)
    assert not follower.running
    assert follower.beat(48 * step) == 0.0
    follower.feed(47.5 * step, "start")
    ticking(follower, 120, np.zeros(25), start=48 * step)
    assert follower.running
    assert follower.beat(72 * step) == pytest.approx(1.0)
    assert follower.beat(84 * step) == pytest.approx(1.5)
    assert follower.beat(1000 * step) == pytest.approx(2.0)  # the clock is gone: a beat, no more
    follower.feed(72.5 * step, "stop")
    ticking(follower, 120, np.zeros(10), start=73 * step)
    assert follower.beat(82 * step) == pytest.approx(1.0)
    follower.feed(82.5 * step, "songpos", 32)
    follower.feed(82.6 * step, "continue")
    ticking(follower, 120, np.zeros(13), start=83 * step)
    assert follower.beat(95 * step) == pytest.approx(8.5)
    follower.feed(95.5 * step, "stop")
    follower.feed(95.6 * step, "continue")
    ticking(follower, 120, np.zeros(12), start=96 * step)
    assert follower.beat(107 * step) == pytest.approx(9.0)


def test_a_clock_that_was_silent_starts_anew():
    follower = ClockFollower()
    times = ticking(follower, 120, np.zeros(96))
    follower.feed(float(times[-1]) + 5, "clock")
    assert follower.tempo is None
    ticking(follower, 60, np.zeros(24), start=float(times[-1]) + 5 + 60 / 60 / 24)
    assert follower.tempo == pytest.approx(60)


def test_without_rtmidi_files_are_read_and_ports_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    assert len(read_midi(saved(tmp_path / "a.mid", [message("note_on")]))) == 1
    for ask in (midi_ports, lambda: MidiIn("keys")):
        with pytest.raises(MidiError, match="python-rtmidi, which is not installed: pip install python-rtmidi"):
            ask()


def test_without_a_midi_system_there_is_one_line_and_silence(monkeypatch, capfd):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "descant-none")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    with pytest.raises(MidiError, match=r"no MIDI system .*jack: ") as error:
        MidiIn("keys", backend="jack")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[..., None], Callable[[], None]]]:
    """A keyboard at a JACK server of its own on the dummy device: to play a message, and to unplug it."""
    rtmidi = pytest.importorskip("rtmidi")
    if not shutil.which("jackd"):
        pytest.skip("jackd is not installed (make apt)")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", f"descant-midi-{os.getpid()}")
    monkeypatch.setenv("JACK_NO_AUDIO_RESERVATION", "1")
    words = ["jackd", "-n", os.environ["JACK_DEFAULT_SERVER"], "-r", "-d", "dummy", "-p", "256", "-C", "0", "-P", "2"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not until(answers, 20):
            pytest.skip("jackd does not start here")
        out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="keyboard")
        out.open_virtual_port("keys")
        yield lambda *data: out.send_message(list(data)), out.delete
        if not out.is_deleted:
            out.delete()
    finally:
        server.terminate()
        server.wait(10)


def answers() -> bool:
    try:
        midi_ports("jack")
    except MidiError:
        return False
    return True


def until(true: Callable[[], object], seconds: float) -> bool:
    """Ask until it is so, or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False


def received(midi: MidiIn, n: int) -> list:
    """Events until there are `n`."""
    events: list = []
    until(lambda: events.extend(midi.drain()) or len(events) >= n, 10)
    return events


def test_a_keyboard_is_played_unplugged_and_missed(keyboard):
    play, unplug = keyboard
    assert midi_ports("jack") == ["keyboard:keys"]
    with pytest.raises(MidiError, match=re.escape("no MIDI port 'keybard:kes'; did you mean 'keyboard:keys'?")):
        MidiIn("keybard:kes", backend="jack")
    inbox = Inbox()
    with MidiIn("Keyboard", backend="jack", inbox=inbox) as midi:
        assert midi.name == "keyboard:keys"
        began = time.monotonic()
        for key in range(100):
            play(0x90, key, 64)
        play(0xB0, 64, 127)
        play(0xFA)
        for _ in range(30):
            play(0xF8)
        events = received(midi, 102)
        assert [e.kind for e in events] == ["note"] * 100 + ["pedal", "start"]
        assert [e.data["midi"] for e in events[:100]] == list(range(100))
        assert all(began <= a.seconds <= b.seconds for a, b in pairwise(events))
        assert events[-1].seconds <= time.monotonic()
        assert until(lambda: midi.clock.tempo is not None, 10)
        assert midi.clock.running
        midi.check()
        play(0x80, 7, 0)
        assert [e.kind for e in received(midi, 1)] == ["note_off"]
        unplug()
        with pytest.raises(MidiError, match="'keyboard:keys' is gone: plug it in"):
            assert until(midi.check, 10)
        released = inbox.drain()
        assert {e.data["midi"] for e in released} == set(range(100)) - {7}
        assert {e.kind for e in released} == {"note_off"}


def test_others_connect_to_a_virtual_port(keyboard):
    import rtmidi

    with MidiIn("stage", virtual=True, backend="jack") as midi:
        assert midi.name == "stage"
        sender = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="sender")
        sender.open_port(next(i for i, n in enumerate(sender.get_ports()) if n.endswith("stage")))
        assert until(lambda: sender.send_message([0x90, 64, 127]) or midi.inbox.drain(), 10)
        midi.check()
        sender.delete()
