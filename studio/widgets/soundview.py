"""A stretch of sound on the screen: zoom, pan, cursor, selection and playhead; what is drawn is up to its kinds."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.actions import SkipAction
from textual.binding import BindingType
from textual.color import Color
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from pieces.errors import DescantError
from studio.widgets.keys import bindings

#: Shortest stretch that can be shown, in seconds, and how far a step of zoom goes.
SHORTEST, ZOOM = 0.005, 1.6
#: Share of the visible stretch that a step of panning goes.
PAN = 0.2
#: Stands for the widget's own background in a grid.
NONE = 0xFFFFFFFF

Colours = NDArray[np.uint32]


@dataclass(frozen=True)
class Grid:
    """Cells: a character each ``[rows, columns]``, and 0xRRGGBB of it and of what is behind it (or `NONE`)."""

    text: NDArray[np.str_]
    fore: Colours
    back: Colours


def packed(colour: Color) -> int:
    """0xRRGGBB."""
    return colour.r << 16 | colour.g << 8 | colour.b


@lru_cache(maxsize=16384)
def _style(fore: int, back: int) -> Style:
    def colour(rgb: int) -> RichColor:
        return RichColor.from_rgb(rgb >> 16, rgb >> 8 & 255, rgb & 255)

    return Style(color=colour(fore), bgcolor=colour(back))


def clock(seconds: float, step: float = 1.0) -> str:
    """``1:05``, or as many decimals as steps of `step` seconds need."""
    digits = max(0, math.ceil(-math.log10(step) - 1e-9)) if step < 1 else 0
    whole = round(seconds, digits)
    minutes = int(whole // 60)
    rest = f"{whole - 60 * minutes:0{3 + digits if digits else 2}.{digits}f}"
    return f"{minutes}:{rest}"


def ticks(start: float, end: float, columns: int) -> tuple[float, list[float]]:
    """A round step in seconds that leaves room for its labels, and its multiples in a stretch."""
    least = (end - start) * 10 / max(columns, 1)
    decade = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    rounds = (1, 2, 5, 10) if least < 1 else (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
    step = next(
        (r * (decade if least < 1 else 1.0) for r in rounds if r * (decade if least < 1 else 1) >= least), 7200.0
    )
    first = math.ceil(start / step - 1e-9)
    return step, [k * step for k in range(first, math.floor(end / step + 1e-9) + 1)]


class SoundView(Widget, can_focus=True):
    """Shows `start` to `end` seconds of a sound that is `duration` long.

    Time goes from left to right over the whole width; the last line is an axis. Heavy work is done beside the event
    loop (`compute`); meanwhile the former picture stays.
    """

    DEFAULT_CSS = """
    SoundView {
        height: 1fr; min-height: 3; width: 1fr; color: $text-muted; background: $surface;
        & > .soundview--core { color: $secondary; }
        & > .soundview--selection { background: $accent 22%; }
        & > .soundview--cursor { color: $warning; }
        & > .soundview--playhead { color: $success; }
        & > .soundview--axis { color: $text-muted; }
        &:focus > .soundview--axis { color: $text; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"soundview--{name}" for name in ("core", "selection", "cursor", "playhead", "axis")
    }
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("sound")]
    #: Where its actions stand in the table of actions, and what help says of it.
    PLACE = "sound"
    ABOUT = (
        "the sound of a take",
        "Waveform: from the lowest to the highest sample, the stronger colour is the root mean square; the number says "
        "what the top of the picture is. Spectrogram: octaves upwards, yellow is loud. The wheel or + and - zoom, a "
        "drag or Shift and the arrows select, a click puts the cursor; Space plays from there, or the selection again "
        "and again; c makes a take or a sound file of it.",
    )

    playhead: reactive[float | None] = reactive(None)

    class Moved(Message):
        """Another stretch is shown, or another one is selected, or the cursor is elsewhere."""

        def __init__(self, view: SoundView) -> None:
            super().__init__()
            self.view = view

        @property
        def control(self) -> SoundView:
            """Who."""
            return self.view

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.duration = 0.0
        self.start, self.end, self.cursor = 0.0, 0.0, 0.0
        self.selection: tuple[float, float] | None = None
        self.said = ""
        self._anchor: float | None = None
        self._grid: Grid | None = None
        self._wanted: tuple[float, float, int, int] | None = None
        self._busy = False
        self._strips: list[Strip] = []

    # What its kinds do

    def compute(self, start: float, end: float, columns: int, rows: int) -> object:
        """What is to be drawn of a stretch; runs in a thread of its own."""
        raise NotImplementedError

    def draw(self, made: object, columns: int, rows: int) -> Grid:
        """The cells of what `compute` gave, in the colours of now."""
        raise NotImplementedError

    # What is shown

    def open(self, duration: float) -> None:
        """Show the whole of another sound; nothing of 0 seconds."""
        self.duration, self.start, self.end, self.cursor = duration, 0.0, duration, 0.0
        self.selection = self._anchor = self._made = None
        self.said = ""
        self._grid = None
        self.look_again()

    def say(self, text: str) -> None:
        """Show a line in place of a picture."""
        self.open(0.0)
        self.said = text
        self.refresh()

    def match(self, other: SoundView) -> None:
        """Show the same stretch, selection and cursor as another one."""
        if (self.duration, self.start, self.end) != (other.duration, other.start, other.end):
            self.duration, self.start, self.end = other.duration, other.start, other.end
            self.look_again()
        self.selection, self.cursor = other.selection, other.cursor
        self._restyle()

    @property
    def body(self) -> tuple[int, int]:
        """Columns and rows of the picture."""
        return self.size.width, max(self.size.height - 1, 0)

    _made: object | None = None

    def look_again(self) -> None:
        """Compute what is to be seen now."""
        columns, rows = self.body
        self._restyle()
        if not columns or not rows or self.duration <= 0:
            return
        self._wanted = (self.start, self.end, columns, rows)
        if not self._busy:
            self._busy = True
            self.run_worker(self._keep_up(), group="look", exit_on_error=False)

    async def _keep_up(self) -> None:
        """One computation at a time, always of what is wanted last."""
        try:
            while self._wanted is not None:
                wanted, self._wanted = self._wanted, None
                try:
                    self._made = await asyncio.to_thread(self.compute, *wanted)
                except DescantError as error:
                    self.say(str(error))
                else:
                    self._redraw()
        finally:
            self._busy = False

    def _redraw(self) -> None:
        columns, rows = self.body
        if self._made is not None and columns and rows and self._wanted is None:
            self._grid = self.draw(self._made, columns, rows)
            self._restyle()

    def _restyle(self) -> None:
        self._strips = []
        self.refresh()

    @property
    def settled(self) -> bool:
        """Nothing is being computed."""
        return not self._busy

    def notify_style_update(self) -> None:
        """Colours have changed with the theme."""
        super().notify_style_update()
        if self.is_mounted:
            self._redraw()

    def on_resize(self) -> None:
        """Another number of columns."""
        self.look_again()

    def watch_playhead(self) -> None:
        """Only lines that are drawn already are drawn again."""
        self._restyle()

    # Places

    def column(self, seconds: float) -> int:
        """The column in which a moment lies; outside the width where it is not shown."""
        span = self.end - self.start
        return math.floor((seconds - self.start) / span * self.size.width + 1e-9) if span > 0 else -1

    def seconds(self, column: float) -> float:
        """The moment at which a column begins, in the sound."""
        at = self.start + column / max(self.size.width, 1) * (self.end - self.start)
        return min(max(at, 0.0), self.duration)

    def show(self, start: float, end: float) -> None:
        """Show a stretch, moved and cut to fit the sound."""
        span = min(max(end - start, SHORTEST), self.duration)
        start = min(max(start, 0.0), self.duration - span)
        if (start, start + span) != (self.start, self.end) and self.duration > 0:
            self.start, self.end = start, start + span
            self.look_again()
            self.post_message(self.Moved(self))

    def zoom(self, steps: float, at: float | None = None) -> None:
        """Zoom in, or out with steps below 0, around a moment (default: the cursor, where it is seen)."""
        if at is None:
            at = self.cursor if self.start <= self.cursor <= self.end else (self.start + self.end) / 2
        less = ZOOM**-steps
        self.show(at - (at - self.start) * less, at + (self.end - at) * less)

    def select(self, start: float, end: float) -> None:
        """Select a stretch; none where it is empty."""
        low, high = sorted((min(max(start, 0.0), self.duration), min(max(end, 0.0), self.duration)))
        self.selection = (low, high) if high > low else None
        self._restyle()
        self.post_message(self.Moved(self))

    def place(self, seconds: float, extend: bool = False) -> None:
        """Put the cursor somewhere; the selection grows from where it was, or is given up."""
        before, self.cursor = self.cursor, min(max(seconds, 0.0), self.duration)
        if extend:
            self._anchor = before if self._anchor is None or self.selection is None else self._anchor
            self.select(self._anchor, self.cursor)
        else:
            self._anchor = None
            self.selection = None
        if not self.start <= self.cursor <= self.end:
            span = self.end - self.start
            self.show(self.cursor - span / 2, self.cursor + span / 2)
        self._restyle()
        self.post_message(self.Moved(self))

    # Keys and mouse

    def action_zoom_in(self) -> None:
        """Zoom in around the cursor."""
        self.zoom(1)

    def action_zoom_out(self) -> None:
        """Zoom out."""
        self.zoom(-1)

    def action_zoom_all(self) -> None:
        """Show the whole sound."""
        self.show(0.0, self.duration)

    def action_zoom_selection(self) -> None:
        """Show what is selected."""
        if self.selection:
            self.show(*self.selection)

    def _move(self, columns: int, extend: bool = False) -> None:
        self.place(self.cursor + columns * (self.end - self.start) / max(self.size.width, 1), extend)

    def action_cursor_left(self) -> None:
        """The cursor, a column to the left."""
        self._move(-1)

    def action_cursor_right(self) -> None:
        """The cursor, a column to the right."""
        self._move(1)

    def action_far_left(self) -> None:
        """The cursor, ten columns to the left."""
        self._move(-10)

    def action_far_right(self) -> None:
        """The cursor, ten columns to the right."""
        self._move(10)

    def action_select_left(self) -> None:
        """Select a column more to the left."""
        self._move(-1, extend=True)

    def action_select_right(self) -> None:
        """Select a column more to the right."""
        self._move(1, extend=True)

    def action_to_start(self) -> None:
        """The cursor, to the beginning."""
        self.place(0.0)

    def action_to_end(self) -> None:
        """The cursor, to the end."""
        self.place(self.duration)

    def _pan(self, steps: int) -> None:
        far = steps * PAN * (self.end - self.start)
        self.show(self.start + far, self.end + far)

    def action_pan_left(self) -> None:
        """Show what is earlier."""
        self._pan(-1)

    def action_pan_right(self) -> None:
        """Show what is later."""
        self._pan(1)

    def action_unselect(self) -> None:
        """Select nothing."""
        if self.selection is None:
            raise SkipAction
        self._anchor = None
        self.select(0.0, 0.0)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out, with shift pan."""
        self._wheel(event, -1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in, with shift pan."""
        self._wheel(event, 1)

    def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        event.stop()
        if event.shift or event.ctrl:
            self._pan(-direction)
        else:
            self.zoom(direction, self.seconds(event.x))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Place the cursor, and begin a selection (with shift: go on with the one there is)."""
        if self.duration <= 0:
            return
        self.place(self.seconds(event.x), extend=event.shift)
        if not event.shift:
            self._anchor = self.cursor
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Select while the button is held."""
        if self.app.mouse_captured is self and event.button and self._anchor is not None:
            self.cursor = self.seconds(event.x + (event.x >= self.column(self._anchor)))
            self.select(self._anchor, self.cursor)

    def on_mouse_up(self) -> None:
        """The selection stands."""
        self.release_mouse()

    # Drawing

    def colour(self, name: str) -> Color:
        """Text colour of a component."""
        return self.get_component_styles(f"soundview--{name}").color

    def render_line(self, y: int) -> Strip:
        """One line of the picture, or the axis."""
        if not self._strips:
            self._strips = self._build()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _build(self) -> list[Strip]:
        columns, rows = self.body
        if self._grid is None or self._grid.text.shape != (rows, columns) or self.duration <= 0:
            line = self.said[:columns].center(columns)
            lines = [Strip([Segment(line if y == rows // 2 else " " * columns, self.rich_style)]) for y in range(rows)]
            return [*lines, self._axis(columns)] if self.duration > 0 else lines
        behind = packed(self.background_colors[1])
        fore, back = self._grid.fore.copy(), np.where(self._grid.back == NONE, behind, self._grid.back)
        fore = np.where(fore == NONE, behind, fore)
        text = self._grid.text.copy()
        self._mark_selection(text, fore, back)
        for name, moment in (("cursor", self.cursor), ("playhead", self.playhead)):
            at = -1 if moment is None else min(self.column(moment), columns - (moment == self.end))
            if 0 <= at < columns:
                text[:, at], fore[:, at] = "┃" if name == "playhead" else "│", packed(self.colour(name))
        strips = [_strip("".join(t), f, b) for t, f, b in zip(text.tolist(), fore.tolist(), back.tolist(), strict=True)]
        return [*strips, self._axis(columns)]

    def _mark_selection(self, text: NDArray[np.str_], fore: Colours, back: Colours) -> None:
        if self.selection is None:
            return
        assert self._grid is not None
        columns = text.shape[1]
        first = max(self.column(self.selection[0]), 0)
        last = min(max(math.ceil(self._exact(self.selection[1])), first + 1), columns)
        chosen = np.zeros(columns, dtype=bool)
        chosen[first:last] = True
        own = self._grid.back == NONE
        tint = self.get_component_styles("soundview--selection").background
        behind = packed(self.background_colors[1].blend(tint.with_alpha(1.0), tint.a))
        back[own & chosen] = behind
        fore[(self._grid.fore == NONE) & chosen] = behind
        if not own.any():  # a picture covers the background: what is not selected steps back
            back[:, ~chosen], fore[:, ~chosen] = _dimmed(back[:, ~chosen]), _dimmed(fore[:, ~chosen])

    def _exact(self, seconds: float) -> float:
        span = self.end - self.start
        return round((seconds - self.start) / span * self.size.width, 6) if span > 0 else 0.0

    def _axis(self, columns: int) -> Strip:
        line = [" "] * columns
        step, found = ticks(self.start, self.end, columns)
        for moment in found:
            at = self.column(moment)
            label = "╵" + clock(moment, step)
            if at >= 0 and at + len(label) <= columns:
                line[at : at + len(label)] = label
        style = self.get_component_rich_style("soundview--axis")
        return Strip([Segment("".join(line), style)])


def _dimmed(colours: Colours) -> Colours:
    return np.asarray((colours >> 1) & 0x7F7F7F, dtype=np.uint32)


def _strip(text: str, fore: list[int], back: list[int]) -> Strip:
    """Cells of one line, runs of the same colours in one segment."""
    segments, begun = [], 0
    for x in range(1, len(text) + 1):
        if x == len(text) or fore[x] != fore[begun] or back[x] != back[begun]:
            segments.append(Segment(text[begun:x], _style(fore[begun], back[begun])))
            begun = x
    return Strip(segments, len(text))
