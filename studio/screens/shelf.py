"""The shelf: built-in pieces and sources with what they are, and a field for files of one's own."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from pieces.errors import DescantError
from studio.elsewhere import elsewhere
from studio.widgets.tones import tone


@dataclass(frozen=True)
class Item:
    """Something that can be opened."""

    name: str
    title: str
    about: str
    kind: str


def items() -> Iterator[list[Item]]:
    """Built-in pieces, and sources that have none of their own name; then the same with what else is installed."""
    from pieces.piece import library
    from pieces.source import BUILT_IN, source_names
    from studio.catalogue import openable

    found = []
    for name, text in sorted(library().items()):
        raw = tomllib.loads(text)
        found.append(Item(name, str(raw.get("title", name)), " ".join(str(raw.get("about", "")).split()), "piece"))
    known = {item.name for item in found}
    names = [name for name in source_names() if name not in known]
    found += [Item(*told, "source") for told in openable(name for name in names if name in BUILT_IN)]
    yield found
    if foreign := [name for name in names if name not in BUILT_IN]:
        with suppress(DescantError):  # an installed source that does not load is no reason to show no list
            yield [*found, *(Item(*told, "source") for told in elsewhere("what is installed", openable, foreign))]


def card(name: str, given: Mapping[str, Any], base: Path) -> str:
    """All that can be said of a piece: its programme note, parts, voices, and its sources with their references.

    Parameters
    ----------
    name : str
        What it is called.
    given : mapping
        The piece as plain data.
    base : Path
        Folder that its relative paths are read against.
    """
    from pieces.piece import parse_piece
    from pieces.source import BUILT_IN
    from studio.catalogue import piece_card, source_card

    piece = parse_piece(given, name)
    told = [piece_card(piece).text]
    for source in dict.fromkeys(part.source for part in piece.parts.values()):
        try:
            is_ours = source in BUILT_IN
            found = source_card(source) if is_ours else elsewhere(source, source_card, source, base)
            told.append(found.text)
        except DescantError as error:
            told.append(str(error))
    return "\n\n".join(told)


class Shelf(Vertical):
    """A list with a field above it: type to filter, or the path of a file; Enter opens."""

    DEFAULT_CSS = """
    Shelf { width: 30; border-right: solid $panel; background: $surface; }
    Shelf > Input { height: 1; border: none; padding: 0 1 !important; background: $panel; }
    Shelf > OptionList { height: 1fr; border: none; padding: 0; background: $surface; scrollbar-size-vertical: 1; }
    Shelf > OptionList:focus { border: none; }
    Shelf > VerticalScroll { height: 1fr; padding: 0 1; border-top: solid $panel; scrollbar-size-vertical: 1; }
    Shelf > VerticalScroll > Static { height: auto; }
    """

    class Chosen(Message):
        """Someone wants this piece, source or file open."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Left(Message):
        """Nothing is wanted here any more."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.items: Sequence[Item] = ()
        self._open = self._pointed = ""

    def compose(self) -> ComposeResult:
        yield Input(placeholder="filter, or a file.toml", id="filter", compact=True)
        yield OptionList(id="items", markup=False)
        with VerticalScroll(can_focus=False):
            yield Static("", id="about", markup=False)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._list(self.query_one("#filter", Input).value))

    def fill(self, found: Sequence[Item]) -> None:
        """Show these."""
        self.items = found
        self._list(self.query_one("#filter", Input).value)

    def mark(self, name: str) -> None:
        """Point out the piece that is open."""
        if name != self._open:
            self._open = name
            self._list(self.query_one("#filter", Input).value)

    def _list(self, wanted: str) -> None:
        words = wanted.lower().split()
        shown = [i for i in self.items if all(w in f"{i.name} {i.title} {i.about}".lower() for w in words)]
        if words:
            shown.sort(key=lambda i: (not i.name.startswith(words[0]), words[0] not in i.name))
        options = self.query_one("#items", OptionList)
        before = options.highlighted
        options.clear_options()
        options.add_options([Option(self._line(item), id=item.name) for item in shown])
        names = [item.name for item in shown]
        if names:
            is_new = self._open in names and self._pointed != self._open
            at = 0 if words else min(before or 0, len(names) - 1)
            options.highlighted = names.index(self._open) if is_new else at
            self._pointed = self._open if is_new else self._pointed
        else:
            self._tell(None)

    def _line(self, item: Item) -> Text:
        is_open = item.name == self._open
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("▶ " if is_open else "  ", Style(color=tone(self, "accent")))
        text.append(item.name, Style(bold=is_open))
        if item.kind == "source":
            text.append("  source", Style(dim=True))
        return text

    def _tell(self, item: Item | None) -> None:
        about = self.query_one("#about", Static)
        if item is None:
            about.update("nothing here is called that; a file is opened by its path, my.toml or my_source.py")
        else:
            about.update(Text.assemble((item.title, Style(bold=True)), "\n\n", item.about))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self._tell(next((i for i in self.items if i.name == event.option.id), None))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id:
            self.post_message(self.Chosen(event.option.id))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._list(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        name = event.value.strip()
        options = self.query_one("#items", OptionList)
        if name.endswith((".toml", ".py")) or ".py:" in name:
            self.post_message(self.Chosen(name))
        elif options.highlighted is not None and (found := options.get_option_at_index(options.highlighted)).id:
            self.post_message(self.Chosen(found.id))

    def on_key(self, event: events.Key) -> None:
        """While one types the arrows move in the list; Escape leaves."""
        field, options = self.query_one("#filter", Input), self.query_one("#items", OptionList)
        moves: Mapping[str, Callable[[], object]] = {
            "up": options.action_cursor_up,
            "down": options.action_cursor_down,
            "pageup": options.action_page_up,
            "pagedown": options.action_page_down,
        }
        if event.key == "escape":
            event.stop()
            field.value = ""
            self.post_message(self.Left())
        elif event.key in moves and field.has_focus:
            event.stop()
            moves[event.key]()
