"""What is heard and seen in each moment of an artefact, measured; what changed, and what returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonify.ears import GATE, Ears
from studio.words.artefact import MOMENT_S, STEPS, Artefact

Floats: TypeAlias = NDArray[np.float64]
#: Flatness from which a sound is noise; share of a chroma from which a pitch class sounds.
NOISY, SOUNDING = 0.2, 0.15
#: The longer window of the ears in seconds, and in steps before and after one; the semitones by which a pitch moves in
#: it, or the strikes that fall into it, where it hears several tones at once.
_WINDOW_S, _REACH, _MOVES, _STRUCK = 0.34, 3, 0.8, 2
#: How far a strike of a rhythm rises (dB): onsets that are heard in steady noise rise by less than 3, strikes by 10.
STRIKE_DB = 4.0
#: Seconds that a rhythm is heard over, and the fewest strikes in them that are one.
RHYTHM_S, _STRIKES = 4.0, 4
#: Differences that are easily noticed (semitones, dB, doublings, steps of hue); they make all comparable.
NOTICED = {
    "pitch": 1.0,
    "loudness": 6.0,
    "brightness": 1.0,
    "roughness": 1.0,
    "onsets": 1.5,
    "hue": 1.0,
    "light": 1.0,
    "motion": 3.0,
}
#: Two moments are alike where they differ by less than this, in noticed differences; what lies between must not be.
ALIKE = 0.7


@dataclass(frozen=True)
class Moment:
    """A moment of 0.5 s.

    Attributes
    ----------
    pitch, glide : float
        MIDI note at its end, and semitones that it went from its beginning on; NaN and 0 where there is no one pitch.
    loudness : float
        Mean of its power, in LUFS.
    silent : bool
        Nothing is heard in most of it, and nothing begins.
    brightness : float
        Spectral centroid in Hz; 0 in silence.
    beating, roughness, flatness : float
        See `sonify.ears.Ears`; of tones that follow each other fast, the roughness over 85 ms.
    classes : tuple of int
        Pitch classes (0 is C) that sound at once, the strongest first.
    onsets : int
        What begins in it.
    rate, unevenness : float
        Strikes per second over the last `RHYTHM_S` seconds, and the standard deviation of the times between them over
        their mean (coefficient of variation); 0 where there are less than four, or the last was long ago.
    side : float
        -1 left to 1 right.
    hue : float
        Degrees; NaN where there is no colour.
    light, motion : float
        Mean luma, and mean change from picture to picture, 0..1.
    x, y : float
        Centre of what is lit: 0 left and top, 1 right and bottom.
    """

    pitch: float
    glide: float
    loudness: float
    silent: bool
    brightness: float
    beating: float
    roughness: float
    flatness: float
    classes: tuple[int, ...]
    onsets: int
    rate: float
    unevenness: float
    side: float
    hue: float
    light: float
    motion: float
    x: float
    y: float

    @property
    def noisy(self) -> bool:
        """What is heard has neither pitch nor pitch classes."""
        return not self.silent and np.isnan(self.pitch) and (self.flatness >= NOISY or not self.classes)


def measure(artefact: Artefact) -> tuple[Moment, ...]:
    """The moments of an artefact; what is left at its end, shorter than a moment, is dropped."""
    ears = artefact.ears
    notes = 69 + 12 * np.log2(ears.f0 / 440)
    quick = _quick(ears, notes)
    # A short window that lies between two tones hears both: what is rough is rough in its neighbours, too.
    brief = _near(ears.brief_roughness, 1, np.inf).min(axis=1)
    rough = np.where(quick, brief, ears.roughness)
    chroma = np.where(quick[:, None], ears.brief_chroma, ears.chroma)
    count = int(artefact.duration / MOMENT_S + 1e-6)
    return tuple(_moment(artefact, i, notes, rough, chroma) for i in range(count))


def _near(values: NDArray[Any], reach: int, nothing: float) -> NDArray[Any]:
    """Each value with those before and after it, ``[n, 2 reach + 1]``."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, constant_values=nothing), 2 * reach + 1)


def _quick(ears: Ears, notes: NDArray[Any]) -> NDArray[np.bool_]:
    """Steps around which more than one tone is heard, one after the other."""
    near = _near(notes, _REACH, np.nan)
    low, high = (np.where(np.isnan(near), nothing, near) for nothing in (np.inf, -np.inf))
    centres = (np.arange(len(notes)) + 0.5) * ears.hop_s
    first, last = np.searchsorted(ears.onset_times, [centres - _WINDOW_S / 2, centres + _WINDOW_S / 2])
    quick: NDArray[np.bool_] = (high.max(axis=1) - low.min(axis=1) > _MOVES) | (last - first >= _STRUCK)
    return quick


def _rhythm(strikes: NDArray[Any], end: float) -> tuple[float, float]:
    """Strikes per second up to a time, and how uneven they are; 0, 0 where there is no rhythm."""
    recent = strikes[(strikes >= end - RHYTHM_S) & (strikes < end)]
    between = np.diff(recent)
    if len(recent) < _STRIKES or end - recent[-1] > 2 * between.max():
        return 0.0, 0.0
    return float(1 / between.mean()), float(between.std() / between.mean())


def _classes(chroma: Floats, flatness: float) -> tuple[int, ...]:
    """Pitch classes of a moment: as many as sound at once in most of its steps ``[steps, 12]``."""
    mean = chroma.mean(axis=0)
    count = int(np.median((chroma > SOUNDING).sum(axis=1))) if flatness < NOISY else 0
    return tuple(int(c) for c in np.argsort(-mean, kind="stable")[:count] if mean[c] > SOUNDING)


def _moment(artefact: Artefact, i: int, notes: NDArray[Any], rough: NDArray[Any], chroma: NDArray[Any]) -> Moment:
    ears, eyes = artefact.ears, artefact.eyes
    at = slice(i * STEPS, (i + 1) * STEPS)
    pitched = notes[at][~np.isnan(notes[at])]
    one_pitch = len(pitched) >= STEPS // 2
    first, last = (float(np.median(few)) for few in (pitched[:3], pitched[-3:])) if one_pitch else (np.nan, np.nan)
    flatness, beating = float(np.median(ears.flatness[at])), ears.beating[at][ears.beating[at] > 0]
    saturation, light = float(eyes.saturation[at].mean()), float(eyes.brightness[at].mean())
    begun = (ears.onset_times >= i * MOMENT_S) & (ears.onset_times < (i + 1) * MOMENT_S)
    rate, unevenness = _rhythm(ears.onset_times[ears.onset_strengths >= STRIKE_DB], (i + 1) * MOMENT_S)
    return Moment(
        pitch=last,
        glide=last - first if one_pitch else 0.0,
        loudness=float(10 * np.log10(np.mean(10 ** (ears.loudness[at].astype(np.float64) / 10)))),
        silent=bool(np.median(ears.loudness[at]) < GATE and not begun.any()),
        brightness=float(np.median(ears.centroid[at])),
        beating=float(np.median(beating)) if len(beating) >= STEPS // 4 else 0.0,
        roughness=float(np.median(rough[at])),
        flatness=flatness,
        classes=_classes(chroma[at], flatness),
        onsets=int(begun.sum()),
        rate=rate,
        unevenness=unevenness,
        side=float(ears.balance[at].mean()),
        hue=float(eyes.hue[at.start + STEPS // 2]) if saturation > 0.1 and light > 0.005 else np.nan,
        light=light,
        motion=float(eyes.change[at].mean()),
        x=float(eyes.centre_x[at].mean()),
        y=float(eyes.centre_y[at].mean()),
    )


@dataclass(frozen=True)
class Change:
    """What became of a moment since those before it.

    Attributes
    ----------
    what : str
        What changed most since the last moment: of `NOTICED`, or ``"sound"`` that begins or ends; empty where nothing
        is noticed.
    amount : float
        By how many noticed differences; infinite where there was none of it, or is none.
    ago : int
        How many moments ago all that is there now was last there, with something else between; 0: never.
    """

    what: str
    amount: float
    ago: int


def changes(moments: Sequence[Moment]) -> tuple[Change, ...]:
    """What changed from moment to moment, and what returned."""
    rows = np.array([noticed(m) for m in moments]).reshape(len(moments), len(NOTICED))
    return tuple(_change(moments, rows, i) for i in range(len(moments)))


def _change(moments: Sequence[Moment], rows: Floats, i: int) -> Change:
    if not i:
        return Change("", 0.0, 0)
    apart = _apart(rows[:i], rows[i])
    unlike = np.abs(apart).max(axis=1) >= ALIKE
    away = np.flatnonzero(unlike)
    back = np.flatnonzero(~unlike[: away[-1]]) if len(away) else away
    ago = i - int(back[-1]) if len(back) else 0
    before, now = moments[i - 1], moments[i]
    if before.silent != now.silent:
        return Change("sound", -np.inf if now.silent else np.inf, ago)
    most = int(np.abs(apart[-1]).argmax())
    amount = float(apart[-1, most])
    return Change([*NOTICED][most], amount, ago) if abs(amount) >= 1 else Change("", 0.0, ago)


def noticed(m: Moment) -> list[float]:
    """What a moment is, in noticed differences and in the order of `NOTICED`; NaN where there is none of it."""
    heard = not m.silent
    pitch = m.pitch if not np.isnan(m.pitch) else 60.0 + m.classes[0] if m.classes else np.nan
    values = {
        "pitch": pitch if heard else np.nan,
        "loudness": max(m.loudness, GATE) if heard else GATE,
        "brightness": np.log2(m.brightness + 60) if heard else np.nan,
        "roughness": np.log2(m.roughness + 0.01) if heard and not m.noisy else np.nan,
        "onsets": np.log2(1 + m.onsets),
        "hue": m.hue / 60,
        "light": np.log2(m.light + 0.02),
        "motion": np.log2(m.motion + 0.0005),
    }
    return [float(values[name]) / step for name, step in NOTICED.items()]


def _apart(before: Floats, now: Floats) -> Floats:
    """Differences ``[n, k]`` of one row from others; infinite where only one of two has a value, 0 where neither."""
    apart = now - before
    hue = [*NOTICED].index("hue")
    apart[:, hue] = (apart[:, hue] + 3) % 6 - 3
    missing = np.isnan(before) ^ np.isnan(now)
    found: Floats = np.where(missing, np.inf, np.nan_to_num(apart))
    return found
