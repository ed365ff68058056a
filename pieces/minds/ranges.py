"""What a mind bears: the damage at which it loses a concept, measured once and kept with the mind.

Ranges belong to the mind, not to the code: what fades one mind's cat leaves another's untouched. They hold for one part
of it, and for its weights to the bit, thus for one precision.
Importing this module is cheap; torch is loaded by `measure`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.minds.alien import PROMPT
from pieces.minds.concepts import concepts_of

if TYPE_CHECKING:
    from pieces.minds.concepts import Eye
    from pieces.minds.mind import Mind

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
    weights : str
        Fingerprint of the mind's weights when it was measured.
    precision : str
        Of these weights: ``"float32"``.
    part : str
        The part all of whose modules were damaged: ``"unet"``.
    prompt : str
    untouched : float
        Mean score of the concept without surgery.
    lost : dict of str to float
        By surgery: the least damage found at which the concept is lost, or the largest that was tried where it never
        was. Damage beyond it may spare the concept again.
    """

    weights: str
    precision: str
    part: str
    prompt: str
    untouched: float
    lost: dict[str, float]

    def most(self, surgery: str) -> float:
        """Damage at which a sheet should end: half as much again as loses the concept; 0 where nothing is known."""
        return round(min(1.5 * self.lost[surgery], TRIED[surgery]), 4) if surgery in self.lost else 0.0


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


def measure(
    mind: Mind,
    eye: Eye,
    told: Callable[[int, int], None] = lambda done, of: None,
    prompt: str = PROMPT,
    part: str = "unet",
) -> Ranges:
    """Measure what a part of a mind bears, on fixed starting noises; half a minute of CPU time for the house mind.

    Parameters
    ----------
    told : callable
        ``(done, of)``: drawings of a grade, at most.
    part : str
        One of `pieces.minds.mind.PARTS`.

    Raises
    ------
    MindError
        If the mind has no such part.
    """
    from pieces.minds.alien_bench import strength
    from pieces.minds.mind import Settings
    from pieces.minds.surgery import Operation, chosen, fingerprint, operated
    from pieces.minds.tracing import steadied

    noise, concepts = mind.noise(range(PICTURES)), concepts_of(prompt)
    names = tuple(chosen(mind, part=part))
    total, done = 1 + len(TRIED) * (CELLS + HALVINGS), 0

    def score(kind: str, damage: float) -> float:
        nonlocal done
        operation = Operation(kind, names, strength(kind, damage))  # type: ignore[arg-type]
        with operated(mind, operation):
            meaning = mind.meaning([prompt]).repeated(PICTURES)  # which the text encoder gives, wounded or not
            seen = mind.decode(mind.draw(meaning, noise, Settings(STEPS)))
        done += 1
        told(done, total)
        return float(eye.scores(seen, concepts)[:, 0].mean())

    def least(kind: str) -> float:
        found = first_lost(lambda damage: score(kind, damage) < LOST * untouched, TRIED[kind], CELLS, HALVINGS)
        return round(found, 4)

    with steadied(mind):
        untouched = score("down", 0.0)
        lost = {kind: least(kind) for kind in TRIED}
    told(total, total)
    precision = str(mind.dtype).removeprefix("torch.")
    return Ranges(fingerprint(mind.modules), precision, part, prompt, untouched, lost)


def known(mind: Mind, elsewhere: Path, part: str = "unet") -> Ranges | None:
    """The ranges of a part that were kept for a mind, in its own folder or in `elsewhere`; None: of other weights."""
    from pieces.minds.surgery import fingerprint

    weights = fingerprint(mind.modules)
    kept = (r for path in (mind.folder / FILE, _aside(elsewhere, weights)) for r in kept_in(path))
    return next((r for r in kept if (r.weights, r.part) == (weights, part)), None)


def keep(ranges: Ranges, mind: Mind, elsewhere: Path) -> Path:
    """Write ranges into the mind's folder, or where that cannot be written into `elsewhere`; returns the file.

    What is there of other weights, precisions and parts stays.
    """
    own = mind.folder / FILE
    if not (own.parent.is_dir() and os.access(own.parent, os.W_OK)):
        own = _aside(elsewhere, ranges.weights)
        own.parent.mkdir(parents=True, exist_ok=True)
    others = [r for r in kept_in(own) if (r.weights, r.part) != (ranges.weights, ranges.part)]
    part = own.with_name(f".{own.name}.{os.getpid()}.part")
    part.write_text(json.dumps([asdict(r) for r in [*others, ranges]], indent=1) + "\n", encoding="utf-8")
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
    weights, precision, part, prompt = (str(raw[name]) for name in ("weights", "precision", "part", "prompt"))
    lost = {kind: float(raw["lost"][kind]) for kind in TRIED}
    return Ranges(weights, precision, part, prompt, float(raw["untouched"]), lost)


def _aside(elsewhere: Path, weights: str) -> Path:
    return elsewhere / f"{weights[:16]}.json"
