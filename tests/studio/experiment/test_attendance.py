"""Trials, one after the other in this process; and that nothing tells a visitor, or a later run, what it must not."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from db.archive import Archive, VisitRecord
from db.audience import NewTranscript, TranscriptRecord
from pieces.piece import find_piece
from studio.audience.gallery import Gallery
from studio.audience.loop import Steered, ratings_of, steer
from studio.audience.loop import attended as later
from studio.audience.visitor import AudienceError, invite
from studio.compose import Origin, compose
from studio.experiment.attendance import Attendance
from studio.experiment.design import read
from studio.experiment.freezing import design_of, freeze, secret_of
from studio.experiment.outcomes import outcomes
from studio.experiment.trials import trials
from studio.experiment.works import make
from studio.plan import plan
from tests.serving import CHAT, Asked, completion, options_of, says, standin, status
from tests.studio.experiment.studying import SECRET, study, write_piece, write_visitors


@pytest.fixture(scope="module", autouse=True)
def visitors(tmp_path_factory):
    """The visitors of these tests are installed."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(write_visitors(tmp_path_factory.mktemp("visitors"))))
    patch.setenv("DESCANT_HOME", str(tmp_path_factory.mktemp("home")))
    yield
    patch.undo()
    sys.modules.pop("hearing", None)


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with a piece."""
    folder = tmp_path / "studies"
    folder.mkdir()
    write_piece(folder)
    return folder


def mirroring(place: Path, **replaced: str) -> str:
    """A study of mirrors, frozen, whose works are made; returns its id."""
    path = study(place, analysis='[analysis]\nprimary = ["mirror"]', **replaced)
    with Archive.open(place / "a.db") as archive:
        study_id = freeze(archive, path, SECRET).id
        make(archive, study_id, read(path), place)
        return study_id


def attended(place: Path, study_id: str, wanted: str = "", turned: bool = False) -> list[TranscriptRecord]:
    """The trials of a study are run here, in their order or turned round; returns their transcripts, by number."""
    with Archive.open(place / "a.db") as archive:
        record, design = design_of(archive, study_id)
        attendance = Attendance(archive, study_id, design, archive.studies.works(study_id))
        some = [t for t in trials(design, secret_of(record)) if wanted in ("", t.audience)]
        for trial in some[::-1] if turned else some:
            assert attendance.attempt(trial)[0] == "done", [t.error for t in archive.studies.trials(study_id)]
        rows = archive.visiting.transcripts(experiment=study_id, limit=None)
        return [archive.visiting.transcript(row.id) for row in sorted(rows, key=lambda row: row.trial)]


def test_who_permutes_its_own_seed_does_not_find_itself_in_a_mirror(place):
    audiences = '[[audiences]]\nname = "spy"\nvisitor = "odd:permuting"\noptions = { taste = 1 }\n'
    audiences += '[[audiences]]\nname = "two"\nvisitor = "hearer"\noptions = { taste = 2 }'
    more = {"arms": 'arms = { neutral = "" }', "rest": "moments = 4\nrepeats = 40"}
    study_id = mirroring(place, audiences=audiences, tasks='[[tasks]]\ntask = "mirror"', **more)
    assert len(attended(place, study_id, "spy")) == 80
    with Archive.open(place / "a.db") as archive:
        right = [row["target"] for row in outcomes(archive, study_id)]
    part, count = sum(right) / len(right), len(right)
    assert abs(part - 0.5) < 4.5 * 0.5 / count**0.5


def test_a_trial_is_the_same_whichever_was_before(place, tmp_path):
    """Seeds, names, curves of others and answers are those of the trial, in whatever order and process it is run."""
    audiences = "\n".join(
        f'[[audiences]]\nname = "taste {n}"\nvisitor = "hearer"\noptions = {{ taste = {n} }}' for n in (3, 4)
    )
    study_id = mirroring(
        place, audiences=audiences,
        tasks='[[tasks]]\ntask = "mirror"\n[[tasks]]\ntask = "prefer"\nconditions = ["blind"]',
        arms='arms = { neutral = "" }', rest="moments = 4\nrepeats = 3",
    )  # fmt: skip
    told = []
    for name in ("forwards", "backwards"):
        shutil.copytree(place, tmp_path / name)
        told.append(attended(tmp_path / name, study_id, turned=name == "backwards"))
    assert len(told[0]) == 60
    assert len({transcript.seed for transcript in told[0]}) == 60
    assert [(t.trial, t.seed, t.turns) for t in told[0]] == [(t.trial, t.seed, t.turns) for t in told[1]]
    curves = {t.turns[-2].observation.partition("\n")[2] for t in told[0] if "Mirror" in t.turns[-2].observation}
    assert len(curves) > 2, "and yet they differ"


def test_rooms_of_a_visit_tell_neither_by_length_nor_by_controls_which_work_is_in_them(place):
    """One work is longer, and only it has a control that may be touched."""
    text, code = (place / "secret.toml").read_text(), (place / "secret.py").read_text()
    (place / "still.toml").write_text(text.replace("secret", "still").replace("ticks = 16", "ticks = 24"))
    (place / "still.py").write_text(code.replace("(0.0, 6.0))", "(0.0, 6.0), live=False)").replace("secret", "still"))
    works = "".join(f'[[works]]\nname = "{name}"\npiece = "{name}.toml"\n' for name in ("secret", "still"))
    visit = '[[tasks]]\ntask = "visit"\nmoves = 9\n[[tasks]]\ntask = "prefer"\nconditions = ["shuffled"]'
    path = study(place, works=works, tasks=visit, analysis='[analysis]\nprimary = ["visit/idle"]')
    with Archive.open(place / "a.db") as archive:
        study_id = freeze(archive, path, SECRET).id
        made = make(archive, study_id, read(path), place)
        gallery = Gallery(archive)
        whole = [gallery.room(take) for take in made.values()]
        assert [(round(room.artefact.duration * 2), room.controls) for room in whole] == [(4, 1), (6, 0)]
        attendance = Attendance(archive, study_id, read(path), made)
        planned = trials(read(path), SECRET)
        for trial in (t for t in planned if t.task == "prefer"):
            comparison = attendance.comparison(trial)
            own, other = (work.lines("tokens") for work in (comparison.as_is, comparison.other))
            assert sorted(own) == sorted(other), "what is shuffled is told of the same moments, without any seam"
            assert own != other
        game, _ = attendance.game(replace(next(t for t in planned if t.task == "visit"), register="prose"))
        _, info = game.reset(seed=1)
        told = []
        for name in info["arguments"]["go"]:
            text, *_, inside = game.step(f"go {name}")
            told.append((text.replace(name, "NAME"), inside["arguments"]))
            game.step("leave")
    assert told[0] == told[1]
    assert "4 moments" in told[0][0]


def uncounted(to: BaseHTTPRequestHandler, asked: Asked) -> None:
    """The first option, and not a word of tokens."""
    letter = min(options_of(asked))
    status(200, {n: v for n, v in completion(json.dumps({"choice": letter})).items() if n != "usage"})(to, asked)


def test_what_a_server_took_counts_whether_it_answered_or_not(place, monkeypatch):
    """One refuses, and says what that took; one does not count, so that a budget of tokens could never end it."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with (
        standin({CHAT: [says(None, refusal="no")]}) as refuses,
        standin({CHAT: [uncounted]}) as silent,
    ):
        audiences = "".join(
            f'[[audiences]]\nname = "{name}"\nvisitor = "openai:m@{one.url}"\n'
            'options = { way = "chat", retries = 0 }\n'
            for name, one in (("refuses", refuses), ("does not count", silent))
        )
        path = study(place, audiences=audiences, more="[budget]\nmax_tokens = 100_000", arms='arms = { neutral = "" }')
        with Archive.open(place / "a.db") as archive:
            study_id = freeze(archive, path, SECRET).id
            made = make(archive, study_id, read(path), place)
            attendance = Attendance(archive, study_id, read(path), made)
            went = {trial.number: attendance.attempt(trial) for trial in trials(read(path), SECRET)}
            rows = outcomes(archive, study_id)
            asked = len(silent.asked)
            games = study(
                place, head='descant = 1\nname = "games"\nseed = 1', audiences=audiences,
                rest="moments = 4\nrepeats = 2", more="[budget]\nmax_tokens = 100_000", arms='arms = { neutral = "" }',
                tasks='[[tasks]]\ntask = "visit"\nmoves = 2', analysis='[analysis]\nprimary = ["visit/idle"]',
            )  # fmt: skip
            games_id = freeze(archive, games, SECRET).id
            attendance = Attendance(archive, games_id, read(games), made)
            visits = [trial for trial in trials(read(games), SECRET) if trial.audience == "does not count"]
            assert [attendance.attempt(trial)[0] for trial in visits[:2]] == ["done", "failed"]
    refused = [row for row in rows if row["audience"] == "refuses"]
    assert {row["status"] for row in refused} == {"failed"}
    assert all(row["tokens"] > 0 and row["tokens"] == went[row["number"]][1]["tokens"] for row in refused)
    first, *others = [row for row in rows if row["audience"] == "does not count"]
    assert first["status"] == "done"
    assert {row["status"] for row in others} == {"failed"}
    assert "it does not say how many tokens it takes" in others[0]["error"]
    assert asked <= 4, "of 8 trials one: it is tried out, and asked in two orders"


def test_ratings_of_a_run_are_those_of_its_own_visits(place, tmp_path):
    """Whoever attends its takes later, also the same visitor, changes nothing of what the run was told."""
    piece, base = find_piece(str(place / "secret.toml"))
    with Archive.open(place / "a.db") as archive:
        what = Steered("secret", piece, base, "random")
        rounds = list(steer(archive, what, invite("hearer", tmp_path, rates=True), 3))
        own = tuple(one.visit.value for one in rounds)
        assert len(own) == 3
        assert all(own)
        assert ratings_of(archive, rounds[-1].take_id) == own
        deaf, gallery = invite("hearer", tmp_path, rates=True), Gallery(archive)
        deaf.worth = lambda notes: 0
        for visitor in (invite("random", tmp_path), deaf):
            for one in rounds:
                later(archive, gallery, [one.take_id], visitor, 5)
        assert [archive.visits(one.take_id)[0].value for one in rounds] == [0.0] * 3
        assert ratings_of(archive, rounds[-1].take_id) == own
        assert ratings_of(archive, rounds[1].take_id) == own[:2]
        # A round that the run did not come to is answered by nobody else.
        origin = Origin(((rounds[-1].take_id, None, "steered"),))
        last = compose(archive, plan("secret", piece, base), 0, origin=origin)
        later(archive, gallery, [last], invite("odd:rating", tmp_path, rates=True), 5)
        assert archive.visits(last)[0].value is not None
        assert ratings_of(archive, last) == (*own, None)


def test_visits_of_a_study_are_no_ratings_of_a_run(place):
    with Archive.open(place / "a.db") as archive:
        path = study(place)
        study_id = freeze(archive, path, SECRET).id
        make(archive, study_id, read(path), place)
        take = archive.studies.works(study_id)["first one"]
        assert archive.studies.claim(study_id, 99, {})
        part = NewTranscript(visitor="hearer", seed=1, experiment_id=study_id, trial=99)
        for transcript, value in ((part, 0.9), (NewTranscript(visitor="hearer", seed=1), 0.4)):
            if value < 0.5:
                with pytest.raises(AudienceError, match="nobody rated it"):
                    ratings_of(archive, take)
            at = archive.visiting.begin_transcript(transcript)
            archive.add_visit(
                VisitRecord(take_id=take, visitor="hearer", seed=1, value=value, rating=value, transcript_id=at, room=0)
            )
            archive.visiting.end_transcript(at, "left")
        assert ratings_of(archive, take) == (0.4,)
