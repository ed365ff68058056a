"""Long work on takes in a process of its own, with progress, and an end at any time: export, trim."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias

from pieces.errors import DescantError

if TYPE_CHECKING:
    from db.archive import Archive
    from studio.rendering import Progress

#: Seconds that a job has to clean up when it is cancelled, before it is killed.
_GRACE = 5.0


@dataclass(frozen=True)
class Export:
    """Write a take's files into a folder, see `studio.files.export`."""

    take_id: str
    folder: Path
    formats: tuple[str, ...]
    stems: bool = False
    mpe: bool = False


@dataclass(frozen=True)
class Stretch:
    """Write a stretch of a take's mix as a sound file, see `studio.trim.write_stretch`."""

    take_id: str
    path: Path
    start: float
    end: float
    fades: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Excerpt:
    """Make a take of a stretch, see `studio.trim.excerpt`."""

    take_id: str
    start: float
    end: float
    fades: tuple[float, float] = (0.0, 0.0)
    title: str = ""
    relation: str = "trim"


@dataclass(frozen=True)
class Mix:
    """Make the sound of a take, where it has none yet."""

    take_id: str


Job: TypeAlias = Export | Stretch | Excerpt | Mix


@dataclass(frozen=True)
class Progressed:
    """How far a job is; a total of 0 says that its length is not known."""

    stage: str
    done: float
    total: float


@dataclass(frozen=True)
class Done:
    """It is done: the files that were written, or the id of the take that was made."""

    paths: tuple[Path, ...] = ()
    take_id: str = ""


@dataclass(frozen=True)
class Failed:
    """It is not done, and nothing of it is left; an empty reason means that it was cancelled."""

    reason: str


class Running:
    """A job that was begun. Its process ends with this one.

    Parameters
    ----------
    place : str
        The archive's path or URL.
    job : Job

    Attributes
    ----------
    job : Job
    """

    def __init__(self, place: str, job: Job) -> None:
        self.job = job
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # Not a daemon: rendering has processes of its own, which daemons may not have.
        self._process = context.Process(target=_body, args=(place, job, theirs))
        # A screen has taken sys.stderr, and what multiprocessing starts first wants its file.
        with redirect_stderr(sys.__stderr__):
            self._process.start()
        theirs.close()
        self._over: Done | Failed | None = None
        self._cancelled = False

    def wait(self, told: Callable[[Progressed], None]) -> Done | Failed:
        """Until it is over; for a thread. `told` hears how far it is."""
        while self._over is None:
            try:
                heard = self._pipe.recv()
            except (EOFError, OSError):
                self._process.join()
                said = f"its process ended with code {self._process.exitcode}: try again"
                self._over = Failed("" if self._cancelled else said)
            else:
                if isinstance(heard, Progressed):
                    told(heard)
                else:
                    self._over = Failed("") if self._cancelled and isinstance(heard, Failed) else heard
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
        return self._over

    def cancel(self) -> None:
        """End it; what was half written goes. Returns at once, `wait` when it is over."""
        self._cancelled = True
        try:
            self._pipe.send("cancel")
        except OSError:
            return
        Thread(target=self._kill_late, daemon=True).start()

    def _kill_late(self) -> None:
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()


def _body(place: str, job: Job, pipe: Connection) -> None:
    """The process: its output goes nowhere, since a line on stderr would tear the screen."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began all this in the background
    Thread(target=_listen, args=(pipe,), daemon=True).start()
    last: list[tuple[str, int]] = []

    def progress(stage: str, done: float, total: float) -> None:
        percent = int(100 * done / total) if total else -1
        if [(stage, percent)] != last:
            last[:] = [(stage, percent)]
            pipe.send(Progressed(stage, done, total))

    try:
        pipe.send(_do(place, job, progress))
    except DescantError as error:
        pipe.send(Failed(str(error)))
    except KeyboardInterrupt:
        pipe.send(Failed("cancelled"))
    except Exception as error:
        pipe.send(Failed(f"{type(error).__name__}: {error}"))


def _listen(pipe: Connection) -> None:
    """Interrupt the work when that is asked for, or when nobody is there any more to ask."""
    import _thread

    with suppress(EOFError, OSError):
        pipe.recv()
    _thread.interrupt_main()


def _do(place: str, job: Job, progress: Progress) -> Done:
    from db.archive import Archive
    from studio.rendering import heard
    from studio.trim import excerpt, write_stretch

    with Archive.open(place, create=False) as archive:
        if isinstance(job, Export):
            return Done(tuple(_export(archive, job, progress)))
        if isinstance(job, Excerpt):
            made = excerpt(
                archive,
                *(job.take_id, job.start, job.end),
                fades=job.fades,
                relation=job.relation,
                title=job.title,
                progress=progress,
            )
            return Done(take_id=made)
        source = heard(archive, archive.take(job.take_id))
        if isinstance(job, Mix):
            return Done((source,), job.take_id)
        with _beside(job.path.parent) as folder:
            write_stretch(source, folder / job.path.name, job.start, job.end, job.fades, progress)
            (folder / job.path.name).replace(job.path)
        return Done((job.path,))


def _export(archive: Archive, job: Export, progress: Progress) -> list[Path]:
    """Files appear in the folder when all of them are complete."""
    from studio.files import export

    with _beside(job.folder) as folder:
        made = export(archive, job.take_id, folder, job.formats, stems=job.stems, mpe=job.mpe, progress=progress)
        return [path.replace(job.folder / path.name) for path in made]


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder in `folder` for files in the making, gone afterwards."""
    from studio.files import check_folder

    made = Path(tempfile.mkdtemp(prefix=".descant-", dir=check_folder(folder)))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
