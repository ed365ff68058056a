"""Lanes → pyo: the synthesis graph, in double precision, advanced block by block. For rendering processes only.

pyo's *manual* server computes one block when told to: no temporary file, no callback whose exceptions are lost, and
the graph is made when the server's fade-in is over, so that its first sample is the piece's first. The double-precision
build costs no more time and keeps table pointers exact over hours.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonify.effects import reverb
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Lane, Signal
from sonify.lanes import VoiceLanes, points

if TYPE_CHECKING:
    from sonify.score import Reverb

#: Of everything random in a graph; noises differ among each other and repeat themselves in every rendering.
_SEED = 1
#: Longest fade at the end of the reverb, in seconds.
_FADE = 1.0


class Graph:
    """All voices of a score and their reverb, each a stereo track.

    Parameters
    ----------
    voices : mapping of str to VoiceLanes
    settings : Reverb
    duration : float
        Seconds, the tail included.
    sample_rate : int

    Attributes
    ----------
    tracks : list of str
        Names of the voices, and ``reverb`` last where a voice sends to it.
    """

    def __init__(self, voices: Mapping[str, VoiceLanes], settings: Reverb, duration: float, sample_rate: int) -> None:
        os.environ["PYO_GUI_WX"] = "0"
        import pyo64

        self._pyo = pyo64
        self._rate, self._duration = sample_rate, duration
        self._sends: list[Signal] = []
        # A pyo object holds what its constructor was given, but the result of an operator does not hold its operands.
        self._kept: list[Signal] = []
        wet = any(voice.send for voice in voices.values())
        self.tracks = [*voices, "reverb"] if wet else list(voices)
        self._start()
        for i, voice in enumerate(voices.values()):
            self._voice(voice, 2 * i)
        if self._sends:
            self._return(settings, 2 * len(voices))

    def chunks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """The sound from start to end, ``[samples, tracks, 2]``, `size` samples (whole blocks) at a time."""
        total = round(self._duration * self._rate)
        chunk = np.empty((size, len(self.tracks), 2), dtype=np.float32)
        for start in range(0, total, size):
            for at in range(0, min(size, total - start), self._block):
                self._server.process()
                chunk[at : at + self._block] = self._output
            yield chunk[: total - start]

    def close(self) -> None:
        """Stop the server."""
        self._server.stop()
        self._server.shutdown()

    def _start(self) -> None:
        self._block = self._rate // 150  # a divisor of 100 ms at 44.1 and 48 kHz
        channels = 2 * len(self.tracks)
        server = self._pyo.Server(sr=self._rate, nchnls=channels, buffersize=self._block, duplex=0, audio="manual")
        server.setVerbosity(1)
        server.boot()
        server.setGlobalSeed(_SEED)
        server.start()
        server.process()  # the server fades in over 5 ms
        self._server = server
        memory = (ctypes.c_float * (self._block * channels)).from_address(int(server.getOutputAddr(), 16))
        self._output = np.ctypeslib.as_array(memory).reshape(self._block, len(self.tracks), 2)

    def _signal(self, lane: Lane) -> Signal:
        """A number, or a table played from its start at the control rate."""
        values = np.asarray(lane, dtype=np.float64)
        if values.ndim == 0 or values.min() == values.max():
            return float(values.flat[0])
        table = self._pyo.DataTable(len(values))
        np.asarray(table.getBuffer())[:] = values
        return self._keep(self._pyo.TableRead(table, freq=CONTROL_RATE / len(values), loop=0, interp=2).play())

    def _keep(self, signal: Signal) -> Signal:
        self._kept.append(signal)
        return signal

    def _voice(self, voice: VoiceLanes, channel: int) -> None:
        pyo = self._pyo
        instrument = INSTRUMENTS[voice.instrument]
        inputs = instrument.controls(voice.lanes, voice.onsets, points(self._duration), self._rate)
        signals = {name: [self._signal(lane) for lane in group] for name, group in inputs.items()}
        sounds = instrument.build(signals)
        if not sounds:
            return
        sound = self._keep(pyo.Mix(sounds, voices=1, mul=self._signal(voice.amplitude)))
        if np.any(voice.taps):
            tap = pyo.ButLP(pyo.Noise(mul=self._signal(voice.taps)), freq=250)
            sound = self._keep(pyo.Mix([sound, tap], voices=1))
        for side in (0, 1):
            gain = np.cos(np.pi / 4 * (1.0 + (1 - 2 * side) * np.asarray(voice.pan)))  # equal power
            self._keep((sound * self._signal(gain)).out(channel + side))
        if voice.send:
            self._sends.append(sound * voice.send)

    def _return(self, settings: Reverb, channel: int) -> None:
        """The reverb, faded out so that the piece ends in silence."""
        time = np.arange(points(self._duration)) / CONTROL_RATE
        left = np.clip((self._duration - time) / min(_FADE, self._duration / 2), 0.0, 1.0)
        wet = self._keep(reverb(settings, self._pyo.Mix(self._sends, voices=1)))
        wet.mul = self._signal(0.5 - 0.5 * np.cos(np.pi * left))
        wet.out(channel)
