"""What tests of several rooms share: one part's frames made into sound."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pieces.arrange import Arrangement
from pieces.piece import Master
from pieces.signals import Channel, Frames
from sonify.desk import Desk
from sonify.lanes import lanes
from sonify.render import Rendering, render
from sonify.resolve import ResolvedScore, resolve, take_stats
from sonify.score import Score


def resolved(score: Score, channels: Iterable[Channel], frames: Frames) -> ResolvedScore:
    """A score resolved against the whole of one part."""
    stats = take_stats(score, {"source": {c.name: c for c in channels}}, {"source": frames})
    return resolve(score, stats, ["source"])


def desk(score: ResolvedScore, frames: Frames, tail: float = 1.0) -> Desk:
    """Its lanes."""
    return lanes(score, Arrangement.of(frames), tail)


def rendered(score: ResolvedScore, frames: Frames, master: Master, folder: Path, stems: bool = True) -> Rendering:
    """Its sound."""
    return render(desk(score, frames, master.tail), frames.duration + master.tail, master, folder, stems)
