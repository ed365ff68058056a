"""Which process records a take, and whether it still lives.

A process id alone is reused; with its start time, the machine's boot and the space in which ids count it is not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Identity of the current process, as JSON."""
    return {"host": socket.gethostname(), **_machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_gone(process: Mapping[str, Any]) -> bool | None:
    """Whether a process has ended; None if that cannot be seen from here (another host or container)."""
    if process["host"] != socket.gethostname():
        return None
    here = _machine()
    if process["boot"] != here["boot"]:
        return True
    if process["space"] != here["space"]:
        return None
    return bool(_started(process["pid"]) != process["started"])


def _machine() -> dict[str, str]:
    """The boot, and the namespace of process ids (containers on one machine have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return {"boot": boot, "space": os.readlink("/proc/self/ns/pid")}
    except OSError:
        return {"boot": "", "space": ""}


def _started(pid: int) -> int | None:
    """Start of a living process in clock ticks since boot (proc(5), stat, field 22); None if there is none.

    Without ``/proc`` a living process counts as started at 0.
    """
    try:
        # The second field is the command's name in parentheses and may hold anything, even parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self").exists() else _answers(pid)
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else started


def _answers(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
