"""Minds for surgeons to practise on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from pieces.minds.mind import PARTS, Mind, open_mind
from pieces.minds.surgery import Half, Kind, Operation, fingerprint

STRENGTH: dict[str, float] = {"noise": 0.3, "down": 0.5, "up": 1.5}


def opened(folder: Path) -> Mind:
    """A tiny mind without layers whose weights are all alike, as those of fresh norms are: nothing is random there."""
    mind, generator = open_mind(str(folder), device="cpu"), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in mind.modules.values():
            for parameter in module.parameters(recurse=False):
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return mind


def loose(unet: nn.Module | dict[str, nn.Module]) -> Mind:
    """A mind that has only a unet: a small network, or some layers."""
    network = unet if isinstance(unet, nn.Module) else nn.ModuleDict(unet)
    vae = nn.ModuleDict({"decoder": nn.Identity()})
    return Mind(name="loose", folder=Path(), pipeline=SimpleNamespace(unet=network, vae=vae))


def whole(mind: Mind) -> str:
    """The hash of all that a pipeline's parts hold."""
    return fingerprint({part: getattr(mind.pipeline, part) for part in PARTS if hasattr(mind.pipeline, part)})


def operation(kind: Kind, names: list[str], half: Half = "", seed: int = 0) -> Operation:
    """A surgery of a strength that shows."""
    return Operation(kind, tuple(names), STRENGTH.get(kind, 1.0), seed, half)
