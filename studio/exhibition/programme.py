"""A programme: what an exhibition plays, as a TOML file. It carries its version, as pieces do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pieces.errors import DescantError
from pieces.metre import Model
from pieces.piece import explain
from pieces.source import nearest

#: Version of the file format that this Descant writes and reads.
FORMAT = 1

#: A programme to begin with, as ``descant exhibit --example`` prints it.
EXAMPLE = """\
# A programme: what an exhibition plays, in this order.
# descant exhibit FILE shows it; after a restart it goes on where it was, with --fresh it begins at the first item.
descant = 1                 # version of this format
title = "Four ways of learning"
loop = true                 # begin again after the last item; default false
crossfade = 4.0             # seconds from one item to the next, 0 to 60; default 3
loudness = -18.0            # LUFS, -40 to -8, for every item; leave it out and each is as loud as it was rendered

[[items]]                   # a piece, performed live
piece = "knots"             # a name from descant pieces, or a file beside this one
seed = 3                    # of everything random; default 0
longest = 90.0              # seconds after which it ends at the latest; default: as long as it takes

[items.label]
title = "Two knots"         # default: the title of the piece or take
text = "The phases of a knot in space are learned."
seconds = 12.0              # how long it is shown before it fades away; default 10, 0 shows none

[[items]]
piece = "cubics"
longest = 60.0

# [[items]]                 # a take from the archive
# take = "0199f3"           # its id, or the beginning of it (descant takes lists them)
"""


class ProgrammeError(DescantError):
    """A programme that cannot be read or does not hold together."""


class Label(Model):
    """What is written over the picture when an item begins."""

    title: str | None = Field(default=None, max_length=200, description="default: the title of the piece or take")
    text: str = Field(default="", max_length=2000)
    seconds: float = Field(default=10.0, ge=0, le=3600, description="how long it is shown; 0: not at all")


class Item(Model):
    """A take, or a piece that is performed live."""

    take: str | None = Field(default=None, min_length=1, description="id of a take, or its beginning")
    piece: str | None = Field(default=None, min_length=1, description="name of a piece, or a file")
    seed: int | None = Field(default=None, ge=0, lt=2**32, description="of a piece; default 0")
    longest: float | None = Field(default=None, ge=1, le=86_400, description="seconds that a piece lasts at most")
    label: Label = Label()

    @model_validator(mode="after")
    def _one_kind(self) -> Item:
        if (self.take is None) == (self.piece is None):
            raise ValueError("give 'take' (from the archive) or 'piece' (performed live), and not both")
        for name in ("seed", "longest"):
            if self.take is not None and getattr(self, name) is not None:
                raise ValueError(f"'{name}' is for a piece; a take is played as it is")
        return self

    @property
    def name(self) -> str:
        """What is shown, in a few words: for the log, and to find the place again."""
        if self.take is not None:
            return f"take {self.take}"
        return f"{self.piece}, seed {self.seed or 0}"


class Programme(Model):
    """What an exhibition plays."""

    descant: Literal[1]
    title: str = Field(min_length=1, max_length=200)
    loop: bool = False
    crossfade: float = Field(default=3.0, ge=0, le=60, description="seconds")
    loudness: float | None = Field(default=None, ge=-40, le=-8, description="LUFS; default: as rendered")
    items: tuple[Item, ...]

    @field_validator("items")
    @classmethod
    def _something(cls, items: tuple[Item, ...]) -> tuple[Item, ...]:
        if not items:
            raise ValueError("give at least one [[items]]")
        return items


def read_programme(path: Path) -> Programme:
    """The programme in a file.

    Raises
    ------
    ProgrammeError
        Naming the file, the field, the value and what is allowed.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ProgrammeError(
            f"{path}: cannot be read: {error.strerror}: descant exhibit --example prints a programme to begin with"
        ) from None
    except UnicodeDecodeError:
        raise ProgrammeError(f"{path}: cannot be read: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ProgrammeError(f"{path.name}: not TOML: {error}") from None
    return parse_programme(raw, path.name)


def parse_programme(raw: Mapping[str, Any], where: str) -> Programme:
    """Validate a programme from plain data; see `read_programme`."""
    version = raw.get("descant")
    if isinstance(version, int) and version > FORMAT:
        raise ProgrammeError(
            f"{where}: written by a newer Descant (format {version}, this one reads {FORMAT}): upgrade descant"
        )
    try:
        return Programme.model_validate(raw)
    except ValidationError as error:
        raise ProgrammeError(explain(error, where) + _allowed(error)) from None


def _allowed(error: ValidationError) -> str:
    """Which fields there are, where the first error is about one that there is not."""
    first = error.errors(include_url=False)[0]
    *owner, name = (str(p) for p in first["loc"]) if first["loc"] else ("",)
    if first["type"] == "missing" and name == "descant":
        return f": write descant = {FORMAT}, the version of the format"
    if first["type"] != "extra_forbidden":
        return ""
    model = Label if "label" in owner else Item if owner else Programme
    return nearest(name, model.model_fields) or f": allowed are {', '.join(model.model_fields)}"
