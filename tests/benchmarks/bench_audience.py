"""A listener's visit of 60 moments on one core, birth, ears and imports excluded."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.measure import Row


def rows() -> Iterator[Row]:
    os.environ["OMP_NUM_THREADS"] = "1"
    from studio.audience.visitor import invite
    from studio.words.artefact import Artefact
    from studio.words.tokens import tokens

    rate, seconds = 48_000, 30.0
    random = np.random.default_rng(0)
    pitch = np.repeat(220 * 2 ** (random.integers(0, 12, 120) / 12), int(seconds * rate) // 120)
    tone = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)
    pictures = random.integers(0, 255, (240, 36, 64, 3), dtype=np.uint8)
    artefact = Artefact(np.stack([tone, tone], axis=1).astype("float32"), rate, pictures, 8.0)
    began = time.process_time()
    heard = tokens(artefact)
    ears = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        listener = invite("listener", Path(folder))
        listener.visit(artefact, 0)  # birth and imports; the artefact keeps what its ears measured
        began = time.process_time()
        listener.visit(artefact, 0)
        spent = time.process_time() - began
    met = spent * 60 / len(heard) <= 6
    yield Row(
        f"a listener's visit of {len(heard)} moments", spent, "CPU s", "<= 6 for 60", met, "its ears and eyes", ears
    )
