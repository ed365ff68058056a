"""What tests of several rooms share: one part's frames, or a whole piece of the library, made into sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from pieces.arrange import Arrangement, arrange
from pieces.piece import Master, find_piece
from pieces.signals import Channel, FrameBlock, Frames, gather
from sonify.desk import Desk
from sonify.lanes import lanes
from sonify.render import Rendering, render
from sonify.resolve import ResolvedScore, resolve, take_stats
from sonify.score import Score
from studio.compose import conduct
from studio.plan import plan


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


@dataclass(frozen=True)
class Whole:
    """A piece of the library, performed and rendered with its stems."""

    played: Arrangement
    rendering: Rendering

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.rendering.sample_rate

    def section(self, name: str) -> tuple[float, float]:
        """Seconds at which a section begins and ends."""
        return next(s.seconds for s in self.played.sections if s.section.name == name)

    def times(self, part: str, kind: str) -> list[float]:
        """Seconds of a part's events of a kind."""
        frames = self.played.parts[part]
        starts = np.append(frames.starts, frames.duration)
        return [float(starts[event.tick]) for event in frames.of_kind(kind)]

    def mix(self) -> NDArray[np.float64]:
        """Samples of the mix, [samples, 2]."""
        return np.asarray(soundfile.read(self.rendering.mix)[0])

    def stem(self, *voices: str) -> NDArray[np.float64]:
        """Samples of some voices together, mono."""
        return np.sum([soundfile.read(self.rendering.stems[v])[0].sum(axis=1) for v in voices], axis=0)

    def cut(self, sound: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
        """What sounds from `start` to `end` seconds."""
        return sound[round(start * self.rate) : round(end * self.rate)]


def whole(name: str, seed: int, folder: Path) -> Whole:
    """Perform a piece of the library and render it."""
    planned = plan(name, *find_piece(name))
    piece, players = planned.piece, planned.players
    blocks: dict[str, list[FrameBlock]] = {part: [] for part in players}
    for part, block in conduct(piece, players, seed):
        blocks[part].append(block)
    frames = {part: gather(found, piece.rate(part)) for part, found in blocks.items()}
    channels = {part: {c.name: c for c in player.source.channels} for part, player in players.items()}
    score = resolve(planned.score, take_stats(planned.score, channels, frames), players)
    played = arrange(piece, frames, seed)
    tail = piece.master.tail
    return Whole(played, render(lanes(score, played, tail), played.duration + tail, piece.master, folder))


def hurried(name: str, folder: Path) -> str:
    """A file of the piece in which every section has twice its tempo: the same beats and ticks in half the time."""
    piece, _ = find_piece(name)
    sections = piece.model_dump(mode="json", exclude_none=True)["sections"]
    for section in sections:
        section["tempo"] = (2 * np.asarray(section["tempo"])).tolist()
    path = folder / f"{name}.toml"
    path.write_text(piece.with_values({"sections": sections}).to_toml())
    return str(path)
