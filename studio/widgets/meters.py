"""Peak meters in decibels: a bar, the highest peak of the last seconds as a mark and as a number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from studio.widgets.tones import tone

#: The bar's left end, in dBFS.
FLOOR = -60.0
#: Where the bar warns, and where it says that something is about to clip.
WARM, HOT = -12.0, -3.0
#: Seconds for which a peak is held, and decibels a second at which a bar falls.
HOLD, FALL = 1.5, 26.0
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def decibels(peak: float) -> float:
    """A linear peak (1 is full scale) in dBFS, at least `FLOOR`."""
    return max(20 * math.log10(peak), FLOOR) if peak > 0 and math.isfinite(peak) else FLOOR


class Peak:
    """What a meter shows of a stream of peaks: a level that falls slowly, and a held maximum."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.level = FLOOR
        self.held = FLOOR
        self._at = self._held_at = now()

    def hear(self, peak: float) -> None:
        """A new linear peak."""
        now, level = self._now(), decibels(peak)
        self.level = max(level, self.level - FALL * (now - self._at), FLOOR)
        self._at = now
        if level >= self.held or now - self._held_at > HOLD:
            self.held, self._held_at = level, now


def bar(level: float, held: float, width: int) -> str:
    """A level and a held peak, in dBFS, as `width` cells: eighths of a block, and a stroke for the peak."""
    eighths = round(max(level - FLOOR, 0) / -FLOOR * width * 8)
    full, rest = divmod(min(eighths, width * 8), 8)
    cells = list("█" * full + (_EIGHTHS[rest] if full < width else "") + " " * width)[:width]
    if held > FLOOR:
        at = min(int((held - FLOOR) / -FLOOR * width), width - 1)
        if at >= full:
            cells[at] = "▏" if at > full or not rest else cells[at]
    return "".join(cells)


class Meter(Widget):
    """The meter of a strip, or of the master.

    Parameters
    ----------
    label : str
        Stands before it.
    number : bool
        Whether the held peak is written after it.
    """

    DEFAULT_CSS = "Meter { height: 1; width: 1fr; min-width: 4; }"

    def __init__(self, label: str = "", number: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = label
        self._number = number
        self.peak = Peak()
        self._shown = ""

    def hear(self, peak: float) -> None:
        """A new linear peak; the widget is drawn again only where it looks different."""
        self.peak.hear(peak)
        if (text := self._text()) != self._shown:
            self._shown = text
            self.refresh()

    def _text(self) -> str:
        tail = ""
        if self._number:
            held = self.peak.held
            tail = " CLIP " if held >= 0 else f"{held:6.1f}" if held > FLOOR else "   -∞ "
        room = self.size.width - len(self._label) - len(tail)
        return f"{self._label}{bar(self.peak.level, self.peak.held, max(room, 1))}{tail}"

    def render_line(self, y: int) -> Strip:
        """The bar, its hot end in the colours of warning."""
        text, plain = self._text(), self.rich_style
        start, room = len(self._label), self.size.width - len(self._label) - (6 if self._number else 0)
        warm = start + round((WARM - FLOOR) / -FLOOR * room)
        hot = start + round((HOT - FLOOR) / -FLOOR * room)
        end = start + room
        ground = Style(bgcolor=tone(self, "meter-ground"))
        pieces = [
            (text[:start], Style()),
            (text[start:warm], ground + Style(color=tone(self, "meter-low"))),
            (text[warm:hot], ground + Style(color=tone(self, "meter-warm"))),
            (text[hot:end], ground + Style(color=tone(self, "meter-hot"))),
            (text[end:], Style(bold=self.peak.held >= HOT)),
        ]
        strip = Strip([Segment(part, plain + style) for part, style in pieces if part])
        return strip.adjust_cell_length(self.size.width, plain)
