"""The view of a mind that draws out of noise: its latents as pixels, the picture that it sees in them, what it made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.minds.denoising import LEVELS
from pieces.signals import Frames
from studio.pictures.canvas import BREAK, FAINT, GOAL, INK, LEARNED, Canvas, Colour, Pixels, dim, mix, pixel_signed
from studio.pictures.view import View, flash, number, signal

Box = tuple[float, float, float, float]

#: Latents of this size shine fully: most of unit noise is within.
BRIGHT = 2.5
#: Most finished pictures on the shelf.
SHELF = 12
#: Seconds in which the frame of a finished picture fades.
FADE = 1.5


@dataclass(frozen=True)
class _Trajectory:
    latents: NDArray[np.float64]
    lost: NDArray[np.bool_]
    pictures: Pixels
    forming: NDArray[np.bool_]
    strides: NDArray[np.float64]
    spread: NDArray[np.float64]
    begun: list[int]
    finished: list[int]
    frames: Frames


def _prepare(frames: Frames, options: Mapping[str, Any]) -> _Trajectory:
    spread = np.maximum(signal(frames, "spread"), 0)
    bright = number(options, "bright", BRIGHT, 0.01, 100.0)
    return _Trajectory(
        latents=signal(frames, "latents") / bright,
        lost=frames.missing("latents"),
        pictures=np.asarray(frames.arrays["x0_picture"], dtype=np.uint8),
        forming=signal(frames, "noise_level") > 0,
        strides=np.clip(signal(frames, "step_size") / LEVELS, 0, 1),
        spread=spread / max(float(spread.max()), 1e-9),
        begun=[e.tick for e in frames.of_kind("picture")],
        finished=[e.tick for e in frames.of_kind("finished")],
        frames=frames,
    )


def _draw(state: _Trajectory, tick: float, width: int, height: int) -> Pixels:
    canvas = Canvas(width, height)
    now = int(tick)
    gap = 0.045 * min(width, height)
    side = min((width - 3 * gap) / 2, 0.63 * height)
    left, top = (width - 2 * side - gap) / 2, gap
    _latents(canvas, state, now, (left, top, left + side, top + side))
    box = (left + side + gap, top, left + 2 * side + gap, top + side)
    _aura(canvas, box, float(state.spread[now]), gap)
    canvas.picture(state.pictures[now], *box)
    _frame(canvas, box, _edge(state, tick))
    right = left + 2 * side + gap
    _descent(canvas, state, now, (left, top + side + 0.6 * gap, right, top + side + 1.8 * gap))
    _shelf(canvas, state, now, (left, top + side + 2.4 * gap, right, height - gap))
    return canvas.finish(0.25)


def _latents(canvas: Canvas, state: _Trajectory, now: int, box: Box) -> None:
    """The channels of the latents, amber above zero and blue below; nothing where they are no numbers."""
    if state.lost[now]:
        _frame(canvas, box, dim(BREAK, 0.5))
        return
    channels = state.latents[now]
    columns = int(np.ceil(np.sqrt(len(channels))))
    left, top, right, _ = box
    pitch = (right - left) / columns
    gap = 0.03 * pitch
    for i, channel in enumerate(channels):
        x, y = left + i % columns * pitch, top + i // columns * pitch
        canvas.picture(pixel_signed(channel), x + gap, y + gap, x + pitch - gap, y + pitch - gap)


def _aura(canvas: Canvas, box: Box, spread: float, gap: float) -> None:
    """The wider, the more pictures are still possible: rings around the one that is seen."""
    for ring in (3, 2, 1):
        reach = 0.8 * gap * spread * ring / 3
        colour = dim(GOAL, 0.55 * spread * (1 - ring / 4))
        left, top, right, bottom = box
        canvas.rectangle(left - reach, top - reach, right + reach, bottom + reach, colour)


def _edge(state: _Trajectory, tick: float) -> Colour:
    """What frames the picture: faint while it forms, amber when it is finished, and broken where it is lost."""
    if state.lost[int(tick)]:
        return BREAK
    done = state.frames.of_kind("finished")
    if state.forming[int(tick)]:
        return FAINT
    return mix(dim(LEARNED, 0.7), INK, flash(done, tick, state.frames.rate, FADE))


def _frame(canvas: Canvas, box: Box, colour: Colour, width: float = 1.6) -> None:
    left, top, right, bottom = box
    canvas.line([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], colour, width)


def _descent(canvas: Canvas, state: _Trajectory, now: int, box: Box) -> None:
    """How far the noise is gone: a stroke for each step made, where it arrived on the way to the picture."""
    left, top, right, bottom = box
    middle = (top + bottom) / 2
    canvas.line([(left, middle), (right, middle)], FAINT)
    first = max((t for t in state.begun if t <= now), default=0)
    for way in np.cumsum(state.strides[first : now + 1])[state.forming[first : now + 1]]:
        x = left + min(float(way), 1.0) * (right - left)
        canvas.line([(x, top), (x, bottom)], dim(LEARNED, 0.8), 1.2)


def _shelf(canvas: Canvas, state: _Trajectory, now: int, box: Box) -> None:
    """The pictures that were finished so far, the latest at the right once there are too many."""
    left, top, right, bottom = box
    done = [t for t in state.finished if t < now][-SHELF:]
    if not done or bottom - top < 4:
        return
    slots = min(max(len(state.begun), 1), SHELF)
    pitch = min((right - left) / slots, 1.15 * (bottom - top) * state.pictures.shape[2] / state.pictures.shape[1])
    for i, t in enumerate(done):
        x = left + i * pitch
        if not state.lost[t]:
            canvas.picture(state.pictures[t], x, top, x + 0.87 * pitch, bottom)


DENOISING = View(
    "denoising",
    "the latents as pixels, the picture that is seen in them, how far the noise is gone, and what was finished",
    ("latents", "x0_picture", "noise_level", "step_size", "spread"),
    _prepare,
    _draw,
    {"bright": "size of a latent that shines fully"},
)
