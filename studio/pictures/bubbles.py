"""Bubbles: discs in which the pixels of a picture are displaced by gradients, one for every note that was played.

After P. S. Castro, "Losses, Dissonances, and Distortions" (2021), part 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Event
from studio.pictures.canvas import Pixels

Preset = Literal["code", "robust"]

#: Pixels by which a disc displaces at most, and the gradient above which it does not grow.
REACH, LARGEST = 100.0, 0.1
#: Seconds that a bubble lives and in which it grows and shrinks, and the most that are seen at once.
LIFE, BREATH, MOST = 9.0, 0.6, 24
#: How far the next bubble is from the last one, as a share of the height: the golden ratio spreads any number evenly.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Bubble:
    """A disc. Centre and radius are in pixels, `age` in seconds; `gradient` tells which of the gradients moves it."""

    x: float
    y: float
    radius: float
    age: float
    gradient: int


def bubbled(
    image: Pixels, bubbles: Iterable[Bubble], gradients: Sequence[float], preset: Preset = "robust", unit: float = 1.0
) -> Pixels:
    """A picture with discs in which each pixel shows what lies elsewhere in the picture.

    Where θ = 5 * gradient * age + x / 300, a pixel at x shows the one at (cos θ, sin θ) * 100 pixels from it; held
    within the picture. `code` is as published and displaces even where the gradient is 0; in `robust` the
    displacement is in proportion to the gradient's size, so that it is gone with it.

    Parameters
    ----------
    image : ndarray
        RGB, uint8 ``[height, width, 3]``.
    bubbles : iterable of Bubble
        A later one lies over earlier ones; each displaces the picture, and not what another one made of it.
    gradients : sequence of float
        Clipped to -0.1..0.1.
    preset : {"robust", "code"}
    unit : float
        Size of a pixel of the formula in this picture's pixels, so that a small picture looks like a large one.

    Returns
    -------
    ndarray
        Of the same shape. Without bubbles, and of `robust` with gradients that displace by less than half a pixel, it
        is the input, bit for bit.
    """
    height, width = image.shape[:2]
    found = image.copy()
    for bubble in bubbles:
        left, right = _within(bubble.x, bubble.radius, width)
        top, bottom = _within(bubble.y, bubble.radius, height)
        if left >= right or top >= bottom:
            continue
        gradient = min(max(float(gradients[bubble.gradient % len(gradients)]), -LARGEST), LARGEST)
        x, y = np.arange(left, right), np.arange(top, bottom)[:, None]
        angle = 5 * gradient * bubble.age + x / (300 * unit)
        reach = REACH * unit * (abs(gradient) / LARGEST if preset == "robust" else 1.0)
        columns = np.clip(x + _pixels(reach * np.cos(angle)), 0, width - 1)
        rows = np.clip(y + _pixels(reach * np.sin(angle)), 0, height - 1)
        inside = (x - bubble.x) ** 2 + (y - bubble.y) ** 2 <= bubble.radius**2
        np.copyto(found[top:bottom, left:right], image[rows, columns], where=inside[..., None])
    return found


def _within(centre: float, radius: float, size: int) -> tuple[int, int]:
    return max(int(np.ceil(centre - radius)), 0), min(int(np.floor(centre + radius)) + 1, size)


def _pixels(displacement: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.asarray(np.rint(displacement), dtype=np.intp)


def blown(notes: Sequence[tuple[float, Event]], seconds: float, width: int, height: int) -> list[Bubble]:
    """The bubbles that are seen at a time: every note blew one, low notes at the left, hard ones large; they rise.

    Parameters
    ----------
    notes : sequence of (float, Event)
        When each note was struck, in order, and its event (``midi``, ``velocity`` 0..1).
    seconds : float
    width, height : int
        Of the picture, in pixels.
    """
    found = []
    for number, (struck, event) in enumerate(notes):
        age = seconds - struck
        if not 0 <= age < LIFE:
            continue
        breath = min(age, LIFE - age, BREATH) / BREATH
        radius = height * (0.08 + 0.10 * float(event.data.get("velocity", 0.7))) * np.sqrt(breath)
        x = width * (0.06 + 0.88 * min(max((float(event.data["midi"]) - 36) / 48, 0.0), 1.0))
        y = height * (0.25 + 0.65 * ((number * _GOLDEN) % 1.0) - 0.18 * age / LIFE)
        found.append(Bubble(x, y, float(radius), age, number))
    return found[-MOST:]
