"""Whether steering finds hidden tastes over the ears of rendered takes of 2 s, and whether it finds what is not there.

Regret is 0 at the best take and 1 at an average one; what counts is the lower end of a paired bootstrap interval.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.measure import Row, cpu
from tests.tasting import RATINGS, Gallery, interval

TAKES, TASTES = 512, 240


def rows() -> Iterator[Row]:
    began = cpu()
    gallery = Gallery(TAKES)
    yield Row(f"{TAKES} takes of 2 s, rendered and heard", cpu() - began, "CPU s", "-", None)
    chance, steered = gallery.regrets("random", TASTES), gallery.regrets("gp", TASTES)
    low, high = interval(chance - steered)
    said = f"regret of gp after {RATINGS} ratings, {TASTES} tastes ({low:.3f} to {high:.3f} below random's)"
    yield Row(said, steered.mean(), "", "below random", low > 0, "random", chance.mean())
    misled = gallery.regrets("gp", TASTES, shuffled=True)
    low, high = interval(misled - steered)
    said = f"gp on shuffled ratings ({low:.3f} to {high:.3f} above gp's)"
    beaten = interval(chance - misled)[0] > 0
    yield Row(said, misled.mean(), "", "not below random", low > 0 and not beaten, "random", chance.mean())
    lost, deaf = (gallery.regrets(name, TASTES, deaf=True) for name in ("random", "gp"))
    low, high = interval(lost - deaf)
    said = f"gp, tastes that do not listen ({low:.3f} to {high:.3f} below random's)"
    yield Row(said, deaf.mean(), "", "not below random", low <= 0, "random", lost.mean())
    chance, steered = gallery.regrets("random", TASTES, 5), gallery.regrets("gp", TASTES, 5)
    low, high = interval(chance - steered)
    said = f"regret of gp after 5 ratings ({low:.3f} to {high:.3f} below random's)"
    yield Row(said, steered.mean(), "", "nothing is claimed", None, "random", chance.mean())
