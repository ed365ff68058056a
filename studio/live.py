"""A performance in real time without a screen: MIDI and OSC in, OSC out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.form import Stretch
from pieces.piece import PieceError
from pieces.sections import Section
from pieces.signals import DescantError, Event, FrameBlock
from pieces.source import nearest
from studio.performance import Performance
from studio.plan import Plan
from studio.prompt import SOFT, Prompter, Roll, check_heard, heard_as

if TYPE_CHECKING:
    from sonify.clock import ClockFollower
    from sonify.incoming import Inbox, TimedEvent
    from sonify.midi_in import MidiIn
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
    port : MidiIn, optional
        Looked after: when it is gone its notes end, and the performance goes on.
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
    port: MidiIn | None = None
    clock: ClockFollower | None = None
    controllers: Mapping[int, tuple[str, str]] = field(default_factory=dict)
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
        self._lanes = _LiveLanes(self.plan)
        self._checked = 0.0

    def wait(self, stretch: Stretch, performances: Mapping[str, Performance]) -> None:
        """Wait for the time of a stretch; Ctrl-C ends a piece that has no written end, and keeps the take whole."""
        if self._began is None:
            self.begun()
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
        self._look_after_port()
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

    def _look_after_port(self) -> None:
        if self.port is not None and time.monotonic() - self._checked > 1.0:
            self._checked = time.monotonic()
            try:
                self.port.check()
            except DescantError as error:
                self.notice(f"{error}; the performance goes on without it")
                self.port = self.clock = None

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
        if self.out is None:
            return
        now, rate = time.time(), self.plan.piece.rate(part)
        self.out.frames(part, block, rate=rate, at=now)
        for voice, lanes in self._lanes.of(part, block).items():
            for i in range(block.ticks):
                self.out.voice(voice, {name: float(values[i]) for name, values in lanes.items()}, at=now + i / rate)

    def _give(self, event: TimedEvent, section: Section, performances: Mapping[str, Performance]) -> None:
        if event.kind == "set":
            part, control = str(event.data.get("part")), str(event.data.get("control"))
            if part not in performances:
                raise PieceError(f"set {part}/{control}: no part {part!r}{nearest(part, performances)}")
            performances[part].set(control, event.data.get("value"))
        elif event.kind == "control" and (event.data["cc"] in self.controllers or event.data["cc"] != SOFT):
            if (target := self.controllers.get(int(event.data["cc"]))) is not None:
                part, control = target
                declared = next(c for c in performances[part].source.controls if c.name == control)
                performances[part].set(control, declared.value(float(event.data["value"])))
        else:
            kind, data = heard_as(event)
            self._prompter.give(kind, data, section, performances)


class _LiveLanes:
    """Lanes as they would be heard, by declared ranges: a take's own range is not known before its end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._resolved: Any = None

    def of(self, part: str, block: FrameBlock) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Voice → lane → its value at every tick of a block, of the lanes that follow `part`."""
        from sonify.mapping import apply
        from sonify.resolve import ResolvedMapping, declared_stats, resolve

        if self._resolved is None:
            channels = {p: {c.name: c for c in player.source.channels} for p, player in self._plan.players.items()}
            if not all(channels.values()):
                return {}
            self._resolved = resolve(self._plan.score, declared_stats(self._plan.score, channels), channels)
        found: dict[str, dict[str, NDArray[np.float64]]] = {}
        for voice in self._resolved.voices:
            for name, lane in {**voice.lanes, "pan": voice.pan}.items():
                if isinstance(lane, ResolvedMapping) and lane.place.part == part and block.ticks:
                    where: tuple[Any, ...] = (slice(None), *lane.place.index)
                    values = block.arrays[lane.place.name][where]
                    found.setdefault(voice.name, {})[name] = apply(lane, values)
        return found


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


def parse_controllers(plan: Plan, given: Sequence[str]) -> dict[int, tuple[str, str]]:
    """``"1=fit.learning_rate"`` → ``{1: ("fit", "learning_rate")}``; the part may be left out when there is one."""
    found = {}
    for text in given:
        number, equals, name = text.partition("=")
        part, _, control = name.rpartition(".")
        part = part or next(iter(plan.players))
        if not equals or not number.strip().isdigit() or int(number) > 127:
            raise PieceError(f"--cc {text}: write it as NUMBER=part.control, the number from 0 to 127")
        if part not in plan.players:
            raise PieceError(f"--cc {text}: no part {part!r}{nearest(part, plan.players)}")
        known = {c.name: c for c in plan.players[part].source.controls}
        if control not in known or not known[control].live or known[control].range is None:
            live = [c.name for c in known.values() if c.live and c.range is not None]
            raise PieceError(
                f"--cc {text}: {part} has no control {control!r} that a knob can turn{nearest(control, live)}"
            )
        found[int(number)] = (part, control)
    return found
