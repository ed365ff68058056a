"""A take's files for people: what `compose --out` and `export` write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pieces.arrange import Arrangement
from pieces.errors import DescantError
from studio.rendering import (
    Progress,
    film,
    heard,
    heard_channels,
    make,
    markers,
    recorded,
    scored,
    sheet,
    silent,
)
from studio.rendering import stems as rendered_stems

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord

FORMATS = ("wav", "flac", "mp4", "png", "csv", "parquet", "jsonl", "mid")


def check_folder(folder: Path) -> Path:
    """Make a folder and see that it can be written, before hours of work go into what belongs there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DescantError(f"{folder}: cannot be made: {error.strerror}; choose another folder") from error
    if not os.access(folder, os.W_OK):
        raise DescantError(f"{folder}: cannot be written (read-only?); choose another folder")
    return folder


def export(
    archive: Archive,
    take_id: str,
    folder: Path,
    formats: Sequence[str],
    *,
    stems: bool = False,
    mpe: bool = False,
    progress: Progress = silent,
) -> list[Path]:
    """Write a take's files into `folder`; returns their paths.

    ``wav`` is the mix in 32-bit float as it was rendered (with `stems`, one more file a voice), ``flac`` the same in
    24 bit, ``mp4`` the film, ``png`` the sheet, ``csv``, ``parquet`` and ``jsonl`` the signals, a row per tick,
    ``mid`` a Standard MIDI File of all voices (with `mpe`, for MIDI polyphonic expression).
    """
    take = archive.take(take_id)
    make(archive, take.id, formats, progress)
    voices = rendered_stems(archive, take.id, progress) if stems and "wav" in formats else {}
    check_folder(folder)
    stem = f"{Path(take.piece_name).stem}-{take.id}"
    written = []
    for fmt in formats:
        path = folder / f"{stem}.{fmt}"
        try:
            written += _write(archive, take, fmt, path, mpe)
            for voice, made in voices.items() if fmt == "wav" else ():
                written.append(folder / f"{stem}-stem-{voice}.wav")
                shutil.copyfile(made, written[-1])
        except OSError as error:
            raise DescantError(f"{path}: cannot be written: {error.strerror or error}") from error
    return written


def tempo_changes(played: Arrangement) -> list[tuple[float, float]]:
    """Seconds and beats a minute of every tempo, as a MIDI file has them: a tempo that moves, once a beat."""
    found = {}
    for start, end in (sounding.seconds for sounding in played.sections):
        first, last = played.tempi.beats([start, end]).tolist()
        beats = first + np.arange(max(np.ceil(last - first), 1))
        for beat, seconds in zip(beats.tolist(), played.tempi.seconds(beats).tolist(), strict=True):
            found[seconds] = played.tempi.tempo(beat + 1e-9)
    changes = sorted(found.items())
    return [now for before, now in zip([(0.0, 0.0), *changes], changes, strict=False) if now[1] != before[1]]


def _write(archive: Archive, take: TakeRecord, fmt: str, path: Path, mpe: bool) -> list[Path]:
    """Write one format; the signals of several parts make a file each."""
    if fmt in ("csv", "parquet", "jsonl"):
        from db.export import export_signals

        several = len(take.parts) > 1
        paths = {part: path.with_stem(f"{path.stem}-{part}") if several else path for part in take.parts}
        for part, file in paths.items():
            export_signals(archive, take.id, fmt, file, part)
        return list(paths.values())
    if fmt == "mid":
        from sonify.midi import write_midi

        desk, played, _ = scored(archive, take, recorded(archive, take, heard_channels(archive, take)))
        tempi, bar = tempo_changes(played), played.bar
        write_midi(
            desk, path, duration=played.duration, tempi=tempi, beats_per_bar=bar, markers=markers(played), mpe=mpe
        )
    elif fmt == "flac":
        import soundfile

        audio, rate = soundfile.read(heard(archive, take), dtype="float32", always_2d=True)
        soundfile.write(path, audio, rate, subtype="PCM_24")
    else:
        made = {
            "wav": lambda: heard(archive, take),
            "png": lambda: sheet(archive, take.id),
            "mp4": lambda: film(archive, take.id),
        }
        shutil.copyfile(made[fmt](), path)
    return [path]
