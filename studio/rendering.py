"""What is made from a recorded take: its mix, and on demand its stems, its sheet and its film.

All of it is a function of the archive: frames and piece in, files out. A take that was killed while it was rendered is
rendered again from what was recorded.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pieces.piece import Piece, parse_piece
from pieces.signals import Channel, DescantError, Frames

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord
    from sonify.render import Rendering

FILM_FPS = 30
FILM_SIZE = (1280, 720)


class Progress(Protocol):
    """Told how far long work is."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """`done` of `total` in any unit; ``total`` 0 says that the length is not known."""
        ...


def silent(stage: str, done: float, total: float) -> None:
    """Progress that nobody watches."""


def heard_channels(take: TakeRecord) -> list[str]:
    """Names of the channels that a take's score sounds."""
    from sonify.score import parse_score, references, split_channel

    score = parse_score(take.piece["score"], f"take {take.id}")
    return sorted({split_channel(r)[0] for r in references(score)})


def seen_channels(take: TakeRecord) -> list[str]:
    """Names of the channels that a take's picture may show: what its view needs, and all scalars."""
    from studio.pictures.draw import find_view

    needs = find_view(take.piece["picture"]["view"]).needs
    return [c.name for c in take.channels if c.name in needs or not c.shape]


def mix(archive: Archive, take_id: str, progress: Progress = silent) -> None:
    """Render a recorded take's mix into the archive."""
    take = archive.take(take_id)
    progress("render", 0, 0)
    if not take.ticks:
        raise DescantError("nothing was recorded, so there is nothing to hear: the source made no tick")
    with workspace(archive) as folder:
        rendering = sound(take, archive.frames(take.id, heard_channels(take)), folder, stems=False)
        _check_same(take, rendering)
        archive.add_media(take.id, "mix", rendering.mix)
        archive.set_render(take.id, summary(rendering))


def sound(take: TakeRecord, frames: Frames, folder: Path, *, stems: bool) -> Rendering:
    """The final mix of recorded frames: a pure function of frames and piece."""
    from sonify.render import render
    from sonify.score import parse_score, resolve, take_stats

    piece = parse_piece(take.piece, f"take {take.id}")
    score = parse_score(piece.score, f"take {take.id}")
    channels: dict[str, Channel] = {c.name: c for c in take.channels}
    return render(resolve(score, take_stats(score, channels, frames)), frames, piece.master, folder, stems)


def _check_same(take: TakeRecord, rendering: Rendering) -> None:
    """Nothing takes the place of what was heard before unless it is the same, bit for bit."""
    if take.status == "done" and take.render and rendering.samples_hash != take.render["samples_hash"]:
        raise DescantError(
            f"take {take.id}: rendered again it sounds different: descant replay {take.id} --verify says what changed"
        )


def summary(rendering: Rendering) -> dict[str, Any]:
    """What the archive keeps of a rendering beside its files."""
    return {
        "sample_rate": rendering.sample_rate,
        "samples": rendering.samples,
        "duration_s": rendering.duration,
        "loudness": rendering.loudness,
        "true_peak": rendering.true_peak,
        "gain_db": rendering.gain_db,
        "limited": rendering.limited,
        "samples_hash": rendering.samples_hash,
    }


def stems(archive: Archive, take_id: str, progress: Progress = silent) -> dict[str, Path]:
    """The take's voices as files of their own, made once and kept: ``voice → path``. They sum to the mix."""
    kept = {m.role.removeprefix("stem:"): m.path for m in archive.media(take_id) if m.role.startswith("stem:")}
    if kept:
        return kept
    take = archive.take(take_id)
    heard(archive, take)
    progress("stems", 0, 0)
    with workspace(archive) as folder:
        rendering = sound(take, archive.frames(take.id, heard_channels(take)), folder, stems=True)
        _check_same(take, rendering)
        return {v: archive.add_media(take.id, f"stem:{v}", path).path for v, path in rendering.stems.items()}


def sheet(archive: Archive, take_id: str, progress: Progress = silent) -> Path:
    """The take's labelled picture (PNG), made once and kept; returns its path."""

    def draw(take: TakeRecord, piece: Piece, sound: Path, path: Path) -> None:
        import soundfile

        from studio.pictures.sheet import sheet as write

        progress("draw", 0, 0)
        audio, rate = soundfile.read(sound, dtype="float32", always_2d=True)
        about = f"take {take.id} · seed {take.seed}"
        view, options = piece.picture.view, piece.picture.options
        frames, channels = archive.frames(take.id, seen_channels(take)), take.channels
        write(frames, view, options, piece.title, about, path, channels=channels, waveform=audio, sample_rate=rate)

    return _kept(archive, take_id, "sheet", "sheet.png", draw)


def film(archive: Archive, take_id: str, progress: Progress = silent) -> Path:
    """The take's MP4, made once and kept; returns its path."""

    def shoot(take: TakeRecord, piece: Piece, sound: Path, path: Path) -> None:
        from studio.export import film as encode
        from studio.pictures.draw import pictures

        frames = archive.frames(take.id, seen_channels(take))
        total = frames.duration * FILM_FPS
        shown = pictures(piece.picture.view, frames, FILM_FPS, *FILM_SIZE, piece.picture.options)

        def counted() -> Iterator[Any]:
            for i, p in enumerate(shown):
                progress("film", i, total)
                yield p

        encode(counted(), FILM_FPS, sound, None, path)

    return _kept(archive, take_id, "film", "film.mp4", shoot)


def make(archive: Archive, take_id: str, formats: Collection[str], progress: Progress = silent) -> None:
    """Make the sheet (``png``) and the film (``mp4``) where `formats` asks for them and they are not there yet."""
    if "png" in formats:
        sheet(archive, take_id, progress)
    if "mp4" in formats:
        film(archive, take_id, progress)


def _kept(
    archive: Archive, take_id: str, role: str, name: str, draw: Callable[[TakeRecord, Piece, Path, Path], None]
) -> Path:
    """The take's file of a role, made from its recording and its mix where it is not there yet."""
    found = next((m.path for m in archive.media(take_id) if m.role == role), None)
    if found is not None:
        return found
    take = archive.take(take_id)
    mixed = heard(archive, take)
    with workspace(archive) as folder:
        draw(take, parse_piece(take.piece, f"take {take.id}"), mixed, folder / name)
        return archive.add_media(take.id, role, folder / name).path


def heard(archive: Archive, take: TakeRecord) -> Path:
    """The path of a take's mix (float32 WAV). One that is gone or damaged is rendered again from the recording.

    Raises
    ------
    DescantError
        If it has none yet, or it cannot be made again as it was.
    """
    from db.media import file_hash

    found = next((m for m in archive.media(take.id) if m.role == "mix"), None)
    if found is None:
        raise DescantError(f"take {take.id} has no sound yet (it is {take.status}): descant resume {take.id}")
    if not found.path.is_file() or file_hash(found.path) != found.sha256:
        found.path.unlink(missing_ok=True)
        mix(archive, take.id)
    return found.path


@contextmanager
def workspace(archive: Archive) -> Iterator[Path]:
    """A folder for files in the making, on the archive's own disk, gone afterwards."""
    try:
        archive.media_folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="making-", dir=archive.media_folder))
    except OSError as error:
        raise DescantError(f"{archive.media_folder}: cannot be written: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
