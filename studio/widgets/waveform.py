"""The waveform of a sound file: its peaks, and in them its power."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studio.widgets.peaks import Columns, Peaks
from studio.widgets.soundview import NONE, Grid, SoundView, packed

#: Blocks that fill a cell from below, by eighths.
_EIGHTHS = np.array(list(" ▁▂▃▄▅▆▇█"))
#: Rows from which on each channel has a lane of its own, and how far a quiet sound is enlarged at most.
_LANES, _LARGEST = 10, 10.0
#: How much of the colour of the power the peaks have.
_PALE = 0.5


class Waveform(SoundView):
    """Draws `peaks` to an eighth of a row: from lowest to highest sample, and brighter the root mean square.

    The loudest sample of the sound fills the height (up to 20 dB are made up for); the label says where the top is.
    """

    peaks: Peaks | None = None
    _scale = 1.0

    def hear(self, peaks: Peaks) -> None:
        """Show a sound, the whole of it."""
        self.peaks = peaks
        self._scale = min(1 / max(peaks.highest, 1e-9), _LARGEST)
        self.open(peaks.duration)

    def compute(self, start: float, end: float, columns: int, rows: int) -> Columns | None:
        """Peaks of every column."""
        return self.peaks.columns(start, end, columns) if self.peaks else None

    def draw(self, made: object, columns: int, rows: int) -> Grid:
        """A lane for each channel where there is room, else all in one."""
        assert isinstance(made, Columns)
        channels = made.low.shape[0]
        if rows < _LANES or channels > rows // 3:
            made = Columns(made.low.min(0)[None], made.high.max(0)[None], np.sqrt(np.square(made.rms).mean(0))[None])
            channels = 1
        height = rows // channels
        core = self.colour("core")
        peak = self.background_colors[1].blend(core, _PALE)
        scale = np.float32(self._scale)
        low, high, rms = (scale * found for found in (made.low, made.high, made.rms))
        lanes = [lane(low[k], high[k], rms[k], height) for k in range(channels)]
        rest = rows - height * channels
        text = np.concatenate([found[0] for found in lanes] + [np.full((rest, made.low.shape[1]), " ")])
        kinds = [
            np.concatenate([found[k] for found in lanes] + [np.zeros((rest, made.low.shape[1]), int)]) for k in (1, 2)
        ]
        table = np.array([NONE, packed(peak), packed(core)], dtype=np.uint32)
        top = f"{-20 * np.log10(self._scale):.1f} dB" if self._scale != 1 else "0 dB"
        for k, name in enumerate(("L ", "R ") if channels == 2 else ("",)):
            label = list(f"{name}{top if k == 0 else ''}".rstrip())[: columns - 1]
            text[k * height, 1 : len(label) + 1], kinds[0][k * height, 1 : len(label) + 1] = label, 2
            kinds[1][k * height, 1 : len(label) + 1] = 0
        return Grid(text, table[kinds[0]], table[kinds[1]])


def lane(
    low: NDArray[np.float32], high: NDArray[np.float32], rms: NDArray[np.float32], rows: int
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    """Cells of one channel, full scale over the whole height: characters, and what is in front and behind.

    Parameters
    ----------
    low, high, rms : ndarray
        ``[columns]`` in -1..1.
    rows : int

    Returns
    -------
    text, fore, back : ndarray
        ``[rows, columns]``; 0 is the background, 1 the peak, 2 the root mean square.
    """
    high, low = np.array(high), np.array(low)
    # Neighbours that do not overlap are joined, so that a line has no gaps.
    low[1:] = np.minimum(low[1:], high[:-1])
    high[1:] = np.maximum(high[1:], low[:-1])

    def place(value: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.clip(np.round((1 - value) / 2 * 8 * rows), 0, 8 * rows).astype(np.int64)

    top, bottom = place(high), place(low)
    core_top, core_bottom = np.maximum(place(rms), top), np.minimum(place(-rms), bottom)
    first = np.arange(rows)[:, None] * 8  # eighths above a row

    def within(edge: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(np.clip(edge - first, 0, 8), dtype=np.int64)

    a, b, ca, cb = within(top), within(bottom), within(core_top), within(core_bottom)
    filled, core = b - a, np.maximum(cb - ca, 0)
    text = np.full(a.shape, " ")
    fore, back = np.zeros(a.shape, int), np.zeros(a.shape, int)
    inner = np.where(core > filled / 2, 2, 1)
    whole = filled == 8
    text[whole], fore[whole] = "█", inner[whole]
    rising = (filled > 0) & ~whole & (b == 8)  # the upper edge: filled from below
    text[rising], fore[rising] = _EIGHTHS[filled[rising]], inner[rising]
    falling = (filled > 0) & ~whole & (a == 0) & (b < 8)  # the lower edge: the background from below
    text[falling], fore[falling], back[falling] = _EIGHTHS[8 - filled[falling]], 0, inner[falling]
    _thin(text, fore, a, b, first, top, bottom, inner)
    up, down = whole & (core > 0) & (core < 8) & (cb == 8), whole & (core > 0) & (core < 8) & (ca == 0) & (cb < 8)
    text[up], fore[up], back[up] = _EIGHTHS[core[up]], 2, 1
    text[down], fore[down], back[down] = _EIGHTHS[8 - core[down]], 1, 2
    return text, fore, back


def _thin(
    text: NDArray[np.str_],
    fore: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    first: NDArray[np.int64],
    top: NDArray[np.int64],
    bottom: NDArray[np.int64],
    inner: NDArray[np.int64],
) -> None:
    """What lies inside one cell, up to silence, is a line in its upper, middle or lower third."""
    silent = (top == bottom) & (np.minimum(top, first.max() + 7) // 8 * 8 == first)
    inside = ((a > 0) & (b < 8) & (b > a)) | silent
    middle, thick = (a + b) / 2, (b - a) > 3
    for mask, thin, bold in ((middle < 2.7, "▔", "▀"), (middle > 5.3, "▁", "▄"), (abs(middle - 4) <= 1.3, "─", "━")):
        text[inside & mask & ~thick], text[inside & mask & thick] = thin, bold
    text[inside & (b - a > 5)] = "█"
    fore[inside] = inner[inside]
