"""The stream format: what is written is read, bit for bit; what is torn is not read; what grows is followed."""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pieces.signals import Channel, Event, FrameBlock
from pieces.stream import MAGIC, StreamError, StreamReader, StreamWriter, decode_block, encode_block

CHANNELS = (Channel("loss", "a loss", "nats", (0.0, 2.0)), Channel("x0", "a picture", shape=(2, 3), dtype="float64"))
DTYPES = [
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]


@st.composite
def blocks(draw: st.DrawFn) -> FrameBlock:
    ticks = draw(st.integers(0, 5))
    names = draw(st.lists(st.from_regex(r"[a-z_]\w{0,6}", fullmatch=True), max_size=4, unique=True))
    arrays = {}
    for name in names:
        shape = (ticks, *draw(st.lists(st.integers(1, 3), max_size=2)))
        arrays[name] = draw(hnp.arrays(np.dtype(draw(st.sampled_from(DTYPES))), shape))
    data = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=2)
    events = draw(st.lists(st.builds(Event, st.integers(0, 99), st.text(max_size=5), data, st.booleans()), max_size=3))
    return FrameBlock(draw(st.integers(0, 2**40)), arrays, tuple(events))


def same(a: FrameBlock, b: FrameBlock) -> bool:
    return (
        a.first_tick == b.first_tick
        and a.events == b.events
        and a.arrays.keys() == b.arrays.keys()
        and all(
            (x.dtype, x.shape, x.tobytes()) == (b.arrays[n].dtype, b.arrays[n].shape, b.arrays[n].tobytes())
            for n, x in a.arrays.items()
        )
    )


def a_block(first: int, ticks: int = 4) -> FrameBlock:
    rng = np.random.default_rng(first)
    arrays = {"loss": rng.random(ticks, dtype=np.float32), "x0": rng.random((ticks, 2, 3))}
    return FrameBlock(first, arrays, (Event(first, "note", {"midi": 60}, given=True),))


def record(kind: bytes, payload: bytes) -> bytes:
    """A record as the format's description has it."""
    return struct.pack("<cII", kind, len(payload), zlib.crc32(kind + payload)) + payload


@settings(max_examples=60, deadline=None)
@given(block=blocks())
def test_block_round_trip(block: FrameBlock) -> None:
    assert same(decode_block(encode_block(block)), block)


def test_nan_and_inf_keep_their_bits() -> None:
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0], dtype=np.float32)
    assert decode_block(encode_block(FrameBlock(0, {"x": odd}))).arrays["x"].tobytes() == odd.tobytes()


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_garbage_is_no_block(data: bytes) -> None:
    with pytest.raises(StreamError):
        decode_block(data)


def test_foreign_safetensors_are_no_block() -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    with pytest.raises(StreamError, match="not a block"):
        decode_block(struct.pack("<Q", len(header)) + header + bytes(4))


@settings(max_examples=30, deadline=None)
@given(written=st.lists(blocks(), max_size=4))
def test_stream_round_trip(written: list[FrameBlock]) -> None:
    file = io.BytesIO()
    writer = StreamWriter(file, CHANNELS, {"source": "cubics", "seed": 3})
    for block in written:
        writer.write(block)
    file.seek(0)
    reader = StreamReader(file)
    assert reader.channels == CHANNELS
    assert reader.about == {"source": "cubics", "seed": 3}
    read = list(reader)
    assert len(read) == len(written)
    assert all(same(a, b) for a, b in zip(read, written, strict=True))


def stream(n: int) -> tuple[bytes, list[int]]:
    """A stream of `n` blocks, and where each record ends."""
    file = io.BytesIO()
    writer = StreamWriter(file, CHANNELS)
    ends = [file.tell()]
    for i in range(n):
        writer.write(a_block(4 * i))
        ends.append(file.tell())
    return file.getvalue(), ends


def test_torn_at_every_byte() -> None:
    """Cut anywhere, a stream gives exactly the blocks that are whole, and no error once its header is there."""
    data, ends = stream(3)
    for cut in range(len(data) + 1):
        if cut < ends[0]:
            with pytest.raises(StreamError, match="Descant stream"):
                StreamReader(io.BytesIO(data[:cut]))
            continue
        read = list(StreamReader(io.BytesIO(data[:cut])))
        whole = sum(end <= cut for end in ends[1:])
        assert [b.first_tick for b in read] == [4 * i for i in range(whole)], cut


def test_damage_at_any_byte_is_noticed() -> None:
    data, ends = stream(2)
    for at in range(ends[1], ends[2]):
        damaged = bytearray(data)
        damaged[at] ^= 0x40
        read = list(StreamReader(io.BytesIO(damaged)))
        assert same(read[0], a_block(0))
        assert len(read) == 1, at


def test_tailing(tmp_path: Path) -> None:
    """A reader that has come to the end, even within a record, goes on when more is written."""
    data, ends = stream(3)
    path = tmp_path / "take.stream"
    path.write_bytes(data[: ends[0]])
    seen: list[int] = []
    with path.open("rb") as file, path.open("ab") as growing:
        reader = StreamReader(file)
        for start in range(ends[0], len(data), 37):
            growing.write(data[start : start + 37])
            growing.flush()
            seen += [b.first_tick for b in reader]
            assert len(seen) == sum(end <= start + 37 for end in ends[1:])
    assert seen == [0, 4, 8]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF....WAVE",
        MAGIC,
        MAGIC + record(b"B", encode_block(a_block(0))),
        MAGIC + record(b"H", b""),
        MAGIC + record(b"H", b"[1, 2]"),
        MAGIC + record(b"H", b'{"channels": [{"name": "x", "range": [0, 1], "shape": [], "colour": 3}], "about": {}}'),
    ],
)
def test_not_a_stream(data: bytes) -> None:
    with pytest.raises(StreamError, match="Descant stream"):
        StreamReader(io.BytesIO(data))


def test_kinds_of_a_later_version_are_passed_over() -> None:
    data, _ = stream(1)
    later = data + record(b"X", b"who knows") + record(b"B", encode_block(a_block(4)))
    assert [b.first_tick for b in StreamReader(io.BytesIO(later))] == [0, 4]


class Starved(io.FileIO):
    """The end of a pipe in which there is never more than one byte."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1)


@pytest.mark.parametrize("opened", [Starved, open])
def test_a_pipe_that_gives_a_byte_at_a_time(opened: Callable[[int, str], BinaryIO]) -> None:
    data, _ = stream(5)
    out, into = os.pipe()

    def drip() -> None:
        with os.fdopen(into, "wb", buffering=0) as end:
            for i in range(len(data) - 3):  # the last record is torn
                end.write(data[i : i + 1])

    writer = threading.Thread(target=drip)
    writer.start()
    with opened(out, "rb") as end:
        read = list(StreamReader(end))
    writer.join()
    assert [b.first_tick for b in read] == [b.first_tick for b in StreamReader(io.BytesIO(data))][:-1]
