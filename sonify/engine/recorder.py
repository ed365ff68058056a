"""What is played, written into a file by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from pieces.errors import DescantError


class RecorderError(DescantError):
    """A file that cannot be written."""


class Recorder:
    """A stereo float WAV that grows block by block, and is whole after each second even if the process dies.

    Raises
    ------
    RecorderError
        If the file cannot be made.
    """

    def __init__(self, path: Path, rate: int) -> None:
        import soundfile

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = soundfile.SoundFile(path, "w", rate, 2, "FLOAT", format="WAV")
        except (OSError, soundfile.LibsndfileError) as error:
            raise RecorderError(f"{path}: cannot be written: {error}: choose another place") from None
        self._rate, self._full = rate, False
        self._blocks: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def add(self, sides: Sequence[NDArray[np.float64]]) -> None:
        """Append a block, left and right. Never waits."""
        if not self._full:
            self._blocks.put(np.stack(sides, axis=1).astype(np.float32))

    def close(self) -> None:
        """End the file, soon."""
        self._blocks.put(None)

    def join(self) -> None:
        """Wait until the file is whole."""
        self._thread.join(5.0)

    def _write(self) -> None:
        import soundfile

        unsaved = 0
        with self._file as file:
            while (block := self._blocks.get()) is not None:
                try:
                    file.write(block)
                    if (unsaved := unsaved + len(block)) >= self._rate:
                        file.flush()
                        unsaved = 0
                except (OSError, soundfile.LibsndfileError):
                    self._full = True
                    return
