"""Where the performance is: bars and sections, what is recorded, the loop, the playhead; a click goes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from studio.widgets.tones import tone


@dataclass(frozen=True)
class Course:
    """What the timeline shows, in beats.

    Attributes
    ----------
    beat, end : float
        The playhead, and the live end.
    bar : int
        Beats a bar.
    sections : sequence
        Where each that was performed began, and its name.
    loop : tuple of float or None
    live : bool
        Whether the playhead is at the live end.
    """

    beat: float = 0.0
    end: float = 0.0
    bar: int = 4
    sections: Sequence[tuple[float, str]] = ()
    loop: tuple[float, float] | None = None
    live: bool = True


class Timeline(Widget, can_focus=True):
    """Two rows: sections and bars above, the recorded beats below. Drag to scrub, drag with Shift to loop."""

    DEFAULT_CSS = """
    Timeline { height: 2; width: 1fr; padding: 0 1; }
    Timeline:focus { background: $panel; }
    """

    class Sought(Message):
        """Someone wants the playhead at a beat."""

        def __init__(self, beat: float) -> None:
            super().__init__()
            self.beat = beat

    class Looped(Message):
        """Someone wants these beats repeated."""

        def __init__(self, beats: tuple[float, float]) -> None:
            super().__init__()
            self.beats = beats

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.course = Course()
        self._held: float | None = None
        self._shown: tuple[object, ...] = ()

    def show(self, course: Course) -> None:
        """Draw this from now on; nothing is done while it would look the same."""
        self.course = course
        seen = (self._column(course.beat), self._column(course.end), round(self.length), course.loop, course.live)
        if (seen, len(course.sections)) != self._shown:
            self._shown = (seen, len(course.sections))
            self.refresh()

    @property
    def length(self) -> float:
        """Beats that the width stands for: doubles whenever the recording has filled it."""
        length = 16.0 * self.course.bar
        while length < self.course.end:
            length *= 2
        return length

    def beat_at(self, x: int) -> float:
        """The beat at a column of the widget."""
        width = max(self.content_size.width, 1)
        return min(max((x - 1) / width, 0.0), 1.0) * self.length

    def _column(self, beat: float) -> int:
        width = max(self.content_size.width, 1)
        return min(max(int(beat / self.length * width), 0), width - 1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.capture_mouse()
        self._held = self.beat_at(event.x)
        if not event.shift:
            self.post_message(self.Sought(min(self._held, self.course.end)))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._held is None or self.app.mouse_captured is not self:
            return
        beat = min(self.beat_at(event.x), self.course.end)
        if event.shift:
            low, high = sorted((self._held, beat))
            if high - low >= 0.25:
                self.post_message(self.Looped((low, high)))
        else:
            self.post_message(self.Sought(beat))

    def on_mouse_up(self) -> None:
        self._held = None
        self.release_mouse()

    def render_line(self, y: int) -> Strip:
        """A row, exactly as wide as the widget."""
        width = self.content_size.width
        if width < 4:
            return Strip.blank(self.size.width, self.rich_style)
        strip = Strip(self._ruler(width) if y == 0 else self._band(width), width)
        return strip.adjust_cell_length(width, self.rich_style)

    def _ruler(self, width: int) -> list[Segment]:
        cells = [" "] * width
        bar = self.course.bar
        every = 1
        while self._column(every * bar) < 7:
            every *= 2
        for number in range(0, int(self.length / bar) + 1, every):
            at, text = self._column(number * bar), str(number + 1)
            if at + len(text) < width:
                self._write(cells, at, text)
        named = [False] * width
        for beat, name in self.course.sections:
            at = self._column(beat)
            label = f"▏{name} "
            self._write(cells, at, label)
            named[at : at + len(label)] = [True] * len(named[at : at + len(label)])
        dim, strong = self.rich_style + Style(dim=True), self.rich_style + Style(color=tone(self, "secondary"))
        return [Segment(c, strong if n else dim) for c, n in zip(cells, named, strict=True)]

    @staticmethod
    def _write(cells: list[str], at: int, text: str) -> None:
        for i, character in enumerate(text):
            if at + i < len(cells):
                cells[at + i] = character

    def _band(self, width: int) -> list[Segment]:
        course = self.course
        end, head = self._column(course.end), self._column(course.beat)
        loop = None if course.loop is None else (self._column(course.loop[0]), self._column(course.loop[1]))
        plain = self.rich_style
        recorded, ahead = Style(color=tone(self, "primary")), Style(dim=True)
        looped, playhead = Style(color=tone(self, "accent"), bold=True), Style(color=tone(self, "accent"), bold=True)
        found = []
        for x in range(width):
            sign, style = ("━", recorded) if x < end or (x == end and course.end > 0) else ("─", ahead)
            if loop is not None and loop[0] <= x <= loop[1]:
                sign, style = ("[" if x == loop[0] else "]" if x == loop[1] else "═"), looped
            if x == head:
                sign, style = ("●" if course.live else "◆"), playhead
            found.append(Segment(sign, plain + style))
        return found
