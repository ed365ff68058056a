"""The examination of a finished house mind, and the model card that says how it went.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pieces.minds.house.drawings import BACKGROUNDS, COLOURS, OBJECTS, SIZE, THINGS
from pieces.minds.house.judge import Gate, Trust, gate, load_judge, trusted
from pieces.minds.house.train import gate_prompts
from pieces.minds.mind import Mind, Settings

#: The judge's weights, shipped with the package.
JUDGE = Path(__file__).parent / "judge.safetensors"
#: Prompts of the gate, their seed, and that of its first picture; nothing was ever chosen by what they show.
PROMPTS, PROMPT_SEED, NOISE_SEED = 300, 9_101, 1_900_000
#: Pictures on the sheet for a fresh eye, a row; and drawn at once.
_ROW, _BATCH = 8, 20

_CARD = """---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
---
# The house mind

A text-to-image diffusion model of {megabytes:.1f} MB that draws {objects}, in {colours}, {backgrounds}; some wear
{things}. Pictures are 64 x 64; `StableDiffusionPipeline.from_pretrained` opens it (guidance 3, 20 steps of DDIM), and
its own CLIP lies in `clip/`. It was trained on captioned drawings that a program made; it knows no other words.

## Training

`descant mind train`, with

```json
{facts}
```

## Gate

{counts[0]} prompts such as its captions, each with a noise that it was never asked to draw from before, 20 steps,
guidance 3, float32. Nothing of the training was chosen by them. The judge is a convolutional network that was trained
apart from the mind: other seed, other architecture, labels instead of captions.

| what | share | goal |
|---|---|---|
| the object that was asked for | {objects_right:.1%} of {counts[0]} | 90% |
| a party hat when asked | {hat:.1%} of {counts[1]} | 90% |
| none when not | {bare:.1%} of {counts[2]} | 90% |
| the judge: objects of held-out drawings | {judge.objects:.1%} of 2000 | 95% |
| the judge: accessories | {judge.accessories:.1%} of 6000 | 95% |
| the judge: noise is nothing | {judge.nothing:.1%} of 200 | 95% |
"""


def drawer(mind: Mind, settings: Settings) -> Callable[[Sequence[str], int], NDArray[np.uint8]]:
    """``draw(prompts, seed)``: a picture a prompt, uint8 ``[n, 64, 64, 3]``, the first from the noise of `seed`."""

    def draw(prompts: Sequence[str], seed: int) -> NDArray[np.uint8]:
        parts = []
        for first in range(0, len(prompts), _BATCH):
            chunk = prompts[first : first + _BATCH]
            noise = mind.noise([seed + first + i for i in range(len(chunk))])
            parts.append(mind.decode(mind.draw(mind.meaning(chunk), noise, settings)))
        return np.concatenate(parts)

    return draw


def examined(mind: Mind, count: int = PROMPTS) -> tuple[Gate, Trust]:
    """What the judge says of the mind, and how far the judge itself may be trusted.

    Parameters
    ----------
    count : int
        The first so many prompts of the gate.
    """
    scorer = load_judge(JUDGE)
    return gate(drawer(mind, Settings()), scorer, gate_prompts(count, PROMPT_SEED), NOISE_SEED), trusted(scorer)


def sheet(mind: Mind, seed: int = NOISE_SEED + 10_000) -> tuple[NDArray[np.uint8], list[str]]:
    """Eight pictures of each object, shuffled and without a word, uint8 ``[512, 512, 3]``; and what each was to be."""
    rng = np.random.default_rng(seed)
    asked = [str(thing) for thing in rng.permutation([*OBJECTS] * _ROW)]
    drawn = drawer(mind, Settings())([f"a {thing}" for thing in asked], seed)
    rows = drawn.reshape(-1, _ROW, SIZE, SIZE, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(len(rows) * SIZE, _ROW * SIZE, 3), asked


def write_card(folder: Path, mind: Mind, facts: Mapping[str, Any]) -> Gate:
    """Examine the mind in a folder and write its card (``README.md``) and its sheet (``samples.png``) there."""
    passed, trust = examined(mind)
    pictures, _ = sheet(mind)
    Image.fromarray(pictures).save(folder / "samples.png")
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    text = _CARD.format(
        megabytes=size / 2**20,
        objects=", ".join(OBJECTS),
        colours=", ".join(COLOURS),
        backgrounds=", ".join(BACKGROUNDS),
        things=", ".join(THINGS),
        facts=json.dumps(facts, indent=1),
        counts=passed.counts,
        objects_right=passed.objects,
        hat=passed.hat_when_asked,
        bare=passed.no_hat_otherwise,
        judge=trust,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    return passed
