"""The engine's process: a socket for commands, a ring for lanes, and blocks for a device."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sonify.engine import commands as c
from sonify.engine.ring import SHARES, LaneRing
from sonify.engine.wire import Wire

if TYPE_CHECKING:
    from sonify.engine.console import Console
    from sonify.engine.device import Device

#: Within an engine's folder.
SOCKET, LOG = "socket", "log"
#: Seconds that a thread may compute before another one may: a block must not wait.
_SWITCH = 0.0005


@dataclass(frozen=True)
class Setup:
    """What an engine is started with.

    Attributes
    ----------
    folder : str
        Where its ring is, and its socket will be.
    backend : Backend
    parent : int
        The process without which it ends.
    """

    folder: str
    backend: c.Backend
    parent: int


class Clients:
    """Everyone who is connected; each writer has a share of the ring."""

    def __init__(self) -> None:
        self._wires: dict[Wire, int | None] = {}
        self._lock = threading.Lock()

    def join(self, wire: Wire, wish: c.Join) -> bool:
        """Greet somebody new; False where all shares are taken."""
        with self._lock:
            taken, share = set(self._wires.values()), None
            if wish.writes:
                order = (wish.share, *range(SHARES))
                share = next((s for s in order if s is not None and s not in taken), None)
                if share is None:
                    return False
            self._wires[wire] = share
            wire.send(c.Hello(share))
        return True

    def leave(self, wire: Wire, forget: Callable[[int], None]) -> None:
        """Somebody has gone: what they played from their share is forgotten before another one may have it."""
        with self._lock:
            share = self._wires.pop(wire, None)
            if share is not None:
                forget(share)
        wire.close()

    def tell(self, answer: c.Answer) -> None:
        """Tell everyone; mistakes only to those who lead, not to those who play patches. Never waits."""
        with self._lock:
            for wire, share in self._wires.items():
                if share is None or not isinstance(answer, c.Refused):
                    wire.send(answer)


def engine(setup: Setup) -> None:
    """Body of the process. Returns when it is told to, or when its parent is gone; its folder is then gone too."""
    folder = Path(setup.folder)
    _quiet(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard is the parent's
    threading.Thread(target=_outlive, args=(setup.parent, folder), daemon=True).start()
    sys.setswitchinterval(_SWITCH)
    os.environ["PYO_GUI_WX"] = "0"
    os.environ["JACK_NO_START_SERVER"] = "1"
    import pyo64  # noqa: F401

    from sonify.engine.console import Console
    from sonify.engine.device import Device

    clients = Clients()
    console = Console(LaneRing.attach(folder), clients.tell)
    device = Device(console, setup.backend, clients.tell)
    signal.signal(signal.SIGTERM, lambda *_: device.end())
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    (folder / SOCKET).unlink(missing_ok=True)
    listener.bind(str(folder / SOCKET))
    listener.listen()
    threading.Thread(target=_welcome, args=(listener, clients, console, device), daemon=True).start()
    gc.disable()  # to look for circles holds blocks up; graphs open theirs (`DeckGraph.open`)
    device.run()
    console.close()


def _quiet(folder: Path) -> None:
    """Nothing that anyone prints reaches the screen."""
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _outlive(parent: int, folder: Path) -> None:
    """End with the parent, however it ends, and leave nothing behind."""
    while os.getppid() == parent:
        time.sleep(0.2)
        _trim(folder / LOG)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _trim(log: Path) -> None:
    """ALSA may print for ever."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > 1 << 20:
            os.truncate(log, 0)


def _welcome(listener: socket.socket, clients: Clients, console: Console, device: Device) -> None:
    while True:
        try:
            end, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(Wire(end), clients, console, device), daemon=True).start()


def _serve(wire: Wire, clients: Clients, console: Console, device: Device) -> None:
    """Take one client's commands until it is gone."""
    try:
        wish = wire.receive()
        if not isinstance(wish, c.Join) or not clients.join(wire, wish):
            wire.send(c.Refused(f"{SHARES} performances use this sound engine already: end one"))
            wire.close()
            return
        device.greet(wire.send)
        while True:
            command = wire.receive()
            if isinstance(command, c.Quit):
                device.end()
            elif isinstance(command, c.Use):
                device.use(command.backend)
            else:
                console.take(command, wire.send)
    except EOFError:
        pass
    except Exception as error:  # a command of another version: this client is not understood
        wire.send(c.Refused(f"not understood: {type(error).__name__}: {error}"))
    clients.leave(wire, console.forget)
