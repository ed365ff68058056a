"""Who says what is on pictures: right about drawings, and not deceived by what shows nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pieces.minds.concepts import NOTHING as BLANK
from pieces.minds.concepts import SETTINGS, Eye, open_eye
from pieces.minds.house.drawings import OBJECTS, Album, album
from pieces.minds.house.figures import WEARERS
from pieces.minds.mind import HOUSE, Mind, MindError, open_mind

CONCEPTS = tuple(f"a {thing}" for thing in OBJECTS)
NOTHING = len(CONCEPTS)


@pytest.fixture(scope="module")
def eye(house: Mind) -> Eye:
    return open_eye(house)


@pytest.fixture(scope="module")
def drawings() -> Album:
    """Drawings that no training has seen."""
    return album(240, seed=91_001)


def empty_pictures() -> dict[str, NDArray[np.uint8]]:
    """Pictures of nothing: 30 of each kind."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    flat = np.broadcast_to(rng.integers(0, 256, (30, 1, 1, 3), dtype=np.uint8), (30, 64, 64, 3)).copy()
    return {"noise": noise, "flat": flat}


def test_drawings_are_named_rightly_whatever_they_wear(eye: Eye, drawings: Album) -> None:
    best = eye.scores(drawings.pictures, CONCEPTS).argmax(axis=1)
    truth = np.array([OBJECTS.index(d.thing) for d in drawings.drawings])
    assert np.mean(best == truth) >= 0.95
    dressed = np.array([len(d.wears) > 1 for d in drawings.drawings])
    assert np.mean(best[dressed] == truth[dressed]) >= 0.95
    assert np.mean(best == np.roll(truth, 1)) < 0.3, "the measure can fail"
    exactly = eye.scores_of(eye.embed(drawings.pictures), CONCEPTS, exactly=True).argmax(axis=1)
    assert np.mean(exactly[dressed] == truth[dressed]) < 0.6, "bare captions are not what is meant"


def test_what_is_worn_is_a_concept_of_its_own_where_it_is_asked_for(eye: Eye, drawings: Album) -> None:
    hatted = [i for i, d in enumerate(drawings.drawings) if d.wears == ("party hat",)]
    for i in hatted:
        thing = drawings.drawings[i].thing
        asked = (f"a {thing}", f"a {thing} in a party hat", "a tree")
        assert eye.scores(drawings.pictures[i : i + 1], asked)[0].argmax() == 1


def test_hats_are_seen(eye: Eye, drawings: Album) -> None:
    wearers = [i for i, d in enumerate(drawings.drawings) if d.thing in WEARERS]
    hatted = np.array(["party hat" in drawings.drawings[i].wears for i in wearers])
    seen = np.empty(len(wearers), bool)
    for row, i in enumerate(wearers):
        thing = drawings.drawings[i].thing
        asked = (f"a {thing} in a party hat", f"a {thing}")
        scores = eye.scores_of(eye.embed(drawings.pictures[i : i + 1]), asked, exactly=True)[0]
        seen[row] = scores[0] > scores[1]
    assert 20 < hatted.sum() < len(hatted) - 20
    assert np.mean(seen == hatted) >= 0.9


@pytest.mark.parametrize("kind", ["noise", "flat"])
def test_what_shows_nothing_is_nothing(eye: Eye, kind: str) -> None:
    best = eye.scores(empty_pictures()[kind], CONCEPTS).argmax(axis=1)
    assert np.mean(best == NOTHING) >= 0.9


def test_drawings_are_not_nothing(eye: Eye, drawings: Album) -> None:
    assert np.mean(eye.scores(drawings.pictures, CONCEPTS)[:, NOTHING]) < 0.02


def test_scores_are_probabilities_and_pictures_do_not_see_each_other(eye: Eye, drawings: Album) -> None:
    pictures = drawings.pictures[:70]
    embedded, scores = eye.embed(pictures), eye.scores(pictures, CONCEPTS)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert scores.dtype == np.float32
    assert scores.shape == (70, NOTHING + 1)
    np.testing.assert_allclose(eye.embed(pictures[::-1])[::-1], embedded, atol=1e-5)
    assert eye.embed(pictures[:0]).shape == (0, embedded.shape[1])


def test_larger_pictures_are_seen_alike(eye: Eye, drawings: Album) -> None:
    """A mind's pictures may have another size than its CLIP's."""
    large = drawings.pictures[:8].repeat(4, axis=1).repeat(4, axis=2)
    alike = (eye.embed(large) * eye.embed(drawings.pictures[:8])).sum(axis=1)
    assert alike.min() > 0.95
    others = (eye.embed(large) * eye.embed(drawings.pictures[8:16])).sum(axis=1)
    assert others.mean() < 0.8, "the measure can fail"


def test_of_a_wide_picture_the_middle_is_seen(eye: Eye, drawings: Album) -> None:
    """As CLIPs are trained, and not squeezed."""
    whole = drawings.pictures[:8]
    wide = np.pad(whole, ((0, 0), (0, 0), (32, 32), (0, 0)), constant_values=90)
    tall = np.pad(whole, ((0, 0), (7, 8), (0, 0), (0, 0)), constant_values=90)
    for padded in (wide, tall):
        np.testing.assert_allclose(eye.embed(padded), eye.embed(whole), atol=1e-5)
    beside = np.roll(wide, 32, axis=2)
    assert np.abs(eye.embed(beside) - eye.embed(whole)).max() > 0.05, "the measure can fail"


def test_a_mind_without_clip_says_what_to_do(tiny_sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    mind = open_mind(str(tiny_sd1), device="cpu")
    for clip in (str(tmp_path), None):
        with pytest.raises(MindError) as refused:
            open_eye(mind, clip)
        line = str(refused.value)
        assert "ive a folder" in line or "give FOLDER" in line
        assert "\n" not in line


@pytest.fixture(scope="module")
def with_clip(tiny_sd1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mind of somebody's with a CLIP in its folder, of no training at all."""
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    folder = tmp_path_factory.mktemp("own") / "mind"
    shutil.copytree(tiny_sd1, folder)
    words = {**small, "vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": 1}
    pictures = {**small, "image_size": 32, "patch_size": 16}
    config = CLIPConfig(text_config=words, vision_config=pictures, projection_dim=8)
    CLIPModel(config).save_pretrained(folder / "clip")
    return folder


def test_a_clip_that_a_mind_brings_is_taken_for_what_it_says_it_is(with_clip: Path, eye: Eye) -> None:
    """All CLIPs are looked through in the usual way, but those that say otherwise, as the house mind's does."""
    mind, told = open_mind(str(with_clip), device="cpu"), with_clip / "clip" / SETTINGS
    usual = open_eye(mind)
    assert usual.nothing == BLANK
    assert usual.open("a cat") == ("a cat",)
    np.testing.assert_allclose(usual.mean, [0.4815, 0.4578, 0.4082], atol=1e-4)  # of Radford et al.
    (with_clip / "clip" / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]})
    )
    np.testing.assert_allclose(open_eye(mind).mean, [0.1, 0.2, 0.3])
    told.write_text('{"nothing": "void", "mean": 0.25}')
    another = open_eye(mind)
    assert (another.nothing, another.open("a cat")) == ("void", ("a cat",))
    np.testing.assert_allclose([another.mean, another.deviation], [[0.25] * 3, [0.5, 0.6, 0.7]])
    shutil.copyfile(HOUSE / "clip" / SETTINGS, told)
    like = open_eye(mind)
    assert (like.nothing, like.open("a cat")) == (eye.nothing, eye.open("a cat")) == ("", like.open("a cat"))
    assert len(like.open("a cat")) > 1
    np.testing.assert_array_equal([like.mean, like.deviation], [eye.mean, eye.deviation])


@pytest.mark.parametrize("text", ["{", "[1]", '{"mean": "dark"}', '{"deviation": [1, 2]}', '{"mean": [[1], [2]]}'])
def test_settings_that_are_none_are_named(with_clip: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(with_clip, tmp_path / "mind")
    (tmp_path / "mind" / "clip" / SETTINGS).write_text(text)
    mind = open_mind(str(tmp_path / "mind"), device="cpu")
    with pytest.raises(MindError, match=r"clip/eye\.json") as refused:
        open_eye(mind)
    assert "\n" not in str(refused.value)
