"""How many pictures of a mind are worked on together: as many as are quick and fit in memory.

Importing this module loads torch: import it inside functions.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable
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
#: Share of the free memory that may be planned with: the rest is for what operators need in passing.
SHARE = 0.5


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


def free_memory(device: torch.device) -> int:
    """Bytes that are free where a mind computes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # no Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


class Room:
    """How many pictures are worked on together.

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
        self._mind, self._what, self._one, self._asked = mind, what, one, asked

    def pictures(self, extra: int = 0) -> int:
        """How many, 1 and more, where each needs so many bytes beside."""
        if self._asked == 1:
            return 1
        most = self._asked or QUICK.get(self._mind.device.type, QUICK["cpu"])
        if self._what not in self._mind.held:
            self._mind.held[self._what] = self._measured()
        each = self._mind.held[self._what] + extra
        return max(1, min(most, int(SHARE * free_memory(self._mind.device)) // max(each, 1)))

    def _measured(self) -> int:
        try:
            with Held() as held:
                self._one()
        except Exception as error:
            if not is_spent(error):
                raise
            return free_memory(self._mind.device)
        return int(held.peak)
