"""Windows of a desk become points of a patch's slots: the same controls that a whole piece would have."""

import pickle
from collections import defaultdict

import numpy as np
import pytest

from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.effects import EFFECTS
from sonify.engine.lines import Lines
from sonify.engine.patch import PatchError
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Onset
from sonify.strips import Slot, each_of_group, each_of_voice, group_strip, voice_strip

RATE = 48_000
POINTS = 700


def between(parameter, count, seed):
    """A lane that wanders through a parameter's range."""
    low, high = parameter.range
    steps = np.cumsum(np.random.default_rng(seed).standard_normal(count))
    u = 0.5 + 0.5 * np.sin(steps / 20)
    return low * (high / low) ** u if low > 0 else low + u * (high - low)


def moving(declared, count, seed):
    return {
        n: p.default if p.whole else between(p, count, seed + i)
        for i, (n, p) in enumerate(declared.items())
        if n != "level"
    }


def extent(declared, seed):
    dice = np.random.default_rng(seed)
    found = {}
    for n, p in declared.items():
        if n == "level":
            continue
        low, high = p.range
        u = dice.permutation(np.linspace(0, 1, 129))
        found[n] = p.default if p.whole else (low * (high / low) ** u if low > 0 else low + u * (high - low))
    return found


def cut(desk, first, points):
    """A window of a desk; a lane that rests in it is a number, as it is when it comes from frames."""

    def lane(whole):
        part = np.asarray(whole)[first : first + points] if np.ndim(whole) else np.asarray(whole)
        return float(part.flat[0]) if part.min() == part.max() else part

    def effects(chain):
        return tuple(EffectLanes(e.effect, {n: lane(v) for n, v in e.lanes.items()}) for e in chain)

    def voice(v):
        lanes = {n: lane(w) for n, w in v.lanes.items()}
        onsets = tuple(o for o in v.onsets if first <= o.time * CONTROL_RATE < first + points)
        return VoiceLanes(
            v.instrument, lanes, lane(v.amplitude), lane(v.pan), lane(v.taps), onsets, v.sample,
            effects(v.effects), v.into, {n: lane(w) for n, w in v.sends.items()},
        )  # fmt: skip

    groups = {
        n: GroupLanes(effects(g.effects), lane(g.gain), g.into, {k: lane(w) for k, w in g.sends.items()})
        for n, g in desk.groups.items()
    }
    return Desk({n: voice(v) for n, v in desk.voices.items()}, groups)


def rows_of(lines, desk, sizes=(37, 1, 250, 12, 400)):
    """All windows of a desk, in windows of different sizes, one after the other."""
    first, found = 0, []
    for size in sizes:
        found.append(lines.window(cut(desk, first, size), first, size))
        first += size
    assert first == POINTS
    return np.concatenate([w.rows for w in found], axis=1), [note for w in found for note in w.notes]


def controls_of(strip, each):
    """Path → values, of a whole piece's strip."""
    found = {}
    each(strip, lambda path, given: found.setdefault(path, given))
    return found


def slots_of(strip, each):
    found = {}
    each(strip, lambda path, given: found.setdefault(path, given))
    return {path: given.index if isinstance(given, Slot) else given for path, given in found.items()}


@pytest.mark.parametrize("name", [n for n, i in INSTRUMENTS.items() if not i.on_events and n != "granular"])
def test_windows_are_the_same_controls_as_the_whole(name):
    declared = INSTRUMENTS[name].parameters
    envelope = np.minimum(np.arange(POINTS) / 100, 1.0)
    voice = VoiceLanes(name, moving(declared, POINTS, 1), envelope, 0.3)
    probed = VoiceLanes(name, extent(declared, 2), np.linspace(0, 1, 129), 0.3)
    lines = Lines(Desk({"a": probed}, {}), RATE)
    # What whole lanes are made into where they are known to go everywhere.
    wide = VoiceLanes(
        name,
        {n: v if np.ndim(v) == 0 else np.concatenate([v, probed.lanes[n]]) for n, v in voice.lanes.items()},
        np.concatenate([envelope, np.linspace(0, 1, 129)]),
        0.3,
    )
    whole = controls_of(voice_strip(wide, POINTS + 129, RATE, 1, defaultdict(dict)), each_of_voice)
    rows, _ = rows_of(lines, Desk({"a": voice}, {}))
    slots = slots_of(lines.patch.voices["a"], each_of_voice)
    assert slots.keys() == whole.keys()
    drift = 1 if name in ("pad", "formant") else 0  # the first window begins at point 1: 1 ms of a slow drift
    for path, slot in slots.items():
        meant = np.broadcast_to(whole[path], POINTS + 129)[:POINTS]
        if isinstance(slot, int):
            np.testing.assert_allclose(rows[slot], meant, rtol=1e-9 if not drift else 2e-3, atol=1e-12, err_msg=path)
        else:
            np.testing.assert_allclose(meant, slot, err_msg=path)
    assert len([s for s in slots.values() if isinstance(s, int)]) == lines.patch.slots > 0


def test_what_never_changes_is_a_number_and_a_wave_table():
    """Far below the Nyquist frequency a glide of fixed brightness needs a pitch and an amplitude; else partials too."""
    ends = np.linspace(0, 1, 129)
    low, high = (
        Lines(Desk({"a": VoiceLanes("glide", {"pitch": 100 * top**ends, "brightness": 0.5}, ends)}, {})).patch
        for top in (10, 100)
    )
    assert low.slots == 2
    assert high.slots > 2
    weights = low.voices["a"].controls["weights"]
    assert weights == [1.0, 0.25, pytest.approx(1 / 12), pytest.approx(1 / 32)]


@pytest.mark.parametrize("name", EFFECTS)
def test_effects_go_on_from_window_to_window(name):
    """Lanes that jump: what an effect may only follow slowly it goes on following where the window ends."""
    declared = EFFECTS[name].parameters
    jumps = (np.arange(POINTS) // 90) % 2
    lanes = {
        n: p.default if p.whole else np.where(jumps, *(np.clip(p.default * f, *p.range) for f in (0.6, 1.5)))
        for n, p in declared.items()
    }
    probed = {n: p if np.ndim(p) == 0 else np.resize(np.unique(p), 129) for n, p in lanes.items()}
    ends = np.linspace(0, 1, 129)
    group = GroupLanes((EffectLanes(name, lanes),), 0.5)
    lines = Lines(Desk({}, {"g": GroupLanes((EffectLanes(name, probed),), ends)}), RATE)
    rows, _ = rows_of(lines, Desk({}, {"g": group}))
    whole = controls_of(group_strip(group, RATE), each_of_group)
    for path, slot in slots_of(lines.patch.groups["g"], each_of_group).items():
        meant = np.broadcast_to(whole[path], POINTS)
        if isinstance(slot, int):
            np.testing.assert_allclose(rows[slot], meant, rtol=1e-9, atol=1e-12, err_msg=path)
        elif path != "gain":
            np.testing.assert_allclose(meant, slot, err_msg=path)


def test_grains_are_those_of_the_whole_cloud():
    declared = INSTRUMENTS["granular"].parameters
    voice = VoiceLanes("granular", moving(declared, POINTS, 3), np.ones(POINTS))
    probed = VoiceLanes("granular", extent(declared, 4), np.linspace(0, 1, 129))
    whole = INSTRUMENTS["granular"].controls(voice.lanes, (), POINTS, RATE)
    _, notes = rows_of(Lines(Desk({"a": probed}, {})), Desk({"a": voice}, {}))
    grains = [note for _, note in notes]
    assert len(grains) == len(whole["time"]) > 10
    for name in ("position", "transposition", "length", "gain", "stray"):
        ours = sorted(grain.values[name] for grain in grains)
        np.testing.assert_allclose(ours, sorted(whole[name]), rtol=1e-2, atol=1e-3)
    # A grain that would stray to before its window begins with it.
    late = np.sort([grain.time for grain in grains]) - np.sort(whole["time"])
    assert np.abs(late).max() < 1 / declared["density"].range[0]
    assert np.median(np.abs(late)) < 1e-3


def test_notes_come_once_and_a_voice_that_is_not_there_is_silent():
    ends = np.linspace(0, 1, 129)
    probed = {n: VoiceLanes("bell", {}, ends) for n in "ab"}
    lines = Lines(Desk(probed, {}))
    onsets = tuple(Onset(t, {"pitch": 440.0}) for t in (0.1, 0.3, 0.5))
    desk = Desk({"a": VoiceLanes("bell", {}, np.ones(POINTS), onsets=onsets)}, {})
    rows, notes = rows_of(lines, desk)
    assert [(n, o.time) for n, o in notes] == [("a", 0.1), ("a", 0.3), ("a", 0.5)]
    a, b = (lines.patch.voices[n].amplitude.index for n in "ab")
    assert (rows[a] == 1).all()
    assert not rows[b].any()


def test_a_patch_crosses_a_pipe_and_what_is_not_finite_is_refused_by_name():
    ends = np.linspace(0, 1, 129)
    lines = Lines(Desk({"hum": VoiceLanes("glide", {"pitch": 100 + ends, "brightness": 0.1}, ends)}, {}))
    assert pickle.loads(pickle.dumps(lines.patch)).slots == lines.patch.slots
    bad = Desk({"hum": VoiceLanes("glide", {"pitch": 200.0, "brightness": 0.1}, np.array([0, np.nan]))}, {})
    with pytest.raises(PatchError, match=r"hum: amplitude: not finite"):
        lines.window(bad, 0, 2)
