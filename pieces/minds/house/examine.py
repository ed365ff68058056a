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

from pieces.minds.house import judge
from pieces.minds.house.drawings import BACKGROUNDS, COLOURS, OBJECTS, SIZE, THINGS
from pieces.minds.house.judge import Gate, Trust, gate, load_judge, trusted
from pieces.minds.house.train import gate_prompts
from pieces.minds.mind import Mind, Settings, chosen_for, open_mind

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

CPU seconds are those of the steps; wall seconds those of the stage, other work of the machine and checkpoints
included.

## Gate

{count} prompts such as its captions, each with a starting noise that nothing was drawn from before the examination,
20 steps, guidance 3. Nothing of the training was chosen by them. They measure how well it draws, not how it combines
what it never saw together.

{gates}

The judge is a convolutional network that was trained apart from the mind: other seed, other architecture, labels
instead of captions (`descant mind train --judge`: seed {seed}, {drawings} drawings of its own, {steps} steps
of {batch}). On {unseen} drawings that it had not seen, and {noises} pictures of noise:

{judged}

## Faults

Eyes and mouth of persons with the darkest skin hardly show: they were drawn dark on dark.
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


def examined(mind: Mind, count: int = PROMPTS) -> Gate:
    """What the judge says of the mind.

    Parameters
    ----------
    count : int
        The first so many prompts of the gate.
    """
    return gate(drawer(mind, Settings()), load_judge(JUDGE), gate_prompts(count, PROMPT_SEED), NOISE_SEED)


def sheet(mind: Mind, seed: int = NOISE_SEED + 10_000) -> tuple[NDArray[np.uint8], list[str]]:
    """Eight pictures of each object, shuffled and without a word, uint8 ``[512, 512, 3]``; and what each was to be."""
    rng = np.random.default_rng(seed)
    asked = [str(thing) for thing in rng.permutation([*OBJECTS] * _ROW)]
    drawn = drawer(mind, Settings())([f"a {thing}" for thing in asked], seed)
    rows = drawn.reshape(-1, _ROW, SIZE, SIZE, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(len(rows) * SIZE, _ROW * SIZE, 3), asked


def write_card(folder: Path, facts: Mapping[str, Any]) -> Gate:
    """Examine the mind in a folder and write its card (``README.md``) and its sheet (``samples.png``) there.

    It is examined in float32, and in the precision that is fast on this machine where there is another.

    Parameters
    ----------
    facts : mapping
        Of the training, see `pieces.minds.house.train.Training.facts`.

    Returns
    -------
    Gate
        That of float32.
    """
    name = str(folder.resolve())
    fast = chosen_for(precision="fast")[1]
    exact = open_mind(name, precision="float32")
    gates = {"float32": examined(exact)}
    pictures, _ = sheet(exact)
    if fast != "float32":
        gates[fast] = examined(open_mind(name, precision="fast"))
    Image.fromarray(pictures).save(folder / "samples.png")
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    (folder / "README.md").write_text(card(facts, gates, trusted(load_judge(JUDGE)), size / 2**20), encoding="utf-8")
    return gates["float32"]


def card(facts: Mapping[str, Any], gates: Mapping[str, Gate], trust: Trust, megabytes: float) -> str:
    """The model card of a house mind.

    Parameters
    ----------
    facts : mapping
        Of the training.
    gates : mapping of str to Gate
        By precision.
    trust : Trust
        In the judge.
    megabytes : float
        Size of the mind.
    """
    counts = next(iter(gates.values())).counts
    told = [
        (f"the object that was asked for, of {counts[0]}", [g.objects for g in gates.values()]),
        (f"a party hat when asked, of {counts[1]}", [g.hat_when_asked for g in gates.values()]),
        (f"none when not, of {counts[2]}", [g.no_hat_otherwise for g in gates.values()]),
    ]
    trusts = [
        ("objects named", trust.objects, "95%"),
        ("party hats seen", trust.hats, "95%"),
        ("party hats seen on the bareheaded", trust.false_hats, "at most 5%"),
        ("accessories, worn or not", trust.accessories, "95%"),
        ("noise called nothing", trust.nothing, "95%"),
    ]
    return _CARD.format(
        megabytes=megabytes,
        objects=", ".join(OBJECTS),
        colours=", ".join(COLOURS),
        backgrounds=", ".join(BACKGROUNDS),
        things=", ".join(THINGS),
        facts=json.dumps(facts, indent=1),
        count=counts[0],
        gates=_table(("what", *gates, "goal"), [(what, *map(_percent, shares), "90%") for what, shares in told]),
        seed=judge.SEED,
        drawings=judge.DRAWINGS,
        steps=judge.STEPS,
        batch=judge.BATCH,
        unseen=judge.UNSEEN,
        noises=judge.NOISES,
        judged=_table(("what", "share", "goal"), [(what, _percent(share), goal) for what, share, goal in trusts]),
    )


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown has it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
