"""A rendered take as the promises see it: what every measured voice should play when, and what is heard then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pieces.arrange import Arrangement
from pieces.piece import Master
from sonify.desk import Desk
from sonify.instruments import INSTRUMENTS
from sonify.lanes import lanes
from sonify.mapping import SHAPES, SPACES, apply, invert
from sonify.render import Rendering, render
from sonify.resolve import ResolvedMapping, ResolvedScore, ResolvedVoice, element
from tests.sonify.promises.judges import (
    Floats,
    cents,
    explained,
    fundamental,
    longest_run,
    loudness,
    lowest,
    struck,
    true_peak,
    turn,
    weighted,
)

#: Instruments whose fundamental need not be the strongest of their partials: their pitch is their period.
BY_PERIOD = ("fm", "formant", "string")
#: Seconds of settled sound that a pitch is read from, at least and at most; periods of it at least.
SHORTEST, LONGEST, PERIODS = 0.1, 0.5, 6.0
#: Seconds of a note that are left out, its blow, and that are heard after it.
BLOW, RINGING = 0.02, 0.15
#: Lowest pitches between which a step is heard when it comes, in Hz: a period is 10 ms.
QUICK = 100.0


@dataclass(frozen=True)
class Take:
    """A score that was rendered, with its lanes."""

    resolved: ResolvedScore
    played: Arrangement
    master: Master
    desk: Desk
    rendering: Rendering

    @classmethod
    def of(
        cls,
        resolved: ResolvedScore,
        played: Arrangement,
        master: Master,
        folder: Path,
        samples: Mapping[str, Path] | None = None,
    ) -> Take:
        """Render it, with stems."""
        desk = lanes(resolved, played, master.tail, samples)
        return cls(resolved, played, master, desk, render(desk, played.duration + master.tail, master, folder))

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self.rendering.sample_rate

    @cached_property
    def mix(self) -> Floats:
        """[samples, 2]."""
        return soundfile.read(self.rendering.mix, always_2d=True)[0]

    def solo(self, voice: str) -> Floats:
        """The stem of a voice, [samples, 2]."""
        return soundfile.read(self.rendering.stems[voice], always_2d=True)[0]

    def measured(self) -> list[Measured]:
        """Every voice that promises its pitch."""
        if self.resolved.score.purpose != "measure":
            return []
        return [
            Measured(self, voice, voice.lanes["pitch"])
            for voice in self.resolved.voices
            if INSTRUMENTS[voice.voice.instrument].pitched and isinstance(voice.lanes["pitch"], ResolvedMapping)
        ]


@dataclass(frozen=True)
class Reading:
    """One settled tone: where it stands, the datum it sounds, its pitch as the lane has it and as it is heard."""

    start: float
    end: float
    datum: float
    meant: float
    heard: float


@dataclass(frozen=True)
class Measured:
    """A voice with a channel on its pitch."""

    take: Take
    voice: ResolvedVoice
    pitch: ResolvedMapping

    @cached_property
    def sound(self) -> Floats:
        """The solo stem, [samples, 2]."""
        return self.take.solo(self.voice.name)

    @property
    def struck(self) -> bool:
        """Whether it sounds on strikes."""
        return INSTRUMENTS[self.voice.voice.instrument].on_events

    @property
    def planned(self) -> Floats:
        """Every pitch that the renderer is given: the lane, or those of the notes."""
        lanes = self.take.desk.voices[self.voice.name]
        pitches = [note.values["pitch"] for note in lanes.onsets] if self.struck else lanes.lanes["pitch"]
        return np.asarray(pitches, dtype=np.float64)

    @property
    def alone(self) -> bool:
        """Whether nothing but the pitch moves while it sounds."""
        others = (lane for name, lane in self.voice.lanes.items() if name != "pitch")
        return all(isinstance(lane, float | int) for lane in (*others, self.voice.pan)) and not self.take.master.limiter

    @property
    def even(self) -> bool:
        """Whether its loudness stays: only the pitch moves, below a low-pass, and no overtone is above hearing."""
        name, lanes, high = self.voice.voice.instrument, self.voice.lanes, self.pitch.mapping.range[1]
        if self.struck or not self.alone:
            return False
        if name == "fm":
            return high * (1 + lanes["ratio"] * (lanes["index"] + 1)) < 18_000
        corner = {"pad": "brightness", "partials": "cutoff"}.get(name)
        return corner is None or high <= lanes[corner]

    def between(self, start: float, end: float) -> Floats:
        """Both sides together, [samples]."""
        return self.sound[round(start * self.take.rate) : round(end * self.take.rate)].sum(axis=1)

    def hear(self, start: float, end: float) -> float:
        """The pitch between two times."""
        sound = self.between(start, end)
        if self.voice.voice.instrument in BY_PERIOD:
            return fundamental(sound, self.take.rate, *self.pitch.mapping.range)
        return lowest(sound, self.take.rate)

    @cached_property
    def data(self) -> tuple[Floats, Floats]:
        """The channel row by row, clipped to the domain, and when each row begins."""
        frames = self.take.played.parts[self.pitch.place.part]
        return np.clip(element(frames, self.pitch.place), *self.pitch.domain), frames.starts

    @cached_property
    def readings(self) -> list[Reading]:
        """All tones that are long enough to be told: settled, sounding, and of notes the beginning."""
        found = self._strikes() if self.struck else self._holds()
        return [
            Reading(start, end, datum, meant, self.hear(start, end))
            for start, end, datum, meant in found
            if end - start >= max(SHORTEST, PERIODS / meant)
        ]

    def _holds(self) -> list[tuple[float, float, float, float]]:
        """Stretches in which the data rest and the glide is over."""
        data, starts = self.data
        turns = np.flatnonzero(np.diff(data, prepend=np.nan))
        ends = np.append(starts[turns[1:]], self.take.played.duration)
        amplitude = np.asarray(self.take.desk.voices[self.voice.name].amplitude)
        quiet, found = amplitude <= 1e-3 * amplitude.max(), []
        for row, start, end in zip(turns, starts[turns], ends, strict=True):
            first = int(np.ceil(1000 * (start + self.pitch.mapping.glide_ms / 1000 * (row > 0))))
            last = int(np.floor(1000 * end))
            gaps = np.concatenate([[first - 1], first + np.flatnonzero(quiet[first:last]), [last]])
            longest = int(np.argmax(np.diff(gaps)))
            start, end = float(gaps[longest] + 1) / 1000, float(gaps[longest + 1]) / 1000
            found.append((start, min(end, start + LONGEST), float(data[row]), float(apply(self.pitch, data[row]))))
        return found

    def _strikes(self) -> list[tuple[float, float, float, float]]:
        """Notes, from behind the blow to the next one, whose pitch the channel gives."""
        data, starts = self.data
        notes = self.take.desk.voices[self.voice.name].onsets
        amplitude = np.asarray(self.take.desk.voices[self.voice.name].amplitude)
        found = []
        for note, following in zip(notes, [*(n.time for n in notes), np.inf][1:], strict=True):
            row = max(int(np.searchsorted(starts, note.time + 1e-9, side="right")) - 1, 0)
            meant = float(apply(self.pitch, data[row]))
            end = min(following, note.time + BLOW + RINGING, self.take.rendering.duration)
            heard = amplitude[round(1000 * note.time) : round(1000 * end)].min(initial=np.inf) > 0.1
            if heard and np.isclose(note.values["pitch"], meant, rtol=1e-9):
                found.append((note.time + BLOW, end, float(data[row]), meant))
        return found

    def column(self, name: str) -> Floats:
        """One field of all readings."""
        return np.array([getattr(r, name) for r in self.readings])

    @property
    def place(self) -> Floats:
        """Where each datum stands in its domain as it is shaped, 0 to 1 (1 to 0 where the polarity is negative)."""
        mapping = self.pitch.mapping
        low, high, u = (
            SHAPES[mapping.shape].forward(np.asarray(v), mapping.constant)
            for v in (*self.pitch.domain, self.column("datum"))
        )
        u = (u - low) / (high - low)
        return 1 - u if mapping.polarity == "negative" else u

    def out_of_tune(self) -> float:
        """Largest distance of a pitch from its lane, in cents."""
        return float(np.abs(cents(self.column("heard"), self.column("meant"))).max(initial=0.0))

    def disordered(self) -> int:
        """Pairs of data at least 5 cents apart whose pitches stand the wrong way round, or are one."""
        meant, heard, datum = (self.column(n) for n in ("meant", "heard", "datum"))
        sign = -1 if self.pitch.mapping.polarity == "negative" else 1
        apart = np.abs(cents(meant[:, None], meant)) > 5
        return int(
            np.count_nonzero(apart & (np.sign(datum[:, None] - datum) != sign * np.sign(heard[:, None] - heard)))
        )

    def uneven(self) -> float:
        """Largest distance, in cents, from a scale on which equal steps of data are equal steps in the space.

        The scale goes through the lowest and the highest pitch that are heard: it knows neither range nor lane.
        """
        space, place, heard = SPACES[self.pitch.space], self.place, self.column("heard")
        if np.ptp(place) < 0.05:
            return 0.0
        ends = [int(np.argmin(place)), int(np.argmax(place))]
        scale = np.interp(place, place[ends], space.forward(heard[ends]))
        return float(np.abs(cents(heard, space.inverse(scale))).max(initial=0.0))

    def decoded(self) -> float:
        """R squared of the data decoded from the sound, in the shape that they were given; 1 where they are one."""
        true = self.column("datum")
        if np.ptp(self.place) < 0.05:
            return 1.0
        return explained(invert(self.pitch, self.column("heard")), true)

    def followed(self, window: float = 0.08) -> float:
        """R squared of data that move all the time, decoded from short windows."""
        data, starts = self.data
        lag = self.pitch.mapping.glide_ms / 2000
        centres = np.arange(0.2 + lag, self.take.played.duration - 0.2, 0.05)
        decoded = [invert(self.pitch, self.hear(t - window / 2, t + window / 2)) for t in centres]
        return explained(np.array(decoded), np.interp(centres - lag, starts, data))

    def loudnesses(self) -> Floats:
        """K-weighted level in dB of every tone, and of every 400 ms, in which the voice neither begins nor ends."""
        rate, amplitude = self.take.rate, np.asarray(self.take.desk.voices[self.voice.name].amplitude)
        blocks = [(start, start + 0.4) for start in np.arange(0.0, self.take.played.duration, 0.1)]
        cuts = [*((r.start, r.end) for r in self.readings), *blocks]
        full = [(a, b) for a, b in cuts if amplitude[int(1000 * a) : int(1000 * b) + 2].min() > 0.999 * amplitude.max()]
        power = weighted(self.sound, rate)
        pieces = [power[round(a * rate) : round(b * rate)] for a, b in full]
        return np.array([10 * np.log10(np.average(p, weights=np.hanning(len(p))) + 1e-20) for p in pieces])

    def late(self) -> list[float]:
        """By how many seconds each onset is heard too late: of notes, and of steps where nothing else moves."""
        if self.struck:
            return self._late_notes()
        return self._late_steps() if self.alone else []

    def _late_notes(self) -> list[float]:
        reach = 0.05
        notes = (note.start - BLOW for note in self.readings if note.start - BLOW > reach)
        return [struck(self.between(t - reach, t + reach), self.take.rate) - reach for t in notes]

    def _late_steps(self) -> list[float]:
        """Of the middle of each change, where the tones before and after it can be told apart."""
        glide, found = self.pitch.mapping.glide_ms / 1000, []
        amplitude = np.asarray(self.take.desk.voices[self.voice.name].amplitude)
        for one, other in zip(self.readings[:-1], self.readings[1:], strict=True):
            middle = other.start - glide / 2
            reach = min(middle - one.start, other.end - middle, 0.25)
            if glide > 0.015 or one.end < other.start - glide - 0.002 or min(one.meant, other.meant) < QUICK:
                continue
            sounding = amplitude[int(1000 * (middle - reach)) : int(1000 * (middle + reach)) + 2]
            if sounding.min() < 0.5 * amplitude.max():
                continue
            if (heard := turn(self.between(middle - reach, middle + reach), self.take.rate)) is not None:
                found.append(heard - reach)
        return found


def assert_measures(measured: Measured) -> None:
    """Pitch, order, steps, onsets, loudness and decoding of one voice."""
    assert measured.out_of_tune() < 5
    assert measured.disordered() == 0
    assert measured.uneven() < 10
    assert measured.decoded() >= 0.99
    assert np.abs(measured.late()).max(initial=0.0) <= 0.01
    if measured.even and len(levels := measured.loudnesses()):
        assert np.ptp(levels) < 1


def assert_mirrors(one: Measured, other: Measured) -> None:
    """The same data in both polarities: what one has above the middle of the range the other has below it."""
    space = SPACES[one.pitch.space]
    both = sum(space.forward(end) for end in one.pitch.mapping.range)
    np.testing.assert_allclose(other.planned, space.inverse(both - space.forward(one.planned)), rtol=1e-9)
    assert [r.start for r in one.readings] == [r.start for r in other.readings]
    expected = space.inverse(both - space.forward(one.column("heard")))
    assert np.abs(cents(other.column("heard"), expected)).max(initial=0.0) < 5


def assert_clean(take: Take) -> None:
    """What every take keeps: its level, and nothing that is cut off."""
    mix, done, master = take.mix, take.rendering, take.master
    assert np.isfinite(mix).all()
    assert longest_run(mix) == 0
    assert true_peak(mix) <= master.ceiling
    assert done.true_peak == pytest.approx(true_peak(mix), abs=0.02)
    if not mix.any():
        assert done.loudness == -70
        return
    at_the_gate = [loudness(mix, take.rate, gate) for gate in (-10.0, -9.99, -10.01)]  # where a block is just there
    heard = min(at_the_gate, key=lambda level: abs(level - done.loudness))
    assert done.loudness == pytest.approx(heard, abs=0.1)
    if not done.limited:
        assert heard == pytest.approx(master.loudness, abs=0.1)
    else:
        assert heard < master.loudness
        assert true_peak(mix) > master.ceiling - 0.1, "the peak forbids more"


def assert_again(take: Take, folder: Path) -> None:
    """A fresh process makes the same samples."""
    duration = take.played.duration + take.master.tail
    again = render(take.desk, duration, take.master, folder / "again", stems=False)
    assert again.samples_hash == take.rendering.samples_hash
    assert again.mix.read_bytes() == take.rendering.mix.read_bytes()
