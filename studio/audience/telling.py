"""What is told of an artefact in one register, as far as it is attended."""

from __future__ import annotations

from collections.abc import Mapping

from studio.audience.attention import UNTOLD, Attention
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
        return line(attention.told(self.slots[moment], self._register, moment))

    def compared(self, then: int, now: int, attention: Attention) -> str:
        """What is different between two moments, as far as it is attended; of tokens, those that are not the same."""
        if self._register == "tokens":
            before, after = (attention.held(self._tokens[moment]) for moment in (then, now))
            pairs = [(a, b) if a != b else (UNTOLD, UNTOLD) for a, b in zip(before, after, strict=True)]
            return " to ".join(map("".join, zip(*pairs, strict=True))) if before != after else "alike"
        told = [attention.told(self.slots[moment], self._register) for moment in (then, now)]
        apart = [f"{name} {told[0][name]} to {told[1][name]}" for name in told[0] if told[0][name] != told[1][name]]
        return ", ".join(apart) or "alike"
