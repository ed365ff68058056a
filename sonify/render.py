"""Offline rendering: a desk → WAV files at a declared loudness, made in a process of its own.

pyo holds the GIL while it computes and prints where it likes, and a graph that fails in C takes its process along: all
of that stays in a spawned child, which sends back a `Rendering` or a reason, and spawns more where voices are many.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from pieces.errors import DescantError
from sonify.desk import MIX, Desk
from sonify.limiter import Limiter
from sonify.mixdown import mixdown
from sonify.parcel import Parcel, receive
from sonify.wav import LARGEST, StereoWav
from sonify.workers import RenderError, reason

if TYPE_CHECKING:
    from pieces.piece import Master

#: Seconds of one voice that are worth a process, which takes a third of a second to start.
_WORTH = 200.0
#: What the limiter may take from the loudest peak, in dB.
_REDUCTION = 12.0


@dataclass(frozen=True)
class Rendering:
    """What was rendered.

    Attributes
    ----------
    mix : Path
    stems : dict of str to Path
        One for each voice and each group, in this order; empty where none were asked for. A voice's is what it gives
        to the mix or to the group that it goes into, sends excluded; a group's is what it returns. The mix is the sum
        of those that go into it: a voice in a group is heard in the group's.
    sample_rate, samples, duration
        Hertz; per channel; seconds.
    loudness : float
        Integrated loudness of the mix in LUFS; -70 for silence.
    true_peak : float
        dBTP; -200 for silence.
    gain_db : float
        What was added to reach the loudness, before the limiter where there is one.
    limited : bool
        Whether the loudness was missed because of the ceiling.
    samples_hash : str
        SHA-256 of the mix's samples as little-endian float32, interleaved.
    """

    mix: Path
    stems: dict[str, Path]
    sample_rate: int
    samples: int
    duration: float
    loudness: float
    true_peak: float
    gain_db: float
    limited: bool
    samples_hash: str


def render(
    desk: Desk,
    duration: float,
    master: Master,
    folder: Path,
    stems: bool = True,
    *,
    processes: int | None = None,
    markers: Sequence[tuple[float, str]] = (),
) -> Rendering:
    """Render ``mix.wav`` and ``stem-<name>.wav`` into `folder`. The samples are a pure function of the desk.

    Parameters
    ----------
    desk : Desk
    duration : float
        Seconds, the tail included.
    master : Master
        Loudness, ceiling, limiter and sample rate.
    folder : Path
        Made where it is not there.
    stems : bool
        Whether to keep each voice and each group in a file of its own.
    processes : int, optional
        Most processes that play voices beside the rendering one; below 2 it plays them itself. Default: as many as
        there are processors, where the voices are worth it.
    markers : sequence of (float, str)
        Seconds and label, for the files.

    Raises
    ------
    DescantError
        If the desk cannot be played, the folder cannot be written, or a rendering process fails.
    """
    if 8 * duration * master.sample_rate > LARGEST - (1 << 20):
        raise RenderError(
            f"{duration:.0f} s of sound do not fit a WAV file (4 GiB): play fewer ticks, or more a second"
        )
    if processes is None:
        processes = min(os.cpu_count() or 1, int(len(desk.voices) * duration / _WORTH))
    task = Task(
        desk,
        duration,
        master.sample_rate,
        master.loudness,
        master.ceiling,
        _REDUCTION if master.limiter else 0.0,
        folder,
        stems,
        processes,
        tuple(markers),
    )
    return _apart(task)


@dataclass(frozen=True)
class Task:
    """What the child is given. Plain data: reading a piece's own classes takes longer than starting a process."""

    desk: Desk
    duration: float
    sample_rate: int
    loudness: float
    ceiling: float
    reduction: float
    folder: Path
    stems: bool
    processes: int
    markers: tuple[tuple[float, str], ...]


def _apart(task: Task) -> Rendering:
    """`perform`, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.NamedTemporaryFile("r", prefix="descant-", errors="replace") as log:
        child = context.Process(target=_child, args=(theirs, log.name, os.getpid()))
        child.start()
        try:
            theirs.close()
            Parcel(task).send(ours)  # not an argument: start() would wait for ever on a child that dies beforehand
            result = ours.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            child.join()
            said = log.read().strip().splitlines()
            last = f": {said[-1]}" if said else ""
            raise RenderError(f"the rendering process ended with code {child.exitcode}{last}") from None
        finally:
            child.terminate()  # it has nothing left to do, or nobody waits for it
            child.join()
            ours.close()
    if isinstance(result, DescantError):
        raise result
    assert isinstance(result, Rendering)
    return result


def _leave(number: int, frame: object) -> None:
    """Unwind, once, so that half-written files go, and the processes that it started."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit()


def _child(pipe: Connection, log: str, parent: int) -> None:
    """Body of the rendering process: takes a task, sends the result; what anything prints goes to `log`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a keyboard: who asked hears it too, and ends this one
    signal.signal(signal.SIGTERM, _leave)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    task = receive(pipe)
    try:
        result: Rendering | DescantError = perform(task, parent)
    except Exception as error:
        result = reason(error)
    pipe.send(result)


def perform(task: Task, parent: int) -> Rendering:
    """Make the files, in this process; give up when the process `parent` is gone."""
    task.folder.mkdir(parents=True, exist_ok=True)
    rate, samples = task.sample_rate, round(task.duration * task.sample_rate)
    stretch = rate * 6 // 5
    names = (*task.desk.voices, *task.desk.groups) if task.stems else ()
    paths = {MIX: task.folder / "mix.wav"} | {name: task.folder / f"stem-{name}.wav" for name in names}
    limiter = Limiter(rate, task.ceiling)
    with ExitStack() as stack:
        files = {n: stack.enter_context(StereoWav(path, rate, samples, task.markers)) for n, path in paths.items()}
        mixed = mixdown(task.desk, task.duration, rate, stretch, task.stems, task.processes)
        for sounds in stack.enter_context(closing(mixed)):
            if os.getppid() != parent:
                raise RenderError("the process that asked for the sound is gone")
            limiter.add(sounds[MIX])
            for name, file in files.items():
                file.write(sounds[name])
        gain = limiter.settle(task.loudness, task.reduction)
        digest = hashlib.sha256()
        for name, file in files.items():
            for scaled in file.scale(gain.at, stretch):
                if name == MIX:
                    digest.update(scaled.data)
    return Rendering(
        mix=paths.pop(MIX),
        stems=paths,
        sample_rate=rate,
        samples=samples,
        duration=samples / rate,
        loudness=gain.loudness,
        true_peak=gain.true_peak,
        gain_db=gain.gain_db,
        limited=gain.limited,
        samples_hash=digest.hexdigest(),
    )
