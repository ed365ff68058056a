"""How all minds sample.

Importing this module loads torch and diffusers: import it inside functions.
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler


class Sampler(DDIMScheduler):  # type: ignore[misc]
    """DDIM (Song et al. 2021), whose eta leads from deterministic to ancestral sampling, for any mind.

    From noise alone (Lin et al. 2024) with eta 1 all that is left of a step's noise is fresh: what remains for the old,
    equation 12's ``1 - a - sigma^2``, is zero, and by rounding less, whose root is no number. A millionth is kept back.
    """

    def _get_variance(self, timestep: int, prev_timestep: int) -> torch.Tensor:
        variance: torch.Tensor = super()._get_variance(timestep, prev_timestep)
        return variance * (1 - 1e-6)
