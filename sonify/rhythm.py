"""When a voice sounds: gates, crossings and steps, as pure functions of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonify.score import Crossing, Gate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def schmitt(values: Floats, level: float, hysteresis: float) -> Bools:
    """True from where `values` reach `level` to where they fall below ``level - hysteresis`` (a Schmitt trigger)."""
    up, down = values >= level, values < level - hysteresis
    decided = up | down
    decided[:1] = True
    last = np.maximum.accumulate(np.where(decided, np.arange(len(values)), 0))
    return np.asarray(up[last])


def gate_open(values: Floats, gate: Gate) -> Bools:
    """Where a gate is open, ``[rows]``."""
    if gate.above is not None:
        return schmitt(values, gate.above, gate.hysteresis)
    assert gate.below is not None
    return schmitt(-values, -gate.below, gate.hysteresis)


def crossed(values: Floats, crossing: Crossing) -> NDArray[np.intp]:
    """Rows at which a channel has just crossed the level."""
    found = np.zeros(len(values), dtype=bool)
    for edge, sign in (("rising", 1.0), ("falling", -1.0)):
        if crossing.edge in (edge, "both"):
            state = schmitt(sign * values, sign * crossing.level, crossing.hysteresis)
            found[1:] |= state[1:] & ~state[:-1]
    return np.flatnonzero(found)


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
