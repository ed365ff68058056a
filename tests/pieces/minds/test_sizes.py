"""Pictures that are not square: every source that draws makes them as asked, and every view shows them as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from pieces.signals import Channel, Frames, Value, gather
from pieces.source import check_controls, find_source
from studio.pictures.draw import picture

HEIGHT, WIDTH = 48, 96
#: What makes each source quick, and its view.
SOURCES: Mapping[str, tuple[dict[str, Value], str]] = {
    "denoising": ({"pictures": 1, "draws": 0}, "denoising"),
    "alien": ({"modules": 2}, "alien"),
    "knockouts": ({"keys": 2, "every": 2}, "alien"),
    "interconcept": ({"cells": 2, "depth": 0}, "island"),
}
PINK = (255, 0, 255)


@pytest.fixture(scope="module", params=SOURCES)
def played(request: pytest.FixtureRequest) -> tuple[tuple[Channel, ...], Frames, str]:
    """The channels that a source of wide pictures declares, its first ticks, and its view."""
    few, view = SOURCES[request.param]
    cls = find_source(request.param)
    controls = check_controls(cls, {**few, "height": HEIGHT, "width": WIDTH, "steps": 1})
    source = cls(1, controls)
    return source.channels, gather([source.step(controls, (), 3)], 4.0), view


def shown(frames: Frames) -> str:
    return next(name for name, array in frames.arrays.items() if array.dtype == np.uint8)


def test_pictures_are_made_as_they_are_declared(played: tuple[tuple[Channel, ...], Frames, str]) -> None:
    channels, frames, _ = played
    assert {c.name: c.shape for c in channels} == {n: a.shape[1:] for n, a in frames.arrays.items()}
    pictures = frames.arrays[shown(frames)]
    assert pictures.shape[1:] == (HEIGHT, WIDTH, 3)
    assert all(half.std() > 1 for half in np.split(pictures[0], 2, axis=1)), "drawn from end to end"


def disc(height: int, width: int) -> NDArray[np.uint8]:
    """A pink disc on black."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) < 0.4 * min(height, width)
    return np.where(inside[..., None], np.array(PINK, np.uint8), np.uint8(0))


@pytest.mark.parametrize("sides", [(HEIGHT, WIDTH), (WIDTH, HEIGHT)], ids=["wide", "tall"])
def test_what_is_round_is_seen_round(played: tuple[tuple[Channel, ...], Frames, str], sides: tuple[int, int]) -> None:
    _, frames, view = played
    round_ = np.repeat(disc(*sides)[None], frames.ticks, axis=0)
    image = picture(view, replace(frames, arrays={**frames.arrays, shown(frames): round_}), 2, 640, 360).astype(int)
    pink = (image[..., 0] > 150) & (image[..., 1] < 90) & (image[..., 2] > 150)
    found = [[s.stop - s.start for s in where] for where in find_objects(label(pink)[0])]
    large = [(high, wide) for high, wide in found if max(high, wide) >= 16]
    assert large
    for high, wide in large:
        assert wide / high == pytest.approx(1, abs=0.15)
