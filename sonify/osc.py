"""Open Sound Control out, over UDP: every channel, lane and event.

``/descant/<part>/<channel> value ...``, ``/descant/voice/<voice>/<lane> value`` and ``/descant/event/<kind> name value
name value ...``, in bundles that carry their time.

Reference: M. Wright, The Open Sound Control 1.0 Specification, 2002.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pieces.errors import DescantError
from pieces.signals import FrameBlock

#: Elements of an array channel that are sent; larger ones are not.
LARGEST_ARRAY = 256
#: Bytes of a packet that pass any network in one piece.
_PACKET = 1400
#: What a name in an address may not hold.
_RESERVED = re.compile(r"[^!-~]|[#*,/?\[\]{}]")
#: Largest value of OSC's float, which has 32 bits.
_LARGEST = float(np.finfo(np.float32).max)


class OscError(DescantError):
    """An address or port that cannot be used."""


class OscOut:
    """Sends to one address; never waits, and never fails a performance.

    Parameters
    ----------
    host : str
        Name or address, looked up once.
    port : int
        1 to 65535.

    Attributes
    ----------
    sent, errors : int
        Packets that left, and that did not: nobody listens, the network is full or gone.
    """

    def __init__(self, host: str, port: int) -> None:
        family, address = resolve(host, port, 1)
        self.sent = self.errors = 0
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise OscError(f"OSC to {host}:{port}: {error.strerror}; give another HOST:PORT") from None

    def frames(self, part: str, block: FrameBlock, *, rate: float, at: float | None = None) -> None:
        """Send every tick of a block as a bundle with its time, and its events.

        Parameters
        ----------
        part : str
        block : FrameBlock
            Array channels of up to `LARGEST_ARRAY` elements are sent, row by row.
        rate : float
            Ticks per second.
        at : float, optional
            Unix time of the block's first tick; default now.
        """
        start = time.time() if at is None else at
        arrays = {n: a for n, a in block.arrays.items() if a[:1].size <= LARGEST_ARRAY}
        addresses = {n: _address(part, n) for n in arrays}
        rows = {
            n: np.asarray(a, dtype=np.float64).reshape(len(a), math.prod(a.shape[1:])).tolist()
            for n, a in arrays.items()
        }
        for i in range(block.ticks):
            self._send([(addresses[n], rows[n][i]) for n in rows], start + i / rate)
        for event in block.events:
            since = (event.tick - block.first_tick) / rate
            self.event(event.kind, {"part": part, "tick": event.tick, **event.data}, at=start + since)

    def voice(self, name: str, lanes: Mapping[str, float], *, at: float | None = None) -> None:
        """Send a voice's lanes as they are at one moment (Unix time, default now)."""
        self._send([(_address("voice", name, lane), [float(value)]) for lane, value in lanes.items()], at)

    def event(self, kind: str, data: Mapping[str, Any], *, at: float | None = None) -> None:
        """Send an event: names and values in turn, what is neither number nor text as JSON."""
        plain = [v if isinstance(v, bool | int | float | str) else json.dumps(v) for v in data.values()]
        self._send([(_address("event", kind), [x for pair in zip(data, plain, strict=True) for x in pair])], at)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def __enter__(self) -> OscOut:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _send(self, messages: Iterable[tuple[str, Sequence[Any]]], at: float | None) -> None:
        """Messages of one moment, in as many bundles as the network's packets ask for."""
        from pythonosc.osc_message_builder import build_msg
        from pythonosc.parsing.osc_types import write_date

        head = b"#bundle\0" + write_date(time.time() if at is None else at)
        packet = head
        for address, values in messages:
            message = build_msg(address, [_fit(v) for v in values]).dgram
            if len(packet) > len(head) and len(packet) + 4 + len(message) > _PACKET:
                self._leave(packet)
                packet = head
            packet += struct.pack(">i", len(message)) + message
        if len(packet) > len(head):
            self._leave(packet)

    def _leave(self, packet: bytes) -> None:
        try:
            self._socket.send(packet)
            self.sent += 1
        except OSError:
            self.errors += 1


def resolve(host: str, port: int, least: int) -> tuple[int, Any]:
    """Address family and address of a host and port, which is `least` or more; `OscError` if there is none."""
    if not least <= port <= 65_535:
        raise OscError(f"OSC port {port}: allowed is {least} to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError):
        raise OscError(f"OSC host {host!r} is unknown: give a name or an address of the network") from None
    return family, address


def _address(*names: str) -> str:
    return "/".join(["/descant", *(_RESERVED.sub("_", name) or "_" for name in names)])


def _fit(value: Any) -> Any:
    """A value that OSC's types can hold."""
    if isinstance(value, float):
        return min(max(value, -_LARGEST), _LARGEST)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return str(value)
    return value.replace("\0", "") if isinstance(value, str) else value
