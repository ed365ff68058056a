"""Inverse diffusion a step at a time, with everything that is there to be seen of each step.

Importing this module loads torch and diffusers: import it inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pieces.minds.memory import in_batches
from pieces.minds.mind import Meaning, Mind
from pieces.minds.sampler import Sampler


@dataclass(frozen=True)
class Step:
    """What one denoising step was.

    Attributes
    ----------
    timestep : int
        Noise level that it began at, 999 (noise alone) to 0.
    latents : Tensor
        After the step, ``[n, c, h, w]``.
    epsilon : Tensor
        The noise that was predicted, with guidance, ``[n, c, h, w]``.
    x0 : Tensor
        The clean latents that were predicted, ``[n, c, h, w]``.
    difference : Tensor
        What guidance acts on: conditional minus unconditional prediction, ``[n, c, h, w]``; 0 without guidance.
    """

    timestep: int
    latents: Tensor
    epsilon: Tensor
    x0: Tensor
    difference: Tensor


@dataclass(frozen=True)
class Move:
    """A step to be made.

    Attributes
    ----------
    timestep, stride : int
        Where it begins, and how many noise levels it goes down; below 0 it ends at the clean latents.
    generator : torch.Generator, optional
        Of its fresh noise, which it takes where eta is not 0.
    """

    timestep: int
    stride: int
    generator: torch.Generator | None = None


class Route(Sampler):
    """DDIM (Song et al. 2021, eq. 12 and 16) that makes given moves, and remembers what it predicted at the last."""

    predicted: Tensor
    noise: Tensor

    def follow(self, moves: Sequence[Move]) -> None:
        """The next run makes these."""
        self._moves, self._left = moves, iter(moves)

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Those of the moves; `num_inference_steps` is not asked."""
        self.num_inference_steps = 1
        self.timesteps = torch.tensor([move.timestep for move in self._moves], device=device)

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, eta: float = 0.0, **more: Any) -> Any:
        """The next move. Pipelines look for `eta` by name, and give none to a scheduler that does not say it."""
        move = next(self._left)
        # diffusers steps down by training levels // steps: so these are `stride` levels, gone in one step.
        self.register_to_config(num_train_timesteps=move.stride)
        more |= {"generator": move.generator, "return_dict": False}
        after, self.predicted = super().step(model_output, move.timestep, sample, eta, **more)
        a = float(self.alphas_cumprod[move.timestep])  # half precision has two bits of 1 - a at the last step
        wide = torch.promote_types(sample.dtype, torch.float32)
        self.noise = ((sample.to(wide) - a**0.5 * self.predicted.to(wide)) / (1 - a) ** 0.5).to(sample)
        return (after,)


class Traveller:
    """Makes steps with a mind's own pipeline and keeps what is there to be seen of them.

    Between runs the mind is as it was: its scheduler is back and no hook is left, also after an exception.

    Attributes
    ----------
    alphas : Tensor
        Cumulated signal power of every noise level (Ho et al. 2020), ``[levels]``.
    """

    def __init__(self, mind: Mind) -> None:
        self._mind = mind
        self._route = Route.from_config(mind.pipeline.scheduler.config)
        self.alphas: Tensor = self._route.alphas_cumprod

    def go(
        self, meaning: Meaning, latents: Tensor, moves: Sequence[Move], guidance: float, eta: float = 0.0
    ) -> list[Step]:
        """A step for each move, in one run of the pipeline.

        The predictions of both guidance halves are taken by a hook on the UNet, all else by ``callback_on_step_end``.

        Parameters
        ----------
        meaning, latents
            Of equal batch size.
        moves : sequence of Move
            At least one, each from where the last one ended.
        guidance : float
            Classifier-free guidance (Ho & Salimans 2022); 1 is none.
        eta : float
            Share of fresh noise (Song et al. 2021, eq. 16).
        """
        pipeline, route = self._mind.pipeline, self._route
        halves: list[Tensor] = []
        steps: list[Step] = []

        def seen(module: Any, given: Any, out: Any) -> None:
            halves[:] = out[0].chunk(2) if len(out[0]) == 2 * len(latents) else (out[0], out[0])

        def ended(_: Any, i: int, t: Any, kept: dict[str, Tensor]) -> dict[str, Tensor]:
            difference = halves[1] - halves[0]
            steps.append(Step(moves[i].timestep, kept["latents"], route.noise, route.predicted, difference))
            return kept

        own = pipeline.scheduler
        route.follow(moves)
        hook = pipeline.unet.register_forward_hook(seen)
        pipeline.scheduler = route
        try:
            with torch.inference_mode():
                pipeline(
                    **meaning.arguments(),
                    latents=latents,
                    **self._mind.sides(latents),
                    num_inference_steps=len(moves),
                    guidance_scale=guidance,
                    eta=eta,
                    output_type="latent",
                    callback_on_step_end=ended,
                )
        finally:
            pipeline.scheduler = own
            hook.remove()
        return steps

    def spread(self, meaning: Meaning, step: Step, guidance: float, draws: int, generator: torch.Generator) -> float:
        """How open the picture still is after a step: see `pieces.minds.denoising.Denoising`.

        Parameters
        ----------
        draws : int
            At least 2; `meaning` and `step` are of one picture.
        """
        level = step.timestep // 2
        a = float(self.alphas[level])
        noise = torch.randn((draws, *step.x0.shape[1:]), generator=generator).to(step.x0)
        noisy = a**0.5 * step.x0 + (1 - a) ** 0.5 * noise

        def predicted(rows: slice) -> Tensor:
            (again,) = self.go(meaning.repeated(len(noisy[rows])), noisy[rows], [Move(level, level + 1)], guidance)
            return again.x0

        x0 = torch.cat([found for _, found in in_batches(self._mind, draws, predicted, batch=draws)])
        return float((x0 - x0.mean(0)).float().square().mean().sqrt())
