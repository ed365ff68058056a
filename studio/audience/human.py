"""A person who attends: the same game in the terminal, with the same words, and with the sound and the pictures.

Titles and labels are hidden from people too.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pieces.errors import DescantError
from studio.audience.predictions import parse
from studio.audience.text import plain
from studio.audience.visitor import AudienceError, Decision, Fact, Question, Report, Sense, certain
from studio.words.artefact import Artefact
from studio.words.registers import Register

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Size of a picture in the terminal, in cells.
WIDTH, HEIGHT = 64, 18


class Human:
    """Whoever sits at the terminal.

    Parameters
    ----------
    argument : str
        Nothing.
    cache : Path
        Not used: a person remembers.
    hear : callable, optional
        Asks for a line of text; default: at the terminal. EOFError or KeyboardInterrupt: the person has gone.
    say : callable, optional
        Shows a line; default: on standard error.
    silent : bool
        Neither play sounds nor draw pictures.
    """

    name = "human"
    register: ClassVar[Register] = "prose"
    senses: ClassVar[frozenset[Sense]] = frozenset({"sound", "pictures"})

    def __init__(
        self,
        argument: str,
        cache: Path | None = None,
        hear: Callable[[str], str] = input,
        say: Callable[[str], None] | None = None,
        silent: bool = False,
    ) -> None:
        if argument:
            raise AudienceError(f"human:{argument}: human takes nothing behind a colon")
        self._hear, self._say, self._seen, self._heard = hear, say or _shown, not silent, not silent

    def begin(self, instruction: str, seed: int) -> None:
        """Told once, at the beginning."""
        self._say(instruction)

    def observe(self, text: str, clips: Sequence[Artefact] = ()) -> None:
        """Read, heard and seen."""
        self._say(text)
        for clip in clips:
            if self._seen and sys.stderr.isatty():
                print(cells(clip.pictures[len(clip.pictures) // 2]), file=sys.stderr)
            if self._heard:
                self._sound(clip)

    def _sound(self, clip: Artefact) -> None:
        """Play a clip; where there is no device that is said once, and the visit goes on in words."""
        import soundfile

        from sonify.player import play

        with tempfile.TemporaryDirectory(prefix="descant-") as folder:
            path = Path(folder) / "moment.wav"
            soundfile.write(path, clip.audio, clip.sample_rate, subtype="FLOAT")
            try:
                play(path, "portaudio", lambda played, duration: None)
            except DescantError as error:
                self._say(f"note: {str(error).partition('; the sound is in')[0]}")
                self._heard = False

    def decide(self, question: Question) -> Decision:
        """What is typed: an option, its number, or the beginning of one; a prediction may weigh several."""
        free = question.about in ("say", "predict")
        shown = "  ".join(f"{i + 1}\N{NO-BREAK SPACE}{option}" for i, option in enumerate(question.options))
        while True:
            self._say(f"{shown}  (budget {question.budget:.1f})")
            try:
                typed = plain(self._hear(f"{question.asks} "))
            except (EOFError, KeyboardInterrupt):
                raise AudienceError("the visitor has gone: no more answers at the terminal") from None
            chosen = _meant(typed, question.options)
            if len(chosen) == 1:
                return certain(question.options, chosen[0])
            if free and typed:
                try:
                    return self._freely(question, typed)
                except DescantError as error:
                    self._say(f"{error}.")
            elif typed:
                self._say(f"{typed!r} is {' or '.join(chosen) if chosen else 'none of them'}: give one, or its number.")

    def _freely(self, question: Question, typed: str) -> Decision:
        """Words of one's own, or a distribution over what may come."""
        if question.about == "say":
            return certain(question.options, typed)
        shares = parse(typed)
        return Decision(
            max(shares, key=lambda word: shares[word]), tuple(shares.get(word, 0.0) for word in question.options)
        )

    def report(self) -> Report:
        """A person is not measured."""
        return Report()

    def about(self) -> Mapping[str, Fact]:
        """Nobody's name is kept."""
        return {}


def _shown(text: str) -> None:
    """On standard error, in lines as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    for line in text.splitlines():
        print(textwrap.fill(line, width, subsequent_indent="  "), file=sys.stderr)


def _meant(typed: str, options: Sequence[str]) -> list[str]:
    """The options that may be meant: that of this name or number, else all that begin so."""
    if typed in options:
        return [typed]
    if typed.isdecimal() and 1 <= int(typed) <= len(options):
        return [options[int(typed) - 1]]
    return [option for option in options if typed and option.startswith(typed)]


def cells(picture: NDArray[np.uint8]) -> str:
    """A picture as text: two pixels a cell, in true colour."""
    from PIL import Image

    small = np.asarray(Image.fromarray(picture).resize((WIDTH, 2 * HEIGHT), Image.Resampling.BOX))
    lines = []
    for above, below in zip(small[::2], small[1::2], strict=True):
        pairs = zip(above.tolist(), below.tolist(), strict=True)
        lines.append("".join("\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*a, *b) for a, b in pairs) + "\x1b[0m")
    return "\n".join(lines)
