"""The vocabulary of a performance: channels, controls, events and blocks of frames.

Everything downstream (archive, sound, pictures) reads these and nothing else, so they know no room but their own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.errors import ControlError

Array: TypeAlias = NDArray[Any]
Value: TypeAlias = float | int | str


@dataclass(frozen=True, slots=True)
class Channel:
    """One named signal of a source.

    Attributes
    ----------
    name : str
        Lower-case identifier, unique within the source.
    about : str
        One sentence for people.
    unit : str
        SI or field unit (``"nats"``, ``"Hz"``); ``""`` for a pure number.
    range : tuple of float
        Lowest and highest value expected (inclusive); a hint for live mapping and plotting, never a limit.
    shape : tuple of int
        Shape of one tick; ``()`` is a scalar.
    dtype : str
        numpy dtype in which it is emitted and kept.
    reproducible : bool
        False for what differs between equal performances (step time, memory): kept, but outside the take's hash.
    """

    name: str
    about: str
    unit: str = ""
    range: tuple[float, float] = (0.0, 1.0)
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    reproducible: bool = True

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"channel name {self.name!r} is not an identifier")
        if not (math.isfinite(self.range[0]) and math.isfinite(self.range[1]) and self.range[0] < self.range[1]):
            raise ValueError(f"channel {self.name}: range {self.range}: allowed are two finite numbers that rise")
        np.dtype(self.dtype)

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any]) -> Channel:
        """Inverse of `dataclasses.asdict` after a passage through JSON, which knows no tuples."""
        return cls(**{**raw, "range": tuple(raw["range"]), "shape": tuple(raw["shape"])})


@dataclass(frozen=True, slots=True)
class Control:
    """A parameter of a source that may change while it runs.

    A numeric control has a ``range`` (inclusive, in ``unit``); a choice has ``choices``. ``shape`` is the scale on
    which equal steps feel equal (``"linear"`` or ``"log"``), used by knobs and steerers. A control with
    ``live=False`` is read once, at the first tick.
    """

    name: str
    about: str
    default: Value
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    shape: str = "linear"
    live: bool = True

    def __post_init__(self) -> None:
        if not self.choices and self.range is None:
            raise ValueError(f"control {self.name}: declare its range or its choices")

    def value(self, u: float) -> Value:
        """The value of a numeric control at `u` in 0..1 of its range, equal steps in its `shape`."""
        assert self.range is not None
        low, high = self.range
        number = low * (high / low) ** u if self.shape == "log" and low > 0 else low + u * (high - low)
        return round(number) if isinstance(self.default, int) else float(min(max(number, low), high))

    def check(self, value: object) -> Value:
        """Return `value` in the control's own type.

        Raises
        ------
        ControlError
            If the value is of another kind or out of range; the message names the range.
        """
        if self.choices:
            if value not in self.choices:
                raise ControlError(f"{self.name} = {value!r}: allowed are {', '.join(self.choices)}")
            return str(value)
        assert self.range is not None
        low, high = self.range
        allowed = f"allowed are {'whole ' if isinstance(self.default, int) else ''}numbers from {low:g} to {high:g}"
        allowed += f" {self.unit}" if self.unit else ""
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise ControlError(f"{self.name} = {str(value)[:40]!r}: {allowed}") from None
        whole = isinstance(self.default, int)
        if (
            isinstance(value, bool)
            or not math.isfinite(number)
            or not low <= number <= high
            or (whole and number != int(number))
        ):
            raise ControlError(f"{self.name} = {value}: {allowed}")
        return int(number) if whole else number


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a tick: ``note``, ``control``, ``score``, ``converged``, ``diverged``, ``cliff`` ...

    ``data`` holds JSON values only. ``given`` marks what came from outside (notes, control changes) and not from the
    source: all events are kept in the take, and a replay gives the given ones again.
    """

    tick: int
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    given: bool = False

    def to_json(self) -> str:
        """Canonical JSON, the form that is hashed and stored."""
        raw = {"tick": self.tick, "kind": self.kind, "data": dict(self.data), "given": self.given}
        return json.dumps(raw, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Event:
        """Inverse of `to_json`."""
        raw = json.loads(text)
        return cls(raw["tick"], raw["kind"], raw["data"], raw["given"])


@dataclass(frozen=True)
class FrameBlock:
    """Consecutive ticks of all channels.

    Attributes
    ----------
    first_tick : int
        Tick of row 0, counted from 0.
    arrays : mapping of str to ndarray
        ``name → [ticks, *shape]``, all of the same length, in the channels' dtypes.
    events : tuple of Event
        What happened within the block, in order of tick.
    """

    first_tick: int
    arrays: Mapping[str, Array]
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(a) for a in self.arrays.values()}
        if len(lengths) > 1:
            raise ValueError(f"channels of one block differ in length: {sorted(lengths)}")

    @property
    def ticks(self) -> int:
        """Number of ticks (rows) in the block."""
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    @property
    def end_tick(self) -> int:
        """The tick after the last."""
        return self.first_tick + self.ticks


@dataclass(frozen=True)
class Frames:
    """Ticks of one part in memory, as renderers take them: all of the channels they asked for, and all events.

    As it was recorded, tick t lasts from ``t / rate`` to ``(t + 1) / rate`` seconds. Laid out in the time of a piece
    (`pieces.arrange`), row i is a recorded tick that is heard from ``starts[i]`` to the start of the next row, the last
    one to ``end``; a tick may come again, or never, and events count rows.
    """

    arrays: Mapping[str, Array]
    events: tuple[Event, ...]
    rate: float
    ticks: int
    laid: NDArray[np.float64] | None = None
    end: float | None = None
    lost: Mapping[str, NDArray[np.bool_]] | None = None

    @cached_property
    def starts(self) -> NDArray[np.float64]:
        """Seconds at which each row begins, ``[ticks]``."""
        return np.arange(self.ticks) / self.rate if self.laid is None else self.laid

    @property
    def duration(self) -> float:
        """Seconds at which the last row ends."""
        return self.ticks / self.rate if self.end is None else self.end

    def of_kind(self, *kinds: str) -> list[Event]:
        """Events of the given kinds, in order."""
        return [e for e in self.events if e.kind in kinds]

    def missing(self, channel: str) -> NDArray[np.bool_]:
        """Rows in which a channel holds its last value because the source gave no finite one, ``[ticks]``.

        An array channel is missing as a whole while any of its elements is: `diverged` events name the channel alone.
        """
        if self.lost is not None:
            return self.lost.get(channel, np.zeros(self.ticks, dtype=bool))
        found = np.zeros(self.ticks, dtype=bool)
        for event in self.of_kind("diverged", "recovered"):
            if event.data.get("channel") == channel:
                found[event.tick :] = event.kind == "diverged"
        return found


def gather(blocks: Iterable[FrameBlock], rate: float, channels: Sequence[str] | None = None) -> Frames:
    """Concatenate consecutive blocks into `Frames`, keeping only `channels` (default all)."""
    parts: dict[str, list[Array]] = {}
    events: list[Event] = []
    ticks = 0
    for block in blocks:
        if block.first_tick != ticks:
            raise ValueError(f"block starts at tick {block.first_tick}, expected {ticks}")
        for name, array in block.arrays.items():
            if channels is None or name in channels:
                parts.setdefault(name, []).append(array)
        events.extend(block.events)
        ticks = block.end_tick
    return Frames({name: np.concatenate(p) for name, p in parts.items()}, tuple(events), rate, ticks)


class SignalsHash:
    """SHA-256 of a performance: its reproducible channels and its events, however it was cut into blocks.

    One digest per channel is fed in order of ticks and one with the events' canonical JSON lines; the digests are
    combined in order of name, with each channel's dtype and shape.
    """

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._channels = {c.name: c for c in channels if c.reproducible}
        self._digests = {name: hashlib.sha256() for name in self._channels}
        self._events = hashlib.sha256()

    def update(self, block: FrameBlock) -> None:
        """Add the block that follows."""
        for name, digest in self._digests.items():
            if name in block.arrays:
                digest.update(np.ascontiguousarray(block.arrays[name]).data)
        for event in block.events:
            self._events.update(event.to_json().encode() + b"\n")

    def hexdigest(self) -> str:
        """The hash of everything so far, in hexadecimal."""
        whole = hashlib.sha256()
        for name in sorted(self._channels):
            channel = self._channels[name]
            about = [name, np.dtype(channel.dtype).str, list(channel.shape), self._digests[name].hexdigest()]
            whole.update(json.dumps(about).encode() + b"\n")
        whole.update(self._events.hexdigest().encode())
        return whole.hexdigest()
