"""Lines of braille dots out of long rows of values: what every lane of a plot is drawn with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studio.widgets.cells import braille

Floats = NDArray[np.float64]

#: From this ratio of largest to smallest on, positive values are drawn on a log scale.
WIDE = 100.0


def envelope(values: Floats, columns: int) -> tuple[Floats, Floats]:
    """Lowest and highest value of each of `columns` equal stretches, so that no peak is lost.

    Fewer values than columns are held, as the source holds them between its ticks. A stretch without any finite value
    is NaN.
    """
    n = len(values)
    if n == 0:
        return np.full(columns, np.nan), np.full(columns, np.nan)
    if n <= columns:
        held = values[np.arange(columns) * n // columns]
        return held, held
    cuts = np.arange(columns) * n // columns
    finite = np.isfinite(values)
    low = np.minimum.reduceat(np.where(finite, values, np.inf), cuts)
    high = np.maximum.reduceat(np.where(finite, values, -np.inf), cuts)
    empty = low > high
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def scaled(values: Floats, span: tuple[float, float]) -> Floats:
    """Values as heights from 0 to 1 within `span`, on a log scale where it is `WIDE`."""
    low, high = span
    if is_wide(span):
        values, low, high = np.log(np.maximum(values, low)), float(np.log(low)), float(np.log(high))
    if not high > low:
        return np.where(np.isfinite(values), 0.5, np.nan)
    return np.clip((values - low) / (high - low), 0, 1)


def is_wide(span: tuple[float, float]) -> bool:
    """Whether a span is drawn on a log scale."""
    return span[0] > 0 and span[1] / span[0] > WIDE


def line(values: Floats, span: tuple[float, float], columns: int, rows: int) -> list[str]:
    """Values within `span` as rows of braille, each `columns` cells wide; neighbouring columns are joined."""
    height = rows * 4
    low, high = envelope(values, columns * 2)
    with np.errstate(invalid="ignore"):
        bottoms = np.round((1 - scaled(low, span)) * (height - 1))
        tops = np.round((1 - scaled(high, span)) * (height - 1))
    tops[1:] = np.fmin(tops[1:], np.where(np.isfinite(tops[1:]), bottoms[:-1] + 1, np.nan))
    bottoms[1:] = np.fmax(bottoms[1:], np.where(np.isfinite(bottoms[1:]), _before(tops, bottoms) - 1, np.nan))
    at = np.arange(height)[:, None]
    return braille((at >= tops) & (at <= bottoms))


def _before(tops: Floats, bottoms: Floats) -> Floats:
    """The upper end of each column's left neighbour, which may itself have been stretched to meet its own."""
    return np.fmin(tops[:-1], bottoms[:-1])
