"""A control as a line: name, a bar over its range, its value; turned by keys, wheel, drag and typing."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from pieces.errors import ControlError
from studio.widgets.keys import bindings
from studio.widgets.plot import short
from studio.widgets.tones import tone

if TYPE_CHECKING:
    from pieces.signals import Control, Value

#: Share of the range that one turn is, and a fine one.
TURN, FINE = 0.02, 0.002


def place(control: Control, value: Value) -> float:
    """Where a value stands in its control's range, 0..1, equal steps in its shape."""
    if control.choices:
        return control.choices.index(str(value)) / max(len(control.choices) - 1, 1)
    assert control.range is not None
    low, high = control.range
    number = min(max(float(value), low), high)
    if control.shape == "log" and low > 0:
        return math.log(number / low) / math.log(high / low)
    return (number - low) / (high - low)


def turned(control: Control, value: Value, by: float) -> Value:
    """The value after a turn by a share of the range: at least one step of a whole number or a choice."""
    if control.choices:
        at = control.choices.index(str(value)) + (1 if by > 0 else -1)
        return control.choices[at % len(control.choices)]
    found = control.value(min(max(place(control, value) + by, 0.0), 1.0))
    assert control.range is not None
    if isinstance(control.default, int) and found == value:
        low, high = control.range
        return round(min(max(value + math.copysign(1, by), low), high))  # type: ignore[operator]
    return found if isinstance(found, int) else float(f"{found:.6g}")


class Knob(Widget, can_focus=True):
    """One control.

    Parameters
    ----------
    part : str
    control : Control
    value : float, int or str
        What it is now.
    label : str, optional
        What stands before the bar; default: the control's name.
    """

    DEFAULT_CSS = """
    Knob { height: auto; width: 1fr; padding: 0 1; }
    Knob:focus { background: $panel; text-style: bold; }
    """
    BINDINGS = bindings("control")

    class Turned(Message):
        """Someone turned it: `value` is allowed, and not set yet."""

        def __init__(self, knob: Knob, value: Value) -> None:
            super().__init__()
            self.knob, self.value = knob, value

    def __init__(self, part: str, control: Control, value: Value, label: str | None = None) -> None:
        super().__init__()
        self.part, self.declared = part, control
        self.value = value
        self.label = label or control.name
        #: What is being typed; None while nothing is.
        self.typed: str | None = None
        self.error = ""
        self.tooltip = control.about

    def show(self, value: Value) -> None:
        """The value, whoever turned it."""
        if value != self.value:
            self.value = value
            self.refresh()

    def fail(self, line: str) -> None:
        """Say under it why a value was not taken."""
        self.error = line
        self.refresh(layout=True)

    def _ask(self, value: Value) -> None:
        if not self.declared.live:
            self.fail("read once, at the first tick: edit the piece and begin again")
            return
        try:
            allowed = self.declared.check(value)
        except ControlError:
            self.fail(f"{str(value)[:20]}: {self._allowed()}")
            return
        if self.error:
            self.fail("")
        if allowed != self.value:
            self.show(allowed)
            self.post_message(self.Turned(self, allowed))

    def turn(self, by: float) -> None:
        """Turn by a share of the range."""
        self._end_typing()
        self._ask(turned(self.declared, self.value, by))

    def action_more(self) -> None:
        self.turn(TURN)

    def action_less(self) -> None:
        self.turn(-TURN)

    def action_reset(self) -> None:
        if self.typed is not None:
            self.typed = self.typed[:-1]
            self.refresh()
        else:
            self._ask(self.declared.default)

    def action_enter_value(self) -> None:
        if self.typed is None and self.declared.choices:
            self.turn(TURN)
        elif self.typed is None:
            self.typed = ""
        else:
            typed, self.typed = self.typed, None
            if typed:
                self._ask(_number(typed))
        self.refresh()

    def _end_typing(self) -> None:
        if self.typed is not None:
            self.typed = None
            self.refresh()

    def _allowed(self) -> str:
        """What can be typed, in a few words: the line is as narrow as the desk, and the name stands above."""
        control = self.declared
        assert control.range is not None  # nothing is typed where there are choices
        whole = "whole numbers " if isinstance(control.default, int) else ""
        return f"allowed are {whole}{control.range[0]:g} to {control.range[1]:g} {control.unit}".rstrip()

    def on_blur(self) -> None:
        self._end_typing()
        if self.error:
            self.fail("")

    def on_key(self, event: events.Key) -> None:
        if event.key in ("shift+right", "shift+left"):
            self.turn(FINE if event.key == "shift+right" else -FINE)
        elif event.key == "escape" and self.typed is not None:
            self._end_typing()
            self.fail("")
        elif self.check_consume_key(event.key, event.character):
            self._type(event.character or "")
        else:
            return
        event.stop()
        event.prevent_default()

    def _type(self, character: str) -> None:
        if character.isdigit() or character in "+-.eE":
            self.typed = (self.typed or "") + character
            self.refresh()
        else:
            self.fail(f"a number, please: {self._allowed()}")

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """While a value is typed no character is a command: a slip must not throw a recording away."""
        if not character or not character.isprintable() or self.declared.choices:
            return False
        return self.typed is not None or character.isdigit() or character == "-"

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.turn(FINE if event.shift else TURN)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.turn(-FINE if event.shift else -TURN)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        start, width = self._bar()
        if start <= event.x - 1 < start + width and event.y == 0:
            self.capture_mouse()
            self._drag(event.x - 1)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._drag(event.x - 1)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def _drag(self, x: int) -> None:
        start, width = self._bar()
        u = min(max((x - start) / max(width - 1, 1), 0.0), 1.0)
        if self.declared.choices:
            self._ask(self.declared.choices[round(u * (len(self.declared.choices) - 1))])
        else:
            value = self.declared.value(u)
            self._ask(value if isinstance(value, int) else float(f"{value:.4g}"))

    def _bar(self) -> tuple[int, int]:
        """Where the bar begins, and how wide it is, in columns of the content."""
        width = self.content_size.width
        name = min(20 if width >= 44 else 14, max(width - 16, 4))
        return name + 1, max(width - name - 14, 4)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """One row, and those of an error."""
        return 1 + len(self._said(width))

    def _said(self, width: int) -> list[str]:
        """What was wrong with a value, in lines."""
        return textwrap.wrap(f"! {self.error}", max(width, 8), subsequent_indent="  ")[:3] if self.error else []

    def render(self) -> Text:
        """The control, and under it what was wrong with a value."""
        start, width = self._bar()
        typing = self.typed is not None
        if self.declared.choices and not typing:
            return self._choice(start, width)
        shown = f"{self.typed}▏" if typing else self._value()
        full = round(place(self.declared, self.value) * (width - 1))
        text = Text(no_wrap=True, overflow="crop")
        text.append(_fit(self.label, start - 1) + " ", Style(dim=not self.declared.live))
        text.append("━" * full, Style(color=tone(self, "primary")))
        text.append("●", Style(color=tone(self, "accent" if self.has_focus else "foreground")))
        text.append("─" * (width - 1 - full), Style(dim=True))
        text.append(" " + shown[:12].ljust(12), Style(underline=typing, color=tone(self, "accent") if typing else None))
        return self._with_error(text)

    def _with_error(self, text: Text) -> Text:
        for line in self._said(self.content_size.width):
            text.append(f"\n{line}", Style(color=tone(self, "error")))
        return text

    def _choice(self, start: int, width: int) -> Text:
        """A control of choices: all of them side by side where they fit, else the one that is chosen."""
        choices = self.declared.choices
        room = width + 13
        fits = sum(len(c) + 2 for c in choices) <= room
        text = Text(_fit(self.label, start - 1) + " ", no_wrap=True, overflow="crop")
        for choice in choices if fits else (str(self.value),):
            chosen = Style(bold=True, color=tone(self, "background"), bgcolor=tone(self, "primary"))
            text.append(f" {choice} " if fits else f"‹ {choice} ›", chosen if choice == self.value else Style(dim=True))
        return self._with_error(text)

    def _value(self) -> str:
        return f"{short(float(self.value), 7)} {self.declared.unit}".rstrip()


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _fit(text: str, width: int) -> str:
    return text[: width - 1] + "…" if len(text) > width else text.ljust(width)
