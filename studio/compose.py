"""From a plan to a take: perform, record, render.

This is the only place where sources run for a take; what is made of the recording is in `studio.rendering`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from pieces.form import longest_form
from pieces.piece import Piece, parse_piece
from pieces.signals import Channel, Event, FrameBlock, SignalsHash
from pieces.source import check_controls, find_source, split_source_path
from studio import config
from studio.conductor import Conductor, Stage
from studio.performance import Performance
from studio.plan import CODE, Plan, Player, check_channels
from studio.rendering import Progress, mix, silent, workspace

if TYPE_CHECKING:
    from db.archive import Archive, Recorder, TakeRecord
    from db.records import Retention

#: Inputs up to this size are kept in the archive, so that a take can be replayed when the file is gone.
_KEEP_INPUT = 64 << 20


class DriftError(DescantError):
    """A replay gave other signals than were recorded."""


@dataclass(frozen=True)
class Origin:
    """Where a take comes from: parents (take id, tick, relation) and the proposal it answers."""

    parents: tuple[tuple[str, int | None, str], ...] = ()
    proposal_id: str | None = None


#: What was given to each part of an earlier performance.
Given = Mapping[str, Sequence[Event]]


def compose(
    archive: Archive,
    plan: Plan,
    seed: int,
    *,
    origin: Origin = Origin(),
    retention: Retention = "kept",
    given: Given | None = None,
    stage: Stage | None = None,
    progress: Progress = silent,
) -> str:
    """Perform a plan as a new take and render it; returns the take's id.

    Raises
    ------
    DescantError
        If a source or the renderer fails. The take keeps what was recorded and is marked ``failed``;
        on KeyboardInterrupt it is marked ``interrupted``.
    """
    with workspace(archive) as folder:
        files = material(archive, plan, folder)
        recorder = begin(archive, plan, files, seed, origin, retention)
        with _marked(recorder), config.limited(config.threads()):
            kept = keep_inputs(archive, recorder.take_id, plan, files)
            players = {part: _supplied(part, player, kept) for part, player in plan.players.items()}
            conductor = conduct(plan.piece, players, seed, given, stage)
            channels = {p: performance.source.channels for p, performance in conductor.performances.items()}
            check_channels(plan.name, plan.piece, plan.score, channels)
            _finish(archive, plan.piece, recorder, conductor, progress, {})
    return recorder.take_id


def material(archive: Archive, plan: Plan, folder: Path) -> dict[str, str]:
    """Paths of all that a plan needs: its files, and what earlier takes give, written into `folder`."""
    return {**plan.files, **{key: _given_by(archive, key, take, folder) for key, take in plan.takes.items()}}


def keep_inputs(archive: Archive, take_id: str, plan: Plan, files: Mapping[str, str]) -> dict[str, str]:
    """Copy a take's inputs into the archive, large files apart; returns where each lies now."""
    kept = dict(files)
    for key, path in files.items():
        if key in plan.takes or Path(path).stat().st_size <= _KEEP_INPUT:
            kept[key] = str(archive.add_media(take_id, f"input:{key}", Path(path)).path)
    return kept


def begin(
    archive: Archive, plan: Plan, files: Mapping[str, str], seed: int, origin: Origin, retention: Retention
) -> Recorder:
    """Commit the take of a plan as running, before its sources are made."""
    from db.archive import NewTake
    from db.media import file_hash

    named = {key: f"take:{plan.takes[key]}" if key in plan.takes else path for key, path in files.items()}
    material = sorted({archive.take(take.partition("/")[0]).id for take in plan.takes.values()})
    return archive.begin(
        NewTake(
            piece_name=plan.name,
            piece=plan.piece.model_dump(mode="json"),
            piece_hash=plan.piece.hash,
            seed=seed,
            parts=[(part, plan.piece.rate(part)) for part in plan.players],
            controls={part: dict(player.controls) for part, player in plan.players.items()},
            inputs={k: {"path": named[k], "sha256": file_hash(Path(v))} for k, v in files.items()},
            versions=config.versions(),
            platform=config.machine(),
            threads=config.threads(),
            retention=retention,
            origin="generated",
            parents=[*origin.parents, *((take, None, "material") for take in material)],
            proposal_id=origin.proposal_id,
        )
    )


def _given_by(archive: Archive, key: str, take: str, folder: Path) -> str:
    """What an earlier take gives: its sound for a sampler, else a part of its recording as a stream."""
    from studio.rendering import heard

    take_id, _, part = take.partition("/")
    found = archive.take(take_id)
    if key.startswith("sample."):
        return str(heard(archive, found))
    path = folder / f"{key}.stream"
    with path.open("wb") as file:
        archive.stream(found.id, file, part or None)
    return str(path)


def _supplied(part: str, player: Player, files: Mapping[str, str]) -> Player:
    """A player with its inputs where they lie now."""
    inputs = {key: files.get(f"{part}.{key}", value) for key, value in player.inputs.items()}
    return Player(player.part, player.source, player.controls, inputs)


def _finish(
    archive: Archive,
    piece: Piece,
    recorder: Recorder,
    conductor: Conductor,
    progress: Progress,
    recorded: Mapping[str, Replayed],
) -> None:
    """Record a performance to its end, render it and mark the take as done."""
    for part, performance in conductor.performances.items():
        if part not in recorded:
            recorder.channels(performance.source.channels, part)
    _record(recorder, piece, conductor, progress, recorded)
    duration = mix(archive, recorder.take_id, progress)
    recorder.finish(duration_s=duration)


def resume(archive: Archive, take_id: str, progress: Progress = silent) -> None:
    """Go on with an interrupted or failed take.

    Its sources are replayed from their seed up to the last tick that was committed; if that does not give the recorded
    signals, bit for bit, the take stays as it is.
    """
    take = archive.take(take_id)
    piece = parse_piece(take.piece, f"take {take.id}")
    players = again(archive, take)
    given: dict[str, list[Event]] = {}
    recorded: dict[str, Replayed] = {}
    for part, record in take.parts.items():
        if not record.channels:
            continue
        found = SignalsHash(record.channels)
        for block in archive.blocks(take.id, part=part):
            found.update(block)
            given.setdefault(part, []).extend(e for e in block.events if e.given)
        recorded[part] = Replayed(record.channels, record.ticks, found.hexdigest())
    recorder = archive.resume(take.id)
    with _marked(recorder), config.limited(take.threads):
        conductor = conduct(piece, players, take.seed, given)
        _finish(archive, piece, recorder, conductor, progress, recorded)


def again(archive: Archive, take: TakeRecord) -> dict[str, Player]:
    """The players of a recorded take, with inputs from the archive's own copies where it has them."""
    from db.media import file_hash

    kept = {m.role.removeprefix("input:"): m for m in archive.media(take.id) if m.role.startswith("input:")}
    files = {}
    for key, recorded in take.inputs.items():
        path = files[key] = str(kept[key].path) if key in kept else recorded["path"]
        if not Path(path).is_file():
            raise DescantError(f"take {take.id}: its input {key} is gone: {path}")
        if file_hash(Path(path)) != recorded["sha256"]:
            raise DescantError(f"take {take.id}: its input {key} has changed since: {path}")
    players = {}
    for name, part in parse_piece(take.piece, f"take {take.id}").parts.items():
        source = part.source
        code = files.get(f"{name}.{CODE}")
        if code is not None and (split := split_source_path(source)):
            source = f"{code}:{split[1]}" if split[1] else code
        found = find_source(source)
        players[name] = _supplied(name, Player(part, found, check_controls(found, part.controls), part.inputs), files)
    return players


def conduct(
    piece: Piece, players: Mapping[str, Player], seed: int, given: Given | None = None, stage: Stage | None = None
) -> Conductor:
    """A performance of all parts, ready to iterate; one that was stopped ends where it did."""
    performances = {}
    marks = (e for events in (given or {}).values() for e in events if e.kind == "stopped" and e.given)
    ends: Mapping[str, int] = next((mark.data["ticks"] for mark in marks), {})
    for name, player in players.items():
        try:
            made = player.source(seed + player.part.seed, player.controls, player.inputs)
        except DescantError:
            raise
        except (Exception, SystemExit) as error:
            raise DescantError(f"{player.source.name} could not start: {type(error).__name__}: {error}") from error
        script = (given or {}).get(name, ())
        ticks = min(player.part.ticks, ends.get(name, player.part.ticks))
        performances[name] = Performance(made, player.controls, ticks, given=script)
    return Conductor(piece, performances, stage)


class Replayed:
    """A part's ticks that are recorded already: what a resumed performance makes of them is held against their hash."""

    def __init__(self, channels: Sequence[Channel], ticks: int, expected: str) -> None:
        self._hash = SignalsHash(channels)
        self._ticks, self._expected = ticks, expected
        self.caught_up = not ticks

    def rest(self, block: FrameBlock) -> FrameBlock:
        """What of a block is new; `DriftError` where it does not follow what was recorded."""
        if self.caught_up:
            return block
        self._hash.update(cut(block, 0, self._ticks - block.first_tick))
        if block.end_tick >= self._ticks:
            if self._hash.hexdigest() != self._expected:
                raise DriftError(
                    f"replaying ticks 0 to {self._ticks - 1} gives other signals than were recorded: "
                    "it can be resumed only on the machine and versions that began it"
                )
            self.caught_up = True
        return cut(block, self._ticks - block.first_tick, block.ticks)


def _record(
    recorder: Recorder, piece: Piece, conductor: Conductor, progress: Progress, recorded: Mapping[str, Replayed]
) -> None:
    """Record a performance, but for what is `recorded` of it already."""
    total = longest_form(piece).spans[-1].seconds[1]
    rates = {part: piece.rate(part) for part in piece.parts}
    made = dict.fromkeys(piece.parts, 0.0)
    for part, block in conductor:
        made[part] = block.end_tick / rates[part]
        progress("perform", min(max(made.values()), total), total)
        if part in recorded:
            block = recorded[part].rest(block)
        if block.ticks:
            recorder.append(block, part)
    for part, earlier in recorded.items():
        if not earlier.caught_up:
            raise DriftError(f"replaying it, part {part} ends before what was recorded")
    recorder.flush()


def cut(block: FrameBlock, start: int, stop: int) -> FrameBlock:
    """Rows `start` to `stop` of a block, with the events that fall there."""
    start = min(max(start, 0), block.ticks)
    stop = max(start, min(stop, block.ticks))
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
            raise DescantError(f"take {recorder.take_id} was kept as far as it was committed: {reason}") from error
        if isinstance(error, DescantError):
            raise DescantError(f"take {recorder.take_id}: {reason}") from error
        raise
