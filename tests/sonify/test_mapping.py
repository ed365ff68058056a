"""Mapping from channels to lanes and back: properties that hold for every space and shape."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonify.instruments import INSTRUMENTS
from sonify.mapping import SPACES, apply, invert
from sonify.resolve import Place, ResolvedMapping
from sonify.score import Mapping, Score, ScoreError, parse_score

PITCHED = ["linear", "log2", "mel", "erb", "bark"]


def make(domain=(0.0, 1.0), quantiles=None, space="log2", **fields):
    mapping = Mapping(channel="x", **{"range": (110.0, 880.0), **fields})
    quantiles = np.asarray(domain if quantiles is None else quantiles, dtype=np.float64)
    return ResolvedMapping(Place("source", "x"), domain, quantiles, mapping, space)


@pytest.mark.parametrize(
    ("space", "hertz", "value"),
    [
        ("log2", 1024.0, 10.0),
        ("mel", 1000.0, 999.9855),
        ("erb", 1000.0, 15.62145),
        ("bark", 1000.0, 8.527432),
        ("bark", 1960.0, 12.875),
    ],
)
def test_spaces_have_their_published_values(space, hertz, value):
    assert SPACES[space].forward(hertz) == pytest.approx(value, rel=1e-6)


@given(st.sampled_from(PITCHED), st.floats(20, 20_000))
def test_spaces_are_inverted_exactly(space, frequency):
    assert SPACES[space].inverse(SPACES[space].forward(frequency)) == pytest.approx(frequency, rel=1e-12)


@given(st.sampled_from(PITCHED), st.sampled_from(["positive", "negative"]), st.integers(3, 50))
def test_equal_steps_of_data_are_equal_steps_in_the_space(space, polarity, n):
    lane = apply(make(space=space, polarity=polarity), np.linspace(0, 1, n))
    steps = np.diff(SPACES[space].forward(lane))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert (steps[0] > 0) == (polarity == "positive")
    assert sorted((lane[0], lane[-1])) == pytest.approx([110, 880])


@given(
    st.lists(st.floats(0.01, 1000), min_size=2, max_size=60, unique=True).map(sorted),
    st.sampled_from(["linear", "log", "symlog", "sqrt", "rank"]),
    st.sampled_from(PITCHED),
    st.sampled_from(["positive", "negative"]),
)
def test_data_is_decoded_from_its_lane(values, shape, space, polarity):
    if (values[-1] - values[0]) < 1e-3:
        return
    mapping = make((values[0], values[-1]), values, space, shape=shape, polarity=polarity)
    decoded = invert(mapping, apply(mapping, values))
    np.testing.assert_allclose(decoded, values, rtol=1e-6, atol=1e-6 * (values[-1] - values[0]))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.sampled_from(["linear", "symlog", "rank"]))
def test_lanes_stay_within_their_range(values, shape):
    quantiles = np.unique(values)
    lane = apply(make((quantiles[0], quantiles[-1]), quantiles, shape=shape), values)
    assert np.isfinite(lane).all()
    assert lane.min() >= 110 * (1 - 1e-9)
    assert lane.max() <= 880 * (1 + 1e-9)


def test_values_outside_the_domain_are_clipped():
    np.testing.assert_allclose(apply(make(), [-5.0, 7.0]), [110, 880])


def test_constant_data_is_the_middle_of_the_range():
    for shape in ("linear", "rank"):
        mapping = make((3.0, 3.0), [3.0], shape=shape)
        assert apply(mapping, [3.0, 3.0]) == pytest.approx(np.sqrt(110 * 880))
        assert (invert(mapping, [300.0]) == 3.0).all()


def test_rank_spreads_any_distribution_evenly():
    values = np.exp(np.random.default_rng(0).standard_normal(500) * 3)
    octaves = np.log2(apply(make((values.min(), values.max()), np.unique(values), shape="rank"), values) / 110)
    np.testing.assert_allclose(np.sort(octaves), np.linspace(0, 3, 500), atol=1e-9)


def test_ties_share_their_mean_rank():
    mapping = make(quantiles=[0.0, 0.5, 0.5, 0.5, 1.0], space="linear", range=(0.0, 1.0), shape="rank")
    np.testing.assert_allclose(apply(mapping, [0.0, 0.5, 1.0]), [0.0, 0.5, 1.0])
    lopsided = make(quantiles=[0.0, 0.0, 0.0, 0.5, 1.0], space="linear", range=(0.0, 1.0), shape="rank")
    np.testing.assert_allclose(apply(lopsided, [0.0, 0.5, 1.0]), [0.25, 0.75, 1.0])


def test_a_tuning_snaps_the_lane():
    mapping = make(tuning={"cents": [400, 700, 1200], "root_hz": 110})
    cents = 1200 * np.log2(apply(mapping, np.linspace(0, 1, 100)) / 110)
    assert set(np.round(cents) % 1200) == {0, 400, 700}


@pytest.mark.parametrize(
    ("voice", "said"),
    [
        ({"instrument": "glyde"}, "did you mean 'glide'"),
        ({"instrument": "glide", "lanes": {"pitsch": 440}}, "did you mean 'pitch'"),
        ({"instrument": "glide", "lanes": {"pitch": 5}}, "allowed is 20 to 16000 Hz"),
        ({"instrument": "glide", "lanes": {"pitch": {"channel": "x", "range": ["A4", "A3"]}}}, "must rise"),
        ({"instrument": "glide", "lanes": {"pitch": "H4"}}, "'H4'"),
        ({"instrument": "glide", "pan": {"channel": "x", "range": [-2, 1]}}, "pan = [-2.0, 1.0]: allowed is -1 to 1"),
        ({"instrument": "partials", "lanes": {"count": 2.5}}, "whole"),
        ({"instrument": "partials", "lanes": {"count": {"channel": "x", "range": [2, 4]}}}, "cannot be mapped"),
        (
            {"instrument": "partials", "lanes": {"detune": {"channel": "x", "range": [-0.1, 1], "space": "log2"}}},
            "above 0",
        ),
        ({"instrument": "pluck"}, "sounds on events"),
    ],
)
def test_a_wrong_score_says_what_is_allowed(voice, said):
    with pytest.raises(ScoreError) as error:
        parse_score({"voices": {"a": voice}}, "my.toml")
    assert said in str(error.value)
    assert str(error.value).startswith("my.toml: score")
    assert "\n" not in str(error.value)


def pitched(purpose, instrument="glide", **fields):
    mapping = {"channel": "x", "range": [110, 880], **fields}
    voice = {"instrument": instrument, "lanes": {"pitch": mapping}}
    if INSTRUMENTS[instrument].on_events:
        voice["on"] = ["note"]
    return {"purpose": purpose, "voices": {"a": voice}}


@given(
    st.sampled_from(["linear", "log", "symlog", "sqrt"]),
    st.sampled_from(["log2", "mel", "erb", "bark", "linear"]),
    st.floats(2, 500),
)
def test_what_measures_may_bend_and_lag_a_little(shape, space, glide_ms):
    score = parse_score(pitched("measure", shape=shape, space=space, glide_ms=glide_ms), "my.toml")
    assert score.voices["a"].lanes["pitch"].glide_ms == glide_ms


@pytest.mark.parametrize("instrument", ["glide", "partials", "pad", "noise", "pluck", "bell"])
@pytest.mark.parametrize(
    "broken", [{"shape": "rank"}, {"tuning": {"cents": [700, 1200], "root_hz": 110}}, {"glide_ms": 501}, {"every": 0.5}]
)
def test_what_measures_must_be_decodable(instrument, broken):
    parse_score(pitched("music", instrument, **broken), "my.toml")
    with pytest.raises(ScoreError) as error:
        parse_score(pitched("measure", instrument, **broken), "my.toml")
    message = str(error.value)
    assert message.startswith(f"my.toml: score.voices.a.lanes.pitch.{next(iter(broken))}")
    assert "purpose = 'music'" in message
    assert "\n" not in message


def test_other_lanes_of_a_score_that_measures_are_free():
    score = pitched("measure")
    score["voices"]["a"]["lanes"]["level"] = {"channel": "x", "range": [-20, 0], "shape": "rank", "glide_ms": 3000}
    assert parse_score(score, "my.toml").purpose == "measure"


@pytest.mark.parametrize("name", ["room", "mix", "../x", "a b", ""])
def test_a_voice_is_named_like_a_file_of_its_own(name):
    with pytest.raises(ScoreError):
        parse_score({"voices": {name: {"instrument": "glide"}}, "groups": {"room": {}}}, "my.toml")


def test_groups_flow_in_the_same_order_in_every_process():
    code = (
        "from sonify.score import Score\n"
        "into = lambda n: {'into': n} if n else {}\n"
        "groups = {n: into('room' if n != 'room' else '') for n in ('room', 'ride', 'choir', 'drums', 'wind')}\n"
        "print(Score(voices={'a': {'instrument': 'glide'}}, groups=groups).flow)"
    )
    orders = set()
    for seed in range(4):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
        orders.add(done.stdout)
    assert len(orders) == 1


def test_a_score_survives_json():
    score = parse_score({"voices": {"a": {"instrument": "glide", "lanes": {"pitch": "A4"}}}}, "x")
    assert Score.model_validate_json(score.model_dump_json()) == score


def test_a_domain_as_wide_as_numbers_go_is_mapped_without_overflow():
    lane = apply(make(domain=(-1.7e308, 1.7e308)), [-1.7e308, 0.0, 1.7e308])
    np.testing.assert_allclose(lane, [110.0, 110.0 * 8**0.5, 880.0])
