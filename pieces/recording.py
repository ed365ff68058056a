"""An earlier take as a source: what was recorded is material for a new piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pieces.signals import Event, FrameBlock, Value, gather
from pieces.source import Input, Source, SourceError
from pieces.stream import StreamReader


class Recording(Source):
    """Plays one part of an earlier take, tick by tick: its channels, and what its source announced.

    Events that were given to the earlier performance (notes, control changes) are not given again.
    """

    name = "recording"
    about = "an earlier take, played again as material"
    inputs = {"take": Input("take", "id of a take, or id/part where it has several")}

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        if "take" not in self.given:
            raise SourceError("recording has no take: give its input 'take' a take's id (see descant takes)")
        path = Path(self.given["take"])
        try:
            with path.open("rb") as file:
                reader = StreamReader(file)
                blocks = list(reader)
            nothing = FrameBlock(0, {c.name: np.empty((0, *c.shape), c.dtype) for c in reader.channels})
            whole = gather([nothing, *blocks], 1.0)
        except OSError as error:
            raise SourceError(f"recording: {path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SourceError(f"recording: {path}: ticks are missing: {error}") from error
        self.channels = reader.channels
        self._arrays, self._ticks = whole.arrays, whole.ticks
        self._events = [e for e in whole.events if not e.given]
        self._tick = 0

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """The next `n` recorded ticks, fewer at the end."""
        first, end = self._tick, min(self._tick + n, self._ticks)
        self._tick = end
        over = first < end == self._ticks
        happened = tuple(e for e in self._events if first <= e.tick < end or (over and e.tick == end))
        return FrameBlock(first, {name: a[first:end] for name, a in self._arrays.items()}, happened)

    def snapshot(self) -> bytes:
        """The tick that comes next."""
        return str(self._tick).encode()

    def restore(self, state: bytes) -> None:
        """Go to a tick; `SourceError` if `state` is no snapshot, or of a longer take."""
        if not state.isdigit() or int(state) > self._ticks:
            raise SourceError(f"not a snapshot of a recording of {self._ticks} ticks ({len(state)} bytes)")
        self._tick = int(state)
