"""MIDI clock → tempo and beat.

Clocks come 24 to a quarter note and jitter by milliseconds. A line fitted by least squares to the last 96 (four beats)
gives period and phase: a jitter of ±e per clock moves the period by 9 e / 96 at worst, whatever its pattern.
"""

from __future__ import annotations

from collections import deque

import numpy as np

#: Clocks to a quarter note, and to a step of song position (a sixteenth).
PER_BEAT = 24
_PER_STEP = 6
_WINDOW = 4 * PER_BEAT
#: Clocks that stray this far (seconds) to one side of the line for this long (seconds) are a new tempo; a hiccup,
#: after which late clocks come all at once, is shorter.
_STRAY, _LASTING = 0.012, 0.15
#: Seconds without a clock after which the next one starts anew.
_SILENCE = 1.0


class ClockFollower:
    """Follows a clock that is fed to it message by message; needs no port, and may be read from another thread.

    Attributes
    ----------
    running : bool
        Whether the other side plays: after ``start`` or ``continue``, until ``stop``.
    """

    def __init__(self) -> None:
        self.running = False
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._strays: list[float] = []  # how far each of the last clocks strayed
        self._position = -1  # clocks since the start of the song; -1 is before the first
        #: Position, time and period of the last clock on the line; one tuple, so that a reader sees all or none.
        self._line: tuple[int, float, float] | None = None

    def feed(self, seconds: float, message: str, position: int = 0) -> None:
        """Take a message.

        Parameters
        ----------
        seconds : float
            When it came, on any clock that rises.
        message : str
            ``clock``, ``start``, ``stop``, ``continue`` or ``songpos``; anything else is no business of a clock's.
        position : int
            Of ``songpos``: sixteenth notes from the start of the song.
        """
        if message == "clock":
            self._clock(seconds)
            return
        if message == "songpos":
            self._position = position * _PER_STEP - 1
        elif message == "start":
            self._position = -1
        if message in ("start", "stop", "continue"):
            self.running = message != "stop"
        if self._line is not None:
            self._line = (self._position, *self._line[1:])

    @property
    def tempo(self) -> float | None:
        """Quarter notes a minute; None until a few clocks have come."""
        return None if self._line is None else 60.0 / (PER_BEAT * self._line[2])

    def beat(self, seconds: float) -> float | None:
        """Quarter notes since the start of the song at a time; None while the tempo is unknown.

        It stands still while the other side has stopped, and at most a beat after the last clock.
        """
        line = self._line
        if line is None:
            return None
        position, last, period = line
        since = min(max((seconds - last) / period, -1.0), PER_BEAT) if self.running else 0.0
        return max(position + since, 0.0) / PER_BEAT

    def _clock(self, seconds: float) -> None:
        if self.running:
            self._position += 1
        times = self._times
        if times and not 0 <= seconds - times[-1] <= _SILENCE:
            times.clear()
            self._strays.clear()
            self._line = None
        times.append(seconds)
        if len(times) < 3:
            return
        last, period = _fit(times)
        stray = seconds - last
        if abs(stray) < _STRAY or (self._strays and stray * self._strays[0] < 0):
            self._strays.clear()
        else:
            self._strays.append(stray)
        recent = list(times)[-len(self._strays) :]
        if len(self._strays) > 2 and recent[-1] - recent[0] > _LASTING:
            self._strays.clear()
            times.clear()
            times.extend(recent)
            last, period = _fit(times)
        self._line = (self._position, last, period)


def _fit(times: deque[float]) -> tuple[float, float]:
    """Time of the last clock on the line through all, and the period (positive, however they came)."""
    first = times[0]
    since = np.array(times) - first
    index = np.arange(len(since)) - (len(since) - 1) / 2
    period = max(float(index @ since / (index @ index)), 1e-3)
    return first + float(since.mean()) + period * index[-1], period
