"""A piece from a take: what it was played by, with its controls as they ended."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.piece import Piece, parse_piece
from pieces.source import split_source_path
from studio.plan import CODE
from studio.rendering import final_piece

if TYPE_CHECKING:
    from db.archive import Archive


def derived_piece(archive: Archive, take_id: str) -> Piece:
    """The piece of a take with its last score and its controls' last values; files in it are named by where they lie.

    Raises
    ------
    DescantError
        If there is no such take.
    """
    take = archive.take(take_id)
    piece = final_piece(archive, take)
    raw = copy.deepcopy(piece.model_dump(mode="json", exclude_none=True))
    kept = {m.role.removeprefix("input:"): m.path for m in archive.media(take.id) if m.role.startswith("input:")}
    for key, given in take.inputs.items():
        if given["path"].startswith("take:"):
            continue  # named by the take that it is of, in this piece too
        path = str(kept.get(key, Path(given["path"]).absolute()))
        owner, _, name = key.partition(".")
        if owner == "sample" and name in raw["score"].get("voices", {}):
            raw["score"]["voices"][name]["sample"] = path
        elif name == CODE and owner in raw["parts"]:
            split = split_source_path(raw["parts"][owner]["source"])
            raw["parts"][owner]["source"] = f"{path}:{split[1]}" if split and split[1] else path
        elif owner in raw["parts"]:
            raw["parts"][owner].setdefault("inputs", {})[name] = path
    for part, controls in _last(archive, take.id, tuple(take.parts)).items():
        if part in raw["parts"]:
            raw["parts"][part].setdefault("controls", {}).update(controls)
    return parse_piece(raw, f"take {take.id}")


def _last(archive: Archive, take_id: str, parts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Part → control → the value that it was given last."""
    return {
        part: {e.data["name"]: e.data["value"] for e in archive.events(take_id, "control", part=part) if e.given}
        for part in parts
    }
