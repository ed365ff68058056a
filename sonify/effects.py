"""Effects: stereo in, stereo out, with declared parameters that may all change while they sound.

As with instruments, lanes become controls in numpy and controls become sound in pyo, which only the rendering process
loads. What pyo's constructors are given they hold; the results of its operators hold nothing, so none are used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, ClassVar, TypeAlias

import numpy as np

from sonify.instruments.base import CONTROL_RATE, Lane, Parameter, Signal, declare

#: Left and right.
Stereo = tuple[Signal, Signal]
#: What an effect carries from one window of its lanes to the next, by name.
Memory: TypeAlias = dict[str, float]

#: How fast a delay moves at most, in seconds a second: up to a fifth higher, down to an octave lower.
_TAPE = 0.5
#: How fast a decay moves at most, in octaves a second: pyo's room takes it a block at a time.
_WALLS = 12.0


class Effect(ABC):
    """A process with declared parameters through which a voice or a group goes."""

    name: ClassVar[str]
    about: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]]
    #: Whether it goes on when what it is given is over.
    rings: ClassVar[bool] = False

    @abstractmethod
    def controls(self, lanes: Mapping[str, Lane], sample_rate: int, memory: Memory | None = None) -> dict[str, Lane]:
        """Values of the graph's inputs.

        Parameters
        ----------
        lanes : mapping
            Every parameter of the effect, in its unit and within its range.
        sample_rate : int
            Of the audio, in hertz.
        memory : dict, optional
            Where lanes come in windows: what the last one left, and this one leaves.
        """

    @abstractmethod
    def build(self, left: Signal, right: Signal, controls: Mapping[str, Signal]) -> Stereo:
        """The pyo graph between two mono signals and two others, which hold all they need.

        A graph that holds itself says so: the left one's ``loops`` are the objects whose ``value`` closes the circle.

        Parameters
        ----------
        left, right : Signal
            Audio.
        controls : mapping
            Numbers or audio-rate signals, by the names that `controls` gave.
        """


def mix(default: float) -> Parameter:
    """The balance of effects that leave some of the sound as it is."""
    return Parameter("mix", "0 the sound alone, 1 the effect alone", "", (0.0, 1.0), default, "linear")


def damped(damping: Lane) -> Lane:
    """Corner in hertz of the low-pass in a feedback path, for a damping of 0 (bright) to 1 (dark)."""
    return np.asarray(16_000.0 * np.exp2(-4.0 * np.asarray(damping)))


def linear(decibels: Lane) -> Lane:
    """Amplitude of a level in dB."""
    return np.asarray(10.0 ** (np.asarray(decibels) / 20))


def slow(lane: Lane, most: Lane, memory: Memory | None = None, name: str = "") -> Lane:
    """A lane that follows another, moving by at most `most` a second; with a memory, from where it was last."""
    values = np.asarray(lane)
    if values.ndim == 0:
        return values
    steps = np.broadcast_to(np.asarray(most) / CONTROL_RATE, values.shape)
    begun = float(values[0])
    if memory is not None and name in memory:
        last = memory[name]
        begun = last + min(max(begun - last, -float(steps[0])), float(steps[0]))
    if begun != values[0] or not np.all(np.abs(np.diff(values)) <= steps[1:]):
        targets = zip(values[1:].tolist(), steps[1:].tolist(), strict=True)
        moves = accumulate(targets, lambda now, to: now + min(max(to[0] - now, -to[1]), to[1]), initial=begun)
        values = np.fromiter(moves, dtype=np.float64, count=len(values))
    if memory is not None:
        memory[name] = float(values[-1])
    return values


class Filter(Effect):
    """A second-order filter whose coefficients are lanes.

    Between two stable sets of coefficients all are stable, so that they may be interpolated. But a resonance whose
    frequency moves faster than it rings can be pumped up without end, so the period of the corner moves by at most
    half a second over q each second: at q = 0.71, from 8 kHz to 200 Hz in 7 ms.
    Reference: R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients".
    """

    #: The parameter that says where the filter is.
    corner: ClassVar[str]

    def controls(self, lanes: Mapping[str, Lane], sample_rate: int, memory: Memory | None = None) -> dict[str, Lane]:
        """Coefficients of numerator (b) and denominator (a), the first of which is 1."""
        q = np.asarray(lanes["q"])
        period = slow(1 / np.minimum(lanes[self.corner], 0.45 * sample_rate), 0.5 / q, memory, "period")
        w = 2 * np.pi / (period * sample_rate)
        cosine, alpha = np.cos(w), np.sin(w) / (2 * q)
        feedback = {"a1": -2 * cosine, "a2": 1 - alpha}
        found = dict(zip(("b0", "b1", "b2"), self.numerator(cosine, alpha), strict=True)) | feedback
        return {name: np.asarray(value / (1 + alpha)) for name, value in found.items()}

    @abstractmethod
    def numerator(self, cosine: Lane, alpha: Lane) -> tuple[Any, Any, Any]:
        """The cookbook's b0, b1, b2."""

    def build(self, left: Signal, right: Signal, controls: Mapping[str, Signal]) -> Stereo:
        """A filter on either side. It takes its first sample for its past, which must be silence."""
        import pyo64 as pyo

        begun = pyo.Delay1(pyo.Sig(1.0))
        sides = (pyo.Biquada(pyo.Sig(side, mul=begun), a0=1.0, **controls) for side in (left, right))
        return next(sides), next(sides)


def _filter(corner: str, default: float, q: float) -> dict[str, Parameter]:
    what = "centre of the band" if corner == "centre" else "corner frequency, -3 dB at q = 0.71"
    wide = "centre over the width of the band at -3 dB" if corner == "centre" else "resonance, flat at 0.71"
    return declare(
        Parameter(corner, what, "Hz", (20.0, 20_000.0), default, "log2"),
        Parameter("q", wide, "", (0.5, 20.0), q, "log2"),
    )


class LowPass(Filter):
    """-12 dB an octave above the cutoff."""

    name = "lowpass"
    about = "takes away what is above the cutoff"
    corner = "cutoff"
    parameters = _filter(corner, 2000.0, 0.71)

    def numerator(self, cosine: Lane, alpha: Lane) -> tuple[Any, Any, Any]:
        """Two zeros at the Nyquist frequency."""
        return (1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2


class HighPass(Filter):
    """-12 dB an octave below the cutoff."""

    name = "highpass"
    about = "takes away what is below the cutoff"
    corner = "cutoff"
    parameters = _filter(corner, 200.0, 0.71)

    def numerator(self, cosine: Lane, alpha: Lane) -> tuple[Any, Any, Any]:
        """Two zeros at 0 Hz."""
        return (1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2


class BandPass(Filter):
    """0 dB at the centre, -6 dB an octave far from it."""

    name = "bandpass"
    about = "leaves a band around the centre"
    corner = "centre"
    parameters = _filter(corner, 1000.0, 1.0)

    def numerator(self, cosine: Lane, alpha: Lane) -> tuple[Any, Any, Any]:
        """A zero at either end."""
        return alpha, 0.0 * cosine, -alpha


class Delay(Effect):
    """Echoes of a tape machine: where the time moves, the pitch bends.

    Two loops, of what both sides share and of what differs: fed back with the other sign, a difference changes sides.
    """

    name = "delay"
    rings = True
    about = "echoes, in place or from side to side"
    parameters = declare(
        Parameter(
            "time", "between two echoes, moving by half a second a second at most", "s", (0.03, 2.0), 0.3, "log2"
        ),
        Parameter("feedback", "level of an echo against the one before", "", (0.0, 0.95), 0.4, "linear"),
        Parameter("damping", "how fast echoes darken, 0 bright, 1 dark", "", (0.0, 1.0), 0.3, "linear"),
        Parameter("spread", "0 echoes stay in place, 1 from side to side, left first", "", (0.0, 1.0), 0.0, "linear"),
        mix(0.35),
    )

    def controls(self, lanes: Mapping[str, Lane], sample_rate: int, memory: Memory | None = None) -> dict[str, Lane]:
        """Time, gains into and within the two loops, corner of their low-pass, and mix."""
        spread, feedback = np.asarray(lanes["spread"]), np.asarray(lanes["feedback"])
        left, right = (np.sqrt(2) * wave(np.pi / 4 * (1 - spread)) for wave in (np.cos, np.sin))
        return {
            "time": slow(lanes["time"], _TAPE, memory, "time"),
            "middle": (left + right) / 2,
            "shift": (left - right) / 2,
            "width": 1 - spread,
            "feedback": feedback,
            "swap": feedback * (1 - 2 * np.minimum(2 * spread, 1.0)),
            "cutoff": damped(lanes["damping"]),
            "mix": lanes["mix"],
        }

    def build(self, left: Signal, right: Signal, controls: Mapping[str, Signal]) -> Stereo:
        """Two loops, each a block longer than its delay line, since pyo hears its own output one block late."""
        import pyo64 as pyo

        server = left.getServer()
        time = pyo.Sig(controls["time"], add=-server.getBufferSize() / server.getSamplingRate())

        loops: list[Signal] = []

        def loop(sound: Signal, feedback: Signal) -> Signal:
            line = pyo.Sig(0.0)
            loops.append(line)
            echo = pyo.Delay(line, delay=time, maxdelay=self.parameters["time"].range[1])
            line.value = pyo.Mix([sound, pyo.Tone(echo, freq=controls["cutoff"], mul=feedback)], voices=1)
            return echo

        opposite = pyo.Sig(right, mul=-1)
        middle = pyo.Mix([left, right], voices=1, mul=0.5)
        side = pyo.Mix([left, opposite], voices=1, mul=0.5)
        shifted = [pyo.Sig(middle, mul=controls["shift"]), pyo.Sig(side, mul=controls["width"])]
        common = loop(pyo.Sig(middle, mul=controls["middle"]), controls["feedback"])
        different = loop(pyo.Mix(shifted, voices=1), controls["swap"])
        sides = (
            pyo.Interp(left, pyo.Mix([common, different], voices=1), interp=controls["mix"]),
            pyo.Interp(right, pyo.Mix([common, pyo.Sig(different, mul=-1)], voices=1), interp=controls["mix"]),
        )
        sides[0].loops = loops
        return sides


class Distortion(Effect):
    """A tanh curve, computed at eight times the sample rate."""

    name = "distortion"
    about = "bends the wave, from warmth to a square"
    parameters = declare(
        Parameter("drive", "gain into the curve", "dB", (0.0, 40.0), 12.0, "db"),
        Parameter("tone", "corner of the low-pass after the curve", "Hz", (200.0, 20_000.0), 8000.0, "log2"),
        mix(1.0),
    )
    #: Peak amplitude that keeps its level whatever the drive.
    _kept = 0.5
    #: Resampling: factor, and samples of its filters on either side of the curve; and how late it makes the sound.
    _times, _taps, _late = 8, 16, 17

    def controls(self, lanes: Mapping[str, Lane], sample_rate: int, memory: Memory | None = None) -> dict[str, Lane]:
        """Gain into the curve and out of it, tone and mix."""
        drive = linear(lanes["drive"])
        level = self._kept / np.tanh(drive * self._kept)
        return {"drive": drive, "level": np.asarray(level), "tone": lanes["tone"], "mix": lanes["mix"]}

    def build(self, left: Signal, right: Signal, controls: Mapping[str, Signal]) -> Stereo:
        """The curve between two resamplers; what goes beside it comes as late as what went through it."""
        import pyo64 as pyo

        server = left.getServer()

        def bent(side: Signal) -> Signal:
            driven = pyo.Sig(side, mul=controls["drive"])
            server.beginResamplingBlock(self._times)
            curve = pyo.Tanh(pyo.Resample(driven, mode=self._taps, mul=self._times))
            server.endResamplingBlock()
            wet = pyo.Tone(pyo.Resample(curve, mode=self._taps, mul=controls["level"]), freq=controls["tone"])
            late = self._late / server.getSamplingRate()
            return pyo.Interp(pyo.Delay(side, delay=late, maxdelay=0.01), wet, interp=controls["mix"])

        return bent(left), bent(right)


class Compressor(Effect):
    """Feed-forward, on the peaks of both sides together, so that the stereo image keeps its place.

    The gain computer works in dB; a peak detector with the release is followed by a low-pass with the attack.
    Reference: D. Giannoulis, M. Massberg and J. D. Reiss, "Digital dynamic range compressor design", JAES 60, 2012,
    fig. 7c (log domain, decoupled peak detector). Times are time constants: 63 % of a change of gain, in dB.
    """

    name = "compressor"
    about = "makes loud passages softer"
    parameters = declare(
        Parameter("threshold", "peak level above which the gain falls", "dB", (-60.0, 0.0), -20.0, "db"),
        Parameter("ratio", "dB in over dB out above the threshold", "", (1.0, 20.0), 4.0, "log2"),
        Parameter("attack", "time constant of a falling gain", "ms", (1.0, 200.0), 10.0, "log2"),
        Parameter("release", "time constant of a rising gain, after the attack's", "ms", (10.0, 3000.0), 150.0, "log2"),
        Parameter("makeup", "gain afterwards", "dB", (0.0, 30.0), 0.0, "db"),
    )

    def controls(self, lanes: Mapping[str, Lane], sample_rate: int, memory: Memory | None = None) -> dict[str, Lane]:
        """Threshold, the line above it, times as pyo's follower counts them (2 pi time constants), and makeup."""
        slope = np.asarray(1 - 1 / np.asarray(lanes["ratio"]))
        return {
            "threshold": lanes["threshold"],
            "slope": slope,
            "offset": -slope * np.asarray(lanes["threshold"]),
            "attack": 2 * np.pi * np.asarray(lanes["attack"]) / 1000,
            "release": 2 * np.pi * np.asarray(lanes["release"]) / 1000,
            "makeup": lanes["makeup"],
        }

    def build(self, left: Signal, right: Signal, controls: Mapping[str, Signal]) -> Stereo:
        """One gain for both sides."""
        import pyo64 as pyo

        peak = pyo.AToDB(pyo.Max(pyo.Abs(left), pyo.Abs(right)))
        over = pyo.Sig(pyo.Max(peak, controls["threshold"]), mul=controls["slope"], add=controls["offset"])
        held = pyo.Follower2(over, risetime=0.0, falltime=controls["release"])
        reduction = pyo.Follower2(held, risetime=controls["attack"], falltime=controls["attack"])
        gain = pyo.DBToA(pyo.Sig(reduction, mul=-1, add=controls["makeup"]))
        return pyo.Sig(left, mul=gain), pyo.Sig(right, mul=gain)


class _Reverb(Effect):
    """A room with one entrance in the middle."""

    rings = True
    parameters = declare(
        Parameter("decay", "time to fall by 60 dB, below the damping", "s", (0.3, 20.0), 2.0, "log2"),
        Parameter("damping", "how fast high frequencies die, 0 bright, 1 dark", "", (0.0, 1.0), 0.5, "linear"),
        Parameter("predelay", "silence before it answers", "ms", (0.0, 250.0), 0.0, "linear"),
        mix(1.0),
    )
    #: What the network must be told to decay by 60 dB in some times, over those times (measured from 200 to 800 Hz).
    _times = (0.3, 0.5, 0.7, 1.0, 1.5, 3.0)
    _told: ClassVar[tuple[float, ...]]

    def controls(self, lanes: Mapping[str, Lane], sample_rate: int, memory: Memory | None = None) -> dict[str, Lane]:
        """Decay as the network is told, corner of its low-pass, predelay and mix."""
        decay = np.exp2(slow(np.log2(lanes["decay"]), _WALLS, memory, "decay"))
        return {
            "decay": decay * np.interp(np.log(decay), np.log(self._times), self._told),
            "cutoff": damped(lanes["damping"]),
            "predelay": slow(np.asarray(lanes["predelay"]) / 1000, _TAPE, memory, "predelay"),
            "mix": lanes["mix"],
        }

    @abstractmethod
    def wet(self, sound: Signal, controls: Mapping[str, Signal]) -> Signal:
        """Two signals, left and right, of one."""

    def build(self, left: Signal, right: Signal, controls: Mapping[str, Signal]) -> Stereo:
        """The room beside the sound."""
        import pyo64 as pyo

        sound = pyo.Mix([left, right], voices=1, mul=0.5**0.5)
        wet = self.wet(pyo.Delay(sound, delay=controls["predelay"], maxdelay=0.25), controls)
        sides = [pyo.Interp(dry, wet[i], interp=controls["mix"]) for i, dry in enumerate((left, right))]
        for side in sides:
            side.holds = wet  # an element does not hold the whole
        return sides[0], sides[1]


class Hall(_Reverb):
    """A room model with first reflections, which are all that is heard of the shortest decays."""

    name = "hall"
    about = "a hall"
    _told = (0.66, 0.57, 0.59, 0.63, 0.68, 0.71)

    def wet(self, sound: Signal, controls: Mapping[str, Signal]) -> Signal:
        """pyo's room."""
        import pyo64 as pyo

        decay, cutoff = controls["decay"], controls["cutoff"]
        return pyo.STRev(sound, inpos=0.5, revtime=decay, cutoff=cutoff, bal=1.0, roomSize=1.5)


class Plate(_Reverb):
    """A dense waveguide network behind all-pass diffusers of its own on each side."""

    name = "plate"
    about = "a plate: dense from the start"
    _told = (0.74, 0.82, 0.89, 0.98, 1.02, 1.03)
    #: Seconds of two diffusers for each side: J. Dattorro, "Effect design 1", JAES 45, 1997, fig. 1 (at 29761 Hz).
    _diffusers = ((142 / 29761, 379 / 29761), (107 / 29761, 277 / 29761))
    #: Mean delay of the eight lines of pyo's waveguide reverb, in seconds: what its feedback acts on.
    _mean = 0.066

    def controls(self, lanes: Mapping[str, Lane], sample_rate: int, memory: Memory | None = None) -> dict[str, Lane]:
        """As of every reverb; the network is told its feedback."""
        found = super().controls(lanes, sample_rate, memory)
        return found | {"decay": np.asarray(10.0 ** (-3.0 * self._mean / found["decay"]))}

    def wet(self, sound: Signal, controls: Mapping[str, Signal]) -> Signal:
        """pyo's waveguide reverb on each side."""
        import pyo64 as pyo

        diffuse = [pyo.Allpass(pyo.Allpass(sound, a, 0.7), b, 0.6) for a, b in self._diffusers]
        return pyo.WGVerb(pyo.Mix(diffuse, voices=2), feedback=controls["decay"], cutoff=controls["cutoff"], bal=1.0)


EFFECTS: Mapping[str, Effect] = {
    e.name: e for e in (LowPass(), HighPass(), BandPass(), Delay(), Distortion(), Compressor(), Hall(), Plate())
}
