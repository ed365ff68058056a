"""What the command line does with minds: tells which there are and what they are, and trains the house mind."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pieces.minds.places import (
    HOUSE,
    MindError,
    fetched,
    find_mind,
    house_is_there,
    kind_of,
    shape_of,
    variant_of,
)
from pieces.minds.ranges import FILE, TRIED, Ranges, kept_in
from studio.catalogue import Card
from studio.console import table

if TYPE_CHECKING:
    from pieces.minds.house.judge import Gate, Trust
    from pieces.minds.house.training import Recipe
    from pieces.minds.mind import Mind
    from studio.console import Bar

#: Width of the longest bar in letters.
_BAR = 24


def mind_list() -> list[dict[str, Any]]:
    """Minds that are here: the house mind, then those that were fetched from the hub, newest first; a row each."""
    here = {"house": HOUSE} if house_is_there() else {}
    return [_row(name, folder) for name, folder in {**here, **_cached()}.items()]


def mind_card(name: str) -> Card:
    """What a mind is made of, and how it would be opened here; its weights are neither fetched nor read.

    Raises
    ------
    MindError
        If there is no such mind, or its configuration cannot be read.
    """
    from pieces.minds.concepts import DEFAULT
    from pieces.minds.house.drawings import vocabulary
    from pieces.minds.mind import chosen_for
    from pieces.minds.skeleton import skeleton

    folder = _folder(name)
    row = _row("house" if folder == HOUSE else name, folder)
    device, precision = chosen_for()
    clip = "its own, in clip/" if (folder / "clip").is_dir() else f"{DEFAULT}, of the hub"
    words = vocabulary() if folder == HOUSE else ()
    kept = kept_in(folder / FILE)
    parts = _parts(skeleton(name, folder))
    data = {**row, "device": device, "precision": precision, "clip": clip, "words": words, "parts": parts}
    size = f"{row['megabytes']:.1f} MB" if row["megabytes"] else "its weights are not here"
    facts = [
        ("folder", str(folder)),
        ("pictures", f"{_times(row['picture'])}, of latents {_times(row['latents'])}"),
        ("computes", f"here on {device} in {precision}"),
        ("scored by", f"a CLIP: {clip}"),
        *([("knows", ", ".join(words))] if words else []),
    ]
    lines = [f"{row['name']}: {row['kind']}, {size}", *table(facts, "  "), "", *_drawn(parts)]
    if kept:
        lines += ["", "loses its concept at a damage of", *table([_lost(r) for r in kept], "  ")]
    return Card({**data, "ranges": [asdict(r) for r in kept]}, "\n".join(lines))


def mind_modules(name: str) -> list[dict[str, Any]]:
    """The modules of a mind that surgery reaches, in the order in which a picture passes them; a row each.

    Raises
    ------
    MindError
        As `mind_card`.
    """
    from pieces.minds.skeleton import skeleton

    modules = skeleton(name, _folder(name)).modules
    return [{"name": n, "layer": type(m).__name__, "parameters": _size(m)} for n, m in modules.items()]


def _row(name: str, folder: Path) -> dict[str, Any]:
    """A mind in short; `MindError` if it is none."""
    latents, picture = shape_of(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 2**20
    told = {"megabytes": round(size, 1), "picture": picture, "latents": latents, "folder": str(folder)}
    return {"name": name, "kind": "house mind" if folder == HOUSE else _kind(folder), **told}


def _kind(folder: Path) -> str:
    """The family that a mind belongs to; 2.x has what 1.x has not: linear projections about its attention."""
    if "XL" in kind_of(folder):
        return "SD XL"
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    return "SD 2.x" if config.get("use_linear_projection") else "SD 1.x"


def _cached() -> dict[str, Path]:
    """Folders of the minds that were fetched from the hub with their weights; the hub is not asked."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError):
        return {}
    found = {}
    for one in sorted(repositories, key=lambda r: r.last_modified, reverse=True):
        with suppress(MindError, KeyError):
            folder = one.refs["main"].snapshot_path
            kind_of(folder), shape_of(folder), variant_of(folder)
            found[one.repo_id] = folder
    return found


def _folder(name: str) -> Path:
    """Folder of a mind, of one that is on the hub alone with its configuration."""
    place = find_mind(name)
    if isinstance(place, Path):
        return place
    here = _cached()
    try:
        return here.get(place) or fetched(place, weights=False)
    except MindError as error:
        near = difflib.get_close_matches(place, here, n=1)
        raise MindError(f"{error}; here is {near[0]}" if near else str(error)) from error


def _parts(mind: Mind) -> dict[str, dict[str, dict[str, int]]]:
    """By part and kind of layer: how many modules, and how many parameters they have."""
    modules: dict[str, Counter[str]] = {}
    parameters: dict[str, Counter[str]] = {}
    for name, module in mind.modules.items():
        part, layer = name.split(".", 1)[0], type(module).__name__
        modules.setdefault(part, Counter())[layer] += 1
        parameters.setdefault(part, Counter())[layer] += _size(module)
    return {
        part: {layer: {"modules": n, "parameters": parameters[part][layer]} for layer, n in counts.most_common()}
        for part, counts in modules.items()
    }


def _size(module: Any) -> int:
    return sum(p.numel() for p in module.parameters(recurse=False))


def _drawn(parts: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    """Parts as a table, with a bar for how much of the mind's parameters lies where."""
    largest = max(one["parameters"] for layers in parts.values() for one in layers.values())
    rows = [["part", "layer", "modules", "parameters"]]
    for part, layers in parts.items():
        for layer, one in layers.items():
            bar = "█" * round(_BAR * one["parameters"] / largest) or "▏"
            rows.append([part, layer, str(one["modules"]), f"{one['parameters']:,}", bar])
        modules, size = (sum(one[what] for one in layers.values()) for what in ("modules", "parameters"))
        rows.append([part, "all", str(modules), f"{size:,}"])
    return table([[*row, ""][:5] for row in rows])


def _lost(ranges: Ranges) -> list[str]:
    told = (f"{kind} {f'{damage:g}' if damage < TRIED[kind] else 'never'}" for kind, damage in ranges.lost.items())
    return [ranges.part, ranges.precision, f"by CLIP {ranges.eye[:8]}", ", ".join(told), ranges.prompt]


def _times(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides))


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `mind_list` for people."""
    return {**row, "picture": _times(row["picture"]), "latents": _times(row["latents"])}


def train_house(
    work: Path, out: Path | None, recipe: Recipe, device: str, bar: Bar, stop: Callable[[], bool]
) -> tuple[Path, Gate] | None:
    """Train a house mind in the folder `work`, or go on with it, and write it with its card to `out`, else into `work`.

    Returns
    -------
    tuple of Path and Gate, or None
        The folder of the finished mind and how its examination went; None if `stop` said so before.
    """
    import torch

    from pieces.minds.house.examine import write_card
    from pieces.minds.house.train import Training, check_place

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    folder = out or work / "mind"
    check_place(folder)
    training = Training(work, recipe, where, lambda stage, done, of, loss: bar(stage, done, of), stop)
    if not training.go():
        return None
    training.export(folder)
    bar("examine", 0, 0)
    return folder, write_card(folder, training.facts())


def train_judge(folder: Path, bar: Bar, **sizes: int) -> tuple[Path, Trust]:
    """Train the judge that examines house minds, and write its weights into a folder.

    Parameters
    ----------
    **sizes
        Those of `pieces.minds.house.judge.train_judge`, where it is to be another than that which is shipped.

    Returns
    -------
    tuple of Path and Trust
        The file, and how well it does on what it has not seen.
    """
    from pieces.minds.house import judge

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "judge.safetensors"
    judge.save_judge(judge.train_judge(lambda stage, done, of, loss: bar(stage, done, of), **sizes), path)
    bar("examine", 0, 0)
    return path, judge.trusted(judge.load_judge(path))
