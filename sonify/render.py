"""Offline rendering: resolved score × frames → WAV files at a declared loudness, made in a process of its own.

pyo holds the GIL while it computes and prints where it likes, and a graph that fails in C takes its process along: all
of that stays in a spawned child, which sends back a `Rendering` or a reason.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pieces.signals import DescantError, Frames
from sonify.lanes import VoiceLanes, lanes
from sonify.loudness import Meter
from sonify.wav import LARGEST, StereoWav

if TYPE_CHECKING:
    from pieces.piece import Master
    from sonify.score import ResolvedScore, Reverb


class RenderError(DescantError):
    """Sound that could not be made."""


@dataclass(frozen=True)
class Rendering:
    """What was rendered.

    Attributes
    ----------
    mix : Path
    stems : dict of str to Path
        One for each voice, and ``reverb`` where a voice sends; empty where none were asked for. They sum to the mix.
    sample_rate, samples, duration
        Hertz; per channel; seconds.
    loudness : float
        Integrated loudness of the mix in LUFS; -70 for silence.
    true_peak : float
        dBTP; -200 for silence.
    gain_db : float
        What was added to reach the loudness.
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


def render(resolved: ResolvedScore, frames: Frames, master: Master, folder: Path, stems: bool = True) -> Rendering:
    """Render ``mix.wav`` and ``stem-<voice>.wav`` into `folder`.

    Parameters
    ----------
    resolved : ResolvedScore
    frames : Frames
        Every channel that the score names.
    master : Master
        Loudness, ceiling, sample rate and the seconds after the last tick.
    folder : Path
        Made where it is not there.
    stems : bool
        Whether to keep each voice in a file of its own.

    Raises
    ------
    DescantError
        If the frames cannot be played, the folder cannot be written, or the rendering process fails.
    """
    duration = frames.duration + master.tail
    if 8 * duration * master.sample_rate > LARGEST - 100:
        raise RenderError(
            f"{duration:.0f} s of sound do not fit a WAV file (4 GiB): play fewer ticks, or more a second"
        )
    task = Task(lanes(resolved, frames, master.tail), resolved.score.reverb, duration, master, folder, stems)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.NamedTemporaryFile("r", prefix="descant-", errors="replace") as log:
        child = context.Process(target=_child, args=(theirs, log.name, os.getpid()), daemon=True)
        child.start()
        theirs.close()
        try:
            ours.send(task)  # not an argument: start() would wait for ever on a child that dies before it reads it
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


@dataclass(frozen=True)
class Task:
    """What the child is given."""

    voices: Mapping[str, VoiceLanes]
    reverb: Reverb
    duration: float
    master: Master
    folder: Path
    stems: bool


def _child(pipe: Connection, log: str, parent: int) -> None:
    """Body of the rendering process: takes a task, sends the result; what anything prints goes to `log`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    task = pipe.recv()
    try:
        result: Rendering | DescantError = perform(task, parent)
    except DescantError as error:
        result = error
    except OSError as error:
        result = RenderError(f"{error.filename or task.folder}: cannot be written: {error.strerror}")
    except Exception as error:
        result = RenderError(f"rendering failed: {type(error).__name__}: {error}")
    pipe.send(result)


def perform(task: Task, parent: int) -> Rendering:
    """Make the files, in this process; give up when the process `parent` is gone."""
    from sonify.graph import Graph

    task.folder.mkdir(parents=True, exist_ok=True)
    rate = task.master.sample_rate
    samples = round(task.duration * rate)
    meter = Meter(rate)
    graph = Graph(task.voices, task.reverb, task.duration, rate)
    with ExitStack() as stack:
        mix = stack.enter_context(StereoWav(task.folder / "mix.wav", rate, samples))
        stems = {
            track: stack.enter_context(StereoWav(task.folder / f"stem-{track}.wav", rate, samples))
            for track in (graph.tracks if task.stems else ())
        }
        for chunk in graph.chunks(meter.chunk):
            if os.getppid() != parent:
                raise RenderError("the process that asked for the sound is gone")
            if not np.isfinite(chunk).all():
                broken = graph.tracks[np.argwhere(~np.isfinite(chunk))[0, 1]]
                raise RenderError(f"voice {broken} made a sound that is not finite: narrow the ranges of its lanes")
            total = chunk[:, 0].copy()
            for i in range(1, chunk.shape[1]):
                total += chunk[:, i]
            meter.add(total)
            mix.write(total)
            for i, stem in enumerate(stems.values()):
                stem.write(chunk[:, i])
        graph.close()
        gain_db, limited = meter.gain(task.master.loudness, task.master.ceiling)
        digest = hashlib.sha256()
        for scaled in mix.scale(10 ** (gain_db / 20), meter.chunk):
            digest.update(scaled.data)
        for stem in stems.values():
            for _ in stem.scale(10 ** (gain_db / 20), meter.chunk):
                pass
    return Rendering(
        mix=mix.path,
        stems={track: stem.path for track, stem in stems.items()},
        sample_rate=rate,
        samples=samples,
        duration=samples / rate,
        loudness=meter.loudness(gain_db),
        true_peak=meter.true_peak() + gain_db,
        gain_db=gain_db,
        limited=limited,
        samples_hash=digest.hexdigest(),
    )
