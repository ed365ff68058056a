"""Strips → pyo: synthesis graphs, in double precision, advanced block by block. For rendering processes only.

pyo's *manual* server computes one block when told to: no temporary file, no callback whose exceptions are lost, and
the graph is made when the server's fade-in is over, so that its first sample is the piece's first. The double-precision
build costs no more time, keeps table pointers exact over hours, and hands float32 through as it is.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonify.desk import GroupLanes, VoiceLanes, points
from sonify.effects import EFFECTS, Stereo
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Signal, silent
from sonify.instruments.sample import read_sample
from sonify.strips import EffectStrip, Given, Sides, Slot, VoiceStrip, group_strip, voice_strip

#: ``[samples, tracks, 2]``.
Sound = NDArray[np.float32]

#: Longest fade, in seconds, of effects that go on when what they are given is over: a piece ends in silence.
_FADE = 1.0


class Graph:
    """A server and what is built on it: stereo tracks made of lanes, and of a stereo sound where one is given.

    Parameters
    ----------
    tracks : int
    duration : float
        Seconds.
    sample_rate : int
    seed : int
        Graphs of different seeds make different noises, the same ones in every rendering.
    """

    def __init__(self, tracks: int, duration: float, sample_rate: int, seed: int) -> None:
        os.environ["PYO_GUI_WX"] = "0"
        import pyo64

        self.pyo = pyo64
        self._duration, self._rate, self._seed, self._runs = duration, sample_rate, seed, 0
        self._points = points(duration)
        self._pointers: dict[int, Signal] = {}
        # A pyo object holds what its constructor was given, but the result of an operator does not hold its operands.
        self._kept: list[Signal] = []
        self._throw()
        self._block = sample_rate // 50  # a divisor of 100 ms, and shorter than the shortest echo
        server = pyo64.Server(
            sr=sample_rate, nchnls=2 * tracks, ichnls=2, buffersize=self._block, duplex=1, audio="manual"
        )
        server.setVerbosity(1)
        server.boot()
        server.start()
        server.process()  # the server fades in over 5 ms
        self._server = server
        self._output = _buffer(ctypes.c_float, server.getOutputAddr(), (self._block, tracks, 2))
        self._input = _buffer(ctypes.c_double, server.getInputAddr(), (self._block, 2))

    def run(self, samples: int, sound: NDArray[np.float32] | None = None) -> Sound:
        """The next `samples`: whole blocks, but for the last time. `sound`, [samples, 2], is what the graph hears."""
        self._throw()
        made = np.empty((-(-samples // self._block) * self._block, *self._output.shape[1:]), dtype=np.float32)
        for at in range(0, len(made), self._block):
            if sound is not None:
                given = sound[at : at + self._block]
                self._input[: len(given)] = given
            self._server.process()
            made[at : at + self._block] = self._output
        return made[:samples]

    def close(self) -> None:
        """Stop the server."""
        self._server.stop()
        self._server.shutdown()

    def signal(self, given: Given) -> Signal:
        """A number, or a table read at the control rate along one pointer for all tables of a length."""
        assert not isinstance(given, Slot)
        values = np.asarray(given, dtype=np.float64)
        if values.ndim == 0 or values.min() == values.max():
            return float(values.flat[0])
        n = len(values)
        if n not in self._pointers:
            self._pointers[n] = self.pyo.Linseg([(0, 0.0), ((n - 1) / CONTROL_RATE, (n - 1) / n)]).play()
        table = self.pyo.DataTable(n)
        np.asarray(table.getBuffer())[:] = values
        self._kept.append(self.pyo.Pointer(table, self._pointers[n]))
        return self._kept[-1]

    def out(self, sound: Stereo, track: int, gains: Sides = (1.0, 1.0)) -> None:
        """Add a sound, each side with its gain, to a track."""
        for i in (0, 1):
            self._kept.append(self.pyo.Sig(sound[i], mul=self.signal(gains[i])).out(2 * track + i))

    def through(self, effects: Sequence[EffectStrip], sound: Stereo) -> Stereo:
        """A sound after a chain of effects."""
        if not any(EFFECTS[strip.effect].rings for strip in effects):
            return chain(effects, sound, self.signal)
        time = np.arange(self._points) / CONTROL_RATE
        left = np.clip((self._duration - time) / min(_FADE, self._duration / 2), 0.0, 1.0)
        sound, fade = chain(effects, sound, self.signal), self.signal(0.5 - 0.5 * np.cos(np.pi * left))
        return self.pyo.Sig(sound[0], mul=fade), self.pyo.Sig(sound[1], mul=fade)

    def _throw(self) -> None:
        """Set pyo's random state, which is one for all servers of a process, to where this graph's next run begins."""
        dice = _dice()
        dice.shutdown()  # resets what pyo counts; boot and a random object then set the state from the seed
        dice.boot()
        dice.setServer()
        dice.setGlobalSeed((self._seed * 1_000_003 + self._runs) * 2_654_435_761 % 0x7FFF_FFFF + 1)
        self.pyo.Noise()
        self._runs += 1


@dataclass(frozen=True)
class Strips:
    """What one bank plays.

    Attributes
    ----------
    voices : mapping of str to VoiceLanes
    ways : tuple of str
        The mix and every group that one of the voices goes into or sends to: a track each.
    seed : int
        As for `Graph`.
    solos : bool
        Whether there is a further track for each voice: what it gives to its `into`.
    """

    voices: Mapping[str, VoiceLanes]
    ways: tuple[str, ...]
    seed: int
    solos: bool

    @property
    def tracks(self) -> int:
        """How many there are."""
        return len(self.ways) + (len(self.voices) if self.solos else 0)


class Bank(Graph):
    """Some voices, each through its inserts, mixed into the ways that lead out of the bank."""

    def __init__(self, strips: Strips, duration: float, sample_rate: int) -> None:
        super().__init__(strips.tracks, duration, sample_rate, strips.seed)
        ways = strips.ways
        for i, voice in enumerate(strips.voices.values()):
            strip = voice_strip(voice, self._points, sample_rate)
            sound = instrument(strip, self.signal)
            if sound is None:
                continue
            stereo = (sound, sound)
            if strip.effects:
                left, right = strip.pan
                sides = self.pyo.Sig(sound, mul=self.signal(left)), self.pyo.Sig(sound, mul=self.signal(right))
                stereo = self.through(strip.effects, sides)
            for way, gains in strip.outs:
                self.out(stereo, ways.index(way), gains)
            if strips.solos:
                self.out(stereo, len(ways) + i, strip.outs[0][1])


class Return(Graph):
    """A group: what it is given through its effects and its gain, one track for its `into` and one for each send."""

    def __init__(self, group: GroupLanes, duration: float, sample_rate: int, seed: int) -> None:
        super().__init__(1 + len(group.sends), duration, sample_rate, seed)
        strip = group_strip(group, sample_rate)
        gain = self.signal(strip.gain)
        sound = self.through(strip.effects, (self.pyo.Input(0), self.pyo.Input(1)))
        sound = self.pyo.Sig(sound[0], mul=gain), self.pyo.Sig(sound[1], mul=gain)
        for track, (_, gains) in enumerate(strip.outs):
            self.out(sound, track, gains)


def instrument(strip: VoiceStrip, signal: Callable[[Given], Signal], pieces: Signal | None = None) -> Signal | None:
    """The mono sound of a voice before its pan.

    Parameters
    ----------
    strip : VoiceStrip
    signal : callable
        What makes a number or a pyo object of a control.
    pieces : Signal, optional
        Live: the sound of the notes or grains of an instrument that is given them one by one.

    Returns
    -------
    Signal or None
        None where nothing sounds.
    """
    import pyo64 as pyo

    if pieces is not None:
        sounds = [pieces]
    else:
        made = INSTRUMENTS[strip.instrument]
        sample = read_sample(strip.sample) if made.needs_sample and strip.sample else None
        controls = {name: [signal(given) for given in lanes] for name, lanes in strip.controls.items()}
        sounds = made.build(controls, sample)
    if not sounds:
        return None
    amplitude = signal(strip.amplitude)
    sound = pyo.Mix(sounds, voices=1, mul=amplitude) if len(sounds) > 1 else pyo.Sig(sounds[0], mul=amplitude)
    taps = signal(strip.taps)
    if not silent(taps):
        sound = pyo.Mix([sound, pyo.ButLP(pyo.Noise(mul=taps), freq=250)], voices=1)
    return sound


def chain(
    effects: Sequence[EffectStrip], sound: Stereo, signal: Callable[[Given], Signal], loops: list[Signal] | None = None
) -> Stereo:
    """A sound after a chain of effects; `loops` is given what must be opened before the graph can go."""
    for strip in effects:
        controls = {name: signal(given) for name, given in strip.controls.items()}
        sound = EFFECTS[strip.effect].build(*sound, controls)
        if loops is not None:
            loops += getattr(sound[0], "loops", [])
    return sound


def _buffer(of: Any, address: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Memory of a server as an array."""
    whole = of * int(np.prod(shape))
    return np.ctypeslib.as_array(whole.from_address(int(address, 16))).reshape(shape)


@cache
def _dice() -> Any:
    """A server of which nothing but pyo's random state is wanted."""
    import pyo64

    server = pyo64.Server(audio="manual")
    server.setVerbosity(1)
    return server.boot()
