"""What a person writes on takes: titles, notes, stars, tags."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from db.database import Database
from db.models import Label, Tag, Take
from db.records import ArchiveError

#: Characters of a tag, and of a title.
_SHORT, _LONG = 64, 200


class Tagged(NamedTuple):
    """A tag, and how many takes have it."""

    tag: str
    takes: int


class Labels:
    """The labels of an archive's takes. All methods take whole ids.

    Raises
    ------
    ArchiveError
        If there is no such take, or a label is not allowed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def rename(self, take_id: str, title: str) -> None:
        """Give a take a title; an empty one takes it away."""
        title = " ".join(title.split())
        if len(title) > _LONG:
            raise ArchiveError(f"title of {len(title)} characters: allowed are {_LONG}: write the rest into the notes")
        with self._database.write() as session:
            _label(session, take_id).title = title
            _index(session, take_id)

    def note(self, take_id: str, text: str) -> None:
        """Write a take's notes, in place of those it had."""
        with self._database.write() as session:
            _label(session, take_id).notes = text.strip()
            _index(session, take_id)

    def rate(self, take_id: str, stars: int | None) -> None:
        """Give a take 0 to 5 stars; None takes them away."""
        if stars is not None and not 0 <= stars <= 5:
            raise ArchiveError(f"rating = {stars}: allowed are whole numbers from 0 to 5")
        with self._database.write() as session:
            _label(session, take_id).rating = stars

    def tag(self, take_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> tuple[str, ...]:
        """Add tags to a take and remove others; returns those it has now."""
        more, less = {as_tag(t) for t in add}, {as_tag(t) for t in remove}
        with self._database.write() as session:
            _label(session, take_id)
            had = set(session.scalars(select(Tag.tag).where(Tag.take_id == take_id)))
            session.execute(delete(Tag).where(Tag.take_id == take_id, Tag.tag.in_(less)))
            for tag in sorted(more - had - less):
                session.execute(insert(Tag), {"take_id": take_id, "tag": tag})
            return _index(session, take_id)

    def tags(self) -> list[Tagged]:
        """All tags in use, the commonest first."""
        query = select(Tag.tag, func.count()).group_by(Tag.tag).order_by(func.count().desc(), Tag.tag)
        with self._database.read() as session:
            return [Tagged(*row) for row in session.execute(query)]


def as_tag(text: str) -> str:
    """A tag as it is kept: one word in small letters, so that none is written in two ways."""
    tag = text.strip().casefold()
    if not tag or len(tag) > _SHORT or any(c.isspace() or c == "," or not c.isprintable() for c in tag):
        raise ArchiveError(f"tag {text[:80]!r}: allowed is one word of up to {_SHORT} characters, without commas")
    return tag


def _label(session: Session, take_id: str) -> Label:
    """The row of a take's labels, made where there is none yet."""
    label = session.get(Label, take_id)
    if label is None:
        if session.scalar(select(Take.id).where(Take.id == take_id)) is None:
            raise ArchiveError(f"no take {take_id!r}: descant takes lists them")
        label = Label(take_id=take_id, title="", notes="", rating=None, words="")
        session.add(label)
        session.flush()
    return label


def _index(session: Session, take_id: str) -> tuple[str, ...]:
    """Gather a take's words to be searched; returns its tags."""
    label = _label(session, take_id)
    tags = tuple(session.scalars(select(Tag.tag).where(Tag.take_id == take_id).order_by(Tag.tag)))
    label.words = "\n".join((label.title, label.notes, *tags)).casefold()
    return tags
