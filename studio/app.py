"""The studio as a Textual application: what all its screens share.

Nothing heavy is imported here: sources, sound and archive live in other processes and threads, and begin after the
first screen is there.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, ClassVar

from textual import events, work
from textual.app import App
from textual.command import Provider

from pieces.errors import DescantError
from studio.console import fault_in
from studio.keymap import ACTIONS, Action, read_keymap
from studio.messages import Notice
from studio.screens.compose import Compose
from studio.screens.model import Model
from studio.screens.notices import Word
from studio.settings import change_settings, read_settings
from studio.themes import THEMES, user_themes
from studio.widgets.keys import bindings, changes
from studio.widgets.knob import Knob
from studio.widgets.tones import theme_of

#: What is ready to be played when nothing has been chosen yet.
FIRST_PIECE = "knots"
#: Makes the session, given where its reports go.
Start = Callable[[Callable[[object], None]], Model]


def _palette() -> type[Provider]:
    from studio.screens.palette import Actions

    return Actions


class Studio(App[None]):
    """The studio.

    Parameters
    ----------
    start : callable
        Makes the session (`studio.screens.model.Model`); called in a thread, after the first screen.
    configuration : Path
        Folder of keymap, themes and settings.
    piece : str, optional
        What to open; default: the last one.
    perform : callable, optional
        Opens and plays a piece instead, in a thread: a performance, with a large picture and keys that are notes.
    """

    TITLE = "Descant"
    CSS = """
    * {
        scrollbar-color: $foreground 25%; scrollbar-color-hover: $primary; scrollbar-color-active: $accent;
        scrollbar-background: $surface; scrollbar-background-hover: $surface; scrollbar-background-active: $surface;
        scrollbar-size-vertical: 1; link-style: none; link-color: $text-muted; link-background: 0%;
        link-style-hover: bold; link-color-hover: $accent; link-background-hover: $panel;
    }
    """
    COMMANDS = {_palette}
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = ""
    BINDINGS: ClassVar[list[Any]] = bindings("everywhere")

    def __init__(
        self, start: Start, configuration: Path, piece: str = "", perform: Callable[[], None] | None = None
    ) -> None:
        super().__init__()
        # Children are spawned while Textual holds stderr, which has no descriptor then: the helper of all spawning
        # must be there before.
        resource_tracker.ensure_running()
        self._start, self._configuration, self.perform = start, configuration, perform
        self.model: Model | None = None
        #: Reports of the session, as they come from its threads; screens take them out.
        self.reports: deque[object] = deque()
        self.sound, self.underruns = "", 0
        self._watch: Callable[[Callable[[], None]], None] | None = None
        #: What ended the studio, if it was a fault.
        self.fault = ""
        settings, self._first_notice = read_settings(configuration)
        self._wanted = piece or settings.piece or FIRST_PIECE
        self.keymap, line = read_keymap(configuration / "keymap.toml")
        notices = [self._first_notice, line]
        self.set_keymap(changes(self.keymap))
        own, lines = user_themes(configuration / "themes")
        for look in (*THEMES.values(), *own):
            self.register_theme(theme_of(look))
        self._themes = [*THEMES, *(look.name for look in own)]
        self.theme = settings.theme if settings.theme in self._themes else self._themes[0]
        if settings.theme and settings.theme not in self._themes:
            lines.append(f"theme {settings.theme!r} is not there: {self.theme} is in use")
        self.reports.extend(Notice(text) for text in [*notices, *lines] if text)

    def run_beside(self, watch: Callable[[Callable[[], None]], None]) -> None:
        """Run; `watch` is called in the event loop, with what ends the studio."""
        self._watch = watch
        self.run()

    def on_mount(self) -> None:
        if self._watch is not None:
            self._watch(self.exit)
        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
            except (NotImplementedError, RuntimeError, ValueError):
                break  # no signals here: not the main thread
        self.push_screen(Compose())
        self.call_after_refresh(self.begin)

    @work(thread=True)
    def begin(self) -> None:
        """Start the session and fill the shelf, now that the screen is there."""
        from studio.screens.shelf import Shelf, items

        try:
            model = self._start(self.reports.append)
        except DescantError as error:
            self.reports.append(Notice(str(error)))
        else:
            self.model = model
            if self.perform is None:
                model.look_back()
                self._open(self._wanted)
            else:
                self.perform()
        for found in items():
            self.call_from_thread(self.screen_stack[1].query_one(Shelf).fill, found)

    def open(self, name: str) -> None:
        """Open a piece, after asking where something would be lost."""

        def work() -> None:  # the processes take their time, so a thread does it
            self.run_worker(lambda: self._open(name), thread=True, group="open", exclusive=True)

        self.without_loss(work, "Open")

    def without_loss(self, then: Callable[[], object], word: str) -> None:
        """Do what closes the session; where edits stand in no file, `word` does it, and only after asking."""
        from studio.screens.dialogs import Ask

        lost, key = self.model.unsaved if self.model is not None else "", word[0].lower()
        if not lost:
            then()
            return

        def answered(answer: str | None) -> None:
            if answer == "s" and self.composing is not None:
                self.composing.save_as(then)
            elif answer == key:
                then()

        self.push_screen(Ask(lost, (("s", "Save as"), (key, word), ("n", "Stay"))), answered)

    def _open(self, name: str) -> None:
        if self.model is None:
            return
        try:
            self.model.open(name)
        except DescantError as error:
            self.reports.append(Notice(str(error)))
            return
        if line := change_settings(self._configuration, piece=name):
            self.reports.append(Notice(line))

    @property
    def composing(self) -> Compose | None:
        """The compose screen, if it is there."""
        return next((s for s in self.screen_stack if isinstance(s, Compose)), None)

    def say(self, line: str, fault: bool = False) -> None:
        """A notice, on whatever screen; a fault is said before others, and stays longer."""
        self.reports.append(Notice(line) if fault else Word(line))

    async def on_event(self, event: events.Event) -> None:
        """Where keys are notes they come to the piano before any binding."""
        screen = self.screen if self.screen_stack else None
        if isinstance(event, events.Key) and isinstance(screen, Compose) and screen.playing.key(event):
            event.stop()
            event.prevent_default()
            return
        await super().on_event(event)

    # Actions of everywhere

    def do(self, action: str) -> None:
        """Do an action of the table where it can be done: at what has the focus, on the screen, or here."""
        node: Any = self.focused or self.screen
        while node is not None and not hasattr(node, f"action_{action}"):
            node = node.parent
        self.run_worker(self.run_action(action, node or self), group="do")

    def action_do(self, action: str) -> None:
        self.do(action)

    def places(self) -> list[str]:
        """Places of actions that what has the focus is in, the nearest first."""
        from studio.screens.voices import Head, Row, VoiceBox

        nodes = list(self.focused.ancestors_with_self) if self.focused else []
        kinds = ((Knob, "control"), (Row, "mapping"), (Head, "voice"), (VoiceBox, "voice"), (Compose, "compose"))
        found = [place for node in nodes for kind, place in kinds if isinstance(node, kind)]
        found += [place for node in [*nodes, self.screen] if (place := getattr(node, "PLACE", ""))]
        return [*dict.fromkeys(found), "everywhere"]

    def possible_actions(self) -> Iterable[Action]:
        """Actions that can be done now; the palette asks while it lies over the screen they are about."""
        under = next((s for s in reversed(self.screen_stack) if not s.is_modal), None)
        known = {*self.places(), getattr(under, "PLACE", "")}
        return [a for a in ACTIONS if a.where in known and a.id != "palette"]

    def shown_actions(self) -> list[Action]:
        """Actions for the line at the bottom."""
        here = [a for a in ACTIONS if a.where in self.places() and a.where not in ("compose", "everywhere")]
        return [*here, *(a for a in ACTIONS if a.shown and a.where in ("compose", "everywhere"))]

    def action_help(self) -> None:
        from studio.keymap import PLACES
        from studio.screens.about import told_about
        from studio.screens.help import Help

        title, about = told_about(self.focused)
        places = tuple((PLACES[place], place) for place in self.places())
        self.push_screen(Help(title, about, places, self.keymap))

    def tell(self, title: str, text: str) -> None:
        """A page of text over the screen."""
        from studio.screens.help import Reader

        self.push_screen(Reader(title, text))

    def action_said(self) -> None:
        if self.composing is not None:
            self.tell("what was said", self.composing.notices.page())

    def action_palette(self) -> None:
        self.action_command_palette()

    def action_jump(self) -> None:
        from studio.screens.jump import Jump

        self.push_screen(Jump(self.screen))

    def action_panic(self) -> None:
        if self.model is not None:
            try:
                self.model.panic()
            except DescantError as error:
                self.say(str(error), fault=True)
                return
        self.say("silence")

    def action_suspend(self) -> None:
        """Back to the shell, in silence: there no key ends what is heard."""
        if self.composing is not None and self.model is not None:
            self.composing.attempt(lambda m: m.panic())
        self.action_suspend_process()

    def action_theme(self) -> None:
        known = self._themes
        self.theme = known[(known.index(self.theme) + 1) % len(known)] if self.theme in known else known[0]
        line = change_settings(self._configuration, theme=self.theme)
        self.say(line or f"theme {self.theme}", fault=bool(line))

    def action_library(self) -> None:
        """Takes; what is chosen there is opened here."""
        from studio.screens.library import Library
        from studio.takes import Takes

        if self.model is None:
            self.say("one moment: the studio is still starting")
            return
        if any(isinstance(screen, Library) for screen in self.screen_stack):
            return
        library = Library(Takes(self.model.place), self.model.sound, self.keymap, hush=self.model.hush)
        self.push_screen(library, lambda name: self.open(name) if name else None)

    def action_visits(self) -> None:
        """Transcripts of visits, to be reviewed."""
        from studio.screens.review import Reviewing

        if self.model is None:
            self.say("one moment: the studio is still starting")
        elif not any(isinstance(screen, Reviewing) for screen in self.screen_stack):
            self.push_screen(Reviewing(self.model.place, self.model.sound, self.keymap, self.model.hush))

    async def action_quit(self) -> None:
        """Leave; ask only where something would be lost."""
        self.without_loss(self.exit, "Leave")

    # What must not happen

    def _handle_exception(self, error: Exception) -> None:
        """A fault ends the studio with one line; the whole goes to a file (``DESCANT_DEBUG=1``: to the screen)."""
        if self.is_headless or os.environ.get("DESCANT_DEBUG"):
            super()._handle_exception(error)
            return
        self.fault = fault_in(self._configuration, error)
        self.exit(return_code=1)
