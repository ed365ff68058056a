"""The listener is interested in what can be learned: not in noise, not in a constant, not in nothing.

One listener is born for all tests here (the default one), as costly as it is.
"""

import json

import numpy as np
import pytest

from studio.audience.listener import INTERESTING, Habits, Listener, verdict
from studio.audience.visitor import AudienceError, Response, Visitor, invite, visitor_names
from studio.words.artefact import Artefact
from studio.words.tokens import PER_MOMENT, VOCABULARY, tokens

SR, FPS, EVENTS = 24_000, 16.0, 8
QUICK = Habits(birth=2, steps=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("born")


@pytest.fixture(scope="module")
def listener(cache):
    return Listener(cache)


def note(midi, bright, seconds=1 / EVENTS):
    t = np.arange(round(seconds * SR)) / SR
    envelope = np.clip(np.minimum(t, seconds - t) / 0.01, 0, 1)
    hz = 440 * 2 ** ((midi - 69) / 12)
    return 0.1 * envelope * sum(np.sin(2 * np.pi * hz * k * t) / k ** (3 - 2 * bright) for k in range(1, 6))


def disc(red, green, x, y, size=24):
    rows, columns = np.mgrid[:size, :size] / size
    picture = np.zeros((size, size, 3), np.uint8)
    picture[(columns - x) ** 2 + (rows - y) ** 2 < 0.03] = (255 * red, 255 * green, 128)
    return picture


def perform(events):
    """Eight events a second; an event is (midi, brightness, red, green, x, y)."""
    sound = np.concatenate([note(e[0], e[1]) for e in events]).astype(np.float32)
    pictures = np.repeat([disc(*e[2:]) for e in events], round(FPS / EVENTS), axis=0)
    return Artefact(np.repeat(sound[:, None], 2, axis=1), SR, pictures, FPS)


def events_of(rng, n):
    return [(int(m), *rest) for m, rest in zip(rng.integers(48, 84, n), rng.random((n, 5)).tolist(), strict=True)]


def take(kind, seconds=30):
    """Synthesised takes: a figure of 12 events that repeats, one that changes three times, and events by chance."""
    rng = np.random.default_rng(2)
    n = seconds * EVENTS
    if kind == "changing":
        return perform([e for _ in range(4) for e in (events_of(rng, 12) * n)[: n // 4]])
    return perform((events_of(rng, 12) * n)[:n] if kind == "pattern" else events_of(rng, n))


def markov(rng, n, successors=2):
    table = np.array([rng.choice(VOCABULARY, successors, replace=False) for _ in range(VOCABULARY)])
    word, out = 0, np.empty(n, np.int64)
    for i, choice in enumerate(rng.random(n) < 0.6):
        word = out[i] = table[word, int(choice)]
    return out


def stream(kind, moments):
    rng, n = np.random.default_rng(5), moments * PER_MOMENT
    words = {
        "constant": lambda: np.full(n, 17),
        "noise": lambda: rng.integers(VOCABULARY, size=n),
        "pattern": lambda: markov(rng, n),
        "changing": lambda: np.concatenate([markov(rng, n // 4) for _ in range(4)]),
    }[kind]()
    return words.reshape(moments, PER_MOMENT)


def test_on_words_change_interests_more_than_a_pattern_and_that_more_than_noise_or_a_constant(listener):
    # On noise progress is a mean of chance; over 24 moments it strayed by 0.06 between machines and seeds.
    lengths = {"changing": 40, "pattern": 40, "noise": 48, "constant": 12}
    progress = {kind: listener.attend(stream(kind, n), 0)[:, 1].mean() for kind, n in lengths.items()}
    assert progress["changing"] > 1.3 * progress["pattern"]
    assert progress["pattern"] > INTERESTING
    assert abs(progress["noise"]) < INTERESTING / 2
    assert abs(progress["constant"]) < INTERESTING / 5


def test_on_sound_and_pictures_too_and_the_naive_measure_gets_it_wrong(listener):
    rows = {kind: listener.attend(tokens(take(kind)), 0) for kind in ("changing", "pattern", "chance")}
    progress = {kind: r[:, 1].mean() for kind, r in rows.items()}
    assert progress["changing"] > 1.5 * progress["pattern"]
    assert progress["pattern"] > 1.2 * progress["chance"]
    assert progress["changing"] > INTERESTING > progress["chance"]
    naive = {kind: (r[:, 0] - r[:, 2]).mean() for kind, r in rows.items()}
    assert naive["chance"] > 1.2 * naive["pattern"]
    assert {kind: verdict(r[:, 0], r[:, 1]) for kind, r in rows.items()} == {
        "changing": "interested",
        "pattern": "sated",
        "chance": "noise",
    }


def test_silence_and_black_give_nothing_to_be_interested_in(listener):
    """The blind control: an audience that sees and hears nothing stays far below the threshold."""
    response = listener.visit(Artefact.silent(10.0), 0)
    assert abs(response.progress) < INTERESTING / 5
    assert response.verdict == "bored"
    assert response.steering_value < INTERESTING / 5


def test_white_noise_gives_nothing_to_be_interested_in(listener):
    rng = np.random.default_rng(0)
    audio = (rng.standard_normal((10 * SR, 2)) * 0.1).astype(np.float32)
    response = listener.visit(Artefact(audio, SR, rng.integers(0, 256, (160, 24, 24, 3), dtype=np.uint8), FPS), 0)
    assert abs(response.progress) < INTERESTING / 3
    assert response.verdict != "interested"


def test_the_same_take_again_interests_less_who_remembers(cache, listener):
    again = stream("pattern", 12)
    remembering = Listener(cache, remember=True)
    first, second = (remembering.attend(again, 0)[:, 1].mean() for _ in range(2))
    assert second < 0.5 * first
    assert [listener.attend(again, 0)[:, 1].mean() for _ in range(2)] == [first, first]


def test_verdicts():
    surprise, progress = np.repeat([1.0, 0.1], 10), np.zeros(20)
    assert verdict(surprise, progress + 0.2) == "interested"
    assert verdict(surprise, progress) == "sated"
    assert verdict(surprise[::-1], progress) == "noise"
    assert verdict(progress, progress) == "bored"


def test_a_visit_is_the_same_bit_for_bit_from_birth_or_from_the_cache(tmp_path):
    import torch

    artefact = take("pattern", seconds=3)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    born = Listener(tmp_path, habits=QUICK).visit(artefact, 3)
    assert len(list(tmp_path.iterdir())) == 1
    cached = Listener(tmp_path, habits=QUICK).visit(artefact, 3)
    assert born == cached
    assert born.moments == cached.moments
    assert Listener(tmp_path, habits=QUICK).visit(artefact, 4).moments != born.moments
    assert Listener(tmp_path, seed=1, habits=QUICK).visit(artefact, 3).moments != born.moments
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("damage", ["torn", "flipped", "foreign", "empty"])
def test_a_damaged_or_foreign_cache_is_made_anew(tmp_path, caplog, damage):
    words = stream("pattern", 3)
    expected = Listener(tmp_path, habits=QUICK).attend(words, 0)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    if damage == "foreign":
        Listener(tmp_path, seed=9, habits=QUICK).attend(words, 0)
        (other,) = set(tmp_path.iterdir()) - {path}
        other.replace(path)
    else:
        flipped = good[:-100] + bytes([good[-100] ^ 64]) + good[-99:]
        path.write_bytes({"torn": good[: len(good) // 2], "flipped": flipped, "empty": b""}[damage])
    for warnings in (1, 0):
        caplog.clear()
        assert np.array_equal(Listener(tmp_path, habits=QUICK).attend(words, 0), expected)
        assert len(caplog.records) == warnings


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    words = stream("pattern", 3)
    expected = Listener(tmp_path / "cache", habits=QUICK).attend(words, 0)
    assert np.array_equal(Listener(blocked / "cache", habits=QUICK).attend(words, 0), expected)


def test_a_response_says_what_happened_and_survives_json(tmp_path):
    artefact = take("pattern", seconds=3)
    response = invite("listener", tmp_path, habits=QUICK).visit(artefact, 1)
    assert response.progress == pytest.approx(np.mean([row.progress for row in response.moments]))
    assert response.rating is None
    assert len(response.moments) == 5
    assert response.moments[0].start == 0.5
    assert 400_000 < response.details["parameters"] < 440_000
    assert Response.model_validate_json(response.model_dump_json()) == response
    assert json.loads(response.model_dump_json())["tokens_sha256"] == response.tokens_sha256


@pytest.mark.parametrize(
    ("progress", "rating", "value"),
    [(0.4, None, 0.4), (-0.2, None, 0.0), (1.7, None, 1.0), (0.4, 0.9, 0.9), (None, None, None)],
)
def test_steering_value_is_the_rating_or_else_clipped_progress(progress, rating, value):
    assert Response(visitor="v", seed=0, progress=progress, rating=rating).steering_value == value


def test_too_short_a_take_and_an_unknown_audience_are_refused(tmp_path):
    with pytest.raises(AudienceError, match=r"1 moments: the listener needs at least 2 \(1 s\)"):
        Listener(tmp_path, habits=QUICK).visit(Artefact.silent(0.7), 0)
    assert "listener" in visitor_names()
    assert isinstance(Listener(tmp_path), Visitor)
    with pytest.raises(AudienceError, match="did you mean 'listener'"):
        invite("listner", tmp_path)
