"""The process that draws: its pictures are those of the views, wishes are dropped and never queued, and it may die."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time

import numpy as np
import pytest

from pieces.piece import find_piece
from pieces.signals import Event, FrameBlock, Frames
from pieces.source import check_controls, find_source
from studio.painter import Canvas, Painter, Wish, _Request, _Roll, boxes, paint
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


def test_it_ends_in_silence_when_the_studio_is_gone():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=paint, args=(theirs,))
    process.start()
    theirs.close()
    ours.send(_Request(wish=Wish({}, 16, 16)))
    ours.close()
    process.join(60)
    assert process.exitcode == 0


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


def grounded(painter, tmp_path, notes, **more):
    """Forty seconds of curves over the built-in picture, the last ten in a section of their own; drawn live."""
    from pieces.arrange import arrange
    from pieces.piece import parse_piece
    from studio.pictures.video import Landscape

    piece = parse_piece(
        {
            "title": "T",
            "parts": {"fit": {"source": "cubics", "rate": 50}, "video": {"source": "video", "rate": 25}},
            "sections": [{"name": "black", "bars": 10}, {"name": "bent", "bars": 10}],
            "picture": {"view": "curve", "part": "fit", "sections": ["bent"],
                        "ground": {"video": "video", "effect": "bubbles", "preset": "code"}},
        },
        "T",
    )  # fmt: skip
    names = ("a", "b", "c", "d", *(f"target_{n}" for n in "abcd"), *(f"gradient_{n}" for n in "abcd"))
    arrays = {n: np.full(4000, 0.01 * k) for k, n in enumerate(names)}
    events = tuple(Event(tick, "note", {"midi": midi, "velocity": 0.8}, True) for tick, midi in notes)
    media = {"media_time": np.arange(2000) * 0.04}
    films = {"video": more["film"]} if "film" in more else {}
    painter.open(Canvas(piece.picture.model_dump(mode="json"), {"fit": 50.0, "video": 25.0}, videos=films))
    painter.add("fit", FrameBlock(0, arrays, events))
    painter.add("video", FrameBlock(0, media, ()))
    recorded = {"fit": Frames(arrays, events, 50.0, 4000), "video": Frames(media, (), 25.0, 2000)}
    played = arrange(piece, recorded)
    assert [s.seconds[0] for s in played.sections] == pytest.approx([0, 40])
    scene = Scene(piece.picture, recorded, played.layouts, played.duration, played.sections, {"video": Landscape()})

    def live(seconds):
        ticks = {"fit": seconds * 50, "video": seconds * 25}
        painter.draw(Wish(ticks, 96, 54, "bent", seconds, {"fit": 2000, "video": 1000}))
        return painter.pictures.get(timeout=60)

    return live, lambda seconds: scene.draw(seconds, 96, 54)


def test_bubbles_are_those_of_the_section_as_in_the_film(painter, tmp_path):
    """A note before its beginning blows none; and none changes its place when an older one is long gone."""
    notes = [(1990, 40), (2010, 50), (2150, 70), (3700, 45), (3720, 80)]
    live, film = grounded(painter, tmp_path, notes)
    free, _ = grounded(painter, tmp_path, ())
    plain = {s: free(s) for s in (40.1, 41.0, 44.0, 75.0, 77.0)}
    live, film = grounded(painter, tmp_path, notes)
    for seconds, bubbles in ((40.1, False), (41.0, True), (44.0, True), (75.0, True), (77.0, True)):
        shown = live(seconds)
        assert np.array_equal(shown, film(seconds)), seconds
        assert (shown != plain[seconds]).any() == bubbles, seconds


def test_a_film_that_is_none_is_said_and_the_built_in_picture_moves(painter, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no film at all" * 100)
    live, film = grounded(painter, tmp_path, [(2010, 50)], film=str(tmp_path / "broken.mp4"))
    for seconds in (41.0, 42.0):
        assert np.array_equal(live(seconds), film(seconds))
    assert len(painter.lines) == 1
    assert "broken.mp4: the video cannot be read" in painter.lines[0]
    assert "the built-in picture moves instead" in painter.lines[0]
