"""What a coder does with a visit: notes, unblinding, playing it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from studio.keymap import Keymap
from studio.retelling import Reteller
from studio.review import Review, Seen, Step
from studio.screens.aside import Aside
from studio.screens.dialogs import Ask, Prompt
from studio.screens.review_parts import NoteDialog, Written


class Deeds(Aside[None]):
    """The actions on a visit; what they are done to is in `studio.screens.review.Reviewing`."""

    def __init__(self, author: str, keymap: Keymap) -> None:
        super().__init__(keymap)
        self.author = author
        #: The visit that is read, and the place of its turn.
        self.seen: Seen | None = None
        self.at = 0

    @property
    def step(self) -> Step | None:
        """The turn that is read."""
        return self.seen.steps[self.at] if self.seen is not None and self.seen.steps else None

    @property
    def review(self) -> Review:
        """The archive as this coder may see it; for a thread."""
        raise NotImplementedError

    def reteller(self) -> Reteller:
        """The worker; for a thread, since its process is begun."""
        raise NotImplementedError

    async def retold(self, work: Callable[[Reteller], Future[Any]]) -> Any:
        """What the worker makes; a line where it is gone, or cannot begin."""
        try:
            return await asyncio.wrap_future(work(await asyncio.to_thread(self.reteller)))
        except Exception as error:  # the process died: the next turn finds no worker either, and says so
            return f"{type(error).__name__}: leave, and open the visits again"

    async def look(self) -> None:
        """Read the list again."""
        raise NotImplementedError

    async def open(self, visit: str, at: int = 0) -> None:
        """Read a visit again."""
        raise NotImplementedError

    def action_fact(self) -> None:
        """What happened."""
        self._write("fact")

    def action_meaning(self) -> None:
        """What it means."""
        self._write("interpretation")

    def action_tag_turn(self) -> None:
        """A tag."""
        self._write("fact")

    def _write(self, kind: str) -> None:
        seen, number = self.seen, None if self.step is None else self.step.number
        if seen is None:
            self.say("there is no visit here")
            return

        def written(what: Written | None) -> None:
            if what is not None:
                self.author = what.author
                self.begin(partial(self._keep, seen.listed.id, number, what), "change")

        self.app.push_screen(NoteDialog(self.author, kind, number), written)

    async def _keep(self, visit: str, number: int | None, what: Written) -> None:
        where = None if what.whole else number
        kept = await self.ask(lambda: self.review.note(visit, what.kind, what.tag, what.text, where))  # type: ignore[arg-type]
        if kept is not None:
            self.say(f"kept: {what.kind} #{what.tag} by {what.author}")
            await self.look()
            await self.open(visit, self.at)

    def action_unblind(self) -> None:
        """See everything from now on, after asking who it is."""
        seen = self.seen
        study = None if seen is None else seen.listed.experiment
        if seen is None or study is None or not seen.listed.blind:
            self.say("nothing is hidden here")
            return

        def sure(name: str, answer: str | None) -> None:
            if answer == "u":
                self.author = name
                self.begin(partial(self._unblinded, study), "change")

        def named(name: str | None) -> None:
            if name:
                line = f"{name} will see audiences and conditions of this study. It is logged for good."
                self.app.push_screen(Ask(line, (("u", "Unblind"), ("n", "Stay blind"))), partial(sure, name))

        self.app.push_screen(Prompt("Who unblinds?", self.author), named)

    async def _unblinded(self, study: str) -> None:
        def unblinded() -> bool:
            self.review.unblind(study)
            return True

        if await self.ask(unblinded) and self.seen is not None:
            self.say(f"unblinded: {self.author}; it is logged")
            await self.look()
            await self.open(self.seen.listed.id, self.at)

    def action_retrace(self) -> None:
        """Play the visit again."""
        if (seen := self.seen) is None:
            self.say("there is no visit here")
            return
        self.say("it is played again ...")
        self.begin(partial(self._retrace, seen), "retrace", exclusive=True)

    async def _retrace(self, seen: Seen) -> None:
        found = await self.retold(lambda reteller: reteller.replay(seen.listed.id))
        name = seen.listed.id[-6:]
        if isinstance(found, str):
            self.say(f"{name}: it cannot be played again" + ("" if seen.listed.blind else f": {found}"))
        elif found[1]:
            self.say(f"{name}: of {found[0]} turns not the same: {', '.join(map(str, found[1]))}")
        else:
            self.say(f"{name}: {found[0]} turns are the same again")
