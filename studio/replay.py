"""Replay: a take is performed and rendered again, and held against what was recorded, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pieces.signals import Array, DescantError, Event, FrameBlock, SignalsHash, gather
from studio import config
from studio.compose import again, cut, perform, performed
from studio.rendering import Progress, heard, heard_channels, silent, sound, workspace

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord


@dataclass(frozen=True)
class Drift:
    """How far one channel, or the mix, is from what was recorded."""

    what: str
    first: int
    """First tick (or sample) that differs."""
    largest: float
    """Largest absolute difference, in the channel's unit (or full scale)."""

    def __str__(self) -> str:
        if self.what == "length":
            return f"length: ends at tick {self.first} in one of them, {self.largest:g} ticks before the other"
        unit = "sample" if self.what == "mix" else "tick"
        return f"{self.what}: differs from {unit} {self.first} on, by {self.largest:.3g} at most"


@dataclass(frozen=True)
class Verdict:
    """What a replay found."""

    take_id: str
    ticks: int
    signals: bool
    """All reproducible channels and events are the same, bit for bit."""
    samples: bool | None
    """The mix is the same, bit for bit; None where the take has no sound."""
    drift: tuple[Drift, ...] = ()
    changed: tuple[str, ...] = field(default=())
    """What differs between this machine and the one that made the take."""

    @property
    def identical(self) -> bool:
        """Nothing differs."""
        return self.signals and self.samples is not False


def verify(archive: Archive, take_id: str, progress: Progress = silent, keep_mix: Path | None = None) -> Verdict:
    """Recompute signals and samples of a take and compare them with the archive.

    A ``generated`` take is performed again from its seed, its inputs and the events it was given. A ``captured`` one
    has no source to ask: its stored frames are checked against its hash, and its sound is rendered again.

    Parameters
    ----------
    keep_mix : Path, optional
        Where the new mix is written.
    """
    take = archive.take(take_id)
    stored = SignalsHash(take.channels)
    given: list[Event] = []
    ticks = 0
    for block in archive.blocks(take.id):
        stored.update(block)
        given.extend(e for e in block.events if e.given)
        ticks = block.end_tick
    if not ticks:
        raise DescantError(f"take {take.id} holds no ticks (it is {take.status}): there is nothing to replay")
    if take.signals_hash and stored.hexdigest() != take.signals_hash:
        raise DescantError(f"take {take.id}: its stored signals do not match their own hash: run descant archive check")
    with config.limited(_threads(take)):
        fresh = _Again(archive, take, given, ticks, progress)
        drift = _signal_drift(take, archive.blocks(take.id), fresh.blocks())
    same = fresh.hash.hexdigest() == stored.hexdigest()
    if fresh.tick != ticks:
        drift.insert(0, Drift("length", min(fresh.tick, ticks), abs(fresh.tick - ticks)))
    samples = None
    if take.render:
        progress("render", 0, 0)
        samples, found = _sound(archive, take, fresh.heard, keep_mix)
        drift += found
    return Verdict(take.id, ticks, same, samples, tuple(drift), tuple(_changed(take)))


class _Again:
    """A take performed again, a block at a time; of what went by only the hash and the sounded channels are kept."""

    def __init__(self, archive: Archive, take: TakeRecord, given: list[Event], ticks: int, progress: Progress) -> None:
        self._archive, self._take, self._given, self._ticks = archive, take, given, ticks
        self._progress = progress
        self._names = set(heard_channels(take))
        self.hash = SignalsHash(take.channels)
        self.heard: list[FrameBlock] = []
        self.tick = 0

    def blocks(self) -> Iterator[FrameBlock]:
        """All blocks, to the end even if nobody compares them any more."""
        for block in self._source():
            self.hash.update(block)
            self.tick = block.end_tick
            arrays = {n: a for n, a in block.arrays.items() if n in self._names}
            self.heard.append(FrameBlock(block.first_tick, arrays, block.events))
            self._progress("perform", block.end_tick, self._ticks)
            yield block

    def _source(self) -> Iterator[FrameBlock]:
        take = self._take
        if take.origin == "captured":
            return self._archive.blocks(take.id)
        source, part, inputs = again(self._archive, take)
        part = part.model_copy(update={"ticks": self._ticks})
        return performed(perform(source, part, inputs, take.seed, given=self._given))


def _threads(take: TakeRecord) -> int:
    return config.threads() if "DESCANT_THREADS" in os.environ else take.threads


def _sound(
    archive: Archive, take: TakeRecord, blocks: list[FrameBlock], keep_mix: Path | None
) -> tuple[bool, list[Drift]]:
    import shutil

    import soundfile

    with workspace(archive) as folder:
        rendering = sound(take, gather(blocks, take.rate), folder, stems=False)
        if keep_mix is not None:
            shutil.copyfile(rendering.mix, keep_mix)
        assert take.render is not None
        if rendering.samples_hash == take.render["samples_hash"]:
            return True, []
        a, _ = soundfile.read(heard(archive, take), dtype="float32", always_2d=True)
        b, _ = soundfile.read(rendering.mix, dtype="float32", always_2d=True)
        return False, [_drift("mix", a, b, 0) or Drift("mix", min(len(a), len(b)), 0.0)]


def _signal_drift(take: TakeRecord, stored: Iterable[FrameBlock], again: Iterable[FrameBlock]) -> list[Drift]:
    found: dict[str, Drift] = {}
    reproducible = [c.name for c in take.channels if c.reproducible]
    events_differ = False
    for a, b in aligned(stored, again):
        events_differ |= [e.to_json() for e in a.events] != [e.to_json() for e in b.events]
        for name in reproducible:
            if name not in b.arrays:
                found.setdefault(name, Drift(f"{name} (gone)", a.first_tick, float("nan")))
                continue
            now = _drift(name, a.arrays[name], b.arrays[name], a.first_tick)
            if now:
                before = found.get(name)
                found[name] = Drift(name, before.first, max(before.largest, now.largest)) if before else now
    drifts = list(found.values())
    return [*drifts, Drift("events", 0, float("nan"))] if events_differ else drifts


def _drift(what: str, a: Array, b: Array, offset: int) -> Drift | None:
    n = min(len(a), len(b))
    difference = np.abs(a[:n].astype(np.float64) - b[:n].astype(np.float64)).reshape(n, -1).max(axis=1, initial=0)
    where = np.flatnonzero(difference)
    return Drift(what, offset + int(where[0]), float(difference.max())) if len(where) else None


def aligned(a: Iterable[FrameBlock], b: Iterable[FrameBlock]) -> Iterator[tuple[FrameBlock, FrameBlock]]:
    """Pairs of equally long stretches of two recordings, however each was cut into blocks; both are read to the end."""
    left, right = iter(a), iter(b)
    x, y = next(left, None), next(right, None)
    while x is not None and y is not None:
        n = min(x.ticks, y.ticks)
        yield cut(x, 0, n), cut(y, 0, n)
        x = cut(x, n, x.ticks) if n < x.ticks else next(left, None)
        y = cut(y, n, y.ticks) if n < y.ticks else next(right, None)
    for _ in right:
        pass


def _changed(take: TakeRecord) -> Iterator[str]:
    now: dict[str, Any] = {**config.versions(), **config.machine(), "threads": _threads(take)}
    then: dict[str, Any] = {**take.versions, **take.platform, "threads": take.threads}
    for name, value in then.items():
        if now.get(name) != value:
            yield f"{name} was {value}, is {now.get(name)}"
