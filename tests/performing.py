"""What the tests of the performer share: a performer whose reports are kept, and pieces to perform."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pieces.piece import parse_piece
from pieces.signals import Event, FrameBlock, SignalsHash
from studio.compose import conduct
from studio.messages import Begin, Ended, Made, Notice, Opened, Position, Report, Stop
from studio.performer import Performer
from studio.plan import plan

T = TypeVar("T")
TONE = {
    "purpose": "music",
    "voices": {"a": {"instrument": "glide", "lanes": {"pitch": {"channel": "loss", "range": [200, 800]}}}},
}


def piece(sections: Any = (), rate: float = 40.0, score: Mapping[str, Any] = TONE, **more: Any) -> dict[str, Any]:
    """A piece of one source without an end of its own."""
    sections = sections or [{"name": "one", "bars": 200}]
    parts = {"fit": {"source": "cubics", "rate": rate, "controls": {"targets": 50}}}
    return {"title": "t", "metre": {"tempo": 120}, "parts": parts, "sections": sections, "score": score, **more}


class Stage:
    """A performer, and all that it has reported."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.times: list[float] = []
        self._told = threading.Condition()
        self.performer = Performer(self._hear)
        self.performer.start()

    def _hear(self, report: Report) -> None:
        with self._told:
            self.reports.append(report)
            self.times.append(time.monotonic())
            self._told.notify_all()

    def begin(self, what: Mapping[str, Any], seed: int = 1, base: Path = Path("."), **more: Any) -> None:
        """Perform a piece; everything that was reported before is forgotten. Waits for its sources."""
        with self._told:
            self.reports.clear()
            self.times.clear()
        self.send(Begin("test", what, str(base), seed, **more))
        self.until(lambda: self.of(Opened) or self.of(Ended))

    def send(self, *commands: Any) -> None:
        for command in commands:
            self.performer.send(command)

    def of(self, kind: type[T]) -> list[T]:
        return [report for report in list(self.reports) if isinstance(report, kind)]

    def until(self, happened: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait for something to be so."""
        with self._told:
            assert self._told.wait_for(happened, seconds), (self.of(Notice), self.of(Ended), self.of(Position)[-1:])
            return happened()

    def position(self, so: Callable[[Position], bool] = lambda p: True) -> Position:
        """The next position that is so."""
        seen = len(self.reports)

        def found() -> list[Position]:
            return [p for p in self.reports[seen:] if isinstance(p, Position) and so(p)]

        return self.until(found)[0]

    def blocks(self, part: str = "fit") -> list[FrameBlock]:
        return [made.block for made in self.of(Made) if made.part == part]

    def given(self, part: str = "fit") -> list[Event]:
        return [event for block in self.blocks(part) for event in block.events if event.given]

    def ticks(self, part: str = "fit") -> int:
        return sum(block.ticks for block in self.blocks(part))

    def rest(self) -> None:
        """End what is being performed, if it is."""
        last = [report for report in self.reports if isinstance(report, Opened | Ended)][-1:]
        if last and isinstance(last[0], Opened):
            self.send(Stop())
            self.until(lambda: [r for r in self.reports if isinstance(r, Opened | Ended)][-1] is not last[0])

    def ended(self) -> Ended:
        return self.until(lambda: self.of(Ended))[0]

    def hashes(self) -> dict[str, str]:
        found = {}
        for part, channels in self.of(Opened)[0].channels.items():
            found[part] = hashed(channels, self.blocks(part))
        return found


def hashed(channels: Any, blocks: list[FrameBlock]) -> str:
    found = SignalsHash(channels)
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def again(what: Mapping[str, Any], seed: int, given: Mapping[str, list[Event]]) -> dict[str, str]:
    """The hashes of an offline performance with the same events."""
    planned = plan("test", parse_piece(what, "test"), Path("."))
    conductor = conduct(planned.piece, planned.players, seed, given)
    blocks: dict[str, list[FrameBlock]] = {part: [] for part in planned.players}
    for part, block in conductor:
        blocks[part].append(block)
    return {part: hashed(p.source.channels, blocks[part]) for part, p in conductor.performances.items()}
