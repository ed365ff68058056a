"""MIDI in: a Standard MIDI File as events in seconds, and a live port that puts the same events into an inbox.

Live ports need python-rtmidi; files do not.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pieces.source import nearest
from sonify.clock import ClockFollower
from sonify.incoming import Inbox, TimedEvent
from sonify.midi import MidiError

if TYPE_CHECKING:
    from mido import Message

Backend = Literal["alsa", "jack"]
#: Seconds between two looks at a port.
_LOOK = 0.001
_PEDAL = 64
#: (N)RPN selection and data entry: these say how to read others, and are no controls.
_DATA, _DATA_FINE, _NRPN, _RPN_FINE, _RPN = 6, 38, (98, 99), 100, 101


class Decoder:
    """MIDI messages → kinds and data of events. It keeps what the channels' messages depend on: the reach of bends
    (RPN 0, 2 semitones by default) and the notes that are held.
    """

    def __init__(self) -> None:
        self._chosen: dict[int, tuple[int, int]] = {}
        self._reach: dict[int, float] = {}
        self._held: dict[tuple[int, int], None] = {}

    def __call__(self, message: Message) -> tuple[str, dict[str, Any]] | None:
        """Kind and data, or None for what is nothing to play with."""
        kind = message.type
        if kind in ("start", "stop", "continue"):
            return kind, {}
        if kind in ("note_on", "note_off"):
            return self._note(message.channel, message.note, message.velocity if kind == "note_on" else 0)
        if kind == "pitchwheel":
            semitones = message.pitch / 8192 * self._reach.get(message.channel, 2.0)
            return "bend", {"semitones": semitones, "channel": message.channel + 1}
        if kind == "control_change":
            return self._control(message.channel, message.control, message.value)
        return None

    def release(self) -> list[tuple[str, dict[str, Any]]]:
        """The ends of all notes that are held."""
        return [self._note(channel, key, 0) for channel, key in list(self._held)]

    def _note(self, channel: int, key: int, velocity: int) -> tuple[str, dict[str, Any]]:
        data = {"midi": key, "velocity": velocity / 127, "channel": channel + 1}
        if velocity:
            self._held[channel, key] = None
            return "note", data
        self._held.pop((channel, key), None)
        return "note_off", data

    def _control(self, channel: int, controller: int, value: int) -> tuple[str, dict[str, Any]] | None:
        coarse, fine = self._chosen.get(channel, (127, 127))
        if controller == _RPN:
            self._chosen[channel] = (value, fine)
        elif controller == _RPN_FINE:
            self._chosen[channel] = (coarse, value)
        elif controller in _NRPN:
            self._chosen[channel] = (127, 127)
        elif controller == _DATA and (coarse, fine) == (0, 0):
            self._reach[channel] = float(value)
        elif controller == _DATA_FINE and (coarse, fine) == (0, 0):
            self._reach[channel] = int(self._reach.get(channel, 2.0)) + value / 100
        elif controller == _PEDAL:
            return "pedal", {"value": value / 127, "channel": channel + 1}
        elif controller not in (_DATA, _DATA_FINE):
            return "control", {"cc": controller, "value": value / 127, "channel": channel + 1}
        return None


def read_midi(path: Path) -> list[TimedEvent]:
    """The events of a Standard MIDI File, in order, in seconds by its tempo map.

    Parameters
    ----------
    path : Path
        Of type 0 or 1, its time in beats.

    Raises
    ------
    MidiError
        If it cannot be read, is none, or has another kind of time.
    """
    import mido

    decode = Decoder()
    try:
        with path.open("rb") as handle:
            file = mido.MidiFile(file=handle, clip=True)
    except OSError as error:
        if error.strerror:
            raise MidiError(f"{path}: cannot be read: {error.strerror}") from None
        raise MidiError(f"{path}: no MIDI file: {error}; give a Standard MIDI File (.mid)") from None
    except Exception as error:  # mido lets through whatever a broken byte makes of its decoding
        raise MidiError(f"{path}: broken MIDI file: {str(error) or type(error).__name__}; export it again") from None
    if file.type == 2 or file.ticks_per_beat < 1:
        what = "its tracks have a time each (type 2)" if file.type == 2 else "its time is not in beats (SMPTE)"
        raise MidiError(f"{path}: {what}; export it as type 0 or 1 with a tempo")
    events, seconds = [], 0.0
    for message in file:
        seconds += message.time
        if decoded := decode(message):
            events.append(TimedEvent(seconds, *decoded))
    return events


def midi_ports(backend: Backend | None = None) -> list[str]:
    """Names of the ports that can be listened to.

    Raises
    ------
    MidiError
        If there is no MIDI system, or python-rtmidi is missing.
    """
    client = _client(backend)
    try:
        return list(client.get_ports())
    finally:
        client.delete()


class MidiIn:
    """A live MIDI port; what it plays goes into an inbox from a thread of its own.

    Parameters
    ----------
    port : str
        Its name, or a part of it that no other port's name has; of a virtual port, the name to give it.
    virtual : bool
        Make a port that others connect to.
    backend : {"alsa", "jack"}, optional
        Default: the first that is there.
    inbox : Inbox, optional
        Shared with other inputs; default one of its own.

    Attributes
    ----------
    name : str
        The port's whole name.
    inbox : Inbox
        Events, on the clock of `time.monotonic`.
    clock : ClockFollower
        Follows the port's MIDI clock.

    Raises
    ------
    MidiError
        If there is no such port, no MIDI system, or python-rtmidi is missing.
    """

    def __init__(
        self, port: str, *, virtual: bool = False, backend: Backend | None = None, inbox: Inbox | None = None
    ) -> None:
        self.inbox = inbox or Inbox()
        self.clock = ClockFollower()
        self._decode = Decoder()
        self._virtual = virtual
        self._ended = threading.Event()
        self._client = _client(backend)
        try:
            with _quiet():
                if virtual:
                    self.name = port
                    self._client.open_virtual_port(port)
                else:
                    self.name = _find(port, self._client.get_ports())
                    self._client.open_port(self._client.get_ports().index(self.name), "in")
        except OSError as error:  # RtMidi's errors are
            self._client.delete()
            raise MidiError(f"MIDI port {port!r}: {error}; see which are free, or give another") from None
        except MidiError:
            self._client.delete()
            raise
        self._client.ignore_types(sysex=True, timing=False, active_sense=True)
        self._thread = threading.Thread(target=self._listen, name="midi in", daemon=True)
        self._thread.start()

    def drain(self) -> list[TimedEvent]:
        """Take the events that have come."""
        return self.inbox.drain()

    def check(self) -> None:
        """See that the port is still there; if it is gone, end the notes that it held.

        Raises
        ------
        MidiError
            Every time that it is not.
        """
        if not self._virtual and self.name not in self._client.get_ports():
            for kind, data in self._decode.release():
                self.inbox.put(kind, data)
            raise MidiError(f"MIDI port {self.name!r} is gone: plug it in and open it again; what it held is released")

    def close(self) -> None:
        """Stop listening."""
        self._ended.set()
        self._thread.join()
        self._client.delete()

    def __enter__(self) -> MidiIn:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _listen(self) -> None:
        """Look for messages: RtMidi collects them without Python, and a callback would hold up JACK for the GIL."""
        looked = time.monotonic()
        while not self._ended.wait(_LOOK):
            received = list(iter(self._client.get_message, None))
            now = time.monotonic()
            # Each message comes with the seconds since the one before it; the last of them came just now.
            since = 0.0
            times = []
            for _, delta in reversed(received):
                times.append(max(now - since, looked))
                since += delta
            for (data, _), seconds in zip(received, reversed(times), strict=True):
                self._receive(data, seconds)
            looked = now

    def _receive(self, data: list[int], seconds: float) -> None:
        import mido

        try:
            message = mido.Message.from_bytes(data)
        except ValueError:
            return
        self.clock.feed(seconds, message.type, getattr(message, "pos", 0))
        if decoded := self._decode(message):
            self.inbox.put(*decoded, seconds=seconds)


def _client(backend: Backend | None) -> Any:
    """RtMidi's side of the first MIDI system that is there."""
    try:
        import rtmidi
    except ImportError:
        raise MidiError("live MIDI needs python-rtmidi, which is not installed: pip install python-rtmidi") from None
    systems = {"alsa": rtmidi.API_LINUX_ALSA, "jack": rtmidi.API_UNIX_JACK}
    if backend is not None:
        systems = {backend: systems[backend]}
    reasons = []
    for name, system in systems.items():
        try:
            with _quiet():
                return rtmidi.MidiIn(system, name="descant")
        except OSError as error:
            reasons.append(f"{name}: {error}")
    raise MidiError(f"no MIDI system ({'; '.join(reasons)}): start one, or connect a device")


def _find(port: str, names: list[str]) -> str:
    found = [n for n in names if n == port] or [n for n in names if port.casefold() in n.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise MidiError(f"MIDI port {port!r} is the name of several: {', '.join(found)}; give more of it")
    raise MidiError(f"no MIDI port {port!r}{nearest(port, names)}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on the terminal: ALSA and JACK print what they then also say in an error."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
