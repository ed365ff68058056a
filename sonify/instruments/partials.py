"""Overtones that leave their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sonify.instruments.additive import below_nyquist, harmonics, low_pass, steady
from sonify.instruments.base import Instrument, Lane, Onset, Parameter, Sample, Signal, declare, level, pitch


class Partials(Instrument):
    """Partials at f0 and k · f0 · (1 + L), k = 2..K: the fundamental stays, its overtones are detuned by one factor.

    `beside` adds the overtones in tune, k · f0, beside the detuned ones: each pair beats at k · f0 · |L|. Without it
    one common factor widens every gap between overtones, so that roughness *falls* as L grows. Weights are 1 / k.

    Reference: P. S. Castro, "Losses, Dissonances, and Distortions", NeurIPS 2021 creativity workshop.
    """

    name = "partials"
    about = "a harmonic tone whose overtones are detuned by one factor, alone or beside the ones in tune"
    pitched = True
    parameters = declare(
        pitch(),
        level(),
        Parameter("detune", "L in k f0 (1 + L), for k from 2", "", (-0.9, 10.0), 0.0, "linear"),
        Parameter("count", "K, the number of partials", "", (2.0, 16.0), 4.0, "linear", whole=True),
        Parameter("beside", "weight of overtones in tune beside the detuned ones", "", (0.0, 1.0), 0.0, "linear"),
        Parameter("cutoff", "corner of a low-pass over the partials", "Hz", (100.0, 20_000.0), 20_000.0, "log2"),
        Parameter("amplitude", "a linear gain", "", (0.0, 4.0), 1.0, "linear"),
    )
    steady = declare(replace(parameters["detune"], range=(-0.25, 10.0)))

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """Pitch of the fundamental and of the series that its overtones belong to, all weights, and one gain."""
        f0, detune, beside, cutoff = (np.asarray(lanes[n]) for n in ("pitch", "detune", "beside", "cutoff"))
        count = round(float(lanes["count"]))
        in_tune, detuned = ([k * f for k in range(1, count + 1)] for f in (f0, f0 * (1.0 + detune)))

        def weights(frequencies: list[NDArray[np.float64]], overtones: Lane) -> list[Lane]:
            audible = [low_pass(f, cutoff) * below_nyquist(f, sample_rate) for f in frequencies]
            return [a * (overtones if k > 1 else 1.0) / k for k, a in enumerate(audible, 1)]

        others = weights(detuned, 1.0)[1:]
        controls = {"in_tune": weights(in_tune, beside), "detuned": [0.0, *others]}
        everything = zip(in_tune + detuned, controls["in_tune"] + controls["detuned"], strict=True)
        power = 1.0 + (1.0 + beside**2) * sum(1 / k**2 for k in range(2, count + 1))
        gain = lanes["amplitude"] * steady(everything, power)
        return controls | {"pitch": [f0], "stretched": [detuned[0]], "makeup": [gain]}

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """Two series: the one of the fundamental, and the stretched one."""
        series = (("pitch", "in_tune"), ("stretched", "detuned"))
        return [tone for f, weights in series for tone in harmonics(controls[f][0], controls[weights])]
