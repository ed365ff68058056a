"""The loop tells its steerer what was made and how that was rated, and nothing else steers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from db.archive import Archive
from pieces.piece import find_piece
from studio.audience.account import steered as told_of
from studio.audience.attending import steering_value
from studio.audience.gallery import Gallery
from studio.audience.loop import Round, Steered, attended, ratings_of, steer
from studio.audience.proposal import Answer
from studio.audience.rooms import Room
from studio.audience.simple import ScriptedVisitor
from studio.audience.steerers import appoint
from studio.audience.visitor import AudienceError, Decision, Question, Report
from studio.catalogue import changed, round_text
from studio.compose import Origin, compose
from studio.plan import plan
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


def test_a_run_ends_with_its_best_round_and_names_what_was_turned_whole(
    run: tuple[Archive, Steered, list[Round]],
) -> None:
    _, _, rounds = run
    told = told_of(rounds, "piece.toml")
    assert f"best: round 2, take {rounds[1].take_id}" in told
    assert f"descant play {rounds[1].take_id}" in told
    assert f"--yoked-to {rounds[-1].take_id}" in told
    for one, rating in zip(rounds, RATINGS, strict=True):
        (line,) = [line for line in told.splitlines() if line.startswith(f"{one.number} ")]
        assert f"{rating / 10:.3f}" in line
        assert one.take_id in line
        assert line.endswith(changed(one.answer.changes) or "as written")
        assert all(path in line for path in one.answer.changes)
        assert f"rating {rating} of 10" in round_text(one)
    assert any("parts.melody." in path for path in rounds[-1].answer.changes), "of which part"


class Sorry(Rater):
    """Measures that it knows less than before, and rates nothing."""

    rates = False

    def begin(self, instruction: str, seed: int) -> None:
        super().begin(instruction, seed)
        self._commands = ("go 0", "listen on", "wish higher", "leave")

    def report(self) -> Report:
        return Report(progress=-0.25)


def test_progress_below_0_is_said_to_count_as_0(run: tuple[Archive, Steered, list[Round]]) -> None:
    archive, what, _ = run
    (one,) = steer(archive, what, Sorry(), 1)
    assert one.answer.value == 0.0
    assert "progress -0.250" in round_text(one)
    assert "counts as 0" in round_text(one)
    assert "no round was better" in told_of([one], "piece.toml")


def test_nothing_that_was_tried_stays(
    run: tuple[Archive, Steered, list[Round]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what fails while it is tried, nor what a run left that was killed."""
    archive, what, _ = run
    monkeypatch.setattr("studio.audience.wishes.MOST", 1)
    performed: list[str] = []

    def spied(*given: object, **more: object) -> str:
        made = compose(*given, **more)  # type: ignore[arg-type]
        origin: Origin = more["origin"]  # type: ignore[assignment]
        performed.extend(made for _, _, relation in origin.parents if relation == "tried")
        if not performed and not origin.parents:  # what a killed run had left
            tries.append(compose(archive, short, 3, origin=Origin(((made, None, "tried"),)), retention="scratch"))
        if len(performed) == 2:
            raise AudienceError("it cannot be performed")
        return made

    short, tries = plan(what.name, what.piece, what.base), []  # type: ignore[var-annotated]
    before = {row.id for row in archive.takes()}
    monkeypatch.setattr("studio.audience.loop.compose", spied)
    (one,) = steer(archive, replace(what, steerer="wish"), Sorry(), 1)
    assert one.proposal is not None
    assert len(performed) > 2
    assert tries
    assert {row.id for row in archive.takes()} - before == {one.take_id}
    assert archive.take("latest").id == one.take_id


def test_who_stops_a_visit_is_told_which_transcript_was_kept_and_an_empty_one_is_not_begun(
    run: tuple[Archive, Steered, list[Round]],
) -> None:
    class Stopped(Rater):
        def decide(self, question: Question) -> Decision:
            if question.about == "rate":
                raise KeyboardInterrupt
            return super().decide(question)

    class Slow(Gallery):
        def room(self, take_id: str, seed: int = 0) -> Room:
            raise KeyboardInterrupt

    archive, _, rounds = run
    before = {row.id for row in archive.visiting.transcripts(limit=None)}
    with pytest.raises(KeyboardInterrupt) as stop:
        attended(archive, Gallery(archive), [rounds[0].take_id], Stopped(), 1)
    kept = archive.visiting.transcript(stop.value.args[0])
    assert kept.turns[-1].command == "listen on"
    assert archive.visits(rounds[0].take_id)[-1].transcript_id != kept.id
    with pytest.raises(KeyboardInterrupt) as early:
        attended(archive, Slow(archive), [rounds[0].take_id], Rater(), 1)
    assert not early.value.args
    assert {row.id for row in archive.visiting.transcripts(limit=None)} - before == {kept.id}
