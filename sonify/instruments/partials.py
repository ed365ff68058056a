"""Overtones that leave their places."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sonify.instruments.additive import below_nyquist, harmonics, low_pass
from sonify.instruments.base import Instrument, Lane, Onset, Parameter, Signal, declare, level, pitch


class Partials(Instrument):
    """Partials at f0 and k · f0 · (1 + L), k = 2..K: the fundamental stays, its overtones are detuned by one factor.

    `beside` adds the overtones in tune, k · f0, beside the detuned ones: each pair beats at k · f0 · |L|. Without it
    one common factor widens every gap between overtones, so that roughness *falls* as L grows. Weights are 1 / k.

    Reference: P. S. Castro, "Losses, Dissonances, and Distortions", NeurIPS 2021 creativity workshop.
    """

    name = "partials"
    about = "a harmonic tone whose overtones are detuned by one factor, alone or beside the ones in tune"
    parameters = declare(
        pitch(),
        level(),
        Parameter("detune", "L in k f0 (1 + L), for k from 2", "", (-0.9, 10.0), 0.0, "linear"),
        Parameter("count", "K, the number of partials", "", (2.0, 16.0), 4.0, "linear", whole=True),
        Parameter("beside", "weight of overtones in tune beside the detuned ones", "", (0.0, 1.0), 0.0, "linear"),
        Parameter("cutoff", "corner of a low-pass over the partials", "Hz", (100.0, 20_000.0), 20_000.0, "log2"),
        Parameter("amplitude", "a linear gain", "", (0.0, 4.0), 1.0, "linear"),
    )

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int
    ) -> dict[str, list[Lane]]:
        """Pitch of the fundamental and of the series that its overtones belong to, and all weights."""
        f0, detune, beside, cutoff = (np.asarray(lanes[n]) for n in ("pitch", "detune", "beside", "cutoff"))
        overtones = range(2, round(float(lanes["count"])) + 1)
        stretched = f0 * (1.0 + detune)

        def weights(fundamental: Lane, gain: Lane) -> list[Lane]:
            frequencies = [k * np.asarray(fundamental) for k in overtones]
            audible = [low_pass(f, cutoff) * below_nyquist(f, sample_rate) for f in frequencies]
            return [gain * a * lanes["amplitude"] / k for k, a in zip(overtones, audible, strict=True)]

        first = low_pass(f0, cutoff) * below_nyquist(f0, sample_rate) * lanes["amplitude"]
        return {
            "pitch": [f0],
            "in_tune": [first, *weights(f0, beside)],
            "stretched": [stretched],
            "detuned": [0.0, *weights(stretched, 1.0)],
        }

    def build(self, controls: Mapping[str, list[Signal]]) -> list[Signal]:
        """Two series: the one of the fundamental, and the stretched one."""
        in_tune = harmonics(controls["pitch"][0], controls["in_tune"])
        return in_tune + harmonics(controls["stretched"][0], controls["detuned"])
