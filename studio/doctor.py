"""What works on this machine, and what does not."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pieces.errors import DescantError
from studio import config

#: Asked in a process of its own: pyo writes to the terminal while it looks.
_DEVICES = "import pyo; print(max(pyo.pa_count_devices(), 0), pyo.pa_get_default_output())"


def examine(archive: str | None) -> list[dict[str, Any]]:
    """Findings as rows ``{"ok": "yes" | "no" | "-", "what", "found"}``; ``-`` marks what is missing but not needed."""
    checks: dict[str, Callable[[str | None], tuple[str, str]]] = {
        "python": lambda _: ("yes" if sys.version_info >= (3, 11) else "no", sys.version.split()[0]),
        "libraries": _libraries,
        "archive": _archive,
        "disk": _disk,
        "sound device": _sound,
        "jack": lambda _: _program("jackd"),
        "video": _video,
        "gpu": _gpu,
        "house mind": _mind,
        "threads": lambda _: ("yes", f"{config.threads()} of {os.cpu_count()} (DESCANT_THREADS)"),
    }
    return [dict(zip(("ok", "what", "found"), (c[0], what, c[1]), strict=True)) for what, c in _run(checks, archive)]


def _run(checks: dict[str, Callable[[str | None], tuple[str, str]]], archive: str | None) -> Any:
    for what, check in checks.items():
        try:
            yield what, check(archive)
        except (DescantError, OSError, ImportError, subprocess.SubprocessError) as error:
            yield what, ("no", " ".join(str(error).split()))


def _libraries(_: str | None) -> tuple[str, str]:
    for name in ("numpy", "scipy", "sklearn", "sqlalchemy", "soundfile", "torch", "transformers", "diffusers"):
        importlib.import_module(name)
    found = config.versions()
    return "yes", ", ".join(f"{n} {v}" for n, v in found.items())


def _mind(_: str | None) -> tuple[str, str]:
    from pieces.minds.mind import find_mind, shape_of

    place = find_mind("house")
    return "yes", f"{place}, pictures of {' x '.join(str(side) for side in shape_of(place)[1])}"


def _archive(given: str | None) -> tuple[str, str]:
    from db.archive import Archive

    place = config.archive_place(given)
    with Archive.open(place) as archive:
        takes = archive.takes(limit=1)
    return "yes", f"{place}" + (f", newest take {takes[0].created}" if takes else ", empty")


def _disk(given: str | None) -> tuple[str, str]:
    place = config.archive_place(given)
    folder = config.home() if "://" in place else Path(place).expanduser().absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    return ("yes" if free > 1 else "no"), f"{free:.1f} GB free at {folder}"


def _sound(_: str | None) -> tuple[str, str]:
    environment = {**os.environ, "PYO_GUI_WX": "0"}
    asked = subprocess.run(
        [sys.executable, "-c", _DEVICES], capture_output=True, text=True, timeout=30, env=environment, check=True
    )
    devices, default = (int(n) for n in asked.stdout.split()[-2:])
    if devices < 1 or default < 0:
        return "-", "none: everything but play works, and files are written as ever"
    return "yes", f"{devices} devices"


def _program(name: str) -> tuple[str, str]:
    found = shutil.which(name)
    return ("yes", found) if found else ("-", f"{name} is not installed; only play --backend jack needs it")


def _video(_: str | None) -> tuple[str, str]:
    import av

    from studio.export import ENCODERS

    encoders = [n for n in ENCODERS if n in av.codecs_available]
    return ("yes", f"PyAV {av.__version__}, {encoders[0]}") if encoders else ("no", "no video encoder in PyAV")


def _gpu(_: str | None) -> tuple[str, str]:
    import torch

    if torch.cuda.is_available():
        return "yes", str(torch.cuda.get_device_name(0))
    return "-", f"none (torch {torch.__version__}); everything works without"
