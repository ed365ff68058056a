"""From channel values to lane values and back: pure, vectorised, invertible.

A value is clipped to the domain, *shaped* (linear, log ...) to u in 0..1, and u is a position in the range, equal steps
of u being equal steps in a *space* (log2, mel ...). Decoding goes the other way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from sonify.instruments.base import Space
    from sonify.resolve import ResolvedMapping
    from sonify.score import Shape

Floats = NDArray[np.float64]


class Bijection(NamedTuple):
    """A strictly rising function and its inverse."""

    forward: Callable[..., Any]
    inverse: Callable[..., Any]


#: Where equal steps are equal. Of frequencies in hertz, except ``linear`` (any unit) and ``db`` (decibels already).
SPACES: dict[Space, Bijection] = {
    "linear": Bijection(lambda x: x, lambda v: v),
    "db": Bijection(lambda level: level, lambda v: v),
    "log2": Bijection(np.log2, np.exp2),
    # D. O'Shaughnessy, Speech Communication: Human and Machine, 1987.
    "mel": Bijection(lambda f: 2595.0 * np.log10(1.0 + f / 700.0), lambda v: 700.0 * (10.0 ** (v / 2595.0) - 1.0)),
    # B. R. Glasberg and B. C. J. Moore, Hearing Research 47, 1990, eq. 4 (ERB-rate).
    "erb": Bijection(lambda f: 21.4 * np.log10(1.0 + 0.00437 * f), lambda v: (10.0 ** (v / 21.4) - 1.0) / 0.00437),
    # H. Traunmüller, J. Acoust. Soc. Am. 88, 1990, eq. 6; 26.28 = 26.81 - 0.53 makes the inverse exact.
    "bark": Bijection(lambda f: 26.81 * f / (1960.0 + f) - 0.53, lambda v: 1960.0 * (v + 0.53) / (26.28 - v)),
}

#: How data are bent before they are placed in the range; the second argument is symlog's linear region. ``rank`` needs
#: the data's distribution and is done in `apply` and `invert`.
SHAPES: dict[Shape, Bijection] = {
    "linear": Bijection(lambda y, c: y, lambda v, c: v),
    "log": Bijection(lambda y, c: np.log(y), lambda v, c: np.exp(v)),
    "sqrt": Bijection(lambda y, c: np.sqrt(y), lambda v, c: np.square(v)),
    # J. B. W. Webber, Meas. Sci. Technol. 24, 2013 (the log-modulus transform).
    "symlog": Bijection(
        lambda y, c: np.sign(y) * np.log1p(np.abs(y) / c), lambda v, c: np.sign(v) * c * np.expm1(np.abs(v))
    ),
}


def apply(resolved: ResolvedMapping, values: ArrayLike) -> Floats:
    """Lane values of channel values.

    Values outside the domain are clipped to it. A domain of one point (constant data) maps to the middle of the range.

    Parameters
    ----------
    resolved : ResolvedMapping
    values : array_like
        Finite channel values.

    Returns
    -------
    ndarray of float64
        In the parameter's unit, shaped like `values`.
    """
    mapping = resolved.mapping
    low, high = resolved.domain
    y = np.clip(np.asarray(values, dtype=np.float64), low, high)
    if low == high:
        u = np.full_like(y, 0.5)
    elif mapping.shape == "rank":
        u = np.interp(y, *_ranks(resolved.quantiles))
    else:
        bent = SHAPES[mapping.shape].forward
        start, end = bent(low, mapping.constant), bent(high, mapping.constant)
        # Halved, which loses nothing, since a domain may be as wide as twice the largest number.
        width = end / 2 - start / 2
        u = (bent(y, mapping.constant) / 2 - start / 2) / width if width > 0 else (y >= high).astype(np.float64)
    if mapping.polarity == "negative":
        u = 1.0 - u
    space = SPACES[resolved.space]
    start, end = (space.forward(r) for r in mapping.range)
    lane = np.asarray(space.inverse(start + u * (end - start)), dtype=np.float64)
    return mapping.tuning.snap(lane) if mapping.tuning else lane


def invert(resolved: ResolvedMapping, lane_values: ArrayLike) -> Floats:
    """Channel values of lane values: decoding, the inverse of `apply` within the domain (a tuning rounds)."""
    mapping = resolved.mapping
    space = SPACES[resolved.space]
    start, end = (space.forward(r) for r in mapping.range)
    u = np.clip((space.forward(np.asarray(lane_values, dtype=np.float64)) - start) / (end - start), 0.0, 1.0)
    if mapping.polarity == "negative":
        u = 1.0 - u
    low, high = resolved.domain
    if low == high:
        return np.full_like(u, low)
    if mapping.shape == "rank":
        values, ranks = _ranks(resolved.quantiles)
        return np.asarray(np.interp(u, ranks, values))
    bent = SHAPES[mapping.shape]
    start, end = bent.forward(low, mapping.constant), bent.forward(high, mapping.constant)
    return np.asarray(bent.inverse(start + u * (end - start), mapping.constant), dtype=np.float64)


def _ranks(quantiles: Floats) -> tuple[Floats, Floats]:
    """Distinct values, and where they stand in the empirical distribution, 0..1; ties share their mean rank."""
    values, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    return values, (first + (counts - 1) / 2) / (len(quantiles) - 1)
