"""Voices → strands: what goes through one MIDI channel each, in pulses, with bends and controllers thinned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonify.desk import VoiceLanes
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Lane, Onset
from sonify.mapping import SPACES

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
#: Seconds → the nearest pulses.
Pulses: TypeAlias = Callable[[ArrayLike], Ints]

#: Semitones of a bend: MPE's, and everybody else's.
_WIDE, _NARROW = 48, 2
#: Semitones that a bend may be off its lane: with the rounding of bend and time, less than a cent.
_OFF = 0.006
#: What a controller may be off its values, which are whole: nothing.
_NEXT = 0.4
#: Control points between two bends of a strand, and between two values of one controller, at least.
_BENDS, _VALUES = 10, 20
#: Gain, relative to the voice's loudest, at and below which a drone is silent (-80 dB).
_SILENT = 1e-4
_VOLUME, _PAN, _EXPRESSION = 7, 10, 11
#: Controllers for lanes: the sound controllers, then undefined ones.
_CONTROLLERS = (*range(70, 80), *range(102, 120), *range(20, 32))
#: Strands of an event instrument at most: the channels of a port.
_MOST = 15
#: Velocity of a drone's notes, key of what has no pitch, seconds of a note that has no decay.
_VELOCITY, _KEY, _SHORT = 100, 60, 0.25


class Message(NamedTuple):
    """A channel message. Of those of one pulse, notes end first, then come bends and controllers, then notes begin."""

    pulse: int
    rank: int
    kind: str
    fields: Mapping[str, int]


@dataclass
class Strand:
    """What goes through one channel.

    Attributes
    ----------
    messages : list of Message
        Those of one pulse and rank are in order; the rest need not be.
    bend : int
        The last one, -8192 to 8191.
    ringing : dict
        Key → pulses at which its note began and will end.
    values : dict
        Controller → its last value.
    """

    messages: list[Message] = field(default_factory=list)
    bend: int = 0
    ringing: dict[int, tuple[int, int]] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)

    def begin(self, pulse: int, key: int, velocity: int, end: int) -> None:
        """Begin a note that will end at pulse `end`, or later than it began; one on the same key ends now."""
        if key in self.ringing:
            self._end(pulse, key)
        self.messages.append(Message(pulse, 2, "note_on", {"note": key, "velocity": velocity}))
        self.ringing[key] = (pulse, max(end, pulse + 1))

    def release(self, pulse: int) -> None:
        """End the notes that are over by now."""
        for key, (_, end) in list(self.ringing.items()):
            if end <= pulse:
                self._end(end, key)

    def silence(self, pulse: int) -> None:
        """End all notes now, or as soon as they may."""
        for key, (begin, end) in list(self.ringing.items()):
            self._end(max(min(end, pulse), begin + 1), key)

    def bend_to(self, pulse: int, bend: int) -> None:
        """Bend the channel, if it is not there already."""
        if bend != self.bend:
            self.messages.append(Message(pulse, 1, "pitchwheel", {"pitch": bend}))
            self.bend = bend

    def control(self, pulse: int, controller: int, value: int) -> None:
        """Set a controller, if it is not there already."""
        if self.values.get(controller) != value:
            self.messages.append(Message(pulse, 1, "control_change", {"control": controller, "value": value}))
            self.values[controller] = value

    def _end(self, pulse: int, key: int) -> None:
        self.messages.append(Message(pulse, 0, "note_off", {"note": key, "velocity": 64}))
        del self.ringing[key]


def reach(voice: VoiceLanes, mpe: bool) -> int:
    """Semitones of a voice's bends: wide with MPE, and where a narrow bend does not reach from any key to its pitch."""
    struck = [note.values["pitch"] for note in voice.onsets if "pitch" in note.values]
    keys = _keys(struck or voice.lanes.get("pitch", 440.0))
    return _WIDE if mpe or np.min(keys) < -_NARROW or np.max(keys) > 127 + _NARROW - _OFF else _NARROW


def perform(
    voice: VoiceLanes, pulses: Pulses, duration: float, semitones: int, loudest: float
) -> tuple[list[Strand], list[str]]:
    """What a voice plays, and what its controllers mean.

    Parameters
    ----------
    voice : VoiceLanes
    pulses : callable
        Seconds → pulses.
    duration : float
        Seconds.
    semitones : int
        Of a full bend.
    loudest : float
        Largest gain of all voices, above 0.

    Returns
    -------
    strands : list of Strand
        At least one, at most 15.
    texts : list of str
    """
    end = max(math.ceil(duration * CONTROL_RATE), 1)
    at = pulses(np.minimum(np.arange(end + 1) / CONTROL_RATE, duration))
    gain = _points(voice.amplitude, end)
    peak = float(gain.max()) or 1.0
    moving, texts = _controllers(voice, end)
    if INSTRUMENTS[voice.instrument].on_events:
        notes = [note for note in voice.onsets if note.time < duration]
        strands = _struck(notes, pulses, int(at[-1]), semitones, moving)
    else:
        strands = [_drone(voice, gain > _SILENT * peak, at, semitones)]
        for controller, values in moving.items():
            _follow(strands[0], controller, values, at)
    volume, side = _whole(127 * math.sqrt(peak / loudest)), _whole(64 + 63 * _points(voice.pan, end))
    for strand in strands:
        strand.control(0, _VOLUME, int(volume))
        _follow(strand, _PAN, side, at)
        _follow(strand, _EXPRESSION, _whole(127 * np.sqrt(gain / peak)), at)
    volumes = f"CC 7 = gain: (value / 127)^2 of {loudest:.6g}; CC 11 = gain over time: (value / 127)^2 of CC 7's"
    return strands, [volumes, "CC 10 = pan: 1 left, 64 middle, 127 right", *texts]


def _drone(voice: VoiceLanes, sounds: NDArray[np.bool_], at: Ints, semitones: int) -> Strand:
    """A note for each stretch of sound, struck again where its bend does not reach."""
    strand = Strand()
    keys = _keys(_points(voice.lanes["pitch"], len(sounds))) if "pitch" in voice.lanes else None
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sounds, [False]])))
    for start, end in edges.reshape(-1, 2).tolist():
        held: int | None = None
        line = _thin(keys, _OFF, _BENDS, start, end) if keys is not None else [(start, float(_KEY))]
        for i, key in line:
            pulse = int(at[i])
            if held is None or abs(key - held) > semitones:
                strand.silence(pulse)
                held = _nearest(key)
                strand.begin(pulse, held, _VELOCITY, int(at[end]))
            strand.bend_to(pulse, _bend(key - held, semitones))
        strand.silence(int(at[end]))
    return strand


def _struck(notes: list[Onset], pulses: Pulses, last: int, semitones: int, moving: Mapping[int, Ints]) -> list[Strand]:
    """Notes on as few strands as keep every note at its pitch while it rings, to pulse `last` at most.

    Where 15 are not enough, the oldest notes are ended; notes that begin together on more than 15 are not all played.
    """
    strands = [Strand()]
    for i, note in enumerate(notes):
        begin, end = pulses([note.time, note.time + note.values.get("decay", _SHORT)]).tolist()
        pitch = float(_keys(note.values["pitch"])) if "pitch" in note.values else float(_KEY)
        key = _nearest(pitch)
        bend = _bend(pitch - key, semitones)
        strand = _free(strands, begin, bend)
        if strand is None or strand.ringing.get(key, (-1,))[0] == begin:
            continue
        for controller, values in moving.items():
            strand.control(begin, controller, int(values[i]))
        strand.bend_to(begin, bend)
        strength = note.values.get("velocity", 1.0) * 10 ** (note.values.get("level", 0.0) / 20)
        strand.begin(begin, key, min(max(round(127 * strength), 1), 127), min(end, last))
    for strand in strands:
        strand.silence(last)
    return strands


def _free(strands: list[Strand], pulse: int, bend: int) -> Strand | None:
    """A strand bent that way, a silent one, a new one, or the one whose notes are oldest; None if all began now."""
    for strand in strands:
        strand.release(pulse)
    for strand in strands:
        if strand.bend == bend and strand.ringing:
            return strand
    for strand in strands:
        if not strand.ringing:
            return strand
    if len(strands) < _MOST:
        strands.append(Strand())
        return strands[-1]
    oldest = min(strands, key=lambda strand: max(begin for begin, _ in strand.ringing.values()))
    if any(begin == pulse for begin, _ in oldest.ringing.values()):
        return None
    oldest.silence(pulse)
    return oldest


def _controllers(voice: VoiceLanes, points: int) -> tuple[dict[int, Ints], list[str]]:
    """Controller → values, of every control point or of every note, and what each lane became, as text."""
    found: dict[int, Ints] = {}
    texts = []
    free = list(_CONTROLLERS)
    for name, parameter in INSTRUMENTS[voice.instrument].parameters.items():
        if name in ("pitch", "level"):
            continue
        struck = [note.values.get(name, parameter.default) for note in voice.onsets]
        values = np.array(struck) if struck else _points(voice.lanes.get(name, parameter.default), points)
        low, high = float(values.min()), float(values.max())
        unit = f" {parameter.unit}" if parameter.unit else ""
        if low == high or not free:
            texts.append(f"{name} = {low:.6g}{unit}" if low == high else f"{name} moves: no controller is left for it")
            continue
        forward = SPACES[parameter.space].forward
        found[free[0]] = _whole(127 * (forward(values) - forward(low)) / (forward(high) - forward(low)))
        texts.append(f"CC {free.pop(0)} = {name}: {low:.6g} to {high:.6g}{unit}, {parameter.space}")
    return found, texts


def _follow(strand: Strand, controller: int, values: Ints, at: Ints) -> None:
    """A controller that follows values at the control rate."""
    for i, value in _thin(values, _NEXT, _VALUES, 0, len(values)):
        strand.control(int(at[i]), controller, int(value))


def _thin(lane: Floats | Ints, tolerance: float, gap: int, start: int, end: int) -> Iterator[tuple[int, float]]:
    """The points of a lane from which to hold a value, at least `gap` points apart.

    Each is where the lane leaves the last value by more than `tolerance`. The value is the middle of the lane's next
    `gap` points where it is as near to all of them; else their last, so that a short glide is one step, on time, to
    where it goes.
    """
    at = start
    while at < end:
        ahead = lane[at : min(at + gap + 1, end)]
        low, high = float(ahead.min()), float(ahead.max())
        value = (low + high) / 2 if high - low <= 2 * tolerance else float(ahead[-1])
        yield at, value
        at, size = at + gap, 64
        while at < end:
            away = np.abs(lane[at : min(at + size, end)] - value) > tolerance
            if away.any():
                at += int(away.argmax())
                break
            at, size = at + len(away), 2 * size


def _points(lane: Lane, points: int) -> Floats:
    """The first points of a lane."""
    values = np.asarray(lane, dtype=np.float64)
    return np.broadcast_to(values[:points] if values.ndim else values, points)


def _keys(hertz: ArrayLike) -> Floats:
    """Frequencies as MIDI keys with fractions."""
    return np.asarray(69.0 + 12.0 * np.log2(np.asarray(hertz, dtype=np.float64) / 440.0))


def _nearest(key: float) -> int:
    return min(max(math.floor(key + 0.5), 0), 127)


def _bend(semitones: float, full: int) -> int:
    return min(max(round(semitones / full * 8192), -8192), 8191)


def _whole(values: ArrayLike) -> Ints:
    """Controller values: whole, 0 to 127."""
    return np.clip(np.floor(np.asarray(values) + 0.5), 0, 127).astype(np.int64)
