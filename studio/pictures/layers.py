"""The view of a network that learns digits: its layers as rivers, what it confuses, and its first kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Frames
from pieces.training.digits import LAYERS as LAYER_NAMES
from studio.pictures.canvas import (
    GOAL,
    GROUND,
    INK,
    LEARNED,
    Canvas,
    Pixels,
    dim,
    pixel_signed,
    series_colours,
)
from studio.pictures.view import Mood, View, number, signal, span

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Layers:
    gradients: NDArray[np.float64]
    glints: NDArray[np.float64]
    weights: NDArray[np.float64]
    confusion: NDArray[np.float64]
    kernels: NDArray[np.float64]
    window: float
    mood: Mood


def _scaled(rows: list[NDArray[np.float64]], log: bool) -> NDArray[np.float64]:
    """Signals of all layers over one common span, ``[layers, ticks]`` in 0..1."""
    values = np.stack(rows)
    if log:
        positive = values[values > 0]
        values = np.log10(np.maximum(values, positive.min() if positive.size else 1.0))
    low, high = span(values.ravel(), margin=0.02)
    scaled: NDArray[np.float64] = np.clip((values - low) / (high - low), 0, 1)
    return scaled


def _prepare(frames: Frames, options: Mapping[str, Any]) -> _Layers:
    kernels = signal(frames, "kernels")
    confusion = np.maximum(signal(frames, "confusion"), 0)
    gradients = [signal(frames, f"grad_norm_{n}") for n in LAYER_NAMES]
    return _Layers(
        gradients=_scaled(gradients, log=True),
        glints=np.concatenate([_scaled([g], log=True) for g in gradients]),
        weights=_scaled([signal(frames, f"weight_norm_{n}") for n in LAYER_NAMES], log=False),
        confusion=confusion / np.maximum(confusion.sum(axis=2, keepdims=True), 1e-9),
        kernels=kernels / max(float(np.quantile(np.abs(kernels), 0.99)), 1e-9),
        window=number(options, "window", 10.0, 0.1, 3600.0) * frames.rate,
        mood=Mood.of(frames),
    )


def _draw(state: _Layers, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    margin = 0.07 * min(width, height)
    side = min(0.36 * width, 0.56 * height)
    left = width - margin - side
    _rivers(canvas, state, tick, (margin, margin, left - 1.2 * margin, height - margin))
    _confusion(canvas, state.confusion[int(tick)], (left, margin, width - margin, margin + side))
    _kernels(canvas, state.kernels[int(tick)], (left, margin * 1.8 + side, width - margin, height - margin))
    return canvas.finish(state.mood.glow(tick) - 0.1)


def _rivers(canvas: Canvas, state: _Layers, tick: float, box: Box) -> None:
    """One river a layer, from the picture (top) to the answer; now is at the right, the past flows to the left.

    Its width is the gradient norm (log scale, common to all), the line in it the weight norm.
    """
    left, top, right, bottom = box
    layers = len(state.gradients)
    pitch = (bottom - top) / layers
    columns = max(min(int(right - left), 220), 2)
    then = tick - state.window * np.linspace(1, 0, columns)
    alive = then >= 0
    index = np.clip(then.astype(int), 0, state.gradients.shape[1] - 1)
    x = np.linspace(left, right, columns)
    age = np.linspace(0.3, 1.0, columns)
    for layer, colour in enumerate(series_colours(layers)):
        middle = top + (layer + 0.5) * pitch
        half = np.where(alive, (0.03 + 0.43 * state.gradients[layer, index]) * pitch, 0)
        canvas.line([(left, middle), (right, middle)], dim(colour, 0.25), 0.6)
        light = (age * (0.08 + 0.7 * state.glints[layer, index] ** 2))[alive, None]
        edges = [np.stack([x, middle + sign * half], axis=1)[alive] for sign in (-1, 1)]
        stroke = (right - left) / columns / canvas.unit + 0.4
        canvas.lines(edges[0], edges[1], np.array(GROUND) + light * (np.array(colour) - np.array(GROUND)), stroke)
        for edge in edges:
            canvas.line(edge, colour, 1.1)
        weight = middle + pitch * (0.4 - 0.8 * state.weights[layer, index])
        canvas.line(np.stack([x, weight], axis=1)[alive], dim(INK, 0.7), 1.0)
        canvas.disc(right, weight[-1], 2.4, INK)


def _confusion(canvas: Canvas, shares: NDArray[np.float64], box: Box) -> None:
    """Ten by ten squares, true classes downwards: right answers amber on the diagonal, wrong ones blue."""
    left, top, right, _ = box
    n = len(shares)
    cell = (right - left) / n
    gap = 0.08 * cell
    for row in range(n):
        for column in range(n):
            light = 0.05 + 0.95 * float(shares[row, column]) ** 0.5
            colour = dim(LEARNED if row == column else GOAL, light)
            x, y = left + column * cell, top + row * cell
            canvas.rectangle(x + gap, y + gap, x + cell - gap, y + cell - gap, colour)


def _kernels(canvas: Canvas, kernels: NDArray[np.float64], box: Box) -> None:
    """The kernels as pixels in two rows: amber where a weight is positive, blue where it is negative."""
    left, top, right, bottom = box
    per_row = (len(kernels) + 1) // 2
    pitch_x, pitch_y = (right - left) / per_row, (bottom - top) / 2
    side = 0.86 * min(pitch_x, pitch_y)
    if side < 1:
        return
    for i, kernel in enumerate(kernels):
        x = left + (i % per_row + 0.5) * pitch_x - side / 2
        y = top + (i // per_row + 0.5) * pitch_y - side / 2
        canvas.pixels(pixel_signed(kernel), x, y, x + side, y + side)


LAYERS = View(
    "layers",
    "each layer a river whose width is its gradient, the confusion matrix, and the first kernels as pixels",
    (
        *(f"{kind}_{layer}" for kind in ("grad_norm", "weight_norm") for layer in LAYER_NAMES),
        "confusion",
        "kernels",
    ),
    _prepare,
    _draw,
    {"window": "seconds of the past that are seen"},
)
