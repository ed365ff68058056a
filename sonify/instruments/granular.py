"""A recording taken apart into grains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sonify.instruments.base import CONTROL_RATE, Instrument, Lane, Onset, Parameter, Sample, Signal, declare, level
from sonify.instruments.notes import Floats, table
from sonify.instruments.sample import excerpt

#: Of the grains' straying; every rendering is the same.
_SEED = 1


class Granular(Instrument):
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
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int
    ) -> dict[str, list[Lane]]:
        """Numbers alone: sample rate, duration, and of each grain its time, place, interval, length and gain."""
        clock = np.arange(points) / CONTROL_RATE
        count = np.cumsum(np.broadcast_to(lanes["density"], points)) / CONTROL_RATE
        due = np.interp(np.arange(1, int(count[-1]) + 1), count, clock)
        due = np.concatenate([[0.0], due])

        def at(name: str) -> Floats:
            return np.asarray(np.interp(due, clock, np.broadcast_to(lanes[name], points)))

        rng = np.random.default_rng(_SEED)
        stray = rng.uniform(-1, 1, (len(due), 2)) * at("jitter")[:, None]
        length, density = at("grain") / 1000, at("density")
        grains = {
            "time": np.maximum(due + stray[:, 0] / (2 * density), 0.0),
            "position": at("position"),
            "stray": stray[:, 1] * length,
            "transposition": at("transposition"),
            "length": length,
            "gain": 1 / np.sqrt(np.maximum(length * density, 1.0)),
        }
        numbers: dict[str, list[Lane]] = {name: list(values.tolist()) for name, values in grains.items()}
        return numbers | {"sample_rate": [float(sample_rate)], "duration": [points / CONTROL_RATE]}

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """One table, played once."""
        assert sample is not None
        rate = int(controls["sample_rate"][0])
        whole = len(sample.samples) / sample.rate

        def grain(position: float, stray: float, transposition: float, seconds: float, gain: float) -> Floats:
            ratio = 2 ** (transposition / 12)
            last = max(whole - seconds * ratio, 0.0)
            start = min(max(position * last + stray, 0.0), last)
            window = np.hanning(max(round(seconds * rate), 2) + 2)[1:-1]
            return gain * window * excerpt(sample, start, ratio, len(window), rate)

        names = ("position", "stray", "transposition", "length", "gain")
        sounds = (grain(*values) for values in zip(*(controls[name] for name in names), strict=True))
        return table(zip(controls["time"], sounds, strict=True), controls["duration"][0], rate)
