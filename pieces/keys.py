"""Keys: what a performer holds down, and the pedals; left alone it plays a phrase and turns the pages by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pieces.signals import Channel, Control, Event, FrameBlock, Value
from pieces.source import Source, SourceError

#: Notes that can sound at once.
SLOTS = 6
#: Places in a slot.
_NOTE, _STRUCK, _SOUNDS, _DOWN, _SINCE = range(5)
#: What it plays by itself in its first, second, ... part and round again: chords, one after the other (MIDI numbers).
PHRASES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((57,), (64,), (60,), (67,), (62,), (69,), (64,), (72,)),
    ((45, 52, 57), (45, 52, 57), (41, 48, 57), (41, 48, 57)),
    ((43, 50, 59), (43, 50, 59), (40, 47, 56), (40, 47, 56)),
    ((57,), (69,), (60,), (72,), (64,), (76,), (67,), (57, 64, 72)),
)


class Keys(Source):
    """The keys of a performer, each note in a slot of its own, so that every one can be a voice.

    A note takes the slot that has been free the longest; where none is free, that of the oldest note. While the pedal
    (MIDI controller 64) is down a note that was let go stays. The soft pedal (67) goes to the next part of a piece,
    whose sections end ``until`` the event ``next_part``; ``end`` ends the piece. From the first event on it is played;
    until then it plays by itself, a chord every `every` ticks, and goes on to the next part after `turn` ticks.
    """

    name = "keys"
    about = "what a performer plays: held notes and pedals; left alone it plays a phrase"
    clocked = False
    channels = (
        Channel("notes", "the note in each slot, kept when it is let go", "MIDI", (24.0, 96.0), (SLOTS,)),
        Channel("struck", "how hard the note in each slot was struck, kept when it is let go", shape=(SLOTS,)),
        Channel("held", "1 while the note in each slot sounds", shape=(SLOTS,)),
        Channel("sounding", "notes that sound", "notes", (0.0, float(SLOTS))),
        Channel("latest", "the note that was struck last", "MIDI", (24.0, 96.0)),
        Channel("part", "parts that were gone to, from 1 on", "", (1.0, 4.0)),
    )
    controls = (
        Control("every", "left alone: ticks from one chord to the next", 50, (2, 10_000), unit="ticks"),
        Control("turn", "left alone: ticks from one part to the next", 1000, (1, 1_000_000), unit="ticks"),
    )
    listens = {
        "note": "midi and velocity; velocity 0 lets the key go",
        "pedal": "value of the sustaining pedal: from 0.5 on notes stay",
        "soft": "value of the soft pedal: when it is pressed (0.5 and more) the next part begins",
        "await": "it is going to be played, and waits for notes",
        "end": "the performer is done",
    }
    emits = {
        "note": "left alone: a note is struck, or let go",
        "next_part": "the performer goes on to the next part",
        "ended": "the performer is done: the piece ends",
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        #: Slots: note, how hard it was struck, whether it sounds, whether its key is down, when that last changed.
        self._slots: list[list[float]] = [[60, 0.0, 0, 0, slot - SLOTS] for slot in range(SLOTS)]
        self._counts = {"tick": 0, "clock": 0, "played": 0, "pedal": 0, "soft": 0, "part": 1, "latest": 60, "chord": 0}

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """Make `n` ticks; see `Source.step`."""
        counts, first = self._counts, self._counts["tick"]
        emitted: list[Event] = []
        if events and not counts["played"]:
            counts["played"] = 1
            self._let_go_of_own(emitted)
        for event in events:
            self._hear(event, emitted)
        rows: dict[str, list[Any]] = {c.name: [] for c in self.channels}
        for _ in range(n):
            if not counts["played"]:
                self._play(controls, emitted)
            notes, struck, held, *_ = zip(*self._slots, strict=True)
            row = (notes, struck, held, sum(held), counts["latest"], counts["part"])
            for name, value in zip(rows, row, strict=True):
                rows[name].append(value)
            counts["tick"] += 1
        arrays = {name: np.asarray(values, dtype=np.float32) for name, values in rows.items()}
        return FrameBlock(first, arrays, tuple(emitted))

    def _hear(self, event: Event, emitted: list[Event]) -> None:
        counts = self._counts
        if event.kind == "note":
            midi, velocity = note(event)
            if velocity > 0:
                self._strike(midi, velocity)
            else:
                self._let_go(midi)
        elif event.kind == "end":
            emitted.append(Event(counts["tick"], "ended"))
        elif event.kind in ("soft", "pedal"):
            down = int(pedal(event) >= 0.5)
            if event.kind == "soft" and down > counts["soft"]:
                self._turn(emitted)
            elif event.kind == "pedal" and not down:
                for slot in self._slots:
                    if not slot[_DOWN]:
                        self._free(slot)
            counts[event.kind] = down

    def _strike(self, midi: int, velocity: float) -> None:
        """Take a slot: the note's own where it still sounds, else a free one, else the oldest."""
        counts, order = self._counts, self._slots
        own = [s for s in order if s[_SOUNDS] and s[_NOTE] == midi]
        slot = (own or sorted(order, key=lambda s: (s[_SOUNDS], s[_SINCE])))[0]
        counts["clock"] += 1
        slot[:] = [midi, min(velocity, 1.0), 1, 1, counts["clock"]]
        counts["latest"] = midi

    def _let_go(self, midi: int) -> None:
        for slot in self._slots:
            if slot[_DOWN] and slot[_NOTE] == midi:
                slot[_DOWN] = 0
                if not self._counts["pedal"]:
                    self._free(slot)

    def _free(self, slot: list[float]) -> None:
        if slot[_SOUNDS]:
            self._counts["clock"] += 1
            slot[_SOUNDS], slot[_SINCE] = 0, self._counts["clock"]

    def _turn(self, emitted: list[Event]) -> None:
        self._counts["part"] += 1
        self._counts["chord"] = 0
        emitted.append(Event(self._counts["tick"], "next_part", {"part": self._counts["part"]}))

    def _play(self, controls: Mapping[str, Value], emitted: list[Event]) -> None:
        """One tick of playing by itself: the chord before is let go where the next one is struck."""
        counts, tick = self._counts, self._counts["tick"]
        if tick and tick % int(controls["turn"]) == 0:
            self._turn(emitted)
        if tick % int(controls["every"]):
            return
        phrase = PHRASES[(counts["part"] - 1) % len(PHRASES)]
        self._let_go_of_own(emitted)
        for midi in phrase[counts["chord"] % len(phrase)]:
            emitted.append(Event(tick, "note", {"midi": midi, "velocity": 0.7}))
            self._strike(midi, 0.7)
        counts["chord"] += 1

    def _let_go_of_own(self, emitted: list[Event]) -> None:
        """End what it plays by itself."""
        for midi in [int(slot[_NOTE]) for slot in self._slots if slot[_DOWN]]:
            emitted.append(Event(self._counts["tick"], "note", {"midi": midi, "velocity": 0.0}))
            self._let_go(midi)

    def snapshot(self) -> bytes:
        """Slots and pedals as JSON."""
        return json.dumps({"source": self.name, "slots": self._slots, "counts": self._counts}).encode()

    def restore(self, state: bytes) -> None:
        """Go back to a snapshot; `SourceError` if `state` is none."""
        try:
            raw = json.loads(state)
            slots = [[int(a), float(b), int(c), int(d), int(e)] for a, b, c, d, e in raw["slots"]]
            counts = {name: int(raw["counts"][name]) for name in self._counts}
            if raw["source"] != self.name or len(slots) != SLOTS:
                raise ValueError(f"it is of {raw['source']}, with {len(slots)} slots")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise SourceError(f"not a snapshot of {self.name} ({len(state)} bytes): {error}") from error
        self._slots, self._counts = [list(slot) for slot in slots], counts


def note(event: Event) -> tuple[int, float]:
    """Key and velocity of a ``note``.

    Raises
    ------
    SourceError
        If it has none.
    """
    midi, velocity = event.data.get("midi"), event.data.get("velocity", 1.0)
    if not isinstance(midi, int) or not 0 <= midi <= 127 or not isinstance(velocity, int | float):
        raise SourceError(f"note {dict(event.data)}: it needs midi, a whole number from 0 to 127, and velocity, 0 to 1")
    return midi, float(velocity)


def pedal(event: Event) -> float:
    """How far a pedal is down.

    Raises
    ------
    SourceError
        If it is no number.
    """
    value = event.data.get("value", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SourceError(f"{event.kind} {dict(event.data)}: it needs value, a number from 0 to 1")
    return float(value)
