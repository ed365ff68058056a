"""What all benchmarks share: CPU time of this process and its children, and rows of a table."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """One line of the table. `ratio` is ours by the alternative's, where one was measured in the same run."""

    what: str
    value: float
    unit: str
    goal: str
    met: bool | None
    against: str = ""
    theirs: float | None = None

    def cells(self) -> list[str]:
        ratio = f"{self.value / self.theirs:.2f}" if self.theirs else "-"
        theirs = f"{self.theirs:.3g} ({self.against})" if self.theirs else self.against or "-"
        verdict = {True: "yes", False: "NO", None: "-"}[self.met]
        return [self.what, f"{self.value:.3g} {self.unit}", self.goal, verdict, theirs, ratio]


def cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def cost(work: Callable[[], object], repeats: int = 3) -> float:
    """Median CPU seconds of `work` over some repeats."""
    spent = []
    for _ in range(repeats):
        before = cpu()
        work()
        spent.append(cpu() - before)
    return statistics.median(spent)


def command(words: Sequence[str], repeats: int = 3, **environment: str) -> float:
    """Median CPU seconds of a whole process."""
    env = {**os.environ, **environment}
    return cost(lambda: subprocess.run(words, check=True, capture_output=True, env=env), repeats)


def descant(*words: str) -> list[str]:
    """The command line of the studio, in this interpreter."""
    return [sys.executable, "-c", "from studio.cli import main; main()", *words]


def peak_memory(code: str) -> float:
    """Largest resident size, in MB, of a fresh interpreter that runs `code`."""
    # VmHWM, not ru_maxrss: the latter starts at the size of the process that forked.
    tail = "\nprint(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    done = subprocess.run([sys.executable, "-c", code + tail], check=True, capture_output=True, text=True, cwd=ROOT)
    return float(done.stdout.split()[-1]) / 1024


def machine() -> str:
    """One line that describes where this was measured."""
    from studio import config

    found = config.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{found['processor']}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {found['python']}, load {load:.1f}"
    )
