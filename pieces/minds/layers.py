"""What surgery does to a layer's outputs, sample by sample.

A layer whose output is linear in its weights and bias gives, with weights ``a W + b R``, ``a`` times what it gives with
W and ``b`` times what it gives with R. So every surgery of such a layer can be done to its outputs, differently for
each sample of a batch and for each half of the picture, and random weights are held once for all samples.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pieces.minds.mind import MindError

#: Layers whose output is linear in weight and bias together, with an axis of samples first. Exact classes: a subclass
#: (that of `torch.nn.MultiheadAttention`, for one) may have its weights read without its forward being called.
LINEAR = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)


@dataclass(frozen=True)
class Treatment:
    """What one sample meets at a layer: shares of the layer's own and of random weights, and which half of it."""

    sample: int
    kept: float
    random: float
    seed: int
    half: str


@dataclass
class Plane:
    """A hook before a part's forward: what passes it now. `samples` is 0 where that is not known."""

    samples: int = 0
    aspect: float = 1.0

    def __call__(self, part: nn.Module, given: tuple[Any, ...], words: dict[str, Any]) -> None:
        sample: Tensor = given[0] if given else next(iter(words.values()))
        self.samples = len(sample)
        if sample.ndim == 4:
            self.aspect = sample.shape[3] / sample.shape[2]


def treated(
    name: str, treatments: Sequence[Treatment], count: int, plane: Plane, draw: Callable[[int], dict[str, Tensor]]
) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    """A hook after a layer's forward.

    Parameters
    ----------
    name : str
        Of the module, for messages.
    count : int
        Samples; a batch repeats them in order (the halves of guidance).
    plane : Plane
        Of the part that the layer is in.
    draw : callable
        Random parameters of the layer, by seed.
    """
    groups: dict[tuple[int | None, str], list[Treatment]] = {}
    for one in treatments:
        groups.setdefault((one.seed if one.random else None, one.half), []).append(one)
    twins: dict[int, nn.Module] = {}

    def hook(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
        if len(out) % count or (plane.samples and len(out) != plane.samples):
            raise MindError(f"{name} gives {len(out)} samples for {count} surgeries: do them one by one")
        for (seed, half), members in groups.items():
            samples = [one.sample + r for r in range(0, len(out), count) for one in members]
            rows = torch.tensor(samples, device=out.device)
            own = out[rows]
            kept = _column([one.kept for one in members], own)
            mixed = (own * kept).masked_fill_(kept == 0, 0)  # zero even where the layer gives no number
            if seed is not None:
                if seed not in twins:
                    twins[seed] = _twin(module, draw(seed), out.device)
                other = type(module).forward(twins[seed], given[0][rows])
                mixed = mixed + other * _column([one.random for one in members], other)
            out[rows] = _sided(own, mixed, half, plane.aspect) if half else mixed
        return out

    return hook


def _twin(module: nn.Module, parameters: dict[str, Tensor], device: torch.device) -> nn.Module:
    """The same layer with other parameters, to be called by its class's forward: offloading hooks know the first."""
    twin = copy.copy(module)
    own = {inner: parameters[inner].to(device) if inner in parameters else None for inner in module._parameters}
    twin._parameters = own  # type: ignore[assignment]
    return twin


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """Factors of samples, shaped to multiply outputs `like`, repeated for the halves of guidance."""
    column = torch.tensor(values, dtype=like.dtype, device=like.device).repeat(len(like) // len(values))
    return column.view(-1, *[1] * (like.ndim - 1))


def _sided(own: Tensor, mixed: Tensor, half: str, aspect: float) -> Tensor:
    """`mixed` in one half of the picture and `own` in the other; `own` where there is no picture plane."""
    width = _width(own, aspect)
    if not width:
        return own
    left = torch.arange(width, device=own.device) < width // 2
    where = left if half == "left" else ~left
    if own.ndim == 3:  # tokens, row by row
        where = where.repeat(own.shape[1] // width)[:, None]
    return torch.where(where, mixed, own)


def _width(out: Tensor, aspect: float) -> int:
    """Width of the picture plane in a convolution's output or in attention's tokens ``[n, h * w, c]``; 0: none."""
    if out.ndim == 4:
        return out.shape[3]
    if out.ndim != 3:
        return 0
    height = max(round((out.shape[1] / aspect) ** 0.5), 1)
    width = out.shape[1] // height
    is_plane = height >= 2 and height * width == out.shape[1] and abs(width / height - aspect) <= 0.01
    return width if is_plane else 0
