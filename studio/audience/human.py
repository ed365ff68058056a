"""A person who attends: the same game in the terminal, with the same words, and with the sound and the pictures.

Titles and labels are hidden from people too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pieces.errors import DescantError
from studio.audience import terminal
from studio.audience.game import HELP
from studio.audience.kept import Kept, played
from studio.audience.predictions import parse
from studio.audience.text import plain
from studio.audience.visitor import (
    AudienceError,
    Decision,
    Fact,
    Question,
    Reconsidered,
    Report,
    Sense,
    certain,
)
from studio.words.artefact import Artefact
from studio.words.registers import Register

#: Rows that stay free for what is asked: the options, and the line that is typed.
ASKING = 4
#: What may be typed besides options.
QUIT = "quit"
OWN = ("help", "see", "save", QUIT)
MANNERS = """\
Type a command in one line (listen on, attend pitch, predict louder=3 nothing=1) or a word at a time.
The beginning of a word will do, and Tab completes it. An empty line, or back: another command after all.
see: the pictures of the moments that you heard last. see MOMENT: that one, large.
save, or save NAME: these moments as files, sound and pictures.
help, or help COMMAND: this. quit: out, and the visit ends."""
#: What may be said besides the options.
_FREELY = {"predict": "or several with weights: louder=3 nothing=1", "say": "or words of your own"}


class Human:
    """Whoever sits at the terminal.

    Parameters
    ----------
    argument : str
        Nothing.
    cache : Path
        Not used: a person remembers.
    hear : callable, optional
        Asks for a line of text, of which some words may be completed; default: at the terminal. EOFError or
        KeyboardInterrupt: the person has gone.
    say : callable, optional
        Shows a text; default: on standard error.
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
        hear: Callable[[str, Sequence[str]], str] = terminal.hear,
        say: Callable[[str], None] = terminal.show,
        silent: bool = False,
    ) -> None:
        if argument:
            raise AudienceError(f"human:{argument}: human takes nothing behind a colon")
        self._hear, self._say, self._seen, self._heard = hear, say, not silent, not silent
        self._kept: Kept | None = None
        self._verb = self._rest = ""
        self._leaving = False

    def begin(self, instruction: str, seed: int) -> None:
        """Told once, at the beginning."""
        self._kept, self._verb, self._rest, self._leaving = None, "", "", False
        self._say(f"{instruction}\n(help: what can be typed. quit: out.)")

    def observe(self, text: str, clips: Sequence[Artefact] = ()) -> None:
        """Seen, read and heard: the words stay on the screen, below the pictures."""
        if clips:
            self._kept = Kept.of(text, clips)
        columns, rows = terminal.size()
        if clips and self._seen:
            self._draw(rows - len(terminal.wrapped(text, columns)) - ASKING)
        self._say(text)
        for clip in clips:
            if self._heard:
                self._sound(clip)

    def _draw(self, rows: int, moment: str = "") -> None:
        """The pictures of the last moments, or of one of them, in so many rows."""
        depth = terminal.depth()
        if self._kept is None or depth is None:
            return
        for shown in self._kept.pictures(moment):
            terminal.draw(terminal.strip(shown, terminal.size()[0] - 1, rows // len(self._kept.clips), depth))

    def _sound(self, clip: Artefact) -> None:
        """Play a clip; where there is no device that is said once, and the visit goes on in words."""
        try:
            played(clip)
        except KeyboardInterrupt:  # of the sound, not of the visit
            self._say("The sound was stopped.")
        except DescantError as error:
            self._say(f"note: {str(error).partition('; the sound is in')[0]}; save writes what you heard to a file")
            self._heard = False

    def decide(self, question: Question) -> Decision:
        """What is typed: an option, or the beginning of one; a prediction may weigh several.

        Raises
        ------
        Reconsidered
            If it is another command after all, or there will be no answer.
        AudienceError
            If the person has gone.
        """
        inside = question.about == self._verb != ""
        rest, verb, self._rest, self._verb = self._rest, self._verb, "", ""
        if rest and not inside:
            self._say(f"{verb} stands alone: {rest!r} was left out.")
        if question.about:
            return self._argument(question, rest if inside else "", inside)
        return certain(question.options, self._command(question))

    def _command(self, question: Question) -> str:
        """A verb; what is typed behind it is kept for when its argument is asked for."""
        if self._leaving:
            return "leave"
        self._say(f"{', '.join(question.options)}; help, quit (budget {question.budget:.1f})")
        while True:
            word, _, rest = self._line(question).partition(" ")
            if word == QUIT:
                self._leaving = True
                return "leave"
            found = meant(word, question.options)
            if len(found) == 1:
                self._verb, self._rest = found[0], rest
                return found[0]
            if word:
                self._say(refusal(word, found, question.options))

    def _argument(self, question: Question, rest: str, inside: bool) -> Decision:
        """What a command is about; or, not `inside` one, the answer to a question that stands alone."""
        if rest:
            if decision := self._answered(question, rest):
                return decision
            raise Reconsidered(f"{question.about} {rest}: refused")
        if len(question.options) == 1:
            self._say(f"{question.about} {question.options[0]}")
            return certain(question.options, question.options[0])
        free = f", {_FREELY[question.about]}" if question.about in _FREELY else ""
        self._say(f"{listed(question.options)}{free} ({'an empty line: back' if inside else 'quit: no answer'})")
        while True:
            typed = self._line(question)
            if typed == QUIT or (inside and typed.lower() in ("", "back")):
                self._leaving = typed == QUIT
                raise Reconsidered("the visitor gave no answer")
            if typed and (decision := self._answered(question, typed)):
                return decision

    def _line(self, question: Question) -> str:
        """A line that is no matter between the person and the terminal: quit, back, or what may be an answer."""
        words = (*question.options, *OWN) if not question.about else (*" ".join(question.options).split(), "back", *OWN)
        while True:
            try:
                typed = plain(self._hear(question.asks, words))
            except (EOFError, KeyboardInterrupt):
                raise AudienceError("the visitor has gone: no more answers at the terminal") from None
            word, _, rest = typed.partition(" ")
            word = word.lower()
            if rest and question.about == "say":
                return typed
            if word in ("help", "?"):
                self._say(helped(rest.lower() or question.about))
            elif word == "see":
                self._see(rest.lower())
            elif word == "save":
                self._save(rest)
            else:
                return QUIT if typed.lower() in (QUIT, "q", "exit") else typed

    def _answered(self, question: Question, typed: str) -> Decision | None:
        """What a line means; None where it was refused."""
        found = meant(typed, question.options)
        if question.about == "say":
            return certain(question.options, typed.lower() if typed.lower() in question.options else typed)
        if len(found) == 1:
            return certain(question.options, found[0])
        if question.about == "predict" and not found:
            try:
                shares = parse(weights(typed))
            except DescantError as error:
                self._say(f"{error}.")
                return None
            most = max(shares, key=lambda word: shares[word])
            return Decision(most, tuple(shares.get(word, 0.0) for word in question.options))
        self._say(refusal(typed, found, question.options))
        return None

    def _see(self, moment: str) -> None:
        if self._kept is None:
            self._say("There is nothing to see: nothing was heard yet.")
        elif moment and not self._kept.pictures(moment):
            self._say(f"see {moment!r}: allowed are {listed(self._kept.moments)}.")
        elif terminal.depth() is None:
            self._say("There is no terminal to draw in: save writes the pictures to files.")
        else:
            self._draw(terminal.size()[1] - ASKING, moment)

    def _save(self, name: str) -> None:
        if self._kept is None:
            self._say("There is nothing to save: nothing was heard yet.")
            return
        try:
            self._say(f"Saved: {', '.join(map(str, self._kept.save(name)))}.")
        except DescantError as error:
            self._say(f"{error}.")

    def report(self) -> Report:
        """A person is not measured."""
        return Report()

    def about(self) -> Mapping[str, Fact]:
        """Nobody's name is kept."""
        return {}


def meant(typed: str, options: Sequence[str]) -> list[str]:
    """The options that may be meant: the one that it is, else all that begin so. A number is that number alone.

    Examples
    --------
    >>> meant("3", ["on", "0", "30"]), meant("LI", ["look", "listen"])
    ([], ['listen'])
    """
    word = typed.lower()
    if word.isdecimal():
        word = str(int(word))
    if word in options or word.isdecimal():
        return [word] if word in options else []
    return [option for option in options if word and option.startswith(word)]


def listed(options: Sequence[str]) -> str:
    """Options for people: whole numbers that follow each other are a range.

    Examples
    --------
    >>> listed(["on", "0", "1", "2", "3", "7"])
    'on, 0 to 3, 7'
    """
    runs: list[list[str]] = []
    for option in options:
        if runs and option.isdecimal() and runs[-1][-1].isdecimal() and int(option) == int(runs[-1][-1]) + 1:
            runs[-1].append(option)
        else:
            runs.append([option])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def refusal(typed: str, found: Sequence[str], options: Sequence[str]) -> str:
    """Why a line is no answer."""
    if found:
        return f"{plain(typed, 40)!r} may be {' or '.join(found)}: give more of it."
    return f"{plain(typed, 40)!r}: allowed are {listed(options)}."


def weights(typed: str) -> str:
    """Weights as they are written by people, as `parse` reads them.

    Examples
    --------
    >>> weights("Nothing 0.7, louder: 30%")
    'nothing=0.7 louder=30'
    """
    words = re.sub(r"[,;%]", " ", typed.lower())
    return " ".join(re.sub(r"\s*[=:]\s*|(?<=[a-z])\s+(?=[\d.])", "=", words).split())


def helped(command: str) -> str:
    """What can be typed, or what one command does."""
    verbs = dict(re.findall(r"(\w+): (.*?)(?=\s+\w+: |\Z)", HELP, re.DOTALL))
    if command not in verbs:
        return f"{HELP}\n{MANNERS}"
    free = f" One of those shown, {_FREELY[command]}." if command in _FREELY else ""
    return f"{command}: {verbs[command]}{free}"
