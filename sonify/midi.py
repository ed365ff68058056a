"""A desk → a Standard MIDI File: what the voices play, as notes, pitch bends and controllers for any other studio.

The first track holds tempo, metre and markers; then comes one for each voice, in time, in tune and without any sound of
its own: programs, effects and sends are the other studio's.

Pitch bends are a channel's, so whatever sounds at one time at different distances from its keys takes a channel each: a
drone one, an event instrument as many as it needs, up to 15. All voices share the 15 channels of a port while they fit
(channel 10 stays free for drums, with MPE channel 1 for the zone's manager); the next voice then begins the next port,
which a *MIDI port* event in its track says. Programs that know no ports keep the tracks apart all the same.

References
----------
MIDI Manufacturers Association: Standard MIDI Files 1.0 (RP-001); General MIDI 2 (RP-024: gain = (value / 127)² for
CC 7 and CC 11, pan from 1 to 127 around 64); MIDI Polyphonic Expression 1.0 (RP-053).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pieces.errors import DescantError
from sonify.desk import Desk
from sonify.midi_strands import Strand, perform, reach
from sonify.wav import printable

if TYPE_CHECKING:
    from mido import MetaMessage, MidiFile, MidiTrack

Ints = NDArray[np.int64]

#: Pulses of a quarter note are a multiple of this, such that one lasts at most so many seconds.
_BEAT, _PULSE = 960, 1e-3
#: Tempi that a file can hold at that resolution.
_SLOWEST, _FASTEST = 4.0, 1000.0
#: Channels of a port (from 0), without the drums' and with MPE without the manager's.
_CHANNELS = (*range(9), *range(10, 16))
_MEMBERS = tuple(range(1, 16))


class MidiError(DescantError):
    """MIDI that cannot be written, read or heard."""


class TempoMap:
    """Seconds → pulses. Tempi are kept in whole microseconds a beat, as the file does, so that seconds stay right.

    Parameters
    ----------
    tempi : sequence of (float, float)
        Seconds, rising, and beats a minute from then on; the first holds from the start.

    Attributes
    ----------
    resolution : int
        Pulses of a beat.
    changes : list of (int, int)
        Pulse, and microseconds a beat from there on.
    """

    def __init__(self, tempi: Sequence[tuple[float, float]]) -> None:
        times = [t for t, _ in tempi]
        if not tempi or times != sorted(set(times)) or not 0 <= times[0] <= times[-1] < math.inf:
            raise MidiError(f"tempi at {times} s: allowed are rising times from 0; give each tempo once, in order")
        for seconds, bpm in tempi:
            if not _SLOWEST <= bpm <= _FASTEST:
                allowed = f"allowed is {_SLOWEST:g} to {_FASTEST:g}"
                raise MidiError(f"tempo at {seconds:g} s: {bpm:g} beats a minute: {allowed} in a MIDI file")
        slowest = 60 / min(bpm for _, bpm in tempi)
        self.resolution = _BEAT * math.ceil(slowest / _PULSE / _BEAT)
        beats = np.array([round(60e6 / bpm) for _, bpm in tempi])
        self._pulses = beats / 1e6 / self.resolution
        self._starts = np.zeros(len(tempi), dtype=np.int64)
        self._seconds = np.zeros(len(tempi))
        for i, begins in enumerate(times[1:], 1):
            pulses = round((begins - self._seconds[i - 1]) / self._pulses[i - 1])
            self._starts[i] = self._starts[i - 1] + pulses
            self._seconds[i] = self._seconds[i - 1] + pulses * self._pulses[i - 1]
        self.changes = list(zip(self._starts.tolist(), beats.tolist(), strict=True))

    def pulses(self, seconds: ArrayLike) -> Ints:
        """The nearest pulse to each time."""
        time = np.asarray(seconds, dtype=np.float64)
        i = np.maximum(np.searchsorted(self._seconds, time, side="right") - 1, 0)
        return np.asarray(self._starts[i] + np.floor((time - self._seconds[i]) / self._pulses[i] + 0.5), dtype=np.int64)


def write_midi(
    desk: Desk,
    path: Path,
    *,
    duration: float,
    tempi: Sequence[tuple[float, float]] = ((0.0, 120.0),),
    beats_per_bar: int = 4,
    markers: Sequence[tuple[float, str]] = (),
    mpe: bool = False,
) -> Path:
    """Write the voices of a desk as a Standard MIDI File of type 1.

    Onsets become notes of their `decay`, within 1 cent and 0.5 ms. A drone becomes a note for each stretch in which it
    is not silent, struck again where its pitch leaves the reach of the bend; its pitch is bent at most 100 times a
    second: within 1 cent of the lane while that moves slower than 100 cents a second, and always within 1 cent of where
    the lane is within the next 10 ms, so that a short glide is one step, on time. Gain is CC 7 (the voice among the
    others) and CC 11 (over time), place CC 10; every other lane that moves has a controller of its own, from its lowest
    to its highest value, as text in the track says.

    Parameters
    ----------
    desk : Desk
    path : Path
    duration : float
        Seconds; what comes later is left out.
    tempi : sequence of (float, float)
        Seconds, rising, and quarter notes a minute from then on, 4 to 1000; the first holds from the start.
    beats_per_bar : int
        Quarter notes of a bar, 1 to 255.
    markers : sequence of (float, str)
        Seconds and label of sections and events.
    mpe : bool
        Bends of 48 semitones in MPE zones of 15 member channels. Otherwise bends are of 2 semitones; of 48 in a voice
        that leaves MIDI's keys. RPN 0 says so in each channel.

    Raises
    ------
    MidiError
        If a tempo, the metre or a marker cannot be written, there are too many voices, or the file cannot be made.
    """
    import mido

    tempo = TempoMap(tempi)
    file = mido.MidiFile(type=1, ticks_per_beat=tempo.resolution, charset="utf-8")
    file.tracks.append(_conductor(tempo, duration, beats_per_bar, markers))
    loudest = max((float(np.max(v.amplitude)) for v in desk.voices.values()), default=0.0) or 1.0
    port, free = -1, 0
    for name, voice in desk.voices.items():
        semitones = reach(voice, mpe)
        strands, texts = perform(voice, tempo.pulses, duration, semitones, loudest)
        if opens := len(strands) > free:
            port, free = port + 1, len(_CHANNELS)
        if port > 127:
            raise MidiError(f"{len(desk.voices)} voices: all 128 MIDI ports are full at {name!r}; play fewer voices")
        channels = (_MEMBERS if mpe else _CHANNELS)[-free:][: len(strands)]
        free -= len(strands)
        head = _head(name, port, channels, semitones, texts, opens=mpe and opens)
        file.tracks.append(_track(head, strands, channels, int(tempo.pulses(duration))))
    _save(file, path)
    return path


def _save(file: MidiFile, path: Path) -> None:
    try:
        with path.open("wb") as handle:
            file.save(file=handle)
    except OSError as error:
        raise MidiError(f"{path}: cannot be written: {error.strerror}") from None


def _head(
    name: str, port: int, channels: Sequence[int], semitones: int, texts: Sequence[str], *, opens: bool
) -> list[Any]:
    """What a voice's track says first: name, port, what bends and controllers mean; the MPE zone if it `opens` one."""
    import mido

    bends = f"pitch bend {semitones} semitones (RPN 0) in channels {', '.join(str(c + 1) for c in channels)}"
    head: list[Any] = [mido.MetaMessage("track_name", name=printable(name)), mido.MetaMessage("midi_port", port=port)]
    head += [mido.MetaMessage("text", text=text) for text in (bends, *texts)]
    head += _parameter(0, 6, len(_MEMBERS)) if opens else []
    return head + [message for channel in channels for message in _parameter(channel, 0, semitones)]


def _conductor(tempo: TempoMap, duration: float, beats: int, markers: Sequence[tuple[float, str]]) -> MidiTrack:
    """The track of tempo, metre and markers."""
    import mido

    if not 1 <= beats <= 255:
        raise MidiError(f"{beats} beats in a bar: allowed is 1 to 255 in a MIDI file")
    timed: list[tuple[int, MetaMessage]] = [(0, mido.MetaMessage("time_signature", numerator=beats, denominator=4))]
    timed += [(pulse, mido.MetaMessage("set_tempo", tempo=beat)) for pulse, beat in tempo.changes]
    for seconds, label in markers:
        if not 0 <= seconds < math.inf:
            raise MidiError(f"marker {printable(label)!r} at {seconds} s: allowed are times from 0")
        timed.append((int(tempo.pulses(seconds)), mido.MetaMessage("marker", text=printable(label))))
    end = int(tempo.pulses(duration))
    return _timed([], [one for one in timed if one[0] <= end], end)


def _track(head: Sequence[Any], strands: Sequence[Strand], channels: Sequence[int], end: int) -> MidiTrack:
    """A voice's track: head, then everything in time."""
    import mido

    messages = sorted(
        ((m, c) for strand, c in zip(strands, channels, strict=True) for m in strand.messages),
        key=lambda message: message[0][:2],
    )
    return _timed(head, [(m.pulse, mido.Message(m.kind, channel=c, **m.fields)) for m, c in messages], end)


def _timed(head: Sequence[Any], timed: Sequence[tuple[int, Any]], end: int) -> MidiTrack:
    """A track of messages at pulses."""
    import mido

    track, now = mido.MidiTrack(head), 0
    for pulse, message in sorted(timed, key=lambda one: one[0]):
        message.time, now = pulse - now, pulse
        track.append(message)
    track.append(mido.MetaMessage("end_of_track", time=max(end - now, 0)))
    return track


def _parameter(channel: int, number: int, value: int) -> list[Any]:
    """A registered parameter, and the null one after it, so that no later data entry changes it."""
    import mido

    pairs = ((101, 0), (100, number), (6, value), (38, 0), (101, 127), (100, 127))
    return [mido.Message("control_change", channel=channel, control=c, value=v) for c, v in pairs]
