"""The spectrogram of a sound file: time to the right, octaves upwards, two pixels a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studio.widgets.soundview import Grid, SoundView

#: Hertz that are named at the left edge.
_NAMED = {"10k": 10_000, "5k": 5_000, "1k": 1_000, "200": 200, "50": 50}


class Spectrogram(SoundView):
    """Draws the levels of a sound file's bands, from `spectra.FLOOR` dBFS to full scale."""

    path: Path | None = None
    sample_rate = 48_000

    def hear(self, path: Path, duration: float, sample_rate: int) -> None:
        """Show a sound, the whole of it."""
        self.path, self.sample_rate = path, sample_rate
        self.open(duration)

    def compute(self, start: float, end: float, columns: int, rows: int) -> NDArray[np.float32] | None:
        """Levels in dBFS, two rows a cell."""
        from studio.widgets.spectra import levels

        return levels(self.path, start, end, columns, 2 * rows) if self.path else None

    def draw(self, made: object, columns: int, rows: int) -> Grid:
        """Half blocks: the upper pixel in front, the lower one behind."""
        from studio.widgets.spectra import FLOOR, cividis, row_of

        assert isinstance(made, np.ndarray)
        colours = cividis(1 - made / FLOOR).astype(np.uint32)
        pixels = np.asarray(colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2], dtype=np.uint32)
        fore, back = pixels[0::2].copy(), pixels[1::2].copy()
        text = np.full(fore.shape, "▀")
        for label, hertz in _NAMED.items() if columns > 40 and rows >= 4 else ():
            row = row_of(hertz, 2 * rows, self.sample_rate) // 2
            if text[row, 1] == "▀":
                text[row, 1 : len(label) + 1] = list(label)
                fore[row, 1 : len(label) + 1], back[row, 1 : len(label) + 1] = 0xFFFFFF, 0x00224E
        return Grid(text, fore, back)
