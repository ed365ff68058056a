"""Where blocks go: a sound device, or nowhere in real time; and what is done when a device comes and goes."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import threading
import time
from collections import deque
from functools import cache
from typing import Any

from sonify.engine.commands import Back, Backend, Lost
from sonify.engine.console import Console, Tell

#: Seconds without a block after which a device is lost, and between two looks for one; and for how long one that was
#: there, but of no use, is left alone at most: all has to be made anew for every trial.
_LOST, _LOOK, _REST = 0.5, 1.0, 60.0
#: Blocks after which it is clear whether some were lost; and share of a block's time by which they must be late.
_SEEN, _LATE = 24, 0.5


class Underruns:
    """Blocks that a device went without, told from the times at which it asks for them.

    Asking jitters, but never stays behind: when even the earliest of some blocks comes later than it should by the time
    of a block, a block has been left out. Slow drifts between the device's clock and ours are followed.
    """

    def __init__(self, length: float) -> None:
        self.count = 0
        self._length = length
        self._blocks = 0
        self._offsets: deque[float] = deque(maxlen=_SEEN)
        self._reference: float | None = None

    def asked(self, monotonic: float) -> None:
        """A block is asked for now."""
        self._offsets.append(monotonic - self._blocks * self._length)
        self._blocks += 1
        if len(self._offsets) < _SEEN:
            return
        earliest = min(self._offsets)
        if self._reference is None:
            self._reference = earliest
        behind = earliest - self._reference
        if behind > _LATE * self._length:
            self.count += max(round(behind / self._length), 1)
            self._reference = earliest
        else:
            self._reference += 0.05 * behind


class Device:
    """Drives a console: through the backend that is wanted, or in silence while that one is not there.

    Parameters
    ----------
    console : Console
    backend : Backend
        What is wanted.
    tell : callable
    """

    def __init__(self, console: Console, backend: Backend, tell: Tell) -> None:
        self._console, self._wanted, self._everyone = console, backend, tell
        self._last: Lost | Back | None = None
        self._ended = False
        self._found = threading.Event()  # that what is wanted is there again, or something else is wanted
        self._rest = _LOOK  # for how long the device is left alone if it is of no use now
        self._asked = 0.0
        self._underruns = Underruns(1.0)
        self._lost_blocks = 0
        seconds, monotonic = console.ring.clock()
        if monotonic:  # an engine before this one has died
            console.start = round((seconds + time.monotonic() - monotonic) * console.rate)

    def use(self, backend: Backend) -> None:
        """Want another backend."""
        self._wanted, self._last, self._rest = backend, None, _LOOK
        self._found.set()

    def _tell(self, answer: Lost | Back) -> None:
        self._last = answer
        self._everyone(answer)

    def greet(self, tell: Tell) -> None:
        """Tell somebody new what has been told before."""
        if self._last is not None:
            tell(self._last)

    def end(self) -> None:
        """Make `run` return."""
        self._ended = True

    def run(self) -> None:
        """Play until `end`."""
        while not self._ended:
            self._found = threading.Event()
            wanted = self._wanted
            reason = "" if wanted == "silent" else self._play(wanted)
            if self._ended or wanted != self._wanted:
                continue
            if reason and not isinstance(self._last, Lost):
                self._tell(Lost(reason))
            self._wait_in_silence(wanted)

    def _play(self, backend: Backend) -> str:
        """Play through a device while it is there; the reason why it is not, or not any more."""
        reason = _missing(backend, self._console.rate)
        if reason:
            return reason
        server = self._boot(backend)
        if server is None:
            return f"{backend} cannot be opened"
        began = time.monotonic()
        self._begin(server, backend, alive=True)
        self._asked = time.monotonic()
        server.start()
        self._tell(Back(backend))
        while not self._ended and self._wanted == backend and time.monotonic() - self._asked < _LOST:
            time.sleep(0.05)
        self._finish(server)
        if time.monotonic() - began > _REST:
            self._rest = _LOOK
        return f"{backend} stopped asking for sound"

    def _wait_in_silence(self, wanted: Backend) -> None:
        """Compute blocks in real time, for nobody, until the backend that is wanted is there or another one is."""
        server = self._boot("silent")
        assert server is not None
        self._begin(server, "silent", alive=wanted == "silent")
        server.start()
        if wanted != "silent":
            threading.Thread(target=self._look_for, args=(wanted, self._found), daemon=True).start()
        length = self._console.block / self._console.rate
        due = time.monotonic()
        while not self._ended and not self._found.is_set():
            server.process()
            due += length
            ahead = due - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            elif ahead < -1.0:  # the machine slept
                self._lost_blocks += int(-ahead / length)
                due = time.monotonic()
        self._finish(server)

    def _look_for(self, wanted: Backend, found: threading.Event) -> None:
        """Set `found` when the device is there; when it has been there all the time, after a rest that grows."""
        again = time.monotonic() + self._rest
        self._rest = min(2 * self._rest, _REST)
        while not self._ended and not found.is_set():
            time.sleep(_LOOK)
            if _missing(wanted, self._console.rate):
                again, self._rest = 0.0, _LOOK
            elif time.monotonic() >= again:
                found.set()

    def _boot(self, backend: Backend) -> Any:
        import pyo64 as pyo

        with self._console.building:  # it is the one that objects belong to from now on
            server = pyo.Server(
                sr=self._console.rate,
                nchnls=2,
                buffersize=self._console.ring.block,
                duplex=0,
                audio="manual" if backend == "silent" else backend,
                jackname="descant",
            )
            server.setVerbosity(1)
            server.deactivateMidi()
            server.boot()
        return server if server.getIsBooted() else None

    def _begin(self, server: Any, backend: Backend, alive: bool) -> None:
        """Let a server that is booted play the console from the present time on."""
        console = self._console
        console.backend, console.alive = backend, alive
        block = int(server.getBufferSize())
        self._underruns = Underruns(block / console.rate)
        self._lost_blocks = console.underruns
        console.rebuild(server, block)
        seconds, monotonic = console.ring.clock()
        if monotonic:
            passed = round((seconds + time.monotonic() - monotonic) * console.rate)
            console.start = max(console.start, passed)
        server.setCallback(self._block)

    def _finish(self, server: Any) -> None:
        """Let a server go, and nothing of it stay."""
        server.stop()
        self._console.dismantle()
        server.shutdown()

    def _block(self) -> None:
        """Called before each block is computed."""
        self._asked = time.monotonic()
        self._underruns.asked(self._asked)
        self._console.underruns = self._lost_blocks + self._underruns.count
        self._console.make()


def _missing(backend: Backend, rate: int) -> str:
    """Why a backend cannot be used; nothing where it seems that it can."""
    if backend == "jack":
        return _jack_missing(rate)
    import pyo64 as pyo

    if pyo.pa_count_devices() < 1 or pyo.pa_get_default_output() < 0:
        return "there is no sound device"
    return ""


def _jack_missing(rate: int) -> str:
    """Why there is no jack server of this rate, without starting one. pyo would wait for it, and keep a name taken."""
    os.environ["JACK_NO_START_SERVER"] = "1"
    library, status = _jack(), ctypes.c_int()
    client = library and library.jack_client_open(b"descant-looks", 1, ctypes.byref(status))
    if library is None or not client:
        return "no jack server runs"
    runs_at = library.jack_get_sample_rate(client)
    library.jack_client_close(client)
    return "" if runs_at == rate else f"jack runs at {runs_at} Hz, not at {rate}: let it run at that rate"


@cache
def _jack() -> ctypes.CDLL | None:
    """The library. Loaded once: to find it starts processes, and what ctypes makes of it is full of circles."""
    try:
        library = ctypes.CDLL(ctypes.util.find_library("jack") or "libjack.so.0")
    except OSError:
        return None
    library.jack_client_open.restype = ctypes.c_void_p
    library.jack_client_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    library.jack_get_sample_rate.restype = ctypes.c_uint32
    library.jack_get_sample_rate.argtypes = [ctypes.c_void_p]
    library.jack_client_close.argtypes = [ctypes.c_void_p]
    return library
