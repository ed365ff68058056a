"""What a view is: a way of drawing frames, prepared once and drawn at any tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.signals import Event, Frames
from studio.pictures.canvas import BREAK, INK, LEARNED, Colour, Pixels, Points, mix

#: Beyond this a signal has left every picture; clipping there keeps arithmetic finite after a divergence.
FAR = 1e12


class PictureError(DescantError):
    """A picture that cannot be drawn."""


@dataclass(frozen=True)
class View:
    """A pure function of frames onto pixels, in two steps.

    Attributes
    ----------
    name, about : str
        What a piece calls it, and one sentence for people.
    needs : tuple of str
        Channels it cannot do without.
    prepare : callable
        ``(frames, options) → state``: all that does not depend on the tick or on the size.
    draw : callable
        ``(state, tick, width, height) → uint8 [height, width, 3]``.
    options : mapping
        What a piece may set, with a sentence each.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    prepare: Callable[[Frames, Mapping[str, Any]], Any]
    draw: Callable[[Any, float, int, int], Pixels]
    options: Mapping[str, str]


def signal(frames: Frames, name: str) -> NDArray[np.float64]:
    """A channel as finite float64 ``[ticks, *shape]``: what is not a number is 0, what explodes stays within `FAR`."""
    values = np.asarray(frames.arrays[name], dtype=np.float64)
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=FAR, neginf=-FAR), -FAR, FAR)


def scalars(frames: Frames) -> list[str]:
    """Names of the channels that are one number a tick, in the source's order."""
    return [n for n, a in frames.arrays.items() if a.ndim == 1 and a.dtype.kind in "fiub"]


def number(options: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A numeric option, checked.

    Raises
    ------
    PictureError
        If it is no number from `low` to `high`.
    """
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise PictureError(f"picture option {name} = {value!r}: allowed are numbers from {low:g} to {high:g}")
    return float(value)


def span(values: NDArray[np.float64], margin: float = 0.08) -> tuple[float, float]:
    """Lowest and highest value with a margin; never empty, and blind to the wildest half percent of a long signal."""
    if not values.size:
        return -1.0, 1.0
    outer = np.quantile(values, [0.0, 1.0])
    low, high = np.quantile(values, [0.005, 0.995]) if values.size >= 1000 else outer
    if outer[1] - outer[0] <= 4 * (high - low):
        low, high = outer
    room = (high - low) * margin or max(abs(high), 1e-9) * 0.5
    return float(low - room), float(high + room)


def to_box(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    spans: tuple[tuple[float, float], tuple[float, float]],
    box: tuple[float, float, float, float],
) -> Points:
    """Data to canvas points ``[n, 2]``: `spans` of x and y onto `box` (left, top, right, bottom), y upwards.

    Points far outside are held within one box size beyond, so that a divergence leaves the picture and nothing breaks.
    """
    (x0, x1), (y0, y1) = spans
    left, top, right, bottom = box
    u = np.clip((x - x0) / (x1 - x0), -1.0, 2.0)
    v = np.clip((y - y0) / (y1 - y0), -1.0, 2.0)
    return np.stack([left + u * (right - left), bottom - v * (bottom - top)], axis=-1)


def flash(events: list[Event], tick: float, rate: float, seconds: float = 0.8) -> float:
    """How brightly the last of `events` still shines at `tick`: 1 when it happens, then exp(-age / `seconds`)."""
    past = [e.tick for e in events if e.tick <= tick]
    return float(np.exp(-(tick - max(past)) / rate / seconds)) if past else 0.0


@dataclass(frozen=True)
class Mood:
    """Events that colour the learned shape: it whitens as it converges and burns as it breaks."""

    converged: list[Event]
    broken: list[Event]
    rate: float

    @classmethod
    def of(cls, frames: Frames) -> Mood:
        """The mood of a performance."""
        return cls(frames.of_kind("converged"), frames.of_kind("diverged", "exploded", "collapsed"), frames.rate)

    def colour(self, tick: float) -> Colour:
        """Colour of the learned shape."""
        white = mix(LEARNED, INK, flash(self.converged, tick, self.rate))
        return mix(white, BREAK, flash(self.broken, tick, self.rate))

    def glow(self, tick: float) -> float:
        """Strength of the halo."""
        return 0.5 + 0.4 * flash([*self.converged, *self.broken], tick, self.rate)
