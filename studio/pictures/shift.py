"""RGB shift: the colours of a picture drift apart as gradients grow, and come together where there is none.

After P. S. Castro, "Losses, Dissonances, and Distortions" (2021), part 3: each of the three colour planes is moved in
proportion to one partial gradient, so that at convergence they lie upon each other exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.pictures.canvas import Pixels

#: Pixels for a gradient of 1, and the most that a plane is moved.
REACH = 100.0


def shifted(image: Pixels, gradients: Sequence[float], reach: float = REACH) -> Pixels:
    """A picture whose planes are moved sideways, each by ``round(reach * gradient)`` pixels.

    Parameters
    ----------
    image : ndarray
        RGB, uint8 ``[height, width, 3]``.
    gradients : sequence of float
        Of red, green and blue; clipped to -1..1. Above 0 a plane goes to the right.
    reach : float
        Pixels for a gradient of 1.

    Returns
    -------
    ndarray
        Of the same shape. Where a plane has left it is dark. With gradients that round to no pixel it is the input,
        bit for bit.
    """
    width = image.shape[1]
    found = np.zeros_like(image)
    for plane, gradient in enumerate(gradients[:3]):
        by = int(np.clip(round(reach * min(max(float(gradient), -1.0), 1.0)), -width, width))
        to, of = slice(max(by, 0), width + min(by, 0)), slice(max(-by, 0), width - max(by, 0))
        found[:, to, plane] = image[:, of, plane]
    return found
