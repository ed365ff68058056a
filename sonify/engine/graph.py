"""Strips → pyo, live: the graph of a deck, and the master that all decks go into. For the engine's process only.

What changes comes in blocks: before each block numpy fills small tables, which pyo then reads (`Block`). So everything
that has a state worth keeping is outside of pyo, and a graph can be made again on another server.

pyo's objects are made, and taken apart, by one thread at a time, and never by the one that makes blocks, whose turn may
come at any moment in between. What is made is silent until it is given a level, what is to go is stopped (`Made`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonify.desk import MIX
from sonify.effects import Stereo
from sonify.engine.patch import Patch, is_in_pieces
from sonify.graph import chain, instrument
from sonify.instruments.base import CONTROL_RATE, Signal
from sonify.strips import Given, GroupStrip, Sides, Slot, VoiceStrip

Floats = NDArray[np.float64]

#: What is louder than this, linear, is a mistake, and so is what is not finite: both are cut off here.
BOUND = 64.0
#: Nothing leaves the master above this: -1 dBFS.
CEILING = 10 ** (-1.0 / 20)
#: Seconds in which a fader follows, and in which panic silences.
_FADER, _PANIC = 0.02, 0.005
#: The limiter: how far it sees ahead, how fast it closes (a time constant), and how fast it opens (the same).
_AHEAD, _CLOSES, _OPENS = 0.0025, 0.0004, 0.08


class Made:
    """All that pyo computes of something, noted while it is made: ``with Made(server) as made``.

    A part of a graph is gone when nobody holds it any more, and a table even while others read it. So what is to go has
    to be stopped before its parts go, one after the other, while blocks are made.
    """

    def __init__(self, server: Any) -> None:
        self._server, self._streams = server, list[Any]()

    def __enter__(self) -> Made:
        self._before = max((stream.getId() for stream in list(self._server.getStreams())), default=0)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        # Places in that list change meanwhile, as others go; numbers rise.
        self._streams = [s for s in list(self._server.getStreams()) if s.getId() > self._before]
        if kind is not None:
            self.stop()

    def stop(self) -> None:
        """Let nothing of it be computed any more."""
        for stream in self._streams:
            stream.getStreamObject().stop()
        self._streams = []


class Block:
    """Values of one block, filled by numpy before it is computed.

    Attributes
    ----------
    values : ndarray
        [samples], to be written into.
    signal : Signal
    """

    def __init__(self, samples: int, rate: int) -> None:
        import pyo64 as pyo

        self._table = pyo.DataTable(samples)
        self.values: Floats = np.asarray(self._table.getBuffer())
        self.signal = pyo.TableRead(self._table, freq=rate / samples, loop=1, interp=1).play()


class Points:
    """Where all slots are read in this block: points between which the block lies, one pointer for all tables.

    Attributes
    ----------
    count : int
        Points that a block needs.
    """

    def __init__(self, samples: int, rate: int) -> None:
        self.count = int(np.ceil(samples * CONTROL_RATE / rate)) + 2
        self._steps = np.arange(samples) * CONTROL_RATE / rate
        self._pointer = Block(samples, rate)

    def set(self, start: float) -> int:
        """Set the block's beginning, in points; the first point that is needed."""
        first = int(np.floor(start + 1e-6))
        self._pointer.values[:] = (max(start - first, 0.0) + self._steps) / self.count
        return first

    def slot(self) -> tuple[Any, Floats, Signal]:
        """A table, its points, and what is read from it."""
        import pyo64 as pyo

        table = pyo.DataTable(self.count)
        return table, np.asarray(table.getBuffer()), pyo.Pointer(table, self._pointer.signal)


class DeckGraph:
    """What one deck plays: a patch, or a file, which are two `Block`s. `Master.graph` makes it.

    Attributes
    ----------
    made : Made
    points : Points
    level : ndarray
        Gain of the deck in this block, to be written into.
    rows : list of ndarray
        Points of each slot, to be written into.
    pieces : dict of str to ndarray
        Voice → the sound of its notes in this block, to be written into.
    file : tuple of ndarray
        Left and right, to be written into.
    out : Stereo
        What goes into the master.
    """

    def __init__(self, samples: int, rate: int, points: Points, made: Made) -> None:
        import pyo64 as pyo

        self.pyo, self.made = pyo, made
        self._samples, self._rate, self.points = samples, rate, points
        self._kept: list[Any] = []
        self._loops: list[Signal] = []
        self._level = Block(samples, rate)
        self.level = self._level.values
        self.rows: list[Floats] = []
        self.pieces: dict[str, Floats] = {}
        self.file: tuple[Floats, ...] = ()
        self.faders: dict[str, Signal] = {}
        self._peaks: dict[str, list[Signal]] = {}
        self.out: Stereo = (pyo.Sig(0.0), pyo.Sig(0.0))

    def play_file(self) -> None:
        """Make it play what `file` is filled with."""
        blocks = Block(self._samples, self._rate), Block(self._samples, self._rate)
        self._kept += blocks
        self.file = tuple(block.values for block in blocks)
        self._end((blocks[0].signal, blocks[1].signal))

    def play_patch(self, patch: Patch, gains: Mapping[str, float]) -> None:
        """Make it play a patch; faders that are not given stand at 1."""
        slots = [self.points.slot() for _ in range(patch.slots)]
        self._kept += slots
        self.rows = [points for _, points, _ in slots]
        self._signals = [signal for *_, signal in slots]
        ways: dict[str, tuple[list[Signal], list[Signal]]] = {way: ([], []) for way in (MIX, *patch.groups)}
        for name, voice in patch.voices.items():
            self.faders[name] = self.pyo.SigTo(gains.get(name, 1.0), time=_FADER, init=gains.get(name, 1.0))
            sound = self._voice(name, voice)
            if sound is not None:
                self._send(sound, voice.outs, ways)
        for name, group in patch.groups.items():
            self.faders[name] = self.pyo.SigTo(gains.get(name, 1.0), time=_FADER, init=gains.get(name, 1.0))
            self._send(self._group(name, group, self._sum(ways[name])), group.outs, ways)
        self._end(self._sum(ways[MIX]))

    def dismiss(self) -> None:
        """Stop, and open loops, so that it goes when nobody holds it any more: nothing looks for circles here."""
        self.made.stop()
        for loop in self._loops:
            loop.value = 0.0

    def peaks(self) -> dict[str, float]:
        """Linear peak of every strip in the last block."""
        return {name: max(float(meter.get()) for meter in meters) for name, meters in self._peaks.items()}

    def peak(self) -> tuple[float, float]:
        """Linear peaks of the deck in the last block."""
        left, right = (float(meter.get()) for meter in self._ends)
        return left, right

    def _voice(self, name: str, strip: VoiceStrip) -> Stereo | None:
        pieces = None
        if is_in_pieces(strip.instrument):
            block = Block(self._samples, self._rate)
            self._kept.append(block)
            self.pieces[name], pieces = block.values, block.signal
        sound = instrument(strip, self._signal, pieces)
        if sound is None:
            return None
        fader = self.faders[name]
        if not strip.effects:
            faded = self._keep(self.pyo.Sig(sound, mul=fader))
            self._peaks[name] = [_meter(faded)]
            return faded, faded
        sides = tuple(self.pyo.Sig(sound, mul=self._signal(gain)) for gain in strip.pan)
        left, right = chain(strip.effects, (sides[0], sides[1]), self._signal, self._loops)
        return self._metered(name, (self.pyo.Sig(left, mul=fader), self.pyo.Sig(right, mul=fader)))

    def _group(self, name: str, strip: GroupStrip, sound: Stereo) -> Stereo:
        sound = chain(strip.effects, sound, self._signal, self._loops)
        gain, fader = self._signal(strip.gain), self.faders[name]
        sides = [self.pyo.Sig(self.pyo.Sig(side, mul=gain), mul=fader) for side in sound]
        return self._metered(name, (sides[0], sides[1]))

    def _metered(self, name: str, sound: Stereo) -> Stereo:
        self._peaks[name] = [_meter(side) for side in sound]
        return sound

    def _send(
        self,
        sound: Stereo,
        outs: Iterable[tuple[str, Sides]],
        ways: Mapping[str, tuple[list[Signal], list[Signal]]],
    ) -> None:
        for way, gains in outs:
            for side, gain, into in zip(sound, gains, ways[way], strict=True):
                into.append(self.pyo.Sig(side, mul=self._signal(gain)))

    def _sum(self, sides: tuple[list[Signal], list[Signal]]) -> Stereo:
        left, right = (self._keep(self.pyo.Mix(side, voices=1) if side else self.pyo.Sig(0.0)) for side in sides)
        return left, right

    def _end(self, sound: Stereo) -> None:
        """Bound, level and meter. `Max` and `Min` let nothing through that is not finite, which `Clip` does."""
        pyo = self.pyo
        bounded = [pyo.Min(pyo.Max(side, -BOUND), BOUND) for side in sound]
        self._ends = [_meter(side) for side in bounded]
        self.out = (pyo.Sig(bounded[0], mul=self._level.signal), pyo.Sig(bounded[1], mul=self._level.signal))
        self._kept.append(bounded)

    def _signal(self, given: Given) -> Signal:
        return self._signals[given.index] if isinstance(given, Slot) else float(np.asarray(given).flat[0])

    def _keep(self, signal: Signal) -> Signal:
        self._kept.append(signal)
        return signal


def _meter(signal: Signal) -> Signal:
    """The peak of each block. Its timer is stopped: it would call Python while a block is computed, and another thread
    could then take out of the server's list what the block has not come to, and with it whatever comes after that."""
    import pyo64 as pyo

    meter = pyo.PeakAmp(signal)
    meter._timer.stop()
    return meter


class Mixdown:
    """The sum of some decks, which is heard from `Master.hear` on.

    Attributes
    ----------
    sides : Stereo
    end : Any
        The stream that is computed last of it.
    """

    def __init__(self, decks: Sequence[DeckGraph], made: Made) -> None:
        import pyo64 as pyo

        self._made = made
        mixes = [pyo.Mix([deck.out[i] for deck in decks], voices=1) if decks else pyo.Sig(0.0) for i in (0, 1)]
        self.sides: Stereo = (mixes[0], mixes[1])
        self._last = pyo.Sig(0.0)
        (self.end,) = (base._getStream() for base in self._last.getBaseObjects())

    def dismiss(self) -> None:
        """Stop: another one is heard."""
        self._made.stop()


class Master:
    """Decks → gain → limiter → panic's gate → the device.

    Parameters
    ----------
    server : Any
        Booted.
    samples, rate : int
        Of a block, and a second.
    gain : float
        Linear, of everything.

    Attributes
    ----------
    heard : tuple of ndarray
        Left and right of the last block, as it went to the device.
    points : Points
    """

    def __init__(self, server: Any, samples: int, rate: int, gain: float) -> None:
        import pyo64 as pyo

        self._server, self._samples, self._rate = server, samples, rate
        server.setServer()
        self.points = Points(samples, rate)
        before = len(server.getStreams())
        self._inputs: Stereo = (pyo.Sig(0.0), pyo.Sig(0.0))
        self._gain = pyo.SigTo(gain, time=_FADER, init=gain)
        self._gate = pyo.SigTo(1.0, time=_PANIC, init=1.0)
        loud = [pyo.Sig(side, mul=self._gain) for side in self._inputs]
        # The gain falls as fast as it must for peaks, and has fallen when they come; what it misses is clipped.
        peak = pyo.Max(pyo.Max(pyo.Abs(loud[0]), pyo.Abs(loud[1])), CEILING)
        held = pyo.Follower2(peak, risetime=0.0, falltime=2 * np.pi * _OPENS)
        wanted = pyo.Pow(pyo.Sig(pyo.Max(held, peak), mul=1 / CEILING), -1.0)
        limit = pyo.Min(pyo.Port(wanted, risetime=_OPENS, falltime=_CLOSES, init=1.0), 1.0)
        late = [pyo.Sig(pyo.Delay(side, delay=_AHEAD, maxdelay=0.01), mul=limit) for side in loud]
        cut = [pyo.Clip(side, -CEILING, CEILING) for side in late]
        ends = [pyo.Sig(side, mul=self._gate).out(i) for i, side in enumerate(cut)]
        tables = [pyo.DataTable(samples) for _ in ends]
        fills = [pyo.TableFill(end, table) for end, table in zip(ends, tables, strict=True)]
        self.heard = tuple(np.asarray(table.getBuffer()) for table in tables)
        self._kept = [loud, peak, held, wanted, limit, late, cut, ends, tables, fills]
        self._order = list(server.getStreams())[before:]
        self._mix = self.mix([])

    def graph(self, build: Callable[[DeckGraph], None]) -> DeckGraph:
        """A graph on this server, silent until its level is set and it is mixed."""
        self._server.setServer()
        with Made(self._server) as made:
            graph = DeckGraph(self._samples, self._rate, self.points, made)
            build(graph)
        return graph

    def mix(self, decks: Sequence[DeckGraph]) -> Mixdown:
        """What `hear` takes to mix these decks."""
        self._server.setServer()
        with Made(self._server) as made:
            return Mixdown(decks, made)

    def hear(self, mix: Mixdown) -> Mixdown:
        """Play a mix from the next block on, and give back the one before; to be called between two blocks.

        pyo computes in the order in which objects were made, so the master's are moved behind the mix.
        """
        for stream in self._order:
            self._server._server.changeStreamPosition(mix.end, stream)  # its wrapper has no such method
        for side, mixed in zip(self._inputs, mix.sides, strict=True):
            side.value = mixed
        mix, self._mix = self._mix, mix
        return mix

    def set_gain(self, gain: float) -> None:
        """Linear gain of everything."""
        self._gain.value = gain

    def silence(self, on: bool) -> None:
        """Close panic's gate, or open it."""
        self._gate.value = 0.0 if on else 1.0
