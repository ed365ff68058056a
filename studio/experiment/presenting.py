"""Works are told to a visitor, one after the other, and it is asked about them.

Whatever the condition, a visitor is told the same number of lines of the same length, and names that say nothing.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from pieces.errors import DescantError
from studio.audience.attention import UNTOLD
from studio.audience.playing import Asked, Transcript, Turn, ask
from studio.audience.rooms import Mirror, Rules, names
from studio.audience.text import plain
from studio.audience.visitor import AudienceError, Question, Visitor
from studio.audience.wording import Wording
from studio.experiment.conditions import moments_of
from studio.experiment.trials import Trial, drawn
from studio.words.artefact import MOMENT_S, Artefact
from studio.words.registers import Register, line, slots, spoken

#: Moments that are told at once, as in the game.
STRETCH = Rules().stretch
#: How a transcript ends whose question was answered.
ANSWERED = "answered"


class Work:
    """What is told of one work.

    Parameters
    ----------
    artefact : Artefact
        What whoever has ears and eyes gets of it.
    order : sequence of int, optional
        Its moments are told in another order, as they are measured where they stand: seams are heard, and not told.
    whole : Artefact, optional
        What is told in that order; it is given with it.
    """

    def __init__(self, artefact: Artefact, order: Sequence[int] | None = None, whole: Artefact | None = None) -> None:
        self.artefact, self._order, self._whole = artefact, order, whole or artefact
        self._lines: dict[Register, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return moments_of(self.artefact)

    def lines(self, register: Register) -> tuple[str, ...]:
        """A line a moment."""
        if register not in self._lines:
            self._lines[register] = spoken(self._whole, register, self._order)
        return self._lines[register]


@cache
def untold(register: Register) -> str:
    """The line of a moment of which nothing is told: as long as any other."""
    nothing = Artefact.silent(MOMENT_S)
    if register == "tokens":
        return UNTOLD * len(spoken(nothing, "tokens")[0])
    widths = {name: len(slot.number) if register == "numbers" else 1 for name, slot in slots(nothing)[0].items()}
    return line({name: UNTOLD * width for name, width in widths.items()})


@dataclass(frozen=True)
class Observation:
    """What is told at once: a text, and of which work and which of its moments; the clip is for ears and eyes."""

    text: str
    work: int | None = None
    first: int | None = None
    clip: Artefact | None = None
    count: int = 0


def told(name: str, number: int, work: Work, register: Register, blind: bool = False) -> Iterator[Observation]:
    """A work, some moments at a time; of a `blind` one nothing but how long it is."""
    yield Observation(f"Work {name}: {len(work)} moments of {MOMENT_S:g} s, the next is 0.", number)
    lines = [untold(register)] * len(work) if blind else work.lines(register)
    for first in range(0, len(work), STRETCH):
        some = lines[first : first + STRETCH]
        text = "\n".join(f"{first + i}: {moment}" for i, moment in enumerate(some))
        clip = None if blind else work.artefact.part(first, len(some))
        yield Observation(text, number, first, clip, len(some))


@dataclass(frozen=True)
class Comparison:
    """What is told and asked where a work is held against another.

    Attributes
    ----------
    trial : Trial
    wording : Wording
        See `instructed`.
    as_is, other : Work
        The work, and what it is held against; of equal length.
    secret : str
        Of the study: it names the works.
    """

    trial: Trial
    wording: Wording
    as_is: Work
    other: Work
    secret: str

    def __post_init__(self) -> None:
        if len(self.as_is) != len(self.other):
            raise AudienceError(f"works of {len(self.as_is)} and {len(self.other)} moments: length tells them apart")

    @property
    def works(self) -> tuple[Work, ...]:
        """In the order in which they are told."""
        pair = (self.other, self.as_is) if self.trial.order else (self.as_is, self.other)
        if self.trial.task != "same":
            return pair
        return (*pair, self.other if self.trial.third else self.as_is)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the works, in the order in which they are told."""
        return named(len(self.works), self.secret, "trial", self.trial.cell)

    @property
    def target(self) -> str:
        """The option that is the work as it is or, of ``"same"``, that is what the third one is."""
        return self.names[self.trial.order ^ self.trial.third]

    def question(self) -> Question:
        """What it is asked."""
        options = self.names[1::-1] if self.trial.side else self.names[:2]
        if self.trial.task != "same":
            return Question("prefer", self.wording.prefer, options)
        asks = self.wording.same.format(first=options[0], second=options[1], third=self.names[2])
        return Question("same", asks, options)

    def observations(self, register: Register) -> Iterator[Observation]:
        """What is told."""
        blind = self.trial.condition == "blind"
        for number, (name, work) in enumerate(zip(self.names, self.works, strict=True)):
            yield from told(name, number, work, register, blind)


def instructed(wording: Wording, arm: str) -> Wording:
    """A wording whose task is to compare, with what an arm adds to that."""
    return replace(wording, instruction=f"{wording.comparing} {arm}".strip())


def named(count: int, secret: str, *what: str | int) -> tuple[str, ...]:
    """Names that say nothing, drawn for some purpose as seeds are: see `studio.experiment.trials.drawn`."""
    return tuple(names(count, np.random.default_rng(drawn(secret, "names", *what))))


def curves(name: str, mirror: Mirror) -> Observation:
    """A mirror, as the game tells it."""
    both = zip(letters(mirror), mirror.curves, strict=True)
    shown = [f"{letter}: {' '.join(f'{v:.1f}' for v in curve)}" for letter, curve in both]
    return Observation(
        "\n".join([f"Mirror {name}: how surprised visitors were, moment by moment. One is you.", *shown])
    )


def letters(mirror: Mirror) -> tuple[str, ...]:
    """What the curves of a mirror are called."""
    return tuple(string.ascii_lowercase[: len(mirror.curves)])


def presented(
    visitor: Visitor,
    trial: Trial,
    wording: Wording,
    observations: Callable[[Register], Iterable[Observation]],
    question: Callable[[], Question] | None,
) -> Transcript:
    """Tell a visitor something, and ask it.

    A visitor that cannot go on is not waited for: the transcript ends there, and says why.

    Parameters
    ----------
    trial : Trial
        Its seed is all that the visitor is given of it besides what is told.
    wording : Wording
        See `instructed`.
    observations : callable
        What is told, in a register; each when the one before was perceived.
    question : callable or None
        What is asked then; None: nothing.
    """
    register = trial.register or visitor.register
    turns: list[Turn] = []
    answers: tuple[Asked, ...] = ()
    ended = ANSWERED
    try:
        visitor.begin(wording.instruction, trial.seed)
        for seen in observations(register):  # type: ignore[arg-type]
            visitor.observe(seen.text, () if seen.clip is None else (seen.clip,))
            turns.append(_turn(len(turns), seen))
        if question is not None:
            answers = (ask(visitor, question()),)
    except DescantError as error:
        ended = str(error)
    return Transcript(
        visitor=visitor.name,
        about=dict(visitor.about()),
        seed=trial.seed,
        wording=wording.name,
        instruction=wording.instruction,
        words=register,
        turns=tuple(turns),
        answers=answers,
        ended=ended,
        report=visitor.report(),
    )


def _turn(number: int, seen: Observation) -> Turn:
    return Turn(
        number=number,
        command="",
        decisions=(),
        observation=seen.text,
        budget=0.0,
        reward=0.0,
        room=seen.work,
        first=seen.first,
        count=seen.count,
    )


def outcome(asked: Asked, target: str) -> dict[str, Any]:
    """An answer as data: what was chosen, whether it was the target, how likely that was, and how often it flipped.

    ``flips`` is the share of the further orders of its options in which a visitor would have decided otherwise;
    ``dropped`` how much of what it was told did not fit into its prompt, in tokens or characters, where it says so.

    Raises
    ------
    AudienceError
        If the answer is none of the options.
    """
    if asked.chosen not in asked.options:
        raise AudienceError(f"the answer {plain(asked.chosen, 60)!r}: allowed are {', '.join(asked.options)}")
    flips, rotations = asked.facts.get("flips"), asked.facts.get("rotations")
    several = isinstance(flips, int | float) and isinstance(rotations, int | float) and rotations > 1
    return {
        "chosen": asked.chosen,
        "target": asked.chosen == target,
        "p_target": asked.probabilities[asked.options.index(target)],
        "first_shown": asked.chosen == asked.options[0],
        "chance": 1 / len(asked.options),
        "flips": float(flips) / (float(rotations) - 1) if several else None,  # type: ignore[arg-type]
        "latency": asked.facts.get("latency_s"),
        "dropped": asked.facts.get("dropped"),
    }
