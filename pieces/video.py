"""Video: the time of a moving picture that pictures are drawn on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pieces.signals import Channel, Control, Event, FrameBlock, Value
from pieces.source import Input, Source, SourceError


class Video(Source):
    """A clock for a moving picture: at each tick, the media time that is seen.

    The picture itself is decoded where it is drawn, from the file that is kept with the take; here is only which of
    its moments belongs to which tick, so that late, held and repeated ticks show what they showed. A file is looped.
    Without one it is the built-in moving picture, a pure function of media time.
    """

    name = "video"
    about = "the time of a video: a file, or the built-in moving picture"
    channels = (Channel("media_time", "moment of the video that is seen", "s", (0.0, 60.0), dtype="float64"),)
    controls = (
        Control("step", "media time that passes in a tick", 0.04, (0.0, 1.0), unit="s"),
        Control("speed", "times as fast; backwards below 0", 1.0, (-4.0, 4.0)),
    )
    inputs = {"video": Input("video", "a video file; left out: the built-in moving picture")}

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._tick, self._time = 0, 0.0

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """Make `n` ticks; see `Source.step`."""
        first, times = self._tick, np.empty(n)
        for i in range(n):
            times[i] = self._time
            self._time += float(controls["step"]) * float(controls["speed"])
        self._tick += n
        return FrameBlock(first, {"media_time": times})

    def snapshot(self) -> bytes:
        """Tick and media time."""
        return f"{self._tick} {self._time!r}".encode()

    def restore(self, state: bytes) -> None:
        """Go back to a snapshot."""
        try:
            tick, time = state.decode().split()
            self._tick, self._time = int(tick), float(time)
        except ValueError as error:
            raise SourceError(f"not a snapshot of {self.name} ({len(state)} bytes): {error}") from error
