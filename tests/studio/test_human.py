"""A person who attends: a line means one thing, what was begun can be taken back, and nothing says what a work is."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from studio.audience.attending import Visit, attend
from studio.audience.game import HELP
from studio.audience.human import Human, listed, meant, weights
from studio.audience.kept import Kept
from studio.audience.predictions import OUTCOMES, parse
from studio.audience.rooms import Room
from studio.audience.terminal import LEAST, strip
from studio.audience.wording import PLAIN
from studio.experiment.design import parse as design
from studio.experiment.presenting import Comparison, Work, instructed, presented
from studio.experiment.trials import trials
from tests.studio.test_game import RATE, music

RED, BLUE = (200, 0, 0), (0, 0, 200)
SHORT, LONG = music([440.0, 660.0] * 4, (RED, BLUE)), music([440.0, 550.0] * 30)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Desk:
    """Types some lines, then is gone; keeps what it was asked and told."""

    def __init__(self, *lines: str) -> None:
        self.lines = iter(lines)
        self.asked: list[str] = []
        self.told: list[str] = []

    def hear(self, asks: str, words: Sequence[str]) -> str:
        self.asked.append(asks)
        for line in self.lines:
            return line
        raise EOFError

    @property
    def human(self) -> Human:
        return Human("", hear=self.hear, say=self.told.append, silent=True)

    @property
    def text(self) -> str:
        return "\n".join(self.told)


def visited(*lines: str, artefacts: Sequence[object] = (SHORT,)) -> tuple[Visit, Desk]:
    desk = Desk(*lines)
    return attend([Room(artefact) for artefact in artefacts], desk.human, 1), desk  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=26).map(sorted), st.integers(0, 99))
def test_a_number_is_that_number_or_nothing(numbers: list[int], typed: int) -> None:
    options = ["on", *map(str, numbers)]
    assert meant(str(typed), options) == ([str(typed)] if typed in numbers else [])
    shown = [part.partition(" to ")[::2] for part in listed(options).split(", ")[1:]]
    assert [n for a, b in shown for n in range(int(a), int(b or a) + 1)] == numbers


def test_what_is_no_option_is_refused_with_what_is_allowed_and_nothing_is_recorded() -> None:
    lines = ("listen 3", "listen 2", "rate 11", "rate", "11", "7", "quit")
    visit, desk = visited("go", *lines, artefacts=(LONG,))
    _, listen, *_ = visit.transcript.turns[1:]
    assert "3" not in listen.decisions[1].options, "of sixty moments some are proposed"
    assert visit.transcript.commands[1:] == ("listen 2", "rate 7", "leave", "leave")
    assert listen.first == 2
    assert visit.rating == 0.7
    assert desk.told.count("'11': allowed are 0 to 10.") == 2
    assert [said for said in desk.told if said.startswith("'3': allowed are on, 0, 2, 5, 7, ")]


def test_whole_commands_are_taken_as_the_page_shows_them() -> None:
    visit, _ = visited(
        *("GO", "Listen ON", "attend Pitch", "comp 0", "predict nothing 3, louder: 1", "li on", "say No way"),
        *("say 7", "say NO", "wish higher", "r 7", "rate 7", "wait 3", "leave", "leave"),
    )
    room = visit.transcript.commands[0]
    assert [room.split()[0], *visit.transcript.commands[1:]] == [
        *("go", "listen on", "attend pitch", "compare 0", "predict louder=0.250000 nothing=0.750000", "listen on"),
        *("say No way", "say 7", "say no", "wish higher", "rate 7", "wait", "leave", "leave"),
    ]
    assert visit.transcript.ended == "left"
    said = visit.transcript.turns[7].decisions[1]
    assert said.chosen == "No way"


def test_an_empty_line_or_back_leads_back_to_the_verb_and_leaves_no_trace() -> None:
    plain, _ = visited("go", "listen on", "rate 4", "quit")
    lines = ("go", "predict", "listen", "", "listen", "on", "predict", "leave", "back", "r", "rate", "11", "", "rate 4")
    visit, desk = visited(*lines, "touch", "quit")
    assert visit.transcript.turns == plain.transcript.turns
    assert [asks for asks in desk.asked if asks.endswith("which?")] == [
        *["listen: which?"] * 2, *["predict: which?"] * 2, *["rate: which?"] * 2
    ]  # fmt: skip
    assert "'r' may be rewind or rate: give more of it." in desk.told


def test_one_option_is_not_asked_for_but_another_is_refused() -> None:
    visit, desk = visited("go nowhere", "go", "listen on", "compare 1", "quit", "q")
    assert not any(asks.startswith("go:") for asks in desk.asked)
    assert sum("'nowhere': allowed are" in said for said in desk.told) == 1
    assert visit.transcript.commands[1:] == ("listen on", "compare 1", "leave", "leave")
    two, desk = visited("go", "", "quit", artefacts=(SHORT, LONG))
    assert desk.asked[1] == "go: which?"
    assert two.transcript.commands == ("leave",)


def test_what_stands_behind_a_verb_that_stands_alone_answers_no_other_question() -> None:
    visit, desk = visited("go", "listen on", "wait 3", "leave", "leave 7", "2")
    assert visit.transcript.commands[1:] == ("listen on", "wait", "leave", "leave")
    assert visit.rating == 0.2
    assert [said for said in desk.told if "left out" in said] == [
        "wait stands alone: '3' was left out.",
        "leave stands alone: '7' was left out.",
    ]


def test_help_tells_the_commands_and_how_they_are_written() -> None:
    _, desk = visited("?", "help predict", "go", "listen on", "predict", "help", "", "quit", "help", "5")
    _, whole, one, again, rating = [said for said in desk.told if said.startswith(("look: ", "predict: ", "rate: "))]
    assert HELP in whole
    assert "louder=3 nothing=1" in whole
    assert "quit:" in whole
    assert one == again
    assert one.startswith("predict: the change that the next moment brings.")
    assert one.endswith("louder=3 nothing=1.")
    assert rating == "rate: 0 to 10."


@pytest.mark.parametrize(("last", "ended", "rating"), [("3", "left", 0.3), ("quit", "left", None)])
def test_who_quits_leaves_and_need_not_rate(last: str, ended: str, rating: float | None) -> None:
    visit, desk = visited("go", "listen on", "quit", "", "back", "11", last)
    assert (visit.transcript.ended, visit.rating) == (ended, rating and pytest.approx(rating))
    assert desk.asked[-1].startswith("How do you rate ")
    assert "(quit: no answer)" in desk.text


def test_who_has_gone_has_not_left() -> None:
    visit, _ = visited("go", "listen on")
    assert visit.transcript.ended.startswith("the visitor has gone")
    assert visit.transcript.commands[1:] == ("listen on",)


def test_a_weight_is_read_as_people_write_it() -> None:
    for text in ("nothing 0.7, louder 0.3", "Nothing: 70%; LOUDER = 30%", "nothing=7 louder=3"):
        assert parse(weights(text)) == pytest.approx({"nothing": 0.7, "louder": 0.3})


@given(st.dictionaries(st.sampled_from(OUTCOMES), st.integers(1, 1000), min_size=1), st.sampled_from([" ", "=", ": "]))
def test_weights_stay_what_they_are(given_: dict[str, int], between: str) -> None:
    total = sum(given_.values())
    found = parse(weights(", ".join(f"{word}{between}{share}" for word, share in given_.items())))
    assert found == pytest.approx({word: share / total for word, share in given_.items()})


def test_works_are_compared_by_their_names_and_nothing_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a study tells and asks; a place in the list is no answer."""
    monkeypatch.chdir(tmp_path)
    study = design(
        {
            "name": "SECRETstudy",
            "seed": 5,
            "audiences": [{"name": "SECRETaudience", "visitor": "random"}],
            "works": [{"name": "SECRETwork", "piece": "cubics"}],
            "tasks": [{"task": "prefer", "conditions": ["shuffled"]}, {"task": "same", "conditions": ["shuffled"]}],
            "analysis": {"primary": ["prefer/shuffled"]},
        },
        "s",
    )
    for trial in trials(study):
        asked = Comparison(trial, instructed(PLAIN, ""), Work(SHORT), Work(SHORT), "5e")
        wanted = asked.question().options[1]
        desk = Desk("1", "save", "back", "HELP", wanted.upper())
        transcript = presented(desk.human, trial, asked.wording, asked.observations, asked.question)
        (answer,) = transcript.answers
        assert (answer.chosen, answer.probabilities) == (wanted, (0.0, 1.0))
        assert "'1': allowed are" in desk.text
        assert not re.search("secret|shuffled|cubics|as is", desk.text, re.IGNORECASE)
        gone = presented(Desk("quit").human, trial, asked.wording, asked.observations, asked.question)
        assert (gone.ended, gone.answers) == ("the visitor gave no answer", ())
    files = sorted(tmp_path.iterdir())
    assert len({path.stem for path in files if path.suffix == ".wav"}) == len(trials(study)), "each under a free name"
    assert not any(re.search(b"SECRET|shuffled|cubics", path.read_bytes()) for path in files)


def test_what_was_heard_is_saved_whole_and_never_over_something(tmp_path: Path) -> None:
    text = "\n".join(f"{branch}{moment}: sound" for branch in ("one ", "two ") for moment in (2, 3))
    other = music([220.0] * 8, ((90, 90, 90),))
    kept = Kept.of(text, (SHORT.part(2, 2), other.part(2, 2)))
    found = kept.save(str(tmp_path / "ear"))
    names = ["ear-one", "ear-two", "ear-one-2", "ear-one-3", "ear-two-2", "ear-two-3"]
    assert [path.stem for path in found] == names
    for path, clip in zip(found, kept.clips, strict=False):
        sound, rate = soundfile.read(path)
        assert rate == RATE
        np.testing.assert_allclose(sound, clip.audio, atol=2**-22)
    assert [Image.open(path).getpixel((4, 4)) for path in found[2:4]] == [RED, BLUE]
    before = [path.read_bytes() for path in found]
    desk = Desk("go", "save", "listen on", f"save {tmp_path}/ear", f"save {tmp_path}/no/where", "see 9", "see", "quit")
    attend([Room(SHORT)], desk.human, 1)
    assert "There is nothing to save: nothing was heard yet." in desk.told
    assert len([1 for said in desk.told if said.startswith("Saved: ")]) == 1, "another name: there is no ear.wav yet"
    attend([Room(SHORT)], (again := Desk("go", "listen on", f"save {tmp_path}/ear", "quit")).human, 1)
    assert "ear.wav is there already: give another name." in again.text
    assert "it cannot be written" in desk.text
    assert "see '9': allowed are 0 to 3." in desk.told
    assert [path.read_bytes() for path in found] == before


@given(st.integers(20, 220), st.integers(-20, 70), st.integers(1, 4), st.sampled_from(["true", "256", "16", "none"]))
def test_pictures_beside_each_other_fit_where_they_are_drawn(columns: int, rows: int, count: int, depth: str) -> None:
    shown = {str(i): np.full((72, 128, 3), (RED, BLUE)[i % 2], np.uint8) for i in range(count)}
    text = strip(shown, columns, rows, depth)  # type: ignore[arg-type]
    lines = ESCAPES.sub("", text).splitlines()
    assert lines[0].split() == [*shown]
    assert max(map(len, lines)) <= columns
    assert len(lines) <= max(rows, LEAST + 1)
    assert ("\x1b" in text) == (depth != "none")
    if depth == "true":
        assert "200;0;0m" in text
        assert ("0;0;200m" in text) == (count > 1)


PROGRAM = """
import sys
if "bare" in sys.argv:
    sys.modules["readline"] = None
from studio.audience.terminal import hear
for _ in range(int(sys.argv[1])):
    print(repr(hear("what?", ("listen", "look"))))
"""
VISIT = """
import sys
from studio.audience.attending import attend
from studio.audience.human import Human
from studio.audience.rooms import Room
from tests.studio.test_human import SHORT
human = Human("")
human._heard = False
print(attend([Room(SHORT)], human, 1).transcript.commands[1:])
"""


@contextmanager
def at_a_terminal(program: str, *words: str, size: tuple[int, int] = (80, 24), **env: str) -> Iterator[Typist]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    given = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONUTF8": "1", **env}
    given = {name: value for name, value in given.items() if value}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=given
    )
    os.close(theirs)
    try:
        yield Typist(ours, process)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


class Typist:
    """Whoever types at a terminal, when something is shown."""

    def __init__(self, end: int, process: subprocess.Popen[bytes]) -> None:
        self._end, self._process, self.shown, self._read = end, process, "", 0

    def until(self, text: str) -> str:
        """What is shown up to this text, from where it was read last."""
        while (at := self.shown.find(text, self._read)) < 0:
            try:
                self.shown += os.read(self._end, 65536).decode(errors="replace").replace("\r\n", "\n")
            except OSError:
                raise AssertionError(f"{text!r} was not shown: {self.shown}") from None
        before, self._read = self.shown[self._read : at], at + len(text)
        return before

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())


def test_lines_are_edited_remembered_and_completed() -> None:
    with at_a_terminal(PROGRAM, "3") as desk:
        for keys, line in (("lk\x1b[Doo\r", "look"), ("\x1b[A\x1b[A\r", "look"), ("li\t\r", "listen")):
            desk.until("what? ")
            desk.type(keys)
            assert desk.until(f"{line}'\n") is not None


def test_without_readline_lines_can_be_typed_all_the_same() -> None:
    with at_a_terminal(PROGRAM, "1", "bare") as desk:
        desk.until("what? ")
        desk.type("lok\x7f\x7fook\r")
        desk.until("'look'")


def test_what_is_asked_does_not_go_where_results_go() -> None:
    words = [sys.executable, "-c", PROGRAM, "1"]
    done = subprocess.run(words, input=b"listen \xff on\n", capture_output=True, check=True)
    assert (done.stderr.decode().split(), done.stdout.count(b"\n")) == (["what?", "listen", "on"], 1)


@pytest.mark.parametrize(("size", "no_color"), [((80, 24), ""), ((40, 24), "1")])
def test_in_a_terminal_the_words_stay_below_the_pictures(size: tuple[int, int], no_color: str) -> None:
    with at_a_terminal(VISIT, size=size, NO_COLOR=no_color) as desk:
        desk.until("What do you do? ")
        desk.type("go\r")
        desk.until("What do you do? ")
        desk.type("listen on\r")
        desk.until("\n")
        answer = desk.until("What do you do? ")
        desk.type("see 1\r")
        desk.until("\n")
        large = desk.until("What do you do? ")
        desk.type("quit\r")
        desk.until("How do you rate")
        desk.type("q\r")
        desk.until("('listen on', 'leave', 'leave')")
    lines = ESCAPES.sub("", answer).splitlines()
    assert max(map(len, lines)) <= size[0]
    assert lines[0].split() == ["0", "1", "2", "3"]
    told = next(i for i, line in enumerate(lines) if line.startswith("0: sound"))
    assert told >= LEAST + 1
    assert size != (80, 24) or len(lines) < size[1], "all of it is on the screen, with what is asked then"
    assert ("38;2;" in answer) == (not no_color)
    if no_color:
        assert not re.search(r"\x1b\[[0-9;]*m", answer + large)
    else:
        assert "200;0;0m" in answer
        assert "0;0;200m" in large
        assert "200;0;0m" not in large, "that moment alone"
