"""Views of two small fits: a cubic curve and a knot, each beside its target (Castro, "Losses, Dissonances, and
Distortions", NeurIPS 2021 creativity workshop: both on black)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Frames
from studio.pictures.canvas import (
    FAINT,
    GOAL,
    GROUND,
    LEARNED,
    Canvas,
    Pixels,
    Points,
    dim,
)
from studio.pictures.view import Mood, View, number, signal, span, to_box

#: The learned stroke is a little wider than the target's, so that it covers it when they agree.
LEARNED_WIDTH, GOAL_WIDTH = 3.8, 3.0
GHOSTS = 20


def _columns(frames: Frames, names: tuple[str, ...]) -> NDArray[np.float64]:
    return np.stack([signal(frames, n) for n in names], axis=1)


@dataclass(frozen=True)
class _Curve:
    x: NDArray[np.float64]
    powers: NDArray[np.float64]
    learned: NDArray[np.float64]
    target: NDArray[np.float64]
    y_span: tuple[float, float]
    step: float
    mood: Mood


def _prepare_curve(frames: Frames, options: Mapping[str, Any]) -> _Curve:
    reach = number(options, "x_range", 1.0, 1e-3, 1e3)
    x = np.linspace(-reach, reach, 161)
    powers = np.stack([x**3, x**2, x, np.ones_like(x)])
    learned = _columns(frames, ("a", "b", "c", "d"))
    target = _columns(frames, ("target_a", "target_b", "target_c", "target_d"))
    goals = target[:: max(len(target) // 500, 1)] @ powers
    limit = 3 * float(np.abs(goals).max() or 1.0)
    fits = np.clip(learned[:: max(len(learned) // 500, 1)] @ powers, -limit, limit)
    step = number(options, "trail", 3.0, 0.0, 60.0) * frames.rate / GHOSTS
    y_span = span(np.concatenate([goals.ravel(), fits.ravel()]), margin=0.06)
    return _Curve(x, powers, learned, target, y_span, step, Mood.of(frames))


def _draw_curve(state: _Curve, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    box = (0.06 * width, 0.05 * height, 0.94 * width, 0.95 * height)
    spans = ((float(state.x[0]), float(state.x[-1])), state.y_span)

    def place(coefficients: NDArray[np.float64]) -> Points:
        return to_box(state.x, coefficients @ state.powers, spans, box)

    now = int(tick)
    learned, target = place(state.learned[now]), place(state.target[now])
    origin = to_box(np.zeros(1), np.zeros(1), spans, box)[0]
    canvas.line([(0, origin[1]), (width, origin[1])], FAINT)
    canvas.line([(origin[0], 0), (origin[0], height)], FAINT)
    _strings(canvas, learned[::3], target[::3], height)
    for ghost in range(GHOSTS, 0, -1):
        then = int(tick - ghost * state.step)
        if 0 <= then < now and np.array_equal(state.target[then], state.target[now]):
            fade = 1 - ghost / (GHOSTS + 1)
            canvas.line(place(state.learned[then]), dim((190, 96, 120), 0.55 * fade), 1.2)
    canvas.line(target, GOAL, GOAL_WIDTH)
    canvas.line(learned, state.mood.colour(tick), LEARNED_WIDTH)
    return canvas.finish(state.mood.glow(tick))


def _strings(canvas: Canvas, learned: Points, target: Points, height: int) -> None:
    """The error as strings between the curves: amber where the learned one is above, blue where it is below."""
    error = (target[:, 1] - learned[:, 1]) / height
    light = np.clip(0.2 + 1.5 * np.abs(error), 0, 0.7)[:, None]
    hue = np.where(error[:, None] > 0, np.array(LEARNED), np.array(GOAL))
    canvas.lines(learned, target, np.array(GROUND) + light * (hue - np.array(GROUND)))


CURVE = View(
    "curve",
    "the target cubic in blue and the learned one in amber, its past fading, their difference as strings",
    ("a", "b", "c", "d", "target_a", "target_b", "target_c", "target_d"),
    _prepare_curve,
    _draw_curve,
    {"x_range": "x runs from minus this to plus this", "trail": "seconds of past curves to show"},
)


@dataclass(frozen=True)
class _Knots:
    learned: NDArray[np.float64]
    target: NDArray[np.float64]
    turns: NDArray[np.float64]
    turn_ticks: float
    mood: Mood


def _prepare_knots(frames: Frames, options: Mapping[str, Any]) -> _Knots:
    return _Knots(
        learned=_columns(frames, ("a", "b", "c")),
        target=_columns(frames, ("target_a", "target_b", "target_c")),
        turns=_columns(frames, ("nx", "ny", "nz")),
        turn_ticks=number(options, "turn", 24.0, 0.5, 3600.0) * frames.rate,
        mood=Mood.of(frames),
    )


def knot(turns: NDArray[np.float64], phases: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Points ``[n, 3]`` of g(t) = <cos(nx t + a), cos(ny t + b), cos(nz t + c)> for t from 0 to 2 pi."""
    t = np.linspace(0, 2 * np.pi, n)[:, None]
    return np.cos(turns * t + np.mod(phases, 2 * np.pi))


def _project(points: NDArray[np.float64], angle: float, width: int, height: int) -> tuple[Points, NDArray[np.float64]]:
    """Perspective from a camera that circles the origin: canvas points ``[n, 2]`` and nearness ``[n]`` in 0..1."""
    tilt, distance = 0.42, 6.0
    x = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
    z = points[:, 2] * np.cos(angle) - points[:, 0] * np.sin(angle)
    y = points[:, 1] * np.cos(tilt) - z * np.sin(tilt)
    z = points[:, 1] * np.sin(tilt) + z * np.cos(tilt)
    size = 0.275 * min(width, height) * distance / (distance - z)
    return np.stack([width / 2 + x * size, height / 2 - y * size], axis=1), np.clip(z / 3.4 + 0.5, 0, 1)


#: The edges of the cube in which every knot lies.
CUBE = np.array(
    [[[i, j, -1], [i, j, 1], [i, -1, j], [i, 1, j], [-1, i, j], [1, i, j]] for i in (-1.0, 1.0) for j in (-1.0, 1.0)]
).reshape(-1, 2, 3)


def _draw_knots(state: _Knots, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    now, angle = int(tick), 2 * np.pi * tick / state.turn_ticks + 0.6
    edges, _ = _project(CUBE.reshape(-1, 3), angle, width, height)
    canvas.lines(edges[::2], edges[1::2], np.tile(FAINT, (len(CUBE), 1)), 0.8)
    n = 401
    shapes = [
        (knot(state.turns[now], state.target[now], n), GOAL, GOAL_WIDTH, 0.75, 0.0),
        (knot(state.turns[now], state.learned[now], n), state.mood.colour(tick), LEARNED_WIDTH, 1.0, 0.05),
    ]
    starts, ends, colours, widths, depths = [], [], [], [], []
    for points, colour, stroke, light, lead in shapes:
        flat, near = _project(points, angle, width, height)
        starts.append(flat[:-1])
        ends.append(flat[1:] + 0.35 * (flat[1:] - flat[:-1]))  # a little overlap closes the joints
        bright = (light * (0.22 + 0.78 * near[:-1] ** 1.3))[:, None]
        colours.append(np.array(GROUND) + bright * (np.array(colour) - np.array(GROUND)))
        widths.append(stroke * (0.5 + 0.8 * near[:-1]))
        depths.append(near[:-1] + lead)
    pulls = np.stack([starts[0][::4], starts[1][::4]])
    canvas.lines(pulls[0], pulls[1], np.tile(dim((150, 110, 150), 0.28), (pulls.shape[1], 1)), 0.7)
    order = np.argsort(np.concatenate(depths), kind="stable")
    joined = [np.concatenate(part)[order] for part in (starts, ends, colours, widths)]
    canvas.lines(joined[0], joined[1], joined[2], joined[3])
    return canvas.finish(state.mood.glow(tick))


KNOTS = View(
    "knots",
    "the target knot dim and blue, the learned one bright and amber, turning slowly, threads between them",
    ("a", "b", "c", "target_a", "target_b", "target_c", "nx", "ny", "nz"),
    _prepare_knots,
    _draw_knots,
    {"turn": "seconds of one rotation"},
)
