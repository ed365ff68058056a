"""What a mind bears: the damage at which it loses a concept, measured once and kept with the mind.

Ranges belong to the mind, not to the code: what fades one mind's cat leaves another's untouched.
Importing this module is cheap; torch is loaded by `measure`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.minds.alien import PROMPT, concepts_of

if TYPE_CHECKING:
    from pieces.minds.concepts import Eye
    from pieces.minds.mind import Mind

#: The file in a mind's folder.
FILE = "ranges.json"
#: The surgeries that have grades over all modules, and the largest damage that is tried.
TRIED: dict[str, float] = {"noise": 1.0, "down": 1.0, "up": 4.0}
#: Pictures that a grade is judged by, steps of each, and halvings of the interval.
PICTURES, STEPS, HALVINGS = 4, 10, 6
#: A concept is lost where its mean score falls below this share of the untouched mind's.
LOST = 0.5


@dataclass(frozen=True)
class Ranges:
    """The damage, see `pieces.minds.alien.Alien`, at which a mind loses the concept of a prompt.

    Attributes
    ----------
    weights : str
        Fingerprint of the weights that were measured.
    prompt : str
    untouched : float
        Mean score of the concept without surgery.
    lost : dict of str to float
        By surgery; the largest damage that was tried where the concept was never lost.
    """

    weights: str
    prompt: str
    untouched: float
    lost: dict[str, float]

    def most(self, surgery: str) -> float:
        """Damage at which a sheet should end: half as much again as loses the concept; 0 where nothing is known."""
        lost = self.lost.get(surgery, 0.0)
        return round(min(1.5 * lost, TRIED.get(surgery, 1.0)), 4)


def measure(
    mind: Mind, eye: Eye, told: Callable[[int, int], None] = lambda done, of: None, prompt: str = PROMPT
) -> Ranges:
    """Measure a mind's ranges by bisection, on fixed starting noises; about a minute of CPU time for the house mind.

    Parameters
    ----------
    told : callable
        ``(done, of)``: drawings of a grade.
    """
    from pieces.minds.alien_bench import strength
    from pieces.minds.mind import Settings
    from pieces.minds.surgery import Kind, Operation, chosen, fingerprint, operated

    noise, meaning = mind.noise(range(PICTURES)), mind.meaning([prompt]).repeated(PICTURES)
    concepts, names = concepts_of(prompt), tuple(chosen(mind, part="unet"))
    total, done = 1 + len(TRIED) * HALVINGS, 0

    def score(kind: Kind, damage: float) -> float:
        nonlocal done
        with operated(mind, Operation(kind, names, strength(kind, damage))):
            latents = mind.draw(meaning, noise, Settings(STEPS))
            seen = mind.decode(latents)
        done += 1
        told(done, total)
        return float(eye.scores(seen, concepts)[:, 0].mean())

    untouched = score("down", 0.0)
    lost: dict[str, float] = {}
    kinds: tuple[Kind, ...] = ("noise", "down", "up")
    for kind in kinds:
        low, high = 0.0, TRIED[kind]
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if score(kind, middle) < LOST * untouched else (middle, high)
        lost[kind] = round(high, 4)
    return Ranges(fingerprint(mind.modules), prompt, untouched, lost)


def known(mind: Mind, elsewhere: Path) -> Ranges | None:
    """The ranges that were kept for a mind, in its own folder or in `elsewhere`; None: of other weights."""
    from pieces.minds.surgery import fingerprint

    weights = fingerprint(mind.modules)
    for path in (_own(mind), elsewhere / f"{weights[:16]}.json"):
        found = _read(path)
        if found is not None and found.weights == weights:
            return found
    return None


def keep(ranges: Ranges, mind: Mind, elsewhere: Path) -> Path:
    """Write ranges into the mind's folder, or where that cannot be written into `elsewhere`; returns the file."""
    text = json.dumps(asdict(ranges), indent=1) + "\n"
    own = _own(mind)
    if own.parent.is_dir() and os.access(own.parent, os.W_OK):
        return _write(own, text)
    elsewhere.mkdir(parents=True, exist_ok=True)
    return _write(elsewhere / f"{ranges.weights[:16]}.json", text)


def _own(mind: Mind) -> Path:
    return mind.folder / FILE


def _read(path: Path) -> Ranges | None:
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lost = {str(kind): float(damage) for kind, damage in raw["lost"].items()}
        return Ranges(str(raw["weights"]), str(raw["prompt"]), float(raw["untouched"]), lost)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(path: Path, text: str) -> Path:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path
