"""Minds with different weights side by side: the UNet is computed once for a whole stack of weights.

This serves surgeries that make most of a UNet's weights random, for which computing both shares of every output
(`pieces.minds.layers`) takes longer than the pictures one by one. It needs memory for each sample's own weights.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from pieces.minds.mind import Mind
from pieces.minds.surgery import Operation, random_like

#: Share of the UNet's modules from which on stacked weights are quicker than both shares of every output (measured on
#: the house mind: 21 ms a picture and step against 32, and 25 one by one).
WIDE = 1 / 3


def is_wide(mind: Mind, operation: Operation) -> bool:
    """Whether an operation is one for stacked weights: much of the UNet becomes random, all over the picture.

    Never where layers are offloaded, whose weights are not where they are computed.
    """
    reached = operation.within("unet").modules
    whole = [name for name in mind.modules if name.startswith("unet.")]
    if not operation.mixture[1] or operation.half or len(reached) <= WIDE * len(whole):
        return False
    return all(p.device.type == mind.device.type for p in mind.modules[reached[0]].parameters(recurse=False))


def size_of(mind: Mind, operation: Operation) -> int:
    """Bytes of random weights that an operation needs."""
    if not operation.mixture[1]:
        return 0
    return sum(p.nbytes for name in operation.modules for p in mind.modules[name].parameters(recurse=False))


@contextmanager
def stacked(mind: Mind, operations: Sequence[Operation]) -> Iterator[None]:
    """Sample i of a batch meets the UNet with its weights under operation i; samples repeat for the halves of guidance.

    The mind's own weights stay as they are.
    """
    unet, count = mind.pipeline.unet, len(operations)
    weights = {}
    for name in dict.fromkeys(name for operation in operations for name in operation.modules):
        for inner, own in mind.modules[name].named_parameters(recurse=False):
            weights[f"{name.removeprefix('unet.')}.{inner}"] = _stack(operations, name, inner, own)
    plain, overridden = unet.forward, "forward" in vars(unet)

    def forward(*args: Any, **more: Any) -> Any:
        batch = len(args[0] if args else more["sample"])
        given, form = tree_flatten((args, more))
        by_sample = [_samples_first(x, batch, count) if _is_batch(x, batch) else x for x in given]

        def one(own: dict[str, Tensor], *values: Any) -> tuple[Tensor, ...]:
            inputs, words = tree_unflatten(values, form)
            found: tuple[Tensor, ...] = functional_call(unet, own, inputs, {**words, "return_dict": False})
            return found

        axes = tuple(0 if _is_batch(x, batch) else None for x in given)
        unet.forward = plain
        try:
            with warnings.catch_warnings():  # attention is computed sample by sample, which costs little
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                (out,) = vmap(one, in_dims=(0, *axes))(weights, *by_sample)
        finally:
            unet.forward = forward
        return (out.transpose(0, 1).flatten(0, 1),)

    unet.forward = forward
    try:
        yield
    finally:
        if overridden:  # by offloading
            unet.forward = plain
        else:
            del unet.forward


def _stack(operations: Sequence[Operation], name: str, inner: str, own: Tensor) -> Tensor:
    """A parameter under each operation, ``[operations, ...]``; random numbers of one seed are drawn once."""
    drawn: dict[int, Tensor] = {}
    stack = own.detach().expand(len(operations), *own.shape).clone()
    for row, operation in zip(stack, operations, strict=True):
        kept, random = operation.mixture
        if name not in operation.modules:
            continue
        row *= kept
        if random:
            if operation.seed not in drawn:
                drawn[operation.seed] = random_like(operation.seed, f"{name}.{inner}", own)
            row += drawn[operation.seed] * random
    return stack


def _is_batch(value: object, batch: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == batch


def _samples_first(value: Tensor, batch: int, count: int) -> Tensor:
    """``[repeats * count, ...]`` as ``[count, repeats, ...]``."""
    return value.reshape(batch // count, count, *value.shape[1:]).transpose(0, 1)
