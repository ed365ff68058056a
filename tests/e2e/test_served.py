"""A study from the command line, of a model on this machine, one that is served, a server of ill will, and chance."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from db.archive import Archive
from studio.audience.keys import HIDDEN, PART, variable
from studio.cli import descant as cli
from studio.experiment.outcomes import outcomes
from tests.serving import CHAT, FINE, PLANTED, Asked, Babble, completion, standin, status, transformers_serve
from tests.studio.experiment.studying import study, write_piece
from tests.tiny_models import quick

ESCAPES = "\x1b]0;owned\x07\x1b[31m\u202eboo\x9b5m"
FORBIDDEN = ("\x1b]", "\x1b[31m", "\x9b5m", "\u202e")
#: What becomes of each answer of ill will.
LINES = (
    f"no answer that can be taken, in 1 try: ']0;owned[31mboo5mBearer {HIDDEN}]0;owned[31mboo5m' was no option",
    "no answer that can be taken, in 1 try: no answer of the form asked for",
    f"the server fails, in 1 try: 500 ]0;owned[31mboo5mBearer {HIDDEN}",
    "no answer that can be taken, in 1 try: more than 1000 kB",
)


@dataclass
class IllWill:
    """Whatever is asked, a secret comes back among escapes: as an option, as no JSON, as a fault; or 40 MB come."""

    asked: int = 0

    def __call__(self, to: BaseHTTPRequestHandler, asked: Asked) -> None:
        secret = f"{ESCAPES}{asked.headers['authorization']}{ESCAPES}"
        answers = (
            status(200, {**completion(json.dumps({"choice": secret})), "model": secret}),
            status(200, secret.encode()),
            status(500, {"error": {"message": secret}}),
            Babble(),
        )
        self.asked += 1
        answers[(self.asked - 1) % len(answers)](to, asked)


@dataclass(frozen=True)
class Studied:
    """A study that was run: its folder, what was said of it, its trials and what they asked by audience; a visit."""

    folder: Path
    said: str
    rows: dict[str, list[dict[str, Any]]]
    asked: dict[str, list[dict[str, Any]]]
    attended: Any


@contextmanager
def written_down(path: Path) -> Iterator[None]:
    """What this process and those that it begins say on their outputs goes into a file."""
    sys.stdout.flush()
    before = [os.dup(number) for number in (1, 2)]
    with path.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        for number, kept in enumerate(before, 1):
            os.dup2(kept, number)
            os.close(kept)


def write_study(folder: Path, who: dict[str, str]) -> Path:
    """A work of two seconds, held against itself with its moments in another order."""
    write_piece(folder)
    told = [f'[[audiences]]\nname = "{name}"\nvisitor = "{visitor}"' for name, visitor in who.items()]
    told[-1] += "\noptions = { retries = 0, repeats = 1 }"
    work = '[[works]]\nname = "a"\npiece = "secret.toml"'
    return study(folder, audiences="\n".join(told), works=work, arms="")


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Studied:
    folder, aside = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("server")
    model = quick(aside / "model")
    said: list[str] = []

    def descant(*words: object) -> str:
        """``descant ...`` in this process, which costs less."""
        done = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
        said.append(done.output)
        assert done.exit_code == 0, done.output
        return done.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DESCANT_HOME", str(folder / "home"))
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        patch.setenv(variable("127.0.0.1"), PLANTED)
        with transformers_serve(model, aside) as url, standin({CHAT: [FINE, IllWill()]}) as ill:
            who = {"here": f"hf:{model}", "served": f"openai:{model}@{url}", "chance": "random"}
            file = write_study(folder, who | {"ill": f"openai:m@{ill.url}"})
            descant("experiment", "freeze", file)
            with written_down(folder / "said.md"):
                descant("experiment", "run", file, "--workers", 1)
            assert {asked.headers["authorization"] for asked in ill.asked} == {f"Bearer {PLANTED}"}
            # It has the study's takes alone, and `latest` is none of these.
            take = json.loads(descant("takes", "--all", "--json"))[0]["id"]
            descant("attend", take, "--audience", who["served"], "--moves", 1, "--seed", 2)
        descant("experiment", "report", file, "--out", folder / "out", "--format", "html,md,jsonl,csv")
        descant("experiment", "review", file, "--unblind", "--author", "ann", "--yes")
        for row in json.loads(descant("experiment", "review", file, "--author", "ann", "--json"))[:4]:
            descant("experiment", "review", file, row["id"], "--author", "ann")
    with Archive.open(str(folder / "home" / "archive.db"), create=False) as archive:
        rows, asked = {name: [] for name in (*who, "ill")}, {name: [] for name in (*who, "ill")}
        for row in outcomes(archive, "test study"):
            rows[row["audience"]].append(row)
            (kept,) = archive.visiting.transcripts(experiment=row["experiment"], trial=row["number"])
            turns = archive.visiting.transcript(kept.id).turns
            asked[row["audience"]] += [one for turn in turns for one in turn.decisions]
        attended = archive.visiting.transcript(archive.visiting.transcripts(limit=1)[0].id)
    return Studied(folder, "\n".join(said), rows, asked, attended)


def test_who_can_answer_has_answered(studied: Studied) -> None:
    """Every trial is done, by probabilities of its own, and tokens are counted as they were asked for."""
    for name in ("here", "served", "chance"):
        rows, asked = studied.rows[name], studied.asked[name]
        assert [row["status"] for row in rows] == ["done"] * 4
        assert [len(one["options"]) for one in asked] == [2] * 4
        assert [sum(one["probabilities"]) for one in asked] == pytest.approx([1] * 4)
        assert all(one["chosen"] in one["options"] for one in asked)
        assert [row["tokens"] for row in rows] == [one["facts"].get("tokens", 0) for one in asked]
    weighed = [one for name in ("here", "served") for one in studied.asked[name]]
    assert all(0 < min(one["probabilities"]) < 0.5 for one in weighed), "neither even, nor certain"
    assert len({one["probabilities"][0] for one in weighed}) == 8, "what it is told counts"
    assert all(one["facts"]["dropped"] == 0 for one in weighed)
    assert {one["facts"]["way"] for one in studied.asked["served"]} == {"systemone"}
    here, served = ([row["tokens"] for row in studied.rows[name]] for name in ("here", "served"))
    assert sorted(served)[:-1] == pytest.approx(sorted(here)[:-1], rel=0.05), "but for the first, with its test"


def test_who_attended_is_kept_as_it_was_met(studied: Studied) -> None:
    """A server is met after a visit has begun."""
    [turn] = [turn for turn in studied.attended.turns if turn.command]
    facts = turn.decisions[0]["facts"]
    assert (studied.attended.about["way"], studied.attended.about["served"]) == ("systemone", facts["model"])
    assert studied.attended.report["tokens"] == sum(one["facts"].get("tokens", 0) for one in turn.decisions) > 100


def test_ill_will_fails_with_its_reason_and_the_rest_goes_on(studied: Studied) -> None:
    rows = studied.rows["ill"]
    assert [row["status"] for row in rows] == ["failed"] * 4
    assert studied.asked["ill"] == []
    for row, line in zip(rows, LINES, strict=True):
        assert line in row["error"]
    report = (studied.folder / "out" / "report.md").read_text()
    assert "12 of 16 trials were analysed; 4 failed" in report
    assert "more than 1000 kB" in report


def test_no_key_and_no_escape_is_anywhere(studied: Studied) -> None:
    parts = {PLANTED[i : i + PART].lower() for i in range(len(PLANTED) - PART + 1)}
    spelled = {json.dumps(mark)[1:-1] for mark in FORBIDDEN}
    files = [path for path in studied.folder.rglob("*") if path.suffix in (".db", ".md", ".html", ".jsonl", ".csv")]
    assert {"archive.db", "turns.jsonl", "trials.csv", "report.html", "said.md"} <= {path.name for path in files}
    texts = {path.name: path.read_bytes().decode("utf-8", "replace") for path in files} | {"said": studied.said}
    for name, text in texts.items():
        assert not [mark for mark in (*FORBIDDEN, *spelled) if mark in text], name
        assert not [part for part in parts if part in text.lower()], name
