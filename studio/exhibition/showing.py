"""The playing of a programme, without a screen: which item, where in it, what comes next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pieces.errors import DescantError
from studio.exhibition.journal import Journal, Places
from studio.exhibition.programme import Programme
from studio.exhibition.turns import House, TakeTurn, Turn

if TYPE_CHECKING:
    from db.work import Outcome, ShowingRecord
    from studio.pictures.canvas import Pixels

#: Seconds between two looks at what is shown, and between two savings of the place.
LOOK, SAVE = 0.05, 1.0
#: Seconds before its time from which on an item is made ready to sound.
WARM = 15.0
#: Seconds in which the first item comes; and after which it is tried again where no item can be shown.
_FIRST, AGAIN = 0.5, 30.0
#: Seconds between two removals of what is scratch and old.
PRUNES = 24 * 3600.0
#: dB of everything while there is panic.
_UNHEARD = -140.0
#: Seconds in which a label comes, and in which it fades away.
_COMES, _GOES = 0.6, 1.5


class Place(NamedTuple):
    """Where a programme begins: item, seconds into it, and what is said about it."""

    item: int = 0
    seconds: float = 0.0
    line: str = ""


class Caption(NamedTuple):
    """What is written over the picture now, and how clearly, 0 to 1."""

    title: str
    text: str
    clear: float


def resumed(showings: Sequence[ShowingRecord], programme: Programme) -> Place:
    """Where a programme goes on.

    Parameters
    ----------
    showings : sequence of ShowingRecord
        The programme's, newest first.
    programme : Programme
        It may have changed since.
    """
    last = next((s for s in showings if s.outcome != "skipped"), None)
    if last is None:
        return Place()
    names = [item.name for item in programme.items]
    same = [i for i, name in enumerate(names) if name == last.label]
    if not same:
        return Place(line=f"{last.label} is not in the programme any more: it begins at its first item")
    item = min(same, key=lambda i: abs(i - last.item))
    if last.outcome in ("done", "failed"):
        missing = {s.label for s in showings if s.outcome == "skipped" and s.id > last.id}
        after = next((i for i in range(item + 1, len(names)) if names[i] not in missing), 0)
        return Place(after, 0.0, f"it goes on with item {after + 1}, {names[after]}" if after else "")
    return Place(item, last.position, f"it goes on with item {item + 1}, {names[item]}, at {clock(last.position)}")


def clock(seconds: float) -> str:
    """``2:05``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class _Coming:
    """The next item, which a thread makes ready."""

    def __init__(self, item: int, make: Callable[[], Turn]) -> None:
        self.item, self.reason = item, ""
        self.turn: Turn | None = None
        self._lock, self._unwanted = threading.Lock(), False
        self._ready = threading.Event()
        threading.Thread(target=self._run, args=(make,), name="next item", daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether it is there, or it is known why it will not be."""
        return self._ready.is_set()

    def drop(self) -> None:
        """It is not wanted any more."""
        with self._lock:
            self._unwanted = True
            if self.turn is not None:
                self.turn.close()

    def _run(self, make: Callable[[], Turn]) -> None:
        try:
            turn = make()
            with self._lock:
                self.turn = turn
                if self._unwanted:
                    turn.close()
        except DescantError as error:
            self.reason = str(error)
        except Exception as error:
            self.reason = f"{type(error).__name__}: {error}"
        self._ready.set()


class Exhibition:
    """Plays a programme: `run` in a thread of its own, everything else from any thread.

    Parameters
    ----------
    programme : Programme
    house : House
    places : Places
    journal : Journal
    start : Place

    Attributes
    ----------
    failure : str
        Why nothing could be shown at all; empty where something was.
    over : Event
        Set when it has ended.
    silent : bool
        Whether there was panic, and nobody has brought the sound back.
    """

    def __init__(self, programme: Programme, house: House, places: Places, journal: Journal, start: Place) -> None:
        self.programme, self.failure, self.over = programme, "", threading.Event()
        self.silent = False
        self._house, self._places, self._journal = house, places, journal
        self._start = start
        self._stop = threading.Event()
        self._now: Turn | None = None
        self._item = start.item
        self._leaving: list[tuple[Turn, float]] = []
        self._coming: _Coming | None = None
        self._count = 0
        self._shown, self._missed = False, 0
        self._said: dict[int, str] = {}
        self._again: float | None = None
        self._saved, self._prunes_at = 0.0, 0.0

    # For the screen

    @property
    def item(self) -> int:
        """The item that is shown, from 0."""
        return self._item

    @property
    def position(self) -> float | None:
        """Seconds into it; None while nothing is shown."""
        now = self._now
        return None if now is None else now.position

    @property
    def caption(self) -> Caption | None:
        """The label, while it is to be seen."""
        turn = self._now
        if turn is None or turn.began is None or not turn.item.label.seconds:
            return None
        gone = time.monotonic() - turn.began
        clear = min(gone / _COMES, (turn.item.label.seconds + _GOES - gone) / _GOES, 1.0)
        return Caption(*turn.label, clear) if clear > 0 else None

    def draw(self, width: int, height: int) -> Pixels | None:
        """The newest picture, and ask for another one of this size; None where there is nothing to be seen."""
        now = time.monotonic()
        turns = [turn for turn, _ in self._leaving] + ([self._now] if self._now else [])
        seen: Pixels | None = None
        for turn in turns:
            turn.draw(width, height)
            picture = turn.picture
            if picture is None or picture.shape[:2] != (height, width):
                continue
            weight = turn.weight(now)
            if seen is None and weight < 1 and not self._leaving:
                seen = np.zeros_like(picture)
            seen = picture if seen is None or weight >= 1 else _mixed(seen, picture, weight)
        return seen

    def panic(self) -> None:
        """Silence at once, until `sound_again`; the show goes on, unheard."""
        from sonify.engine.commands import MasterGain, Panic

        for command in (Panic(), MasterGain(_UNHEARD)):
            self._house.sound.send(command)
        if not self.silent:
            self._journal.say("panic: silent until somebody brings the sound back; the show goes on")
        self.silent = True

    def sound_again(self) -> None:
        """Sound again after panic, where the show is now."""
        from sonify.engine.commands import MasterGain

        if not self.silent:
            return
        self.silent = False
        if (turn := self._now) is not None:
            turn.sound_again()
        self._house.sound.send(MasterGain(0.0))
        self._journal.say("the sound is back")

    def fault(self, error: Exception) -> None:
        """Log what should not have happened, once."""
        line = f"a fault of Descant's own: {type(error).__name__}: {error}"
        if line not in self._journal.lines:
            self._journal.say(line)

    def stop(self) -> None:
        """End it; the place is kept."""
        self._stop.set()

    # In its own thread

    def run(self) -> None:
        """Play until it is over or stopped."""
        try:
            self._play()
        finally:
            try:
                self._end()
            except Exception as error:
                self.fault(error)
            finally:
                self.over.set()

    def _play(self) -> None:
        if self._start.line:
            self._journal.say(self._start.line)
        self._prepare(self._start.item, self._start.seconds)
        while not self._stop.wait(LOOK):
            try:
                self._step()
            except Exception as error:  # whatever it was: the show goes on
                self.fault(error)
                if self._now is not None:
                    self._now.failed = self._now.failed or "it could not go on"

    def _prepare(self, item: int, at: float = 0.0) -> None:
        """Make an item ready while another one is shown."""
        self._count += 1
        count, given = self._count, self.programme.items[item]

        def make() -> Turn:
            if given.take is not None:
                return TakeTurn(self._house, given, count, at, self._journal.say)
            from studio.exhibition.live import Late, LiveTurn

            try:
                return LiveTurn(self._house, given, count, at, self._journal.say)
            except Late as late:
                self._journal.say(f"item {item + 1}, {given.name}: {late}: it begins anew")
                return LiveTurn(self._house, given, count, 0.0, self._journal.say)

        self._coming = _Coming(item, make)

    def _prepare_after(self, item: int) -> None:
        """Make the item after this one ready, if there is one."""
        self._coming = None
        after = item + 1
        if after < len(self.programme.items):
            self._prepare(after)
        elif self.programme.loop:
            self._prepare(0)

    def _step(self) -> None:
        now = time.monotonic()
        for turn, until in list(self._leaving):
            turn.tick()
            if now >= until:
                self._leaving.remove((turn, until))
                threading.Thread(target=turn.close, daemon=True).start()  # its processes take their time
        self._look_at_now(now)
        if self._again is not None and now >= self._again:
            self._again = None
            self._prepare(0)
        if self._coming is not None and self._coming.ready:
            self._look_at_coming(self._coming)
        if not (self._now or self._leaving or self._coming or self._again):
            self._journal.say("the programme is over")
            self._stop.set()

    def _look_at_now(self, now: float) -> None:
        turn = self._now
        if turn is None:
            return
        turn.tick()
        left = turn.left
        if turn.failed:
            self._journal.say(f"item {self._item + 1}, {turn.item.name}: {turn.failed}: on to the next")
            self._leave(0.05, "failed", turn.failed)
        elif turn.over or (left is not None and left <= 0):
            self._leave(0.05, "done")
        elif now - self._saved >= SAVE:
            self._saved = now
            self._places.at(turn.position)

    def _look_at_coming(self, coming: _Coming) -> None:
        if coming.turn is None:
            self._skip(coming)
            return
        turn, before = coming.turn, self._now
        fade = min([self.programme.crossfade, *(t.duration / 2 for t in (turn, before) if t and t.duration)])
        left = 0.0 if before is None else before.left
        warm = (left is None or left < fade + WARM) and turn.warm()
        if left is None or left > fade or (before is None and not warm):
            return
        if before is None:
            fade = min(fade, _FIRST)
        else:
            self._leave(fade, "done")
        self._begin(coming.item, turn, fade)

    def _begin(self, item: int, turn: Turn, fade: float) -> None:
        turn.begin(fade)
        self._item, self._now, self._saved = item, turn, time.monotonic()
        self._shown, self._missed = True, 0
        if time.monotonic() > self._prunes_at:
            self._prunes_at = time.monotonic() + PRUNES
            self._house.keeper.prune()  # what is recorded of live items would fill any disk
        self._said.pop(item, None)
        self._places.begin(item, turn.item.name, turn.position, lambda: turn.take_id)
        at = f", from {clock(turn.position)}" if turn.position >= 1 else ""
        self._journal.say(f"item {item + 1}, {turn.item.name}: {turn.label[0]}{at}")
        self._prepare_after(item)

    def _leave(self, fade: float, outcome: Outcome, reason: str = "") -> None:
        turn = self._now
        assert turn is not None
        self._now = None
        self._places.end(turn.position, outcome, reason)
        turn.leave(fade)
        self._leaving.append((turn, time.monotonic() + fade + 0.2))

    def _skip(self, coming: _Coming) -> None:
        """An item cannot be shown: said once, until it can be shown again."""
        name = self.programme.items[coming.item].name
        if self._said.get(coming.item) != coming.reason:
            self._said[coming.item] = coming.reason
            self._journal.say(f"item {coming.item + 1}, {name}: skipped: {coming.reason}")
            self._places.skipped(coming.item, name, coming.reason)
        self._missed += 1
        if self._missed < len(self.programme.items):
            self._prepare_after(coming.item)
            return
        self._coming = None
        if not self._shown:
            self.failure = f"none of its {len(self.programme.items)} items can be shown: {coming.reason}"
            self._stop.set()
        elif self.programme.loop:
            self._missed, self._again = 0, time.monotonic() + AGAIN

    def _end(self) -> None:
        if self._coming is not None:
            self._coming.drop()
        if self._now is not None:
            where = f"item {self._item + 1}, {self._now.item.name}, at {clock(self._now.position)}"
            self._journal.say(f"stopped in {where}: the next start goes on there")
            self._leave(0.2, "stopped")
            time.sleep(0.25)
        for turn, _ in self._leaving:
            try:
                turn.close()
            except Exception as error:  # the others are closed all the same
                self.fault(error)


def _mixed(under: Pixels, over: Pixels, weight: float) -> Pixels:
    """Two pictures, the upper one as clear as its weight."""
    share = round(weight * 256)
    mixed: Pixels = ((under.astype(np.uint16) * (256 - share) + over.astype(np.uint16) * share) >> 8).astype(np.uint8)
    return mixed
