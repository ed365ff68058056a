"""A mind of Stable Diffusion 1.5's full size with random weights: opened, drawn with, operated."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import ROOT, Row

CODE = """
import sys, time
import torch
from pieces.minds.mind import Settings, open_mind, shape_of
from pieces.minds.surgery import Operation, operated
def cpu(work):
    began = time.process_time()
    return work(), time.process_time() - began
mind, opened = cpu(lambda: open_mind(sys.argv[1], device="cpu", precision="bfloat16"))
meaning, noise = mind.meaning(["a cat in a party hat"]), mind.noise([0], shape_of(mind.folder, 256, 256)[0])
draw = lambda: mind.decode(mind.draw(meaning, noise, Settings(steps=1)))
before, drawn = cpu(draw)
name = "unet.mid_block.attentions.0.proj_in"
with operated(mind, Operation("knockout", (name,))):
    struck = draw()
assert (draw() == before).all() and (struck != before).any()
print(sum(1 for n in mind.modules if n.startswith("unet.")), opened, drawn)
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        made, measured = f"from {__name__} import make; make({folder!r})", CODE
        for code in (made, measured):
            words = [sys.executable, "-c", code, folder]
            done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT)
    modules, opened, drawn, memory = map(float, done.stdout.split())
    yield Row("Stable Diffusion 1.5's shape: modules of the UNet", modules, "", "391", modules == 391)
    yield Row("its opening, bfloat16", opened, "CPU s", "-", None)
    yield Row("a picture of 256 x 256, one step", drawn, "CPU s", "-", None)
    yield Row("peak memory", memory / 1024, "MB", "-", None)


def make(place: str) -> None:
    """Leave a pipeline of the full size, whose weights are random, in a folder."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from pieces.minds.house.networks import make_tokenizer
    from tests.pieces.minds.conftest import FULL_UNET

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    tokenizer = make_tokenizer(Path(place) / "words")
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel(**FULL_UNET),
            "vae": AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **blocks),
            "text_encoder": CLIPTextModel(CLIPTextConfig(vocab_size=49408, **text, **ids)),
        }
    torch.manual_seed(0)
    for part in parts.values():
        part.to(torch.bfloat16).to_empty(device="cpu")
        for parameter in part.parameters():
            parameter.data.normal_(0, 0.02) if parameter.ndim > 1 else parameter.data.fill_(1.0)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    more = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    StableDiffusionPipeline(tokenizer=tokenizer, scheduler=scheduler, **parts, **more).save_pretrained(place)
