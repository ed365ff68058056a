"""What is told of an artefact in one register, as far as it is attended."""

from __future__ import annotations

from collections.abc import Mapping

from studio.audience.attention import Attention
from studio.words.artefact import Artefact
from studio.words.registers import Register, Slot, line, slots, spoken


class Telling:
    """An artefact's moments in words.

    Attributes
    ----------
    artefact : Artefact
    slots : tuple of dict
        What there is to be told of each moment, by the names in `studio.words.registers.SLOTS`.
    """

    def __init__(self, artefact: Artefact, register: Register) -> None:
        self.artefact, self._register = artefact, register
        self.slots: tuple[Mapping[str, Slot], ...] = slots(artefact)
        self._tokens = spoken(artefact, "tokens") if register == "tokens" else ()

    def __len__(self) -> int:
        return len(self.slots)

    def told(self, moment: int, attention: Attention) -> str:
        """A moment as one line: of what is attended more, of the rest less."""
        if self._register == "tokens":
            return attention.held(self._tokens[moment])
        return line(attention.told(self.slots[moment], self._register))
