"""Pictures at points of a mind's space are drawn in batches that fit in memory, and of the size that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from pieces.minds.concepts import CONCEPTS, open_eye
from pieces.minds.fitting import SHARE
from pieces.minds.mind import Mind, Settings, open_mind, shape_of
from pieces.minds.places import HOUSE
from pieces.minds.space import Space
from pieces.minds.surveying import Surveyor


def surveyor(mind: Mind, sides: tuple[int, int] = (0, 0), batch: int = 16) -> Surveyor:
    space, (latent, _) = Space(mind.meaning(["a cat"])), shape_of(HOUSE, *sides)
    return Surveyor(mind, open_eye(mind), space, CONCEPTS, (1, 2), Settings(1), batch, latent)


def drawn(looker: Surveyor, points: int) -> tuple[list[int], np.ndarray]:
    """Sizes of the batches that the decoder met, and the pictures."""
    centre = looker.space.vectors(looker.space.home)
    sizes: list[int] = []
    decoder = looker.mind.modules["vae.decoder.layers.0"]
    hook = decoder.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    try:
        pictures = looker.pictures(np.repeat(centre, points, axis=0))
    finally:
        hook.remove()
    return sizes, pictures


def test_a_batch_is_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    mind = open_mind("house", device="cpu")
    looker = surveyor(mind)
    sizes, expected = drawn(looker, 4)
    assert sizes == [1, 8], "one to see how much it holds, then all"
    assert drawn(looker, 4)[0] == [8], "which is known from then on"
    (each,) = mind.held.values()
    monkeypatch.setattr("pieces.minds.fitting.memory", lambda device: (int(3.5 * each / SHARE), 100 * each))
    sizes, pictures = drawn(looker, 4)
    assert sizes == [3, 3, 2]
    assert np.abs(pictures.astype(int) - expected).max() <= 1
    assert drawn(surveyor(mind, batch=2), 2)[0] == [2, 2], "no more than are asked for"


def test_pictures_of_another_size() -> None:
    _, pictures = drawn(surveyor(open_mind("house", device="cpu"), (32, 48)), 1)
    assert pictures.shape == (1, 2, 32, 48, 3)
