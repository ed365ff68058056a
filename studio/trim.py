"""Trimming and fading: a stretch of a take as a sound file, or as a take of its own. Nothing that is there is changed.

Two things are meant by "trim", and they are two functions here:

- `write_stretch` copies *samples*: the stretch of the mix exactly as it sounds in the take, with raised-cosine fades,
  as a sound editor's "export selection" does. It is a file outside the archive; it is not a take, for nothing could
  replay it.
- `excerpt` copies *ticks*: a captured take of what the sources did in that stretch, played by the piece as it was there
  (sections cut, tempo as it was, the domains of its mappings those of the whole take, so that a loss of 0.3 has the
  pitch that it had). Its parent is recorded; it can be replayed, drawn, trimmed again and opened as a piece. Its sound
  is made anew: each part begins with the tick that sounded there, so up to one tick earlier; strikes left to chance
  fall anew, what rang on from before the cut is gone, and its loudness is brought to the piece's. Its fades are gains
  of sections (dB, even in time), since that is what a piece has.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.arrange import layout, recorded_form, warped_channels
from pieces.errors import DescantError
from pieces.form import Form, Span, longest_form
from pieces.piece import Picture, Piece
from pieces.sections import Section, between
from pieces.signals import Event, FrameBlock, Frames
from studio import config
from studio.compose import cut
from studio.rendering import Progress, final_piece, heard_channels, mix, recorded, silent

if TYPE_CHECKING:
    from db.archive import Archive, Recorder, TakeRecord
    from db.records import Retention

#: Where a fade of a take begins, in dB: out of hearing.
QUIET = -60.0
#: Events that say how the performance itself went on: the cut piece has it all in its score and its sections.
_BAKED = ("score", "stopped")
#: Samples copied at once.
_CHUNK = 1 << 16
_SLACK = 1e-6


def fade(samples: NDArray[np.int64], total: int, fade_in: int, fade_out: int) -> NDArray[np.float32]:
    """Gains of some samples of a stretch of `total`: half a cosine up over the first, and down over the last ones.

    The first and the last sample of a faded end are silent; two fades that would overlap are multiplied.
    """
    gains = np.ones(len(samples))
    if fade_in > 0:
        gains *= 0.5 - 0.5 * np.cos(np.pi * np.clip(samples / fade_in, 0, 1))
    if fade_out > 0:
        gains *= 0.5 - 0.5 * np.cos(np.pi * np.clip((total - 1 - samples) / fade_out, 0, 1))
    return gains.astype(np.float32)


def check_stretch(start: float, end: float, duration: float, fades: tuple[float, float] = (0.0, 0.0)) -> None:
    """See that a stretch lies within a sound and its fades within the stretch; `DescantError` says what does not."""
    if not 0 <= start < end <= duration + 1e-3:
        raise DescantError(f"stretch {start:g} to {end:g} s: allowed is a rising one within 0 to {duration:g} s")
    if min(fades) < 0 or sum(fades) > end - start + 1e-6:
        raise DescantError(f"fades of {fades[0]:g} and {fades[1]:g} s: together they are longer than {end - start:g} s")


def write_stretch(
    source: Path,
    path: Path,
    start: float,
    end: float,
    fades: tuple[float, float] = (0.0, 0.0),
    progress: Progress = silent,
) -> None:
    """Copy a stretch of a sound file, with raised-cosine fades: ``.wav`` in 32-bit float, ``.flac`` in 24 bit.

    Parameters
    ----------
    source, path : Path
        What is read, and what is written.
    start, end : float
        Seconds.
    fades : tuple of float
        Seconds at the beginning and at the end.

    Raises
    ------
    DescantError
        If the stretch or the fades do not fit, the source cannot be read, or the file cannot be written.
    """
    import soundfile

    subtype = {".wav": "FLOAT", ".flac": "PCM_24"}.get(path.suffix)
    if subtype is None:
        raise DescantError(f"{path}: a stretch is written as .wav or .flac")
    try:
        with soundfile.SoundFile(source) as sound:
            check_stretch(start, end, sound.frames / sound.samplerate, fades)
            first, last = (min(round(s * sound.samplerate), sound.frames) for s in (start, end))
            total, (rise, fall) = last - first, (round(s * sound.samplerate) for s in fades)
            sound.seek(first)
            with soundfile.SoundFile(path, "w", sound.samplerate, sound.channels, subtype) as file:
                for at in range(0, total, _CHUNK):
                    block = sound.read(min(_CHUNK, total - at), dtype="float32", always_2d=True)
                    file.write(block * fade(np.arange(at, at + len(block)), total, rise, fall)[:, None])
                    progress("stretch", at + len(block), total)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DescantError(f"{path}: the stretch of {source.name} cannot be written: {error}") from error


def excerpt(
    archive: Archive,
    take_id: str,
    start: float,
    end: float,
    *,
    fades: tuple[float, float] = (0.0, 0.0),
    relation: str = "trim",
    retention: Retention = "kept",
    title: str = "",
    progress: Progress = silent,
) -> str:
    """Make a captured take of what a take's sources did from `start` to `end` (seconds); returns its id.

    Raises
    ------
    DescantError
        If the stretch does not lie within the take, or a time-warp is cut in two or repeats what lies before it.
    """
    take = archive.take(take_id)
    piece = final_piece(archive, take)
    frames = recorded(archive, take, _timing(take, piece))
    form = recorded_form(piece, frames)
    end = min(end, form.spans[-1].seconds[1])  # what rings on after the last tick comes of itself
    check_stretch(start, end, form.spans[-1].seconds[1], fades)
    cutting = cut_piece(piece, form, start, end, fades)
    stretch = {part: cut_frames(frames[part], *ticks) for part, ticks in cutting.ticks.items()}
    if not any(found.ticks for found in stretch.values()):
        raise DescantError(f"stretch {start:g} to {end:g} s: nothing is performed in it: choose another one")
    _check_same(piece, form, frames, cutting, stretch, start)
    shortened = cutting.piece.model_copy(update={"score": closed_score(archive, take, piece)})
    recorder = _begin(archive, take, shortened, (take.id, next(iter(cutting.ticks.values()))[0], relation), retention)
    try:
        with config.limited(config.threads()):
            _copy(archive, take, recorder, cutting.ticks, stretch)
            recorder.flush()
            recorder.finish(duration_s=mix(archive, recorder.take_id, progress))
    except BaseException as error:
        # Half a copy is of no use to anybody: the take that it is of is still there.
        recorder.fail(str(error) or type(error).__name__)
        archive.discard(recorder.take_id, kept=True)
        raise
    if title:
        archive.labels.rename(recorder.take_id, title)
    return recorder.take_id


@dataclass(frozen=True)
class Cutting:
    """A piece cut to a stretch, and part → the recorded ticks that play in it, first and end."""

    piece: Piece
    ticks: Mapping[str, tuple[int, int]]


def cut_piece(piece: Piece, form: Form, start: float, end: float, fades: tuple[float, float] = (0.0, 0.0)) -> Cutting:
    """The piece from `start` to `end` seconds of a performance of it (`form`), with fades."""
    edges = sorted({start, start + fades[0], end - fades[1], end})
    sections: list[Section] = []
    first: dict[str, int] = {}
    names: dict[str, list[str]] = {}
    for span in form.spans:
        inside = [e for e in edges if span.seconds[0] + _SLACK < e < span.seconds[1] - _SLACK]
        places = [span.seconds[0], *inside, span.seconds[1]]
        for a, b in pairwise(places):
            if a < start - _SLACK or b > end + _SLACK or b - a <= _SLACK:
                continue
            section = _piece_of(piece, form, span, a, b)
            again = names.setdefault(span.section.name, [])
            again.append(f"{section.name} {len(again) + 1}" if again else section.name)
            section = section.model_copy(update={"name": again[-1]})
            sections.append(_faded(section, piece, (a, b), (start, end), fades))
            for part in span.ticks:
                first.setdefault(part, _first(piece, form, span, part, a))
    picture = _seen(piece.picture, names) or Picture()
    form_and_picture = {"sections": [s.model_dump(exclude_none=True) for s in sections]}
    made = piece.with_values({**form_and_picture, "picture": picture.model_dump(exclude_none=True)})
    targets: dict[str, int] = dict.fromkeys(piece.parts, 0)
    for performed in longest_form(made).spans:
        targets |= {part: ticks[1] for part, ticks in performed.ticks.items()}
    return Cutting(made, {part: (first.get(part, 0), first.get(part, 0) + n) for part, n in targets.items()})


def _seen(picture: Picture, names: Mapping[str, list[str]]) -> Picture | None:
    """The pictures that are seen in sections that are still there, by the names that these have now."""
    tiles = []
    for tile in picture.tiles:
        sections = tuple(name for section in tile.sections for name in names.get(section, ()))
        if sections or not tile.sections:
            tiles.append(tile.model_copy(update={"sections": sections, "beside": ()}))
    return tiles[0].model_copy(update={"beside": tuple(tiles[1:])}) if tiles else None


def _piece_of(piece: Piece, form: Form, span: Span, start: float, end: float) -> Section:
    """What of a section lies from `start` to `end` seconds: as long as it was, as fast, as loud; nothing is turned."""
    section, length = span.section, max(span.seconds[1] - span.seconds[0], 1e-9)
    begun, ended = (float(form.tempi.beats(s)) for s in (start, end))
    tempi = form.tempi.tempo(begun + _SLACK), form.tempi.tempo(ended - _SLACK)
    still = not isinstance(section.tempo, tuple) or abs(tempi[0] - tempi[1]) < 1e-9
    gains = {
        name: tuple(between(given, (s - span.seconds[0]) / length) for s in (start, end))
        if isinstance(given, tuple)
        else given
        for name, given in section.gains.items()
    }
    begins, ends = start <= span.seconds[0] + _SLACK, end >= span.seconds[1] - _SLACK
    for part, warp in section.warp.items():
        # What goes backwards, or comes again from its beginning, may be left early; a curve is one piece.
        repeats = warp.kind in ("retrograde", "recall")
        if (warp.performs and not (begins and ends)) or (repeats and not begins):
            raise DescantError(f"section {section.name!r} bends the time of {part} ({warp.kind}): take it as a whole")
    update = {
        "bars": (ended - begun) / piece.metre.beats,
        "until": None,
        "tempo": tempi[0] if still else tempi,
        "gains": gains,
        "controls": {},
    }
    return section.model_copy(update=update)


def _faded(
    section: Section, piece: Piece, at: tuple[float, float], whole: tuple[float, float], fades: tuple[float, float]
) -> Section:
    """The section with the gains of the fades that it lies in, on whatever goes into the mix."""
    ramp = [0.0, 0.0]
    for k, seconds in enumerate(at):
        if fades[0] and at[1] <= whole[0] + fades[0] + _SLACK:
            ramp[k] += QUIET * (1 - (seconds - whole[0]) / fades[0])
        if fades[1] and at[0] >= whole[1] - fades[1] - _SLACK:
            ramp[k] += QUIET * (1 - (whole[1] - seconds) / fades[1])
    if not any(ramp):
        return section
    gains = dict(section.gains)
    strips: dict[str, Any] = {**piece.score.get("voices", {}), **piece.score.get("groups", {})}
    for name, strip in strips.items():
        if strip.get("into", "mix") == "mix":
            given = gains.get(name, 0.0)
            ends = given if isinstance(given, tuple) else (given, given)
            gains[name] = tuple(max(g + r, -100.0) for g, r in zip(ends, ramp, strict=True))  # type: ignore[assignment]
    return section.model_copy(update={"gains": gains})


def _first(piece: Piece, form: Form, span: Span, part: str, start: float) -> int:
    """The tick of a part that sounds at `start` seconds, or the first one after it."""
    first, last = span.ticks[part]
    if part in span.section.warp or start <= span.seconds[0] + _SLACK:
        return first
    found = piece.parts[part]
    if found.rate is not None:
        gone = (start - span.seconds[0]) * found.rate
    else:
        assert found.per_beat is not None
        gone = (float(form.tempi.beats(start)) - span.beats[0]) * found.per_beat
    return min(max(math.floor(span.clocks[part] + gone + _SLACK), first), last)


def _timing(take: TakeRecord, piece: Piece) -> dict[str, list[str]]:
    """One scalar channel of each part, and those that time-warps go by: enough to know when what was performed."""
    found = {}
    for part, record in take.parts.items():
        spare = next((c.name for c in record.channels if not c.shape), record.channels[0].name)
        found[part] = sorted(warped_channels(piece, part)) or [spare]
    return found


def cut_frames(frames: Frames, first: int, end: int) -> Frames:
    """Ticks `first` up to `end` as a recording of their own, which knows what had diverged before."""
    end = min(end, frames.ticks)
    first = min(first, end)
    lost: dict[str, Event] = {}
    for event in frames.of_kind("diverged", "recovered"):
        if event.tick < first:
            lost[str(event.data.get("channel"))] = event
    before = [replace(e, tick=0) for e in lost.values() if e.kind == "diverged"]
    events = [_moved(e, first) for e in frames.events if first <= e.tick < end or e.tick == end == frames.ticks]
    arrays = {name: array[first:end] for name, array in frames.arrays.items()}
    return Frames(arrays, (*before, *(e for e in events if e.kind not in _BAKED)), frames.rate, end - first)


def _moved(event: Event, first: int) -> Event:
    return replace(event, tick=event.tick - first)


def _check_same(
    piece: Piece,
    form: Form,
    frames: Mapping[str, Frames],
    cutting: Cutting,
    stretch: Mapping[str, Frames],
    start: float,
) -> None:
    """See that what repeats earlier ticks (a time-warp) still has them."""
    made = recorded_form(cutting.piece, stretch)
    length = made.spans[-1].seconds[1]
    for part, found in stretch.items():
        if not any(part in span.section.warp for span in made.spans):
            continue
        was, now = layout(piece, form, part, frames[part]), layout(cutting.piece, made, part, found)
        for seconds in np.linspace(0, length, 64, endpoint=False) + length / 128:
            far = abs(was.tick(start + float(seconds)) - cutting.ticks[part][0] - now.tick(float(seconds)))
            if far > 1.5:
                raise DescantError(
                    f"at {start + float(seconds):.1f} s {part} repeats what lies before {start:g} s: begin earlier"
                )


def closed_score(archive: Archive, take: TakeRecord, piece: Piece) -> dict[str, Any]:
    """The piece's score with every domain that depends on the take's data (but ranks) as numbers."""
    from sonify.resolve import locate, take_stats
    from sonify.score import parse_score

    score = parse_score(piece.score, f"take {take.id}")
    channels = {part: {c.name: c for c in record.channels} for part, record in take.parts.items()}
    stats = take_stats(score, channels, recorded(archive, take, heard_channels(archive, take)))
    plain = copy.deepcopy(dict(piece.score))
    for strip in (*plain.get("voices", {}).values(), *plain.get("groups", {}).values()):
        for mapping in _mappings(strip):
            domain, shape = mapping.get("domain", "data"), mapping.get("shape", "linear")
            quantiles = stats[locate(mapping["channel"], strip.get("part"), take.parts)].quantiles
            if domain not in ("data", "p1-p99") or shape == "rank" or not len(quantiles):
                continue
            low, high = np.quantile(quantiles, [0.0, 1.0] if domain == "data" else [0.01, 0.99]).tolist()
            if low < high:
                mapping["domain"] = [low, high]
    return plain


def _mappings(given: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a voice or group as plain data."""
    if isinstance(given, dict):
        if "channel" in given and "range" in given:
            yield given
        for value in given.values():
            yield from _mappings(value)


def _begin(
    archive: Archive, take: TakeRecord, piece: Piece, parent: tuple[str, int, str], retention: Retention
) -> Recorder:
    from db.archive import NewTake

    recorder = archive.begin(
        NewTake(
            piece_name=take.piece_name,
            piece=piece.model_dump(mode="json"),
            piece_hash=piece.hash,
            seed=take.seed,
            parts=[(name, record.rate) for name, record in take.parts.items()],
            controls=take.controls,
            inputs={k: v for k, v in take.inputs.items() if k.startswith("sample.")},
            versions=config.versions(),
            platform=config.machine(),
            threads=config.threads(),
            retention=retention,
            origin="captured",
            parents=[parent],
        )
    )
    for media in archive.media(take.id):
        if media.role.startswith("input:sample."):
            archive.add_media(recorder.take_id, media.role, media.path)
    return recorder


def _copy(
    archive: Archive,
    take: TakeRecord,
    recorder: Recorder,
    ticks: Mapping[str, tuple[int, int]],
    stretch: Mapping[str, Frames],
) -> None:
    """Record the ticks of every part again, from 0 on."""
    for part, record in take.parts.items():
        first, end = ticks[part]
        recorder.channels(record.channels, part)
        events: Sequence[Event] = stretch[part].events
        for block in archive.blocks(take.id, first_tick=first, part=part):
            piece = cut(block, 0, min(end, record.ticks) - block.first_tick)
            at, until = piece.first_tick - first, piece.end_tick - first
            if piece.ticks:
                last = until >= stretch[part].ticks
                mine = tuple(e for e in events if at <= e.tick and (e.tick < until or last))
                recorder.append(FrameBlock(at, piece.arrays, mine), part)
            if block.end_tick >= end:
                break
