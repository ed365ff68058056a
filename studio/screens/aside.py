"""A screen over the archive: what may block is done beside the event loop, and what is said stands in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar, cast

from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from pieces.errors import DescantError
from studio.keymap import ACTIONS, Keymap
from studio.widgets.plain import plain

Got = TypeVar("Got")
Result = TypeVar("Result")


class Aside(Screen[Result]):
    """What the library and the visits have in common; they have a ``#notice`` and, at the bottom, ``#keys``.

    Parameters
    ----------
    keymap : Keymap
    """

    #: Where its actions stand in the table of actions.
    PLACE: ClassVar[str] = ""

    def __init__(self, keymap: Keymap) -> None:
        super().__init__()
        self.keymap = keymap

    async def ask(self, work: Callable[[], Got]) -> Got | None:
        """Do something with the archive in a thread; None, and a notice, where it could not be done."""
        try:
            return await asyncio.to_thread(work)
        except DescantError as error:
            self.say(str(error))
            return None

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]], group: str, exclusive: bool = False) -> None:
        """Do something beside the event loop; an exclusive one ends what its group was doing."""
        self.run_worker(cast("Any", work), group=group, exclusive=exclusive, exit_on_error=False)

    @property
    def settled(self) -> bool:
        """Nothing is being read or computed."""
        return all(worker.is_finished for worker in self.app.workers)

    def say(self, line: str) -> None:
        """A notice."""
        if self.is_mounted:
            notice = self.query_one("#notice", Static)
            notice.update(" ".join(plain(line).split()))
            notice.add_class("-new")

    def show_keys(self) -> None:
        """The line at the bottom: keys of what has the focus, then of the screen, as many as there is room for."""
        places = [getattr(n, "PLACE", "") for n in (*(self.focused.ancestors_with_self if self.focused else ()), self)]
        wanted = [place for place in dict.fromkeys(places) if place]
        parts, room = [], self.size.width - 2
        for action in (a for place in wanted for a in ACTIONS if a.where == place and a.shown):
            sign = self.keymap.sign(action.id)
            room -= len(sign) + len(action.label) + 3
            if sign and room >= -2:
                shown = sign.replace("[", chr(92) + "[")
                parts.append(f"[@click=screen.{action.id}()][b $text]{shown}[/] {action.label}[/]")
        self.query_one("#keys", Static).update(Content.from_markup("  ".join(parts)))

    def on_descendant_focus(self) -> None:
        """Other keys."""
        self.show_keys()
