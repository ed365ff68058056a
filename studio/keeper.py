"""The studio's archive: one thread and one queue, so that no screen ever waits for a disk."""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pieces.errors import DescantError
from pieces.signals import Channel, FrameBlock
from studio import config
from studio.messages import Notice
from studio.reports import Recording

if TYPE_CHECKING:
    from db.archive import Archive, Recorder
    from db.records import Retention
    from db.work import Edit, SessionRecord
    from studio.compose import Origin
    from studio.plan import Plan

Post: TypeAlias = Callable[[object], None]
Job: TypeAlias = "Callable[[Archive], None]"
#: Seconds of a try where the archive may be busy: short, so that a held archive is soon known, and said.
TRY_S = 2.0
#: Seconds between two tries, and for which an archive that is not busy may go on storing.
_AGAIN, _PATIENCE = 1.0, 60.0


class Keeper:
    """Does everything that the studio does with its archive, in order, in a thread of its own.

    The archive is opened by the first job. While another program holds it, or the disk is full, jobs wait in their
    order; nothing is lost as long as this process lives. An archive that cannot be opened is said once, and jobs are
    dropped then: everything else works.

    Parameters
    ----------
    place : str
        Path or URL.
    post : callable
        Told what went wrong, as a `Notice`.
    """

    def __init__(self, place: str, post: Post) -> None:
        self.place = place
        self._post = post
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._archive: Archive | None = None
        self._refused = False
        self._said = ""
        self._busy = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._thread.start()

    def do(self, job: Job) -> None:
        """Queue a job; what it raises becomes a notice."""
        self._jobs.put(job)

    def prune(self) -> None:
        """Queue the removal of what is scratch and old; see `db.upkeep.gc`."""
        room = int(config.SCRATCH_GB * 1e9)

        def job(archive: Archive) -> None:
            gone = archive.gc(scratch_age_days=config.SCRATCH_DAYS, scratch_quota_bytes=room)
            if gone.takes:
                self._post(Notice(f"what is scratch and old was removed: {gone}"))

        self.do(job)

    def close(self, timeout: float) -> bool:
        """Finish what is queued; False, and said, if the archive is busy for more than `timeout` seconds."""
        self._closing.set()
        self._jobs.put(None)
        ends, patience = time.monotonic() + timeout, time.monotonic() + _PATIENCE
        while self._thread.is_alive() and time.monotonic() < (ends if self._busy else patience):
            self._thread.join(_AGAIN / 20)
        if lost := self._thread.is_alive():
            self._post(Notice(f"what came last is not stored: {self._busy or f'{self.place}: it takes too long'}"))
        return not lost

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            while not self._done(job):
                if self._closing.wait(_AGAIN):
                    time.sleep(_AGAIN / 20)
        if self._archive is not None:
            self._archive.close()

    def _done(self, job: Job) -> bool:
        """Do a job; False if it is to be tried again."""
        from db.records import ArchiveBusy

        try:
            archive = self._opened()
            if archive is not None:
                job(archive)
            self._said = ""
        except ArchiveBusy as error:
            self._busy = str(error)
            if not self._closing.is_set():
                self._say(f"{error}; until then nothing is stored, and nothing is lost")
            return False
        except DescantError as error:
            self._say(str(error))
        except Exception as error:
            self._say(f"a fault of Descant's own: {type(error).__name__}: {error}")
        self._busy = ""
        return True

    def _opened(self) -> Archive | None:
        from db.archive import Archive
        from db.records import ArchiveBusy

        if self._archive is None and not self._refused:
            try:
                self._archive = Archive.open(self.place, patience=TRY_S)
            except ArchiveBusy:
                raise
            except DescantError as error:
                self._refused = True
                self._post(Recording(None, "off", f"{error}; until then nothing is recorded"))
        return self._archive

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._post(Notice(line))


class LiveTake:
    """A take while it is performed. All methods are jobs of the keeper's thread.

    Parameters
    ----------
    plan : callable
        Gives what is performed; asked once.
    seed : int
    origin : callable
        Gives where it comes from; asked when the take begins.
    post : callable
        Told what becomes of it.
    begun : callable, optional
        Told its id as soon as its row is committed, in the keeper's thread.
    """

    def __init__(
        self,
        plan: Callable[[], Plan],
        seed: int,
        origin: Callable[[], Origin],
        post: Post,
        begun: Callable[[Archive, str], None] = lambda archive, take_id: None,
    ) -> None:
        self._ask, self._seed, self._origin, self._post, self._told = plan, seed, origin, post, begun
        self._plan: Plan | None = None
        self._files: dict[str, str] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._recorder: Recorder | None = None
        self._retention: Retention = "scratch"
        self._begun = self._refused = False
        self.take_id: str | None = None
        self.ended = False

    def paths(self, archive: Archive) -> dict[str, str]:
        """What earlier takes give, as files: ``part.input`` or ``sample.voice`` → path."""
        plan = self._prepared(archive)
        return {key: self._files[key] for key in plan.takes}

    def begin(self, archive: Archive, channels: Mapping[str, Sequence[Channel]]) -> None:
        """Commit its row. Where that is refused for good it ends, and nothing more is recorded."""
        from db.records import ArchiveBusy

        if self._begun or self._refused:
            return
        try:
            self._begin(archive, channels)
        except ArchiveBusy:
            raise
        except Exception:
            self._refuse()
            raise
        self._begun = True
        self._post(Recording(self.take_id, "kept" if self._retention == "kept" else "scratch"))

    def _begin(self, archive: Archive, channels: Mapping[str, Sequence[Channel]]) -> None:
        from studio.compose import begin, keep_inputs

        plan = self._prepared(archive)
        if self._recorder is None:
            self._recorder = begin(archive, plan, self._files, self._seed, self._origin(), self._retention)
            self.take_id = self._recorder.take_id
        keep_inputs(archive, self._recorder.take_id, plan, self._files)
        for part, declared in channels.items():
            self._recorder.channels(declared, part)
        self._told(archive, self._recorder.take_id)

    def _refuse(self) -> None:
        """End, now or when the archive can be written; until then it takes nothing more."""
        from db.records import ArchiveError

        self._refused = True
        with suppress(ArchiveError):
            self.interrupt()

    def _prepared(self, archive: Archive) -> Plan:
        from studio.compose import material

        if self._plan is None:
            plan = self._ask()
            if plan.takes:
                self._folder = tempfile.TemporaryDirectory(prefix="descant-takes-")
            self._files = material(archive, plan, Path(self._folder.name if self._folder else ""))
            self._plan = plan
        return self._plan

    def append(self, part: str, block: FrameBlock) -> None:
        """Record a part's next ticks. Where a block is refused for good it ends: no take has a hole.

        Raises
        ------
        ArchiveBusy
            If the archive cannot be written just now: then it may be tried again.
        ArchiveError
            If the block is refused.
        """
        from db.records import ArchiveBusy, ArchiveError

        if self._recorder is None or self.ended or self._refused:
            return
        try:
            self._recorder.append(block, part)
        except ArchiveBusy:
            raise
        except ArchiveError as error:
            self._refuse()
            raise ArchiveError(f"{error}; what follows of this take is not recorded") from error

    def flush(self) -> None:
        """Commit what waits."""
        if self._recorder is not None and not self.ended:
            self._recorder.flush()

    def finish(self, duration_s: float) -> None:
        """It is over, as it was meant to be, unless not all of it was recorded."""
        if self._refused:
            self.interrupt()
        elif self._recorder is not None and not self.ended:
            self._recorder.finish(duration_s=duration_s)
        self.ended = True

    def fail(self, reason: str) -> None:
        """Its source failed; what was made of it stays."""
        if self._recorder is not None and not self.ended:
            self._rest(self._recorder)
            self._recorder.fail(reason)
        self.ended = True

    def interrupt(self) -> None:
        """It was broken off; what was made of it stays."""
        if self._recorder is not None and not self.ended:
            self._rest(self._recorder)
            self._recorder.interrupt()
        self.ended = True

    def _rest(self, recorder: Recorder) -> None:
        """Commit what waits, unless it is refused for good; a recorder that ends would drop it where a disk is full."""
        from db.records import ArchiveBusy, ArchiveError

        try:
            recorder.flush()
        except ArchiveBusy:
            raise
        except ArchiveError:
            return

    def keep(self, archive: Archive) -> None:
        """Let it stay for good."""
        self._retention = "kept"
        if self.take_id is not None:
            archive.retain(self.take_id, "kept")
            self._post(Recording(self.take_id, "kept", "kept"))

    def discard(self, archive: Archive) -> None:
        """Remove it, when it has ended."""
        if self.take_id is not None and self.ended:
            archive.discard(self.take_id, kept=True)
            self._post(Recording(self.take_id, "discarded", "discarded"))


class Notebook:
    """A session's row and its edits. All methods are jobs of the keeper's thread."""

    def __init__(self, session: SessionRecord) -> None:
        self.session = session
        self._id = session.id
        self._stored: dict[int, Edit] = {}
        self._place = (session.head, session.tip)

    def keep(self, archive: Archive, edits: Sequence[Edit], head: int, tip: int) -> None:
        """Store what of the edits is not stored yet."""
        if not self._id:
            self._id = archive.sessions.begin(self.session, edits[0])
            self._stored[0] = edits[0]
        for edit in edits:
            if self._stored.get(edit.number) is not edit:
                archive.sessions.keep(self._id, edit, edit.number, edit.number)
                self._stored[edit.number] = edit
                self._place = (edit.number, edit.number)
        if self._place != (head, tip):
            archive.sessions.keep(self._id, None, head, tip)
            self._place = (head, tip)

    def found(self, edits: Sequence[Edit]) -> None:
        """These are stored already."""
        self._stored = {edit.number: edit for edit in edits}

    def note(self, archive: Archive, **values: object) -> None:
        """Store what else has changed: ``take_id``, ``seed``, ``file``."""
        if self._id:
            archive.sessions.set(self._id, **values)

    def close(self, archive: Archive) -> None:
        """It ended as was wished; one in which nothing was done is forgotten."""
        if self._id and len(self._stored) > 1:
            archive.sessions.close(self._id)
        elif self._id:
            archive.sessions.remove(self._id)
            self._id = ""
