"""What is on a picture, by a mind's own CLIP: embeddings, and scores of concepts and of "nothing".

Importing this module is cheap; torch and transformers are loaded by `open_eye`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pieces.minds.house.drawings import dressings
from pieces.minds.mind import Mind, MindError
from pieces.minds.places import HUB_NAME, from_hub, hush, one_line

if TYPE_CHECKING:
    from torch import Tensor

#: The CLIP of minds that bring none (Radford et al. 2021); its hub folder has safetensors.
DEFAULT = "openai/clip-vit-large-patch14"
#: Words that CLIPs know for a picture of nothing.
NOTHING = "noise, nothing, a blank picture"
#: A file beside a CLIP's weights that says what is not as usual: ``nothing``, its caption for a picture of nothing;
#: ``mean`` and ``deviation`` of its pictures; ``house``: true of the house mind's, whose captions tell what is worn.
SETTINGS = "eye.json"
#: What a picture may show, whatever the mind, where nothing else is said; "nothing" comes on top.
CONCEPTS = ("a cat", "a dog", "a bird", "a fish", "a person", "a plane", "a house", "a tree")
#: Pictures that are looked at together.
_TOGETHER = 64


def concept_of(prompt: str, concepts: Sequence[str] = CONCEPTS) -> str:
    """The first concept that a prompt names by its last word; else the prompt itself.

    Examples
    --------
    >>> concept_of("a dog in a house")
    'a dog'
    >>> concept_of("a ship")
    'a ship'
    """
    named = {concept.lower().split()[-1]: concept for concept in reversed(concepts)}
    return next((named[word] for word in re.findall(r"[\w'-]+", prompt.lower()) if word in named), prompt)


def concepts_of(prompt: str, given: str = "") -> tuple[str, ...]:
    """What pictures are compared with, that which is asked for first: what is given (``;`` between), else `CONCEPTS`.

    Examples
    --------
    >>> concepts_of("a red dog at night")[:3]
    ('a dog', 'a cat', 'a bird')
    >>> concepts_of("a cat", "a ship; a cat")
    ('a ship', 'a cat')
    """
    if given:
        return tuple(dict.fromkeys(c.strip() for c in given.split(";") if c.strip()))
    return tuple(dict.fromkeys((concept_of(prompt), *CONCEPTS)))


@dataclass
class Eye:
    """A CLIP that looks at pictures.

    Attributes
    ----------
    model, tokenizer
        A transformers ``CLIPModel`` in float32, and the tokenizer that it was trained with.
    mean, deviation : ndarray
        Of the pictures it was trained with, as shares of full brightness, float32 ``[3]``.
    nothing : str
        The caption that stands for a picture of nothing.
    open : callable
        All captions that a concept's stands for, where it leaves something open.
    """

    model: Any
    tokenizer: Any
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    nothing: str
    open: Callable[[str], Sequence[str]] = lambda caption: (caption,)
    _read: dict[str, Tensor] = field(default_factory=dict)

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors of pictures uint8 ``[n, h, w, 3]``, float32 ``[n, d]``."""
        import torch

        width = self.model.config.projection_dim
        found = np.empty((len(pictures), width), np.float32)
        with torch.inference_mode():
            for first in range(0, len(pictures), _TOGETHER):
                some = self._seen(pictures[first : first + _TOGETHER])
                pooled = self.model.vision_model(pixel_values=some).pooler_output
                found[first : first + len(some)] = _unit(self.model.visual_projection(pooled)).cpu().numpy()
        return found

    def scores(self, pictures: NDArray[np.uint8], concepts: Sequence[str]) -> NDArray[np.float32]:
        """What pictures show: probabilities over `concepts` and, in the last column, nothing; float32 ``[n, k + 1]``.

        Each row sums to 1. A concept is a caption ("a cat", "a cat in a party hat").
        """
        return self.scores_of(self.embed(pictures), concepts)

    def scores_of(
        self, embedded: NDArray[np.float32], concepts: Sequence[str], *, exactly: bool = False
    ) -> NDArray[np.float32]:
        """The same of pictures that are embedded already.

        A concept is as likely as all captions together that it stands for, but those that are concepts themselves; with
        `exactly`, as its own caption.
        """
        import torch

        meant = [[c, *(v for v in self.open(c) if not exactly and v not in concepts)] for c in concepts]
        meant.append([self.nothing])
        whose = np.repeat(np.arange(len(meant)), [len(captions) for captions in meant])
        with torch.inference_mode():
            texts = torch.stack([self._text(caption) for captions in meant for caption in captions])
            scale = self.model.logit_scale.exp().clamp(max=100)
            seen = torch.from_numpy(np.ascontiguousarray(embedded)).to(texts.device)
            each = (scale * seen @ texts.T).softmax(1).cpu().numpy()
        scores: NDArray[np.float32] = np.add.reduceat(each, np.flatnonzero(np.diff(whose, prepend=-1)), axis=1)
        return scores

    def _seen(self, pictures: NDArray[np.uint8]) -> Tensor:
        import torch
        from torch.nn import functional as F

        device, side = self.model.device, self.model.config.vision_config.image_size
        x = torch.from_numpy(_squares(pictures)).to(device).permute(0, 3, 1, 2).float() / 255
        if x.shape[2:] != (side, side):
            x = F.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, deviation = (torch.from_numpy(v).to(device).view(1, 3, 1, 1) for v in (self.mean, self.deviation))
        return (x - mean) / deviation

    def _text(self, caption: str) -> Tensor:
        if caption not in self._read:
            length = self.model.config.text_config.max_position_embeddings
            ids = self.tokenizer(
                [caption], padding="max_length", truncation=True, max_length=length, return_tensors="pt"
            ).input_ids
            pooled = self.model.text_model(input_ids=ids.to(self.model.device)).pooler_output
            self._read[caption] = _unit(self.model.text_projection(pooled))[0]
        return self._read[caption]


def _squares(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of pictures, as CLIP was trained with."""
    height, width = pictures.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pictures[:, top : top + side, left : left + side])


def _unit(vectors: Tensor) -> Tensor:
    from torch.nn import functional as F

    return F.normalize(vectors.float(), dim=-1)


def open_eye(mind: Mind, clip: str | None = None) -> Eye:
    """The CLIP that scores a mind's pictures.

    Parameters
    ----------
    mind : Mind
    clip : str, optional
        A folder or hub name; default: the folder ``clip`` beside the mind's pipeline, else `DEFAULT` of the hub.

    Raises
    ------
    MindError
        If it cannot be opened; the line says how to get one.
    """
    own = mind.folder / "clip"
    folder = _found(clip or (str(own) if own.is_dir() else DEFAULT))
    settings = _settings(folder)
    eye = Eye(*_loaded(folder, mind), *_statistics(folder, settings), str(settings.get("nothing", NOTHING)))
    if settings.get("house") is True:
        eye.open = dressings
    return eye


def _found(place: str) -> Path:
    """The folder of a CLIP, fetched from the hub if it is not there."""
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_NAME.fullmatch(place):
        raise MindError(f"no CLIP {place!r}: give a folder with one (safetensors), or owner/model of the hub")
    return from_hub(place, ["*.json", "*.txt", "model*.safetensors"], "the CLIP that scores concepts,")


def _settings(folder: Path) -> dict[str, Any]:
    """What a CLIP's folder says of it; `MindError` if that cannot be read."""
    path = folder / SETTINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise MindError(f"{path} cannot be read: {one_line(error)} Take it away, or mend it") from error
    if not isinstance(found, dict):
        raise MindError(f"{path} holds no settings: take it away, or mend it")
    return found


def _loaded(folder: Path, mind: Mind) -> tuple[Any, Any]:
    """Model and tokenizer; a CLIP beside a pipeline has the pipeline's tokenizer where it brings none."""
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    hush()
    is_own = folder.resolve() == (mind.folder / "clip").resolve()
    bare = is_own and not (folder / "tokenizer_config.json").is_file()
    try:
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        tokenizer = mind.pipeline.tokenizer if bare else CLIPTokenizer.from_pretrained(folder)
    except Exception as error:
        raise MindError(
            f"concepts are scored by a CLIP, and {folder} cannot be opened: {one_line(error)} Give a folder with one "
            "(safetensors) as clip, or put it into the mind's folder as clip/"
        ) from error
    placed: Any = model
    return placed.to(mind.device).requires_grad_(False).eval(), tokenizer


def _statistics(folder: Path, settings: Mapping[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of a CLIP's pictures: of its settings, its preprocessor, or the usual."""
    from transformers import CLIPImageProcessor

    usual = CLIPImageProcessor()
    if (folder / "preprocessor_config.json").is_file():
        try:
            usual = CLIPImageProcessor.from_pretrained(folder)
        except Exception as error:
            raise MindError(
                f"{folder}: its preprocessor_config.json cannot be read: {one_line(error)} Take it away, or mend it"
            ) from error
    told = settings.get("mean", usual.image_mean), settings.get("deviation", usual.image_std)
    try:
        mean, deviation = (np.broadcast_to(np.asarray(values, np.float32), 3).copy() for values in told)
    except (TypeError, ValueError) as error:
        raise MindError(
            f"{folder / SETTINGS}: mean {told[0]!r}, deviation {told[1]!r}: a number each, or three"
        ) from error
    return mean, deviation
