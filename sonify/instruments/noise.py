"""A band of noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sonify.instruments.base import Instrument, Lane, Onset, Parameter, Sample, Signal, declare, level, pitch


class Noise(Instrument):
    """White noise through two band-passes, kept at one level whatever the bandwidth.

    The bandwidth is in octaves, between the points where each band-pass is at -3 dB and both are at -6 dB:
    Q = 2^(w/2) / (2^w - 1).
    """

    name = "noise"
    about = "a band of noise, from a whistle to a wind"
    parameters = declare(
        pitch(default=800.0),
        level(),
        Parameter("bandwidth", "width of the band, from -6 dB to -6 dB", "octaves", (0.02, 6.0), 1.0, "log2"),
    )

    def controls(
        self, lanes: Mapping[str, Lane], onsets: tuple[Onset, ...], points: int, sample_rate: int, first: int = 0
    ) -> dict[str, list[Lane]]:
        """Centre, Q, and the gain that makes up for the power outside the band."""
        centre = np.minimum(lanes["pitch"], 0.45 * sample_rate)
        width = np.exp2(np.asarray(lanes["bandwidth"]))
        q = np.sqrt(width) / (width - 1.0)
        # Noise bandwidth of two equal resonators in series is pi/4 of one's -3 dB width; white noise has power 1/3.
        passed = np.minimum(np.pi / 4 * centre / q / (sample_rate / 2), 1.0) / 3
        gain = np.broadcast_to(np.sqrt(0.5 / passed), points).copy()
        if not first:
            gain[0] = 0.0  # a filter takes its first sample for its past, and would ring with it
        return {"centre": [centre], "q": [q], "gain": [gain]}

    def build(self, controls: Mapping[str, list[Signal]], sample: Sample | None = None) -> list[Signal]:
        """Noise and two band-passes."""
        import pyo64 as pyo

        centre, q, gain = (controls[name][0] for name in ("centre", "q", "gain"))
        return [pyo.Biquadx(pyo.Noise(mul=gain), freq=centre, q=q, type=2, stages=2)]
