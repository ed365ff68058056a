"""The performer: sources, and all that they load, in a process of their own, told by commands what to perform.

`Performer` is its end in the studio. Neither side ever waits for the other: what one says is sent when the other can
take it, frames among it, since they are the recording. The process ends when the studio is gone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pieces.errors import DescantError
from sonify.engine.wire import Wire
from studio.messages import Begin, Command, Ended, Notice, Opened, Report, Send

if TYPE_CHECKING:
    from studio.memory import Memory
    from studio.performance import Performance
    from studio.stage import LiveStage

#: Seconds in which the process may end by itself when it is to.
_ENDS = 2.0


class Performer:
    """Performs pieces in a process of its own, which is started when it is needed, and again if it dies.

    Parameters
    ----------
    report : callable
        Told everything that the performer reports, in order, from another thread. Of a process that dies every
        performance has `Ended`, with the last line that it said. An error in here is reported as `Notice`.
    """

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._process: _Process | None = None

    @property
    def pid(self) -> int | None:
        """The process; None where there is none."""
        process = self._process
        return process.pid if process is not None and process.is_alive else None

    def start(self) -> None:
        """Start the process, so that it is there when something is to be performed."""
        with self._lock:
            self._start()

    def send(self, command: Command) -> None:
        """Tell the performer something. It never waits; without a performance all but `Begin` has no effect."""
        with self._lock:
            if isinstance(command, Begin):
                self._start().begin(command)
            elif self._process is not None:
                self._process.send(command)

    def close(self) -> None:
        """End the process; nothing is reported any more."""
        with self._lock:
            if self._process is not None:
                self._process.close()
                self._process = None

    def _start(self) -> _Process:
        if self._process is None or not self._process.is_alive:
            self._process = _Process(self._report)
        return self._process


class _Process:
    """One life of the process."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        ours, theirs = socket.socketpair()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        # A plain process: multiprocessing's would first import what the studio began with.
        code = f"import sys; sys.path = {sys.path!r}; from studio.performer import perform; perform({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._wire, self._report = Wire(ours), report
        self._closed = False
        self.is_alive = True
        #: Keys of what has begun and not ended; of what was begun last; and how it died.
        self._due: list[str] = []
        self._last: str | None = None
        self._death = ""
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def begin(self, command: Begin) -> None:
        """Perform; an end is then due."""
        with self._lock:
            if not self._death:
                self._due.append(command.key)
                self._last = command.key
        if self._death:
            self._tell(Ended("failed", self._death, command.key))
        elif not self._wire.send(command):
            self._ended()

    def send(self, command: Command) -> None:
        """Tell it something."""
        self._wire.send(command)

    def close(self) -> None:
        """End it."""
        self._closed, self.is_alive = True, False
        self._wire.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS)
        self._process.kill()
        self._process.wait()
        self._said.close()

    def _read(self) -> None:
        while not self._closed:
            try:
                report = self._wire.receive()
            except (EOFError, OSError):
                break
            if isinstance(report, Ended):
                with self._lock, contextlib.suppress(ValueError):  # a replay that fails is a second end
                    self._due.remove(report.key)
            if not self._closed:
                self._tell(report)
        if not self._closed:
            self._ended()

    def _tell(self, report: Report) -> None:
        """What goes wrong with one report stops neither those that follow nor the performance."""
        try:
            self._report(report)
        except Exception as error:
            with contextlib.suppress(Exception):
                self._report(Notice(f"{type(report).__name__} was not heard: {type(error).__name__}: {error}"))

    def _ended(self) -> None:
        """It died."""
        try:
            code = self._process.wait(_ENDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        with self._lock:
            self.is_alive = False
            if self._death:
                return
            self._death = f"the performer {how}{self._last_line()}"
            gone = self._due or ([] if self._last is None else [self._last])
        for key in gone:
            self._tell(Ended("failed", self._death, key))

    def _last_line(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._said.seek(0, os.SEEK_END)
            self._said.seek(max(self._said.tell() - 4096, 0))
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            if lines:
                return f": {lines[-1][:200]}"
        return ""


# In the process


def perform(fileno: int) -> None:
    """The process: performs what it is told, until nobody tells it anything any more."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the studio
    house = _House(Wire(socket.socket(fileno=fileno)))
    threading.Thread(target=house.listen, daemon=True).start()
    house.run()


class _House:
    """Where one performance after the other takes place."""

    def __init__(self, wire: Wire) -> None:
        # What every performance needs is loaded before the first is asked for; what a source needs, by the source.
        from studio import compose, plan, sounding, stage  # noqa: F401

        self._wire, self._stages = wire, stage
        self._links = sounding.Links(lambda reason: self._say(Notice(f"no sound: {reason}")))
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._stage: LiveStage | None = None
        #: Key of the last performance, and what its sources made.
        self._past: tuple[str, dict[str, Memory]] = ("", {})

    def listen(self) -> None:
        """Take in commands; keys go their direct way. Without a studio there is nothing left to do."""
        try:
            while True:
                command = self._wire.receive()
                stage = self._stage
                if isinstance(command, Send) and command.seconds is None and stage is not None:
                    self._strike(stage, command)
                self._commands.put(command)
        finally:
            os._exit(0)

    def _strike(self, stage: LiveStage, command: Send) -> None:
        try:
            stage.strike(command)
        except Exception as error:  # the performance goes on
            self._say(Notice(f"{command.kind}: no sound of it: {error}"))

    def run(self) -> None:
        """Perform whatever comes."""
        begin: Begin | None = None
        while True:
            if begin is None:
                command = self._commands.get()
                begin = command if isinstance(command, Begin) else None
                continue
            begin = self._perform(begin)

    def _perform(self, begin: Begin) -> Begin | None:
        """One performance; what is to be performed next, if that is known."""
        from studio import config

        stage = None
        try:
            with config.limited(config.threads()):
                stage = self._conducted(begin)
            stage.after(lambda: self._say(Ended("done", key=begin.key)))
        except (Exception, SystemExit) as error:
            reason = str(error) if isinstance(error, DescantError) else f"{type(error).__name__}: {error}"
            self._say(Ended("failed", reason, begin.key))
        finally:
            if self._stage is not None:
                self._stage.close()
                self._stage = None
        return stage.next if stage is not None else None

    def _conducted(self, begin: Begin) -> LiveStage:
        """The stage of a performance that came to its end."""
        from pieces.piece import parse_piece
        from studio.compose import conduct
        from studio.plan import check_channels, plan

        planned = plan(begin.name, parse_piece(begin.piece, begin.name), Path(begin.base))
        given = self._stages.plain_events(begin.given)
        conductor = conduct(planned.piece, planned.players, begin.seed, given)
        performances = conductor.performances
        self._remember(begin, performances)
        channels = {name: performance.source.channels for name, performance in performances.items()}
        check_channels(begin.name, planned.piece, planned.score, channels)
        live = self._stages.LiveStage
        self._stage = stage = live(begin, planned, performances, self._commands, self._say, self._links)
        controls = {name: tuple(performance.source.controls) for name, performance in performances.items()}
        values = {name: dict(performance.controls) for name, performance in performances.items()}
        listens = {name: tuple(performance.source.listens) for name, performance in performances.items()}
        self._say(Opened(stage.channels, controls, values, listens, begin.key))
        stage.perform(conductor)
        return stage

    def _remember(self, begin: Begin, performances: Mapping[str, Performance]) -> None:
        """Let sources recall what they made in the performance before, where that is the same."""
        from studio.memory import Memory

        past, memories = self._past, {}
        known, ticks = begin.recalls or ("", {})
        for name, performance in performances.items():
            earlier = past[1].get(name) if known and known == past[0] else None
            performance.memory = memories[name] = Memory(performance.source, earlier, ticks.get(name, 0))
        self._past = begin.key, memories

    def _say(self, report: Report) -> None:
        self._wire.send(report)
