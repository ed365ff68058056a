"""What a visitor says comes next, and what that is worth: nats, against what was most often true before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from studio.audience.rooms import GameError
from studio.audience.text import plain
from studio.words.registers import CHANGES

#: What may be said to come: the change that the next moment brings.
OUTCOMES: tuple[str, ...] = tuple(dict.fromkeys(word for pair in CHANGES.values() for word in pair))
#: The least share that any outcome is taken to have been given: no loss is endless. The log score (Good 1952, "Rational
#: decisions") is proper where all that is believed is e times as likely or more.
LEAST = 0.05 / len(OUTCOMES)
#: The most that a prediction can be worse than what was usual, in nats.
WORST = math.log(1 / LEAST)


def parse(text: str) -> dict[str, float]:
    """A distribution over `OUTCOMES`, of one word or of ``word=weight`` and more of them.

    Raises
    ------
    GameError
        On a word that is no outcome, or weights that are no shares.

    Examples
    --------
    >>> parse("louder=3 nothing=1")
    {'louder': 0.75, 'nothing': 0.25}
    """
    weights: dict[str, float] = {}
    for part in text.split():
        word, _, weight = part.partition("=")
        if word not in OUTCOMES:
            raise GameError(f"predict {plain(word, 40)!r}: allowed are {', '.join(OUTCOMES)}")
        try:
            weights[word] = weights.get(word, 0.0) + float(weight or 1)
        except ValueError:
            raise GameError(f"predict {plain(word, 40)}: {plain(weight, 40)!r} is no number") from None
    total = sum(weights.values())
    if not (weights and math.isfinite(total) and total > 0 and min(weights.values()) >= 0):
        raise GameError(f"predict {plain(text, 40)!r}: give an outcome, or outcomes with weights of 0 and more")
    return {word: weight / total for word, weight in weights.items()}


@dataclass
class Forecasts:
    """A prediction that waits for what a moment brings, and how often each outcome came."""

    seen: Counter[str] = field(default_factory=Counter)
    waiting: Mapping[str, float] | None = None
    moment: int = 0

    def score(self, outcome: str) -> float:
        """Nats by which the prediction that waits was better than the frequencies so far; 0 where none waits."""
        gain = 0.0
        if self.waiting is not None:
            usual = (self.seen[outcome] + 1 / len(OUTCOMES)) / (self.seen.total() + 1)
            gain = math.log(max(self.waiting.get(outcome, 0.0), LEAST) / usual)
        self.waiting = None
        self.seen[outcome] += 1
        return gain
