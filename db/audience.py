"""Records of audiences: transcripts with their turns, experiments with their trials, and what coders write.

Plain data, as in `db.records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from db.records import Json

TrialStatus: TypeAlias = Literal["running", "done", "failed", "excluded"]
Kind: TypeAlias = Literal["fact", "interpretation"]


@dataclass(frozen=True, kw_only=True)
class TurnRecord:
    """One command with its observation.

    Attributes
    ----------
    number : int
        0 is the beginning, which has no command; each following one is one more.
    command, observation : str
        As the game took it, and what it answered.
    decisions : tuple of mapping
        How the command came about: questions, options in the order shown, their probabilities, what was chosen.
    budget, reward : float
        What is left, and what the button gave; finite.
    room : int or None
        Where it was; None in the hall.
    first, count : int or None
        Which moments of the room it let be heard; None where there were none.
    """

    number: int
    command: str
    observation: str
    decisions: tuple[Json, ...] = ()
    budget: float = 0.0
    reward: float = 0.0
    room: int | None = None
    first: int | None = None
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewTranscript:
    """What is known of a visit to a game before its first turn.

    Attributes
    ----------
    visitor : str
        As it was invited.
    seed : int
        Of the game and of the visitor, from 0 to 2**63 - 1.
    wording, words : str
        Name of the wording; in which words it is spoken to (prose, numbers, tokens).
    instruction : str
        What the visitor is told of its task.
    about : mapping
        Who it is: model, revision, versions.
    setting : mapping
        The takes of its rooms (``takes``), and the rules of the game (``rules``).
    experiment_id, trial : str and int, or None
        The trial that it belongs to; both None outside studies.
    """

    visitor: str
    seed: int
    wording: str = ""
    words: str = ""
    instruction: str = ""
    about: Json = field(default_factory=dict)
    setting: Json = field(default_factory=dict)
    experiment_id: str | None = None
    trial: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Transcript:
    """What lists and records share; the other fields are those of `NewTranscript`.

    Attributes
    ----------
    id : str
        UUIDv7, so that ids sort by time.
    created : str
        ISO 8601 in UTC.
    ended : str or None
        How it ended: left, moves, interrupted, or the line that broke it off; None while it goes on.
    """

    id: str
    created: str
    visitor: str
    seed: int
    wording: str
    words: str
    ended: str | None
    experiment_id: str | None
    trial: int | None


@dataclass(frozen=True, kw_only=True)
class TranscriptRow(_Transcript):
    """A transcript in a list.

    Attributes
    ----------
    turns : int
        How many it has, with the beginning.
    """

    turns: int


@dataclass(frozen=True, kw_only=True)
class TranscriptRecord(_Transcript):
    """Everything stored about a transcript but its visits.

    Attributes
    ----------
    report : mapping or None
        What the visitor measured of itself; None where it was not told.
    turns : tuple of TurnRecord
        In order of number.
    """

    instruction: str
    about: Json
    setting: Json
    report: Json | None
    turns: tuple[TurnRecord, ...]


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """A designed comparison, as it was frozen.

    Attributes
    ----------
    name : str
        What it is called.
    hash : str
        SHA-256 of the frozen design, by which it is the same experiment.
    design : mapping
        Hypotheses, outcomes, exclusions, stopping rule, factors.
    files : mapping of str to str
        Name to SHA-256 of what the design refers to.
    id, created : str
        Set by the archive.
    """

    name: str
    hash: str
    design: Json
    files: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    created: str = ""


@dataclass(frozen=True, kw_only=True)
class DeviationRecord:
    """Where an experiment was not run as it was frozen.

    Attributes
    ----------
    number : int
        Counts from 1.
    created : str
        ISO 8601.
    author, text : str
        Who says why.
    changes : mapping
        What holds from then on, as far as the design is another.
    """

    number: int
    created: str
    author: str
    text: str
    changes: Json


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One run of one cell of a design.

    Attributes
    ----------
    number : int
        Its place in the design.
    status : {'running', 'done', 'failed', 'excluded'}
        How it ended, if it did.
    lost : bool
        It is running, but its process is gone: it can be claimed again.
    attempts : int
        How often it was begun; what earlier attempts left is not kept.
    started, ended : str, str or None
        Of the last attempt, ISO 8601.
    factors : mapping
        Condition, audience, take ... as the design drew them.
    outcome, cost : mapping or None
        What it gave, and what it took (tokens, seconds): numbers added up over all attempts that were ended.
    error : str or None
        Why it failed or was excluded.
    """

    number: int
    status: TrialStatus
    lost: bool
    attempts: int
    started: str
    ended: str | None
    factors: Json
    outcome: Json | None
    cost: Json | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class AnnotationRecord:
    """What a person wrote on a transcript. It is never changed, only withdrawn.

    Attributes
    ----------
    transcript_id : str
        On which.
    turn : int or None
        On which turn; None on the whole.
    kind : {'fact', 'interpretation'}
        Whether it says what happened or what it means.
    author : str
        Who wrote it.
    tag : str
        One word by which annotations are gathered.
    text : str
        What is written.
    blind : bool
        The author had not unblinded when writing; False outside studies. Set by the archive.
    withdrawn : str or None
        Since when it holds no more. Set by the archive.
    id, created : str
        Set by the archive.
    """

    transcript_id: str
    author: str
    kind: Kind
    tag: str
    text: str = ""
    turn: int | None = None
    blind: bool = False
    withdrawn: str | None = None
    id: str = ""
    created: str = ""


@dataclass(frozen=True)
class UnblindingRecord:
    """Since when a coder knows the conditions of an experiment's trials."""

    coder: str
    created: str
