"""Channels as lines of braille dots, one lane under the other: name, unit, what it spans, its value now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from studio.widgets.lines import Floats

#: Columns of the names to the left of the lines and of the values to the right of them.
LEFT, RIGHT = 22, 10
#: Rows of one lane, least and most.
LEAST, MOST = 2, 5


@dataclass(frozen=True)
class Lane:
    """One channel as it is drawn.

    Attributes
    ----------
    name, unit : str
    values : ndarray
        ``[n]``, the newest last; what is not finite leaves a gap.
    span : tuple of float
        What the lane's height stands for.
    """

    name: str
    unit: str
    values: Floats
    span: tuple[float, float]


def short(value: float, width: int = 8) -> str:
    """A number in few characters: 0.0251, 12.3, 1.2e-05."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.4g}"
    for digits in (3, 2, 1):
        if len(text) <= width:
            break
        text = f"{value:.{digits}g}"
    return text


class Plot(Widget, can_focus=True):
    """Lanes of channels; `show` takes them. Up and down move through those that do not fit."""

    DEFAULT_CSS = """
    Plot { width: 1fr; height: 1fr; color: $text; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lanes: Sequence[Lane] = ()
        self.first = 0
        self._strips: list[Strip] = []

    @property
    def fitting(self) -> int:
        """Lanes that fit."""
        return max(self.size.height // LEAST, 1)

    def show(self, lanes: Sequence[Lane]) -> None:
        """Draw these lanes from now on."""
        self.lanes = lanes
        self.first = min(self.first, max(len(lanes) - self.fitting, 0))
        self._draw()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())

    def on_resize(self) -> None:
        self._draw()

    def move(self, by: int) -> None:
        """Show lanes further down (or up)."""
        self.first = min(max(self.first + by, 0), max(len(self.lanes) - self.fitting, 0))
        self._draw()

    def key_down(self) -> None:
        self.move(1)

    def key_up(self) -> None:
        self.move(-1)

    def on_mouse_scroll_down(self) -> None:
        self.move(1)

    def on_mouse_scroll_up(self) -> None:
        self.move(-1)

    def colours(self) -> list[Style]:
        """A colour for each lane in turn, from the theme."""
        known = self.app.theme_variables
        return [Style(color=Color.parse(known[name])) for n in range(1, 9) if (name := f"channel-{n}") in known]

    def _draw(self) -> None:
        width, height = self.size
        shown = self.lanes[self.first : self.first + self.fitting]
        left = LEFT if width >= 60 else 14
        columns = width - left - RIGHT
        self._strips = []
        if columns >= 4 and shown:
            rows = min(max(height // len(shown), LEAST), MOST)
            colours = self.colours() or [Style()]
            for number, lane in enumerate(shown):
                style = colours[(self.first + number) % len(colours)]
                self._strips += self._lane(lane, style, left, columns, rows)
        self.refresh()

    def _lane(self, lane: Lane, style: Style, left: int, columns: int, rows: int) -> list[Strip]:
        from studio.widgets.lines import is_wide, line

        plain = self.rich_style
        dim = plain + Style(dim=True)
        drawn = line(lane.values, lane.span, columns, rows)
        value = short(float(lane.values[-1])) if len(lane.values) else ""
        low, high = lane.span
        edge = {0: short(high), rows - 1: short(low)}
        unit = " ".join(word for word in (lane.unit, "log" if is_wide(lane.span) else "") if word)
        strips = []
        for row, text in enumerate(drawn):
            name = _fit(lane.name, left - 1) if row == 0 else _fit(unit, left - 1) if row == 1 else " " * (left - 1)
            strips.append(
                Strip(
                    [
                        Segment(name + " ", plain + style if row == 0 else dim),
                        Segment(text, plain + style),
                        Segment(_fit(" " + (value if row == rows // 2 else ""), RIGHT), plain)
                        if row == rows // 2 and rows > 2
                        else Segment(_fit(" " + edge.get(row, ""), RIGHT), dim),
                    ],
                    left + columns + RIGHT,
                )
            )
        if rows == 2:  # no row is free for the value: it stands with the name
            strips[1] = Strip(
                [Segment(_fit(f"{value} {unit}", left - 1) + " ", plain), *list(strips[1])[1:]],
                left + columns + RIGHT,
            )
        return strips

    def render_line(self, y: int) -> Strip:
        """A row, exactly as wide as the widget."""
        if y < len(self._strips):
            return self._strips[y].adjust_cell_length(self.size.width, self.rich_style)
        return Strip.blank(self.size.width, self.rich_style)


def _fit(text: str, width: int) -> str:
    return text[: width - 1] + "…" if len(text) > width else text.ljust(width)
