"""What was before: the edits of a session as a tree, those that were left too, and earlier sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from pieces.errors import DescantError
from studio.history import History
from studio.screens.dialogs import Dialogue
from studio.screens.library_parts import when
from studio.screens.words import told
from studio.takes import earlier
from studio.widgets.plain import plain
from studio.widgets.tones import tone

if TYPE_CHECKING:
    from db.work import Edit, SessionRecord

#: Lines of what an edit changed that are told, and steps to the right that a branch of a branch goes at most.
_TOLD, _DEEPEST = 12, 8
#: Seconds between two looks at whether there are other edits.
_LOOK = 0.25

CSS = """
{0} {{ align: center middle; }}
{0} > Vertical {{
    width: 100; max-width: 96%; height: 80%; padding: 0 1; background: $surface; border: round $accent;
    border-title-color: $accent; border-subtitle-color: $text-muted;
}}
{0} OptionList, {0} OptionList:focus {{
    height: 1fr; border: none; padding: 0; background: $surface; text-wrap: nowrap; text-overflow: ellipsis;
}}
"""


class Past(ModalScreen[None]):
    """The edits of a session; Enter goes to one, and what it is like is heard while this stays.

    Parameters
    ----------
    name : str
        What the piece is called.
    history : callable
        Gives the edits as they are now.
    jump : callable
        Goes to the edit of a number.
    """

    DEFAULT_CSS = (
        CSS.format("Past")
        + """
    Past VerticalScroll { height: auto; max-height: 8; border-top: solid $panel; }
    Past VerticalScroll > Static { height: auto; color: $text-muted; }
    """
    )
    BINDINGS = [Binding("escape,q,h", "leave", "Close", show=False)]

    def __init__(self, name: str, history: Callable[[], History], jump: Callable[[int], object]) -> None:
        super().__init__()
        self._piece_name, self._history, self._jump = name, history, jump
        self._seen: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = f" Edits of {plain(self._piece_name)} "
            box.border_subtitle = " Enter goes there   Esc closes "
            yield OptionList(id="edits", markup=False)
            with VerticalScroll(can_focus=False):
                yield Static("", id="changed", markup=False)

    def on_mount(self) -> None:
        self._look()
        self.set_interval(_LOOK, self._look)

    def _look(self) -> None:
        """Show the edits, if they have changed."""
        history, options = self._history(), self.query_one("#edits", OptionList)
        # Edits last, and they only grow: another thread may edit meanwhile, and what was read before is among them.
        head, way = history.head, history.way
        edits = history.edits
        seen = (head, way, len(edits), edits[-1])
        if seen == self._seen:
            return
        is_first, self._seen = not self._seen, seen
        rows = laid(edits)
        numbers = [edit.number for edit, _, _ in rows]
        at = None if is_first else options.highlighted
        pointed = head if at is None else int(options.get_option_at_index(at).id or 0)
        options.clear_options()
        lines = [self._line(e, rails, e.number == head, e.number not in way) for e, *rails in rows]
        options.add_options([Option(line, id=str(number)) for line, number in zip(lines, numbers, strict=True)])
        options.highlighted = numbers.index(pointed if pointed in numbers else head)

    def _line(self, edit: Edit, rails: Sequence[int], is_heard: bool, is_left: bool) -> Text:
        depth, begins = (min(number, _DEEPEST) for number in rails)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{when(edit.created)}  ", Style(dim=True))
        text.append("▶ " if is_heard else "  ", Style(color=tone(self, "accent")))
        text.append("│ " * (depth - begins) + "├ " * begins, Style(dim=True))
        text.append(plain(edit.label), Style(bold=is_heard, dim=is_left))
        if is_left:
            text.append("  left", Style(dim=True, italic=True))
        return text

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        edits, number = self._history().edits, int(event.option.id or 0)
        if number >= len(edits):
            return  # of a piece that was open before
        edit = edits[number]
        if edit.parent is None:
            lines = ["the piece as it was opened"]
        else:
            lines = list(differences(edits[edit.parent].piece, edit.piece))
        more = [f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
        self.query_one("#changed", Static).update(plain("\n".join([*lines[:_TOLD], *more])))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._jump(int(event.option.id or 0))
        self._look()

    def action_leave(self) -> None:
        self.dismiss(None)


class Earlier(Dialogue):
    """Sessions that are closed, or were interrupted; the answer is the id of one to go on with.

    Parameters
    ----------
    place : str
        The archive's path or URL.
    """

    DEFAULT_CSS = CSS.format("Earlier")
    BINDINGS = [Binding("escape,q", "leave", "Close", show=False)]

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._options, self._said = OptionList(id="sessions", markup=False), Static("", id="said", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = " Earlier sessions "
            box.border_subtitle = " Enter goes on with one   Esc closes "
            yield self._options
            yield self._said

    def on_mount(self) -> None:
        self.run_worker(self._fill())

    async def _fill(self) -> None:
        """Show them. An archive may have to be waited for; keys are heard meanwhile, and this may have been left."""
        options, said = self._options, self._said
        try:
            found = await asyncio.to_thread(earlier, self._place)
        except DescantError as error:
            said.update(plain(str(error)))
            return
        if not found:
            said.update("no session was closed yet in which anything was edited")
        options.add_options([Option(self._line(session, label), id=session.id) for session, label in found])
        options.highlighted = 0 if found else None

    @staticmethod
    def _line(session: SessionRecord, label: str) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{when(session.updated)}  ", Style(dim=True))
        text.append(plain(session.name), Style(bold=True))
        text.append(plain(f"  {label}" if session.closed else f"  {label}, interrupted"), Style(dim=True))
        return text

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.answer(event.option.id or "")

    def action_leave(self) -> None:
        self.answer("")


def laid(edits: Sequence[Edit]) -> list[tuple[Edit, int, bool]]:
    """Edits in the order in which they are shown, how far to the right, and whether a branch begins there.

    The newest branch comes last, at 0. It is the same wherever one goes, so that nothing moves under the hand.
    """
    children: dict[int | None, list[Edit]] = {}
    for edit in edits:
        children.setdefault(edit.parent, []).append(edit)
    found, waiting = [], [(edits[0], 0, False)]
    while waiting:
        edit, depth, begins = waiting.pop()
        found.append((edit, depth, begins))
        *others, newest = children.get(edit.number, [None])
        if newest is not None:
            waiting.append((newest, depth, False))
        waiting += [(other, depth + 1, True) for other in reversed(others) if other is not None]
    return found


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """What differs between two pieces as plain data, a line each: ``score.voices.tone.gain_db: -6 → -3``."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping) and not ("channel" in old or "channel" in new):
        for key in {**old, **new}:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{path}.{number}")
    else:
        yield f"{path}: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    words = "nothing" if value is None else told(value)
    return words if len(words) <= 60 else f"{words[:59]}…"
