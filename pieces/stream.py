"""The one stream format: a header with the channels, then blocks and events; append-only, tolerant of a torn tail.

Performer pipe, tap, tailing and archive ingestion all speak it. A stream is the magic ``DSCNT1\\n`` and records. A
record is a kind (1 byte: ``H`` header, ``B`` block), the payload's length (uint32), the CRC-32 of kind and payload
(uint32), little-endian, then the payload: JSON for the header, safetensors for a block, whose metadata holds the
first tick, the number of ticks and the events. A reader stops before the first record that is incomplete or damaged,
and passes over kinds that it does not know.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np

from pieces.errors import DescantError
from pieces.signals import Channel, Event, FrameBlock

MAGIC = b"DSCNT1\n"
_RECORD = struct.Struct("<cII")
#: A block larger than this is no block: a guard against reading a length from garbage.
_LARGEST = 1 << 30


class StreamError(DescantError):
    """Not a Descant stream."""


def encode_block(block: FrameBlock) -> bytes:
    """A block as safetensors bytes; `decode_block` gives it back, bit for bit.

    Written here because every channel is copied once only: `safetensors.numpy.save` copies three times and takes
    four times as long, which is a third of what recording costs.

    Raises
    ------
    StreamError
        If an array is of a dtype that the format does not know.
    """
    events = json.dumps([[e.tick, e.kind, dict(e.data), e.given] for e in block.events], allow_nan=False)
    about = {"first_tick": str(block.first_tick), "ticks": str(block.ticks), "events": events}
    header: dict[str, Any] = {"__metadata__": about}
    bodies = []
    end = 0
    for name, array in sorted(block.arrays.items(), key=lambda item: -item[1].itemsize):  # keeps all aligned
        if array.dtype not in _NAMES:
            raise StreamError(f"channel {name} is {array.dtype}: a stream keeps {', '.join(map(str, _NAMES))}")
        body = np.ascontiguousarray(array).data
        start, end = end, end + body.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [start, end]}
        bodies.append(body)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *bodies])


def decode_block(data: bytes) -> FrameBlock:
    """Inverse of `encode_block`.

    Raises
    ------
    StreamError
        If the bytes are not a block.
    """
    try:
        (length,) = struct.unpack_from("<Q", data)
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        about = header.pop("__metadata__")
        body = memoryview(data)[8 + length :]
        arrays = {}
        for name, spec in header.items():
            start, end = spec["data_offsets"]
            arrays[name] = np.frombuffer(body[start:end], dtype=_DTYPES[spec["dtype"]]).reshape(spec["shape"])
        events = tuple(Event(*e) for e in json.loads(about["events"]))
        return FrameBlock(int(about["first_tick"]), arrays, events)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StreamError(f"not a block of frames ({len(data)} bytes): {error}") from error


_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


class StreamWriter:
    """Appends to a binary file or pipe. The header is written at once."""

    def __init__(self, file: BinaryIO, channels: Sequence[Channel], about: Mapping[str, Any] | None = None) -> None:
        self._file = file
        header = {"channels": [asdict(c) for c in channels], "about": dict(about or {})}
        file.write(MAGIC)
        self._record(b"H", json.dumps(header, allow_nan=False).encode())

    def write(self, block: FrameBlock) -> None:
        """Append a block and flush it."""
        self._record(b"B", encode_block(block))

    def _record(self, kind: bytes, payload: bytes) -> None:
        self._file.write(_RECORD.pack(kind, len(payload), zlib.crc32(kind + payload)) + payload)
        self._file.flush()


class StreamReader:
    """Reads what is there, from a file or a pipe.

    Iterating yields blocks up to the end or the first torn record; iterating again goes on from there, so that a
    growing file can be tailed.
    """

    channels: tuple[Channel, ...]
    about: dict[str, Any]

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        #: Of a record that is not whole yet: a pipe cannot go back to where it began.
        self._unread = bytearray()
        if not self._have(len(MAGIC)) or self._unread != MAGIC:
            raise StreamError("not a Descant stream: the file does not start with its magic bytes")
        self._unread.clear()
        record = self._next()
        if record is None or record[0] != b"H":
            raise StreamError("a Descant stream without its header: it was torn before anything was recorded")
        try:
            header = json.loads(record[1])
            self.channels = tuple(Channel.from_plain(c) for c in header["channels"])
            self.about = header["about"]
        except (ValueError, KeyError, TypeError) as error:
            raise StreamError(f"a Descant stream with a header that cannot be read: {error}") from error

    def __iter__(self) -> Iterator[FrameBlock]:
        while (record := self._next()) is not None:
            if record[0] == b"B":
                yield decode_block(record[1])

    def _next(self) -> tuple[bytes, bytes] | None:
        if not self._have(_RECORD.size):
            return None
        kind, length, crc = _RECORD.unpack_from(self._unread)
        end = _RECORD.size + length
        if length > _LARGEST or not self._have(end):
            return None
        payload = bytes(self._unread[_RECORD.size : end])
        if zlib.crc32(kind + payload) != crc:
            return None
        del self._unread[:end]
        return kind, payload

    def _have(self, count: int) -> bool:
        """Read on until `count` bytes are unread; False where the file has no more for now."""
        while len(self._unread) < count:
            more = self._file.read(count - len(self._unread))
            if not more:
                return False
            self._unread += more
        return True
