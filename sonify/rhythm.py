"""When a voice sounds: gates, crossings and steps, as pure functions of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonify.score import Crossing, Gate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def schmitt(values: Floats, level: float, hysteresis: float, before: bool = False) -> Bools:
    """True from where `values` reach `level` to where they fall below ``level - hysteresis`` (a Schmitt trigger).

    `before` is what it was before the first of them.
    """
    up, down = values >= level, values < level - hysteresis
    last = np.maximum.accumulate(np.where(up | down, np.arange(len(values)), -1))
    return np.asarray(np.where(last >= 0, up[last], before))


def gate_open(values: Floats, gate: Gate, before: bool = False) -> Bools:
    """Where a gate is open, ``[rows]``; `before` says whether it was open before the first of them."""
    if gate.above is not None:
        return schmitt(values, gate.above, gate.hysteresis, before)
    assert gate.below is not None
    return schmitt(-values, -gate.below, gate.hysteresis, before)


class Crossings:
    """Finds crossings in a channel that comes piece by piece."""

    def __init__(self, crossing: Crossing) -> None:
        self._crossing = crossing
        self._before: dict[float, bool] = {}

    def rows(self, values: Floats) -> NDArray[np.intp]:
        """Rows, counted from the first of these values, at which the channel has just crossed the level."""
        found = np.zeros(len(values), dtype=bool)
        crossing = self._crossing
        for edge, sign in (("rising", 1.0), ("falling", -1.0)):
            if crossing.edge in (edge, "both") and len(values):
                before = self._before.get(sign)
                state = schmitt(sign * values, sign * crossing.level, crossing.hysteresis, bool(before))
                found |= state & ~np.r_[state[0] if before is None else before, state[:-1]]
                self._before[sign] = bool(state[-1])
        return np.flatnonzero(found)


def crossed(values: Floats, crossing: Crossing) -> NDArray[np.intp]:
    """Rows at which a channel has just crossed the level."""
    return Crossings(crossing).rows(values)


def euclid(pulses: int, steps: int, rotate: int = 0) -> Bools:
    """`pulses` strikes spread over `steps` as evenly as they can be, the first on step 0, turned right by `rotate`.

    Up to rotation these are Bjorklund's patterns: ``euclid(3, 8)`` is ``x..x..x.``.

    Reference: G. Toussaint, "The Euclidean algorithm generates traditional musical rhythms", BRIDGES 2005.
    """
    pulses = min(max(pulses, 0), steps)
    struck = np.zeros(steps, dtype=bool)
    if pulses:
        struck[-(-np.arange(pulses) * steps // pulses)] = True  # ceil(i * steps / pulses)
    return np.roll(struck, rotate)
