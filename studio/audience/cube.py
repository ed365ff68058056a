"""What of a piece can be turned, and its place in the unit cube: any mixture of numbers, whole numbers and choices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pieces.errors import DescantError
from pieces.knobs import Choice, Knob
from pieces.piece import Piece, check_piece, knob_value
from pieces.signals import Control
from pieces.source import Source
from sonify.effects import EFFECTS
from sonify.instruments import INSTRUMENTS, Parameter
from sonify.score import Mapping as Mapped
from sonify.score import Score, Voice, effect_name, parse_score
from studio.audience.optimisers import Point

#: Most knobs of a piece that names none: with more, 20 ratings say little about each.
MOST = 12
#: How far a voice is turned up and down, in dB, and the whole of a piece.
GAIN, LOUDNESS = 6.0, 12.0


@dataclass(frozen=True)
class Turnable:
    """A knob, and what it stands at in the piece as it is written."""

    knob: Knob
    written: Choice


class Cube:
    """The unit cube of some knobs.

    A knob has one dimension, a choice of more than two as many as it has options, of which the highest counts: no
    option is between two others.

    Attributes
    ----------
    knobs : tuple of Knob
    written : dict of str to value
        What they stand at in the piece as it is written, by path.
    dims : int
    """

    def __init__(self, turnable: Sequence[Turnable]) -> None:
        self.knobs = tuple(one.knob for one in turnable)
        self.written = {one.knob.path: one.written for one in turnable}
        widths = [len(knob.choices) if len(knob.choices) > 2 else 1 for knob in self.knobs]
        self._ends = [0, *np.cumsum(widths).tolist()]
        self.dims: int = self._ends[-1]

    def values(self, point: ArrayLike) -> dict[str, Choice]:
        """The values of all knobs, by path, at a point ``[dims]``."""
        return {knob.path: _value(knob, at) for knob, at in self._columns(np.asarray(point, dtype=np.float64)[None])}

    def point(self, changes: Mapping[str, Choice]) -> Point:
        """Where a piece with some changes lies, ``[dims]``; what is none of the knobs plays no part.

        Raises
        ------
        ControlError
            If a value is no choice of its knob.
        """
        standing = {**self.written, **changes}
        return np.concatenate([_position(knob, standing[knob.path]) for knob in self.knobs])

    def snap(self, points: Point) -> Point:
        """The points ``[n, dims]`` that there are nearest to some points: not all values are."""
        moved = points.copy()
        for (knob, at), begin in zip(self._columns(points), self._ends, strict=False):
            if knob.choices or knob.whole:
                moved[:, begin : begin + at.shape[1]] = [_position(knob, _value(knob, row[None])) for row in at]
        return moved

    def _columns(self, points: Point) -> Iterator[tuple[Knob, Point]]:
        for knob, begin, end in zip(self.knobs, self._ends, self._ends[1:], strict=False):
            yield knob, points[:, begin:end]


def _value(knob: Knob, at: Point) -> Choice:
    return knob.choices[int(at[0].argmax())] if at.shape[1] > 1 else knob.value(float(at[0, 0]))


def _position(knob: Knob, value: Choice) -> Point:
    middle = knob.position(value)
    if len(knob.choices) <= 2:
        return np.array([middle])
    return np.asarray(np.eye(len(knob.choices))[int(middle * len(knob.choices))])


def knobs_of(piece: Piece, classes: Mapping[str, type[Source]]) -> tuple[Turnable, ...]:
    """What steerers turn by themselves: a piece's own knobs or, where it names none, up to `MOST` that are found.

    These are, of each kind one after the other: the controls that no section sets, numbers over their declared range
    (whole ones from half to twice what they are: a count costs time); both ends of the range of every mapping, within
    half of its width; what voices and groups have that does not move, from half to twice what it is or within a quarter
    of its range; and the gains of several voices, within `GAIN`.
    """
    if piece.knobs:
        whole = {path for path, control in _declared(classes).items() if isinstance(control.default, int)}
        own = (_whole(knob) if knob.path in whole and knob.range else knob for knob in piece.knobs)
        return tuple(Turnable(knob, knob_value(piece, knob, classes)) for knob in own)
    score = parse_score(piece.score, piece.title)
    kinds = _of_controls(piece, classes), _mapped(score), _constant(score), _gains(score)
    turns = chain.from_iterable(zip_longest(*kinds))
    return tuple(islice((one for one in turns if one is not None), MOST))


def adjustable(piece: Piece, classes: Mapping[str, type[Source]]) -> tuple[Turnable, ...]:
    """What a wish or a person may turn: the piece's own knobs, its loudness and speed, and those found in it."""
    found = {one.knob.path: one for one in knobs_of(piece, classes)}
    bare = piece.model_copy(update={"knobs": ()})
    for one in chain(_general(piece), knobs_of(bare, classes)):
        found.setdefault(one.knob.path, one)
    return tuple(found.values())


def checked(piece: Piece, changes: Mapping[str, Choice], base: Path | None = None) -> Piece:
    """The piece with some changes, held against its sources and its score.

    Raises
    ------
    DescantError
        If it does not hold together.
    """
    changed = piece.with_values(changes)
    check_piece(changed, piece.title, base)
    parse_score(changed.score, piece.title)
    return changed


def shown(value: Choice) -> str:
    """A value, for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _declared(classes: Mapping[str, type[Source]]) -> dict[str, Control]:
    """All controls of a piece's sources by their path in it."""
    return {f"parts.{part}.controls.{c.name}": c for part, source in classes.items() for c in source.controls}


def _whole(knob: Knob) -> Knob:
    """A knob that leads to a whole number."""
    assert knob.range is not None
    ends = (math.ceil(knob.range[0]), math.floor(knob.range[1]))
    if not ends[0] < ends[1]:
        raise DescantError(f"{knob.path}: range {list(knob.range)}: allowed are ranges with two whole numbers or more")
    return knob.model_copy(update={"range": ends, "whole": True})


def _number(
    path: str, written: float, low: float, high: float, shape: str = "linear", whole: bool = False
) -> Iterator[Turnable]:
    """A knob over a range, if it has room there."""
    if whole:
        low, high = math.ceil(low), math.floor(high)
    if low < high and low <= written <= high:
        shape = shape if low > 0 else "linear"
        raw = {"path": path, "range": (low, high), "shape": shape, "whole": whole}
        yield Turnable(Knob.model_validate(raw), round(written) if whole else float(written))


def _of_controls(piece: Piece, classes: Mapping[str, type[Source]]) -> Iterator[Turnable]:
    composed = {f"parts.{key.replace('.', '.controls.', 1)}" for s in piece.sections for key in s.controls}
    for path, control in _declared(classes).items():
        if path in composed:
            continue
        written = piece.parts[path.split(".")[1]].controls.get(control.name, control.default)
        if control.choices:
            if len(control.choices) > 1:
                yield Turnable(Knob(path=path, choices=control.choices), written)
            continue
        assert control.range is not None
        low, high = control.range
        whole = isinstance(control.default, int)
        if whole:
            low, high = max(low, float(written) // 2), min(high, max(2 * float(written), 1.0))
        if math.isfinite(low) and math.isfinite(high):
            yield from _number(path, float(written), low, high, control.shape, whole)


def _gains(score: Score) -> Iterator[Turnable]:
    """The balance of voices; of one alone there is none."""
    for name, voice in score.voices.items() if len(score.voices) > 1 else ():
        gain = voice.gain_db
        yield from _number(f"score.voices.{name}.gain_db", gain, max(-60.0, gain - GAIN), min(12.0, gain + GAIN))


def _lanes(score: Score) -> Iterator[tuple[str, float | Mapped, Parameter]]:
    """What voices play by, and what they may."""
    for name, voice in score.voices.items():
        allowed = {**INSTRUMENTS[voice.instrument].parameters, **_steady(score, voice)}
        for lane, value in voice.lanes.items():
            yield f"score.voices.{name}.lanes.{lane}", value, allowed[lane]


def _steady(score: Score, voice: Voice) -> Mapping[str, Parameter]:
    measured = score.purpose == "measure" and isinstance(voice.lanes.get("pitch"), Mapped)
    return INSTRUMENTS[voice.instrument].steady if measured else {}


def _mapped(score: Score) -> Iterator[Turnable]:
    """Both ends of every range; they never meet."""
    for path, value, parameter in _lanes(score):
        if isinstance(value, Mapped):
            logs = value.range[0] > 0 and (value.space or parameter.space) not in ("linear", "db")
            low, high = np.log(value.range) if logs else value.range
            width = high - low
            ends = ((low - width / 2, low + width / 4), (high - width / 4, high + width / 2))
            for i, (bottom, top) in enumerate(np.exp(ends) if logs else np.array(ends)):
                bounds = max(float(bottom), parameter.range[0]), min(float(top), parameter.range[1])
                yield from _number(f"{path}.range.{i}", value.range[i], *bounds, "log" if logs else "linear")


def _constant(score: Score) -> Iterator[Turnable]:
    """What does not move, of voices and of the effects of groups."""
    effects = (
        (f"score.groups.{name}.effects.{key}.{lane}", value, EFFECTS[effect_name(key)].parameters[lane])
        for name, group in score.groups.items()
        for key, lanes in group.effects.items()
        for lane, value in lanes.items()
    )
    for path, value, parameter in chain(_lanes(score), effects):
        if isinstance(value, Mapped):
            continue
        low, high = parameter.range
        logs = low > 0 and parameter.space not in ("linear", "db")
        around = (high - low) / 4
        near = (value / 2, 2 * value) if logs or parameter.whole else (value - around, value + around)
        bounds = max(low, near[0]), min(high, near[1])
        yield from _number(path, value, *bounds, "log" if logs else "linear", parameter.whole)


def _general(piece: Piece) -> Iterator[Turnable]:
    """What every piece has: how loud the whole is, and how fast it goes."""
    loudness = piece.master.loudness
    yield from _number("master.loudness", loudness, max(-40.0, loudness - LOUDNESS), min(-8.0, loudness + LOUDNESS))
    for name, part in piece.parts.items():
        for clock, rate in (("rate", part.rate), ("per_beat", part.per_beat)):
            if rate is not None:
                yield from _number(f"parts.{name}.{clock}", rate, rate / 2, 2 * rate, "log")
    if not any(section.tempo for section in piece.sections):
        tempo = piece.metre.tempo
        yield from _number("metre.tempo", tempo, max(10.0, tempo / 2), min(1000.0, 2 * tempo), "log")
