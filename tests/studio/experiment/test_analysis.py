"""What is known of simulated visitors is found, nothing else is, and what cannot be claimed is not claimed."""

from dataclasses import replace

import numpy as np
import pytest

from studio.experiment.analysis import Results, analysed
from studio.experiment.inference import adjusted
from studio.experiment.sample import model_of
from studio.experiment.verdicts import sentence, steering
from tests.studio.experiment.simulated import DRAWS, HEARS, RAW, Mind, design, listeners, study


def found(results: Results, outcome: str):
    return next(one for one in results.findings if one.outcome == outcome)


def said(results: Results, outcome: str) -> str:
    return sentence(found(results, outcome), results)


@pytest.fixture(scope="module")
def heard() -> Results:
    return analysed(study(HEARS), DRAWS)


def test_a_preference_that_is_there_is_shown(heard):
    one = found(heard, "prefer/shuffled")
    assert (one.role, one.verdict, one.by_progress) == ("primary", "shown", False)
    assert 0.5 < one.estimate.low < 0.75 < one.estimate.high
    assert one.estimate.levels == {"model": 6, "work": 6, "wording": 3}
    assert said(heard, "prefer/shuffled").startswith("Shown. The share of comparisons in which the work as it is")
    assert heard.standing == "at chance"
    assert found(heard, "prefer/blind").verdict == "at chance"


def test_an_estimate_is_the_mean_over_cells(heard):
    cells: dict[tuple[str, ...], list[bool]] = {}
    for row in heard.study.rows:
        if row["outcome"] == "prefer/silent":
            cells.setdefault((row["audience"], row["work"], row["wording"]), []).append(row["target"])
    mean = np.mean([np.mean(cell) for cell in cells.values()])
    assert found(heard, "prefer/silent").estimate.value == pytest.approx(mean)


def test_what_is_told_apart_is_told_for_each_model_and_grows_with_the_difference(heard):
    by_level = {level: [one for one in heard.hearing if one.level == level] for level in (0.1, 0.8)}
    assert [len(ones) for ones in by_level.values()] == [6, 6]
    assert all(one.discrimination.low > 0 for one in by_level[0.8])
    assert found(heard, "same/0.8").discrimination.dprime > 2 + found(heard, "same/0.1").discrimination.dprime
    slope = found(heard, "same/slope")
    assert (slope.role, slope.verdict) == ("positive", "heard")
    line = found(heard, "same/0.8").discrimination.dprime - found(heard, "same/0.1").discrimination.dprime
    assert slope.estimate.value == pytest.approx(line / 0.7, abs=0.01)
    assert all(one.hears for one in heard.preferences)


def test_what_is_not_primary_is_no_more_than_a_hint():
    results = analysed(study(Mind({"shuffled": 0.75, "silent": 0.8}, 0.95)), DRAWS)
    assert found(results, "prefer/silent").verdict == "hint"
    assert said(results, "prefer/silent").startswith("A hint, to be tested by a study of its own.")


def test_where_nothing_is_there_nothing_is_claimed():
    small = design(
        audiences=RAW["audiences"][:4], works=RAW["works"][:4], wordings=["plain", "guest"],
        tasks=[{"task": "prefer", "conditions": ["shuffled", "blind"]}, {"task": "same", "levels": [0.8]}],
    )  # fmt: skip
    claimed = []
    for seed in range(25):
        results = analysed(study(Mind(), seed, small), DRAWS)
        claimed += [one.outcome for one in results.findings if one.verdict in ("shown", "provisional", "hint", "void")]
        assert said(results, "prefer/shuffled").split(".")[0] in ("Not shown", "Provisional", "The opposite", "Void")
    assert len(claimed) <= 3, claimed


def test_a_side_bias_is_a_habit_and_no_preference():
    results = analysed(study(Mind({"shuffled": 0.9}, 0.95, side=0.9)), DRAWS)
    assert found(results, "prefer/shuffled").verdict == "not shown"
    assert all(habit.side.low > 0.7 and habit.flips.low > 0.5 for habit in results.habits)
    assert "nobody here is shown to" in said(results, "prefer/shuffled")
    even = analysed(study(HEARS), DRAWS).habits
    assert all(habit.side.low < 0.5 < habit.side.high for habit in even)
    assert np.mean([habit.flips.value for habit in even]) == pytest.approx(0.35, abs=0.08)


def test_a_leak_voids_whatever_is_preferred():
    results = analysed(study(Mind({"shuffled": 0.75, "blind": 0.7}, 0.95)), DRAWS)
    assert results.standing == "leaks"
    assert found(results, "prefer/blind").verdict == "leaks"
    assert found(results, "prefer/shuffled").verdict == "void"
    assert said(results, "prefer/blind").startswith("Broken.")
    assert said(results, "prefer/shuffled").startswith("Void.")
    avoided = analysed(study(Mind({"shuffled": 0.75, "blind": 0.3}, 0.95)), DRAWS)
    assert avoided.standing == "leaks"


@pytest.mark.parametrize(
    ("changed", "standing"),
    [
        ({"analysis": {"primary": ["prefer/shuffled"], "margin": 0.02}}, "undecided"),
        ({"tasks": [{"task": "prefer", "conditions": ["shuffled"]}, {"task": "same", "levels": [0.8]}]}, "none"),
    ],
)
def test_without_a_control_that_holds_a_preference_is_provisional(changed, standing):
    results = analysed(study(HEARS, found=design(**changed)), DRAWS)
    assert (results.standing, found(results, "prefer/shuffled").verdict) == (standing, "provisional")
    assert said(results, "prefer/shuffled").startswith("Provisional.")


def test_who_cannot_tell_works_apart_is_flagged_beside_its_preferences():
    deaf = analysed(study(Mind({"shuffled": 0.75})), DRAWS)
    assert found(deaf, "prefer/shuffled").verdict == "provisional"
    one = analysed(study(lambda name: replace(HEARS, right=0.5) if name == "model 2" else HEARS), DRAWS)
    assert {one.audience for one in one.preferences if one.hears is False} == {"model 2"}
    assert "not shown to: model 2 (numbers)" in said(one, "prefer/shuffled")
    assert found(one, "prefer/shuffled").verdict == "shown"
    unasked = design(tasks=[{"task": "prefer", "conditions": ["shuffled", "blind"]}])
    assert "Not asked whether they tell works apart: 6 of 6." in said(
        analysed(study(HEARS, found=unasked), DRAWS), "prefer/shuffled"
    )


def test_who_is_always_right_about_two_works_tells_them_apart():
    few = design(
        audiences=RAW["audiences"][:1], works=RAW["works"][:2], wordings=["plain"], repeats=2,
        tasks=[{"task": "same", "levels": [0.8]}], analysis={"primary": ["same/0.8"]},
    )  # fmt: skip
    sharp = analysed(study(Mind(right=1.0), found=few), DRAWS).hearing[0].discrimination
    assert sharp.low > 0
    # Who always follows a side is right in half of the trials.
    sided = analysed(study(Mind(side=1.0), found=few), DRAWS).hearing[0].discrimination
    assert sided.low <= 0 <= sided.high


def test_seeds_of_one_model_are_no_subjects():
    seeds = [{"name": f"seed {i}", "visitor": "hf:/models/0", "options": {"seed": i}} for i in range(6)]
    results = analysed(study(HEARS, found=design(audiences=seeds)), DRAWS)
    estimate = found(results, "prefer/shuffled").estimate
    assert estimate.levels["model"] == 1
    assert "one of model: nothing generalises over model" in estimate.notes
    assert model_of("openai:big@http://one/v1") == model_of("openai:big@http://two/v1") != model_of("openai:small")


def test_learning_progress_is_told_by_itself_and_never_counted_as_preference():
    results = analysed(listeners(2, prefers=0.5), DRAWS)
    assert results.study.measuring == {"model 0", "model 1"}
    one = found(results, "prefer/shuffled")
    assert (one.verdict, one.by_progress, one.estimate.levels["model"]) == ("not shown", False, 4)
    assert {p.audience for p in results.preferences if p.by_progress} == {"model 0", "model 1"}
    told = {(p.audience, p.outcome): p for p in results.progress if p.outcome.startswith("prefer")}
    assert set(told) == {(f"model {i}", f"prefer/{c}") for i in (0, 1) for c in ("shuffled", "silent", "blind")}
    shuffled = told["model 0", "prefer/shuffled"]
    assert (shuffled.own, shuffled.other) == (pytest.approx(0.5), pytest.approx(0.2))
    assert shuffled.difference.value == pytest.approx(0.3)
    assert shuffled.chosen.value == 1
    alone = analysed(listeners(6, prefers=0.5), DRAWS)
    assert found(alone, "prefer/shuffled").by_progress
    assert said(alone, "prefer/shuffled").startswith("By learning progress, which is no preference: ")


def test_whoever_reports_progress_is_one_that_measures():
    made = study(HEARS)
    first = made.rows[0]
    assert replace(made, reports={first["number"]: {"progress": 0.1}}).measuring == {first["audience"]}
    assert not made.measuring


def test_the_number_of_outcomes_is_corrected_for_and_missing_ones_count(heard):
    rules = design(analysis={"primary": ["prefer/shuffled", "prefer/silent"], "margin": 0.1})
    both = analysed(study(HEARS, found=rules), DRAWS)
    p = {one.outcome: one.p for one in both.of("primary")}
    assert {one.outcome: one.adjusted for one in both.of("primary")} == adjusted(p, "holm")
    assert found(both, "prefer/shuffled").adjusted == 2 * found(heard, "prefer/shuffled").p
    rows = tuple(row for row in both.study.rows if row["outcome"] != "prefer/silent")
    missing = analysed(replace(both.study, rows=rows), DRAWS)
    assert found(missing, "prefer/silent").verdict == "none"
    assert found(missing, "prefer/shuffled").adjusted == pytest.approx(2 * found(missing, "prefer/shuffled").p)
    others = {f.outcome: f.p for f in heard.findings if f.role in ("exploratory", "positive") and f.p is not None}
    assert {f.outcome: f.adjusted for f in heard.findings if f.outcome in others} == adjusted(others, "bh")


def test_what_was_not_primary_when_it_was_frozen_never_becomes_so(heard):
    frozen = {"design": design().model_dump(mode="json")}
    changed = design(analysis={"primary": ["prefer/silent"], "margin": 0.4})
    record = replace(heard.study.record, design=frozen)
    results = analysed(replace(heard.study, record=record, design=changed), DRAWS)
    assert [one.outcome for one in results.of("primary")] == ["prefer/shuffled"]
    assert found(results, "prefer/blind").equivalence.margin == 0.1


def test_what_is_avoided_is_the_opposite():
    results = analysed(study(Mind({"shuffled": 0.2}, 0.95)), DRAWS)
    assert found(results, "prefer/shuffled").verdict == "opposite"
    assert "below chance" in said(results, "prefer/shuffled")


def test_failed_and_excluded_trials_are_counted_by_reason_and_left_out():
    made = study(HEARS)
    rows = [dict(row) for row in made.rows]
    for row in rows[:30]:
        row |= {"status": "failed", "excluded": "failed", "error": "no answer"}
        del row["target"], row["first_shown"]
    for i, row in enumerate(rows[30:50]):
        row |= {"excluded": f"max_flips = 0.2 (0.{3 + i % 4})", "target": False}
    results = analysed(replace(made, rows=tuple(rows[:-5])), DRAWS)
    assert results.counts.failed == {"no answer": 30}
    assert results.counts.excluded == {"max_flips = 0.2": 20}
    assert (results.counts.planned, results.counts.over) == (3024, 3019)
    assert results.counts.analysed == 3019 - 50
    nothing = analysed(replace(made, rows=()), DRAWS)
    assert {one.verdict for one in nothing.findings} == {"none"}
    assert nothing.standing == "undecided"


def test_visits_have_no_chance_value_and_a_mirror_has_that_of_its_curves():
    buttons = [{"label": "nice", "price": 1.0}, {"label": "dull", "price": 2.0}]
    rules = design(
        tasks=[{"task": "visit", "buttons": buttons}, {"task": "mirror"}],
        analysis={"primary": ["mirror", "visit/idle"], "margin": 0.1},
    )
    made, rng = study(Mind(), found=rules), np.random.default_rng(1)
    for row in made.rows:
        if row["task"] == "visit":
            button = buttons[int(row["condition"])]
            row |= {"idle": 0.25, "press": 0.4 if button["label"] == "nice" else 0.1, "ratings": {"t": 0.5}}  # type: ignore[operator]
            row |= {"button": button["label"], "price": button["price"]}  # type: ignore[operator]
        else:
            row |= {"chance": 1 / 3, "target": bool(rng.random() < 0.8)}  # type: ignore[operator]
    results = analysed(made, DRAWS)
    one = found(results, "mirror")
    assert (one.verdict, one.estimate.chance) == ("shown", pytest.approx(1 / 3))
    assert found(results, "visit/idle").verdict == "measured"
    assert found(results, "visit/idle").adjusted is None
    assert one.adjusted == one.p  # what has no test is not among those that are corrected for
    shares = {o: found(results, f"visit/press/{o}").estimate.value for o in ("nice@1", "dull@2")}
    assert shares == {"nice@1": pytest.approx(0.4), "dull@2": pytest.approx(0.1)}


def test_steering_is_judged_by_fresh_visitors():
    steer = {"task": "steer", "piece": "cubics", "audience": "model 0"}
    rules = design(
        tasks=[steer, {"task": "prefer", "conditions": ["blind"]}], repeats=6,
        analysis={"primary": ["steer/first", "steer/random", "steer/yoked"], "margin": 0.1},
    )  # fmt: skip
    works = analysed(study(Mind({"first": 0.8, "random": 0.75, "yoked": 0.5}), found=rules), DRAWS)
    verdicts = {one.outcome: one.verdict for one in works.of("primary")}
    assert verdicts == {"steer/first": "shown", "steer/random": "shown", "steer/yoked": "not shown"}
    assert "the last take steered by gp over the last one steered by random" in said(works, "steer/random")
    assert steering(works) == "Steering by gp is not shown to work; what lacks is a preference in steer/yoked."
    all_three = analysed(study(Mind({"first": 0.8, "random": 0.75, "yoked": 0.8}), found=rules), DRAWS)
    assert steering(all_three).startswith("Steering by gp is shown to work")
    assert not steering(analysed(study(HEARS), DRAWS))
    learners = [{**one, "visitor": "listener"} for one in RAW["audiences"]]
    by_progress = replace(all_three.study, design=design(**{**rules.model_dump(), "audiences": learners}))
    assert steering(analysed(by_progress, DRAWS)).startswith("Steering by gp is not shown to work")
    assert works.findings[0].estimate.levels | {"work": 1} == {"model": 6, "work": 1, "wording": 3}


def test_agreement_is_of_tastes_that_are_shared_and_not_of_a_shared_side():
    made = study(Mind({"shuffled": 0.5}, 0.95))
    for row in made.rows:
        if row["task"] == "prefer":
            row["target"] = int(row["work"][1:]) % 2 == 0  # type: ignore[index]
    shared = found(analysed(made, DRAWS), "alpha/prefer")
    assert shared.estimate.value > 0.95
    assert (shared.p, shared.verdict) == (None, "measured")
    sided = found(analysed(study(Mind(side=1.0), found=design()), DRAWS), "alpha/prefer")
    assert sided.estimate is None  # all rate all alike
    assert "agreement of 1 different values" in sided.problem


def test_equal_studies_give_equal_results(heard):
    again = analysed(study(HEARS), DRAWS)
    assert again.findings == heard.findings
    less = replace(again.study, rows=tuple(r for r in again.study.rows if r["task"] != "same"))
    assert found(analysed(less, DRAWS), "prefer/silent").estimate == found(heard, "prefer/silent").estimate
