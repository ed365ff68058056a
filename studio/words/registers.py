"""Words for machines that read: each moment of an artefact as a line, in one of three registers.

The wording is neutral: it measures and does not judge, and it names nothing that is not in the sound or the picture.
Every line of a register is of one length (`prose` in words, `numbers` and `tokens` in letters), whatever is heard and
seen: length tells nothing.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from studio.words.artefact import Artefact
from studio.words.moments import Change, Moment, changes, measure
from studio.words.tokens import tokens

Register: TypeAlias = Literal["prose", "numbers", "tokens"]
REGISTERS: tuple[Register, ...] = get_args(Register)
#: What is said of a moment, in order.
SLOTS = {
    "sound": ("pitch", "glide", "level", "timbre", "surface", "onsets", "rhythm", "notes", "side"),
    "picture": ("hue", "light", "motion", "place"),
    "course": ("change", "return"),
}
#: A letter for each token.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
# Edges of the words, and the words between them.
_LEVELS = ((-48, -34, -20, -10), ("faint", "quiet", "medium", "loud", "full"))
_COLOURS = ((300, 900, 2500, 6000), ("darkest", "dark", "medium", "bright", "brightest"))
_SURFACES = ((0.005, 0.02, 0.08), ("smooth", "grained", "coarse", "rough"))
# Coefficient of variation of the times between strikes, and strikes per second.
_RHYTHMS = (((0.1,), ("even", "uneven")), ((2, 5), ("slow", "moderate", "fast")))
_SIDES = ((-0.33, 0.33), ("left", "middle", "right"))
_LIGHTS = ((0.004, 0.03, 0.1, 0.3, 0.6), ("black", "dark", "dim", "half", "light", "lightest"))
_MOTIONS = ((0.0005, 0.003, 0.015, 0.06), ("none", "slight", "slow", "moderate", "fast"))
_THIRDS = ((1 / 3, 2 / 3), (("left", "centre", "right"), ("top", "middle", "bottom")))
#: What a change is called, when it is more and when it is less.
CHANGES = {
    "sound": ("begins", "ends"),
    "pitch": ("higher", "lower"),
    "loudness": ("louder", "softer"),
    "brightness": ("brighter", "less-bright"),
    "roughness": ("rougher", "smoother"),
    "onsets": ("denser", "sparser"),
    "hue": ("recoloured", "recoloured"),
    "light": ("lighter", "darker"),
    "motion": ("faster", "slower"),
    "": ("nothing", "nothing"),
}


@dataclass(frozen=True)
class Slot:
    """One thing that is said of a moment: in a word, and as a number of fixed width."""

    word: str
    number: str


def spoken(artefact: Artefact, register: Register = "prose", order: Sequence[int] | None = None) -> tuple[str, ...]:
    """Put an artefact into words, a line a moment (0.5 s); a function of the artefact alone.

    Parameters
    ----------
    artefact : Artefact
    register : str
        Of `REGISTERS`.
    order : sequence of int, optional
        Moments in the order in which they are told; without it, as they are. See `slots`.

    Raises
    ------
    ValueError
        If there is no such register.
    """
    if register not in REGISTERS:
        raise ValueError(f"register {register!r}: allowed are {', '.join(REGISTERS)}")
    if register == "tokens":
        rows = tokens(artefact)
        return tuple("".join(LETTERS[token] for token in row) for row in (rows if order is None else rows[[*order]]))
    return tuple(line({n: _said(s, register) for n, s in said.items()}) for said in slots(artefact, order))


def _said(slot: Slot, register: Register) -> str:
    return slot.word if register == "prose" else slot.number


def line(said: Mapping[str, str]) -> str:
    """What is said of a moment, by the names of its slots, as a line."""
    return "; ".join(f"{part}: {', '.join(f'{name} {said[name]}' for name in names)}" for part, names in SLOTS.items())


def slots(artefact: Artefact, order: Sequence[int] | None = None) -> tuple[dict[str, Slot], ...]:
    """What is said of each moment of an artefact, by the names in `SLOTS`.

    In another `order` each moment is what it is in the artefact itself, so no seam is heard; what changes and what
    returns is that of the order.
    """
    moments = measure(artefact)
    if order is not None:
        moments = tuple(moments[i] for i in order)
    return tuple(
        {**_sound(moment), **_picture(moment), **_course(change)}
        for moment, change in zip(moments, changes(moments), strict=True)
    )


def _sound(m: Moment) -> dict[str, Slot]:
    glide = "none" if np.isnan(m.pitch) else "level" if abs(m.glide) < 1 else "rising" if m.glide > 0 else "falling"
    surface = "noisy" if m.noisy else "beating" if m.beating else _word(m.roughness, _SURFACES)
    rough = "9.999" if m.noisy else f"{min(m.roughness, 9):05.3f}"
    steady, pace = (_word(value, scale) for value, scale in zip((m.unevenness, m.rate), _RHYTHMS, strict=True))
    words = (
        (_pitch(m), f"{0.0 if np.isnan(m.pitch) else m.pitch:05.1f}"),
        (glide, f"{np.clip(m.glide, -99, 99):+05.1f}"),
        (_word(m.loudness, _LEVELS), f"{np.clip(m.loudness, -99.9, 9):+06.1f}"),
        (_word(m.brightness, _COLOURS), f"{min(m.brightness, 99_999):05.0f}"),
        (surface, f"{rough}/{m.beating:04.1f}"),
        (str(m.onsets), f"{min(m.onsets, 99):02d}"),
        (f"{steady}-{pace}" if m.rate else "none", f"{min(m.rate, 99):04.1f}/{min(m.unevenness, 9):04.2f}"),
        (str(len(m.classes)), f"{len(m.classes):02d}"),
        (_word(m.side, _SIDES), f"{m.side:+05.2f}"),
    )
    if m.silent:
        silent = ("none", "none", "silent", "none", "none", "0", words[6][0], "0", "none")
        words = tuple((word, number) for word, (_, number) in zip(silent, words, strict=True))  # type: ignore[assignment]
    return {name: Slot(*said) for name, said in zip(SLOTS["sound"], words, strict=True)}


def _pitch(m: Moment) -> str:
    if not np.isnan(m.pitch):
        number = round(m.pitch)
        return f"{_NOTES[number % 12]}{number // 12 - 1}"
    return "noise" if m.noisy else "+".join(_NOTES[c] for c in m.classes[:3])


def _picture(m: Moment) -> dict[str, Slot]:
    hue = Slot("none", "-01") if np.isnan(m.hue) else Slot(_HUES[round(m.hue / 60) % 6], f"{m.hue % 360:03.0f}")
    light = _word(m.light, _LIGHTS)
    edges, (columns, rows) = _THIRDS
    place = "none" if light == "black" else f"{rows[bisect(edges, m.y)]}-{columns[bisect(edges, m.x)]}"
    return {
        "hue": hue,
        "light": Slot(light, f"{m.light:05.3f}"),
        "motion": Slot(_word(m.motion, _MOTIONS), f"{m.motion:06.4f}"),
        "place": Slot(place, f"{m.x:04.2f}/{m.y:04.2f}"),
    }


def _course(change: Change) -> dict[str, Slot]:
    return {
        "change": Slot(CHANGES[change.what][change.amount < 0], f"{np.clip(change.amount, -9.9, 9.9):+04.1f}"),
        "return": Slot(str(change.ago or "none"), f"{min(change.ago, 9999):04d}"),
    }


def _word(value: float, scale: tuple[tuple[float, ...], tuple[str, ...]]) -> str:
    edges, words = scale
    return words[bisect(edges, value)]
