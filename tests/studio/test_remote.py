"""Models on servers: a real one plays a real game, and in each of the ways an answer is what was offered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.audience.endpoints import WAYS, Chat, labels
from studio.audience.hf import LanguageModel
from studio.audience.playing import Transcript, play, retraced
from studio.audience.rooms import Rules
from studio.audience.visitor import Decision, Question, Visitor, invite
from tests.serving import (
    ASKS,
    CHAT,
    DECISIONS,
    FINE,
    SYSTEMONE,
    Answer,
    Asked,
    Standin,
    choices_of,
    chooses,
    completion,
    nothing_kept,  # noqa: F401
    options_of,
    refused,
    says,
    standin,
    status,
    transformers_serve,
    visitor,
    wants,
)
from tests.studio.test_game import gallery
from tests.tiny_models import network, saved, tokenizer


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2 that has learned one thing: to answer ``{"choice": "A"}``, whatever it is told."""
    import torch

    words = tokenizer()
    model = network("qwen2", words)
    answer = words('<|im_start|>assistant\n{"choice": "A"}<|im_end|>')["input_ids"]
    head = len(words("<|im_start|>assistant\n")["input_ids"])
    rng = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        before = torch.randint(len(words), (4, 20), generator=rng)
        ids = torch.cat([before, torch.tensor([answer] * 4)], dim=1)
        targets = ids.clone()
        targets[:, : 20 + head] = -100
        optimiser.zero_grad()
        model(ids, labels=targets).loss.backward()
        optimiser.step()
    return saved(tmp_path_factory.mktemp("model") / "tiny", model, words)


@pytest.fixture(scope="module")
def real(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with a tiny Qwen2, and no key of anybody in its surroundings."""
    with transformers_serve(tiny_model, tmp_path_factory.mktemp("serve")) as url:
        yield url


# A real server


def test_a_real_model_plays_a_real_game(real, tiny_model):
    rules = Rules(moves=10)
    found = play(gallery(rules), visitor(real, str(tiny_model)), 3)
    assert found.ended in ("left", "moves")
    assert len(found.turns) > 2
    asked = [one for turn in found.turns for one in turn.decisions if len(one.options) > 1]
    assert {one.facts["way"] for one in asked} == {"systemone"}
    assert {one.facts["model"] for one in asked} == {str(tiny_model)}
    for one in asked:
        assert len(one.probabilities) == len(one.options)
        assert 0 < max(one.probabilities) < 1, "a real distribution, and not a choice that is certain"
        assert one.facts["tokens_in"] > 100
        assert (one.facts["retries"], one.facts["rotations"]) == (0, 2)
    assert any(one.facts["flips"] for one in asked), "an untrained model prefers places, and it shows"
    assert found.report.tokens == sum(int(one.facts["tokens"]) for one in asked)
    assert found.about["way"] == "systemone"
    assert Transcript.model_validate_json(found.model_dump_json()) == found
    assert not retraced(gallery(rules), found)
    again = play(gallery(rules), visitor(real, str(tiny_model)), 3)
    assert [turn.command for turn in again.turns] == [turn.command for turn in found.turns]
    other = play(gallery(rules), visitor(real, str(tiny_model)), 4)
    assert other.commands != found.commands


def test_what_it_is_told_counts(real, tiny_model):
    """The state reaches the model: other words, other probabilities; the same words, the same."""
    told = []
    for words in ("a bell", "a bell", "seven red lights, and then none"):
        found = visitor(real, str(tiny_model))
        found.observe(words)
        told.append(found.decide(ASKS).probabilities)
    assert told[0] == told[1] != told[2]


def test_a_model_answers_there_as_it_does_here(real, tiny_model):
    """The same weights, asked over HTTP and in this process: equal prompts, to the token, and equal probabilities."""
    there, here = visitor(real, str(tiny_model), repeats=1), LanguageModel(str(tiny_model), Path("nowhere"), 1, 0.0)
    there.decide(ASKS)  # they have met
    for found in (there, here):
        found.begin("You are in a gallery.", 1)
        found.observe("The hall. Rooms: amber, birch.")
    asked = Question("rate", "How do you rate amber?", ("0", "1", "2", "3"), 9.0, 2)
    far = there.decide(asked)
    turned = asked.options[far.facts["first"] :] + asked.options[: far.facts["first"]]
    near = here.decide(replace(asked, options=turned))
    assert dict(zip(turned, near.probabilities, strict=True)) == pytest.approx(
        dict(zip(asked.options, far.probabilities, strict=True)), rel=1e-4
    )
    assert max(near.probabilities) > 0.5, "it is not the same for all"
    assert near.facts["tokens"] == far.facts["tokens"]
    assert near.facts["prompt"] == far.facts["prompt"]


@pytest.mark.parametrize("sense", ["pictures", "sound"])
def test_a_text_model_that_drops_what_it_is_sent_is_found_out(real, tiny_model, sense):
    found = play(gallery(), visitor(real, str(tiny_model), senses=sense), 3)
    assert re.search(rf"takes no {sense}: a prompt has (\d+) tokens with and \1 without", found.ended)
    assert [turn.number for turn in found.turns] == [0]


def test_a_real_model_answers_in_json(real, tiny_model):
    """It knows one letter: of two options each is chosen once, and all of it is a liking for the first place."""
    made = visitor(real, str(tiny_model), way="chat", answer_tokens=32).decide(
        Question("prefer", "Which?", ("x y", "z"))
    )
    assert made.probabilities == (0.5, 0.5)
    told = {"way": "chat", "retries": 0, "rotations": 2, "flips": 1, "counted": True}
    assert told.items() <= dict(made.facts).items()
    assert 0 < made.facts["tokens_out"] < 3 * 16


def test_a_sense_that_no_way_can_carry(real, tiny_model):
    line = refused(visitor(real, str(tiny_model), senses="sound", way="systemone"))
    assert line == "senses=sound cannot be sent in the way systemone"


def test_a_model_that_is_not_there(real):
    assert refused(visitor(real, "nobody")).startswith("400 Server is pinned to")


# The ways


def test_ways_are_tried_in_order_and_each_once():
    with standin({CHAT: FINE}) as at:
        found = visitor(at.url, repeats=3)
        assert "way" not in found.about()
        found.decide(ASKS)
        assert at.paths() == [DECISIONS, SYSTEMONE, CHAT, *[CHAT] * 3]
        found.begin("Again.", 2)
        found.decide(ASKS)
        assert at.paths()[6:] == [CHAT] * 3
        assert found.about()["way"] == "chat"


def test_what_is_broken_leads_nowhere_else():
    with standin({DECISIONS: status(500, {"error": {"message": "a fuse"}}), CHAT: FINE}) as at:
        assert refused(visitor(at.url)) == "the server fails, in 1 try: 500 a fuse"
        assert at.paths() == [DECISIONS]


def decided(weights: Mapping[str, float], **more: Any) -> Answer:
    """Decisions, with something else in each answer."""

    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        body = choices_of(asked, weights)
        status(200, body | {"answers": [one | more for one in body["answers"]]})(to, asked)

    return answer


def test_decisions_are_asked_first_in_all_orders_at_once():
    with standin({DECISIONS: decided({"look": 0.7, "go": 0.2, "leave": 0.1}), CHAT: FINE}) as at:
        found = visitor(at.url, repeats=3, price_in=2.0, price_out=10.0)
        made = found.decide(ASKS)
        assert at.paths() == [DECISIONS, DECISIONS]
        orders = [[one["value"] for one in question["choices"]] for question in at.asked[1].body["questions"]]
        assert {tuple(order) for order in orders} == {
            ("look", "go", "leave"),
            ("go", "leave", "look"),
            ("leave", "look", "go"),
        }
        assert "The hall. Rooms: amber, birch." in at.asked[1].body["input"]
    assert made.probabilities == pytest.approx((0.7, 0.2, 0.1))
    told = {"way": "decisions", "model": "luna-1", "rotations": 3, "flips": 0, "retries": 0}
    told |= {"tokens": 204, "tokens_in": 200, "tokens_out": 4, "cost": pytest.approx((200 * 2 + 4 * 10) / 1e6)}
    assert told.items() <= dict(made.facts).items()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (decided({}, type="refusal"), "it refused"),
        (decided({}, choice="run"), "'run' was no option"),
        (decided({}, probabilities=[{"value": "look", "probability": 0.4}]), "sum to 0.4"),
        (decided({}, probabilities=[{"value": "look", "probability": 2}, {"value": "go", "probability": -1}]), "sum"),
        (status(200, {"answers": [], "model": "luna-1"}), "0 answers to 2 questions"),
        (status(200, b'{"answers": [{"type": "choice", "probabilities": NaN}]}'), "no answer of the form"),
        (status(200, {"object": "html"}), "no answer of the form"),
    ],
)
def test_decisions_that_are_none(answer, line):
    with standin({DECISIONS: [decided({}), answer], CHAT: FINE}) as at:
        assert line in refused(visitor(at.url, retries=1))
        assert at.paths() == [DECISIONS] * 3, "asked again, and in no other way"


def test_probabilities_are_drawn_by():
    with standin({DECISIONS: decided({"look": 0.6, "go": 0.3, "leave": 0.1})}) as at:
        found = visitor(at.url)
        chosen = [found.decide(ASKS).option for _ in range(60)]
    assert {"look", "go"} <= set(chosen)
    assert chosen.count("look") > chosen.count("leave")


def test_a_liking_for_a_place_falls_out_and_is_reported():
    two = Question("prefer", "Which?", ("one", "two"))
    with standin({CHAT: FINE}) as at:
        made = visitor(at.url, repeats=2).decide(two)
        assert [*options_of(at.asked[-2]).values()] == [*options_of(at.asked[-1]).values()][::-1]
    assert (made.probabilities, made.facts["flips"]) == ((0.5, 0.5), 1)
    first, second = (part.split(", ") for part in str(made.facts["by_order"]).split("; "))
    assert first[0].partition(" ")[0] == second[1].partition(" ")[0]
    assert first[0].endswith(" 1.0000")
    assert second[0].endswith(" 1.0000"), "as they were shown: whatever stands first"
    with standin({CHAT: wants("first")}) as at:
        made = visitor(at.url, repeats=5).decide(Question("prefer", "Which?", ("last", "first")))
    assert (made.option, made.probabilities, made.facts["flips"]) == ("first", (0.0, 1.0), 0)
    with standin({CHAT: FINE}) as at:
        assert sum(visitor(at.url, repeats=1).decide(ASKS).probabilities) == 1


def weighing(by_letter: Mapping[str, float]) -> Answer:
    """A chat that says A, with probabilities of its tokens as OpenAI gives them."""
    top = [{"token": token, "logprob": float(np.log(share))} for token, share in by_letter.items()]
    rest = [{"token": part, "logprob": 0.0, "top_logprobs": []} for part in ('{"', "choice", '":"', '"}')]
    tokens = [*rest[:3], {"token": "A", "logprob": top[0]["logprob"], "top_logprobs": top}, rest[3]]

    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        body = completion('{"choice":"A"}')
        body["choices"][0]["logprobs"] = {"content": tokens}
        status(200, body)(to, asked)

    return answer


def test_probabilities_of_tokens_are_used_where_there_are_any():
    two = Question("prefer", "Which?", ("one", "two"))
    with standin({CHAT: weighing({"A": 0.6, " B": 0.15, '"A': 0.05, "maybe": 0.2})}) as at:
        made = visitor(at.url, repeats=1).decide(two)
        assert at.asked[-1].body["top_logprobs"] == 20
    assert max(made.probabilities) == pytest.approx(0.65 / 0.8)
    with standin({CHAT: weighing({"A": 0.3, "maybe": 0.7})}) as at:
        made = visitor(at.url, repeats=1).decide(two)
    assert max(made.probabilities) == 1, "what is said mostly beside the options is no distribution of them"


@pytest.mark.parametrize(("unknown", "last"), [("logprobs", "response_format"), ("response_format", "max_tokens")])
def test_a_chat_that_knows_less_is_asked_for_less(unknown, last):
    def answer(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        known = unknown not in asked.body
        (wants("go") if known else status(400, {"error": {"message": f"unknown: {unknown}"}}))(to, asked)

    def picky(to: BaseHTTPRequestHandler, asked: Asked) -> None:
        (FINE if options_of(asked)["A"] == "first" and unknown not in asked.body else answer)(to, asked)

    with standin({CHAT: picky}) as at:
        assert visitor(at.url).decide(ASKS).option == "go"
        assert last in at.asked[-1].body
        assert unknown not in at.asked[-1].body


def test_options_are_called_by_letters_unless_they_are_some():
    assert labels(("look", "a")) == {"A": "look", "B": "a"}
    assert labels(("b", "a")) == {"b": "b", "a": "a"}


@pytest.mark.parametrize(
    "text",
    ['{"choice": "B"}', ' \n{"choice":"B"}', '```json\n{"choice": "B"}\n```', '<think>A?</think>{"choice": "B"}'],
)
def test_an_answer_may_come_in_a_fence_or_after_thoughts(text):
    letter = chooses(lambda options: "B")
    with standin({CHAT: [FINE, says(text), letter]}) as at:
        made = visitor(at.url, repeats=1).decide(ASKS)
        assert made.option == options_of(at.asked[-1])["B"]


def test_one_option_needs_no_server():
    found = visitor("http://127.0.0.1:1/v1")
    assert found.decide(Question("", "Which?", ("only",))).option == "only"


# What it costs


def test_what_is_spent_ends_a_visit():
    with standin({CHAT: wants("look")}) as at:
        found = play(gallery(), visitor(at.url, repeats=1, max_tokens=200), 3)
        assert len(at.asked) == 2 + 4, "a test and three answers of 57 tokens, and no more"
    assert found.ended.endswith("228 tokens are spent; max_tokens is 200")
    assert len(found.turns) > 1


def test_money_is_counted_over_all_visits():
    with standin({CHAT: wants("look")}) as at:
        found = visitor(at.url, repeats=1, price_in=2.0, price_out=10.0, max_cost=0.0005)
        assert found.decide(ASKS).facts["cost"] == pytest.approx(2 * (50 * 2 + 7 * 10) / 1e6)
        found.begin("Again.", 2)
        found.decide(ASKS)
        assert refused(found) == "0.00051 is spent; max_cost is 0.0005"


def test_what_was_no_answer_is_paid_for_too():
    """Nobody has a decision to count it by; the report of the visit has."""
    with standin({CHAT: [FINE, wants("look"), says(None, refusal="No.")]}) as at:
        found = visitor(at.url, repeats=1, retries=2, price_in=2.0)
        found.begin("You are in a gallery.", 1)
        assert (found.report().tokens, found.report().cost) == (0, 0)
        assert found.decide(ASKS).facts["tokens"] == found.report().tokens == 2 * 57, "a test, and an answer"
        found.begin("Again.", 2)
        assert "it refused: No." in refused(found)
        assert (found.report().tokens, found.report().cost) == (3 * 57, pytest.approx(3 * 50 * 2 / 1e6))


def test_a_server_that_does_not_count():
    body = completion('{"choice": "A"}')
    del body["usage"]
    with standin({CHAT: status(200, body)}) as at:
        facts = visitor(at.url).decide(ASKS).facts
        assert facts["uncounted"] == 3
        assert not {"tokens", "cost"} & set(facts)
        assert "counts no tokens" in refused(visitor(at.url, max_tokens=100))
        assert "counts no tokens" in refused(visitor(at.url, senses="pictures"))


# What it says of itself


def test_it_is_a_visitor_and_says_who_it_is():
    found = invite("openai:m@http://127.0.0.1:8000/v1", Path("nowhere"))
    assert isinstance(found, Visitor)
    about = found.about()
    assert {"model": "m", "host": "127.0.0.1:8000", "repeats": 2}.items() <= about.items()
    assert not {"way", "served", "senses", "clips"} & {*about}, "what is not known, and what it is not asked with"
    assert re.fullmatch(r"[0-9a-f]{64}", str(about["prompt"]))
    assert found.report().progress is None
    assert found.name == "openai:m@http://127.0.0.1:8000/v1"


def test_long_visits_forget_their_beginning():
    with standin({CHAT: FINE}) as at:
        found = visitor(at.url, history=1000)
        for i in range(100):
            found.observe(f"{i}: a tone of some height")
        made: Decision = found.decide(ASKS)
        told = at.asked[-1].body["messages"][-1]["content"]
    lines = ["The hall. Rooms: amber, birch.", *(f"{i}: a tone of some height" for i in range(100))]
    all_told = sum(len(line) + 1 for line in lines)
    assert made.facts["dropped"] == all_told - sum(len(line) + 1 for line in told.splitlines() if "a tone" in line)
    assert "99: a tone" in told
    assert "\n3: a tone" not in told
    assert "You are in a gallery." in told


def test_the_ways_are_those_three():
    assert [way.name for way in WAYS] == ["decisions", "systemone", "chat", "chat", "chat"]
    assert [way.form for way in WAYS if isinstance(way, Chat)] == ["full", "schema", "bare"]


def test_the_stand_in_is_what_it_seems():
    with standin({CHAT: FINE}) as at:
        assert isinstance(at, Standin)
        visitor(at.url).decide(ASKS)
        shown = options_of(at.asked[-1])
    assert sorted(shown.values()) == sorted(ASKS.options)
    assert [*shown] == ["A", "B", "C"]
