"""What a steerer is told, what it proposes, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pydantic import Field

from pieces.knobs import Choice
from studio.audience.visitor import Record
from studio.words.artefact import Artefact

#: Performs the piece with some changes, for a trial; `DescantError` says that it cannot be.
Try: TypeAlias = Callable[[Mapping[str, Choice]], Artefact]
#: Shows a text to a person, and returns the line that is typed; None: there is no more.
Converse: TypeAlias = Callable[[str], str | None]


@dataclass(frozen=True)
class Answer:
    """What came of a take.

    Attributes
    ----------
    take : str
        Its id.
    changes : mapping
        What its piece differs by from the piece that is steered, as `Proposal.changes`; nothing: it is as written.
    value : float, optional
        How it was rated, in 0..1; None: it was not.
    wishes : tuple of str
        What was wished, in this order.
    """

    take: str
    changes: Mapping[str, Choice] = field(default_factory=dict)
    value: float | None = None
    wishes: tuple[str, ...] = ()


class Proposal(Record):
    """What a steerer wants to hear next."""

    steerer: str = Field(description="registered name of the steerer")
    seed: int
    changes: dict[str, Choice] = Field(
        description="dotted path in the piece as it is written → value, see Piece.with_values; all that differs from it"
    )
    point: tuple[float, ...] = Field(default=(), description="the same in the unit cube, where the steerer has one")
    reason: str = Field(description="one sentence with the numbers that led to it, or that led to nothing new")
    parents: tuple[str, ...] = Field(description="ids of the takes that it goes by, oldest first")


class Steerer(Protocol):
    """Whoever proposes."""

    def propose(self, history: Sequence[Answer]) -> Proposal | None:
        """The next thing to make, given all takes so far, oldest first; None: there is to be none.

        Equal histories give equal proposals. A piece that is to stay as it is has the changes of its last take.
        """
        ...


def same(steerer: str, seed: int, history: Sequence[Answer], reason: str) -> Proposal:
    """A proposal to make the last take's piece again."""
    last = history[-1:]
    changes = dict(last[0].changes) if last else {}
    return Proposal(steerer=steerer, seed=seed, changes=changes, reason=reason, parents=tuple(a.take for a in last))
