"""Where minds are: the house mind's folder, a folder of a user's, the hub; only what can do no harm is taken from them.

Importing this module is cheap; the hub's client is loaded when a hub name is looked up.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

from pieces.errors import DescantError

#: The house mind's folder, shipped with the package.
HOUSE = Path(__file__).parent / "house" / "mind"
#: Pipelines that a mind can be, by the class that their ``model_index.json`` names.
KINDS = {"StableDiffusionPipeline": "Stable Diffusion", "StableDiffusionXLPipeline": "Stable Diffusion XL"}
#: The parts of a pipeline that surgery reaches, in the order in which a picture passes them.
PARTS = ("text_encoder", "text_encoder_2", "unet", "vae")
#: Libraries that parts may come from; a pipeline can also name Python files of its own, which are never run.
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
#: Formats whose files can run any code as they are read.
PICKLES = (".ckpt", ".bin", ".pt", ".pth", ".pkl", ".pickle")
#: A side of a picture may be so many times the mind's own.
LARGER = 4
#: Seconds that the hub may take to answer.
PATIENCE = 5.0
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class MindError(DescantError):
    """No such mind, or one that cannot be opened or used so."""


def house_is_there() -> bool:
    """Whether the house mind's weights are shipped with this installation."""
    return (HOUSE / "model_index.json").is_file()


def find_mind(name: str, base: Path | None = None) -> Path | str:
    """The folder of a mind, or the name of one on the hub (which is not asked yet).

    Parameters
    ----------
    name : str
        ``"house"``, a folder, or ``owner/model``.
    base : Path, optional
        Folder against which a relative path is read; the working directory.

    Raises
    ------
    MindError
        If `name` is neither, or a folder that is no mind.
    """
    if name == "house":
        if not house_is_there():
            raise MindError("the house mind's weights are missing here: train them (descant mind train) or reinstall")
        return HOUSE
    base = base or Path.cwd()
    folder = (base / Path(name).expanduser()).resolve()
    if folder.is_dir():
        refuse_pickles(folder)
        kind_of(folder)
        return folder
    if folder.is_file():
        what = "a pickle, which can run any code: it is not read" if folder.suffix in PICKLES else "a file"
        raise MindError(f"{name} is {what}; a mind is a diffusers folder with model_index.json and safetensors")
    if HUB_NAME.fullmatch(name):
        return name
    known = ["house", *sorted(p.parent.name for p in base.glob("*/model_index.json"))]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."
    raise MindError(f"no mind {name!r}; {hint} Also allowed: a diffusers folder, or owner/model, fetched from the hub")


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder that holds pickled weights where a mind's would be, beside safetensors too.

    Raises
    ------
    MindError
        With the first of them.
    """
    places = [folder, *(folder / part for part in PARTS)]
    if found := sorted(p for place in places for p in place.glob("*") if p.suffix in PICKLES):
        name = found[0].relative_to(folder)
        raise MindError(
            f"{folder} holds {name}, a pickle, which can run any code: it is not read. Take it away, and give the "
            "weights as safetensors"
        )


def kind_of(folder: Path) -> str:
    """Class of the pipeline in a folder, one of `KINDS`.

    Raises
    ------
    MindError
        If there is none, or one of another kind, or one that brings code of its own.
    """
    if not (folder / "model_index.json").is_file():
        raise MindError(f"{folder} is no pipeline: it has no model_index.json. A mind is a diffusers folder")
    index = _read(folder / "model_index.json")
    kind = index.get("_class_name")
    if not isinstance(kind, str) or kind not in KINDS:
        raise MindError(f"{folder} holds a {kind}; minds are {', '.join(KINDS)}")
    for part, made in index.items():
        if isinstance(made, list) and made and made[0] not in (None, *LIBRARIES):
            raise MindError(f"{folder}: its {part} is made by code of its own ({made[0]}), which is not run")
    return kind


def variant_of(folder: Path) -> str | None:
    """``None``, or ``"fp16"`` where a folder has its weights only so.

    Raises
    ------
    MindError
        If a part has no safetensors.
    """
    for part in PARTS:
        here = folder / part
        names = [p.name for p in here.glob("*.safetensors")]
        if here.is_dir() and not names:
            raise MindError(f"{here} has no safetensors: a mind's weights are read from nothing else")
        if names and all(".fp16" in n for n in names):
            return "fp16"
    return None


def shape_of(place: Path | str, height: int = 0, width: int = 0) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Latents ``(c, h, w)`` and pictures ``(height, width)`` of a mind, read from its configuration alone.

    Parameters
    ----------
    height, width : int
        Of the pictures that are wanted, in pixels; 0 is the mind's own.

    Raises
    ------
    MindError
        If it cannot be read, is absurd, or is on a hub that is out of reach; or if it draws no pictures of that size.
    """
    folder = place if isinstance(place, Path) else fetched(place, weights=False)
    unet, vae = _read(folder / "unet" / "config.json"), _read(folder / "vae" / "config.json")
    side, blocks = unet.get("sample_size"), vae.get("block_out_channels") or vae.get("encoder_block_out_channels")
    latent: tuple[Any, ...] = (
        unet.get("in_channels"),
        *(side if isinstance(side, list) and len(side) == 2 else (side, side)),
    )
    if not blocks or not all(type(n) is int and 1 <= n <= 1024 for n in latent):
        raise MindError(f"{folder}: latents {latent} (channels, height, width); allowed are whole numbers, 1 to 1024")
    factor = 2 ** (len(blocks) - 1)
    grain = factor * 2 ** (len(unet.get("block_out_channels") or range(4)) - 1)
    channels, *own = latent
    for what, wanted, usual in (("height", height, own[0]), ("width", width, own[1])):
        most = LARGER * usual * factor
        if wanted and (not grain <= wanted <= most or wanted % grain):
            raise MindError(f"{what} {wanted}: this mind draws multiples of {grain} pixels, {grain} to {most}")
    rows, columns = (wanted or usual * factor for wanted, usual in zip((height, width), own, strict=True))
    return (channels, rows // factor, columns // factor), (rows, columns)


def fetched(name: str, *, weights: bool = True) -> Path:
    """Folder of a hub model, fetched if it is not there: configurations, words, and weights as safetensors alone.

    Raises
    ------
    MindError
        If the hub is out of reach and the model not there, or has no such model, or none that is a mind.
    """
    folder = from_hub(name, ["*.json", "tokenizer*/*.txt"])
    kind_of(folder)
    if not weights:
        return folder
    stems = [f"{part}/{stem}" for part in PARTS for stem in ("diffusion_pytorch_model", "model")]
    for variant in ("", ".fp16"):
        from_hub(name, [f"{s}{variant}{ends}" for s in stems for ends in (".safetensors", "-*.safetensors")])
        if any((folder / "unet").glob("*.safetensors")):
            return folder
    raise MindError(
        f"{name}: no safetensors are found on the hub, nor here if it is out of reach; pickled weights are not read, "
        "since they can run any code"
    )


def from_hub(name: str, patterns: list[str], what: str = "mind") -> Path:
    """Folder with a hub model's files, fetched where they are not there; that of earlier if the hub is out of reach.

    Raises
    ------
    MindError
        If they are not there and cannot be fetched; `what` says in it what the model was to be.
    """
    from huggingface_hub import HfApi, snapshot_download

    silent: Exception | None = None
    try:
        HfApi().model_info(name, timeout=PATIENCE)  # fetching would wait for ever for a hub that does not answer
    except Exception as error:  # a dozen kinds, of three libraries
        silent = error
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=silent is not None))
    except Exception as error:
        raise MindError(
            f"{what} {name!r} cannot be fetched from the hub: {one_line(silent or error)} Without the hub: fetch it "
            f"where there is one (hf download {name} --local-dir FOLDER) and give FOLDER"
        ) from error


def hush() -> None:
    """No bars and warnings of diffusers' and transformers' own, from now on."""
    import transformers.utils.logging
    from diffusers.utils import logging

    for library in (logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def one_line(error: BaseException, most: int = 200) -> str:
    """The beginning of what an error says, as one sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text[:most].rstrip('.')}{'...' if len(text) > most else '.'}"


def _read(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MindError(f"{path} cannot be read: {one_line(error)} A mind is a diffusers folder") from error
    if not isinstance(read, dict):
        raise MindError(f"{path} holds no settings: a mind is a diffusers folder")
    return read
