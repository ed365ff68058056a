"""Steerers: from what was heard, and what came of it, to what is made next.

A steerer keeps nothing between proposals: the next one is a function of seed and history, so that it replays from the
archive. Only what a person types is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pieces.piece import Piece, check_piece
from pieces.source import nearest
from studio.audience.cube import Cube, knobs_of
from studio.audience.optimisers import SteererError, make, optimiser_names
from studio.audience.proposal import Answer, Converse, Proposal, Steerer, Try, same


class Unmoved:
    """Proposes the same piece again and again: what steering is held against."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def propose(self, history: Sequence[Answer]) -> Proposal:
        """What was made last."""
        return same("none", self.seed, history, "Nothing is steered: the same piece again.")


class KnobSteerer:
    """An optimiser with its hands on the knobs of a piece.

    Parameters
    ----------
    piece : Piece
        Its own knobs are turned or, where it names none, those that are found: see `studio.audience.cube.knobs_of`.
    name : str
        See `studio.audience.optimisers.optimiser_names`.
    seed : int
    base : Path, optional
        Folder that the piece's relative paths are read against.

    Raises
    ------
    SteererError
        If the piece has nothing to turn, or there is no such optimiser.
    PieceError
        If a knob turns nothing.
    """

    def __init__(self, piece: Piece, name: str, seed: int, base: Path | None = None) -> None:
        self.name, self.seed = name, seed
        self.cube = Cube(knobs_of(piece, check_piece(piece, piece.title, base)))
        if not self.cube.knobs:
            raise SteererError(f"piece {piece.title!r} has no knobs, and nothing that could be one: add [[knobs]]")
        make(name, self.cube.dims, seed)

    def propose(self, history: Sequence[Answer]) -> Proposal:
        """The next values of the knobs, given the ratings of all takes so far; takes without one say nothing."""
        optimiser = make(self.name, self.cube.dims, self.seed, self.cube.snap)
        rated = [answer for answer in history if answer.value is not None]
        for answer in rated:
            assert answer.value is not None
            optimiser.tell(self.cube.point(answer.changes), answer.value)
        asked = [optimiser.ask() for _ in range(1 + len(history) - len(rated))]
        changes = self.cube.values(np.asarray(asked[-1], dtype=np.float64))
        return Proposal(
            steerer=self.name,
            seed=self.seed,
            changes=changes,
            point=tuple(self.cube.point(changes).tolist()),
            reason=optimiser.why(),
            parents=tuple(answer.take for answer in rated),
        )


class Yoked:
    """Steers by another visitor's ratings: as `gp`, but the k-th take counts as the other's k-th was rated.

    So a visitor has the same stream of changes, with nothing to do with what it answered (Church 1964, "Systematic
    effect of random error in the yoked control", says what this can and cannot show).

    Parameters
    ----------
    piece, seed, base
        See `KnobSteerer`.
    recorded : sequence of float or None
        The ratings of an earlier run, in 0..1 and in the order of its takes.
    whose : str
        Who rated; the reason names it.

    Raises
    ------
    SteererError
        If nothing was rated, or the piece has nothing to turn.
    """

    def __init__(
        self, piece: Piece, seed: int, recorded: Sequence[float | None], whose: str, base: Path | None = None
    ) -> None:
        if all(value is None for value in recorded):
            raise SteererError(
                "yoked steers by the ratings of another visitor: name a run in which there are some, by its last take"
            )
        self.seed, self.recorded, self.whose = seed, tuple(recorded), whose
        # Not its own seed: from that, the same ratings would lead the way of whoever gave them, step by step.
        apart = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
        self._steerer = KnobSteerer(piece, "gp", apart, base)

    def propose(self, history: Sequence[Answer]) -> Proposal:
        """What the other's ratings lead to; takes beyond its last say nothing."""
        values = (*self.recorded, *[None] * len(history))
        others = [replace(answer, value=value) for answer, value in zip(history, values, strict=False)]
        found = self._steerer.propose(others)
        reason = f"By the ratings of {self.whose}, and not its own: {found.reason}"
        return found.model_copy(update={"steerer": "yoked", "seed": self.seed, "reason": reason})


def steerer_names() -> list[str]:
    """Names of all steerers: built in and installed."""
    return sorted({*optimiser_names(), "none", "yoked", "wish", "human"})


def appoint(
    name: str,
    piece: Piece,
    seed: int,
    base: Path | None = None,
    *,
    recorded: Sequence[float | None] = (),
    whose: str = "another visitor",
    try_: Try | None = None,
    converse: Converse | None = None,
) -> Steerer:
    """The steerer called `name`, at work on a piece.

    Parameters
    ----------
    base : Path, optional
        Folder that the piece's relative paths are read against.
    recorded, whose
        What ``yoked`` goes by.
    try_ : callable, optional
        How ``wish`` tries a change before it proposes it.
    converse : callable, optional
        How ``human`` speaks with a person.

    Raises
    ------
    DescantError
        If there is no such steerer, it lacks what it needs, or the piece has nothing to turn.
    """
    if name not in steerer_names():
        raise SteererError(f"no steerer {name!r}{nearest(name, steerer_names())}")
    if name == "none":
        return Unmoved(seed)
    if name == "yoked":
        return Yoked(piece, seed, recorded, whose, base)
    if name == "wish":
        from studio.audience.wishes import Wishes

        if try_ is None:
            raise SteererError("wish tries every change before it proposes one: it needs whoever performs the piece")
        return Wishes(piece, seed, try_, base)
    if name == "human":
        from studio.audience.typed import Typed

        if converse is None:
            raise SteererError("human needs a person who types: run it in a terminal")
        return Typed(piece, seed, converse, base)
    return KnobSteerer(piece, name, seed, base)
