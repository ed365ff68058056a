"""The live picture on a screen: exact, also where an overlay, a dialogue or an export cuts through it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from textual.app import App
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Static

from studio.widgets.picture import Picture, ReadyStrip

WIDTH, HEIGHT = 24, 8


class Over(ModalScreen[None]):
    CSS = "Over { background: black 60%; } Over > Static { width: 6; height: 1; }"

    def compose(self):
        yield Static("dialog")


class Frame(App[None]):
    CSS = """
    Screen { layers: base over; }
    Container { width: 24; height: 8; }
    #label { layer: over; width: 5; height: 1; offset: 3 2; position: absolute; display: none; }
    """

    def compose(self):
        with Container():
            yield Picture(bits=8)
        yield Static("label", id="label")


def gradient():
    y, x = np.mgrid[0 : 2 * HEIGHT, 0:WIDTH]
    return np.stack([x * 10, y * 15, 255 - x * 10], axis=-1).astype(np.uint8)


def colours(app):
    """RGB of both halves of every cell that is a half block, ``{(x, y): (upper, lower)}``, and all text."""
    found, text = {}, []
    for y, strip in enumerate(app.screen._compositor.render_strips()):
        x = 0
        for segment in strip:
            for character in segment.text:
                if character == "▀":
                    found[x, y] = (
                        tuple(segment.style.color.get_truecolor()),
                        tuple(segment.style.bgcolor.get_truecolor()),
                    )
                x += 1
        text.append(strip.text)
    return found, text


def on(scene, **environment):
    async def run():
        app = Frame()
        async with app.run_test(size=(40, 12)) as pilot:
            picture = app.query_one(Picture)
            picture._depth = environment.get("depth", "true")
            await scene(app, pilot, picture)

    asyncio.run(run())


def test_a_picture_is_shown_exactly():
    async def scene(app, pilot, picture):
        given = gradient()
        assert picture.show(given)
        await pilot.pause()
        found, _ = colours(app)
        assert len(found) == WIDTH * HEIGHT
        for (x, y), (upper, lower) in found.items():
            assert upper == tuple(given[2 * y, x])
            assert lower == tuple(given[2 * y + 1, x])

    on(scene)


def test_only_rows_that_changed_are_made_again():
    async def scene(app, pilot, picture):
        given = gradient()
        picture.show(given)
        await pilot.pause()
        before = list(picture._rows)
        given = given.copy()
        given[6, 3] = 0
        picture.show(given)
        assert [a is b for a, b in zip(before, picture._rows, strict=True)] == [y != 3 for y in range(HEIGHT)]
        await pilot.pause()
        assert colours(app)[0][3, 3][0] == (0, 0, 0)

    on(scene)


def test_nothing_is_painted_when_nothing_changes():
    async def scene(app, pilot, picture):
        picture.show(gradient())
        await pilot.pause()
        painted = picture.painted
        picture.show(gradient())
        await pilot.pause()
        assert picture.painted == painted == 1

    on(scene)


def test_an_overlay_cuts_through_it():
    async def scene(app, pilot, picture):
        picture.show(gradient())
        app.query_one("#label").display = True
        await pilot.pause()
        found, text = colours(app)
        assert "label" in text[2]
        assert not any((x, 2) in found for x in range(3, 8))
        assert found[2, 2][0] == tuple(gradient()[4, 2])
        assert found[8, 2][0] == tuple(gradient()[4, 8])

    on(scene)


def test_a_dialogue_dims_it_and_its_end_brings_it_back():
    async def scene(app, pilot, picture):
        given = gradient()
        picture.show(given)
        await pilot.pause()
        await app.push_screen(Over())
        await pilot.pause()
        found, text = colours(app)
        assert any("dialog" in line for line in text)
        for (x, y), (upper, _) in found.items():
            want = given[2 * y, x].astype(float) * 0.4
            assert np.abs(np.array(upper) - want).max() <= 3, (x, y)
        await app.pop_screen()
        await pilot.pause()
        assert colours(app)[0][5, 5][0] == tuple(given[10, 5])

    on(scene)


def test_an_export_has_its_colours():
    async def scene(app, pilot, picture):
        picture.show(np.full((2 * HEIGHT, WIDTH, 3), (18, 52, 86), np.uint8))
        await pilot.pause()
        assert "#123456" in app.export_screenshot()

    on(scene)


def test_a_picture_of_another_size_is_left_out():
    async def scene(app, pilot, picture):
        assert not picture.show(np.zeros((4, 4, 3), np.uint8))
        assert picture.wanted == (WIDTH, 2 * HEIGHT)

    on(scene)


@pytest.mark.parametrize("depth", ["256", "16"])
def test_segments_have_the_colours_that_the_terminal_shows(depth):
    async def scene(app, pilot, picture):
        from studio.widgets.cells import reduced

        picture.show(gradient())
        await pilot.pause()
        found, _ = colours(app)
        want = np.concatenate([reduced(gradient()[2 * y : 2 * y + 2], depth) for y in range(HEIGHT)])
        assert all(upper == tuple(want[2 * y, x]) for (x, y), (upper, _) in found.items())

    on(scene, depth=depth)


def test_without_colour_it_is_dots():
    async def scene(app, pilot, picture):
        assert picture.wanted == (2 * WIDTH, 4 * HEIGHT)
        picture.show(np.full((4 * HEIGHT, 2 * WIDTH, 3), 255, np.uint8))
        await pilot.pause()
        assert colours(app)[1][0].startswith("⣿" * WIDTH)
        assert all("\x1b" not in strip.render(app.console) for strip in picture._rows)

    on(scene, depth="none")


def test_no_color_means_no_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    from studio.widgets.picture import depth_of

    assert depth_of(Frame()) == "none"


def test_a_ready_strip_is_a_strip():
    async def scene(app, pilot, picture):
        picture.show(gradient())
        strip = picture._rows[0]
        assert isinstance(strip, ReadyStrip)
        assert strip.cell_length == WIDTH
        assert strip.render(app.console).count("▀") == WIDTH
        assert strip.crop(3, 9).cell_length == 6
        assert strip.crop(3, 9).text == "▀" * 6
        assert [s.cell_length for s in strip.divide([5, WIDTH])] == [5, WIDTH - 5]
        assert strip.divide([WIDTH])[0] is strip

    on(scene)
