"""What a source has made while it is performed, and its state now and then: a branch need not make all that again."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from pieces.signals import Event, FrameBlock, Value
from pieces.source import Source

#: Seconds of computing between two states that are kept, at first; and how many of them, before every other one goes.
EVERY, STATES = 1.0, 32
#: Bytes of blocks and states: what would need more is not remembered.
LARGEST = 256 << 20


class Memory:
    """Steps a source: recalls what is the same as earlier, makes the rest, and remembers both.

    Parameters
    ----------
    source : Source
        New; it is brought to the state that it goes on from.
    earlier : Memory, optional
        Of a source with equal seed, controls and inputs; it is of use where that was of the same class.
    tick : int
        Up to here all that is given to the source is the same too.

    Attributes
    ----------
    recalls : int
        Tick up to which nothing is computed: the last of which a state was kept.
    """

    def __init__(self, source: Source, earlier: Memory | None = None, tick: int = 0) -> None:
        self._kind = type(source)
        if earlier is not None and earlier._kind is not self._kind:
            earlier = None
        known = [] if earlier is None else [state for state in earlier._states if state[0] <= tick]
        if known:
            try:
                source.restore(known[-1][1])
            except Exception:  # its files have changed, perhaps: it is performed from its seed
                known = []
        self._states: list[tuple[int, bytes]] = known
        self.recalls = known[-1][0] if known else 0
        self._blocks: list[FrameBlock] = (
            [] if earlier is None else [b for b in earlier._blocks if b.end_tick <= self.recalls]
        )
        self._ends = [block.end_tick for block in self._blocks]
        self._every: float = EVERY if earlier is None else earlier._every
        self._bytes = sum(_size(block) for block in self._blocks) + sum(len(state) for _, state in known)
        self._spent = 0.0
        self._is_full = False

    def room(self, tick: int, n: int) -> int:
        """How many of `n` ticks can be asked for at once: what is recalled comes as it was made."""
        return n if tick >= self.recalls else min(n, self._ends[bisect_right(self._ends, tick)] - tick)

    def step(
        self, source: Source, tick: int, controls: Mapping[str, Value], events: Sequence[Event], n: int
    ) -> FrameBlock:
        """The next ticks, as `Source.step` gives them; at most as many as there is `room` for."""
        if tick < self.recalls:
            return self._recalled(tick, n)
        began = time.perf_counter()
        block = source.step(controls, events, n)
        self._spent += time.perf_counter() - began
        if self._kind.snapshot is not Source.snapshot and not self._is_full and block.ticks == n:
            self._remember(source, block)
        return block

    def _recalled(self, tick: int, n: int) -> FrameBlock:
        block = self._blocks[bisect_right(self._ends, tick)]
        start, end = tick - block.first_tick, tick - block.first_tick + n
        # What happened behind a block's last tick comes with that.
        events = [e for e in block.events if tick <= e.tick < tick + n or e.tick == tick + n == block.end_tick]
        return FrameBlock(tick, {name: array[start:end] for name, array in block.arrays.items()}, tuple(events))

    def _remember(self, source: Source, block: FrameBlock) -> None:
        self._blocks.append(block)
        self._ends.append(block.end_tick)
        self._bytes += _size(block)
        if self._spent >= self._every:
            self._spent = 0.0
            try:
                self._states.append((block.end_tick, source.snapshot()))
            except Exception:  # somebody's own source, perhaps: it plays on, and is replayed from its seed
                self._is_full = True
                return
            self._bytes += len(self._states[-1][1])
            if len(self._states) > STATES:
                del self._states[-2::-2]
                self._every *= 2
        self._is_full = self._bytes > LARGEST


def _size(block: FrameBlock) -> int:
    return sum(array.nbytes for array in block.arrays.values())
