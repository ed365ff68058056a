"""RGB shift and bubbles: what Castro's parts 3 and 4 promise, on pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.arrange import Arrangement, arrange
from pieces.piece import Piece, PieceError, parse_piece
from pieces.signals import Event, Frames
from studio.pictures.bubbles import LIFE, MOST, Bubble, blown, bubbled
from studio.pictures.canvas import GROUND
from studio.pictures.draw import picture
from studio.pictures.grounds import over
from studio.pictures.scene import Scene
from studio.pictures.shift import shifted
from studio.pictures.video import Landscape

SIZES = st.tuples(st.integers(8, 60), st.integers(8, 80))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture in which no two places look the same."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=30)
@given(size=SIZES, tiny=st.lists(st.floats(-0.0049, 0.0049), min_size=3, max_size=3))
def test_without_a_gradient_the_colours_lie_upon_each_other_bit_for_bit(size, tiny):
    image = noise(*size)
    for gradients in ([0.0] * 3, tiny):
        found = shifted(image, gradients)
        assert found.tobytes() == image.tobytes()
        assert found is not image


@settings(max_examples=40)
@given(size=SIZES, gradients=st.lists(st.floats(-3, 3), min_size=3, max_size=4), reach=st.sampled_from([20.0, 100.0]))
def test_every_plane_is_moved_by_its_own_gradient(size, gradients, reach):
    height, width = size
    image = noise(height, width)
    found = shifted(image, gradients, reach)
    for plane in range(3):
        by = round(reach * min(max(gradients[plane], -1), 1))
        for x in range(width):
            from_x = x - by
            expected = image[:, from_x, plane] if 0 <= from_x < width else np.zeros(height)
            np.testing.assert_array_equal(found[:, x, plane], expected)


def test_a_gradient_moves_one_plane_and_leaves_the_others():
    """The negative control: what is not zero is seen."""
    image = noise(20, 200)
    for plane in range(3):
        gradients = [0.0, 0.0, 0.0]
        gradients[plane] = 0.25
        moved = [(shifted(image, gradients)[..., p] != image[..., p]).mean() for p in range(3)]
        assert moved[plane] > 0.9
        assert sum(moved) == moved[plane]
    np.testing.assert_array_equal(shifted(image, (0.25, 0, 0))[:, 25:, 0], image[:, :-25, 0])  # 100 px a unit


BUBBLES = [Bubble(40.0, 30.0, 18.0, 1.5, 0), Bubble(58.3, 33.1, 12.0, 0.4, 1), Bubble(2.0, 59.0, 9.0, 3.0, 2)]


@settings(max_examples=30)
@given(size=SIZES, tiny=st.floats(-4e-4, 4e-4), ages=st.floats(0, 1000))
def test_robust_bubbles_vanish_with_the_gradient_bit_for_bit(size, tiny, ages):
    image = noise(*size)
    bubbles = [Bubble(b.x, b.y, b.radius, ages, b.gradient) for b in BUBBLES]
    for gradients in ([0.0] * 4, [tiny] * 4):
        assert bubbled(image, bubbles, gradients).tobytes() == image.tobytes()


def test_published_bubbles_displace_without_a_gradient_and_robust_ones_with_one():
    """Both controls: `code` at zero gradient, `robust` away from it; nothing ever changes outside the discs."""
    image = noise(60, 80)
    y, x = np.mgrid[:60, :80]
    inside = np.any([(x - b.x) ** 2 + (y - b.y) ** 2 <= b.radius**2 for b in BUBBLES], axis=0)
    for preset, gradients in (("code", [0.0] * 4), ("code", [0.1] * 4), ("robust", [0.1, -0.1, 0.05, 0.0])):
        found = bubbled(image, BUBBLES, gradients, preset)
        changed = (found != image).any(axis=2)
        assert not changed[~inside].any()
        assert changed[inside].mean() > 0.9
    assert (bubbled(image, [], [0.1] * 4, "code") == image).all()


@settings(max_examples=30)
@given(
    gradient=st.floats(-0.5, 0.5), age=st.floats(0, 9), x=st.floats(0, 80), y=st.floats(0, 60), unit=st.floats(0.1, 1.0)
)
def test_pixels_come_from_where_the_formula_says(gradient, age, x, y, unit):
    image = noise(60, 80)
    bubble = Bubble(x, y, 20.0, age, 0)
    held = min(max(gradient, -0.1), 0.1)
    for preset, reach in (("code", 100.0), ("robust", 100.0 * abs(held) / 0.1)):
        found = bubbled(image, [bubble], [gradient], preset, unit)
        for row, column in np.random.default_rng(1).integers(0, (60, 80), (60, 2)):
            if (column - x) ** 2 + (row - y) ** 2 > 400:
                continue
            angle = 5 * held * age + column / (300 * unit)
            of_row = int(np.clip(row + np.rint(reach * unit * np.sin(angle)), 0, 59))
            of_column = int(np.clip(column + np.rint(reach * unit * np.cos(angle)), 0, 79))
            np.testing.assert_array_equal(found[row, column], image[of_row, of_column])


def struck(midi: int, velocity: float = 0.7) -> Event:
    return Event(0, "note", {"midi": midi, "velocity": velocity})


def test_every_note_blows_a_bubble_that_lives_its_time():
    notes = [(0.0, struck(48, 1.0)), (1.0, struck(84, 0.2)), (1.0, struck(60))]
    assert len(blown(notes, 0.5, 640, 360)) == 1
    seen = blown(notes, 2.0, 640, 360)
    assert [b.age for b in seen] == [2.0, 1.0, 1.0]
    assert [b.gradient for b in seen] == [0, 1, 2]
    assert seen[0].x < seen[2].x < seen[1].x, "low notes at the left"
    assert seen[0].radius > seen[2].radius > seen[1].radius, "hard notes large"
    assert blown(notes, 4.0, 640, 360)[0].y < seen[0].y, "they rise"
    assert not blown(notes, 1.0 + LIFE, 640, 360)
    assert not blown(notes, -0.1, 640, 360)
    small = blown(notes, 2.0, 128, 72)
    np.testing.assert_allclose([b.x * 5 for b in small], [b.x for b in seen])
    assert len(blown([(k / 100, struck(60)) for k in range(100)], 1.5, 64, 64)) == MOST


def test_what_is_drawn_lies_over_the_video_and_leaves_the_rest_alone():
    image, drawn = noise(40, 50), np.empty((40, 50, 3), np.uint8)
    drawn[:] = GROUND
    assert over(image, drawn).tobytes() == image.tobytes()
    drawn[10, 20], drawn[12, 21] = (255, 255, 255), (27, 28, 33)
    found = over(image, drawn)
    assert (found[10, 20] >= np.subtract((255, 255, 255), GROUND)).all()
    assert (found[12, 21].astype(int) - image[12, 21] >= -20).all()
    changed = (found != image).any(axis=2)
    assert set(zip(*np.nonzero(changed), strict=True)) <= {(10, 20), (12, 21)}


FIT = ("a", "b", "c", "d", "target_a", "target_b", "target_c", "target_d")
PIECE = {
    "title": "T",
    "parts": {"fit": {"source": "cubics", "rate": 10}, "video": {"source": "video", "rate": 10}},
    "sections": [{"name": "black", "bars": 1}, {"name": "bent", "bars": 1}],
    "picture": {
        "view": "curve",
        "part": "fit",
        "sections": ["black"],
        "beside": [{"view": "curve", "part": "fit", "sections": ["bent"]}],
    },
}


def piece(**ground: str) -> Piece:
    beside = [{**PIECE["picture"]["beside"][0], "ground": {"video": "video", **ground}}]
    return parse_piece({**PIECE, "picture": {**PIECE["picture"], "beside": beside}}, "T")


def staged(
    what: Piece, gradient: float, *notes: Event, ticks: int = 80
) -> tuple[Scene, Arrangement, dict[str, Frames]]:
    """A fit that rests, with one gradient in all four; the first bar on black, the second on the video."""
    still = {name: np.full(ticks, 0.1 * k) for k, name in enumerate(FIT)}
    still |= {f"gradient_{p}": np.full(ticks, gradient) for p in "abcd"} | {"gradient_norm": np.full(ticks, 9.0)}
    recorded = {
        "fit": Frames(still, notes, 10.0, ticks),
        "video": Frames({"media_time": 3.0 + np.arange(ticks) / 10}, (), 10.0, ticks),
    }
    played = arrange(what, recorded)
    videos = {"video": Landscape()}
    return Scene(what.picture, recorded, played.layouts, played.duration, played.sections, videos), played, recorded


def uncovered(scene: Scene, recorded: dict[str, Frames], seconds: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the scene shows where nothing is drawn over it, what the video shows there, and where that is."""
    shown = scene.draw(seconds, 160, 90)
    drawn = picture("curve", recorded["fit"], seconds * 10, 160, 90)
    free = (drawn <= np.array(GROUND)).all(axis=2)
    assert free.mean() > 0.3
    return shown[free], Landscape().picture(3.0 + int(seconds * 10 + 1e-6) / 10, 160, 90)[free], free


@pytest.mark.parametrize("effect", ["none", "shift", "bubbles"])
def test_converged_the_video_is_seen_as_it_is(effect):
    notes = [Event(k, "note", {"midi": 48 + k, "velocity": 1.0}, given=True) for k in range(40, 60)]
    scene, _, recorded = staged(piece(effect=effect), 0.0, *notes)
    shown, video, _ = uncovered(scene, recorded, 6.05)
    assert shown.tobytes() == video.tobytes()


@pytest.mark.parametrize("effect", ["shift", "bubbles"])
def test_a_gradient_bends_the_video(effect):
    notes = [Event(k, "note", {"midi": 36 + 2 * (k - 40), "velocity": 1.0}, given=True) for k in range(40, 60)]
    scene, _, recorded = staged(piece(effect=effect), 0.3, *notes)
    shown, video, _ = uncovered(scene, recorded, 6.05)
    assert (shown != video).any(axis=1).mean() > 0.2


def test_bubbles_need_notes_and_code_needs_no_gradient():
    note = Event(50, "note", {"midi": 60, "velocity": 1.0}, given=True)
    let_go = Event(50, "note", {"midi": 60, "velocity": 0.0}, given=True)
    for notes, preset, gradient, bent in (
        ((), "code", 0.3, False),
        ((let_go,), "code", 0.3, False),
        ((note,), "code", 0.0, True),
        ((note,), "robust", 0.0, False),
        ((note,), "robust", 0.3, True),
    ):
        scene, _, recorded = staged(piece(effect="bubbles", preset=preset), gradient, *notes)
        shown, video, _ = uncovered(scene, recorded, 6.05)
        assert bool((shown != video).any()) == bent, (preset, gradient)


def test_a_section_has_its_own_picture():
    scene, _, recorded = staged(piece(effect="shift"), 0.3)
    np.testing.assert_array_equal(scene.draw(2.0, 96, 54), picture("curve", recorded["fit"], 20, 96, 54))
    assert scene.draw(3.999, 96, 54).mean() < 40 < scene.draw(4.0, 96, 54).mean()
    assert scene.draw(7.9, 96, 54).mean() > 40


def test_grounds_that_are_none_are_one_line():
    with pytest.raises(PieceError, match="picture names part 'vdeo'; did you mean 'video'"):
        piece(video="vdeo")
    with pytest.raises(PieceError, match="picture names section 'bnt'"):
        parse_piece({**PIECE, "picture": {"view": "curve", "sections": ["bnt"]}}, "T")


@pytest.mark.parametrize("where", ["before", "first", "again"])
def test_a_bubble_stays_in_the_section_in_which_it_was_blown(where):
    """Where the same picture is seen twice, a note of the first time is not seen in the second."""
    raw = piece(effect="bubbles", preset="code").model_dump(mode="json")
    raw["sections"] = [*PIECE["sections"], {"name": "black again", "bars": 1}, {"name": "bent again", "bars": 1}]
    raw["picture"]["beside"][0]["sections"] = ["bent", "bent again"]
    what = parse_piece(raw, "T")
    tick = {"before": 38, "first": 78, "again": 122}[where]
    note = Event(tick, "note", {"midi": 60, "velocity": 1.0}, given=True)
    scene, played, recorded = staged(what, 0.3, note, ticks=160)
    begins = [s.seconds[0] for s in played.sections]
    assert begins == pytest.approx([0, 4, 8, 12])
    for number, seconds in ((1, 7.95), (3, 12.55)):
        shown, video, _ = uncovered(scene, recorded, seconds)
        own = where == {1: "first", 3: "again"}[number]
        assert bool((shown != video).any()) == own, (where, number)
