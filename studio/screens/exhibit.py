"""An exhibition's screen: the picture, a label that fades away, and nothing else. Nobody leaves it by accident."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType

from studio.console import fault_in
from studio.keymap import Keymap
from studio.widgets.placard import Placard, Writing

if TYPE_CHECKING:
    from studio.exhibition.showing import Exhibition

#: Pictures a second.
FPS = 20
#: How it is left: one of these keys so many times within so many seconds, or a word.
KEYS, TIMES, WITHIN, WORD = ("q", "ctrl+c", "ctrl+q"), 3, 2.0, "exit"
#: Brings the sound back after panic; panic itself never does, however often its key is pressed.
SOUND = "space"
#: Seconds that the hint is shown after a key.
HINT_S = 4.0


class Guard:
    """Tells a wish to leave from a key that was pressed by accident.

    Parameters
    ----------
    now : callable
        Seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._pressed: deque[float] = deque(maxlen=TIMES)
        self._typed = ""

    def leaves(self, key: str, character: str | None) -> bool:
        """Whether this key is the last of those that leave."""
        if key in KEYS:
            self._pressed.append(self._now())
            if len(self._pressed) == TIMES and self._pressed[-1] - self._pressed[0] <= WITHIN:
                return True
        else:
            self._pressed.clear()
        self._typed = (self._typed + (character or " "))[-len(WORD) :]
        return self._typed == WORD


class Exhibit(App[None]):
    """An exhibition in this terminal.

    Parameters
    ----------
    exhibition : Exhibition
        It runs while this is shown.
    configuration : Path
        Folder where a fault is written.
    keymap : Keymap
        For the key of panic.
    """

    TITLE = "Descant"
    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: #000000; } Placard { background: #000000; }"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, exhibition: Exhibition, configuration: Path, keymap: Keymap | None = None) -> None:
        super().__init__()
        # Children are spawned while Textual holds stderr: the helper of all spawning must be there before.
        resource_tracker.ensure_running()
        self.exhibition, self._configuration = exhibition, configuration
        #: What ended this, if it was a fault.
        self.fault = ""
        keys = keymap or Keymap({})
        self._panic = set(keys.keys("panic"))
        self._signs = " or ".join(keys.signs("panic"))
        self._guard = Guard()
        self._alive: int | None = None
        self._hinted: float | None = None
        self._thread = Thread(target=exhibition.run, name="exhibition", daemon=True)

    def run_until(self, alive: int) -> None:
        """Run; it ends too when the file descriptor does, since that is when nobody watches over the terminal."""
        self._alive = alive
        self.run(mouse=False)

    def compose(self) -> ComposeResult:
        yield Placard()

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        if self._alive is not None:
            loop.add_reader(self._alive, self.leave)
        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                loop.add_signal_handler(number, self.leave)
            except (NotImplementedError, RuntimeError, ValueError):
                break  # no signals here: not the main thread
        self._thread.start()
        self.set_interval(1 / FPS, self.turn)

    def turn(self) -> None:
        """Show what there is now. A fault of the screen is no reason to end what is heard."""
        if self.exhibition.over.is_set():
            self.exit()
            return
        try:
            self._show()
        except Exception as error:
            self.exhibition.fault(error)

    def _show(self) -> None:
        placard = self.query_one(Placard)
        width, height = placard.wanted
        if not width or not height:
            return
        caption = self.exhibition.caption
        hinted = self._hinted is not None and time.monotonic() - self._hinted < HINT_S
        hint = self.hint if hinted else ""
        placard.write(Writing(*caption, hint) if caption else Writing(hint=hint))
        picture = self.exhibition.draw(width, height)
        placard.show(np.zeros((height, width, 3), dtype=np.uint8) if picture is None else picture)

    @property
    def hint(self) -> str:
        """What the keys do now."""
        sound = "Space: sound" if self.exhibition.silent else f"{self._signs}: silence"
        return f"{sound} · to leave hold q, press it three times quickly, or type {WORD}"

    async def on_event(self, event: events.Event) -> None:
        """Keys come here before any binding, and go no further: there is nothing else to be done with them."""
        if isinstance(event, events.Key):
            event.stop()
            event.prevent_default()
            self._key(event)
            return
        await super().on_event(event)

    def _key(self, event: events.Key) -> None:
        if event.key in self._panic:
            self.exhibition.panic()
        elif event.key == SOUND:
            self.exhibition.sound_again()
        if self._guard.leaves(event.key, event.character):
            self.leave()
        self._hinted = time.monotonic()

    def leave(self) -> None:
        """End the exhibition, and then this."""
        if self._alive is not None:
            asyncio.get_running_loop().remove_reader(self._alive)
        self.exhibition.stop()

    def _handle_exception(self, error: Exception) -> None:
        """A fault ends the exhibition in order, with one line (``DESCANT_DEBUG=1``: with all of it)."""
        if self.is_headless or os.environ.get("DESCANT_DEBUG"):
            super()._handle_exception(error)
            return
        self.fault = fault_in(self._configuration, error)
        self.exit(return_code=1)
