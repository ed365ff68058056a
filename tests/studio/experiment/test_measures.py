"""Every measure finds what is there in simulated visitors, and nothing in those who know nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from studio.experiment.crossed import StatisticsError
from studio.experiment.inference import Method, mean
from studio.experiment.measures import (
    abx,
    abx_correct,
    abx_dprime,
    alpha,
    log_linear,
    slope,
    swap_flips,
)

QUICK = Method(draws=300)
#: Krippendorff 2011, section C: 4 observers, 12 units.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, np.nan, np.nan, np.nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, np.nan, 3],
        [np.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, np.nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, np.nan],
    ]
)


def rng(seed=0):
    return np.random.default_rng(seed)


def trials(models, takes, repeats):
    """Levels of a complete design, one row a trial."""
    grid = np.indices((models, takes, repeats)).reshape(3, -1)
    return {"model": grid[0], "take": grid[1]}


def choices(random, liking):
    """Whether the target was chosen, and what was shown first, by the chance of each trial to choose the target."""
    target_first = random.random(len(liking)) < 0.5
    target = random.random(len(liking)) < liking
    return target.astype(float), (target == target_first).astype(float)


def test_forced_choice_follows_the_target_and_the_side_bias_the_side():
    random, factors = rng(1), trials(6, 12, 4)
    n = 6 * 12 * 4
    target_first = random.random(n) < 0.5
    for visitor, (target, first) in {
        "hearing": choices(random, np.full(n, 0.75)),
        "guessing": choices(random, np.full(n, 0.5)),
        "sided": (target_first.astype(float), np.ones(n)),
    }.items():
        liked, bias = (mean(found, factors, random, QUICK, chance=0.5) for found in (target, first))
        assert (liked.low > 0.5) == (visitor == "hearing")
        assert (liked.p() < 0.05) == (visitor == "hearing")
        assert (bias.low > 0.5) == (visitor == "sided")
        assert liked.high > 0.5
        assert (liked.chance, liked.trials, liked.levels) == (0.5, n, {"model": 6, "take": 12})


def test_models_that_take_sides_about_takes_are_no_preference_and_trials_would_say_so():
    """Under chance with strong model x take interaction, of which a test of trials makes findings."""
    random, factors = rng(3), trials(5, 10, 8)
    found = {"ours": 0, "trials": 0}
    experiments = 200
    for _ in range(experiments):
        logits = 2.5 * random.standard_normal((5, 10)) + 0.7 * random.standard_normal((5, 1))
        target, _ = choices(random, 1 / (1 + np.exp(-np.repeat(logits.ravel(), 8))))
        estimate = mean(target, factors, random, QUICK, chance=0.5)
        found["ours"] += not estimate.low <= 0.5 <= estimate.high
        found["trials"] += binomtest(int(target.sum()), len(target)).pvalue < 0.05
    assert found["ours"] / experiments <= 0.08
    assert found["trials"] / experiments >= 0.3


def test_swapped_sides_tell_those_who_follow_them():
    random, pairs = rng(4), 60
    asked, side = np.repeat(np.arange(pairs), 2), np.tile([0, 1], pairs)
    factors = {"take": asked % 12, "model": asked // 12}
    liked = np.repeat(random.integers(0, 2, pairs), 2)
    order = random.permutation(2 * pairs)
    shuffled = {name: level[order] for name, level in factors.items()}
    values = {
        name: swap_flips(first[order], side[order], asked[order], shuffled, random, QUICK)
        for name, first in {
            "work": (liked == side).astype(float),
            "side": np.ones(2 * pairs),
            "coin": random.integers(0, 2, 2 * pairs),
        }.items()
    }
    assert (values["work"].value, values["side"].value) == (0.0, 1.0)
    assert values["work"].high < 0.1
    assert values["coin"].low <= 0.5 <= values["coin"].high
    assert values["coin"].trials == pairs


def test_an_asking_without_its_twin_or_answer_is_left_out():
    first, side = [1, 1, 1, np.nan, 1, 0, 1], [0, 1, 0, 1, 0, 1, 0]
    asked, take = ["a", "a", "b", "b", "c", "c", "d"], [1, 1, 2, 2, 3, 3, 4]
    found = swap_flips(first, side, asked, {"take": take}, rng(), QUICK)
    assert (found.value, found.trials) == (0.5, 2)
    assert "2 trials have no outcome: left out" in found.notes
    with pytest.raises(StatisticsError, match="'a' was asked 3 times"):
        swap_flips([1] * 3, [0, 1, 0], ["a"] * 3, {}, rng(), QUICK)
    with pytest.raises(StatisticsError, match="'a' was asked twice the same way round"):
        swap_flips([1] * 2, [0, 0], ["a"] * 2, {}, rng(), QUICK)


def test_the_mirror_is_measured_against_one_of_so_many_curves():
    random, factors = rng(5), trials(6, 10, 3)
    own = random.integers(0, 5, 180)
    knows = np.where(random.random(180) < 0.6, own, random.integers(0, 5, 180))
    knowing = mean(knows == own, factors, random, QUICK, chance=0.2)
    guessing = mean(random.integers(0, 5, 180) == own, factors, random, QUICK, chance=0.2)
    assert knowing.low > 0.2
    assert guessing.low <= 0.2 <= guessing.high


def observed(random, dprime, count, strategy="differencing"):
    """Whether observers recognise X, and whether it was A."""
    # Which of the two stimuli comes first, and which of the two is X, is drawn.
    way, is_first = np.where(random.random(count) < 0.5, 1, -1), random.random(count) < 0.5
    first, second = (sign * way * dprime / 2 + random.standard_normal(count) for sign in (-1, 1))
    third = np.where(is_first, -1, 1) * way * dprime / 2 + random.standard_normal(count)
    if strategy == "differencing":
        said_first = np.abs(third - first) < np.abs(third - second)
    else:
        # Stimuli that are known beforehand lie around 0: by the likelihoods of all three.
        said_first = third * (first - second) > 0
    return (said_first == is_first).astype(float), is_first


@pytest.mark.parametrize("strategy", ["differencing", "independent"])
@pytest.mark.parametrize("dprime", [0.0, 0.8, 2.0, 3.5])
def test_the_formulas_are_what_simulated_observers_do(strategy, dprime):
    right, _ = observed(rng(7), dprime, 200_000, strategy)
    assert right.mean() == pytest.approx(float(abx_correct(dprime, strategy)), abs=0.004)


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5), st.sampled_from(["differencing", "independent"]))
def test_d_prime_is_the_inverse_of_its_formula(dprime, strategy):
    assert abx_dprime(abx_correct(dprime, strategy), strategy) == pytest.approx(dprime, abs=1e-4)


def test_d_prime_at_exact_rates():
    # Φ(d'/√2) Φ(d'/√6) + Φ(-d'/√2) Φ(-d'/√6), and Φ(d'/√2) Φ(d'/2) + Φ(-d'/√2) Φ(-d'/2), at 2, by hand.
    assert float(abx_correct(2.0)) == pytest.approx(0.92135 * 0.79289 + 0.07865 * 0.20711, abs=1e-4)
    assert float(abx_correct(2.0, "independent")) == pytest.approx(0.92135 * 0.84134 + 0.07865 * 0.15866, abs=1e-4)
    assert abx_dprime(0.5) == 0
    assert abx_dprime(0.7) > abx_dprime(0.7, "independent")
    assert abx_dprime(0.3) == -abx_dprime(0.7)
    assert log_linear([0, 10], 10).tolist() == pytest.approx([0.5 / 11, 10.5 / 11])
    with pytest.raises(StatisticsError, match="infinite"):
        abx_dprime([0.5, 1.0])


def test_d_prime_is_recovered_and_is_none_for_whoever_guesses():
    random, factors = rng(8), trials(1, 30, 40)
    for dprime in (0.0, 1.0, 2.5):
        found = abx(*observed(random, dprime, 1200), factors, random, QUICK)
        assert found.low <= dprime <= found.high
        # Around 0 the share of correct answers hardly rises with d'.
        assert found.high - found.low < (1 if dprime else 1.6)
        assert (found.correct.p() < 0.05) == (dprime > 0)


def test_d_prime_is_free_of_a_bias_that_lowers_the_share_of_correct_answers():
    random, n = rng(9), 40_000
    is_first = random.random(n) < 0.5
    # An observer of 0.8 without bias, with the criterion moved by 1.
    said_first = np.where(is_first, 1, -1) * 0.8416 + random.standard_normal(n) > 1
    right = said_first == is_first
    assert right.mean() < 0.72
    found = abx(right, is_first, {"take": np.arange(n) % 50}, random, QUICK)
    assert found.correct.value == pytest.approx(0.8, abs=0.01)
    assert found.dprime == pytest.approx(float(abx_dprime(0.8)), abs=0.1)


def test_at_the_ceiling_d_prime_is_as_high_as_so_many_trials_can_tell():
    found = abx(np.ones(40), np.tile([True, False], 20), {"take": np.repeat(np.arange(10), 4)}, rng(), QUICK)
    assert found.dprime == found.high == pytest.approx(float(abx_dprime(20.5 / 21)))
    assert 0 < found.low < found.dprime
    assert found.correct.p() < 0.01
    # An interval of ten takes that agree, not of their 40 trials.
    assert found.correct.low == pytest.approx(0.025 ** (1 / 10))
    assert "log-linear correction" in found.correct.notes[-1]
    with pytest.raises(StatisticsError, match="do not determine"):
        abx([1, 0], [True, True], {"take": [1, 2]}, rng(), QUICK)


@pytest.mark.parametrize("right", [1, 0])
def test_d_prime_without_a_mistake_begins_where_the_exact_interval_of_the_share_does(right):
    takes, is_first = np.arange(32) % 4, np.tile([True, False], 16)
    found = abx(np.full(32, right), is_first, {"take": takes}, rng(), Method(draws=300, fixed=("take",)))
    known = binomtest(32, 32).proportion_ci(0.95).low
    near, far = sorted((abs(found.low), abs(found.high)))
    assert near == pytest.approx(float(abx_dprime(known)))
    assert far == abs(found.dprime) == pytest.approx(float(abx_dprime(16.5 / 17)))
    assert (found.dprime > 0) == bool(right)
    assert found.correct.value == right
    assert found.correct.p() == pytest.approx(2 * 0.5**32)
    # One mistake is no more certain.
    answers = np.full(32, float(right))
    answers[0] = 1 - right
    one = abx(answers, is_first, {"take": takes}, rng(), Method(draws=300, fixed=("take",)))
    assert min(abs(one.low), abs(one.high)) < near


def test_two_trials_of_which_no_draw_holds_both_are_no_proof():
    found = abx([1, 0], [True, False], {"take": [1, 2]}, rng(), QUICK)
    known = binomtest(1, 2).proportion_ci(0.95)
    assert (found.correct.value, found.correct.p()) == (pytest.approx(0.5), 1.0)
    assert (found.correct.low, found.correct.high) == pytest.approx((known.low, known.high))


def test_a_graded_difference_gives_a_slope_for_who_hears_and_none_for_who_does_not():
    random, grid = rng(10), np.indices((3, 12, 40)).reshape(3, -1)
    level, pairs = np.array([0.1, 0.5, 1.0])[grid[0]], {"pair": grid[1]}
    heard, deaf = (
        slope(*observed(random, keen * level, len(level)), level, pairs, random, QUICK) for keen in (3.0, 0.0)
    )
    assert 0 < heard.low < 3.0 < heard.high < 4.5
    assert heard.p() < 0.001
    assert deaf.low <= 0 <= deaf.high
    assert deaf.p() > 0.05
    with pytest.raises(StatisticsError, match="1 level of difference"):
        slope([1, 0], [True, False], [0.5, 0.5], {}, random, QUICK)


def test_a_slope_of_a_handful_of_trials_has_no_interval_narrower_than_theirs():
    """Pairs that agree leave no error to go by: always right about what differs much, and else always "the first"."""
    pair, at, first = (one.ravel() for one in np.indices((10, 2, 2)))
    right = np.where(at == 1, 1, first)
    few, many = (
        slope(*(np.tile(one, times) for one in (right, first, at)), {"pair": np.tile(pair, times)}, rng(), QUICK)
        for times in (1, 50)
    )
    assert few.error == few.least > 1
    assert few.high - few.low > 4, "40 trials"
    assert 0 < many.least < few.least / 2
    assert many.high - many.low < (few.high - few.low) / 2
    some = pair < 9
    with pytest.raises(StatisticsError, match="18 trials at level 0: a slope needs 20 of each level"):
        slope(right[some], first[some], at[some], {"pair": pair[some]}, rng(), QUICK)
    # A trial without an answer is none.
    missing = np.where((pair == 0) & (at == 1), np.nan, right)
    with pytest.raises(StatisticsError, match="18 trials at level 1"):
        slope(missing, first, at, {"pair": pair}, rng(), QUICK)


@pytest.mark.parametrize(("metric", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_as_published(metric, value):
    found = alpha(PUBLISHED, metric, rng(), QUICK)
    assert found.value == pytest.approx(value, abs=0.0006)
    assert 0 < found.low < found.value < found.high <= 1
    assert found.levels == {"unit": 11}
    assert found.trials == 40
    assert found.notes == (
        "4 observers: nothing generalises over observers",
        "1 units were rated less than twice: left out",
    )


def by_pairs(ratings, apart):
    """Alpha by its definition: disagreement of all pairs in units, and of all pairs there are."""
    units = [[v for v in unit if not np.isnan(v)] for unit in ratings.T]
    units = [unit for unit in units if len(unit) > 1]
    every = [v for unit in units for v in unit]
    within = sum(sum(apart(a, b) for a in unit for b in unit) / (len(unit) - 1) for unit in units) / len(every)
    across = sum(apart(a, b) for a in every for b in every) / (len(every) * (len(every) - 1))
    return 1 - within / across


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(4, 12), st.floats(0, 0.4))
def test_alpha_is_its_definition(seed, observers, units, missing):
    random = rng(seed)
    ratings = random.integers(0, 4, (observers, units)).astype(float)
    ratings[:, :3], ratings[:, 0] = np.arange(3), 3
    ratings[:, 3:][random.random((observers, units - 3)) < missing] = np.nan
    few = Method(draws=100)
    assert alpha(ratings, "nominal", rng(), few).value == pytest.approx(by_pairs(ratings, lambda a, b: a != b))
    assert alpha(ratings, "interval", rng(), few).value == pytest.approx(by_pairs(ratings, lambda a, b: (a - b) ** 2))
    stretched = alpha(ratings**3, "ordinal", rng(), few)
    assert stretched.value == pytest.approx(alpha(ratings, "ordinal", rng(), few).value)


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
def test_alpha_of_chance_is_about_0_and_of_noisy_agreement_is_above(metric):
    random = rng(11)
    truth = random.integers(0, 5, 120)
    noisy = np.where(random.random((3, 120)) < 0.7, truth, random.integers(0, 5, (3, 120))).astype(float)
    noisy[random.random(noisy.shape) < 0.1] = np.nan
    agreed, chance = alpha(noisy, metric, random, QUICK), alpha(random.integers(0, 5, (3, 120)), metric, random, QUICK)
    assert abs(chance.value) < 0.12
    assert chance.low <= 0 <= chance.high
    # Two who both see the truth with 0.7 agree beyond chance with 0.49.
    assert agreed.low <= 0.49 <= agreed.high
    assert agreed.low > 0.3


def test_alpha_covers_the_agreement_of_the_population():
    random, held = rng(12), 0
    for _ in range(150):
        truth = random.integers(0, 4, 40)
        ratings = np.where(random.random((3, 40)) < 0.8, truth, random.integers(0, 4, (3, 40)))
        found = alpha(ratings, "nominal", random, Method(draws=200))
        held += found.low <= 0.64 <= found.high
    assert held / 150 >= 0.9


def test_alpha_of_words_and_of_what_cannot_be_measured():
    words = [["cat", "dog", "cat", None], ["cat", "dog", "dog", "cat"], ["cat", "dog", "cat", ""]]
    assert alpha(words, "nominal", rng(), QUICK).trials == 9
    same = alpha([[1, 2, 3], [1, 2, 3]], "nominal", rng(), QUICK)
    # Three units that agree promise little.
    assert (same.value, same.high) == (1, 1)
    assert same.low == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 3)))
    with pytest.raises(StatisticsError, match="1 different values"):
        alpha([[1, 1, 1], [1, 1, 1]], "nominal", rng())
    with pytest.raises(StatisticsError, match="in 0 units that were rated twice"):
        alpha([[1, np.nan], [np.nan, 2]], "interval", rng())
    with pytest.raises(StatisticsError, match="300 different values"):
        alpha(np.arange(300.0).reshape(2, 150), "interval", rng())
    with pytest.raises(StatisticsError, match="observers x units"):
        alpha([1, 2, 3], "nominal", rng())
