"""The engine from outside: `Engine` starts and watches it, `EngineLink` plays patches on it. Sending never waits."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sonify.engine import commands as c
from sonify.engine.patch import Patch, PatchError, Window
from sonify.engine.process import LOG, SOCKET, Setup
from sonify.engine.ring import LaneRing, State
from sonify.engine.wire import Wire

Post = Callable[[c.Answer], None]
_Load = TypeVar("_Load", c.LoadPatch, c.LoadPatch | c.LoadFile)

#: Seconds between two attempts to connect; without a block after which an engine hangs; in which it may end.
_AGAIN, _HANGS, _ENDS = 0.02, 5.0, 2.0
#: Seconds between two looks at the process, and from one start to the next at least.
_LOOK = 0.25
#: Seconds without a block after which `Engine.state` is None.
_STALE = 1.5
_PREFIX = "descant-"


class _Line:
    """A connection that comes back when it breaks."""

    def __init__(self, folder: Path, writes: bool, greeted: Callable[[int | None], None], post: Post) -> None:
        self._folder, self._writes = folder, writes
        self._greeted, self._post = greeted, post
        self._wire: Wire | None = None
        self._share: int | None = None
        self._ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, command: c.Command | c.Join) -> bool:
        """Send; False where nobody is there just now."""
        wire = self._wire
        return wire is not None and wire.send(command)

    def close(self) -> None:
        """End it."""
        self._ended = True
        if self._wire is not None:
            self._wire.close()

    def _run(self) -> None:
        while not self._ended:
            wire = self._connected()
            if wire is None:
                time.sleep(_AGAIN)
                continue
            with contextlib.suppress(EOFError):
                wire.send(c.Join(self._writes, self._share))
                while not self._ended:
                    self._take(wire, wire.receive())
            self._wire = None
            wire.close()

    def _connected(self) -> Wire | None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.connect(str(self._folder / SOCKET))
        except OSError:
            end.close()
            return None
        return Wire(end)

    def _take(self, wire: Wire, answer: c.Answer) -> None:
        if isinstance(answer, c.Hello):
            self._share, self._wire = answer.share, wire
            self._greeted(answer.share)
        self._post(answer)


class Engine:
    """A sound engine in a process of its own, started at once and again whenever it dies.

    Parameters
    ----------
    post : callable
        Told what the engine says, and `Died`; from another thread.
    backend : Backend
        Where there is no such device it plays in silence, says `Lost`, and looks for it.
    rate, block : int
        Hertz; samples that are computed at once.

    Attributes
    ----------
    address : str
        What an `EngineLink` connects with; valid as long as this lives.
    """

    def __init__(self, post: Post, backend: c.Backend = "portaudio", rate: int = 48_000, block: int = 1024) -> None:
        _sweep()
        self._post, self._backend = post, backend
        self._folder = _place() / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        self._folder.mkdir(mode=0o700)
        self.address = str(self._folder)
        self._ring = LaneRing.create(self._folder, rate, block)
        self._lock = threading.Lock()
        self._loaded: dict[str, c.LoadPatch | c.LoadFile] = {}
        self._settings: dict[object, c.Command] = {}
        self._recording: c.Record | None = None
        self._left: Mapping[str, tuple[float, float, float]] = {}  # where decks were when the last engine died
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._line = _Line(self._folder, False, lambda share: self._restore(), self._answered)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def send(self, command: c.Command) -> None:
        """Tell the engine something. What lasts (decks, gains, strips) is told again to one that takes its place."""
        with self._lock:
            self._remember(command)
            if not self._line.send(command) and isinstance(command, c.Record):
                self._recording = command

    def state(self) -> State | None:
        """What it does; None where it is not there just now."""
        if self._ended:
            return None
        state = self._ring.state()
        return state if state.blocks and state.age < _STALE else None

    @property
    def ring(self) -> LaneRing:
        """Its shared memory."""
        return self._ring

    @property
    def pid(self) -> int | None:
        """Its process; None where there is none just now."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def close(self) -> None:
        """End it, within two seconds, and leave nothing behind."""
        self._ended = True
        self._watcher.join(_ENDS + 1.0)
        self._line.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _remember(self, command: c.Command) -> None:
        if isinstance(command, c.LoadPatch | c.LoadFile):
            self._loaded[command.deck] = command
        elif isinstance(command, c.Unload):
            self._loaded.pop(command.deck, None)
        elif isinstance(command, c.Panic):
            self._loaded = _after(self._loaded, command.said)
        elif isinstance(command, c.Use):
            self._backend = command.backend
        elif isinstance(command, c.Strip):
            self._settings[command.deck, command.voice] = command
        elif isinstance(command, c.DeckGain):
            self._settings[command.deck] = command
        elif isinstance(command, c.MasterGain):
            self._settings[c.MasterGain] = command
        elif isinstance(command, c.Hold | c.Seek | c.Loop) and command.deck in self._loaded:
            loaded = self._loaded[command.deck]
            if isinstance(loaded, c.LoadFile):
                self._loaded[command.deck] = _changed(loaded, command)

    def _answered(self, answer: c.Answer) -> None:
        if isinstance(answer, c.Silenced):
            with self._lock:
                self._loaded = _after(self._loaded, answer.said)
        self._post(answer)

    def _restore(self) -> None:
        """Tell a new engine what the last one was told; files go on where they were."""
        with self._lock:
            for setting in self._settings.values():
                self._line.send(setting)
            if self._recording is not None:  # one that was begun before would be written over
                self._line.send(self._recording)
                self._recording = None
            for name, loaded in self._loaded.items():
                if isinstance(loaded, c.LoadFile) and name in self._left:
                    loaded = replace(loaded, at=max(self._left[name][0], 0.0))
                self._line.send(loaded)

    def _watch(self) -> None:
        """Start the process, and another one whenever it is gone or makes no blocks any more."""
        while not self._ended:
            started = time.monotonic()
            self._process = process = _spawned(Setup(self.address, self._backend, os.getpid()))
            while not self._ended:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK)
                    break
                if self._ring.state().age > _HANGS and time.monotonic() - started > _HANGS:
                    process.kill()
            if not self._ended:
                self._left = self._ring.state().decks
                self._post(c.Died(f"the sound engine ended with code {process.returncode}{self._said()}"))
                time.sleep(max(0.0, started + _LOOK - time.monotonic()))  # one that cannot even start
        last = self._process
        if last is not None:
            last.terminate()
            try:
                last.wait(_ENDS)
            except subprocess.TimeoutExpired:
                last.kill()
                last.wait()

    def _said(self) -> str:
        """The last line that a dead engine has left, where it says what was wrong."""
        with contextlib.suppress(OSError):
            lines = (self._folder / LOG).read_text(errors="replace").strip().splitlines()
            if lines and "Error" in lines[-1]:
                return f": {lines[-1]}"
        return ""


class EngineLink:
    """What plays patches on an engine: a share of its ring, and its ear for commands.

    Parameters
    ----------
    address : str
    post : callable, optional
        Told what the engine says; from another thread.

    Raises
    ------
    RingError
        If no engine is there.
    """

    def __init__(self, address: str, post: Post | None = None) -> None:
        self._ring = LaneRing.attach(Path(address))
        self._lock = threading.RLock()
        self._share: int | None = None
        self._loaded: dict[str, c.LoadPatch] = {}
        self._gone: set[str] = set()
        self._next = 0
        self._post = post or (lambda answer: None)
        self._joined, self._closed = threading.Event(), False
        self._line = _Line(Path(address), True, self._greeted, self._answered)

    @property
    def ring(self) -> LaneRing:
        """The engine's shared memory: clock and state."""
        return self._ring

    def wait(self, seconds: float) -> bool:
        """Wait until the engine has answered; whether it has."""
        return self._joined.wait(seconds)

    def send(self, command: c.Command) -> bool:
        """Tell the engine something; False where it is not there just now."""
        with self._lock:
            if isinstance(command, c.Unload):
                self._gone.add(command.deck)  # but written on, while it fades
            return self._line.send(command)

    def load(
        self, deck: str, patch: Patch, window: Window, first: int, fade: float = 0.05, gain_db: float = 0.0
    ) -> None:
        """Play a patch on a deck.

        Parameters
        ----------
        deck : str
        patch : Patch
        window : Window
            What it plays first; before it, its first points hold.
        first : int
            Engine time of the window's first point, in points.
        fade : float
            Seconds of the crossfade with what the deck played before.
        gain_db : float
            Of the whole patch.

        Raises
        ------
        PatchError
            If it needs more slots than a share has.
        """
        if patch.slots > self._ring.share:
            raise PatchError(
                f"{patch.slots} controls change at once, a live piece may have {self._ring.share}: map fewer of them, "
                "or use fewer voices"
            )
        with self._lock:
            if self._next + patch.slots > self._ring.share:
                self._next = 0
            share = self._share or 0
            patch = replace(patch, share=share, base=share * self._ring.share + self._next)
            self._next += patch.slots
            self._ring.fill(patch.base, window.rows[:, 0])
            if deck in self._loaded and self._loaded[deck].patch.share == share:
                before = self._loaded[deck].patch
                self._ring.hold(share, before.base, before.slots)
            self._gone.discard(deck)
            self._loaded[deck] = c.LoadPatch(deck, patch, fade, gain_db)
            self.write(deck, first, window.rows)
            self._line.send(self._loaded[deck])

    def write(self, deck: str, first: int, rows: NDArray[np.float64]) -> None:
        """Write a window's points for a deck's patch; no effect where it has none.

        Say `written` when all decks have theirs.
        """
        with self._lock:
            loaded = self._loaded.get(deck)
            if loaded is not None:
                self._ring.write(loaded.patch.share, loaded.patch.base, first, rows[: loaded.patch.slots])

    def written(self, until: int) -> None:
        """All decks are written up to a point of engine time, exclusive."""
        with self._lock:
            if self._share is not None:
                self._ring.written(self._share, until)

    def close(self) -> None:
        """Let go; its decks fade."""
        self._line.close()
        with self._lock:
            self._closed = True
            self._ring.close()

    def _greeted(self, share: int | None) -> None:
        """An engine is there, perhaps a new one: it is told what is to play, in the share that it has given."""
        assert share is not None
        with self._lock:
            if self._closed:
                return
            for deck in self._gone:
                self._loaded.pop(deck, None)
            for deck, loaded in self._loaded.items():
                self._loaded[deck] = replace(loaded, patch=self._moved(loaded.patch, share))
                self._line.send(self._loaded[deck])
            if self._share is not None and self._share != share:
                self._ring.written(share, self._ring.until(self._share))
            self._share = share
        self._joined.set()

    def _moved(self, patch: Patch, share: int) -> Patch:
        base = patch.base + (share - patch.share) * self._ring.share
        self._ring.copy(patch.base, base, patch.slots)
        return replace(patch, share=share, base=base)

    def _answered(self, answer: c.Answer) -> None:
        if isinstance(answer, c.Silenced):
            with self._lock:
                self._loaded = _after(self._loaded, answer.said)
        self._post(answer)


def _after(loaded: dict[str, _Load], panic: float) -> dict[str, _Load]:
    """What was loaded after panic."""
    return {deck: command for deck, command in loaded.items() if command.said >= panic}


def _changed(loaded: c.LoadFile, command: c.Hold | c.Seek | c.Loop) -> c.LoadFile:
    """What would load a file as it is after a command."""
    if isinstance(command, c.Hold):
        return replace(loaded, paused=command.on)
    if isinstance(command, c.Seek):
        return replace(loaded, at=command.seconds)
    return replace(loaded, loop=command.seconds)


def _spawned(setup: Setup) -> subprocess.Popen[bytes]:
    """The engine's process: a plain one, since multiprocessing's would first import what the studio began with."""
    code = (
        "import contextlib, os, sys\n"
        "with contextlib.suppress(OSError): os.setpriority(os.PRIO_PROCESS, 0, -10)\n"  # where that is allowed
        f"sys.path = {sys.path!r}\n"
        f"from sonify.engine.process import *; engine({setup!r})"
    )
    nowhere = subprocess.DEVNULL
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-X", "faulthandler", "-c", code]  # a crash leaves its place in the log
    return subprocess.Popen(words, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=environment)


def _place() -> Path:
    """Where memory is shared: memory, where there is such a folder."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def _sweep() -> None:
    """Remove what engines left behind whose studio, and who themselves, were killed."""
    for folder in _place().glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not _runs(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
