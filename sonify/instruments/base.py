"""What an instrument declares: its parameters, how lanes become controls (numpy), how controls become sound (pyo)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Where equal steps of a lane are equal to the ear (`sonify.mapping.SPACES`).
Space: TypeAlias = Literal["linear", "log2", "mel", "erb", "bark", "db"]
#: One instrument parameter over time: a number where it never changes, else values at the control rate.
Lane: TypeAlias = float | NDArray[np.float64]
#: A pyo object (pyo is untyped and never imported outside the rendering process).
Signal: TypeAlias = Any

#: Control points per second; between them everything is interpolated linearly at audio rate.
CONTROL_RATE = 1000


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an instrument: what it does, its unit and range, and the space where equal steps are equal.

    A `whole` parameter is a number without fraction that never changes (a count), so it cannot be mapped.
    """

    name: str
    about: str
    unit: str
    range: tuple[float, float]
    default: float
    space: Space
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Onset:
    """One note of an event instrument: when (seconds), and its parameters at that moment."""

    time: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A recorded sound: `samples` float64 [n], mono, and their `rate` in hertz."""

    samples: NDArray[np.float64]
    rate: int


class Instrument(ABC):
    """A synthesiser with declared parameters.

    Lanes become controls in numpy, where decays and fades below the Nyquist frequency are plain arrays; controls become
    sound in pyo. An instrument is mono; pan, level and envelope are the renderer's.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]]
    #: True for an instrument that sounds on events only.
    on_events: ClassVar[bool] = False
    #: True for an instrument that plays a sound file.
    needs_sample: ClassVar[bool] = False
    #: True where the pitch can be told to the cent: noise has none, a skin's falls, a recording has its own.
    pitched: ClassVar[bool] = False
    #: Parameters that would hide or move the pitch, with the ranges and defaults of a voice whose pitch is to be read.
    steady: ClassVar[Mapping[str, Parameter]] = {}

    @abstractmethod
    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """Values of the synthesis graph's inputs.

        Parameters
        ----------
        lanes : mapping
            Every parameter of the instrument except ``level``.
        onsets : tuple of Onset
            Notes, for an event instrument, in order of time.
        points : int
            Length of a lane at `CONTROL_RATE`.
        sample_rate : int
            Of the audio, in hertz: nothing may sound above half of it.
        first : int
            Point of the piece at which the lanes begin: 0 but for windows of a live performance.

        Returns
        -------
        dict
            What `build` is given; but for ``makeup``, a gain of the whole voice, which the renderer applies.
        """

    @abstractmethod
    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """The pyo graph.

        Parameters
        ----------
        controls : mapping
            What `controls` gave, without ``makeup``: numbers where nothing changes, else audio-rate signals.
        sample : Sample, optional
            For an instrument that needs one.

        Returns
        -------
        list
            Mono signals, to be summed.
        """


def silent(gain: Signal) -> bool:
    """Whether a control is 0 throughout, so that what it would scale need not be made."""
    return isinstance(gain, float) and gain == 0.0


def declare(*parameters: Parameter) -> dict[str, Parameter]:
    """Parameters by name."""
    return {p.name: p for p in parameters}


def pitch(default: float = 220.0, high: float = 16_000.0, low: float = 20.0) -> Parameter:
    """The fundamental frequency, in log2 (equal steps are equal intervals)."""
    return Parameter("pitch", "fundamental frequency", "Hz", (low, high), default, "log2")


def level() -> Parameter:
    """The level every instrument has."""
    return Parameter("level", "level", "dB", (-60.0, 12.0), 0.0, "db")
