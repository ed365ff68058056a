"""Steps of inverse diffusion: what is captured of them is what the pipeline does, and the mind stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from pieces.minds.mind import Meaning, Mind, Settings, open_mind, shape_of
from pieces.minds.trajectory import Move, Route, Step, Traveller

GUIDANCE = 3.0


def strides(count: int) -> list[Move]:
    """Equal moves from noise to picture."""
    stride = 1000 // count
    return [Move(999 - i * stride, stride) for i in range(count)]


@pytest.fixture(scope="module")
def meaning(house: Mind) -> Meaning:
    return house.meaning(["a cat in a party hat"])


@pytest.fixture(scope="module")
def ten(house: Mind, meaning: Meaning) -> list[Step]:
    """Ten steps of the house mind."""
    return Traveller(house).go(meaning, house.noise([1]), strides(10), GUIDANCE)


def hooks(mind: Mind) -> int:
    """Hooks that anything in the pipeline has."""
    parts = (mind.pipeline.unet, mind.pipeline.vae, mind.pipeline.text_encoder)
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for part in parts for m in part.modules())


def test_it_is_the_pipelines_own_drawing_bit_for_bit(house, meaning, ten):
    drawn = house.draw(meaning, house.noise([1]), Settings(steps=10, guidance=GUIDANCE))
    assert torch.equal(ten[-1].latents, drawn)
    other = house.draw(meaning, house.noise([2]), Settings(steps=10, guidance=GUIDANCE))
    assert not torch.equal(ten[-1].latents, other), "the measure can fail"


def test_a_mind_that_is_told_the_size_is_told_the_right_one(tiny_xl):
    """Stable Diffusion XL, beside the prompt, whoever asks."""
    mind = open_mind(str(tiny_xl), device="cpu")
    meaning, noise = mind.meaning(["a cat"]), mind.noise([1], shape_of(mind.folder, 48, 64)[0])
    told: list[list[float]] = []
    hook = mind.pipeline.unet.register_forward_pre_hook(
        lambda module, given, words: told.append(words["added_cond_kwargs"]["time_ids"][0].tolist()), with_kwargs=True
    )
    try:
        Traveller(mind).go(meaning, noise, strides(2), GUIDANCE)
        mind.draw(meaning, noise, Settings(steps=2, guidance=GUIDANCE))
    finally:
        hook.remove()
    assert told == [[48, 64, 0, 0, 48, 64]] * 4


def test_runs_may_be_cut_anywhere(house, meaning, ten):
    traveller, latents = Traveller(house), house.noise([1])
    steps: list[Step] = []
    for first, end in ((0, 1), (1, 4), (4, 10)):
        steps += traveller.go(meaning, latents, strides(10)[first:end], GUIDANCE)
        latents = steps[-1].latents
    for one, whole in zip(steps, ten, strict=True):
        for name in ("latents", "epsilon", "x0", "difference"):
            assert torch.equal(getattr(one, name), getattr(whole, name)), name


def test_latents_are_the_predicted_picture_and_the_predicted_noise(house, ten):
    """Ho et al. 2020, eq. 4, where a step begins and, without fresh noise, where it ends (Song et al. 2021, eq. 12)."""
    alphas = Traveller(house).alphas
    before = house.noise([1])
    for i, step in enumerate(ten):
        a = alphas[step.timestep]
        torch.testing.assert_close(a.sqrt() * step.x0 + (1 - a).sqrt() * step.epsilon, before, atol=2e-5, rtol=1e-4)
        a = alphas[ten[i + 1].timestep] if i < 9 else torch.tensor(1.0)
        after = a.sqrt() * step.x0 + (1 - a).sqrt() * step.epsilon
        torch.testing.assert_close(after, step.latents, atol=2e-5, rtol=1e-4)
        before = step.latents
    assert torch.equal(ten[-1].latents, ten[-1].x0)


def test_the_difference_is_what_guidance_multiplies(house, meaning):
    """Ho and Salimans 2022, eq. 6: predictions of two guidances lie apart by so many differences."""
    traveller, latents, move = Traveller(house), house.noise([3]), [Move(600, 50)]
    (weak,), (strong,), (none,) = (traveller.go(meaning, latents, move, g) for g in (2.0, 5.0, 1.0))
    torch.testing.assert_close(weak.difference, strong.difference)
    a = traveller.alphas[600]
    apart = (a.sqrt() if house.pipeline.scheduler.config.prediction_type == "v_prediction" else 1.0) * weak.difference
    torch.testing.assert_close(strong.epsilon - weak.epsilon, 3.0 * apart, atol=1e-4, rtol=1e-3)
    assert float(weak.difference.abs().max()) > 1e-3
    assert not none.difference.any()


def test_fresh_noise_comes_from_the_moves_generators_and_from_nowhere_else(house, meaning):
    def wander(*seeds: int) -> torch.Tensor:
        drawn = [torch.Generator().manual_seed(seed) for seed in seeds]
        moves = [Move(m.timestep, m.stride, d) for m, d in zip(strides(4), drawn, strict=True)]
        torch.manual_seed(sum(seeds))
        return Traveller(house).go(meaning, house.noise([1]), moves, GUIDANCE, eta=1.0)[-1].latents

    once = wander(1, 2, 3, 4)
    assert torch.equal(once, wander(1, 2, 3, 4))
    assert not torch.equal(once, wander(1, 2, 5, 4))


@settings(max_examples=40)
@given(timestep=st.integers(0, 999), stride=st.integers(1, 1000), seed=st.integers(0, 99))
def test_a_move_has_any_length(timestep: int, stride: int, seed: int) -> None:
    own = DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, clip_sample=False, timestep_spacing="trailing"
    )
    route = Route.from_config(own.config)
    route.follow([Move(timestep, stride)])
    route.set_timesteps(1)
    sample, predicted = torch.randn((2, 1, 4, 4, 4), generator=torch.Generator().manual_seed(seed)).double()
    (after,) = route.step(predicted, route.timesteps[0], sample)
    a, to = route.alphas_cumprod.double()[timestep], timestep - stride
    b = route.alphas_cumprod.double()[to] if to >= 0 else torch.tensor(1.0).double()
    x0 = a.sqrt() * sample - (1 - a).sqrt() * predicted
    epsilon = a.sqrt() * predicted + (1 - a).sqrt() * sample
    torch.testing.assert_close(after, b.sqrt() * x0 + (1 - b).sqrt() * epsilon, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(route.predicted, x0, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(route.noise, epsilon, atol=2e-3, rtol=2e-3)


def test_ancestral_steps_from_noise_alone_are_numbers_whatever_their_length(house):
    """Nothing is left of the old noise there: what equation 12 has under its root is zero, up to rounding."""
    route = Route.from_config(house.pipeline.scheduler.config)
    sample, predicted, fresh = torch.randn((3, 1, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    for stride in range(1, 1001):
        route.follow([Move(999, stride)])
        route.set_timesteps(1)
        (after,) = route.step(predicted, route.timesteps[0], sample, eta=1.0, variance_noise=fresh)
        assert after.isfinite().all(), stride


def test_hooks_are_there_while_it_steps_and_gone_afterwards(house, meaning):
    own, seen = house.pipeline.scheduler, []
    before = hooks(house)
    watch = house.pipeline.unet.conv_out.register_forward_hook(lambda *_: seen.append(hooks(house)))
    try:
        Traveller(house).go(meaning, house.noise([1]), strides(2), GUIDANCE)
    finally:
        watch.remove()
    assert seen == [before + 2] * 2, "its own and the watch"
    assert hooks(house) == before
    assert house.pipeline.scheduler is own


def test_hooks_are_gone_and_the_scheduler_is_back_after_an_exception(house, meaning):
    def fail(*_: Any) -> None:
        raise ArithmeticError("in the middle of a forward pass")

    own, before = house.pipeline.scheduler, hooks(house)
    broken = house.pipeline.unet.mid_block.register_forward_hook(fail)
    try:
        with pytest.raises(ArithmeticError):
            Traveller(house).go(meaning, house.noise([1]), strides(2), GUIDANCE)
    finally:
        broken.remove()
    assert hooks(house) == before
    assert house.pipeline.scheduler is own
    Traveller(house).go(meaning, house.noise([1]), strides(2), GUIDANCE)


@pytest.mark.parametrize("kind", ["tiny_sd1", "tiny_sd2", "tiny_xl"])
def test_minds_of_every_kind_are_traced_alike(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    mind = open_mind(str(folder), device="cpu")
    meaning, noise = mind.meaning(["a dog"]), mind.noise([1])
    steps = Traveller(mind).go(meaning, noise, strides(4), 5.0)
    a = Traveller(mind).alphas
    before = noise
    for step in steps:
        now = a[step.timestep].sqrt() * step.x0 + (1 - a[step.timestep]).sqrt() * step.epsilon
        torch.testing.assert_close(now, before, atol=1e-3, rtol=1e-3)
        assert step.difference.any()
        before = step.latents
    again = Traveller(mind).go(meaning, noise, strides(4), 5.0)
    assert all(torch.equal(x.latents, y.latents) for x, y in zip(steps, again, strict=True))
