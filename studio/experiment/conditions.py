"""Conditions: from the artefact of a work to the artefact it is held against, of the same length."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from studio.words.artefact import MOMENT_S, Artefact

Scalar = TypeVar("Scalar", bound=np.generic)

#: Milliseconds over which moments that did not follow each other are faded into each other: a step of the ears. If it
#: were shorter, the joints of a steady tone would be heard as something struck.
FADE_MS = 62.5
#: Grey that a picture fades into.
GREY = 128.0


def moments_of(artefact: Artefact) -> int:
    """Whole moments in an artefact."""
    return int(artefact.duration / MOMENT_S + 1e-6)


def silent(artefact: Artefact) -> Artefact:
    """Its pictures alone."""
    return replace(artefact, audio=np.zeros_like(artefact.audio))


def permutation(moments: int, seed: int) -> NDArray[np.int64]:
    """An order of moments that is not their own, unless there is but one."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(moments)
    while moments > 1 and (order == np.arange(moments)).all():
        order = rng.permutation(moments)
    return order


def shuffled(artefact: Artefact, seed: int) -> Artefact:
    """Its moments in another order, sound and pictures together.

    Where moments meet that did not follow each other, the sound of the earlier one goes on as it did in the work, and
    fades over `FADE_MS` while the later one comes. What is left at the end, shorter than a moment, stays there. These
    seams are there for whoever has ears and eyes; in words moments are told as they are without them.
    """
    order = permutation(moments_of(artefact), seed)
    audio = _reordered(artefact.audio, order, MOMENT_S * artefact.sample_rate)
    pictures = _reordered(artefact.pictures, order, MOMENT_S * artefact.fps)
    fade = round(FADE_MS / 1000 * artefact.sample_rate)
    slope = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    for place in np.flatnonzero(np.diff(order) != 1) + 1:
        at, went_on = (round(int(n) * MOMENT_S * artefact.sample_rate) for n in (place, order[place - 1] + 1))
        rest = artefact.audio[went_on : went_on + fade]
        audio[at : at + fade] *= slope
        audio[at : at + len(rest)] += rest * (1 - slope[: len(rest)])
    return replace(artefact, audio=audio, pictures=pictures)


def _reordered(values: NDArray[Scalar], order: NDArray[np.int64], length: float) -> NDArray[Scalar]:
    """Stretches of `length` of the first axis in another order; places are rounded, and as long as they were."""
    edges = np.rint(np.arange(len(order) + 1) * length).astype(int)
    index = np.arange(len(values))
    for place, moment in enumerate(order):
        count = edges[place + 1] - edges[place]
        taken = np.minimum(edges[moment] + np.arange(count), len(values) - 1)
        index[edges[place] : edges[place + 1]] = taken[: max(0, len(index) - edges[place])]
    return values[index]


def distorted(artefact: Artefact, level: float, seed: int) -> Artefact:
    """A share of what is heard becomes noise, and the same share of what is seen becomes grey.

    With :math:`s` the level, sound becomes :math:`(1 - s) x + s n`, where :math:`n` is white noise of the sound's own
    RMS (signal-to-noise ratio :math:`20 \\log_{10}((1 - s) / s)` dB), and pictures :math:`(1 - s) p + 128 s`. So at 0
    nothing changes, bit for bit, the distance to the work grows with the level, and at 1 nothing of it is left.

    Parameters
    ----------
    artefact : Artefact
    level : float
        0..1.
    seed : int
        Of the noise.
    """
    if not level:
        return artefact
    rms = float(np.sqrt(np.mean(artefact.audio.astype(np.float64) ** 2)))
    noise = rms * np.random.default_rng(seed).uniform(-np.sqrt(3), np.sqrt(3), artefact.audio.shape)
    audio = ((1 - level) * artefact.audio + level * noise).astype(np.float32)
    pictures = np.rint((1 - level) * artefact.pictures + level * GREY).astype(np.uint8)
    return replace(artefact, audio=audio, pictures=pictures)
