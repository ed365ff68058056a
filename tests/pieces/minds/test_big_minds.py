"""Stable Diffusion 1.x, 2.x and XL, in small, by the same code as the house mind; what is done when memory is spent."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pieces.minds.memory import in_batches, is_spent, offload, spare
from pieces.minds.mind import Mind, MindError, Settings, nothing, open_mind, shape_of
from pieces.minds.surgery import Operation, fingerprint, operated
from tests.pieces.minds.conftest import FULL_UNET

FEW = Settings(steps=3)


@pytest.fixture(scope="module", params=["tiny_sd1", "tiny_sd2", "tiny_xl"])
def big(request: pytest.FixtureRequest) -> Mind:
    """Each kind of mind, opened."""
    folder: Path = request.getfixturevalue(request.param)
    return open_mind(str(folder), device="cpu")


@pytest.fixture
def small(tiny_sd1: Path) -> Mind:
    """A mind of its own for a test that changes it."""
    return open_mind(str(tiny_sd1), device="cpu")


def drawn(mind: Mind, prompts: list[str], seeds: list[int]) -> NDArray[np.uint8]:
    return mind.decode(mind.draw(mind.meaning(prompts), mind.noise(seeds), FEW))


def apart(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(float) - b).max())


def test_a_big_mind_draws(big: Mind) -> None:
    pictures = drawn(big, ["a cat", "a dog"], [1, 2])
    assert pictures.shape == (2, 32, 32, 3)
    assert shape_of(big.folder) == (big.latent_shape, (32, 32))
    assert not nothing(pictures).any()
    assert np.array_equal(pictures, drawn(big, ["a cat", "a dog"], [1, 2]))
    assert apart(pictures, drawn(big, ["a cat", "a dog"], [3, 4])) > 20
    assert apart(pictures, drawn(big, ["a house", "a hat"], [1, 2])) > 0
    wide = big.noise([1], shape_of(big.folder, 48, 64)[0])
    assert big.decode(big.draw(big.meaning(["a cat"]), wide, FEW)).shape == (1, 48, 64, 3)
    assert not big.is_house
    assert big.unknown_words("a zebra") == ()


@pytest.mark.parametrize("size", [(32, 32), (48, 64)])
def test_a_big_mind_draws_what_its_pipeline_draws(big: Mind, size: tuple[int, int]) -> None:
    """All by itself, from the words on: nothing is lost or swapped on our way through."""
    noise = big.noise([1, 2], shape_of(big.folder, *size)[0])
    given = big.pipeline(
        prompt=["a cat", "a dog"],
        negative_prompt=["a hat", "a hat"],
        latents=noise,
        height=size[0],
        width=size[1],
        num_inference_steps=3,
        guidance_scale=3.0,
        output_type="latent",
    ).images
    meaning = big.meaning(["a cat", "a dog"], against="a hat")
    ours = big.draw(meaning, noise, FEW)
    assert float((ours - given).abs().max()) < 1e-5
    swapped = big.draw(dataclasses.replace(meaning, asked=meaning.against), noise, FEW)
    assert float((swapped - ours).abs().max()) > 1e-3
    seen = big.pipeline.image_processor.postprocess(
        big.pipeline.vae.decode(given / big.pipeline.vae.config.scaling_factor).sample, output_type="np"
    )
    assert np.abs(seen * 255 - big.decode(ours)).max() <= 1


def test_surgery_reaches_every_part_of_a_big_mind_and_is_undone(big: Mind) -> None:
    parts = {name.split(".")[0] for name in big.modules}
    assert parts == {"unet", "vae", "text_encoder"} | ({"text_encoder_2"} if "xl" in str(big.folder) else set())
    whole, before = drawn(big, ["a cat"], [1]), fingerprint(big.modules)
    for part in sorted(parts):
        names = tuple(name for name in big.modules if name.startswith(f"{part}."))
        with operated(big, Operation("noise", names, 0.5)):
            assert fingerprint(big.modules) != before
            assert apart(drawn(big, ["a cat"], [1]), whole) > 0
    assert fingerprint(big.modules) == before
    assert np.array_equal(drawn(big, ["a cat"], [1]), whole)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision_is_chosen(big: Mind, precision: Any) -> None:
    import torch

    rough = open_mind(str(big.folder), device="cpu", precision=precision)
    assert rough.dtype is getattr(torch, precision)
    assert rough.pipeline.text_encoder.dtype is rough.dtype
    difference = np.abs(drawn(rough, ["a cat"], [1]).astype(float) - drawn(big, ["a cat"], [1]))
    assert 0 < difference.mean() < 6
    assert apart(drawn(big, ["a cat"], [1]), drawn(big, ["a cat"], [2])) > 20


def test_a_decoder_that_leaves_half_precision_is_kept_whole(tiny_xl: Path, tmp_path: Path) -> None:
    import torch

    mind = open_mind(str(tiny_xl), device="cpu", precision="float16")
    assert mind.pipeline.vae.config.force_upcast
    assert mind.pipeline.vae.dtype is torch.float32
    assert mind.dtype is torch.float16


def test_slices_take_less_at_once_and_draw_the_same(big: Mind) -> None:
    sliced = open_mind(str(big.folder), device="cpu", slicing=True)
    kinds = {type(p).__name__ for p in sliced.pipeline.unet.attn_processors.values()}
    assert kinds == {"SlicedAttnProcessor"}
    assert sliced.pipeline.vae.use_slicing
    assert apart(drawn(sliced, ["a cat", "a dog"], [1, 2]), drawn(big, ["a cat", "a dog"], [1, 2])) <= 1


def test_offloaded_layers_draw_the_same_and_surgery_on_them_is_undone(big: Mind) -> None:
    """Layers come and go by diffusers' own hooks, here between the CPU and itself."""
    whole, before = drawn(big, ["a cat"], [1]), fingerprint(big.modules)
    away = open_mind(str(big.folder), device="cpu")
    for _ in range(2):  # asked again, nothing more is done
        offload(away, "cpu")
    hooked = [name for name, m in away.modules.items() if getattr(m, "_diffusers_hook", None) is not None]
    assert len(hooked) > 0.9 * len(away.modules)
    assert np.array_equal(drawn(away, ["a cat"], [1]), whole)
    names = tuple(n for n in away.modules if n.startswith("unet.mid"))
    with operated(away, Operation("knockout", names)):
        struck = drawn(away, ["a cat"], [1])
    with operated(big, Operation("knockout", names)):
        assert np.array_equal(drawn(big, ["a cat"], [1]), struck)
    assert apart(struck, whole) > 0
    assert fingerprint(away.modules) == before
    assert np.array_equal(drawn(away, ["a cat"], [1]), whole)


def test_an_offloaded_mind_computes_where_its_layers_go(small: Mind) -> None:
    assert small.device.type == "cpu"
    offload(small, "cuda")
    assert small.device.type == "cuda"
    assert small.pipeline.unet.conv_in.weight.device.type == "cpu"


# Memory


@contextmanager
def room_for(mind: Mind, samples: Callable[[], int]) -> Iterator[None]:
    """A UNet that is out of memory above so many samples (two for a picture with guidance)."""
    import torch

    def full(module: Any, given: tuple[Any, ...]) -> None:
        if len(given[0]) > samples():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    hook = mind.pipeline.unet.register_forward_pre_hook(full)
    try:
        yield
    finally:
        hook.remove()


def all_drawn(mind: Mind, count: int, **more: Any) -> tuple[list[int], NDArray[np.uint8]]:
    """Sizes of the batches, and the pictures."""
    meaning, noise = mind.meaning(["a cat"]).repeated(count), mind.noise(range(count))
    made = list(in_batches(mind, count, lambda rows: mind.decode(mind.draw(meaning[rows], noise[rows], FEW)), **more))
    return [rows.stop - rows.start for rows, _ in made], np.concatenate([pictures for _, pictures in made])


def test_out_of_memory_halves_the_batch_and_says_so_once(small: Mind) -> None:
    sizes, whole = all_drawn(small, 11)
    assert sizes == [11]
    assert small.said == []
    with room_for(small, lambda: 6):
        sizes, halved = all_drawn(small, 11)
        assert sizes == [2, 2, 2, 2, 2, 1]
        assert len(small.said) == 2
        assert "11 pictures at once: 5 from now on" in small.said[0]
        assert "5 pictures at once: 2 from now on" in small.said[1]
        told: list[str] = []
        assert all_drawn(small, 11, say=told.append)[0] == sizes  # it remembers
        assert told == []
    assert apart(whole, halved) <= 1


def test_when_one_picture_does_not_fit_the_mind_is_spared_then_refused(small: Mind) -> None:
    with room_for(small, lambda: 2 if small.spared else 1):
        sizes, pictures = all_drawn(small, 3)
    assert sizes == [1, 1, 1]
    assert small.spared
    assert "attention by slices" in small.said[-1]
    assert not nothing(pictures).any()
    with room_for(small, lambda: 1), pytest.raises(MindError, match="more memory than there is for one picture"):
        all_drawn(small, 3)


def test_a_spared_mind_draws_the_same(small: Mind) -> None:
    whole = drawn(small, ["a cat", "a dog"], [1, 2])
    assert spare(small, "cpu") == "attention by slices"
    assert apart(drawn(small, ["a cat", "a dog"], [1, 2]), whole) <= 1


def test_another_error_is_none_of_memory(small: Mind) -> None:
    def broken(rows: slice) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)")

    with pytest.raises(RuntimeError, match="mat1"):
        list(in_batches(small, 4, broken))
    assert (small.said, small.at_once, small.spared) == ([], None, False)


def test_what_says_that_memory_is_spent() -> None:
    import torch

    with pytest.raises(RuntimeError) as cpu:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_spent(cpu.value)
    with pytest.raises(MemoryError) as plain:
        bytearray(2**60)
    assert is_spent(plain.value)
    assert is_spent(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_spent(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_spent(RuntimeError("index out of range"))
    assert not is_spent(KeyError("out of memory"))


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """What there is is left out when garbage is looked for, so that looking often takes no time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
@given(count=st.integers(0, 60), batch=st.integers(1, 40), room=st.integers(1, 20))
def test_batches_hold_each_picture_once_and_in_order(tiny_sd1: Path, count: int, batch: int, room: int) -> None:
    import torch

    mind = Mind("any", None, tiny_sd1)

    def make(rows: slice) -> list[int]:
        if rows.stop - rows.start > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return list(range(count))[rows]

    made = list(in_batches(mind, count, make, batch=batch))
    assert [i for _, part in made for i in part] == list(range(count))
    assert all(list(range(count))[rows] == part for rows, part in made)
    assert all(0 < len(part) <= min(batch, room) for _, part in made)
    assert all(2 * len(part) > min(batch, room) // 2 for _, part in made[:-1])  # halved, and no further than needed


# Full size


def test_stable_diffusion_1_5_has_391_modules(small: Mind) -> None:
    """The number of the essay, on the full-size UNet without its memory."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        small.pipeline.unet = UNet2DConditionModel(**FULL_UNET)
    names = [name for name in small.modules if name.startswith("unet.")]
    assert len(names) == 391
    assert sum(p.numel() for p in small.pipeline.unet.parameters()) == 859_520_964
    assert small.latent_shape == (4, 64, 64)
    assert names[0] == "unet.conv_in"
    assert names[-1] == "unet.conv_out"
