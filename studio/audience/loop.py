"""The smallest honest loop: a take, its artefact, a visit, a proposal, the next take.

What the visitor gets is the artefact and nothing else; what the steerer gets is what visitors answered. All of it is
in the archive, so that a proposal can be made again from what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from pieces.piece import Piece
from studio import config
from studio.audience.steerers import Answer, KnobSteerer, Proposal
from studio.audience.visitor import Response, invite
from studio.compose import Origin, compose
from studio.perceive import artefact
from studio.plan import plan
from studio.rendering import Progress, silent

if TYPE_CHECKING:
    from db.archive import Archive, VisitRecord


@dataclass(frozen=True)
class Round:
    """One turn of the loop: a take, what its audience answered, and what is proposed next."""

    number: int
    take_id: str
    response: Response
    proposal: Proposal

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "round": self.number,
            "take": self.take_id,
            "visitor": self.response.visitor,
            "progress": self.response.progress,
            "rating": self.response.rating,
            "verdict": self.response.verdict,
            "next": dict(self.proposal.changes),
            "reason": self.proposal.reason,
        }


def steer(
    archive: Archive,
    name: str,
    piece: Piece,
    base: Path,
    audience: str,
    steerer: str,
    rounds: int,
    seed: int,
    progress: Progress = silent,
) -> Iterator[Round]:
    """Run the loop, a round at a time.

    Round 1 performs the piece as it is written; every later round performs what was proposed from all answers so far.
    Takes and visits use the same seed in every round, so that only the proposal makes them differ.

    Raises
    ------
    DescantError
        On an unknown audience or steerer, or when a take fails; earlier rounds are kept.
    """
    from db.archive import ProposalRecord

    visitor = invite(audience, config.home() / "cache")
    knobs = KnobSteerer(piece, steerer, seed, base)
    plan(name, piece, base)
    answers: list[Answer] = []
    current, origin = piece, Origin()
    for number in range(1, rounds + 1):
        take_id = compose(archive, plan(name, current, base), seed, origin=origin, progress=progress)
        progress("attend", 0, 0)
        response = visitor.visit(artefact(archive, take_id), seed)
        archive.add_visit(_visit(take_id, response))
        value = response.steering_value
        if value is None:
            raise DescantError(f"{audience} answered nothing that can steer; the take {take_id} is kept")
        answers.append(Answer(knobs.point_of(current), value, take_id))
        proposal = knobs.propose(answers)
        proposal_id = archive.add_proposal(
            ProposalRecord(
                steerer=steerer,
                seed=seed,
                round=number,
                changes=proposal.changes,
                point=proposal.point,
                reason=proposal.reason,
                parents=proposal.parents,
            )
        )
        yield Round(number, take_id, response, proposal)
        current = piece.with_values(proposal.changes)
        origin = Origin(((take_id, None, "steered"),), proposal_id)


def _visit(take_id: str, response: Response) -> VisitRecord:
    from db.archive import VisitRecord

    return VisitRecord(
        take_id=take_id,
        visitor=response.visitor,
        seed=response.seed,
        progress=response.progress,
        rating=response.rating,
        value=response.steering_value,
        words=response.words or "",
        rows=[row.model_dump() for row in response.moments],
        verdict=response.verdict,
        details={**response.details, "tokens_sha256": response.tokens_sha256},
    )
