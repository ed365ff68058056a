"""How many pictures of a mind are worked on together: as many as are quick and fit in memory.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pieces.minds.memory import is_spent
from pieces.minds.mind import Mind, MindError

#: Pictures beyond which a larger batch is no quicker: measured on the house mind's CPU; a GPU waits for launches.
QUICK = {"cpu": 16, "cuda": 64}
#: Share of all memory that is planned with, and of the free memory that may be used: operators need some in passing.
SHARE, USED = 0.4, 0.8


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are alive of those made inside it, and the most that ever were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and id(tensor.untyped_storage()) not in given:
                storage = tensor.untyped_storage()
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return out

    def _add(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)


def memory(device: torch.device) -> tuple[int, int]:
    """Bytes that there are where a mind computes, and how many of them are free."""
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch keeps it for itself
        return int(whole), int(free + unused)
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        whole, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):  # no Linux
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return whole, whole // 2
    with suppress(OSError, ValueError):  # in a container that has less
        most, used = (int(Path("/sys/fs/cgroup", f"memory.{name}").read_text()) for name in ("max", "current"))
        whole, free = min(whole, most), min(free, most - used)
    return whole, free


class Room:
    """How many pictures are worked on together.

    It follows from the memory that there is, so that a machine draws the same in the same batches; where less is free
    than is planned with, there are fewer, which is said (`Mind.said`).

    Parameters
    ----------
    what : hashable
        Names the work, with all that its size follows from: what was measured for a mind once is known of it.
    one : callable
        The work for one picture, or a step of it: done once, to see how much memory it holds.
    asked : int
        At most so many, where they fit; 0: as many as are quick.
    """

    def __init__(self, mind: Mind, what: Hashable, one: Callable[[], object], asked: int = 0) -> None:
        if asked < 0:
            raise MindError(f"batch {asked}: allowed is 1 and more, or 0 for what fits in memory")
        self._mind, self._what, self._one, self._asked = mind, (what, mind.spared), one, asked

    def pictures(self, extra: int = 0) -> int:
        """How many, 1 and more, where each needs so many bytes beside."""
        if self._asked == 1:
            return 1
        held = self._held()
        if held is None:
            return 1
        most = self._asked or QUICK.get(self._mind.device.type, QUICK["cpu"])
        each, (whole, free) = max(held + extra, 1), memory(self._mind.device)
        planned, possible = (
            max(1, min(most, int(share * size) // each)) for share, size in ((SHARE, whole), (USED, free))
        )
        if possible < planned:
            self._mind.said.append(f"memory is taken by others: {possible} pictures at once and not {planned}")
        return min(planned, possible)

    def _held(self) -> int | None:
        """Bytes that one picture holds; None where it does not fit."""
        if self._what not in self._mind.held:
            try:
                with Held() as held:
                    self._one()
            except Exception as error:
                if not is_spent(error):
                    raise
                return None
            self._mind.held[self._what] = int(held.peak)
        return self._mind.held[self._what]
