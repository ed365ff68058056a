"""The knock-out keyboard: each key silences one module of a mind for as long as it is held."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pieces.keys import note
from pieces.minds.alien import VISIBLE, Alien
from pieces.signals import Array, Channel, Control, Event, FrameBlock, Value, gather
from pieces.source import Input, Source, SourceError, check_controls
from pieces.stream import StreamReader

#: Controls of `alien` that the keyboard passes on, and what it adds to its channels.
_PASSED = ("part", "layer", "from_depth", "to_depth", "half", "steps", "guidance", "height", "width", "batch")
_OWN = (
    Channel("key", "The key that is held, counted from the lowest; -1: none.", "", (-1.0, 88.0)),
    Channel("velocity", "How hard it was struck."),
)


@dataclass(frozen=True)
class Sheet:
    """What the keys play: rows of a sheet, the untouched picture first.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        Channels of `alien`, ``[rows, *shape]``.
    names : sequence of str
        What was done at each row.
    told : sequence of Event
        Which mind it is of, and what one should know of it, at tick 0.
    """

    arrays: Mapping[str, Array]
    names: Sequence[str]
    told: Sequence[Event] = ()

    @property
    def keys(self) -> int:
        """Surgeries."""
        return len(self.names) - 1


class Knockouts(Source):
    """A mind under the hands of a performer: held keys silence modules, the picture and its channels follow at once.

    The pictures are those of a sheet that was drawn before: of an earlier take of `alien` (input ``sheet``; any surgery
    will do), else of knock-outs that are drawn before the first tick, one for each key. Key 0 is the note `lowest`;
    where several are held the last one counts, and when it is let go the one before. From the first event on it is
    played; until then it plays by itself, keys in a random order that follows from the seed.

    References
    ----------
    S. Wolfram, "Generative AI Space and the Mental Imagery of Alien Minds", 2023.
    """

    name: ClassVar[str] = "knockouts"
    about: ClassVar[str] = "A mind as a keyboard: each key silences one of its modules while it is held."
    references: ClassVar[tuple[str, ...]] = Alien.references
    channels = (*Alien.channels, *_OWN)
    controls: ClassVar[tuple[Control, ...]] = (
        *(c for c in Alien.controls if c.name in _PASSED),
        Control("keys", "Keys, each a module, evenly spread over those that are chosen.", 29, (1, 88), live=False),
        Control("lowest", "The note of the first key.", 36, (0, 127), unit="MIDI"),
        Control("every", "Left alone: ticks from one key to the next.", 16, (2, 10_000), unit="ticks"),
        Control("rounds", "Left alone: rounds over all keys, then it is over.", 2, (1, 10_000)),
    )
    listens: ClassVar[Mapping[str, str]] = {
        "note": "midi and velocity; velocity 0 lets the key go",
        "await": "it is going to be played, and waits for notes",
        "end": "the performer is done",
    }
    emits: ClassVar[Mapping[str, str]] = {
        "struck": "A module falls silent (data: name, key).",
        "healed": "No key is held any more: the mind is whole.",
        "changed": "Another concept than the one that was asked for scores highest.",
        "lost": "Nothing scores highest.",
        "unmoved": "The module that fell silent has no visible effect.",
        "ended": "The performer is done.",
        "mind": Alien.emits["mind"],
        "notice": "What one should know of the prompt (data: line).",
    }
    inputs: ClassVar[Mapping[str, Input]] = {
        **Alien.inputs,
        "sheet": Input(
            "take", "a take of alien whose pictures the keys play; default: knock-outs, drawn before it begins"
        ),
    }

    def __init__(self, seed: int, controls: Mapping[str, Value], inputs: Mapping[str, str] | None = None) -> None:
        super().__init__(seed, controls, inputs)
        self._keys = int(controls["keys"])
        self._sheet: Sheet | None = None
        self._tick, self._played, self._over = 0, False, False
        #: Keys that are held, in the order in which they were struck, with how hard.
        self._held: list[tuple[int, float]] = []
        if "sheet" in self.given:
            self._sheet, declared = _of_take(Path(self.given["sheet"]), self._keys)
        else:
            passed: dict[str, Value] = {name: controls[name] for name in _PASSED}
            sheet = check_controls(Alien, {**passed, "surgery": "knockout", "modules": self._keys})
            self._alien = Alien(seed, sheet, self.given)
            declared = self._alien.channels
        self.channels = (*declared, *_OWN)

    def prepare(self, controls: Mapping[str, Value]) -> None:
        """Draw the sheet, where it was not given: half a minute of CPU time for the house mind."""
        self._ready()

    def _ready(self) -> Sheet:
        if self._sheet is None:
            alien = self._alien
            whole = alien.step({}, (), alien.bench.ticks)
            names = [str(e.data["name"]) for e in whole.events if e.kind == "surgery"]
            self._sheet = Sheet(whole.arrays, names, _told(whole.events))
        return self._sheet

    def step(self, controls: Mapping[str, Value], events: Sequence[Event], n: int) -> FrameBlock:
        """Make `n` ticks; fewer when the performer is done."""
        sheet, first = self._ready(), self._tick
        emitted = [] if first else list(sheet.told)
        if events and not self._played:
            self._played = True
            self._let_go_of_all(emitted)
        for event in events:
            self._hear(event, int(controls["lowest"]), sheet, emitted)
        rows, own = [], []
        for _ in range(n):
            if not self._played:
                self._play(int(controls["every"]), int(controls["rounds"]), sheet, emitted)
            if self._over:
                break
            key, velocity = self._held[-1] if self._held else (-1, 0.0)
            rows.append(key + 1)
            own.append((key, velocity))
            self._tick += 1
        arrays = {name: array[rows] for name, array in sheet.arrays.items()}
        added = np.asarray(own, np.float32).reshape(len(rows), len(_OWN))
        arrays |= {channel.name: added[:, i] for i, channel in enumerate(_OWN)}
        return FrameBlock(first, {c.name: arrays[c.name] for c in self.channels}, tuple(emitted))

    def _hear(self, event: Event, lowest: int, sheet: Sheet, emitted: list[Event]) -> None:
        if event.kind == "end":
            self._over = True
            emitted.append(Event(self._tick, "ended"))
        elif event.kind == "note":
            midi, velocity = note(event)
            key = midi - lowest
            if velocity > 0 and 0 <= key < sheet.keys:
                self._strike(key, velocity, sheet, emitted)
            elif velocity <= 0:
                self._let_go(key, sheet, emitted)

    def _strike(self, key: int, velocity: float, sheet: Sheet, emitted: list[Event]) -> None:
        self._held = [(k, v) for k, v in self._held if k != key] + [(key, min(velocity, 1.0))]
        self._tell(key, sheet, emitted)

    def _tell(self, key: int, sheet: Sheet, emitted: list[Event]) -> None:
        """What falls silent, and what becomes of the picture."""
        row = {name: float(sheet.arrays[name][key + 1]) for name in ("distance_pixels", "strongest")}
        emitted.append(Event(self._tick, "struck", {"name": sheet.names[key + 1], "key": key}))
        nothing = sheet.arrays["scores"].shape[1] - 1
        if row["distance_pixels"] < VISIBLE:
            emitted.append(Event(self._tick, "unmoved"))
        elif row["strongest"]:
            emitted.append(Event(self._tick, "lost" if row["strongest"] == nothing else "changed"))

    def _let_go(self, key: int, sheet: Sheet, emitted: list[Event]) -> None:
        before = self._held[-1:]
        self._held = [(k, v) for k, v in self._held if k != key]
        if self._held[-1:] != before:
            if self._held:
                self._tell(self._held[-1][0], sheet, emitted)
            else:
                emitted.append(Event(self._tick, "healed"))

    def _let_go_of_all(self, emitted: list[Event]) -> None:
        if self._held:
            emitted.append(Event(self._tick, "healed"))
        self._held = []

    def _play(self, every: int, rounds: int, sheet: Sheet, emitted: list[Event]) -> None:
        """One tick of playing by itself: a key for two thirds of its time, then none."""
        turn, place = divmod(self._tick, every)
        if turn >= rounds * sheet.keys:
            self._over = True
            return
        if place == 0:
            round_, at = divmod(turn, sheet.keys)
            order = np.random.default_rng((self.seed, round_)).permutation(sheet.keys)
            self._held = []
            self._strike(int(order[at]), 0.7, sheet, emitted)
        elif place == max(1, (2 * every) // 3):
            self._let_go_of_all(emitted)

    def snapshot(self) -> bytes:
        """What is held, as JSON."""
        state = {"tick": self._tick, "played": self._played, "over": self._over, "held": self._held}
        return json.dumps({"source": self.name, **state}).encode()

    def restore(self, state: bytes) -> None:
        """Go back to a snapshot; `SourceError` if `state` is none."""
        try:
            raw = json.loads(state)
            held = [(int(key), float(velocity)) for key, velocity in raw["held"]]
            tick, played, over = int(raw["tick"]), bool(raw["played"]), bool(raw["over"])
            if raw["source"] != self.name or tick < 0 or any(not 0 <= key < self._keys for key, _ in held):
                raise ValueError(f"it is of {raw['source']} at tick {tick}, with the keys {held}")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise SourceError(f"not a snapshot of {self.name} ({len(state)} bytes): {error}") from error
        self._tick, self._played, self._over, self._held = tick, played, over, held


def _told(events: Sequence[Event]) -> list[Event]:
    """Which mind it is of, and what one should know of it."""
    return [Event(0, e.kind, e.data) for e in events if e.kind in ("mind", "notice")]


def _of_take(path: Path, keys: int) -> tuple[Sheet, tuple[Channel, ...]]:
    """A sheet from a take of `alien`: its untouched picture, and at most so many surgeries, evenly spread."""
    try:
        with path.open("rb") as file:
            reader = StreamReader(file)
            whole = gather(list(reader), 1.0)
    except (OSError, ValueError) as error:
        raise SourceError(f"knockouts: sheet {path}: cannot be read: {error}") from error
    needed = {c.name for c in Alien.channels}
    names = {e.tick: str(e.data.get("name", "")) for e in whole.events if e.kind == "surgery"}
    if not needed <= whole.arrays.keys() or len(names) != whole.ticks or whole.ticks < 2:
        raise SourceError("knockouts: sheet is no take of alien: make one with descant mind sheet, and give its id")
    count = min(keys, whole.ticks - 1)
    rows = [0, *np.linspace(1, whole.ticks - 1, count).round().astype(int).tolist()]
    arrays = {name: whole.arrays[name][rows] for name in needed}
    return Sheet(arrays, [names[row] for row in rows], _told(whole.events)), tuple(
        c for c in reader.channels if c.name in needed
    )
