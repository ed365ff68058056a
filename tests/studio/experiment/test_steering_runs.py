"""Steering in a study: runs are trials, which are spent, killed and resumed, and judged by fresh visitors."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from db.archive import Archive
from studio.experiment.attendance import Attendance
from studio.experiment.design import read
from studio.experiment.freezing import deviate, freeze
from studio.experiment.running import run
from studio.experiment.trials import trials
from tests.studio.experiment.studying import SECRET, found, running, share, study, waiting, write_piece

pytestmark = pytest.mark.usefixtures("visitors")


def steering(folder: Path, **replaced: str) -> tuple[Path, str]:
    """A study of steering, frozen: who steers likes what rises far."""
    write_piece(folder)
    more = {
        "works": "",
        "arms": 'arms = { neutral = "" }',
        "audiences": '[[audiences]]\nname = "who steers"\nvisitor = "hearer"\noptions = { rates = true }\n'
        '[[audiences]]\nname = "who does not"\nvisitor = "random"',
        "tasks": '[[tasks]]\ntask = "steer"\npiece = "secret.toml"\naudience = "who steers"\nruns = 1\nrounds = 4',
        "analysis": '[analysis]\nprimary = ["steer/first"]',
    }
    path = study(folder, **{**more, **replaced})
    with Archive.open(folder / "a.db") as archive:
        return path, freeze(archive, path, SECRET).id


@pytest.fixture(scope="module")
def steered(tmp_path_factory) -> tuple[Path, str]:
    """A folder with a study of steering that nobody disturbed, and its id."""
    folder = tmp_path_factory.mktemp("steered")
    path, study_id = steering(folder)
    ran = run(str(folder / "a.db"), path, 1)
    assert (ran.left, ran.failed) == (0, 0), [row["error"] for row in found(folder, study_id)]
    return folder, study_id


def test_steering_is_judged_by_fresh_visitors(steered):
    """What came of the steering is preferred to where it began, by who likes what was steered to."""
    folder, study_id = steered
    rows = found(folder, study_id)
    runs, asked = rows[:4], rows[4:]
    assert [(row["task"], row["condition"]) for row in runs] == [
        ("run", name) for name in ("donor", "gp", "random", "yoked")
    ]
    assert {row["excluded"] for row in runs} == {"a run of steering: its takes are what is judged"}
    assert len(asked) == 2 * 3 * 4
    assert {row["outcome"] for row in asked} == {"steer/first", "steer/random", "steer/yoked"}
    assert share(asked, audience="who steers", outcome="steer/first")[0] == 1.0
    part, number = share(asked, audience="who does not")
    assert abs(part - 0.5) <= 1.5 / number**0.5
    with Archive.open(folder / "a.db") as archive:
        works = archive.studies.works(study_id)
        assert set(works) == {f"run 1/{name}" for name in ("first", "donor", "gp", "random", "yoked")}
        takes = {row["condition"]: [one["take"] for one in row["rounds"]] for row in runs}
        assert {name: ones[-1] for name, ones in takes.items()} == {name: works[f"run 1/{name}"] for name in takes}
        assert works["run 1/first"] == takes["gp"][0], "where the run that is judged began"
        steps = {n.partition("/")[2]: archive.take(t).controls["melody"]["step"] for n, t in works.items()}
        assert steps["gp"] > steps["first"] == 3.0
        made = archive.takes(limit=100)
        assert (len(made), {take.retention for take in made}) == (16, {"kept"})
        # All that deciding took is counted, and belongs to the study.
        told = [archive.visiting.transcript(t.id) for t in archive.visiting.transcripts(experiment=study_id, trial=1)]
        assert len(told) == 4
        decided = sum(len(turn.decisions) for one in told for turn in one.turns)
        assert runs[1]["tokens"] == 10 * decided > 0
        assert runs[1]["cost"] == 0.5 * decided
        assert runs[1]["seconds"] > 0
    assert run(str(folder / "a.db"), folder / "study.toml", 1).done == len(rows)
    with Archive.open(folder / "a.db") as archive:
        assert len(archive.takes(limit=100)) == len(made)


GATED = (
    '[[tasks]]\ntask = "steer"\npiece = "secret.toml"\naudience = "who steers"\nruns = 1\nrounds = 3\nsteerers = ["gp"]'
)


def test_a_run_of_steering_that_is_killed_or_spent_goes_on_at_the_last_round(steered, tmp_path, visitors):
    """It is killed in the midst of its second visit, and ended after it by the budget; and ends as the undisturbed."""
    gate = tmp_path / "gate"
    gate.touch()
    options = f'{{ rates = true, gate = "{gate}", after = 1 }}'
    audience = f'[[audiences]]\nname = "who steers"\nvisitor = "hearer"\noptions = {options}'
    path, study_id = steering(tmp_path, audiences=audience, tasks=GATED, more="[budget]\nmax_tokens = 100")
    child = running(visitors, tmp_path, path)
    waiting(tmp_path, 1)
    with Archive.open(tmp_path / "a.db") as archive:
        (before,) = archive.studies.trials(study_id)
        assert (before.status, len(before.outcome["rounds"])) == ("running", 1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    gate.unlink()
    ran = run(str(tmp_path / "a.db"), path, 1)
    assert (ran.done, ran.failed, ran.left) == (0, 0, 5)
    assert ran.stopped.startswith("budget.max_tokens = 100 is reached")
    path.write_text(path.read_text().replace("max_tokens = 100", "max_tokens = 10_000"))
    with Archive.open(tmp_path / "a.db") as archive:
        (spent,) = archive.studies.trials(study_id)
        assert spent.outcome["rounds"][:1] == before.outcome["rounds"]
        assert len(spent.outcome["rounds"]) == 2, "ended between two rounds"
        deviate(archive, path, "Ada", "the money came")
    ran = run(str(tmp_path / "a.db"), path, 1)
    assert (ran.done, ran.failed, ran.left) == (5, 0, 0)
    row = found(tmp_path, study_id)[0]
    assert (row["attempts"], row["rounds"][:2]) == (3, spent.outcome["rounds"])
    with Archive.open(tmp_path / "a.db") as archive:
        takes = [archive.take(one["take"]) for one in row["rounds"]]
        parents = [[parent.take_id for parent in take.parents] for take in takes]
        assert parents == [[], *([take.id] for take in takes[:-1])]
        left = [take for take in archive.takes(limit=100) if take.id not in {one.id for one in takes}]
        assert [take.retention for take in left] == ["scratch"], "what was made for the visit that was killed"
        assert len(archive.proposals()) == len(takes) == 3, "each proposal is there once"
        told = archive.visiting.transcripts(experiment=study_id, trial=0)
        assert sorted(str(one.ended) for one in told) == ["interrupted", *["left"] * 3]
        decided = sum(len(t.decisions) for one in told for t in archive.visiting.transcript(one.id).turns)
        assert row["tokens"] == 10 * decided, "that of the killed visit too"
    whole = next(row for row in found(*steered) if row["condition"] == "gp")
    names = ("changes", "value", "wishes")
    told, expected = ([[one[n] for n in names] for one in of["rounds"]] for of in (row, whole))
    assert told == expected[:3]


def test_what_goes_by_a_run_waits_while_another_process_has_it(tmp_path):
    """Neither the run nor its choices are begun, and so none of them fails."""
    path, study_id = steering(tmp_path)
    design = read(path)
    with Archive.open(tmp_path / "a.db") as archive:
        planned = trials(design, SECRET)
        donor, yoked = (next(t for t in planned if t.condition == name) for name in ("donor", "yoked"))
        choice = next(t for t in planned if t.task == "steer" and t.condition == "yoked")
        assert archive.studies.claim(study_id, donor.number, donor.to_json(), keep=True)
        attendance = Attendance(archive, study_id, design, {}, base=tmp_path)
        assert [attendance.attempt(trial) for trial in (yoked, choice)] == [("taken", {})] * 2
        assert [one.number for one in archive.studies.trials(study_id)] == [donor.number]


def test_a_run_of_steering_that_fails_is_marked_and_the_rest_goes_on(tmp_path):
    steer = '[[tasks]]\ntask = "steer"\npiece = "secret.toml"\naudience = "who steers"\n'
    steer += 'steerers = ["gp", "yoked"]\nruns = 1\nrounds = 2\n'
    audiences = "".join(
        f'[[audiences]]\nname = "{name}"\nvisitor = "{visitor}"\noptions = {{ rates = true }}\n'
        for name, visitor in (("who steers", "hearer"), ("who is gone", "odd:gone"))
    )
    prefer = '[[tasks]]\ntask = "prefer"\nconditions = ["shuffled"]'
    works = '[[works]]\nname = "one"\npiece = "secret.toml"'
    path, study_id = steering(tmp_path, audiences=audiences, works=works, tasks=steer + prefer)
    ran = run(str(tmp_path / "a.db"), path, 1)
    assert ran.left == 0
    rows = found(tmp_path, study_id)
    lines = {row["condition"]: row["error"] for row in rows if row["task"] == "run"}
    donor = "steering by donor, run 1, round 1: odd:gone: no such model"
    assert lines == {
        "donor": donor,
        "gp": "",
        "yoked": f"steering by yoked, run 1, round 1: it goes by the ratings of a run that is not over: {donor}",
    }
    asked = [row for row in rows if row["task"] in ("steer", "prefer") and row["audience"] == "who steers"]
    went = {row["outcome"]: (row["status"], row["error"]) for row in asked}
    assert went == {
        "steer/first": ("done", ""),
        "steer/yoked": ("failed", lines["yoked"]),
        "prefer/shuffled": ("done", ""),
    }
