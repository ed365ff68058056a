"""From a take to what an audience can perceive of it: its sound and its pictures, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from studio.rendering import final_piece, heard, staged

if TYPE_CHECKING:
    from db.archive import Archive
    from studio.words.artefact import Artefact

#: Width and height of what an audience is shown; no label, title or legend is drawn on it.
SIZE = (128, 72)


def artefact(archive: Archive, take_id: str) -> Artefact:
    """The artefact of a finished take.

    Raises
    ------
    DescantError
        If the take has no sound yet.
    """
    import soundfile

    from studio.words.artefact import MOMENT_S, STEPS, Artefact

    take = archive.take(take_id)
    audio, rate = soundfile.read(heard(archive, take), dtype="float32", always_2d=True)
    _, scene = staged(archive, take, final_piece(archive, take))
    # One picture for each look: fewer would be seen twice, and a visitor would learn how we sample.
    fps = STEPS / MOMENT_S
    return Artefact(audio, rate, np.stack(list(scene.film(fps, *SIZE))), fps)
