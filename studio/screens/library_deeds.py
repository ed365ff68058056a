"""What a person does in the library: listening and comparing, labels, triage, export, trim, deriving a piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.widgets import DataTable, Input

from studio.audition import Audition, B
from studio.jobs import Failed, Mix, Running
from studio.keymap import Keymap
from studio.screens.aside import Aside
from studio.screens.library_parts import Line, Notes
from studio.takes import Takes
from studio.widgets.soundview import SoundView
from studio.widgets.waveform import Waveform

if TYPE_CHECKING:
    from db.records import TakeRow
    from studio.jobs import Done
    from studio.takes import Card


class Deeds(Aside[str | None]):
    """The actions of the library; what they are done to is in `studio.screens.library.Library`."""

    def __init__(self, takes: Takes, audition: Audition | None, folder: str, keymap: Keymap) -> None:
        super().__init__(keymap)
        self.takes, self.audition, self.folder = takes, audition, folder
        #: What is listed, by id, newest first.
        self.rows: dict[str, TakeRow] = {}
        #: The take that is looked at.
        self.card: Card | None = None
        #: A and B, if they are marked: the take and its sound.
        self.pair: dict[str, tuple[str, Path]] = {}
        self._leaving = self._making = False

    @property
    def table(self) -> DataTable[object]:
        """The list of takes."""
        raise NotImplementedError

    @property
    def current(self) -> str | None:
        """The take that is meant by every action."""
        raise NotImplementedError

    def do(self, work: Callable[[], object], then: str = "") -> None:
        """Change the take that is looked at."""
        raise NotImplementedError

    async def look(self, point: str | None = None) -> None:
        """Read the list again."""
        raise NotImplementedError

    def write(self, take_id: str) -> None:
        """Write a take's line in the list again."""
        raise NotImplementedError

    def show_deck(self) -> None:
        """Say what plays."""
        raise NotImplementedError

    # Listening

    def action_hear(self) -> None:
        """Play from the cursor, or the selection; or stop."""
        if self.audition is None:
            self.say("no sound engine here: nothing can be heard, everything else works")
        elif self.audition.playing:
            self.stop()
        elif self.card is not None and self.card.mix is not None:
            view = self.query_one(Waveform)
            at = view.selection[0] if view.selection else view.cursor if view.cursor < view.duration else 0.0
            self.audition.hear(self.card.mix, at, view.selection)
            self.show_deck()
        else:
            self.make_sound()

    def make_sound(self) -> None:
        """The sound of a take that was performed live is made when somebody wants to hear it."""
        if (card := self.card) is None or card.mix is not None or card.take.status != "done" or self._making:
            self.say("this take has no sound" if not self._making else "its sound is being made")
            return
        self.say("its sound is being made ...")

        async def make() -> None:
            self._making = True
            try:
                job = await asyncio.to_thread(Running, self.takes.place, Mix(card.take.id))
                found = await asyncio.to_thread(job.wait, lambda progress: None)
            finally:
                self._making = False
            if isinstance(found, Failed):
                self.say(found.reason)
            else:
                self.do(lambda: card.take.id, "its sound is made: Space plays it")

        self.run_worker(make(), group="make", exit_on_error=False)

    def stop(self) -> None:
        """Fall silent."""
        if self.audition is not None:
            self.audition.stop()
        for view in self.query(SoundView):
            view.playhead = None
        self.show_deck()

    def action_as_a(self) -> None:
        """Mark as A."""
        self._mark("A")

    def action_as_b(self) -> None:
        """Mark as B."""
        self._mark("B")

    def _mark(self, letter: str) -> None:
        card = self.card
        if card is None or card.mix is None:
            self.say("this take has no sound yet")
            return
        before = self.pair.get(letter)
        self.pair[letter] = (card.take.id, card.mix)
        for take_id in {card.take.id, *([before[0]] if before else [])} & self.rows.keys():
            self.write(take_id)
        if len(self.pair) == 2 and self.audition is not None:
            view = self.query_one(Waveform)
            at = self.audition.position() if self.audition.playing else None
            self.audition.compare(self.pair["A"][1], self.pair["B"][1], view.cursor if at is None else at)
        self.show_deck()

    def action_other(self) -> None:
        """Hear the other one, and look at it."""
        if self.audition is None or len(self.pair) < 2:
            self.say("mark one take with A and another one with B first")
            return
        if not self.audition.comparing:
            view = self.query_one(Waveform)
            self.audition.compare(self.pair["A"][1], self.pair["B"][1], view.cursor)
        letter = "B" if self.audition.switch() == B else "A"
        take_id = self.pair[letter][0]
        if take_id in self.rows:
            self.table.move_cursor(row=list(self.rows).index(take_id))
        self.show_deck()

    # Labels

    def _stars(self, number: int) -> None:
        if (take_id := self.current) is not None and self.card is not None:
            rating = 0 if number == self.card.take.rating and self.card.take.id == take_id else number
            self.do(lambda: self.takes.rate(take_id, rating), f"{rating} stars" if rating else "no stars")

    def action_stars_1(self) -> None:
        """One star."""
        self._stars(1)

    def action_stars_2(self) -> None:
        """Two stars."""
        self._stars(2)

    def action_stars_3(self) -> None:
        """Three stars."""
        self._stars(3)

    def action_stars_4(self) -> None:
        """Four stars."""
        self._stars(4)

    def action_stars_5(self) -> None:
        """Five stars."""
        self._stars(5)

    def action_rename(self) -> None:
        """Give it a title."""
        self._prompt(
            "Title of the take; none if it is empty:",
            lambda card: card.take.title,
            lambda take_id, text: self.takes.rename(take_id, text),
        )

    def action_tag(self) -> None:
        """Write its tags."""
        self._prompt(
            "Tags of the take, with a space between them:",
            lambda card: " ".join(card.take.tags),
            lambda take_id, text: self.takes.tag(take_id, text.replace("#", " ").replace(",", " ").split()),
        )

    def _prompt(self, question: str, now: Callable[[Card], str], put: Callable[[str, str], object]) -> None:
        card = self.card
        if card is None:
            self.say("there is no take here")
            return
        before, take_id = now(card), card.take.id

        def answered(text: str | None) -> None:
            if text is not None and text != before:
                self.do(lambda: put(take_id, text))

        self.app.push_screen(Line(question, before), answered)

    def action_note(self) -> None:
        """Write notes."""
        card = self.card
        if card is None:
            self.say("there is no take here")
            return

        def answered(text: str | None) -> None:
            if text is not None and text != card.take.notes:
                self.do(lambda: self.takes.note(card.take.id, text))

        self.app.push_screen(Notes(card.take.title or card.take.piece_name, card.take.notes), answered)

    # Triage

    def action_keep_take(self) -> None:
        """Keep it, or let it be scratch again."""
        if (take_id := self.current) is not None:
            self.do(lambda: self.takes.keep(take_id))

    def action_discard_take(self) -> None:
        """Out of sight, until the library is closed."""
        take_id = self.current
        if take_id is None:
            return
        ids = list(self.rows)
        at = ids.index(take_id)
        after = next(iter(ids[at + 1 :] or ids[:at][-1:]), None)

        async def discard() -> None:
            if await self.ask(lambda: self.takes.discard(take_id)) is not None:
                await self.look(after)
                sign = self.keymap.sign("undiscard") or "Undo discard"
                self.say(f"discarded; {sign} brings it back, until you leave the library")

        self.run_worker(discard(), group="change", exit_on_error=False)

    def action_undiscard(self) -> None:
        """Bring back what was discarded last."""
        take_id = self.takes.undiscard()
        if take_id is None:
            self.say("nothing was discarded")
            return
        self.say("it is back")
        self.run_worker(self.look(take_id), group="change", exit_on_error=False)

    # Files, new takes, pieces

    def action_export(self) -> None:
        """Write its files."""
        from studio.screens.library_dialogs import ExportDialog

        if (card := self.card) is not None:
            name = card.take.title or card.take.piece_name
            self.app.push_screen(ExportDialog(self.takes.place, card.take.id, name, self.folder))

    def action_trim(self) -> None:
        """A stretch of it, as a take or as a file."""
        from studio.screens.library_dialogs import TrimDialog

        card, view = self.card, self.query_one(Waveform)
        if card is None or card.mix is None:
            self.say("this take has no sound yet")
            return
        stretch = view.selection or (0.0, min(card.take.duration_s, view.duration or card.take.duration_s))
        name = card.take.title or card.take.piece_name

        def made(done: Done | None) -> None:
            if done is not None and done.take_id:
                self.say("a take of its own; its parent is as it was")
                self.run_worker(self.look(done.take_id), group="change", exit_on_error=False)

        self.app.push_screen(TrimDialog(self.takes.place, card.take.id, name, stretch, self.folder), made)

    def action_derive(self) -> None:
        """Compose with its piece, its controls as they ended."""
        if (take_id := self.current) is not None:
            self.run_worker(self._close(f"take:{take_id}"), group="change", exit_on_error=False)

    async def action_leave(self) -> None:
        """From the search to the list; from a search to all takes; from the library to composing."""
        field = self.query_one("#search", Input)
        if field.has_focus:
            self.table.focus()
        elif field.value:
            field.value = ""
        else:
            await self._close(None)

    async def _close(self, result: str | None) -> None:
        if self._leaving:
            return
        self._leaving = True
        if self.audition is not None:
            self.audition.stop()
        for line in await asyncio.to_thread(self.takes.close):
            self.app.notify(line, severity="warning", markup=False)
        self.dismiss(result)
