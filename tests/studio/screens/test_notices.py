"""What is said: long enough to be read, no longer than it is true, in full, and again on a key."""

from __future__ import annotations

import pytest
from textual.widgets import Static

from studio.screens.compose import Compose
from studio.screens.help import Reader
from studio.screens.notices import FAULT_S, LEAST_S, WORD_S, Notices
from tests.studio.screens.stage import Stage, play, staged, studio

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def notices(clock):
    return Notices(lambda: clock[0])


def test_a_word_goes_and_a_fault_stays_longer(notices, clock):
    notices.say("kept", fault=False)
    assert notices.shown(1) == ["kept"]
    clock[0] = WORD_S + 0.1
    assert notices.shown(1) == []
    notices.say("no such file", fault=True)
    assert notices.shown(1) == ["no such file"]
    clock[0] += FAULT_S - 0.1
    assert notices.shown(1) == ["no such file"]
    clock[0] += 0.2
    assert notices.shown(1) == []


def test_faults_wait_for_each_other_and_words_for_them(notices, clock):
    notices.say("theme dusk", fault=False)
    for line in ("keymap", "theme", "device"):
        notices.say(line, fault=True)
    seen = []
    for tenth in range(100):
        clock[0] = tenth / 10
        seen += notices.shown(1)
    order = list(dict.fromkeys(seen))
    assert order == ["keymap", "theme", "device", "theme dusk"]
    assert all(seen.count(line) >= 10 * LEAST_S for line in order)


def test_a_fault_puts_a_word_off_that_was_not_read_yet(notices, clock):
    notices.say("no part listens to notes", fault=False)
    notices.shown(1)
    clock[0] = 0.5
    notices.say("there is no device", fault=True)
    assert notices.shown(1) == ["there is no device"]
    clock[0] += LEAST_S + 0.1
    assert notices.shown(1) == ["no part listens to notes"]
    clock[0] += LEAST_S
    notices.say("no camera", fault=True)
    clock[0] += FAULT_S / 2
    assert notices.shown(1) == ["no camera"]


def test_the_newest_word_only_and_none_after_another_deed(notices):
    notices.say("keys are notes", fault=False)
    notices.say("keys are commands again", fault=False)
    assert notices.shown(3) == ["keys are commands again"]
    notices.act()
    assert notices.shown(3) == []
    notices.say("refused", fault=True)
    notices.act()
    assert notices.shown(3) == ["refused"]


def test_it_can_be_read_again(notices):
    assert notices.page() == "nothing was said yet"
    for number in range(60):
        notices.say(f"line {number}", fault=True)
    lines = notices.page().splitlines()
    assert len(lines) == 50
    assert lines[0].endswith("  line 59")
    assert lines[0][2] == lines[0][5] == ":"


def said(stage: Stage) -> str:
    return str(stage.app.screen.query_one(Static).render())


def test_notices_of_the_beginning_are_all_seen_and_read_again(tmp_path):
    (tmp_path / "keymap.toml").write_text("play = ")
    (tmp_path / "themes").mkdir()
    (tmp_path / "themes" / "mine.toml").write_text('primary = "notacolour"')

    lines, seen = ("keymap.toml: cannot be read", "mine.toml: primary = 'notacolour'"), set()

    def see(stage: Stage) -> bool:
        if stage.app.composing and stage.app.composing.query("#notice"):
            seen.update(line for line in lines if line in " ".join(stage.notice.split()))
        return len(seen) == len(lines)

    async def scene():
        Compose.paints = False
        app, heard = studio(tmp_path, "knots", tmp_path / "archive.db")
        try:
            async with app.run_test(size=(160, 50)) as pilot:  # looked at from the beginning on: the first goes soon
                stage = Stage(app, pilot, heard)
                await stage.until(lambda: see(stage))
                await stage.press("f3")
                await stage.until(lambda: isinstance(app.screen, Reader))
                assert all(line in said(stage) for line in lines)
                await stage.press("escape")
                await stage.until(lambda: app.screen is stage.screen)
        finally:
            app.model.close()

    play(scene)


def test_a_long_one_is_seen_in_full(tmp_path):
    words = " ".join(f"word{n}" for n in range(24))

    async def scene():
        async with staged(tmp_path, size=(80, 24)) as stage:
            stage.app.say(words, fault=True)
            await stage.until(lambda: " ".join(stage.notice.split()) == words)
            assert stage.screen.query_one("#notice").region.height == 3
            stage.memory.now = lambda: 1e9
            await stage.until(lambda: stage.screen.query_one("#notice").region.height == 1)
            assert stage.notice == ""

    play(scene)


def test_what_is_no_longer_true_is_not_said(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=50) as stage:
            await stage.press("exclamation_mark")
            await stage.until(lambda: stage.notice == "silence")
            await stage.press("space")
            await stage.until(lambda: stage.memory.playing and stage.notice == "", seconds=4.0)
            await stage.press("space", "home", "left_square_bracket")
            await stage.until(lambda: "the loop begins" in stage.notice)
            await stage.press("right", "right")
            await stage.press("right_square_bracket")
            await stage.until(lambda: stage.position.loop is not None and stage.notice == "", seconds=4.0)

    play(scene)


def test_keeping_the_last_bars_is_said_at_once(tmp_path):
    async def scene():
        async with staged(tmp_path, ticks=50) as stage:
            shown, front = [], stage.screen.query_one("#notice", Static)
            update = front.update
            front.update = lambda line: (shown.append(str(line)), update(line))
            await stage.press("K")
            await stage.until(lambda: any("kept: last 16 bars" in line for line in shown))
            assert next(line for line in shown if line) == "keeping the last 16 bars ..."

    play(scene)
