"""Surgery on the house mind: a whole sheet of knock-outs as batches and module by module; what else helps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.measure import Row, cost, peak_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pieces.minds.mind import Mind
    from pieces.minds.surgery import Operation

PROMPT, SEED = "a cat in a party hat", 3
#: A process that draws some knock-outs, as batches (or of one, by weights).
MEMORY = """
import torch
torch.set_num_threads(1)
from pieces.minds.mind import Settings, open_mind
from pieces.minds.surgery import chosen, series
from tests.benchmarks.bench_minds import by_one, together
mind = open_mind("house", device="cpu")
{draw}(mind, series("knockout", chosen(mind)[:16]))
"""


def rows() -> Iterator[Row]:
    import torch

    from pieces.minds.mind import open_mind
    from pieces.minds.surgery import chosen, series

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        mind = open_mind("house", device="cpu")
        sheet = series("knockout", chosen(mind))
        by_one(mind, sheet[:1]), together(mind, sheet[:2])
        yield from _sheet(mind, sheet)
        yield from _noise(mind, series("noise", chosen(mind), [i / 8 for i in range(1, 9)]))
        yield from _apart(mind, sheet[::8])
        yield from _precision(mind, open_mind("house", device="cpu", precision="fast"), sheet[::8])
        yield from _memory()
        if torch.cuda.is_available():
            yield from _on_gpu(open_mind("house", device="cuda", precision="float32"), sheet)
    finally:
        torch.set_num_threads(threads)


def by_one(mind: Mind, operations: Sequence[Operation]) -> NDArray[np.uint8]:
    """Module by module: weights changed, one picture drawn and decoded, weights put back."""
    from pieces.minds.batched import drawn_alone
    from pieces.minds.mind import Settings

    meaning, noise = mind.meaning([PROMPT]), mind.noise([SEED])
    made = [mind.decode(drawn_alone(mind, PROMPT, noise, Settings(), o, meaning)) for o in operations]
    return np.concatenate(made)


def together(mind: Mind, operations: Sequence[Operation], batch: int = 0) -> NDArray[np.uint8]:
    """The same pictures as batches."""
    from pieces.minds.batched import pictures
    from pieces.minds.mind import Settings

    made = {}
    for some in pictures(mind, PROMPT, mind.noise([SEED]), Settings(), operations, batch=batch):
        made |= dict(zip(some.indices, some.pictures, strict=True))
    return np.stack([made[i] for i in range(len(operations))])


def _sheet(mind: Mind, sheet: Sequence[Operation]) -> Iterator[Row]:
    kept: list[NDArray[np.uint8]] = []
    batched = naive = 0.0
    for part in range(4):  # by turns, so that both meet the same load
        batched += cost(lambda part=part: kept.append(together(mind, sheet[part::4])), 1)  # type: ignore[misc]
        naive += cost(lambda part=part: kept.append(by_one(mind, sheet[part::4])), 1)  # type: ignore[misc]
    what = f"house mind, sheet of {len(sheet)} knock-outs, 20 steps, fp32"
    ratio = naive / batched
    yield Row(what, batched, "CPU s", "<= 1/1.8", ratio >= 1.8, "module by module", naive)
    yield Row("the same: how many times as fast", ratio, "x", ">= 1.8", ratio >= 1.8)
    yield Row("the same, pictures", len(sheet) / batched, "/CPU s", "-", None, "module by module", len(sheet) / naive)
    apart = max(int(np.abs(some.astype(int) - same).max()) for some, same in zip(kept[::2], kept[1::2], strict=True))
    yield Row("the same, largest difference of a pixel", apart, "of 255", "<= 1", apart <= 1)


def _noise(mind: Mind, strengths: Sequence[Operation]) -> Iterator[Row]:
    batched, naive = (cost(lambda way=way: way(mind, strengths), 1) for way in (together, by_one))  # type: ignore[misc]
    what = f"{len(strengths)} strengths of noise in every weight, stacked weights"
    yield Row(what, batched, "CPU s", "-", None, "one by one", naive)


def _apart(mind: Mind, some: Sequence[Operation]) -> Iterator[Row]:
    """Batch sizes, and gains that are none of batching: memory format and caching."""
    import torch

    from pieces.minds.surgery import chosen, series

    for batch in (4, 8, 16, 23):
        spent = cost(lambda batch=batch: together(mind, some, batch), 1)  # type: ignore[misc]
        yield Row(f"knock-outs in batches of {batch}", 1000 * spent / len(some), "CPU ms each", "-", None)
    latents, vae = mind.noise(range(8)), mind.pipeline.vae
    quick = cost(lambda: mind.decode(latents), 5)
    vae.to(memory_format=torch.contiguous_format)
    plain = cost(lambda: mind.decode(latents), 5)
    vae.to(memory_format=torch.channels_last)
    yield Row(
        "memory format: decoder channels-last, 8 pictures", 1000 * quick, "CPU ms", "-", None, "plain", 1000 * plain
    )
    decoders = series("knockout", chosen(mind, part="vae"))[::2]
    cached = cost(lambda: together(mind, decoders), 1)
    naive = cost(lambda: by_one(mind, decoders), 1)
    what = f"caching: {len(decoders)} knock-outs of the decoder share their latents"
    yield Row(what, cached, "CPU s", "-", None, "module by module", naive)


def _on_gpu(mind: Mind, sheet: Sequence[Operation]) -> Iterator[Row]:
    """The same sheet, in seconds of the clock: pictures are back in the CPU's memory when they are counted."""
    together(mind, sheet[:64]), by_one(mind, sheet[:1])
    seconds = []
    for way in (together, by_one):
        began = time.perf_counter()
        way(mind, sheet)
        seconds.append(time.perf_counter() - began)
    batched, naive = seconds
    what = f"on a GPU: sheet of {len(sheet)} knock-outs, 20 steps, fp32"
    yield Row(what, batched, "s", "<= 1/20", naive / batched >= 20, "module by module", naive)
    yield Row("the same, pictures", len(sheet) / batched, "/s", "-", None, "module by module", len(sheet) / naive)


def _precision(mind: Mind, fast: Mind, some: Sequence[Operation]) -> Iterator[Row]:
    kept: list[NDArray[np.uint8]] = []
    full = cost(lambda: kept.append(together(mind, some)), 1)
    spent = cost(lambda: kept.append(together(fast, some)), 1)
    what = f"precision: {len(some)} knock-outs in {str(fast.dtype).removeprefix('torch.')}"
    yield Row(what, spent, "CPU s", "-", None, "float32", full)
    apart = np.abs(kept[0].astype(float) - kept[1]).mean()
    yield Row("the same, mean difference of a pixel", apart, "of 255", "-", None)


def _memory() -> Iterator[Row]:
    batched, naive = (peak_memory(MEMORY.format(draw=draw)) for draw in ("together", "by_one"))
    yield Row("peak memory of knock-outs as batches", batched, "MB", "-", None, "module by module", naive)
