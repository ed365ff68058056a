"""Banks of voices, played side by side in processes of their own.

A bank is a graph by itself, and the score alone says what it plays. So the sound is the same, bit for bit, whatever the
number of processes and whichever of them plays a bank. A process plays its banks in turn, one stretch after the other,
no faster than its sounds are taken: memory does not grow with the piece.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import numpy as np

from pieces.errors import DescantError
from sonify.graph import Bank, Sound, Strips
from sonify.parcel import Parcel, receive


class RenderError(DescantError):
    """Sound that could not be made."""


@dataclass(frozen=True)
class Work:
    """Banks to be played, in stretches of some samples each."""

    banks: tuple[Strips, ...]
    duration: float
    sample_rate: int
    stretches: tuple[int, ...]


def play(work: Work) -> Generator[Sound]:
    """For each stretch the sound of each bank, made in this process."""
    graphs = [Bank(strips, work.duration, work.sample_rate) for strips in work.banks]
    for samples in work.stretches:
        for graph in graphs:
            yield graph.run(samples)
    for graph in graphs:
        graph.close()


def play_apart(work: Work, processes: int) -> Generator[Sound]:
    """The same, made in `processes` spawned ones, which end with this generator or with the process that it is in.

    Raises
    ------
    RenderError
        If one of them dies.
    DescantError
        If one of them cannot play what it was given.
    """
    context = multiprocessing.get_context("spawn")
    workers: list[SpawnProcess] = []
    pipes: list[Connection] = []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            workers.append(context.Process(target=_worker, args=(theirs,), daemon=True))
            workers[-1].start()
            theirs.close()
            pipes.append(ours)
        parcel = Parcel(work)
        for i, pipe in enumerate(pipes):
            parcel.send(pipe)
            pipe.send((i, processes))
        for samples in work.stretches:
            for i, strips in enumerate(work.banks):
                yield _take(pipes[i % processes], (samples, strips.tracks, 2))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        ended = wait([worker.sentinel for worker in workers])
        dead = next(worker for worker in workers if worker.sentinel in ended)
        dead.join()  # its pipes close a little before it is over
        raise RenderError(f"a rendering process ended with code {dead.exitcode}: render again") from None
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
        for pipe in pipes:
            pipe.close()


def reason(error: Exception) -> DescantError:
    """What to tell of an error."""
    if isinstance(error, DescantError):
        return error
    if isinstance(error, OSError) and error.filename:
        return RenderError(f"{error.filename}: cannot be written: {error.strerror}")
    return RenderError(f"rendering failed: {type(error).__name__}: {error}")


def _take(pipe: Connection, shape: tuple[int, ...]) -> Sound:
    data = pipe.recv_bytes()
    if not data:
        raise pipe.recv()
    return np.frombuffer(data, dtype=np.float32).reshape(shape)


def _worker(pipe: Connection) -> None:
    """Body of a process: takes its work; sends its sounds, or nothing and then a reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with who started it
    with suppress(EOFError, ConnectionError):  # nobody listens any more
        work = receive(pipe)
        first, step = pipe.recv()
        for made in _told(replace(work, banks=work.banks[first::step])):
            if isinstance(made, DescantError):
                pipe.send_bytes(b"")
                pipe.send(made)
            else:
                pipe.send_bytes(made.data)


def _told(work: Work) -> Iterator[Sound | DescantError]:
    try:
        yield from play(work)
    except Exception as error:
        yield reason(error)
