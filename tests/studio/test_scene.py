"""The picture of a piece: views side by side, each at the tick that is heard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.arrange import Arrangement, arrange
from pieces.piece import Picture, Piece, parse_piece
from pieces.signals import Event, Frames
from studio.pictures.canvas import GROUND
from studio.pictures.draw import picture
from studio.pictures.scene import Scene
from studio.pictures.view import PictureError

CURVE = ("a", "b", "c", "d", "target_a", "target_b", "target_c", "target_d", "loss")


def piece(parts: Mapping[str, Any], *sections: Mapping[str, Any], **more: Any) -> Piece:
    """A piece of parts that nobody performs: a number is ticks a beat."""
    written = {n: {"source": n, **(p if isinstance(p, dict) else {"per_beat": p})} for n, p in parts.items()}
    return parse_piece({"title": "T", "parts": written, "sections": sections, **more}, "my.toml")


def frames(what: Piece, part: str, ticks: int, seed: int = 0) -> Frames:
    """A curve that moves at every tick."""
    random = np.random.default_rng(seed)
    moves = {name: np.cumsum(random.uniform(0.02, 0.06, ticks)) * (i - 4.5) / 4 for i, name in enumerate(CURVE)}
    return Frames(moves, (Event(ticks // 2, "converged"),) if ticks else (), what.rate(part), ticks)


def staged(what: Piece, *ticks: int) -> tuple[Scene, dict[str, Frames], Arrangement]:
    recorded = {p: frames(what, p, n, seed) for seed, (p, n) in enumerate(zip(what.parts, ticks, strict=True))}
    played = arrange(what, recorded)
    return Scene(what.picture, recorded, played.layouts, played.duration), recorded, played


ONE = {"name": "one", "bars": 1}


@pytest.mark.parametrize("view", ["plots", "curve"])
@settings(max_examples=15)
@given(seconds=st.floats(-1, 12), width=st.integers(8, 90), height=st.integers(8, 90))
def test_one_picture_is_the_view_drawn_alone(view, seconds, width, height):
    what = piece({"a": {"rate": 10, "ticks": 100}}, picture={"view": view})
    scene, recorded, _ = staged(what, 80)
    alone = picture(view, recorded["a"], seconds * 10, width, height)
    np.testing.assert_array_equal(scene.draw(seconds, width, height), alone)
    assert scene.duration == 8


def test_a_picture_knows_its_options():
    what = piece({"a": {"rate": 10, "ticks": 100}}, picture={"view": "plots", "options": {"channels": ["loss"]}})
    scene, recorded, _ = staged(what, 80)
    alone = picture("plots", recorded["a"], 40, 64, 48, {"channels": ["loss"]})
    np.testing.assert_array_equal(scene.draw(4.0, 64, 48), alone)
    assert (alone != picture("plots", recorded["a"], 40, 64, 48)).any()


BESIDE = {
    "view": "plots",
    "part": "b",
    "beside": [{"view": "curve", "part": "a"}, {"view": "curve", "part": "b"}, {"view": "plots", "part": "a"}],
}


@pytest.mark.parametrize("size", [(80, 60), (81, 61), (16, 17)])
def test_four_pictures_fill_the_frame(size):
    what = piece({"a": 8, "b": 2}, {"name": "x", "bars": 2}, picture=BESIDE)
    scene, recorded, played = staged(what, 64, 16)
    width, height = size
    whole = scene.draw(5.3, width, height)
    tiles = {(0, 0): ("plots", "b"), (0, 1): ("curve", "a"), (1, 0): ("curve", "b"), (1, 1): ("plots", "a")}
    for (row, column), (view, part) in tiles.items():
        rows = slice(row * height // 2, (row + 1) * height // 2)
        columns = slice(column * width // 2, (column + 1) * width // 2)
        inside = whole[rows, columns]
        tick = played.layouts[part].tick(5.3)
        assert tick == pytest.approx({"a": 42.4, "b": 10.6}[part])
        np.testing.assert_array_equal(inside, picture(view, recorded[part], tick, inside.shape[1], inside.shape[0]))


@pytest.mark.parametrize(("tiles", "shares"), [(2, [(0, 0.5), (0.5, 1)]), (3, [(0, 0.5), (0.5, 1), (0, 1)])])
def test_a_last_row_is_shared_by_those_that_are_in_it(tiles, shares):
    beside = [{"view": "curve", "part": "a"} for _ in range(tiles - 1)]
    what = piece({"a": 8}, ONE, picture={"view": "curve", "part": "a", "beside": beside})
    whole = staged(what, 32)[0].draw(2.0, 96, 64)
    for number, (left, right) in enumerate(shares):
        rows = slice(64 * (number // 2) // (2 if tiles == 3 else 1), 64 * (number // 2 + 1) // (2 if tiles == 3 else 1))
        tile = whole[rows, round(left * 96) : round(right * 96)]
        assert (tile != np.array(GROUND, dtype=np.uint8)).any()
        alone = picture("curve", staged(what, 32)[1]["a"], 16, tile.shape[1], tile.shape[0])
        np.testing.assert_array_equal(tile, alone)


def test_what_has_not_begun_is_dark():
    late = {"name": "late", "bars": 1}
    beside = [{"view": "curve", "part": "b"}, {"view": "curve", "part": "never"}]
    what = piece(
        {"a": 8, "b": 8, "never": 8},
        {**ONE, "parts": ["a"]},
        {**late, "parts": ["a", "b"]},
        {"name": "last", "bars": 1, "parts": ["a"]},
        picture={"view": "curve", "part": "a", "beside": beside},
    )
    scene, recorded, _ = staged(what, 96, 32, 0)
    for seconds in (0.0, 2.0, 3.999):
        drawn = scene.draw(seconds, 80, 60)
        assert (drawn[:30, 40:] == np.array(GROUND, dtype=np.uint8)).all()
        assert (drawn[:30, :40] != np.array(GROUND, dtype=np.uint8)).any()
    np.testing.assert_array_equal(scene.draw(4.0, 80, 60)[:30, 40:], picture("curve", recorded["b"], 0, 40, 30))
    held = picture("curve", recorded["b"], 31.99999, 40, 30)
    np.testing.assert_array_equal(scene.draw(11.9, 80, 60)[:30, 40:], held)  # over: its last picture stays
    for seconds in (0.0, 6.0, 12.0):
        assert (scene.draw(seconds, 80, 60)[30:] == np.array(GROUND, dtype=np.uint8)).all()


def test_what_is_turned_round_is_seen_again():
    back = {"name": "two", "bars": 1, "warp": {"a": {"kind": "retrograde"}}}
    scene, _, _ = staged(piece({"a": 4}, ONE, back, picture={"view": "plots"}), 16)
    seen = [scene.draw((k + 0.5) / 4, 64, 48) for k in range(32)]
    assert len({picture.tobytes() for picture in seen}) == 16
    for k in range(16):
        np.testing.assert_array_equal(seen[k], seen[31 - k])


def test_what_is_frozen_stands_still():
    still = {"name": "two", "bars": 1, "warp": {"a": {"kind": "freeze"}}}
    scene, _, _ = staged(piece({"a": 4}, ONE, still, picture={"view": "plots"}), 16)
    seen = {scene.draw(t, 64, 48).tobytes() for t in np.arange(4, 8, 0.25)}
    assert len(seen) == 1
    assert scene.draw(3.0, 64, 48).tobytes() not in seen


def test_a_film_lasts_as_long_as_the_piece():
    what = piece({"a": 4}, {"name": "x", "bars": 1, "tempo": [60, 120]}, picture={"view": "plots"})
    scene, recorded, played = staged(what, 16)
    shown = list(scene.film(10, 32, 24))
    assert len(shown) == int(np.ceil(4 * np.log(2) * 10)) == 28
    expected = picture("plots", recorded["a"], played.layouts["a"].tick(2.0), 32, 24)
    np.testing.assert_array_equal(shown[20], expected)


@pytest.mark.parametrize(("ask", "said"), [((0.0, 7, 60), "width = 7"), ((0.0, 60, 9000), "height = 9000")])
def test_sizes_and_rates_that_no_picture_has(ask, said):
    scene, _, _ = staged(piece({"a": 4}, ONE, picture={"view": "plots"}), 16)
    with pytest.raises(PictureError, match=said):
        scene.draw(*ask)
    with pytest.raises(PictureError, match="fps = 0: allowed are numbers above 0, up to 240"):
        scene.film(0, 64, 64)


def test_many_pictures_in_a_small_frame():
    """Tiles may be smaller than any picture that is asked for alone."""
    beside = [{"view": view} for view in ("curve", "plots") * 7] + [{"view": "curve"}]
    what = piece({"a": 4}, ONE, picture={"view": "plots", "beside": beside})
    assert len(Picture(**what.picture.model_dump()).tiles) == 16
    assert staged(what, 16)[0].draw(1.0, 8, 8).shape == (8, 8, 3)
    assert staged(what, 16)[0].draw(1.0, 33, 21).shape == (21, 33, 3)
