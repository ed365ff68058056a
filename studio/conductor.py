"""The conductor: leads the parts of a piece through its form, each a performance of one source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Protocol

from pieces.errors import DescantError
from pieces.form import Form, Report, Stretch, reported, walk
from pieces.piece import Piece
from pieces.sections import Coupling, between
from pieces.signals import Control, FrameBlock, Value
from studio.performance import Performance


class Stage(Protocol):
    """Where a performance takes place in real time."""

    #: Most beats that are performed at once.
    grain: float

    def wait(self, stretch: Stretch, performances: Mapping[str, Performance]) -> float | None:
        """Called before every stretch: wait for its time, and give the parts what came in meanwhile.

        Returns None for going on with it, or the number of beats that it is to have at most: then it is called again,
        with a shorter one.
        """
        ...

    def hear(self, part: str, block: FrameBlock) -> None:
        """Called with everything that the parts emit."""
        ...


class Conductor:
    """One performance of a piece: an iterator of ``(part, block)``.

    Parts go on in turn, stretch by stretch, so that at the end of each all are at the same beat: there a control may
    follow another part, and there a section ends.

    Parameters
    ----------
    piece : Piece
    performances : mapping of str to Performance
        One for each part.
    stage : Stage, optional
        Default: nobody waits.
    """

    def __init__(
        self,
        piece: Piece,
        performances: Mapping[str, Performance],
        stage: Stage | None = None,
    ) -> None:
        self.performances = performances
        #: The sections as they were performed, when it is over.
        self.form: Form | None = None
        self._piece = piece
        self.stage = stage
        self._happened: dict[str, dict[int, set[str]]] = {part: {} for part in performances}
        self._latest: dict[str, FrameBlock] = {}
        #: Values of controls that their parts have not made a tick with yet.
        self._wanted: dict[str, Value] = {}

    def __iter__(self) -> Iterator[tuple[str, FrameBlock]]:
        walking = walk(self._piece, math.inf if self.stage is None else self.stage.grain)
        stretch = next(walking)
        while True:
            while self.stage is not None and (most := self.stage.wait(stretch, self.performances)) is not None:
                stretch = walking.send(most)
            self._turn_controls(stretch)
            made = {part: performance.tick for part, performance in self.performances.items()}
            for part, target in stretch.ticks.items():
                for block in performed(self.performances[part], target):
                    self._notice(part, block)
                    if self.stage is not None:
                        self.stage.hear(part, block)
                    yield part, block
            try:
                stretch = walking.send(self._report(stretch, made))
            except StopIteration as stop:
                self.form = stop.value
                return

    def _report(self, stretch: Stretch, made: Mapping[str, int]) -> Report:
        ends = {part: self.performances[part].tick for part in stretch.ticks}
        return reported(stretch, made, ends, self._happened)

    def _notice(self, part: str, block: FrameBlock) -> None:
        if block.ticks:
            self._latest[part] = block
        for event in block.events:
            self._happened[part].setdefault(event.tick, set()).add(event.kind)

    def _turn_controls(self, stretch: Stretch) -> None:
        """Set what the section changes: values at its beginning, ramps and what follows a channel all along."""
        for name, given in stretch.section.controls.items():
            part, _, control = name.partition(".")
            declared = next(c for c in self.performances[part].source.controls if c.name == control)
            value: float | str | None = None
            if isinstance(given, Coupling):
                value = self._followed(given) if stretch.turns else None
            elif isinstance(given, tuple):
                value = between(given, stretch.at, declared.shape) if stretch.turns else None
            elif stretch.first:
                value = given
            if value is not None:
                self._wanted[name] = _rounded(declared, value)
        for name in [n for n in self._wanted if n.partition(".")[0] in stretch.ticks]:
            part, _, control = name.partition(".")
            value = self._wanted.pop(name)
            if value != self.performances[part].controls[control]:
                self.performances[part].set(control, value, given=False)

    def _followed(self, coupling: Coupling) -> float | None:
        part, _, channel = coupling.channel.partition(".")
        block = self._latest.get(part)
        return None if block is None else coupling.value(float(block.arrays[channel][-1]))


def _rounded(control: Control, value: float | str) -> Value:
    """A value as its control takes it."""
    return round(value) if isinstance(control.default, int) and isinstance(value, float) else value


def performed(performance: Performance, to: int) -> Iterator[FrameBlock]:
    """The blocks of a performance up to a tick; whatever its source raises becomes one line."""
    blocks = performance.run(to)
    while True:
        try:
            block = next(blocks, None)
        except DescantError:
            raise
        except (Exception, SystemExit) as error:
            name = performance.source.name
            raise DescantError(f"{name} failed at tick {performance.tick}: {type(error).__name__}: {error}") from error
        if block is None:
            return
        yield block
