"""The sound engine as the session has it: who is muted, how loud it is, and what has happened to it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from studio.keeper import Post
from studio.messages import Notice
from studio.reports import EngineState, Meters

if TYPE_CHECKING:
    from sonify.engine.client import Engine
    from sonify.engine.commands import Answer, Backend, Command
    from sonify.engine.ring import State

#: The deck that a live performance plays on.
DECK = "live"


class Sound:
    """The engine, if there is one; without it everything else works.

    Parameters
    ----------
    post : callable
        Told `Meters` and `EngineState`.
    backend : Backend or None
        See `studio.session.Session`.

    Attributes
    ----------
    muted, soloed : set of str
        Voices and groups.
    """

    def __init__(self, post: Post, backend: Backend | None) -> None:
        self._post, self._backend = post, backend
        self._engine: Engine | None = None
        #: How many things have happened to the engine, and the last of them.
        self._happened = (0, "")
        self._told = ("", False, 0, 0)
        self._off: frozenset[str] = frozenset()
        self.muted: set[str] = set()
        self.soloed: set[str] = set()

    def start(self) -> None:
        """Start the engine."""
        if self._backend is None:
            return
        from sonify.engine.client import Engine

        try:
            self._engine = Engine(self._answered, self._backend)
        except (DescantError, OSError) as error:
            self._post(Notice(f"no sound: {error}; everything else works"))

    @property
    def address(self) -> str | None:
        """What a performer connects with; valid however often the engine dies."""
        return None if self._engine is None else self._engine.address

    def _answered(self, answer: Answer) -> None:
        """What the engine says, in another thread."""
        from sonify.engine import commands as c

        if isinstance(answer, c.Refused):
            self._post(Notice(answer.reason))
        elif isinstance(answer, c.Lost | c.Died):
            self._happened = self._happened[0] + 1, answer.reason
        elif isinstance(answer, c.Back):
            self._happened = self._happened[0] + 1, f"sound comes out of {answer.backend}"

    def send(self, command: Command) -> None:
        """Tell the engine something (`sonify.engine.commands`); nobody hears it where there is none."""
        if self._engine is not None:
            self._engine.send(command)

    def state(self) -> State | None:
        """What the engine does; None where it is not there just now."""
        return None if self._engine is None else self._engine.state()

    def strip(self, voice: str, mute: bool | None, solo: bool | None, voices: Collection[str]) -> None:
        """Mute or solo one of all voices; None leaves that as it is."""
        for wanted, those in ((mute, self.muted), (solo, self.soloed)):
            if wanted is not None:
                (those.add if wanted else those.discard)(voice)
        self.tell_strips(voices)

    def tell_strips(self, voices: Collection[str]) -> None:
        """Tell the engine which of these voices are heard, as far as that has changed."""
        from sonify.engine.commands import Strip

        off = frozenset(v for v in voices if v in self.muted or (self.soloed & set(voices) and v not in self.soloed))
        for voice in sorted(off ^ self._off):
            self.send(Strip(DECK, voice, on=voice not in off))
        self._off = off

    def panic(self) -> None:
        """Silence, at once."""
        from sonify.engine.commands import Panic

        self.send(Panic())

    def hush(self) -> None:
        """Empty the live deck, what rings on it included."""
        from sonify.engine.commands import Unload

        self.send(Unload(DECK))

    def look(self) -> None:
        """Report how loud it is, and where sound goes if that has changed; a few times a second."""
        state, (number, line) = self.state(), self._happened
        if state is not None:
            strips = {voice: peak for (deck, voice), peak in state.strips.items() if deck == DECK}
            self._post(Meters(state.peak, strips, state.load))
        told = self._told[:3] if state is None else (state.backend, state.alive, state.underruns)
        if (*told, number) != self._told:
            news = "" if number == self._told[-1] else line  # it is said once, however often underruns are counted
            self._told = (*told, number)
            self._post(EngineState(*told, news))

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
