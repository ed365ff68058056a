"""A recording taken apart into grains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sonify.instruments.base import CONTROL_RATE, Lane, Onset, Parameter, Sample, Signal, declare, level
from sonify.instruments.notes import Floats, Pieces, table
from sonify.instruments.sample import excerpt

#: Of the grains' straying; every rendering is the same.
_SEED = 1


class Cloud:
    """How far a cloud of grains has come: grains begun, whole and in part, and the dice of their straying."""

    def __init__(self) -> None:
        self.begun, self.count, self.dice = False, 0.0, np.random.default_rng(_SEED)


class Granular(Pieces):
    """Hann-windowed grains of a sound file, each with the values of the lanes at its beginning.

    Where grains overlap n-fold their gain is 1 / sqrt(n), so that density and grain length do not change the loudness.

    Reference: C. Roads, Microsound, MIT Press 2001, chapter 3.
    """

    name = "granular"
    about = "a sound file as a cloud of grains"
    needs_sample = True
    parameters = declare(
        level(),
        Parameter("position", "where in the file grains are, 0 to 1 of it", "", (0.0, 1.0), 0.5, "linear"),
        Parameter("transposition", "interval of every grain", "semitones", (-48.0, 48.0), 0.0, "linear"),
        Parameter("grain", "length of a grain", "ms", (5.0, 1000.0), 120.0, "log2"),
        Parameter("density", "grains begun in a second", "1/s", (0.5, 200.0), 25.0, "log2"),
        Parameter(
            "jitter", "how far grains stray: 0 even, 1 by one interval in time and one grain in the file", "",
            (0.0, 1.0), 0.5, "linear",
        ),
    )  # fmt: skip

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """Numbers alone: sample rate, duration, and of each grain its time, place, interval, length and gain."""
        grains = self.grains(lanes, points, Cloud())
        numbers: dict[str, list[Lane]] = {name: list(values.tolist()) for name, values in grains.items()}
        return numbers | {"sample_rate": [float(sample_rate)], "duration": [points / CONTROL_RATE]}

    def grains(self, lanes: Mapping[str, Lane], points: int, cloud: Cloud) -> dict[str, Floats]:
        """What each grain that begins in a window is made of: ``time`` in seconds from the window's first point.

        The windows of a cloud follow one another; a grain that strays to before its window begins with it.
        """
        clock = np.arange(points) / CONTROL_RATE
        count = cloud.count + np.cumsum(np.broadcast_to(lanes["density"], points)) / CONTROL_RATE
        passed = np.concatenate([[cloud.count], count])
        due = np.arange(int(cloud.count) + 1, int(count[-1]) + 1)
        due = np.maximum(np.interp(due, passed, np.concatenate([[-1 / CONTROL_RATE], clock])), 0.0)
        if not cloud.begun:
            due = np.concatenate([[0.0], due])
        cloud.begun, cloud.count = True, float(count[-1])

        def at(name: str) -> Floats:
            return np.asarray(np.interp(due, clock, np.broadcast_to(lanes[name], points)))

        stray = cloud.dice.uniform(-1, 1, (len(due), 2)) * at("jitter")[:, None]
        length, density = at("grain") / 1000, at("density")
        return {
            "time": np.maximum(due + stray[:, 0] / (2 * density), 0.0),
            "position": at("position"),
            "stray": stray[:, 1] * length,
            "transposition": at("transposition"),
            "length": length,
            "gain": 1 / np.sqrt(np.maximum(length * density, 1.0)),
        }

    def example(self) -> dict[str, float]:
        """Some grain."""
        return {"position": 0.0, "stray": 0.0, "transposition": 1.0, "length": 0.01, "gain": 1.0}

    def note(self, values: Mapping[str, float], index: int, sample_rate: int, sample: Sample | None) -> Floats:
        """One grain."""
        assert sample is not None
        seconds, ratio = values["length"], 2 ** (values["transposition"] / 12)
        last = max(len(sample.samples) / sample.rate - seconds * ratio, 0.0)
        start = min(max(values["position"] * last + values["stray"], 0.0), last)
        window = np.hanning(max(round(seconds * sample_rate), 2) + 2)[1:-1]
        return np.asarray(values["gain"] * window * excerpt(sample, start, ratio, len(window), sample_rate))

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """One table, played once."""
        assert sample is not None
        rate = int(controls["sample_rate"][0])
        names = ("position", "stray", "transposition", "length", "gain")
        grains = (dict(zip(names, values, strict=True)) for values in zip(*(controls[n] for n in names), strict=True))
        sounds = (self.note(grain, i, rate, sample) for i, grain in enumerate(grains))
        return table(zip(controls["time"], sounds, strict=True), controls["duration"][0], rate)
