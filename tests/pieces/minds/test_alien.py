"""Minds under surgery: what the essay saw is there on the house mind, the mind comes out whole, and takes replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pieces.minds.alien import MOST, VISIBLE, Alien
from pieces.minds.alien_bench import damage, graded, strength
from pieces.minds.concepts import CONCEPTS, concepts_of
from pieces.minds.mind import MindError
from pieces.minds.surgery import Operation, fingerprint
from pieces.signals import FrameBlock, gather
from pieces.source import SourceError, check_controls

#: Seeds that were not used to choose anything; steps and grades are few, so that tests are quick.
SEED, STEPS = 2, 8
NOTHING = len(CONCEPTS)
#: The last convolution of the house mind's decoder.
LAST = {"modules": "decoder.layers.10"}


def sheet(seed: int = SEED, given: dict[str, str] | None = None, **controls: Any) -> Alien:
    return Alien(seed, check_controls(Alien, {"steps": STEPS, **controls}), given or {})


def whole(source: Alien) -> FrameBlock:
    return source.step({}, (), 10_000)


@pytest.fixture(scope="module")
def knocked() -> tuple[Alien, FrameBlock, str]:
    """Every sixth module of the UNet silenced, the first and the last among them."""
    source = sheet(modules=32)
    before = fingerprint(source.bench.mind.modules)
    return source, whole(source), before


@pytest.fixture(scope="module")
def tiny(tiny_sd1: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A mind that knows nothing, of 32 x 32 pixels, with a CLIP of its own that knows nothing either."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    from pieces.minds.house.networks import make_tokenizer

    folder = tmp_path_factory.mktemp("clip")
    words = make_tokenizer(folder)
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = {**vision, "vocab_size": len(words), "eos_token_id": words.eos_token_id, "max_position_embeddings": 24}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config={**vision, "image_size": 16, "patch_size": 8}, projection_dim=4)
    CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    return {"mind": str(tiny_sd1), "clip": str(folder)}


# --- what the essay saw


def test_the_untouched_mind_draws_what_was_asked_for(knocked: tuple[Alien, FrameBlock, str]) -> None:
    rows = knocked[1].arrays
    assert rows["strongest"][0] == 0
    assert rows["concept"][0] > 0.5
    assert rows["distance_pixels"][0] == rows["distance_latents"][0] == rows["damage"][0] == rows["struck"][0] == 0


def test_a_third_and_more_of_the_knock_outs_cannot_be_seen_but_not_all(knocked: tuple[Alien, FrameBlock, str]) -> None:
    unmoved = knocked[1].arrays["distance_pixels"][1:] < VISIBLE
    assert 0.3 <= unmoved.mean() <= 0.8


def test_without_its_last_layer_a_mind_draws_nothing(knocked: tuple[Alien, FrameBlock, str]) -> None:
    source, block, _ = knocked
    (last,) = [t for t in range(block.ticks) if source.bench.facts(t)["name"] == "unet.conv_out"]
    assert block.arrays["strongest"][last] == NOTHING
    assert block.arrays["nothing"][last] > 0.5
    assert block.arrays["nothing"][0] < 0.1
    assert "lost" in {e.kind for e in block.events if e.tick == last}


@pytest.mark.parametrize("surgery", ["noise", "down"])
def test_damage_fades_the_concept_out(surgery: str) -> None:
    """Mean over starting noises, grades up to complete damage: rank correlations, and their sign under shuffling."""
    blocks = [whole(sheet(seed, surgery=surgery, grades=7, most=0.7, batch=8)) for seed in (SEED, SEED + 1)]
    mean = {n: np.mean([b.arrays[n] for b in blocks], axis=0) for n in ("damage", "distance_pixels", "concept")}
    assert mean["damage"][0] == 0
    assert spearmanr(mean["damage"], mean["distance_pixels"]).statistic >= 0.9
    assert spearmanr(mean["damage"], mean["concept"]).statistic <= -0.7
    assert mean["concept"][-1] < 0.5 * mean["concept"][0]
    shuffled = np.random.default_rng(0).permutation(mean["damage"])
    assert spearmanr(shuffled, mean["concept"]).statistic > -0.6, "the measure can fail"


def test_one_half_of_the_picture_can_be_struck(knocked: tuple[Alien, FrameBlock, str]) -> None:
    """Hemispatial neglect: damage at the decoder's last layer that spares the other side."""
    tilt = {}
    for half in ("both", "left", "right"):
        source = sheet(given=LAST, part="vae", half=half)
        rows = whole(source).arrays
        assert source.bench.ticks == 2
        tilt[half] = float(rows["tilt"][1])
        assert rows["distance_pixels"][1] > VISIBLE
    assert tilt["left"] < -0.05
    assert tilt["right"] > 0.05
    assert abs(tilt["both"]) < min(-tilt["left"], tilt["right"])


# --- the mind comes out whole, the take replays


def test_the_mind_comes_out_whole(knocked: tuple[Alien, FrameBlock, str]) -> None:
    source, _, before = knocked
    assert fingerprint(source.bench.mind.modules) == before
    module = source.bench.mind.modules["unet.conv_in"]
    module.bias.data[0] += 1e-6
    assert fingerprint(source.bench.mind.modules) != before, "the measure can fail"
    module.bias.data[0] -= 1e-6


def test_each_tick_is_named_and_judged(knocked: tuple[Alien, FrameBlock, str]) -> None:
    source, block, _ = knocked
    told = [e for e in block.events if e.kind == "surgery"]
    assert [e.tick for e in told] == list(range(33))
    names = [e.data["name"] for e in told]
    assert names[0] == "untouched"
    assert names[1] == "unet.conv_in"
    assert len(set(names)) == 33
    assert set(names[1:]) <= source.bench.mind.modules.keys()
    unmoved = {e.tick for e in block.events if e.kind == "unmoved"}
    assert unmoved == {t for t in range(1, 33) if block.arrays["distance_pixels"][t] < VISIBLE}
    sizes = [sum(p.numel() for p in source.bench.mind.modules[n].parameters()) for n in names[1:]]
    assert block.arrays["parameters"][1:].tolist() == sizes
    assert (np.diff(block.arrays["depth"][1:]) > 0).all()


def test_a_take_replays_bit_for_bit_however_it_is_cut(tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh() -> Alien:
        monkeypatch.setattr("pieces.minds.alien._drawn", {})
        return sheet(7, tiny, modules=9, batch=4)

    once = whole(fresh())
    source = fresh()
    parts = [source.step({}, (), n) for n in (1, 2, 4)]
    state = source.snapshot()
    parts.append(source.step({}, (), 50))
    assert source.step({}, (), 1).ticks == 0
    other = fresh()
    other.restore(state)
    again = other.step({}, (), 50)
    cut = gather(parts, 1.0)
    assert once.ticks == cut.ticks == 10
    for name, array in once.arrays.items():
        np.testing.assert_array_equal(cut.arrays[name], array, name)
        np.testing.assert_array_equal(again.arrays[name], array[7:], name)
    assert list(cut.events) == list(once.events)
    different = whole(sheet(8, tiny, modules=9, batch=4))
    assert not np.array_equal(different.arrays["latents"], once.arrays["latents"])


@pytest.mark.parametrize("surgery", ["knockout", "randomise", "hal", "noise", "down", "up"])
def test_every_surgery_has_its_sheet_and_leaves_the_mind_whole(tiny: dict[str, str], surgery: str) -> None:
    source = sheet(1, {**tiny, "modules": "up_blocks.*"}, surgery=surgery, modules=4, grades=3, steps=2)
    before = fingerprint(source.bench.mind.modules)
    rows = whole(source).arrays
    assert fingerprint(source.bench.mind.modules) == before
    if surgery in MOST:
        np.testing.assert_allclose(rows["damage"], MOST[surgery] * np.arange(4) / 3, atol=1e-6)
        assert (np.diff(rows["struck"]) >= 0).all()
        assert rows["struck"][-1] == (2 if surgery == "hal" else 4)
    else:
        assert rows["damage"].tolist() == rows["struck"].tolist() == [0, 1, 1, 1, 1]
    assert rows["distance_latents"][0] == 0
    assert (rows["distance_latents"][1:] > 0).any()


def test_a_batch_that_is_remembered_is_not_drawn_again(tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = sheet(9, tiny, modules=5, batch=4)
    made = {k: first.batch(k) for k in range(first.batches)}
    second = sheet(9, tiny, modules=5, batch=4)
    for k, arrays in made.items():
        second.remember(k, arrays)
    monkeypatch.setattr(second, "batch", lambda k: pytest.fail(f"batch {k} is drawn again"))
    assert whole(second).ticks == 6


def test_what_is_no_number_is_an_event_and_black(tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A mind with a weight that is NaN where surgery does not reach."""
    monkeypatch.setattr("pieces.minds.alien._drawn", {})
    source = sheet(3, tiny, modules=2)
    source.bench.measured(range(1))
    source.bench.mind.modules["unet.conv_out"].bias.data[0] = float("nan")
    block = whole(source)
    assert {e.tick for e in block.events if e.kind == "nothing"} == {1, 2} - {
        t for t in (1, 2) if source.bench.facts(t)["name"] == "unet.conv_out"
    }
    assert (block.arrays["picture"][1] == 0).all()
    for name in ("distance_pixels", "distance_latents", "distance_embedding", "scores"):
        assert np.isfinite(block.arrays[name]).all(), name


def test_a_decoder_that_makes_no_numbers_shows_nothing(tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its CLIP has to say of a black picture."""
    monkeypatch.setattr("pieces.minds.alien._drawn", {})
    source = sheet(3, tiny, modules=2)
    source.bench.measured(range(1))
    source.bench.mind.modules["vae.decoder.conv_out"].bias.data[0] = float("nan")
    block = whole(source)
    assert [e.tick for e in block.events if e.kind == "nothing"] == [1, 2]
    assert np.isfinite(block.arrays["latents"]).all()
    assert block.arrays["nothing"].tolist() == pytest.approx([block.arrays["nothing"][0], 1, 1])
    assert block.arrays["nothing"][0] < 1
    assert not block.arrays["complete"][1:].any()


def test_it_says_which_mind_it_is(tiny: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, CLIP and precision, each on its own: pictures that are remembered are those of the very same mind."""

    def told(change: Callable[[Alien], object] = lambda source: None) -> tuple[dict[str, str], str]:
        source = sheet(3, tiny, modules=1, steps=1)
        change(source)
        (event,) = [e for e in whole(source).events if e.kind == "mind"]
        assert event.tick == 0
        return event.data, source._memory

    before, memory = told()
    assert told() == (before, memory)
    assert before["precision"] == "float32"
    assert before["device"] == "cpu"
    other, elsewhere = told(lambda source: source.bench.mind.modules["unet.conv_in"].bias.data.add_(1e-3))
    assert {name for name in before if before[name] != other[name]} == {"weights"}
    assert elsewhere != memory
    blind, elsewhere = told(lambda source: source.bench.eye.model.visual_projection.weight.data.add_(1e-3))
    assert {name for name in before if before[name] != blind[name]} == {"eye"}
    assert elsewhere != memory
    deaf, _ = told(lambda source: setattr(source.bench.eye, "nothing", "noise"))
    assert {name for name in before if before[name] != deaf[name]} == {"eye"}
    for settings in ({"prediction_type": "sample"}, {"beta_end": 0.02}):
        bent, _ = told(
            lambda source, settings=settings: source.bench.mind.pipeline.scheduler.register_to_config(**settings)
        )
        assert {name for name in before if before[name] != bent[name]} == {"settings"}
    sliced, _ = told(lambda source: source.bench.mind.pipeline.enable_attention_slicing())
    assert {name for name in before if before[name] != sliced[name]} == {"settings"}
    monkeypatch.setenv("DESCANT_PRECISION", "bfloat16")
    assert told()[0]["precision"] == "bfloat16"


@pytest.mark.parametrize("sides", [(48, 0), (0, 64), (48, 64)])
def test_a_sheet_of_another_size(tiny: dict[str, str], sides: tuple[int, int]) -> None:
    source = sheet(3, tiny, modules=2, steps=1, height=sides[0], width=sides[1])
    block = whole(source)
    height, width = (side or 32 for side in sides)
    assert block.arrays["picture"].shape == (3, height, width, 3)
    declared = {c.name: c.shape for c in source.channels}
    assert {name: array.shape[1:] for name, array in block.arrays.items()} == declared


# --- bad input


def test_a_size_that_the_mind_does_not_draw_is_said_before_it_is_opened() -> None:
    with pytest.raises(MindError, match="height 50: this mind draws multiples of 16 pixels, 16 to 256"):
        sheet(0, height=50)


@pytest.mark.parametrize("surgery", ["hal", "noise", "down"])
def test_there_is_no_more_damage_than_all(surgery: str) -> None:
    with pytest.raises(SourceError, match=f"most = 3: {surgery} ends at 1"):
        sheet(0, surgery=surgery, most=3.0)
    assert sheet(0, surgery="up", most=3.0).surgery == "up"


def test_words_that_the_house_mind_does_not_know_are_said_once() -> None:
    source = sheet(0, {"prompt": "a cat in a spaceship"}, modules=1, steps=1)
    block = whole(source)
    (notice,) = [e for e in block.events if e.kind == "notice"]
    assert notice.tick == 0
    assert "spaceship" in notice.data["line"]
    assert "house" in notice.data["line"]
    assert "spaceship" not in " ".join(source.concepts[1:])


@pytest.mark.parametrize(
    ("given", "controls", "says"),
    [
        ({"modules": "mid_blok.*"}, {}, "mid_block"),
        ({}, {"layer": "Embedding"}, "no Embedding"),
        ({}, {"from_depth": 0.9, "to_depth": 0.1}, "no such module"),
        ({}, {"part": "text_encoder_2"}, "no part"),
    ],
)
def test_what_chooses_no_module_is_said_in_a_line(
    tiny: dict[str, str], given: dict[str, str], controls: dict[str, Any], says: str
) -> None:
    with pytest.raises(MindError) as refused:
        whole(sheet(0, {**tiny, **given}, **controls))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_concepts_that_are_none_and_snapshots_of_others_are_refused(tiny: dict[str, str]) -> None:
    with pytest.raises(SourceError, match="1 to 64"):
        sheet(0, {**tiny, "concepts": " ; "})
    source = sheet(0, tiny, modules=3)
    with pytest.raises(SourceError, match="another sheet"):
        source.restore(sheet(1, tiny, modules=3).snapshot())
    with pytest.raises(SourceError, match="not a snapshot"):
        source.restore(b"[]")


# --- mappings


@given(st.text(max_size=40))
def test_what_is_asked_for_is_the_first_concept(prompt: str) -> None:
    found = concepts_of(prompt)
    assert len(set(found)) == len(found)
    assert set(CONCEPTS) <= set(found)
    assert found[0] == prompt or found[0].removeprefix("a ") in prompt.lower()


def test_concepts_may_be_given() -> None:
    assert concepts_of("a cat", "a ship; a cat ;a ship") == ("a ship", "a cat")
    assert concepts_of("a cat in a house")[0] == "a cat"


@given(st.sampled_from(sorted(MOST)), st.floats(0, 1))
def test_damage_is_the_inverse_of_strength(kind: Any, amount: float) -> None:
    operation = Operation(kind, ("unet.conv_in",), strength(kind, amount))
    assert damage(operation) == pytest.approx(amount, abs=1e-9)


@given(st.sampled_from(sorted(MOST)), st.integers(2, 50), st.floats(0.01, 1))
def test_grades_rise_in_damage_to_the_last(kind: Any, grades: int, most: float) -> None:
    found = [damage(Operation(kind, ("m",), s)) for s in graded(kind, grades, most)]
    assert len(found) == grades
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(most)
    assert graded("knockout", grades, most) == []
