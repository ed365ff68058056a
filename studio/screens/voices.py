"""The voices of the desk: mute, solo, gain, a meter, and mappings that are edited where they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from pieces.errors import DescantError
from studio.screens.words import inline, parsed, told
from studio.widgets.keys import bindings
from studio.widgets.meters import Peak, bar
from studio.widgets.tones import tone

#: Fields of a voice that are edited like its lanes.
BESIDE = ("instrument", "pan", "on", "crossing", "steps", "gate", "effects", "sends", "into")


class Row(Widget, can_focus=True):
    """One line of the desk that can be written anew, as TOML.

    Parameters
    ----------
    path : str
        Where it stands in the piece, dotted.
    label : str
    value : plain data
    """

    DEFAULT_CSS = """
    Row { height: auto; width: 1fr; padding: 0 1 0 3; text-wrap: nowrap; text-overflow: ellipsis; }
    Row:focus { background: $panel; text-style: bold; }
    Row > Input { height: 1; border: none; padding: 0; background: $panel; }
    Row > .error { color: $error; height: auto; }
    """
    BINDINGS = bindings("mapping")

    class Edited(Message):
        """Someone wrote another value; `answer` is told None, or why it is refused."""

        def __init__(self, row: Row, value: Any, answer: Callable[[str | None], None]) -> None:
            super().__init__()
            self.row, self.value, self.answer = row, value, answer

    def __init__(self, path: str, label: str, value: Any) -> None:
        super().__init__()
        self.path, self.label, self.value = path, label, value

    @property
    def editing(self) -> bool:
        """Whether it is being written."""
        return bool(self.query(Input))

    def show(self, value: Any) -> None:
        """The value as it is now, whoever wrote it."""
        if value != self.value:
            self.value = value
            self.refresh(layout=True)

    def render(self) -> Text:
        """The line as text."""
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{self.label:<11}", Style(dim=True))
        said = told(self.value)
        channel, arrow, rest = said.partition(" → ")
        if arrow:
            text.append(channel, Style(color=tone(self, "secondary")))
            text.append(" → " + rest)
        else:
            text.append(said)
        return text

    async def action_edit(self) -> None:
        """Write it as TOML, in its place."""
        if self.editing:
            return
        box = Input(inline(self.value), compact=True, select_on_focus=False)
        await self.mount(box)
        box.focus()
        box.cursor_position = len(box.value)

    async def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            await self.action_edit()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            value = parsed(event.value)
        except DescantError as error:
            self._answer(str(error))
            return
        self.post_message(self.Edited(self, value, self._answer))

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape" and self.editing:
            event.stop()
            event.prevent_default()
            self.finish()

    def _answer(self, refused: str | None) -> None:
        for old in self.query(".error"):
            old.remove()
        if refused is None:
            self.finish()
        else:
            self.mount(Static(refused, classes="error", markup=False))

    def finish(self) -> None:
        """Leave the editor; what was typed is dropped."""
        for child in list(self.children):
            child.remove()
        self.focus()


class Head(Widget, can_focus=True):
    """A voice's own line: mute, solo, name, instrument, gain, and its meter."""

    DEFAULT_CSS = """
    Head { height: 1; width: 1fr; padding: 0 1; }
    Head:focus { background: $panel; text-style: bold; }
    """
    BINDINGS = bindings("voice", only=("fold",))

    def __init__(self, box: VoiceBox) -> None:
        super().__init__()
        self._box = box
        self.peak = Peak()
        self._bar = ""

    def hear(self, peak: float) -> None:
        """A new linear peak of the voice."""
        self.peak.hear(peak)
        if (shown := self._meter()) != self._bar:
            self._bar = shown
            self.refresh()

    def _meter(self) -> str:
        taken = 36 if self._roomy else 27
        return bar(self.peak.level, self.peak.held, max(self.content_size.width - taken, 4))

    @property
    def _roomy(self) -> bool:
        """Whether there is room for the instrument beside the meter."""
        return self.content_size.width >= 48

    def render(self) -> Text:
        """The line as text."""
        box = self._box
        text = Text(no_wrap=True, overflow="crop")
        marks = ((box.muted, "M", "warning"), (box.soloed, "S", "success"))
        for on, sign, colour in marks:
            style = Style(reverse=True, bold=True, color=tone(self, colour)) if on else Style(dim=True)
            text.append(f"{sign if on else sign.lower()}", style)
            text.append(" ")
        silent = box.muted or not box.heard
        text.append("▾ " if not box.folded else "▸ ", Style(dim=True))
        text.append(_fit(box.voice, 13), Style(strike=silent, dim=silent, bold=not silent))
        if self._roomy:
            text.append(_fit(str(box.data.get("instrument", "")), 9), Style(dim=True))
        text.append(f"{float(box.data.get('gain_db', 0.0)):+6.1f} ")
        text.append(self._meter(), Style(color=tone(self, "meter-low"), bgcolor=tone(self, "meter-ground")))
        return text

    def on_click(self, event: events.Click) -> None:
        """M and S are buttons; the rest folds."""
        x = event.x - 1
        self._box.run_command("mute" if x in (0, 1) else "solo" if x in (2, 3) else "fold")

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if event.ctrl:
            event.stop()
            self._box.run_command("louder")

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        if event.ctrl:
            event.stop()
            self._box.run_command("softer")

    def action_fold(self) -> None:
        self._box.run_command("fold")


class VoiceBox(Vertical):
    """One voice: its head, and a row for each of its lanes.

    Parameters
    ----------
    voice : str
    data : mapping
        The voice as the score has it.
    folded : bool
        Whether its rows are hidden.
    """

    DEFAULT_CSS = """
    VoiceBox { height: auto; width: 1fr; }
    """
    BINDINGS = bindings("voice", but=("fold",))

    class Asked(Message):
        """Someone wants a voice muted, soloed, louder or softer."""

        def __init__(self, box: VoiceBox, what: str) -> None:
            super().__init__()
            self.box, self.what = box, what

    def __init__(self, voice: str, data: Mapping[str, Any], folded: bool) -> None:
        super().__init__()
        self.voice, self.data, self.folded = voice, data, folded
        self.muted = self.soloed = False
        #: False while other voices are soloed.
        self.heard = True
        self.head = Head(self)

    def compose(self) -> ComposeResult:
        yield self.head
        for row in self._rows():
            row.display = not self.folded
            yield row

    def _rows(self) -> list[Row]:
        at = f"score.voices.{self.voice}"
        lanes = self.data.get("lanes", {})
        rows = [Row(f"{at}.lanes.{name}", name, value) for name, value in lanes.items()]
        return rows + [Row(f"{at}.{k}", k, self.data[k]) for k in BESIDE if k in self.data and k != "instrument"]

    def show(self, data: Mapping[str, Any]) -> bool:
        """The voice as it is now; False if it has other rows, so that the box must be made anew."""
        self.data = data
        new, rows = self._rows(), {row.path: row for row in self.query(Row)}
        if [r.path for r in new] != list(rows):
            return False
        for row in new:
            rows[row.path].show(row.value)
        self.head.refresh()
        return True

    def run_command(self, what: str) -> None:
        """Do something with the voice."""
        if what == "fold":
            self.folded = not self.folded
            for row in self.query(Row):
                row.display = not self.folded
            self.head.refresh()
        else:
            self.post_message(self.Asked(self, what))

    def action_mute(self) -> None:
        self.run_command("mute")

    def action_solo(self) -> None:
        self.run_command("solo")

    def action_louder(self) -> None:
        self.run_command("louder")

    def action_softer(self) -> None:
        self.run_command("softer")


def _fit(text: str, width: int) -> str:
    return text[: width - 2] + "… " if len(text) > width - 1 else text.ljust(width)
