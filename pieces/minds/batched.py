"""Many surgeries in one batch, exactly: pictures of one prompt and one starting noise under each.

A sample of a batch is a mind under its own surgery: done at the outputs of the layers where they are linear in their
weights (`pieces.minds.layers`), in both halves of guidance. Text encoders read the prompt once for each surgery, and
what they read is drawn as one batch; pictures that differ in the decoder alone share their latents.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pieces.minds.fitting import Room
from pieces.minds.layers import LINEAR
from pieces.minds.memory import in_batches
from pieces.minds.mind import Meaning, Mind, MindError, Settings
from pieces.minds.stacked import is_wide, size_of, stacked
from pieces.minds.surgery import Operation, known, operated, struck

T = TypeVar("T")
Way: TypeAlias = Callable[[Mind, Sequence[Operation]], AbstractContextManager[object]]
TEXT = ("text_encoder", "text_encoder_2")
#: The mind as it is.
UNTOUCHED = Operation("knockout", ())


def batchable(mind: Mind, operation: Operation) -> str:
    """Why an operation cannot be a sample of a batch; empty where it can."""
    return _refused(mind, operation, _owners(mind.modules))


def _owners(modules: Mapping[str, nn.Module]) -> Counter[int]:
    """How many modules have each parameter."""
    return Counter(id(p) for module in modules.values() for p in module.parameters(recurse=False))


def _refused(mind: Mind, operation: Operation, owners: Counter[int]) -> str:
    for name in operation.modules:
        module, part = mind.modules[name], name.split(".", 1)[0]
        if part in TEXT:
            return f"{name} is of the {part}, which reads the prompt before there are samples"
        if type(module) not in LINEAR:
            return f"{name} is a {type(module).__name__}, whose output is not known to be linear in its weights"
        if any(owners[id(p)] > 1 for p in module.parameters(recurse=False)) and not operation.half:
            return f"{name} shares its weights with another module"
        if part == "vae" and getattr(mind.pipeline.vae, "use_slicing", False):
            return f"{name} decodes a picture at a time (slicing)"
    return ""


@contextmanager
def side_by_side(mind: Mind, operations: Sequence[Operation]) -> Iterator[None]:
    """Sample i of a batch meets operation i; samples are repeated in order for the halves of guidance.

    Raises
    ------
    MindError
        If a module is unknown, an operation cannot be a sample, or (while a picture is drawn) the batch of a module's
        output is no multiple of the number of operations.
    """
    owners = _owners(mind.modules)
    for operation in operations:
        known(mind, operation)
        if reason := _refused(mind, operation, owners):
            raise MindError(reason)
    with struck(mind, operations):
        yield


def drawn_alone(
    mind: Mind, prompt: str, noise: Tensor, settings: Settings, operation: Operation, meaning: Meaning
) -> Tensor:
    """Latents of one picture under one operation, by its weights; a prompt is read again by a changed text encoder."""
    with operated(mind, operation):
        return mind.draw(mind.meaning([prompt]) if operation.within(*TEXT).modules else meaning, noise, settings)


@dataclass(frozen=True)
class Drawn:
    """Some of the pictures.

    Attributes
    ----------
    indices : tuple of int
        Which of the operations they are of.
    latents : Tensor
        ``[n, c, h, w]``.
    pictures : ndarray
        uint8, ``[n, height, width, 3]``.
    """

    indices: tuple[int, ...]
    latents: Tensor
    pictures: NDArray[np.uint8]


def pictures(
    mind: Mind,
    prompt: str,
    noise: Tensor,
    settings: Settings,
    operations: Sequence[Operation],
    *,
    against: str = "",
    batch: int = 0,
) -> Iterator[Drawn]:
    """Pictures of one prompt and one starting noise under each of some operations, in whatever order is quickest.

    Between two yields the mind is as it was before.

    Parameters
    ----------
    noise : Tensor
        ``[1, c, h, w]``, see `Mind.noise`.
    operations : sequence of Operation
        Over any parts; one without modules is the untouched mind.
    batch : int
        At most so many samples are drawn together, where they fit in memory; 0: as many as are quick.

    Raises
    ------
    MindError
        On an unknown module, and when memory does not suffice for a single picture.
    """
    for operation in operations:
        known(mind, operation)
    return _drawn(mind, (prompt, against), noise, settings, operations, batch)


def _drawn(
    mind: Mind, prompt: tuple[str, str], noise: Tensor, settings: Settings, operations: Sequence[Operation], batch: int
) -> Iterator[Drawn]:
    """Each operation is read, drawn and decoded; what is alike in the first two is read and drawn once."""
    alike: dict[tuple[Operation, Operation], list[int]] = {}
    for i, operation in enumerate(operations):
        alike.setdefault((_part(operation, *TEXT), _part(operation, "unet")), []).append(i)
    stages = list(alike)
    readings = {reading: _read(mind, prompt, reading) for reading, _ in stages}

    def draw(chosen: Sequence[int], steps: int = settings.steps) -> Tensor:
        meaning = _joined([readings[stages[k][0]] for k in chosen])
        return mind.draw(meaning, noise.expand(len(chosen), -1, -1, -1), replace(settings, steps=steps))

    size = (*noise.shape[1:], settings.guidance > 1)
    to_draw = Room(mind, ("draw", size), lambda: draw([0], 1), batch)
    to_decode = Room(mind, ("decode", size), lambda: mind.decode(noise), batch)
    for drawn, latents in _together(mind, [drawing for _, drawing in stages], to_draw, draw):
        rows = {i: row for row, k in enumerate(drawn) for i in alike[stages[k]]}
        decoders = [_part(operations[i], "vae") for i in rows]
        yield from _decoded(mind, list(rows), latents[list(rows.values())], decoders, to_decode)


def _decoded(
    mind: Mind, indices: Sequence[int], latents: Tensor, operations: Sequence[Operation], room: Room
) -> Iterator[Drawn]:
    for seen, found in _together(mind, operations, room, lambda chosen: mind.decode(latents[chosen])):
        yield Drawn(tuple(indices[k] for k in seen), latents[seen], found)


def _together(
    mind: Mind, operations: Sequence[Operation], room: Room, work: Callable[[list[int]], T]
) -> Iterator[tuple[list[int], T]]:
    """Work under operations, given by their places: as batches where they can be samples, the others one by one."""
    owners = _owners(mind.modules)
    waiting: dict[Way, list[int]] = {}
    for k, operation in enumerate(operations):
        waiting.setdefault(_way(mind, operation, owners), []).append(k)
    for way, places in waiting.items():

        def under_surgery(rows: slice, way: Way = way, places: list[int] = places) -> T:
            some = [operations[k] for k in places[rows]]
            with way(mind, some) if len(some) > 1 else operated(mind, some[0]):
                return work(places[rows])

        one_by_one = way is _by_weights or len(places) == 1
        at_once = 1 if one_by_one else room.pictures(max(size_of(mind, operations[k]) for k in places))
        for rows, done in in_batches(mind, len(places), under_surgery, batch=at_once):
            yield places[rows], done


def _by_weights(mind: Mind, operations: Sequence[Operation]) -> AbstractContextManager[object]:
    (operation,) = operations
    return operated(mind, operation)


def _way(mind: Mind, operation: Operation, owners: Counter[int]) -> Way:
    if _refused(mind, operation, owners):
        return _by_weights
    return stacked if is_wide(mind, operation) else struck


def _read(mind: Mind, prompt: tuple[str, str], operation: Operation) -> Meaning:
    """What changed text encoders make of what is asked for and against."""
    with operated(mind, operation):
        return mind.meaning([prompt[0]], prompt[1])


def _part(operation: Operation, *parts: str) -> Operation:
    """What an operation does to some parts; all that do nothing there are the same."""
    within = operation.within(*parts)
    return within if within.modules and within.mixture != (1.0, 0.0) else UNTOUCHED


def _joined(meanings: Sequence[Meaning]) -> Meaning:
    """Meanings of one prompt each as those of a batch."""
    pooled = [m.pooled for m in meanings if m.pooled is not None]
    return Meaning(
        torch.cat([m.asked for m in meanings]),
        torch.cat([m.against for m in meanings]),
        (torch.cat([p[0] for p in pooled]), torch.cat([p[1] for p in pooled])) if pooled else None,
    )
