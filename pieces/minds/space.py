"""The geometry of prompts: embeddings as vectors, and lines, planes and random points among them.

After S. Wolfram, "Generative AI Space and the Mental Imagery of Alien Minds" (2023), section "Interconcept Space". What
is done with vectors here is pure; importing this module costs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pieces.minds.mind import Meaning, MindError

if TYPE_CHECKING:
    from torch import Tensor

Floats: TypeAlias = NDArray[np.float64]
#: Two directions whose angle has a smaller sine than this span no plane.
_LEVEL = 1e-6


@dataclass(frozen=True)
class Space:
    """Embeddings of prompts as vectors of length 1 where `home` is.

    The unit of every distance is so the norm of home's own embedding: all of its tokens, the padding with them. Where a
    pipeline has two embeddings (SDXL: tokens and a pooled summary) each is measured by its own norm at home, and they
    weigh alike; a straight line is straight in both.

    Attributes
    ----------
    home : Meaning
        The embedding of one prompt, and what is asked against everywhere.
    """

    home: Meaning

    @cached_property
    def _scales(self) -> list[float]:
        """What each embedding is divided by."""
        parts = _parts(self.home)
        norms = [float(p.double().norm()) for p in parts]
        if len(self.home) != 1 or not all(math.isfinite(n) and n > 0 for n in norms):
            raise MindError(f"home is one embedding that is not zero, not {len(self.home)} of norms {norms}")
        return [n * math.sqrt(len(parts)) for n in norms]

    def vectors(self, meaning: Meaning) -> Floats:
        """Embeddings as vectors ``[n, d]``."""
        parts = zip(_parts(meaning), self._scales, strict=True)
        flat = [p.double().flatten(1).cpu().numpy() / scale for p, scale in parts]
        found: Floats = np.concatenate(flat, axis=1)
        return found

    def meaning(self, vectors: Floats) -> Meaning:
        """What a pipeline takes for vectors ``[n, d]``: the inverse of `vectors`."""
        import torch

        found, begin = [], 0
        for part, scale in zip(_parts(self.home), self._scales, strict=True):
            end = begin + part[0].numel()
            values = torch.from_numpy(np.ascontiguousarray(vectors[:, begin:end] * scale))
            found.append(values.reshape(len(vectors), *part.shape[1:]).to(part))
            begin = end
        against, n = self.home.against, len(vectors)
        pooled = None if self.home.pooled is None else (found[1], self.home.pooled[1].expand(n, -1))
        return Meaning(found[0], against.expand(n, -1, -1), pooled)

    def directions(self, count: int, rng: np.random.Generator) -> Floats:
        """Random vectors of length 1, ``[count, d]``, uniform on the sphere of each embedding."""
        sizes = [p[0].numel() for p in _parts(self.home)]
        drawn = [rng.standard_normal((count, size)) for size in sizes]
        parts = [_unit(d) / math.sqrt(len(sizes)) for d in drawn]
        return np.concatenate(parts, axis=1)

    def plane(self, right: Floats | None = None, above: Floats | None = None, *, seed: int = 0) -> Plane:
        """The plane through home and two other vectors ``[d]``; in random directions where they are not given."""
        home = self.vectors(self.home)[0]
        first, second = home + self.directions(2, np.random.default_rng(seed))
        return plane_through(home, first if right is None else right, second if above is None else above)


def _parts(meaning: Meaning) -> list[Tensor]:
    return [meaning.asked, *(() if meaning.pooled is None else (meaning.pooled[0],))]


def _unit(vectors: Floats) -> Floats:
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


@dataclass(frozen=True)
class Plane:
    """A plane through `centre` with two directions of length 1, at right angles: vectors ``[d]``."""

    centre: Floats
    right: Floats
    up: Floats

    def at(self, points: Floats) -> Floats:
        """Vectors ``[n, d]`` of points ``[n, 2]``: right and up from the centre, in norms of home."""
        found: Floats = self.centre + points @ np.stack([self.right, self.up])
        return found

    def place(self, vectors: Floats) -> Floats:
        """Points ``[n, 2]`` of the plane that are nearest to vectors ``[n, d]``."""
        found: Floats = (vectors - self.centre) @ np.stack([self.right, self.up]).T
        return found


def plane_through(centre: Floats, right: Floats, above: Floats) -> Plane:
    """The plane through three points ``[d]``: the second lies to the right of the first, the third above that line.

    Raises
    ------
    MindError
        If they lie on one line.
    """
    first, second = right - centre, above - centre
    if not (first.any() and second.any()):
        raise MindError("three prompts on one line span no plane: two of them are the same; give another, or none")
    across = _unit(first)
    level = _unit(second)
    rest = level - (level @ across) * across
    if np.linalg.norm(rest) < _LEVEL:
        raise MindError("three prompts on one line span no plane; give another, or none for a random direction")
    # Once more, since what is nearly parallel loses its digits the first time.
    rest = _unit(rest)
    return Plane(centre, across, _unit(rest - (rest @ across) * across))


def line(start: Floats, end: Floats, shares: Floats) -> Floats:
    """Points ``[n, d]`` on the straight line: `start` at share 0, `end` at 1, and further on beyond.

    Beyond is linear extrapolation of the embedding itself, which leaves the sphere on which encoders put prompts.
    """
    found: Floats = start + shares[:, None] * (end - start)
    return found


def grid(side: int, radius: float) -> Floats:
    """Points ``[side * side, 2]`` of a square of half-width `radius`, as one reads: from its upper left corner on."""
    across = np.linspace(-radius, radius, side) if side > 1 else np.zeros(1)
    x, y = np.meshgrid(across, across[::-1])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def zooms(widest: float, narrowest: float, count: int) -> Floats:
    """Radii ``[count]`` from wide to narrow, each the same share of the one before."""
    return np.geomspace(widest, narrowest, count)
