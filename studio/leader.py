"""Who leads the performances of a session: begins and branches them, keeps them to the piece, has them recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pieces.errors import DescantError
from pieces.piece import Piece, parse_piece
from pieces.signals import Event
from studio import revise
from studio.background import Background
from studio.keeper import Keeper, LiveTake, Notebook, Post
from studio.messages import (
    Command,
    Ended,
    Loop,
    Made,
    Notice,
    Opened,
    Pause,
    Play,
    Position,
    Report,
    Rescore,
    Seek,
    Send,
    Set,
    Stop,
    UseEngine,
    When,
)
from studio.reports import Crashed
from studio.run import Run
from studio.sound import Sound

if TYPE_CHECKING:
    from db.archive import Archive
    from studio.compose import Origin

#: What a take came from: (take id, tick or None, relation).
Parents: TypeAlias = tuple[tuple[str, int | None, str], ...]
#: Beats that two places may differ by and be one.
NEAR = 1e-3


@dataclass(frozen=True)
class Subject:
    """What a session is about: what its piece is called and where its paths begin, its notes, its origin, and what
    every performance is given at its time."""

    name: str
    base: Path
    notebook: Notebook
    parents: Parents = ()
    script: tuple[Send, ...] = ()


class Leader:
    """Owns the performer. Its methods are called under its `lock`; the performer's reports come in another thread.

    Parameters
    ----------
    post : callable
        Told what the performer reports, and `Crashed`.
    keeper, background, sound
        Those of the session.

    Attributes
    ----------
    lock : RLock
    subject : Subject or None
    piece : mapping
        As everything is set now.
    run : Run or None
        The performance that is heard of.
    over : Event
        Set when the end of a performance was reported.
    awaits : bool
        Whether parts wait for a player from the beginning, and do not play by themselves.
    """

    def __init__(self, post: Post, keeper: Keeper, background: Background, sound: Sound) -> None:
        from studio.performer import Performer

        self.lock = threading.RLock()
        self.subject: Subject | None = None
        self.piece: Mapping[str, Any] = {}
        self.run: Run | None = None
        self.over = threading.Event()
        self.awaits = False
        #: What a take of the piece needed, by the notes of the session that it was looked for in.
        self._trim: tuple[Notebook, float] | None = None
        self._is_silenced = False
        self._newest: Run | None = None
        #: Those that the performer was told of and has not opened, by their keys.
        self._waiting: dict[str, Run] = {}
        self._post, self._keeper, self._background, self._sound = post, keeper, background, sound
        self._performer = Performer(self._hear)
        self._performer.start()

    @property
    def opened(self) -> Opened | None:
        """What the sources of the performance that is led now are; None while it begins."""
        return None if self._newest is None else self._newest.opened

    @property
    def newest(self) -> Run | None:
        """The performance that is led now, though it may not have begun."""
        return self._newest

    def send(self, command: Command) -> None:
        """Tell the performer something; `DescantError` where nothing is performed that could hear it."""
        if self._newest is not None and self._newest.failed:
            raise DescantError("the performance has failed: play begins another")
        self._performer.send(command)

    def play(self) -> None:
        """Go on; anew where the performance is over and the playhead at its end."""
        run = self._newest
        if run is None or run.failed or (run.ended and (not run.sought or run.beat >= run.end - NEAR)):
            self.perform(self.piece, run.seed if run else 0, play=True)
        else:
            run.play = True
            self.wake()
            self.send(Play())

    def await_player(self, player: bool) -> None:
        """Say whether there is a player: then parts wait for notes, now and in performances to come."""
        self.awaits = player
        if player:
            self._performer.send(Send("await", {}))

    def pause(self) -> None:
        """Hold, also what would have gone on by itself."""
        if self._newest is not None:
            self._newest.play = False
        self._performer.send(Pause())

    def silence(self) -> None:
        """Hold; the engine is emptied, and what is to sound again must be loaded again."""
        self.pause()
        self._is_silenced = True

    def wake(self) -> None:
        """Sound again, if there was silence."""
        if self._is_silenced:
            self._performer.send(UseEngine(self._sound.address))
        self._is_silenced = False

    def seek(self, command: Seek | Loop) -> None:
        """Go to recorded ticks: these are then played, also where the performance is over."""
        self.send(command)
        if self._newest is not None:
            self._newest.sought = True

    def perform(
        self,
        piece: Mapping[str, Any],
        seed: int,
        *,
        given: Mapping[str, tuple[Event, ...]] | None = None,
        until: float | None = None,
        play: bool = False,
        parents: Callable[[], Parents] | None = None,
        recalls: tuple[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Begin a performance; the one that is under way ends.

        Parameters
        ----------
        piece : mapping
            As it begins.
        seed : int
        given : mapping, optional
            Part → events to be given again.
        until : float, optional
            Beat up to which that happens; from there on it is played as `piece` (the attribute) says.
        play : bool
            Whether it waits for `play`.
        parents : callable, optional
            Gives what the take comes from, when it begins; default: what the session does.
        recalls : tuple, optional
            See `studio.messages.Begin`.
        """
        assert self.subject is not None
        about, parsed = self.subject, parse_piece(piece, self.subject.name)

        def origin() -> Origin:
            from studio.compose import Origin

            return Origin(about.parents if parents is None else parents())

        def begun(archive: Archive, take_id: str) -> None:
            about.notebook.note(archive, take_id=take_id)

        take = LiveTake(lambda: revise.planned(about.name, parsed, about.base), seed, origin, self._post, begun)
        run = Run(about.name, piece, about.base, seed, take, given or {}, until, play, recalls=recalls)
        needs_takes = revise.needs_takes(about.name, parsed, about.base)
        if self.run is not None and not self.run.ended:
            self._performer.send(Stop())
        self._newest, self._is_silenced = run, False

        if needs_takes:
            self._keeper.do(lambda archive: self._supply(run, archive))
        else:
            self._begin(run, {})

    def _supply(self, run: Run, archive: Archive) -> None:
        """Begin it with the files of the takes that it needs."""
        from db.records import ArchiveBusy

        try:
            paths = run.take.paths(archive)
        except ArchiveBusy:
            raise  # it is tried again
        except DescantError:
            run.ended = run.failed = True
            raise
        self._begin(run, paths)

    def _begin(self, run: Run, paths: Mapping[str, str]) -> None:
        with self.lock:
            if run is self._newest:
                run.paths = dict(paths)
                self._waiting[run.key] = run
                self._performer.send(replace(run.begin(self._sound.address), trim=self._measured(run)))
                for command in self._script():
                    self._performer.send(command)

    def _measured(self, run: Run) -> float | None:
        """dB that a take needed, where the piece says nothing itself."""
        if run.piece.get("master", {}).get("trim") is not None or self._trim is None or self.subject is None:
            return None
        notebook, trim = self._trim
        return trim if notebook is self.subject.notebook else None

    def level(self, piece: Piece) -> None:
        """See how loud the piece is live, where its file does not say it: as a take of it needed, if there is one."""
        subject = self.subject
        if subject is None or piece.master.trim is not None:
            return

        def job(archive: Archive) -> None:
            from studio.levels import measured

            found = measured(archive, subject.name, piece)
            with self.lock:
                run = self._newest
                if found is None or self.subject is not subject or run is None:
                    return
                self._trim = subject.notebook, float(found["gain_db"])
                if not run.begun and run.until is None:  # nothing of it was heard yet
                    self.perform(self.piece, run.seed, play=run.play or run.playing)

        self._keeper.do(job)

    def _script(self) -> tuple[Send, ...]:
        """What a performance is given in its time."""
        assert self.subject is not None
        return (*([Send("await", {}, 0.0)] if self.awaits else ()), *self.subject.script)

    def branch(self, run: Run, beat: float, another: Mapping[str, Any] | None = None) -> None:
        """Perform `run` again up to a beat and go on from there; or another piece, from its start, up to that beat."""
        if another is None and revise.compared(run.piece, self.piece, {}).reforms:
            another = self.piece
        ticks = run.ticks_at(beat)
        told = run.told_until(ticks, *(("control", "score") if another else ()))
        start = run.piece if another is None else another
        given = {part: events for part, events in told.items() if part in start["parts"]}
        tick = next(iter(ticks.values()))

        def parents() -> Parents:
            return ((run.take.take_id, tick, "branch"),) if run.take.take_id else ()

        recalls = None if another else (run.key, ticks)
        play = run.playing
        self.perform(start, run.seed, given=given, until=beat, play=play, parents=parents, recalls=recalls)

    def follow(self, piece: Mapping[str, Any], when: When) -> None:
        """The piece was edited: let the performance have it."""
        before, self.piece = self.piece, piece
        run = self._newest
        assert run is not None
        change = revise.compared(before, piece, run.opened.controls if run.opened is not None else {})
        if run.begun:
            for what in change.later:
                self._post(
                    Notice(f"{what}: this take keeps the one that it began with; the next performance has the new one")
                )
        if run.failed or change.nothing:
            return
        if run.ended:  # what is recorded may be played again, by another score
            self._turn(run, revise.Change(score=change.score), "now")
            return
        if run.opened is None or ((change.restarts or change.later) and not run.begun):
            self.perform(piece, run.seed, play=run.play or run.playing)
        elif change.restarts:
            self.branch(run, run.beat, piece)
        else:
            self._turn(run, change, when)

    def _turn(self, run: Run, change: revise.Change, when: When) -> None:
        for (part, control), value in change.controls.items():
            self._performer.send(Set(part, control, value))
        if change.score:
            self._performer.send(Rescore(run.supplied(self.piece)["score"], when))
            self._sound.tell_strips(self.strips)

    @property
    def strips(self) -> list[str]:
        """Voices and groups of the piece."""
        score = self.piece.get("score", {})
        return [*score.get("voices", {}), *score.get("groups", {})]

    def mix(self, run: Run) -> None:
        """Make the sound of its take, in the background."""

        def job(archive: Archive) -> None:
            if run.take.take_id is not None:
                self._background.mix(run.take.take_id)

        self._keeper.do(job)

    def close(self, patience: float) -> None:
        """End the performance and the performer."""
        with self.lock:
            run, self._newest = self.run, None
            busy = run is not None and run.begun and not run.ended
            self.over.clear()
            if busy:
                self._performer.send(Stop())
        if busy:
            self.over.wait(patience)
        self._performer.close()
        if run is not None and not run.ended:
            self._end(run, lambda archive: run.take.interrupt())

    # What the performer says, in its thread

    def _hear(self, report: Report) -> None:
        with self.lock:
            if isinstance(report, Opened):
                self._hear_opened(report)
            elif isinstance(report, Made):
                self._hear_made(report)
            elif isinstance(report, Position) and self.run is not None:
                self._hear_position(self.run, report)
            elif isinstance(report, Ended):
                self._hear_ended(report)
        self._post(report)
        if isinstance(report, Ended):
            self.over.set()

    def _hear_opened(self, report: Opened) -> None:
        if (run := self._waiting.pop(report.key, None)) is not None:
            self.run, run.opened = run, report
            self._sound.tell_strips(self.strips)

    def _hear_made(self, report: Made) -> None:
        run = self.run
        if run is None or run.opened is None:
            return
        first = not run.begun
        run.made(report)
        if not run.begun:
            return
        channels, take = run.opened.channels, run.take

        def job(archive: Archive) -> None:
            if first:
                take.begin(archive, channels)
            take.append(report.part, report.block)

        self._keeper.do(job)

    def _hear_position(self, run: Run, report: Position) -> None:
        run.position = report
        if run.until is not None and report.end >= run.until - NEAR and report.mode == "paused":
            run.until = None
            controls = run.opened.controls if run.opened is not None else {}
            self._turn(run, revise.compared(run.state(run.given), self.piece, controls), "now")
            if run.play:
                self._performer.send(Play())

    def _hear_ended(self, report: Ended) -> None:
        waiting = self._waiting.pop(report.key, None)
        run = self.run if waiting is None else waiting
        if run is None or run.key != report.key:
            return
        if report.status == "done":
            self._end(run, lambda archive: run.take.finish(run.duration))
            return
        if waiting is None and not run.ended:
            self._end(run, lambda archive: run.take.fail(report.reason))
        run.ended = run.failed = True
        if run is self._newest or not self._waiting:  # else it is said of the one that waits
            self._post(Crashed(report.reason))

    def _end(self, run: Run, how: Callable[[Archive], None]) -> None:
        """A performance is over: so is its take, in one way or another."""
        run.ended = True
        self._keeper.do(how)
        if run.discarded:
            self._keeper.do(run.take.discard)
        elif run.kept:
            self.mix(run)
