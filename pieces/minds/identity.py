"""Which mind it is: all that the bits of its pictures follow from, beside what it is asked.

Importing this module is cheap; torch comes with the mind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pieces.minds.concepts import Eye
    from pieces.minds.mind import Mind


def identity(mind: Mind, eye: Eye | None = None) -> dict[str, str]:
    """Weights of a mind (and of the CLIP that looks at its pictures), device, precision, and libraries.

    Returns
    -------
    dict of str to str
        ``weights`` and ``eye`` are SHA-256 (see `pieces.minds.surgery.fingerprint`), the others are names and versions.
    """
    import diffusers
    import torch

    from pieces.minds.surgery import fingerprint

    device = mind.device
    return {
        "weights": fingerprint(mind.modules),
        **({"eye": fingerprint({eye.nothing: eye.model})} if eye else {}),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(mind.dtype).removeprefix("torch."),
        "torch": str(torch.__version__),
        "diffusers": diffusers.__version__,
    }
