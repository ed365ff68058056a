"""Where things are kept, and what a performance depends on besides its seed."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Libraries whose version can change a signal or a sample.
LIBRARIES = ("descant", "numpy", "scipy", "scikit-learn", "torch", "transformers", "diffusers", "pyo")

#: What is nobody's to keep goes when it is older, in days, or where it needs more room, in GB.
SCRATCH_DAYS, SCRATCH_GB = 30.0, 10.0


def home() -> Path:
    """The data directory: archive, media, caches (``DESCANT_HOME`` moves it)."""
    if given := os.environ.get("DESCANT_HOME"):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("descant", appauthor=False))


def configuration() -> Path:
    """The folder of keymap, themes and settings: beside the archive where ``DESCANT_HOME`` is given."""
    if os.environ.get("DESCANT_HOME"):
        return home()
    import platformdirs

    return Path(platformdirs.user_config_dir("descant", appauthor=False))


def archive_place(given: str | None = None) -> str:
    """The archive's path or URL: `given`, else ``DESCANT_ARCHIVE``, else the one in the data directory."""
    return given or os.environ.get("DESCANT_ARCHIVE") or str(home() / "archive.db")


def threads() -> int:
    """Threads that a source may compute with (``DESCANT_THREADS``, default 1: sums in one order on any machine)."""
    given = os.environ.get("DESCANT_THREADS", "1")
    return int(given) if given.isdecimal() and int(given) > 0 else 1


@contextmanager
def limited(count: int) -> Iterator[None]:
    """Let numerical libraries use `count` threads: those that are loaded, and those that load meanwhile."""
    from threadpoolctl import threadpool_limits

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    if "torch" in sys.modules:
        import torch  # which waits where another thread is just loading it

        torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def versions() -> dict[str, str]:
    """Versions of the libraries that a take depends on."""
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def machine() -> dict[str, str]:
    """What of the platform may change a bit of the result."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
