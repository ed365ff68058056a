"""Trials: all factors crossed, everything equally often, and nothing but the design and its seed behind it."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.experiment.design import CONDITIONS, Design, StudyError, parse
from studio.experiment.presenting import named
from studio.experiment.trials import Trial, drawn, trials

NAMES = ("a", "b", "c")


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Small studies of all tasks."""
    works = draw(st.integers(2, 3))
    conditions = draw(st.lists(st.sampled_from(CONDITIONS), unique=True, min_size=1, max_size=4))
    levels = draw(st.lists(st.sampled_from([0.0, 0.05, 0.2, 0.8]), unique=True, min_size=1, max_size=3))
    tasks = [{"task": "prefer", "conditions": conditions}, {"task": "same", "levels": levels}]
    tasks += [{"task": "mirror"}, {"task": "visit", "buttons": [{}, {"label": "lever"}]}]
    return parse(
        {
            "name": "s",
            "seed": draw(st.integers(0, 2**31 - 1)),
            "audiences": [
                {"name": "x", "visitor": "listener", "registers": draw(st.sampled_from([(), ("prose", "numbers")]))},
                {"name": "y", "visitor": "listener"},
            ],
            "works": [{"name": name, "piece": "cubics"} for name in NAMES[:works]],
            "tasks": tasks[: draw(st.integers(1, 4))],
            "wordings": draw(st.sampled_from([("plain",), ("plain", "guest")])),
            "arms": draw(st.sampled_from([{"neutral": ""}, {"one": "1", "other": "2"}])),
            "repeats": draw(st.integers(1, 3)),
            "analysis": {"primary": [f"prefer/{conditions[0]}"]},
        },
        "s",
    )


def factors(trial: Trial) -> tuple[object, ...]:
    """What is crossed, but for order, third and side."""
    return (
        *(trial.task, trial.condition, trial.level, trial.audience, trial.register),
        *(trial.wording, trial.arm, trial.work, trial.repeat),
    )


@settings(max_examples=15)
@given(designs())
def test_every_cell_comes_equally_often(design):
    found = trials(design)
    assert [trial.number for trial in found] == list(range(len(found)))
    for task, turns in (("prefer", (2, 1, 2)), ("same", (2, 2, 2)), ("mirror", (1, 1, 1)), ("visit", (1, 1, 1))):
        own = [trial for trial in found if trial.task == task]
        counted = Counter((factors(t), t.order, t.third, t.side) for t in own)
        assert set(counted.values()) <= {1}
        assert {key[1:] for key in counted} == (set(product(*map(range, turns))) if own else set())
        assert len(counted) == len({factors(t) for t in own}) * turns[0] * turns[1] * turns[2]
    cells = {trial.cell: factors(trial) for trial in found}
    assert len(set(cells.values())) == len(cells)
    assert all(cells[trial.cell] == factors(trial) for trial in found)
    of_work = Counter(trial.work for trial in found if trial.task in ("prefer", "same"))
    assert len(set(of_work.values())) <= 1


@settings(max_examples=15)
@given(designs())
def test_orders_and_sides_tell_nothing(design):
    """First or second, left or right: the target is there equally often, in every condition."""
    for task in ("prefer", "same"):
        found = [t for t in trials(design) if t.task == task]
        for condition in {(t.condition, t.level) for t in found}:
            own = [t for t in found if (t.condition, t.level) == condition]
            shown_first = Counter(t.order ^ t.third ^ t.side for t in own)
            told_first = Counter(t.order ^ t.third for t in own)
            assert shown_first[0] == shown_first[1]
            assert told_first[0] == told_first[1]


@settings(max_examples=10)
@given(designs(), st.integers(0, 2**31 - 1))
def test_the_same_seed_gives_the_same_trials(design, seed):
    found = trials(design)
    assert found == trials(design)
    assert [Trial(**trial.to_json()) for trial in found] == found
    other = trials(design.model_copy(update={"seed": seed}))
    assert len(other) == len(found)
    if seed != design.seed and len(found) > 20:
        assert [factors(t) for t in other] != [factors(t) for t in found]
        # Of 32 bits: of some thousands two may be equal.
        assert len({t.seed for t in other} & {t.seed for t in found}) <= 2
    assert len({t.seed for t in found}) >= len(found) - 2


@settings(max_examples=10)
@given(designs())
def test_another_secret_gives_the_same_cells_in_another_order_with_other_seeds(design):
    found, other = trials(design), trials(design, "5e")
    assert trials(design, "5e") == other != found
    assert Counter((factors(t), t.order, t.third, t.side) for t in other) == Counter(
        (factors(t), t.order, t.third, t.side) for t in found
    )
    assert len({t.seed for t in other} & {t.seed for t in found}) <= 2
    assert {t.variant for t in other}.isdisjoint({t.variant for t in found})


def test_seeds_are_of_all_that_they_are_drawn_for():
    asked = [("a", "x", 1), ("b", "x", 1), ("a", "y", 1), ("a", "x", 2), ("a", "x1"), ("a", "x", 1, 0)]
    seeds = [drawn(*one) for one in asked]
    assert len(set(seeds)) == len(asked)
    assert seeds == [drawn(*one) for one in asked]
    many = np.array([drawn("a", "x", number) for number in range(4000)])
    ones = np.mean((many[:, None] >> np.arange(32)) & 1, axis=0)
    assert np.all(np.abs(ones - 0.5) < 5 * 0.5 / 4000**0.5)


@settings(max_examples=10)
@given(designs())
def test_more_repeats_go_on_where_fewer_end(design):
    found = trials(design, "5e")
    more = trials(design.model_copy(update={"repeats": design.repeats + 1}), "5e")
    assert more[: len(found)] == found
    assert Counter(t.repeat for t in more) == dict.fromkeys(range(design.repeats + 1), len(more) - len(found))


@settings(max_examples=10)
@given(designs())
def test_a_sham_is_another_work_each_in_its_turn(design):
    design = design.model_copy(update={"repeats": 2 * (len(design.works) - 1)})
    sham = [t for t in trials(design) if t.condition == "sham"]
    assert all(t.other != t.work and t.other in NAMES for t in sham)
    assert len(set(Counter((t.work, t.other) for t in sham).values())) <= 1
    assert all(not t.other for t in trials(design) if t.condition != "sham")


def test_what_is_random_in_a_condition_is_the_same_for_all_who_attend_it():
    found = trials(parse(DESIGN, "s"))
    variants = {(t.work, t.repeat): t.variant for t in found}
    assert len(set(variants.values())) == len(variants) == 4
    assert all(variants[t.work, t.repeat] == t.variant for t in found)
    names = {t.cell: named(3, "5e", "trial", t.cell) for t in found}
    assert len(set(names.values())) == len(names)
    assert all(len(set(three)) == 3 for three in names.values())


def test_the_order_of_trials_is_no_order():
    """Neither audience, condition nor order comes earlier: their mean places are those of chance."""
    found = trials(parse({**DESIGN, "repeats": 25}, "s"))
    count = len(found)
    for of in (lambda t: t.audience, lambda t: t.condition, lambda t: t.order, lambda t: t.side):
        for value in {of(t) for t in found}:
            places = [t.number for t in found if of(t) == value]
            error = count / (12 * len(places)) ** 0.5
            assert abs(sum(places) / len(places) - count / 2) < 4 * error


def test_a_mirror_is_for_who_measures_surprise():
    kinds = {"chance": "random", "learns": "listener", "reads": "hf:x", "far away": "openai:x@http://y"}
    audiences = [{"name": name, "visitor": visitor} for name, visitor in kinds.items()]
    design = parse(
        {**DESIGN, "audiences": audiences, "moments": 4, "tasks": [*DESIGN["tasks"], {"task": "mirror"}]}, "s"
    )
    asked = {task: {t.audience for t in trials(design) if t.task == task} for task in ("mirror", "prefer")}
    assert asked == {"mirror": {"learns", "reads"}, "prefer": set(kinds)}


def test_runs_of_steering_come_first_and_those_of_donors_before_them():
    steer = {"task": "steer", "piece": "cubics", "audience": "y", "runs": 2}
    design = parse({**DESIGN, "tasks": [steer], "analysis": {"primary": ["steer/first"]}}, "s")
    found = trials(design, "5e")
    runs = [t for t in found if t.task == "run"]
    assert [(t.condition, t.work, t.audience, t.stage) for t in runs] == [
        *(("donor", f"run {i}", "x", 0) for i in (1, 2)),
        *((name, f"run {i}", "y", 1) for name in ("gp", "random", "yoked") for i in (1, 2)),
    ]
    assert [t.number for t in found] == list(range(len(found)))
    assert {t.task for t in found[len(runs) :]} == {"steer"}
    assert {t.stage for t in found[len(runs) :]} == {2}
    assert [t.seed for t in runs] == [3, 4, 1, 2, 1, 2, 1, 2], "all begin a run alike, but for its donor"
    assert len({t.seed for t in found[len(runs) :]}) == len(found) - len(runs)
    three = [{"name": "again", "visitor": "listener"}, *DESIGN["audiences"]]
    for audiences, whose in ((three, "x"), (three[::2], "again")):
        other = parse({**DESIGN, "audiences": audiences, "tasks": [steer], "analysis": design.analysis}, "s")
        assert {t.audience for t in trials(other) if t.condition == "donor"} == {whose}, "best another visitor"
    alone = parse({**DESIGN, "tasks": [{**steer, "steerers": ["gp", "none"]}], "analysis": design.analysis}, "s")
    assert not [t for t in trials(alone) if t.condition == "donor"], "nobody is given its ratings"


def test_too_many_trials_are_a_line():
    with pytest.raises(StudyError, match="trials: allowed are 1000000: cross fewer"):
        trials(parse({**DESIGN, "repeats": 90_000}, "s"))


DESIGN = {
    "name": "s",
    "seed": 1,
    "audiences": [{"name": "x", "visitor": "random"}, {"name": "y", "visitor": "listener"}],
    "works": [{"name": name, "piece": "cubics"} for name in "ab"],
    "tasks": [{"task": "prefer", "conditions": ["shuffled", "blind"]}],
    "repeats": 2,
    "analysis": {"primary": ["prefer/shuffled"]},
}
