"""Meters, knobs and the timeline: what they show is true, and every way of turning them works."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App
from textual.events import MouseScrollUp

from pieces.signals import Control
from studio.widgets.knob import Knob, place, turned
from studio.widgets.meters import FALL, FLOOR, HOLD, Meter, Peak, bar, decibels
from studio.widgets.timeline import Course, Timeline

RATE = Control("rate", "how far", 0.01, (0.001, 10.0), shape="log", unit="1/s")
COUNT = Control("count", "how many", 4, (1, 20))
KIND = Control("kind", "which", "sgd", choices=("sgd", "momentum", "adam"))
ONCE = Control("once", "at first", 0.5, (0.0, 1.0), live=False)


class Frame(App[None]):
    def __init__(self, *widgets):
        super().__init__()
        self.widgets, self.heard = widgets, []

    def compose(self):
        yield from self.widgets

    def on_knob_turned(self, event):
        self.heard.append((event.knob.declared.name, event.value))

    def on_timeline_sought(self, event):
        self.heard.append(("sought", event.beat))

    def on_timeline_looped(self, event):
        self.heard.append(("looped", event.beats))


def on(*widgets, size=(70, 12)):
    """Runs a scene with widgets on a screen."""

    def run(scene):
        async def whole():
            app = Frame(*widgets)
            async with app.run_test(size=size) as pilot:
                widgets[0].focus()
                await pilot.pause()
                await scene(app, pilot)

        asyncio.run(whole())

    return run


def text(widget):
    return "\n".join(strip.text for strip in widget.render_lines(widget.size.region))


def test_decibels():
    assert decibels(1.0) == 0
    assert decibels(0.5) == pytest.approx(-6.02, abs=0.01)
    assert decibels(0.0) == decibels(float("nan")) == FLOOR


def test_a_peak_is_held_and_then_let_go():
    time = [0.0]
    peak = Peak(lambda: time[0])
    peak.hear(1.0)
    time[0] = 1.0
    peak.hear(0.0)
    assert peak.held == 0
    assert peak.level == pytest.approx(-FALL)
    time[0] = HOLD + 0.1
    peak.hear(0.1)
    assert peak.held == pytest.approx(-20)


@pytest.mark.parametrize("width", [1, 7, 30])
def test_a_bar_grows_with_the_level(width):
    bars = [bar(level, FLOOR, width) for level in range(-60, 1)]
    assert all(len(b) == width for b in bars)
    full = [b.count("█") for b in bars]
    assert full == sorted(full)
    assert bars[0].strip() == ""
    assert bars[-1] == "█" * width
    assert len(set(bars)) == min(8 * width + 1, 61)


def test_a_meter_says_its_peak_and_that_it_clips():
    meter = Meter("L ", number=True)

    @on(meter)
    async def scene(app, pilot):
        meter.hear(0.5)
        assert text(meter).rstrip().endswith("-6.0")
        assert len(text(meter)) == 70
        meter.hear(1.2)
        assert "CLIP" in text(meter)


@pytest.mark.parametrize("control", [RATE, COUNT, KIND])
def test_turning_stays_in_the_range_and_reaches_its_ends(control):
    value, seen = control.default, set()
    for _ in range(200):
        value = turned(control, value, 0.02)
        seen.add(control.check(value))
    if control.range:
        assert value == control.range[1]
    assert type(value) is type(control.default)
    if control.choices:
        assert seen == set(control.choices)
    elif isinstance(control.default, int):
        assert seen == set(range(5, 21))


def test_a_log_control_turns_by_ratios():
    assert place(RATE, 0.1) == pytest.approx(0.5)
    assert turned(RATE, 0.1, 0.25) == pytest.approx(1.0)


def test_a_knob_is_turned_by_keys():
    knob = Knob("fit", RATE, 0.1)

    @on(knob)
    async def scene(app, pilot):
        await pilot.press("right", "right", "left")
        assert [v for _, v in app.heard] == pytest.approx([0.1 * 10 ** (4 * 0.02 * k) for k in (1, 2, 1)], rel=1e-4)
        await pilot.press("shift+right")
        assert app.heard[-1][1] == pytest.approx(0.1 * 10 ** (4 * 0.022), rel=1e-4)
        await pilot.press("backspace")
        assert app.heard[-1] == ("rate", 0.01)


def test_a_value_is_typed():
    knob = Knob("fit", RATE, 0.1)

    @on(knob)
    async def scene(app, pilot):
        await pilot.press("2", ".", "5", "x", "backspace", "5")
        assert "2.5" in text(knob)
        assert not app.heard
        await pilot.press("enter")
        assert app.heard == [("rate", 2.5)]
        await pilot.press("enter", "7", "escape")
        assert len(app.heard) == 1


def test_a_value_out_of_range_is_refused_in_one_line():
    knob = Knob("fit", RATE, 0.1)

    @on(knob)
    async def scene(app, pilot):
        await pilot.press("9", "9", "enter")
        assert not app.heard
        assert knob.size.height == 2
        assert "! 99.0: allowed are 0.001 to 10 1/s" in text(knob)
        await pilot.press("1", "enter")
        assert app.heard == [("rate", 1.0)]
        assert knob.error == ""


def test_while_a_value_is_typed_no_key_is_a_command_and_what_is_allowed_is_seen_in_full():
    knob = Knob("fit", RATE, 0.1)

    @on(knob, size=(40, 10))
    async def scene(app, pilot):
        commands = []
        app.bind("x,space,n", "seen")
        app.action_seen = lambda: commands.append("one")
        await pilot.press("n")
        assert len(commands) == 1
        await pilot.press("enter", "x", "space", "n", "exclamation_mark")
        assert len(commands) == 1
        assert "allowed are 0.001 to 10 1/s" in " ".join(text(knob).split())
        await pilot.press("escape")
        assert knob.size.height == 1
        await pilot.press("x")
        assert len(commands) == 2
        assert not app.heard


def test_a_knob_is_turned_by_wheel_and_drag():
    knob = Knob("fit", COUNT, 4)

    @on(knob)
    async def scene(app, pilot):
        knob.on_mouse_scroll_up(MouseScrollUp(knob, 5, 0, 0, 0, 0, False, False, False))
        await pilot.pause()
        assert app.heard == [("count", 5)]
        start, width = knob._bar()
        await pilot.mouse_down(knob, offset=(start + width, 0))
        assert app.heard[-1] == ("count", 20)
        await pilot.hover(knob, offset=(start + 1, 0))
        await pilot.mouse_up(knob)
        assert app.heard[-1] == ("count", 1)


def test_choices_go_round_and_are_all_seen():
    knob = Knob("fit", KIND, "sgd")

    @on(knob)
    async def scene(app, pilot):
        assert all(choice in text(knob) for choice in KIND.choices)
        await pilot.press("right", "right", "right", "enter")
        assert [v for _, v in app.heard] == ["momentum", "adam", "sgd", "momentum"]


def test_what_is_read_once_says_so():
    knob = Knob("fit", ONCE, 0.5)

    @on(knob)
    async def scene(app, pilot):
        await pilot.press("right")
        assert not app.heard
        assert "read once" in text(knob)


def test_the_timeline_shows_and_seeks():
    line = Timeline()

    @on(line)
    async def scene(app, pilot):
        line.show(Course(20.0, 40.0, 4, ((0.0, "dux"), (16.0, "comes")), (8.0, 16.0), False))
        await pilot.pause()
        ruler, band = text(line).split("\n")
        assert "dux" in ruler
        assert "comes" in ruler
        assert band.count("◆") == band.count("[") == band.count("]") == 1
        assert band.index("[") < band.index("]") < band.index("◆")
        at = (1 + 68 * 10 // 64, 1)
        await pilot.mouse_down(line, offset=at)
        await pilot.mouse_up(line, offset=at)
        assert app.heard[-1][1] == pytest.approx(10, abs=1)
        await pilot.mouse_down(line, offset=(68, 1))  # after the live end
        await pilot.mouse_up(line, offset=(68, 1))
        assert app.heard[-1] == ("sought", 40.0)
        line.show(Course(40.0, 40.0, 4, (), None, True))
        await pilot.pause()
        assert "●" in text(line)


def test_the_timeline_grows():
    line = Timeline()

    @on(line)
    async def scene(app, pilot):
        line.show(Course(10.0, 10.0, 4))
        assert line.length == 64
        line.show(Course(100.0, 100.0, 4))
        assert line.length == 128
