"""The studio's themes: light, dark, and two of its own; and those of the user's files.

Colours keep apart for colour-blind eyes (M. Okabe & K. Ito, "Color Universal Design", 2008), and nothing is said by
colour alone: what is muted has an M, what clips says so, every line has its name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pieces.errors import DescantError

#: Colours that a theme file may set, beside ``name`` and ``dark``.
COLOURS = (
    *("primary", "secondary", "accent", "foreground", "background", "surface", "panel"),
    *("success", "warning", "error"),
)
_ON_DARK = ("#E69F00", "#56B4E9", "#2FBF9B", "#F0E442", "#5AA0E6", "#F0793A", "#DD8FBD", "#C9CCD3")
_ON_LIGHT = ("#A86F00", "#0072B2", "#00795A", "#8A7B00", "#2A5C9A", "#B84A00", "#A0507F", "#4A4F58")
_DUSK = ("#FFB340", "#6F8CF0", "#DE74B8", "#FAF0B2", "#FF8054", "#A98BF0", "#7FD0D8", "#D5C7DB")
_LAMP = ("#FFD37A", "#FFB000", "#E8E0CC", "#FF8A2B", "#D9A441", "#FFF0C8", "#C98A3A", "#B8AE98")


def _variables(channels: tuple[str, ...], ground: str, low: str, warm: str, hot: str) -> dict[str, str]:
    named = {f"channel-{n}": colour for n, colour in enumerate(channels, 1)}
    return named | {"meter-ground": ground, "meter-low": low, "meter-warm": warm, "meter-hot": hot}


@dataclass(frozen=True)
class Look:
    """A theme as plain data.

    Attributes
    ----------
    name : str
    dark : bool
    colours : mapping
        `COLOURS` → ``"#rrggbb"``.
    variables : mapping
        The colours of lines and meters.
    """

    name: str
    dark: bool
    colours: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)


_OWN = (
    Look(
        "descant-dark",
        True,
        {
            "primary": "#3A86D6", "secondary": "#56B4E9", "accent": "#FFB340", "foreground": "#DEE3EC",
            "background": "#0B0D12", "surface": "#12151C", "panel": "#1A1E28",
            "success": "#2FBF9B", "warning": "#E69F00", "error": "#F0682E",
        },
        _variables(_ON_DARK, "#1A1E28", "#2FBF9B", "#E69F00", "#F0682E"),
    ),
    Look(
        "descant-light",
        False,
        {
            "primary": "#0F5FA8", "secondary": "#0072B2", "accent": "#9A5B00", "foreground": "#1C2027",
            "background": "#F7F5F0", "surface": "#EFECE5", "panel": "#E2DED4",
            "success": "#00704F", "warning": "#8A5A00", "error": "#B03A00",
        },
        _variables(_ON_LIGHT, "#E2DED4", "#00795A", "#A86F00", "#B84A00"),
    ),
    Look(
        "dusk",
        True,
        {
            "primary": "#8C5CE8", "secondary": "#DE54A0", "accent": "#FFBE54", "foreground": "#EDE6F2",
            "background": "#100C1A", "surface": "#171226", "panel": "#221A38",
            "success": "#7FD0D8", "warning": "#FFBE54", "error": "#FF8054",
        },
        _variables(_DUSK, "#221A38", "#7F74E8", "#FFBE54", "#FF6A4A"),
    ),
    Look(
        "lamp",
        True,
        {
            "primary": "#D98A1E", "secondary": "#B8AE98", "accent": "#FFD37A", "foreground": "#E8E0CC",
            "background": "#000000", "surface": "#0B0905", "panel": "#19140B",
            "success": "#E8E0CC", "warning": "#FFB000", "error": "#FF6A2B",
        },
        _variables(_LAMP, "#19140B", "#B8862E", "#FFC23D", "#FFF0C8"),
    ),
)  # fmt: skip
#: The studio's own themes by name, the default first.
THEMES: Mapping[str, Look] = {look.name: look for look in _OWN}


def read_theme(path: Path) -> Look:
    """A theme of the user's: a TOML file with ``name``, ``dark`` and `COLOURS` as ``"#rrggbb"``.

    What it leaves out is as in the studio's dark (or light) theme.

    Raises
    ------
    DescantError
        Naming the file, the field and what is allowed.
    """
    from pieces.source import nearest

    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DescantError(f"theme {path.name}: cannot be read: {error}; the other themes are there") from None
    dark = raw.pop("dark", True)
    name = raw.pop("name", path.stem)
    if not isinstance(dark, bool) or not isinstance(name, str):
        raise DescantError(f"theme {path.name}: 'dark' is true or false and 'name' a text; the other themes are there")
    like = THEMES["descant-dark" if dark else "descant-light"]
    for key, value in raw.items():
        if key not in COLOURS and key not in like.variables:
            known = nearest(key, (*COLOURS, *like.variables))
            raise DescantError(f"theme {path.name}: no colour {key!r}{known}; the other themes are there")
        if not isinstance(value, str) or not re.fullmatch(r"#[0-9A-Fa-f]{6}", value):
            allowed = 'allowed is a colour as "#rrggbb"'
            raise DescantError(f"theme {path.name}: {key} = {value!r}: {allowed}; the other themes are there")
    merged = {**like.colours, **{k: v for k, v in raw.items() if k in COLOURS}}
    more = {**like.variables, **{k: v for k, v in raw.items() if k not in COLOURS}}
    return Look(name, dark, merged, more)


def user_themes(folder: Path) -> tuple[list[Look], list[str]]:
    """The themes in a folder, and a line about each file that holds none."""
    found, lines = [], []
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
        try:
            found.append(read_theme(path))
        except DescantError as error:
            lines.append(str(error))
    return found, lines
