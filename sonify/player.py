"""Plays a rendered file, in a process of its own, on a sound device where there is one."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from pieces.errors import DescantError

Backend = Literal["portaudio", "jack"]
#: Seconds in which a backend must answer; jack's client may wait for a server that is not there.
_ANSWER = 20.0


class PlayerError(DescantError):
    """No sound device, or it refused."""


def play(path: Path, backend: Backend, progress: Callable[[float, float], None]) -> None:
    """Play a WAV file to its end.

    Parameters
    ----------
    path : Path
        A float or integer WAV.
    backend : {"portaudio", "jack"}
    progress : callable
        Told the seconds played, about four times a second, and the seconds there are.

    Raises
    ------
    PlayerError
        If there is no device, or the sound process stops answering; the file stays where it is.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_play, args=(str(path), backend, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            if not ours.poll(_ANSWER):
                raise PlayerError(f"no sound through {backend}: it does not answer; the sound is in {path}")
            answer = ours.recv()
            if answer is None:
                return
            if isinstance(answer, str):
                raise PlayerError(f"no sound through {backend}: {answer}; the sound is in {path}")
            progress(*answer)
    except EOFError:
        raise PlayerError(f"no sound through {backend}: the sound process ended; the sound is in {path}") from None
    finally:
        process.terminate()
        process.join(5)


def _play(path: str, backend: Backend, pipe: Connection) -> None:
    """The sound process: its output goes nowhere, since pyo and ALSA write to the terminal."""
    os.environ["PYO_GUI_WX"] = "0"
    os.environ.setdefault("JACK_NO_START_SERVER", "1")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    import time

    import pyo

    if backend == "portaudio" and (pyo.pa_count_devices() < 1 or pyo.pa_get_default_output() < 0):
        pipe.send("there is no output device")
        return
    frames, duration, rate, *_ = pyo.sndinfo(path)
    server = pyo.Server(sr=rate, nchnls=2, buffersize=1024, duplex=0, audio=backend, jackname="descant")
    server.setVerbosity(0)
    server.deactivateMidi()
    server.boot()
    if not server.getIsBooted():
        pipe.send("the server could not be opened")
        return
    player = pyo.SfPlayer(path).out()
    blocks = [0]

    def block() -> None:
        blocks[0] += 1

    server.setCallback(block)
    server.start()
    while player.isOutputting() and blocks[0] * 1024 < frames + 2048:
        time.sleep(0.25)
        pipe.send((min(blocks[0] * 1024 / rate, duration), duration))
    server.stop()
    pipe.send(None)
