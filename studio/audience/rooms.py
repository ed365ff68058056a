"""What a game is made of: its rooms, its rules, the mirrors in it. Nothing here says what a room's take is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError
from studio.audience.wording import PLAIN, Wording
from studio.words.artefact import Artefact
from studio.words.registers import Register

#: The most controls that a room has: two ways each are options of one decision.
MOST_CONTROLS = 12


class GameError(DescantError):
    """A game that cannot be, or a command that is none."""


@dataclass(frozen=True)
class Touch:
    """A step of an anonymous control, from a moment on.

    Attributes
    ----------
    moment, control, step : int
        The moment from which it holds, which control it is, and by how many steps it goes up.
    """

    moment: int
    control: int
    step: int


@dataclass(frozen=True)
class Room:
    """A take as a game has it.

    Attributes
    ----------
    artefact : Artefact
        What there is to be perceived.
    controls : int
        How many anonymous controls may be touched, 0 to `MOST_CONTROLS`.
    touched : callable, optional
        What the take becomes under some touches, in their order: it is performed on from each.
    """

    artefact: Artefact
    controls: int = 0
    touched: Callable[[tuple[Touch, ...]], Artefact] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.controls <= MOST_CONTROLS or (self.controls and self.touched is None):
            raise GameError(f"a room with {self.controls} controls: allowed are 0 to {MOST_CONTROLS}, and a performer")


@dataclass(frozen=True)
class Mirror:
    """Curves of surprise of several visitors who attended the same takes, one of them the visitor's own.

    Attributes
    ----------
    curves : sequence of ndarray
        Surprise by its rank, 0 (least) to 10 (most), a value a moment: level and spread tell nobody.
    own : int
        Which one is the visitor's; it is never told.
    """

    curves: Sequence[NDArray[np.float64]]
    own: int

    def __post_init__(self) -> None:
        if not 2 <= len(self.curves) <= 26 or not 0 <= self.own < len(self.curves):
            raise GameError(f"a mirror of {len(self.curves)} curves, the {self.own}th its own: allowed are 2 to 26")


@dataclass(frozen=True)
class Rules:
    """What a game costs and pays.

    Attributes
    ----------
    budget, cost : float
        What a visitor has to listen for, and the cost of a moment.
    stretch : int
        Moments that are heard at once.
    pay : float
        Budget for each nat by which a prediction is better than what was most often true before.
    moves : int
        Commands, after which the game is over.
    button, reward, price : str and float
        What the button is called; what it gives, and what of the budget it takes. Its use is never counted as liking.
    register : Register
        In which words the visitor is told of moments.
    wording : Wording
        What it is told of its task, and how it is asked.
    moments, controls : int, optional
        How many moments of each room there are, and how many of its controls may be touched, at most; default: all. In
        a study all rooms are alike in both, so that neither tells which take is in a room.
    """

    budget: float = 120.0
    cost: float = 1.0
    stretch: int = 4
    pay: float = 2.0
    moves: int = 400
    button: str = "button"
    reward: float = 1.0
    price: float = 0.0
    register: Register = "prose"
    wording: Wording = PLAIN
    moments: int | None = None
    controls: int | None = None

    def to_json(self) -> dict[str, str | int | float | None]:
        """Plain data: all of it but the wording, which is another matter."""
        return {name: value for name, value in vars(self).items() if name != "wording"}

    def __post_init__(self) -> None:
        low = {"budget": self.budget, "cost": self.cost, "pay": self.pay, "price": self.price}
        wrong = [f"{name} {value:g}" for name, value in low.items() if not (np.isfinite(value) and value >= 0)]
        whole = (("stretch", self.stretch), ("moves", self.moves), ("moments", self.moments))
        wrong += [f"{name} {value}" for name, value in whole if value is not None and value < 1]
        wrong += [f"controls {self.controls}"] if self.controls is not None and self.controls < 0 else []
        if wrong:
            raise GameError(f"rules with {', '.join(wrong)}: allowed are numbers from 0 on, and whole ones from 1 on")


@dataclass
class Memory:
    """What a visitor has heard of one branch of a room, what last, and where it is in it."""

    at: int = 0
    last: int | None = None
    heard: list[int] = field(default_factory=list)
    touches: tuple[Touch, ...] = ()

    def hear(self, moments: Iterable[int]) -> None:
        """Some moments were heard."""
        for moment in moments:
            self.last = moment
            if moment not in self.heard:
                self.heard.append(moment)


def names(count: int, rng: np.random.Generator) -> list[str]:
    """Names of rooms that say nothing: three random syllables each, no two alike."""
    found: dict[str, None] = {}
    while len(found) < count:
        pairs = (rng.choice(list("bdfgklmnprstvz")) + rng.choice(list("aeiou")) for _ in range(3))
        found["".join(pairs)] = None
    return [*found]
