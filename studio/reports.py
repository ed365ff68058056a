"""What the session reports beside what the performer does (`studio.messages`): plain data for the screens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from db.work import SessionRecord

#: ``scratch``: it is or was recorded, and is pruned some day; ``kept``: it stays; ``rendered``: and has its sound;
#: ``discarded``: it is gone; ``off``: nothing is recorded, for a reason.
RecordingState: TypeAlias = Literal["scratch", "kept", "rendered", "discarded", "off"]


@dataclass(frozen=True)
class Meters:
    """How loud it is, about 20 times a second.

    Attributes
    ----------
    peak : tuple of float
        Left and right, linear.
    strips : mapping
        Voice or group → peak, linear.
    load : float
        Share of a block's time that making it takes.
    """

    peak: tuple[float, float]
    strips: Mapping[str, float]
    load: float = 0.0


@dataclass(frozen=True)
class EngineState:
    """Where sound goes, when that has changed.

    Attributes
    ----------
    backend : str
        ``silent`` where there is no device.
    alive : bool
        Whether the device that was asked for is there.
    underruns : int
        Blocks lost so far.
    line : str
        What has happened, for people; empty if nothing has.
    """

    backend: str
    alive: bool
    underruns: int
    line: str = ""


@dataclass(frozen=True)
class History:
    """What can be undone and redone: labels, None where there is nothing; `label` is the edit that is heard."""

    undo: str | None
    redo: str | None
    label: str


@dataclass(frozen=True)
class Recording:
    """What becomes of a take; `line` says it to people."""

    take_id: str | None
    state: RecordingState
    line: str = ""


@dataclass(frozen=True)
class Filmed:
    """A camera films what a part shows: the latest picture is found at `path` (`studio.pictures.video.Latest`)."""

    part: str
    path: str


@dataclass(frozen=True)
class Crashed:
    """The performer's process failed, with the reason; the studio goes on, and `play` performs anew."""

    reason: str


@dataclass(frozen=True)
class Offered:
    """Sessions that were not closed and can be gone on with, the newest first."""

    sessions: tuple[SessionRecord, ...] = field(default=())
