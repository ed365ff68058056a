"""OSC out: what the parts of a performance emit, and the lanes that follow from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from pieces.piece import parse_piece
from pieces.signals import Channel, FrameBlock
from sonify.mapping import apply
from sonify.osc import OscOut
from sonify.resolve import ResolvedMapping, declared_stats, resolve
from sonify.score import Score, parse_score
from studio.messages import Made, Opened, Rescored


class Open(Protocol):
    """A session, as far as one needs to know what it plays."""

    @property
    def piece(self) -> Mapping[str, Any]: ...


class Sender:
    """Sends every channel, lane and event. Lanes are as they are heard, by declared ranges: a take's own range is not
    known before its end.

    Parameters
    ----------
    out : OscOut
    score : Score
    channels : mapping
        Part → its channels.
    rates : mapping
        Part → ticks a second.
    """

    def __init__(
        self, out: OscOut, score: Score, channels: Mapping[str, Sequence[Channel]], rates: Mapping[str, float]
    ) -> None:
        self._out, self._rates = out, rates
        known = {part: {c.name: c for c in found} for part, found in channels.items()}
        self._voices = resolve(score, declared_stats(score, known), known).voices

    def hear(self, part: str, block: FrameBlock) -> None:
        """Send what a part emits."""
        now, rate = time.time(), self._rates[part]
        self._out.frames(part, block, rate=rate, at=now)
        for voice, lanes in self._lanes(part, block).items():
            for i in range(block.ticks):
                self._out.voice(voice, {name: float(values[i]) for name, values in lanes.items()}, at=now + i / rate)

    def _lanes(self, part: str, block: FrameBlock) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Voice → lane → its value at every tick of a block, of the lanes that follow `part`."""
        found: dict[str, dict[str, NDArray[np.float64]]] = {}
        for voice in self._voices:
            for name, lane in {**voice.lanes, "pan": voice.pan}.items():
                if isinstance(lane, ResolvedMapping) and lane.place.part == part and block.ticks:
                    where: tuple[Any, ...] = (slice(None), *lane.place.index)
                    found.setdefault(voice.name, {})[name] = apply(lane, block.arrays[lane.place.name][where])
        return found


class Relay:
    """Sends what a session reports.

    Parameters
    ----------
    out : OscOut
    session : Open
    notice : callable
        Told in one line what cannot be sent.
    """

    def __init__(self, out: OscOut, session: Open, notice: Callable[[str], None]) -> None:
        self._out, self._session, self._notice = out, session, notice
        self._channels: Mapping[str, Sequence[Channel]] = {}
        self._sender: Sender | None = None

    def hear(self, report: object) -> None:
        """What the session reports, in the performer's thread."""
        if isinstance(report, Made) and self._sender is not None:
            self._sender.hear(report.part, report.block)
        elif isinstance(report, Opened):
            self._channels = report.channels
            self._use(self._session.piece["score"])
        elif isinstance(report, Rescored):
            self._use(report.score)

    def _use(self, score: Mapping[str, Any]) -> None:
        try:
            piece = parse_piece(self._session.piece, "the piece")
            rates = {part: piece.rate(part) for part in piece.parts}
            self._sender = Sender(self._out, parse_score(score, "the score"), self._channels, rates)
        except DescantError as error:
            self._notice(f"OSC out: {error}")
