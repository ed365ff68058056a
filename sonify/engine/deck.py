"""A deck: what it plays and how loud it is, apart from the graph that computes it, which comes and goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from sonify.engine.patch import Patch, is_in_pieces
from sonify.engine.ring import LaneRing
from sonify.engine.sources import Floats, Player, Ramp, Ringing
from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Sample
from sonify.instruments.notes import Notes, Pieces, strength
from sonify.instruments.sample import read_sample

if TYPE_CHECKING:
    from sonify.engine.graph import DeckGraph

#: Seconds in which a deck that is held falls silent, and returns; and in which one's gain follows.
_HOLD = 0.02
#: Points after which a patch whose writer has stopped falls silent, and seconds in which it does.
_STARVED, _STARVING = CONTROL_RATE, 0.5


def gain(decibels: float) -> float:
    """Linear gain."""
    return float(10 ** (decibels / 20))


class Deck:
    """One thing that is played under a deck's name: a patch, or a file.

    Parameters
    ----------
    name : str
    rate : int
    said : float
        When it was asked for, by `time.monotonic`.

    Attributes
    ----------
    graph : DeckGraph or None
        None until it is built.
    own : float
        Gain of what is played, whatever the deck's.
    replaced : bool
        Whether another one has taken its name.
    alike : bool
        Whether what is faded with it may be the same sound, as from one place of a file to another: then gains change
        in a line; else along a quarter of a sine, so that what differs keeps its power. Two graphs always differ, if
        only in their phases.
    """

    def __init__(self, name: str, rate: int, said: float) -> None:
        self.name, self.said = name, said
        self.graph: DeckGraph | None = None
        self.alike = False
        self.own, self.replaced = 1.0, False
        self.gain, self.fade, self.hold, self.fed = Ramp(1.0), Ramp(0.0), Ramp(1.0), Ramp(1.0)
        self._rate = rate
        self._leaving = False

    def come(self, seconds: float, level: float, alike: bool) -> None:
        """Fade in from the next block on."""
        self.alike, self.gain = alike, Ramp(level)
        self.fade.to(1.0, round(seconds * self._rate))

    def go(self, seconds: float, alike: bool) -> None:
        """Fade out from the next block on, and be over."""
        if not self._leaving:
            self.alike, self._leaving = alike, True
            self.fade.to(0.0, round(seconds * self._rate))

    @property
    def over(self) -> bool:
        """Whether it has faded out."""
        return self._leaving and not self.fade.moving and self.fade.value == 0.0

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out."""
        return self._leaving

    def pause(self, on: bool) -> None:
        """Fall silent where it is, or go on."""
        self.hold.to(0.0 if on else 1.0, round(_HOLD * self._rate))

    def set_gain(self, level: float) -> None:
        """Go to another gain."""
        self.gain.to(level, round(_HOLD * self._rate))

    def level(self, n: int) -> Floats | float:
        """Its gain in the next block of `n` samples."""
        faded = self.fade.block(n)
        if not self.alike:
            faded = np.sin(np.pi / 2 * np.asarray(faded))
        return faded * self.gain.block(n) * self.hold.block(n) * self.fed.block(n)

    @property
    def position(self) -> float:
        """Seconds."""
        return 0.0

    def fill(self, start: int, first: int, ring: LaneRing) -> int:
        """Fill the graph's tables for a block; 1 where something came too late for it.

        Parameters
        ----------
        start : int
            The block's first sample, in engine time.
        first : int
            The first point that is needed.
        ring : LaneRing
        """
        raise NotImplementedError

    def build(self, graph: DeckGraph, faders: Mapping[str, float]) -> None:
        """Make the graph."""
        raise NotImplementedError


class FileDeck(Deck):
    """A file."""

    def __init__(self, name: str, rate: int, said: float, player: Player) -> None:
        super().__init__(name, rate, said)
        self.player = player

    @property
    def position(self) -> float:
        """Seconds into the file."""
        return self.player.at / self._rate

    def fill(self, start: int, first: int, ring: LaneRing) -> int:
        """The next samples; none while it is held."""
        assert self.graph is not None
        if self.hold.value == 0.0 and not self.hold.moving:
            return 0
        sound = np.zeros((len(self.graph.level), 2))
        self.player.block(sound)
        for side, values in enumerate(self.graph.file):
            values[:] = sound[:, side]
        return 0

    def build(self, graph: DeckGraph, faders: Mapping[str, float]) -> None:
        """Two blocks."""
        graph.play_file()


class PatchDeck(Deck):
    """A patch: slots of the ring, and notes."""

    def __init__(self, name: str, rate: int, said: float, patch: Patch, start: Callable[[], int]) -> None:
        super().__init__(name, rate, said)
        self.patch = patch
        self._reading = threading.Lock()
        self._samples: dict[str, Sample] = {}
        self._struck: dict[str, int] = {}
        self.ringing: dict[str, Ringing] = {}
        for voice, strip in patch.voices.items():
            if is_in_pieces(strip.instrument):
                instrument = INSTRUMENTS[strip.instrument]
                assert isinstance(instrument, Pieces)
                self.ringing[voice] = Ringing(instrument.damped, rate)
                self._struck[voice] = 0
        self._began, self._start = start(), start
        self._held: Floats | None = None
        self._frozen: int | None = None

    @property
    def position(self) -> float:
        """Seconds since it was loaded."""
        return (self._start() - self._began) / self._rate

    def prepare(self) -> None:
        """Read the sound files of its voices, and load what their instruments need to compute a note.

        Raises
        ------
        DescantError
            If one cannot be read.
        """
        for voice in self.ringing:
            instrument = INSTRUMENTS[self.patch.voices[voice].instrument]
            assert isinstance(instrument, Pieces)
            instrument.note(instrument.example(), 0, self._rate, self._sample(voice))

    def _sample(self, voice: str) -> Sample | None:
        path = self.patch.voices[voice].sample
        with self._reading:
            if path is not None and voice not in self._samples:
                self._samples[voice] = read_sample(path)
        return self._samples.get(voice)

    def inherit(self, other: PatchDeck) -> None:
        """Take over the notes of what it replaces, those that ring and those to come, of the same instruments."""
        for voice, ringing in self.ringing.items():
            if self.plays_as(other, voice):
                ringing.inherit(other.ringing[voice])

    def plays_as(self, other: PatchDeck, voice: str) -> bool:
        """Whether both give their notes of a voice to the same instrument."""
        here, there = self.patch.voices.get(voice), other.patch.voices.get(voice)
        return here is not None and there is not None and here.instrument == there.instrument

    def strike(self, voice: str, values: Mapping[str, float], at: float | None) -> None:
        """Compute a note and let it sound; not in the thread that makes blocks."""
        instrument = INSTRUMENTS[self.patch.voices[voice].instrument]
        assert isinstance(instrument, Pieces)
        number = self._struck[voice]
        self._struck[voice] += 1
        sound = strength(values) * instrument.note(values, number, self._rate, self._sample(voice))
        pitch = values.get("pitch", 0.0) if isinstance(instrument, Notes) else 0.0
        self.ringing[voice].add(None if at is None else round(at * self._rate), sound, pitch)

    def fill(self, start: int, first: int, ring: LaneRing) -> int:
        """Points of all slots, and the sound of all notes."""
        assert self.graph is not None
        late = 0
        for voice, values in self.graph.pieces.items():
            late |= self.ringing[voice].block(start, values) > 0
        if not self.patch.slots:
            return late
        count = len(self.graph.rows[0])
        until = ring.until(self.patch.share)
        if self.replaced:  # its slots are not written any more, though its share is
            self._frozen = until = self._frozen if self._frozen is not None else until
        points, have = ring.read(self.patch.base, self.patch.slots, first, count, until)
        missed = have < count - 1  # the last one is for the interpolation's next point alone
        if self._held is not None:  # back in time, from where it was held
            blend = np.linspace(0.0, 1.0, count)
            points = self._held[:, None] * (1 - blend) + points * blend
        self._held = points[:, -1].copy() if missed else None
        for values, row in zip(self.graph.rows, points, strict=True):
            values[:] = row
        starved = not self.replaced and first - until > _STARVED
        if starved != (self.fed.target == 0.0):
            self.fed.to(0.0 if starved else 1.0, round(_STARVING * self._rate))
        return late | (missed and not starved and not self.replaced)

    def build(self, graph: DeckGraph, faders: Mapping[str, float]) -> None:
        """Voices and groups."""
        graph.play_patch(self.patch, faders)
