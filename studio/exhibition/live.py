"""A piece of a programme that is performed live: sources in a process of their own, pictures as their frames come."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from pieces.form import longest_form, shortened
from pieces.piece import Piece, find_piece
from pieces.sections import LONGEST
from pieces.source import split_source_path
from studio.exhibition.programme import Item
from studio.exhibition.recording import Recording
from studio.exhibition.turns import SMALLEST, House, Turn, gain
from studio.levels import GUESS, measured
from studio.messages import Ended, Made, Notice, Opened, Play, Position, Report, Stop, UseEngine

if TYPE_CHECKING:
    from studio.painter import Painter
    from studio.pictures.canvas import Pixels

#: Seconds after which a source that is not there yet is given up, and seconds that one may take to be where it was.
PATIENCE, CATCHES_UP = 180.0, 30.0
#: Seconds that are performed before it begins, and seconds in which it must have ended when it is stopped.
_BEFORE, _STOPS = 0.02, 3.0
#: Seconds after which it begins although the engine has not built what it plays.
_WARMS = 10.0
#: Linear gain at which a fade begins; beats and seconds that are none.
_FAINT, _NEAR = 1e-3, 1e-3


class Late(DescantError):
    """A live item needs too long to come to where it was."""


class LiveTurn(Turn):
    """A piece that is performed, and recorded as a scratch take.

    Where it is resumed, its source makes the ticks up to there as fast as it can, in silence: from there on it is what
    it would have been, and so is its take.

    Raises
    ------
    Late
        If it is not there, where it is resumed, after `CATCHES_UP` seconds.
    """

    def __init__(self, house: House, item: Item, number: int, at: float, note: Callable[[str], None]) -> None:
        from db.archive import Archive
        from studio.performer import Performer

        assert item.piece is not None
        # The first tick is made ahead of time: only then do sources load what they need.
        self._from = max(at, _BEFORE)
        name = _named(item.piece, house.base)
        piece, base = find_piece(name)
        if item.longest is not None:
            piece = shortened(piece, item.longest)
        super().__init__(item, piece.title, _length(piece), at)
        self._sound, self._address, self._note = house.sound, house.address, note
        self._deck = f"exhibit {number % 4}"
        self._gain = self._trim(house, item.piece, piece)
        self._tail = piece.master.tail
        self._longest = None if item.longest is None else max(item.longest - at, 0.0) + self._tail
        self._rates = {part: piece.rate(part) for part in piece.parts}
        self._lock = threading.Lock()
        self._known: Position | None = None
        self._known_at = 0.0
        self._opened, self._there, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._ended_at: float | None = None
        self._leaves = False
        self._warmed: float | None = None
        self._painter = self._open_painter(piece) if house.pictures else None
        words = f"Shown live in the exhibition {house.title!r}: {item.name}."
        self._recording = Recording(house.keeper, name, piece, base, item.seed or 0, words, self._say)
        self._performer = Performer(self._hear)
        try:
            self._performer.start()
            with Archive.open(house.place, create=False) as archive:
                self._recording.supply(archive)
            begin = self._recording.run.begin(None)
            self._performer.send(replace(begin, until_s=self._from, deck=self._deck, trim=0.0))
            self._wait()
        except BaseException:
            self.close()
            raise

    def _say(self, line: str) -> None:
        self._note(f"{self.item.name}: {line}")

    @property
    def take_id(self) -> str | None:
        return self._recording.take_id

    def _trim(self, house: House, name: str, piece: Piece) -> float:
        """dB that bring it to the programme's loudness; live its file knows how loud it will be, or a take of it."""
        from db.archive import Archive

        if piece.master.trim is not None:
            return piece.master.trim + gain(house.loudness, piece.master.loudness, None)
        with Archive.open(house.place, create=False) as archive:
            found = measured(archive, name, piece)
        if found is not None:
            change = gain(house.loudness, found["loudness"], found["true_peak"], self._note, self.item.name)
            return float(found["gain_db"]) + change
        self._note(f"{self.item.name}: nobody knows how loud it is live: descant compose {name}, once, tells it")
        return GUESS + gain(house.loudness, piece.master.loudness, None)

    def _open_painter(self, piece: Piece) -> Painter:
        from studio.painter import Canvas, Painter

        self._picture: Pixels | None = None
        painter = Painter(self._painted, lambda line: self._note(f"{self.item.name}: {line}"))
        films = {n: str(p.inputs["video"]) for n, p in piece.parts.items() if "video" in p.inputs}
        painter.open(Canvas(piece.picture.model_dump(mode="json"), self._rates, videos=films))
        return painter

    def _wait(self) -> None:
        """Wait until its sources are there, and have come to where it begins."""
        resumes = self._from > _BEFORE
        for event, patience in ((self._opened, PATIENCE), (self._there, CATCHES_UP if resumes else PATIENCE)):
            if not event.wait(patience):
                if resumes and event is self._there:
                    raise Late(f"it did not come to {self._from:.0f} s within {patience:.0f} s")
                raise DescantError(f"its sources were not there after {patience:.0f} s")
            if self.failed:
                raise DescantError(self.failed)

    @property
    def left(self) -> float | None:
        """Seconds until it ends: a source may be slower than time, but nobody waits for it longer than was said."""
        left = super().left
        if self._longest is None or self.began is None or left is None:
            return left
        return min(left, self._longest - (time.monotonic() - self.began))

    @property
    def picture(self) -> Pixels | None:
        return None if self._painter is None else self._picture

    def draw(self, width: int, height: int) -> None:
        from studio.painter import Wish

        place, painter = self._known, self._painter
        if painter is None or place is None or min(width, height) < SMALLEST:
            return
        made = self._recording.run.ticks
        passed = 0.0 if place.mode == "paused" else min(time.monotonic() - self._known_at, 1.0)
        ticks = {
            part: min(tick + passed * self._rates[part], max(made.get(part, 0) - 1, 0) + 0.999)
            for part, tick in place.ticks.items()
        }
        painter.draw(Wish(ticks, width, height, place.section, place.seconds + passed, place.begun))

    def tick(self) -> None:
        from sonify.engine.commands import DeckGain

        now = time.monotonic()
        if self._ended_at is not None and now - self._ended_at >= self._tail:
            self.over = True
        if self.began is not None and not self._leaves and now - self.began <= self.fade + 0.2:
            self._sound.send(DeckGain(self._deck, self._gain + _risen(self.weight(now))))

    def warm(self) -> bool:
        """Let the engine build what it plays, which may take seconds, unheard; whether that is done."""
        from sonify.engine.commands import DeckGain

        if self._warmed is None:
            self._warmed = time.monotonic()
            self._sound.send(DeckGain(self._deck, _risen(0.0)))
            self._performer.send(UseEngine(self._address))
        return self._is_loaded or self._address is None or time.monotonic() - self._warmed > _WARMS

    def sound_again(self) -> None:
        self._performer.send(UseEngine(self._address))

    @property
    def _is_loaded(self) -> bool:
        state = self._sound.state()
        return state is not None and self._deck in state.decks

    def leave(self, fade: float) -> None:
        from sonify.engine.commands import Unload

        self._leaves = True
        self._sound.send(Unload(self._deck, fade))

    def close(self) -> None:
        if self.began is not None and not self._ended.is_set():
            self._performer.send(Stop())
            if not self._ended.wait(_STOPS):
                self._recording.end(None)
        self._performer.close()
        painter, self._painter = self._painter, None
        if painter is not None:
            painter.close()

    def _begin(self, fade: float) -> None:
        from sonify.engine.commands import DeckGain

        self._sound.send(DeckGain(self._deck, self._gain + _risen(0.0 if fade > _NEAR else 1.0)))
        if not self._is_loaded:  # there was panic, or no time
            self._performer.send(UseEngine(self._address))
        self._performer.send(Play())
        self._recording.begin()

    def _heard(self, now: float) -> float | None:
        place = self._known
        if self._ended_at is not None:
            return None
        if place is None or place.mode == "paused":
            return self._place[0]
        return place.seconds + min(now - self._known_at, 1.0)

    def _painted(self, picture: Pixels) -> None:
        self._picture = picture

    def _hear(self, report: Report) -> None:
        """What the performer says, in its thread."""
        if isinstance(report, Opened):
            self._recording.channels = report.channels
            self._opened.set()
        elif isinstance(report, Made):
            self._recording.run.made(report)
            self._recording.hear(report.part, report.block)
            if (painter := self._painter) is not None:
                painter.add(report.part, report.block)
        elif isinstance(report, Position):
            self._known, self._known_at = report, time.monotonic()
            if report.mode == "paused" and report.seconds >= self._from - _NEAR:
                self._there.set()
        elif isinstance(report, Notice):
            self._say(report.text)
        elif isinstance(report, Ended):
            if report.status == "failed":
                self.failed = report.reason
            else:
                self._ended_at = time.monotonic()
                self.duration = self.position + self._tail  # what it may have lasted longer it does not
            self._recording.end(report)
            for event in (self._opened, self._there, self._ended):
                event.set()


def _risen(share: float) -> float:
    """dB of what comes along a quarter of a sine, as files on decks do."""
    return 20 * math.log10(max(math.sin(math.pi / 2 * share), _FAINT))


def _named(piece: str, base: Path) -> str:
    """A piece's name; one that is a file is beside the programme."""
    is_file = piece.endswith(".toml") or split_source_path(piece) is not None
    return str(base / piece) if is_file else piece


def _length(piece: Piece) -> float | None:
    """Seconds that it may last, with what rings after its last tick; None where that is for ever."""
    if any(part.ticks >= LONGEST for part in piece.parts.values()) and not piece.sections:
        return None
    return longest_form(piece).spans[-1].seconds[1] + piece.master.tail
