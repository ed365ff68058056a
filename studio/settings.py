"""What the studio remembers of a person's choices: a small TOML file in the configuration folder."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

FILE = "settings.toml"


@dataclass(frozen=True)
class Settings:
    """Choices, all of them texts.

    Attributes
    ----------
    theme : str
    piece : str
        The one that was open last.
    """

    theme: str = ""
    piece: str = ""


def read_settings(folder: Path) -> tuple[Settings, str]:
    """The settings, and one line if the file cannot be used."""
    path = folder / FILE
    if not path.exists():
        return Settings(), ""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Settings(), f"{path.name}: cannot be read: {error}; the defaults are in use"
    known = {f.name for f in fields(Settings)}
    return Settings(**{k: v for k, v in raw.items() if k in known and isinstance(v, str)}), ""


def change_settings(folder: Path, **changes: str) -> str:
    """Remember choices; one line if they cannot be written."""
    from studio.screens.words import inline

    settings, _ = read_settings(folder)
    lines = [f"{k} = {inline(v)}" for k, v in asdict(replace(settings, **changes)).items() if v]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        return f"{folder / FILE}: cannot be written ({error.strerror}): the choice lasts until you leave"
    return ""
