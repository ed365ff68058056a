"""How long one waits for sound, from Space on: after a piece was opened at once, and after it was looked at."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.benchmarks.measure import Row

if TYPE_CHECKING:
    from studio.session import Session

#: Pieces: that of a first run, and others that load more. Only the first has a goal.
FIRST, OTHERS = "knots", ("digits", "canon", "strata", "night-ride")
#: Seconds that a piece is looked at before it is played, where it is not played at once.
LOOKED_AT = 2.0
#: Linear peak from which on it sounds, and seconds after which it never will.
HEARD, LONG = 1e-4, 60.0


def rows() -> Iterator[Row]:
    for name in (FIRST, *OTHERS):
        for wait in (0.0, LOOKED_AT):
            took = _first_sound(name, wait)
            goal = ("<= 3", took <= 3) if name == FIRST else ("-", None)
            when = f"{wait:g} s after it was opened" if wait else "at once"
            yield Row(f"Space to first sound, {name}, {when}", took, "s", *goal)


def _first_sound(name: str, wait: float) -> float:
    with _opened(name) as session:
        time.sleep(wait)
        session.play()
        return _until(lambda: _sounds(session))


@contextmanager
def _opened(name: str) -> Iterator[Session]:
    from studio.session import Session

    with tempfile.TemporaryDirectory() as home:
        os.environ["DESCANT_HOME"] = home
        reports: deque[object] = deque(maxlen=1)
        session = Session(reports.append, backend="silent")
        try:
            session.open(name)
            yield session
        finally:
            session.close()


def _sounds(session: Session) -> bool:
    state = session.sound.state()
    return state is not None and max(state.peak) > HEARD


def _until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > LONG:
            raise TimeoutError("it does not sound")
        time.sleep(0.005)
    return time.monotonic() - began
