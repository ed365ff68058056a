"""From a take to what an audience can perceive of it: its sound and its pictures, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio import config
from studio.rendering import Progress, final_piece, heard, silent, staged

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord
    from pieces.piece import Piece
    from studio.words.artefact import Artefact

#: Width and height of what an audience is shown; no label, title or legend is drawn on it.
SIZE = (128, 72)
#: Seconds from which what is perceived of a take is kept, and how many bytes of all that was.
LONG_S, ROOM = 10.0, 500_000_000


def artefact(archive: Archive, take_id: str, progress: Progress = silent) -> Artefact:
    """The artefact of a finished take.

    Raises
    ------
    DescantError
        If the take has no sound yet.
    """
    from studio.words.artefact import MOMENT_S, STEPS, Artefact

    take = archive.take(take_id)
    audio, rate = _sound(archive, take)
    _, scene = staged(archive, take, final_piece(archive, take))
    # One picture for each look: fewer would be seen twice, and a visitor would learn how we sample.
    fps = STEPS / MOMENT_S
    pictures: list[NDArray[np.uint8]] = []
    for picture in scene.film(fps, *SIZE):
        progress("look", len(pictures) / fps, scene.duration)
        pictures.append(picture)
    return Artefact(audio, rate, np.stack(pictures), fps)


def perceived(archive: Archive, take_id: str, progress: Progress = silent) -> Artefact:
    """The artefact of a finished take, with what ears and eyes make of it.

    Of a long take that is kept in ``perceived`` beside the archive's media: the pictures and what was measured, by the
    take, its render and all code that it comes from, so that whatever has changed is perceived anew.

    Raises
    ------
    DescantError
        If the take has no sound yet.
    """
    from studio.words.artefact import Artefact

    take = archive.take(take_id)
    if take.duration_s < LONG_S:
        return _measured(artefact(archive, take.id, progress), progress)
    audio, rate = _sound(archive, take)
    # The sound first: of a take that was played live it is rendered when it is first asked for.
    path = archive.media_folder / "perceived" / f"{_key(archive.take(take.id), final_piece(archive, take))}.npz"
    with suppress(OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        kept = _read(path)
        found = Artefact(audio, rate, kept["pictures"], float(kept["fps"]))
        vars(found).update(_senses(kept))
        path.touch()
        return found
    made = _measured(artefact(archive, take.id, progress), progress)
    with suppress(OSError):
        _write(path, made)
    return made


def _sound(archive: Archive, take: TakeRecord) -> tuple[NDArray[np.float32], int]:
    import soundfile

    audio, rate = soundfile.read(heard(archive, take), dtype="float32", always_2d=True)
    return audio, rate


def _measured(found: Artefact, progress: Progress) -> Artefact:
    progress("listen", 0, 0)
    _ = found.ears, found.eyes
    return found


def _key(take: TakeRecord, piece: Piece) -> str:
    """Changes with all that the pictures and what is measured come from."""
    about = [take.id, take.signals_hash, (take.render or {}).get("samples_hash"), piece.hash]
    about += [config.versions(), config.machine(), code()]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def code() -> str:
    """A hash of all of Descant's code between a recording and what is measured."""
    found, here = hashlib.sha256(), Path(__file__).parent.parent
    for path in sorted(path for package in ("pieces", "sonify", "studio") for path in (here / package).rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _senses(kept: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Ears and eyes from what was kept of them."""
    from sonify.ears import Ears
    from studio.pictures.eyes import Eyes

    found: dict[str, Any] = {}
    for name, kind in (("ears", Ears), ("eyes", Eyes)):
        values: dict[str, Any] = {field.name: kept[f"{name}.{field.name}"] for field in fields(kind)}
        found[name] = kind(**{key: value if value.ndim else value.item() for key, value in values.items()})
    return found


def _write(path: Path, made: Artefact) -> None:
    """Keep what was perceived, in place of what was not used for longest."""
    given: dict[str, Any] = {"pictures": made.pictures, "fps": made.fps}
    for name, sense in (("ears", made.ears), ("eyes", made.eyes)):
        given |= {f"{name}.{key}": value for key, value in vars(sense).items()}
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, **given)
    part.replace(path)
    there = sorted(((f.stat().st_mtime, f.stat().st_size, f) for f in path.parent.iterdir()), reverse=True)
    held = 0
    for _, size, file_path in there:
        held += size
        if held > ROOM and file_path != path:
            file_path.unlink(missing_ok=True)
