"""What the studio does beside the music: sound of kept takes, takes of a stretch. In processes of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from studio.jobs import Done, Excerpt, Job, Mix, Progressed, Running
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
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._running: Running | None = None
        self._closed = False

    def mix(self, take_id: str) -> None:
        """Make the sound of a take."""
        self._begin(Mix(take_id), lambda done: self._post(Recording(done.take_id, "rendered", "its sound is made")))

    def excerpt(self, job: Excerpt) -> None:
        """Make a take of a stretch, which is kept."""
        line = f"kept: {job.title}" if job.title else "kept"
        self._begin(job, lambda done: self._post(Recording(done.take_id, "rendered", line)))

    def close(self) -> None:
        """End what is not done; the sound of a kept take is then made when it is asked for."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.cancel()

    def _begin(self, job: Job, then: Callable[[Done], None]) -> None:
        threading.Thread(target=self._work, args=(job, then), name="background", daemon=True).start()

    def _work(self, job: Job, then: Callable[[Done], None]) -> None:
        with self._turn:
            with self._lock:
                if self._closed:
                    return
                self._running = Running(self._place, job)
            found = self._running.wait(_nobody)
            with self._lock:
                self._running = None
        if isinstance(found, Done):
            then(found)
        elif found.reason:
            self._post(Notice(f"take {job.take_id}: {found.reason}"))


def _nobody(progress: Progressed) -> None:
    """Nobody watches."""
