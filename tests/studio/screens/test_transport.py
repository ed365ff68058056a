"""The transport and the take by their keys: where the playhead is, what is recorded, what sounds."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from textual import events

from pieces.piece import find_piece
from studio.messages import Opened, Position
from studio.reports import Recording
from studio.screens.voices import Row
from tests.studio.screens.stage import Stage, play, staged, takes


@pytest.fixture
def quick(home: Path, tmp_path: Path) -> str:
    """Knots, of ten ticks a beat and four beats a second: not all of them come back from seconds as they were."""
    path = tmp_path / "quick.toml"
    path.write_text(find_piece("knots")[0].with_values({"metre.tempo": 246, "parts.knots.rate": 41}).to_toml())
    return str(path)


#: Keys, and the beat at which the playhead is then; five beats of four in a bar are recorded.
MOVES = [
    (["home"], 0.0),
    (["right"], 1.0),
    (["shift+right"], 5.0),
    (["left"], 4.0),
    (["shift+left"], 0.0),
    (["end"], 5.0),
]
SPEEDS = [("less_than_sign", 0.75), ("comma", 0.5), ("greater_than_sign", 0.75), ("r", -0.75), ("r", 0.75)]


def test_the_playhead_goes_where_the_keys_say(quick, tmp_path):
    async def scene():
        async with staged(tmp_path, quick, ticks=50) as stage:
            for keys, beat in MOVES:
                await stage.press(*keys)
                await stage.until(lambda b=beat: stage.position.beat == pytest.approx(b, abs=1e-3))
                await stage.until(lambda b=beat: f" {b // 4 + 1:.0f}:{b % 4 + 1:.0f} " in stage.text("#transport"))
                assert stage.position.mode == "paused"
            await stage.press("full_stop")
            await stage.until(lambda: stage.trail.end == 51 and stage.position.ticks == {"knots": 50})
            for key, speed in SPEEDS:
                await stage.press(key)
                await stage.until(lambda s=speed: f"×{s:g}" in stage.text("#transport"))
                assert stage.position.speed == speed

    play(scene)


def test_each_press_is_a_beat_however_fast_they_come(quick, tmp_path):
    async def scene():
        async with staged(tmp_path, quick, ticks=200) as stage:
            await stage.press("end")
            for presses, beat in ((10, 10.0), (4, 6.0)):
                for _ in range(presses):
                    stage.app.post_message(events.Key("left", None))  # as a terminal sends them: nobody waits
                await stage.until(lambda b=beat: stage.position.beat == pytest.approx(b, abs=1e-3), seconds=8.0)
            for _ in range(3):
                stage.app.post_message(events.Key("right", None))
            await stage.until(lambda: stage.position.beat == pytest.approx(9.0, abs=1e-3), seconds=8.0)
            since = len(stage.reports(Position))
            await stage.until(lambda: len(stage.reports(Position)) > since + 20)
            assert stage.position.beat == pytest.approx(9.0, abs=1e-3)
            stage.session.seek(3.0)  # by another way
            await stage.until(lambda: stage.position.beat == pytest.approx(3.0, abs=1e-3))
            await stage.press("left")
            await stage.until(lambda: stage.position.beat == pytest.approx(2.0, abs=1e-3), seconds=8.0)

    play(scene)


async def fastest(stage: Stage) -> None:
    for speed in (1.5, 2.0, 3.0, 4.0):
        await stage.press("greater_than_sign")
        await stage.until(lambda s=speed: stage.position.speed == s)


def test_it_plays_holds_turns_round_and_ends(quick, tmp_path):
    async def scene():
        async with staged(tmp_path, quick, ticks=50) as stage:
            await fastest(stage)
            await stage.press("space")
            await stage.until(lambda: "LIVE" in stage.text("#transport") and stage.trail.end > 100)
            await stage.press("space")
            await stage.until(lambda: "HOLD" in stage.text("#transport"))
            held, since = stage.trail.end, len(stage.said.all)
            await stage.until(lambda: len(stage.reports(Position, since)) > 10)
            assert stage.trail.end == held
            await stage.press("r", "space")
            await stage.until(lambda: "TAPE" in stage.text("#transport"))
            await stage.until(lambda: stage.position.beat == 0 and stage.position.mode == "paused")
            beats = [p.beat for p in stage.reports(Position, since)]
            assert beats == sorted(beats, reverse=True)
            assert stage.trail.end == held
            await stage.press("r", "ctrl+e")
            await stage.until(lambda: "ENDED" in stage.text("#transport"))

    play(scene)
    (take,) = takes(tmp_path)
    assert (take.status, take.retention) == ("done", "scratch")
    assert take.ticks > 100


def test_a_loop_goes_round_until_it_is_taken_away(quick, tmp_path):
    async def scene():
        async with staged(tmp_path, quick, ticks=50) as stage:
            await stage.press("home")
            await stage.until(lambda: stage.position.beat == 0)
            await stage.press("right")
            await stage.until(lambda: stage.position.beat == pytest.approx(1))
            await stage.press("left_square_bracket")
            await stage.until(lambda: "the loop begins at bar 1.25" in stage.notice)
            await stage.press("right")
            await stage.until(lambda: stage.position.beat == pytest.approx(2))
            await stage.press("right_square_bracket")
            await stage.until(lambda: stage.position.loop == pytest.approx((1, 2)))
            await stage.until(lambda: "1.25–1.5" in stage.text("#transport") and "◆═]" in stage.text("#timeline"))
            since = len(stage.said.all)
            await stage.press("space")

            def went_round() -> int:
                beats = [p.beat for p in stage.reports(Position, since) if p.mode == "recorded"]
                assert not beats or max(beats) <= 2.01
                return sum(b < a for a, b in pairwise(beats))

            await stage.until(lambda: went_round() >= 2)
            assert stage.trail.end == 50
            await stage.press("backslash")
            await stage.until(lambda: stage.position.loop is None and stage.trail.end > 50)  # past it, and live again

    play(scene)


def test_takes_are_kept_branched_and_thrown_away(quick, tmp_path):
    async def scene():
        async with staged(tmp_path, quick, ticks=50) as stage:
            await stage.until(lambda: "● scratch" in stage.text("#head"))
            await stage.press("b")  # where it stands, at the end
            await stage.until(lambda: len(stage.reports(Opened)) == 2 and stage.trail.end == 50)
            await stage.press("x", "escape", "x", "n")  # no is no
            await stage.step(10)
            await stage.press("k")
            await stage.until(lambda: "● kept" in stage.text("#head") and stage.notice == "kept")
            await stage.press("n")
            await stage.until(lambda: len(stage.reports(Opened)) == 3 and stage.trail.end == 0)
            await stage.until(lambda: "●" not in stage.text("#head"))  # nothing is recorded yet
            await stage.step(20)
            await stage.press("n")
            await stage.until(lambda: len(stage.reports(Opened)) == 4 and stage.trail.end == 0)
            await stage.step(30)
            await stage.press("x", "y")
            await stage.until(lambda: any(r.state == "discarded" for r in stage.reports(Recording)))
            await stage.until(lambda: "●" not in stage.text("#head"))

    play(scene)
    new, branch, trunk = takes(tmp_path)
    assert [t.retention for t in (new, branch, trunk)] == ["scratch", "kept", "scratch"]
    assert [t.ticks // 10 for t in (new, branch, trunk)] == [2, 6, 5]  # an end is noted with a last tick or two
    assert branch.parents == ((trunk.id, 50, "branch"),)
    assert (trunk.seed, branch.seed) == (0, 0)
    assert new.seed != 0


def test_the_last_bars_are_kept_as_a_take(quick, tmp_path):
    async def scene():
        async with staged(tmp_path, quick, ticks=50) as stage:
            await stage.press("K")
            await stage.until(lambda: stage.notice == "kept: last 16 bars of quick")
            assert "● scratch" in stage.text("#head")  # what is recorded is another take

    play(scene)
    kept, whole = sorted(takes(tmp_path), key=lambda t: t.origin)
    assert (kept.origin, kept.retention, kept.ticks) == ("captured", "kept", 50)
    assert kept.parents == ((whole.id, 0, "last bars"),)


async def silenced(stage: Stage, *keys: str) -> None:
    """Play until it is heard, and press what must end that."""
    if not stage.memory.playing:
        stage.session.play()
    await stage.until(lambda: stage.memory.playing and stage.peak() > 0.001)
    await stage.press(*keys)
    await stage.until(lambda: stage.peak() == 0 and stage.position.mode == "paused")


def test_panic_is_silence_wherever_one_is(quick, tmp_path):
    async def scene():
        async with staged(tmp_path, quick, backend="silent") as stage:
            for key in ("f8", "exclamation_mark", "escape"):
                await silenced(stage, key)
                await stage.until(lambda: stage.notice == "silence")
            for opening, panic in (("f1", "exclamation_mark"), ("ctrl+s", "f8"), ("ctrl+p", "f8"), ("j", "f8")):
                await stage.press(opening)
                await stage.until(lambda: len(stage.app.screen_stack) == 3)
                await silenced(stage, panic)
                await stage.press("escape")
                await stage.until(lambda: len(stage.app.screen_stack) <= 2)
            row = stage.screen.query(Row).first()
            row.focus()
            await stage.press("enter")
            await silenced(stage, "exclamation_mark", "f8")
            assert stage.screen.focused.value.endswith("!")

    play(scene)


def test_it_is_suspended_in_silence(quick, tmp_path):
    """At the shell no key would end what rings on. Without a terminal nothing is stopped, so it can be listened to."""

    async def scene():
        async with staged(tmp_path, quick, backend="silent") as stage:
            for _ in range(2):
                await silenced(stage, "ctrl+z")

    play(scene)
