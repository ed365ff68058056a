"""The values of channels, tick by tick, as the plots show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pieces.signals import Channel

#: Ticks of a channel that are remembered.
REMEMBERED = 2**18


class Trail:
    """The scalar channels of one part, tick by tick, as far back as `REMEMBERED`."""

    def __init__(self, channels: tuple[Channel, ...]) -> None:
        self.channels = {c.name: c for c in channels if c.shape == ()}
        self.first = 0
        self.end = 0
        self._values = {name: np.empty(1024, dtype=np.float64) for name in self.channels}
        self._low = dict.fromkeys(self.channels, np.inf)
        self._high = dict.fromkeys(self.channels, -np.inf)

    def add(self, first: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Ticks from `first` on; what was remembered of them, and after, is replaced."""
        n = len(next(iter(arrays.values()))) if arrays else 0
        if not n:
            return
        if first != self.end:
            self.first = self.end = first
        room = len(next(iter(self._values.values()))) if self._values else 0
        if self.end - self.first + n > room:
            self._make_room(n)
        at = self.end - self.first
        for name, values in self._values.items():
            if name in arrays:
                new = np.asarray(arrays[name][-len(values) :], dtype=np.float64)
                values[at : at + len(new)] = new
                finite = new[np.isfinite(new)]
                if len(finite):
                    self._low[name] = min(self._low[name], float(finite.min()))
                    self._high[name] = max(self._high[name], float(finite.max()))
        self.end += n

    def _make_room(self, n: int) -> None:
        kept = min(self.end - self.first, max(REMEMBERED - n, 0))
        old = self.end - self.first - kept
        size = max(2 * (kept + n), 1024)
        for name, values in self._values.items():
            grown = np.empty(size, dtype=np.float64)
            grown[:kept] = values[old : old + kept]
            self._values[name] = grown
        self.first += old

    def window(self, name: str, tick: float, ticks: int) -> NDArray[np.float64]:
        """The last `ticks` values up to a tick; fewer at the beginning."""
        to = min(max(int(tick) + 1, self.first), self.end)
        start = max(to - ticks, self.first)
        return self._values[name][start - self.first : to - self.first]

    def span(self, name: str) -> tuple[float, float]:
        """Lowest and highest value so far; the declared range before there is one."""
        low, high = self._low[name], self._high[name]
        if low > high:
            return self.channels[name].range
        if low == high:
            room = abs(low) * 0.5 or 1.0
            return low - room, high + room
        return low, high
