"""What the library does with takes, without a screen: pages, labels, triage with undo. Every method may block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from studio.keeper import TRY_S

if TYPE_CHECKING:
    from db.archive import Archive, Family, TakeRecord, TakeRow
    from db.records import Retention, Status
    from db.work import SessionRecord

#: Takes that a page has.
PAGE = 60


@dataclass(frozen=True)
class Filter:
    """Which takes are shown, see `db.finding.Wanted`."""

    text: str = ""
    retention: Retention | None = None
    status: Status | None = None
    rating: int | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """What is shown of one take.

    Attributes
    ----------
    take : TakeRecord
    mix : Path or None
        Its sound, where it has one.
    family : Family
        All that it came from and all that came of those.
    because : str
        Why it was proposed, if it was.
    """

    take: TakeRecord
    mix: Path | None
    family: Family
    because: str = ""


class Takes:
    """The takes of an archive, as a person goes through them.

    What is discarded is out of sight at once and gone from the archive when this is closed; until then
    `undiscard` brings it back.

    Parameters
    ----------
    place : str
        The archive's path or URL; it is opened when it is needed.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._archive: Archive | None = None
        self._discarded: list[str] = []
        self._closed = False
        self._lock = RLock()

    @property
    def archive(self) -> Archive:
        """The archive, opened at the first use."""
        with self._lock:
            if self._closed:
                raise DescantError(f"{self.place}: closed: open the library again")
            if self._archive is None:
                from db.archive import Archive

                self._archive = Archive.open(self.place)
            return self._archive

    @property
    def discarded(self) -> tuple[str, ...]:
        """Takes that go when this is closed, the last one last."""
        return tuple(self._discarded)

    def page(self, wanted: Filter, skip: int = 0, size: int = PAGE) -> tuple[list[TakeRow], int]:
        """Takes that are wanted, newest first, after the first `skip`; and how many to skip for the next page.

        An empty page is the end.
        """
        found: list[TakeRow] = []
        while not found:
            rows = self.archive.takes(limit=size, offset=skip, **_given(wanted))
            if not rows:
                break
            skip += len(rows)
            found = [row for row in rows if row.id not in self._discarded]
        return found, skip

    def count(self, wanted: Filter) -> int:
        """How many are wanted."""
        return self.archive.count(**_given(wanted))

    def card(self, take_id: str) -> Card:
        """What is to be shown of a take."""
        take = self.archive.take(take_id)
        mix = next((m.path for m in self.archive.media(take.id) if m.role == "mix"), None)
        because = self.archive.proposal(take.proposal_id).reason if take.proposal_id else ""
        found = mix if mix is not None and mix.is_file() else None
        return Card(take, found, self.archive.family(take.id), because)

    def row(self, take_id: str) -> TakeRow:
        """A take as the list shows it."""
        return next(r for r in self.archive.family(take_id).takes if r.id == take_id)

    def rename(self, take_id: str, title: str) -> None:
        """Give it a title."""
        self.archive.labels.rename(take_id, title)

    def note(self, take_id: str, text: str) -> None:
        """Write its notes."""
        self.archive.labels.note(take_id, text)

    def rate(self, take_id: str, stars: int) -> None:
        """Give it stars; 0 takes them away."""
        self.archive.labels.rate(take_id, stars or None)

    def tag(self, take_id: str, tags: Sequence[str]) -> tuple[str, ...]:
        """Give it these tags and no others."""
        had = self.archive.take(take_id).tags
        return self.archive.labels.tag(take_id, add=tags, remove=set(had) - {t.casefold() for t in tags})

    def tags(self) -> list[str]:
        """Tags in use, the commonest first."""
        return [tag for tag, _ in self.archive.labels.tags()]

    def keep(self, take_id: str) -> Retention:
        """Keep a scratch take, or let a kept one be scratch again; returns what it is now."""
        now: Retention = "scratch" if self.archive.take(take_id).retention == "kept" else "kept"
        self.archive.retain(take_id, now)
        return now

    def discard(self, take_id: str) -> str:
        """Put a take out of sight; it goes when this is closed. Returns its id.

        Raises
        ------
        DescantError
            If it is being recorded, or others that stay came from it.
        """
        take = self.archive.take(take_id)
        if take.status == "running":
            raise DescantError(f"take {take_id} is being recorded: stop it first")
        heirs = [child for child, parent in self.archive.family(take_id).links if parent.take_id == take_id]
        stay = [child for child in heirs if child not in self._discarded]
        if stay:
            raise DescantError(f"{len(stay)} takes came from it (the newest is {stay[-1]}): discard them first")
        with self._lock:
            if take_id not in self._discarded:
                self._discarded.append(take_id)
        return take_id

    def undiscard(self) -> str | None:
        """Bring the take back that was discarded last; returns its id."""
        with self._lock:
            return self._discarded.pop() if self._discarded else None

    def close(self) -> list[str]:
        """Remove what was discarded and let go of the archive; returns a line for each take that could not go."""
        said = []
        with self._lock:
            if self._closed:
                return []
            for take_id in sorted(self._discarded, reverse=True):  # children are newer than what they came from
                try:
                    self.archive.discard(take_id, kept=True)
                except DescantError as error:
                    said.append(str(error))
            self._discarded.clear()
            if self._archive is not None:
                self._archive.close()
                self._archive = None
            self._closed = True
        return said


def earlier(place: str) -> list[tuple[SessionRecord, str]]:
    """Sessions of an archive that can be gone on with, and the edit at which each stands; see `db.sessions`."""
    from db.archive import Archive

    with Archive.open(place, create=False, patience=TRY_S) as archive:
        return archive.sessions.earlier()


def _given(wanted: Filter) -> dict[str, object]:
    return {name: value for name, value in vars(replace(wanted)).items() if value not in (None, "", ())}
