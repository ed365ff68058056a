"""What the sound engine is told, and what it says back: plain data that crosses a socket.

Decks are named by text: each plays one patch or one file. Several may tell the engine about one deck, each on its own
way, so what loads and empties decks carries the moment at which it was `said`: what was said last counts, whatever
comes last. What the engine is doing is read from the ring's header
(`sonify.engine.ring.LaneRing.state`), which needs no message.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from sonify.engine.patch import Patch

#: Where sound goes: a sound card, another program, or nowhere, in real time.
Backend = Literal["portaudio", "jack", "silent"]


@dataclass(frozen=True)
class LoadPatch:
    """Play a patch on a deck; what it played before goes within `fade` seconds, as the patch comes.

    The patch's slots of the ring must have been written before: `client.EngineLink.load` sees to it.
    """

    deck: str
    patch: Patch
    fade: float = 0.05
    gain_db: float = 0.0
    said: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class LoadFile:
    """Play a sound file on a deck.

    Attributes
    ----------
    deck : str
    path : Path
        A float WAV of one or two channels.
    at : float
        Seconds into the file.
    gain_db : float
    loop : tuple of float or None
        Seconds from and up to which it is repeated; the end may be past the file's.
    fade : float
        Seconds of the crossfade with what the deck played before.
    paused : bool
        Whether it waits for `Hold(deck, False)`.
    """

    deck: str
    path: Path
    at: float = 0.0
    gain_db: float = 0.0
    loop: tuple[float, float] | None = None
    fade: float = 0.05
    paused: bool = False
    said: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Seek:
    """Go to a place in a deck's file, in seconds."""

    deck: str
    seconds: float


@dataclass(frozen=True)
class Hold:
    """Stop a deck where it is, or let it go on. A patch is silent meanwhile, and its lanes pass."""

    deck: str
    on: bool = True


@dataclass(frozen=True)
class Loop:
    """Repeat from and up to these seconds of a deck's file; None ends the loop."""

    deck: str
    seconds: tuple[float, float] | None


@dataclass(frozen=True)
class Unload:
    """Empty a deck within `fade` seconds of what it was told to play before."""

    deck: str
    fade: float = 0.05
    said: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Strike:
    """Sound a note of a voice.

    Attributes
    ----------
    deck, voice : str
    values : mapping of str to float
        Every parameter of the instrument, and ``velocity``; or of a grain what `Granular.grains` says.
    at : float or None
        Engine seconds; None is the next block.
    """

    deck: str
    voice: str
    values: Mapping[str, float]
    at: float | None = None


@dataclass(frozen=True)
class Strip:
    """Gain of a voice or group of a deck, and whether it is heard; kept for the patches that follow on that deck."""

    deck: str
    voice: str
    gain_db: float = 0.0
    on: bool = True


@dataclass(frozen=True)
class DeckGain:
    """Gain of a whole deck."""

    deck: str
    gain_db: float


@dataclass(frozen=True)
class MasterGain:
    """Gain of everything, before the limiter."""

    gain_db: float


@dataclass(frozen=True)
class Panic:
    """Silence within 10 ms: decks are emptied, and what is to sound again must be loaded again."""

    said: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Record:
    """Write what is played into a stereo float WAV from now on; None ends it."""

    path: Path | None


@dataclass(frozen=True)
class Use:
    """Play through another backend; it falls back to silence, and tries again, while that one is not there."""

    backend: Backend


@dataclass(frozen=True)
class Quit:
    """End."""


@dataclass(frozen=True)
class Join:
    """The first thing said by whoever connects.

    Attributes
    ----------
    writes : bool
        Whether it plays patches, and so needs a share of the ring.
    share : int or None
        The one that it had before, if it was there before.
    """

    writes: bool
    share: int | None = None


Command: TypeAlias = (
    LoadPatch
    | LoadFile
    | Seek
    | Hold
    | Loop
    | Unload
    | Strike
    | Strip
    | DeckGain
    | MasterGain
    | Panic
    | Record
    | Use
    | Quit
)


@dataclass(frozen=True)
class Hello:
    """The first thing said to whoever connects: the share of the ring that is theirs, if they asked for one."""

    share: int | None


@dataclass(frozen=True)
class Ready:
    """A deck's patch or file sounds, and its notes can be computed at once."""

    deck: str


@dataclass(frozen=True)
class Ended:
    """A deck's file has come to its end."""

    deck: str


@dataclass(frozen=True)
class Silenced:
    """Somebody pressed panic: whatever was loaded before that was `said` is gone."""

    said: float


@dataclass(frozen=True)
class Lost:
    """The sound device is not there, or not any more: it goes on in silence, and is looked for every second."""

    reason: str


@dataclass(frozen=True)
class Back:
    """Sound comes out of a device (again)."""

    backend: Backend


@dataclass(frozen=True)
class Refused:
    """A command that could not be done, in one line."""

    reason: str


@dataclass(frozen=True)
class Died:
    """The engine's process has ended, though nobody wished it; said by `client.Engine`, which starts another one."""

    reason: str


Answer: TypeAlias = Hello | Ready | Ended | Silenced | Lost | Back | Refused | Died
