"""What `descant perform` is asked for: a piece, from which part on, over which video, and who plays it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.piece import Piece
from studio.prompt import from_part, with_video

if TYPE_CHECKING:
    from sonify.incoming import Inbox, TimedEvent
    from sonify.midi_in import Backend, MidiIn
    from sonify.osc import OscOut
    from sonify.osc_in import OscIn


@dataclass(frozen=True)
class Asked:
    """The options of the command.

    Attributes
    ----------
    piece : Piece
        As its file has it.
    name : str
        Of the piece.
    part : int
        The section to begin with, from 1.
    seed : int
    video : str, optional
        A file, ``camera`` or ``moving``.
    mid : Path, optional
        A MIDI file.
    midi_in, midi_virtual, midi_backend
        A MIDI port.
    cc : tuple of str
        Which controller turns what.
    osc_in, osc_out : tuple of (str, int), optional
        Addresses.
    """

    piece: Piece
    name: str
    part: int = 1
    seed: int = 0
    video: str | None = None
    mid: Path | None = None
    midi_in: str | None = None
    midi_virtual: bool = False
    midi_backend: Backend | None = None
    cc: tuple[str, ...] = ()
    osc_in: tuple[str, int] | None = None
    osc_out: tuple[str, int] | None = None

    def changed(self, piece: Piece, video: str | None) -> Piece:
        """The piece from its part on, over a video.

        Raises
        ------
        PieceError
            If it has no such part, or none that is a video.
        """
        found = piece if self.part == 1 else from_part(piece, self.part)
        return found if video is None else with_video(found, video)

    @property
    def video_part(self) -> str:
        """The part that is a video."""
        return next(name for name, part in self.piece.parts.items() if part.source == "video")

    def notes(self) -> list[TimedEvent]:
        """The notes of the file; none without one. `MidiError` if it cannot be read."""
        from sonify.midi_in import read_midi

        return [] if self.mid is None else read_midi(self.mid)

    def midi(self, inbox: Inbox) -> MidiIn | None:
        """The MIDI port, opened. `MidiError` if it is not there."""
        from sonify.midi_in import MidiIn

        if self.midi_in is None:
            return None
        return MidiIn(self.midi_in, virtual=self.midi_virtual, backend=self.midi_backend, inbox=inbox)

    def osc(self, inbox: Inbox) -> OscIn | None:
        """OSC in, listening. `OscError` if it cannot."""
        from sonify.osc_in import OscIn

        return None if self.osc_in is None else OscIn(self.osc_in[1], host=self.osc_in[0], inbox=inbox)

    def out(self) -> OscOut | None:
        """OSC out. `OscError` if there is no such place."""
        from sonify.osc import OscOut

        return None if self.osc_out is None else OscOut(*self.osc_out)
