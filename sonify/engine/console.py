"""All decks: commands come in from any thread, blocks are made in one.

Whatever a block is made of is changed between two blocks, by the thread that makes them (`Console._later`). Graphs are
built, mixed and taken apart by a thread of their own, notes made by another one, so that neither waits for the other,
and panic for nobody.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from pieces.errors import DescantError
from sonify.engine import commands as c
from sonify.engine import tape
from sonify.engine.deck import Deck, FileDeck, PatchDeck, gain
from sonify.engine.graph import BOUND, DeckGraph, Master, Mixdown
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

    Attributes
    ----------
    building : Condition
        Held by whoever makes pyo's objects, boots a server among them; told when there is a server to make them on.
    """

    def __init__(self, ring: LaneRing, tell: Tell) -> None:
        self.ring, self.rate, self.block = ring, ring.rate, ring.block
        self._tell = tell
        self._decks: list[Deck] = []  # all that sound, old ones and new ones
        self._now: dict[str, PatchDeck] = {}  # what a name means to strikes, before it is built
        self._said: dict[str, float] = {}  # when it was said last what a name is to play, or that it is to be empty
        self._faders: dict[tuple[str, str], float] = {}
        self._gains: dict[str, float] = {}
        self._gain = 1.0
        self._todo: deque[Callable[[], None]] = deque()
        self._answers: deque[Callable[[], object]] = deque()
        self._panic, self._panic_said, self._closing = False, -math.inf, 0
        self._taking, self.building = threading.Lock(), threading.Condition()
        self._names: list[Deck] = []
        self.backend: c.Backend = "silent"
        self.alive, self.underruns = True, 0
        self._master: Master | None = None
        self._mixed: list[DeckGraph] = []  # as of the newest mix; those that make no sound among them
        self.start = 0  # first sample of the next block
        self._blocks, self._late, self._faults, self._spent = 0, 0, 0, 0.0
        self._recorder: Recorder | None = None
        self._builds: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._strikes: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for jobs in (self._builds, self._strikes):
            threading.Thread(target=self._work, args=(jobs,), daemon=True).start()

    # Commands, from any thread

    def take(self, command: c.Command, tell: Tell) -> None:
        """Do what a command says, soon; `tell` is told what came of it. Never waits for anything to be done."""
        with self._taking:  # so that there is one order of commands for all
            self._take(command, tell)

    def _take(self, command: c.Command, tell: Tell) -> None:
        if isinstance(command, c.Panic):
            self._panic, self._panic_said = True, max(command.said, self._panic_said)
            self._now = {}
        elif isinstance(command, c.Strike):
            self._strike(command, tell)
        elif isinstance(command, c.LoadPatch | c.LoadFile | c.Unload):
            if command.said < max(self._said.get(command.deck, -math.inf), self._panic_said):
                return  # the newer word came first
            self._said[command.deck] = command.said
            self._now.pop(command.deck, None)
            if isinstance(command, c.LoadPatch):
                self._load_patch(command, tell)
            elif isinstance(command, c.LoadFile):
                self._load_file(command, tell)
            else:  # behind what is being built: it may be this deck
                self._builds.put(lambda: self._later(lambda: self._unload(command)))
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
            by = now if now is not None and now.plays_as(deck, command.voice) else deck
            by.strike(command.voice, command.values, command.at)

        self._strikes.put(lambda: self._told(strike, tell))

    def _load_patch(self, command: c.LoadPatch, tell: Tell) -> None:
        deck = PatchDeck(command.deck, self.rate, command.said, command.patch, lambda: self.start)
        deck.own = gain(command.gain_db)
        self._now[command.deck] = deck

        def load() -> None:
            self._load(deck, command.fade, tell)
            deck.prepare()  # which may take long, and drones need not wait for it
            self._later(lambda: self._ready(deck, tell))

        self._builds.put(lambda: self._told(load, tell))

    def _load_file(self, command: c.LoadFile, tell: Tell) -> None:
        def load() -> None:
            samples = tape.read(command.path, self.rate)
            loop = None if command.loop is None else self._samples(command.loop)

            def ended() -> None:
                self._tell(c.Ended(command.deck))

            player = Player(samples, round(command.at * self.rate), loop, self.rate, ended)
            deck = FileDeck(command.deck, self.rate, command.said, player)
            deck.own = gain(command.gain_db)
            if command.paused:
                deck.hold = Ramp(0.0)
            self._load(deck, command.fade, tell)
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

    def _load(self, deck: Deck, fade: float, tell: Tell) -> None:
        """Build a deck and let it take over; unless a newer word has come for its name, or panic."""
        with self.building:
            self.building.wait_for(lambda: self._master is not None)
            if self._is_wanted(deck):
                deck.graph = self._built(deck)
                self._mixed.append(deck.graph)
                self._mix([])
                self._later(lambda: self._join(deck, fade, tell))

    def _is_wanted(self, deck: Deck) -> bool:
        return deck.said == self._said[deck.name] and deck.said >= self._panic_said

    def _built(self, deck: Deck) -> DeckGraph:
        assert self._master is not None
        faders = {voice: level for (name, voice), level in self._faders.items() if name == deck.name}
        return self._master.graph(lambda graph: deck.build(graph, faders))

    def _mix(self, gone: list[DeckGraph | Mixdown]) -> None:
        """Let the next block be mixed of the graphs that there are now; what is gone is taken apart after that.

        It is this list that is passed on, which `_dismiss` empties: so the thread that makes blocks is never the last
        one to hold a graph.
        """
        assert self._master is not None
        master, mix = self._master, self._master.mix(self._mixed)

        def hear() -> None:
            # Where all was made anew meanwhile nobody hears this one either.
            gone.append(master.hear(mix) if master is self._master else mix)
            self._builds.put(lambda: _dismiss(gone))

        self._later(hear)

    def _let_go(self, gone: list[DeckGraph | Mixdown]) -> None:
        with self.building:
            self.building.wait_for(lambda: self._master is not None)
            self._mixed = [graph for graph in self._mixed if graph not in gone]
            self._mix(gone)

    def forget(self, share: int) -> None:
        """Whoever played patches from a share of the ring is gone: so are they, those that are being built as well."""

        def leave() -> None:
            for deck in self._decks:
                if isinstance(deck, PatchDeck) and deck.patch.share == share and not deck.leaving:
                    deck.go(_FORGOTTEN, alike=False)

        self._builds.put(lambda: self._later(leave))

    def rebuild(self, server: Any, block: int) -> None:
        """Make everything anew on a server that has just been booted and does not run yet."""
        with self.building:
            self.block = block
            master = self._master = Master(server, block, self.rate, self._gain)
            self._decks = [deck for deck in self._decks if not deck.leaving]
            for deck in self._decks:
                deck.graph = self._built(deck)
            self._mixed = [deck.graph for deck in self._decks if deck.graph is not None]
            master.hear(master.mix(self._mixed))
            self._name()
            self.building.notify_all()

    def dismantle(self) -> None:
        """Take apart all that is on a server, which has stopped and is about to go: it would keep what it still has."""
        with self.building:
            _dismiss(list(self._mixed))
            for deck in self._decks:
                deck.graph = None
            self._mixed, self._master = [], None

    def close(self) -> None:
        """Finish a recording."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder.join()

    # Between two blocks, in the thread that makes them

    def _later(self, change: Callable[[], Any]) -> None:
        self._todo.append(change)

    def _join(self, deck: Deck, fade: float, tell: Tell) -> None:
        assert deck.graph is not None
        if not self._is_wanted(deck):
            self._drop([deck])
            return
        if self._master is None or deck.graph.points is not self._master.points:  # the device has changed meanwhile
            self._builds.put(lambda: self._told(lambda: self._load(deck, fade, tell), tell))
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
        for (name, voice), level in self._faders.copy().items():  # those that were moved since it was built
            if name == deck.name:
                self._fade(name, voice, level)
        self._name()

    def _ready(self, deck: Deck, tell: Tell) -> None:
        if deck in self._decks:
            self._answers.append(partial(tell, c.Ready(deck.name)))

    def _unload(self, command: c.Unload) -> None:
        for deck in self._decks:
            if deck.name == command.deck and deck.said <= command.said and not deck.leaving:
                deck.go(command.fade, alike=False)

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

    def _name(self) -> None:
        """Say which decks are there."""
        current = [deck for deck in self._decks if not deck.leaving]
        self._names = current[:DECKS]
        strips = [(d.name, v) for d in self._names if d.graph for v in d.graph.faders][:STRIPS]
        self.ring.name(self.backend, [deck.name for deck in self._names], strips)

    def _drop(self, gone: list[Deck]) -> None:
        """Let decks go: silent at once; their graphs are taken apart elsewhere, which takes a while."""
        self._decks = [deck for deck in self._decks if deck not in gone]
        graphs: list[DeckGraph | Mixdown] = []
        for deck in gone:
            if deck.graph is not None:
                deck.graph.level[:] = 0.0
                graphs.append(deck.graph)
                deck.graph = None
        self._name()
        self._builds.put(lambda: self._let_go(graphs))

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
                self._drop([deck for deck in self._decks if deck.said < self._panic_said])
            elif not self._closing:  # and the limiter has let go of what it held back
                self._master.silence(False)
                self._tell(c.Silenced(self._panic_said))

    def make(self) -> None:
        """Everything that precedes the computing of a block. Nothing is raised."""
        self._safely(self._make)
        self.start += self.block

    def _make(self) -> None:
        if self._master is None:
            return
        self._panicked()
        while self._todo:
            self._safely(self._todo.popleft())
        broken = [deck for deck in self._decks if deck.graph is not None and max(deck.graph.peak()) >= BOUND]
        if gone := [deck for deck in self._decks if deck.over] + broken:
            self._drop(gone)
        first = self._master.points.set(self.start * CONTROL_RATE / self.rate)
        late = [self._safely(partial(self._fill, deck, first)) for deck in self._decks]
        self._late += any(late)
        for deck in broken:
            self._tell(c.Refused(f"deck {deck.name}: not finite, or far too loud: it was stopped; load it again"))
        self._publish()
        while self._answers:  # told when where they are can be read
            self._safely(self._answers.popleft())

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


def _dismiss(gone: list[DeckGraph | Mixdown]) -> None:
    """Take apart what nobody hears any more, one at a time."""
    while gone:
        gone.pop().dismiss()
