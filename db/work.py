"""Records of work in the studio: sessions with their edits, and showings. Plain data, as in `db.records`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from db.records import Json

Outcome: TypeAlias = Literal["done", "skipped", "failed", "stopped"]


@dataclass(frozen=True)
class Edit:
    """One edit of a session: what was done, and the whole piece after it.

    Attributes
    ----------
    number : int
        Counted from 0, the piece as it was opened.
    parent : int or None
        The edit that it changed; None of the first.
    label : str
        A few words for people.
    piece : mapping
        As `pieces.piece.parse_piece` takes it.
    created : str
        When it was made, ISO 8601; no part of what it is.
    """

    number: int
    parent: int | None
    label: str
    piece: Json
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(), compare=False)


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """Work on a piece in the studio.

    Attributes
    ----------
    name : str
        What its piece is called.
    base : str
        Folder against which the piece's paths are read.
    file : str or None
        The piece's file, if it has one.
    seed : int
        Of the performance.
    head, tip : int
        Number of the edit that is heard, and of the last one that redoing leads to.
    take_id : str or None
        The take it records, or recorded last.
    parents : tuple
        Takes that all of its takes come from, each with a tick or None and the relation.
    id, created, updated, closed
        Set by the archive; one that is not closed although its process is gone was interrupted.
    """

    name: str
    base: str
    file: str | None
    seed: int
    head: int = 0
    tip: int = 0
    take_id: str | None = None
    parents: tuple[tuple[str, int | None, str], ...] = ()
    id: str = ""
    created: str = ""
    updated: str = ""
    closed: bool = False


@dataclass(frozen=True, kw_only=True)
class ShowingRecord:
    """One playing of one item of a programme.

    Attributes
    ----------
    programme : str
        Its name.
    item : int
        Place in it, from 0.
    label : str
        What was shown.
    position : float
        Seconds into the item.
    outcome : {'done', 'skipped', 'failed', 'stopped'} or None
        How it ended; None while it is shown, or where the machine went down.
    reason : str
        Why it was skipped or failed.
    take_id : str or None
        The take that was played, or recorded of a live item; None where there is none any more.
    id, started, updated, ended
        Set by the archive.
    """

    programme: str
    item: int
    label: str
    position: float = 0.0
    outcome: Outcome | None = None
    reason: str = ""
    take_id: str | None = None
    id: str = ""
    started: str = ""
    updated: str = ""
    ended: str | None = None
