"""The stage of a live performance: its time, its transport, and what comes in from the studio."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from pieces.form import Stretch, beat_of
from pieces.signals import Channel, Event, FrameBlock, Value
from pieces.source import nearest
from pieces.unfold import Unfolding
from studio.levels import GUESS
from studio.messages import (
    Begin,
    Command,
    Loop,
    Made,
    Notice,
    Pause,
    Play,
    Position,
    Report,
    Rescore,
    Rescored,
    Seek,
    Send,
    Set,
    Speed,
    Step,
    Stop,
    Turned,
    UseEngine,
)
from studio.performance import Performance
from studio.plan import Plan
from studio.playhead import DELAY, GRAIN, LATE, SLACK, Playhead
from studio.prompt import FOR_ALL, Prompter

if TYPE_CHECKING:
    from studio.conductor import Conductor
    from studio.sounding import Links, Player, Sounding

#: Longest time, in seconds, by which ticks of a slow source are made ahead of their own.
_AHEAD = 0.5
#: Seconds between two looks at what came in, and between two reports of the position.
_LOOK, _TOLD = 0.008, 0.05


class Stopped(Exception):
    """The performance ends where it is."""


class LiveStage:
    """A `studio.conductor.Stage` in real time, led by commands.

    Parameters
    ----------
    begin : Begin
    plan : Plan
    performances : mapping of str to Performance
    commands : queue of Command
    report : callable
        Told what happens; must not wait.
    links : Links
        Ways to sound engines.
    """

    grain = math.inf

    def __init__(
        self,
        begin: Begin,
        plan: Plan,
        performances: Mapping[str, Performance],
        commands: queue.SimpleQueue[Command],
        report: Callable[[Report], None],
        links: Links,
    ) -> None:
        self._links = links
        self._piece, self._commands, self._report = plan.piece, commands, report
        known = plan.piece.master.trim if begin.trim is None else begin.trim
        self._deck, self._trim = begin.deck, GUESS if known is None else known
        self._performances = performances
        self.channels: dict[str, tuple[Channel, ...]] = {n: tuple(p.source.channels) for n, p in performances.items()}
        self.unfolding = Unfolding(plan.piece, self.channels, begin.seed)
        now = time.monotonic()
        self.playhead = Playhead(now, self.unfolding, plan.piece.master.tail)
        self._values: dict[tuple[str, str], Value] = {
            (n, control): value for n, p in performances.items() for control, value in p.controls.items()
        }
        self._score: Mapping[str, Any] = plan.piece.score
        self._sounding: Sounding | None = None
        self._stretch: Stretch | None = None
        self._prompter = Prompter()
        self._beat = 0.0
        #: Beat up to which it performs now, whatever the time; and whether that is what came before a branch.
        self._target = begin.until if begin.until_s is None else math.inf
        self._branches, self._second = self._target is not None, begin.until_s
        #: What is turned before it has come to its branch: it holds from there on.
        self._later: list[Command] = []
        #: A score with the beat at which it is taken up; and one that is to be noted with the next ticks.
        self._pending: tuple[Mapping[str, Any], float, Player | None] | None = None
        self._unnoted: Mapping[str, Any] | None = None
        #: What is to be given when it comes to its second, in order.
        self._script: deque[Send] = deque()
        #: The section in which it is to stop, and whether that is noted.
        self._stopping: int | None = None
        self._is_noted = False
        self._began = self._told = -math.inf
        self._ahead = 0.0
        self.next: Begin | None = None
        self._samples = {v: Path(p) for k, p in plan.files.items() if (v := k.removeprefix("sample.")) != k}
        self._tail = plan.piece.master.tail
        self._use(begin.engine)
        self._preparing = threading.Thread(target=self._prepare, name="sources", daemon=True)
        self._preparing.start()
        if not begin.paused and self._target is None:
            self.playhead.play(now)

    # What the conductor asks for

    def wait(self, stretch: Stretch, performances: Mapping[str, Performance]) -> float | None:
        """Wait for a stretch's time, with ears for what comes in; see `studio.conductor.Stage`."""
        self._take_time()
        self.unfolding.reach(stretch)
        self._stretch, self._beat = stretch, stretch.beat
        self._arrive(stretch)  # before anybody is told where it is: the answer may be `Play`
        self._turn(0.0)
        while not self._is_due(stretch):
            self._turn(_LOOK)
        return self._go(stretch)

    def hear(self, part: str, block: FrameBlock) -> None:
        """Keep what a part emits, and report it."""
        self.unfolding.add(part, block)
        self._report(Made(part, block))
        for event in block.events:
            if event.kind == "notice":
                self._report(Notice(str(event.data["line"])))
            elif event.kind == "control" and (self._branches or not event.given):  # else it was told when it was set
                self._turned(part, event.data["name"], event.data["value"])
            elif event.kind == "score" and event.given and event.data["score"] != self._score:  # it is given again
                score = event.data["score"]
                self._rescored(score, self._beat, self._player(score))

    def after(self, status: Callable[[], None]) -> None:
        """The performance is over: `status` is told when its end was heard; what was made may be played again."""
        while self.next is None and self._stopping is None:
            if self.playhead.place(time.monotonic() - DELAY) >= self.unfolding.end:
                break
            self._turn(_LOOK)
        status()
        while self.next is None:
            self._turn(_LOOK)

    def perform(self, conductor: Conductor) -> None:
        """Let a conductor perform here, to the end of the piece or until it is stopped."""
        conductor.stage = self
        try:
            for _ in conductor:
                pass
        except Stopped:
            assert self._stretch is not None
            self.unfolding.finish(self._stretch.beat, self._stretch.seconds)
            self.playhead.hold(time.monotonic())
        else:
            assert conductor.form is not None
            last = conductor.form.spans[-1]
            self.unfolding.finish(last.beats[1], last.seconds[1])

    def close(self) -> None:
        """Let go of the engine."""
        if self._sounding is not None:
            self._sounding.close()
            self._sounding = None

    def strike(self, command: Send) -> None:
        """The direct path of a key: what it strikes sounds at once; from any thread."""
        listens = any(command.kind in p.source.listens for p in self._performances.values())
        sounding = self._sounding  # the stage's own thread may let it go meanwhile
        if sounding is not None and self.playhead.playing and listens and self._target is None:
            try:
                sounding.strike(command.kind, command.data, time.monotonic())
            except DescantError as error:
                self._report(Notice(str(error)))

    # Time

    def _prepare(self) -> None:
        """Let sources load what they need, while nothing is played yet."""
        for performance in self._performances.values():
            with contextlib.suppress(Exception, SystemExit):  # the first tick says it
                performance.source.prepare(performance.controls)

    def _arrive(self, stretch: Stretch) -> None:
        """Be in time again, where that is performed which was to be performed at once."""
        if self._target is not None and self._branches and self._second is not None:
            self._target = float(stretch.tempi.beats(self._second))
        if self._target is None or stretch.beat < self._target - SLACK:
            return
        self._target = None
        if self._branches:
            self._branches = False
            while self._script and (self._script[0].seconds or 0.0) < stretch.seconds - SLACK:
                self._script.popleft()  # what comes before a branch has its events already
            self.playhead.hold(time.monotonic(), stretch.seconds)
            while self._later:
                self._listened(self._later.pop(0))

    def _is_due(self, stretch: Stretch) -> bool:
        """Whether a stretch is to be performed now."""
        if self._stopping is None and self._preparing.is_alive():
            return False
        if self._target is not None or self._stopping is not None:
            return True
        return self.playhead.is_due(time.monotonic(), stretch.seconds, self._ahead)

    def _go(self, stretch: Stretch) -> float | None:
        """How far to perform; None where the stretch is right."""
        tempo = stretch.tempi.tempo(stretch.beat)
        most = GRAIN * max(1.0, self.playhead.speed) * tempo / 60
        if self._target is not None:
            most = min(self._target - stretch.beat, 8.0)
        elif self._pending is not None and self._stopping is None:
            score, beat, player = self._pending
            if beat <= stretch.beat + SLACK:
                self._pending, self._unnoted = None, score
                self._rescored(score, stretch.beat, player, stretch.seconds)
            else:
                most = min(most, beat - stretch.beat)
        if not self._branches and self._stopping is None:
            most = min(most, self._give_due(stretch))
        if stretch.to - stretch.beat > most + SLACK:
            return max(most, 2 * SLACK)
        if self._stopping is not None:
            self._stop(stretch)
        self.unfolding.go(stretch)
        if self._unnoted is not None and stretch.ticks:
            noted = {"score": self._unnoted, "beat": stretch.beat}
            self._performances[next(iter(stretch.ticks))].remark("score", noted)
            self._unnoted = None
        self._began = time.monotonic()
        return None

    def _give_due(self, stretch: Stretch) -> float:
        """Give what is due; the beats until more is."""
        while self._script:
            seconds = self._script[0].seconds or 0.0
            if seconds > stretch.seconds + SLACK:
                return float(stretch.tempi.beats(seconds)) - stretch.beat
            command = self._script.popleft()
            self.strike(command)
            self._give(command)
        return math.inf

    def _take_time(self) -> None:
        """Learn from the last stretch how long before its time a slow source must begin."""
        if self._began > 0 and self._target is None:
            took = time.monotonic() - self._began
            self._ahead = (
                min(max(took - LATE, self._ahead * 0.99), _AHEAD) if took > LATE or self._ahead > 0.005 else 0.0
            )
        self._began = -math.inf

    def _turn(self, seconds: float) -> None:
        """Sound, positions and what comes in, once; waits for that at most so long."""
        now = time.monotonic()
        self.playhead.turn(now)
        if self._sounding is not None:
            try:
                self._sounding.pump(now)
                for line in self._sounding.refusals():
                    self._report(Notice(line))
            except DescantError as error:
                self._report(Notice(f"{error}: there is no sound until the score is changed"))
                self.close()
        if now - self._told >= _TOLD:
            self.tell(now)
        self._listen(seconds)

    def _listen(self, seconds: float) -> None:
        """Do what is told within a time; what is told after a `Begin` is for the performance that begins then."""
        if self.next is not None:
            time.sleep(seconds)
            return
        try:
            command = self._commands.get(timeout=seconds)
        except queue.Empty:
            return
        self._listened(command)

    def _listened(self, command: Command) -> None:
        scripted = isinstance(command, Send) and command.seconds is not None
        if self._branches and isinstance(command, Set | Send | Rescore) and not scripted:
            self._later.append(command)
            return
        try:
            self._take(command)
        except DescantError as error:
            self._report(Notice(str(error)))

    def tell(self, now: float) -> None:
        """Report the position."""
        self._told = now
        head = self.playhead
        seconds = min(max(head.place(now - DELAY), 0.0), head.end)
        unfolding, tempi = self.unfolding, self.unfolding.tempi
        if not tempi.pulses:
            return
        beat = float(tempi.beats(seconds))
        loop = head.loop and (float(tempi.beats(head.loop[0])), float(tempi.beats(head.loop[1])))
        self._report(
            Position(
                mode=head.mode(now - DELAY),
                beat=beat,
                seconds=seconds,
                end=float(tempi.beats(head.end)),
                bar=int((beat + SLACK) // self._piece.metre.beats) + 1,
                tempo=tempi.tempo(beat),
                speed=head.speed,
                section=unfolding.section(seconds),
                ticks={part: unfolding.tick(part, seconds) for part in self.channels},
                loop=loop,
                begun=unfolding.begun(seconds),
                sections=unfolding.sections,
            )
        )

    # Commands

    def _take(self, command: Command) -> None:
        now = time.monotonic()
        if isinstance(command, Play):
            self.playhead.play(now)
        elif isinstance(command, Pause):
            self.playhead.hold(now)
        elif isinstance(command, Step):
            self._step(now)
        elif isinstance(command, Stop | Begin):
            if isinstance(command, Begin):
                self.next = command
            if not self.playhead.over:
                self._stopping, self._target = self.unfolding.number, None
        elif isinstance(command, Speed):
            self.playhead.set_speed(now, command.factor)
        elif isinstance(command, Seek):
            self.playhead.seek(now, float(self.unfolding.tempi.seconds(max(command.beat, 0.0))))
        elif isinstance(command, Loop):
            self.playhead.set_loop(now, command.beats)
        elif isinstance(command, Set):
            self._set(command)
        elif isinstance(command, Send):
            self._send(command)
        elif isinstance(command, Rescore):
            self._rescore(command)
        elif isinstance(command, UseEngine):
            self._use(command.address)
        self.tell(now)

    def _step(self, now: float) -> None:
        stretch = self._stretch
        if self.playhead.over or stretch is None:
            raise DescantError("the performance is over: there is no tick to make; seek, or begin another")
        tick = self._next_tick(stretch)
        begins, ends = (float(s) for s in stretch.tempi.seconds([stretch.beat, tick]))
        if self.playhead.step(now, begins, ends):
            self._target = tick

    def _next_tick(self, stretch: Stretch) -> float:
        """The beat up to which the slowest part makes its next tick."""
        span, tempi = stretch.span, stretch.tempi
        ends = []
        for name in span.ticks:
            part, made = self._piece.parts[name], self._performances[name].tick
            if name not in span.section.warp and made < part.ticks:
                beat = beat_of(part, tempi, span.beats[0], span.clocks[name], made + 1)
                rate = part.rate if part.rate is not None else (part.per_beat or 1) * tempi.tempo(stretch.beat) / 60
                if beat > stretch.beat + SLACK:
                    ends.append((rate, beat))
        return min(ends)[1] if ends else stretch.beat + 1.0

    def _set(self, command: Set) -> None:
        if command.part not in self._performances:
            raise DescantError(f"no part {command.part!r}{nearest(command.part, self._performances)}")
        performance = self._performances[command.part]
        performance.set(command.control, command.value)
        declared = next(c for c in performance.source.controls if c.name == command.control)
        self._turned(command.part, command.control, declared.check(command.value))

    def _turned(self, part: str, control: str, value: Value) -> None:
        if self._values.get((part, control)) != value:
            self._values[part, control] = value
            self._report(Turned(part, control, value))

    def _send(self, command: Send) -> None:
        if command.seconds is not None:
            self._script.append(command)
        elif not self._give(command):
            kinds = sorted({kind for p in self._performances.values() for kind in p.source.listens})
            raise DescantError(f"no part listens to {command.kind!r}{nearest(command.kind, kinds)}")

    def _give(self, command: Send) -> bool:
        """Give it to whom it concerns; whether any part listens to that."""
        if command.kind in FOR_ALL:
            self._prompter.everybody(command.kind, self._performances, command.data)
            return True
        if self._stretch is None:
            return self._prompter.everybody(command.kind, self._performances, command.data)
        self._prompter.give(command.kind, command.data, self._stretch.section, self._performances)
        return any(command.kind in p.source.listens for p in self._performances.values())

    def _stop(self, stretch: Stretch) -> None:
        """Note where the performance ends, with the last ticks of its section; or end it where there are none."""
        number, begun = self.unfolding.number, any(p.tick for p in self._performances.values())
        if self._is_noted or number != self._stopping or not begun:
            raise Stopped
        if stretch.ticks:
            bars = (stretch.to - stretch.span.beats[0]) / self._piece.metre.beats
            ticks = {name: performance.tick for name, performance in self._performances.items()} | dict(stretch.ticks)
            mark = {"section": number, "bars": bars, "ticks": ticks}
            self._performances[next(iter(stretch.ticks))].remark("stopped", mark)
            self._is_noted = True

    # Sound

    def _use(self, address: str | None) -> None:
        """Play on the engine at an address, or on none."""
        self.close()
        if address is None:
            return
        from studio.sounding import Sounding

        try:
            player = self._player(self._score)
            self._sounding = Sounding(self._links.to(address), self.playhead, player, self._deck, self._trim)
        except DescantError as error:
            self._report(Notice(f"no sound: {error}"))

    def _player(self, score: Mapping[str, Any]) -> Player:
        """A score, ready to be played; `DescantError` where it cannot be."""
        from sonify.feed import Feed
        from sonify.score import parse_score
        from studio.sounding import Player

        parsed = parse_score(score, "the score")
        files = {n: self._samples.get(n, Path(v.sample)) for n, v in parsed.voices.items() if v.sample is not None}
        return Player(Feed(parsed, self.unfolding, self.channels, files, self._tail), files)

    def _rescore(self, command: Rescore) -> None:
        """Another score: heard, and noted, at its time; while it holds or plays what is recorded, at once."""
        player, stretch = self._player(command.score), self._stretch
        if stretch is None or not self.playhead.plays_live or command.when == "now":
            self._pending, self._unnoted = None, None if self.playhead.over else command.score
            self._rescored(command.score, self._beat, player)
            return
        begun, line = stretch.span.beats[0], self._piece.metre.beats if command.when == "bar" else 1
        beat = begun + math.ceil((stretch.beat - begun) / line - SLACK) * line
        self._pending = command.score, min(beat, stretch.span.beats[1]), player

    def _rescored(
        self, score: Mapping[str, Any], beat: float, player: Player | None, place: float | None = None
    ) -> None:
        self._score = score
        if self._sounding is not None and player is not None:
            self._sounding.change(player, place)
        self._report(Rescored(score, beat))


def plain_events(given: Mapping[str, tuple[Mapping[str, Any], ...]]) -> dict[str, list[Event]]:
    """Events to be given again: what `Begin.given` says, but for where an earlier performance was stopped."""
    return {
        part: [Event(int(e["tick"]), e["kind"], e.get("data", {}), True) for e in events if e["kind"] != "stopped"]
        for part, events in given.items()
    }
