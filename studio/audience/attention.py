"""Attention as a feedback loop: what is attended is told in more detail, the rest in less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from studio.words.registers import SLOTS, Register, Slot
from studio.words.tokens import FIELDS

#: What may be attended, and the slots of a moment's words that belong to it.
THINGS: dict[str, tuple[str, ...]] = {
    "pitch": ("pitch", "glide"),
    "level": ("level", "side"),
    "timbre": ("timbre", "surface"),
    "rhythm": ("onsets", "rhythm", "notes"),
    "colour": ("hue", "light"),
    "motion": ("motion", "place"),
}
#: Gains at which a thing is told no more, from which its words are told of every moment, and from which in numbers too.
FAINT, PLAIN, CLEAR = 0.5, 0.9, 1.5
#: The thing that a token speaks of.
HEARD = {
    "pitch": "pitch", "brightness": "timbre", "loudness": "level", "texture": "timbre", "hue": "colour",
    "light": "colour", "motion": "motion", "place": "motion",
}  # fmt: skip
#: Stands where nothing is told, and for a digit that is not; the gain from which numbers and tokens are told whole.
UNTOLD, UNKNOWN, WHOLE = "-", "x", 1 - 1e-9
_THING = {slot: thing for thing, slots in THINGS.items() for slot in slots}


@dataclass
class Attention:
    """A gain for each thing; all together they stay what they were.

    Parameters
    ----------
    rate : float
        Share of the way to the ceiling that a gain goes when its thing is attended.
    ceiling : float
        The most that a gain can be.
    damping : float
        Share of the way back to 1 that every gain goes with each stretch that is heard.
    """

    rate: float = 0.6
    ceiling: float = 2.5
    damping: float = 0.1
    gains: dict[str, float] = field(default_factory=lambda: dict.fromkeys(THINGS, 1.0))

    def attend(self, thing: str) -> None:
        """Raise the gain of a thing; those of the others fall alike."""
        raised = self.gains[thing] + self.rate * (self.ceiling - self.gains[thing])
        others = len(THINGS) - raised
        share = others / (len(THINGS) - self.gains[thing])
        self.gains = {name: raised if name == thing else gain * share for name, gain in self.gains.items()}

    def rest(self) -> None:
        """What was not attended again loses some of its gain, and the others win it back."""
        self.gains = {name: gain + self.damping * (1 - gain) for name, gain in self.gains.items()}

    def told(self, said: Mapping[str, Slot], register: Register = "prose", moment: int = 0) -> dict[str, str]:
        """What is told of a moment: nothing of what is faint, and the more the clearer a thing is.

        In prose its number stands beside the word of what is clear, and what fell while another thing was attended is
        told at every second moment, or every fourth; a number that is not attended ends with an `UNKNOWN` digit. So a
        line's length follows from attention alone, and from which moment it is.
        """
        tell = self._word if register == "prose" else self._number
        gains = {name: self.gains[_THING[name]] if name in _THING else 1.0 for name in said}
        return {name: UNTOLD if gains[name] < FAINT else tell(gains[name], slot, moment) for name, slot in said.items()}

    def _word(self, gain: float, slot: Slot, moment: int) -> str:
        if moment % self._every(gain, PLAIN):
            return UNTOLD
        return f"{slot.word} {slot.number}" if gain >= CLEAR else slot.word

    @staticmethod
    def _number(gain: float, slot: Slot, moment: int) -> str:
        return slot.number[:-1] + UNKNOWN if gain < WHOLE else slot.number

    def held(self, letters: str) -> str:
        """A moment in tokens: what is not attended is told at every second step, or every fourth, or not at all."""
        every = [self._every(self.gains[HEARD[name]], WHOLE) for name in FIELDS]
        return "".join(
            letter if every[i % len(every)] and not i // len(every) % every[i % len(every)] else UNTOLD
            for i, letter in enumerate(letters)
        )

    @staticmethod
    def _every(gain: float, whole: float) -> int:
        """Of how many steps or moments one is told; 0: none."""
        return 0 if gain < FAINT else 4 if gain < (1 + FAINT) / 2 else 2 if gain < whole else 1


assert set(_THING) | set(SLOTS["course"]) == {name for names in SLOTS.values() for name in names}
