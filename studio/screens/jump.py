"""Jumping: a letter on everything that can have the focus; pressing it goes there (after posting's jump mode)."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Label

from studio.screens.voices import Row

#: Letters in the order in which they are given: the home row first.
LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class Jump(ModalScreen[None]):
    """Letters over what lies below; any other key leaves.

    Parameters
    ----------
    below : Screen
    """

    DEFAULT_CSS = """
    Jump { background: $background 40%; }
    Jump > Label { position: absolute; width: 3; background: $accent; color: $background; text-style: bold; }
    Jump > #hint { width: auto; background: $panel; color: $text; dock: bottom; position: relative; }
    """

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self._below = below
        self._left = False
        self._targets = dict(zip(LETTERS, reachable(below), strict=False))

    def compose(self) -> ComposeResult:
        for letter, target in self._targets.items():
            label = Label(f" {letter} ", markup=False)
            label.styles.offset = (target.region.x, target.region.y)
            yield label
        yield Label(" press a letter to go there, any other key to stay ", id="hint", markup=False)

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        if self._left:  # a fast hand: the key is for what was jumped to
            self.app.call_later(self.app.post_message, events.Key(event.key, event.character))
        else:
            self._leave(event.key)

    def on_click(self, event: events.Click) -> None:
        if not self._left:
            self._leave("")

    def _leave(self, key: str) -> None:
        self._left = True
        if (target := self._targets.get(key)) is not None:
            self._below.set_focus(target)
        self.dismiss(None)


def reachable(screen: Screen[object]) -> list[Widget]:
    """What can have the focus and is seen; rows of lists come last, since there are fewer letters than rows."""
    found = [w for w in screen.focus_chain if w.region.area and screen.region.contains_region(w.region) and _seen(w)]
    return sorted(found, key=lambda w: isinstance(w, Row))[: len(LETTERS)]


def _seen(widget: Widget) -> bool:
    """Whether it lies within what its scrolling ancestors show."""
    return all(
        not isinstance(node, Widget) or not node.is_scrollable or node.content_region.overlaps(widget.region)
        for node in widget.ancestors
    )
