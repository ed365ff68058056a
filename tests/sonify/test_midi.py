"""MIDI files: what another studio plays from them, read back with mido, is what the desk holds."""

import re
from dataclasses import dataclass, field

import mido
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sonify.desk import Desk, VoiceLanes
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Onset
from sonify.midi import MidiError, write_midi

CENT = 0.01
TEMPI = st.lists(st.tuples(st.floats(0.05, 3), st.floats(4, 1000)), min_size=1, max_size=5).map(
    lambda steps: [
        (t, bpm) for t, (_, bpm) in zip(np.cumsum([0, *(d for d, _ in steps[1:])]).tolist(), steps, strict=True)
    ]
)


@dataclass
class Heard:
    """A track as a receiver takes it: bends by RPN 0, in seconds by the tempo track."""

    name: str
    port: int
    texts: list[str]
    duration: float = 0.0
    notes: list[list] = field(default_factory=list)  # channel, start, end, key, velocity, bends during it
    values: dict = field(default_factory=dict)  # (channel, controller) → [(seconds, value)]
    moves: dict = field(default_factory=dict)  # channel → seconds of bends
    reach: dict = field(default_factory=dict)
    zones: int = 0

    def keys(self, points):
        """Key with its fraction at every control point, NaN in silence; for a voice of one note at a time."""
        heard = np.full(points, np.nan)
        time = np.arange(points) / CONTROL_RATE
        for _, start, end, key, _, bends in self.notes:
            for (since, bend), (until, _) in zip(bends, [*bends[1:], (end, 0)], strict=True):
                heard[(time >= max(since, start)) & (time < until)] = key + bend
        return heard

    def lane(self, controller, points):
        """A controller's values at every control point, of the first channel."""
        (steps,) = (v for (_, c), v in self.values.items() if c == controller)
        times, values = zip(*steps, strict=True)
        return np.array(values)[np.searchsorted(times, np.arange(points) / CONTROL_RATE, side="right") - 1]


def heard(path):
    """All voices' tracks, in the order of the file."""
    file = mido.MidiFile(path, charset="utf-8")
    assert file.type == 1
    return [
        hear(mido.MidiFile(ticks_per_beat=file.ticks_per_beat, tracks=[file.tracks[0], t])) for t in file.tracks[1:]
    ]


def hear(file):
    meta = {m.type: m for m in file.tracks[1] if m.is_meta}
    texts = [m.text for m in file.tracks[1] if m.type == "text"]
    found = Heard(meta["track_name"].name, meta["midi_port"].port, texts)
    now, chosen, bend, ringing = 0.0, {}, {}, {}
    for m in file:
        now += m.time
        if m.type == "control_change" and m.control in (100, 101):
            chosen[m.channel, m.control] = m.value
        elif m.type == "control_change" and m.control == 6:
            asked = chosen[m.channel, 101], chosen[m.channel, 100]
            assert asked in ((0, 0), (0, 6))
            if asked == (0, 0):
                found.reach[m.channel] = m.value
            else:
                found.zones += 1
        elif m.type == "control_change" and m.control != 38:
            found.values.setdefault((m.channel, m.control), []).append((now, m.value))
        elif m.type == "pitchwheel":
            bend[m.channel] = m.pitch / 8192 * found.reach[m.channel]
            found.moves.setdefault(m.channel, []).append(now)
            for (channel, _), note in ringing.items():
                if channel == m.channel:
                    note[5].append((now, bend[m.channel]))
        elif m.type == "note_on":
            assert (m.channel, m.note) not in ringing
            note = [m.channel, now, None, m.note, m.velocity, [(now, bend.get(m.channel, 0.0))]]
            found.notes.append(note)
            ringing[m.channel, m.note] = note
        elif m.type == "note_off":
            ringing.pop((m.channel, m.note))[2] = now
    assert not ringing  # every note ends
    found.duration = now
    return found


def keys(hertz):
    return 69 + 12 * np.log2(np.asarray(hertz) / 440)


def drone(semitones, amplitude=0.5, **lanes):
    """A glide whose pitch is so many semitones above A3 at every control point."""
    return VoiceLanes(
        "glide", {"pitch": 220 * np.exp2(np.asarray(semitones) / 12), "brightness": 0.5, **lanes}, amplitude
    )


def bells(*notes, **fields):
    values = ({"level": 0.0, "brightness": 0.5, "decay": 1.0, "velocity": 1.0} | dict(n) for _, n in notes)
    onsets = (Onset(t, v) for (t, _), v in zip(notes, values, strict=True))
    return VoiceLanes("bell", {}, fields.pop("amplitude", 0.5), onsets=tuple(onsets), **fields)


def exported(folder, duration, *voices, **given):
    desk = Desk({f"v{i}": voice for i, voice in enumerate(voices)}, {})
    return heard(write_midi(desk, folder / "take.mid", duration=duration, **given))


def judge(track, lane, sounds, slack=0.003):
    """At every moment the pitch is within a cent of one that the lane has until 10 ms later, and silence is silence."""
    points = len(lane)
    found = track.keys(points)
    window = np.arange(points)[:, None] + np.arange(-1, 12)
    near = keys(lane)[np.clip(window, 0, points - 1)]
    edges = np.flatnonzero(np.diff(sounds.astype(int)))
    inner = np.ones(points, dtype=bool)
    for edge in edges:
        inner[max(edge - round(slack * 1000), 0) : edge + round(slack * 1000) + 1] = False
    assert (np.isnan(found[inner]) == ~sounds[inner]).all()
    on = inner & sounds & ~np.isnan(found)
    assert (found[on] >= near.min(1)[on] - CENT).all()
    assert (found[on] <= near.max(1)[on] + CENT).all()


@st.composite
def performed(draw):
    """Pitch in semitones that steps, rests, drifts and glides within MIDI's keys, and where it sounds."""
    pieces, level, on = [], draw(st.floats(-30, 40)), []
    for _ in range(draw(st.integers(1, 8))):
        points = draw(st.integers(1, 400))
        kind = draw(st.sampled_from(["step", "drift", "glide", "rest"]))
        goal = draw(st.floats(-45, 60)) if kind in ("step", "glide") else level + draw(st.floats(-0.1, 0.1))
        ramp = np.linspace(level, goal, (10 if kind == "step" else points) + 1)[1:]
        pieces.append(np.concatenate([ramp, np.full(points if kind == "step" else 0, goal)]))
        on.append(np.full(len(pieces[-1]), kind != "rest"))
        level = goal
    lane = np.concatenate([*pieces, np.full(4, level)])
    return lane, np.concatenate([*on, np.full(4, on[-1][0])])


@settings(max_examples=60, deadline=None)
@given(performed(), TEMPI, st.booleans())
def test_what_is_heard_is_the_lane(tmp_path_factory, played, tempi, mpe):
    lane, sounds = played
    voice = drone(lane, np.where(sounds, 0.5, 0.0))
    duration = (len(lane) - 4) / CONTROL_RATE
    (track,) = exported(tmp_path_factory.mktemp("midi"), duration, voice, tempi=tempi, mpe=mpe)
    judge(track, voice.lanes["pitch"][:-4], sounds[:-4])
    assert track.duration == pytest.approx(duration, abs=0.001)
    assert set(track.reach.values()) == {48 if mpe else 2}
    assert max(np.bincount(np.floor(np.array(track.moves.get(1 if mpe else 0, [0.0]))).astype(int))) <= 101
    assert sum(n[2] - n[1] for n in track.notes) == pytest.approx(sounds[:-4].sum() / 1000, abs=0.002 * 9)


def test_the_judge_hears_three_cents_and_three_milliseconds(tmp_path):
    rng = np.random.default_rng(1)
    lane = np.repeat(rng.uniform(-12, 12, 20), 100)
    on = np.ones(len(lane), dtype=bool)
    (track,) = exported(tmp_path, 2.0, drone(lane))
    judge(track, 220 * np.exp2(lane / 12), on)
    with pytest.raises(AssertionError):
        judge(track, 220 * np.exp2((lane + 3 * CENT) / 12), on)
    with pytest.raises(AssertionError):
        judge(track, 220 * np.exp2(np.roll(lane, -3) / 12), on)


@pytest.mark.parametrize("mpe", [False, True])
def test_a_slow_drift_is_within_a_cent_at_every_moment(tmp_path, mpe):
    time = np.arange(8004) / CONTROL_RATE
    lane = 1.2 * np.sin(0.6 * time) + 0.2  # at most 72 cents a second
    (track,) = exported(tmp_path, 8.0, drone(lane), mpe=mpe)
    off = track.keys(7999)[2:] - keys(220) - lane[2:7999]
    assert np.abs(off).max() < CENT
    assert len(track.notes) == 1
    assert 100 < len(track.moves[1 if mpe else 0]) < 800


def test_steps_of_data_are_single_notes_on_time(tmp_path):
    """A default voice glides for 10 ms into every tick: a note for each, none in between."""
    steps = np.array([0, 5, -7, 14.5, 3.25, 19])
    ramps = np.interp(
        np.arange(3000), np.sort(np.r_[0, np.arange(1, 6) * 500, np.arange(1, 6) * 500 + 10]), np.repeat(steps, 2)[:-1]
    )
    (track,) = exported(tmp_path, 3.0, drone(ramps))
    np.testing.assert_allclose([n[1] for n in track.notes], np.arange(6) / 2, atol=0.002)
    np.testing.assert_allclose([n[3] + n[5][0][1] for n in track.notes], keys(220) + steps, atol=CENT)


def test_with_mpe_only_silence_ends_a_note(tmp_path):
    time = np.arange(4004) / CONTROL_RATE
    voice = drone(20 * np.sin(3 * time), np.where((time > 2.0) & (time < 2.5), 0.0, 0.3))
    (wide,) = exported(tmp_path, 4.0, voice, mpe=True)
    assert [(round(n[1], 2), round(n[2], 2)) for n in wide.notes] == [(0, 2.0), (2.5, 4)]
    (narrow,) = exported(tmp_path, 4.0, voice)
    assert len(narrow.notes) > 20


NOTES = st.lists(
    st.tuples(
        st.floats(0, 3),
        st.fixed_dictionaries(
            {"pitch": st.floats(20, 16_000), "velocity": st.floats(0.01, 1), "decay": st.floats(0.05, 5)}
        ),
    ),
    max_size=15,
).map(lambda notes: sorted(notes, key=lambda n: n[0]))


@settings(max_examples=60, deadline=None)
@given(NOTES, TEMPI, st.booleans())
def test_every_strike_is_a_note_at_its_pitch_while_it_rings(tmp_path_factory, notes, tempi, mpe):
    notes = [n for i, n in enumerate(notes) if not i or n[0] - notes[i - 1][0] > 0.001]
    (track,) = exported(tmp_path_factory.mktemp("midi"), 3.5, bells(*notes), tempi=tempi, mpe=mpe)
    assert len(track.notes) == len(notes)
    for (channel, start, end, key, velocity, bends), (time, values) in zip(track.notes, notes, strict=True):
        assert start == pytest.approx(time, abs=0.001)
        assert velocity == max(round(127 * values["velocity"]), 1)
        assert all(abs(key + bend - keys(values["pitch"])) < CENT for _, bend in bends)
        assert end <= 3.502
        assert track.reach[channel] in (2, 48)
    lengths = [min(t + v["decay"], 3.5) - t for t, v in notes]
    same = [
        any(abs(keys(v["pitch"]) - keys(w["pitch"])) < 1 for _, w in notes[:i] + notes[i + 1 :])
        for i, (_, v) in enumerate(notes)
    ]
    for note, length, shared in zip(track.notes, lengths, same, strict=True):
        assert shared or note[2] - note[1] == pytest.approx(length, abs=0.002)


def test_a_microtonal_chord_takes_a_channel_for_each_bend_and_a_tempered_one_takes_one(tmp_path):
    just = bells(*((0.5, {"pitch": 264 * r}) for r in (1, 5 / 4, 3 / 2)))
    tempered = bells(*((0.5, {"pitch": 440 * 2 ** (k / 12)}) for k in (0, 4, 7)))
    a, b = exported(tmp_path, 2.0, just, tempered)
    assert len({n[0] for n in a.notes}) == 3
    np.testing.assert_allclose(sorted(n[3] + n[5][0][1] for n in a.notes), keys([264, 330, 396]), atol=CENT)
    assert len({n[0] for n in b.notes}) == 1
    assert {n[0] for n in a.notes}.isdisjoint(n[0] for n in b.notes)


def test_sixteen_at_once_are_too_many_and_the_seventeenth_later_ends_the_oldest(tmp_path):
    pitches = [300 * 1.0131**i for i in range(16)]
    (track,) = exported(tmp_path, 3.0, bells(*((0.5, {"pitch": p}) for p in pitches)))
    assert len(track.notes) == 15
    (track,) = exported(tmp_path, 3.0, bells(*((i / 100, {"pitch": p}) for i, p in enumerate(pitches))))
    assert len(track.notes) == 16
    assert [round(n[2] - n[1], 2) for n in track.notes] == [0.15] + [1.0] * 15


@pytest.mark.parametrize("mpe", [False, True])
def test_voices_share_ports_and_never_a_channel(tmp_path, mpe):
    voices = [drone(np.full(1004, k / 3.7)) for k in range(20)]
    tracks = exported(tmp_path, 1.0, *voices, mpe=mpe)
    assert [t.name for t in tracks] == [f"v{k}" for k in range(20)]
    used = [(t.port, n[0]) for t in tracks for n in t.notes]
    assert len(used) == len(set(used)) == 20
    assert {port for port, _ in used} == {0, 1}
    assert all(channel != (0 if mpe else 9) for _, channel in used)
    assert [t.port for t in tracks if t.zones] == ([0, 1] if mpe else [])
    np.testing.assert_allclose([t.keys(500)[400] for t in tracks], keys(220) + np.arange(20) / 3.7, atol=CENT)


def test_gain_place_and_lanes_are_controllers_that_the_texts_explain(tmp_path):
    time = np.arange(6004) / CONTROL_RATE
    gain = 0.4 * (0.55 + 0.45 * np.sin(1.3 * time))
    cutoff = 200 * np.exp2(2 + 2 * np.sin(0.8 * time))
    pad = VoiceLanes("pad", {"pitch": 220.0, "brightness": cutoff, "spread": 9.0}, gain, pan=np.sin(0.5 * time))
    track, _ = exported(tmp_path, 6.0, pad, drone(np.zeros(6004), 0.8))
    loudest = float(re.search(r"\^2 of ([\d.e-]+);", "\n".join(track.texts))[1])
    decoded = loudest * (track.lane(7, 6000) / 127) ** 2 * (track.lane(11, 6000) / 127) ** 2
    np.testing.assert_allclose(decoded, gain[:6000], rtol=0.08)
    np.testing.assert_allclose((track.lane(10, 6000) - 64) / 63, pad.pan[:6000], atol=0.02)
    number, low, high, space = re.search(
        r"CC (\d+) = brightness: ([\d.]+) to ([\d.]+) Hz, (\w+)", "\n".join(track.texts)
    ).groups()
    assert space == "log2"
    found = float(low) * (float(high) / float(low)) ** (track.lane(int(number), 6000) / 127)
    np.testing.assert_allclose(found, cutoff[:6000], rtol=0.05)
    assert "spread = 9 cents" in track.texts
    assert max(np.diff([t for t, _ in track.values[0, 11]])) > 0.0195


def test_parameters_of_strikes_come_before_their_notes(tmp_path):
    voice = bells(*((k / 4, {"pitch": 440.0, "decay": 0.2, "brightness": k / 8}) for k in range(8)))
    (track,) = exported(tmp_path, 3.0, voice)
    steps = [(t, v) for t, v in track.values[0, 70]]
    np.testing.assert_allclose([t for t, _ in steps], [n[1] for n in track.notes])
    np.testing.assert_allclose([v / 127 for _, v in steps], np.arange(8) / 7, atol=0.005)
    assert "CC 70 = brightness: 0 to 0.875, linear" in track.texts


@settings(max_examples=60, deadline=None)
@given(TEMPI, st.lists(st.floats(0, 20), max_size=10), st.integers(1, 255))
def test_tempo_changes_keep_seconds_and_beats_right(tmp_path_factory, tempi, times, beats):
    assume(all(abs(t - 10) > 0.001 for t in (*times, *(t for t, _ in tempi))))
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    written = [(t, f"m{t}") for t in sorted(times)]
    write_midi(Desk({}, {}), path, duration=10, tempi=tempi, beats_per_bar=beats, markers=written)
    now, markers, changes = 0.0, [], []
    for m in mido.MidiFile(path):
        now += m.time
        if m.type == "marker":
            markers.append((now, m.text))
        if m.type == "set_tempo":
            changes.append((now, 60e6 / m.tempo))
        if m.type == "time_signature":
            assert (m.numerator, m.denominator, now) == (beats, 4, 0.0)
    within = [(t, text) for t, text in written if t < 10]
    assert [text for _, text in markers] == [text for _, text in within]
    np.testing.assert_allclose([t for t, _ in markers], [t for t, _ in within], atol=0.00051)
    np.testing.assert_allclose(changes, [c for c in tempi if c[0] < 10], rtol=1e-5, atol=0.00051)
    assert now == pytest.approx(10, abs=0.00051)


def test_beats_of_a_steady_tempo_are_on_their_pulses(tmp_path):
    write_midi(
        Desk({}, {}),
        tmp_path / "a.mid",
        duration=130,
        tempi=[(0, 140)],
        markers=[(k * 60 / 140, str(k)) for k in range(300)],
    )
    file = mido.MidiFile(tmp_path / "a.mid")
    pulses = np.cumsum([m.time for m in file.tracks[0] if m.type == "marker"])
    np.testing.assert_array_equal(pulses, np.arange(300) * file.ticks_per_beat)


def test_labels_of_any_writing_survive_without_controls(tmp_path):
    desk = Desk({"höhe\x1b[31m": drone(np.zeros(104))}, {})
    path = write_midi(desk, tmp_path / "a.mid", duration=0.1, markers=[(0.0, "Öffnung\n収束\ud800")])
    file = mido.MidiFile(path, charset="utf-8")
    assert [m.text for m in file.tracks[0] if m.type == "marker"] == ["Öffnung 収束 "]
    assert file.tracks[1].name == "höhe [31m"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"tempi": []}, "allowed are rising times"),
        ({"tempi": [(1.0, 90), (1.0, 91)]}, "allowed are rising times"),
        ({"tempi": [(0, float("nan"))]}, "nan beats a minute: allowed is 4 to 1000"),
        ({"tempi": [(0, 3.9)]}, "3.9 beats a minute: allowed is 4 to 1000"),
        ({"beats_per_bar": 0}, "0 beats in a bar: allowed is 1 to 255"),
        ({"markers": [(-1, "x")]}, "marker 'x' at -1 s"),
        ({"markers": [(float("inf"), "x")]}, "marker 'x' at inf s"),
    ],
)
def test_what_a_file_cannot_hold_is_one_line(tmp_path, given, line):
    with pytest.raises(MidiError, match=re.escape(line)) as error:
        write_midi(Desk({}, {}), tmp_path / "a.mid", duration=1, **given)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a.mid").exists()


def test_a_place_that_is_none(tmp_path):
    with pytest.raises(MidiError, match="cannot be written: No such file"):
        write_midi(Desk({}, {}), tmp_path / "none" / "a.mid", duration=1)


def test_too_many_voices(tmp_path):
    chord = bells(*((0.1, {"pitch": 300 * 1.0131**i}) for i in range(15)))
    desk = Desk({str(i): chord for i in range(129)}, {})
    with pytest.raises(MidiError, match="129 voices: all 128 MIDI ports are full at '128'"):
        write_midi(desk, tmp_path / "a.mid", duration=1)


@pytest.mark.parametrize("name", sorted(INSTRUMENTS))
def test_every_instrument_is_written_with_all_that_moves(tmp_path, name):
    instrument = INSTRUMENTS[name]
    moving = {p.name: p for p in instrument.parameters.values() if not p.whole and p.name != "level"}
    if instrument.on_events:
        steps = ({n: p.range[k % 2] for n, p in moving.items()} for k in range(6))
        voice = VoiceLanes(name, {}, 0.5, onsets=tuple(Onset(k / 4, values) for k, values in enumerate(steps)))
    else:
        time = np.arange(2004)
        voice = VoiceLanes(name, {n: np.interp(time, (200, 1800), p.range) for n, p in moving.items()}, 0.5)
    (track,) = exported(tmp_path, 2.0, voice)
    assert len(track.notes) >= (6 if instrument.on_events else 1)
    for parameter in set(moving) - {"pitch"}:
        (number,) = (m[1] for t in track.texts if (m := re.match(rf"CC (\d+) = {parameter}: ", t)))
        values = {value for (_, c), steps in track.values.items() if c == int(number) for _, value in steps}
        assert {0, 127} <= values
