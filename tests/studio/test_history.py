"""Undo and redo against the plainest model of them: two stacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.work import Edit
from studio.history import TURN_S, History, HistoryError

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 3)),
        st.tuples(st.just("undo"), st.just(0)),
        st.tuples(st.just("redo"), st.just(0)),
    ),
    max_size=40,
)


class Stacks:
    """The reference: what is behind, what is heard, what is ahead."""

    def __init__(self) -> None:
        self.behind: list[int] = []
        self.piece = 0
        self.ahead: list[int] = []

    def step(self, kind: str, value: int) -> bool:
        """Do it; False if it cannot be done."""
        if kind == "edit":
            if value != self.piece:
                self.behind, self.piece, self.ahead = [*self.behind, self.piece], value, []
            return True
        source, target = (self.behind, self.ahead) if kind == "undo" else (self.ahead, self.behind)
        if not source:
            return False
        target.append(self.piece)
        self.piece = source.pop()
        return True


def step(history: History, kind: str, value: int) -> bool:
    try:
        if kind == "edit":
            history.edit(f"set {value}", {"n": value})
        else:
            getattr(history, kind)()
    except HistoryError:
        return False
    return True


def stored(history: History) -> History:
    """As it comes out of the archive."""
    return History(history.edits, history.head, history.tip)


@given(STEPS, st.integers(0, 40))
def test_any_sequence_is_that_of_two_stacks_also_when_it_is_reopened_on_the_way(
    steps: list[tuple[str, int]], reopened: int
) -> None:
    history, stacks = History.begin({"n": 0}), Stacks()
    for number, (kind, value) in enumerate(steps):
        if number == reopened:
            history = stored(history)
        assert step(history, kind, value) == stacks.step(kind, value)
        assert history.piece == {"n": stacks.piece}
        assert (history.undo_label is None) == (not stacks.behind)
        assert (history.redo_label is None) == (not stacks.ahead)


@given(STEPS, st.data())
def test_nothing_that_was_ever_heard_is_lost(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    history = History.begin({"n": 0})
    heard: list[Mapping[str, Any]] = [history.piece]
    for kind, value in steps:
        step(history, kind, value)
        heard.append(history.piece)
    assert all(piece in [e.piece for e in history.edits] for piece in heard)
    number = data.draw(st.integers(0, len(history.edits) - 1))
    assert history.jump(number).number == history.head == number
    again = stored(history)
    redone = []
    while history.redo_label is not None:
        assert history.redo_label == again.redo_label
        redone.append(history.redo())
        assert again.redo() == redone[-1]
    assert history.head == history.tip
    for edit in reversed(redone):
        assert history.head == edit.number
        history.undo()
    assert history.head == number


def test_turns_of_one_knob_within_a_second_are_one_edit() -> None:
    clock = [10.0]
    history = History.begin({"n": 0}, now=lambda: clock[0])

    def turn(value: int, knob: str, after: float) -> Edit | None:
        clock[0] += after
        return history.edit(f"{knob} {value}", {"n": value}, knob)

    turn(1, "a", 0.0)
    turn(2, "a", 0.9 * TURN_S)
    merged = turn(3, "a", 0.9 * TURN_S)
    assert merged == Edit(1, 0, "a 3", {"n": 3})
    turn(4, "b", 0.1)  # another knob
    turn(5, "b", 1.1 * TURN_S)  # too late
    assert [e.label for e in history.edits] == ["opened", "a 3", "b 4", "b 5"]
    history.undo()
    assert turn(6, "b", 0.1) == Edit(4, 2, "b 6", {"n": 6})  # after an undo nothing merges
    history.edit("text", {"n": 7})
    history.edit("more", {"n": 8})
    assert len(history.edits) == 7
    assert turn(8, "b", 0.1) is None  # nothing changed


def test_what_cannot_be_done_says_so() -> None:
    history = History.begin({"n": 0})
    for act, line in (
        (history.undo, "nothing to undo"),
        (history.redo, "nothing to redo"),
        (lambda: history.jump(1), "no edit 1: there are 0 to 0"),
    ):
        with pytest.raises(HistoryError, match=line):
            act()
