"""A piece: a composition as a TOML file. Parts (a source each, with its rate), score, sections, picture, master.

The score is plain data here; `sonify.score` validates it. The format carries its version, so that an older Descant
refuses a newer file instead of misreading it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from pieces.errors import DescantError
from pieces.knobs import Choice, Knob
from pieces.metre import Metre, Model
from pieces.sections import LONGEST, Name, Section, check_form
from pieces.signals import Value
from pieces.source import Source, check_controls, find_source, nearest, source_names, split_source_path

#: Version of the file format that this Descant writes and reads.
FORMAT = 1
#: Short names of pieces in the library.
ALIASES = {"cubics": "cubics-robust"}


class PieceError(DescantError):
    """A piece that does not exist or does not hold together."""


def _ratio(value: Any) -> Any:
    """``"3/2"`` as it is meant."""
    if isinstance(value, str):
        found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)(?:/(\d{1,6}))?", value.strip())
        if found is None or (found[2] is not None and not int(found[2])):
            raise ValueError("allowed are numbers and ratios such as '3/2'")
        return float(found[1]) / int(found[2] or 1)
    return value


class Part(Model):
    """One source with its rate, its controls at the start, and its inputs.

    Its clock is the second (`rate`) or the piece's beat (`per_beat`).
    """

    source: str = Field(min_length=1, description="name of a source, or a file my_source.py[:Class]")
    rate: float | None = Field(default=None, gt=0, le=1e6, description="ticks per second")
    per_beat: Annotated[float, BeforeValidator(_ratio), Field(gt=0, le=1e5)] | None = Field(
        default=None, description="ticks per beat: a number, or a ratio such as '3/2'"
    )
    ticks: int = Field(default=LONGEST, gt=0, le=LONGEST, description="longest length; a source may be over sooner")
    seed: int = Field(default=0, ge=0, le=2**31, description="added to the take's seed")
    controls: dict[str, float | int | str] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_clock(self) -> Part:
        if (self.rate is None) == (self.per_beat is None):
            raise ValueError("give 'rate' (ticks per second) or 'per_beat' (ticks per beat), and not both")
        return self


class Master(Model):
    """What is done to the whole: loudness, ceiling, sample rate, the silence that a reverb needs at the end."""

    loudness: float = Field(default=-16.0, ge=-40, le=-8, description="integrated loudness in LUFS (BS.1770-4)")
    ceiling: float = Field(default=-1.0, ge=-12, le=0, description="true peak in dBTP")
    limiter: bool = Field(default=False, description="hold the loudness by limiting what is above the ceiling")
    sample_rate: Literal[44100, 48000] = 48000
    tail: float = Field(default=1.0, ge=0, le=30, description="seconds after the last tick")
    trim: float | None = Field(
        default=None, ge=-40, le=20, description="dB that live sound is given: there nobody knows how loud it will be"
    )


class Ground(Model):
    """What a picture is drawn on instead of black: a video, bent by the gradients of the picture's part.

    ``shift`` moves the three colours apart, each by one partial gradient; ``bubbles`` are discs, one for every note,
    in which pixels are displaced: as published (``code``), or by no more than the gradient's size (``robust``).
    """

    video: Name = Field(description="a part whose source is a video")
    effect: Literal["none", "shift", "bubbles"] = "none"
    preset: Literal["robust", "code"] = "robust"
    notes: Name | None = Field(default=None, description="part whose notes make bubbles; default: the picture's own")


class Picture(Model):
    """How a part is drawn: a view (see ``descant pieces NAME``) and the options of that view."""

    view: str = "plots"
    part: str | None = Field(default=None, description="default: the first")
    options: dict[str, Any] = Field(default_factory=dict)
    sections: tuple[str, ...] = Field(default=(), description="sections in which it is seen; default: all")
    ground: Ground | None = Field(default=None, description="default: black")
    beside: tuple[Picture, ...] = Field(default=(), max_length=15, description="further pictures, in one frame with it")

    @property
    def tiles(self) -> tuple[Picture, ...]:
        """All pictures of the frame."""
        return (self, *self.beside)


class Piece(Model):
    """A composition. `base` is the folder that relative paths in it are read against; it is no part of the piece."""

    descant: Literal[1] = 1
    title: str
    about: str = ""
    metre: Metre = Metre()
    parts: Annotated[dict[Name, Part], Field(min_length=1)]
    sections: tuple[Section, ...] = ()
    score: dict[str, Any] = Field(default_factory=dict)
    picture: Picture = Picture()
    master: Master = Master()
    knobs: tuple[Knob, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Piece:
        check_form(self)
        sections = [section.name for section in self.form]
        for tile in self.picture.tiles:
            ground = (tile.ground.video, tile.ground.notes) if tile.ground else ()
            for part in (tile.part, *ground):
                if part is not None and part not in self.parts:
                    raise ValueError(f"picture names part {part!r}{nearest(part, self.parts)}")
            for section in tile.sections:
                if section not in sections:
                    raise ValueError(f"picture names section {section!r}{nearest(section, sections)}")
        return self

    @property
    def form(self) -> tuple[Section, ...]:
        """Its sections; one that lasts until every part is over where none are written."""
        return self.sections or (Section(name="whole"),)

    def rate(self, part: str) -> float:
        """Ticks per second of a part, at the piece's first tempo."""
        found = self.parts[part]
        if found.rate is not None:
            return found.rate
        assert found.per_beat is not None
        return found.per_beat * self.metre.tempo / 60

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_toml(self) -> str:
        """The piece as a file for editing."""
        return tomlkit.dumps(self.model_dump(mode="json", exclude_none=True))

    def with_values(self, changes: Mapping[str, Any]) -> Piece:
        """A copy with values changed at dotted paths (``parts.fit.controls.noise``), validated anew."""
        raw = copy.deepcopy(self.model_dump())
        for path, value in changes.items():
            *parents, last = path.split(".")
            node: Any = raw
            for key in parents:
                if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                    node = node[int(key)]
                elif isinstance(node, dict) and key in node:
                    node = node[key]
                else:
                    raise PieceError(f"{path}: no {key!r}{nearest(key, node if isinstance(node, dict) else {})}")
            if isinstance(node, list) and last.isdecimal() and int(last) < len(node):
                node[int(last)] = value
            elif isinstance(node, dict):
                node[last] = value
            else:
                raise PieceError(f"{path}: {parents[-1]!r} is a value, not a table")
        return parse_piece(raw, self.title)

    def with_controls(self, settings: Mapping[str, Any]) -> Piece:
        """A copy with controls set, given as ``part.control`` or, where there is one part, ``control``."""
        changes = {}
        for name, value in settings.items():
            part, _, control = name.rpartition(".")
            if not part:
                if len(self.parts) > 1:
                    raise PieceError(
                        f"{name} = {value}: say of which part ({', '.join(self.parts)}), as in part.{name}"
                    )
                part = next(iter(self.parts))
            if part not in self.parts:
                raise PieceError(f"{name} = {value}: no part {part!r}{nearest(part, self.parts)}")
            changes[f"parts.{part}.controls.{control}"] = value
        return self.with_values(changes)


def explain(error: ValidationError, where: str) -> str:
    """A pydantic error as one line: file, field, value, what is allowed (of the first error; others are counted)."""
    errors = error.errors(include_url=False)
    first = errors[0]
    field = ".".join(str(p) for p in first["loc"])
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] == "extra_forbidden":
        line = f"{where}: {field}: no such field"
    elif first["type"] == "missing":
        line = f"{where}: {field}: missing"
    else:
        shown = repr(first["input"])
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        line = f"{where}: {field} = {shown}: {message}" if field else f"{where}: {message}"
    return line + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else "")


def parse_piece(raw: Mapping[str, Any], where: str) -> Piece:
    """Validate a piece from plain data.

    Raises
    ------
    PieceError
        Naming `where`, the field, the value and what is allowed.
    """
    version = raw.get("descant", FORMAT)
    if isinstance(version, int) and version > FORMAT:
        raise PieceError(
            f"{where}: written by a newer Descant (format {version}, this one reads {FORMAT}): upgrade descant"
        )
    try:
        return Piece.model_validate(raw)
    except ValidationError as error:
        raise PieceError(explain(error, where)) from error


def check_piece(piece: Piece, where: str, base: Path | None = None) -> dict[str, type[Source]]:
    """Find every part's source and check its controls, its inputs and the knobs; returns each part's source class."""
    classes = {}
    for name, part in piece.parts.items():
        try:
            cls = find_source(part.source, base)
            check_controls(cls, part.controls)
        except DescantError as error:
            raise PieceError(f"{where}: parts.{name}: {error}") from error
        for given in part.inputs:
            if given not in cls.inputs:
                raise PieceError(
                    f"{where}: parts.{name}: {cls.name} has no input {given!r}{nearest(given, cls.inputs)}"
                )
        classes[name] = cls
    for number, knob in enumerate(piece.knobs):
        try:
            knob_value(piece, knob, classes)
        except PieceError as error:
            raise PieceError(f"{where}: knobs.{number}.path: {error}") from error
    return classes


def knob_value(piece: Piece, knob: Knob, classes: Mapping[str, type[Source]]) -> Choice:
    """What a knob stands at in a piece: as it is written or, of a control that is not, its default.

    Raises
    ------
    PieceError
        If its path leads to nothing that it could turn.
    """
    node: Any = piece.model_dump(mode="json")
    for key in knob.path.split("."):
        if isinstance(node, list):
            node = node[int(key)] if key.isdecimal() and int(key) < len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
    if node is None:
        part, _, control = knob.path.removeprefix("parts.").partition(".controls.")
        node = next((c.default for c in classes[part].controls if c.name == control), None) if part in classes else None
    is_number = isinstance(node, int | float) and not isinstance(node, bool)
    if node not in knob.choices if knob.choices else not is_number:
        found = "nothing is there" if node is None else f"{node!r} is there"
        wanted = f"allowed are {knob.allowed}" if knob.choices else "a knob turns a number"
        raise PieceError(f"{knob.path}: {found}, {wanted}: correct the path")
    value: Choice = node
    return value


def library() -> dict[str, str]:
    """Built-in pieces: ``name → TOML text``."""
    folder = files("pieces") / "library"
    return {e.name.removesuffix(".toml"): e.read_text() for e in folder.iterdir() if e.name.endswith(".toml")}


def piece_names() -> list[str]:
    """Names of all pieces that can be performed by name."""
    return sorted({*library(), *ALIASES})


def find_piece(name: str) -> tuple[Piece, Path]:
    """The piece called `name`, and the folder its relative paths are read against.

    Parameters
    ----------
    name : str
        A built-in name, a path ``my.toml``, an installed source, or a source file ``my_source.py[:Class]``.

    Raises
    ------
    PieceError
        If there is none (with the nearest name), or it is not valid.
    """
    if name.endswith(".toml"):
        path = Path(name)
        return _parse_toml(_read(path), path.name), path.resolve().parent
    built_in = library()
    known = ALIASES.get(name, name)
    if known in built_in:
        return _parse_toml(built_in[known], f"{known}.toml"), Path.cwd()
    if split_source_path(name) or name in source_names():
        return _of_source(name), Path.cwd()
    raise PieceError(f"no piece {name!r}{nearest(name, sorted({*piece_names(), *source_names()}))}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise PieceError(f"{path}: cannot be read: {reason}") from error


def _parse_toml(text: str, where: str) -> Piece:
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib's own error is a ValueError, and so is a number too long
        raise PieceError(f"{where}: not TOML: {error}") from error
    return parse_piece(raw, where)


def _of_source(name: str) -> Piece:
    cls = find_source(name)
    if cls.piece:
        return _parse_toml(cls.piece, f"the piece of {cls.name}")
    scalars = [c.name for c in cls.channels if c.shape == ()]
    if not scalars:
        raise PieceError(f"source {cls.name} ships no piece and declares no scalar channel: write a piece file for it")
    return parse_piece(
        {
            "title": cls.name,
            "about": cls.about,
            "parts": {"source": {"source": name, "rate": 20.0, "ticks": 600}},
            "score": default_score(scalars),
        },
        cls.name,
    )


def default_score(
    channels: list[str], low: Value = "A2", high: Value = "A5", purpose: str = "measure"
) -> dict[str, Any]:
    """A score as plain data: a pitched voice for each channel, equal steps in log2, spread in the stereo field.

    Where a channel has no value its voice rests after a soft tap, so that a gap does not sound like data.
    """
    pitch = {"domain": "data", "range": [low, high], "space": "log2", "missing": "earcon"}
    n = len(channels)
    return {
        "purpose": purpose,
        "voices": {
            c.lower(): {
                "instrument": "glide",
                "pan": 0.0 if n == 1 else round(-0.8 + 1.6 * i / (n - 1), 3),
                "lanes": {"pitch": {"channel": c, **pitch}},
            }
            for i, c in enumerate(channels)
        },
    }
