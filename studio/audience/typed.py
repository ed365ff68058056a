"""A person who steers: what is typed is a change of the piece, validated and bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pieces.errors import DescantError
from pieces.knobs import Choice, Knob
from pieces.piece import Piece, check_piece
from pieces.source import nearest
from studio.audience.cube import adjustable, checked, shown
from studio.audience.optimisers import SteererError
from studio.audience.proposal import Answer, Converse, Proposal, same
from studio.audience.text import plain

#: Lines that are refused, one after the other, before the piece is left as it is.
PATIENCE = 10
_TRUTHS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


class Typed:
    """A person turns the knobs: ``knob = value``, several behind each other with commas; an empty line leaves all.

    Parameters
    ----------
    piece : Piece
    seed : int
        It plays no part.
    converse : callable
        Shows a text and returns what is typed; None ends the steering.
    base : Path, optional
        Folder that the piece's relative paths are read against.
    """

    def __init__(self, piece: Piece, seed: int, converse: Converse, base: Path | None = None) -> None:
        self.seed = seed
        self._piece, self._converse, self._base = piece, converse, base
        turnable = adjustable(piece, check_piece(piece, piece.title, base))
        self._knobs = {one.knob.path: one.knob for one in turnable}
        self._written = {one.knob.path: one.written for one in turnable}

    def propose(self, history: Sequence[Answer]) -> Proposal | None:
        """What is typed, on top of the changes so far; whoever types what cannot be is told why, and asked again."""
        held = dict(history[-1].changes) if history else {}
        told = self._told(held)
        for _ in range(PATIENCE):
            line = self._converse(told)
            if line is None:
                return None
            if not line.strip():
                return same("human", self.seed, history, "Nothing was turned: the same piece again.")
            try:
                changes = self._read(line)
                checked(self._piece, {**held, **changes}, self._base)
            except DescantError as error:
                told = f"refused: {error}"
                continue
            return Proposal(
                steerer="human",
                seed=self.seed,
                changes={**held, **changes},
                reason=f"Typed by a person: {plain(line)}",
                parents=tuple(answer.take for answer in history[-1:]),
            )
        return same("human", self.seed, history, f"{PATIENCE} lines were refused, the last one: {plain(told)}")

    def _told(self, held: Mapping[str, Choice]) -> str:
        """All knobs, what they stand at, and what they may be."""
        standing = {path: held.get(path, written) for path, written in self._written.items()}
        lines = [f"{path} = {shown(standing[path])} ({knob.allowed})" for path, knob in self._knobs.items()]
        return "\n".join([*lines, "knob = value:"])

    def _read(self, line: str) -> dict[str, Choice]:
        """The changes that a line says."""
        changes = {}
        for said in line.split(","):
            name, equals, value = (part.strip() for part in said.partition("="))
            if not equals:
                raise SteererError(f"{plain(said, 40)!r}: type knob = value")
            knob = self._found(name)
            changes[knob.path] = knob.check(_meant(value, knob))
        return changes

    def _found(self, name: str) -> Knob:
        """The knob of a path, or of its end where only one has it."""
        if name in self._knobs:
            return self._knobs[name]
        ends = [path for path in self._knobs if path.endswith(f".{name}")]
        if len(ends) > 1:
            raise SteererError(f"{plain(name, 40)!r} may be any of {', '.join(ends)}: give more of its path")
        if not ends:
            known = self._knobs if "." in name else [path.rpartition(".")[2] for path in self._knobs]
            raise SteererError(f"no knob {plain(name, 60)!r}{nearest(name[:60], known)}")
        return self._knobs[ends[0]]


def _meant(text: str, knob: Knob) -> Choice:
    """A typed value in the type that the knob has; what is none of that stays text, and is refused by the knob."""
    text = plain(text, 60)
    if knob.choices:
        return next((choice for choice in knob.choices if str(choice) == text), _TRUTHS.get(text.lower(), text))
    try:
        return float(text)
    except ValueError:
        return text
