"""Knobs: which values of a piece a steerer may turn, and between what."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from pieces.errors import ControlError
from pieces.metre import Model

#: What a knob may be turned to.
Choice: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr


class Knob(Model):
    """A value of the piece that a steerer may turn: its dotted path, and what it may be.

    A number lies in `range`, and equal steps are equal in its `shape`; `whole` numbers have equal shares of it. What is
    no number, or only some of them, is one of `choices`.
    """

    #: How much of the range is one step.
    STEP: ClassVar[float] = 0.25

    path: str
    range: tuple[float, float] | None = None
    shape: Literal["linear", "log"] = "linear"
    whole: bool = False
    choices: tuple[Choice, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Knob:
        if (self.range is None) != bool(self.choices):
            raise ValueError("give 'range' (of a number) or 'choices', and not both")
        if len(set(self.choices)) < len(self.choices) or len(self.choices) == 1:
            raise ValueError(f"choices {list(self.choices)}: allowed are two or more that differ")
        low, high = self.range or (0.0, 1.0)
        if not low < high:
            raise ValueError("range must rise")
        if self.shape == "log" and low <= 0:
            raise ValueError("a log knob needs a positive range")
        if self.whole and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"range [{low:g}, {high:g}]: whole numbers need whole ends")
        return self

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        if self.range is None:
            return ", ".join(map(str, self.choices))
        return f"{'whole ' if self.whole else ''}numbers from {self.range[0]:g} to {self.range[1]:g}"

    def value(self, u: float) -> Choice:
        """Value at `u` in 0..1."""
        if self.range is None:
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        low, high = self._ends
        number = self._clipped(low * (high / low) ** u if self.shape == "log" else low + u * (high - low))
        return round(number) if self.whole else number

    def position(self, value: Choice) -> float:
        """Inverse of `value`, in 0..1 (numbers are clipped); of what has a share of it, the middle.

        Raises
        ------
        ControlError
            If it is none of the choices.
        """
        if self.range is None:
            return (self._place(value) + 0.5) / len(self.choices)
        (low, high), number = self._ends, self._clipped(float(value))
        if self.shape == "log":
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)

    def stepped(self, value: Choice, way: Literal[-1, 1]) -> Choice:
        """One step up or down: `STEP` of the range and a whole number at least, or the next choice; ends hold.

        Raises
        ------
        ControlError
            If it is none of the choices.
        """
        if self.range is None:
            return self.choices[min(max(self._place(value) + way, 0), len(self.choices) - 1)]
        new = self.value(min(max(self.position(value) + way * self.STEP, 0.0), 1.0))
        return int(self._clipped(float(value) + way)) if self.whole and new == value else new

    def check(self, value: Any) -> Choice:
        """`value` in the knob's own type.

        Raises
        ------
        ControlError
            If it is of another kind or beyond the range; the message names what is allowed.
        """
        if self.range is None:
            return self.choices[self._place(value)]
        low, high = self.range
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (self.whole and value != int(value)):
            raise ControlError(f"{self.path} = {value!r}: allowed are {self.allowed}")
        return int(value) if self.whole else float(value)

    @property
    def _ends(self) -> tuple[float, float]:
        """Where 0 and 1 are: half a number beyond the range where numbers are whole, which gives each its share."""
        assert self.range is not None
        low, high = self.range
        return (low - 0.5, high + 0.5) if self.whole else (low, high)

    def _clipped(self, number: float) -> float:
        assert self.range is not None
        return min(max(number, self.range[0]), self.range[1])

    def _place(self, value: object) -> int:
        """Which choice it is; yes and no are not 1 and 0."""
        for i, choice in enumerate(self.choices):
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return i
        raise ControlError(f"{self.path} = {value!r}: allowed are {self.allowed}")
