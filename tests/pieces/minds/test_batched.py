"""Many surgeries in one batch give what each gives alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from pieces.minds.batched import Drawn, batchable, drawn_alone, pictures, side_by_side
from pieces.minds.fitting import SHARE, USED, Held, Room, memory
from pieces.minds.mind import Mind, MindError, Settings
from pieces.minds.stacked import is_wide, size_of, stacked
from pieces.minds.surgery import KINDS, Half, Kind, Operation, chosen, operated, series
from tests.pieces.minds.striking import loose, opened, operation, whole

PROMPT = "a cat in a party hat"
Doing = Callable[[Mind, Sequence[Operation]], Any]


@pytest.fixture(scope="module")
def small(tiny_sd1: Path) -> Mind:
    return precise(tiny_sd1)


@pytest.fixture(scope="module")
def xl(tiny_xl: Path) -> Mind:
    return precise(tiny_xl)


def precise(folder: Path) -> Mind:
    """A tiny mind that computes in double precision: what differs then is no rounding."""
    mind = opened(folder)
    mind.pipeline.to(torch.float64)
    return mind


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does: all weights, buffers and hooks of its minds are as before."""
    minds = [request.getfixturevalue(name) for name in ("small", "xl", "house") if name in request.fixturenames]
    before = [whole(mind) for mind in minds]
    yield
    assert [whole(mind) for mind in minds] == before
    for mind in minds:
        assert "forward" not in vars(mind.pipeline.unet)
        for module in (*mind.pipeline.unet.modules(), *mind.pipeline.vae.modules()):
            assert not module._forward_hooks
            assert not module._forward_pre_hooks


def forward(mind: Mind, count: int, halves: int = 2) -> Tensor:
    """What the UNet sees in the same noise for `count` surgeries and the halves of guidance, in its own precision."""
    unet, random = mind.pipeline.unet, torch.Generator().manual_seed(0)
    config = unet.config
    channels, height, width = mind.latent_shape
    sample = torch.randn((1, channels, height, width), generator=random).to(mind.dtype)
    words = torch.randn((halves, 1, 7, config.cross_attention_dim), generator=random).to(mind.dtype)
    more: dict[str, Any] = {}
    if config.addition_embed_type == "text_time":
        ids = torch.tensor([[32.0, 32, 0, 0, 32, 32]]).to(mind.dtype)
        text = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        pooled = torch.randn((halves, 1, text), generator=random).to(mind.dtype).expand(-1, count, -1).flatten(0, 1)
        more["added_cond_kwargs"] = {"time_ids": ids.expand(halves * count, -1), "text_embeds": pooled}
    with torch.inference_mode():
        given = sample.expand(halves * count, -1, -1, -1), 500, words.expand(-1, count, -1, -1).flatten(0, 1)
        out: Tensor = unet(*given, **more, return_dict=False)[0]
    return out.unflatten(0, (halves, count)).transpose(0, 1)


def alone(mind: Mind, operations: Sequence[Operation], halves: int = 2) -> Tensor:
    """`forward` by weights, surgery after surgery."""
    found = []
    for one in operations:
        with operated(mind, one):
            found.append(forward(mind, 1, halves))
    return torch.cat(found)


def as_batches(
    mind: Mind, operations: Sequence[Operation], size: int = 16, halves: int = 2, way: Doing = side_by_side
) -> Tensor:
    found = []
    for first in range(0, len(operations), size):
        some = operations[first : first + size]
        with way(mind, some):
            found.append(forward(mind, len(some), halves))
    return torch.cat(found)


@pytest.mark.parametrize("tiny", ["tiny_sd1", "tiny_sd2", "tiny_xl"])
def test_every_module_of_stable_diffusions_is_exact(tiny: str, request: pytest.FixtureRequest) -> None:
    mind = precise(request.getfixturevalue(tiny))
    ways: list[tuple[Kind, Half]] = [("knockout", ""), ("down", ""), ("randomise", ""), ("knockout", "left")]
    operations = [operation(kind, [name], half) for name, (kind, half) in zip(chosen(mind), cycle(ways), strict=False)]
    by_weights, untouched = alone(mind, operations), forward(mind, 1)
    assert (by_weights - as_batches(mind, operations)).abs().max() <= 1e-12
    moved = (by_weights - untouched).abs().flatten(1).amax(1) > 1e-9
    assert moved.double().mean() > 0.8  # not so: sides of words and of time


def test_every_module_of_the_house_mind_is_exact(house: Mind) -> None:
    operations = series("knockout", chosen(house))
    assert len(operations) == 184
    assert not any(batchable(house, one) for one in operations)
    difference = (alone(house, operations, 1) - as_batches(house, operations, 16, 1)).abs().max()
    assert difference <= 1e-4


def test_in_double_precision_knocked_out_modules_differ_in_no_bit(house: Mind) -> None:
    names = ("unet.conv_in", "unet.mid_block.resnets.0.conv1", "unet.conv_norm_out", "unet.conv_out")
    operations = series("knockout", names)
    house.pipeline.unet.double()
    try:
        batched = as_batches(house, operations)
        for i, one in enumerate(operations):
            with operated(house, one):  # in a batch as large: kernels of other sizes round otherwise
                assert torch.equal(forward(house, len(names))[i], batched[i])
        assert not torch.equal(batched[0], batched[1])
    finally:
        house.pipeline.unet.float()


class Net(nn.Module):
    """A small network of all layers that surgery knows: a picture, its tokens, a word."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.word = nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Embedding(5, 4)
        self.before, self.keys, self.values = nn.LayerNorm(4), nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        self.grouped, self.out = nn.Conv2d(4, 4, 3, 2, 1, groups=2), nn.Conv2d(4, 2, 1)

    def forward(self, sample: Tensor, words: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.conv(sample))) + self.word(words)[..., None, None]
        tokens = self.before(x.flatten(2).transpose(1, 2))
        seen = torch.softmax(tokens @ self.keys(tokens).transpose(1, 2), 2) @ self.values(tokens)
        out: Tensor = self.out(torch.tanh(self.grouped(x + seen.transpose(1, 2).reshape(x.shape))))
        return out


def net() -> Mind:
    torch.manual_seed(0)
    network = Net().double().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    return loose(network)


@st.composite
def surgeries(draw: st.DrawFn) -> Operation:
    """Any of the small network's, of any strength, on any subset of its layers."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    strength = draw(st.floats(1, 2)) if kind == "up" else draw(st.floats(0, 1))
    names = draw(st.lists(st.sampled_from(sorted(net().modules)), unique=True))
    return Operation(
        kind, tuple(names), strength, draw(st.integers(0, 2)), draw(st.sampled_from(["", "left", "right"]))
    )


@given(operations=st.lists(surgeries(), min_size=1, max_size=5), repeats=st.integers(1, 2), wide=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_surgeries_of_any_modules_are_exact(operations: list[Operation], repeats: int, wide: bool) -> None:
    mind = net()
    before, unet = whole(mind), mind.pipeline.unet
    random = torch.Generator().manual_seed(1)
    sample = torch.randn((repeats, 1, 2, 4, 8 if wide else 4), generator=random, dtype=torch.float64)
    words = torch.arange(repeats)[:, None]
    expected = []
    for one in operations:
        with operated(mind, one):
            expected.append(unet(sample[:, 0], words[:, 0]))
    count = len(operations)
    with side_by_side(mind, operations):
        found = unet(sample.expand(-1, count, -1, -1, -1).flatten(0, 1), words.expand(-1, count).flatten())
    found = found.unflatten(0, (repeats, count))
    assert max((found[:, i] - own).abs().max() for i, own in enumerate(expected)) <= 1e-12
    assert whole(mind) == before


class Odd(nn.Linear):
    """A layer whose class says nothing of what it does."""


class Table(Net):
    """A network with a layer that sees no samples: positions, the same for all."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Linear(4, 4)
        self.odd = Odd(2, 2)

    def forward(self, sample: Tensor, words: Tensor) -> Tensor:
        return super().forward(sample, words) + self.positions(torch.eye(4))[:2, 0, None, None]


def test_what_cannot_be_a_sample_is_refused_with_the_reason(small: Mind) -> None:
    mind = loose(Table())
    sample = torch.zeros(2, 2, 4, 4)
    with (
        pytest.raises(MindError, match=r"unet.positions gives 4 samples for 2 surgeries"),
        side_by_side(mind, [Operation("knockout", ("unet.positions",)), Operation("knockout", ("unet.conv",))]),
    ):
        mind.pipeline.unet(sample, torch.zeros(2, dtype=torch.int64))
    assert "unet.odd is a Odd" in batchable(mind, Operation("knockout", ("unet.odd",)))
    mind.pipeline.unet.odd.weight = nn.Parameter(torch.zeros(2, 2))
    mind.pipeline.unet.out.bias = mind.pipeline.unet.positions.bias
    assert "unet.out shares its weights" in batchable(mind, Operation("down", ("unet.out",), 0.5))
    text = Operation("knockout", (chosen(small, part="text_encoder")[3],))
    assert "reads the prompt before there are samples" in batchable(small, text)
    decoder = Operation("knockout", ("vae.decoder.conv_in",))
    assert batchable(small, decoder) == ""
    small.pipeline.vae.enable_slicing()
    try:
        assert "a picture at a time" in batchable(small, decoder)
    finally:
        small.pipeline.vae.disable_slicing()
    with pytest.raises(MindError, match="reads the prompt"), side_by_side(small, [text]):
        pass
    with pytest.raises(MindError, match=r"unet.conv_im.*unet.conv_in"):
        pictures(small, PROMPT, small.noise([0]), Settings(), [Operation("knockout", ("unet.conv_im",))])


def everything(mind: Mind) -> list[Operation]:
    """Surgeries of all kinds on all parts, by one module and by many, whole and half."""
    found = [Operation("knockout", ()), Operation("up", tuple(chosen(mind)), 1.0)]
    for part in dict.fromkeys(name.split(".", 1)[0] for name in mind.modules):
        names = chosen(mind, part=part)
        for kind, some in zip(KINDS, cycle((names, names[1::5], names[-1:], names[::2])), strict=False):
            found.append(operation(kind, some, seed=1))  # type: ignore[arg-type]
            if part in ("unet", "vae"):
                found.append(operation(kind, names[-4:], "left"))  # type: ignore[arg-type]
    return [*found, operation("noise", chosen(mind, part=""), seed=2), operation("hal", chosen(mind, part="")[::9])]


def gathered(drawn: Iterator[Drawn], count: int) -> tuple[Tensor, NDArray[np.uint8]]:
    latents: dict[int, Tensor] = {}
    seen: dict[int, NDArray[np.uint8]] = {}
    for some in drawn:
        assert not {*some.indices} & {*latents}
        latents |= dict(zip(some.indices, some.latents, strict=True))
        seen |= dict(zip(some.indices, some.pictures, strict=True))
    assert sorted(latents) == list(range(count))
    return torch.stack([latents[i] for i in range(count)]), np.stack([seen[i] for i in range(count)])


def by_one(
    mind: Mind, operations: Sequence[Operation], how: Settings, against: str = ""
) -> tuple[Tensor, NDArray[np.uint8]]:
    """The naive way: weights, prompt, picture, one surgery after the other."""
    latents, seen = [], []
    for one in operations:
        with operated(mind, one):
            latents.append(mind.draw(mind.meaning([PROMPT], against), mind.noise([3]), how))
            seen.append(mind.decode(latents[-1]))
    return torch.cat(latents), np.concatenate(seen)


def alike(found: tuple[Tensor, NDArray[np.uint8]], expected: tuple[Tensor, NDArray[np.uint8]]) -> None:
    assert (found[0] - expected[0]).abs().max() <= 1e-8
    assert np.abs(found[1].astype(int) - expected[1]).max() <= 1


@pytest.mark.parametrize("name", ["small", "xl"])
@pytest.mark.parametrize("how", [Settings(2), Settings(2, guidance=1.0), Settings(3, eta=1.0)], ids=str)
def test_pictures_are_those_of_the_naive_way(name: str, how: Settings, request: pytest.FixtureRequest) -> None:
    mind: Mind = request.getfixturevalue(name)
    operations = everything(mind) if how.eta == 0 and how.guidance != 1 else everything(mind)[::7]
    drawn = pictures(mind, PROMPT, mind.noise([3]), how, operations, against="a dog", batch=6)
    alike(gathered(drawn, len(operations)), by_one(mind, operations, how, "a dog"))


def test_pictures_of_the_house_mind_differ_by_less_than_a_ten_thousandth(house: Mind) -> None:
    names, how = chosen(house), Settings(5)
    operations = [*series("knockout", names[::30]), *series("noise", names, [0.05, 0.2]), operation("down", names[:40])]
    found = gathered(pictures(house, PROMPT, house.noise([3]), how, operations), len(operations))
    expected = by_one(house, operations, how)

    def levels(latents: Tensor) -> Tensor:
        vae = house.pipeline.vae
        with torch.inference_mode():
            decoded: Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return (decoded.clamp(-1, 1) + 1) / 2

    assert (levels(found[0]) - levels(expected[0])).abs().max() <= 1e-4
    assert np.abs(found[1].astype(int) - expected[1]).max() <= 1
    assert (levels(expected[0])[0] - levels(expected[0])).abs().flatten(1).amax(1)[1:].min() > 0.01
    meaning = house.meaning([PROMPT])
    assert torch.equal(drawn_alone(house, PROMPT, house.noise([3]), how, operations[0], meaning), expected[0][:1])


def test_stacked_weights_are_exact(small: Mind, xl: Mind) -> None:
    for mind in (small, xl):
        names = chosen(mind)
        operations = [*series("noise", names, [0.1, 0.5, 1.0]), operation("randomise", names[::2], seed=1)]
        operations += [operation("knockout", names[:3]), Operation("down", (), 0.5)]
        assert [is_wide(mind, one) for one in operations] == [True, True, True, True, False, False]
        assert (as_batches(mind, operations, way=stacked) - alone(mind, operations)).abs().max() <= 1e-12
        assert not is_wide(mind, operation("noise", names, "left"))
        assert not is_wide(mind, operation("noise", chosen(mind, part="vae")))


def test_what_is_alike_is_drawn_once(small: Mind) -> None:
    passes: list[int] = []
    handle = small.pipeline.unet.register_forward_pre_hook(lambda unet, given: passes.append(len(given[0])))
    try:
        decoder = series("knockout", chosen(small, part="vae"))
        same = [Operation("up", tuple(chosen(small)), 1.0), Operation("noise", tuple(chosen(small)), 0.0)]
        gathered(pictures(small, PROMPT, small.noise([3]), Settings(3), [*decoder, *same], batch=4), len(decoder) + 2)
    finally:
        handle.remove()
    assert passes == [2, 2, 2]


def test_memory_that_runs_out_is_made_do_with_and_said(tiny_sd1: Path) -> None:
    mind = precise(tiny_sd1)
    operations = series("knockout", chosen(mind)[:9])
    expected = by_one(mind, operations, Settings(2))
    passes: list[int] = []

    def little(unet: nn.Module, given: tuple[Tensor, ...]) -> None:
        if len(given[0]) > 4:
            raise torch.OutOfMemoryError("out of memory")
        passes.append(len(given[0]) // 2)

    handle = mind.pipeline.unet.register_forward_pre_hook(little)
    found = gathered(pictures(mind, PROMPT, mind.noise([3]), Settings(2), operations, batch=8), 9)
    handle.remove()
    alike(found, expected)
    assert max(passes) == 2
    assert any("out of memory" in line for line in mind.said)


def test_breaking_off_and_interruptions_leave_the_mind_alone(small: Mind) -> None:
    operations = [operation(kind, chosen(small)) for kind in KINDS]
    drawing = pictures(small, PROMPT, small.noise([3]), Settings(2), operations, batch=2)
    before = whole(small)
    next(drawing)
    assert whole(small) == before
    assert not small.modules["unet.conv_in"]._forward_hooks
    drawing.close()  # type: ignore[attr-defined]

    def stop(layer: nn.Module, given: Any, out: Any) -> None:
        raise KeyboardInterrupt

    for batch in (1, 6):
        handle = small.modules["unet.conv_out"].register_forward_hook(stop)
        try:
            with pytest.raises(KeyboardInterrupt):
                next(pictures(small, PROMPT, small.noise([3]), Settings(2), operations, batch=batch))
        finally:
            handle.remove()
        assert whole(small) == before


def test_a_batch_that_does_not_fit_is_drawn_in_parts(small: Mind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of weight noise, each picture needs weights of its own: memory for three of them draws nine in threes."""
    operations = [Operation("noise", tuple(chosen(small)), strength) for strength in np.linspace(0.1, 0.9, 9)]
    noise, few = small.noise([3]), Settings(1)
    expected = gathered(pictures(small, PROMPT, noise, few, operations, batch=9), 9)
    (held,) = (size for (what, _), size in small.held.items() if what == ("draw", (*noise.shape[1:], True)))
    each = held + size_of(small, operations[0])
    small.said.clear()
    for whole_, free, said in ((3.5 / SHARE, 100, 0), (100, 3.5 / USED, 1)):
        there = int(whole_ * each), int(free * each)
        monkeypatch.setattr("pieces.minds.fitting.memory", lambda device, there=there: there)
        found = list(pictures(small, PROMPT, noise, few, operations, batch=9))
        assert [len(some.indices) for some in found] == [3, 3, 3]
        alike(gathered(iter(found), 9), expected)
        assert sum("3 pictures at once and not 9" in line for line in small.said) == said


def test_how_many_fit_follows_from_what_one_holds(small: Mind, monkeypatch: pytest.MonkeyPatch) -> None:
    with Held() as held:
        first = torch.zeros(1000, dtype=torch.float32)
        view = first.view(10, 100)
        second = view + 1
        del first, view
        third = second * 2
    assert (held.now, held.peak) == (second.nbytes + third.nbytes, 8000)
    whole_, free = memory(torch.device("cpu"))
    assert 2**24 < free <= whole_ < 2**50
    pixels = math.isqrt(whole_ // 4 // 40)
    monkeypatch.setattr("pieces.minds.fitting.memory", lambda device: (whole_, whole_))
    assert Room(small, 1, lambda: torch.zeros(1)).pictures() == 16
    assert Room(small, 2, lambda: torch.empty(pixels, pixels, 4)).pictures() in range(4, 7)
    assert Room(small, 2, lambda: None, 3).pictures() == 3, "measured once; and no more than are asked for"
    assert Room(small, 2, lambda: None, 100).pictures() in range(4, 7), "nor more than fit"
    assert Room(small, 1, lambda: torch.zeros(1)).pictures(whole_) == 1
    assert Room(small, 1, lambda: torch.zeros(1), 3).pictures(whole_) == 1
    with pytest.raises(MindError, match="batch -1"):
        Room(small, 1, lambda: None, -1)
