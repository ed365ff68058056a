"""Attending: a visit to some rooms, what the visitor is asked afterwards, and what of it can steer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from pieces.errors import DescantError
from studio.audience.game import Deeds, Game
from studio.audience.playing import Asked, Transcript, Turn, ask, play
from studio.audience.rooms import Mirror, Room, Rules
from studio.audience.visitor import Question, Reconsidered, Visitor

#: What a rating is chosen of.
GRADES = tuple(map(str, range(11)))


@dataclass(frozen=True)
class Visit:
    """A visit and what came of it.

    Attributes
    ----------
    transcript : Transcript
    deeds : Deeds
    ratings : tuple of float or None
        Of each room, 0 to 1: its answer when asked, as the mean of its distribution; None: it gave none.
    id : str
        Of its transcript in the archive; empty: it is in none.
    """

    transcript: Transcript
    deeds: Deeds
    ratings: tuple[float | None, ...]
    id: str = ""

    @property
    def rating(self) -> float | None:
        """Mean of the ratings; None where there is none."""
        given = [rating for rating in self.ratings if rating is not None]
        return float(np.mean(given)) if given else None

    @property
    def value(self) -> float | None:
        """The number that a steerer is told; see `steering_value`."""
        return steering_value(self.rating, self.transcript.report.progress)


def steering_value(rating: float | None, progress: float | None) -> float | None:
    """The number in 0..1 that steers, or None where there is nothing to steer by.

    It is the rating where one was given, else progress clipped to 0..1. Whoever steers by progress looks for what can
    be learned, which is no claim that anyone likes it.
    """
    if rating is not None or progress is None:
        return rating
    return min(max(progress, 0.0), 1.0)


def attend(
    rooms: Sequence[Room],
    visitor: Visitor,
    seed: int,
    rules: Rules | None = None,
    mirrors: Sequence[Mirror] = (),
    told: Callable[[Turn], None] = lambda turn: None,
) -> Visit:
    """Let a visitor attend some rooms, and ask it how it rates those that it attended and did not rate by itself.

    Who says that it does not rate (``rates = False``) is not asked: the listener has no words for liking.

    Parameters
    ----------
    rules : Rules, optional
        Default: the usual ones, in the visitor's own register.
    told : callable
        Told every turn as it happens.
    """
    game = Game(rooms, rules or replace(Rules(), register=visitor.register), mirrors)
    transcript = play(game, visitor, seed, told)
    deeds = game.deeds
    answers: dict[int, Asked] = {}
    if transcript.ended in ("left", "moves") and getattr(visitor, "rates", True):
        try:
            answers = _asked(game, visitor, {turn.room for turn in transcript.turns if turn.count})
        except DescantError as error:
            transcript = transcript.model_copy(update={"ended": str(error)})
    transcript = transcript.model_copy(update={"answers": tuple(answers.values())})
    return Visit(transcript, deeds, tuple(_rating(game, i, answers.get(i)) for i in range(len(rooms))))


def _asked(game: Game, visitor: Visitor, attended: set[int | None]) -> dict[int, Asked]:
    """The ratings that a visitor gives when asked, by room; it need not."""
    wording = game.rules.wording
    open_ = [i for i, name in enumerate(game.names) if i in attended and name not in game.deeds.ratings]
    answers = {}
    for i in open_:
        question = Question("rate", wording.rate.format(work=game.names[i]), GRADES, game.budget, game.moves)
        with suppress(Reconsidered):
            answers[i] = ask(visitor, question)
    return answers


def _rating(game: Game, room: int, answer: Asked | None) -> float | None:
    if (own := game.deeds.ratings.get(game.names[room])) is not None:
        return own / (len(GRADES) - 1)
    if answer is None:
        return None
    return float(np.dot(answer.probabilities, np.linspace(0, 1, len(GRADES))))
