"""Words for a learning listener: a moment as 64 tokens of a vocabulary of 64.

A moment of 0.5 s is eight steps of 62.5 ms; a step is eight tokens, always in the same order: four of the sound (pitch
class, brightness, loudness, texture) and four of the picture (hue, light, motion, place). Each has its own range of the
vocabulary, so that the token itself says what is spoken of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonify.ears import Ears
from studio.pictures.eyes import Eyes
from studio.words.artefact import MOMENT_S, STEPS, Artefact

#: What a step's tokens speak of, in order, and how many words each has. The first four are sound.
FIELDS: dict[str, int] = {
    "pitch": 13, "brightness": 7, "loudness": 8, "texture": 7, "hue": 7, "light": 6, "motion": 7, "place": 9,
}  # fmt: skip
VOCABULARY = sum(FIELDS.values())
PER_MOMENT = STEPS * len(FIELDS)
_FIRST = np.cumsum([0, *FIELDS.values()])
#: First word, and the one past the last, at each of the 64 places of a moment: ``[64, 2]``.
RANGES: NDArray[np.int64] = np.tile(np.stack([_FIRST[:-1], _FIRST[1:]], axis=1), (STEPS, 1))

# Edges between words, chosen so that a step is easily noticed: octaves, 6 and 8 dB, doublings.
_CENTROID_HZ = (125, 250, 500, 1000, 2000, 4000)
_LOUDNESS = (-60, -46, -38, -30, -24, -18, -12)
_ROUGHNESS = (0.005, 0.02, 0.05, 0.1, 0.2)
_NOISY = 0.2
_LIGHT = (0.02, 0.05, 0.1, 0.2, 0.5)
_CHANGE = (0.0005, 0.002, 0.006, 0.02, 0.06, 0.2)


def tokens(artefact: Artefact) -> NDArray[np.int64]:
    """Put an artefact into tokens; a function of the artefact alone.

    Returns
    -------
    ndarray [moments, 64] of int64
        Values 0..63, one row for each whole moment of 0.5 s; what is left at the end is dropped.
    """
    moments = int(artefact.duration / MOMENT_S + 1e-6)
    words = np.concatenate([_sound_words(artefact.ears), _picture_words(artefact.eyes)], axis=1) + _FIRST[:-1]
    return np.ascontiguousarray(words[: moments * STEPS].reshape(moments, PER_MOMENT), dtype=np.int64)


def _sound_words(ears: Ears) -> NDArray[np.int64]:
    pitched = ~np.isnan(ears.f0)
    semitone = np.round(12 * np.log2(np.where(pitched, ears.f0, 440) / 440) + 9).astype(np.int64) % 12
    # A chord has no one fundamental: its strongest pitch class stands for it, as long as it is no noise.
    tonal = (ears.flatness < _NOISY) & (ears.chroma.max(axis=1) > 0)
    pitch = np.where(pitched, 1 + semitone, np.where(tonal, 1 + ears.chroma.argmax(axis=1), 0))
    noisy = ears.flatness >= _NOISY
    texture = np.where(noisy, len(_ROUGHNESS) + 1, np.digitize(ears.roughness, _ROUGHNESS))
    return np.stack(
        [pitch, np.digitize(ears.centroid, _CENTROID_HZ), np.digitize(ears.loudness, _LOUDNESS), texture], axis=1
    )


def _picture_words(eyes: Eyes) -> NDArray[np.int64]:
    coloured = (eyes.saturation > 0.1) & (eyes.brightness > 0.005)
    hue = np.where(coloured, 1 + np.round(eyes.hue / 60).astype(np.int64) % 6, 0)
    x, y = np.clip((3 * eyes.centre_x).astype(int), 0, 2), np.clip((3 * eyes.centre_y).astype(int), 0, 2)
    return np.stack([hue, np.digitize(eyes.brightness, _LIGHT), np.digitize(eyes.change, _CHANGE), 3 * y + x], axis=1)
