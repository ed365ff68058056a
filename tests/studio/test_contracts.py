"""The contracts in pyproject.toml say what they are meant to say: no room is forgotten when one is added."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What words may perceive with, and the filter that ears weigh loudness with.
SENSES = {"sonify.ears", "sonify.weighting", "studio.pictures.eyes"}


def rooms(package: str) -> set[str]:
    """Modules and packages directly in a package."""
    folder = ROOT / package.replace(".", "/")
    found = {f"{package}.{p.stem}" for p in folder.glob("*.py") if p.stem != "__init__"}
    return found | {f"{package}.{p.parent.name}" for p in folder.glob("*/__init__.py")}


def test_words_may_import_nothing_but_ears_and_eyes():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    words = next(c for c in contracts if c.get("source_modules") == ["studio.words"])
    allowed = SENSES | {"studio.words", "studio.pictures"}
    everything = {"db", "pieces"} | rooms("sonify") | rooms("studio") | rooms("studio.pictures")
    assert set(words["forbidden_modules"]) == everything - allowed
    assert not words.get("ignore_imports")
