"""Finding takes: pages of a list, by what a person looks for, and the family of a take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, union
from sqlalchemy.orm import Session

from db.models import Label, Part, Tag, Take, TakeParent, Transcript, Visit, Work
from db.records import Aside, Family, Parent, Retention, Status, TakeRow

#: Takes of a family that are told at most.
_FAMILY = 1000
#: How what only audiences and steerers made hangs on a take: where a visitor touched it, and where a wish was tried.
_ASIDE: dict[str, Aside] = {"touched": "branch", "tried": "try"}
#: What a take's id may begin with.
_ID = re.compile(r"[0-9a-f-]{1,36}")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which takes are looked for: those of which all is true that is given.

    Attributes
    ----------
    status, piece, retention
        Of the take; the piece by the name it was asked for.
    own : bool
        Only what somebody made: nothing that a study made for itself, and no branch of a visitor's or try of a wish
        that nobody kept.
    rating : int or None
        That many stars at least.
    tags : sequence of str
        All of them.
    text : str
        Words, each of which stands in the title, the notes, a tag or the name of the piece, or begins the id.
    """

    status: Status | None = None
    piece: str | None = None
    retention: Retention | None = None
    own: bool = False
    rating: int | None = None
    tags: Sequence[str] = ()
    text: str = ""


def page(session: Session, wanted: Wanted, limit: int, offset: int) -> list[TakeRow]:
    """A page of the takes that are wanted, newest first."""
    ids = list(session.scalars(_found(session, wanted).order_by(Take.id.desc()).limit(limit).offset(offset)))
    return rows(session, ids)


def count(session: Session, wanted: Wanted) -> int:
    """How many takes are wanted."""
    return session.scalar(select(func.count()).select_from(_found(session, wanted).subquery())) or 0


def _found(session: Session, wanted: Wanted) -> Any:
    """The ids of what is wanted, as a query."""
    query = select(Take.id)
    for column, value in (
        (Take.status, wanted.status),
        (Take.piece_name, wanted.piece),
        (Take.retention, wanted.retention),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.own:
        kept = Take.retention == "kept"
        query = query.where(kept | Take.id.not_in(_touched()), Take.id.not_in(_studied()))
    if wanted.rating is not None:
        query = query.where(Take.id.in_(select(Label.take_id).where(Label.rating >= wanted.rating)))
    for tag in wanted.tags:
        query = query.where(Take.id.in_(select(Tag.take_id).where(Tag.tag == tag)))
    words = wanted.text.casefold().split()
    if words:
        names = [(name, name.casefold()) for name in session.scalars(select(Take.piece_name).distinct())]
    for word in words:
        query = query.where(_matches(word, [name for name, folded in names if word in folded]))
    return query


def newest(session: Session) -> Take | None:
    """The newest finished take that somebody made; where none is finished, the newest."""
    for wanted in (Wanted(own=True, status="done"), Wanted(own=True)):
        found = session.scalar(_found(session, wanted).order_by(Take.id.desc()).limit(1))
        if found is not None:
            return session.get(Take, found)
    return None


def _touched() -> Any:
    """The ids of branches and tries, as a query."""
    return select(TakeParent.take_id).where(TakeParent.relation.in_(_ASIDE))


def _studied() -> Any:
    """The ids of takes that studies made, as a query: what a study is made on was there before it, these were not."""
    works = select(Work.take_id).where(Work.take_id > Work.experiment_id)
    of_trials = Visit.transcript_id == Transcript.id, Visit.take_id > Transcript.experiment_id
    return union(works, select(Visit.take_id).join(Transcript, of_trials[0]).where(of_trials[1]))


def _matches(word: str, pieces: Sequence[str]) -> ColumnElement[bool]:
    written = select(Label.take_id).where(Label.words.contains(word, autoescape=True))
    found: ColumnElement[bool] = Take.id.in_(written)
    if pieces:
        found |= Take.piece_name.in_(pieces)
    if _ID.fullmatch(word):
        found |= Take.id.startswith(word)
    return found


def rows(session: Session, ids: Sequence[str]) -> list[TakeRow]:
    """Takes as a list shows them, newest first."""
    columns = (
        *(Take.id, Take.piece_name, Take.status, Take.created, Take.duration_s),
        *(Take.retention, Take.origin, Take.seed),
    )
    query = select(*columns).where(Take.id.in_(ids)).order_by(Take.id.desc())
    taken = session.execute(query).all()
    of_parents, lengths, written = parents(session, ids), _lengths(session, ids), labels(session, ids)
    studied = set(session.scalars(select(Take.id).where(Take.id.in_(ids), Take.id.in_(_studied()))))
    return [
        TakeRow(
            **common(row, lengths.get(row.id, ()), written.get(row.id)),
            piece=row.piece_name,
            parents=tuple(p.take_id for p in of_parents.get(row.id, ())),
            aside=next((_ASIDE[p.relation] for p in of_parents.get(row.id, ()) if p.relation in _ASIDE), None)
            or ("study" if row.id in studied else None),
        )
        for row in taken
    ]


def common(take: Any, parts: Sequence[Any], written: dict[str, Any] | None) -> dict[str, Any]:
    """What lists and records share, from a take's row, its parts' (two columns will do) and its labels."""
    names = ("id", "status", "retention", "origin", "seed")
    ticks = sum(p.ticks for p in parts)
    longest = max((p.ticks / p.rate for p in parts), default=0.0)
    duration = longest if take.duration_s is None else take.duration_s
    return {
        **{n: getattr(take, n) for n in names},
        "ticks": ticks,
        "created": iso(take.created),
        "duration_s": duration,
        **(written or {"title": "", "notes": "", "rating": None, "tags": ()}),
    }


def labels(session: Session, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Title, notes, stars and tags by take, of those that have any."""
    found: dict[str, dict[str, Any]] = {}
    for label in session.scalars(select(Label).where(Label.take_id.in_(ids))):
        found[label.take_id] = {"title": label.title, "notes": label.notes, "rating": label.rating, "tags": ()}
    for tag in session.scalars(select(Tag).where(Tag.take_id.in_(ids)).order_by(Tag.tag)):
        found[tag.take_id]["tags"] += (tag.tag,)
    return found


def parents(session: Session, ids: Sequence[str]) -> dict[str, tuple[Parent, ...]]:
    """What takes came from, by take."""
    query = select(TakeParent).where(TakeParent.take_id.in_(ids)).order_by(TakeParent.take_id, TakeParent.number)
    found: dict[str, tuple[Parent, ...]] = {}
    for link in session.scalars(query):
        found[link.take_id] = (*found.get(link.take_id, ()), Parent(link.parent_id, link.tick, link.relation))
    return found


def children(session: Session, ids: Sequence[str]) -> list[str]:
    """Takes that came from these."""
    return list(session.scalars(select(TakeParent.take_id).where(TakeParent.parent_id.in_(ids)).distinct()))


def family(session: Session, take_id: str) -> Family:
    """All that a take came from, and all that came of those."""
    found, new, whole = {take_id}, [take_id], True
    while new and whole:
        links = parents(session, new)
        near = {p.take_id for of_one in links.values() for p in of_one}.union(children(session, new))
        new = sorted(near - found, reverse=True)[: _FAMILY - len(found)]
        whole = near <= found.union(new)
        found.update(new)
    links = parents(session, sorted(found))
    return Family(
        tuple(rows(session, sorted(found))[::-1]),
        tuple((child, p) for child in sorted(found) for p in links.get(child, ()) if p.take_id in found),
        whole,
    )


def _lengths(session: Session, ids: Sequence[str]) -> dict[str, list[Any]]:
    """Rows of parts, with ticks and rate, by take."""
    found: dict[str, list[Any]] = {}
    for row in session.execute(select(Part.take_id, Part.ticks, Part.rate).where(Part.take_id.in_(ids))):
        found.setdefault(row.take_id, []).append(row)
    return found


def iso(time: datetime) -> str:
    """ISO 8601 in UTC."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
