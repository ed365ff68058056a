"""Sound that is computed sample by sample before it is played: notes and grains added into one table.

What no oscillator of a fixed graph can do (a string's loop, a piece of a recording at another pitch) is exact here,
every note rings as long as it likes, and an onset falls on its sample. The cost is 8 bytes a sample and voice: 70 MB
for three minutes at 48 kHz.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sonify.instruments.base import CONTROL_RATE, Instrument, Lane, Onset, Sample, Signal

Floats = NDArray[np.float64]

#: Hertz up to which a note has partials: a beginning with more above 12 kHz is a click to whoever measures.
HIGHEST = 10_500.0
#: Seconds in which a note is damped.
DAMPED = 0.015


class Pieces(Instrument):
    """An instrument whose sound is a sum of pieces, each computed sample by sample: notes, or grains.

    Live there is no table: a piece is computed when it is known, and added to the block that it falls into.
    """

    #: Whether striking the same pitch again ends what still rings of it, as on a string or a skin.
    damped: ClassVar[bool] = False

    @abstractmethod
    def note(self, values: Mapping[str, float], index: int, sample_rate: int, sample: Sample | None) -> Floats:
        """Samples of one piece at full strength; `index` counts the voice's pieces, for what is random."""

    def example(self) -> dict[str, float]:
        """Values of some piece: what is computed once before it is played live, so that nothing loads then."""
        return {name: parameter.default for name, parameter in self.parameters.items()}


class Notes(Pieces):
    """An event instrument that gives the samples of one note at a time."""

    on_events = True
    damped = True

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """Numbers alone: the sample rate, the duration, and of each note its time and its values."""
        names = (*self.parameters, "velocity")
        values: dict[str, list[Lane]] = {name: [note.values[name] for note in onsets] for name in names}
        return values | {
            "time": [note.time for note in onsets],
            "sample_rate": [float(sample_rate)],
            "duration": [points / CONTROL_RATE],
        }

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """One table, played once."""
        rate, duration = int(controls["sample_rate"][0]), controls["duration"][0]
        names = (*self.parameters, "velocity")
        notes = [dict(zip(names, values, strict=True)) for values in zip(*(controls[n] for n in names), strict=True)]
        ends = _ends(controls["time"], controls["pitch"]) if self.damped else [np.inf] * len(notes)

        def sound(i: int) -> Floats:
            samples = self.note(notes[i], i, rate, sample)
            if (length := round(min(ends[i] - controls["time"][i], duration) * rate)) < len(samples):
                samples = samples[:length] * fades(length, 0, round(DAMPED * rate))
            return strength(notes[i]) * samples

        return table(((time, sound(i)) for i, time in enumerate(controls["time"])), duration, rate)


def _ends(times: list[float], pitches: list[float]) -> list[float]:
    """When each note is damped: at the next one of its pitch."""
    ends, following = [np.inf] * len(times), dict[float, float]()
    for i in reversed(range(len(times))):
        ends[i] = following.get(pitches[i], np.inf)
        following[pitches[i]] = times[i]
    return ends


def strength(values: Mapping[str, float]) -> float:
    """Linear gain of a note, or of a grain, which has neither velocity nor level."""
    return float(values.get("velocity", 1.0) * 10 ** (values.get("level", 0.0) / 20))


def table(sounds: Iterable[tuple[float, Floats]], duration: float, sample_rate: int) -> list[Signal]:
    """What plays a table of `duration` seconds, into which each sound is added at its time; nothing plays silence."""
    import pyo64 as pyo

    total = np.zeros(int(np.ceil(duration * sample_rate)))
    for time, sound in sounds:
        first = round(time * sample_rate)
        part = sound[: max(len(total) - first, 0)]
        total[first : first + len(part)] += part
    if not total.any():
        return []
    memory = pyo.DataTable(len(total))
    np.asarray(memory.getBuffer())[:] = total
    return [pyo.TableRead(memory, freq=sample_rate / len(total), loop=0, interp=2).play()]


def fades(length: int, attack: int, release: int) -> Floats:
    """An envelope of `length` samples with raised-cosine ends, which shrink in proportion where they do not fit."""
    shrink = min(1.0, length / max(attack + release, 1))
    position = np.arange(length) + 0.5
    rise = np.clip(position / max(attack * shrink, 1.0), 0.0, 1.0)
    fall = np.clip((length - position) / max(release * shrink, 1.0), 0.0, 1.0)
    return np.asarray((0.5 - 0.5 * np.cos(np.pi * rise)) * (0.5 - 0.5 * np.cos(np.pi * fall)))


def unlike_a_click(frequency: Floats | float) -> Floats:
    """Gain that fades partials out below `HIGHEST`."""
    return np.asarray(np.clip((HIGHEST - frequency) / 3000.0, 0.0, 1.0))
