"""Replay: a take is performed and rendered again, and held against what was recorded, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pieces.errors import DescantError
from pieces.piece import parse_piece
from pieces.signals import Array, Channel, Event, FrameBlock, Frames, SignalsHash, gather
from pieces.stream import StreamReader, StreamWriter
from studio import config
from studio.compose import again, conduct, cut
from studio.rendering import Progress, heard, heard_channels, silent, sound, with_channels, workspace

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
        if self.what.endswith("length"):
            return f"{self.what}: ends at tick {self.first} in one of them, {self.largest:g} ticks before the other"
        unit = "sample" if self.what == "mix" else "tick"
        amount = "" if np.isnan(self.largest) else f", by {self.largest:.3g} at most"
        return f"{self.what}: differs from {unit} {self.first} on{amount}"


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
    from db.records import combined_hash

    take = archive.take(take_id)
    if not take.ticks:
        raise DescantError(f"take {take.id} holds no ticks (it is {take.status}): there is nothing to replay")
    given: dict[str, list[Event]] = {}
    stored = {part: _stored_hash(archive, take, part, given) for part in take.parts}
    if take.signals_hash and combined_hash(stored) != take.signals_hash:
        raise DescantError(f"take {take.id}: its stored signals do not match their own hash: run descant archive check")
    with config.limited(_threads(take)), workspace(archive) as folder:
        fresh = _Again(archive, take, given, folder, progress)
        drift = [found for part in take.parts for found in _part_drift(archive, take, part, fresh)]
        changed = [*_changed(take), *(line for part in take.parts for line in _retold(archive, take, part, fresh))]
        samples = None
        if take.render:
            progress("render", 0, 0)
            samples, found = _sound(archive, take, fresh, folder, keep_mix)
            drift += found
    same = fresh.hashes() == stored
    return Verdict(take.id, take.ticks, same, samples, tuple(drift), tuple(changed))


def _stored_hash(archive: Archive, take: TakeRecord, part: str, given: dict[str, list[Event]]) -> str:
    """The hash of what was recorded of a part; what was given to it is noted."""
    stored = SignalsHash(take.parts[part].channels)
    for block in archive.blocks(take.id, part=part):
        stored.update(block)
        given.setdefault(part, []).extend(e for e in block.events if e.given)
    return stored.hexdigest()


class _Again:
    """A take performed again: every part as a stream in a file, which is read as often as it is needed."""

    def __init__(
        self,
        archive: Archive,
        take: TakeRecord,
        given: Mapping[str, Sequence[Event]],
        folder: Path,
        progress: Progress,
    ) -> None:
        self._archive, self._take = archive, take
        self._hash = {part: SignalsHash(record.channels) for part, record in take.parts.items()}
        self._paths = {part: folder / f"{part}.stream" for part in take.parts}
        self.ticks = dict.fromkeys(take.parts, 0)
        if take.origin == "captured":
            blocks = ((part, block) for part in take.parts for block in archive.blocks(take.id, part=part))
            channels = {part: record.channels for part, record in take.parts.items()}
        else:
            conductor = conduct(parse_piece(take.piece, f"take {take.id}"), again(archive, take), take.seed, given)
            blocks = (found for found in conductor)
            channels = {part: p.source.channels for part, p in conductor.performances.items()}
        self._write(blocks, channels, progress)

    def _write(
        self,
        blocks: Iterator[tuple[str, FrameBlock]],
        channels: Mapping[str, Sequence[Channel]],
        progress: Progress,
    ) -> None:
        """To the end of what was recorded: a take that was interrupted is replayed as far as it went."""
        total = sum(record.ticks for record in self._take.parts.values())
        with ExitStack() as stack:
            files = {part: stack.enter_context(path.open("wb")) for part, path in self._paths.items()}
            writers = {part: StreamWriter(file, channels[part]) for part, file in files.items()}
            for part, block in blocks:
                if self._take.status != "done":
                    block = cut(block, 0, self._take.parts[part].ticks - block.first_tick)
                if not block.ticks:
                    if all(self.ticks[p] >= record.ticks for p, record in self._take.parts.items()):
                        return
                    continue
                self._hash[part].update(block)
                writers[part].write(block)
                self.ticks[part] = block.end_tick
                progress("perform", min(sum(self.ticks.values()), total), total)

    def hashes(self) -> dict[str, str]:
        """The hash of each part."""
        return {part: found.hexdigest() for part, found in self._hash.items()}

    def blocks(self, part: str) -> Iterator[FrameBlock]:
        """The blocks of a part."""
        with self._paths[part].open("rb") as file:
            yield from StreamReader(file)

    def frames(self) -> dict[str, Frames]:
        """Every part with the channels that are heard."""
        wanted = heard_channels(self._archive, self._take)
        return {
            p: with_channels(gather(self.blocks(p), record.rate, wanted[p]), record.channels, wanted[p])
            for p, record in self._take.parts.items()
        }


def _threads(take: TakeRecord) -> int:
    return config.threads() if "DESCANT_THREADS" in os.environ else take.threads


def _sound(
    archive: Archive, take: TakeRecord, fresh: _Again, folder: Path, keep_mix: Path | None
) -> tuple[bool, list[Drift]]:
    import shutil

    import soundfile

    rendering = sound(archive, take, fresh.frames(), folder, stems=False)
    if keep_mix is not None:
        shutil.copyfile(rendering.mix, keep_mix)
    assert take.render is not None
    if rendering.samples_hash == take.render["samples_hash"]:
        return True, []
    a, _ = soundfile.read(heard(archive, take), dtype="float32", always_2d=True)
    b, _ = soundfile.read(rendering.mix, dtype="float32", always_2d=True)
    return False, [_drift("mix", a, b, 0) or Drift("mix", min(len(a), len(b)), 0.0)]


def _part_drift(archive: Archive, take: TakeRecord, part: str, fresh: _Again) -> list[Drift]:
    """How far one part is from what was recorded."""
    label = f"{part}." if len(take.parts) > 1 else ""
    found: dict[str, Drift] = {}
    reproducible = [c.name for c in take.parts[part].channels if c.reproducible]
    events_differ = False
    for a, b in aligned(archive.blocks(take.id, part=part), fresh.blocks(part)):
        events_differ |= [e.to_json() for e in a.events] != [e.to_json() for e in b.events]
        for name in reproducible:
            if name not in b.arrays:
                found.setdefault(name, Drift(f"{label}{name} (gone)", a.first_tick, float("nan")))
                continue
            now = _drift(f"{label}{name}", a.arrays[name], b.arrays[name], a.first_tick)
            if now:
                before = found.get(name)
                found[name] = Drift(now.what, before.first, max(before.largest, now.largest)) if before else now
    drifts = list(found.values())
    ticks, recorded = fresh.ticks[part], take.parts[part].ticks
    if ticks != recorded:
        drifts.insert(0, Drift(f"{label}length", min(ticks, recorded), abs(ticks - recorded)))
    return [*drifts, Drift(f"{label}events", 0, float("nan"))] if events_differ else drifts


def _retold(archive: Archive, take: TakeRecord, part: str, fresh: _Again) -> Iterator[str]:
    """What a source said of itself at the first tick and says otherwise now: the weights of its mind, its device."""
    heads = (next(iter(blocks), None) for blocks in (archive.blocks(take.id, part=part), fresh.blocks(part)))
    then, now = (
        {e.kind: e.data for e in (head.events if head else ()) if not e.tick and not e.given} for head in heads
    )
    for kind, data in then.items():
        for name, value in data.items():
            if (found := now.get(kind, {}).get(name)) != value:
                yield f"{part}: {kind} {name} was {value}, is {found}"


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
