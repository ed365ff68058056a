"""What an audience is: a visitor attends an artefact and responds. Nothing else of a take reaches it."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from pieces.errors import DescantError
from pieces.source import nearest
from studio.words.artefact import Artefact

#: Built-in visitors; an entry point in ``descant.audiences`` adds one. Each is called with a cache folder.
BUILT_IN: dict[str, str] = {"listener": "studio.audience.listener:Listener"}

Verdict = Literal["interested", "bored", "noise", "sated"]


class AudienceError(DescantError):
    """No such visitor, or one that cannot attend this."""


class Record(BaseModel):
    """Frozen, closed to fields nobody defined, and JSON to the last number (no NaN)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MomentRow(Record):
    """One moment as the visitor took it."""

    start: float = Field(ge=0, description="seconds from the beginning of the artefact")
    surprise: float = Field(ge=0, description="loss on the moment before learning from it, nats per token")
    progress: float = Field(description="loss of the visitor some moments ago minus its loss now, nats per token")


class Response(Record):
    """What a visitor said and did at one visit."""

    visitor: str = Field(description="registered name of the visitor")
    seed: int = Field(ge=0, description="seed of everything random in the visit")
    progress: float | None = Field(
        default=None,
        description="mean learning progress in nats per token, as measured; it may be negative; not liking",
    )
    rating: float | None = Field(
        default=None, ge=0, le=1, description="what the visitor answered when asked how it liked it; None: not asked"
    )
    verdict: Verdict | None = Field(
        default=None,
        description="interested: it learns; noise: it stays surprised; sated: no more; bored: never was",
    )
    moments: tuple[MomentRow, ...] = Field(default=(), description="the visit, moment by moment")
    words: str | None = Field(
        default=None, description="the artefact in words, as a visitor that reads gets it; None: not put into words"
    )
    tokens_sha256: str | None = Field(default=None, description="SHA-256 of the tokens it was given (int64, C order)")
    details: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="model and conditions: parameters, threads, versions, takes attended before"
    )

    @property
    def steering_value(self) -> float | None:
        """The number in 0..1 that a steerer is told, or None where there is nothing to steer by.

        It is the rating where one was given, else progress clipped to 0..1. Whoever steers by progress looks for what
        can be learned, which is no claim that anyone likes it.
        """
        if self.rating is not None or self.progress is None:
            return self.rating
        return min(max(self.progress, 0.0), 1.0)


@runtime_checkable
class Visitor(Protocol):
    """Whoever attends."""

    name: str

    def visit(self, artefact: Artefact, seed: int) -> Response:
        """Attend `artefact` once; equal artefact, seed and earlier visits give an equal response."""
        ...


def visitor_names() -> list[str]:
    """Names of all visitors that can be invited: built in and installed."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group="descant.audiences"))})


def invite(name: str, cache: Path, **options: Any) -> Visitor:
    """The visitor called `name`.

    Parameters
    ----------
    name : str
        One of `visitor_names`.
    cache : Path
        Folder in which it may keep what is costly to make again; created when needed.
    **options
        Passed on to the visitor's constructor.

    Raises
    ------
    AudienceError
        If there is none of that name (with the nearest), or it does not load.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        make = getattr(import_module(module), attribute)
    else:
        entry = next((e for e in entry_points(group="descant.audiences") if e.name == name), None)
        if entry is None:
            raise AudienceError(f"no audience {name!r}{nearest(name, visitor_names())}")
        try:
            make = entry.load()
        except Exception as error:
            raise AudienceError(f"audience {name!r} ({entry.value}) does not load: {error}") from error
    visitor = make(cache, **options)
    if not isinstance(visitor, Visitor):
        raise AudienceError(f"audience {name!r} made {visitor!r}, which has no name or no visit(artefact, seed)")
    return visitor
