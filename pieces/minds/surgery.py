"""Surgery on a mind: six ways to change weights, always undone exactly.

After S. Wolfram, "Generative AI Space and the Mental Imagery of Alien Minds" (2023). One engine serves every mind: an
`Operation` names what is done to which modules, `operated` does it for as long as a block of code runs.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from pieces.minds.layers import LINEAR, Plane, Treatment, treated
from pieces.minds.mind import Mind, MindError, unknown

Kind: TypeAlias = Literal["knockout", "hal", "randomise", "noise", "down", "up"]
#: What each surgery does, and what its strength is.
KINDS: dict[str, str] = {
    "knockout": "Zero one module after the other.",
    "hal": "Zero more and more modules, chosen at random; strength is their share.",
    "randomise": "Draw a module's weights anew, with their mean and variance.",
    "noise": "Mix randomness into every weight; strength is its share.",
    "down": "Scale all weights down; strength is the factor that is left, 1 to 0.",
    "up": "Scale all weights up; strength is the factor, 1 and more.",
}
Half: TypeAlias = Literal["", "left", "right"]
#: Layers of the unet whose tokens are words: they have no left and right, however many there are.
READS_TEXT = (".attn2.to_k", ".attn2.to_v")


@dataclass(frozen=True)
class Operation:
    """One surgery.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    modules : tuple of str
        Names of the modules that it reaches.
    strength : float
        See `KINDS`; 1 for knock-outs and randomisation. 0 to 1, for ``up`` 1 and more.
    seed : int
        Of everything random in it.
    half : str
        ``"left"`` or ``"right"``: only that half of the picture is struck, the other spared. Empty: all of it.

    Raises
    ------
    MindError
        On a kind, strength or half that there is not.
    """

    kind: Kind
    modules: tuple[str, ...]
    strength: float = 1.0
    seed: int = 0
    half: Half = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MindError(f"surgery {self.kind!r}: allowed are {', '.join(KINDS)}")
        low, high = (1.0, math.inf) if self.kind == "up" else (0.0, 1.0)
        if not (low <= self.strength <= high and math.isfinite(self.strength)):
            allowed = "1 and more" if self.kind == "up" else "0 to 1"
            raise MindError(f"{self.kind} of strength {self.strength:g}: allowed is {allowed}")
        if self.half not in ("", "left", "right"):
            raise MindError(f"half {self.half!r}: allowed are left, right, or nothing for all of the picture")

    @property
    def mixture(self) -> tuple[float, float]:
        """Weights under the operation are this share of themselves and that share of random ones."""
        if self.kind in ("knockout", "hal"):
            return 0.0, 0.0
        if self.kind == "randomise":
            return 0.0, 1.0
        return (1 - self.strength, self.strength) if self.kind == "noise" else (self.strength, 0.0)

    def within(self, *parts: str) -> Operation:
        """What it does to some parts of the pipeline."""
        return replace(self, modules=tuple(n for n in self.modules if n.split(".", 1)[0] in parts))


def chosen(
    mind: Mind, *, part: str = "unet", pattern: str = "*", kind: str = "", depth: tuple[float, float] = (0, 1)
) -> list[str]:
    """Names of modules, in their order.

    Parameters
    ----------
    part : str
        ``unet``, ``text_encoder``, ``vae``, for Stable Diffusion XL also ``text_encoder_2``; empty for all.
    pattern : str
        Shell pattern for the dotted name within its part (``"mid_block.*"`` is a block), or a full name.
    kind : str
        Class of layer (``"Conv2d"``, ``"Linear"``, ``"GroupNorm"``); empty for all.
    depth : tuple of float
        From where to where in the part's order, 0..1.

    Raises
    ------
    MindError
        If nothing is found; the line names the nearest modules, or what there is instead.
    """
    names = [n for n in mind.modules if not part or n.split(".", 1)[0] == part]
    if not names:
        parts = dict.fromkeys(n.split(".", 1)[0] for n in mind.modules)
        raise MindError(f"no part {part!r}; parts are {', '.join(parts)}")
    named = [n for n in names if fnmatchcase(n.split(".", 1)[1], pattern) or fnmatchcase(n, pattern)]
    if not named:
        shown = f"{part}.{pattern}" if part and not pattern.startswith(part) else pattern
        raise MindError(next(unknown([shown], mind.modules)))
    kinds = {n: type(mind.modules[n]).__name__ for n in named}
    alike = [n for n in named if not kind or kinds[n] == kind]
    if not alike:
        raise MindError(f"no {kind} among the modules asked for; there are {', '.join(sorted(set(kinds.values())))}")
    first, last = depth[0] * len(names), depth[1] * len(names)
    deep = [n for n in alike if first <= names.index(n) < last]
    if not deep:
        raise MindError(f"no such module between depth {depth[0]:g} and {depth[1]:g}: 0..1 is all of {part or 'it'}")
    return deep


def fingerprint(modules: Mapping[str, nn.Module]) -> str:
    """SHA-256 over every parameter and buffer in modules, by name, type and shape."""
    digest = hashlib.sha256()
    for name, module in sorted(modules.items()):
        for inner, tensor in sorted([*module.named_parameters(), *module.named_buffers()]):
            digest.update(f"{name}.{inner} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def random_like(seed: int, name: str, weights: Tensor) -> Tensor:
    """Normal numbers with the mean and standard deviation of the parameter called `name`, drawn on the CPU."""
    own = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 1
    wide = torch.promote_types(weights.dtype, torch.float32)
    drawn = torch.randn(weights.shape, generator=torch.Generator().manual_seed(own), dtype=torch.float32)
    values = weights.detach().to(wide)
    spread = values.std(unbiased=False) if weights.numel() > 1 else values.new_zeros(())
    return (drawn.to(values) * spread + values.mean()).to(weights.dtype)


def changed(operation: Operation, name: str, weights: Tensor) -> Tensor:
    """`weights` (the parameter called `name`) as they are under an operation; `weights` are left as they are."""
    kept, random = operation.mixture
    if not random:
        return weights * kept if kept else torch.zeros_like(weights)
    return weights * kept + random_like(operation.seed, name, weights) * random


@contextmanager
def operated(mind: Mind, operation: Operation) -> Iterator[Mind]:
    """The mind under surgery; afterwards every weight is the one that it was, bit for bit, whatever happens.

    A parameter that several modules or pipelines share is changed once and put back once. Surgeries may be nested:
    the inner finds the weights that the outer left, and each puts back what it found. Where one half of the picture is
    struck, weights stay and the outputs of the modules change (those that lie in the picture plane).

    Raises
    ------
    MindError
        On an unknown module (with the nearest known), or a half of a module that can have none.
    """
    known(mind, operation)
    if operation.half:
        with struck(mind, [operation]):
            yield mind
        return
    kept: list[tuple[Tensor, Tensor]] = []
    seen: set[int] = set()
    try:
        with torch.no_grad():
            for name in operation.modules:
                for inner, parameter in mind.modules[name].named_parameters(recurse=False):
                    if parameter.data_ptr() in seen:
                        continue
                    seen.add(parameter.data_ptr())
                    kept.append((parameter, parameter.detach().clone()))
                    parameter.copy_(changed(operation, f"{name}.{inner}", kept[-1][1]))
        yield mind
    finally:
        _put_back(kept)


def _put_back(kept: list[tuple[Tensor, Tensor]]) -> None:
    """Last changed, first put back; an interruption (Ctrl-C, pressed again) comes through only when all is back."""
    try:
        with torch.no_grad():
            while kept:
                parameter, before = kept[-1]
                parameter.copy_(before)
                kept.pop()
    except KeyboardInterrupt:
        _put_back(kept)
        raise


def known(mind: Mind, operation: Operation) -> None:
    """Raise `MindError` on modules that the mind has not, or that can have no half."""
    for line in unknown(operation.modules, mind.modules):
        raise MindError(line)
    for name in operation.modules if operation.half else ():
        if not name.startswith(("unet.", "vae.")):
            raise MindError(f"{name} has no left and right: halves are of modules of the unet or the vae")
        if type(mind.modules[name]) not in LINEAR:
            raise MindError(f"{name} is a {type(mind.modules[name]).__name__}, of which no half can be operated")


@contextmanager
def struck(mind: Mind, operations: Sequence[Operation]) -> Iterator[None]:
    """Sample i of a batch meets operation i at the outputs of its modules; weights stay. No checks: see `known`."""
    reached: dict[str, list[Treatment]] = {}
    for i, operation in enumerate(operations):
        one = Treatment(i, *operation.mixture, operation.seed, operation.half)
        for name in operation.modules:
            if not (one.half and name.endswith(READS_TEXT)):
                reached.setdefault(name, []).append(one)
    planes = {"unet.": Plane(), "vae.decoder.": Plane()}
    handles = []
    try:
        for root, plane in planes.items():
            part = attrgetter(root[:-1])(mind.pipeline)
            handles.append(part.register_forward_pre_hook(plane, with_kwargs=True))
        for name, treatments in reached.items():
            module = mind.modules[name]
            plane = next((planes[root] for root in planes if name.startswith(root)), Plane())
            hook = treated(name, treatments, len(operations), plane, _drawer(name, module))
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _drawer(name: str, module: nn.Module) -> Callable[[int], dict[str, Tensor]]:
    """What draws a module's random weights for a seed."""
    return lambda seed: {
        inner: random_like(seed, f"{name}.{inner}", parameter)
        for inner, parameter in module.named_parameters(recurse=False)
    }


def series(kind: Kind, names: Sequence[str], strengths: Sequence[float] = (), seed: int = 0) -> list[Operation]:
    """The operations of one sheet.

    Knock-outs and randomisations take the modules one after the other; a HAL run takes more and more of them in one
    random order; noise and scalings reach all of them at each strength.
    """
    if kind in ("knockout", "randomise"):
        return [Operation(kind, (name,), 1.0, seed) for name in names]
    if kind == "hal":
        order = np.random.default_rng(seed).permutation(len(names))
        counts = [round(s * len(names)) for s in strengths]
        return [
            Operation(kind, tuple(names[i] for i in sorted(order[:count])), s, seed)
            for s, count in zip(strengths, counts, strict=True)
        ]
    return [Operation(kind, tuple(names), s, seed) for s in strengths]
