"""The studio without a screen: a piece, who performs it, what it sounds by, what is recorded of it, what was edited.

Intents are methods; they return at once, or raise `DescantError` with one line and change nothing. What comes of them
is reported through one callback, from several threads: what the performer says (`studio.messages`) and what the
session adds (`studio.reports`). torch is never loaded here, nor anything that a user's own source loads.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import ControlError, DescantError
from pieces.piece import Piece, PieceError, parse_piece
from pieces.signals import Control, Value
from pieces.source import nearest
from studio import config, revise
from studio.background import Background
from studio.history import History, edit_label, spelled
from studio.jobs import Excerpt
from studio.keeper import Keeper, Notebook, Post
from studio.leader import Leader, Parents, Subject
from studio.messages import Command, Loop, Notice, Seek, Send, Set, Speed, Step, Stop, When
from studio.piecefile import PieceFile
from studio.reports import History as Undoable
from studio.reports import Offered
from studio.revise import Paper
from studio.run import Run
from studio.sound import Sound

if TYPE_CHECKING:
    from db.archive import Archive
    from db.work import Edit
    from sonify.engine.commands import Backend

#: Seconds between two looks at the engine and at files.
_LOOK = 0.05
#: Seconds in which a performance must have ended when the studio is closed.
_LAST = 3.0
#: Seconds in which the stretches that somebody wanted to keep must have been made then.
_WISHES = 60.0


class Session:
    """Work on one piece at a time; see the module.

    Parameters
    ----------
    post : callable
        Told everything; it must return at once.
    place : str, optional
        The archive's path or URL; default: that of the command line.
    backend : Backend or None
        Where sound goes: ``portaudio``, ``jack``, ``silent``; None does without an engine.

    Attributes
    ----------
    name : str
        What the piece is called; empty before one is open.
    sound : Sound
        The engine, its meters, and who is muted.
    """

    def __init__(self, post: Post, place: str | None = None, backend: Backend | None = "portaudio") -> None:
        self.name = ""
        self.sound = Sound(post, backend)
        self._post = post
        self._keeper = Keeper(config.archive_place(place), post)
        self._background = Background(self._keeper.place, post)
        self._history = History.begin({})
        self._file = PieceFile(Path.cwd(), None, Paper("", {}))
        self._closing = threading.Event()
        self.sound.start()
        self._leader = Leader(post, self._keeper, self._background, self.sound)
        self._lock = self._leader.lock
        threading.Thread(target=self._look, name="session", daemon=True).start()

    # What is open

    @property
    def place(self) -> str:
        """The archive's path or URL."""
        return self._keeper.place

    @property
    def base(self) -> Path:
        """Folder that the piece's relative paths are read against."""
        return self._file.base

    @property
    def piece(self) -> Mapping[str, Any]:
        """The piece as plain data, with all edits."""
        return self._history.piece

    @property
    def history(self) -> History:
        """All edits; to be read only."""
        return self._history

    @property
    def unsaved(self) -> str:
        """What stands in no file and is kept in the history alone, as one line; empty if nothing does."""
        if not self.name or self.piece == self._file.saved:
            return ""
        return f"edits of {Path(self.name).name} are in no file: save as writes one"

    def open(
        self,
        name: str,
        seed: int = 0,
        change: Callable[[Piece], Piece] | None = None,
        script: Iterable[Send] = (),
    ) -> None:
        """Open a piece by name or path, or that of a take (``take:ID``); it is ready and paused.

        What `change` makes of it stands in no file; where that is something else it has a draft. Every performance is
        given what stands in `script`, in order of time.
        """
        if name.startswith("take:"):
            self.open_take(name.removeprefix("take:"))
            return
        read, base, path = revise.read(name)
        wanted = read if change is None else change(read)
        piece = revise.checked(name, wanted.model_dump(), base)
        file = PieceFile.of(name, piece, base, path) if wanted == read else PieceFile.of("", piece, base, None)
        self._open(name, piece, file, seed, script=script)

    def open_take(self, take: str) -> None:
        """Open the piece of a take as it was played last; what is performed of it is the take's child."""

        def job(archive: Archive) -> None:
            from studio.derive import derived_piece

            record = archive.take(take)
            name, base = record.piece_name, Path.cwd()
            piece = revise.checked(name, derived_piece(archive, record.id).model_dump(), base)
            file = PieceFile.of("", piece, base, None)
            self._open(name, piece, file, seed=record.seed, parents=((record.id, None, "derived"),))

        self._keeper.do(job)

    def _open(
        self,
        name: str,
        piece: Piece,
        file: PieceFile,
        seed: int = 0,
        parents: Parents = (),
        script: Iterable[Send] = (),
    ) -> None:
        from db.work import SessionRecord

        path = str(file.file) if file.file else None
        record = SessionRecord(name=name, base=str(file.base), file=path, seed=seed, parents=parents)
        with self._lock:
            history = History.begin(piece.model_dump(mode="json"))
            subject = Subject(name, file.base, Notebook(record), parents, tuple(script))
            self._take_up(history, file, subject, seed)
            self._keep_edits()
        self._leader.level(piece)

    def _take_up(self, history: History, file: PieceFile, subject: Subject, seed: int) -> None:
        """Work on another piece from now on."""
        self._put_down()
        self.name, self._history, self._file = subject.name, history, file
        self._leader.subject, self._leader.piece = subject, history.piece
        self._leader.perform(history.piece, seed)

    def _put_down(self) -> None:
        if self._leader.subject is not None:
            self._keeper.do(self._leader.subject.notebook.close)
            self._leader.subject = None

    def look_back(self) -> None:
        """Report the sessions that a crash interrupted (`Offered`); what is scratch and old goes."""
        self._keeper.do(lambda archive: self._post(Offered(tuple(archive.sessions.interrupted()))))
        self._keeper.prune()

    def recover(self, session_id: str) -> None:
        """Go on with a session that was closed, or interrupted: its piece, its edits, and where undoing stood."""

        def job(archive: Archive) -> None:
            record, edits = archive.sessions.take_over(session_id)
            history = History(edits, record.head, record.tip)
            base, path = Path(record.base), Path(record.file) if record.file else None
            first, piece = (parse_piece(plain, record.name) for plain in (edits[0].piece, history.piece))
            file = PieceFile.again(record.name, first, base, path)
            if path is not None and file.file is None:
                self._post(Notice(f"{path}: no piece can be read there: the session goes on without it"))
            notebook = Notebook(record)
            notebook.found(edits)
            with self._lock:
                subject = Subject(record.name, base, notebook, record.parents)
                self._take_up(history, file, subject, record.seed)
                self._keep_edits()
            self._leader.level(piece)

        self._keeper.do(job)

    def forget(self, session_id: str) -> None:
        """An interrupted session is not wanted back; its takes stay."""
        self._keeper.do(lambda archive: archive.sessions.close(session_id))

    # Performing

    def play(self) -> None:
        """Go on; anew where the performance is over and the playhead at its end."""
        with self._lock:
            self._need_piece()
            self._leader.play()

    def pause(self) -> None:
        """Hold."""
        with self._lock:
            self._need_piece()
            self._leader.pause()

    def step(self) -> None:
        """Make one tick, then hold."""
        with self._lock:
            self._need_piece()
            self._leader.wake()
            self._leader.send(Step())

    def stop(self) -> None:
        """End the performance; what was made is a take."""
        self._send(Stop())

    def speed(self, factor: float) -> None:
        """Time passes so many times as fast: 0.25 to 4; of recorded ticks also backwards, -4 to -0.25."""
        if not 0.25 <= abs(factor) <= 4:
            raise DescantError(f"speed = {factor:g}: allowed are 0.25 to 4, and -4 to -0.25 of what is recorded")
        self._send(Speed(factor))

    def seek(self, beat: float) -> None:
        """Set the playhead; at or after the live end it goes live again."""
        self._seek(Seek(max(beat, 0.0)))

    def loop(self, beats: tuple[float, float] | None) -> None:
        """Repeat recorded ticks from a beat up to another one; None ends the loop."""
        if beats is not None and not 0 <= beats[0] < beats[1]:
            raise DescantError(f"loop {beats[0]:g} to {beats[1]:g}: allowed are two beats that rise, from 0 on")
        self._seek(Loop(beats))

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        """Give every part that listens to it an event, such as a note; `SourceError` where that is none."""
        from sonify.incoming import TimedEvent
        from studio.prompt import heard_as

        self._send(Send(*heard_as(TimedEvent(0.0, kind, data))))

    def awaits(self, player: bool) -> None:
        """Whether there is a player: then parts wait for notes, now and in performances to come."""
        with self._lock:
            self._leader.await_player(player)

    def turn(self, part: str, control: str, value: Value) -> None:
        """Turn a control as a player does: heard and recorded, and no edit."""
        with self._lock:
            self._send(Set(part, control, self._control(part, control).check(value)))

    def branch(self, beat: float | None = None) -> None:
        """Perform again up to a beat (default: where the playhead is) and go on from there: a take of its own."""
        with self._lock:
            run = self._performed()
            self._leader.branch(run, min(run.beat if beat is None else max(beat, 0.0), run.end))

    def new_seed(self, seed: int | None = None) -> None:
        """Perform from the beginning with another seed; default: any."""
        if seed is not None and not 0 <= seed < 2**32:
            raise DescantError(f"seed = {seed}: allowed are whole numbers from 0 to {2**32 - 1}")
        with self._lock:
            self._need_piece()
            run, chosen = self._leader.newest, secrets.randbelow(2**32) if seed is None else seed
            self._note(seed=chosen)
            self._leader.perform(self.piece, chosen, play=run is not None and run.playing)

    def panic(self) -> None:
        """Silence, at once; the performance holds, and `play` goes on."""
        with self._lock:
            self.sound.panic()
            self._leader.silence()

    def hush(self) -> None:
        """Hold, with nothing that rings on, since something else is to be heard; `play` goes on."""
        with self._lock:
            if self._leader.run is not None and self._leader.run.playing:
                self._post(Notice("the performance holds while takes are heard: play goes on with it"))
            self.sound.hush()
            self._leader.silence()

    # Editing

    def set(self, part: str, control: str, value: Value) -> None:
        """Turn a control; an edit like any other."""
        with self._lock:
            declared = self._control(part, control)
            checked = declared.check(value)
            path = f"parts.{part}.controls.{control}"
            self._edit(f"{part}.{control} = {spelled(checked)}", revise.changed(self.piece, path, checked), path, "now")

    def edit(self, path: str, value: Any, label: str = "") -> None:
        """Change the piece at a dotted path (None takes away what is there); a score is heard at the next beat."""
        with self._lock:
            self._need_piece()
            raw = revise.changed(self.piece, path, value)
            data = self._checked(raw)
            self._edit(label or edit_label(path, value), data, path, "beat")

    def edit_piece(self, text: str, label: str = "edited as a file") -> None:
        """Use another text of the piece (TOML): its score is heard at the next bar, another form starts a branch."""
        with self._lock:
            self._need_piece()
            raw = self._file.parse(self.name, text)
            data = self._checked(raw)
            self._file.use(text, data)
            self._edit(label, data, None, "bar")

    def gain(self, voice: str, gain_db: float) -> None:
        """Set a voice's or a group's gain in its score; an edit."""
        self.edit(f"score.{self._kind(voice)}.{voice}.gain_db", gain_db, f"{voice} {gain_db:+.1f} dB")

    def strip(self, voice: str, *, mute: bool | None = None, solo: bool | None = None) -> None:
        """Mute or solo a voice or a group; no edit."""
        self._kind(voice)
        self.sound.strip(voice, mute, solo, self._leader.strips)

    def undo(self) -> None:
        """Take the last edit back."""
        self._go(lambda: self._history.undo())

    def redo(self) -> None:
        """Do again what was undone."""
        self._go(lambda: self._history.redo())

    def jump(self, number: int) -> None:
        """Go to any edit of the history, also one that was left."""
        self._go(lambda: self._history.jump(number))

    # Takes and files

    def keep(self) -> None:
        """Keep the take that is performed, or was performed last; its sound is made in the background."""
        with self._lock:
            run = self._performed()
            run.kept = True
            self._keeper.do(run.take.keep)
            if run.ended:
                self._leader.mix(run)

    def attach(self, role: str, path: Path) -> None:
        """Move a file to the take that is performed, or was performed last: what a camera filmed for an input."""

        def job(archive: Archive) -> None:
            if run.take.take_id is not None and not run.discarded:
                archive.add_media(run.take.take_id, role, path)
            path.unlink(missing_ok=True)

        with self._lock:
            run = self._performed()
            self._keeper.do(job)

    def discard(self) -> None:
        """Remove the take that is performed, or was performed last; it is stopped before."""
        with self._lock:
            run = self._performed()
            run.discarded = True
            if run.ended:
                self._keeper.do(run.take.discard)
            else:
                self._leader.send(Stop())

    def keep_last(self, bars: int = 16) -> None:
        """Keep the last whole bars, and what has begun of the next, as a take whose parent is the one performed."""
        if bars < 1:
            raise DescantError(f"bars = {bars}: allowed are whole numbers from 1 on")
        with self._lock:
            run = self._performed()
            start, end = run.last(bars)
            title = f"last {bars} bars of {Path(self.name).stem}"

            def job(archive: Archive) -> None:
                run.take.flush()
                if run.take.take_id is not None:
                    self._background.excerpt(Excerpt(run.take.take_id, start, end, title=title, relation="last bars"))

            self._keeper.do(job)

    def file(self) -> Path:
        """The piece as a file to be edited: its own where that says what is heard, else a draft; saves are heard."""
        with self._lock:
            self._need_piece()
            return self._file.to_edit(self.name, self.piece)

    def save_as(self, path: Path) -> None:
        """Write the piece as a file, with the comments of the one that it came from; it is the piece's file then."""
        with self._lock:
            self._need_piece()
            self._file.save(path, self.piece)
            self.name, base, subject = str(self._file.file), self._file.base, self._leader.subject
            assert subject is not None
            self._leader.subject = replace(subject, name=self.name, base=base)
            self._note(name=self.name, file=self.name, base=str(base))

    def close(self) -> None:
        """End performance, processes and session; waits for them, and up to a minute for stretches that are kept."""
        self._closing.set()
        self._leader.close(_LAST)
        with self._lock:
            self._put_down()
        self._background.hurry()
        self.sound.close()
        self._keeper.close(_LAST)
        self._background.close(_WISHES)  # after the keeper, which hands over what was wished last

    # Within

    def _need_piece(self) -> None:
        if not self.name:
            raise DescantError("no piece is open: choose one")

    def _performed(self) -> Run:
        self._need_piece()
        run = self._leader.run
        if run is None or not run.begun:
            raise DescantError("nothing was performed yet: play first")
        return run

    def _send(self, command: Command) -> None:
        self._need_piece()
        self._leader.send(command)

    def _seek(self, command: Seek | Loop) -> None:
        with self._lock:
            self._need_piece()
            self._leader.seek(command)

    def _control(self, part: str, name: str) -> Control:
        opened = self._leader.opened
        if opened is None:
            raise DescantError(f"{part}.{name}: the sources are not there yet: in a moment")
        if part not in opened.controls:
            raise PieceError(f"no part {part!r}{nearest(part, opened.controls)}")
        known = {c.name: c for c in opened.controls[part]}
        if name not in known:
            raise ControlError(f"{part} has no control {name!r}{nearest(name, known)}")
        return known[name]

    def _checked(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """A changed piece with everything checked that can be, as plain data."""
        opened = self._leader.opened
        channels = None if opened is None else opened.channels
        return revise.checked(self.name, raw, self._file.base, channels).model_dump(mode="json")

    def _kind(self, strip: str) -> str:
        for kind in ("voices", "groups"):
            if strip in self.piece.get("score", {}).get(kind, {}):
                return kind
        raise PieceError(f"no voice or group {strip!r}{nearest(strip, self._leader.strips)}")

    def _edit(self, label: str, data: Mapping[str, Any], knob: str | None, when: When) -> None:
        if self._history.edit(label, data, knob) is not None:
            self._keep_edits()
            self._leader.follow(self.piece, when)

    def _go(self, step: Callable[[], Edit]) -> None:
        with self._lock:
            self._need_piece()
            step()
            self._keep_edits()
            self._leader.follow(self.piece, "beat")

    def _keep_edits(self) -> None:
        history, notebook = self._history, self._notebook()
        edits, head, tip = history.edits, history.head, history.tip
        self._keeper.do(lambda archive: notebook.keep(archive, edits, head, tip))
        self._post(Undoable(history.undo_label, history.redo_label, edits[head].label))

    def _note(self, **values: object) -> None:
        notebook = self._notebook()
        self._keeper.do(lambda archive: notebook.note(archive, **values))

    def _notebook(self) -> Notebook:
        assert self._leader.subject is not None
        return self._leader.subject.notebook

    def _look(self) -> None:
        """Look at the engine and at the piece's file now and then, in a thread of its own."""
        while not self._closing.wait(_LOOK):
            try:
                self.sound.look()
                with self._lock:  # else another piece might be opened meanwhile
                    for text in self._file.look():
                        self.edit_piece(text)
            except DescantError as error:
                self._post(Notice(f"{error}; what was there before plays on"))
