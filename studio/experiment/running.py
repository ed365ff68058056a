"""Running a study: its trials are handed out, in the order of the design, to processes that finish one after another.

What is done is in the archive; the rest follows from the design. So a study that was killed goes on where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.errors import DescantError
from studio.experiment.design import Design, StudyError, parse
from studio.experiment.freezing import secret_of, standing
from studio.experiment.spending import Spent, since, so_far
from studio.experiment.trials import RUN, Trial, trials
from studio.experiment.works import make
from studio.rendering import Progress, silent

if TYPE_CHECKING:
    from db.archive import Archive
    from db.audience import TrialRecord

#: Why trials are left that no rule has ended.
ELSEWHERE = "what is left is, or waits for, what another process runs: run it again when that is over"
#: Seconds that a process has to end by itself, before it is killed.
_GRACE = 5.0


@dataclass(frozen=True)
class Ran:
    """How far a study is.

    Attributes
    ----------
    experiment_id : str
    done, failed, left : int
        Trials.
    stopped : str
        Why no further trial was begun, where some are left: the rule, and the number that met it.
    failures : mapping of str to str
        By audience: how many of its trials failed, and of what the last one did.
    """

    experiment_id: str
    done: int
    failed: int
    left: int
    stopped: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)


def run(place: str, path: Path, workers: int | None = None, progress: Progress = silent, again: bool = False) -> Ran:
    """Run the study in a file, or go on with it, until all its trials are over or a rule ends it.

    KeyboardInterrupt ends it at once; what was begun and is not done is begun anew by the next call.

    Parameters
    ----------
    place : str
        The archive's path or URL.
    path : Path
        The study's file.
    workers : int, optional
        Processes; default: as the study says.
    again : bool
        Try the trials again that failed.

    Raises
    ------
    DescantError
        If it is not frozen, has changed since, or its works cannot be made.
    """
    from db.archive import Archive

    with Archive.open(place, create=False) as archive:
        record, design = standing(archive, path)
        planned = trials(design, secret_of(record))
        base = path.resolve().parent
        works = make(archive, record.id, design, base, progress)
        begun = {trial.number: trial for trial in archive.studies.trials(record.id)}
        over = {n for n, t in begun.items() if t.status != "running" and not (again and t.status == "failed")}
        todo = deque(trial for trial in planned if trial.number not in over)
        spent = so_far(begun.values())
        spent.begun = len(over)
        hands = _Hands(place, record.id, design, works, again, base)
        try:
            count = min(workers or design.budget.workers, max(1, len(todo)))
            stopped = _dispatched(archive, record.id, design, todo, spent, hands, count, progress)
        finally:
            hands.end()
        found = archive.studies.trials(record.id)
        done, failed = (sum(t.status == status for t in found) for status in ("done", "failed"))
        left = len(planned) - sum(t.status != "running" for t in found)
        return Ran(record.id, done, failed, left, (stopped or ELSEWHERE) if left else "", _failures(found))


def _failures(found: Sequence[TrialRecord]) -> dict[str, str]:
    """A line for each audience of which a trial failed."""
    over = Counter(str(t.factors["audience"]) for t in found if t.status != "running")
    failed = sorted((t for t in found if t.status == "failed"), key=lambda t: str(t.ended))
    count = Counter(str(t.factors["audience"]) for t in failed)
    last = {str(t.factors["audience"]): t.error for t in failed}
    return {name: f"{count[name]} of {over[name]} failed, the last: {line}" for name, line in last.items()}


class _Hands:
    """Processes that run trials, each told which one is next."""

    def __init__(
        self, place: str, experiment_id: str, design: Design, works: Mapping[str, str], again: bool, base: Path
    ) -> None:
        self._what = (place, experiment_id, design.model_dump(mode="json"), dict(works), again, base)
        self.processes: dict[Connection, BaseProcess] = {}

    def begin(self) -> Connection:
        """One more; returns the pipe to it."""
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        # Not a daemon: what is touched in a game is rendered in processes of its own, which daemons may not have.
        process = context.Process(target=_serve, args=(*self._what, theirs))
        with _deaf():
            process.start()
        theirs.close()
        self.processes[pipe] = process
        return pipe

    def lost(self, pipe: Connection) -> int | None:
        """A process has ended by itself; returns its exit code."""
        process = self.processes.pop(pipe)
        process.join()
        pipe.close()
        return process.exitcode

    def end(self) -> None:
        """Nothing more is to be done; what is being done is given up."""
        for pipe in self.processes:
            pipe.close()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(_GRACE)
            if process.is_alive():
                process.kill()
                process.join()
        self.processes.clear()


def _dispatched(
    archive: Archive,
    experiment_id: str,
    design: Design,
    todo: deque[Trial],
    spent: Spent,
    hands: _Hands,
    workers: int,
    progress: Progress,
) -> str:
    """Hand out trials until none is left or a rule ends it; returns the rule.

    A trial is handed out when those of earlier stages are over. One whose process dies is handed out once more, and
    then it has failed.
    """
    busy: dict[Connection, Trial] = {}
    deaths: dict[int, int] = {}
    #: What runs had taken when they were handed out.
    known: dict[int, dict[str, float]] = {}
    over, count = spent.begun, spent.begun + len(todo)
    progress("trials", over, count)
    while todo or busy:
        rule = spent.reached(design.budget, design.stopping)
        while todo and not rule and len(busy) < workers and all(t.stage >= todo[0].stage for t in busy.values()):
            free = [pipe for pipe in hands.processes if pipe not in busy]
            pipe = free[0] if free else hands.begin()
            busy[pipe] = todo.popleft()
            if busy[pipe].task == RUN:
                known[busy[pipe].number] = _noted(archive, experiment_id, busy[pipe])
            spent.begun += 1
            with suppress(OSError):  # it died: noticed below
                pipe.send(busy[pipe])
            rule = spent.reached(design.budget, design.stopping)
        if not busy:
            return rule
        for ready in wait(list(busy)):
            assert isinstance(ready, Connection)
            trial = busy.pop(ready)
            try:
                went, cost = ready.recv()
            except (EOFError, OSError):
                code = hands.lost(ready)
                deaths[trial.number] = deaths.get(trial.number, 0) + 1
                spent.begun -= 1
                if trial.task == RUN:  # what its rounds took was noted, and is not told again
                    noted = _noted(archive, experiment_id, trial)
                    spent.add("left", since(known[trial.number], noted))
                if deaths[trial.number] == 1:
                    todo.appendleft(trial)
                    continue
                _give_up(archive, experiment_id, trial, f"its process ended with code {code}, twice")
                went, cost = "failed", {}
                spent.begun += 1
            if isinstance(cost, str):
                raise StudyError(cost)
            if went != "taken":
                spent.add(went, cost)
            over += 1
            progress("trials", over, count)
    return ""


def _noted(archive: Archive, experiment_id: str, run: Trial) -> dict[str, float]:
    """What a run of steering has taken, as far as it is in the archive."""
    found = (one for one in archive.studies.trials(experiment_id) if one.number == run.number)
    return dict(next((one.cost or {} for one in found), {}))


def _give_up(archive: Archive, experiment_id: str, trial: Trial, line: str) -> None:
    if archive.studies.claim(experiment_id, trial.number, trial.to_json(), keep=trial.task == RUN):
        archive.studies.fail(experiment_id, trial.number, line)


def _serve(
    place: str,
    experiment_id: str,
    design: Mapping[str, Any],
    works: Mapping[str, str],
    again: bool,
    base: Path,
    pipe: Connection,
) -> None:
    """The process: trials come in through the pipe, how they went goes out. It ends with its parent."""
    from db.archive import Archive
    from studio.experiment.attendance import Attendance

    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    try:
        with Archive.open(place, create=False) as archive:
            attendance = Attendance(archive, experiment_id, parse(design, experiment_id), works, again, base)
            while True:
                trial = pipe.recv()
                try:
                    pipe.send(attendance.attempt(trial))
                except DescantError as error:
                    pipe.send(("broken", str(error)))
    except (EOFError, OSError):
        return


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started here ignores Ctrl-C from its first moment on: it is ended by this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(parent: BaseProcess) -> None:
    """End with the parent, whatever a visitor is waiting for."""
    parent.join()
    os._exit(1)
