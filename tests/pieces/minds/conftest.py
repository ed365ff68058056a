"""Minds to test with: the house mind, and tiny Stable Diffusions of the real classes that know nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pieces.minds.mind import Mind, open_mind

#: Width of the tiny text encoders.
WIDTH = 16
#: The UNet of Stable Diffusion 1.5.
FULL_UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch leaves the other cores to the other tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def house() -> Mind:
    """The house mind, opened; who changes it puts it back."""
    return open_mind("house", device="cpu")


@pytest.fixture(scope="session")
def minds_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the tiny minds are, gone with the session."""
    folder = tmp_path_factory.mktemp("minds")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_sd1(minds_folder: Path) -> Path:
    """Stable Diffusion 1.x in small: 32 x 32 pixels, noise prediction, PNDM as it is shipped with."""
    from diffusers import PNDMScheduler

    return _saved(minds_folder / "sd1", _unet(), PNDMScheduler(skip_prk_steps=True, **_betas(), steps_offset=1))


@pytest.fixture(scope="session")
def tiny_sd2(minds_folder: Path) -> Path:
    """Stable Diffusion 2.x in small: linear projections, heads by block, v-prediction."""
    from diffusers import DDIMScheduler

    unet = _unet(use_linear_projection=True, attention_head_dim=[2, 4])
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False, steps_offset=1, **_betas())
    return _saved(minds_folder / "sd2", unet, scheduler)


@pytest.fixture(scope="session")
def tiny_xl(minds_folder: Path) -> Path:
    """Stable Diffusion XL in small: two text encoders, size and summary of the text beside the prompt."""
    from diffusers import EulerDiscreteScheduler

    ids, text = 8, WIDTH
    unet = _unet(
        use_linear_projection=True,
        cross_attention_dim=2 * WIDTH,
        transformer_layers_per_block=[1, 2],
        addition_embed_type="text_time",
        addition_time_embed_dim=ids,
        projection_class_embeddings_input_dim=6 * ids + text,
    )
    return _saved(minds_folder / "xl", unet, EulerDiscreteScheduler(**_betas(), timestep_spacing="leading"), xl=True)


def _betas() -> dict[str, Any]:
    return {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _unet(**more: Any) -> Any:
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    settings = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**settings, **more})


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=32,
    )


def _text(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )


def _saved(folder: Path, unet: Any, scheduler: Any, xl: bool = False) -> Path:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    from pieces.minds.house.networks import make_tokenizer

    tokenizer = make_tokenizer(folder / "words")
    parts = {"vae": _vae(), "unet": unet, "scheduler": scheduler, "tokenizer": tokenizer}
    parts["text_encoder"] = CLIPTextModel(_text(tokenizer))
    if xl:
        second = CLIPTextModelWithProjection(_text(tokenizer))
        pipeline = StableDiffusionXLPipeline(**parts, text_encoder_2=second, tokenizer_2=tokenizer)
    else:
        none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = StableDiffusionPipeline(**parts, **none)
    pipeline.save_pretrained(folder / "mind", safe_serialization=True)
    return folder / "mind"
