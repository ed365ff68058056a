"""A performance in real time without a screen: MIDI and OSC in, OSC out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from pieces.form import Stretch
from pieces.sections import Section
from pieces.signals import Event, FrameBlock
from studio.messages import Set
from studio.performance import Performance
from studio.plan import Plan
from studio.prompt import Controllers, Port, Prompter, Roll, check_heard, heard_as, meant
from studio.sending import Sender

if TYPE_CHECKING:
    from sonify.clock import ClockFollower
    from sonify.incoming import Inbox, TimedEvent
    from sonify.osc import OscOut
    from studio.camera import Camera

#: Seconds between two looks at an outer clock.
_LOOK = 0.005


@dataclass
class Hall:
    """A `studio.conductor.Stage`: it keeps the time, gives what comes in to whom it concerns, and sends out.

    Attributes
    ----------
    plan : Plan
    inbox : Inbox
        What comes in.
    port : Port, optional
    out : OscOut, optional
        Where every channel, lane and event goes.
    clock : ClockFollower, optional
        Another machine's clock: while it runs, its beats are ours.
    controllers : mapping
        MIDI controller number → ``(part, control)``.
    notice : callable
        Told in one line what came in and could not be used.
    grain : float
        Most beats that are performed at once.
    roll : Roll, optional
        Notes of a file; when they are over, so is a piece that listens to ``end``.
    played : bool
        Whether there is a performer, so that nothing is to be played by itself before the first note.
    begun : callable
        Called when time begins.
    camera : Camera, optional
        Films what is seen at each tick of a video.
    """

    plan: Plan
    inbox: Inbox
    out: OscOut | None = None
    port: Port | None = None
    clock: ClockFollower | None = None
    controllers: Controllers = field(default_factory=dict)
    notice: Callable[[str], None] = lambda line: None
    grain: float = 0.25
    roll: Roll | None = None
    played: bool = False
    begun: Callable[[], None] = lambda: None
    camera: Camera | None = None

    def __post_init__(self) -> None:
        self._prompter = Prompter()
        self._began: float | None = None
        self._stopped = self._interrupted = False
        self._sender: Sender | None = None

    def wait(self, stretch: Stretch, performances: Mapping[str, Performance]) -> None:
        """Wait for the time of a stretch; Ctrl-C ends a piece that has no written end, and keeps the take whole."""
        if self._began is None:
            self.begun()
            if self.out is not None:
                channels = {name: p.source.channels for name, p in performances.items()}
                rates = {name: self.plan.piece.rate(name) for name in performances}
                self._sender = Sender(self.out, self.plan.score, channels, rates)
            if self.played:
                self._prompter.everybody("await", performances)
        try:
            self._wait(stretch)
            if self._interrupted and not self._stopped:
                self._end(performances)
            if self.roll is not None and stretch.seconds >= self.roll.over and not self._stopped:
                self._stopped = self._prompter.everybody("end", performances)
        except KeyboardInterrupt:
            self._interrupted = True
            self._end(performances)
        if self.port is not None and not self.port.is_there():
            self.port = self.clock = None
        due = self.roll.due(stretch.seconds) if self.roll is not None else []
        for event in (*due, *self.inbox.drain()):
            try:
                self._give(event, stretch.section, performances)
            except DescantError as error:
                self.notice(str(error))

    def interrupt(self) -> None:
        """Do at the next stretch what Ctrl-C does; may be called from a signal's handler."""
        self._interrupted = True

    def _end(self, performances: Mapping[str, Performance]) -> None:
        """End a piece that has no written end; another one only by interrupting it."""
        self._stopped = True
        if not self._prompter.everybody("end", performances):
            if self._interrupted and self.plan.piece.sections:
                raise KeyboardInterrupt
            for performance in performances.values():
                performance.stop()

    def _wait(self, stretch: Stretch) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = now - stretch.seconds
        while not self._stopped and self.clock is not None and self.clock.tempo is not None:
            beat = self.clock.beat(time.monotonic())
            if beat is None or beat >= stretch.beat:
                self._began = time.monotonic() - stretch.seconds
                return
            time.sleep(_LOOK)
        if not self._stopped:
            time.sleep(max(0.0, self._began + stretch.seconds - time.monotonic()))

    def hear(self, part: str, block: FrameBlock) -> None:
        """Send out what a part emits, and the lanes that follow from it; film what is seen at it."""
        if self.camera is not None and "media_time" in block.arrays and block.ticks:
            self.camera.film(float(block.arrays["media_time"][-1]))
        if self._sender is not None:
            self._sender.hear(part, block)

    def _give(self, event: TimedEvent, section: Section, performances: Mapping[str, Performance]) -> None:
        asked = meant(event, self.controllers, {name: p.source.controls for name, p in performances.items()})
        if isinstance(asked, Set):
            performances[asked.part].set(asked.control, asked.value)
        elif asked is not None:
            self._prompter.give(asked.kind, asked.data, section, performances)


def script(plan: Plan, events: Sequence[TimedEvent]) -> dict[str, list[Event]]:
    """Events of a file as they are given to the parts that listen to them, at their ticks.

    Raises
    ------
    PieceError
        If no part listens to any of them.
    """
    given: dict[str, list[Event]] = {}
    for event in events:
        kind, data = heard_as(event)
        for part, player in plan.players.items():
            if kind in player.source.listens:
                tick = round(event.seconds * plan.piece.rate(part))
                given.setdefault(part, []).append(Event(tick, kind, data, given=True))
    check_heard(plan.name, events, [kind for player in plan.players.values() for kind in player.source.listens])
    return given
