"""A mind without its weights: the modules of the real one, from the configuration alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pieces.minds.mind import HOUSE, Mind, MindError, open_mind
from pieces.minds.skeleton import skeleton
from tests.pieces.minds.conftest import FULL_UNET


def anatomy(mind: Mind) -> list[tuple[str, str, list[tuple[str, tuple[int, ...]]]]]:
    """All modules in their order, with their kinds and the shapes of their weights."""
    return [
        (name, type(module).__name__, [(n, tuple(p.shape)) for n, p in module.named_parameters(recurse=False)])
        for name, module in mind.modules.items()
    ]


def without_weights(folder: Path, made: Path) -> Path:
    """A copy of a mind's configuration."""
    shutil.copytree(folder, made, ignore=shutil.ignore_patterns("*.safetensors"))
    return made


@pytest.mark.parametrize("which", ["tiny_sd1", "tiny_sd2", "tiny_xl"])
def test_it_has_the_modules_of_the_mind(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(which)
    bare = skeleton("bare", without_weights(folder, tmp_path / "bare"))
    assert anatomy(bare) == anatomy(open_mind(str(folder), device="cpu"))
    assert any(name.startswith("text_encoder_2.") for name in bare.modules) == (which == "tiny_xl")
    assert all(p.is_meta for module in bare.modules.values() for p in module.parameters())


def test_it_has_those_of_the_house_mind_and_not_those_of_another(house: Mind, tiny_sd1: Path) -> None:
    assert anatomy(skeleton("house", HOUSE)) == anatomy(house)
    assert anatomy(skeleton("tiny", tiny_sd1)) != anatomy(house)


def test_the_libraries_say_nothing_of_it(tiny_sd1: Path) -> None:
    """Bars and warnings of theirs would stand among what a command says."""
    import transformers.utils.logging
    from diffusers.utils import logging

    for library in (logging, transformers.utils.logging):
        library.set_verbosity_info()
        library.enable_progress_bar()
    skeleton("tiny", tiny_sd1)
    for library in (logging, transformers.utils.logging):
        assert library.get_verbosity() == library.ERROR
        assert not library.is_progress_bar_enabled()


def test_it_is_light_whatever_the_mind(tiny_sd1: Path, tmp_path: Path) -> None:
    """The UNet of Stable Diffusion 1.5 would be 3.4 GB."""
    bare = without_weights(tiny_sd1, tmp_path / "full")
    config = bare / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | FULL_UNET | {"norm_num_groups": 32}))
    modules = {n: m for n, m in skeleton("full", bare).modules.items() if n.startswith("unet.")}
    assert len(modules) == 391
    assert sum(p.numel() for m in modules.values() for p in m.parameters(recurse=False)) == 859_520_964


@pytest.mark.parametrize(
    ("part", "made", "told"),
    [
        ("unet", ["diffusers", "NoSuchModel"], "holds no NoSuchModel of diffusers"),
        ("unet", ["transformers", "UNet2DConditionModel"], "holds no UNet2DConditionModel of transformers"),
        ("text_encoder", ["stable_diffusion", "CLIPTextModel"], "holds no CLIPTextModel of stable_diffusion"),
        ("vae", ["numpy", "array"], "made by code of its own"),
    ],
)
def test_a_part_that_cannot_be_made_is_named(
    tiny_sd1: Path, tmp_path: Path, part: str, made: list[str], told: str
) -> None:
    folder = without_weights(tiny_sd1, tmp_path / "mind")
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {part: made}))
    with pytest.raises(MindError, match=told) as refused:
        skeleton("mind", folder)
    assert "\n" not in str(refused.value)


def test_a_configuration_that_is_broken_is_named(tiny_sd1: Path, tmp_path: Path) -> None:
    folder = without_weights(tiny_sd1, tmp_path / "mind")
    (folder / "vae" / "config.json").write_text('{"block_out_channels": "many"}')
    with pytest.raises(MindError, match="vae holds no AutoencoderKL of diffusers"):
        skeleton("mind", folder)
