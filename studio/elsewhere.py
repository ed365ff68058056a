"""Asking a user's own code, or an installed source, in a process of its own: whatever that loads, prints or breaks."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from pieces.errors import DescantError

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
#: Seconds in which there must be an answer.
_PATIENCE = 60.0


def elsewhere(what: str, ask: Callable[Given, Answer], /, *given: Given.args, **named: Given.kwargs) -> Answer:
    """What a function of a module gives in a process of its own; blocks until it is known.

    Parameters
    ----------
    what : str
        Name of what is asked about.
    ask : callable
    *given, **named
        What it is called with.

    Raises
    ------
    DescantError
        What that raised, or that it took more than a minute, as one line in which that name stands.
    """
    with tempfile.TemporaryDirectory(prefix="descant-ask-") as folder:
        asked, answered = Path(folder) / "asked", Path(folder) / "answered"
        asked.write_bytes(pickle.dumps((ask, given, named)))
        # A plain process, whatever it prints: multiprocessing's would first import what the studio began with.
        code = f"import sys; sys.path = {sys.path!r}; from studio.elsewhere import answer; answer(*sys.argv[1:])"
        no = subprocess.DEVNULL
        try:
            command = [sys.executable, "-c", code, str(asked), str(answered)]
            subprocess.run(command, timeout=_PATIENCE, check=True, stdin=no, stdout=no, stderr=no)
            found, line = pickle.loads(answered.read_bytes())
        except Exception as error:  # what is answered may be of a module that only that process knows
            raise DescantError(f"{what}: its sources cannot be read: {type(error).__name__}") from error
    if line:
        raise DescantError(line if what in line else f"{what}: {line}")
    answer: Answer = found
    return answer


def answer(asked: str, answered: str) -> None:
    """The process: writes what was asked for, or why it cannot be."""
    ask, given, named = pickle.loads(Path(asked).read_bytes())
    try:
        told = pickle.dumps((ask(*given, **named), ""))
    except DescantError as error:
        told = pickle.dumps((None, str(error)))
    except BaseException as error:
        told = pickle.dumps((None, f"its sources cannot be read: {type(error).__name__}: {error}"))
    Path(answered).write_bytes(told)
