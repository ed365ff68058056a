"""Studies from a file to finished trials, in processes of their own that may be killed at any time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from db.archive import Archive
from studio.experiment.design import Budget, Stopping, StudyError, read
from studio.experiment.freezing import deviate, freeze, secret_of
from studio.experiment.running import run
from studio.experiment.spending import Spent
from studio.experiment.trials import Trial, trials
from studio.experiment.works import make
from tests.studio.experiment.studying import SECRET, found, running, share, study, waiting, write_piece

pytestmark = pytest.mark.usefixtures("visitors")

ALL = '[[tasks]]\ntask = "prefer"\nconditions = ["shuffled", "sham", "blind", "as is"]\n'
ALL += '[[tasks]]\ntask = "same"\nlevels = [0.8]\nconditions = ["blind"]'
TWO = '[[audiences]]\nname = "who hears"\nvisitor = "hearer"\n[[audiences]]\nname = "who does not"\nvisitor = "random"'
ODD = "\n".join(
    f'[[audiences]]\nname = "{how}"\nvisitor = "odd:{how}"' for how in ("down", "babbling", "buggy", "gone")
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with an archive, a piece, and a study whose works are made."""
    folder = tmp_path_factory.mktemp("studies")
    write_piece(folder)
    with Archive.open(folder / "a.db") as archive:
        record = freeze(archive, study(folder), SECRET)
        made = make(archive, record.id, read(folder / "study.toml"), folder)
        assert make(archive, record.id, read(folder / "study.toml"), folder) == made
        assert [t.retention for t in archive.takes()] == ["kept"] * 2
    return folder


def begun(place: Path, **replaced: str) -> tuple[Path, str]:
    """A study of that folder, frozen; it attends the takes that were made."""
    with Archive.open(place / "a.db") as archive:
        made = archive.studies.works(archive.studies.experiments("test study")[-1].id)
        works = "\n".join(f'[[works]]\nname = "{name}"\ntake = "{take}"' for name, take in made.items())
        path = study(place, **{"works": works, **replaced})
        return path, freeze(archive, path, SECRET).id


def named(name: str) -> str:
    return f'descant = 1\nname = "{name}"\nseed = 1'


def whole(place: Path, path: Path, study_id: str) -> list[dict]:
    """Every trial of the design exactly once, each with one transcript; returns the outcomes."""
    rows = found(place, study_id)
    with Archive.open(place / "a.db", create=False) as archive:
        planned = trials(read(path), secret_of(archive.studies.experiment(study_id)))
    assert [row["number"] for row in rows] == list(range(len(planned)))
    for row, trial in zip(rows, planned, strict=True):
        given = {**trial.to_json(), "register": row["register"]}
        assert {name: row[name] for name in given} == given
    with Archive.open(place / "a.db", create=False) as archive:
        transcripts = archive.visiting.transcripts(experiment=study_id, limit=None)
        assert Counter(t.trial for t in transcripts) == dict.fromkeys(range(len(planned)), 1)
        assert archive.check().clean
        for row in transcripts[:5]:
            told = archive.visiting.transcript(row.id)
            assert len(told.turns) == 2 * (3 if planned[row.trial].task == "same" else 2) + 1
            assert told.turns[-1].decisions[0]["chosen"] == rows[row.trial]["chosen"]
            assert {visit.take_id for visit in archive.visits()} >= {work.take for work in read(path).works}
            texts = "\n".join([told.instruction, *(turn.observation for turn in told.turns)])
            secrets = ("secret", "first one", "other one", planned[row.trial].condition, planned[row.trial].arm)
            assert not [name for name in secrets if name in texts and name != "as is"]
            assert not [work.take for work in read(path).works if str(work.take)[-6:] in texts]
    return rows


def test_a_study_runs_to_its_end_and_who_hears_is_told_from_who_does_not(place):
    path, study_id = begun(place, head=named("to the end"), audiences=TWO, tasks=ALL, rest="moments = 4\nrepeats = 1")
    told: list[tuple[str, float, float]] = []
    ran = run(str(place / "a.db"), path, 1, lambda *at: told.append(at))
    count = len(trials(read(path)))
    assert (ran.done, ran.failed, ran.left, ran.stopped) == (count, 0, 0, "")
    assert [done for stage, done, total in told if stage == "trials"] == list(range(count + 1))
    rows = whole(place, path, study_id)
    for outcome in ("prefer/shuffled", "same/0.8"):
        assert share(rows, audience="who hears", outcome=outcome)[0] == 1.0
    for outcome in ("prefer/blind", "same/blind", "prefer/as is"):
        part, number = share(rows, audience="who hears", outcome=outcome)
        assert abs(part - 0.5) <= 1.5 / number**0.5, outcome
    part, number = share(rows, audience="who does not")
    assert abs(part - 0.5) <= 1.5 / number**0.5
    assert {row["register"] for row in rows if row["audience"] == "who hears"} == {"numbers"}
    assert all(row["tokens"] == 10 and row["cost"] == 0.5 for row in rows if row["audience"] == "who hears")
    assert all(row["seconds"] > 0 and row["attempts"] == 1 and not row["excluded"] for row in rows)
    assert all(0 <= row["p_target"] <= 1 and row["chance"] == 0.5 for row in rows)
    # There is nothing left to do.
    again = run(str(place / "a.db"), path)
    assert (again.done, again.left) == (count, 0)
    assert found(place, study_id) == rows


def test_killed_in_the_middle_it_goes_on_where_it_was(place, visitors, tmp_path):
    """Its processes are in the midst of trials when they are killed: nothing is lost, and nothing doubled."""
    gate = tmp_path / "gate"
    gate.touch()
    audiences = f'[[audiences]]\nname = "who hears"\nvisitor = "hearer"\noptions = {{ gate = "{gate}" }}\n'
    audiences += '[[audiences]]\nname = "who does not"\nvisitor = "random"'
    path, study_id = begun(
        place, head=named("killed"), audiences=audiences, more="[budget]\nworkers = 2",
        tasks='[[tasks]]\ntask = "prefer"\nconditions = ["shuffled", "blind"]',
    )  # fmt: skip
    assert len(trials(read(path))) == 64
    child = running(visitors, place, path)
    workers = waiting(tmp_path, 2)
    before = found(place, study_id)
    assert 10 <= len(before) < 62
    # One process and the one that hands out the trials; the other process must end by itself.
    os.kill(workers[0], signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    gate.unlink()
    with Archive.open(place / "a.db") as archive:
        assert len([t.number for t in archive.studies.trials(study_id) if t.lost]) == 2
    # Two that go on with it at once share what is left.
    children = [running(visitors, place, path) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    rows = whole(place, path, study_id)
    done = {row["number"] for row in before}
    assert [row for row in rows if row["number"] in done] == before
    assert Counter(row["attempts"] for row in rows) == {1: 62, 2: 2}


def test_a_process_that_dies_is_replaced_and_its_trial_fails_the_second_time(place, tmp_path):
    deaths = tmp_path / "deaths"
    deaths.write_text("3")
    audiences = f'[[audiences]]\nname = "dying"\nvisitor = "odd:dying"\noptions = {{ deaths = "{deaths}" }}'
    path, study_id = begun(place, head=named("dying"), audiences=audiences, arms='arms = { neutral = "" }')
    ran = run(str(place / "a.db"), path, 1)
    assert (ran.done, ran.failed, ran.left) == (7, 1, 0)
    rows = found(place, study_id)
    assert [row["attempts"] for row in rows] == [3, 2, 1, 1, 1, 1, 1, 1]
    assert rows[0]["error"] == "its process ended with code -9, twice"
    assert {row["status"] for row in rows[1:]} == {"done"}


def test_who_fails_is_marked_and_the_rest_goes_on(place):
    path, study_id = begun(place, head=named("failing"), audiences=f"{ODD}\n{TWO}", arms='arms = { neutral = "" }')
    ran = run(str(place / "a.db"), path, 1)
    rows = found(place, study_id)
    assert (ran.failed, ran.done, ran.left) == (32, 16, 0)
    assert ran.failures["gone"] == "8 of 8 failed, the last: odd:gone: no such model"
    assert set(ran.failures) == {"down", "babbling", "buggy", "gone"}
    lines = {row["audience"]: row["error"] for row in rows if row["status"] == "failed"}
    assert lines == {
        "down": "odd: no answer from http://127.0.0.1:9: is the server up?",
        "babbling": lines["babbling"],
        "buggy": "buggy: ZeroDivisionError: a bug of somebody",
        "gone": "odd:gone: no such model",
    }
    assert "I love it" in lines["babbling"]
    assert "allowed are" in lines["babbling"]
    assert all(c.isprintable() for line in lines.values() for c in line)
    assert {row["excluded"] for row in rows if row["status"] == "failed"} == {"failed"}
    assert all(not row["error"] for row in rows if row["audience"].startswith("who"))
    # Failed ones are tried again when that is asked for, and not otherwise.
    assert run(str(place / "a.db"), path, 1).failed == 32
    assert {row["attempts"] for row in found(place, study_id) if row["audience"] == "down"} == {1}
    assert run(str(place / "a.db"), path, 1, again=True).failed == 32
    attempts = {row["audience"]: row["attempts"] for row in found(place, study_id)}
    assert attempts == {**dict.fromkeys(lines, 2), "who hears": 1, "who does not": 1}
    with Archive.open(place / "a.db") as archive:
        kept = {t.trial: t.ended for t in archive.visiting.transcripts(experiment=study_id, limit=None)}
    assert {kept.get(row["number"], "") for row in rows if row["audience"] == "down"} == {lines["down"]}


def test_a_budget_ends_it(place):
    path, study_id = begun(place, head=named("budget"), more="[budget]\nmax_tokens = 60")
    for _ in range(2):  # the second time there is nothing left to spend
        ran = run(str(place / "a.db"), path, 1)
        assert (ran.done, ran.failed, ran.left) == (6, 0, 10)
        assert ran.stopped == "budget.max_tokens = 60 is reached (60)"
    assert [row["number"] for row in found(place, study_id)] == list(range(6))
    study(place, head=named("budget"), works=_works(path))
    with pytest.raises(StudyError, match=r"frozen on .*: design.budget.max_tokens was 60 and is null"):
        run(str(place / "a.db"), path, 1)
    with Archive.open(place / "a.db") as archive:
        deviate(archive, path, "Ada", "the money came")
    assert run(str(place / "a.db"), path, 1).left == 0
    whole(place, path, study_id)


@pytest.mark.parametrize(
    ("rule", "trials_begun", "line"),
    [
        ({"max_trials": 5}, 5, "budget.max_trials = 5 is reached (5)"),
        ({"max_tokens": 60}, 6, "budget.max_tokens = 60 is reached (60)"),
        ({"max_cost": 2.4}, 5, "budget.max_cost = 2.4 is reached (2.5)"),
        ({"max_hours": 0.5}, 2, "budget.max_hours = 0.5 is reached (0.5)"),
        ({"trials": 4}, 8, "stopping.trials = 4 is reached (4)"),
        ({"failures": 0.4}, 20, "stopping.failures = 0.4: of the last 20 trials 10 failed"),
    ],
)
def test_rules_end_it_when_they_are_reached_and_not_before(rule, trials_begun, line):
    of_stopping = set(rule) & set(Stopping.model_fields)
    budget, stopping = Budget(**({} if of_stopping else rule)), Stopping(**(rule if of_stopping else {}))
    spent = Spent()
    for number in range(trials_begun):
        assert not spent.reached(budget, stopping)
        spent.begun += 1
        spent.add("done" if number % 2 else "failed", {"tokens": 10, "cost": 0.5, "seconds": 900})
    assert spent.reached(budget, stopping) == line
    assert not spent.reached(Budget(), Stopping())


def _works(path: Path) -> str:
    return "\n".join(f'[[works]]\nname = "{work.name}"\ntake = "{work.take}"' for work in read(path).works)


COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background may have had it ignored
sys.argv[1:] = ["--archive", sys.argv[1], "experiment", "run", sys.argv[2]]
from studio.cli import main
main()
"""


def test_ctrl_c_of_the_command_is_one_line_and_it_goes_on(place, visitors, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    audiences = f'[[audiences]]\nname = "who hears"\nvisitor = "hearer"\noptions = {{ gate = "{gate}" }}'
    path, study_id = begun(place, head=named("interrupted"), audiences=audiences)
    child = running(visitors, place, path, COMMAND)
    (worker,) = waiting(tmp_path, 1)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: the process that runs the trial has it too
    _, said = child.communicate(timeout=30)
    assert child.returncode == 1
    lines = [line for line in said.splitlines() if line.startswith("descant: ")]
    assert lines == [f"descant: stopped; trials that are done are kept: descant experiment run {path}"], said
    assert "Traceback" not in said
    assert not Path(f"/proc/{worker}").exists()
    gate.unlink()
    before = found(place, study_id)
    assert len(before) == 5
    assert run(str(place / "a.db"), path, 1).left == 0
    rows = whole(place, path, study_id)
    assert rows[:5] == before
    assert Counter(row["attempts"] for row in rows) == {1: 15, 2: 1}


def test_works_are_what_their_conditions_say(tmp_path, place):
    write_piece(tmp_path)
    path = study(
        tmp_path,
        works='[[works]]\nname = "one"\npiece = "secret.toml"\nseed = 1',
        tasks='[[tasks]]\ntask = "prefer"\nconditions = ["other score", "other signals"]',
        analysis='[analysis]\nprimary = ["prefer/other score"]',
    )
    with Archive.open(tmp_path / "a.db") as archive:
        record = freeze(archive, path, SECRET)
        made = make(archive, record.id, read(path), tmp_path)
        assert [*made] == ["one", "one/other score", "one/other signals"]
        own, score, signals = (archive.take(take) for take in made.values())
        assert score.signals_hash == own.signals_hash != signals.signals_hash
        assert score.seed == own.seed != signals.seed
        assert signals.piece == own.piece != score.piece
        samples = [take.render["samples_hash"] for take in (own, score, signals)]
        assert len(set(samples)) == 3
        assert [parent.relation for parent in score.parents] == ["other score"]
        lane = score.piece["score"]["voices"]["secret_voice"]["lanes"]["pitch"]
        assert lane["polarity"] == "negative"
        assert make(archive, record.id, read(path), tmp_path) == made
        assert len(archive.takes()) == 3
    ran = run(str(tmp_path / "a.db"), path, 1)
    assert (ran.left, ran.failed) == (0, 0)
    rows = found(tmp_path, record.id)
    assert share(rows, outcome="prefer/other score")[0] == 1.0, "what rises falls in the other score"
    assert 0.2 < share(rows, outcome="prefer/other signals")[0] < 0.8, "what rises rises from another note"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"rest": "moments = 5"}, "work 'one': 4 moments of 0.5 s, and 5 are told: set moments lower"),
        ({"seed": "seed = 2\nset = { step = 0.0 }"}, "with other score it sounds the same"),
    ],
)
def test_works_that_are_not_what_was_asked_for_are_one_line(tmp_path, change, line):
    write_piece(tmp_path)
    path = study(
        tmp_path,
        rest=change.get("rest", "moments = 4"),
        works=f'[[works]]\nname = "one"\npiece = "secret.toml"\n{change.get("seed", "")}',
        tasks='[[tasks]]\ntask = "prefer"\nconditions = ["other score"]',
        analysis='[analysis]\nprimary = ["prefer/other score"]',
    )
    if "step" in line or "same" in line:
        text = (tmp_path / "secret.toml").read_text()
        (tmp_path / "secret.toml").write_text(text.replace("domain = [0, 24], ", 'domain = "data", '))
    with Archive.open(tmp_path / "a.db") as archive:
        freeze(archive, path, SECRET)
        with pytest.raises(StudyError, match=line):
            run(str(tmp_path / "a.db"), path, 1)
        assert all(take.retention == "scratch" for take in archive.takes() if take.parents)


def test_what_is_not_frozen_is_not_run(place):
    path = study(place, head=named("never frozen"))
    with pytest.raises(StudyError, match="'never frozen' is not frozen: descant experiment freeze"):
        run(str(place / "a.db"), path)


def test_a_visit_and_a_mirror(place):
    """A whole game with two buttons; and one's own curve of surprise among those of others."""
    audiences = "\n".join(
        f'[[audiences]]\nname = "{name}"\nvisitor = "hearer"\noptions = {{ taste = {taste} }}'
        for name, taste in (("one", 1), ("two", 2), ("no curve", 0))
    )
    path, study_id = begun(
        place, head=named("visiting"), audiences=audiences, arms='arms = { neutral = "" }',
        tasks='[[tasks]]\ntask = "mirror"\n[[tasks]]\ntask = "visit"\nmoves = 12\n'
        'buttons = [{ label = "lever", price = 3, reward = 2 }, {}]',
        analysis='[analysis]\nprimary = ["mirror"]',
    )  # fmt: skip
    ran = run(str(place / "a.db"), path, 1)
    rows = found(place, study_id)
    assert ran.left == 0
    mirrors = [row for row in rows if row["task"] == "mirror"]
    assert {row["status"] for row in mirrors if row["audience"] == "no curve"} == {"failed"}
    assert "no surprise of its own" in next(row["error"] for row in mirrors if row["audience"] == "no curve")
    own = [row for row in mirrors if row["audience"] != "no curve"]
    assert {row["status"] for row in own} == {"done"}, [row["error"] for row in own]
    assert len(own) == 4
    assert {(row["chance"], row["target"]) for row in own} == {(0.5, True)}
    visits = [row for row in rows if row["task"] == "visit"]
    assert len(visits) == 6
    assert {row["status"] for row in visits} == {"done"}, [row["error"] for row in visits]
    assert {(row["button"], row["price"], row["reward"]) for row in visits} == {("lever", 3, 2), ("button", 0, 1)}
    assert all(0 <= row["idle"] <= 1 and 0 <= row["press"] <= 1 and 1 <= row["moves"] <= 12 for row in visits)
    assert json.loads(json.dumps(rows)) == rows


def test_trials_are_read_as_they_were_written(place):
    _, study_id = begun(place, head=named("to the end"), audiences=TWO, tasks=ALL, rest="moments = 4\nrepeats = 1")
    with Archive.open(place / "a.db") as archive:
        for row in archive.studies.trials(study_id):
            assert Trial(**row.factors).to_json() == row.factors
