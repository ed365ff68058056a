"""What an audience is: visitors, one protocol. What is perceived comes in, decisions with probabilities go out.

A visitor perceives what it is told and nothing else: the words of a game, and where it has ears or eyes the sound and
the pictures of the moments that it listened to.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from pieces.errors import DescantError
from pieces.source import nearest
from studio.words.artefact import Artefact
from studio.words.registers import Register

#: Built-in visitors; an entry point in ``descant.audiences`` adds one. What stands behind a colon is for the visitor:
#: ``hf:FOLDER``. Each is called with that, and with a folder for its cache.
BUILT_IN: dict[str, str] = {
    "listener": "studio.audience.listener:Listener",
    "hf": "studio.audience.hf:LanguageModel",
    "openai": "studio.audience.remote:Remote",
    "human": "studio.audience.human:Human",
    "scripted": "studio.audience.simple:scripted",
    "random": "studio.audience.simple:RandomVisitor",
}
#: What they are given by whoever calls them in Python, and by no command line and no file.
OURS = ("argument", "cache", "name", "habits", "memory", "hear", "say")

Sense: TypeAlias = Literal["sound", "pictures"]
Verdict: TypeAlias = Literal["interested", "bored", "noise", "sated"]
Fact: TypeAlias = str | int | float | bool


class AudienceError(DescantError):
    """No such visitor, or one that cannot attend this."""


class Reconsidered(AudienceError):
    """A visitor does not answer: of a command the verb is asked for again, and a rating is not given."""


class Record(BaseModel):
    """Frozen, closed to fields nobody defined, and JSON to the last number (no NaN)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MomentRow(Record):
    """One moment as a visitor took it."""

    start: float = Field(ge=0, description="seconds from the beginning of the artefact")
    surprise: float = Field(ge=0, description="loss on the moment before learning from it, nats per token")
    progress: float | None = Field(
        default=None, description="loss of the visitor some moments ago minus its loss now, nats per token"
    )
    room: int = Field(default=0, ge=0, description="which room of the game, as its rooms are numbered")


class Report(Record):
    """What a visitor measured of itself during a visit; what it was asked stands in the transcript."""

    progress: float | None = Field(
        default=None,
        description="mean learning progress in nats per token, as measured; it may be negative; not liking",
    )
    verdict: Verdict | None = Field(
        default=None,
        description="interested: it learns; noise: it stays surprised; sated: no more; bored: never was",
    )
    moments: tuple[MomentRow, ...] = Field(default=(), description="moment by moment, in the order of attending")
    tokens: int | None = Field(
        default=None, ge=0, description="that a server took, also for what was no answer; None: nobody counts them"
    )
    cost: float | None = Field(default=None, ge=0, description="of these tokens, in the currency of their prices")


@dataclass(frozen=True)
class Question:
    """What a visitor is to decide.

    Attributes
    ----------
    about : str
        Empty: which verb; a verb: which argument of it; else what a study asks: ``"prefer"``, ``"same"``.
    asks : str
        The question as a sentence, for whoever reads.
    options : tuple of str
        In the order in which they are shown; 1 to 26.
    budget : float
        What is left of it.
    moves : int
        Commands so far.
    """

    about: str
    asks: str
    options: tuple[str, ...]
    budget: float = 0.0
    moves: int = 0


@dataclass(frozen=True)
class Decision:
    """What a visitor decides.

    Attributes
    ----------
    option : str
        One of the options; where words may be said freely, any.
    probabilities : tuple of float
        Of the options, in their order; they sum to 1.
    facts : mapping
        How it came about: tokens, latency, retries, flips, surprisal.

    Raises
    ------
    AudienceError
        If the probabilities are none.
    """

    option: str
    probabilities: tuple[float, ...]
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shares = np.asarray(self.probabilities, dtype=np.float64)
        if not len(shares) or not np.isfinite(shares).all() or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
            raise AudienceError(f"a decision with the probabilities {self.probabilities}: they must be shares of 1")


def drawn(
    options: Sequence[str], probabilities: ArrayLike, rng: np.random.Generator, facts: Mapping[str, Fact] | None = None
) -> Decision:
    """A decision drawn from a distribution."""
    shares = np.asarray(probabilities, dtype=np.float64)
    shares = shares / shares.sum()
    return Decision(str(options[int(rng.choice(len(options), p=shares))]), tuple(shares.tolist()), facts or {})


def certain(options: Sequence[str], option: str, facts: Mapping[str, Fact] | None = None) -> Decision:
    """A decision without doubt; of what is no option, as where words are said freely, the first stands for it."""
    at = options.index(option) if option in options else 0
    return Decision(option, tuple(float(i == at) for i in range(len(options))), facts or {})


@runtime_checkable
class Visitor(Protocol):
    """Whoever attends.

    Attributes
    ----------
    name : str
        As it is invited: ``"hf:FOLDER"``.
    register : Register
        In which words it is spoken to where nothing else is said.
    senses : frozenset of {"sound", "pictures"}
        What it perceives besides words.
    """

    name: str
    register: Register
    senses: frozenset[Sense]

    def begin(self, instruction: str, seed: int) -> None:
        """A visit begins; equal instruction, seed, perceptions and earlier visits give equal decisions."""
        ...

    def observe(self, text: str, clips: Sequence[Artefact] = ()) -> None:
        """What is perceived: the answer to the last command, and the moments that it let be heard and seen.

        Whoever has no ears and eyes leaves `clips` alone: in `text` the same is told.
        """
        ...

    def decide(self, question: Question) -> Decision:
        """One decision.

        Raises
        ------
        AudienceError
            If it cannot; the visit is broken off there, and marked.
        Reconsidered
            If it does something else after all; see there.
        """
        ...

    def report(self) -> Report:
        """What it measured of itself since `begin`."""
        ...

    def about(self) -> Mapping[str, Fact]:
        """Who it is: model id and revision, parameters, versions, hash of its prompt; nothing secret."""
        ...


def visitor_names() -> list[str]:
    """Names of all visitors that can be invited: built in and installed."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group="descant.audiences"))})


def invite(name: str, cache: Path, **options: Any) -> Visitor:
    """The visitor called `name`.

    Parameters
    ----------
    name : str
        One of `visitor_names`; some take an argument behind a colon: ``hf:FOLDER``.
    cache : Path
        Folder in which it may keep what is costly to make again; created when needed.
    **options
        Passed on to the visitor's constructor: ``seed``, ``remember``.

    Raises
    ------
    AudienceError
        If there is none of that name (with the nearest), it does not load, or does not take such options.
    """
    kind, _, argument = name.partition(":")
    if kind in BUILT_IN:
        module, _, attribute = BUILT_IN[kind].partition(":")
        make = getattr(import_module(module), attribute)
    else:
        entry = next((e for e in entry_points(group="descant.audiences") if e.name == kind), None)
        if entry is None:
            raise AudienceError(f"no audience {kind!r}{nearest(kind, visitor_names())}")
        try:
            make = entry.load()
        except Exception as error:
            raise AudienceError(f"audience {kind!r} ({entry.value}) does not load: {error}") from error
    try:
        inspect.signature(make).bind(argument, cache, **options)
    except TypeError as error:
        allowed = [*inspect.signature(make).parameters][2:]
        raise AudienceError(f"audience {kind!r}: {error}: its options are {', '.join(allowed) or 'none'}") from error
    visitor = make(argument, cache, **options)
    if not isinstance(visitor, Visitor):
        raise AudienceError(f"audience {kind!r} made {visitor!r}, which is no visitor: see studio.audience.visitor")
    return visitor
