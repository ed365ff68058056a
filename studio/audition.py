"""Listening to takes: one, or two at the same place of which one is heard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sonify.engine.commands import Command
    from sonify.engine.ring import State

#: Decks of the sound engine, beside those that compose.
A, B = "take a", "take b"
#: dB of the deck that is not heard, and seconds of every change.
SILENT, FADE = -100.0, 0.03


class Sound(Protocol):
    """What of the sound engine is needed (`sonify.engine.client.Engine`)."""

    def send(self, command: Command) -> None:
        """Tell it something."""
        ...

    def state(self) -> State | None:
        """What it does; None where it is not there just now."""
        ...


class Audition:
    """Plays the sound of takes.

    Two that are compared run side by side from the same place, one of them silent, so that to hear the other is a
    change of two gains and no jump.

    Parameters
    ----------
    sound : Sound
    hush : callable, optional
        Called before anything is heard: whatever else sounds is to fall silent.
    """

    def __init__(self, sound: Sound, hush: Callable[[], None] = lambda: None) -> None:
        self._sound, self._hush = sound, hush
        self._loaded: dict[str, Path] = {}
        self.heard = A
        #: Whether what plays is repeated.
        self.loops = False

    @property
    def playing(self) -> bool:
        """Whether anything was loaded and not stopped."""
        return bool(self._loaded)

    @property
    def comparing(self) -> bool:
        """Whether there are two."""
        return len(self._loaded) == 2

    def hear(self, path: Path, at: float, loop: tuple[float, float] | None = None) -> None:
        """Play one take from `at` seconds, or over and over from and up to `loop` seconds."""
        from sonify.engine.commands import DeckGain, LoadFile, Unload

        self._hush()
        if B in self._loaded:
            self._sound.send(Unload(B, FADE))
        self._loaded, self.heard, self.loops = {A: path}, A, loop is not None
        self._sound.send(DeckGain(A, 0.0))
        self._sound.send(LoadFile(A, path, at=at, loop=loop, fade=FADE))

    def compare(self, a: Path, b: Path, at: float, loop: tuple[float, float] | None = None) -> None:
        """Play two from the same place; the first is heard."""
        from sonify.engine.commands import DeckGain, Hold, LoadFile

        self._hush()
        self._loaded, self.heard, self.loops = {A: a, B: b}, A, loop is not None
        for deck, path, gain in ((A, a, 0.0), (B, b, SILENT)):
            self._sound.send(DeckGain(deck, gain))
            self._sound.send(LoadFile(deck, path, at=at, loop=loop, fade=FADE, paused=True))
        for deck in (A, B):
            self._sound.send(Hold(deck, on=False))

    def switch(self) -> str:
        """Hear the other of two; returns which deck it is."""
        from sonify.engine.commands import DeckGain

        if self.comparing:
            self.heard = B if self.heard == A else A
            for deck in (A, B):
                self._sound.send(DeckGain(deck, 0.0 if deck == self.heard else SILENT))
        return self.heard

    def seek(self, seconds: float) -> None:
        """Go to a place, in both."""
        from sonify.engine.commands import Seek

        for deck in self._loaded:
            self._sound.send(Seek(deck, seconds))

    def stop(self) -> None:
        """Fall silent."""
        from sonify.engine.commands import Unload

        for deck in self._loaded:
            self._sound.send(Unload(deck, FADE))
        self._loaded = {}

    def position(self) -> float | None:
        """Seconds into the file that is heard; None where nothing plays, or it is over."""
        state = self._sound.state() if self._loaded else None
        found = state.decks.get(self.heard) if state is not None else None
        return None if found is None else found[0]
