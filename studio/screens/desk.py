"""The desk: what can be turned, and the voices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from studio.screens.voices import VoiceBox
from studio.widgets.knob import Knob

if TYPE_CHECKING:
    from pieces.signals import Control, Value


class Desk(Vertical):
    """Controls above, voices below; each scrolls where it does not fit."""

    DEFAULT_CSS = """
    Desk { width: 62; border-left: solid $panel; background: $surface; }
    Desk > .title { height: 1; padding: 0 1; color: $text-muted; background: $panel; }
    Desk > VerticalScroll { height: auto; scrollbar-size-vertical: 1; }
    Desk > #knobs { max-height: 40%; }
    Desk > #voices { height: 1fr; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._muted: set[str] = set()
        self._soloed: set[str] = set()
        #: The voices by name, in their order.
        self.voices: dict[str, VoiceBox] = {}
        self._knobs: dict[tuple[str, str], Knob] = {}

    def compose(self) -> ComposeResult:
        yield Static("controls", classes="title", markup=False)
        yield VerticalScroll(id="knobs", can_focus=False)
        yield Static("voices", classes="title", markup=False)
        yield VerticalScroll(id="voices", can_focus=False)

    async def open(self, controls: Iterable[tuple[str, Control]], values: Mapping[tuple[str, str], Value]) -> None:
        """Show the controls of the sources; with several parts each has its part in front."""
        found = list(controls)
        several = len({part for part, _ in found}) > 1
        box = self.query_one("#knobs")
        self._knobs = {
            (part, c.name): Knob(
                part, c, values.get((part, c.name), c.default), f"{part}.{c.name}" if several else None
            )
            for part, c in found
        }
        await box.remove_children()
        await box.mount_all(self._knobs.values())

    def turn(self, part: str, control: str, value: Value) -> None:
        """A control has another value."""
        if (knob := self._knobs.get((part, control))) is not None:
            knob.show(value)

    def knob(self, part: str, control: str) -> Knob | None:
        """The knob of a control."""
        return self._knobs.get((part, control))

    def hear(self, strips: Mapping[str, float]) -> None:
        """Linear peaks of the voices."""
        if self.region.area:
            for name, box in self.voices.items():
                box.head.hear(strips.get(name, 0.0))

    async def score(self, score: Mapping[str, Any], folded: bool) -> None:
        """Show the voices of a score; what is the same stays as it is, with its fold and its focus."""
        voices: Mapping[str, Any] = score.get("voices", {})
        shown = self.voices
        same = list(voices) == list(shown)
        if same and all(shown[name].show(data) for name, data in voices.items()):
            return
        was_folded = {name: box.folded for name, box in shown.items()}
        box = self.query_one("#voices")
        self.voices = {name: VoiceBox(name, data, was_folded.get(name, folded)) for name, data in voices.items()}
        await box.remove_children()
        await box.mount_all(self.voices.values())
        self._muted &= voices.keys()
        self._soloed &= voices.keys()
        self._mark()

    def strip(self, voice: str, *, mute: bool | None = None, solo: bool | None = None) -> None:
        """A voice is muted or soloed, or is no longer."""
        for wanted, names in ((mute, self._muted), (solo, self._soloed)):
            if wanted is not None:
                (names.add if wanted else names.discard)(voice)
        self._mark()

    def _mark(self) -> None:
        for name, box in self.voices.items():
            box.muted, box.soloed = name in self._muted, name in self._soloed
            box.heard = not self._soloed or box.soloed
            box.head.refresh()
