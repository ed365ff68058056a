"""What stands behind a visitor's name, so that a study can be frozen with it: a name stays where a model changes."""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

from studio.audience.servers import split
from studio.audience.text import plain
from studio.audience.visitor import BUILT_IN, AudienceError

#: Files of a language model beside its weights: its shape, its words, its templates.
BESIDE = ("*.json", "*.txt", "*.jinja", "*.model")


def identity(name: str) -> str:
    """What a visitor is that its name does not tell.

    Nothing is loaded, and no network is asked.

    Parameters
    ----------
    name : str
        As it is invited: ``"hf:FOLDER"``.

    Returns
    -------
    str
        Of a model's folder ``sha256:`` with `folder_hash`; of one of the hub ``commit:`` with the one that is here;
        of one on a server ``model:`` with its id; of a script ``sha256:``; of an installed package ``package:`` with
        its name and version; else empty: it comes with Descant.

    Raises
    ------
    AudienceError
        If it is not here.
    """
    kind, _, argument = name.partition(":")
    if kind == "hf":
        folder = Path(argument).expanduser()
        return folder_hash(folder) if argument and folder.is_dir() else f"commit:{hub_revision(argument)}"
    if kind == "openai":
        return f"model:{plain(split(argument)[0])}"
    if kind == "scripted":
        return f"sha256:{_hashed(Path(argument).expanduser(), name)}"
    entry = None if kind in BUILT_IN else next(iter(entry_points(group="descant.audiences", name=kind)), None)
    return f"package:{entry.dist.name} {entry.dist.version}" if entry and entry.dist else ""


def weights(folder: Path) -> list[str]:
    """Names of the files with a model's weights, as they are loaded."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return sorted({str(name) for name in index["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ["model.safetensors"]


def folder_hash(folder: Path) -> str:
    """``sha256:`` and the SHA-256 over names and contents of a model's weights and of what stands beside them (hex).

    Raises
    ------
    AudienceError
        If a file of it cannot be read.
    """
    beside = [path.name for path in folder.iterdir() if path.is_file() and any(fnmatch(path.name, p) for p in BESIDE)]
    found = hashlib.sha256()
    for name in sorted({*weights(folder), *beside}):
        found.update(f"{name}\0{_hashed(folder / name, f'hf:{folder}')}\n".encode())
    return f"sha256:{found.hexdigest()}"


def hub_revision(name: str) -> str:
    """The commit of a model of the hub that is in the hub's cache here.

    Raises
    ------
    AudienceError
        If it is not there.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        path = None
    if not isinstance(path, str):
        raise AudienceError(
            f"hf:{plain(name, 80)}: neither a folder nor a model of the hub that is here: give a folder, or fetch it "
            "first: hf download NAME"
        )
    return Path(path).parent.name


def _hashed(path: Path, whose: str) -> str:
    try:
        if path.exists() and not path.is_file():  # reading a device may never end
            raise AudienceError(f"{plain(whose)}: {plain(str(path))} is no file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudienceError(f"{plain(whose)}: {plain(path.name)} cannot be read: {error.strerror}") from error
