"""The judge of the house mind: it sees what is on a picture, says when nothing is, and the gate opens to that alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pieces.minds.house import judge as module
from pieces.minds.house.drawings import OBJECTS, THINGS, draw, imagine
from pieces.minds.house.examine import JUDGE, card, examined
from pieces.minds.house.figures import WEARERS
from pieces.minds.house.judge import Gate, Trust, gate, judged, load_judge, save_judge, train_judge, trusted
from pieces.minds.house.networks import Scorer
from pieces.minds.house.train import gate_prompts
from pieces.minds.house.training import Recipe
from pieces.minds.mind import HOUSE, Mind
from pieces.minds.surgery import Operation, operated

ASKED = gate_prompts(160, 31)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_judge(JUDGE)


def test_it_knows_drawings_that_it_has_not_seen_and_noise_from_them(scorer):
    trust = trusted(scorer, 500)
    assert min(trust.objects, trust.hats, trust.accessories, trust.nothing) >= 0.95
    assert trust.false_hats <= 0.05


def test_one_that_has_learned_nothing_is_not_trusted():
    torch.manual_seed(3)
    trust = trusted(Scorer(len(OBJECTS), len(THINGS)).eval(), 300)
    assert trust.objects < 0.4


@pytest.mark.parametrize("always", [True, False])
def test_one_that_sees_hats_everywhere_or_nowhere_is_found_out(scorer, always):
    """Of accessories it says most rightly either way: hats are told by what is missed, and what is made up."""

    def partial(x):
        said, dressed = scorer(x)
        dressed[:, THINGS.index("party hat")] = 9.0 if always else -9.0
        return said, dressed

    trust = trusted(partial, 300)
    assert (trust.hats, trust.false_hats) == ((1, 1) if always else (0, 0))
    assert trust.accessories > 0.7
    assert trust.objects > 0.95


@pytest.mark.parametrize("thing", OBJECTS)
def test_it_sees_each_object_whatever_it_wears(scorer, thing):
    drawings = [replace(imagine(np.random.default_rng(i)), thing=thing, wears=()) for i in range(24)]
    if thing in WEARERS:
        drawings += [replace(d, wears=("party hat",)) for d in drawings]
    verdicts = judged(scorer, np.stack([draw(d, np.random.default_rng(i)) for i, d in enumerate(drawings)]))
    assert np.mean([t == thing for t in verdicts.things]) > 0.95
    hats = np.array(["party hat" in d.wears for d in drawings])
    assert np.mean(verdicts.wears("party hat") == hats) > 0.95


@pytest.mark.parametrize("kind", ["flat", "stripes", "blocks"])
def test_what_shows_nothing_is_nothing(scorer, kind):
    rng = np.random.default_rng(5)
    pictures = []
    for i in range(40):
        picture = np.zeros((64, 64, 3), np.uint8)
        if kind == "flat":
            picture[:] = rng.integers(0, 256, 3)
        elif kind == "stripes":
            picture[:] = rng.integers(0, 256, (64, 1, 3)) if i % 2 else rng.integers(0, 256, (1, 64, 3))
        else:
            picture[:] = rng.integers(0, 256, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
        pictures.append(picture)
    assert np.mean([t == "nothing" for t in judged(scorer, np.stack(pictures)).things]) > 0.9


def drawing(change) -> Gate:
    """The gate of an imaginary mind: it draws what it is asked for, with a change."""

    def mind(prompts, seed):
        rng = np.random.default_rng(seed)
        return np.stack([draw(change(d), rng) for _, d in ASKED])

    return gate(mind, load_judge(JUDGE), ASKED, 7)


def test_a_mind_that_draws_what_it_is_asked_for_passes():
    found = drawing(lambda d: d)
    assert found.passed
    assert min(found.objects, found.hat_when_asked, found.no_hat_otherwise) > 0.97
    assert found.counts[0] == len(ASKED)
    assert min(found.counts[1:]) > 30


def test_a_mind_with_one_fault_does_not_pass_and_the_fault_is_named():
    other = {thing: OBJECTS[(i + 1) % len(OBJECTS)] for i, thing in enumerate(OBJECTS)}
    wrong = drawing(lambda d: replace(d, thing=other[d.thing], wears=()))
    assert not wrong.passed
    assert wrong.objects < 0.1
    bare = drawing(lambda d: replace(d, wears=()))
    assert not bare.passed
    assert bare.hat_when_asked < 0.1 < 0.9 < min(bare.objects, bare.no_hat_otherwise)
    hatted = drawing(lambda d: replace(d, wears=("party hat",) if d.thing in WEARERS else ()))
    assert not hatted.passed
    assert hatted.no_hat_otherwise < 0.1 < 0.9 < min(hatted.objects, hatted.hat_when_asked)


def test_a_mind_of_noise_does_not_pass(scorer):
    noise = np.random.default_rng(0).integers(0, 256, (len(ASKED), 64, 64, 3), dtype=np.uint8)
    assert gate(lambda prompts, seed: noise, scorer, ASKED, 1).objects < 0.05


def test_it_is_trained_from_drawings_and_kept_as_it_is(tmp_path):
    """A little of its training already tells things apart; half precision on disk changes nothing that it says."""
    told = []
    torch.set_num_threads(1)
    scorer = train_judge(lambda *progress: told.append(progress), drawings=400, steps=100, batch=16, seed=1)
    assert told[-1][:3] == ("judge", 100, 100)
    assert trusted(scorer, 300).objects > 0.4
    save_judge(scorer, tmp_path / "judge.safetensors")
    pictures = np.stack([draw(imagine(np.random.default_rng(i)), np.random.default_rng(i)) for i in range(64)])
    again = judged(load_judge(tmp_path / "judge.safetensors"), pictures)
    assert np.allclose(again.worn, judged(scorer, pictures).worn, atol=0.02)


# --- the examination and its card


def test_the_mind_that_is_shipped_draws_what_it_is_asked_for_and_a_wounded_one_does_not(house: Mind):
    assert examined(house, 10).objects >= 0.9
    with operated(house, Operation("knockout", ("unet.conv_out",))):
        assert examined(house, 10).objects <= 0.2


def table(text: str, what: str) -> dict[str, str]:
    """The row of a card that begins with a word, by its table's head."""
    lines = text.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith(f"| {what}"))
    head = next(line for line in reversed(lines[:row]) if line.startswith("| what"))
    cells = ([c.strip() for c in line.strip("|").split("|")] for line in (head, lines[row]))
    return dict(zip(*cells, strict=True))


def test_a_card_says_what_was_found_in_which_precision():
    gates = {"float32": Gate(0.99, 0.9, 0.8, (300, 90, 100)), "bfloat16": Gate(0.5, 0.4, 0.3, (300, 90, 100))}
    trust = Trust(objects=0.91, hats=0.92, false_hats=0.03, accessories=0.94, nothing=0.95)
    facts = {"wall_seconds": {"vae": None}, "threads": [2]}
    text = card(facts, gates, trust, 12.34)
    assert table(text, "the object") == {
        "what": "the object that was asked for, of 300",
        "float32": "99.0%",
        "bfloat16": "50.0%",
        "goal": "90%",
    }
    assert [table(text, "a party hat when")[p] for p in gates] == ["90.0%", "40.0%"]
    assert [table(text, "none when")[p] for p in gates] == ["80.0%", "30.0%"]
    shares = [table(text, w)["share"] for w in ("objects", "party hats seen |", "party hats seen on", "acc", "noise")]
    assert shares == ["91.0%", "92.0%", "3.0%", "94.0%", "95.0%"]
    assert json.loads(text.split("```json")[1].split("```")[0]) == facts
    assert "12.3 MB" in text
    assert f"seed {module.SEED}, {module.DRAWINGS} drawings" in text
    assert "bfloat16" not in card(facts, {"float32": gates["float32"]}, trust, 1.0)


def test_the_card_that_is_shipped_holds_the_gate_in_both_precisions():
    text = (HOUSE / "README.md").read_text()
    for what in ("the object", "a party hat when", "none when"):
        row = table(text, what)
        assert min(float(row[p].rstrip("%")) for p in ("float32", "bfloat16")) >= 90
    facts = json.loads(text.split("```json")[1].split("```")[0])
    assert facts["recipe"] == Recipe().__dict__
    assert set(facts["cpu_seconds"]) == set(facts["wall_seconds"]) == {"vae", "clip", "unet", "eye"}
    assert all(facts["wall_seconds"][stage] >= seconds for stage, seconds in facts["cpu_seconds"].items())
