"""Touching a take: from the moment on something else is heard, and not before; a visitor learns no name by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.archive import Archive, NewTake
from pieces.piece import find_piece
from pieces.signals import Channel, Control, Event, FrameBlock
from studio.audience.game import Game
from studio.audience.rooms import MOST_CONTROLS, GameError, Room, Touch
from studio.audience.touching import REFUSED, STEP, Branches, Lever, faded, levers, made_until, moved
from studio.compose import compose
from studio.perceive import artefact
from studio.plan import plan
from studio.replay import verify
from studio.words.artefact import MOMENT_S, Artefact
from studio.words.registers import spoken

#: A tone that wanders a little, as its seed says; its controls are its pitch, its level, and many that do nothing.
SOURCE = """
import numpy as np
from pieces.signals import Channel, Control, FrameBlock
from pieces.source import Source

class Tone(Source):
    name = "joyful"
    about = "joyful tone"
    channels = (
        Channel("height", "hertz", range=(50, 4000)),
        Channel("strength", "level"),
        Channel("wander", "joyful"),
    )
    controls = (
        Control("joyful_pitch", "joyful", 440.0, (110.0, 1760.0), shape="log"),
        Control("strength", "joyful", 0.5, (0.0, 1.0)),
        Control("mood", "joyful", "sad", choices=("sad", "joyful", "broken")),
        Control("steps", "joyful", 2, (1, 3)),
        Control("turned", "by the sections", 0.0, (0.0, 1.0)),
        Control("fixed", "read once", 0.0, (0.0, 1.0), live=False),
        *(Control(f"joyful_{i}", "does nothing", 0.0, (0.0, 1.0)) for i in range(12)),
    )

    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.random, self.tick = np.random.default_rng(SEED), 0

    def step(self, controls, events, n):
        if controls["mood"] == "broken":
            raise RuntimeError("joyful went wrong")
        first, self.tick = self.tick, self.tick + n
        t = np.arange(first, first + n)
        wander = self.random.uniform(0, 1, n)
        height = controls["joyful_pitch"] * (1 + 0.02 * (t % 2))
        rows = {"height": height, "strength": np.full(n, controls["strength"]), "wander": wander}
        return FrameBlock(first, {name: row.astype("float32") for name, row in rows.items()})
"""
#: Two parts with clocks of their own, 4 s long. The pitch of the second comes from the take's own data.
PIECE = """
descant = 1
title = "joyful"
[metre]
tempo = 60
[parts.joyful_part]
source = "joyful.py"
rate = 20
[parts.slow]
source = "joyful.py"
rate = 8
seed = 5
controls = { joyful_pitch = 220.0, strength = 0.2 }
[[sections]]
name = "joyful_section"
bars = 1
controls = { "joyful_part.turned" = [0.0, 1.0] }
[score.voices.joyful_voice]
part = "joyful_part"
instrument = "glide"
lanes = { pitch = { channel = "height", domain = [50.0, 4000.0], range = [50.0, 4000.0], shape = "log" }, level = { channel = "strength", domain = [0.0, 1.0], range = [-30, 0] } }
[score.voices.low]
part = "slow"
instrument = "glide"
gain_db = -24
lanes = { pitch = { channel = "height", range = [60.0, 90.0] }, level = { channel = "strength", range = [-20, 0] } }
[picture]
view = "plots"
part = "joyful_part"
[master]
tail = 0.5
"""  # noqa: E501
#: Played while it was performed: halfway between two touches the level is turned.
PLAYED = {"joyful_part": [Event(50, "control", {"name": "strength", "value": 0.4}, given=True)]}
MOMENT = 3
TICK = round(MOMENT * MOMENT_S * 20)


def performed(archive: Archive, folder: Path, seed: str = "seed") -> str:
    (folder / "joyful.py").write_text(SOURCE.replace("SEED", seed))
    (folder / "joyful.toml").write_text(PIECE)
    piece, base = find_piece(str(folder / "joyful.toml"))
    return compose(archive, plan("joyful", piece, base), 1, given=PLAYED)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive.open(tmp_path_factory.mktemp("touching") / "archive.db") as found:
        yield found


@pytest.fixture(scope="module")
def trunk(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Artefact]:
    take_id = performed(archive, tmp_path_factory.mktemp("piece"))
    return take_id, artefact(archive, take_id)


@pytest.fixture(scope="module")
def branches(archive: Archive, trunk: tuple[str, Artefact]) -> Branches:
    return Branches(archive, *trunk, LEVERS)


def lever(part: str, name: str, **more: object) -> Lever:
    return part, Control(name, "", **more)  # type: ignore[arg-type]


LEVERS = (
    lever("joyful_part", "joyful_pitch", default=440.0, range=(110.0, 1760.0), shape="log"),
    lever("joyful_part", "strength", default=0.5, range=(0.0, 1.0)),
    lever("slow", "joyful_pitch", default=440.0, range=(110.0, 1760.0), shape="log"),
    lever("joyful_part", "mood", default="sad", choices=("sad", "joyful", "broken")),
)
PITCH, LEVEL, SLOW, MOOD = range(4)


def heard(found: Artefact, first: int, count: int = 2) -> tuple[float, float]:
    """Median pitch in hertz and level in LUFS of some moments."""
    at = slice(first * 8 + 1, (first + count) * 8)
    return float(np.nanmedian(found.ears.f0[at])), float(np.median(found.ears.loudness[at]))


def same_before(found: Artefact, trunk: Artefact, moment: int = MOMENT) -> None:
    """Bit for bit as it was up to a moment, and something else from there on."""
    at, shown = round(moment * MOMENT_S * found.sample_rate), round(moment * MOMENT_S * found.fps)
    np.testing.assert_array_equal(found.audio[:at], trunk.audio[:at])
    np.testing.assert_array_equal(found.pictures[:shown], trunk.pictures[:shown])
    assert np.abs(found.audio[at : at + 24_000] - trunk.audio[at : at + 24_000]).max() > 0.01


def test_a_touch_is_heard_from_its_moment_on_and_up_and_down_differ(archive, trunk, branches):
    whole = trunk[1]
    up, down = (branches.touched((Touch(MOMENT, PITCH, way),)) for way in (1, -1))
    for found, octave in ((up, 2.0), (down, 0.5)):  # a quarter of four octaves
        same_before(found, whole)
        told, was = spoken(found, "numbers"), spoken(whole, "numbers")
        assert told[: MOMENT - 1] == was[: MOMENT - 1], "ears reach into the moment after, and no further"
        assert all(one != other for one, other in zip(told[MOMENT:], was[MOMENT:], strict=True))
        before, after = heard(found, 1)[0], heard(found, MOMENT + 1)[0]
        assert before == pytest.approx(heard(whole, 1)[0], rel=1e-6)
        assert after / before == pytest.approx(octave, rel=0.03)
    assert heard(whole, MOMENT + 1)[0] == pytest.approx(heard(whole, 1)[0], rel=0.03), "left alone it stays"


def test_signals_are_the_same_up_to_the_tick_bit_for_bit_and_the_branch_is_a_scratch_take(archive, trunk, branches):
    branch = archive.take(branches.take_of((Touch(MOMENT, PITCH, 1),)))
    assert branch.parents == ((trunk[0], TICK, "touched"),)
    assert branch.retention == "scratch"
    for part in branch.parts:
        then, now = (archive.frames(take, part=part).arrays for take in (trunk[0], branch.id))
        until = TICK if part == "joyful_part" else None
        for name in then:
            np.testing.assert_array_equal(then[name][:until], now[name][:until])
    height = [archive.frames(take, part="joyful_part").arrays["height"] for take in (trunk[0], branch.id)]
    assert (height[1][TICK:] == 2 * height[0][TICK:]).all()
    assert verify(archive, branch.id).identical, "it is a take like any other: it replays"


def test_the_branch_by_itself_sounds_the_same_before_but_for_its_level(archive, trunk, branches):
    """So what a review hears is what the visitor heard: no domain of the score follows the new data."""
    for touch in (Touch(MOMENT, PITCH, 1), Touch(MOMENT, LEVEL, 1), Touch(MOMENT, SLOW, 1)):
        branch = archive.take(branches.take_of((touch,)))
        alone, at = artefact(archive, branch.id).audio, round(MOMENT * MOMENT_S * 48_000)
        gain = trunk[1].audio[:at].std() / alone[:at].std()
        np.testing.assert_allclose(gain * alone[:at], trunk[1].audio[:at], atol=2e-5)


def test_level_moves_where_it_is_touched_alone_and_later_changes_move_with_it(trunk, branches):
    whole = trunk[1]
    down, up = (branches.touched((Touch(MOMENT, LEVEL, way),)) for way in (-1, 1))
    for found, way in ((down, -1), (up, 1)):
        same_before(found, whole)
        for first in (MOMENT, 6):  # before and after the level was turned from 0.5 to 0.4 in the take itself
            moves = heard(found, first, 1)[1] - heard(whole, first, 1)[1]
            assert moves == pytest.approx(way * STEP * 30, abs=1.0)


def test_another_part_is_touched_at_its_own_tick(archive, trunk, branches):
    found = branches.touched((Touch(MOMENT, SLOW, -1),))
    branch = archive.take(branches.take_of((Touch(MOMENT, SLOW, -1),)))
    assert branch.parents[0].tick == round(MOMENT * MOMENT_S * 8)
    at = round(MOMENT * MOMENT_S * 48_000)
    np.testing.assert_array_equal(found.audio[:at], trunk[1].audio[:at])
    assert not np.array_equal(found.audio[at:], trunk[1].audio[at:])
    assert heard(found, 5)[0] == pytest.approx(heard(trunk[1], 5)[0], rel=0.01), "the loud part goes on as it was"


def test_touches_add_up_to_the_end_of_the_range_and_come_back_from_there(archive, trunk, branches):
    once = branches.touched(touches := (Touch(MOMENT, PITCH, 1),))
    twice = branches.touched(touches := (*touches, Touch(MOMENT + 1, PITCH, 1)))
    same_before(twice, once, MOMENT + 1)
    takes = archive.count()
    thrice = branches.touched(touches := (*touches, Touch(MOMENT + 1, PITCH, 1)))
    assert archive.count() == takes, "there is nothing to perform"
    np.testing.assert_array_equal(thrice.audio, twice.audio)
    back = branches.touched((*touches, Touch(MOMENT + 3, PITCH, -1)))
    pitches = [heard(back, first, 1)[0] / heard(trunk[1], 1)[0] for first in (1, MOMENT, MOMENT + 2, MOMENT + 4)]
    np.testing.assert_allclose(pitches, [1, 2, 4, 2], rtol=0.03)


def test_equal_touches_are_equal_and_found_again_in_the_archive(archive, trunk, branches):
    touches = (Touch(MOMENT, PITCH, 1), Touch(MOMENT + 1, PITCH, 1))
    first, takes = branches.touched(touches), archive.count()
    again = Branches(archive, *trunk, LEVERS).touched(touches)
    assert archive.count() == takes
    np.testing.assert_array_equal(again.audio, first.audio)
    np.testing.assert_array_equal(again.pictures, first.pictures)


def test_a_touch_after_the_last_tick_changes_nothing(archive, trunk, branches):
    takes = archive.count()
    found = branches.touched((Touch(8, PITCH, 1),))
    np.testing.assert_array_equal(found.audio, trunk[1].audio)
    assert archive.count() == takes


def test_ticks_are_those_that_were_not_heard_yet(archive, trunk):
    take = archive.take(trunk[0])
    assert made_until(archive, take, 0.0) == {"joyful_part": 0, "slow": 0}
    assert made_until(archive, take, 1.5) == {"joyful_part": 30, "slow": 12}
    assert made_until(archive, take, 99.0) == {"joyful_part": 80, "slow": 32}


def test_a_branch_that_fails_leaves_the_room_as_it_was(archive, trunk, branches):
    touches = (Touch(4, MOOD, 1), Touch(4, MOOD, 1))
    with pytest.raises(GameError) as refused:
        branches.touched(touches)
    assert str(refused.value) == REFUSED
    assert "joyful went wrong" in str(refused.value.__cause__), "whoever runs it learns why"
    branches.touched(touches[:1])
    takes = archive.count()
    game = Game([Room(trunk[1], len(LEVERS), branches.touched)])
    game.reset(seed=1)
    game.step(f"go {game.names[0]}")
    game.step("listen 0")
    game.step("touch d up")
    before = game._here
    memory, touched = before.memory, game.deeds.touches
    for command in ("touch d up", "fork d up"):
        observation, *_ = game.step(command)
        assert observation == f"{REFUSED}."
        assert (game._here.memory, game._here.other, game.deeds.touches) == (memory, None, touched)
    assert archive.count() == takes, "what cannot be is not tried again"
    assert game.step("listen on")[0].startswith("4: ")


def test_a_source_that_does_not_repeat_itself_has_no_branch(archive, tmp_path):
    take_id = performed(archive, tmp_path, seed="None")
    takes = archive.count()
    with pytest.raises(GameError, match=REFUSED) as refused:
        Branches(archive, take_id, artefact(archive, take_id), LEVERS).touched((Touch(MOMENT, PITCH, 1),))
    assert "not what was recorded" in str(refused.value.__cause__)
    assert archive.count() == takes, "nothing is left of it"


def test_controls_are_live_ones_that_the_form_leaves_alone_in_an_order_that_tells_nothing(archive, trunk):
    found = [levers(archive, trunk[0], seed) for seed in range(40)]
    assert found[0] == levers(archive, trunk[0], 0)
    assert {len(one) for one in found} == {MOST_CONTROLS}
    names = [[f"{part}.{control.name}" for part, control in one] for one in found]
    seen = {name for one in names for name in one}
    assert "joyful_part.joyful_pitch" in seen
    assert "slow.turned" in seen
    assert not seen & {"joyful_part.turned", "joyful_part.fixed", "slow.fixed"}
    assert len({one[0] for one in names}) > 10, "any control may be the first"


def test_what_has_no_source_to_run_has_no_controls(archive):
    piece, _ = find_piece("cubics")
    known = {"piece_name": "x", "piece": piece.model_dump(mode="json"), "piece_hash": "", "seed": 1}
    new = NewTake(**known, parts=[("cubics", 4.0)])
    gone = replace(new, inputs={"cubics.data": {"path": "/gone", "sha256": ""}})
    found = []
    for kind in (new, replace(new, origin="captured"), gone):
        recorder = archive.begin(kind)
        recorder.channels([Channel("loss", "")])
        recorder.append(FrameBlock(0, {"loss": np.zeros(4, np.float32)}))
        recorder.finish(duration_s=1.0)
        found.append(len(levers(archive, recorder.take_id, 0)))
    assert found == [8, 0, 0]


CONTROLS = st.sampled_from(
    [
        Control("a", "", 0.0, (-3.0, 5.0)),
        Control("b", "", 1.0, (1e-4, 1e3), shape="log"),
        Control("c", "", 3, (0, 10_000)),
        Control("d", "", 4, (1, 64), shape="log"),
        Control("e", "", "x", choices=("x", "y", "z")),
    ]
)


@given(CONTROLS, st.floats(0, 1), st.integers(-6, 6))
def test_steps_stay_in_the_range_are_a_quarter_of_it_and_come_back(control, u, steps):
    value = control.choices[min(int(3 * u), 2)] if control.choices else control.value(u)
    found = moved(control, value, steps)
    assert control.check(found) == found
    one = moved(control, value, 1)
    if control.choices or isinstance(control.default, int):
        scale = control.choices or range(int(control.range[0]), int(control.range[1]) + 1)
        assert scale.index(one) == min(scale.index(value) + 1, len(scale) - 1)
    elif u <= 1 - STEP:
        assert one == pytest.approx(control.value(u + STEP), rel=1e-9, abs=1e-9)
    if one != moved(control, one, 1):  # it is not at the end
        back = moved(control, one, -1)
        assert back == value if isinstance(value, int | str) else back == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert moved(control, value, 0) == pytest.approx(value, rel=1e-9, abs=1e-9) if control.range else True
    end = moved(control, value, 10**6)
    assert end == (control.choices[-1] if control.choices else control.range[1])
    assert moved(control, end, 1) == end


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_a_join_keeps_what_was_and_what_comes(before, after, at):
    at = min(at, before, after)
    a, b = np.full((before, 2), 0.5, np.float32), np.full((after, 2), -0.5, np.float32)
    found = faded(a, b, at, 48_000)
    assert found.shape == (after, 2)
    assert found.dtype == np.float32
    assert (found[:at] == 0.5).all()
    assert (found[at + 480 :] == -0.5).all()
    assert (np.diff(found[:, 0]) <= 0).all()
