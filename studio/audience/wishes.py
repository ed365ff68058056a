"""A visitor's wish as a change of the piece: tried first, and proposed only where it is heard or seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pieces.errors import DescantError
from pieces.knobs import Choice, Knob
from pieces.piece import Piece, check_piece
from pieces.source import nearest
from studio.audience.cube import adjustable, checked, shown
from studio.audience.optimisers import SteererError
from studio.audience.proposal import Answer, Proposal, Try, same
from studio.audience.text import plain
from studio.words.artefact import Artefact
from studio.words.moments import NOTICED, measure, noticed
from studio.words.registers import CHANGES

#: What each wish asks of which quantity: more (1), less (-1), or another (0).
WISHES: dict[str, tuple[str, int]] = {
    word: (what, 0 if more == less else way)
    for what, (more, less) in CHANGES.items()
    if what in NOTICED
    for word, way in ((more, 1), (less, -1))
}
#: The least share of a difference that is easily noticed (`NOTICED`) by which a change must move what was wished for.
LEAST = 1 / 3
#: Most knobs that are tried, a step up and a step down each.
MOST = 16
_WAYS: tuple[Literal[-1, 1], ...] = (1, -1)


@dataclass(frozen=True)
class _Trial:
    """One knob turned by one step, and by how many noticed differences that moves what was wished for."""

    knob: Knob
    before: Choice
    after: Choice
    gain: float

    def __str__(self) -> str:
        return f"{self.knob.path} from {shown(self.before)} to {shown(self.after)} ({self.gain:+.3f})"


class Wishes:
    """Does what a visitor wished, as far as one step of one knob can.

    Every step up and down is performed as a short trial and measured as the audience perceives it; the one that moves
    what was wished for most is proposed, on top of the changes so far. Where none moves it by `LEAST` of a difference
    that is easily noticed, the wish is refused: the same piece again, and the reason says why.

    Parameters
    ----------
    piece : Piece
    seed : int
        It plays no part.
    try_ : callable
        Performs the piece with some changes.
    base : Path, optional
        Folder that the piece's relative paths are read against.
    """

    def __init__(self, piece: Piece, seed: int, try_: Try, base: Path | None = None) -> None:
        self.seed = seed
        self._piece, self._try, self._base = piece, try_, base
        self._turnable = adjustable(piece, check_piece(piece, piece.title, base))[:MOST]
        if not self._turnable:
            raise SteererError(f"piece {piece.title!r} has nothing that could be turned: add [[knobs]]")

    def propose(self, history: Sequence[Answer]) -> Proposal:
        """What was wished most often during the last take, and last among what was wished as often."""
        wishes = [plain(wish, 40).lower() for wish in history[-1].wishes] if history else []
        if not wishes:
            return self._refused(history, "Nothing was wished: the same piece again.")
        counted = Counter(reversed(wishes))
        wish = counted.most_common(1)[0][0]
        if wish not in WISHES:
            return self._refused(history, f"The wish {wish!r} is refused: it is none{nearest(wish, WISHES)}.")
        return self._served(wish, history)

    def _refused(self, history: Sequence[Answer], reason: str) -> Proposal:
        return same("wish", self.seed, history, reason)

    def _served(self, wish: str, history: Sequence[Answer]) -> Proposal:
        held, quantity = history[-1].changes, WISHES[wish][0]
        try:
            heard = perceived(self._try(held))[quantity]
        except DescantError as error:
            return self._refused(history, f"The wish {wish!r} is refused: the piece could not be tried: {error}")
        if np.isnan(heard):
            return self._refused(history, f"The wish {wish!r} is refused: nothing in the take has a {quantity}.")
        trials = list(self._trials(wish, heard, held))
        best = max(trials, key=lambda trial: trial.gain, default=None)
        if best is None or best.gain < LEAST:
            found = f"; the most is {best}" if best else ""
            return self._refused(
                history,
                f"The wish {wish!r} is refused: of {len(trials)} changes tried none moves the {quantity} "
                f"by {LEAST:.3f} noticed differences{found}.",
            )
        return Proposal(
            steerer="wish",
            seed=self.seed,
            changes={**held, best.knob.path: best.after},
            reason=f"The wish {wish!r}: of {len(trials)} changes tried, in noticed differences of {quantity}, {best}.",
            parents=(history[-1].take,),
        )

    def _trials(self, wish: str, heard: float, held: Mapping[str, Choice]) -> Iterator[_Trial]:
        """Whatever can be performed, measured in the wished direction."""
        for one in self._turnable:
            before = held.get(one.knob.path, one.written)
            for way in _WAYS:
                after = one.knob.stepped(before, way)
                if after == before:
                    continue
                changes = {**held, one.knob.path: after}
                try:
                    checked(self._piece, changes, self._base)
                    gain = moved(wish, heard, perceived(self._try(changes))[WISHES[wish][0]])
                except DescantError:
                    continue
                if not np.isnan(gain):
                    yield _Trial(one.knob, before, after, gain)


def perceived(artefact: Artefact) -> dict[str, float]:
    """What an artefact is on the whole: means over its moments, in noticed differences, of all of `NOTICED`.

    NaN where there is none of it. A pitch counts where there is one pitch, since of a chord only pitch classes are
    known; hues, six to the circle, have a mean direction.
    """
    moments = measure(artefact)
    rows = np.array([noticed(moment) for moment in moments]).reshape(len(moments), len(NOTICED))
    found = dict(zip(NOTICED, rows.T, strict=True))
    found["pitch"] = np.where(np.isnan([moment.pitch for moment in moments]), np.nan, found["pitch"])
    means = {name: float(np.nanmean(row)) if not np.isnan(row).all() else np.nan for name, row in found.items()}
    hue = found["hue"][~np.isnan(found["hue"])]
    if len(hue):
        means["hue"] = float(np.angle(np.exp(1j * hue * np.pi / 3).mean()) * 3 / np.pi)
    return means


def moved(wish: str, before: float, after: float) -> float:
    """Noticed differences by which a quantity went as was wished."""
    quantity, way = WISHES[wish]
    apart = after - before
    if quantity == "hue":
        apart = (apart + 3) % 6 - 3
    return abs(apart) if not way else way * apart
