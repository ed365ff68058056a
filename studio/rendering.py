"""What is made from a recorded take: its mix, and on demand its stems, its sheet and its film.

All of it is a function of the archive: frames and piece in, files out. A take that was killed while it was rendered is
rendered again from what was recorded.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pieces.arrange import Arrangement, arrange, warped_channels
from pieces.errors import DescantError
from pieces.form import stopped
from pieces.piece import Piece, parse_piece
from pieces.signals import Channel, Frames
from studio.performance import MARKS

if TYPE_CHECKING:
    from db.archive import Archive, MediaRow, TakeRecord
    from sonify.desk import Desk
    from sonify.render import Rendering
    from sonify.resolve import ResolvedScore
    from sonify.score import Score
    from studio.pictures.scene import Scene
    from studio.pictures.video import Moving

FILM_FPS = 30
FILM_SIZE = (1280, 720)


class Progress(Protocol):
    """Told how far long work is."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """`done` of `total` in any unit; ``total`` 0 says that the length is not known."""
        ...


def silent(stage: str, done: float, total: float) -> None:
    """Progress that nobody watches."""


def final_piece(archive: Archive, take: TakeRecord) -> Piece:
    """A take's piece with the score by which it was played last, ended where its performance was stopped."""
    piece = parse_piece(take.piece, f"take {take.id}")
    marks = [event.data for event in archive.events(take.id, "score", "stopped") if event.given]
    scores = sorted((mark for mark in marks if "score" in mark), key=lambda mark: float(mark.get("beat", 0)))
    if scores:
        piece = piece.model_copy(update={"score": scores[-1]["score"]})
    for mark in marks:
        if "ticks" in mark:
            piece = stopped(piece, mark["section"], mark["bars"])
    return piece


def heard_channels(archive: Archive, take: TakeRecord) -> dict[str, list[str]]:
    """Names of the channels of each part that a take's last score sounds, and that its time-warps go by."""
    from sonify.resolve import places
    from sonify.score import parse_score

    piece = final_piece(archive, take)
    wanted = {part: warped_channels(piece, part) for part in take.parts}
    for place in places(parse_score(piece.score, f"take {take.id}"), take.parts):
        wanted[place.part].add(place.name)
    # Frames without any channel have no ticks: of a part that nothing follows, one channel says how long it goes on.
    spare = {part: [c.name for c in record.channels if not c.shape][:1] for part, record in take.parts.items()}
    return {part: sorted(names) or spare[part] for part, names in wanted.items()}


def seen_channels(take: TakeRecord) -> dict[str, list[str]]:
    """Names of the channels of each part that a take's pictures may show: what its views need, and all scalars."""
    from studio.pictures.draw import find_view

    piece = parse_piece(take.piece, f"take {take.id}")
    needs: dict[str, set[str]] = {part: warped_channels(piece, part) for part in take.parts}
    for tile in piece.picture.tiles:
        needs[tile.part or next(iter(take.parts))].update(find_view(tile.view).needs)
    return {
        part: [c.name for c in record.channels if c.name in needs[part] or not c.shape]
        for part, record in take.parts.items()
    }


def recorded(archive: Archive, take: TakeRecord, channels: Mapping[str, list[str]]) -> dict[str, Frames]:
    """Every part of a take as it was recorded, with the channels that are asked for and all events."""
    return {part: _whole(archive, take, part, channels[part]) for part in take.parts}


def _whole(archive: Archive, take: TakeRecord, part: str, channels: list[str]) -> Frames:
    """One part as it was recorded."""
    return with_channels(archive.frames(take.id, channels, part=part), take.parts[part].channels, channels)


def with_channels(frames: Frames, declared: Iterable[Channel], names: Collection[str]) -> Frames:
    """Frames of a part; one that never played has its channels all the same, of no ticks."""
    if frames.ticks:
        return frames
    empty = {c.name: np.empty((0, *c.shape), dtype=c.dtype) for c in declared if c.name in names}
    return replace(frames, arrays=empty)


def mix(archive: Archive, take_id: str, progress: Progress = silent) -> float:
    """Render a recorded take's mix into the archive; returns the length of the performance in seconds."""
    take = archive.take(take_id)
    progress("render", 0, 0)
    if not take.ticks:
        raise DescantError("nothing was recorded, so there is nothing to hear: the source made no tick")
    frames = recorded(archive, take, heard_channels(archive, take))
    with workspace(archive) as folder:
        rendering = sound(archive, take, frames, folder, stems=False)
        _check_same(take, rendering)
        archive.add_media(take.id, "mix", rendering.mix)
        archive.set_render(take.id, summary(rendering))
    return rendering.duration - parse_piece(take.piece, f"take {take.id}").master.tail


def sound(archive: Archive, take: TakeRecord, frames: Mapping[str, Frames], folder: Path, *, stems: bool) -> Rendering:
    """The final mix of recorded frames: a pure function of frames, piece and the sound files that voices play."""
    from sonify.render import render

    master = parse_piece(take.piece, f"take {take.id}").master
    desk, played = scored(archive, take, frames)[:2]
    return render(desk, played.duration + master.tail, master, folder, stems, markers=markers(played))


def scored(archive: Archive, take: TakeRecord, frames: Mapping[str, Frames]) -> tuple[Desk, Arrangement, ResolvedScore]:
    """What voices and groups do in a take, the take in the time of its piece, and its score with all domains known."""
    from sonify.lanes import lanes
    from sonify.resolve import resolve, take_stats
    from sonify.score import parse_score

    piece = final_piece(archive, take)
    score = parse_score(piece.score, f"take {take.id}")
    channels = {part: {c.name: c for c in record.channels} for part, record in take.parts.items()}
    resolved = resolve(score, take_stats(score, channels, frames), take.parts)
    played = arrange(piece, frames, take.seed)
    return lanes(resolved, played, piece.master.tail, samples(archive, take, score)), played, resolved


def samples(archive: Archive, take: TakeRecord, score: Score) -> dict[str, Path]:
    """The sound files of a score's voices: the archive's copies, or where they lie."""
    role = "sample."
    found = {k.removeprefix(role): Path(v["path"]) for k, v in take.inputs.items() if k.startswith(role)}
    found |= {m.role.removeprefix(f"input:{role}"): m.path for m in archive.media(take.id) if role in m.role}
    first = take.piece["score"].get("voices", {})
    for name, voice in score.voices.items():
        if voice.sample is not None and voice.sample != first.get(name, {}).get("sample"):  # it came with a later score
            of_take = voice.sample.removeprefix("take:")
            found[name] = Path(voice.sample) if of_take == voice.sample else heard(archive, archive.take(of_take))
    return found


def markers(played: Arrangement) -> list[tuple[float, str]]:
    """Sections and events, as a DAW shows them: seconds and a label."""
    found = [(s.seconds[0], s.section.name) for s in played.sections] if len(played.sections) > 1 else []
    for part, frames in played.parts.items():
        times = np.append(frames.starts, frames.duration)
        label = f"{part}." if len(played.parts) > 1 else ""
        found += [(float(times[e.tick]), f"{label}{e.kind}") for e in frames.events if e.kind not in MARKS]
    return sorted(found)[:1000]


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
        rendering = sound(archive, take, recorded(archive, take, heard_channels(archive, take)), folder, stems=True)
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
        played, scene = staged(archive, take, piece)
        channels = {part: record.channels for part, record in take.parts.items()}
        write(scene, played.parts, piece.title, about, path, channels=channels, waveform=audio, sample_rate=rate)

    return _kept(archive, take_id, "sheet", "sheet.png", draw)


def film(archive: Archive, take_id: str, progress: Progress = silent) -> Path:
    """The take's MP4, made once and kept; returns its path."""

    def shoot(take: TakeRecord, piece: Piece, sound: Path, path: Path) -> None:
        from studio.export import film as encode

        _, scene = staged(archive, take, piece)
        total = scene.duration * FILM_FPS
        shown = scene.film(FILM_FPS, *FILM_SIZE)

        def counted() -> Iterator[Any]:
            for i, p in enumerate(shown):
                progress("film", i, total)
                yield p

        encode(counted(), FILM_FPS, sound, None, path)

    return _kept(archive, take_id, "film", "film.mp4", shoot)


def staged(archive: Archive, take: TakeRecord, piece: Piece) -> tuple[Arrangement, Scene]:
    """A take in the time of its piece, as it is seen."""
    from studio.pictures.scene import Scene

    frames = recorded(archive, take, seen_channels(take))
    played = arrange(piece, frames, take.seed)
    moving = videos(archive, take, piece)
    return played, Scene(piece.picture, frames, played.layouts, played.duration, played.sections, moving)


def videos(archive: Archive, take: TakeRecord, piece: Piece) -> dict[str, Moving]:
    """The videos that a take's pictures are drawn on: the archive's copies, or where they lay."""
    from studio.pictures.video import open_video

    kept = {m.role.removeprefix("input:"): m.path for m in archive.media(take.id) if m.role.startswith("input:")}
    found = {}
    for part in {tile.ground.video for tile in piece.picture.tiles if tile.ground}:
        key = f"{part}.video"
        lay = Path(take.inputs[key]["path"]) if key in take.inputs else None
        found[part] = open_video(kept.get(key, lay))
    return found


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
        draw(take, final_piece(archive, take), mixed, folder / name)
        return archive.add_media(take.id, role, folder / name).path


def heard(archive: Archive, take: TakeRecord) -> Path:
    """The path of a take's mix (float32 WAV). One that is gone or damaged is rendered again from the recording.

    Of a take that was performed live it is rendered when it is first asked for.

    Raises
    ------
    DescantError
        If it has none yet, or it cannot be made again as it was.
    """
    from db.media import file_hash

    def mixed() -> MediaRow | None:
        return next((m for m in archive.media(take.id) if m.role == "mix"), None)

    found = mixed()
    if found is None and take.status == "done":
        mix(archive, take.id)
        found = mixed()
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
