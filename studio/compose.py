"""From a piece to a take: perform, record, render.

This is the only place where a source runs for a take; what is made of the recording is in `studio.rendering`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.piece import Part, Piece, PieceError, check_piece, parse_piece
from pieces.signals import Channel, DescantError, Event, FrameBlock, SignalsHash
from pieces.source import Source, check_controls, find_source, nearest, split_source_path
from studio import config
from studio.performance import Clock, Performance
from studio.rendering import Progress, mix, silent

if TYPE_CHECKING:
    from db.archive import Archive, Recorder, TakeRecord
    from db.records import Retention
    from sonify.score import Score

#: Inputs up to this size are kept in the archive, so that a take can be replayed when the file is gone.
_KEEP_INPUT = 64 << 20
#: Under which name a user's own source file is kept among a take's inputs.
_CODE = "source code"


class DriftError(DescantError):
    """A replay gave other signals than were recorded."""


@dataclass(frozen=True)
class Origin:
    """Where a take comes from: parents (take id, tick, relation) and the proposal it answers."""

    parents: tuple[tuple[str, int | None, str], ...] = ()
    proposal_id: str | None = None


@dataclass(frozen=True)
class Plan:
    """A piece that was checked: everything that could be refused was refused before the take's row is written."""

    name: str
    piece: Piece
    part: Part
    source: type[Source]
    score: Score
    inputs: Mapping[str, str]
    files: Mapping[str, str]
    """Inputs that are files, and the source's own file where it is a user's; all of them are hashed and kept."""


def plan(name: str, piece: Piece, base: Path) -> Plan:
    """Check a piece and find its source.

    Raises
    ------
    DescantError
        Whatever is wrong with it, as one line.
    """
    from sonify.score import parse_score

    for what, count in (("parts", len(piece.parts)), ("sections", len(piece.sections))):
        if count > 1:
            raise PieceError(f"{name}: it has {count} {what}; this Descant performs one")
    ((part_name, source),) = check_piece(piece, name, base).items()
    part = piece.parts[part_name]
    score = parse_score(piece.score, name)
    _check_voices(name, piece, score, source)
    if source.channels:
        _check_channels(name, piece, score, source.channels)
    inputs, files = _inputs(source, part, base)
    return Plan(name, piece, part, source, score, inputs, files)


def _check_voices(name: str, piece: Piece, score: Score, source: type[Source]) -> None:
    """See that voices name a part and events that there are."""
    events = {**source.emits, **source.listens, "diverged": "", "recovered": "", "control": ""}
    for key, voice in score.voices.items():
        if voice.part is not None and voice.part not in piece.parts:
            raise PieceError(f"{name}: score.voices.{key}.part = {voice.part!r}{nearest(voice.part, piece.parts)}")
        for kind in voice.on:
            if kind not in events:
                raise PieceError(
                    f"{name}: score.voices.{key}.on: {source.name} has no event {kind!r}{nearest(kind, events)}"
                )


def _check_channels(name: str, piece: Piece, score: Score, channels: Sequence[Channel]) -> None:
    """See that score and picture name channels that are there, and options that the view has."""
    from sonify.score import declared_stats
    from studio.pictures.draw import find_view

    known = {c.name: c for c in channels}
    try:
        declared_stats(score, known)
        view = find_view(piece.picture.view)
        for need in view.needs:
            if need not in known:
                raise PieceError(f"view {view.name!r} needs channel {need!r}{nearest(need, known)}")
        for option in piece.picture.options:
            if option not in view.options:
                raise PieceError(f"view {view.name!r} has no option {option!r}{nearest(option, view.options)}")
    except DescantError as error:
        raise PieceError(f"{name}: {error}") from error


def _inputs(source: type[Source], part: Part, base: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Inputs as the source takes them, and those of them that are files; paths are read against `base`."""
    inputs, files = dict(part.inputs), {}
    for key, value in part.inputs.items():
        if source.inputs[key].kind != "text":
            path = base / Path(os.path.expanduser(value))
            if not path.is_file():
                raise PieceError(f"{source.name}: input {key}: no file {path}")
            inputs[key] = files[key] = str(path.resolve())
    if split_source_path(part.source):
        files[_CODE] = inspect.getfile(source)
    return inputs, files


def compose(
    archive: Archive,
    plan: Plan,
    seed: int,
    *,
    origin: Origin = Origin(),
    retention: Retention = "kept",
    given: Sequence[Event] = (),
    clock: Clock | None = None,
    progress: Progress = silent,
) -> str:
    """Perform a plan as a new take and render it; returns the take's id.

    Raises
    ------
    DescantError
        If the source or the renderer fails. The take keeps what was recorded and is marked ``failed``;
        on KeyboardInterrupt it is marked ``interrupted``.
    """
    from db.archive import NewTake
    from db.media import file_hash

    recorder = archive.begin(
        NewTake(
            piece_name=plan.name,
            piece=plan.piece.model_dump(mode="json"),
            piece_hash=plan.piece.hash,
            seed=seed,
            rate=plan.part.rate,
            controls=check_controls(plan.source, plan.part.controls),
            inputs={k: {"path": v, "sha256": file_hash(Path(v))} for k, v in plan.files.items()},
            versions=config.versions(),
            platform=config.machine(),
            threads=config.threads(),
            retention=retention,
            origin="generated",
            parents=list(origin.parents),
            proposal_id=origin.proposal_id,
        )
    )
    with _marked(recorder), config.limited(config.threads()):
        for key, path in plan.files.items():
            if Path(path).stat().st_size <= _KEEP_INPUT:
                archive.add_media(recorder.take_id, f"input:{key}", Path(path))
        performance = perform(plan.source, plan.part, plan.inputs, seed, given=given, clock=clock)
        channels = performance.source.channels
        _check_channels(plan.name, plan.piece, plan.score, channels)
        recorder.channels(channels)
        _record(recorder, performance, plan.part.ticks, progress)
        mix(archive, recorder.take_id, progress)
        recorder.finish(duration_s=recorder.next_tick / plan.part.rate)
    return recorder.take_id


def resume(archive: Archive, take_id: str, progress: Progress = silent) -> None:
    """Go on with an interrupted or failed take.

    The source is replayed from its seed up to the last tick that was committed; if that does not give the recorded
    signals, bit for bit, the take stays as it is.
    """
    take = archive.take(take_id)
    source, part, inputs = again(archive, take)
    recorded = SignalsHash(take.channels)
    given: list[Event] = []
    for block in archive.blocks(take.id):
        recorded.update(block)
        given.extend(e for e in block.events if e.given)
    recorder = archive.resume(take.id)
    with _marked(recorder), config.limited(take.threads):
        performance = perform(source, part, inputs, take.seed, given=given)
        if not take.channels:
            recorder.channels(performance.source.channels)
        _record(recorder, performance, part.ticks, progress, skip=recorder.next_tick, expected=recorded.hexdigest())
        mix(archive, take.id, progress)
        recorder.finish(duration_s=recorder.next_tick / part.rate)


def again(archive: Archive, take: TakeRecord) -> tuple[type[Source], Part, dict[str, str]]:
    """Source class, part and inputs of a recorded take, from the archive's own copies where it has them."""
    from db.media import file_hash

    part = next(iter(parse_piece(take.piece, f"take {take.id}").parts.values()))
    kept = {m.role.removeprefix("input:"): m for m in archive.media(take.id) if m.role.startswith("input:")}
    inputs = dict(part.inputs)
    for key, recorded in take.inputs.items():
        path = str(kept[key].path) if key in kept else recorded["path"]
        if not Path(path).is_file():
            raise DescantError(f"take {take.id}: its input {key} is gone: {path}")
        if file_hash(Path(path)) != recorded["sha256"]:
            raise DescantError(f"take {take.id}: its input {key} has changed since: {path}")
        inputs[key] = path
    name = part.source
    code = inputs.pop(_CODE, None)
    if code is not None and (split := split_source_path(name)):
        name = f"{code}:{split[1]}" if split[1] else code
    return find_source(name), part, inputs


def perform(
    source: type[Source],
    part: Part,
    inputs: Mapping[str, str],
    seed: int,
    *,
    given: Sequence[Event] = (),
    clock: Clock | None = None,
) -> Performance:
    """A performance of a source, ready to iterate."""
    controls = check_controls(source, part.controls)
    try:
        made = source(seed, controls, inputs)
    except DescantError:
        raise
    except (Exception, SystemExit) as error:
        raise DescantError(f"{source.name} could not start: {type(error).__name__}: {error}") from error
    return Performance(made, controls, part.ticks, clock=clock, given=given)


def _record(
    recorder: Recorder, performance: Performance, ticks: int, progress: Progress, skip: int = 0, expected: str = ""
) -> None:
    """Record a performance; ticks before `skip` are replayed and held against the hash `expected` instead."""
    replayed = SignalsHash(performance.source.channels)
    same = not skip
    for block in performed(performance):
        progress("perform", block.end_tick, ticks)
        if not same:
            replayed.update(cut(block, 0, skip - block.first_tick))
            if block.end_tick < skip:
                continue
            same = replayed.hexdigest() == expected
            if not same:
                break
            block = cut(block, skip - block.first_tick, block.ticks)
        if block.ticks:
            recorder.append(block)
    if not same:
        raise DriftError(
            f"replaying ticks 0 to {skip - 1} gives other signals than were recorded: "
            "it can be resumed only on the machine and versions that began it"
        )
    recorder.flush()


def performed(performance: Performance) -> Iterator[FrameBlock]:
    """The blocks of a performance; whatever its source raises becomes one line."""
    blocks = iter(performance)
    while True:
        try:
            block = next(blocks, None)
        except DescantError:
            raise
        except (Exception, SystemExit) as error:
            name = performance.source.name
            raise DescantError(f"{name} failed at tick {performance.tick}: {type(error).__name__}: {error}") from error
        if block is None:
            return
        yield block


def cut(block: FrameBlock, start: int, stop: int) -> FrameBlock:
    """Rows `start` to `stop` of a block, with the events that fall there."""
    start, stop = min(start, block.ticks), min(stop, block.ticks)
    first, end = block.first_tick + start, block.first_tick + stop
    events = tuple(e for e in block.events if first <= e.tick < end)
    return FrameBlock(first, {n: a[start:stop] for n, a in block.arrays.items()}, events)


@contextmanager
def _marked(recorder: Recorder) -> Iterator[None]:
    """Whatever ends the work early, the take says so and keeps what was recorded."""
    try:
        yield
    except KeyboardInterrupt:
        recorder.interrupt()
        raise
    except DriftError as error:
        recorder.release()
        raise DescantError(f"take {recorder.take_id}: {error}") from error
    except BaseException as error:
        reason = str(error) if isinstance(error, DescantError) else f"{type(error).__name__}: {error}"
        # A full disk takes no mark either; whoever opens the archive next marks the take as interrupted.
        with suppress(DescantError):
            recorder.fail(reason)
        if isinstance(error, OSError):
            raise DescantError(f"take {recorder.take_id} was kept up to tick {recorder.next_tick}: {reason}") from error
        if isinstance(error, DescantError):
            raise DescantError(f"take {recorder.take_id}: {reason}") from error
        raise
