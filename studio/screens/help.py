"""F1: what can be done with what has the focus, then here, then everywhere; made of the table of actions."""

from __future__ import annotations

from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from studio.keymap import Keymap
from studio.widgets.tones import tone


class Reader(ModalScreen[None]):
    """A page of text.

    Parameters
    ----------
    title, text : str
    """

    DEFAULT_CSS = """
    Reader { align: center middle; }
    Reader > VerticalScroll {
        width: 110; max-width: 96%; height: auto; max-height: 92%; padding: 1 2; background: $surface;
        border: round $accent; border-title-color: $accent; border-subtitle-color: $text-muted;
    }
    Reader Static { height: auto; }
    """
    BINDINGS = [Binding("escape,q,i,f1", "leave", "Close", show=False)]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = f" {self._title} "
            box.border_subtitle = " Esc closes "
            yield Static(self._text, markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)


class Help(ModalScreen[None]):
    """Help for what is focused.

    Parameters
    ----------
    title : str
        What has the focus.
    about : str
        A few sentences about it.
    places : tuple of (title, place)
        Whose actions are listed, the nearest first.
    keymap : Keymap
    """

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll {
        width: 84; max-width: 96%; height: auto; max-height: 92%; padding: 1 2; background: $surface;
        border: round $accent; border-title-color: $accent; border-subtitle-color: $text-muted;
    }
    Help Static { height: auto; }
    """
    BINDINGS = [Binding("escape,f1,q,question_mark", "leave", "Close", show=False)]

    def __init__(self, title: str, about: str, places: tuple[tuple[str, str], ...], keymap: Keymap) -> None:
        super().__init__()
        self._title, self._about, self._places, self._keymap = title, about, places, keymap

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = f" {self._title} "
            box.border_subtitle = " Esc closes "
            yield Static(self._about, markup=False)
            for title, place in self._places:
                yield Static(Text(f"\n{title}", Style(bold=True, color=tone(self, "accent"))))
                yield Static(self._table(place))
            yield Static(self._rest())

    def _table(self, place: str) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=9, style="bold", no_wrap=True)
        table.add_column(min_width=14, no_wrap=True)
        table.add_column(style="dim")
        for action in self._keymap.actions(place):
            table.add_row(Text(" ".join(self._keymap.signs(action.id))), action.label, Text(action.help))
        return table

    @staticmethod
    def _rest() -> Text:
        dim = Style(dim=True)
        text = Text("\nTab, Shift+Tab", Style(bold=True))
        text.append("  go from one to the next. ", dim)
        text.append("Mouse", Style(bold=True))
        text.append("  everything can be clicked; the wheel turns controls.", dim)
        return text

    def action_leave(self) -> None:
        self.dismiss(None)
