"""What the eyes measure, on pictures whose descriptors are known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from studio.pictures.eyes import DESCRIPTORS, see


def plain(*colours: tuple[int, int, int], size: tuple[int, int] = (12, 16)) -> np.ndarray:
    """One picture of each colour."""
    return np.stack([np.broadcast_to(np.uint8(c), (*size, 3)) for c in colours])


def test_black_is_finite() -> None:
    eyes = see(plain((0, 0, 0)), 25)
    values = {name: getattr(eyes, name)[0] for name in DESCRIPTORS}
    assert values == dict.fromkeys(DESCRIPTORS, 0.0) | {"centre_x": 0.5, "centre_y": 0.5}


def test_hue_and_saturation_of_pure_colours() -> None:
    eyes = see(plain((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (90, 90, 90), (255, 128, 128)), 25)
    np.testing.assert_allclose(eyes.hue, [0, 120, 240, 60, 0, 0], atol=0.01)
    np.testing.assert_allclose(eyes.saturation, [1, 1, 1, 1, 0, 127 / 255], atol=1e-9)


def test_hue_is_a_circular_mean_and_black_surroundings_do_not_matter() -> None:
    picture = plain((0, 0, 0))
    picture = picture.copy()
    picture[0, :, 3], picture[0, :, 9] = (255, 0, 128), (255, 128, 0)
    eyes = see(picture, 25)
    assert min(eyes.hue[0], 360 - eyes.hue[0]) < 1
    assert eyes.saturation[0] == 1.0


def test_half_white() -> None:
    picture = np.zeros((1, 20, 40, 3), np.uint8)
    picture[:, :, 20:] = 255
    eyes = see(picture, 25)
    assert eyes.brightness[0] == pytest.approx(0.5)
    assert eyes.contrast[0] == pytest.approx(0.5)
    assert eyes.entropy[0] == pytest.approx(1.0)
    assert eyes.coverage[0] == 0.5
    assert eyes.centre_x[0] == pytest.approx(0.75)
    assert eyes.centre_y[0] == pytest.approx(0.5)
    assert eyes.detail[0] == pytest.approx(1 / 40)


def test_change_between_pictures() -> None:
    eyes = see(plain((0, 0, 0), (255, 255, 255), (255, 255, 255), (204, 255, 255)), 10)
    np.testing.assert_allclose(eyes.change, [0, 1, 0, 0.2 / 3])
    np.testing.assert_allclose(eyes.times, [0, 0.1, 0.2, 0.3])


def test_noise_has_more_entropy_and_detail_than_a_drawing() -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (1, 120, 160, 1), np.uint8), 3, axis=3)
    drawing = np.zeros((1, 120, 160, 3), np.uint8)
    drawing[:, 60] = 255
    wild, calm = see(grey, 1), see(drawing, 1)
    assert wild.entropy[0] > 7.9
    assert calm.entropy[0] < 0.1
    assert wild.detail[0] > 10 * calm.detail[0]


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_any_picture_is_finite_in_range_and_mirrors(pictures: np.ndarray) -> None:
    eyes, mirrored = see(pictures, 25), see(pictures[:, :, ::-1], 25)
    top = {"hue": 360, "entropy": 8, "detail": 2**0.5}
    for name in DESCRIPTORS:
        values = getattr(eyes, name)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (values <= top.get(name, 1) + 1e-9).all()
    np.testing.assert_allclose(mirrored.centre_x, 1 - eyes.centre_x, atol=1e-9)
    np.testing.assert_allclose(mirrored.centre_y, eyes.centre_y, atol=1e-9)
    np.testing.assert_allclose(mirrored.entropy, eyes.entropy, atol=1e-9)


def test_no_pictures_no_values() -> None:
    assert see(np.zeros((0, 4, 4, 3), np.uint8), 25).brightness.shape == (0,)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((1, 0, 4, 3), np.uint8)]
)
def test_other_arrays_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="allowed is uint8"):
        see(wrong, 25)


def test_eyes_know_no_other_room() -> None:
    script = "import sys, studio.pictures.eyes; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {m for m in loaded if m.startswith("studio")} == {
        "studio",
        "studio.pictures",
        "studio.pictures.eyes",
    }
    assert not loaded & {"pieces", "sonify", "db", "PIL", "torch"}


def test_the_hue_is_that_of_what_stands_out_of_the_ground():
    """An amber curve on navy, as the views draw it; an empty ground has its own hue, and a small thing is seen."""
    navy, amber = (18, 22, 48), (230, 160, 60)
    ground = np.full((36, 64, 3), navy, np.uint8)
    curve = ground.copy()
    curve[18:20, 8:40] = amber
    full = np.full((36, 64, 3), amber, np.uint8)
    found = see(np.stack([ground, curve, full]), 8.0).hue
    assert found[0] == pytest.approx(232, abs=8)
    assert found[1] == pytest.approx(found[2], abs=12)
    assert found[2] == pytest.approx(35, abs=5)
