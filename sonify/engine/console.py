"""All decks: commands come in from any thread, blocks are made in one.

Whatever a block is made of is changed between two blocks, by the thread that makes them (`Console._later`). Graphs are
built by a thread of their own, notes by another one, so that neither waits for the other, and panic for nobody.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from pieces.signals import DescantError
from sonify.engine import commands as c
from sonify.engine import tape
from sonify.engine.deck import Deck, FileDeck, PatchDeck, gain
from sonify.engine.graph import BOUND, DeckGraph, Master, Points
from sonify.engine.recorder import Recorder
from sonify.engine.ring import DECKS, STRIPS, LaneRing
from sonify.engine.sources import Player, Ramp
from sonify.instruments.base import CONTROL_RATE

Tell = Callable[[c.Answer], object]

#: Seconds in which a patch fades whose performer is gone.
_FORGOTTEN = 0.5


class Console:
    """The decks of an engine.

    Parameters
    ----------
    ring : LaneRing
    tell : callable
        Told what happens, from any thread; never waits.
    """

    def __init__(self, ring: LaneRing, tell: Tell) -> None:
        self.ring, self.rate, self.block = ring, ring.rate, ring.block
        self._tell = tell
        self._decks: list[Deck] = []  # all that sound, old ones and new ones
        self._now: dict[str, PatchDeck] = {}  # what a name means to strikes, before it is built
        self._wanted: dict[str, int] = {}  # the last load of a name; older ones are not built any more
        self._faders: dict[tuple[str, str], float] = {}
        self._gains: dict[str, float] = {}
        self._gain = 1.0
        self._todo: deque[Callable[[], None]] = deque()
        self._tickets = count(1)
        self._panic, self._epoch, self._closing = False, 0, 0
        self._building, self._begun = threading.Lock(), threading.Event()
        self._names: list[Deck] = []
        self.backend: c.Backend = "silent"
        self.alive, self.underruns = True, 0
        self._master: Master | None = None
        self._points: Points | None = None
        self.start = 0  # first sample of the next block
        self._blocks, self._late, self._faults, self._spent = 0, 0, 0, 0.0
        self._recorder: Recorder | None = None
        self._builds: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._strikes: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for jobs in (self._builds, self._strikes):
            threading.Thread(target=self._work, args=(jobs,), daemon=True).start()

    # Commands, from any thread

    def take(self, command: c.Command, tell: Tell) -> None:
        """Do what a command says, soon; `tell` is told what came of it. Never waits."""
        if isinstance(command, c.Panic):
            self._panic = True
            self._epoch += 1
            self._now, self._wanted = {}, {}
        elif isinstance(command, c.Strike):
            self._strike(command, tell)
        elif isinstance(command, c.LoadPatch):
            self._load_patch(command, tell)
        elif isinstance(command, c.LoadFile):
            self._load_file(command, tell)
        elif isinstance(command, c.Unload):
            self._ticket(command.deck)
            # Behind what is being built: it may be this deck.
            self._builds.put(lambda: self._later(lambda: self._unload(command.deck, command.fade)))
        elif isinstance(command, c.Seek | c.Loop | c.Hold):
            self._builds.put(lambda: self._later(lambda: self._steer(command)))
        elif isinstance(command, c.Strip):
            level = gain(command.gain_db) if command.on else 0.0
            self._faders[command.deck, command.voice] = level
            self._later(lambda: self._fade(command.deck, command.voice, level))
        elif isinstance(command, c.DeckGain):
            self._gains[command.deck] = gain(command.gain_db)
            self._later(lambda: self._set_gain(command.deck))
        elif isinstance(command, c.MasterGain):
            self._gain = gain(command.gain_db)
            self._later(self._set_master)
        elif isinstance(command, c.Record):
            self._record(command.path, tell)

    def _strike(self, command: c.Strike, tell: Tell) -> None:
        deck = self._now.get(command.deck)
        if not isinstance(deck, PatchDeck) or command.voice not in deck.ringing:
            return  # its voice went with a change of score, or with panic

        def strike() -> None:
            now = self._now.get(command.deck)  # another score may have taken over meanwhile
            by = now if now is not None and command.voice in now.ringing else deck
            by.strike(command.voice, command.values, command.at)

        self._strikes.put(lambda: self._told(strike, tell))

    def _ticket(self, name: str) -> int:
        """A name is to mean something else: what it meant gets no more strikes, and is not built any more."""
        self._now.pop(name, None)
        self._wanted[name] = next(self._tickets)
        return self._wanted[name]

    def _load_patch(self, command: c.LoadPatch, tell: Tell) -> None:
        deck = PatchDeck(command.deck, self.rate, self._epoch, command.patch, lambda: self.start)
        ticket = self._ticket(command.deck)
        self._now[command.deck] = deck

        def load() -> None:
            self._load(deck, ticket, command.fade, tell)
            deck.prepare()  # which may take long, and drones need not wait for it
            self._later(lambda: self._ready(deck, tell))

        self._builds.put(lambda: self._told(load, tell))

    def _load_file(self, command: c.LoadFile, tell: Tell) -> None:
        epoch, ticket = self._epoch, self._ticket(command.deck)

        def load() -> None:
            samples = tape.read(command.path, self.rate)
            loop = None if command.loop is None else self._samples(command.loop)

            def ended() -> None:
                self._tell(c.Ended(command.deck))

            player = Player(samples, round(command.at * self.rate), loop, self.rate, ended)
            deck = FileDeck(command.deck, self.rate, epoch, player)
            deck.own = gain(command.gain_db)
            if command.paused:
                deck.hold = Ramp(0.0)
            self._load(deck, ticket, command.fade, tell)
            self._later(lambda: self._ready(deck, tell))

        self._builds.put(lambda: self._told(load, tell))

    def _record(self, path: Path | None, tell: Tell) -> None:
        def record() -> None:
            recorder = None if path is None else Recorder(path, self.rate)
            self._later(lambda: self._use_recorder(recorder))

        self._builds.put(lambda: self._told(record, tell))

    # In threads of their own

    def _work(self, jobs: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            try:
                jobs.get()()
            except Exception as error:
                self._fault(error)

    def _told(self, job: Callable[[], None], tell: Tell) -> None:
        try:
            job()
        except DescantError as error:
            tell(c.Refused(str(error)))
        except Exception as error:
            self._faults += 1
            tell(c.Refused(f"{type(error).__name__}: {error}"))

    def _fault(self, error: Exception) -> None:
        """Something that should not happen: counted, and told now and then."""
        self._faults += 1
        if self._faults < 10 or self._faults % 1000 == 0:
            self._tell(c.Refused(f"the sound engine made a mistake: {type(error).__name__}: {error}"))

    def _load(self, deck: Deck, ticket: int, fade: float, tell: Tell) -> None:
        """Build a deck and let it take over; unless a newer one has come for its name, or panic."""
        self._begun.wait()
        if self._wanted.get(deck.name) == ticket:
            with self._building:
                self._build(deck)
            self._later(lambda: self._join(deck, ticket, fade, tell))

    def _build(self, deck: Deck) -> None:
        deck.graph = None
        if self._points is not None:
            graph = DeckGraph(self.block, self.rate, self._points)
            deck.build(graph, {voice: level for (name, voice), level in self._faders.items() if name == deck.name})
            deck.graph = graph

    def forget(self, share: int) -> None:
        """Whoever played patches from a share of the ring is gone: so are they."""

        def leave() -> None:
            for deck in self._decks:
                if isinstance(deck, PatchDeck) and deck.patch.share == share and not deck.leaving:
                    deck.go(_FORGOTTEN, alike=False)

        self._later(leave)

    def rebuild(self, server: Any, block: int) -> None:
        """Make everything anew on a server that has just been booted and does not run yet."""
        with self._building:
            self._master, self.block = None, block
            self._points = Points(block, self.rate)
            self._master = Master(server, block, self._gain)
            self._decks = [deck for deck in self._decks if not deck.leaving]
            for deck in self._decks:
                self._build(deck)
            self._hear()
        self._begun.set()

    def close(self) -> None:
        """Finish a recording."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder.join()

    # Between two blocks, in the thread that makes them

    def _later(self, change: Callable[[], Any]) -> None:
        self._todo.append(change)

    def _join(self, deck: Deck, ticket: int, fade: float, tell: Tell) -> None:
        if self._wanted.get(deck.name) != ticket:
            return
        if deck.graph is None or not deck.graph.belongs(self._points):  # the device has changed meanwhile
            self._builds.put(lambda: self._told(lambda: self._load(deck, ticket, fade, tell), tell))
            return
        others = [d for d in self._decks if d.name == deck.name and not d.leaving]
        alike = isinstance(deck, FileDeck) and any(isinstance(other, FileDeck) for other in others)
        for other in others:
            other.go(fade, alike)
            other.replaced = True
            if isinstance(deck, PatchDeck) and isinstance(other, PatchDeck):
                deck.inherit(other)
        deck.come(fade, deck.own * self._gains.get(deck.name, 1.0), alike)
        self._decks.append(deck)
        self._hear()

    def _ready(self, deck: Deck, tell: Tell) -> None:
        if deck in self._decks:
            tell(c.Ready(deck.name))

    def _unload(self, name: str, fade: float) -> None:
        for deck in self._decks:
            if deck.name == name and not deck.leaving:
                deck.go(fade, alike=False)

    def _set_gain(self, name: str) -> None:
        for deck in self._decks:
            if deck.name == name and not deck.leaving:
                deck.set_gain(deck.own * self._gains[name])

    def _set_master(self) -> None:
        if self._master is not None:
            self._master.set_gain(self._gain)

    def _steer(self, command: c.Seek | c.Loop | c.Hold) -> None:
        for deck in self._decks:
            if deck.name != command.deck or deck.leaving:
                continue
            if isinstance(command, c.Hold):
                deck.pause(command.on)
            elif isinstance(deck, FileDeck):
                if isinstance(command, c.Seek):
                    deck.player.seek(round(command.seconds * self.rate))
                else:
                    deck.player.repeat(None if command.seconds is None else self._samples(command.seconds))

    def _fade(self, name: str, voice: str, level: float) -> None:
        for deck in self._decks:
            if deck.name == name and deck.graph is not None and voice in deck.graph.faders:
                deck.graph.faders[voice].value = level

    def _use_recorder(self, recorder: Recorder | None) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self._recorder = recorder

    def _hear(self) -> None:
        """Mix the decks that are there, and say which they are."""
        assert self._master is not None
        graphs = [deck.graph for deck in self._decks if deck.graph is not None]
        self._master.hear(graphs)
        current = [deck for deck in self._decks if not deck.leaving]
        self._names = current[:DECKS]
        strips = [(d.name, v) for d in self._names if d.graph for v in d.graph.faders][:STRIPS]
        self.ring.name(self.backend, [deck.name for deck in self._names], strips)

    def _drop(self, gone: list[Deck]) -> None:
        """Let decks go; their graphs are taken apart elsewhere, which takes a while."""
        graphs = [deck.graph for deck in gone if deck.graph is not None]
        self._decks = [deck for deck in self._decks if deck not in gone]
        for deck in gone:
            deck.graph = None
        self._hear()
        self._builds.put(lambda: _dismiss(graphs))

    def _panicked(self) -> None:
        """The gate closes in this block; when it is closed the decks go, and it opens again."""
        assert self._master is not None
        if self._panic:
            self._panic = False
            self._closing = 3
            self._master.silence(True)
        elif self._closing:
            self._closing -= 1
            if self._closing == 1:
                self._drop([deck for deck in self._decks if deck.epoch < self._epoch])
            elif not self._closing:  # and the limiter has let go of what it held back
                self._master.silence(False)
                self._tell(c.Silenced())

    def make(self) -> None:
        """Everything that precedes the computing of a block. Nothing is raised."""
        self._safely(self._make)
        self.start += self.block

    def _make(self) -> None:
        if self._master is None or self._points is None:
            return
        self._panicked()
        while self._todo:
            self._safely(self._todo.popleft())
        broken = [deck for deck in self._decks if deck.graph is not None and max(deck.graph.peak()) >= BOUND]
        if gone := [deck for deck in self._decks if deck.over] + broken:
            self._drop(gone)
        first = self._points.set(self.start * CONTROL_RATE / self.rate)
        late = [self._safely(partial(self._fill, deck, first)) for deck in self._decks]
        self._late += any(late)
        for deck in broken:
            self._tell(c.Refused(f"deck {deck.name}: not finite, or far too loud: it was stopped; load it again"))
        self._publish()

    def _fill(self, deck: Deck, first: int) -> int:
        if deck.graph is None:
            return 0
        deck.graph.level[:] = deck.level(self.block)
        return deck.fill(self.start, first, self.ring)

    def _safely(self, job: Callable[[], Any]) -> Any:
        """What fails stops nothing else."""
        try:
            return job()
        except Exception as error:
            self._fault(error)

    def _publish(self) -> None:
        """Meters of the last block, and the clock of the next one."""
        assert self._master is not None
        heard = self._master.heard
        if self._recorder is not None:
            self._recorder.add(heard)
        self._blocks += 1
        named = [deck.graph for deck in self._names if deck.graph is not None]
        strips = [peak for graph in named for peak in self._strip_peaks(graph)][:STRIPS]
        length, spent = self.block / self.rate, time.thread_time()
        load, self._spent = max(spent - self._spent, 0.0) / length, spent
        self.ring.publish(
            (self.start + self.block) / self.rate,
            time.monotonic() + length,
            blocks=self._blocks,
            underruns=self.underruns,
            late=self._late,
            faults=self._faults,
            alive=float(self.alive),
            load=load,
            peak=[float(np.abs(side).max()) for side in heard],
            positions=[deck.position for deck in self._names],
            decks=np.array([graph.peak() for graph in named]).reshape(-1, 2),
            strips=strips,
        )

    def _strip_peaks(self, graph: DeckGraph) -> list[float]:
        peaks = graph.peaks()
        return [peaks.get(voice, 0.0) for voice in graph.faders]

    def _samples(self, seconds: tuple[float, float]) -> tuple[int, int]:
        start, end = (round(min(max(edge, 0.0), 1e7) * self.rate) for edge in seconds)
        return start, end


def _dismiss(graphs: list[DeckGraph]) -> None:
    """Take graphs apart, one at a time."""
    while graphs:
        graphs.pop().open()
