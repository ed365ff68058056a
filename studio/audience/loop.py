"""The loop: a take, its artefact, a visit, a proposal, the next take.

What the visitor gets is the artefact and nothing else; what the steerer gets is what visitors answered. All of it is
in the archive, so that a proposal can be made again from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from pieces.form import shortened
from pieces.knobs import Choice
from pieces.piece import Piece
from studio.audience.attending import Visit, attend
from studio.audience.gallery import Gallery
from studio.audience.keeping import Keeper
from studio.audience.playing import Turn
from studio.audience.rooms import Rules
from studio.audience.steerers import Answer, Converse, Proposal, appoint
from studio.audience.visitor import AudienceError, Visitor
from studio.compose import Origin, compose
from studio.plan import plan
from studio.rendering import Progress, silent

if TYPE_CHECKING:
    from db.archive import Archive, VisitRecord
    from studio.words.artefact import Artefact

#: Seconds of a piece that a wished change is tried on.
TRIED_S = 6.0


@dataclass(frozen=True)
class Steered:
    """What is steered, and how.

    Attributes
    ----------
    name : str
        Name by which the piece was asked for.
    piece : Piece
    base : Path
        Folder that its relative paths are read against.
    steerer : str
        See `studio.audience.steerers.steerer_names`.
    seed : int
        Of every take, visit and proposal: in every round the same, so that only the proposal makes them differ.
    rules : Rules, optional
        Of the visits; default: the usual ones in the visitor's own register.
    yoked, whose : sequence of float or None, and str
        What the steerer ``yoked`` goes by, see `ratings_of`; and whose ratings these are, in words.
    converse : callable, optional
        How the steerer ``human`` speaks with a person.
    """

    name: str
    piece: Piece
    base: Path
    steerer: str = "gp"
    seed: int = 0
    rules: Rules | None = None
    yoked: tuple[float | None, ...] = ()
    whose: str = "another visitor"
    converse: Converse | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Round:
    """One turn of the loop: a take, what its audience answered, and what is proposed next; None: nothing more."""

    number: int
    take_id: str
    visit: Visit
    proposal: Proposal | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        report = self.visit.transcript.report
        return {
            "round": self.number,
            "take": self.take_id,
            "visitor": self.visit.transcript.visitor,
            "progress": report.progress,
            "rating": self.visit.rating,
            "verdict": report.verdict,
            "wishes": list(self.visit.deeds.wishes),
            "next": dict(self.proposal.changes) if self.proposal else None,
            "reason": self.proposal.reason if self.proposal else None,
        }


def steer(
    archive: Archive, steered: Steered, visitor: Visitor, rounds: int, progress: Progress = silent
) -> Iterator[Round]:
    """Run the loop, a round at a time.

    Round 1 performs the piece as it is written; every later round performs what was proposed from all answers so far.

    Raises
    ------
    DescantError
        On an unknown steerer, when a take fails or a visit breaks off; earlier rounds are kept.
    """
    from db.archive import ProposalRecord

    seed, gallery = steered.seed, Gallery(archive)

    trials: dict[str, str] = {}

    def tried(changes: Mapping[str, Choice]) -> Artefact:
        piece = shortened(steered.piece.with_values(changes), TRIED_S)
        progress("try", len(trials), 0)
        if piece.hash not in trials:
            planned = plan(steered.name, piece, steered.base)
            trials[piece.hash] = compose(archive, planned, seed, retention="scratch")
        return gallery.artefact(trials[piece.hash])

    steerer = appoint(
        steered.steerer,
        steered.piece,
        seed,
        steered.base,
        recorded=steered.yoked,
        whose=steered.whose,
        try_=tried,
        converse=steered.converse,
    )
    answers: list[Answer] = []
    changes: dict[str, Choice] = {}
    origin = Origin()
    for number in range(1, rounds + 1):
        planned = plan(steered.name, steered.piece.with_values(changes), steered.base)
        take_id = compose(archive, planned, seed, origin=origin, progress=progress)
        progress("attend", 0, 0)
        visit = attended(archive, gallery, [take_id], visitor, seed, steered.rules)
        answers.append(_answer(visit, take_id, changes, steered.steerer))
        proposal = steerer.propose(answers)
        yield Round(number, take_id, visit, proposal)
        if proposal is None:
            return
        given = proposal.model_dump(exclude={"point"})
        kept = archive.add_proposal(ProposalRecord(**given, point=proposal.point, round=number))
        changes, origin = dict(proposal.changes), Origin(((take_id, None, "steered"),), kept)


def attended(
    archive: Archive,
    gallery: Gallery,
    takes: list[str],
    visitor: Visitor,
    seed: int,
    rules: Rules | None = None,
    told: Callable[[Turn], None] = lambda turn: None,
) -> Visit:
    """A visit to some takes, kept in the archive; `told` every turn as it happens.

    Raises
    ------
    AudienceError
        If it broke off; what was before that is kept.
    """
    rules = rules or replace(Rules(), register=visitor.register)
    keeper = Keeper(archive, takes, visitor, seed, rules)

    def both(turn: Turn) -> None:
        keeper.told(turn)
        told(turn)

    visit = attend([gallery.room(take, seed) for take in takes], visitor, seed, rules, told=both)
    keeper.end(visit)
    if visit.transcript.ended not in ("left", "moves"):
        raise AudienceError(f"the visit broke off: {visit.transcript.ended}; what was before is transcript {keeper.id}")
    return visit


def _answer(visit: Visit, take_id: str, changes: Mapping[str, Choice], steerer: str) -> Answer:
    value, wishes = visit.value, tuple(visit.deeds.wishes)
    if value is None and steerer in ("gp", "random"):
        raise DescantError(
            f"{visit.transcript.visitor} answered nothing that can steer by {steerer}; the take {take_id} is kept"
        )
    return Answer(take_id, dict(changes), value, wishes)


def ratings_of(archive: Archive, take_id: str) -> tuple[float | None, ...]:
    """How the takes of an earlier run were rated, first to last; `take_id` is its last take.

    A round was answered by the first visit of the run's visitor to its take; the run's visitor is who was first to
    visit the first of them. Visits that are part of a study are none of it. So no later visit changes anything.

    Raises
    ------
    AudienceError
        If none of them was.
    """
    takes: list[str] = []
    at: str | None = archive.take(take_id).id
    while at is not None:
        takes.insert(0, at)
        at = next((parent.take_id for parent in archive.take(at).parents if parent.relation == "steered"), None)
    visits = [_outside(archive, take) for take in takes]
    visitor = next((one[0].visitor for one in visits if one), None)
    found = [next((visit.value for visit in one if visit.visitor == visitor), None) for one in visits]
    if all(value is None for value in found):
        raise AudienceError(f"take {take_id}: nobody rated it, nor what it came from: give the last take of a run")
    return tuple(found)


def _outside(archive: Archive, take_id: str) -> list[VisitRecord]:
    """The visits to a take that are no part of a study, oldest first."""
    rows = archive.visiting.transcripts(take=take_id, limit=None)
    studied = {row.id for row in rows if row.experiment_id is not None}
    return [visit for visit in reversed(archive.visits(take_id)) if visit.transcript_id not in studied]
