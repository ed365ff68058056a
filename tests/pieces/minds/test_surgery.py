"""Six surgeries: what they do to weights, where, and that nothing is left of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pieces.minds.mind import PARTS, Mind, MindError, Settings, open_mind
from pieces.minds.surgery import KINDS, Half, Kind, Operation, changed, chosen, fingerprint, operated, series
from tests.pieces.minds.striking import loose, opened, operation, whole


@pytest.fixture(scope="module")
def small(tiny_sd1: Path) -> Mind:
    return opened(tiny_sd1)


@pytest.fixture(scope="module")
def xl(tiny_xl: Path) -> Mind:
    return opened(tiny_xl)


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does: all weights, buffers and hooks of its minds are as before."""
    minds = [request.getfixturevalue(name) for name in ("small", "xl") if name in request.fixturenames]
    before = [whole(mind) for mind in minds]
    yield
    assert [whole(mind) for mind in minds] == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for mind in minds for m in mind.pipeline.unet.modules())


def predicted(mind: Mind, height: int = 8, width: int = 8) -> Tensor:
    """What the UNet sees in fixed noise."""
    sample = torch.randn((1, 4, height, width), generator=torch.Generator().manual_seed(1))
    words = torch.randn(
        (1, 5, mind.pipeline.unet.config.cross_attention_dim), generator=torch.Generator().manual_seed(2)
    )
    with torch.inference_mode():
        return mind.pipeline.unet(sample, 500, words).sample  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_each_surgery_in_each_part_changes_the_picture_and_is_undone(xl: Mind, kind: str, part: str) -> None:
    noise, one = xl.noise([0]), Settings(steps=1)
    before, latents = whole(xl), xl.draw(xl.meaning(["a cat"]), noise, one)
    untouched = xl.decode(latents)
    with operated(xl, operation(kind, chosen(xl, part=part))):
        assert whole(xl) != before
        struck = xl.draw(xl.meaning(["a cat"]), noise, one)
        assert (xl.decode(struck) != untouched).any()
        assert torch.equal(struck, latents) == (part == "vae")
    assert torch.equal(xl.draw(xl.meaning(["a cat"]), noise, one), latents)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("half", ["", "left"])
def test_it_is_undone_after_an_error(small: Mind, error: type[BaseException], half: Half) -> None:
    with pytest.raises(error), operated(small, operation("noise", chosen(small), half)):
        raise error


class Impatient(nn.Parameter):
    """A parameter at which someone presses Ctrl-C at some of the times that it is written."""

    writes = 0
    pressed: tuple[int, ...] = ()

    def copy_(self, *values: Any, **more: Any) -> Tensor:  # type: ignore[override]
        self.writes += 1
        if self.writes in self.pressed:
            raise KeyboardInterrupt
        return super().copy_(*values, **more)


@pytest.mark.parametrize("pressed", [(1,), (2,), (2, 3), (1, 2)])
def test_it_is_undone_when_the_surgery_or_the_undoing_is_interrupted(pressed: tuple[int, ...]) -> None:
    layers: dict[str, nn.Module] = {f"{i}": nn.Linear(3, 3) for i in range(3)}
    layers["1"].weight = impatient = Impatient(torch.randn(3, 3))
    impatient.pressed = pressed
    mind, before = loose(layers), fingerprint(layers)
    with pytest.raises(KeyboardInterrupt), operated(mind, operation("noise", list(mind.modules))):
        assert fingerprint(layers) != before
    assert fingerprint(layers) == before
    assert impatient.writes == max(pressed) + 1


def test_what_two_modules_share_is_changed_once() -> None:
    one, tied, view = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    tied.weight, view.weight = one.weight, nn.Parameter(one.weight.detach())
    layers: dict[str, nn.Module] = {"one": one, "tied": tied, "view": view}
    mind, before, kept = loose(layers), fingerprint(layers), one.weight.detach().clone()
    with operated(mind, Operation("down", tuple(mind.modules), 0.5)):
        assert torch.equal(one.weight, kept / 2)
        assert torch.equal(view.weight, kept / 2)
    assert fingerprint(layers) == before
    with operated(mind, Operation("knockout", ("unet.view",))):
        assert not one.weight.any()
    assert fingerprint(layers) == before


def test_surgery_on_a_part_that_two_pipelines_share_leaves_both_as_they_were(small: Mind, tiny_sd1: Path) -> None:
    other = open_mind(str(tiny_sd1), device="cpu")
    other.pipeline.unet = small.pipeline.unet
    before = whole(other)
    with operated(small, operation("randomise", chosen(small))):
        assert whole(other) != before
        with operated(other, operation("down", chosen(other))):
            pass
    assert whole(other) == before


@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=4), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_nested_surgeries_undo_in_order(kinds: list[Kind], seed: int) -> None:
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"a": nn.Linear(3, 4), "b": nn.LayerNorm(4)}
    mind = loose(layers)

    def nested(left: list[Kind]) -> None:
        before = fingerprint(layers)
        if left:
            with operated(mind, operation(left[0], list(mind.modules), seed=seed)):
                nested(left[1:])
        assert fingerprint(layers) == before

    nested(kinds)


def test_weights_under_each_surgery() -> None:
    weights = torch.randn((40, 50), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1
    kept = weights.clone()

    def after(kind: Kind, strength: float = 1.0, seed: int = 0, name: str = "a") -> Tensor:
        return changed(Operation(kind, (), strength, seed), name, weights)

    assert not after("knockout").any()
    assert not after("hal", 0.4).any()
    assert torch.equal(after("down", 0.3), weights * 0.3)
    assert torch.equal(after("up", 1.7), weights * 1.7)
    random = after("randomise")
    assert random.mean() == pytest.approx(weights.mean(), abs=0.2)
    assert random.std() == pytest.approx(weights.std(), rel=0.05)
    assert abs(torch.corrcoef(torch.stack([random.flatten(), weights.flatten()]))[0, 1]) < 0.1
    assert torch.allclose(after("noise", 0.2), 0.8 * weights + 0.2 * random)
    assert torch.equal(after("noise", 0.0), weights)
    assert torch.equal(random, after("randomise"))
    assert not torch.equal(random, after("randomise", seed=1))
    assert not torch.equal(random, after("randomise", name="b"))
    assert torch.equal(weights, kept)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["unet.conv_out", "unet.conv_norm_out"])
def test_one_half_is_struck_and_the_other_spared(small: Mind, kind: str, name: str) -> None:
    kept: list[Tensor] = []
    handle = small.modules[name].register_forward_hook(lambda m, x, out: kept.append(out.clone()), prepend=True)
    try:
        untouched = predicted(small)
        with operated(small, operation(kind, [name])):
            predicted(small)
    finally:
        handle.remove()
    found: list[Tensor] = []
    for half in ("left", "right"):
        with operated(small, operation(kind, [name], half)):  # type: ignore[arg-type]
            handle = small.modules[name].register_forward_hook(lambda m, x, out: found.append(out.clone()))
            whole_picture = predicted(small)
            handle.remove()
        assert not torch.equal(whole_picture, untouched)
    (own, struck), (left, right) = kept, found
    for half, struck_side, spared_side in ((left, slice(4), slice(4, 8)), (right, slice(4, 8), slice(4))):
        assert torch.equal(half[..., spared_side], own[..., spared_side])
        assert torch.allclose(half[..., struck_side], struck[..., struck_side], atol=1e-5)
        assert not torch.allclose(half[..., struck_side], own[..., struck_side], atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16), (16, 8)])
def test_tokens_of_attention_have_halves(small: Mind, height: int, width: int) -> None:
    name, seen = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v", list[Tensor]()
    with operated(small, Operation("knockout", (name,), half="right")):
        handle = small.modules[name].register_forward_hook(lambda m, x, out: seen.append(out.clone()))
        predicted(small, height, width)
        handle.remove()
    plane = seen[0].reshape(height // 2, width // 2, -1)
    assert not plane[:, width // 4 :].any()
    assert plane[:, : width // 4].all()


def test_words_and_time_have_no_sides(small: Mind) -> None:
    untouched = predicted(small)
    cross = chosen(small, pattern="*attn2.to_[kv]")
    for names in (cross, chosen(small, pattern="*time_emb*")):
        with operated(small, Operation("knockout", tuple(names), half="left")):
            assert torch.equal(predicted(small), untouched)
    with pytest.raises(MindError, match=r"text_encoder.* has no left and right"):
        operated(small, operation("knockout", chosen(small, part="text_encoder"), "left")).__enter__()


def test_modules_are_chosen_by_part_block_kind_and_depth(small: Mind, xl: Mind) -> None:
    everything = chosen(small, part="")
    assert everything == list(small.modules)
    assert {n.split(".")[0] for n in chosen(xl, part="")} == set(PARTS)
    block = chosen(small, pattern="mid_block.*")
    assert block
    assert all(n.startswith("unet.mid_block.") for n in block)
    assert chosen(small, pattern="unet.conv_in") == chosen(small, pattern="conv_in") == ["unet.conv_in"]
    norms = chosen(small, kind="GroupNorm")
    assert norms
    assert all(isinstance(small.modules[n], nn.GroupNorm) for n in norms)
    unet = chosen(small)
    thirds = [chosen(small, depth=(i / 3, (i + 1) / 3)) for i in range(3)]
    assert [n for third in thirds for n in third] == unet
    assert max(map(len, thirds)) - min(map(len, thirds)) <= 1


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"pattern": "conv_inn"}, r"no module 'unet.conv_inn'; nearest are .*unet.conv_in"),
        ({"part": "brain"}, r"no part 'brain'; parts are text_encoder, unet, vae"),
        ({"kind": "Conv3d"}, r"no Conv3d .*there are Conv2d, GroupNorm, LayerNorm, Linear"),
        ({"depth": (0.5, 0.5)}, r"no such module between depth 0.5 and 0.5"),
    ],
)
def test_what_is_not_there_is_said(small: Mind, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(MindError, match=said):
        chosen(small, **wanted)


def test_surgery_on_an_unknown_module_names_the_nearest_and_changes_nothing(small: Mind) -> None:
    struck = Operation("knockout", ("unet.conv_in", "unet.conv_outt"))
    with pytest.raises(MindError, match=r"unet.conv_outt.*unet.conv_out"), operated(small, struck):
        pytest.fail("this is never reached")


@pytest.mark.parametrize(
    ("kind", "strength", "half"),
    [
        ("noise", 1.1, ""),
        ("down", -0.1, ""),
        ("up", 0.9, ""),
        ("up", float("inf"), ""),
        ("noise", float("nan"), ""),
        ("melt", 1, ""),
        ("up", 1, "top"),
    ],
)
def test_an_operation_that_there_is_not(kind: Any, strength: float, half: Any) -> None:
    with pytest.raises(MindError, match="allowed"):
        Operation(kind, (), strength, 0, half)


def test_a_hal_run_takes_more_and_more_of_the_modules() -> None:
    names = [f"unet.{i}" for i in range(10)]
    run = series("hal", names, [0, 0.1, 0.5, 1.0], seed=3)
    assert [len(o.modules) for o in run] == [0, 1, 5, 10]
    for fewer, more in pairwise(run):
        assert {*fewer.modules} < {*more.modules}
    assert run != series("hal", names, [0, 0.1, 0.5, 1.0], seed=4)
    assert [o.modules for o in series("knockout", names)] == [(n,) for n in names]
    assert [o.strength for o in series("down", names, [0.9, 0.8])] == [0.9, 0.8]
