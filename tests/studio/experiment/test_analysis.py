"""What is known of simulated visitors is found, nothing else is, and what cannot be claimed is not claimed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from db.audience import AnnotationRecord
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


def test_what_is_told_apart_is_told_for_each_model_and_grows_with_the_difference():
    graded = design(tasks=[{"task": "same", "levels": [0.1, 0.8]}], analysis={"primary": ["same/0.8"]})
    results = analysed(study(HEARS, found=graded), DRAWS)
    by_level = {level: [one for one in results.hearing if one.level == level] for level in (0.1, 0.8)}
    assert [len(ones) for ones in by_level.values()] == [6, 6]
    assert all(one.discrimination.low > 0 for one in by_level[0.8])
    assert found(results, "same/0.8").discrimination.dprime > 2 + found(results, "same/0.1").discrimination.dprime
    slope = found(results, "same/slope")
    assert (slope.role, slope.verdict) == ("positive", "heard")
    line = found(results, "same/0.8").discrimination.dprime - found(results, "same/0.1").discrimination.dprime
    assert slope.estimate.value == pytest.approx(line / 0.7, abs=0.01)


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
    assert "Nobody here is shown to tell these apart" in said(results, "prefer/shuffled")
    even = analysed(study(HEARS), DRAWS).habits
    assert all(habit.side.low < 0.5 < habit.side.high for habit in even)
    # Two choices of p differ in 2 p (1 - p) of the pairs: of 12 pairs 2 have 0.75, 2 have 0.6, and 8, of ABX, 0.95.
    apart = (2 * 0.75 * 0.25 + 2 * 0.6 * 0.4 + 8 * 0.95 * 0.05) * 2 / 12
    assert np.mean([habit.flips.value for habit in even]) == pytest.approx(apart, abs=0.05)
    # Who draws its choices by probabilities is not on a side because two draws differ.
    made = study(HEARS)
    drawn = tuple({**row, "p_target": 0.75} for row in made.rows)
    assert {habit.flips.value for habit in analysed(replace(made, rows=drawn), DRAWS).habits} == {0.0}
    first = tuple({**row, "p_target": 0.75 if row["target"] == row["first_shown"] else 0.25} for row in made.rows)
    assert {habit.flips.value for habit in analysed(replace(made, rows=first), DRAWS).habits} == {1.0}


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
        ({"tasks": [{**RAW["tasks"][0], "conditions": ["shuffled"]}, RAW["tasks"][1]]}, "none"),
    ],
)
def test_without_a_control_that_holds_a_preference_is_provisional(changed, standing):
    results = analysed(study(HEARS, found=design(**changed)), DRAWS)
    assert (results.standing, found(results, "prefer/shuffled").verdict) == (standing, "provisional")
    assert found(results, "prefer/shuffled").reserves == ("controls",)
    assert said(results, "prefer/shuffled").startswith("Provisional.")
    assert "The controls do not bear it." in said(results, "prefer/shuffled")


def test_who_cannot_tell_works_apart_is_left_out_and_told_beside():
    """Three that cannot tell, and choose; three that can, and do not: nothing is preferred by whoever hears it."""
    deaf, hears = Mind({"shuffled": 0.9}), Mind({}, 0.95)
    results = analysed(study(lambda name: deaf if name < "model 3" else hears), DRAWS)
    one = found(results, "prefer/shuffled")
    assert (one.verdict, one.estimate.levels["model"]) == ("not shown", 3)
    assert one.estimate.low < 0.5 < one.estimate.high
    assert {p.audience for p in results.preferences if p.hears is False} == {"model 0", "model 1", "model 2"}
    beside = {p.audience: p.estimate.value for p in results.preferences if p.outcome == "prefer/shuffled"}
    assert min(beside[f"model {i}"] for i in (0, 1, 2)) > 0.8
    left = (
        "Left out, as they are not shown to tell these apart: model 0 (numbers), model 1 (numbers), model 2 (numbers)."
    )
    assert left in said(results, "prefer/shuffled")
    able = analysed(study(lambda name: Mind({"shuffled": 0.1}) if name == "model 2" else HEARS), DRAWS)
    assert found(able, "prefer/shuffled").verdict == "shown"
    assert found(able, "prefer/shuffled").estimate.levels["model"] == 5
    # Controls are of all: whoever knows what it must not, knows it without hearing.
    assert found(results, "prefer/blind").estimate.levels["model"] == 6


def test_what_nobody_can_tell_apart_or_was_asked_about_is_not_shown_to_be_preferred(heard):
    deaf = analysed(study(Mind({"shuffled": 0.75})), DRAWS)
    one = found(deaf, "prefer/shuffled")
    assert (one.verdict, one.reserves, one.estimate.levels["model"]) == ("provisional", ("deaf",), 6)
    assert "Nobody here is shown to tell these apart, and who cannot, cannot like one." in said(deaf, "prefer/shuffled")
    # That noise is told from a work says nothing of the same work with its moments in another order.
    noise = [{"task": "prefer", "conditions": ["shuffled", "blind"]}, {"task": "same", "levels": [0.8]}]
    unasked = analysed(study(HEARS, found=design(tasks=noise)), DRAWS)
    one = found(unasked, "prefer/shuffled")
    assert (one.verdict, one.reserves) == ("provisional", ("unasked",))
    assert all(one.discrimination.low > 0 for one in unasked.hearing)
    assert "Whether anybody tells these apart was not asked (ABX)." in said(unasked, "prefer/shuffled")
    asked = {one.outcome: one.hears for one in heard.preferences}
    assert asked == {"prefer/shuffled": True, "prefer/silent": None, "prefer/blind": None}


def test_what_rests_on_few_works_or_models_is_no_more_than_provisional_or_says_so():
    for count, verdict in ((1, "provisional"), (5, "provisional"), (6, "shown")):
        few = design(works=RAW["works"][:count], analysis={"primary": ["prefer/shuffled"], "margin": 0.3})
        results = analysed(study(Mind({"shuffled": 0.9}, 0.95), found=few), DRAWS)
        one = found(results, "prefer/shuffled")
        assert (one.verdict, one.estimate.levels["work"]) == (verdict, count)
        assert one.reserves == (() if verdict == "shown" else ("works",))
        noted = f"{count} work{'s' * (count > 1)}, fewer than 6: it is about these very works, and no others."
        assert (noted in said(results, "prefer/shuffled")) == (count < 6)
    alone = design(audiences=RAW["audiences"][:1], analysis={"primary": ["prefer/shuffled"], "margin": 0.2})
    told = said(analysed(study(Mind({"shuffled": 0.9}, 0.95), found=alone), DRAWS), "prefer/shuffled")
    assert told.endswith("1 model, fewer than 6: hardly anything is said of others.")


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


def steered(runs: int = 6, asked: bool = True, **more: Any):
    """A design of steering, with the control and the ABX that it needs."""
    steer = {"task": "steer", "piece": "cubics", "audience": "model 0", "runs": runs}
    controls = [{"task": "prefer", "conditions": ["blind"]}, {"task": "same", "conditions": ["sham"]}]
    primary = ["steer/first", "steer/random", "steer/yoked"]
    return design(**{
        "tasks": [steer, *controls[: 1 + asked]], "wordings": ["plain"],
        "analysis": {"primary": primary, "margin": 0.3}, **more,
    })  # fmt: skip


def test_steering_is_judged_by_fresh_visitors():
    rules, mind = steered(), Mind({"first": 0.85, "random": 0.85, "yoked": 0.5}, right=0.95)
    works = analysed(study(mind, found=rules), DRAWS)
    verdicts = {one.outcome: one.verdict for one in works.of("primary")}
    assert verdicts == {"steer/first": "shown", "steer/random": "shown", "steer/yoked": "not shown"}
    assert "the last take steered by gp over the last one steered by random" in said(works, "steer/random")
    assert steering(works) == (
        "Steering by gp is not shown to work; what lacks is a preference in steer/yoked (not shown)."
    )
    all_three = analysed(study(Mind({**mind.prefers, "yoked": 0.85}, 0.95), found=rules), DRAWS)
    assert steering(all_three).startswith("Steering by gp is shown to work")
    assert not steering(analysed(study(HEARS), DRAWS))
    measured = {row["number"]: {"progress": 0.1} for row in all_three.study.rows}
    by_progress = replace(all_three.study, reports=measured)
    told = steering(analysed(by_progress, DRAWS))
    assert told.startswith(
        "Steering by gp is not shown to work; what lacks is a preference in steer/first (by learning"
    )
    assert works.findings[0].estimate.levels == {"model": 6, "work": 6, "wording": 1}


@pytest.mark.parametrize(("changed", "reserve"), [({"runs": 1, "repeats": 5}, "works"), ({"asked": False}, "unasked")])
def test_one_run_of_steering_or_no_abx_shows_nothing(changed, reserve):
    results = analysed(
        study(Mind(dict.fromkeys(("first", "random", "yoked"), 0.85), 0.95), found=steered(**changed)), DRAWS
    )
    assert {(one.verdict, one.reserves) for one in results.of("primary")} == {("provisional", (reserve,))}
    assert "is not shown to work" in steering(results)
    one_run = "1 run, fewer than 6: it is about these takes, and not about steering."
    assert (one_run in steering(results)) == (one_run in said(results, "steer/first")) == (reserve == "works")


@pytest.mark.parametrize("runs", [1, 6])
def test_takes_of_random_appeal_are_no_steering_that_works(runs):
    """Null studies: what is steered to, and what it is held against, differ by chance, much, and from run to run."""
    rules, verdicts = steered(runs), []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        likes = {(name, to): rng.random() < 0.5 for name in rules.tasks[0].names for to in ("first", "random", "yoked")}
        made = study(Mind(right=0.95), seed, rules)
        for row in made.rows:
            if row["task"] == "steer":
                row["target"] = bool(rng.random() < (0.85 if likes[row["work"], row["condition"]] else 0.15))  # type: ignore[index]
        results = analysed(made, 100)
        verdicts += [one.verdict for one in results.of("primary")]
        assert "is not shown to work" in steering(results)
    assert verdicts.count("shown") <= (0 if runs == 1 else 1)
    assert ("provisional" in verdicts) == (runs == 1)  # this is what one run would have been taken for


def test_opposed_instructions_are_held_against_each_other():
    small = {
        "wordings": ["plain"],
        "arms": {"neutral": "", "like": "Choose what you like.", "leave": "Choose the other."},
    }
    rules = design(**small, analysis={"primary": ["prefer/shuffled"], "margin": 0.2})

    def arms(prefers):
        made, rng = study(Mind(right=0.95), found=rules), np.random.default_rng(3)
        for row in made.rows:
            if row["outcome"] == "prefer/shuffled":
                row["target"] = bool(rng.random() < prefers[row["arm"]])  # type: ignore[index]
        return analysed(made, DRAWS)

    follows = arms({"neutral": 0.5, "like": 0.9, "leave": 0.1})
    assert [one.outcome for one in follows.findings if one.outcome.startswith("arm/")] == [
        "arm/prefer/like", "arm/prefer/leave",
    ]  # fmt: skip
    like, leave = (found(follows, f"arm/prefer/{arm}") for arm in ("like", "leave"))
    assert (like.role, like.verdict, leave.verdict) == ("exploratory", "hint", "hint")
    assert like.estimate.value == pytest.approx(0.4, abs=0.1)
    assert leave.estimate.value == pytest.approx(-0.4, abs=0.1)
    assert (like.estimate.within, like.estimate.chance) == ((-1.0, 1.0), 0.0)
    assert "was chosen under the instruction leave than under neutral: this is -0." in said(follows, "arm/prefer/leave")
    heedless = arms(dict.fromkeys(small["arms"], 0.8))
    assert {found(heedless, f"arm/prefer/{arm}").verdict for arm in ("like", "leave")} == {"not shown"}
    assert not any(one.outcome.startswith("arm/") for one in analysed(study(HEARS), DRAWS).findings)


def coded(tags: dict[str, str], kind: str = "fact", blind: bool = True) -> list[AnnotationRecord]:
    """Notes on transcripts, one a letter; ``-``: none."""
    return [
        AnnotationRecord(transcript_id=f"t{i}", turn=i % 3, author=author, kind=kind, tag=tag, text="", blind=blind)  # type: ignore[arg-type]
        for author, word in tags.items()
        for i, tag in enumerate(word)
        if tag != "-"
    ]


def test_blind_coders_agree_as_krippendorff_says():
    # Krippendorff 2011, section B, two observers: 1 - observed / expected disagreement.
    one, other = "aabbbcacab", "aabbbbacab"
    notes = coded({"Ada": one + "a", "Bo": other + "-"}) + coded({"Ada": "ab", "Cy": "ba"}, blind=False)
    # Who tags a turn twice, or another turn of it, says no more than that the transcript has the tag.
    notes += [AnnotationRecord(transcript_id="t0", turn=9, author="Bo", kind="fact", tag="a", text="", blind=True)]
    made = study(HEARS, found=design(works=RAW["works"][:2], wordings=["plain"]))
    results = analysed(replace(made, annotations=tuple(notes)), DRAWS)
    assert [one.outcome for one in results.findings if one.outcome.startswith("alpha/fact")] == [
        "alpha/fact/a", "alpha/fact/b", "alpha/fact/c",
    ]  # fmt: skip
    for tag, apart in (("a", 0), ("b", 1), ("c", 1)):
        agreed = found(results, f"alpha/fact/{tag}")
        counts = np.array([(one + other).count(tag), 20 - (one + other).count(tag)])
        expected = 1 - (counts * (counts - 1)).sum() / (20 * 19)
        assert agreed.estimate.value == pytest.approx(1 - (2 * apart / 20) / expected)
        assert agreed.estimate.levels == {"unit": 10}
        assert (agreed.role, agreed.p, agreed.verdict) == ("exploratory", None, "measured")
        assert f"The agreement of blind coders on the fact {tag} (alpha)" in said(results, f"alpha/fact/{tag}")
        assert "1 units were rated less than twice: left out" in agreed.estimate.notes
    guess = np.random.default_rng(2).choice(list("ab"), (2, 60))
    drawn = coded({"Ada": "".join(guess[0]), "Bo": "".join(guess[1])}, "interpretation")
    results = analysed(replace(made, annotations=tuple(drawn)), DRAWS)
    chance = found(results, "alpha/interpretation/a").estimate
    assert chance.low < 0 < chance.high
    alone = replace(made, annotations=tuple(coded({"Ada": "ab"}) + coded({"Ada": "ab", "Cy": "ba"}, blind=False)))
    assert not any("fact" in one.outcome for one in analysed(alone, DRAWS).findings), "who was not blind does not count"


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
