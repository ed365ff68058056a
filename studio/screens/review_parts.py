"""Parts of the screen where visits are reviewed: a turn as text, its picture, a dialogue for notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from studio.review import WELL, Choice, Listed, Note, Seen, Step, bar, head, left, place, told_facts
from studio.screens.library_parts import Chip, when
from studio.widgets.tones import tone

if TYPE_CHECKING:
    from studio.widgets.cells import Pixels

#: The widest and the narrowest bar, the least that an option has where there is little room, and the most of a name.
WIDEST, NARROWEST, SHORTEST, NAME = 40, 6, 8, 18
#: Cells of a turn's line that are not of the bar: mark, probability, spaces.
_BESIDE = 12


@dataclass(frozen=True)
class Written:
    """What a coder has written in the dialogue."""

    author: str
    kind: str
    tag: str
    text: str
    whole: bool


def cells(widget: Widget, row: Listed, unseen: str) -> tuple[Text, ...]:
    """A transcript's line in the list; `unseen` stands for who it was where the coder is blind to it."""
    fits = row.ended in WELL
    dim, quiet = Style(dim=True), Style(dim=True, italic=True)
    who = " ".join(part for part in (row.who, row.under) if part)
    return (
        Text("●" if row.notes else "·", Style(color=tone(widget, "accent" if row.notes else "foreground"))),
        Text(row.id[-6:], Style(bold=True), no_wrap=True),
        Text(_cut(unseen if row.blind else who, NAME), quiet if row.blind else Style(), no_wrap=True),
        Text(f"{row.turns}", dim, justify="right"),
        Text(_cut(row.ended, 12), dim if fits else Style(color=tone(widget, "warning")), no_wrap=True),
        Text(when(row.created), dim, no_wrap=True),
        Text(" ".join(f"#{tag}" for tag in row.tags), Style(color=tone(widget, "secondary")), no_wrap=True),
    )


def turn(widget: Widget, step: Step, last: int, width: int) -> Text:
    """A turn: what was decided with all probabilities, what came of it, what coders wrote.

    Parameters
    ----------
    last : int
        Number of the last turn.
    width : int
        Cells of a line.
    """
    text = Text(overflow="fold")
    said = f"> {step.command}" if step.command else "asked" if step.decisions else "told"
    text.append(f"{step.number}/{last}  ", Style(dim=True))
    text.append(said, Style(bold=True, color=tone(widget, "accent")))
    beside = [place(step), left(step), *([f"reward {step.reward:g}"] if step.reward else [])]
    text.append("".join(f"   {part}" for part in beside if part), Style(dim=True))
    for note in step.notes:
        text.append("\n")
        text.append_text(noted(widget, note))
    names = [len(option) for choice in step.decisions for option in choice.options]
    room = max(SHORTEST, width - _BESIDE - 2 * NARROWEST)
    for choice in step.decisions:
        text.append("\n\n")
        text.append_text(_decided(widget, choice, min(room, max(names)), width))
    text.append(f"\n\n{step.observation}" if step.observation else "")
    return text


def _decided(widget: Widget, choice: Choice, name: int, width: int) -> Text:
    """A decision: a bar an option, in the order in which they were shown; names have `name` cells."""
    text = Text(overflow="fold")
    text.append(choice.asks, Style(italic=True))
    room = max(NARROWEST, min(WIDEST, width - name - _BESIDE))
    for option, share in zip(choice.options, choice.probabilities, strict=True):
        is_chosen = option == choice.chosen
        text.append("\n▸ " if is_chosen else "\n  ", Style(color=tone(widget, "accent")))
        text.append(f"{_cut(option, name):<{name}} ", Style(bold=is_chosen))
        text.append(f"{share:5.3f} ", Style(dim=not is_chosen))
        text.append(bar(share, room), Style(color=tone(widget, "accent" if is_chosen else "primary")))
    if choice.chosen not in choice.options:
        text.append("\n▸ ", Style(color=tone(widget, "accent")))
        text.append(choice.chosen, Style(bold=True))
    if choice.facts:
        text.append("\n  " + told_facts(choice.facts).replace("\n", "\n  "), Style(dim=True))
    return text


def noted(widget: Widget, note: Note) -> Text:
    """A note: facts and interpretations look unlike, and each has its author."""
    is_fact = note.kind == "fact"
    colour = tone(widget, "success" if is_fact else "warning")
    text = Text("■ fact " if is_fact else "◇ interpretation ", Style(color=colour), overflow="fold")
    text.append(f"#{note.tag} ", Style(color=tone(widget, "secondary")))
    text.append(note.text, Style(italic=not is_fact))
    text.append(f"  {note.author}{', blind' if note.blind else ''}, {when(note.created)}", Style(dim=True))
    return text


def about(widget: Widget, seen: Seen) -> Group:
    """What is known of the visit, and what was written on the whole of it."""
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in head(seen):
        table.add_row(Text(name), Text(value))
    return Group(*(noted(widget, note) for note in seen.notes), table)


def fitted(picture: Pixels, wanted: tuple[int, int]) -> Pixels:
    """A picture of `wanted` width and height, on black, its sides in proportion."""
    import numpy as np
    from PIL import Image

    width, height = wanted
    by = min(width / picture.shape[1], height / picture.shape[0])
    w, h = max(1, round(picture.shape[1] * by)), max(1, round(picture.shape[0] * by))
    small = np.asarray(Image.fromarray(picture).resize((w, h), Image.Resampling.BOX))
    found = np.zeros((height, width, 3), np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    found[top : top + h, left : left + w] = small
    return found


class NoteDialog(ModalScreen[Written | None]):
    """What a coder writes: author, tag, text, whether it is a fact, and on what; Enter keeps it, Escape does not."""

    DEFAULT_CSS = """
    NoteDialog { align: center middle; }
    NoteDialog > Vertical {
        width: 64; max-width: 96%; height: auto; max-height: 96%; padding: 0 2; background: $surface;
        border: round $accent; border-title-color: $accent; border-subtitle-color: $text-muted;
    }
    NoteDialog Horizontal { height: 1; }
    NoteDialog Horizontal Static.name { width: 8; color: $text-muted; }
    NoteDialog Input { width: 1fr; }
    NoteDialog #buttons { align: right middle; margin-top: 1; }
    NoteDialog Button { margin-left: 1; }
    """
    BINDINGS = [
        Binding("escape", "leave", "Leave it", show=False),
        Binding("ctrl+s", "save", "Keep it", show=False, priority=True),
    ]

    def __init__(self, author: str, kind: str, turn: int | None) -> None:
        super().__init__()
        self._author, self._turn = author, turn
        kinds = [("fact: what happened", "fact"), ("interpretation: what it means", "interpretation")]
        self._kinds = kinds if kind == "fact" else kinds[::-1]
        whole = [("this turn", False), ("the whole visit", True)]
        self._about = whole if turn is not None else whole[1:]

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = " the visit " if self._turn is None else f" turn {self._turn} "
            box.border_subtitle = " Enter keeps it, Esc does not "
            yield Static("", id="problem", markup=False)
            with Horizontal():
                yield Static("is a", classes="name")
                yield Chip("", self._kinds, id="kind")
            with Horizontal():
                yield Static("about", classes="name")
                yield Chip("", self._about, id="whole")
            for name, value, hint in (
                ("tag", "", "one word"),
                ("text", "", "a sentence; may be empty"),
                ("author", self._author, "who writes"),
            ):
                with Horizontal():
                    yield Static(name, classes="name")
                    yield Input(value, placeholder=hint, compact=True, id=f"{name}-field")
            with Horizontal(id="buttons"):
                yield Button("Keep (Enter)", id="save", compact=True, variant="primary")
                yield Button("Leave it (Esc)", id="leave", compact=True)

    def on_mount(self) -> None:
        self.query_one("#tag-field").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_save() if event.button.id == "save" else self.action_leave()

    def on_input_submitted(self) -> None:
        self.action_save()

    def action_save(self) -> None:
        tag, text, author = (self.query_one(f"#{n}-field", Input).value.strip() for n in ("tag", "text", "author"))
        if not tag or not author:
            self.query_one("#problem", Static).update("give a tag of one word, and say who you are")
            self.query_one(f"#{'tag' if not tag else 'author'}-field").focus()
            return
        kind, whole = self.query_one("#kind", Chip).value, self.query_one("#whole", Chip).value
        self.dismiss(Written(author, kind, tag.lstrip("#"), text, whole))

    def action_leave(self) -> None:
        self.dismiss(None)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
