"""What it costs to look into a mind while it draws, and how soon the house mind shows a picture."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.benchmarks.measure import ROOT, Row, command, cost, cpu

#: A process that draws one picture, imports included.
FIRST = """
from pieces.minds.mind import Settings, open_mind
mind = open_mind("house", device="cpu")
mind.decode(mind.draw(mind.meaning(["a cat in a party hat"]), mind.noise([1]), Settings()))
"""
REPEATS = 7


def rows() -> Iterator[Row]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _first()
        yield from _traced()
    finally:
        torch.set_num_threads(threads)


def _first() -> Iterator[Row]:
    words = [sys.executable, "-W", "ignore", "-c", FIRST]
    # One thread: threads that wait for each other on a loaded machine spend any time.
    spent = command(words, OMP_NUM_THREADS="1")
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wall = time.perf_counter() - began
    both = max(spent, wall) <= 6
    yield Row("house mind: first picture, from cold", spent, "CPU s", "<= 6", both, f"wall {wall:.1f} s")


def _traced() -> Iterator[Row]:
    import torch

    from pieces.minds.mind import Settings, open_mind
    from pieces.minds.tracing import measured
    from pieces.minds.trajectory import Move, Step, Traveller

    mind = open_mind("house", device="cpu")
    meaning, noise, settings = mind.meaning(["a cat in a party hat"]), mind.noise([1]), Settings()
    stride = 1000 // settings.steps
    moves = [Move(999 - i * stride, stride) for i in range(settings.steps)]
    traveller = Traveller(mind)

    def bare() -> object:
        return mind.draw(meaning, noise, settings)

    def captured() -> list[Step]:
        steps = traveller.go(meaning, noise, moves, settings.guidance)
        before = None
        for step in steps:
            measured(step, before, traveller.alphas)
            before = step.x0
        return steps

    each = cost(lambda: mind.decode(mind.draw(meaning, noise, settings)), REPEATS)
    yield Row("house mind: every picture after, 20 steps", each, "CPU s", "<= 0.7", each <= 0.7)
    ours, theirs, ratio = _paired(captured, bare)
    yield Row(
        "20 steps captured", ours, "CPU s", "<= 1.05 x", ratio <= 1.05, f"the bare pipeline; ratio {ratio:.3f}", theirs
    )
    step = captured()[10]
    decoded = 1000 * cost(lambda: [mind.decode(step.x0) for _ in range(20)]) / 20
    yield Row("apart: decoding x0, a step", decoded, "CPU ms", "-", None)
    drawn = torch.Generator().manual_seed(0)
    spread = 1000 * cost(lambda: [traveller.spread(meaning, step, 3.0, 4, drawn) for _ in range(5)]) / 5
    yield Row("apart: spread from 4 draws, a step", spread, "CPU ms", "-", None)


def _paired(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Median CPU seconds of both, taken in turns, and the median of their ratios: other load meets both alike."""
    pairs = []
    for i in range(REPEATS):
        spent = {}
        for work in (ours, theirs) if i % 2 else (theirs, ours):
            before = cpu()
            work()
            spent[work] = cpu() - before
        pairs.append((spent[ours], spent[theirs]))
    one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return one, other, statistics.median(a / b for a, b in pairs)
