"""What a mind bears: the damage at which it loses a concept, measured once and kept with the mind.

Ranges belong to the mind, not to the code: what fades one mind's cat leaves another's untouched. They hold for one part
of it, for its weights to the bit, thus for one precision, and for the CLIP that looked.
Importing this module is cheap; torch is loaded by `scorer`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pieces.minds.alien import PROMPT
from pieces.minds.concepts import concepts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pieces.minds.concepts import Eye
    from pieces.minds.mind import Mind

#: The mean score of a concept at a damage.
Score: TypeAlias = Callable[[float], float]

#: The file in a mind's folder.
FILE = "ranges.json"
#: The surgeries that have grades over all modules, and the largest damage that is tried.
TRIED: dict[str, float] = {"noise": 1.0, "down": 1.0, "up": 4.0}
#: Pictures that a grade is judged by, steps of each; cells that damage is scanned in, halvings of the one that counts.
PICTURES, STEPS, CELLS, HALVINGS = 4, 10, 16, 3
#: A concept is lost where its mean score falls below this share of the untouched mind's.
LOST = 0.5


@dataclass(frozen=True)
class Ranges:
    """The damage, see `pieces.minds.alien.Alien`, at which a mind loses the concept of a prompt.

    Attributes
    ----------
    weights, eye : str
        Which mind was measured, and which CLIP looked: as `pieces.minds.identity.identity` has them.
    precision : str
        Of the mind's weights: ``"float32"``.
    part : str
        The part all of whose modules were damaged: ``"unet"``.
    prompt : str
    untouched : float
        Mean score of the concept without surgery.
    lost : dict of str to float
        By surgery, of those that were measured: the least damage found at which the concept is lost, or the largest
        that was tried where it never was. Damage beyond it may spare the concept again.
    """

    weights: str
    eye: str
    precision: str
    part: str
    prompt: str
    untouched: float
    lost: dict[str, float]

    @property
    def of(self) -> tuple[str, str, str]:
        """What was measured, and by whom."""
        return self.weights, self.eye, self.part

    def most(self, surgery: str) -> float:
        """Damage at which a sheet should end: half as much again as loses the concept."""
        return round(min(1.5 * self.lost[surgery], TRIED[surgery]), 4)

    def joined(self, others: Iterable[Ranges]) -> Ranges:
        """These, and of others what these do not know of the same."""
        lost: dict[str, float] = {}
        for one in (self, *(o for o in others if o.of == self.of)):
            lost = {**one.lost, **lost}
        return replace(self, lost=lost)


def first_lost(lost: Callable[[float], bool], most: float, cells: int, halvings: int) -> float:
    """The least damage found at which something is lost; `most` where that is not found.

    Damage need not tell evenly: something may be lost, and there again. So it is looked at in `cells` equal steps from
    below; the first cell at whose end it is lost is halved `halvings` times. Of ``lost`` nothing is presumed.

    Examples
    --------
    >>> first_lost(lambda damage: 0.3 < damage < 0.6, 1.0, cells=4, halvings=4)
    0.3125
    """
    width = most / cells
    for cell in range(cells):
        low, high = cell * width, (cell + 1) * width
        if lost(high):
            for _ in range(halvings):
                middle = (low + high) / 2
                low, high = (low, middle) if lost(middle) else (middle, high)
            return high
    return most


def scan(surgery: str, part: str) -> dict[str, Any]:
    """All that scores, and the damages at which they are asked for, follow from beside mind and CLIP; JSON values."""
    tried = {"most": TRIED[surgery], "cells": CELLS, "halvings": HALVINGS, "lost": LOST}
    return {"surgery": surgery, "part": part, "prompt": PROMPT, "pictures": PICTURES, "steps": STEPS, **tried}


def scores() -> int:
    """How many scores `measure` asks for, at most."""
    return 1 + CELLS + HALVINGS


def scorer(mind: Mind, eye: Eye, surgery: str, part: str = "unet") -> Score:
    """What a mind's concept scores under a surgery of all modules of a part, on fixed starting noises.

    Each score is drawn anew: some seconds of CPU time for the house mind. Afterwards the mind is as it was.

    Parameters
    ----------
    surgery : str
        One of `TRIED`.
    part : str
        One of `pieces.minds.mind.PARTS`.

    Raises
    ------
    MindError
        If the mind has no such part; by the score, if there is not memory enough for one picture.
    """
    import numpy as np

    from pieces.minds.alien_bench import strength
    from pieces.minds.memory import in_batches
    from pieces.minds.mind import Settings
    from pieces.minds.surgery import Operation, chosen, operated
    from pieces.minds.tracing import steadied

    noise, concepts, names = mind.noise(range(PICTURES)), concepts_of(PROMPT), tuple(chosen(mind, part=part))

    def score(damage: float) -> float:
        operation = Operation(surgery, names, strength(surgery, damage))  # type: ignore[arg-type]

        def scored(rows: slice) -> NDArray[np.float32]:
            with operated(mind, operation):
                meaning = mind.meaning([PROMPT]).repeated(len(noise[rows]))  # text encoders may be wounded, too
                seen = mind.decode(mind.draw(meaning, noise[rows], Settings(STEPS)))
            return eye.scores(seen, concepts)[:, 0]

        with steadied(mind):
            return float(np.concatenate([found for _, found in in_batches(mind, PICTURES, scored)]).mean())

    return score


def measure(mind: Mind, eye: Eye, surgery: str, part: str = "unet", score: Score | None = None) -> Ranges:
    """Measure what a part of a mind bears of a surgery.

    Parameters
    ----------
    surgery, part : str
        As `scorer` takes them.
    score : callable, optional
        Asked in place of the `scorer` of these: one that keeps its answers. The damages that it is asked for follow
        from its answers and `scan`.

    Raises
    ------
    MindError
        As `scorer`.
    """
    from pieces.minds.identity import identity

    score = score or scorer(mind, eye, surgery, part)
    untouched = score(0.0)
    found = first_lost(lambda damage: score(damage) < LOST * untouched, TRIED[surgery], CELLS, HALVINGS)
    who = identity(mind, eye)
    return Ranges(who["weights"], who["eye"], mind.precision, part, PROMPT, untouched, {surgery: round(found, 4)})


def known(mind: Mind, eye: Eye, elsewhere: Path, part: str = "unet") -> Ranges | None:
    """What was kept of a part of this very mind, as this CLIP sees it, in the mind's folder or in `elsewhere`."""
    from pieces.minds.identity import identity

    who = identity(mind, eye)
    kept = [r for path in (mind.folder / FILE, _aside(elsewhere, who["weights"])) for r in kept_in(path)]
    return next((r.joined(kept) for r in kept if r.of == (who["weights"], who["eye"], part)), None)


def keep(ranges: Ranges, mind: Mind, elsewhere: Path) -> Path:
    """Write ranges into the mind's folder, or where that cannot be written into `elsewhere`; returns the file.

    What is there of other weights, CLIPs, parts and surgeries stays.
    """
    own = mind.folder / FILE
    if not (own.parent.is_dir() and os.access(own.parent, os.W_OK)):
        own = _aside(elsewhere, ranges.weights)
        own.parent.mkdir(parents=True, exist_ok=True)
    kept = kept_in(own)
    now = [*(r for r in kept if r.of != ranges.of), ranges.joined(kept)]
    part = own.with_name(f".{own.name}.{os.getpid()}.part")
    part.write_text(json.dumps([asdict(r) for r in now], indent=1) + "\n", encoding="utf-8")
    part.replace(own)
    return own


def kept_in(path: Path) -> list[Ranges]:
    """All ranges of a file; none where it is not there, or holds anything else."""
    try:
        raw: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [_ranges(one) for one in raw]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _ranges(raw: dict[str, Any]) -> Ranges:
    weights, eye, precision, part, prompt = (str(raw[n]) for n in ("weights", "eye", "precision", "part", "prompt"))
    lost = {kind: float(raw["lost"][kind]) for kind in TRIED if kind in raw["lost"]}
    return Ranges(weights, eye, precision, part, prompt, float(raw["untouched"]), lost)


def _aside(elsewhere: Path, weights: str) -> Path:
    return elsewhere / f"{weights[:16]}.json"
