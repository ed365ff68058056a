"""A mind without its weights: what it is made of, at the cost of reading its configuration.

Importing this module is cheap; torch, diffusers and transformers are loaded by `skeleton`.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pieces.minds.mind import Mind
from pieces.minds.places import PARTS, MindError, hush, kind_of, one_line

if TYPE_CHECKING:
    from torch import nn


def skeleton(name: str, folder: Path) -> Mind:
    """The mind of a folder with the modules that it would have, whose weights have shapes but no numbers.

    Raises
    ------
    MindError
        If the folder is no mind, or says of a part what cannot be made.
    """
    kind_of(folder)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    parts = {part: _made(folder / part, *index[part]) for part in PARTS if (index.get(part) or [None])[0]}
    return Mind(name, SimpleNamespace(**parts), folder)


def _made(folder: Path, library: str, name: str) -> nn.Module:
    """A part after its configuration, on the device that keeps no numbers."""
    import diffusers
    import torch
    import transformers

    hush()
    try:
        maker: Any = getattr({"diffusers": diffusers, "transformers": transformers}[library], name)
        with torch.device("meta"):
            if library == "diffusers":
                return maker.from_config(maker.load_config(folder, local_files_only=True))  # type: ignore[no-any-return]
            return maker(maker.config_class.from_pretrained(folder, local_files_only=True))  # type: ignore[no-any-return]
    except Exception as error:  # whatever the libraries meet in a configuration that only looks right
        raise MindError(f"{folder} holds no {name} of {library}: {one_line(error)}") from error
