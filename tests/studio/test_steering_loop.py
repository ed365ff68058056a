"""The loop tells its steerer what was made and how that was rated, and nothing else steers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.archive import Archive
from pieces.piece import find_piece
from studio.audience.attending import steering_value
from studio.audience.loop import Round, Steered, ratings_of, steer
from studio.audience.simple import ScriptedVisitor
from studio.audience.steerers import Answer, appoint
from studio.audience.visitor import AudienceError, Decision, Question
from tests.studio.experiment.studying import write_piece

RATINGS = (3, 9, 1, 6)


class Rater(ScriptedVisitor):
    """Listens once, and rates each visit as it is told to."""

    def __init__(self) -> None:
        super().__init__(())
        self._ratings = iter(RATINGS)

    def begin(self, instruction: str, seed: int) -> None:
        self._commands = ("go 0", "listen on", f"rate {next(self._ratings)}", "leave")
        super().begin(instruction, seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Archive, Steered, list[Round]]]:
    folder: Path = tmp_path_factory.mktemp("loop")
    write_piece(folder, "piece")
    piece, base = find_piece(str(folder / "piece.toml"))
    steered = Steered(str(folder / "piece.toml"), piece, base, "gp", seed=2)
    with Archive.open(folder / "archive.db") as archive:
        yield archive, steered, list(steer(archive, steered, Rater(), len(RATINGS)))


def test_every_proposal_is_what_the_steerer_makes_of_what_the_archive_holds(
    run: tuple[Archive, Steered, list[Round]],
) -> None:
    archive, steered, rounds = run
    steerer = appoint("gp", steered.piece, steered.seed, steered.base)
    proposals = {proposal.id: proposal for proposal in archive.proposals()}
    history: list[Answer] = []
    for one, rating in zip(rounds, RATINGS, strict=True):
        take = archive.take(one.take_id)
        changes = dict(proposals[take.proposal_id].changes) if take.proposal_id else {}
        assert take.piece_hash == steered.piece.with_values(changes).hash
        (visit,) = archive.visits(one.take_id)
        assert visit.value == visit.rating == rating / 10
        history.append(Answer(one.take_id, changes, visit.value))
        assert one.proposal == steerer.propose(history)
    assert len({str(one.proposal.changes) for one in rounds if one.proposal}) == len(RATINGS), "it does move"


def test_the_ratings_of_a_run_are_those_it_was_steered_by(run: tuple[Archive, Steered, list[Round]]) -> None:
    archive, _, rounds = run
    assert ratings_of(archive, rounds[-1].take_id) == tuple(rating / 10 for rating in RATINGS)
    assert ratings_of(archive, rounds[1].take_id) == (0.3, 0.9)


def test_a_rating_steers_where_there_is_one_and_progress_only_where_there_is_none() -> None:
    assert steering_value(0.9, 0.1) == 0.9
    assert steering_value(0.0, 0.8) == 0.0
    assert [steering_value(None, progress) for progress in (0.4, -0.2, 1.7, None)] == [0.4, 0.0, 1.0, None]


def test_who_cannot_go_on_ends_the_run_and_what_was_before_is_kept(
    run: tuple[Archive, Steered, list[Round]],
) -> None:
    class Gone(Rater):
        def decide(self, question: Question) -> Decision:
            if question.about == "rate":
                raise AudienceError("nobody answers")
            return super().decide(question)

    archive, steered, _ = run
    before = len(archive.takes())
    with pytest.raises(AudienceError, match="the visit broke off: nobody answers; what was before is transcript"):
        list(steer(archive, steered, Gone(), 3))
    assert len(archive.takes()) == before + 1
    (visit,) = archive.visits(archive.takes()[0].id)
    kept = archive.visiting.transcript(visit.transcript_id or "")
    assert kept.ended == "nobody answers"
    assert [turn.command for turn in kept.turns][-1] == "listen on"
