"""The tables. Types are those that SQLite and PostgreSQL share."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from pieces.signals import Channel


class Utc(TypeDecorator[datetime]):
    """A time in UTC; SQLite keeps no time zones."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: UTC without its zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """From the database: UTC with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


#: Characters that not every database takes: SQLite no lone surrogates, PostgreSQL no NUL. They are kept as their number
#: behind a character that stands for nothing else.
_REFUSED = re.compile("[\x00\ud800-\udfff\uffff]")
_KEPT = re.compile("\uffff([0-9a-f]{4})")


class Said(TypeDecorator[str]):
    """What others said or wrote: any text at all, and it comes back as it went in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        return value and _REFUSED.sub(lambda found: f"\uffff{ord(found[0]):04x}", value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        """From the database."""
        return value and _KEPT.sub(lambda found: chr(int(found[1], 16)), value)


def _choice(*values: str) -> Enum:
    return Enum(*values, native_enum=False, length=16)


#: An index over array channels alone, so that scalar channels do not pay for it.
_ANY = text("arrays IS NOT NULL")
#: An index over transcripts that nobody has ended.
_OPEN = text("ended IS NULL")


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: Utc(),
        int: BigInteger(),
        float: Double(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


class Identity(Base):
    """The archive itself, in one row that comes with the tables; its media folder belongs to this id."""

    __tablename__ = "archive"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)


class Take(Base):
    """One performance. What a list shows stands first: SQLite need not read on through the long JSON."""

    __tablename__ = "takes"
    __table_args__ = (
        Index(None, "status", "id"),
        Index(None, "piece_name", "id"),
        # Whatever is looked for, a list is found in this index alone, without the long rows themselves.
        Index(None, "id", "piece_name", "status", "retention"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    piece_name: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(_choice("running", "done", "interrupted", "failed"))
    retention: Mapped[str] = mapped_column(_choice("kept", "scratch"))
    origin: Mapped[str] = mapped_column(_choice("generated", "captured"))
    created: Mapped[datetime]
    #: Time of the last commit, by which a recorder on another machine shows that it lives.
    updated: Mapped[datetime]
    seed: Mapped[int]
    #: Size of its blocks, without the media files of array channels.
    bytes: Mapped[int] = mapped_column(default=0)
    duration_s: Mapped[float | None]
    threads: Mapped[int]
    piece_hash: Mapped[str] = mapped_column(String(64))
    signals_hash: Mapped[str | None] = mapped_column(String(64))
    proposal_id: Mapped[str | None] = mapped_column(ForeignKey("proposals.id"))
    error: Mapped[str | None] = mapped_column(Text)
    #: The process that records it, see `db.process`.
    process: Mapped[dict[str, Any]]
    render: Mapped[dict[str, Any] | None]
    controls: Mapped[dict[str, Any]]
    inputs: Mapped[dict[str, Any]]
    versions: Mapped[dict[str, Any]]
    platform: Mapped[dict[str, Any]]
    piece: Mapped[dict[str, Any]]

    parts: Mapped[list[Part]] = relationship(order_by="Part.number")


class Part(Base):
    """What plays in a take, with its own ticks from 0."""

    __tablename__ = "parts"

    take_id: Mapped[str] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    rate: Mapped[float]
    ticks: Mapped[int] = mapped_column(default=0)
    signals_hash: Mapped[str | None] = mapped_column(String(64))
    channels: Mapped[list[Any]]

    def __str__(self) -> str:
        return f"take {self.take_id}, part {self.name}"

    def declared(self) -> tuple[Channel, ...]:
        """Its channels."""
        return tuple(Channel.from_plain(c) for c in self.channels)


class Label(Base):
    """What a person wrote on a take. Behind the long JSON of a take's row it would be slow to search."""

    __tablename__ = "labels"

    take_id: Mapped[str] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), primary_key=True)
    title: Mapped[str] = mapped_column(Text, default="")
    notes: Mapped[str] = mapped_column(Text, default="")
    rating: Mapped[int | None]
    #: Title, notes and tags without the difference of cases, to be searched.
    words: Mapped[str] = mapped_column(Text, default="")


class Tag(Base):
    """A word by which takes are gathered."""

    __tablename__ = "tags"
    __table_args__ = (Index(None, "tag", "take_id"),)

    take_id: Mapped[str] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(255), primary_key=True)


class TakeParent(Base):
    """Lineage: a take came from another one. A parent stays as long as a child does."""

    __tablename__ = "take_parents"

    take_id: Mapped[str] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[str] = mapped_column(ForeignKey("takes.id"), index=True)
    tick: Mapped[int | None]
    relation: Mapped[str] = mapped_column(Text)


class Block(Base):
    """Consecutive ticks of a part: scalar channels as one blob, array channels as a file, events in `BlockEvent`.

    Blocks are numbered through the whole take, in order of commit; a part's own order is that of its numbers.
    """

    __tablename__ = "blocks"
    __table_args__ = (
        ForeignKeyConstraint(["take_id", "part"], ["parts.take_id", "parts.number"], ondelete="CASCADE"),
        Index(None, "take_id", "part", "number"),
        Index(None, "arrays", sqlite_where=_ANY, postgresql_where=_ANY),
    )

    take_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[int]
    first_tick: Mapped[int]
    ticks: Mapped[int]
    events: Mapped[int]
    arrays: Mapped[str | None] = mapped_column(ForeignKey("media.sha256"))
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class BlockEvent(Base):
    """An event, in the order in which it was recorded."""

    __tablename__ = "events"
    __table_args__ = (
        ForeignKeyConstraint(["take_id", "block"], ["blocks.take_id", "blocks.number"], ondelete="CASCADE"),
        Index(None, "take_id", "kind"),
    )

    take_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    block: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tick: Mapped[int]
    kind: Mapped[str] = mapped_column(Text)
    given: Mapped[bool]
    data: Mapped[dict[str, Any]]


class Media(Base):
    """One file in the store, see `db.media`."""

    __tablename__ = "media"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    suffix: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int]


class TakeMedia(Base):
    """A take's file in one role."""

    __tablename__ = "take_media"

    take_id: Mapped[str] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(255), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("media.sha256"), index=True)


class Visit(Base):
    """One attending of one take."""

    __tablename__ = "visits"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    take_id: Mapped[str] = mapped_column(ForeignKey("takes.id", ondelete="CASCADE"), index=True)
    created: Mapped[datetime]
    visitor: Mapped[str] = mapped_column(Text)
    seed: Mapped[int]
    progress: Mapped[float | None]
    rating: Mapped[float | None]
    value: Mapped[float | None]
    verdict: Mapped[str | None] = mapped_column(Text)
    words: Mapped[str] = mapped_column(Text)
    rows: Mapped[list[Any]]
    details: Mapped[dict[str, Any]]
    #: The visit to a game that it was a part of, and the room in which its take was.
    transcript_id: Mapped[str | None] = mapped_column(ForeignKey("transcripts.id", ondelete="CASCADE"), index=True)
    room: Mapped[int | None]


class Transcript(Base):
    """One visit to a game, turn by turn in `Turn`; each entering of a room with a take is a `Visit`."""

    __tablename__ = "transcripts"
    __table_args__ = (
        ForeignKeyConstraint(["experiment_id", "trial"], ["trials.experiment_id", "trials.number"]),
        Index(None, "experiment_id", "trial"),
        Index(None, "updated", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created: Mapped[datetime]
    #: Time of the last turn, by which a visit on another machine shows that it goes on.
    updated: Mapped[datetime]
    seed: Mapped[int]
    #: The trial that it belongs to; both null outside studies.
    experiment_id: Mapped[str | None] = mapped_column(String(36))
    trial: Mapped[int | None]
    visitor: Mapped[str] = mapped_column(Said)
    wording: Mapped[str] = mapped_column(Said)
    words: Mapped[str] = mapped_column(Said)
    ended: Mapped[str | None] = mapped_column(Said)
    #: The process in which it takes place, see `db.process`.
    process: Mapped[dict[str, Any]]
    instruction: Mapped[str] = mapped_column(Said)
    about: Mapped[dict[str, Any]]
    #: Takes of its rooms, and the rules of the game.
    setting: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any] | None]


class Turn(Base):
    """One command with its observation."""

    __tablename__ = "turns"

    transcript_id: Mapped[str] = mapped_column(ForeignKey("transcripts.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[int | None]
    first: Mapped[int | None]
    count: Mapped[int | None]
    budget: Mapped[float]
    reward: Mapped[float]
    command: Mapped[str] = mapped_column(Said)
    observation: Mapped[str] = mapped_column(Said)
    decisions: Mapped[list[Any]]


class Experiment(Base):
    """A designed comparison, frozen before it ran."""

    __tablename__ = "experiments"
    __table_args__ = (Index(None, "hash", unique=True),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created: Mapped[datetime]
    name: Mapped[str] = mapped_column(Said)
    hash: Mapped[str] = mapped_column(String(64))
    files: Mapped[dict[str, Any]]
    design: Mapped[dict[str, Any]]


class Work(Base):
    """A take that an experiment is made on, by the name that the design gives it."""

    __tablename__ = "works"

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    take_id: Mapped[str] = mapped_column(ForeignKey("takes.id"), index=True)


class Deviation(Base):
    """Where an experiment was not run as it was frozen."""

    __tablename__ = "deviations"

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    created: Mapped[datetime]
    author: Mapped[str] = mapped_column(Said)
    text: Mapped[str] = mapped_column(Said)
    changes: Mapped[dict[str, Any]]


class Trial(Base):
    """One run of one cell of an experiment's design."""

    __tablename__ = "trials"

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(_choice("running", "done", "failed", "excluded"))
    attempts: Mapped[int] = mapped_column(default=1)
    #: Of the last attempt.
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    #: The process that runs it, see `db.process`.
    process: Mapped[dict[str, Any]]
    factors: Mapped[dict[str, Any]]
    outcome: Mapped[dict[str, Any] | None]
    cost: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Said)


class Annotation(Base):
    """What a person wrote on a transcript; it is never changed, only withdrawn."""

    __tablename__ = "annotations"
    __table_args__ = (
        # By its own name: the convention's is that of the key on the transcript, which alone holds without a turn.
        ForeignKeyConstraint(
            ["transcript_id", "turn"], ["turns.transcript_id", "turns.number"], name="fk_annotations_turn"
        ),
        Index(None, "tag", "id"),
        Index(None, "transcript_id", "turn"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    transcript_id: Mapped[str] = mapped_column(ForeignKey("transcripts.id"))
    turn: Mapped[int | None]
    created: Mapped[datetime]
    withdrawn: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(_choice("fact", "interpretation"))
    blind: Mapped[bool]
    tag: Mapped[str] = mapped_column(String(255))
    author: Mapped[str] = mapped_column(Said)
    text: Mapped[str] = mapped_column(Said)


class Unblinding(Base):
    """Since when a coder knows the conditions of an experiment's trials."""

    __tablename__ = "unblindings"

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    coder: Mapped[str] = mapped_column(String(255), primary_key=True)
    created: Mapped[datetime]


class Proposal(Base):
    """What a steerer proposed."""

    __tablename__ = "proposals"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created: Mapped[datetime]
    steerer: Mapped[str] = mapped_column(Text)
    seed: Mapped[int]
    round: Mapped[int]
    changes: Mapped[dict[str, Any]]
    point: Mapped[list[Any]]
    reason: Mapped[str] = mapped_column(Text)
    parents: Mapped[list[Any]]


class StudioSession(Base):
    """Work on a piece in the studio, with all its edits; see `Edit`."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "closed", "updated"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created: Mapped[datetime]
    updated: Mapped[datetime]
    closed: Mapped[bool] = mapped_column(default=False)
    name: Mapped[str] = mapped_column(Text)
    base: Mapped[str] = mapped_column(Text)
    file: Mapped[str | None] = mapped_column(Text)
    seed: Mapped[int]
    #: Edit that is heard, and the last one that redoing leads to.
    head: Mapped[int]
    tip: Mapped[int]
    #: What its takes come from: id, tick and relation of each; no lineage yet, so that these takes may go.
    parents: Mapped[list[Any]]
    #: The take it records, or recorded last.
    take_id: Mapped[str | None] = mapped_column(ForeignKey("takes.id", ondelete="SET NULL"), index=True)
    #: The process that works on it, see `db.process`.
    process: Mapped[dict[str, Any]]


class SessionEdit(Base):
    """An edit with the whole piece after it. Edits are a tree: what was undone and left stays."""

    __tablename__ = "edits"

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    parent: Mapped[int | None]
    created: Mapped[datetime]
    label: Mapped[str] = mapped_column(Text)
    piece: Mapped[dict[str, Any]]


class Showing(Base):
    """One playing of one item of a programme."""

    __tablename__ = "showings"
    __table_args__ = (Index(None, "programme", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    programme: Mapped[str] = mapped_column(Text)
    item: Mapped[int]
    label: Mapped[str] = mapped_column(Text)
    position: Mapped[float]
    started: Mapped[datetime]
    updated: Mapped[datetime]
    ended: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(_choice("done", "skipped", "failed", "stopped"))
    reason: Mapped[str] = mapped_column(Text, default="")
    #: The take that was played, or recorded of a live item.
    take_id: Mapped[str | None] = mapped_column(ForeignKey("takes.id", ondelete="SET NULL"), index=True)
