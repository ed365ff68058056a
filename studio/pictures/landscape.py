"""The view of a ride through a loss landscape: a mountain section, made of its classes, with a rider on the ridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Event, Frames
from studio.pictures.canvas import BREAK, FAINT, INK, LEARNED, Canvas, Pixels, dim, mix, series_colours
from studio.pictures.plots import Trace, heights, trace
from studio.pictures.view import View, flash, number, signal

#: Where in the picture the rider is, from the left; and where the map of the whole path lies, from the top.
RIDER = 0.4
SUMMIT, BASE, MAP_TOP, MAP_BOTTOM = 0.12, 0.80, 0.88, 0.96


@dataclass(frozen=True)
class _Ride:
    profile: NDArray[np.float64]
    strata: NDArray[np.float64]
    chart: Trace
    cliffs: list[Event]
    window: float
    rate: float


def _prepare(frames: Frames, options: Mapping[str, Any]) -> _Ride:
    classes = np.maximum(signal(frames, "class_loss"), 0)
    shares = classes / np.maximum(classes.sum(axis=1, keepdims=True), 1e-12)
    loss = signal(frames, "loss")
    return _Ride(
        profile=0.04 + 0.96 * heights(loss),
        strata=np.cumsum(shares, axis=1),
        chart=trace(loss),
        cliffs=frames.of_kind("cliff"),
        window=number(options, "window", 0.4, 0.01, 1.0) * frames.ticks,
        rate=frames.rate,
    )


def _draw(state: _Ride, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    base, rise = BASE * height, (BASE - SUMMIT) * height
    ticks = len(state.profile)
    columns = min(max(width, 64), 720)
    seen = tick + state.window * np.linspace(-RIDER, 1 - RIDER, columns)
    x = np.linspace(0, width, columns)
    on = (seen >= 0) & (seen <= ticks - 1)
    path = np.interp(seen, np.arange(ticks), state.profile)
    shock = flash(state.cliffs, tick, state.rate, 0.35)
    for cliff in state.cliffs:
        at = width * (RIDER + (cliff.tick - tick) / state.window)
        if -5 <= at <= width + 5:
            near = max(0.0, 1 - abs(cliff.tick - tick) / (0.5 * state.window))
            canvas.line([(at, 0.05 * height), (at, base)], dim(BREAK, 0.35 + 0.65 * near), 1.4 + 2.2 * near)
    if on.sum() > 1:
        _mountain(canvas, state, seen[on], np.stack([x, base - path * rise], axis=1)[on], base)
        canvas.line(np.stack([x, base - path * rise], axis=1)[on], mix(LEARNED, BREAK, shock), 2.6)
    canvas.line([(0, base), (width, base)], FAINT)
    level = base - float(np.interp(tick, np.arange(ticks), state.profile)) * rise
    canvas.line([(width * RIDER, level), (width * RIDER, base)], dim(INK, 0.5), 1.0)
    canvas.disc(width * RIDER, level, 6.0 + 3 * shock, INK)
    _map(canvas, state, tick, ticks)
    return canvas.finish(0.5 + 0.4 * shock)


def _mountain(canvas: Canvas, state: _Ride, seen: NDArray[np.float64], ridge: NDArray[np.float64], base: float) -> None:
    """The section under the ridge, in strata: how much of the loss each class has, the first class at the bottom."""
    classes = state.strata.shape[1]
    ticks = np.arange(len(state.strata))
    for layer, colour in reversed(list(enumerate(series_colours(classes)))):
        share = np.interp(seen, ticks, state.strata[:, layer])
        top = base - (base - ridge[:, 1]) * share
        feet = np.array([[ridge[-1, 0], base], [ridge[0, 0], base]])
        edge = np.stack([ridge[:, 0], top], axis=1)
        canvas.polygon(np.vstack([edge, feet]), dim(colour, 0.16 if layer % 2 else 0.24))
        canvas.line(edge, dim(colour, 0.6), 0.7)


def _map(canvas: Canvas, state: _Ride, tick: float, ticks: int) -> None:
    """The whole path, small, with its cliffs and where the rider is."""
    left, right = 0.05 * canvas.width, 0.95 * canvas.width
    top, bottom = MAP_TOP * canvas.height, MAP_BOTTOM * canvas.height
    for cliff in state.cliffs:
        at = left + cliff.tick / ticks * (right - left)
        canvas.line([(at, top), (at, bottom)], dim(BREAK, 0.7), 0.9)
    points = np.stack([left + state.chart.x * (right - left), bottom - state.chart.y * (bottom - top)], axis=1)
    canvas.line(points, dim(LEARNED, 0.35), 1.0)
    past = points[state.chart.x <= tick / ticks]
    canvas.line(past, dim(LEARNED, 0.9), 1.2)
    at = left + tick / ticks * (right - left)
    level = float(np.interp(tick / ticks, state.chart.x, state.chart.y))
    canvas.disc(at, bottom - level * (bottom - top), 2.4, INK)


LANDSCAPE = View(
    "landscape",
    "a ride over the loss: the section in strata of its classes, cliffs as bright strokes, the whole path below",
    ("loss", "class_loss"),
    _prepare,
    _draw,
    {"window": "share of the path that is seen at once"},
)
