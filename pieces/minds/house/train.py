"""The four stages of the house mind's training, and the folder that comes out.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import copy
import json
import math
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image
from torch import Tensor, nn

from pieces.minds.concepts import SETTINGS
from pieces.minds.house import networks
from pieces.minds.house.drawings import Drawing, caption, imagine
from pieces.minds.house.figures import WEARERS
from pieces.minds.house.training import (
    NOTHING,
    Batches,
    Progress,
    Recipe,
    Stage,
    TrainingError,
    as_pictures,
    clip_loss,
    run,
    spoiled,
    stage,
    vae_loss,
    velocity_loss,
    write_recipe,
)

#: Seconds between two checkpoints, and between two sheets of samples.
CHECKPOINT, SHEET = 120.0, 900.0
#: What samples show while the training goes on; none of these words and seeds choose a checkpoint.
LOOKS = (
    "a cat in a party hat",
    "a dog",
    "a blue bird in the day",
    "a red fish",
    "a plane",
    "a house at night",
    "a tree",
)
#: What those who look through the mind's CLIP must know of it: see `pieces.minds.concepts.SETTINGS`.
EYE = {"nothing": NOTHING, "house": True, "mean": 0.5, "deviation": 0.5}
#: Samples of each, and how they are drawn.
LOOKED, GUIDANCE, STEPS = 4, 3.0, 12


class Training:
    """A training in a folder, as far as it has come.

    Parameters
    ----------
    folder : Path
        Where checkpoints, the album and samples lie; a training that is there goes on.
    recipe : Recipe
        What is trained, see there.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : callable
        ``(stage, done, of, loss)``.
    stop : callable
        Asked now and then; True ends the training after a checkpoint.
    every : float
        Seconds between two checkpoints.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        device: str,
        progress: Progress,
        stop: Callable[[], bool] = lambda: False,
        every: float = CHECKPOINT,
    ) -> None:
        write_recipe(recipe, folder)
        self.folder, self.recipe, self.device = folder, recipe, torch.device(device)
        self.progress, self.stop, self.every = progress, stop, every
        self.tokenizer = networks.make_tokenizer(folder / "tokenizer")
        self.batches = Batches(recipe, folder, self.device, progress)
        self.stages: dict[str, Stage] = {}
        self._looked = time.monotonic()

    def go(self) -> bool:
        """Go on to the end; False if it was stopped before."""
        torch.set_flush_denormal(True)
        try:
            return self._vae() and self._clip() and self._unet() and self._eye()
        finally:
            torch.set_flush_denormal(False)

    def _half(self) -> AbstractContextManager[Any]:
        """bfloat16 where the device computes with it."""
        can = torch.cpu.get_capabilities()
        fast = self.device.type == "cuda" or can.get("avx512_bf16") or can.get("amx_bf16")
        return torch.autocast(self.device.type, torch.bfloat16) if fast else nullcontext()

    def _begun(self, name: str, make: Callable[[], dict[str, nn.Module]], decay: float) -> Stage:
        torch.manual_seed(self.recipe.seed)
        nets = {n: m.to(self.device) for n, m in make().items()}
        self.stages[name] = stage(name, nets, self.recipe, decay)
        self.stages[name].load(self.folder)
        return self.stages[name]

    def _run(self, name: str, steps: int, loss: Callable[[int], Tensor], look: Callable[[Stage], None] | None) -> bool:
        return run(
            self.stages[name],
            steps,
            loss,
            self.folder,
            self.recipe,
            progress=self.progress,
            stop=self.stop,
            every=self.every,
            look=look,
        )

    def _vae(self) -> bool:
        going = self._begun("vae", lambda: {"vae": networks.make_vae()}, 1e-4)
        vae: Any = going.nets["vae"]
        vae.to(memory_format=torch.channels_last)
        count = self.recipe.drawings

        def loss(step: int) -> Tensor:
            rng = self.batches.rng(0, step)
            x = self.batches.pictures(np.sort(rng.choice(count, self.recipe.vae_batch, replace=False)))
            noise = self.batches.noise(rng, (len(x), networks.LATENTS, networks.SIDE, networks.SIDE))
            with self._half():
                return vae_loss(vae, x.contiguous(memory_format=torch.channels_last), noise)

        if not self._run("vae", self.recipe.vae_steps, loss, None):
            return False
        going.averaged()
        vae.to(memory_format=torch.contiguous_format)
        self._latents(vae)
        return True

    @torch.no_grad()
    def _latents(self, vae: Any) -> None:
        """Latents of the whole album, of unit variance; kept in memory."""
        parts = [
            vae.encode(self.batches.pictures(np.arange(i, min(i + 250, self.recipe.drawings)))).latents.half()
            for i in range(0, self.recipe.drawings, 250)
        ]
        latents = torch.cat(parts)
        vae.register_to_config(scaling_factor=round(1 / float(latents[:4000].float().std()), 6))
        self.latents = latents.mul_(vae.config.scaling_factor)

    def _ids(self, texts: list[str]) -> Tensor:
        return networks.tokens(self.tokenizer, texts).to(self.device)

    def _clip(self) -> bool:
        return self._contrasted("clip", 1, self.recipe.clip_steps, lambda: networks.make_clip(self.tokenizer))

    def _eye(self) -> bool:
        """More of the same for CLIP alone, which judges the mind's pictures from now on."""
        return self._contrasted(
            "eye", 3, self.recipe.eye_steps, lambda: copy.deepcopy(self.stages["clip"].nets["clip"])
        )

    def _contrasted(self, name: str, stream: int, steps: int, make: Callable[[], nn.Module]) -> bool:
        going = self._begun(name, lambda: {"clip": make()}, 0.05)
        clip = going.nets["clip"]
        ids, count, hard = self._ids(list(self.batches.album.captions)), self.recipe.drawings, 32

        def loss(step: int) -> Tensor:
            rng = self.batches.rng(stream, step)
            # Neighbours in this order share ground and colour: to tell them apart one must look at what is drawn.
            starts = rng.integers(0, count, self.recipe.clip_batch // hard)
            near = np.concatenate([self.batches.order[(s + 2 * np.arange(hard)) % count] for s in starts])
            x, said = self.batches.pictures(near), ids[near]
            noise = self.batches.noise(rng, tuple(x.shape))
            x = x + 0.05 * float(rng.random()) * noise
            empty = len(near) // 16
            x = torch.cat([x[:-empty], spoiled(x[-empty:], noise[-empty:], rng)])
            said = torch.cat([said[:-empty], self._ids([NOTHING] * empty)])
            with self._half():
                return clip_loss(clip, said, x)

        if not self._run(name, steps, loss, None):
            return False
        going.averaged()
        return True

    def _unet(self) -> bool:
        def make() -> dict[str, nn.Module]:
            encoder = networks.make_text_encoder(self.tokenizer)
            state = {
                k: v for k, v in self.stages["clip"].nets["clip"].state_dict().items() if k.startswith("text_model.")
            }
            own = encoder.state_dict()
            renamed = {k if k in own else k.removeprefix("text_model."): v for k, v in state.items()}
            encoder.load_state_dict(renamed)
            return {"unet": networks.make_unet(), "encoder": encoder}

        nets = self._begun("unet", make, 1e-2).nets
        unet, encoder = nets["unet"], nets["encoder"]
        ids, nothing = self._ids(list(self.batches.album.captions)), self._ids([""])
        cumulative = networks.make_scheduler().alphas_cumprod.to(self.device)
        count, batch = self.recipe.drawings, self.recipe.unet_batch

        def loss(step: int) -> Tensor:
            rng = self.batches.rng(2, step)
            chosen = torch.from_numpy(rng.choice(count, batch, replace=False)).to(self.device)
            unsaid = torch.from_numpy(rng.random(batch) < 0.1).to(self.device)
            said = torch.where(unsaid[:, None], nothing, ids[chosen])
            # Spread evenly over the batch: a lower variance of the loss than independent times.
            t = torch.from_numpy(((rng.random() + np.arange(batch)) / batch * 1000).astype(np.int64)).to(self.device)
            z = self.latents[chosen].float()
            noise = self.batches.noise(rng, tuple(z.shape))
            with self._half():
                return velocity_loss(unet, encoder, z, said, t, noise, cumulative)

        if not self._run("unet", self.recipe.unet_steps, loss, self._look):
            return False
        self.stages["unet"].averaged()
        return True

    def _look(self, going: Stage) -> None:
        """A sheet of samples of the mind as it is now, ``samples-<step>.png``, now and then."""
        if time.monotonic() - self._looked < SHEET and going.step < self.recipe.unet_steps:
            return
        self._looked = time.monotonic()
        before = [p.detach().clone() for p in going.nets.parameters()]
        going.averaged()
        pipeline = self._pipeline()
        prompts = [p for p in LOOKS for _ in range(LOOKED)]
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal((len(prompts), 4, 16, 16), np.float32))
        drawn = pipeline(
            prompts, num_inference_steps=STEPS, guidance_scale=GUIDANCE, latents=noise.to(self.device), output_type="pt"
        ).images
        rows = as_pictures(drawn * 2 - 1).reshape(len(LOOKS), LOOKED, 64, 64, 3)
        sheet = rows.transpose(0, 2, 1, 3, 4).reshape(len(LOOKS) * 64, LOOKED * 64, 3)
        Image.fromarray(sheet).save(self.folder / f"samples-{going.step:06d}.png")
        with torch.no_grad():
            for parameter, kept in zip(going.nets.parameters(), before, strict=True):
                parameter.copy_(kept)
        going.nets.train()

    def _pipeline(self) -> StableDiffusionPipeline:
        nets = self.stages["unet"].nets
        pipeline = StableDiffusionPipeline(
            vae=self.stages["vae"].nets["vae"],
            text_encoder=nets["encoder"],
            tokenizer=self.tokenizer,
            unet=nets["unet"],
            scheduler=networks.make_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def export(self, folder: Path) -> None:
        """Write the finished mind as fp16 safetensors in standard folders, with CLIP beside it in ``clip/``.

        Whole or not at all; a mind that is there gives way.

        Raises
        ------
        TrainingError
            If the folder holds anything else.
        """
        check_place(folder)
        finished = self._pipeline()
        for part in ("vae", "text_encoder", "unet"):
            setattr(finished, part, copy.deepcopy(getattr(finished, part)).half())
        finished.unet.set_attn_processor(AttnProcessor2_0())
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
            made = Path(beside) / "mind"
            finished.save_pretrained(made)
            clip: Any = self.stages["eye"].nets["clip"]
            copy.deepcopy(clip).half().save_pretrained(made / "clip")
            (made / "clip" / SETTINGS).write_text(json.dumps(EYE) + "\n")
            if folder.exists():
                folder.rename(Path(beside) / "before")
            made.rename(folder)

    def facts(self) -> dict[str, Any]:
        """What the model card says of the training: recipe, seconds of each stage, machine; None: not recorded."""
        stages = self.stages.items()
        there = {"gpu": torch.cuda.get_device_name(self.device)} if self.device.type == "cuda" else {}
        return {
            "recipe": asdict(self.recipe),
            "cpu_seconds": {name: round(s.seconds) for name, s in stages},
            "wall_seconds": {name: None if math.isnan(s.wall) else round(s.wall) for name, s in stages},
            "threads": sorted({count for _, s in stages for count in s.threads}) or None,
            "device": self.device.type,
            **there,
            "machine": str(torch.cpu.get_capabilities().get("cpu_name") or platform.machine()),
        }


def check_place(folder: Path) -> None:
    """See that a mind may be written to a folder; `TrainingError` if something else is there."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "model_index.json").is_file():
        raise TrainingError(f"{folder} holds something else than a mind: give a new folder for the finished one")
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file: give a new folder for the finished mind")


def gate_prompts(count: int, seed: int) -> list[tuple[str, Drawing]]:
    """Prompts of a gate, with what they ask for: half of the wearers in a party hat, grounds and colours all said."""
    rng = np.random.default_rng((seed, 20))
    asked = []
    for i in range(count):
        drawing = imagine(rng)
        hat = ("party hat",) if drawing.thing in WEARERS and i % 2 else ()
        drawing = Drawing(drawing.thing, drawing.colour, drawing.background, hat)
        asked.append((caption(drawing), drawing))
    return asked
