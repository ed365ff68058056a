"""Studies from the command line: power, freeze, run, report, review."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from studio.cli import descant as cli
from tests.conftest import Descant
from tests.studio.experiment.studying import study, write_piece

PLANTED = ("SECRETaudience", "SECRETarm", "SECRETwork", "SECRETpiece", "random", "shuffled", "blind trial")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("study")
    write_piece(made, "SECRETpiece")
    study(
        made,
        arms='arms = { SECRETarm = "You look for SECRETarm." }',
        audiences='[[audiences]]\nname = "SECRETaudience"\nvisitor = "random"',
        works='[[works]]\nname = "SECRETwork"\npiece = "SECRETpiece.toml"\n'
        '[[works]]\nname = "SECRETwork two"\npiece = "SECRETpiece.toml"\nseed = 2',
        hypotheses='[hypotheses]\nH1 = "\\u001b]0;title\\u0007 \\u009b31m they \\u202Edo"',
        more="[stopping]\ntrials = 3",
    )
    return made


def here(*words: object) -> Result:
    """Runs ``descant ...`` in this process, which costs less."""
    done = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_a_study_is_frozen_run_reported_and_reviewed(folder: Path, descant: Descant, error, tmp_path: Path) -> None:
    file = folder / "study.toml"
    assert "is not frozen: descant experiment freeze" in error("experiment", "run", file)
    frozen = json.loads(descant("experiment", "freeze", file, "--json").stdout)
    assert len(frozen["hash"]) == 64
    assert frozen["covers"]["primary"] == ["prefer/shuffled"]
    assert frozen["namesakes"] == []
    assert any("there is no control" in line for line in frozen["reserves"]["prefer/shuffled"])
    ran = json.loads(descant("experiment", "run", file, "--json", "--workers", 1).stdout)
    assert (ran["done"], ran["failed"], ran["left"]) == (3, 0, 5)

    listed = here("experiment", "review", file, "--json")
    plain = here("experiment", "review", file)
    rows = json.loads(listed.stdout)
    assert [(row["ended"], row["blind"]) for row in rows] == [("answered", True)] * 3
    one = rows[0]["id"]
    shown = here("experiment", "review", file, one)
    again = here("experiment", "review", one, "--replay")
    assert "turns are the same again" in again.stdout
    note = ("--note", "it chose the first", "--tag", "first", "--kind", "fact", "--author", "ann", "--turn", 0)
    here("experiment", "review", file, one, *note)
    told = here("experiment", "review", file, one, "--turn", 0)
    assert "[fact #first] it chose the first (ann, blind)" in told.stdout
    blind = "".join(d.output for d in (listed, plain, shown, again, told))
    assert [name for name in PLANTED if name in blind] == []
    assert "you are blind" in error("experiment", "review", file, "--audience", "SECRETaudience", "--author", "ann")

    assert "say --yes if that is meant" in error(
        "experiment", "review", file, "--unblind", "--author", "ann"
    )  # nobody says yes
    here("experiment", "review", file, "--unblind", "--author", "ann", "--yes")
    rows = json.loads(here("experiment", "review", file, "--author", "ann", "--json").stdout)
    assert {row["known"]["condition"] for row in rows} == {"shuffled"}
    assert {row["known"]["audience"] for row in rows} == {"SECRETaudience"}

    written = here("experiment", "report", file, "--out", tmp_path / "out", "--format", "md,csv").stdout.split()
    assert {Path(path).name for path in written} >= {"report.md", "trials.csv", "turns.csv"}
    assert all(Path(path).stat().st_size for path in written)

    file.write_text(file.read_text().replace("trials = 3", "trials = 4"))
    assert "stopping.trials was 3 and is 4" in error("experiment", "run", file)
    descant("experiment", "run", file, "--deviation", "one more", "--author", "ann")
    assert len(json.loads(here("experiment", "review", file, "--json").stdout)) == 4
    # Whoever freezes another study under the same name is told of this one.
    file.write_text(file.read_text().replace("repeats = 1", "repeats = 2"))
    again = here("experiment", "freeze", file).stdout
    assert f"{frozen['hash'][:12]}: 4 of 8 trials done, 0 failed" in again
    assert "H1: ]0;title 31m they do" in again
    assert all(line.isprintable() for line in again.splitlines())


def test_power_is_a_table_a_plot_and_a_number(descant: Descant, tmp_path: Path) -> None:
    works = "\n".join(f'[[works]]\nname = "w{i}"\ntake = "{i}"' for i in range(6))
    audience = '[[audiences]]\nname = "one"\nvisitor = "random"'
    words = (
        "experiment",
        "power",
        study(tmp_path, works=works, audiences=audience),
        "--experiments",
        40,
        "--rate",
        0.75,
    )
    shown = descant(*words).stdout
    rows = [line.split() for line in shown.splitlines() if line[:4] in ("0.55", "0.80")]
    assert [float(row[1]) for row in rows] == sorted(float(row[1]) for row in rows)
    assert "█" in shown
    told = json.loads(descant(*words, "--json").stdout)
    assert [row["rate"] for row in told["design"]] == [0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
    assert told["needed"]["power"] >= 0.8
    assert told["needed"]["pairs"] > 6


def test_what_is_wrong_is_one_line(folder: Path, error, tmp_path: Path) -> None:
    assert "cannot be read" in error("experiment", "power", tmp_path / "none.toml")
    assert "allowed are html, md" in error("experiment", "report", folder / "study.toml", "--format", "pdf", code=2)
    assert "no choice of the study is called so" in error(
        "experiment", "power", folder / "study.toml", "--outcome", "prefer/sham"
    )
    assert "who says why" in error("experiment", "run", folder / "study.toml", "--deviation", "x", code=2)
