"""The process that draws: its pictures are those of the views, wishes are dropped and never queued, and it may die."""

from __future__ import annotations

import os
import queue
import signal
import time

import numpy as np
import pytest

from pieces.piece import find_piece
from pieces.signals import Frames
from pieces.source import check_controls, find_source
from studio.painter import Canvas, Painter, Wish, _Roll, boxes
from studio.pictures.draw import picture
from studio.pictures.scene import Scene


@pytest.fixture(scope="module")
def knots():
    piece, _ = find_piece("knots")
    cls = find_source("knots")
    controls = check_controls(cls, piece.parts["knot"].controls if "knot" in piece.parts else {})
    return piece, next(iter(piece.parts)), cls(1, controls).step(controls, [], 200)


@pytest.fixture
def painter():
    pictures, lines = queue.Queue(), []
    made = Painter(pictures.put, lines.append)
    made.pictures, made.lines = pictures, lines
    yield made
    made.close()


def opened(painter, knots):
    piece, part, block = knots
    painter.open(Canvas(piece.picture.model_dump(mode="json"), {part: piece.rate(part)}))
    painter.add(part, block)
    return part


def test_a_picture_is_that_of_the_view(painter, knots):
    piece, part, block = knots
    opened(painter, knots)
    painter.draw(Wish({part: 150.5}, 64, 48))
    shown = painter.pictures.get(timeout=60)
    frames = Frames(block.arrays, block.events, piece.rate(part), block.ticks)
    want = picture(piece.picture.view, frames, 150.5, 64, 48, piece.picture.options)
    assert np.array_equal(shown, want)
    assert painter.lines == []


def test_wishes_are_dropped_and_the_last_one_is_drawn(painter, knots):
    part = opened(painter, knots)
    painter.draw(Wish({part: 0.0}, 16, 16))
    painter.pictures.get(timeout=60)
    for tick in range(500):
        painter.draw(Wish({part: tick / 4}, 16 + 2 * (tick == 499), 16))
    shown = [painter.pictures.get(timeout=30)]
    while shown[-1].shape[1] != 18:
        shown.append(painter.pictures.get(timeout=30))
    assert len(shown) < 100
    assert painter.pictures.empty()


def test_frames_that_nobody_looks_at_do_not_pile_up(painter, knots):
    part = opened(painter, knots)
    _, _, block = knots
    for n in range(1, 2000):
        painter.add(part, type(block)(200 * n, block.arrays))
    end = time.monotonic() + 60
    while len(painter._blocks) >= 256:
        assert time.monotonic() < end
        time.sleep(0.01)
    painter.draw(Wish({part: 0.0}, 16, 16))
    assert painter.pictures.get(timeout=60).shape == (16, 16, 3)


def test_a_view_that_cannot_be_drawn_is_one_line(painter, knots):
    _, part, block = knots
    painter.open(Canvas({"view": "layers"}, {part: 50.0}, {part: tuple(block.arrays)}))
    painter.add(part, block)
    painter.draw(Wish({part: 10.0}, 32, 32))
    painter.draw(Wish({part: 11.0}, 32, 32))
    end = time.monotonic() + 60
    while not painter.lines:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert "view 'layers' needs channel" in painter.lines[0]
    opened(painter, knots)
    painter.draw(Wish({part: 10.0}, 32, 32))
    assert painter.pictures.get(timeout=60).max() > 50


def test_its_death_is_a_line_and_the_next_piece_is_drawn(painter, knots):
    part = opened(painter, knots)
    painter.draw(Wish({part: 10.0}, 32, 32))
    painter.pictures.get(timeout=60)
    os.kill(painter.pid, signal.SIGKILL)
    painter.draw(Wish({part: 11.0}, 32, 32))
    end = time.monotonic() + 60
    while not painter.lines:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert "process ended" in painter.lines[0]
    opened(painter, knots)
    painter.draw(Wish({part: 12.0}, 32, 32))
    assert painter.pictures.get(timeout=60).max() > 50


def test_windows_hold_the_playhead_and_are_bounded(knots):
    _, _, block = knots
    roll = _Roll(50.0)
    for n in range(30):
        roll.add(type(block)(200 * n, block.arrays))
    assert roll.window(5999.0) == (4500, 6000)
    for tick in (0.0, 100.0, 2345.6, 4400.0):
        start, to = roll.window(tick)
        assert start <= tick < to
        assert to - start <= 1500
    frames = roll.frames(400, 600)
    assert frames.ticks == 200
    assert np.array_equal(frames.arrays["loss"], block.arrays["loss"])
    roll.add(type(block)(1000, block.arrays))  # a branch begins
    assert (roll.first, roll.end) == (1000, 1200)


@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 5, 7])
def test_the_grid_is_that_of_the_scene(tiles, knots):
    piece, part, block = knots
    one = piece.picture
    many = one.model_copy(update={"beside": tuple([one] * (tiles - 1))})
    from pieces.arrange import Layout

    frames = Frames(block.arrays, block.events, piece.rate(part), block.ticks)
    scene = Scene(many, {part: frames}, {part: Layout.plain(frames)}, frames.duration)
    drawn = scene.draw(2.0, 90, 60)
    for left, top, right, bottom in boxes(tiles, 90, 60):
        alone = picture(one.view, frames, 2.0 * piece.rate(part), right - left, bottom - top, one.options)
        assert np.array_equal(drawn[top:bottom, left:right], alone)
