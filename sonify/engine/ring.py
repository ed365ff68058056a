"""Lanes in shared memory: what voices are to do, written ahead of time; and what the engine does, for anyone to read.

A slot is one control over time, in points at `CONTROL_RATE`; point i of engine time stands at i modulo `points`.
Whoever connects to an engine has a share of the slots for itself, so nobody writes what another one writes. The memory
is a file in the engine's folder (in /dev/shm where there is one): whoever has the folder can map it, it outlives an
engine that dies, and needs nobody to keep count of it.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from sonify.instruments.base import CONTROL_RATE

Floats = NDArray[np.float64]
T = TypeVar("T")

#: Slots and points of a ring, and the shares that its slots are cut into. Pages that nobody writes take no memory.
SLOTS, POINTS, SHARES = 8192, 1024, 4
#: Most decks, and most strips of all decks, whose positions and peaks are told.
DECKS, STRIPS = 16, 512

#: How often it is looked, 0.1 ms apart, whether the engine has written what it is writing.
_TRIES = 1000
_MAGIC = 0xDE5CA48
_TEXT = 1 << 16
_FILE = "ring"
_HEAD = np.dtype(
    [
        ("magic", "<f8"),
        ("slots", "<f8"),
        ("points", "<f8"),
        ("rate", "<f8"),
        ("block", "<f8"),
        ("turn", "<f8"),  # odd while what follows is being written
        ("seconds", "<f8"),
        ("monotonic", "<f8"),
        ("blocks", "<f8"),
        ("underruns", "<f8"),
        ("late", "<f8"),
        ("faults", "<f8"),
        ("alive", "<f8"),
        ("load", "<f8"),
        ("peak", "<f8", 2),
        ("written", "<f8", SHARES),
        ("positions", "<f8", DECKS),
        ("decks", "<f8", (DECKS, 2)),
        ("strips", "<f8", STRIPS),
        ("edition", "<f8"),  # of the text that says what positions and peaks are those of
        ("length", "<f8"),
    ]
)


class RingError(DescantError):
    """Shared memory that is not there, or is something else."""


@dataclass(frozen=True)
class State:
    """What an engine does.

    Attributes
    ----------
    seconds, monotonic : float
        Engine time at which the next block begins, and when that is by `time.monotonic`.
    blocks, underruns, late, faults : int
        Blocks played; lost because they came too late; in which a writer was late, so that its last values were held;
        in which something failed, which is a mistake in the engine.
    backend : str
        What sounds now: ``silent`` where there is no device.
    alive : bool
        Whether the device that was asked for is there.
    load : float
        Share of a block's time that making it takes.
    peak : tuple of float
        Linear, left and right, of the last block, after the limiter.
    decks : mapping
        Name → position in seconds (of a file; of a patch since it was loaded), and peaks.
    strips : mapping
        (deck, voice or group) → linear peak.
    """

    seconds: float
    monotonic: float
    blocks: int
    underruns: int
    late: int
    faults: int
    backend: str
    alive: bool
    load: float
    peak: tuple[float, float]
    decks: Mapping[str, tuple[float, float, float]]
    strips: Mapping[tuple[str, str], float]

    @property
    def age(self) -> float:
        """Seconds since the next block should have begun: a block or two at most while the engine lives."""
        return time.monotonic() - self.monotonic


class LaneRing:
    """The shared memory of one engine.

    Attributes
    ----------
    rate, block : int
        Hertz, and samples of a block, of the sound.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._head = np.frombuffer(memory, _HEAD, 1)
        if len(memory) < _size(1, 1) or self._head["magic"][0] != _MAGIC:
            raise RingError("this is no ring of lanes of this version: start the engine again")
        slots, self.points = int(self._head["slots"][0]), int(self._head["points"][0])
        self.rate, self.block = int(self._head["rate"][0]), int(self._head["block"][0])
        self.share = slots // SHARES
        self._lanes = np.frombuffer(memory, np.float64, slots * self.points, _size(0, 0)).reshape(slots, self.points)
        self._names: tuple[float, dict[str, list[str]]] = (-1.0, {})
        self._text: bytes | None = None

    @classmethod
    def create(
        cls, folder: Path, rate: int = 48_000, block: int = 1024, slots: int = SLOTS, points: int = POINTS
    ) -> LaneRing:
        """A new one in a folder; one that is there already, of whatever size, gives way.

        Raises
        ------
        RingError
            If it cannot be made.
        """
        path = folder / _FILE
        try:
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.ftruncate(descriptor, _size(slots, points))
                memory = mmap.mmap(descriptor, _size(slots, points))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RingError(f"{path}: shared memory cannot be made: {error.strerror}: make room there") from None
        head = np.frombuffer(memory, _HEAD, 1)
        for name, value in {"slots": slots, "points": points, "rate": rate, "block": block, "magic": _MAGIC}.items():
            head[name][0] = value
        return cls(memory)

    @classmethod
    def attach(cls, folder: Path) -> LaneRing:
        """The one in a folder.

        Raises
        ------
        RingError
            If there is none: the engine has ended.
        """
        path = folder / _FILE
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError as error:
            raise RingError(f"{path}: no shared memory of an engine: {error.strerror}") from None
        try:
            size = os.fstat(descriptor).st_size
            if size < _size(1, 1):
                raise RingError(f"{path}: {size} bytes are no ring of lanes")
            return cls(mmap.mmap(descriptor, size))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the memory; it is given back when nobody holds it and its file is gone."""
        del self._head, self._lanes
        with suppress(BufferError):  # a view that somebody still holds keeps it
            self._memory.close()

    # Lanes

    def fill(self, base: int, values: Floats) -> None:
        """Set slots from `base` on to a value each, at all times."""
        self._lanes[base : base + len(values)] = np.asarray(values)[:, None]

    def write(self, share: int, base: int, first: int, rows: Floats) -> None:
        """Write points.

        Parameters
        ----------
        share : int
            The writer's own.
        base : int
            Slot of the first row.
        first : int
            Engine time of the first point, in points.
        rows : ndarray
            [slots, points], no more than `points` of them.

        Raises
        ------
        RingError
            If they do not fit into the share.
        """
        slots, count = rows.shape
        if not share * self.share <= base <= base + slots <= (share + 1) * self.share or count > self.points:
            raise RingError(f"{slots} slots from {base}, {count} points: a share is {self.share}, a ring {self.points}")
        at = first % self.points
        before = min(count, self.points - at)
        self._lanes[base : base + slots, at : at + before] = rows[:, :before]
        self._lanes[base : base + slots, : count - before] = rows[:, before:]

    def hold(self, share: int, base: int, slots: int) -> None:
        """Let slots that will not be written any more stay as they are, for most of the ring's length."""
        until = self.until(share)
        following = np.arange(until, until + self.points // 2) % self.points
        self._lanes[base : base + slots, following] = self._lanes[base : base + slots, (until - 1) % self.points][
            :, None
        ]

    def copy(self, base: int, to: int, slots: int) -> None:
        """Copy slots, at all times."""
        self._lanes[to : to + slots] = self._lanes[base : base + slots]

    def written(self, share: int, until: int) -> None:
        """Say that all slots in use are written up to a point, exclusive, of engine time."""
        self._head["written"][0, share] = until

    def until(self, share: int) -> int:
        """The first point that a share's writer has not written yet."""
        return int(self._head["written"][0, share])

    def read(self, base: int, slots: int, first: int, count: int, until: int) -> tuple[Floats, int]:
        """Points from `first` on, [slots, count], and how many of them are written, which is `until`, exclusive.

        The last one that is written stands for those that are not, however long ago it was.
        """
        have = min(max(until - first, 0), count)
        index = np.minimum(np.arange(first, first + count), until - 1)
        return self._lanes[base : base + slots, index % self.points], have

    # What the engine does

    def publish(self, seconds: float, monotonic: float, **numbers: float | Sequence[float] | Floats) -> None:
        """Set the clock and other numbers of the header, by the names of `State`; for the engine alone.

        What was said by `name` goes with them, so that nobody takes one deck's position for another's.
        """
        head = self._head
        head["turn"][0] += 1
        head["seconds"][0], head["monotonic"][0] = seconds, monotonic
        if self._text is not None:
            self._memory[_HEAD.itemsize : _HEAD.itemsize + len(self._text)] = self._text
            head["length"][0], self._text = len(self._text), None
            head["edition"][0] += 1
        for name, value in numbers.items():
            field = head[name][0]
            if np.ndim(field):
                field[: len(value)] = value  # type: ignore[arg-type]
            else:
                head[name][0] = value
        head["turn"][0] += 1

    def name(self, backend: str, decks: Sequence[str], strips: Sequence[tuple[str, str]]) -> None:
        """Say what positions and peaks are those of, from the next `publish` on; for the engine alone."""
        text = json.dumps({"backend": [backend], "decks": decks, "strips": [n for pair in strips for n in pair]})
        self._text = text.encode()[:_TEXT]

    def clock(self) -> tuple[float, float]:
        """Engine time at which the next block begins, in seconds, and when that is by `time.monotonic`."""
        return self._whole(lambda: (float(self._head["seconds"][0]), float(self._head["monotonic"][0])))

    def _whole(self, read: Callable[[], T]) -> T:
        """What is read while the engine writes nothing; of one that died while it wrote, what there is."""
        for _ in range(_TRIES):
            turn = self._head["turn"][0]
            found = read()
            if turn % 2 == 0 and turn == self._head["turn"][0]:
                break
            time.sleep(1e-4)
        return found

    def now(self) -> float:
        """Engine time at this moment, in seconds, as far as the clock is known."""
        seconds, monotonic = self.clock()
        return seconds + time.monotonic() - monotonic

    def state(self) -> State:
        """What the engine does."""
        head, names = self._whole(lambda: (self._head[0].copy(), self._named()))
        decks, strips = names.get("decks", []), names.get("strips", [])
        return State(
            seconds=float(head["seconds"]),
            monotonic=float(head["monotonic"]),
            blocks=int(head["blocks"]),
            underruns=int(head["underruns"]),
            late=int(head["late"]),
            faults=int(head["faults"]),
            backend=names.get("backend", ["silent"])[0],
            alive=bool(head["alive"]),
            load=float(head["load"]),
            peak=(float(head["peak"][0]), float(head["peak"][1])),
            decks={
                name: (float(position), float(left), float(right))
                for name, position, (left, right) in zip(decks, head["positions"], head["decks"], strict=False)
            },
            strips={
                (deck, voice): float(peak)
                for deck, voice, peak in zip(strips[::2], strips[1::2], head["strips"], strict=False)
            },
        )

    def _named(self) -> dict[str, list[str]]:
        """The text, read anew where it is another one."""
        turn, edition = self._head["turn"][0], float(self._head["edition"][0])
        if edition == self._names[0]:
            return self._names[1]
        data = self._memory[_HEAD.itemsize : _HEAD.itemsize + int(self._head["length"][0])]
        try:
            found: dict[str, list[str]] = json.loads(data) if data else {}
        except ValueError:  # written meanwhile
            return self._names[1]
        if turn % 2 == 0 and turn == self._head["turn"][0]:
            self._names = edition, found
        return found


def point(seconds: float) -> int:
    """The last point at or before an engine time."""
    return int(np.floor(seconds * CONTROL_RATE + 1e-6))


def _size(slots: int, points: int) -> int:
    """Bytes of a ring."""
    return -(-(_HEAD.itemsize + _TEXT) // mmap.PAGESIZE) * mmap.PAGESIZE + slots * points * 8
