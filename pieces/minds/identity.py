"""Which mind it is: what the bits of its pictures follow from, beside what it is asked, the libraries and the machine.

Importing this module is cheap; torch comes with the mind.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pieces.minds.places import PARTS

if TYPE_CHECKING:
    from pieces.minds.concepts import Eye
    from pieces.minds.mind import Mind


def identity(mind: Mind, eye: Eye | None = None) -> dict[str, str]:
    """A mind, and the CLIP that looks at its pictures, in hashes and names.

    Returns
    -------
    dict of str to str
        ``weights`` (see `pieces.minds.surgery.fingerprint`), ``settings`` (of its parts, the scheduler and attention)
        and ``eye`` are SHA-256; ``device`` and ``precision`` are names.
    """
    import torch

    from pieces.minds.surgery import fingerprint

    device = mind.device
    return {
        "weights": fingerprint(mind.modules),
        "settings": _settings(mind.pipeline),
        **({"eye": _eye(eye)} if eye else {}),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": mind.precision,
    }


def _settings(pipeline: Any) -> str:
    parts = {name: part for name in (*PARTS, "scheduler") if (part := getattr(pipeline, name, None)) is not None}
    plain = {name: _public(part.config) for name, part in parts.items()}
    ways = sorted({type(way).__name__ for way in pipeline.unet.attn_processors.values()})
    return _hash([plain, ways])


def _public(config: Any) -> dict[str, Any]:
    """Settings without the libraries' own notes (where they were read from, and by which version)."""
    whole = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {name: value for name, value in whole.items() if not name.startswith("_") and name != "transformers_version"}


def _eye(eye: Eye) -> str:
    from pieces.minds.concepts import CONCEPTS
    from pieces.minds.surgery import fingerprint

    looks = [eye.mean.tolist(), eye.deviation.tolist(), eye.nothing, [list(eye.open(concept)) for concept in CONCEPTS]]
    return _hash([fingerprint({"": eye.model}), looks])


def _hash(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()
