"""Opening an exhibition: programme, archive, log and sound engine together; and closing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from studio import config
from studio.exhibition.journal import FILE, Journal, Places
from studio.exhibition.programme import Programme, read_programme
from studio.exhibition.showing import Exhibition, Place, resumed
from studio.exhibition.turns import House, Silence
from studio.keeper import Keeper

if TYPE_CHECKING:
    from db.archive import Archive
    from sonify.engine.client import Engine
    from sonify.engine.commands import Backend

#: Seconds in which the archive must have taken the last place.
_LAST = 3.0


@contextmanager
def exhibition(
    path: Path,
    place: str,
    *,
    backend: Backend | None = "portaudio",
    pictures: bool = True,
    fresh: bool = False,
    create: bool = True,
    echo: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[Exhibition, Journal]]:
    """An exhibition that is ready to `run`, and its log.

    Parameters
    ----------
    path : Path
        The programme's file.
    place : str
        The archive's path or URL.
    backend : {'portaudio', 'jack', 'silent'} or None
        Where sound goes; None does without an engine.
    pictures : bool
        Whether there is a screen.
    fresh : bool
        Begin at the first item, wherever it was.
    create : bool
        Whether to create an archive that is not there.
    echo : callable
        Told each line of the log.

    Raises
    ------
    DescantError
        If the programme or the archive cannot be used.
    """
    from db.archive import Archive

    programme = read_programme(path)
    name = str(path.resolve())
    journal = Journal(config.home() / FILE, echo)
    with Archive.open(place, create=create) as archive:
        start = Place() if fresh else resumed(archive.showings.list(name), programme)
        journal.say(f"{programme.title}: {len(programme.items)} items, {path.name}")
        _keep(archive, programme, journal)
    keeper = Keeper(place, lambda report: journal.say(str(getattr(report, "text", "") or getattr(report, "line", ""))))
    engine = _engine(backend, journal)
    sound, address = (engine, engine.address) if engine is not None else (Silence(), None)
    house = House(place, path.resolve().parent, programme.loudness, sound, address, pictures, keeper, programme.title)
    try:
        yield Exhibition(programme, house, Places(keeper, name), journal, start), journal
    finally:
        if engine is not None:
            engine.close()
        keeper.close(_LAST)


def _keep(archive: Archive, programme: Programme, journal: Journal) -> None:
    """Keep the takes of a programme, which would be missed if they were pruned; a missing one is said in its turn."""
    for item in programme.items:
        if item.take is None:
            continue
        with suppress(DescantError):
            take = archive.take(item.take)
            if take.retention == "scratch":
                archive.retain(take.id, "kept")
                journal.say(f"{item.name}: it was scratch, and is kept from now on")


def _engine(backend: Backend | None, journal: Journal) -> Engine | None:
    """The sound engine; what it says of itself goes into the log."""
    if backend is None:
        return None
    from sonify.engine.client import Engine
    from sonify.engine.commands import Answer, Back, Died, Lost, Refused

    def hear(answer: Answer) -> None:
        if isinstance(answer, Lost):
            journal.say(f"no sound: {answer.reason}; it goes on in silence, and is looked for")
        elif isinstance(answer, Back):
            journal.say(f"sound through {answer.backend}")
        elif isinstance(answer, Refused | Died):
            journal.say(f"sound: {answer.reason}")

    try:
        return Engine(hear, backend)
    except (DescantError, OSError) as error:
        journal.say(f"no sound: {error}")
        return None
