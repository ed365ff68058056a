"""The computer keyboard as a piano: two rows of keys, as trackers have them.

A terminal says that a key was pressed, and says it again while it is held; it does not say that it was let go. So a
note lasts `HOLD` seconds, which is longer than most keyboards wait before they repeat, and then for as long as the
repeats come. Of a chord only the key that was pressed last repeats: notes that were struck within `CHORD` seconds hold
together. A key that is pressed again while it sounds strikes again if it comes sooner than any keyboard repeats
(`TAP`), else it is taken for its repeat. Terminals with the kitty keyboard protocol do say when a key is let go; there
notes last exactly as long as their keys are down. While the pedal is down everything is held, so that a chord goes on
while a melody is played over it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["press", "repeat", "release"]
#: What a source or a stage is given: a kind of event, and its data.
Given = list[tuple[str, dict[str, Any]]]

#: White and black keys from C on; the upper row begins an octave above the lower one.
LOWER, UPPER = "zsxdcvgbhnjm,l.;/", "q2w3er5t6y7ui9o0p"
#: Seconds: see above.
HOLD, REPEAT, CHORD, TAP = 0.7, 0.15, 0.08, 0.18
#: The lower row's C as it is at first: the lower row is the bass of `cubics`, both rows are the left hand of `knots`.
BASE = 36
#: What the keys do, for people.
HELP = "z to /, q to p: notes · [ ]: octave · - =: softer, louder · space: pedal · tab: next part · backspace: silence"

_NAMES = {"space": " ", "tab": "\t", "enter": "\t", "\r": "\t", "\n": "\t", "backspace": "\x7f", "\x08": "\x7f"}


def note_of(key: str, base: int = BASE) -> int | None:
    """MIDI number of a key where the lower row's C is `base`; None for a key that is no note."""
    key = key.lower()
    for row, lift in ((LOWER, 0), (UPPER, 12)):
        if len(key) == 1 and key in row:
            midi = base + lift + row.index(key)
            return midi if 0 <= midi <= 127 else None
    return None


@dataclass
class _Note:
    midi: int
    chord: int
    pressed: float
    until: float
    repeats: bool = False


class Piano:
    """Keys → notes and the turn to the next part.

    Attributes
    ----------
    exact : bool
        Whether the terminal says when keys are let go.
    """

    def __init__(self) -> None:
        self.exact = False
        self._base, self._velocity, self._pedal = BASE, 0.7, False
        self._notes: dict[str, _Note] = {}
        self._chord, self._last = 0, -math.inf

    def key(self, key: str, now: float, kind: Kind = "press") -> Given:
        """What a key does.

        Parameters
        ----------
        key : str
            A character, or ``space``, ``tab``, ``enter``, ``backspace``.
        now : float
            Seconds, on any clock that rises.
        kind : {"press", "repeat", "release"}
            As far as it is known.
        """
        key = _NAMES.get(key, key).lower()
        note = self._notes.get(key)
        if kind == "release":
            self.exact = True
            if note is not None:
                note.until = -math.inf
            return self.due(now)
        if note is not None and (kind == "repeat" or not self._again(note, now)):
            self._repeat(note, now)
            return []
        if note_of(key, self._base) is not None:
            return [*self._let_go([key]), *self._strike(key, now)]
        return self._command(key, now) if kind == "press" else []

    def due(self, now: float) -> Given:
        """The ends of notes whose time is over."""
        return [] if self._pedal else self._let_go([k for k, n in self._notes.items() if now >= n.until])

    def silence(self) -> Given:
        """The ends of all notes; the pedal is up."""
        self._pedal = False
        return self._let_go(list(self._notes))

    def _again(self, note: _Note, now: float) -> bool:
        """Whether a key that sounds was pressed again, as far as its times tell."""
        return now >= note.until or (not self.exact and not note.repeats and now - note.pressed < TAP)

    def _strike(self, key: str, now: float) -> Given:
        if now - self._last > CHORD:
            self._chord += 1
        self._last = now
        midi = note_of(key, self._base)
        assert midi is not None
        self._notes[key] = _Note(midi, self._chord, now, math.inf if self.exact else now + HOLD)
        return [("note", {"midi": midi, "velocity": self._velocity})]

    def _repeat(self, note: _Note, now: float) -> None:
        note.repeats = True
        for other in self._notes.values():
            if other.chord == note.chord and not self.exact:
                other.until = now + REPEAT if other.repeats else max(other.until, now + REPEAT)

    def _let_go(self, keys: list[str]) -> Given:
        gone = [self._notes.pop(key) for key in keys if key in self._notes]
        sounding = {note.midi for note in self._notes.values()}
        return [("note", {"midi": note.midi, "velocity": 0.0}) for note in gone if note.midi not in sounding]

    def _command(self, key: str, now: float) -> Given:
        if key in "[]":
            self._base = min(max(self._base + (12 if key == "]" else -12), 0), 84)
        elif key in "-=":
            self._velocity = min(max(round(self._velocity + (0.1 if key == "=" else -0.1), 1), 0.1), 1.0)
        elif key == " ":
            self._pedal = not self._pedal
            return self.due(now)
        elif key == "\t":
            return [("soft", {"value": 1.0}), ("soft", {"value": 0.0})]
        elif key == "\x7f":
            return self.silence()
        return []


#: A key of the kitty protocol: its code, its modifiers (1 and a bit for each), what happened to it.
_KITTY = re.compile(rb"\x1b\[(\d+)(?::\d*)*(?:;(\d*)(?::(\d))?)?(?:;[\d:]*)?u")
#: Any other control sequence: arrows, function keys, answers.
_OTHER = re.compile(rb"\x1b(?:\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]|O.|[^\[O])", re.DOTALL)
#: The terminal's answer to whether it speaks the protocol.
_SPEAKS = re.compile(rb"\x1b\[\?\d+u")
_KINDS: dict[bytes, Kind] = {b"2": "repeat", b"3": "release"}
#: Ctrl-C, which the protocol takes for a key.
INTERRUPT = "\x03"


def decode(data: bytes) -> tuple[list[tuple[str, Kind]], bool, bytes]:
    """What a terminal sent: keys, whether it said that it speaks the kitty protocol, and what is not whole yet."""
    keys: list[tuple[str, Kind]] = []
    speaks, at = False, 0
    while at < len(data):
        if found := _KITTY.match(data, at):
            code, control = int(found[1]), int(found[2] or 1) - 1 & 4
            known = code <= 0x10FFFF and not 0xE000 <= code <= 0xF8FF
            if known:
                keys.append((INTERRUPT if control and code == ord("c") else chr(code), _KINDS.get(found[3], "press")))
        elif found := _SPEAKS.match(data, at):
            speaks = True
        elif found := _OTHER.match(data, at):
            pass
        elif data[at] == 0x1B:
            return keys, speaks, data[at:]
        else:
            keys.append((chr(data[at]), "press"))
            at += 1
            continue
        at = found.end()
    return keys, speaks, b""
