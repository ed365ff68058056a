"""Pictures at points of a mind's space, and what they show.

Importing this module is cheap; torch loads with the mind that it is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.minds.memory import in_batches
from pieces.minds.mind import Mind, Settings, nothing
from pieces.minds.space import Floats, Space

if TYPE_CHECKING:
    from pieces.minds.concepts import Eye

Pictures: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Surveyor:
    """Draws pictures where it is sent, and looks at them.

    Attributes
    ----------
    mind, eye
        What draws, and what looks.
    space : Space
        Of the mind's embeddings.
    concepts : tuple of str
        Captions that the eye chooses between; it always may say "nothing".
    seeds : tuple of int
        Of the starting noises; every point gets a picture from each.
    settings : Settings
        How pictures are drawn.
    batch : int
        At most so many pictures are drawn together, where they fit in memory.
    shape : tuple of int, optional
        Of the latents; by default the mind's own.
    """

    mind: Mind
    eye: Eye
    space: Space
    concepts: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Settings
    batch: int = 16
    shape: tuple[int, ...] | None = None

    def pictures(self, vectors: Floats) -> Pictures:
        """Pictures uint8 ``[n, seeds, h, w, 3]`` at vectors ``[n, d]`` of the space."""
        from pieces.minds.fitting import Room

        count = len(self.seeds)
        every = np.arange(len(vectors) * count)
        noise = self.mind.noise(self.seeds, self.shape)

        def make(rows: slice, settings: Settings = self.settings) -> Pictures:
            some = every[rows]
            meaning = self.space.meaning(vectors[some // count])
            return self.mind.decode(self.mind.draw(meaning, noise[some % count], settings))

        one = partial(make, slice(0, 1), replace(self.settings, steps=1))
        at_once = Room(
            self.mind, ("point", *noise.shape[1:], self.settings.guidance > 1), one, min(self.batch, len(every))
        ).pictures()
        whole = np.concatenate([made for _, made in in_batches(self.mind, len(every), make, batch=at_once)])
        return whole.reshape(len(vectors), count, *whole.shape[1:])

    def seen(self, pictures: Pictures) -> tuple[NDArray[np.float32], Floats]:
        """What pictures ``[n, seeds, h, w, 3]`` show.

        Returns
        -------
        embedded : ndarray
            Unit vectors ``[n, seeds, e]`` of the eye.
        scores : ndarray
            Of the concepts and of nothing, means over the seeds, ``[n, concepts + 1]``. A picture of what is no number
            shows nothing.
        """
        n, count = pictures.shape[:2]
        flat = pictures.reshape(n * count, *pictures.shape[2:])
        embedded = self.eye.embed(flat)
        scores = self.eye.scores_of(embedded, self.concepts).astype(np.float64)
        scores[nothing(flat)] = np.eye(scores.shape[1])[-1]
        return embedded.reshape(n, count, -1), scores.reshape(n, count, -1).mean(axis=1)

    def scores(self, vectors: Floats, concept: str) -> Floats:
        """Scores ``[n]`` of a concept on what is drawn at vectors ``[n, d]``."""
        found: Floats = self.seen(self.pictures(vectors))[1][:, self.concepts.index(concept)]
        return found
