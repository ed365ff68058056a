"""Attending on the command line: whoever attends, the visit is in the archive, turn by turn, and can be retraced."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.stats import rankdata

from db.archive import Archive, NewTake
from studio.audience.gallery import surprises
from studio.audience.game import Game
from studio.audience.playing import Transcript, retraced
from studio.audience.rooms import Room, Rules
from studio.audience.visitor import Report
from studio.cli import descant as descant_group
from studio.perceive import artefact
from studio.words.tokens import PER_MOMENT
from tests.conftest import Descant, one_line
from tests.db.test_studies import take

SCRIPT = """
go 0
listen on  # the first four moments
predict nothing
listen on
wish higher
say more
rate 7
leave
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A data directory with two short takes."""
    home = tmp_path_factory.mktemp("attending")
    run = [sys.executable, "-c", "from studio.cli import main; main()"]
    takes = []
    for seed in (1, 2):
        words = [*run, "compose", "cubics", "--seed", str(seed), "--duration", "5", "--quiet"]
        env = {**os.environ, "DESCANT_HOME": str(home)}
        takes.append(subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.strip())
    return home, takes


@pytest.fixture
def here(shared: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command on the shared data directory in this process."""
    monkeypatch.setenv("DESCANT_HOME", str(shared[0]))
    return lambda *words: CliRunner().invoke(descant_group, [str(word) for word in words])


def test_a_script_attends_and_its_visit_is_retraced(
    shared: tuple[Path, list[str]], descant: Descant, tmp_path: Path
) -> None:
    home, takes = shared
    (tmp_path / "script").write_text(SCRIPT)
    words = ("attend", *takes, "--audience", "scripted:script", "--wording", "guest", "--seed", 7, "--json")
    told = json.loads(descant(*words, DESCANT_HOME=str(home)).stdout)
    assert told.pop("takes") == takes
    transcript = told.pop("id")
    said = Transcript.model_validate(told)
    assert said.ended == "left"
    assert said.wording == "guest"
    assert [c.split()[0] for c in said.commands] == [
        "go",
        "listen",
        "predict",
        "listen",
        "wish",
        "say",
        "rate",
        "leave",
        "leave",
    ]
    with Archive.open(home / "archive.db", create=False) as archive:
        rooms = [Room(artefact(archive, take)) for take in takes]
        (visit,) = archive.visits(takes[0])
        assert archive.visits(takes[1]) == [], "nobody was there"
        kept = archive.visiting.transcript(transcript)
        assert visit.transcript_id == transcript
        assert [turn.observation for turn in kept.turns[: len(said.turns)]] == [t.observation for t in said.turns]
        assert [turn.first for turn in kept.turns if turn.count] == [0, 4]
        assert visit.rating == 0.7
    game = Game(rooms, Rules())
    assert {turn.command.split()[0] for turn in said.turns if turn.number in retraced(game, said)} <= {
        "go",
        "leave",
        "",
    }


def test_a_listener_remembers_by_name(shared: tuple[Path, list[str]], here: Callable[..., Result]) -> None:
    def progress(name: str) -> float:
        words = ("attend", shared[1][0], "--remember", name, "--seed", 3, "--json", "--budget", 12)
        return json.loads(here(*words).stdout)["report"]["moments"][0]["surprise"]

    first, again, other = progress("ann"), progress("ann"), progress("bob")
    assert again < 0.7 * first
    assert other == first


def test_a_person_is_told_the_same_words_and_no_names(shared: tuple[Path, list[str]], descant: Descant) -> None:
    """At a terminal that ends (a pipe) the visit breaks off, and says so; what was before is kept."""
    home, takes = shared
    words = [sys.executable, "-c", "from studio.cli import main; main()", "attend", takes[0], "--audience", "human"]
    typed = "go\nlisten on\npredict\nlouder=2 nothing\nsomething\nrate 7\n"
    env = {**os.environ, "DESCANT_HOME": str(home)}
    done = subprocess.run([*words, "--with", "silent=true"], input=typed, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert one_line(done).startswith("descant: the visit broke off: the visitor has gone")
    assert "'something': allowed are" in done.stderr
    assert "cubic" not in done.stderr.lower()
    assert takes[0] not in done.stderr
    with Archive.open(home / "archive.db", create=False) as archive:
        visit = archive.visits(takes[0])[0]
        assert (visit.visitor, visit.rating) == ("human", 0.7)
        assert archive.visiting.transcript(visit.transcript_id or "").ended.startswith("the visitor has gone")


def test_a_visit_is_told_in_words_and_says_where_the_interest_was_and_what_is_next(
    shared: tuple[Path, list[str]], here: Callable[..., Result]
) -> None:
    said = here("attend", shared[1][1], "--seed", 3, "--budget", 8)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert not any(len(word) == PER_MOMENT for word in said.stdout.split()), "no letters that nobody can read"
    assert sum(bool(re.match(r" +\d+\.\d s  [a-z]", line)) for line in lines) == 8
    with Archive.open(shared[0] / "archive.db", create=False) as archive:
        visit = archive.visits(shared[1][1])[0]
        assert f"transcript {visit.transcript_id}" in lines
        assert f"descant experiment review {visit.transcript_id}" in said.stdout
        rows = sorted(visit.rows, key=lambda row: -row["surprise"])
        assert f"most at {rows[0]['start']:.1f} s ({rows[0]['surprise']:.2f})" in said.stdout
        assert PER_MOMENT in map(len, archive.visiting.transcript(visit.transcript_id).turns[2].observation.split())
    (take,) = [line for line in lines if line.startswith(f"take {shared[1][1]}")]
    assert "cubics" in take
    assert lines.index(take) > max(i for i, line in enumerate(lines) if line.startswith("> ")), "only when it is over"
    assert here("experiment", "review", visit.transcript_id).exit_code == 0


def test_in_the_mirror_there_is_its_own_curve_among_those_who_were_there_before(
    shared: tuple[Path, list[str]], here: Callable[..., Result]
) -> None:
    words = ("attend", *reversed(shared[1]), "--mirror", "--json", "--budget", 40, "--seed")
    alone = here(*words, 4)
    assert "note: no mirror: nobody else measured surprise" in alone.stderr
    assert not json.loads(alone.stdout)["answers"]
    last = json.loads(here(*words, 5).stdout)
    (asked,) = last["answers"]
    text = asked["asks"]
    assert asked["facts"]["curves"] == 2
    assert asked["chosen"] in asked["options"] == ["a", "b"]
    assert "One is you." in text
    shown = {line[0]: line[3:].split() for line in text.splitlines() if re.match("[ab]: ", line)}
    assert shown["a"] != shown["b"]
    curves = [surprises(Report.model_validate(one["report"])) for one in (json.loads(alone.stdout), last)]
    common = sorted(curves[0].keys() & curves[1].keys())
    own = np.float64(shown[asked["facts"]["own"]])
    # Ranks are shown with one digit: where the own curve is highest, so is what it measured.
    assert np.corrcoef(rankdata([curves[1][at] for at in common]), own)[0, 1] > 0.999
    assert np.corrcoef(rankdata([curves[0][at] for at in common]), own)[0, 1] < 0.999, "not that of the other"
    deaf = here("attend", shared[1][0], "--audience", "random", "--mirror", "--quiet")
    assert "note: no mirror: the visitor measured no surprise of its own" in deaf.stderr


def test_the_takes_that_are_listed_are_the_composers(home: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(descant_group, [*words])

    with Archive.open(home / "archive.db") as archive:
        own = take(archive, piece={"title": "p"})
        branch = take(archive, parents=[(own, 1, "touched")], retention="scratch")
        new = NewTake(piece_name="p", piece={}, piece_hash="0", seed=1, parts=[("fit", 20.0)])
        archive.begin(new).interrupt()
        broken = archive.takes()[0].id
    assert [line.split()[0] for line in run("takes").stdout.splitlines()[1:]] == [broken, own]
    everything = run("takes", "--all").stdout.splitlines()
    assert [line.split()[0] for line in everything[1:]] == [broken, branch, own]
    assert "aside" in everything[0]
    assert [row["aside"] for row in json.loads(run("takes", "--all", "--json").stdout)] == [None, "branch", None]
    assert own in run("show", "latest").stdout
    assert broken in str(run("resume", "latest").exception), "the last that can be resumed"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--audience", "listner"), "no audience 'listner'; did you mean 'listener'?"),
        (("--audience", "random:3"), "random takes nothing behind a colon"),
        (("--audience", "random", "--with", "size=3"), "its options are none"),
        (("--with", "size"), "write NAME=VALUE"),
        (("--audience", "scripted:nowhere"), "give a file of commands"),
        (("--wording", "loud"), "allowed are plain, guest, letter, formal, short"),
        (("--remember", "../x"), "allowed are letters"),
        (("--words", "poetry"), "'poetry' is not one of"),
        (("--words", "prose"), "--words prose: the listener reads tokens alone"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    shared: tuple[Path, list[str]], descant: Descant, words: tuple[str, ...], line: str
) -> None:
    done = descant("attend", shared[1][0], *words, code=None, DESCANT_HOME=str(shared[0]))
    assert done.returncode in (1, 2)
    assert line in one_line(done)
