"""What the studio does beside the music: sound of kept takes, takes of a stretch. In processes of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from studio.jobs import Done, Excerpt, Failed, Mix, Progressed, Running
from studio.keeper import Post
from studio.messages import Notice
from studio.reports import Recording


class Background:
    """Runs jobs one after the other, so that they leave the performer its processor.

    Parameters
    ----------
    place : str
        The archive's path or URL.
    post : callable
        Told what becomes of them.
    """

    def __init__(self, place: str, post: Post) -> None:
        self._place, self._post = place, post
        self._turn = threading.Lock()
        #: Between the threads; all that is below, and told whenever a job is over.
        self._changed = threading.Condition()
        self._running: Running | None = None
        self._excerpts: list[Excerpt] = []
        self._hurries = self._closed = False

    def mix(self, take_id: str) -> None:
        """Make the sound of a take."""
        self._begin(Mix(take_id), lambda done: self._post(Recording(done.take_id, "rendered", "its sound is made")))

    def excerpt(self, job: Excerpt) -> None:
        """Make a take of a stretch, which is kept."""
        line = f"kept: {job.title}" if job.title else "kept"
        with self._changed:
            self._excerpts.append(job)
        self._begin(job, lambda done: self._post(Recording(done.take_id, "rendered", line)))

    def hurry(self) -> None:
        """Make no more sound of kept takes: it is made when it is asked for. A stretch would be lost, and is made."""
        with self._changed:
            self._hurries = True
            if self._running is not None and isinstance(self._running.job, Mix):
                self._running.cancel()

    def close(self, patience: float) -> None:
        """Make the takes that are still wanted, for so many seconds at most; what is lost is said."""
        self.hurry()
        ends = time.monotonic() + patience
        with self._changed:
            while self._excerpts and (left := ends - time.monotonic()) > 0:
                self._changed.wait(left)
            self._closed = True
            if self._running is not None:
                self._running.cancel()
            lost = tuple(self._excerpts)
        for job in lost:
            what = f"{job.title or 'a stretch'} was not made in {patience:g} s"
            self._post(Notice(f"{what}: it is {job.start:.1f} to {job.end:.1f} s of take {job.take_id}"))

    def _begin(self, job: Mix | Excerpt, then: Callable[[Done], None]) -> None:
        threading.Thread(target=self._work, args=(job, then), name="background", daemon=True).start()

    def _work(self, job: Mix | Excerpt, then: Callable[[Done], None]) -> None:
        with self._turn:
            found = self._done(job)
        if isinstance(found, Done):
            then(found)
        elif found.reason:
            self._post(Notice(f"take {job.take_id}: {found.reason}"))
        if isinstance(job, Excerpt):
            with self._changed:
                self._excerpts.remove(job)
                self._changed.notify_all()

    def _done(self, job: Mix | Excerpt) -> Done | Failed:
        with self._changed:
            if self._closed or (self._hurries and isinstance(job, Mix)):
                return Failed("")
            try:
                running = self._running = Running(self._place, job)
            except OSError as error:
                return Failed(f"no process can be started for it: {error.strerror}: try again")
        found = running.wait(_nobody)
        with self._changed:
            self._running = None
        return found


def _nobody(progress: Progressed) -> None:
    """Nobody watches."""
