"""Open Sound Control in, over UDP: controls and events.

``/descant/set/<part>/<control> value`` (the part may be left out) and ``/descant/event/<kind>`` with names and values
in turn, or with values alone (of ``note``: midi, velocity).
"""

from __future__ import annotations

import errno
import math
import re
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from sonify.incoming import Inbox, TimedEvent
from sonify.osc import OscError, resolve

if TYPE_CHECKING:
    from pythonosc.osc_message import OscMessage

#: Bytes of the longest packet that UDP has.
_LONGEST = 65_535
#: An address and its type tags: numbers, text, true, false and nil, as JSON has them.
_MESSAGE = re.compile(rb"/[^\0]*\0+(?:,[ihfdsTFN]*\0.*)?", re.DOTALL)
#: Names of an event's values where they come alone.
_NAMES = {"note": ("midi", "velocity")}


class OscIn:
    """Listens on a port; controls and events go into an inbox from a thread of its own.

    Parameters
    ----------
    port : int
        0 to 65535; 0 takes one that is free.
    host : str
        Address to listen at: by default this machine alone can send, ``0.0.0.0`` lets every other.
    inbox : Inbox, optional
        Shared with other inputs; default one of its own.

    Attributes
    ----------
    port : int
        The port.
    inbox : Inbox
        ``set`` events (part, or None; control; value), and events of other kinds, on the clock of `time.monotonic`;
        what a bundle dates ahead has that time.
    received, ignored : int
        Messages that became events, and those that could not, with packets that are no OSC.

    Raises
    ------
    OscError
        If the port is taken, needs rights, or the host is none of this machine's.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", inbox: Inbox | None = None) -> None:
        family, address = resolve(host, port, 0)
        self.inbox = inbox or Inbox()
        self.received = self.ignored = 0
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise OscError(f"OSC port {port} at {host}: {_reason(error)}") from None
        self.port = int(self._socket.getsockname()[1])
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="osc in", daemon=True)
        self._thread.start()

    def drain(self) -> list[TimedEvent]:
        """Take the events that have come."""
        return self.inbox.drain()

    def close(self) -> None:
        """Stop listening and free the port."""
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> OscIn:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                packet = self._socket.recv(_LONGEST)
            except OSError:  # nothing came, or the network says that something else went wrong
                continue
            self._receive(packet)

    def _receive(self, packet: bytes) -> None:
        from pythonosc.osc_packet import OscPacket

        now, wall = time.monotonic(), time.time()
        try:
            messages = OscPacket(packet).messages if _plain(packet) else []
        except Exception:  # a packet from anywhere may break the parser in any way
            messages = []
        self.ignored += not messages
        for timed in messages:
            found = _decode(timed.message)
            if found is None:
                self.ignored += 1
            else:
                self.inbox.put(*found, seconds=now + max(timed.time - wall, 0.0))
                self.received += 1


def _plain(packet: bytes) -> bool:
    """Whether a packet has the form of OSC and only types that JSON has: of others python-osc drops the values."""
    if not packet.startswith(b"#bundle\0"):
        return _MESSAGE.fullmatch(packet) is not None
    at = 16
    while at < len(packet):
        (size,) = struct.unpack_from(">i", packet, at)
        if size < 4 or not _plain(packet[at + 4 : at + 4 + size]):
            return False
        at += 4 + size
    return at == len(packet)


def _decode(message: OscMessage) -> tuple[str, dict[str, Any]] | None:
    """Kind and data of an event, or None."""
    words, values = message.address.split("/")[1:], message.params
    if words[:1] != ["descant"] or not all(words) or not all(map(_allowed, values)):
        return None
    match words[1:]:
        case ["set", *part, control] if len(part) < 2 and len(values) == 1:
            return "set", {"part": part[0] if part else None, "control": control, "value": values[0]}
        case ["event", kind]:
            data = _data(kind, values)
            return None if data is None else (kind, data)
    return None


def _data(kind: str, values: list[Any]) -> dict[str, Any] | None:
    """An event's data, of names and values in turn or of values alone."""
    if values and isinstance(values[0], str):
        names, given = values[::2], values[1::2]
        if len(names) != len(given) or not all(isinstance(n, str) for n in names):
            return None
        data = dict(zip(names, given, strict=True))
    elif kind in _NAMES:
        if len(values) > len(_NAMES[kind]):
            return None
        data = dict(zip(_NAMES[kind], values, strict=False))
    else:
        data = {"value": values[0]} if len(values) == 1 else {"values": values} if values else {}
    midi = data.get("midi")
    return data | {"midi": int(midi)} if isinstance(midi, float) and midi.is_integer() else data


def _allowed(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "it is taken: end what listens there, or give another"
    if error.errno == errno.EACCES:
        return "it needs the rights of root: give one from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return "the host is not this machine: give one of its addresses, or 0.0.0.0 for all"
    return f"{error.strerror}; give another"
