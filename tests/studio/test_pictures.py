"""What the pictures show: asserted on their pixels."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import find_objects, label

from pieces.arrange import Layout
from pieces.piece import Picture
from pieces.signals import Event, Frames, gather
from pieces.source import check_controls, find_source
from studio.pictures.canvas import GOAL, GROUND, INK, LEARNED, Canvas, ramp
from studio.pictures.draw import VIEWS, PictureError, picture
from studio.pictures.landscape import RIDER
from studio.pictures.scene import Scene

SIZE = (320, 180)
PINK = (255, 0, 255)


def curve(learned: Any, target: Any, events: tuple[Event, ...] = ()) -> Frames:
    learned, target = np.atleast_2d(learned), np.atleast_2d(target)
    arrays = {n: learned[:, i].astype(np.float32) for i, n in enumerate("abcd")}
    arrays |= {f"target_{n}": target[:, i].astype(np.float32) for i, n in enumerate("abcd")}
    return Frames(arrays, events, 50.0, len(learned))


def knots(learned: Any, target: Any) -> Frames:
    arrays = {n: np.full(200, learned[i]) for i, n in enumerate("abc")}
    arrays |= {f"target_{n}": np.full(200, target[i]) for i, n in enumerate("abc")}
    arrays |= {n: np.full(200, k) for n, k in (("nx", 3.0), ("ny", 2.0), ("nz", 7.0))}
    return Frames(arrays, (), 50.0, 200)


def digits(ticks: int = 120, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    names = [n for n in VIEWS["layers"].needs if n not in ("confusion", "kernels")]
    arrays: dict[str, Any] = {n: np.exp(rng.normal(size=ticks)).astype(np.float32) for n in names}
    arrays["confusion"] = rng.integers(0, 40, (ticks, 10, 10)).astype(np.uint16)
    arrays["kernels"] = rng.normal(size=(ticks, 8, 3, 3)).astype(np.float32)
    return Frames(arrays, (), 30.0, ticks)


def ride(ticks: int = 200, events: tuple[Event, ...] = ()) -> Frames:
    t = np.linspace(0, 1, ticks)[:, None]
    classes = 1.5 + np.sin((3 + np.arange(10)) * 2 * t + np.arange(10)) + t
    return Frames({"loss": classes.mean(axis=1), "class_loss": classes}, events, 40.0, ticks)


def scene(frames: Frames) -> Scene:
    return Scene(Picture(view="plots"), {"a": frames}, {"a": Layout.plain(frames)}, frames.duration)


def noise(channels: int, ticks: int = 300) -> Frames:
    rng = np.random.default_rng(channels)
    return Frames({f"c{i}": rng.normal(size=ticks).cumsum() for i in range(channels)}, (), 20.0, ticks)


def pictures(ticks: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(ticks).integers(0, 256, (ticks, side, side, 3), dtype=np.uint8)


def denoising(ticks: int = 40) -> Frames:
    falls = np.linspace(1, 0, ticks // 2)
    arrays = {n: np.concatenate([falls, falls]).astype(np.float32) for n in ("noise_level", "spread")}
    arrays["step_size"] = np.full(ticks, 50.0, np.float32)
    arrays["latents"] = np.random.default_rng(1).normal(size=(ticks, 4, 8, 8)).astype(np.float32)
    events = (Event(0, "picture", {"number": 0}), Event(ticks // 2, "picture", {"number": 1}))
    return Frames({**arrays, "x0_picture": pictures(ticks)}, events, 10.0, ticks)


def alien(ticks: int = 30) -> Frames:
    rows = np.random.default_rng(2).random((3, ticks)).astype(np.float32)
    arrays = dict(zip(("distance_pixels", "concept", "nothing"), rows, strict=True))
    return Frames({**arrays, "picture": pictures(ticks)}, (Event(9, "lost"), Event(12, "nothing")), 12.0, ticks)


def island(ticks: int = 24) -> Frames:
    t, axis = np.linspace(0, 1, ticks), np.linspace(-1, 1, 17)
    chart = 1 / (1 + np.exp(8 * (np.hypot(*np.meshgrid(axis, axis)) - 0.5)))
    arrays = {"x": t, "y": 0.3 * t, "concept": 1 - t, "radius": np.ones(ticks), "picture": pictures(ticks)}
    arrays["chart"] = np.repeat(chart[None], ticks, 0).astype(np.float32)
    return Frames(arrays, (Event(9, "departure"),), 4.0, ticks)


EXAMPLES: dict[str, Frames] = {
    "curve": curve(np.linspace(-1, 1, 120).reshape(30, 4), np.full((30, 4), 0.5)),
    "knots": knots((0.1, 0.9, 0.4), (0.5, 0.2, 0.8)),
    "layers": digits(),
    "landscape": ride(events=(Event(60, "cliff"),)),
    "denoising": denoising(),
    "alien": alien(),
    "island": island(),
    "plots": noise(7),
}


def near(image: np.ndarray, colour: tuple[int, int, int], within: int = 48) -> np.ndarray:
    """Pixels of about this colour."""
    found: np.ndarray = (np.abs(image.astype(int) - colour) <= within).all(axis=2)
    return found


def test_every_view_has_an_example() -> None:
    assert set(EXAMPLES) == set(VIEWS)


def test_learned_curve_covers_the_target_when_they_agree() -> None:
    target = (0.8, -0.3, -0.6, 0.2)
    frames = curve([(-0.8, 0.9, 0.2, -0.4), target], [target, target])
    before, after = (picture("curve", frames, tick, *SIZE, {"trail": 0}) for tick in (0, 1))
    goal = near(before, GOAL)
    assert goal.sum() > 300
    assert near(after, GOAL).sum() == 0
    assert near(after, LEARNED, 70)[goal].mean() > 0.99
    assert near(before, LEARNED, 70)[goal].mean() < 0.1


def test_cubics_source_learns_until_its_target_cannot_be_seen() -> None:
    cls = find_source("cubics")
    controls = check_controls(cls, {"learning_rate": 0.2, "targets": 1, "rest": 800})
    frames = gather([cls(1, controls).step(controls, (), 1000)], 50.0)
    seen = [near(picture("curve", frames, t, *SIZE), GOAL).sum() for t in (0, frames.ticks - 1)]
    assert seen[0] > 200
    assert seen[1] == 0


def test_trail_fades_out_where_a_new_target_begins() -> None:
    learned = np.linspace(-1, 1, 80).reshape(20, 4)
    target = np.repeat([[0.5] * 4, [-0.5] * 4], 10, axis=0)
    otherwise = np.vstack([learned[9::-1], learned[10:]])
    first, second = curve(learned, target), curve(otherwise, target)
    for tick, equal in ((9, False), (10, True)):
        one, two = (picture("curve", f, tick, *SIZE, {"trail": 0.2}) for f in (first, second))
        assert np.array_equal(one, two) == equal


def test_knots_of_equal_phases_are_one_knot() -> None:
    phases, others = (0.3, 1.0, 2.0), (1.3, 0.2, 1.1)
    same = picture("knots", knots(phases, phases), 10, *SIZE)
    turned = picture("knots", knots(np.array(phases) + 2 * np.pi, phases), 10, *SIZE)
    apart = picture("knots", knots(others, phases), 10, *SIZE)
    blue = [int(((p[..., 2].astype(int) - p[..., 0]) > 40).sum()) for p in (same, apart)]
    assert blue[0] == 0
    assert blue[1] > 500
    assert np.abs(same.astype(int) - turned).mean() < 0.05


def test_knots_turn_and_come_back() -> None:
    frames = EXAMPLES["knots"]
    start, later, whole = (picture("knots", frames, t, *SIZE, {"turn": 3.0}) for t in (0, 40, 150))
    assert np.abs(start.astype(int) - later).mean() > 2
    assert np.abs(start.astype(int) - whole).mean() < 0.05


def test_riders_height_follows_the_loss() -> None:
    frames = ride()
    column = round(RIDER * SIZE[0])
    heights, losses = [], []
    for tick in range(0, 200, 5):
        strip = near(picture("landscape", frames, tick, *SIZE), INK, 30)[: round(0.85 * SIZE[1]), column]
        heights.append(-np.flatnonzero(strip).mean())
        losses.append(frames.arrays["loss"][tick])
    assert np.corrcoef(np.argsort(np.argsort(heights)), np.argsort(np.argsort(losses)))[0, 1] > 0.99


def test_cliffs_are_bright_strokes_that_come_to_the_rider() -> None:
    cliff = ride(events=(Event(60, "cliff"),))

    def red_sky(frames: Frames, tick: float) -> np.ndarray:
        sky = picture("landscape", frames, tick, *SIZE)[10:20].astype(int)
        return np.flatnonzero((sky[..., 0] - sky[..., 2] > 60).all(axis=0))

    places = [red_sky(cliff, tick).mean() for tick in (40, 50, 60)]
    assert places[0] > places[1] > places[2] == pytest.approx(RIDER * SIZE[0], abs=2)
    assert red_sky(ride(), 60).size == 0


@pytest.mark.parametrize("channels", [1, 5, 64])
def test_playhead_moves_with_time(channels: int) -> None:
    frames = noise(channels)
    for tick in (0.0, 60.0, 150.0, 299.0):
        row = picture("plots", frames, tick, 640, 360)[15].sum(axis=1)
        assert abs(int(row.argmax()) - (32 + 576 * tick / 300)) <= 1.5


def test_every_trace_has_its_colour_and_lights_up_with_time() -> None:
    early, late = (picture("plots", noise(5), t, 640, 360).astype(float) for t in (10, 290))
    assert late.mean() > 1.2 * early.mean()
    colours = {tuple(c) for c in late.reshape(-1, 3)}
    for i in range(5):
        assert min(sum(abs(a - b) for a, b in zip(ramp(i / 4), c, strict=True)) for c in colours) < 40


def test_layers_show_right_answers_amber_and_wrong_ones_blue() -> None:
    right, wrong = digits(), digits()
    right.arrays["confusion"][:] = 36 * np.eye(10, dtype=np.uint16)  # type: ignore[index]
    wrong.arrays["confusion"][:] = np.roll(36 * np.eye(10, dtype=np.uint16), 3, axis=1)  # type: ignore[index]
    matrix = (slice(0, 100), slice(200, 320))
    seen = [picture("layers", f, 100, *SIZE)[matrix].astype(float) for f in (right, wrong)]
    warm = [float((p[..., 0] - p[..., 2]).mean()) for p in seen]
    assert warm[0] > 1 > -1 > warm[1]


def test_rivers_flow_in_from_now_and_swell_with_the_gradient() -> None:
    frames = digits()
    frames.arrays["grad_norm_conv1"][:] = np.linspace(0.01, 10, 120)  # type: ignore[index]
    first, last = (picture("layers", frames, t, *SIZE, {"window": 3.0}).astype(float) for t in (0, 119))
    left = (slice(20, 160), slice(14, 60))
    assert first[left].mean() < 0.5 * last[left].mean()
    top_river = last[13:51, 14:170].sum(axis=2) > 130
    assert top_river[:, -30:].sum() > 1.3 * top_river[:, :30].sum()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(VIEWS)), st.integers(8, 300), st.integers(8, 300), st.floats(-5, 500))
def test_any_size_and_tick(view: str, width: int, height: int, tick: float) -> None:
    image = picture(view, EXAMPLES[view], tick, width, height)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, picture(view, EXAMPLES[view], tick, width, height))


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_size_changes_sharpness_only(view: str) -> None:
    large = picture(view, EXAMPLES[view], 20, 1280, 720).astype(float)
    small = picture(view, EXAMPLES[view], 20, 640, 360).astype(float)
    shrunk = large.reshape(360, 2, 640, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 4


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_divergence_is_drawn(view: str) -> None:
    frames = EXAMPLES[view]
    seen = {n: a for n, a in frames.arrays.items() if a.dtype == np.uint8}  # pictures are finite
    broken = {n: a.astype(np.float64) for n, a in frames.arrays.items() if n not in seen}
    for array in broken.values():
        array[5:8] = np.nan
        array[8:] = np.inf
        array[11:14] = -1e300
    wild = Frames(broken | seen, (Event(5, "diverged"),), frames.rate, frames.ticks)
    for tick in (0, 6, 12):
        assert picture(view, wild, tick, *SIZE).shape == (SIZE[1], SIZE[0], 3)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(5, 60), st.floats(5, 60), st.sampled_from([0.0, 3.0]))
def test_a_picture_keeps_its_shape_in_the_middle_of_any_box(
    rows: int, columns: int, wide: float, high: float, rim: float
) -> None:
    """Of pink, with its rim in blue, as far as the box goes and no further."""
    canvas = Canvas(80, 80)
    canvas.picture(np.full((rows, columns, 3), PINK, np.uint8), 10, 10, 10 + wide, 10 + high, rim, GOAL)
    image = canvas.finish(0)
    pink, painted = near(image, PINK), (image != GROUND).any(axis=2)
    scale = min(wide / columns, high / rows)
    for axis, side, most in ((0, columns * scale, wide), (1, rows * scale, high)):
        seen, whole = (np.flatnonzero(found.any(axis=axis)) for found in (pink, painted))
        if scale * min(rows, columns) > 3:
            assert seen[-1] - seen[0] + 1 == pytest.approx(side, abs=1.6)
        assert whole[-1] - whole[0] + 1 == pytest.approx(side + 2 * rim, abs=2.6)
        assert (whole[0] + whole[-1] + 1) / 2 == pytest.approx(10 + most / 2, abs=1.1)


def test_wide_latents_are_seen_wide() -> None:
    """Four channels, full of amber, before any noise is gone."""
    frames = denoising()
    frames.arrays["latents"] = np.full((40, 4, 8, 16), 9.0, np.float32)  # type: ignore[index]
    amber = near(picture("denoising", frames, 0, *SIZE), LEARNED)[:, : SIZE[0] // 2]
    places = find_objects(label(amber)[0])
    assert len(places) == 4
    for rows, columns in places:
        assert (columns.stop - columns.start) / (rows.stop - rows.start) == pytest.approx(2, abs=0.1)


def test_film_shows_time_k_over_fps() -> None:
    frames = EXAMPLES["plots"]
    film = list(scene(frames).film(2.0, 64, 36))
    assert len(film) == 30
    np.testing.assert_array_equal(film[7], picture("plots", frames, 70, 64, 36, {}))


SCRIPT = """
import hashlib, importlib.util, sys
spec = importlib.util.spec_from_file_location("again", sys.argv[1]); again = importlib.util.module_from_spec(spec)
sys.modules["again"] = again; spec.loader.exec_module(again)
print(again.digest())
"""


def digest() -> str:
    """Hash of a picture of every view."""
    shown = b"".join(picture(v, f, 17.3, 200, 120).tobytes() for v, f in sorted(EXAMPLES.items()))
    return hashlib.sha256(shown).hexdigest()


def test_equal_pixels_in_another_process() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, __file__], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()


def test_errors_name_what_is_wrong() -> None:
    frames = noise(2)
    with pytest.raises(PictureError, match="view 'curve' needs channel 'a'"):
        picture("curve", frames, 0, *SIZE)
    with pytest.raises(PictureError, match="no view 'plot'; did you mean 'plots'"):
        picture("plot", frames, 0, *SIZE)
    with pytest.raises(PictureError, match="no option 'trial'"):
        picture("curve", EXAMPLES["curve"], 0, *SIZE, {"trial": 1})
    with pytest.raises(PictureError, match=r"x_range = 'wide': allowed are numbers from 0.001 to 1000"):
        picture("curve", EXAMPLES["curve"], 0, *SIZE, {"x_range": "wide"})
    with pytest.raises(PictureError, match="width = 4: allowed are 8 to 8192"):
        picture("plots", frames, 0, 4, 180)
    with pytest.raises(PictureError, match="no ticks"):
        picture("plots", Frames({}, (), 10.0, 0), 0, *SIZE)
    with pytest.raises(PictureError, match="fps = 0"):
        scene(frames).film(0, *SIZE)


def test_ramp_rises_in_lightness() -> None:
    luma = [np.dot(ramp(u), (0.2126, 0.7152, 0.0722)) for u in np.linspace(0, 1, 50)]
    assert (np.diff(luma) > 0).all()


def test_plots_draw_the_channels_that_are_asked_for():
    x = np.sin(np.arange(50) / 5)
    frames = Frames({"x": x, "y": np.cos(x)}, (), 10.0, 50)
    only = Frames({"x": x}, (), 10.0, 50)
    chosen = picture("plots", frames, 25, 160, 90, {"channels": ["x"]})
    np.testing.assert_array_equal(chosen, picture("plots", only, 25, 160, 90))
    assert (chosen != picture("plots", frames, 25, 160, 90)).any()
    with pytest.raises(PictureError, match="no scalar channel 'z'"):
        picture("plots", frames, 25, 160, 90, {"channels": ["z"]})
