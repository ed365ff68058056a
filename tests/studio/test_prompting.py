"""How a model is asked and its answers are weighed: what fits is kept, what is a liking for a letter falls out."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.audience.prompting import Notes, asked_hash, by_order, checked, orders, prompt_hash, request, weighed
from studio.audience.visitor import AudienceError, Question

LOGITS = st.floats(-20, 20)
WHICH = Question("", "What do you do?", ("look", "listen", "leave"))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


# --- notes


@given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=30), max_size=30), st.integers(0, 200))
def test_the_newest_lines_that_fit_are_told_and_the_rest_is_counted(lines, room):
    notes = Notes(lambda line: len(line) + 1, 200)
    notes.begin("Attend.")
    for line in lines:
        notes.tell(line)
    text, dropped = notes.state(WHICH, room)
    told = text.removeprefix("Attend.").split()
    first = len(lines) - len(told)
    assert told == lines[first:]
    assert dropped == sum(len(line) + 1 for line in lines[:first])
    assert sum(len(line) + 1 for line in told) <= room
    if first and len(lines[first - 1]) < 30:
        assert sum(len(line) + 1 for line in lines[first - 1 :]) > min(room, 200), "one more would have fitted"


def test_what_is_cut_off_of_a_line_is_counted():
    notes = Notes(lambda line: len(line) + 1, 100)
    notes.tell("a" * 99)
    assert notes.state(WHICH, 100) == ("a" * 99, 0)
    notes.tell("b" * 400)
    told, dropped = notes.state(WHICH, 100)
    assert set(told) == {"b"}
    assert dropped == 100 + 400 - len(told)


def test_what_it_did_stands_among_what_it_was_told_and_what_a_study_asked_does_not():
    notes = Notes(len, 1000)
    notes.begin("Attend.")
    notes.tell("The hall.")
    notes.decided(Question("", "?", ("go", "look")), "go")
    notes.decided(Question("go", "?", ("bado", "sile")), "sile")
    notes.tell("Room sile: 24 moments.\nNothing else.")
    notes.decided(Question("prefer", "?", ("bado", "sile")), "bado")
    notes.decided(Question("", "?", ("sleep", "look")), "look")
    notes.tell("Room sile.")
    notes.decided(Question("rate", "?", ("0", "1")), "1")
    notes.tell("Another work.")
    text, _ = notes.state(Question("", "?", ("look",), budget=3.5, moves=7), 1000)
    assert text.splitlines() == [
        "Attend.",
        "",
        "The hall.",
        "> go sile",
        "Room sile: 24 moments.",
        "Nothing else.",
        "> look",
        "Room sile.",
        "Another work.",
        "Budget 3.5, commands so far 7.",
    ]
    notes.begin("Again.")
    assert notes.state(WHICH, 1000) == ("Again.", 0)


@pytest.mark.parametrize("line", ["x" * 10_000_000, "ab\n" * 3_000_000, " \t" * 2_000_000])
def test_whatever_is_told_no_more_is_looked_at_than_could_fit(line):
    looked = 0

    def cost(text: str) -> int:
        nonlocal looked
        looked += len(text)
        return len(text) + 1

    notes = Notes(cost, 500)
    notes.tell(line)
    text, dropped = notes.state(WHICH, 500)
    assert 0 < len(text) + line.isspace() <= 502
    assert dropped > len(line) / 20
    assert looked < 100_000


# --- questions


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=26, unique=True), st.integers(0, 30))
def test_in_all_rotations_each_option_is_once_at_each_place(options, count):
    shown = orders(options)
    assert shown[0] == tuple(options)
    assert all(len(set(place)) == len(options) for place in zip(*shown, strict=True))
    some = orders(options, count, first=count)
    assert len(set(some)) == len(some) == (min(count, len(options)) or len(options))
    assert set(some) <= set(shown)


@pytest.mark.parametrize("options", [(), tuple(map(str, range(27))), ("look", "look")])
def test_a_question_that_letters_cannot_ask_is_refused(options):
    with pytest.raises(AudienceError, match=r"'What\?' has \d+ options: allowed are 1 to 26, each once"):
        checked(Question("", "What?", options))


def test_options_stand_in_a_prompt_as_they_are():
    made = request("state", "What?", orders(["go", "A. leave"]))
    assert [list(one["criteria"]) for one in made["questions"].values()] == [["go", "A. leave"], ["A. leave", "go"]]


def test_another_template_is_another_prompt():
    assert len({prompt_hash(), prompt_hash("a"), prompt_hash("b"), prompt_hash("a", "b")}) == 4
    assert prompt_hash("a") == prompt_hash("a")


# --- answers


def shown_with_a_liking(says: np.ndarray, letters: np.ndarray, count: int = 0) -> np.ndarray:
    """Logits of options that say something, from a model that likes letters, in each order; as they were given."""
    n = len(says)
    return np.array([[says[i] + letters[order.index(i)] for i in range(n)] for order in orders(range(n), count)])


@given(st.integers(2, 26).flatmap(lambda n: st.tuples(*[st.lists(LOGITS, min_size=n, max_size=n)] * 3)))
def test_a_liking_for_letters_and_for_options_falls_out(logits):
    says, letters, liked = map(np.array, logits)
    found = weighed(shown_with_a_liking(says + liked, letters * 50), shown_with_a_liking(liked, letters * 50))
    assert found.shares == pytest.approx(softmax(says), abs=1e-6)
    assert found.uncorrected == pytest.approx(softmax(says + liked), abs=1e-6)
    assert weighed(shown_with_a_liking(says, letters)).shares == pytest.approx(softmax(says), abs=1e-6)
    half = weighed(shown_with_a_liking(says, letters), shown_with_a_liking(liked, letters), 0.5)
    assert half.shares == pytest.approx(softmax(says - liked / 2), abs=1e-6)


def test_without_rotations_a_liking_for_letters_stays():
    says, letters = np.array([0.0, 3.0]), np.array([30.0, 0.0])
    assert weighed(shown_with_a_liking(says, letters, 1)).shares[0] > 0.99
    assert weighed(shown_with_a_liking(says, letters)).shares[1] > 0.9


def test_flips_are_orders_with_another_winner():
    says, none = np.array([0.0, 3.0, 1.0]), np.zeros(3)
    assert weighed(shown_with_a_liking(says, none)).flips == 0
    assert weighed(shown_with_a_liking(says, np.array([30.0, 0.0, 0.0]))).flips == 2
    assert weighed(shown_with_a_liking(says, np.array([2.5, 0.0, 0.0]))).flips == 1


@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(LOGITS, min_size=n, max_size=n), min_size=n, max_size=n)))
def test_each_order_is_written_down_as_it_was_shown(logits):
    options = tuple(f"w{i}" for i in range(len(logits)))
    shown = orders(options)
    rows = by_order(shown, options, logits).split("; ")
    for row, order, given_ in zip(rows, shown, logits, strict=True):
        told = [part.split() for part in row.split(", ")]
        assert [name for name, _ in told] == list(order)
        shares = dict(zip(options, softmax(np.array(given_)), strict=True))
        assert [float(share) for _, share in told] == pytest.approx([shares[name] for name in order], abs=1e-4)


def test_a_prompt_is_known_by_all_that_stands_in_it():
    shown = orders(("a", "b"))
    same = asked_hash("told", "Which?", shown)
    assert same == asked_hash("told", "Which?", orders(("a", "b")))
    others = [("told.", "Which?", shown), ("told", "What?", shown), ("told", "Which?", shown[::-1])]
    assert len({same, *(asked_hash(*one) for one in others)}) == 4
