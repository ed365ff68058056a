"""The networks of the house mind, of the standard classes, so that any diffusion tool can open it.

Importing this module loads torch, diffusers and transformers: import it inside functions.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pieces.minds.house.drawings import SIZE, vocabulary

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

#: Tokens of a prompt, with its beginning and end.
TOKENS = 24
#: What stands at the end of a word's last token.
_END = "</w>"
#: Channels and side of the latents.
LATENTS, SIDE = 4, 16
WIDTH, LAYERS, HEADS, PROJECTION = 128, 3, 4, 64


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """A byte-pair tokenizer in which every word of the vocabulary is one token; its files are left in `folder`."""
    merges = _merges(vocabulary())
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,!?'-")
    pieces = [*letters, *(letter + _END for letter in letters), *(a + b for a, b in merges)]
    ids = {word: i for i, word in enumerate([*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    settings = {"model_max_length": TOKENS, "tokenizer_class": "CLIPTokenizer", "unk_token": "<|endoftext|>", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return CLIPTokenizer.from_pretrained(folder)


def _merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges that make each word one token (Sennrich et al. 2016, algorithm 1, to its end).

    The trainer of `tokenizers` breaks ties by chance, so that each training would have other tokens.
    """
    parts = [[*word[:-1], word[-1] + _END] for word in words]
    merges = []
    while pairs := Counter(pair for word in parts for pair in itertools.pairwise(word)):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in parts:
            for i in range(len(word) - 1, 0, -1):
                if (word[i - 1], word[i]) == best:
                    word[i - 1 : i + 1] = ["".join(best)]
    return merges


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids, int64 ``[n, 24]``."""
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=TOKENS).input_ids
    return torch.tensor(ids)


def _text(tokenizer: CLIPTokenizer) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": PROJECTION,
    }


def make_vae() -> AutoencoderTiny:
    """Pictures to latents of a quarter of their side, and back (0.2 M parameters)."""
    width = (32, 32, 32)
    return AutoencoderTiny(
        encoder_block_out_channels=width,
        decoder_block_out_channels=width,
        num_encoder_blocks=(0, 1, 2),
        num_decoder_blocks=(2, 1, 1),
        latent_channels=LATENTS,
        upsampling_scaling_factor=2,
        scaling_factor=1.0,
    )


def make_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Pictures and captions in one space (1 M parameters); attention that trains fast on a CPU."""
    vision = {
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": 8,
        "projection_dim": PROJECTION,
    }
    clip = CLIPModel(CLIPConfig(text_config=_text(tokenizer), vision_config=vision, projection_dim=PROJECTION))
    clip.set_attn_implementation("eager")
    return clip


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The text half of `make_clip`, as Stable Diffusion uses it."""
    encoder = CLIPTextModel(CLIPTextConfig(**_text(tokenizer)))
    encoder.set_attn_implementation("eager")
    return encoder


def make_unet() -> UNet2DConditionModel:
    """Predicts v from noisy latents and a prompt (8.6 M parameters)."""
    from diffusers.models.attention_processor import AttnProcessor

    unet = UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=LATENTS,
        out_channels=LATENTS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        norm_num_groups=16,
    )
    unet.set_attn_processor(AttnProcessor())
    return unet


def make_scheduler() -> DDIMScheduler:
    """v-prediction with a terminal signal-to-noise ratio of zero (Lin et al. 2024): the first step sees noise alone."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


class Scorer(nn.Module):
    """Who judges the house mind: a convolutional network that never saw a caption (0.3 M parameters).

    Another architecture than CLIP's vision transformer, another seed, labels in place of text. Answers per picture:
    logits of the eight objects and of "nothing" ``[n, 9]``, and a logit for each accessory ``[n, 3]``.
    """

    def __init__(self, objects: int, accessories: int) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, w) for w in widths[1:])
        self.hidden = nn.Linear(128 * 16, 96)
        self.things = nn.Linear(96, objects + 1)
        self.worn = nn.Linear(96, accessories)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """`pictures` float ``[n, 3, 64, 64]`` in -1..1."""
        x = pictures
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.silu(norm(convolution(x)))
        x = F.silu(self.hidden(F.dropout(x.flatten(1), 0.2, self.training)))
        return self.things(x), self.worn(x)
