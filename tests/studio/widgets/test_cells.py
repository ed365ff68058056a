"""Pixels as terminal cells: a terminal that reads the strings shows the picture, at every depth of colour."""

from __future__ import annotations

import re

import numpy as np
import pytest

from studio.widgets.cells import ANSI, encode, pixel_size, quantised, reduced

SGR = re.compile(r"\x1b\[([0-9;]*)m|(.)", re.DOTALL)


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    found[: height // 2, : width // 2] = (12, 200, 90)  # a plain stretch, where colours need not be said again
    return found


def shown(rows):
    """What a terminal shows of half blocks: colours as they stand in the codes, ``[height, width]``."""
    found = []
    for row in rows:
        upper, lower, above, below = None, None, [], []
        for code, character in SGR.findall(row):
            if character:
                assert character == "▀"
                above.append(upper)
                below.append(lower)
                continue
            words = [int(w) for w in code.split(";")]
            while words:
                first = words.pop(0)
                if first == 0:
                    upper = lower = None
                elif first in (38, 48):
                    kind = words.pop(0)
                    value = tuple(words.pop(0) for _ in range(3)) if kind == 2 else words.pop(0)
                    upper, lower = (value, lower) if first == 38 else (upper, value)
                else:
                    layer, base = ("upper", 30) if first % 100 // 10 in (3, 9) and first < 100 else ("lower", 40)
                    number = first - base if first < 50 else first - base - 52
                    upper, lower = (number, lower) if layer == "upper" else (upper, number)
        found += [above, below]
    return found


def test_true_colour_is_exact():
    given = picture(37, 20)
    assert np.array_equal(np.array(shown(encode(given, "true"))), given)


def test_256_colours_are_the_nearest_ones():
    given = picture(16, 8)
    codes = np.array(shown(encode(given, "256")))
    assert codes.min() >= 16
    drawn = reduced(given, "256").astype(int)
    cube = np.array([0, 95, 135, 175, 215, 255])
    others = np.stack(np.meshgrid(cube, cube, cube, indexing="ij"), -1).reshape(-1, 3)
    greys = np.repeat(8 + 10 * np.arange(24), 3).reshape(-1, 3)
    palette = np.concatenate([others, greys])
    nearest = ((given[:, :, None, :].astype(int) - palette) ** 2).sum(-1).min(-1)
    ours = ((given.astype(int) - drawn) ** 2).sum(-1)
    assert (ours <= nearest * 1.3 + 200).all()
    assert np.array_equal(palette[codes - 16], drawn)


def test_16_colours_are_those_that_the_segments_have():
    given = picture(16, 8)
    codes = np.array(shown(encode(given, "16")))
    assert set(np.unique(codes)) <= set(range(16))
    assert np.array_equal(ANSI[codes], reduced(given, "16"))
    dark = np.zeros((8, 16, 3), np.uint8) + 8
    assert set(np.ravel(shown(encode(dark, "16")))) == {0}


def test_without_colour_light_is_dots():
    width, height = pixel_size(8, 4, "none")
    given = np.zeros((height, width, 3), np.uint8)
    given[:, : width // 2] = 255
    rows = encode(given, "none")
    assert rows == ["⣿⣿⣿⣿⠀⠀⠀⠀"] * 4
    assert "\x1b" not in "".join(rows)


@pytest.mark.parametrize("depth", ["true", "256", "16", "none"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (128, 64)])
def test_rows_are_exactly_as_wide_as_the_picture(depth, size):
    width, height = pixel_size(*size, depth)
    rows = encode(picture(width, height), depth)
    assert len(rows) == size[1]
    for row in rows:
        assert sum(1 for _, character in SGR.findall(row) if character) == size[0]
        assert depth == "none" or row.endswith("\x1b[0m")


def test_what_does_not_change_is_not_said_again():
    plain = np.full((2, 100, 3), 77, np.uint8)
    assert len(encode(plain, "true")[0]) < 160
    assert len(encode(picture(100, 2), "true")[0]) > 1000


def test_fewer_bits_stay_near_and_keep_black_and_white():
    given = picture(16, 8)
    assert np.abs(quantised(given, 5).astype(int) - given).max() < 16
    ends = np.array([[[0, 255, 0]]], np.uint8)
    assert np.array_equal(quantised(ends, 5), ends)
