"""Words for machines that read: what is heard and seen, moment by moment, and what changed.

The wording is neutral: it measures and does not judge, and it names nothing that is not in the sound or the picture.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonify.ears import GATE
from studio.words.artefact import MOMENT_S, STEPS, Artefact

_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
# Edges of the words, and the words between them.
_LEVELS = ((-48, -34, -20, -10), ("very quiet", "quiet", "of medium level", "loud", "very loud"))
_COLOURS = ((300, 900, 2500, 6000), ("very dark", "dark", "of medium brightness", "bright", "very bright"))
_SURFACES = ((0.005, 0.02, 0.08), ("smooth", "faintly beating", "beating", "rough"))
_LIGHTS = ((0.03, 0.1, 0.3, 0.6), ("nearly black", "dim", "half lit", "bright", "very bright"))
_MOTIONS = ((0.0005, 0.003, 0.015, 0.06), ("still", "barely moving", "moving slowly", "moving", "moving fast"))
_NOISY = 0.2


@dataclass(frozen=True)
class _Moment:
    """The numbers behind a moment's words; pitches are MIDI notes, NaN where there is none."""

    first: float
    last: float
    loudness: float
    flutter: float
    centroid: float
    roughness: float
    flatness: float
    chroma: NDArray[np.float32]
    balance: float
    onsets: int
    hue: str
    light: float
    motion: float
    x: float
    y: float


def describe(artefact: Artefact) -> str:
    """Put an artefact into words; a function of the artefact alone.

    Parameters
    ----------
    artefact : Artefact

    Returns
    -------
    str
        A line of length, then a line for each run of moments (0.5 s) that the words do not tell apart.
    """
    moments = _measure(artefact)
    lines = [f"{artefact.duration:.1f} s of sound and pictures."]
    start, said = 0.0, ""
    for i, moment in enumerate(moments):
        news = _changes(moments[i - 1], moment) if i else []
        text = f"Sound: {_sound(moment)}. Picture: {_picture(moment)}."
        text += f" Change: {', '.join(news)}." if news else ""
        if text != said and said:
            lines.append(f"{start:.1f}-{i * MOMENT_S:.1f} s. {said}")
        if text != said:
            start, said = i * MOMENT_S, text
    if said:
        lines.append(f"{start:.1f}-{len(moments) * MOMENT_S:.1f} s. {said}")
    return "\n".join(lines)


def _measure(artefact: Artefact) -> list[_Moment]:
    ears, eyes = artefact.ears, artefact.eyes
    note = 69 + 12 * np.log2(ears.f0 / 440)
    found = []
    for i in range(int(artefact.duration / MOMENT_S + 1e-6)):
        at = slice(i * STEPS, (i + 1) * STEPS)
        pitched = note[at][~np.isnan(note[at])]
        few = len(pitched) < STEPS // 2
        begins = (ears.onset_times >= i * MOMENT_S) & (ears.onset_times < (i + 1) * MOMENT_S)
        saturation, brightness = float(eyes.saturation[at].mean()), float(eyes.brightness[at].mean())
        middle = at.start + STEPS // 2
        found.append(
            _Moment(
                first=np.nan if few else float(np.median(pitched[:3])),
                last=np.nan if few else float(np.median(pitched[-3:])),
                loudness=float(np.median(ears.loudness[at])),
                flutter=float(ears.loudness[at].std()),
                centroid=float(np.median(ears.centroid[at])),
                roughness=float(np.median(ears.roughness[at])),
                flatness=float(np.median(ears.flatness[at])),
                chroma=ears.chroma[at].mean(axis=0),
                balance=float(ears.balance[at].mean()),
                onsets=int(begins.sum()),
                hue=_HUES[round(float(eyes.hue[middle]) / 60) % 6]
                if saturation > 0.1 and brightness > 0.005
                else "grey",
                light=brightness,
                motion=float(eyes.change[at].mean()),
                x=float(eyes.centre_x[at].mean()),
                y=float(eyes.centre_y[at].mean()),
            )
        )
    return found


def _sound(m: _Moment) -> str:
    if m.loudness < GATE and not m.onsets:
        return "silence"
    parts = [_pitch(m), _word(m.loudness, _LEVELS), _word(m.centroid, _COLOURS)]
    if m.flatness < _NOISY:
        parts.append(_word(m.roughness, _SURFACES))
    if m.flutter > 1.5 and not m.onsets:
        parts.append("wavering in level")
    if abs(m.balance) > 0.33:
        parts.append("left" if m.balance < 0 else "right")
    if m.onsets:
        parts.append("one onset" if m.onsets == 1 else f"{m.onsets} onsets")
    return ", ".join(parts)


def _pitch(m: _Moment) -> str:
    if not np.isnan(m.first):
        first, last = _note(m.first), _note(m.last)
        if abs(m.last - m.first) < 1:
            return f"a tone at {first}"
        if m.onsets > 1:
            return f"tones from {first} to {last}"
        return f"a tone {'rising' if m.last > m.first else 'falling'} from {first} to {last}"
    if m.flatness >= _NOISY or not m.chroma.any():
        return "noise"
    strong = [_NOTES[c] for c in np.argsort(-m.chroma, kind="stable")[:3] if m.chroma[c] > 0.15]
    return f"several tones, strongest {' and '.join(strong)}" if strong else "many tones"


def _picture(m: _Moment) -> str:
    if m.light < 0.004:
        return "black, still" if m.motion < _MOTIONS[0][0] else "black, flickering"
    row = ("top", "middle", "bottom")[min(int(3 * m.y), 2)]
    column = ("left", "centre", "right")[min(int(3 * m.x), 2)]
    return f"{m.hue}, {_word(m.light, _LIGHTS)}, {_word(m.motion, _MOTIONS)}, weight {row} {column}"


def _changes(before: _Moment, now: _Moment) -> list[str]:
    news = []
    silent = before.loudness < GATE, now.loudness < GATE
    if silent[0] != silent[1]:
        news.append("the sound stops" if silent[1] else "the sound begins")
    elif not silent[1]:
        interval = now.first - before.last
        if abs(interval) >= 1:
            count = round(abs(interval))
            news.append(f"{'up' if interval > 0 else 'down'} {count} semitone{'s' if count > 1 else ''}")
        if np.isnan(now.first) != np.isnan(before.last):
            news.append("the pitch is lost" if np.isnan(now.first) else "a pitch appears")
        if abs(now.loudness - before.loudness) >= 6:
            news.append("louder" if now.loudness > before.loudness else "quieter")
        if abs(np.log2((now.centroid + 1) / (before.centroid + 1))) >= 1:
            news.append("brighter sound" if now.centroid > before.centroid else "darker sound")
        if _word(now.roughness, _SURFACES) != _word(before.roughness, _SURFACES) and now.flatness < _NOISY:
            news.append("rougher" if now.roughness > before.roughness else "smoother")
    if before.hue != now.hue:
        news.append(f"from {before.hue} to {now.hue}")
    if _word(now.light, _LIGHTS) != _word(before.light, _LIGHTS):
        news.append("lighter picture" if now.light > before.light else "darker picture")
    return news


def _word(value: float, scale: tuple[tuple[float, ...], tuple[str, ...]]) -> str:
    edges, words = scale
    return words[bisect(edges, value)]


def _note(midi: float) -> str:
    """Nearest note of equal temperament: 69 → ``A4``."""
    number = round(midi)
    return f"{_NOTES[number % 12]}{number // 12 - 1}"
