"""Simulated power is what theory says where theory has an answer, and is alpha where there is nothing to find."""

import numpy as np
import pytest
from scipy.stats import nct, t

from studio.experiment.analysis import analysed
from studio.experiment.crossed import StatisticsError
from studio.experiment.inference import Method, adjusted
from studio.experiment.measures import abx_correct
from studio.experiment.power import Claim, Size, Variation, middle, planned, power, simulated, smallest
from tests.studio.experiment.simulated import HEARS, RAW, Mind, design, study

QUICK = Method(draws=200)
NONE = Variation(0, 0, 0, 0)
MANY = Variation(model=0.6, pair=0.6, wording=0.2, model_pair=0.5)


def rng(seed=0):
    return np.random.default_rng(seed)


def known(pairs, repeats, rate):
    """Power of a t test over pairs that differ by chance alone."""
    away = (rate - 0.5) / np.sqrt(rate * (1 - rate) / repeats / pairs)
    return nct.sf(t.ppf(0.975, pairs - 1), pairs - 1, away)


@pytest.mark.parametrize("rate", [0.55, 0.6, 0.65])
def test_with_one_factor_power_is_that_of_the_t_test(rate):
    found = power(Size(1, 30, 1, 5), rate, rng(1), variation=NONE, method=QUICK, experiments=800)
    assert found.value == pytest.approx(known(30, 5, rate), abs=0.06)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.08


def test_where_there_is_nothing_to_find_hardly_anything_is_found():
    size = Size(5, 12, 3, 2)
    for variation in (NONE, MANY):
        assert power(size, 0.5, rng(2), variation=variation, method=QUICK, experiments=300).value <= 0.05
    assert power(size, 0.4, rng(2), variation=MANY, method=QUICK, experiments=300).value <= 0.01


def test_power_rises_with_the_effect_and_falls_with_how_much_models_differ():
    size = Size(6, 12, 2, 2)
    values = [
        power(size, rate, rng(3), variation=MANY, method=QUICK, experiments=300).value for rate in (0.55, 0.65, 0.8)
    ]
    assert values == sorted(values)
    assert values[2] > values[0] + 0.5
    alike = power(size, 0.65, rng(3), variation=Variation(0.1, 0.3, 0.1, 0.2), method=QUICK, experiments=300)
    assert alike.low > values[1] + 0.1
    assert 0.2 < alike.width < 0.4


def test_more_repeats_do_not_make_up_for_few_models():
    few = power(Size(3, 12, 1, 50), 0.65, rng(4), variation=Variation(1.0, 0.2, 0, 0), method=QUICK, experiments=300)
    many = power(Size(15, 12, 1, 2), 0.65, rng(4), variation=Variation(1.0, 0.2, 0, 0), method=QUICK, experiments=300)
    assert few.size.trials == 1800 > many.size.trials
    assert few.high < many.low


def test_equivalence_has_power_where_it_is_so_and_none_where_it_is_not():
    claim, size = Claim("equivalent", margin=0.1), Size(6, 16, 5, 2)
    same = power(size, 0.5, rng(5), variation=NONE, claim=claim, method=QUICK, experiments=300)
    other = power(size, 0.6, rng(5), variation=NONE, claim=claim, method=QUICK, experiments=300)
    small = power(Size(3, 4), 0.5, rng(5), variation=NONE, claim=claim, method=QUICK, experiments=300)
    assert same.low > 0.9
    assert other.value <= 0.08
    assert small.value < 0.3


def test_studies_whose_few_cells_are_alike_by_chance_count_as_they_are_analysed():
    claim = Claim("equivalent", margin=0.1)
    found = power(Size(1, 2, 1, 4), 0.6, rng(5), variation=NONE, claim=claim, method=QUICK, experiments=300)
    assert found.value <= 0.05
    assert found.width > 0.4


def test_the_effect_is_the_mean_of_the_population_however_much_levels_differ():
    far = Variation(1.5, 1.5, 0.5, 1.0)
    chances = simulated(Size(30, 30, 4, 1), 0.7, far, 60, rng(6)).mean(axis=(1, 2, 3))
    assert chances.mean() == pytest.approx(0.7, abs=3 * chances.std() / np.sqrt(60))
    # The middle of the logits is further out, and alone would be taken for the effect.
    assert middle(0.7, far.total) > np.log(0.7 / 0.3) + 0.4
    assert middle(0.5, far.total) == pytest.approx(0, abs=1e-9)
    assert middle(0.7, 0.0) == pytest.approx(np.log(0.7 / 0.3))


def test_levels_differ_as_much_as_is_said():
    found = simulated(Size(40, 40, 1, 400), 0.5, Variation(model=0.4, pair=0.2, wording=0, model_pair=0), 4, rng(7))
    logits = np.log(found / (1 - found))
    assert logits.mean(axis=(2, 3)).std(axis=1).mean() == pytest.approx(0.4, abs=0.06)
    assert logits.mean(axis=(1, 3)).std(axis=1).mean() == pytest.approx(0.2, abs=0.04)


def test_the_smallest_number_of_pairs_is_that_of_the_t_test():
    found = smallest(Size(1, 4, 1, 5), 0.62, rng(8), variation=NONE, method=QUICK, experiments=600)
    needed = next(pairs for pairs in range(4, 200) if known(pairs, 5, 0.62) >= 0.8)
    assert abs(found.size.pairs - needed) <= 4
    assert found.value >= 0.8
    assert found.size == Size(1, found.size.pairs, 1, 5)
    repeats = smallest(
        Size(1, 20), float(abx_correct(1.5)), rng(8), grow=("repeats",), variation=NONE, method=QUICK, experiments=300
    )
    assert 1 < repeats.size.repeats < 20


def test_what_more_pairs_cannot_reach_is_said():
    with pytest.raises(
        StatisticsError, match=r"16 pairs reach a power of 0\.\d\d .* not 0\.8: make something else more"
    ):
        smallest(
            Size(3, 4), 0.6, rng(9), most=16, variation=Variation(model=1.0), method=QUICK, experiments=100,
        )  # fmt: skip


def test_what_limits_the_power_can_grow_with_the_rest():
    """Models that differ much and are few: no number of pairs makes up for them, and both together do."""
    variation = Variation(model=0.8, pair=0.4, wording=0, model_pair=0)
    with pytest.raises(StatisticsError, match=r"too \(models and pairs together\)") as said:
        smallest(Size(2, 4), 0.75, rng(9), most=32, variation=variation, method=QUICK, experiments=100)
    assert "32 pairs reach a power of 0." in str(said.value)
    both = smallest(
        Size(2, 4), 0.75, rng(9), grow=("models", "pairs"), most=32, variation=variation, method=QUICK, experiments=100
    )
    assert both.value >= 0.8
    assert 4 < both.size.models == both.size.pairs <= 32


def test_it_tells_how_far_it_is_and_stops_when_it_is_told_to():
    told, asked = [], []

    def stop():
        asked.append(len(told))
        return len(asked) > 2

    found = power(
        Size(4, 6), 0.6, rng(), method=QUICK, experiments=1000,
        progress=lambda stage, done, total: told.append((stage, done, total)), stop=stop,
    )  # fmt: skip
    assert found.experiments == 200
    assert told == [("power", done, 1000) for done in (0, 100, 200)]
    assert 0.05 < found.high - found.low < 0.2
    with pytest.raises(StatisticsError, match="before any experiment"):
        power(Size(4, 6), 0.6, rng(), stop=lambda: True)
    with pytest.raises(StatisticsError, match="stopped at 6 pairs"):
        smallest(Size(4, 6), 0.6, rng(), stop=lambda: True)


def test_what_is_held_fixed_costs_nothing():
    variation = Variation(0.3, 0.3, 0.1, 0.1)
    free, fixed = (
        power(Size(2, 20, 2, 2), 0.65, rng(10), variation=variation, method=method, experiments=300)
        for method in (QUICK, Method(draws=200, fixed=("model", "wording")))
    )
    assert fixed.low > free.high


def test_impossible_designs_are_named():
    with pytest.raises(StatisticsError, match="every number must be 1 or more"):
        Size(0, 5)
    with pytest.raises(StatisticsError, match="at least two models, pairs or wordings"):
        Size(1, 1, 1, 50)
    with pytest.raises(StatisticsError, match=r"a rate of 1\.2"):
        power(Size(2, 5), 1.2, rng())
    with pytest.raises(StatisticsError, match="all factors are fixed"):
        power(Size(1, 5), 0.6, rng(), method=Method(fixed=("pair",)))


def plan(outcome, **replaced):
    """What is planned for an outcome of the simulated studies' design, changed."""
    return planned(design(**{"wordings": ["plain", "guest"], **replaced}), outcome)


def test_a_design_counts_as_it_will_be_analysed():
    """Models, works and wordings are those of the estimate; whatever else is crossed repeats them."""
    results = analysed(study(HEARS, found=design(wordings=["plain", "guest"])), 100)
    for outcome in ("prefer/shuffled", "same/shuffled"):
        estimate = next(one.estimate for one in results.findings if one.outcome == outcome)
        size = plan(outcome).size
        assert {"model": size.models, "work": size.pairs, "wording": size.wordings} == estimate.levels
        assert size.trials == estimate.trials
    assert plan("prefer/shuffled", arms={"a": "", "b": "x"}).size.repeats == 2 * plan("prefer/shuffled").size.repeats


def test_audiences_of_one_model_are_one_in_a_plan():
    seeds = [{"name": f"seed {i}", "visitor": "hf:/models/0", "options": {"context": 1000 + i}} for i in range(6)]
    size = plan("prefer/shuffled", audiences=seeds).size
    assert (size.models, size.trials) == (1, plan("prefer/shuffled").size.trials)


def test_listeners_are_planned_for_where_they_count():
    audiences = [{**one, "visitor": "listener"} if i < 2 else one for i, one in enumerate(RAW["audiences"])]
    assert plan("prefer/shuffled", audiences=audiences).size.models == 4
    assert plan("same/shuffled", audiences=audiences).size.models == 5, "four models, and the listener"
    alone = [{**one, "visitor": "listener"} for one in RAW["audiences"]]
    assert plan("prefer/shuffled", audiences=alone).size.models == 1


def test_runs_of_steering_are_its_works():
    steer = {"task": "steer", "piece": "cubics", "audience": "model 0", "rounds": 3, "runs": 10}
    made = plan("steer/first", tasks=[steer], works=RAW["works"][:2], analysis={"primary": ["steer/first"]})
    assert made.size == Size(6, 10, 2, 4)


def test_a_mirror_is_held_against_one_of_its_curves():
    guesses = {"name": "random", "visitor": "random"}  # it measures no surprise, so that there is no curve of it
    made = plan(
        "mirror", audiences=[*RAW["audiences"], guesses], tasks=[{"task": "mirror"}], analysis={"primary": ["mirror"]}
    )
    assert (made.claim.kind, made.claim.chance) == ("above", pytest.approx(1 / 6))
    assert made.size == Size(6, 6, 2, 1)


def test_primary_outcomes_must_hold_at_holms_first_step():
    three = ["prefer/shuffled", "prefer/silent", "same/shuffled"]
    assert plan("prefer/shuffled").level == pytest.approx(0.95)
    assert plan("prefer/shuffled", analysis={"primary": three}).level == pytest.approx(1 - 0.05 / 3)
    assert plan("prefer/silent").level == pytest.approx(0.95), "it is not primary"
    p = dict.fromkeys(three, 1 - plan("prefer/shuffled", analysis={"primary": three}).level)
    assert adjusted(p, "holm")["prefer/shuffled"] == pytest.approx(0.05)
    both = {"primary": ["prefer/shuffled", "visit/idle"]}
    visited = [*RAW["tasks"], {"task": "visit"}]
    assert plan("prefer/shuffled", tasks=visited, analysis=both).level == pytest.approx(0.95), "habits are not tested"


def test_what_a_design_can_never_show_is_known_beforehand():
    assert plan("prefer/shuffled").reserves == ()
    assert plan("prefer/silent").reserves == ("unasked",)
    bare = {"tasks": [{"task": "prefer", "conditions": ["shuffled"]}], "works": RAW["works"][:4]}
    made = study(Mind({"shuffled": 0.9}), found=design(**bare))
    one = next(one for one in analysed(made, 100).findings if one.outcome == "prefer/shuffled")
    assert plan("prefer/shuffled", **bare).reserves == one.reserves == ("controls", "unasked", "works")
    assert plan("prefer/blind").reserves == ()


def test_controls_are_planned_to_be_equivalent():
    made = plan("prefer/blind", analysis={"primary": ["prefer/shuffled"], "margin": 0.07})
    assert made.claim == Claim("equivalent", margin=0.07, alpha=pytest.approx(0.05))
    graded = [{"task": "same", "levels": [0, 0.8]}]
    assert plan("same/0", tasks=graded, analysis={"primary": ["same/0.8"]}).claim.kind == "equivalent"
