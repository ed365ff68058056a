"""The judge of the house mind, and the gate: is what was asked for on the picture?

The judge is trained apart from the mind: labels in place of captions, a convolutional network in place of CLIP, another
seed, an album of its own. What it may say of a picture is an object or "nothing", and for each accessory whether it
is worn.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from pieces.minds.house.drawings import OBJECTS, THINGS, Drawing, album
from pieces.minds.house.figures import WEARERS
from pieces.minds.house.networks import Scorer
from pieces.minds.house.training import Progress, as_tensor, spoiled

#: Seed of the judge and of its drawings, and of the drawings that it is judged by.
SEED, HELD_OUT_SEED = 7_001, 7_002
#: Drawings that it is judged by, and pictures of noise.
UNSEEN, NOISES = 2_000, 200
#: Its drawings, its steps, and drawings in a step.
DRAWINGS, STEPS, BATCH = 16_000, 2_500, 64
#: What it says of a picture that shows none of the objects.
NOTHING = "nothing"


def labels(drawings: list[Drawing]) -> tuple[Tensor, Tensor]:
    """Index of the object, int64 ``[n]``; which accessories are worn, float ``[n, 3]``."""
    things = torch.tensor([OBJECTS.index(d.thing) for d in drawings])
    worn = torch.tensor([[float(t in d.wears) for t in THINGS] for d in drawings])
    return things, worn


def train_judge(
    progress: Progress, drawings: int = DRAWINGS, steps: int = STEPS, batch: int = BATCH, seed: int = SEED
) -> Scorer:
    """Train a judge on an album of its own; about 4 minutes of CPU time."""
    seen = album(drawings, seed)
    things, worn = labels(list(seen.drawings))
    torch.manual_seed(seed)
    scorer = Scorer(len(OBJECTS), len(THINGS)).train()
    optimiser = torch.optim.AdamW(scorer.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        rng = np.random.default_rng((seed, step))
        chosen = rng.choice(drawings, batch, replace=False)
        x, target = worsened(as_tensor(seen.pictures[chosen]), rng), things[chosen].clone()
        empty = batch // 8
        noise = torch.from_numpy(rng.standard_normal((empty, *x.shape[1:]), dtype=np.float32))
        x = torch.cat([x[:-empty], spoiled(x[-empty:], noise, rng)])
        target[-empty:] = len(OBJECTS)
        said, dressed = scorer(x)
        loss = F.cross_entropy(said, target) + F.binary_cross_entropy_with_logits(
            dressed[:-empty], worn[chosen][:-empty]
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            progress("judge", step + 1, steps, float(loss.detach()))
    return scorer.eval()


def worsened(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures a little blurred, noisy or moved, as a mind's are beside drawings; what they show stays."""
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = torch.from_numpy(rng.random((len(x), 1, 1, 1), dtype=np.float32))
    x = x * (1 - share) + soft * share
    x = x + 0.08 * float(rng.random()) * torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32))
    dx, dy = (int(v) for v in rng.integers(-3, 4, 2))
    return torch.roll(x, (dy, dx), (2, 3)).clamp(-1, 1)


@dataclass(frozen=True)
class Verdicts:
    """What a judge says of pictures.

    Attributes
    ----------
    things : sequence of str
        The likeliest object of each, or ``"nothing"``.
    worn : ndarray
        Probability of each accessory, float32 ``[n, 3]``, in the order of `THINGS`.
    """

    things: tuple[str, ...]
    worn: NDArray[np.float32]

    def wears(self, thing: str) -> NDArray[np.bool_]:
        """Which pictures show it worn."""
        seen: NDArray[np.bool_] = self.worn[:, THINGS.index(thing)] > 0.5
        return seen


@torch.no_grad()
def judged(scorer: Scorer, pictures: NDArray[np.uint8]) -> Verdicts:
    """What is on pictures, uint8 ``[n, 64, 64, 3]``."""
    said, dressed = scorer(as_tensor(pictures))
    names = (*OBJECTS, NOTHING)
    return Verdicts(tuple(names[int(i)] for i in said.argmax(1)), torch.sigmoid(dressed).numpy())


@dataclass(frozen=True)
class Trust:
    """How well a judge does on drawings that it has not seen: shares in 0..1.

    Attributes
    ----------
    objects : float
        Objects that it names rightly.
    hats, false_hats : float
        Party hats that it sees; those that it sees on wearers without one.
    accessories : float
        All accessories, worn or not, of which it says rightly whether they are.
    nothing : float
        Pictures of noise that it calls nothing.
    """

    objects: float
    hats: float
    false_hats: float
    accessories: float
    nothing: float


def trusted(scorer: Scorer, count: int = UNSEEN) -> Trust:
    """Measure a judge on `count` held-out drawings and on `NOISES` pictures of noise."""
    unseen = album(count, HELD_OUT_SEED)
    verdicts = judged(scorer, unseen.pictures)
    right = np.mean([a == d.thing for a, d in zip(verdicts.things, unseen.drawings, strict=True)])
    truth = np.array([[t in d.wears for t in THINGS] for d in unseen.drawings])
    seen, hatted = verdicts.wears("party hat"), truth[:, THINGS.index("party hat")]
    bare = ~hatted & np.array([d.thing in WEARERS for d in unseen.drawings])
    rng = np.random.default_rng(HELD_OUT_SEED)
    noise = rng.integers(0, 256, (NOISES, 64, 64, 3), dtype=np.uint8)
    nothing = np.mean([t == NOTHING for t in judged(scorer, noise).things])
    dressed = ((verdicts.worn > 0.5) == truth).mean()
    return Trust(*map(float, (right, seen[hatted].mean(), seen[bare].mean(), dressed, nothing)))


def save_judge(scorer: Scorer, path: Path) -> None:
    """Write a judge's weights, float16."""
    save_file({k: v.half().contiguous() for k, v in scorer.state_dict().items()}, path)


def load_judge(path: Path) -> Scorer:
    """Inverse of `save_judge`."""
    scorer = Scorer(len(OBJECTS), len(THINGS))
    scorer.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return scorer.eval()


@dataclass(frozen=True)
class Gate:
    """What the judge says of a mind's pictures: shares in 0..1, and how many pictures each rests on."""

    objects: float
    hat_when_asked: float
    no_hat_otherwise: float
    counts: tuple[int, int, int]

    @property
    def passed(self) -> bool:
        """At least 90 % each."""
        return min(self.objects, self.hat_when_asked, self.no_hat_otherwise) >= 0.9


def gate(
    draw: Callable[[list[str], int], NDArray[np.uint8]], scorer: Scorer, asked: list[tuple[str, Drawing]], seed: int
) -> Gate:
    """Ask a mind for pictures and the judge what they show.

    Parameters
    ----------
    draw : callable
        ``(prompts, seed) → uint8 [n, 64, 64, 3]``.
    asked : list
        Prompts with what they ask for, see `pieces.minds.house.train.gate_prompts`.
    """
    pictures = draw([prompt for prompt, _ in asked], seed)
    verdicts = judged(scorer, pictures)
    hatted = verdicts.wears("party hat")
    wanted = np.array(["party hat" in d.wears for _, d in asked])
    wearer = np.array([d.thing in WEARERS for _, d in asked])
    right = np.array([v == d.thing for v, (_, d) in zip(verdicts.things, asked, strict=True)])
    bare = wearer & ~wanted
    return Gate(
        float(right.mean()),
        float(hatted[wanted].mean()),
        float((~hatted[bare]).mean()),
        (len(asked), int(wanted.sum()), int(bare.sum())),
    )
