"""Files of Scala (M. Op de Coul): scales (.scl) and keyboard mappings (.kbm).

Formats: huygens-fokker.org/scala/scl_format.html and huygens-fokker.org/scala/help.htm#mappings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pieces.errors import DescantError
from pieces.piece import explain
from sonify.tuning import WIDEST, Tuning, midi_hertz, ratio_cents

#: Bytes of the largest file that is read: the longest scale of Scala's archive takes a fiftieth.
LARGEST = 1_000_000

# A value, then anything that could not have been a part of it: ``5/4 E\``, ``100.0 cents``, ``2957/2048!Gb``.
_CENTS = re.compile(r"\s*(-?(?:[0-9]{1,9}\.[0-9]{0,99}|\.[0-9]{1,99}))(?![\w./])")
_RATIO = re.compile(r"\s*([0-9]{1,400}(?:\s*/\s*[0-9]{1,400})?)(?!\s*[/.]|\w)")
_PITCHES = "allowed are cents with a period ('701.955'), ratios ('3/2') and whole numbers ('2')"


class ScalaError(DescantError):
    """A .scl or .kbm file that cannot be read, or does not fit its scale."""


@dataclass(frozen=True)
class Scale:
    """What a .scl file holds.

    Attributes
    ----------
    description : str
        Its first line.
    cents : tuple of float
        Degrees 1 and up above degree 0, in the file's order, rising or not; the last is the period.
    """

    description: str
    cents: tuple[float, ...]


@dataclass(frozen=True)
class KeyMap:
    """What a .kbm file holds: which key plays which degree of a scale.

    Attributes
    ----------
    first, last : int
        MIDI keys that are retuned; those outside are unmapped here.
    middle : int
        Key of the first entry of `degrees`.
    reference, hertz : int, float
        A key, and the frequency it sounds at.
    octave : int
        Degree that lies between the starts of two repetitions; 0 is the scale's last.
    degrees : tuple of int or None
        Degree of each key from `middle` on, repeated upwards and downwards; None is an unmapped key. If empty, every
        key is the degree above the key before.
    """

    first: int
    last: int
    middle: int
    reference: int
    hertz: float
    octave: int
    degrees: tuple[int | None, ...]

    def degree(self, key: int, notes: int) -> int | None:
        """Degree of a MIDI key in a scale of so many notes; None if the mapping leaves the key out."""
        if not self.degrees:
            return key - self.middle
        repetition, entry = divmod(key - self.middle, len(self.degrees))
        mapped = self.degrees[entry]
        return None if mapped is None else mapped + repetition * (self.octave or notes)


def read_scl(path: str | Path) -> Scale:
    """The scale in a .scl file, in UTF-8 or Latin-1.

    Raises
    ------
    ScalaError
        If there is no such file; or naming the file, the line, its text and what is allowed there.
    """
    path = Path(path)
    lines = _lines(path)
    _, description = next(lines, (0, ""))
    number, count = next(lines, (2, ""))
    if not re.fullmatch(r"\s*[0-9]{1,6}\s*", count):
        raise _wrong(path, number, count, "is no number of pitches: allowed are whole numbers from 0")
    pitches = [(number, text) for number, text in lines if text.strip()]
    cents = tuple(_pitch(path, number, text) for number, text in pitches[: int(count)])
    if len(pitches) != int(count):
        raise ScalaError(
            f"{path.name}: line {number}: {int(count)} pitches announced, {len(pitches)} there: allowed is as many"
        )
    return Scale(description.strip(), cents)


def read_kbm(path: str | Path) -> KeyMap:
    """The keyboard mapping in a .kbm file, in UTF-8 or Latin-1.

    Raises
    ------
    ScalaError
        If there is no such file; or naming the file, the line, its text and what is allowed there.
    """
    path = Path(path)
    lines = [(number, text) for number, text in _lines(path) if text.strip()]
    header = ("size", "first key", "last key", "middle key", "reference key", "reference frequency", "octave degree")
    if len(lines) < len(header):
        raise ScalaError(f"{path.name}: ends too soon: missing is the {header[len(lines)]}; allowed are 7 and the map")
    size, first, last, middle, reference, octave = (
        _whole(path, *lines[i], header[i], 0, 127 if "key" in header[i] else 9999) for i in (0, 1, 2, 3, 4, 6)
    )
    number, text = lines[5]
    frequency = re.match(r"\s*([0-9]{1,6}(?:\.[0-9]{0,99})?)(?![\w./])", text)
    if not frequency or float(frequency[1]) <= 0:
        raise _wrong(path, number, text, "is no reference frequency: allowed are hertz above 0, as in '440.0'")
    if first > last:
        raise _wrong(path, *lines[2], f"is no last key: allowed is {first}, the first, to 127")
    entries = [
        None if text.strip().lower().startswith("x") else _whole(path, number, text, "degree (or 'x')", 0, 9999)
        for number, text in lines[7:]
    ]
    if len(entries) > size:
        raise ScalaError(
            f"{path.name}: line {lines[0][0]}: size {size}, but {len(entries)} keys: allowed are up to {size}"
        )
    entries += [None] * (size - len(entries))
    return KeyMap(first, last, middle, reference, float(frequency[1]), octave, tuple(entries))


def inline(raw: Any, base: Path) -> Any:
    """A tuning as plain data, or a score with tunings in it, with the contents of files in place of their names.

    ``{ scl = "a.scl" }`` becomes ``cents``, and a tuning that is a text ending in ``.scl`` is the same. A `kbm` beside
    a .scl, or beside any other tuning, becomes ``root_hz`` and ``keys``. Whatever names no file is left as it is.

    Parameters
    ----------
    raw
        What a score has for a `Tuning`, or plain data that hold such things under the key ``tuning``.
    base : Path
        Folder that relative names are read against.

    Raises
    ------
    ScalaError
        If a file has errors, or its scale no period, or the mapping leaves out its own reference key.
    """
    if isinstance(raw, str) and raw.strip().lower().endswith(".scl"):
        raw = {"scl": raw.strip()}
    if isinstance(raw, list | tuple):
        return [inline(value, base) if isinstance(value, Mapping) else value for value in raw]
    if not isinstance(raw, Mapping):
        return raw
    if any(isinstance(raw.get(kind), str) for kind in ("scl", "kbm")):
        return _without_files(raw, base)
    return {
        key: inline(value, base) if key == "tuning" or isinstance(value, Mapping | list | tuple) else value
        for key, value in raw.items()
    }


def _without_files(raw: Mapping[str, Any], base: Path) -> dict[str, Any]:
    files = {kind: base / Path(str(raw[kind])).expanduser() for kind in ("scl", "kbm") if kind in raw}
    plain = {key: value for key, value in raw.items() if key not in files}
    taken = {"scl": ("cents", "ratios", "system"), "kbm": ("root", "root_hz", "keys")}
    for kind, path in files.items():
        if clash := [key for key in taken[kind] if key in plain]:
            raise ScalaError(f"tuning: {clash[0]} and {kind} = {path.name!r}: allowed is one of them")
    if "scl" in files:
        plain["cents"] = list(read_scl(files["scl"]).cents)
        if not plain["cents"] or plain["cents"][-1] == 0:
            raise ScalaError(f"{files['scl'].name}: has no period: allowed are scales whose last pitch is not 1/1")
    return _keyed(plain, files["kbm"]) if "kbm" in files else plain


def _keyed(plain: dict[str, Any], path: Path) -> dict[str, Any]:
    """A tuning without files, its root and keys set by a .kbm file."""
    keymap = read_kbm(path)
    try:
        tuning = Tuning.model_validate({**plain, "root_hz": midi_hertz(keymap.middle)})
    except ValidationError as error:
        raise ScalaError(explain(error, "tuning")) from error
    notes = len(tuning.cents)
    degree = keymap.degree(keymap.reference, notes)
    if degree is None:
        raise ScalaError(f"{path.name}: its reference key {keymap.reference} is unmapped: allowed are mapped keys")
    mapped = {key: keymap.degree(key, notes) for key in range(keymap.first, keymap.last + 1)}
    keys = {str(key): n for key, n in mapped.items() if n is not None}
    with np.errstate(over="ignore", under="ignore"):
        if not all(1e-100 < tuning.degree(n) < 1e100 for n in (degree, *keys.values())):
            far = f"repeats every {keymap.octave or notes} degrees"
            raise ScalaError(f"{path.name}: {far}: keys lie beyond all frequencies: allowed is a smaller octave degree")
    root_hz = keymap.hertz * tuning.root_hz / tuning.degree(degree)
    return {"cents": list(tuning.cents), "root_hz": root_hz, "keys": keys}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are no comments."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = (
            "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or str(error)
        )
        raise ScalaError(f"{path}: {reason}: allowed is a .scl or .kbm file of Scala") from error
    if len(data) > LARGEST:
        raise ScalaError(f"{path.name}: longer than {LARGEST} bytes: allowed is a .scl or .kbm file of Scala")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    numbered = enumerate(re.split(r"\r\n|\r|\n", text), start=1)
    return ((number, line) for number, line in numbered if not line.startswith("!"))


def _wrong(path: Path, number: int, text: str, what: str) -> ScalaError:
    return ScalaError(f"{path.name}: line {number}: {text.strip()[:40]!r} {what}")


def _pitch(path: Path, number: int, text: str) -> float:
    """Cents of a line of a .scl file."""
    if found := _CENTS.match(text):
        cents = float(found[1])
    elif found := _RATIO.match(text):
        try:
            cents = ratio_cents(found[1])
        except ValueError as error:
            raise _wrong(path, number, text, f"is no pitch: {_PITCHES} above 0") from error
    else:
        raise _wrong(path, number, text, f"is no pitch: {_PITCHES}")
    if abs(cents) > WIDEST:
        raise _wrong(path, number, text, f"is too wide: allowed are {-WIDEST:g} to {WIDEST:g} cents")
    return cents


def _whole(path: Path, number: int, text: str, what: str, low: int, high: int) -> int:
    found = re.match(r"\s*([0-9]{1,4})(?![\w./])", text)
    if not found or not low <= int(found[1]) <= high:
        raise _wrong(path, number, text, f"is no {what}: allowed are whole numbers from {low} to {high}")
    return int(found[1])
