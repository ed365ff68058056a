"""Pitches as people write them; systems, scales and chords; and tunings to snap to."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pieces.source import nearest

_LARGEST = sys.float_info.max
_NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d{1,2})")
_HERTZ = re.compile(r"(\d{1,6}(?:\.\d*)?|\.\d+)\s*hz", re.IGNORECASE)
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"": 0, "#": 1, "b": -1}

_RATIO = re.compile(r"\s*([0-9]{1,400})\s*(?:/\s*([0-9]{1,400})\s*)?")
_EQUAL = re.compile(r"([0-9]{1,4}) ?(?:edo|tet|et|ed ?([0-9]{1,9}(?:/[0-9]{1,9})?))")
_SPACED = re.compile(r"([A-Ga-g][#b]?(?:-?\d{1,2})?) (.+)")
_SYMBOL = re.compile(r"([A-Ga-g][#b]?)(\S+)")
#: Furthest from the root that a degree may be written, in cents: the 32 octaves of the largest ratio of a .scl file.
WIDEST = 38_400.0

_OCTAVE = 1200.0
_FIFTH = 1200.0 * math.log2(3 / 2)
_PYTHAGOREAN_COMMA = 12 * _FIFTH - 7 * _OCTAVE
_SYNTONIC_COMMA = 1200.0 * math.log2(81 / 80)

#: Twelve just tones above the root and the octave.
_JUST = {
    # Ellis's duodene (Helmholtz, On the Sensations of Tone, 1885, appendix XX).
    "just": "16/15 9/8 6/5 5/4 4/3 45/32 3/2 8/5 5/3 9/5 15/8 2",
    # K. Grady, Centaur, 1987 (grady7.scl of the Scala archive).
    "7-limit": "21/20 9/8 7/6 5/4 4/3 7/5 3/2 14/9 5/3 7/4 15/8 2",
}
#: Chains of twelve equal fifths, in cents; the thirteenth is the wolf.
_CHAINS = {"pythagorean": _FIFTH, "meantone": _FIFTH - _SYNTONIC_COMMA / 4}
#: Well temperaments, Werckmeister III (1681) and Vallotti: the notes, in semitones above C, whose fifths are narrowed,
#: each by an equal share of the Pythagorean comma.
_WELL = {"werckmeister": (0, 2, 7, 11), "vallotti": (0, 2, 4, 5, 7, 9)}
_OTHER_NAMES = {
    "equal": "12-edo",
    "5-limit": "just",
    "quarter-comma meantone": "meantone",
    "werckmeister iii": "werckmeister",
    "bohlen-pierce": "13-ed3",
}
#: Names of tuning systems; any number of equal divisions is one besides: ``31-edo``, ``13-ed3``.
SYSTEMS = (*_JUST, *_CHAINS, *_WELL, *_OTHER_NAMES)


def _by_name(table: Mapping[str, str]) -> dict[str, str]:
    """Several names on one line become one entry each."""
    return {name: tones for names, tones in table.items() for name in names.split(", ")}


#: Scales by the degrees of the major scale, flattened (b), sharpened (#) or flattened by a quarter tone (d).
SCALES = _by_name(
    {
        "major, ionian": "1 2 3 4 5 6 7",
        "dorian": "1 2 b3 4 5 6 b7",
        "phrygian": "1 b2 b3 4 5 b6 b7",
        "lydian": "1 2 3 #4 5 6 7",
        "mixolydian": "1 2 3 4 5 6 b7",
        "minor, natural minor, aeolian": "1 2 b3 4 5 b6 b7",
        "locrian": "1 b2 b3 4 b5 b6 b7",
        "harmonic minor": "1 2 b3 4 5 b6 7",
        "melodic minor": "1 2 b3 4 5 6 7",
        "harmonic major": "1 2 3 4 5 b6 7",
        "hungarian minor": "1 2 b3 #4 5 b6 7",
        "double harmonic": "1 b2 3 4 5 b6 7",
        "acoustic, lydian dominant": "1 2 3 #4 5 6 b7",
        "altered": "1 b2 b3 b4 b5 b6 b7",
        "major pentatonic, pentatonic": "1 2 3 5 6",
        "minor pentatonic": "1 b3 4 5 b7",
        "blues": "1 b3 4 b5 5 b7",
        "whole tone": "1 2 3 #4 #5 b7",
        "octatonic, whole-half octatonic": "1 2 b3 4 b5 b6 6 7",
        "half-whole octatonic": "1 b2 b3 3 #4 5 6 b7",
        "chromatic": "1 b2 2 b3 3 4 #4 5 b6 6 b7 7",
        "hirajoshi": "1 2 b3 5 b6",
        "miyako-bushi": "1 b2 4 5 b6",
        "yo": "1 2 4 5 6",
        "rast": "1 2 d3 4 5 6 d7",
        "bayati": "1 d2 b3 4 5 b6 b7",
        "hijaz, phrygian dominant": "1 b2 3 4 5 b6 b7",
        "saba": "1 d2 b3 b4 5 b6 b7",
    }
)
#: Scales that were measured, in cents, the octave as wide as it was found. No two gamelans are alike: these are means.
MEASURED = {
    # 39 Javanese gamelans: J. Kunst, Music in Java, 1949 (pelog_av.scl of the Scala archive).
    "pelog": (120.0, 270.0, 540.0, 670.0, 785.0, 950.0, 1200.0),
    # 30 gamelans: W. Surjodiningrat et al., 1993 (slendro_av.scl of the Scala archive).
    "slendro": (231.0, 474.0, 717.0, 955.0, 1208.0),
}
#: Chords by the same degrees; what lies above the octave is folded into it.
CHORDS = _by_name(
    {
        "maj, M": "1 3 5",
        "min, m": "1 b3 5",
        "dim": "1 b3 b5",
        "aug": "1 3 #5",
        "sus2": "1 2 5",
        "sus4": "1 4 5",
        "5": "1 5",
        "6": "1 3 5 6",
        "m6": "1 b3 5 6",
        "6/9": "1 3 5 6 9",
        "maj7, M7": "1 3 5 7",
        "7": "1 3 5 b7",
        "m7, min7": "1 b3 5 b7",
        "mmaj7": "1 b3 5 7",
        "dim7": "1 b3 b5 bb7",
        "m7b5": "1 b3 b5 b7",
        "aug7": "1 3 #5 b7",
        "7sus4": "1 4 5 b7",
        "add9": "1 3 5 9",
        "madd9": "1 b3 5 9",
        "maj9": "1 3 5 7 9",
        "9": "1 3 5 b7 9",
        "m9": "1 b3 5 b7 9",
        "7b9": "1 3 5 b7 b9",
        "7#9": "1 3 5 b7 #9",
        "11": "1 3 5 b7 9 11",
        "m11": "1 b3 5 b7 9 11",
        "maj7#11": "1 3 5 7 #11",
        "13": "1 3 5 b7 9 13",
    }
)


def hertz(value: Any) -> float:
    """A number as it is; a note name or a frequency as hertz.

    Parameters
    ----------
    value : float or str
        A finite number; a note in scientific pitch notation, equal-tempered at A4 = 440 Hz (``"C#3"``, ``"Bb2"``);
        or ``"440hz"``.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(value, int | float | np.number) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST:
        return float(value)
    if isinstance(value, str):
        if note := _NOTE.fullmatch(value.strip()):
            letter, accidental, octave = note.groups()
            return midi_hertz(12 * (int(octave) + 1) + _SEMITONES[letter.lower()] + _ACCIDENTALS[accidental])
        if frequency := _HERTZ.fullmatch(value.strip()):
            return float(frequency[1])
    shown = str(value)[:40]
    raise ValueError(f"{shown!r}: allowed are finite numbers, notes ('A4', 'C#3', 'Bb2') and frequencies ('440hz')")


def midi_hertz(key: float) -> float:
    """Frequency of a MIDI key number (69 is A4 = 440 Hz)."""
    return float(440.0 * 2.0 ** ((key - 69.0) / 12.0))


def ratio_cents(ratio: Any) -> float:
    """Cents of a frequency ratio of whole numbers above 0: ``"3/2"``, ``"2"``, ``2``; ValueError for anything else."""
    found = None if isinstance(ratio, bool | float) else _RATIO.fullmatch(str(ratio))
    above, below = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
    if not above or not below:
        raise ValueError(f"{str(ratio)[:40]!r} is no ratio: allowed are whole numbers above 0, as in '3/2' or '2'")
    return 1200.0 * (math.log2(above) - math.log2(below))


class Tuning(BaseModel):
    """A scale as Scala writes it: degrees in cents above the root, the period last.

    `cents`, `root_hz` and `keys` are what it comes to. It may be written in other words, as a table::

        { cents = [200, 400, 700, 900, 1200], root_hz = 110 }
        { ratios = ["9/8", "5/4", "3/2", "5/3", "2"], root = "C3" }
        { system = "pythagorean", scale = "dorian", root = "D3", wolf = "G#" }
        { system = "31-edo", chord = "m7", root = "E" }
        { system = "13-ed3", scale = [0, 2, 3, 4, 6, 7, 9, 10, 12] }

    or, shorter, as a text: ``"D dorian"``, ``"A minor pentatonic in just"``, ``"Dm7"``, ``"31-edo"``, ``"D pelog"``.
    Files (`scl`, `kbm`) are replaced by their contents before: `sonify.scala.inline`.

    system
        One of `SYSTEMS`, or equal divisions of the octave (``"19-edo"``) or of another ratio (``"13-ed3"``); 12-edo if
        there is none (24-edo where the scale has quarter tones). ``pythagorean`` and ``meantone`` (quarter-comma) are
        chains of twelve fifths: `wolf` names the note whose own fifth is the wolf, if not given the one six fifths
        above the root, which keeps every church mode but Locrian free of it. Well temperaments are keyboards tuned
        from C, whatever the root.
    scale
        One of `SCALES` or `MEASURED`, or steps of the system; all tones of the system if there is none. In equal
        temperaments, degrees lie on the chain of the best fifths, so that a flat is not the sharp below it.
    chord
        One of `CHORDS`: a tuning of nothing but its tones.
    root
        Note, with or without octave (then the third), or frequency: where degree 0 sounds.

    Attributes
    ----------
    cents : tuple of float
        In the scale's own order, which `degree` keeps; they need not rise, as in Scala. The last is the period, not 0.
    root_hz : float
        Frequency of degree 0.
    keys : dict of int to int
        MIDI key → degree; a key that is not there is silent. If empty, the key nearest the root is degree 0, the next
        one degree 1, and so on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cents: tuple[Annotated[float, Field(ge=-WIDEST, le=WIDEST)], ...] = Field(min_length=1)
    root_hz: Annotated[float, BeforeValidator(hertz), Field(gt=0)] = 220.0
    keys: dict[Annotated[int, Field(ge=0, le=127)], int] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _in_other_words(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            raw = _spoken(raw)
        return _plain(raw) if isinstance(raw, Mapping) else raw

    @model_validator(mode="after")
    def _has_a_period(self) -> Tuning:
        if self.cents[-1] == 0:
            raise ValueError("the last of cents is the period: allowed is anything but 0")
        return self

    def degree(self, n: int) -> float:
        """Frequency in hertz of degree `n`: 0 is the root, and periods follow each other upwards and downwards."""
        periods, index = divmod(n, len(self.cents))
        return float(self.root_hz * np.exp2((periods * self.cents[-1] + (0.0, *self.cents)[index]) / 1200.0))

    def degrees(self) -> NDArray[np.float64]:
        """Frequencies in hertz of the degrees of the first period, in the scale's order, the root first."""
        return np.array([self.degree(n) for n in range(len(self.cents))])

    def key_hertz(self, key: int) -> float | None:
        """Frequency in hertz of a MIDI key; None if it is unmapped."""
        if self.keys:
            return self.degree(self.keys[key]) if key in self.keys else None
        return self.degree(key - _nearest_key(self.root_hz))

    def snap(self, hz: ArrayLike) -> NDArray[np.float64]:
        """The nearest degree (in cents) to every frequency in hertz."""
        period = abs(self.cents[-1])
        degrees = np.append(np.unique(np.mod([0.0, *self.cents[:-1]], period)), period)
        cents = 1200.0 * np.log2(np.asarray(hz, dtype=np.float64) / self.root_hz)
        octave, above = np.divmod(cents, period)
        nearest_degree = degrees[np.searchsorted((degrees[1:] + degrees[:-1]) / 2, above)]
        return np.asarray(self.root_hz * np.exp2((octave * period + nearest_degree) / 1200.0))


def _nearest_key(hz: float) -> int:
    return round(69 + 12 * math.log2(hz / 440.0))


def _plainly(name: Any) -> str:
    """A name without case, hyphens or needless spaces."""
    return " ".join(re.split(r"[\s_-]+", str(name).strip().lower()))


def _find(name: Any, names: Mapping[str, Any] | tuple[str, ...]) -> str | None:
    """The known name that was meant: as it is written (``M7`` is not ``m7``), or else whatever its case and hyphens."""
    if isinstance(name, str) and name in names:
        return name
    return next((known for known in names if _plainly(known) == _plainly(name)), None)


def _kind(name: str) -> str | None:
    """What the name is the name of."""
    if _find(name, SCALES) or _find(name, MEASURED):
        return "scale"
    if _find(name, CHORDS):
        return "chord"
    return "system" if _find(name, SYSTEMS) or _EQUAL.fullmatch(_plainly(name)) else None


def _spoken(text: str) -> dict[str, Any]:
    """``"D dorian in just"``, ``"Dm7"``, ``"31-edo"`` as a table."""
    name, _, system = " ".join(text.split()).partition(" in ")
    table = {"system": system} if system else {}
    if kind := _kind(name):
        return {**table, kind: name}
    for pattern in (_SPACED, _SYMBOL):
        if (rooted := pattern.fullmatch(name)) and (kind := _kind(rooted[2])):
            return {**table, kind: rooted[2], "root": rooted[1]}
    rooted = _SPACED.fullmatch(name)
    hint = nearest(_plainly(rooted[2] if rooted else name), [*SCALES, *MEASURED, *SYSTEMS, *CHORDS])
    raise ValueError(f"allowed are a scale ('D dorian'), a chord ('Dm7') or a system ('31-edo', 'just'){hint}")


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a table comes to: `cents` and `root_hz`, with whatever else it holds."""
    given = dict(raw)
    for one, other in (("root", "root_hz"), ("scale", "chord")):
        if one in given and other in given:
            raise ValueError(f"{one} and {other}: allowed is one of them")
    if "scl" in given or "kbm" in given:
        raise ValueError("scl and kbm are files, and no file is read here: give their cents and root_hz")
    if "root" in given:
        root = given.pop("root")
        given["root_hz"] = f"{root}3" if isinstance(root, str) and re.fullmatch("[A-Ga-g][#b]?", root.strip()) else root
    if (root_hz := hertz(given.get("root_hz", 220.0))) <= 0:
        raise ValueError(f"root_hz = {root_hz:g}: allowed is above 0")
    if sum(key in given for key in ("cents", "ratios", "system")) > 1:
        raise ValueError("allowed is one of cents, ratios and system")
    if not given.keys() & {"ratios", "system", "scale", "chord", "wolf"}:
        return given
    scale, chord = given.pop("scale", None), given.pop("chord", None)
    if measured := _find(scale, MEASURED):
        if given.keys() & {"cents", "ratios", "system", "wolf"}:
            raise ValueError(f"scale = {measured!r} was measured: allowed is no system beside it")
        return {**given, "cents": MEASURED[measured]}
    if "cents" in given:
        tones, called = _list(given.pop("cents"), "cents"), "these cents"
        if not all(type(cent) in (int, float) for cent in tones):
            raise ValueError("cents: allowed are numbers")
    elif "ratios" in given:
        tones, called = [ratio_cents(r) for r in _list(given.pop("ratios"), "ratios")], "these ratios"
    else:
        quarters = "d" in SCALES.get(_find(scale, SCALES) or "", "")
        called = given.pop("system", "24-edo" if quarters else "12-edo")
        tones = _system(called, _nearest_key(root_hz) % 12, given.pop("wolf", None))
    return {**given, "cents": _choose(tones, called, scale, chord)}


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{what} = {str(value)[:40]!r}: allowed is a list, the period last")
    return list(value)


def _system(name: Any, root: int, wolf: Any) -> list[float]:
    """All tones of a system in cents above its root (0 to 11, semitones above C), the period last."""
    known = _find(name, SYSTEMS)
    known = _OTHER_NAMES.get(known or "", known)
    if wolf is not None and known not in _CHAINS:
        raise ValueError(f"wolf = {wolf!r}: allowed only with system = {' or '.join(map(repr, _CHAINS))}")
    if equal := _EQUAL.fullmatch(_plainly(known or name)):
        count, period = int(equal[1]), ratio_cents(equal[2] or 2)
        if not 1 <= count <= 1200 or not 0 < period <= WIDEST:
            raise ValueError(f"system = {name!r}: allowed are 1 to 1200 equal divisions of a ratio above 1")
        return [step * period / count for step in range(1, count + 1)]
    if known in _JUST:
        return [ratio_cents(ratio) for ratio in _JUST[known].split()]
    if known in _CHAINS:
        above = 6 if wolf is None else 7 * (_pitch_class(wolf) - root) % 12
        chain = [(7 * tone + 11 - above) % 12 - 11 + above for tone in range(1, 12)]
        return [*(position * _CHAINS[known] % _OCTAVE for position in chain), _OCTAVE]
    if known in _WELL:
        share = _PYTHAGOREAN_COMMA / len(_WELL[known])
        fifths = [_FIFTH - share * (7 * i % 12 in _WELL[known]) for i in range(12)]
        keyboard = [sum(fifths[: 7 * tone % 12]) for tone in range(12)]
        return [*((keyboard[(root + tone) % 12] - keyboard[root]) % _OCTAVE for tone in range(1, 12)), _OCTAVE]
    hint = nearest(_plainly(name), SYSTEMS)
    raise ValueError(f"system = {name!r}: allowed are equal divisions ('31-edo', '13-ed3') and named ones{hint}")


def _pitch_class(note: Any) -> int:
    if not isinstance(note, str) or not re.fullmatch("[A-Ga-g][#b]?", note):
        raise ValueError(f"wolf = {note!r}: allowed is a note without octave, as in 'G#'")
    return (_SEMITONES[note[0].lower()] + _ACCIDENTALS[note[1:]]) % 12


def _choose(tones: list[float], called: str, scale: Any, chord: Any) -> list[float]:
    """The tones of a scale or a chord among all tones of a system, the period last."""
    if scale is None and chord is None:
        return tones
    if isinstance(scale, list | tuple):
        steps = [step for step in scale if step != 0]
        if not all(type(step) is int and 0 < step < len(tones) for step in steps) or steps != sorted(set(steps)):
            raise ValueError(f"scale = {list(scale)}: allowed are rising steps of {called}, 1 to {len(tones) - 1}")
        return [*(tones[step - 1] for step in steps), tones[-1]]
    known: dict[str, Any] = {**SCALES, **MEASURED} if chord is None else CHORDS
    name, what = (scale, f"scale = {scale!r}") if chord is None else (chord, f"chord = {chord!r}")
    if (found := _find(name, known)) is None:
        raise ValueError(f"{what}{nearest(_plainly(name), known)}")
    count = len(tones)
    if count != 12 and not (_EQUAL.fullmatch(_plainly(called)) and math.isclose(tones[-1], _OCTAVE)):
        raise ValueError(f"{what}: allowed are octaves of 12 tones or equal ones, not {called}")
    fifth = round(count * math.log2(3 / 2))
    places = [_fifths(tone) * fifth % count for tone in known[found].split()]
    if chord is not None:
        places.sort()
    if any(place % 1 for place in places) or places != sorted(set(places)):
        raise ValueError(f"{what}: {called} has no such tones; allowed is a finer or more regular system")
    return [*(tones[int(place) - 1] for place in places[1:]), tones[-1]]


def _fifths(tone: str) -> float:
    """Where a degree such as ``b7`` lies on the chain of fifths from the root: a sharp is 7 fifths up."""
    degree = tone.lstrip("b#d")
    altered = sum({"#": 7.0, "b": -7.0, "d": -3.5}[sign] for sign in tone[: len(tone) - len(degree)])
    return (0, 2, 4, -1, 1, 3, 5)[(int(degree) - 1) % 7] + altered
