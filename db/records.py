"""What goes into the archive and what comes out: plain frozen data, so that nobody else needs SQLAlchemy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from pieces.errors import DescantError
from pieces.signals import Channel
from pieces.source import nearest

Status: TypeAlias = Literal["running", "done", "interrupted", "failed"]
Retention: TypeAlias = Literal["kept", "scratch"]
Aside: TypeAlias = Literal["branch", "try", "study"]
Origin: TypeAlias = Literal["generated", "captured"]
Json: TypeAlias = Mapping[str, Any]


class ArchiveError(DescantError):
    """The archive cannot do what was asked: one line with the archive or take, the reason, and what to do."""


class ArchiveBusy(ArchiveError):
    """The archive cannot be written just now: somebody holds it, or the disk is full. Nothing was changed."""


def combined_hash(parts: Mapping[str, str]) -> str:
    """A take's hash: of one part the part's own, of several SHA-256 over the canonical JSON of their names and hashes.

    Parameters
    ----------
    parts : mapping of str to str
        Name to `pieces.signals.SignalsHash`, in order of declaration, which counts.
    """
    if len(parts) == 1:
        return next(iter(parts.values()))
    return hashlib.sha256(json.dumps(list(parts.items()), separators=(",", ":")).encode()).hexdigest()


def part_name(take_id: str, parts: Mapping[str, object], part: str | None) -> str:
    """The part that is meant: None means a take's only one.

    Raises
    ------
    ArchiveError
        If the take has no such part, or several where none is named.
    """
    if part is None and len(parts) == 1:
        return next(iter(parts))
    if part is None:
        raise ArchiveError(f"take {take_id} has {len(parts)} parts: name one of {', '.join(parts)}")
    if part not in parts:
        raise ArchiveError(f"take {take_id} has no part {part!r}{nearest(part, parts)}")
    return part


class Parent(NamedTuple):
    """One link of a take's lineage.

    Attributes
    ----------
    take_id : str
        The earlier take.
    tick : int or None
        Where in it the new take begins (a branch); None where the whole take is meant.
    relation : str
        ``branch``, ``replay``, ``steered``, ``part`` ...
    """

    take_id: str
    tick: int | None
    relation: str


@dataclass(frozen=True, kw_only=True)
class NewTake:
    """What is known of a take before its first tick.

    Attributes
    ----------
    piece_name : str
        Name by which the piece was asked for.
    piece : mapping
        The whole composition as plain data.
    piece_hash : str
        `Piece.hash`.
    seed : int
        Seed of everything random, from 0 to 2**63 - 1.
    parts : sequence of (name, ticks per second)
        What plays in it, at least one part, in order; each counts its own ticks from 0.
    controls : mapping
        Values at the first tick, by part; changes are events.
    inputs : mapping
        Name to ``{"path": ..., "sha256": ...}``.
    versions, platform : mapping
        Libraries and machine on which it is performed.
    threads : int
        Threads that numerical libraries may use.
    retention : {'kept', 'scratch'}
        Scratch takes are pruned by `Archive.gc`, kept ones never.
    origin : {'generated', 'captured'}
        Replay recomputes generated signals and verifies captured ones.
    parents : sequence of (take id, tick or None, relation)
        Lineage.
    proposal_id : str, optional
        The proposal it came from.
    """

    piece_name: str
    piece: Json
    piece_hash: str
    seed: int
    parts: Sequence[tuple[str, float]]
    controls: Json = field(default_factory=dict)
    inputs: Mapping[str, Json] = field(default_factory=dict)
    versions: Json = field(default_factory=dict)
    platform: Json = field(default_factory=dict)
    threads: int = 1
    retention: Retention = "kept"
    origin: Origin = "generated"
    parents: Sequence[tuple[str, int | None, str]] = ()
    proposal_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Take:
    """What lists and records share.

    Attributes
    ----------
    id : str
        UUIDv7, so that ids sort by time.
    status : {'running', 'done', 'interrupted', 'failed'}
        How it ended, if it did.
    created : str
        ISO 8601 in UTC.
    duration_s : float
        Seconds performed: of a finished take as it was declared, otherwise what is committed of its longest part.
    ticks : int
        Ticks committed, over all parts.
    retention, origin : str
        See `NewTake`.
    seed : int
        See `NewTake`.
    title, notes : str
        What a person called it and wrote about it.
    rating : int or None
        A person's stars, 0 to 5; not a visitor's answer.
    tags : tuple of str
        In order of the alphabet.
    """

    id: str
    status: Status
    created: str
    duration_s: float
    ticks: int
    retention: Retention
    origin: Origin
    seed: int
    title: str
    notes: str
    rating: int | None
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TakeRow(_Take):
    """A take in a list; the other fields are those of `TakeRecord`.

    Attributes
    ----------
    piece : str
        Name of the piece.
    parents : tuple of str
        Ids of the takes it came from.
    aside : {'branch', 'try', 'study'} or None
        What it was made for where nobody made it for its own sake: a visitor touched a take, a wish was tried, or a
        study needed it.
    """

    piece: str
    parents: tuple[str, ...]
    aside: Aside | None = None


@dataclass(frozen=True)
class PartRecord:
    """What is recorded of one part of a take.

    Attributes
    ----------
    rate : float
        Ticks per second.
    ticks : int
        Ticks committed.
    channels : tuple of Channel
        Empty until the source existed.
    signals_hash : str or None
        `pieces.signals.SignalsHash` of a finished take's part.
    """

    rate: float
    ticks: int
    channels: tuple[Channel, ...]
    signals_hash: str | None


@dataclass(frozen=True, kw_only=True)
class TakeRecord(_Take):
    """Everything stored about a take but its blocks, media and visits.

    Attributes
    ----------
    piece_name, piece, piece_hash, controls, inputs, versions, platform, threads, proposal_id
        See `NewTake`.
    parents : tuple of Parent
        Lineage.
    parts : mapping of str to PartRecord
        What played in it, in order of declaration.
    signals_hash : str or None
        `combined_hash` of a finished take.
    render : mapping or None
        What rendering measured (`sonify.render.Rendering` without its files).
    error : str or None
        Why it failed.
    """

    piece_name: str
    piece: Json
    piece_hash: str
    parents: tuple[Parent, ...]
    parts: Mapping[str, PartRecord]
    controls: Json
    inputs: Mapping[str, Json]
    versions: Json
    platform: Json
    threads: int
    proposal_id: str | None
    signals_hash: str | None
    render: Json | None
    error: str | None


@dataclass(frozen=True)
class MediaRow:
    """A file that belongs to a take.

    Attributes
    ----------
    role : str
        ``mix``, ``stem:<voice>``, ``sheet``, ``film``, ``input:<name>``; one file for each role of a take.
    sha256 : str
        Hash of its content, which is also its address.
    path : Path
        Where it lies.
    bytes : int
        Its size.
    """

    role: str
    sha256: str
    path: Path
    bytes: int


@dataclass(frozen=True, kw_only=True)
class VisitRecord:
    """One attending of one take. Progress and rating are different things and never stand in for each other.

    Attributes
    ----------
    take_id : str
        The take attended.
    visitor : str
        Who attended.
    seed : int
        The visitor's seed.
    progress : float or None
        How much a learning listener's prediction improved, nats per token.
    rating : float or None
        What a visitor answered when asked, 0 to 1.
    value : float or None
        The number that steering used, 0 to 1.
    words : str
        What the visitor was given to read.
    rows : sequence of mapping
        Turn by turn or moment by moment.
    verdict : str or None
        What it said in the end.
    details : mapping
        Anything else, as JSON.
    transcript_id : str or None
        The visit to a game that it was a part of, if it was of one.
    room : int or None
        The room of the game in which the take was.
    id, created : str
        Set by the archive.
    """

    take_id: str
    visitor: str
    seed: int
    progress: float | None = None
    rating: float | None = None
    value: float | None = None
    words: str = ""
    rows: Sequence[Json] = ()
    verdict: str | None = None
    details: Json = field(default_factory=dict)
    transcript_id: str | None = None
    room: int | None = None
    id: str = ""
    created: str = ""


@dataclass(frozen=True, kw_only=True)
class ProposalRecord:
    """What a steerer proposed to perform next.

    Attributes
    ----------
    steerer : str
        Who proposed.
    seed : int
        The steerer's seed.
    round : int
        Round of the loop, counted from 1.
    changes : mapping
        Dotted path in the piece to its new value.
    point : sequence of float
        The same in the unit cube of the piece's knobs.
    reason : str
        One sentence for people.
    parents : sequence of str
        Takes whose responses led to it.
    id, created : str
        Set by the archive.
    """

    steerer: str
    seed: int
    round: int
    changes: Json
    point: Sequence[float] = ()
    reason: str = ""
    parents: Sequence[str] = ()
    id: str = ""
    created: str = ""


@dataclass(frozen=True)
class Family:
    """A take with all that it came from and all that came of those.

    Attributes
    ----------
    takes : tuple of TakeRow
        Oldest first.
    links : tuple of (child, Parent)
        Who came from whom.
    whole : bool
        False where it is so large that some are left out.
    """

    takes: tuple[TakeRow, ...]
    links: tuple[tuple[str, Parent], ...]
    whole: bool = True


@dataclass(frozen=True)
class CheckReport:
    """What `Archive.check` found.

    Attributes
    ----------
    takes, blocks, media : int
        How many were looked at.
    interrupted : tuple of str
        Running takes whose process is gone, marked as interrupted where repair was wanted.
    problems : tuple of str
        One line each; empty for a clean archive.
    transcripts : int
        How many there are.
    broken_off : tuple of str
        Running transcripts whose process is gone, marked likewise.
    """

    takes: int
    blocks: int
    media: int
    interrupted: tuple[str, ...]
    problems: tuple[str, ...]
    transcripts: int = 0
    broken_off: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """No problem was found."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        marked = [f"take {i}: its process is gone: marked as interrupted" for i in self.interrupted]
        marked += [f"transcript {i}: its process is gone: marked as interrupted" for i in self.broken_off]
        seen = f"{self.takes} takes, {self.blocks} blocks, {self.media} media files, {self.transcripts} transcripts: "
        return "\n".join(
            [*marked, *self.problems, seen + (f"{len(self.problems)} problems" if self.problems else "clean")]
        )


@dataclass(frozen=True)
class GcReport:
    """What `Archive.gc` removed, or would remove.

    Attributes
    ----------
    takes : tuple of str
        Scratch takes pruned.
    files : int
        Media files and temporary leftovers removed.
    bytes : int
        Bytes of blocks and files given back.
    sessions, showings : int
        Work in the studio that was closed, and showings of exhibitions.
    transcripts : int
        Visits to games that attended nothing but these takes.
    """

    takes: tuple[str, ...]
    files: int
    bytes: int
    sessions: int = 0
    showings: int = 0
    transcripts: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        work = f"{self.transcripts} transcripts, {self.sessions} closed sessions, {self.showings} showings"
        return f"{len(self.takes)} scratch takes, {self.files} files, {work}, {self.bytes / 1e6:.1f} MB"
