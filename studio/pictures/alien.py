"""The view of a mind under surgery: the picture that it draws now, and the sheet of all that it has drawn so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Frames
from studio.pictures.canvas import BREAK, FAINT, GOAL, INK, LEARNED, Canvas, Colour, Pixels, dim, mix
from studio.pictures.view import View, flash, number, signal

#: Largest side of a picture on the sheet, in its own pixels; cells at most.
THUMB, CELLS = 64, 400
#: Margin of the picture, and height of the traces below, as shares of the height.
MARGIN, TRACES = 0.05, 0.14


@dataclass(frozen=True)
class _Sheet:
    pictures: NDArray[np.uint8]
    thumbs: NDArray[np.uint8]
    ticks: NDArray[np.intp]
    cell: NDArray[np.intp]
    effect: NDArray[np.float64]
    concept: NDArray[np.float64]
    nothing: NDArray[np.float64]
    shocks: list[Any]
    rate: float


def _prepare(frames: Frames, options: Mapping[str, Any]) -> _Sheet:
    pictures = np.asarray(frames.arrays["picture"], dtype=np.uint8)
    cells = int(number(options, "cells", CELLS, 0, 2000))
    ticks, cell = _cells(pictures, cells, once=number(options, "once", 0, 0, 1) > 0)
    stride = max(1, max(pictures.shape[1:3]) // THUMB)
    return _Sheet(
        pictures,
        pictures[ticks][:, ::stride, ::stride],
        ticks,
        cell,
        np.clip(signal(frames, "distance_pixels"), 0, 1),
        np.clip(signal(frames, "concept"), 0, 1),
        np.clip(signal(frames, "nothing"), 0, 1),
        frames.of_kind("lost", "nothing"),
        frames.rate,
    )


def _cells(pictures: NDArray[np.uint8], most: int, *, once: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first tick of each cell, and the cell of each tick: a cell a tick, or with `once` a cell a picture.

    Of more than `most` cells so many are kept, evenly spread; a tick whose cell is gone has that before it.
    """
    if not most:
        return np.empty(0, np.intp), np.zeros(len(pictures), np.intp)
    known: dict[bytes, int] = {}
    cell = np.arange(len(pictures))
    if once:
        cell = np.array([known.setdefault(picture.tobytes(), len(known)) for picture in pictures])
    _, ticks = np.unique(cell, return_index=True)
    if len(ticks) > most:
        kept = np.linspace(0, len(ticks) - 1, most).astype(int)
        cell, ticks = np.searchsorted(kept, cell, side="right") - 1, ticks[kept]
    return ticks, cell


def _colour(state: _Sheet, tick: int) -> Colour:
    """Amber while the concept holds, vermilion as it is lost, blue where it has become another."""
    other = max(0.0, 1 - state.concept[tick] - state.nothing[tick])
    return mix(mix(LEARNED, GOAL, float(other)), BREAK, float(state.nothing[tick]))


def _draw(state: _Sheet, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    now = int(tick)
    shock = flash(state.shocks, tick, state.rate, 0.4)
    margin = MARGIN * height
    side = min(height * (1 - 2 * MARGIN - TRACES), width * (0.5 if len(state.ticks) else 1) - 1.5 * margin)
    top, left = margin, margin if len(state.ticks) else (width - side) / 2
    frame = _colour(state, now)
    edge = (2.0 + 3.0 * shock) * canvas.unit
    canvas.picture(state.pictures[now], left, top, left + side, top + side, edge, frame)
    if len(state.ticks):
        _mosaic(canvas, state, now, (left + side + margin, top, width - margin, top + side))
    _traces(canvas, state, tick, (margin, top + side + margin / 2, width - margin, height - margin / 2))
    return canvas.finish(0.25 + 0.5 * shock)


def _mosaic(canvas: Canvas, state: _Sheet, now: int, box: tuple[float, float, float, float]) -> None:
    """What has been drawn so far, cell by cell; a dark cell for what is to come."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    if wide < 8 or high < 8:
        return
    count = len(state.ticks)
    columns = max(1, math.ceil(math.sqrt(count * wide / high)))
    while (wide / columns) * math.ceil(count / columns) > high:
        columns += 1
    cell = wide / columns
    current = int(state.cell[now])
    for i, tick in enumerate(state.ticks):
        x, y = left + (i % columns) * cell, top + (i // columns) * cell
        inner = 0.06 * cell
        if tick > now:
            canvas.rectangle(x + inner, y + inner, x + cell - inner, y + cell - inner, dim(FAINT, 0.5))
            continue
        rim = INK if i == current else dim(_colour(state, int(tick)), 0.25 + 0.75 * min(1.0, 4 * state.effect[tick]))
        grow = inner if i == current else inner / 2
        box = (x + inner, y + inner, x + cell - inner, y + cell - inner)
        canvas.picture(state.thumbs[i], *box, grow, rim)


def _traces(canvas: Canvas, state: _Sheet, tick: float, box: tuple[float, float, float, float]) -> None:
    """How far each picture is from the untouched one, as strokes in the colour of what it has become."""
    left, top, right, bottom = box
    count = len(state.effect)
    columns = min(count, max(int(right - left), 2))
    at = np.linspace(0, count - 1, columns).astype(int)
    x = left + (at + 0.5) / count * (right - left)
    rise = np.sqrt(state.effect[at]) * (bottom - top)
    past = at <= tick
    light = np.where(past, 1.0, 0.28)
    colours = np.array([dim(_colour(state, int(t)), float(u)) for t, u in zip(at, light, strict=True)])
    stroke = min(6.0, max(0.8, 0.6 * (right - left) / columns / max(canvas.unit, 1e-9)))
    foot = np.full(columns, bottom)
    canvas.lines(np.stack([x, foot], axis=1), np.stack([x, foot - np.maximum(rise, 1.0)], axis=1), colours, stroke)
    head = left + (tick + 0.5) / count * (right - left)
    canvas.line([(head, top), (head, bottom)], dim(INK, 0.6), 1.0)


ALIEN = View(
    "alien",
    "the picture of a mind under surgery, the sheet so far beside it, below how far each is from the untouched one",
    ("picture", "distance_pixels", "concept", "nothing"),
    _prepare,
    _draw,
    {"cells": "pictures on the sheet at most; 0: no sheet", "once": "1: a picture that comes again has one cell"},
)
