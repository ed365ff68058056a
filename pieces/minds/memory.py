"""Where a mind's parts are while it computes, and what is done when memory does not hold what is asked.

Out of memory, the batch is halved, then the mind is spared (attention by slices, layers moved to the GPU only as they
are needed), and each is said; a mind remembers how much it could hold.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from pieces.minds.places import MindError, one_line

if TYPE_CHECKING:
    from pieces.minds.mind import Mind

T = TypeVar("T")
#: What torch, CUDA's libraries and the C library say when there is no memory left.
SPENT = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")


def is_spent(error: BaseException) -> bool:
    """Whether an error says that there is no memory left."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in SPENT)


def in_batches(
    mind: Mind, count: int, make: Callable[[slice], T], *, batch: int = 16, say: Callable[[str], None] | None = None
) -> Iterator[tuple[slice, T]]:
    """Make `count` pictures, as many at once as memory holds.

    Parameters
    ----------
    mind : Mind
        Who makes them; it remembers what it could hold.
    count : int
        How many there are to make.
    make : callable
        Makes pictures ``[rows.start, rows.stop)``; it is asked again for fewer of them when memory is spent, so it must
        leave nothing behind when it fails.
    batch : int
        How many at once where memory allows.
    say : callable, optional
        Told each line that a user should read; by default they are added to ``mind.said``.

    Yields
    ------
    slice, T
        Which pictures, in their order, and what `make` made of them.

    Raises
    ------
    MindError
        If there is not memory enough for one picture.
    """
    say = say or mind.said.append
    first = 0
    while first < count:
        rows = slice(first, min(first + min(batch, mind.at_once or batch), count))
        try:
            made = make(rows)
        except Exception as error:
            if not is_spent(error):
                raise
            problem = one_line(error)
        else:
            yield rows, made
            first = rows.stop
            continue
        _ask_less(mind, rows.stop - rows.start, problem, say)  # the error is gone, and with it what it held


def _ask_less(mind: Mind, at_once: int, problem: str, say: Callable[[str], None]) -> None:
    if at_once > 1:
        mind.at_once = at_once // 2
        say(f"out of memory with {at_once} pictures at once: {mind.at_once} from now on")
    elif not mind.spared:
        say(f"out of memory with one picture: {spare(mind, str(mind.device))}, which takes longer")
    else:
        raise MindError(
            f"{mind.name} needs more memory than there is for one picture: {problem} Choose a smaller picture, "
            "precision bfloat16 or float16, or another device"
        )
    _forget()


def _forget() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def place(mind: Mind, device: str, *, offloaded: bool = False, sliced: bool = False) -> None:
    """Put a mind where it computes, as `open_mind` is asked to; what does not fit is offloaded, and that is said."""
    import torch

    if device == "cpu":
        # The decoder's convolutions are faster so, by a quarter; the UNet's hardly, and stacked weights cannot be so
        mind.pipeline.vae.to(memory_format=torch.channels_last)
        if offloaded:
            mind.said.append("offloading needs a GPU: all is computed on the CPU")
    elif offloaded or not _fits(mind, device):
        offload(mind, device)
        mind.said.append(f"layers of {mind.name} are on {device} only while they compute, which takes longer")
    if sliced:
        _slice(mind)


def _fits(mind: Mind, device: str) -> bool:
    """Whether a mind is on a device now."""
    try:
        mind.pipeline.to(device)
    except Exception as error:
        if not is_spent(error):
            raise
    else:
        return True
    mind.pipeline.to("cpu")
    _forget()
    return False


def spare(mind: Mind, device: str) -> str:
    """Let a mind need less memory and more time; gives in words how."""
    mind.spared = True
    _slice(mind)
    if device == "cpu":
        return "attention by slices"
    offload(mind, device)
    return f"attention by slices, layers on {device} only while they compute"


def _slice(mind: Mind) -> None:
    """Attention and decoding take one piece after the other."""
    mind.pipeline.enable_attention_slicing()
    if hasattr(mind.pipeline.vae, "enable_slicing"):
        mind.pipeline.vae.enable_slicing()


def offload(mind: Mind, device: str) -> None:
    """Let each layer be on the device only while it computes; its weights stay its own, also under surgery."""
    import torch

    mind.pipeline.enable_group_offload(onload_device=torch.device(device), offload_type="leaf_level")
