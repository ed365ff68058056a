"""What numpy adds to a block before pyo computes it: gains that move, notes that ring, files that play.

Everything here belongs to the thread that makes blocks; only `Ringing.add` is called by another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonify.instruments.notes import DAMPED

Floats = NDArray[np.float64]
Stereo = NDArray[np.float32]

#: Most notes of a voice that ring together; another one ends the oldest.
_MOST = 192
#: Seconds of the crossfade wherever a file jumps, before the place that it jumps to.
JUMP = 0.005


class Ramp:
    """A number that goes to another one in a straight line.

    Parameters
    ----------
    value : float
        Where it begins.
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value, self.target, self._left = value, value, 0

    def to(self, target: float, samples: int) -> None:
        """Go to a number within so many samples, at least one."""
        self.target, self._left = target, max(samples, 1)

    @property
    def moving(self) -> bool:
        """Whether it is on its way."""
        return self._left > 0

    def block(self, samples: int) -> Floats | float:
        """The next values; a number while it rests."""
        if not self._left:
            return self.value
        steps = np.arange(1, samples + 1)
        reached = self.value + (self.target - self.value) * np.minimum(steps / self._left, 1.0)
        self._left = max(self._left - samples, 0)
        self.value = float(reached[-1]) if self._left else self.target
        return np.asarray(reached)


@dataclass
class _Note:
    first: int
    samples: Floats
    pitch: float
    at: int = 0


class Ringing:
    """The notes, or grains, of one voice.

    Parameters
    ----------
    damped : bool
        Whether a note ends what still rings of its pitch.
    sample_rate : int
    """

    def __init__(self, damped: bool, sample_rate: int) -> None:
        self._damped, self._fade = damped, round(DAMPED * sample_rate)
        self._coming: deque[_Note] = deque()
        self._waiting: list[_Note] = []
        self._sounding: list[_Note] = []

    def add(self, first: int | None, samples: Floats, pitch: float = 0.0) -> None:
        """Sound `samples` from a sample of the engine's time on; None, or what is past, is the next block's first."""
        self._coming.append(_Note(-1 if first is None else first, samples, pitch))

    def inherit(self, other: Ringing) -> None:
        """Sound what another one sounds and is to sound, too."""
        self._sounding += [replace(note) for note in other._sounding]
        self._waiting += [replace(note) for note in (*other._waiting, *list(other._coming))]

    def block(self, start: int, out: Floats) -> int:
        """Fill a block that begins at sample `start`; how many of its notes came too late for their time."""
        late, end = 0, start + len(out)
        while self._coming:
            note = self._coming.popleft()
            late += 0 <= note.first < start
            note.first = max(note.first, start)
            self._waiting.append(note)
        out[:] = 0.0
        begun = [note for note in self._waiting if note.first < end]
        if begun:
            self._waiting = [note for note in self._waiting if note.first >= end]
            for note in sorted(begun, key=lambda note: note.first):
                self._make_room(note, start)
        for note in self._sounding:
            into = max(note.first - start, 0)
            piece = note.samples[note.at : note.at + len(out) - into]
            out[into : into + len(piece)] += piece
            note.at += len(piece)
        self._sounding = [note for note in self._sounding if note.at < len(note.samples)]
        return late

    def _make_room(self, note: _Note, start: int) -> None:
        """Add a note, and end those that it ends."""
        if self._damped:
            for other in self._sounding:
                if other.pitch == note.pitch:
                    self._end(other, note.first, start)
        if len(self._sounding) >= _MOST:
            self._end(self._sounding[0], note.first, start)
            self._sounding.append(self._sounding.pop(0))
        self._sounding.append(note)

    def _end(self, note: _Note, at: int, start: int) -> None:
        """Fade a note out from the moment at which another one begins."""
        left = note.samples[note.at : note.at + max(at - max(start, note.first), 0) + self._fade].copy()
        fall = min(len(left), self._fade)
        left[len(left) - fall :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(fall) + 0.5) / max(fall, 1))
        note.samples, note.at, note.pitch = left, 0, -1.0


@dataclass
class _Head:
    """A place in a file that is being heard, and the gain that it is at."""

    at: int
    gain: Ramp


class Player:
    """A file, read block by block; wherever it jumps, both places are heard for a moment.

    Parameters
    ----------
    samples : ndarray
        [n, 2] float32, at the engine's rate.
    at : int
        Sample at which it begins.
    loop : tuple of int or None
        First sample, and the one after the last.
    sample_rate : int
    ended : callable
        Told once when the end has been played.
    """

    def __init__(
        self, samples: Stereo, at: int, loop: tuple[int, int] | None, sample_rate: int, ended: Callable[[], None]
    ) -> None:
        self._samples, self._jump, self._told = samples, round(JUMP * sample_rate), ended
        self._heads = [_Head(at, Ramp(1.0))]
        self._over = False
        self.loop: tuple[int, int] | None = None
        self.repeat(loop)

    @property
    def at(self) -> int:
        """The sample that is played next."""
        return self._heads[-1].at

    def repeat(self, loop: tuple[int, int] | None) -> None:
        """Repeat a part from now on; at least a few crossfades of it."""
        if loop is not None:
            first = min(max(loop[0], 0), max(len(self._samples) - 4 * self._jump, 0))
            loop = first, max(min(loop[1], len(self._samples)), first + 4 * self._jump)
        self.loop = loop

    def seek(self, to: int) -> None:
        """Go elsewhere."""
        self._go(max(min(to, len(self._samples)), 0))
        self._over = False

    def block(self, out: Floats) -> None:
        """Fill [samples, 2]."""
        out[:] = 0.0
        done = 0
        while done < len(out):
            count = len(out) - done
            if self.loop is not None and self.at < self.loop[1]:
                turn = self.loop[1] - self._jump - self.at
                if turn <= 0:
                    self._go(self.loop[0] - turn)
                    continue
                count = min(count, turn)
            for head in self._heads:
                out[done : done + count] += self._read(head, count)
            self._heads = [h for h in self._heads if h.gain.moving or h.gain.value > 0]
            done += count
        if not self._over and self.loop is None and self.at >= len(self._samples):
            self._over = True
            self._told()

    def _go(self, to: int) -> None:
        """Crossfade to a place, of which all is heard from there on: the fade comes before it."""
        for head in self._heads:
            head.gain.to(0.0, self._jump)
        head = _Head(to - self._jump, Ramp(0.0))
        head.gain.to(1.0, self._jump)
        self._heads.append(head)

    def _read(self, head: _Head, count: int) -> Floats:
        found = np.zeros((count, 2))
        first = max(-head.at, 0)
        piece = self._samples[max(head.at, 0) : max(head.at + count, 0)]
        found[first : first + len(piece)] = piece
        head.at += count
        gain = head.gain.block(count)
        return found * (gain[:, None] if isinstance(gain, np.ndarray) else gain)
