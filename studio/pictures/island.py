"""The view of a flight among prompts: the chart of a concept's island with the way flown, and what is drawn there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.minds.coast import LEVEL, Coast
from pieces.signals import Event, Frames
from studio.pictures.canvas import BREAK, FAINT, GOAL, GROUND, INK, LEARNED, Canvas, Pixels, Points, dim, mix
from studio.pictures.view import View, flash, number, signal, to_box

#: Points a side of the chart as it is drawn, and distances from the coast (shares of the radius) of its waterlines.
FINE, WATERLINES = 160, (0.06, 0.13, 0.22)

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Flight:
    way: Points
    score: NDArray[np.float64]
    pictures: Pixels
    chart: Pixels
    radius: float
    coasts: tuple[Points, ...]
    waterlines: tuple[tuple[Points, ...], ...]
    crossings: list[Event]
    window: float
    rate: float


def _prepare(frames: Frames, options: Mapping[str, Any]) -> _Flight:
    radius = max(float(signal(frames, "radius")[0]), 1e-9)
    scores = signal(frames, "chart")[0]
    coast = Coast(radius, scores, np.ones(scores.shape, dtype=bool))
    axis = np.linspace(-radius, radius, FINE)
    x, y = np.meshgrid(axis, axis)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    fine = coast.score(points).reshape(FINE, FINE)
    distance = coast.distance(points).reshape(FINE, FINE)
    depths = Coast(radius, distance, np.ones(fine.shape, dtype=bool))
    return _Flight(
        way=np.stack([signal(frames, "x"), signal(frames, "y")], axis=1),
        score=np.clip(signal(frames, "concept"), 0, 1),
        pictures=frames.arrays["picture"],
        chart=_painted(fine[::-1], distance[::-1] / radius),
        radius=radius,
        coasts=coast.shores,
        waterlines=tuple(depths.lines(-share * radius) for share in WATERLINES) if coast.shores else (),
        crossings=frames.of_kind("landfall", "departure"),
        window=number(options, "window", 12.0, 0.1, 3600.0) * frames.rate,
        rate=frames.rate,
    )


def _painted(scores: NDArray[np.float64], distance: NDArray[np.float64]) -> Pixels:
    """Land amber, the brighter the surer it is; sea blue, the darker the further out."""
    land = np.clip((scores - LEVEL) / (1 - LEVEL), 0, 1)[..., None]
    shallow = np.exp(-np.maximum(-distance, 0) / 0.25)[..., None]
    ground = np.array(GROUND, dtype=np.float64)
    sea = ground + (0.10 + 0.22 * shallow) * (np.array(GOAL) - ground)
    earth = ground + (0.28 + 0.5 * land) * (np.array(LEARNED) - ground)
    painted: Pixels = np.round(np.where((scores > LEVEL)[..., None], earth, sea)).astype(np.uint8)
    return painted


def _draw(state: _Flight, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    margin = 0.06 * min(width, height)
    side = min(height - 2 * margin, (width - 3 * margin) / 2)
    top, left = (height - side) / 2, (width - 2 * side - margin) / 2
    now = int(tick)
    glow = flash(state.crossings, tick, state.rate)
    box = (left, top, left + side, top + side)
    _chart(canvas, state, tick, box, glow)
    seen = left + side + margin
    edge = mix(mix(FAINT, LEARNED, float(state.score[now])), INK, glow)
    rim = (0.8 + 1.6 * glow) * canvas.unit
    canvas.picture(state.pictures[now], seen, top, seen + side, top + side, rim, edge)
    return canvas.finish(0.25 + 0.4 * glow)


def _chart(canvas: Canvas, state: _Flight, tick: float, box: Box, glow: float) -> None:
    """The plane, its coasts and waterlines, the way so far, and where the flight is."""
    canvas.pixels(state.chart, *box)
    spans = ((-state.radius, state.radius), (-state.radius, state.radius))

    def placed(points: Points) -> Points:
        return to_box(points[:, 0], points[:, 1], spans, box)

    for depth, lines in enumerate(state.waterlines):
        for line in lines:
            canvas.line(placed(line), dim(GOAL, 0.55 - 0.12 * depth), 0.7)
    for line in state.coasts:
        canvas.line(placed(line), mix(LEARNED, INK, 0.35 + 0.65 * glow), 1.6)
    now = int(tick)
    first = max(0, now - int(state.window))
    way = placed(state.way[first : now + 1])
    age = np.linspace(0.25, 1.0, len(way))
    canvas.line(way, dim(INK, 0.45), 0.9)
    for (x, y), share, score in zip(way, age, state.score[first : now + 1], strict=True):
        canvas.disc(x, y, 1.7, dim(mix(BREAK, INK, float(score)), float(share)))
    canvas.disc(float(way[-1, 0]), float(way[-1, 1]), 4.4 + 2 * glow, INK)


ISLAND = View(
    "island",
    "the chart of a concept's island, its coast and waterlines, the way flown over it, and the picture that is there",
    ("x", "y", "concept", "radius", "chart", "picture"),
    _prepare,
    _draw,
    {"window": "seconds of the way that are seen"},
)
