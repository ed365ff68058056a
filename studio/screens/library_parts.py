"""Parts of the library: chips, the facts of a take, cells of the table, a page for notes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Static, TextArea

from studio.screens.dialogs import Pick, Prompt
from studio.widgets.lineage import named
from studio.widgets.plain import plain
from studio.widgets.tones import tone

if TYPE_CHECKING:
    from db.records import TakeRow
    from studio.takes import Card

Choice = TypeVar("Choice")
#: Characters of a title or of tags, and of a piece, that the table shows.
_NAME, _PIECE = 32, 16
#: Choices of a chip that one goes through one by one; more are listed.
MANY = 5
#: What stands before a take that is not simply there.
_STATUS = {"running": ("▶", "success"), "interrupted": ("‖", "warning"), "failed": ("✗", "error")}


class Chip(Static, Generic[Choice], can_focus=True):
    """A filter: a click, Enter or Space takes the next choice, or lists them where they are many; the first is none.

    Parameters
    ----------
    label : str
    choices : sequence of (word, value)
    """

    DEFAULT_CSS = """
    Chip { width: auto; height: 1; padding: 0 1; margin-right: 1; color: $text-muted; background: $surface; }
    Chip.-on { color: $text; background: $primary 50%; text-style: bold; }
    Chip:focus { text-style: reverse; }
    """
    BINDINGS = [Binding("enter,space", "turn", "Next choice", show=False)]

    class Turned(Message):
        """Another choice."""

    def __init__(self, label: str, choices: Sequence[tuple[str, Choice]], *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._label, self._choices, self._at = label, choices, 0

    @property
    def value(self) -> Choice:
        """What is chosen."""
        return self._choices[self._at][1]

    def on_mount(self) -> None:
        self._write()

    def _write(self) -> None:
        word = self._choices[self._at][0]
        self.update(f"{self._label} {_cut(plain(word), _NAME)}".strip())
        self.set_class(self._at > 0, "-on")

    def offer(self, choices: Sequence[tuple[str, Choice]]) -> None:
        """Other choices, without a message; what was chosen stays, if it is among them."""
        value, self._choices = self.value, choices
        self._at = next((i for i, (_, other) in enumerate(choices) if other == value), 0)
        self._write()

    def clear(self) -> None:
        """The first choice, without a message."""
        self._at = 0
        self._write()

    def action_turn(self) -> None:
        if len(self._choices) > MANY:
            words = [word for word, _ in self._choices]
            self.app.push_screen(Pick(words, self._at), lambda chosen: self._take(int(chosen)) if chosen else None)
        else:
            self._take((self._at + 1) % len(self._choices))

    def _take(self, at: int) -> None:
        self._at = at
        self._write()
        self.post_message(self.Turned())

    def on_click(self) -> None:
        self.action_turn()


class Line(Prompt):
    """A line of text, which may be empty; Escape leaves it as it was (None)."""

    def action_leave(self) -> None:
        self.dismiss(None)


class Notes(ModalScreen[str | None]):
    """A page of text; ^S keeps it, Escape leaves it as it was."""

    DEFAULT_CSS = """
    Notes { align: center middle; }
    Notes > Vertical { width: 76; max-width: 95%; height: 16; max-height: 90%; padding: 1 2; background: $surface;
                       border: round $accent; }
    Notes TextArea { height: 1fr; margin: 1 0; }
    Notes Horizontal { height: 1; align: right middle; }
    Notes Button { margin-left: 1; }
    """
    BINDINGS = [
        Binding("escape", "leave", "Leave it", show=False),
        Binding("ctrl+s", "save", "Keep it", show=False, priority=True),
    ]

    def __init__(self, name: str, text: str) -> None:
        super().__init__()
        self._about, self._text = name, text

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"Notes on {self._about}", markup=False)
            yield TextArea(self._text, soft_wrap=True, compact=True)
            with Horizontal():
                yield Button("Keep (^s)", id="save", compact=True, variant="primary")
                yield Button("Leave it (Esc)", id="leave", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_save() if event.button.id == "save" else self.action_leave()

    def action_save(self) -> None:
        self.dismiss(self.query_one(TextArea).text)

    def action_leave(self) -> None:
        self.dismiss(None)


def stars(rating: int | None) -> str:
    """``★★★☆☆``; dots where nobody rated."""
    return "·····" if rating is None else "★" * rating + "☆" * (5 - rating)


def when(created: str) -> str:
    """A time in UTC as people here read it: ``21 Nov 12:58``, with the year where it is another one."""
    time = datetime.fromisoformat(created).astimezone()
    now = datetime.now().astimezone()
    return time.strftime("%d %b %H:%M" if time.year == now.year else "%d %b %Y")


def length(seconds: float) -> str:
    """``0:07.5``, ``12:34``."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}" if seconds < 600 else f"{int(minutes)}:{int(rest):02d}"


def cells(widget: Widget, row: TakeRow, letter: str = "") -> dict[str, Text]:
    """A take's line in the table, by column."""
    kept = row.retention == "kept"
    mark = Text(letter.ljust(2), Style(bold=True, color=tone(widget, "accent")))
    mark.append("●" if kept else "○", Style(color=tone(widget, "success" if kept else "foreground"), dim=not kept))
    sign, colour = _STATUS.get(row.status, (" ", "foreground"))
    mark.append(sign, Style(color=tone(widget, colour)))
    name = Text(_cut(named(row), _NAME), Style(bold=bool(row.title)), no_wrap=True)
    if row.title:
        name.append(f"  {_cut(plain(row.piece), _PIECE)}", Style(dim=True, bold=False))
    rating = Text(stars(row.rating), Style(color=tone(widget, "accent"), dim=row.rating is None))
    return {
        "mark": mark,
        "name": name,
        "stars": rating,
        "length": Text(length(row.duration_s), justify="right"),
        "tags": Text(
            _cut(" ".join(f"#{t}" for t in row.tags), _NAME), Style(color=tone(widget, "secondary")), no_wrap=True
        ),
        "when": Text(when(row.created), Style(dim=True)),
    }


def facts(widget: Widget, card: Card) -> Text:
    """All that is told of a take, as text."""
    take = card.take
    text = Text(overflow="fold")
    text.append(plain(take.title or str(take.piece.get("title", take.piece_name))), Style(bold=True))
    text.append(f"\n{stars(take.rating)}", Style(color=tone(widget, "accent")))
    if take.tags:
        text.append("  " + " ".join(f"#{t}" for t in take.tags), Style(color=tone(widget, "secondary")))
    if take.notes:
        text.append("\n" + "\n".join(map(plain, take.notes.splitlines())), Style(italic=True))
    rows = [
        ("piece", f"{plain(take.piece_name)}, seed {take.seed}"),
        ("state", take.status + (f": {plain(take.error)}" if take.error else "")),
        ("kept as", f"{take.retention}, {take.origin}"),
        ("length", f"{length(take.duration_s)}, {take.ticks} ticks"),
        *(("part", f"{name}: {part.ticks} at {part.rate:g}/s") for name, part in take.parts.items()),
        *([("sound", _sound(take.render))] if take.render else []),
        ("made", when(take.created)),
        *([("because", plain(card.because))] if card.because else []),
        ("id", take.id),
    ]
    text.append("\n")
    for name, value in rows:
        text.append(f"\n{name:<8} ", Style(dim=True))
        text.append(value)
    return text


def _sound(render: Any) -> str:
    return f"{render['loudness']:.1f} LUFS, {render['true_peak']:.1f} dBTP"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
