"""One item of a programme while it is shown: its sound, its pictures, and where it is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from studio.audition import Sound
from studio.exhibition.programme import Item
from studio.keeper import Keeper

if TYPE_CHECKING:
    from db.archive import Archive, TakeRecord
    from db.records import Json
    from sonify.engine.commands import Command
    from sonify.engine.ring import State
    from studio.pictures.canvas import Pixels

#: Smallest picture in pixels.
SMALLEST = 8
#: dBTP that an item is not lifted above to be as loud as the others.
CEILING = -1.0
#: Seconds in which sound comes back after panic.
_RETURNS = 0.5
#: Decks that items take in turn: more than ever sound together.
_DECKS = 4


@dataclass(frozen=True)
class House:
    """What all items are shown with.

    Attributes
    ----------
    place : str
        The archive's path or URL.
    base : Path
        The programme's folder: pieces that are files are looked for there.
    loudness : float or None
        LUFS of every item.
    sound : Sound
    address : str or None
        Of the sound engine, for performers.
    pictures : bool
        Whether there is a screen.
    keeper : Keeper
        Writes the takes of live items.
    title : str
        The programme's.
    """

    place: str
    base: Path
    loudness: float | None
    sound: Sound
    address: str | None
    pictures: bool
    keeper: Keeper
    title: str


class Silence:
    """What stands for the sound engine where there is none."""

    def send(self, command: Command) -> None:
        """Nobody hears it."""

    def state(self) -> State | None:
        """There is none."""
        return None


class Turn(ABC):
    """An item that is ready to be shown, or is shown.

    Attributes
    ----------
    item : Item
    title : str
        What its label says, where the programme does not.
    duration : float or None
        Seconds, of a live piece the most that it may last; None where nobody knows.
    failed : str
        Why it cannot go on; empty while it can.
    over : bool
        Whether it has ended by itself.
    """

    def __init__(self, item: Item, title: str, duration: float | None, at: float) -> None:
        self.item, self.title, self.duration = item, title, duration
        self.failed, self.over = "", False
        #: When it began, by `time.monotonic`, and over how many seconds it came.
        self.began: float | None = None
        self.fade = 0.0
        self._place = (at, time.monotonic())

    @property
    def label(self) -> tuple[str, str]:
        """Title and text of its label."""
        return self.item.label.title or self.title, self.item.label.text

    @property
    def position(self) -> float:
        """Seconds into it: where its sound is, and by the clock while there is no sound."""
        at, since = self._place
        if self.began is None:
            return at
        now = time.monotonic()
        if (heard := self._heard(now)) is not None:
            at, since = self._place = (heard, now)
        found = at + now - since
        return max(found if self.duration is None else min(found, self.duration), 0.0)

    @property
    def left(self) -> float | None:
        """Seconds until it ends; None where nobody knows."""
        return None if self.duration is None else self.duration - self.position

    def weight(self, now: float) -> float:
        """How much of it is seen of all that is there, 0 to 1."""
        return 1.0 if self.began is None or not self.fade else min((now - self.began) / self.fade, 1.0)

    def begin(self, fade: float) -> None:
        """Show it, coming within `fade` seconds."""
        self.began, self.fade = time.monotonic(), fade
        self._place = (self._place[0], self.began)
        self._begin(fade)

    def warm(self) -> bool:
        """Called from some seconds before it begins on: whether all is ready to sound at once."""
        return True

    def tick(self) -> None:
        """Called about 20 times a second while it is shown or leaves."""

    @property
    @abstractmethod
    def take_id(self) -> str | None:
        """The take that is played, or recorded; None as long as there is none."""

    @abstractmethod
    def sound_again(self) -> None:
        """Sound again where it is now: panic has emptied its deck."""

    @abstractmethod
    def leave(self, fade: float) -> None:
        """Fall silent within `fade` seconds."""

    @abstractmethod
    def close(self) -> None:
        """Give back all that it holds."""

    @abstractmethod
    def draw(self, width: int, height: int) -> None:
        """Ask for a picture of now; returns at once."""

    @property
    @abstractmethod
    def picture(self) -> Pixels | None:
        """The newest picture, uint8 ``[height, width, 3]``."""

    @abstractmethod
    def _begin(self, fade: float) -> None: ...

    @abstractmethod
    def _heard(self, now: float) -> float | None:
        """Where its sound is; None where there is none."""


class TakeTurn(Turn):
    """A take: its mix on a deck, its pictures from what was recorded."""

    def __init__(self, house: House, item: Item, number: int, at: float, note: Callable[[str], None]) -> None:
        take, mix, found = _found(house, item, note)
        super().__init__(item, take.title or str(take.piece.get("title", take.piece_name)), found["duration_s"], at)
        self._sound, self._path, self._note, self._take_id = house.sound, mix, note, take.id
        self._gain = gain(house.loudness, found.get("loudness"), found.get("true_peak"), note, item.name)
        self._deck = f"exhibit {number % _DECKS}"
        self._projector = None
        if house.pictures:
            from studio.exhibition.projector import Projector

            self._projector = Projector(house.place, take.id)
            try:
                self._projector.wait()
            except DescantError:
                self._projector.close()
                raise

    @property
    def take_id(self) -> str | None:
        return self._take_id

    @property
    def picture(self) -> Pixels | None:
        return None if self._projector is None else self._projector.picture

    def _begin(self, fade: float) -> None:
        from sonify.engine.commands import LoadFile

        self._sound.send(LoadFile(self._deck, self._path, at=self.position, gain_db=self._gain, fade=fade))

    def sound_again(self) -> None:
        self._begin(_RETURNS)

    def _heard(self, now: float) -> float | None:
        state = self._sound.state()
        if state is None or self._deck not in state.decks:
            return None
        # What is told is where the next block begins, which is a little ahead.
        return max(state.decks[self._deck][0] + min(now - state.monotonic, 0.5), 0.0)

    def tick(self) -> None:
        if self._projector is not None and self._projector.failed:
            self._note(f"{self.item.name}: {self._projector.failed}; its sound goes on")
            self._projector = None

    def leave(self, fade: float) -> None:
        from sonify.engine.commands import Unload

        self._sound.send(Unload(self._deck, fade))

    def close(self) -> None:
        if self._projector is not None:
            self._projector.close()

    def draw(self, width: int, height: int) -> None:
        if self._projector is not None and min(width, height) >= SMALLEST:
            self._projector.draw((round(self.position, 2), width, height))


def gain(
    wanted: float | None,
    loudness: float | None,
    peak: float | None,
    note: Callable[[str], None] = lambda line: None,
    name: str = "",
) -> float:
    """dB that bring an item to the loudness of its programme, with no peak above `CEILING`.

    Parameters
    ----------
    wanted, loudness : float or None
        LUFS; where one is not known nothing is changed.
    peak : float or None
        True peak in dBTP.
    note : callable
        Told where the peak does not let it be as loud.
    name : str
    """
    if wanted is None or loudness is None or loudness <= -70:
        return 0.0
    change = wanted - loudness
    if peak is not None and change > 0 and peak + change > CEILING:
        held = max(CEILING - peak, 0.0)
        note(f"{name}: {change - held:.1f} dB softer than the programme's {wanted:g} LUFS: its peaks allow no more")
        return held
    return change


def _found(house: House, item: Item, note: Callable[[str], None]) -> tuple[TakeRecord, Path, Json]:
    """A take, its mix, and what was measured of it. A mix that is gone or damaged is made again.

    Raises
    ------
    DescantError
        If there is no such take, or it cannot be heard.
    """
    from db.archive import Archive
    from studio.jobs import Failed, Mix, Running

    assert item.take is not None
    with Archive.open(house.place, create=False) as archive:
        take = archive.take(item.take)
        if not _whole(archive, take.id):
            note(f"{item.name}: its sound is not there, or damaged: it is made again")
            made = Running(house.place, Mix(take.id)).wait(lambda progress: None)
            if isinstance(made, Failed):
                raise DescantError(made.reason)
            take = archive.take(take.id)
        mix = next(m.path for m in archive.media(take.id) if m.role == "mix")
        return take, mix, take.render or _measured(mix)


def _whole(archive: Archive, take_id: str) -> bool:
    """Whether a take's mix is there as it was written."""
    from db.media import file_hash

    mix = next((m for m in archive.media(take_id) if m.role == "mix"), None)
    return mix is not None and mix.path.is_file() and file_hash(mix.path) == mix.sha256


def _measured(mix: Path) -> Json:
    """What the file itself says."""
    import soundfile

    return {"duration_s": soundfile.info(mix).duration}
