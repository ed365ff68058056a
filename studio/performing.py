"""A performance in the studio, as `descant perform` asks for it. What is not there is said, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pieces.errors import DescantError
from sonify.incoming import Inbox
from studio.asked import Asked
from studio.filming import Filming
from studio.messages import Notice
from studio.pictures.video import open_video
from studio.players import Players
from studio.prompt import Port, awaits, scripted
from studio.reports import Filmed
from studio.sending import Relay
from studio.session import Session

if TYPE_CHECKING:
    from studio.keeper import Post

T = TypeVar("T")
C = TypeVar("C", bound="AbstractContextManager[object]")
#: What is done without a video.
INSTEAD = "; the built-in picture moves instead"


class Performing:
    """Opens a session, plays a piece in it, and lets others play.

    It must be made before the screen is there: MIDI ports are opened with stderr shut, on which the screen is drawn.

    Parameters
    ----------
    asked : Asked
    archive : str, optional
        Its path or URL.
    """

    def __init__(self, asked: Asked, archive: str | None = None) -> None:
        self._asked, self._archive = asked, archive
        self._open = ExitStack()
        #: What is said before there is somebody to tell; and who is told what the session reports, before the screen.
        self._early: list[object] = []
        self._ears: list[Players | Filming | Relay] = []
        self._post: Post = self._early.append
        self._inbox = Inbox()
        self._notes = self._tried(asked.notes) or []
        self._midi = self._entered(lambda: asked.midi(self._inbox))
        self._entered(lambda: asked.osc(self._inbox))
        self._out = self._entered(asked.out)

    def start(self, post: Post) -> Session:
        """Make the session."""
        self._post = post
        for report in self._early:
            post(report)
        self._session = Session(self._hear, self._archive)
        return self._session

    def begin(self) -> None:
        """Open the piece and play."""
        asked, session = self._asked, self._session
        video = self._video()
        players = Players(asked.name, session, self._inbox, self._say, asked.cc, self._notes)
        players.port = None if self._midi is None else Port(self._midi, self._say)
        self._ears.append(self._open.enter_context(players))
        if self._out is not None:
            self._ears.append(Relay(self._out, session, self._say))
        try:
            session.awaits(awaits(asked.piece))
            session.open(asked.name, asked.seed, lambda piece: asked.changed(piece, video), scripted(self._notes))
            session.play()
        except DescantError as error:
            self._say(str(error))

    def close(self) -> None:
        """Let go of everything, after the session was closed."""
        self._open.close()

    def _video(self) -> str | None:
        """What is drawn on: the built-in picture where what is asked for is not there."""
        video = self._asked.video
        if video == "camera":
            part = self._asked.video_part
            filming = self._entered(lambda: Filming(part, self._session, self._say), INSTEAD)
            if filming is not None:
                self._ears.append(filming)
                self._post(Filmed(part, str(filming.window)))
        elif video is not None and video != "moving":
            path = Path(video).expanduser()
            if self._tried(lambda: open_video(path), INSTEAD) is None:
                return "moving"
        return video

    def _hear(self, report: object) -> None:
        for ear in self._ears:
            ear.hear(report)
        self._post(report)

    def _say(self, line: str) -> None:
        self._post(Notice(line))

    def _entered(self, make: Callable[[], C | None], more: str = "") -> C | None:
        """Something that is closed at the end; None if there is none."""
        made = self._tried(make, more)
        if made is not None:
            self._open.enter_context(made)
        return made

    def _tried(self, deed: Callable[[], T], more: str = "") -> T | None:
        """What a deed gives; what it refuses is said."""
        try:
            return deed()
        except DescantError as error:
            self._say(f"{error}{more}")
            return None
