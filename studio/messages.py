"""What the studio says to a performer, and what a performer reports: plain data that crosses a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from pieces.signals import Channel, Control, FrameBlock, Value

#: When a change is heard: at once, at the next beat, or at the next bar.
When = Literal["now", "beat", "bar"]
#: What is played: new ticks, ticks that are recorded, or nothing.
Mode = Literal["live", "recorded", "paused"]


@dataclass(frozen=True)
class Begin:
    """Perform a piece.

    Attributes
    ----------
    name : str
        What the take's piece is called.
    piece : mapping
        As `pieces.piece.parse_piece` takes it; its files and earlier takes are paths that can be read.
    base : str
        Folder that its relative paths are read against.
    seed : int
    engine : str or None
        Address of a sound engine; None performs without sound.
    given : mapping
        Part → events to be given again at their ticks, as plain data: a branch first performs what it comes from.
    until : float or None
        Beat up to which that happens as fast as it can; then it waits, paused.
    until_s : float or None
        The same in seconds of the performance, whatever its tempi and wherever its sections end; in place of `until`.
    key : str
        By which every `Opened` and `Ended` of the performance is known, and it to those that branch from it.
    recalls : tuple of (str, mapping) or None
        Key of the performance that it comes from, and part → ticks in which all is the same: those need not be made
        again, if that was the one before.
    paused : bool
        Whether it waits for `Play` before its first tick.
    deck : str
        Of the engine, on which it sounds: two performers that crossfade need one each.
    trim : float or None
        dB that its sound is given; None: as many as the piece says.
    """

    name: str
    piece: Mapping[str, Any]
    base: str
    seed: int
    engine: str | None = None
    given: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    until: float | None = None
    paused: bool = False
    deck: str = "live"
    until_s: float | None = None
    trim: float | None = None
    key: str = ""
    recalls: tuple[str, Mapping[str, int]] | None = None


@dataclass(frozen=True)
class Play:
    """Go on: with new ticks at the live end, else with the recorded ones from the playhead."""


@dataclass(frozen=True)
class Pause:
    """Hold; the source makes no tick and lanes fall silent."""


@dataclass(frozen=True)
class Step:
    """Make one tick of every part (of the slowest: one; of the others: as many as fit), then hold."""


@dataclass(frozen=True)
class Stop:
    """End the performance: what was made is a take."""


@dataclass(frozen=True)
class Speed:
    """Time passes so many times as fast: 0.25 to 4; of recorded ticks also backwards, -4 to -0.25."""

    factor: float


@dataclass(frozen=True)
class Seek:
    """Set the playhead on recorded ticks; at or after the live end it goes live again."""

    beat: float


@dataclass(frozen=True)
class Loop:
    """Repeat recorded ticks from a beat up to another one; None ends the loop."""

    beats: tuple[float, float] | None


@dataclass(frozen=True)
class Set:
    """Turn a control."""

    part: str
    control: str
    value: Value


@dataclass(frozen=True)
class Send:
    """Give every part that listens to it an event, such as a note: now, or when the performance comes to a second."""

    kind: str
    data: Mapping[str, Any]
    seconds: float | None = None


@dataclass(frozen=True)
class Rescore:
    """Play by another score (plain data, checked by the sender); recorded as an event of the take."""

    score: Mapping[str, Any]
    when: When = "beat"


@dataclass(frozen=True)
class UseEngine:
    """The sound engine has another address, or there is none any more."""

    address: str | None


Command: TypeAlias = Begin | Play | Pause | Step | Stop | Speed | Seek | Loop | Set | Send | Rescore | UseEngine


@dataclass(frozen=True)
class Opened:
    """The sources are there: what each part emits, what can be turned, and kinds of event that it listens to; `key` is
    that of the `Begin`."""

    channels: Mapping[str, tuple[Channel, ...]]
    controls: Mapping[str, tuple[Control, ...]]
    values: Mapping[str, Mapping[str, Value]]
    listens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Made:
    """New ticks of a part: to be recorded, drawn and plotted."""

    part: str
    block: FrameBlock


@dataclass(frozen=True)
class Position:
    """Where the performance is, a few times a second and at every turn.

    Attributes
    ----------
    mode : str
    beat, seconds : float
        Of what sounds now.
    end : float
        Beat of the live end.
    bar : int
        From 1.
    tempo : float
        Beats a minute, the speed not counted.
    speed : float
    section : str
    ticks : mapping
        Part → tick that sounds now.
    loop : tuple of float or None
    begun : mapping
        Part → ticks that it had made when the section began.
    sections : tuple
        First beat and name of each section that has begun.
    """

    mode: Mode
    beat: float
    seconds: float
    end: float
    bar: int
    tempo: float
    speed: float
    section: str
    ticks: Mapping[str, int]
    loop: tuple[float, float] | None = None
    begun: Mapping[str, int] = field(default_factory=dict)
    sections: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Turned:
    """A control has another value, whoever turned it."""

    part: str
    control: str
    value: Value


@dataclass(frozen=True)
class Rescored:
    """Another score is heard from this beat on."""

    score: Mapping[str, Any]
    beat: float


@dataclass(frozen=True)
class Notice:
    """One line for the person at the screen: something was refused or went missing, and it goes on."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The performance is over: by itself or at a wish (``done``), or because a source failed, with the reason.

    There is one for each `Begin`, with its `key`; and one more for a performance that was over, if the performer dies,
    or its replay fails, then: what was made cannot be played again.
    """

    status: Literal["done", "failed"]
    reason: str = ""
    key: str = ""


Report: TypeAlias = Opened | Made | Position | Turned | Rescored | Notice | Ended
