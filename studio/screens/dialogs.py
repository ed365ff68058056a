"""Small questions: yes or no, a line of text, one of several."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from studio.widgets.plain import plain


class Dialogue(ModalScreen[str]):
    """A modal screen that is answered once, however fast the keys come."""

    _answered = False

    def answer(self, answer: str) -> None:
        """Leave with an answer."""
        if not self._answered:
            self._answered = True
            self.dismiss(answer)


class Ask(Dialogue):
    """A question with answers of one key each; Escape gives the empty answer.

    Parameters
    ----------
    question : str
    answers : tuple of (key, word)
    """

    DEFAULT_CSS = """
    Ask, Prompt { align: center middle; }
    Ask > Vertical, Prompt > Vertical {
        width: 64; max-width: 95%; height: auto; padding: 1 2; background: $surface; border: round $accent;
    }
    Ask Horizontal { height: auto; align: right middle; margin-top: 1; }
    Ask Button { margin-left: 1; min-width: 8; }
    Prompt Input { margin-top: 1; }
    """
    BINDINGS = [Binding("escape", "answer('')", "Back", show=False)]

    def __init__(self, question: str, answers: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._question, self._answers = question, answers

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            with Horizontal():
                for key, word in self._answers:
                    yield Button(f"{word} ({key})", id=f"answer-{key}", compact=True)

    def on_key(self, event: events.Key) -> None:
        if event.character in [key for key, _ in self._answers]:
            event.stop()
            self.answer(event.character)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.answer((event.button.id or "").removeprefix("answer-"))

    def action_answer(self, answer: str) -> None:
        self.answer(answer)


class Prompt(Dialogue):
    """A line of text; Escape gives the empty one."""

    BINDINGS = [Binding("escape", "leave", "Back", show=False)]

    def __init__(self, question: str, value: str = "") -> None:
        super().__init__()
        self._question, self._value = question, value

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            yield Input(self._value, compact=True, select_on_focus=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.answer(event.value)

    def action_leave(self) -> None:
        self.answer("")


class Pick(Dialogue):
    """One of several words; the answer is its number, empty for Escape.

    Parameters
    ----------
    words : sequence of str
    at : int
        Which one is pointed at.
    """

    DEFAULT_CSS = """
    Pick { align: center middle; }
    Pick OptionList {
        width: auto; min-width: 24; max-width: 90%; height: auto; max-height: 80%; background: $surface;
        border: round $accent; border-subtitle-color: $text-muted; scrollbar-size-vertical: 1;
    }
    """
    BINDINGS = [Binding("escape", "leave", "Back", show=False)]

    def __init__(self, words: Sequence[str], at: int = 0) -> None:
        super().__init__()
        self._words, self._at = words, at

    def compose(self) -> ComposeResult:
        found = OptionList(*(Option(Text(plain(word), no_wrap=True, overflow="ellipsis")) for word in self._words))
        found.highlighted = self._at
        found.border_subtitle = " Enter takes it, Esc does not "
        yield found

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.answer(str(event.option_index))

    def action_leave(self) -> None:
        self.answer("")
