"""How a language model is asked: what it was told and a question become a prompt, its answers become a distribution.

All of it is data: an option stands in the prompt beside its letter, and only the letter is looked for in the answer.
Untrained models always say the same letter, and trained ones have a liking for some (Zheng et al. 2024, "Large language
models are not robust multiple choice selectors"), so a question is asked in several orders of its options.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from studio.audience.visitor import AudienceError, Question

#: What options are called in a prompt; there are at most so many.
LETTERS = string.ascii_uppercase
#: How a prompt begins. What it was told: line by line, its own commands among it; what does not fit is left out.
STATE = "{instruction}\n\n{told}"
#: A command of its own, and what is left, as they stand among what it was told.
COMMAND, LEFT = "> {command}", "Budget {budget:.1f}, commands so far {moves}."

#: Questions whose options mean nothing by themselves: what a model answers to them when it was told nothing is bias.
COMPARED = ("prefer", "same", "choose")
#: Options as they are shown, time after time.
Orders: TypeAlias = tuple[tuple[str, ...], ...]
#: More characters than these have no tokens that mean anything, on the mean of all that fit.
_LONG = 16


class Notes:
    """What a visitor was told and did, line by line, from the last that fits on.

    Parameters
    ----------
    cost : callable
        What a line takes of the room, with its line break: tokens, or characters.
    room : int
        The most that is kept, in the same unit.
    """

    def __init__(self, cost: Callable[[str], int], room: int) -> None:
        self._cost, self._room = cost, room
        self.begin("")

    def begin(self, instruction: str) -> None:
        """A visit begins: nothing was told yet but the task."""
        self.instruction = instruction
        self._lines: deque[tuple[str, int]] = deque()
        self._used = self._forgotten = 0
        self._command = ""

    def tell(self, text: str) -> list[str]:
        """Note what was perceived, and before it the command that it answers; the lines are returned as they are noted.

        A line that alone has no room is noted from where it fits on; what is not even looked at counts as little as it
        can have cost.
        """
        whole = [COMMAND.format(command=self._command)] if self._command else []
        self._command = ""
        told = text[-_LONG * self._room :]  # whatever comes, no more of it is looked at than could fit
        self._forgotten += -(-(len(text) - len(told)) // _LONG)
        lines = whole + told.splitlines()
        for at, line in enumerate(lines):
            asked = cost = self._cost(line)
            while cost > self._room and line:
                line = line[-max(len(line) * self._room // (cost + 1), 1) :] if len(line) > 1 else ""
                cost = self._cost(line)
            self._forgotten += asked - cost
            lines[at] = line
            self._lines.append((line, cost))
            self._used += cost
        while self._used > self._room:
            cost = self._lines.popleft()[1]
            self._used -= cost
            self._forgotten += cost
        return lines

    def decided(self, question: Question, option: str) -> None:
        """Note what it decided, if that is of a command; what a study asks is no part of the visit."""
        if not question.about:
            self._command = option
        elif question.about == self._command:
            self._command = f"{question.about} {option}"

    def state(self, question: Question, room: int) -> tuple[str, int]:
        """The task, and what was perceived and done as far as it fits, with what is left; and how much of it did not.

        Parameters
        ----------
        room : int
            What the lines may take. It is, as what did not fit, in the unit of their cost.
        """
        left = LEFT.format(budget=question.budget, moves=question.moves) if question.moves or question.budget else ""
        room -= self._cost(left) if left else 0
        kept: list[str] = []
        dropped = self._forgotten + self._used
        for line, cost in reversed(self._lines):
            if cost > room:
                break
            room -= cost
            dropped -= cost
            kept.append(line)
        told = "\n".join([*reversed(kept), *([left] if left else [])])
        return STATE.format(instruction=self.instruction, told=told).strip(), dropped


def checked(question: Question) -> Question:
    """A question that a model can be asked by letters.

    Raises
    ------
    AudienceError
        If it has no options, more than 26, or one twice.
    """
    options = question.options
    if not 1 <= len(options) <= len(LETTERS) or len(set(options)) < len(options):
        raise AudienceError(f"{question.asks!r} has {len(options)} options: allowed are 1 to {len(LETTERS)}, each once")
    return question


def orders(options: Sequence[str], count: int = 0, first: int = 0) -> Orders:
    """The orders in which options are shown: rotations of the order in which they were given, evenly spaced.

    Parameters
    ----------
    count : int
        How many; 0, or more than there are options: all rotations, so that each option is once at each place.
    first : int
        By how many places the first order is rotated.
    """
    many = min(count or len(options), len(options))
    starts = ((first + i * len(options) // many) % len(options) for i in range(many))
    return tuple((*options[start:], *options[:start]) for start in starts)


def request(state: str, asks: str, shown: Sequence[Sequence[str]]) -> dict[str, Any]:
    """A System One request: the same choice in each of some orders, named by their numbers.

    It is what `transformers.DecisionConfig.prepare_inputs` and a server's ``/v1/systemone`` take.
    """
    questions = {
        str(i): {"type": "choice", "instructions": asks, "criteria": dict.fromkeys(options)}
        for i, options in enumerate(shown)
    }
    return {"state": state, "questions": questions}


@dataclass(frozen=True)
class Weighed:
    """What a model's answers in several orders come to.

    Attributes
    ----------
    shares, uncorrected : ndarray
        Of the options as they were given, with and without the correction by the prior; they sum to 1.
    flips : int
        In how many of the orders after the first the likeliest option was another one than in the first.
    """

    shares: NDArray[np.float64]
    uncorrected: NDArray[np.float64]
    flips: int


def weighed(logits: ArrayLike, prior: ArrayLike | None = None, strength: float = 1.0) -> Weighed:
    """Balance the answers in several orders, and take out what would have been answered without knowing anything.

    With l[r, i] the log probability of option i in order r, and m[i] its mean over all orders, the shares are
    softmax(m - strength * m0), where m0 are the same means of the same question without what was observed. A liking
    for a letter adds the same to m of all options if each was once at each place, so it falls out; a liking for what
    an option says, or for how long it is, stands in m0 too.

    Parameters
    ----------
    logits : array_like of shape (orders, options)
        Logits or log probabilities, every row in the order in which the options were given (not shown).
    prior : array_like of the same shape, optional
        The same without what was observed; None: nothing is taken out.
    strength : float
        How much of the prior is taken out, 0 to 1.

    References
    ----------
    Zhao et al. 2021, "Calibrate before use" (contextual calibration); Holtzman et al. 2021, "Surface form competition"
    (domain conditional pointwise mutual information: log p(option | all) - log p(option | question)).
    """
    answers = _log_shares(logits)
    balanced = answers.mean(axis=0)
    first, *others = answers.argmax(axis=1)
    corrected = balanced - (0.0 if prior is None else strength * _log_shares(prior).mean(axis=0))
    shares, uncorrected = (np.exp(_log_shares(scores)) for scores in (corrected, balanced))
    return Weighed(shares, uncorrected, int(sum(best != first for best in others)))


def by_order(shown: Orders, options: Sequence[str], logits: ArrayLike) -> str:
    """The share of each option in each of some orders, as they were shown: ``bado 0.61, sile 0.39; sile 0.44, ...``.

    Parameters
    ----------
    logits : array_like of shape (orders, options)
        Every row in the order of `options`.
    """
    rows = [dict(zip(options, row, strict=True)) for row in np.exp(_log_shares(logits)).tolist()]
    return "; ".join(
        ", ".join(f"{option} {row[option]:.4f}" for option in order) for order, row in zip(shown, rows, strict=True)
    )


def asked_hash(state: str, asks: str, shown: Orders) -> str:
    """Sha256 of what a model was told and asked, its first 16 digits (hex): equal where that is equal to the letter."""
    return hashlib.sha256(json.dumps(request(state, asks, shown)).encode()).hexdigest()[:16]


def _log_shares(logits: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(logits, dtype=np.float64)
    found = found - found.max(axis=-1, keepdims=True)
    shares: NDArray[np.float64] = found - np.log(np.exp(found).sum(axis=-1, keepdims=True))
    return shares


def prompt_hash(*more: str) -> str:
    """Sha256 of how a prompt is worded, with the templates that it goes through (hex)."""
    return hashlib.sha256("\0".join((STATE, COMMAND, LEFT, *more)).encode()).hexdigest()
