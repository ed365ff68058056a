"""A visit to a game: a visitor decides, the game answers, and every turn is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from pydantic import Field

from pieces.errors import DescantError
from studio.audience.game import Game
from studio.audience.text import plain
from studio.audience.visitor import Fact, Question, Reconsidered, Record, Report, Visitor
from studio.audience.wording import Wording


class Asked(Record):
    """One decision of a turn."""

    about: str = Field(description="empty: which verb; else the verb whose argument it is")
    asks: str = Field(description="the question, as it was asked")
    options: tuple[str, ...] = Field(description="in the order in which they were shown")
    probabilities: tuple[float, ...] = Field(description="of the options, in their order")
    chosen: str = Field(description="the option, or what was said freely")
    facts: dict[str, Fact] = Field(default_factory=dict, description="how it came about")


class Turn(Record):
    """One command with its observation."""

    number: int = Field(ge=0, description="0 is the beginning, which has no command")
    command: str = Field(description="as the game took it")
    decisions: tuple[Asked, ...] = Field(description="verb, then argument; none at the beginning")
    observation: str
    budget: float = Field(description="what is left after it")
    reward: float = Field(description="what the button gave; never counted as liking")
    room: int | None = Field(default=None, description="where it was when it had the observation; None: in the hall")
    first: int | None = Field(
        default=None, description="first of the moments that it let be heard; None: there is none"
    )
    count: int = Field(default=0, description="how many moments these are")


class Transcript(Record):
    """A visit, turn by turn."""

    visitor: str = Field(description="as it was invited")
    about: dict[str, Fact] = Field(description="who it is: model, revision, versions")
    seed: int = Field(ge=0, description="of the game and of the visitor")
    wording: str = Field(description="name of the wording")
    instruction: str = Field(description="what the visitor was told of its task")
    words: str = Field(description="in which words it was spoken to")
    turns: tuple[Turn, ...]
    answers: tuple[Asked, ...] = Field(
        default=(), description="what it was asked after the game, of each room it rated"
    )
    ended: str = Field(description="left; moves: they were used up; else the line that broke the visit off")
    report: Report = Field(description="what the visitor measured of itself")

    @property
    def commands(self) -> tuple[str, ...]:
        """All commands, in their order."""
        return tuple(turn.command for turn in self.turns[1:])


def play(game: Game, visitor: Visitor, seed: int, told: Callable[[Turn], None] = lambda turn: None) -> Transcript:
    """Let a visitor visit a game.

    A visitor that cannot go on is not waited for: the transcript ends there, and says why.

    Parameters
    ----------
    told : callable
        Told every turn as it happens.
    """
    turns: list[Turn] = []
    ended = ""
    try:
        for turn in _turns(game, visitor, seed):
            turns.append(turn)
            told(turn)
    except DescantError as error:
        ended = str(error)
    rules = game.rules
    return Transcript(
        visitor=visitor.name,
        about=dict(visitor.about()),
        seed=seed,
        wording=rules.wording.name,
        instruction=rules.wording.instruction,
        words=rules.register,
        turns=tuple(turns),
        ended=ended or ("left" if game.over else "moves"),
        report=visitor.report(),
    )


def _turns(game: Game, visitor: Visitor, seed: int) -> Iterator[Turn]:
    observation, info = game.reset(seed=seed)
    visitor.begin(info["objective"], seed)
    visitor.observe(observation)
    yield Turn(number=0, command="", decisions=(), observation=observation, budget=info["budget"], reward=0.0)
    over = truncated = False
    while not (over or truncated):
        asked = _decided(visitor, game.rules.wording, info)
        command = _command(asked)
        observation, reward, over, truncated, info = game.step(command)
        visitor.observe(observation, game.clips)
        first, count = game.heard or (None, 0)
        yield Turn(
            number=info["moves"],
            command=command,
            decisions=asked,
            observation=observation,
            budget=info["budget"],
            reward=reward,
            room=game.place,
            first=first,
            count=count,
        )


def _decided(visitor: Visitor, wording: Wording, info: dict[str, object]) -> tuple[Asked, ...]:
    """A command in two decisions: verb, then argument; of one that was reconsidered nothing is written down."""
    arguments: dict[str, tuple[str, ...]] = info["arguments"]  # type: ignore[assignment]
    left: dict[str, int] = {"budget": info["budget"], "moves": info["moves"]}  # type: ignore[dict-item]
    while True:
        verb = ask(visitor, Question("", wording.verb, tuple(arguments), **left))
        options = arguments.get(verb.chosen, ())
        if not options:
            return (verb,)
        asks = wording.argument.format(verb=verb.chosen)
        with suppress(Reconsidered):
            return verb, ask(visitor, Question(verb.chosen, asks, options, **left))


def _command(asked: Sequence[Asked]) -> str:
    """What was decided, as a command; what is predicted is the whole distribution that was decided by."""
    verb = asked[0].chosen
    if len(asked) == 1:
        return verb
    if verb == "predict":
        shares = zip(asked[1].options, asked[1].probabilities, strict=True)
        return f"predict {' '.join(f'{word}={share:.6f}' for word, share in shares if share > 0)}"
    return f"{verb} {asked[1].chosen}"


def ask(visitor: Visitor, question: Question) -> Asked:
    """One decision, written down."""
    decision = visitor.decide(question)
    return Asked(
        about=question.about,
        asks=question.asks,
        options=question.options,
        probabilities=decision.probabilities,
        chosen=plain(decision.option),
        facts=dict(decision.facts),
    )


def retraced(game: Game, transcript: Transcript) -> Sequence[int]:
    """The turns of a transcript whose observations a game of the same rooms does not give again."""
    observation, _ = game.reset(seed=transcript.seed)
    different = [turn.number for turn in transcript.turns[:1] if turn.observation != observation]
    for turn in transcript.turns[1:]:
        observation, reward, *_ = game.step(turn.command)
        if (observation, reward) != (turn.observation, turn.reward):
            different.append(turn.number)
    return different
