"""Pieces performed for their sound alone, without an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pieces.arrange import arrange
from pieces.form import shortened
from pieces.piece import find_piece
from pieces.signals import FrameBlock, gather
from sonify.resolve import resolve, take_stats
from studio.compose import conduct
from studio.plan import plan
from tests.sonify.promises.takes import Take


def performed(name: str, folder: Path, seconds: float | None = None, seed: int = 3) -> Take:
    """A piece, ended after so many seconds at the latest, rendered with stems."""
    piece, base = find_piece(name)
    made = plan(name, piece if seconds is None else shortened(piece, seconds), base)
    conductor = conduct(made.piece, made.players, seed)
    channels = {part: {c.name: c for c in p.source.channels} for part, p in conductor.performances.items()}
    blocks = {
        part: [FrameBlock(0, {c.name: np.empty((0, *c.shape), c.dtype) for c in declared.values()})]
        for part, declared in channels.items()
    }
    for part, block in conductor:
        blocks[part].append(block)
    recorded = {part: gather(found, made.piece.rate(part)) for part, found in blocks.items()}
    resolved = resolve(made.score, take_stats(made.score, channels, recorded), made.players)
    return Take.of(resolved, arrange(made.piece, recorded, seed), made.piece.master, folder)
