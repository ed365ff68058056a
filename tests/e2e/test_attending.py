"""Attending on the command line: whoever attends, the visit is in the archive, turn by turn, and can be retraced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.archive import Archive
from studio.audience.game import Game
from studio.audience.human import Human
from studio.audience.playing import Transcript, retraced
from studio.audience.rooms import Room, Rules
from studio.audience.visitor import Question
from studio.perceive import artefact
from tests.conftest import Descant, one_line

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


def test_a_script_attends_and_its_visit_is_retraced(
    shared: tuple[Path, list[str]], descant: Descant, tmp_path: Path
) -> None:
    home, takes = shared
    (tmp_path / "script").write_text(SCRIPT)
    words = ("attend", *takes, "--audience", "scripted:script", "--wording", "guest", "--seed", 7, "--json")
    said = Transcript.model_validate(json.loads(descant(*words, DESCANT_HOME=str(home)).stdout))
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
        kept = archive.visiting.transcript(visit.transcript_id or "")
        assert [turn.observation for turn in kept.turns[: len(said.turns)]] == [t.observation for t in said.turns]
        assert [turn.first for turn in kept.turns if turn.count] == [0, 4]
        assert visit.rating == 0.7
    game = Game(rooms, Rules())
    assert {turn.command.split()[0] for turn in said.turns if turn.number in retraced(game, said)} <= {
        "go",
        "leave",
        "",
    }


def test_a_listener_remembers_by_name(shared: tuple[Path, list[str]], descant: Descant) -> None:
    home, takes = shared

    def progress(name: str) -> float:
        words = ("attend", takes[0], "--remember", name, "--seed", 3, "--json")
        return json.loads(descant(*words, DESCANT_HOME=str(home)).stdout)["report"]["moments"][0]["surprise"]

    first, again, other = progress("ann"), progress("ann"), progress("bob")
    assert again < 0.7 * first
    assert other == first


def test_a_person_is_told_the_same_words_and_no_names(shared: tuple[Path, list[str]], descant: Descant) -> None:
    """At a terminal that ends (a pipe) the visit breaks off, and says so; what was before is kept."""
    home, takes = shared
    words = [sys.executable, "-c", "from studio.cli import main; main()", "attend", takes[0], "--audience", "human"]
    typed = "go\n1\nlisten\non\npredict\nlouder=2 nothing\nsomething\nrate\n7\n"
    env = {**os.environ, "DESCANT_HOME": str(home)}
    done = subprocess.run([*words, "--with", "silent=true"], input=typed, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert one_line(done).startswith("descant: the visit broke off: the visitor has gone")
    assert "'something' is none of them" in done.stderr
    assert "cubic" not in done.stderr.lower()
    assert takes[0] not in done.stderr
    with Archive.open(home / "archive.db", create=False) as archive:
        visit = archive.visits(takes[0])[0]
        assert (visit.visitor, visit.rating) == ("human", 0.7)
        assert archive.visiting.transcript(visit.transcript_id or "").ended.startswith("the visitor has gone")


def test_people_see_pictures_in_a_terminal_and_choose_by_number_name_or_beginning() -> None:
    said: list[str] = []
    lines = iter(["", "zz", "l", "li", "3"])
    human = Human("", hear=lambda asks: next(lines), say=said.append, silent=True)
    question = Question("", "What do you do?", ("look", "listen", "leave"))
    assert human.decide(question).option == "listen"
    assert "'zz' is none of them: give one, or its number." in said
    assert "'l' is look or listen or leave: give one, or its number." in said
    assert human.decide(question).option == "leave"


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
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    shared: tuple[Path, list[str]], descant: Descant, words: tuple[str, ...], line: str
) -> None:
    done = descant("attend", shared[1][0], *words, code=None, DESCANT_HOME=str(shared[0]))
    assert done.returncode in (1, 2)
    assert line in one_line(done)
