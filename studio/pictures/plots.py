"""The view for everything: each scalar channel a ridge, lit up to the playhead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Frames
from pieces.source import nearest
from studio.pictures.canvas import FAINT, INK, Canvas, Pixels, dim, mix, series_colours
from studio.pictures.view import PictureError, View, scalars, signal, span

#: Points kept of a long signal (the lowest and highest of each of half as many stretches), and of all together.
POINTS, ALL_POINTS = 1280, 16_384


@dataclass(frozen=True)
class Trace:
    """A signal made ready for a plot: places and heights in 0..1."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


def heights(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` ``[ticks]`` over their own span as 0..1, on a log scale where they are positive and span two decades."""
    if values.min() > 0 and values.max() / values.min() > 100:
        values = np.log10(values)
    low, high = span(values)
    scaled: NDArray[np.float64] = np.clip((values - low) / (high - low), 0, 1)
    return scaled


def trace(values: NDArray[np.float64], points: int = POINTS) -> Trace:
    """The `heights` of a signal at even places; of a long one the lowest and highest of each stretch."""
    y = heights(values)
    x = (np.arange(len(y)) + 0.5) / len(y)
    if len(y) <= points:
        return Trace(x, y)
    cuts = np.linspace(0, len(y), points // 2, endpoint=False).astype(int)
    extremes = np.stack([np.minimum.reduceat(y, cuts), np.maximum.reduceat(y, cuts)], axis=1)
    return Trace(np.repeat(x[cuts], 2), extremes.ravel())


@dataclass(frozen=True)
class _Plots:
    traces: list[Trace]
    ticks: int
    marks: list[float]


def _chosen(frames: Frames, options: Mapping[str, Any]) -> list[str]:
    """The scalar channels, or those that the option ``channels`` lists, in its order."""
    known = scalars(frames)
    wanted = options.get("channels", known)
    if not isinstance(wanted, list | tuple) or (not wanted and known):
        raise PictureError(f"picture option channels = {wanted!r}: allowed is a list of channels: {', '.join(known)}")
    for name in wanted:
        if name not in known:
            raise PictureError(f"picture option channels: no scalar channel {name!r}{nearest(str(name), known)}")
    return list(wanted)


def _prepare(frames: Frames, options: Mapping[str, Any]) -> _Plots:
    signals = [signal(frames, n) for n in _chosen(frames, options)]
    if not signals:
        signals = [signal(frames, n).reshape(frames.ticks, -1).mean(axis=1) for n in frames.arrays]
    if not signals:
        raise PictureError("view 'plots': the performance has no channels, so there is nothing to draw")
    marks = sorted({e.tick / frames.ticks for e in frames.events if e.kind not in ("control", "score", "stopped")})
    points = max(min(POINTS, ALL_POINTS // len(signals)), 64)
    return _Plots([trace(s, points) for s in signals], frames.ticks, marks[:500])


def _draw(state: _Plots, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    left, right, top, bottom = 0.05 * width, 0.95 * width, 0.07 * height, 0.95 * height
    n = len(state.traces)
    pitch = (bottom - top) / (n + (0.6 if n > 6 else 0.0))
    rise = pitch * (0.8 if n <= 6 else 1.6)
    head = tick / state.ticks
    at = left + head * (right - left)
    for mark in state.marks:
        x = left + mark * (right - left)
        canvas.line([(x, top / 2), (x, bottom)], FAINT if mark > head else dim(INK, 0.22), 0.7)
    canvas.line([(at, top / 3), (at, height - (height - bottom) / 3)], dim(INK, 0.45), 1.2)
    for row, (one, colour) in enumerate(zip(state.traces, series_colours(n), strict=True)):
        base = bottom - (n - 1 - row) * pitch
        level = float(np.interp(head, one.x, one.y))
        points = np.stack([left + one.x * (right - left), base - one.y * rise], axis=1)
        here = np.array([[at, base - level * rise]])
        past, future = np.vstack([points[one.x <= head], here]), np.vstack([here, points[one.x > head]])
        for part, light in ((past, 0.16), (future, 0.05)):
            if len(part) > 1:
                feet = np.array([[part[-1, 0], base], [part[0, 0], base]])
                canvas.polygon(np.vstack([part, feet]), dim(colour, light))
        canvas.line([(left, base), (right, base)], dim(colour, 0.2), 0.6)
        canvas.line(future, dim(colour, 0.36), 1.1)
        canvas.line(past, colour, 1.7)
        canvas.disc(at, here[0, 1], max(2.6 - n / 40, 1.4), mix(colour, INK, 0.75))
    return canvas.finish(0.55)


PLOTS = View(
    "plots",
    "scalar channels as ridges, each in its own colour, lit up to the playhead",
    (),
    _prepare,
    _draw,
    {"channels": "list of the channels drawn, from the top; default: all"},
)
