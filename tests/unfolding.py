"""A performance as the live side is told of it, from frames that are there already: no source, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pieces.form import reported, walk
from pieces.piece import Piece
from pieces.signals import Channel, FrameBlock, Frames
from pieces.unfold import Unfolding


def unfolded(
    piece: Piece,
    recorded: Mapping[str, Frames],
    channels: Mapping[str, Sequence[Channel]],
    seed: int = 0,
    grain: float = 0.1,
) -> Iterator[Unfolding]:
    """The unfolding, whenever it has come farther."""
    unfolding = Unfolding(piece, channels, seed)
    happened: dict[str, dict[int, set[str]]] = {}
    for part, frames in recorded.items():
        for event in frames.events:
            happened.setdefault(part, {}).setdefault(event.tick, set()).add(event.kind)
    walking, made = walk(piece, grain), dict.fromkeys(piece.parts, 0)
    try:
        stretch = next(walking)
        while True:
            unfolding.reach(stretch)
            yield unfolding
            unfolding.go(stretch)
            ends = {part: min(target, recorded[part].ticks) for part, target in stretch.ticks.items()}
            for part, end in ends.items():
                unfolding.add(part, _cut(recorded[part], made[part], end, end < stretch.ticks[part]))
            report = reported(stretch, made, ends, happened)
            made |= ends
            stretch = walking.send(report)
    except StopIteration as stop:
        last = stop.value.spans[-1]
        unfolding.finish(last.beats[1], last.seconds[1])
        yield unfolding


def _cut(frames: Frames, first: int, end: int, over: bool) -> FrameBlock:
    events = tuple(e for e in frames.events if first <= e.tick < end or (over and e.tick == end))
    return FrameBlock(first, {name: array[first:end] for name, array in frames.arrays.items()}, events)
