"""The works of a study: performed once, kept as takes, and found again when the study goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from pieces.form import shortened
from pieces.piece import Piece
from studio.compose import Origin, compose
from studio.experiment.design import Design, Prefer, Same, StudyError, Work, piece_of
from studio.plan import plan
from studio.rendering import Progress, heard, silent
from studio.words.artefact import MOMENT_S

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord

#: Conditions for which a work is performed again.
OTHERS = ("other score", "other signals")
#: What is added to a work's seed for other signals: a prime, so that no neighbour's seed is met.
_APART = 1_000_003


@dataclass(frozen=True)
class Performed:
    """What a work is performed from."""

    name: str
    piece: Piece
    base: Path
    seed: int


def key(work: str, condition: str = "") -> str:
    """Under which name the take of a work is kept."""
    return f"{work}/{condition}" if condition in OTHERS else work


def make(
    archive: Archive, experiment_id: str, design: Design, base: Path, progress: Progress = silent
) -> dict[str, str]:
    """All takes that a study needs, by `key`; those that are not there yet are performed.

    A take is kept when the study knows it; one that was killed before is scratch, and goes by itself.

    Raises
    ------
    DescantError
        If one cannot be performed, is too short, or is not what its condition says.
    """
    conditions = {c for task in design.tasks if isinstance(task, Prefer | Same) for c in task.conditions}
    wanted = [(work, c) for work in design.works for c in ("", *(c for c in OTHERS if c in conditions))]
    known = archive.studies.works(experiment_id)
    for number, (work, condition) in enumerate(wanted):
        progress("works", number, len(wanted))
        name = key(work.name, condition)
        if name not in known:
            try:
                take = _made(archive, work, condition, known, base)
                _check(archive, design, work, condition, known, take)
            except StudyError:
                raise
            except DescantError as error:
                raise StudyError(f"{design.name}: work {name!r}: {error}") from error
            known[name] = archive.studies.add_work(experiment_id, name, take)
        if work.take is None or condition:
            archive.retain(known[name], "kept")
    progress("works", len(wanted), len(wanted))
    return known


def _made(archive: Archive, work: Work, condition: str, known: Mapping[str, str], base: Path) -> str:
    """The id of a take that was just made, or is there."""
    if work.take is not None and not condition:
        return archive.take(work.take).id
    performed = _performed(archive, work, base)
    if condition == "other score":
        performed = _with_score(performed, work, base)
    seed = (performed.seed + _APART) % 2**31 if condition == "other signals" else performed.seed
    origin = Origin(((known[work.name], None, condition),)) if condition else Origin()
    planned = plan(performed.name, performed.piece, performed.base)
    return compose(archive, planned, seed, origin=origin, retention="scratch")


def _performed(archive: Archive, work: Work, base: Path) -> Performed:
    """What a work is performed from; of a take, what it was."""
    if work.piece is not None:
        piece, folder = piece_of(work.piece, base)
        piece = piece.with_controls(work.set)
        return Performed(work.piece, shortened(piece, work.duration) if work.duration else piece, folder, work.seed)
    from studio.derive import derived_piece

    take = archive.take(str(work.take))
    given = [event for part in take.parts for event in archive.events(take.id, part=part) if event.given]
    if take.origin != "generated" or given:
        raise DescantError(f"take {take.id} was played or captured, it cannot be performed again: name a piece instead")
    return Performed(take.piece_name, derived_piece(archive, take.id), Path.cwd(), take.seed)


def _with_score(performed: Performed, work: Work, base: Path) -> Performed:
    """The same with the score of another piece, or with its own turned round."""
    if work.other_score is None:
        score = reversed_score(performed.piece.score)
        if score == performed.piece.score:
            raise DescantError("its score has no mapping to turn round: name a piece with another: other_score")
    else:
        score = piece_of(work.other_score, base)[0].score
    return Performed(
        performed.name, performed.piece.model_copy(update={"score": score}), performed.base, performed.seed
    )


def reversed_score(score: Mapping[str, Any]) -> dict[str, Any]:
    """A score, as plain data, with the polarity of every mapping reversed: what was high is low."""
    found: dict[str, Any] = {name: _reversed(value) for name, value in score.items()}
    return found


def _reversed(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    found = reversed_score(value)
    if "channel" in found and "range" in found:
        found["polarity"] = "positive" if found.get("polarity") == "negative" else "negative"
    return found


def _check(
    archive: Archive, design: Design, work: Work, condition: str, known: Mapping[str, str], take_id: str
) -> None:
    """See that a take is long enough, and is what its condition says."""
    take = long_enough(archive, design, take_id)
    if not condition:
        return
    own = archive.take(known[work.name])
    same = take.signals_hash == own.signals_hash
    if condition == "other score" and not same:
        raise DescantError("performed again it gives other signals: only a reproducible piece can have another score")
    if condition == "other signals" and same:
        raise DescantError("it gives the same signals with any seed: leave out the condition 'other signals'")
    if _samples(take) == _samples(own):
        raise DescantError(f"with {condition} it sounds the same: give another with other_score")


def long_enough(archive: Archive, design: Design, take_id: str) -> TakeRecord:
    """A take, if as much can be told of it as the study tells of any.

    Raises
    ------
    DescantError
        If it is shorter.
    """
    import soundfile

    take = archive.take(take_id)
    moments = int(soundfile.info(heard(archive, take)).duration / MOMENT_S + 1e-6)
    if moments < design.moments:
        raise DescantError(f"{moments} moments of {MOMENT_S:g} s, and {design.moments} are told: set moments lower")
    return take


def _samples(take: TakeRecord) -> str:
    return str((take.render or {}).get("samples_hash"))
