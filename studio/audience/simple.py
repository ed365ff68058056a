"""Visitors that do not listen: one that chooses evenly, one that follows a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from studio.audience.predictions import parse
from studio.audience.text import plain
from studio.audience.visitor import AudienceError, Decision, Fact, Question, Report, Sense, certain, drawn
from studio.words.artefact import Artefact
from studio.words.registers import Register

#: Characters of a script that are read.
LONGEST = 1 << 20


class _Deaf:
    """What those have in common who do not listen."""

    register: ClassVar[Register] = "prose"
    senses: ClassVar[frozenset[Sense]] = frozenset()

    def observe(self, text: str, clips: Sequence[Artefact] = ()) -> None:
        """It does not listen."""

    def report(self) -> Report:
        """Nothing was measured."""
        return Report()

    def about(self) -> Mapping[str, Fact]:
        """There is nothing to know."""
        return {}


class RandomVisitor(_Deaf):
    """Chooses evenly: what any other visitor is held against."""

    name = "random"

    def __init__(self, argument: str = "", cache: Path | None = None) -> None:
        if argument:
            raise AudienceError(f"random:{argument}: random takes nothing behind a colon")

    def begin(self, instruction: str, seed: int) -> None:
        """Draws follow from the seed alone."""
        self._rng = np.random.default_rng(seed)

    def decide(self, question: Question) -> Decision:
        """Any of the options."""
        return drawn(question.options, np.ones(len(question.options)), self._rng)


class ScriptedVisitor(_Deaf):
    """Plays given commands, and leaves at their end.

    Parameters
    ----------
    commands : sequence of str
        As the game takes them. ``go`` may name a room by its place: ``go 0`` is the first.
    """

    name = "scripted"
    #: Who follows a script rates where the script says so.
    rates = False

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = tuple(commands)

    def begin(self, instruction: str, seed: int) -> None:
        """From the first command on."""
        self._next = 0
        self._argument = ""

    def decide(self, question: Question) -> Decision:
        """The next command's verb, then its argument.

        Raises
        ------
        AudienceError
            If the game does not allow it now.
        """
        if not question.about:
            line = self._commands[self._next] if self._next < len(self._commands) else "leave"
            self._next += 1
            verb, _, self._argument = line.partition(" ")
            if verb not in question.options:
                allowed = ", ".join(question.options)
                raise AudienceError(f"script: {plain(line, 40)!r} is not allowed now; allowed are {allowed}")
            return certain(question.options, verb)
        if question.about == "predict" and self._argument not in question.options:
            shares = parse(self._argument)
            most = max(shares, key=lambda word: shares[word])
            return Decision(most, tuple(shares.get(word, 0.0) for word in question.options))
        if question.about == "go" and self._argument.isdecimal() and int(self._argument) < len(question.options):
            return certain(question.options, question.options[int(self._argument)])
        return certain(question.options, self._argument or question.options[0])


def scripted(argument: str, cache: Path) -> ScriptedVisitor:
    """A visitor whose commands stand in a file, one a line; what follows a # is not read.

    Raises
    ------
    AudienceError
        If the file cannot be read.
    """
    try:
        with Path(argument).expanduser().open(encoding="utf-8") as file:
            lines = file.read(LONGEST).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AudienceError(f"scripted:{argument}: give a file of commands, one a line ({error})") from error
    said = (line.partition("#")[0].strip() for line in lines)
    return ScriptedVisitor([line for line in said if line])
