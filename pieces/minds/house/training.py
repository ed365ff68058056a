"""How the house mind is trained: four stages that can be stopped at any moment and go on where they were.

1. the *vae* learns to draw its drawings again from latents;
2. *clip* learns which caption belongs to which drawing, among hard negatives, and what is no drawing at all;
3. the *unet* learns, together with the text encoder, to take noise away;
4. the *eye*, which is that CLIP again, learns on: it will say what is on the mind's pictures.

All randomness of a step follows from (seed, stage, step), so a training that was killed and resumed ends with the
weights, bit for bit, of one that was not (on one machine, with the same number of threads).

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pieces.errors import DescantError
from pieces.minds.house.drawings import SIZE, Album, album, described

#: ``progress(stage, done, of, loss)``, called now and then.
Progress: TypeAlias = Callable[[str, int, int, float], None]

#: What is seen when there is nothing to see: the caption of noise and of flat, scrambled or torn pictures.
NOTHING = ""
#: Steps between two looks at the clock, the progress and the wish to stop.
_LOOK = 20


@dataclass(frozen=True)
class Recipe:
    """What fixes a training: everything but the machine.

    Attributes
    ----------
    seed : int
        Of the drawings (album `seed`), the start weights and every batch.
    drawings : int
        Drawings in the album.
    vae_steps, clip_steps, unet_steps, eye_steps : int
        Steps of each stage. They may be changed in a training that is going on, as long as its last part, in which
        the step size falls, has not begun.
    vae_batch, clip_batch, unet_batch : int
        Drawings in a step.
    rate : float
        Largest step size of AdamW.
    """

    seed: int = 1
    drawings: int = 40_000
    vae_steps: int = 8_000
    vae_batch: int = 16
    clip_steps: int = 3_000
    clip_batch: int = 128
    unet_steps: int = 9_000
    unet_batch: int = 32
    eye_steps: int = 5_000
    rate: float = 8e-4


class TrainingError(DescantError):
    """A training that cannot begin or go on."""


@dataclass
class Stage:
    """A stage while it goes on: networks, optimiser, their moving average, and how far it is.

    Attributes
    ----------
    seconds, wall : float
        CPU time of its steps; time by the clock, with checkpoints and samples, not while it is stopped. NaN: not known.
    threads : list of int
        Numbers of threads that it was computed with.
    """

    name: str
    nets: nn.ModuleDict
    optimiser: torch.optim.AdamW
    average: list[Tensor]
    step: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    threads: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "nets": self.nets.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "step": self.step,
            "seconds": self.seconds,
            "wall": self.wall,
            "threads": self.threads,
            "losses": self.losses[-200:],
        }
        path = folder / f"{self.name}.pt"
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def load(self, folder: Path) -> None:
        """Go on from the checkpoint, if there is one.

        Raises
        ------
        TrainingError
            If there is one that does not fit.
        """
        path = folder / f"{self.name}.pt"
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.average[0].device, weights_only=True)
            self.nets.load_state_dict(state["nets"])
            self.optimiser.load_state_dict(state["optimiser"])
            for mean, kept in zip(self.average, state["average"], strict=True):
                mean.copy_(kept)
        except Exception as error:
            raise TrainingError(
                f"{path} is no checkpoint of this training ({type(error).__name__}): move it away to begin anew"
            ) from error
        self.step, self.seconds, self.losses = state["step"], state["seconds"], state["losses"]
        self.wall, self.threads = state.get("wall", math.nan), state.get("threads", [])

    def averaged(self) -> nn.ModuleDict:
        """Put the moving average into the networks and return them."""
        with torch.no_grad():
            for parameter, mean in zip(self.nets.parameters(), self.average, strict=True):
                parameter.copy_(mean)
        return self.nets.eval()


def stage(name: str, nets: dict[str, nn.Module], recipe: Recipe, decay: float) -> Stage:
    """A stage at its first step."""
    modules = nn.ModuleDict(nets)
    optimiser = torch.optim.AdamW(modules.parameters(), lr=recipe.rate, weight_decay=decay, betas=(0.9, 0.99))
    return Stage(name, modules, optimiser, [p.detach().clone() for p in modules.parameters()])


def run(
    stage: Stage,
    steps: int,
    loss_of: Callable[[int], Tensor],
    folder: Path,
    recipe: Recipe,
    *,
    progress: Progress,
    stop: Callable[[], bool],
    every: float,
    look: Callable[[Stage], None] | None = None,
) -> bool:
    """Go on with a stage to its end; False if `stop` said so before. A checkpoint is written every `every` seconds."""
    kept = seen = time.monotonic()
    stage.nets.train()
    while stage.step < steps:
        began = time.process_time()
        for group in stage.optimiser.param_groups:
            group["lr"] = recipe.rate * _share(stage.step, steps)
        loss = loss_of(stage.step)
        stage.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(stage.nets.parameters(), 1.0)
        stage.optimiser.step()
        stage.step += 1
        share = 1 - min(0.999, (1 + stage.step) / (10 + stage.step))
        with torch.no_grad():
            torch._foreach_lerp_(stage.average, [p.detach() for p in stage.nets.parameters()], share)
        stage.seconds += time.process_time() - began
        if stage.step % _LOOK == 0 or stage.step == steps:
            stage.losses.append(float(loss.detach()))
            before, seen = seen, time.monotonic()
            stage.wall += seen - before
            stage.threads = sorted({*stage.threads, torch.get_num_threads()})
            progress(stage.name, stage.step, steps, float(np.mean(stage.losses[-20:])))
            stopped = stop()
            if stopped or time.monotonic() - kept > every or stage.step == steps:
                stage.save(folder)
                kept = time.monotonic()
                if look is not None:
                    look(stage)
            if stopped:
                return stage.step == steps
    return True


def _share(step: int, steps: int) -> float:
    """Share of the full step size: a rise over 100 steps, a plain, a fall over the last 40 %."""
    fall = max(0.0, (step / steps - 0.6) / 0.4)
    return min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


class Batches:
    """The album in memory, and what a step sees of it."""

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device, progress: Progress) -> None:
        self.recipe, self.device = recipe, device
        self.album = _stored_album(recipe, folder, progress)
        self.order = np.array(
            sorted(range(recipe.drawings), key=lambda i: (d := self.album.drawings[i]).background + " " + d.colour)
        )

    def rng(self, stage: int, step: int) -> np.random.Generator:
        """The random state of one step."""
        return np.random.default_rng((self.recipe.seed, stage, step))

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
        """Normal noise; drawn on the CPU, so that every device trains on the same."""
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(self.device)

    def pictures(self, indices: NDArray[np.int64]) -> Tensor:
        """Float ``[n, 3, 64, 64]`` in -1..1."""
        return as_tensor(self.album.pictures[indices], self.device)


def as_tensor(pictures: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """uint8 ``[n, h, w, 3]`` as float ``[n, 3, h, w]`` in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_pictures(tensor: Tensor) -> NDArray[np.uint8]:
    """Inverse of `as_tensor`, clipped; what is not a number is black."""
    levels = ((torch.nan_to_num(tensor.float(), nan=-1.0).clamp(-1, 1) + 1) * 127.5).round()
    return levels.byte().permute(0, 2, 3, 1).cpu().numpy()


def _stored_album(recipe: Recipe, folder: Path, progress: Progress) -> Album:
    """The training's album, drawn once (1 ms of CPU time a drawing) and kept in its folder."""
    path, chunk = folder / f"album-{recipe.seed}-{recipe.drawings}.npy", 1000
    if not path.is_file():
        pictures = np.lib.format.open_memmap(
            path.with_suffix(".part"), "w+", np.uint8, (recipe.drawings, SIZE, SIZE, 3)
        )
        for first in range(0, recipe.drawings, chunk):
            end = min(first + chunk, recipe.drawings)
            pictures[first:end] = album(end - first, recipe.seed, first).pictures
            progress("album", end, recipe.drawings, 0.0)
        pictures.flush()
        os.replace(path.with_suffix(".part"), path)
    captions, drawings = described(recipe.drawings, recipe.seed)
    return Album(np.load(path, mmap_mode="r"), captions, drawings)


def vae_loss(vae: Any, x: Tensor, noise: Tensor) -> Tensor:
    """Distance of a drawing from itself through slightly noisy latents: of its pixels, and of its edges."""
    z = vae.encode(x).latents
    error = vae.decode(z + 0.05 * noise.to(z.dtype)).sample.float() - x
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    loss: Tensor = error.abs().mean() + error.pow(2).mean() + 0.4 * edges + 2e-3 * z.float().pow(2).mean()
    return loss


def clip_loss(clip: Any, ids: Tensor, x: Tensor) -> Tensor:
    """The contrastive loss of Radford et al. 2021, in which equal captions are all right answers."""
    out = clip(input_ids=ids, pixel_values=x)
    texts = F.normalize(out.text_embeds.float(), dim=-1)
    images = F.normalize(out.image_embeds.float(), dim=-1)
    logits = clip.logit_scale.exp().clamp(max=100) * texts @ images.T
    same = (ids[:, None] == ids[None]).all(-1).float()
    target = same / same.sum(1, keepdim=True)
    rows, columns = logits.log_softmax(1), logits.T.log_softmax(1)
    loss: Tensor = -(target * (rows + columns)).sum(1).mean() / 2
    return loss


def spoiled(x: Tensor, noise: Tensor, rng: np.random.Generator) -> Tensor:
    """Drawings made into nothing: noise, blurred noise, a flat colour, or scrambled in blocks."""
    kinds = rng.integers(4, size=len(x))
    rough = noise
    blurred = F.interpolate(F.avg_pool2d(noise, 8), scale_factor=8.0, mode="bilinear") * 4
    flat = noise[:, :, :1, :1].expand_as(noise)
    size = 8
    blocks = F.unfold(x, size, stride=size)
    order = torch.from_numpy(rng.permutation(blocks.shape[-1])).to(x.device)
    scrambled = F.fold(blocks[..., order], x.shape[-2:], size, stride=size)
    kinds_there = torch.from_numpy(kinds).to(x.device).view(-1, 1, 1, 1)
    out = scrambled
    for kind, what in enumerate((rough, blurred, flat)):
        out = torch.where(kinds_there == kind, what, out)
    return out.clamp(-1, 1)


def velocity_loss(
    unet: Any, encoder: Any, z: Tensor, ids: Tensor, t: Tensor, noise: Tensor, cumulative: Tensor
) -> Tensor:
    """Mean squared error of v = sqrt(a) noise - sqrt(1 - a) z (Salimans & Ho 2022)."""
    a = cumulative[t].view(-1, 1, 1, 1)
    v = a.sqrt() * noise - (1 - a).sqrt() * z
    said = encoder(input_ids=ids).last_hidden_state
    return F.mse_loss(unet(a.sqrt() * z + (1 - a).sqrt() * noise, t, said).sample.float(), v)


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Keep the recipe beside the checkpoints.

    Raises
    ------
    TrainingError
        If the folder holds a training of another recipe (numbers of steps may differ).
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.json"
    if path.is_file():
        kept = json.loads(path.read_text())
        for name, value in asdict(recipe).items():
            if not name.endswith("_steps") and kept.get(name) != value:
                raise TrainingError(
                    f"{folder} holds a training with {name} = {kept.get(name)}, not {value}: "
                    f"give another folder with --work, or the same recipe"
                )
    path.write_text(json.dumps(asdict(recipe), indent=1) + "\n")
