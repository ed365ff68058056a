"""The loop: a take, its artefact, a visit, a proposal, the next take.

What the visitor gets is the artefact and nothing else; what the steerer gets is what visitors answered. All of it is
in the archive, so that a proposal can be made again from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from studio.audience.proposal import Answer, Converse, Proposal, Steerer
from studio.audience.rooms import Rules
from studio.audience.steerers import appoint
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
    part_of : (str, int), optional
        The experiment and the trial that its visits are a part of. Its takes are scratch until they were attended, so
        that one that a crash left behind goes by itself.
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
    part_of: tuple[str, int] | None = None


@dataclass(frozen=True)
class Round:
    """One turn of the loop: a take, what its audience answered, and what is proposed next; None: nothing more.

    `answer` is what the steerer was told of it.
    """

    number: int
    take_id: str
    visit: Visit
    proposal: Proposal | None
    answer: Answer

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
            "transcript": self.visit.id,
            "value": self.answer.value,
            "changes": dict(self.answer.changes),
            "next": dict(self.proposal.changes) if self.proposal else None,
            "reason": self.proposal.reason if self.proposal else None,
        }


def steer(
    archive: Archive,
    steered: Steered,
    visitor: Visitor,
    rounds: int,
    progress: Progress = silent,
    before: Sequence[Answer] = (),
) -> Iterator[Round]:
    """Run the loop, a round at a time.

    Round 1 performs the piece as it is written; every later round performs what was proposed from all answers so far.

    Parameters
    ----------
    before : sequence of Answer
        Of the rounds that are over, where a run goes on that was broken off: as a proposal is a function of seed and
        answers, it goes on as it would have.

    Raises
    ------
    DescantError
        On an unknown steerer, when a take fails or a visit breaks off; earlier rounds are kept.
    """
    gallery, answers = Gallery(archive, progress), list(before)
    steerer = _appointed(archive, steered, gallery, answers, progress)
    changes: Mapping[str, Choice] = {}
    origin = Origin()
    if answers:
        proposal = steerer.propose(answers)
        if proposal is None:
            return
        changes, origin = proposal.changes, _follows(archive, answers[-1].take, proposal, len(answers), again=True)
    for number in range(len(answers) + 1, rounds + 1):
        planned = plan(steered.name, steered.piece.with_values(changes), steered.base)
        kept = "scratch" if steered.part_of else "kept"
        take_id = compose(archive, planned, steered.seed, origin=origin, retention=kept, progress=progress)  # type: ignore[arg-type]
        gallery.room(take_id, steered.seed)
        progress("attend", 0, 0)

        def told(turn: Turn) -> None:
            progress("attend", turn.number, 0)

        visit = attended(archive, gallery, [take_id], visitor, steered.seed, steered.rules, told, steered.part_of)
        archive.retain(take_id, "kept")
        answers.append(_answer(visit, take_id, changes, steered.steerer))
        proposal = steerer.propose(answers)
        yield Round(number, take_id, visit, proposal, answers[-1])
        if proposal is None:
            return
        changes, origin = proposal.changes, _follows(archive, take_id, proposal, number)


def _appointed(
    archive: Archive, steered: Steered, gallery: Gallery, answers: Sequence[Answer], progress: Progress
) -> Steerer:
    """The steerer, and how it tries a change before it proposes it: no take of a trial is kept."""
    trials: dict[str, Artefact] = {}

    def tried(changes: Mapping[str, Choice]) -> Artefact:
        piece = shortened(steered.piece.with_values(changes), TRIED_S)
        progress("try", len(trials), 0)
        if piece.hash not in trials:
            planned, origin = plan(steered.name, piece, steered.base), Origin(((answers[-1].take, None, "tried"),))
            try:
                take_id = compose(archive, planned, steered.seed, origin=origin, retention="scratch")
                trials[piece.hash] = gallery.artefact(take_id)
            finally:
                _forget_tries(archive, answers[-1].take)
        return trials[piece.hash]

    return appoint(
        steered.steerer,
        steered.piece,
        steered.seed,
        steered.base,
        recorded=steered.yoked,
        whose=steered.whose,
        try_=tried,
        converse=steered.converse,
    )


def _forget_tries(archive: Archive, take_id: str) -> None:
    """Discard what was tried after a take, and what an earlier run that was killed had tried."""
    for child, parent in archive.family(take_id).links:
        if parent.take_id == take_id and parent.relation == "tried" and archive.take(child).status != "running":
            archive.discard(child)


def _follows(archive: Archive, take_id: str, proposal: Proposal, number: int, again: bool = False) -> Origin:
    """Where the take after a take comes from; the proposal is kept, and where it was made before it is that one."""
    from db.archive import ProposalRecord

    new = ProposalRecord(**proposal.model_dump(exclude={"point"}), point=proposal.point, round=number)
    kept = archive.proposals(proposal.steerer) if again and proposal.parents else []
    alike = (one.id for one in kept if (one.round, [*one.parents]) == (number, [*new.parents]))
    return Origin(((take_id, None, "steered"),), next(alike, None) or archive.add_proposal(new))


def attended(
    archive: Archive,
    gallery: Gallery,
    takes: list[str],
    visitor: Visitor,
    seed: int,
    rules: Rules | None = None,
    told: Callable[[Turn], None] = lambda turn: None,
    part_of: tuple[str, int] | None = None,
    then: Callable[[Visit], Visit] = lambda visit: visit,
) -> Visit:
    """A visit to some takes, kept in the archive; `told` every turn as it happens; `part_of` an experiment's trial.

    Parameters
    ----------
    then : callable
        What is done with the visitor when it has left well, before the visit is kept.

    Raises
    ------
    AudienceError
        If it broke off; what was before that is kept.
    KeyboardInterrupt
        With the id of the transcript, of which what was before is kept.
    """
    rules = rules or replace(Rules(), register=visitor.register)
    rooms = [gallery.room(take, seed) for take in takes]
    keeper = Keeper(archive, takes, visitor, seed, rules, *(part_of or ()))

    def both(turn: Turn) -> None:
        keeper.told(turn)
        told(turn)

    try:
        visit = replace(attend(rooms, visitor, seed, rules, told=both), id=keeper.id)
        if visit.transcript.ended in ("left", "moves"):
            visit = then(visit)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(keeper.id) from None
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
