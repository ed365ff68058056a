"""Steerers: what they turn, what they propose, and what they refuse."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pieces.errors import ControlError, DescantError
from pieces.knobs import Choice, Knob
from pieces.piece import Piece, PieceError, check_piece, find_piece, knob_value, library, parse_piece
from pieces.signals import Control
from pieces.source import BUILT_IN, Source
from studio.audience.cube import MOST, Cube, Turnable, adjustable, knobs_of
from studio.audience.optimisers import SteererError
from studio.audience.proposal import Answer, Proposal
from studio.audience.steerers import KnobSteerer, Yoked, appoint, steerer_names
from studio.plan import plan

TOWER = "parts.tower.controls."


class Bell(Source):
    """A source with controls of every kind."""

    name, about = "bell", "a bell"
    controls = (
        Control("hardness", "of the mallet", 0.5, (0.0, 2.0)),
        Control("decay", "of the sound", 1.0, (0.1, 10.0), unit="s", shape="log"),
        Control("strokes", "how many", 4, (1, 9)),
        Control("metal", "of the bell", "iron", choices=("iron", "brass", "glass")),
    )

    def step(self, controls, events, n):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def bell(monkeypatch):
    monkeypatch.setitem(BUILT_IN, "bell", f"{__name__}:Bell")
    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(Bell=Bell))


def piece(knobs: Sequence[Mapping[str, Any]] = (), controls: Mapping[str, Choice] | None = None, **more: Any) -> Piece:
    part = {"source": "bell", "rate": 10, "ticks": 10, "controls": dict(controls or {})}
    score = {"voices": {"hum": {"instrument": "glide", "lanes": {"pitch": "A3"}}}}
    raw = {"title": "Bell", "parts": {"tower": part}, "score": score, "knobs": list(knobs), **more}
    return parse_piece(raw, "test")


def answered(steerer: KnobSteerer, ratings: Sequence[float | None]) -> list[Answer]:
    """What comes of a steerer's own proposals when they are rated so."""
    answers: list[Answer] = []
    for k, value in enumerate(ratings):
        answers.append(Answer(f"take{k}", steerer.propose(answers).changes, value))
    return answers


# What can be turned.


@st.composite
def knobs(draw: st.DrawFn) -> Knob:
    if draw(st.booleans()):
        several = st.lists(st.one_of(st.text(max_size=3), st.booleans()), min_size=2, max_size=5, unique=True)
        return Knob(path=draw(st.uuids()).hex, choices=tuple(draw(several)))
    whole = draw(st.booleans())
    low, width = (draw(st.integers(1, 50)), draw(st.integers(1, 60))) if whole else (draw(st.floats(1e-3, 1e3)), 10.0)
    shape = draw(st.sampled_from(["linear", "log"]))
    return Knob(path=draw(st.uuids()).hex, range=(low, low + width), shape=shape, whole=whole)


@given(st.lists(knobs(), min_size=1, max_size=5, unique_by=lambda knob: knob.path), st.data())
def test_values_and_places_are_inverse_whatever_the_knobs(found: list[Knob], data: st.DataObject) -> None:
    cube = Cube([Turnable(knob, knob.value(0.0)) for knob in found])
    point = np.array(data.draw(st.lists(st.floats(0, 1), min_size=cube.dims, max_size=cube.dims)))
    values = cube.values(point)
    for knob in found:
        assert knob.check(values[knob.path]) == pytest.approx(values[knob.path])
        assert type(values[knob.path]) in ((int,) if knob.whole else (float,) if knob.range else (bool, str))
    there = cube.point(values)
    assert ((there >= 0) & (there <= 1)).all()
    again = cube.values(there)
    assert all(again[path] == pytest.approx(value) for path, value in values.items())
    np.testing.assert_allclose(cube.snap(np.stack([point, there])), [there, there], atol=1e-9)


@given(knobs(), st.floats(0, 1))
def test_a_step_leads_to_another_value_that_is_allowed_and_ends_hold(knob: Knob, u: float) -> None:
    value = knob.value(u)
    up, down = knob.stepped(value, 1), knob.stepped(value, -1)
    assert knob.position(down) <= knob.position(value) <= knob.position(up)
    assert down != up
    for _ in range(60):
        up, down = knob.stepped(knob.check(up), 1), knob.stepped(knob.check(down), -1)
    ends = (knob.value(0.0), knob.value(1.0))
    assert (knob.position(down), knob.position(up)) == pytest.approx(tuple(map(knob.position, ends)))


def test_whole_numbers_and_choices_have_equal_shares() -> None:
    everywhere = np.linspace(0, 1, 9001)
    for knob in (Knob(path="x", range=(1, 3), whole=True), Knob(path="x", choices=("a", "b", "c"))):
        counts = np.unique([knob.value(u) for u in everywhere], return_counts=True)[1]
        np.testing.assert_allclose(counts / len(everywhere), 1 / 3, atol=0.001)
    cube = Cube([Turnable(Knob(path="x", choices=("a", "b", "c")), "a")])
    apart = [np.linalg.norm(cube.point({"x": a}) - cube.point({"x": b})) for a, b in ("ab", "bc", "ac")]
    assert len(np.unique(np.round(apart, 9))) == 1, "no choice is between two others"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "give 'range'"),
        ({"range": (0, 1), "choices": ("a", "b")}, "not both"),
        ({"range": (1, 0)}, "must rise"),
        ({"range": (0, 1), "shape": "log"}, "positive range"),
        ({"range": (0, 1.5), "whole": True}, "whole ends"),
        ({"choices": ("a",)}, "two or more that differ"),
        ({"choices": (True, 1)}, "two or more that differ"),
    ],
)
def test_knobs_that_cannot_be_are_refused(raw: Mapping[str, Any], message: str) -> None:
    with pytest.raises(PieceError, match=message):
        piece([{"path": "x", **raw}])


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        (Knob(path="x", range=(0, 1)), 1.01),
        (Knob(path="x", range=(0, 1)), float("nan")),
        (Knob(path="x", range=(0, 1)), True),
        (Knob(path="x", range=(0, 1)), "0.5"),
        (Knob(path="x", range=(0, 4), whole=True), 1.5),
        (Knob(path="x", choices=(False, True)), 1),
        (Knob(path="x", choices=("a", "b")), "c"),
    ],
)
def test_values_that_a_knob_cannot_have_are_refused_with_what_it_can(knob: Knob, value: object) -> None:
    with pytest.raises(ControlError, match=r"x = .*: allowed are "):
        knob.check(value)


def test_knobs_are_the_piece_s_own_or_what_is_found_in_it() -> None:
    own = KnobSteerer(piece([{"path": "master.loudness", "range": [-30, -12]}]), "gp", 0)
    assert [knob.path for knob in own.cube.knobs] == ["master.loudness"]
    found = {knob.path: knob for knob in KnobSteerer(piece(), "gp", 0).cube.knobs}
    assert [p.removeprefix(TOWER) for p in found] == [
        "hardness", "score.voices.hum.lanes.pitch", "decay", "strokes", "metal",
    ]  # fmt: skip
    assert found[f"{TOWER}decay"].shape == "log"
    assert found[f"{TOWER}strokes"].range == (2, 8)
    assert found[f"{TOWER}strokes"].whole
    assert found[f"{TOWER}metal"].choices == ("iron", "brass", "glass")
    assert found["score.voices.hum.lanes.pitch"].range == pytest.approx((110, 440))


def test_what_a_section_sets_is_not_turned() -> None:
    composed = piece(sections=[{"name": "one", "bars": 1, "controls": {"tower.decay": 2.0}}])
    assert f"{TOWER}decay" not in [knob.path for knob in KnobSteerer(composed, "gp", 0).cube.knobs]


@pytest.mark.parametrize("name", sorted(library()))
def test_what_is_found_in_a_piece_holds_at_both_ends(name: str) -> None:
    found, base = find_piece(name)
    bare = found.model_copy(update={"knobs": ()})
    classes = check_piece(bare, name)
    knobs = knobs_of(bare, classes)
    assert 6 <= len(knobs) <= MOST
    assert any(".lanes." in one.knob.path and ".range." in one.knob.path for one in knobs)
    for one in adjustable(found, classes):
        for u in (0.0, 1.0):
            plan(name, found.with_values({one.knob.path: one.knob.value(u)}), base)
        assert one.knob.value(one.knob.position(one.written)) == pytest.approx(one.written)


def test_a_knob_that_leads_nowhere_is_refused() -> None:
    for path in ("score.voices.bell.gain_db", "sections.7.bars"):
        with pytest.raises(PieceError, match="nothing is there, a knob turns a number"):
            KnobSteerer(piece([{"path": path, "range": [-6, 6]}]), "gp", 0)
    with pytest.raises(PieceError, match="'iron' is there, allowed are lead, tin"):
        KnobSteerer(piece([{"path": f"{TOWER}metal", "choices": ["lead", "tin"]}]), "gp", 0)
    with pytest.raises(DescantError, match="two whole numbers or more"):
        KnobSteerer(piece([{"path": f"{TOWER}strokes", "range": [3.2, 4.1]}]), "gp", 0)


def test_an_end_of_a_range_can_be_turned() -> None:
    pitch = {"channel": "loss", "range": ["A3", "A5"]}
    score = {"voices": {"hum": {"instrument": "glide", "lanes": {"pitch": pitch}}}}
    knob = {"path": "score.voices.hum.lanes.pitch.range.1", "range": [300, 2000], "shape": "log"}
    with pytest.raises(PieceError, match="'A5' is there"):
        check_piece(piece([knob], score=score), "test")
    lower = piece([knob], score=score).with_values({knob["path"]: 440.0})
    assert lower.score["voices"]["hum"]["lanes"]["pitch"]["range"] == ["A3", 440.0]
    assert knob_value(lower, lower.knobs[0], {}) == 440.0
    with pytest.raises(PieceError, match="no '5'"):
        lower.with_values({"score.voices.hum.lanes.pitch.range.5.x": 1.0})


# What is proposed.


@pytest.mark.parametrize("name", ["gp", "random"])
def test_a_proposal_makes_a_piece_that_lies_at_its_point_whatever_it_turns(name: str) -> None:
    steerer = KnobSteerer(piece(), name, 3)
    kinds: dict[str, set[Choice]] = {}
    for answer in answered(steerer, [k / 9 for k in range(10)]):
        changed = piece().with_values(answer.changes)
        classes = check_piece(changed, "test")
        for knob in steerer.cube.knobs:
            assert knob_value(changed, knob, classes) == answer.changes[knob.path]
            kinds.setdefault(knob.path, set()).add(answer.changes[knob.path])
    assert steerer.cube.point({}) == pytest.approx(steerer.cube.point(steerer.cube.written))
    assert {type(value) for value in kinds[f"{TOWER}strokes"]} == {int}
    assert len(kinds[f"{TOWER}metal"]) > 1
    assert all(0.1 <= value <= 10 for value in kinds[f"{TOWER}decay"])


@pytest.mark.parametrize("name", ["gp", "random"])
def test_proposals_replay_from_the_history(name: str) -> None:
    answers = answered(KnobSteerer(piece(), name, 3), [0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.25])
    for k in range(8):
        proposal = KnobSteerer(piece(), name, 3).propose(answers[:k])
        assert proposal.parents == tuple(f"take{i}" for i in range(k))
        assert Proposal.model_validate_json(proposal.model_dump_json()) == proposal
        assert k == 7 or proposal.changes == answers[k].changes
    steerer = KnobSteerer(piece(), name, 3)
    other = [Answer(answer.take, answer.changes, 1 - answer.value) for answer in answers]
    assert (steerer.propose(answers).point != steerer.propose(other).point) == (name == "gp")
    assert str(len(answers)) in steerer.propose(answers).reason


def test_a_take_that_was_not_rated_says_nothing_but_is_not_made_again() -> None:
    steerer = KnobSteerer(piece(), "gp", 3)
    answers = answered(steerer, [None, None, None])
    assert len({str(answer.changes) for answer in answers}) == 3
    rated = [Answer("a", {}, 0.5), Answer("b", {}, None)]
    assert steerer.propose(rated).parents == ("a",)


def test_gp_finds_the_choice_and_the_number_that_are_liked() -> None:
    steerer = KnobSteerer(piece([{"path": f"{TOWER}metal", "choices": ["iron", "brass", "glass"]}]), "gp", 0)
    answers: list[Answer] = []
    for k in range(12):
        changes = steerer.propose(answers).changes
        answers.append(Answer(f"take{k}", changes, {"iron": 0.1, "brass": 0.9, "glass": 0.2}[changes[f"{TOWER}metal"]]))
    assert [answer.changes[f"{TOWER}metal"] for answer in answers[-4:]] == ["brass"] * 4


def test_none_proposes_the_same_piece_again() -> None:
    steerer = appoint("none", piece(), 0)
    first = steerer.propose([])
    assert (first.changes, first.parents) == ({}, ())
    changed = {f"{TOWER}decay": 2.0}
    again = steerer.propose([Answer("a", {}, 1.0), Answer("b", changed, 0.0)])
    assert (again.changes, again.parents) == (changed, ("b",))
    assert "same piece" in again.reason


def test_yoked_goes_by_the_ratings_of_another_and_not_by_its_own() -> None:
    ratings = [0.0, 1.0, 0.25, 0.9, 0.1, 0.6, 0.2]
    steerer = Yoked(piece(), 3, ratings, "run 7 of the listener")
    answers = answered(KnobSteerer(piece(), "random", 0), [0.5] * 7)
    proposal = steerer.propose(answers)
    assert "run 7 of the listener" in proposal.reason
    assert (proposal.steerer, proposal.seed) == ("yoked", 3)
    own = [Answer(a.take, a.changes, 0.1 * k) for k, a in enumerate(answers)]
    assert steerer.propose(own) == proposal
    assert Yoked(piece(), 3, ratings[::-1], "").propose(answers).point != proposal.point
    more = [*answers, Answer("take7", {}, 1.0)]
    assert steerer.propose(more).parents == proposal.parents, "beyond the other's last take nothing was rated"


def test_yoked_with_the_seed_of_whoever_rated_does_not_go_the_same_way() -> None:
    """Else the ratings would be contingent on what is made after all."""
    ratings = [0.0, 1.0, 0.25, 0.9, 0.1, 0.6]
    master = answered(KnobSteerer(piece(), "gp", 3), ratings)
    yoked = Yoked(piece(), 3, ratings, "the same")
    assert all(yoked.propose(master[:k]).changes != master[k].changes for k in range(6))


@pytest.mark.parametrize("recorded", [(), (None, None)])
def test_yoked_to_nobody_is_refused(recorded: Sequence[None]) -> None:
    with pytest.raises(SteererError, match="name a run"):
        appoint("yoked", piece(), 0, recorded=recorded)


# A person.


class Desk:
    """A person at a terminal: types lines, and reads what is shown."""

    def __init__(self, *lines: str) -> None:
        self._lines: Iterator[str] = iter(lines)
        self.shown: list[str] = []

    def __call__(self, text: str) -> str | None:
        self.shown.append(text)
        return next(self._lines, None)


def test_a_person_turns_knobs_of_every_kind() -> None:
    desk = Desk(f"{TOWER}decay = 2.5, metal = brass", "strokes=5")
    steerer = appoint("human", piece(), 0, converse=desk)
    first = steerer.propose([Answer("a")])
    assert first.changes == {f"{TOWER}decay": 2.5, f"{TOWER}metal": "brass"}
    assert first.parents == ("a",)
    assert "decay = 2.5" in first.reason
    second = steerer.propose([Answer("a"), Answer("b", first.changes)])
    assert second.changes == {**first.changes, f"{TOWER}strokes": 5}
    assert isinstance(second.changes[f"{TOWER}strokes"], int)
    assert f"{TOWER}decay = 1 (numbers from 0.1 to 10)" in desk.shown[0]
    assert f"{TOWER}metal = brass (iron, brass, glass)" in desk.shown[1]
    assert steerer.propose([]) is None, "there are no more lines"


def test_a_person_turns_what_is_on_or_off() -> None:
    limited = piece([{"path": "master.limiter", "choices": [False, True]}])
    for line, value in (("limiter = on", True), ("limiter = False", False), ("master.limiter = yes", True)):
        found = appoint("human", limited, 0, converse=Desk(line)).propose([])
        assert found.changes == {"master.limiter": value}
        assert limited.with_values(found.changes).master.limiter is value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("decay = 20", "allowed are numbers from 0.1 to 10"),
        ("decay = nan", "allowed are numbers"),
        ("decay = much", "'much': allowed are numbers"),
        ("strokes = 4.5", "allowed are whole numbers from 2 to 8"),
        ("metal = lead", "allowed are iron, brass, glass"),
        ("decoy = 1", "no knob 'decoy'; did you mean"),
        ("title = hello", "no knob 'title'"),
        ("decay", "type knob = value"),
        ("decay = \x1b[31m1", "allowed are numbers"),
        ("decay = 2, metal = lead", "allowed are iron"),
    ],
)
def test_what_a_person_cannot_turn_is_refused_and_asked_again(line: str, said: str) -> None:
    desk = Desk(line, "decay = 2")
    proposal = appoint("human", piece(), 0, converse=desk).propose([])
    assert proposal.changes == {f"{TOWER}decay": 2.0}
    assert desk.shown[1].startswith("refused: ")
    assert said in desk.shown[1]
    assert "\x1b" not in desk.shown[1]


def test_a_person_may_leave_all_as_it_is_or_run_out_of_patience() -> None:
    held = [Answer("a", {f"{TOWER}decay": 2.0})]
    left = appoint("human", piece(), 0, converse=Desk("")).propose(held)
    assert left.changes == held[0].changes
    assert "Nothing was turned" in left.reason
    babble = appoint("human", piece(), 0, converse=lambda text: "x" * 10_000).propose(held)
    assert babble.changes == held[0].changes
    assert "were refused" in babble.reason
    assert len(babble.reason) < 500


def test_a_name_that_two_knobs_end_in_is_refused() -> None:
    voices = {v: {"instrument": "glide", "lanes": {"pitch": "A3"}} for v in ("one", "two")}
    desk = Desk("pitch = 300", "one.lanes.pitch = 300")
    proposal = appoint("human", piece(score={"voices": voices}), 0, converse=desk).propose([])
    assert "may be any of score.voices.one.lanes.pitch, score.voices.two" in desk.shown[1]
    assert proposal.changes == {"score.voices.one.lanes.pitch": 300.0}


# Who is appointed.


def test_unknown_steerers_and_those_that_lack_something_are_refused() -> None:
    assert {"gp", "random", "none", "yoked", "wish", "human"} <= set(steerer_names())
    with pytest.raises(SteererError, match="no steerer 'wash'; did you mean 'wish'"):
        appoint("wash", piece(), 0)
    with pytest.raises(SteererError, match="needs whoever performs"):
        appoint("wish", piece(), 0)
    with pytest.raises(SteererError, match="needs a person"):
        appoint("human", piece(), 0)
    for name in ("gp", "random"):
        assert appoint(name, piece(), 0).propose([]).steerer == name
