"""Random valid scores of purpose ``measure``, with data for them, each from one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pieces.signals import Event
from sonify.effects import EFFECTS
from sonify.instruments import INSTRUMENTS

Plain = dict[str, Any]

#: Instruments that promise their pitch, and ranges of what else they have.
DRONES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "glide": {"brightness": (0, 1)},
    "partials": {"detune": (-0.25, 0.5), "beside": (0, 1), "cutoff": (2000, 20_000), "amplitude": (0.2, 2)},
    "pad": {"brightness": (500, 12_000)},
    "fm": {"index": (0, 10)},
    "formant": {"vowel": (0, 1), "breath": (0, 0.02)},
}
STRUCK: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "pluck": {"brightness": (0, 1)},
    "bell": {"brightness": (0, 1)},
    "string": {"brightness": (0, 1), "position": (0.02, 0.5)},
}
#: Highest partial, in Hz, that the judge of clicks takes for none: 40 dB below in its filter.
TOP = 6000.0


@dataclass(frozen=True)
class Example:
    """A score as plain data, channels, ticks a second, events, the master; whether all partials are below `TOP`."""

    score: Plain
    arrays: Mapping[str, np.ndarray]
    rate: float
    events: tuple[Event, ...]
    master: Plain
    low: bool


class Chance:
    """Everything that is drawn for one example."""

    def __init__(self, number: int) -> None:
        self._rng = np.random.default_rng(number)
        self.hold = self.one(0.25, 0.3, 0.4, 0.6)  # seconds for which data rest
        self.count = round(2.4 / self.hold)
        self.per = self.one(1, 2, 5, 20, 100)  # ticks of each rest
        self.low = self.one(True, False)
        self.groups: tuple[str, ...] = self.one((), ("room",), ("room", "bus"))

    def one(self, *choices: Any) -> Any:
        return choices[int(self._rng.integers(len(choices)))]

    def number(self, low: float, high: float) -> float:
        """Of a range, its ends more often than the rest."""
        return self.one(low, high, *[float(f"{self._rng.uniform(low, high):.4g}")] * 6)

    def example(self) -> Example:
        """Two or three seconds of it."""
        arrays, events = self.frames()
        self.spans = {name: (float(values.min()), float(values.max())) for name, values in arrays.items()}
        moving = ["x", "y", "r"] if self.per >= 20 else ["x", "y"]
        voices = {f"v{i}": self.voice(self.one(*moving)) for i in range(self.one(1, 2, 3))}
        if self.one(True, False, False):
            voices["mirror"] = mirrored(voices["v0"])
        if self.one(True, False, False):
            voices["hiss"] = {"instrument": "noise", "gain_db": -30.0, "lanes": {"pitch": 400.0}}
        score = {"purpose": "measure", "voices": voices, "groups": {name: self.group() for name in self.groups}}
        master = {
            "loudness": self.number(-30, -10),
            "ceiling": self.number(-6, -1),
            "limiter": self.one(True, False),
            "sample_rate": self.one(44_100, 48_000),
            "tail": self.number(0.05, 0.5),
        }
        return Example(score, arrays, self.per / self.hold, events, master, self.low)

    def frames(self) -> tuple[dict[str, np.ndarray], tuple[Event, ...]]:
        """Channels x, and y above 0, which rest and jump; r, which moves all the time; z, which no pitch follows."""
        rng, count, per = self._rng, self.count, self.per
        places = rng.permutation(np.linspace(0, 1, count)) if self.one(True, False) else rng.uniform(0, 1, count)
        x = 10.0 ** rng.uniform(-3, 3) * (places + rng.uniform(-1, 1))
        y = 10.0 ** rng.uniform(-3, 3) * 10.0 ** (rng.uniform(0.3, 3) * rng.permutation(places))
        arrays = {name: np.repeat(values, per) for name, values in (("x", x), ("y", y))}
        phase = np.linspace(0, 1, count * per, endpoint=False)
        arrays["r"] = self.one(phase, np.sin(2 * np.pi * phase * rng.uniform(0.5, 1.2)))
        arrays["z"] = rng.standard_normal(count * per)
        events = [Event(k * per, "note") for k in range(count) if rng.random() < 0.8]
        if self.one(True, False):
            lost = int(rng.integers(1, count - 1))
            for name in ("x", "y"):
                arrays[name][lost * per : (lost + 1) * per] = arrays[name][lost * per - 1]
                events.append(Event(lost * per, "diverged", {"channel": name, "value": "nan"}))
                events.append(Event((lost + 1) * per, "recovered", {"channel": name}))
        return arrays, tuple(sorted(events, key=lambda e: e.tick))

    def voice(self, channel: str) -> Plain:
        """One that maps a channel onto its pitch, and others onto other lanes where it is not plain."""
        name = self.one(*DRONES, *(STRUCK if channel != "r" else ()))
        plain = channel == "r" or self.one(True, False)
        ranges = DRONES.get(name) or STRUCK[name]
        lanes: Plain = {k: self.lane(*ends, plain) for k, ends in ranges.items() if self.one(True, False)}
        lanes |= {"partials": {"count": self.one(*range(2, 9))}, "fm": {"ratio": self.one(1, 2, 3, 4)}}.get(name, {})
        lanes |= {"decay": self.number(0.7 * self.hold, 1.2 * self.hold)} if name in STRUCK else {}
        highest = {**INSTRUMENTS[name].parameters, **INSTRUMENTS[name].steady}["pitch"].range[1]
        if self.low:
            highest = min(highest, TOP / span(name, lanes))
        lanes["pitch"] = self.pitch(channel, 100.0 if name in STRUCK or channel == "r" else 40.0, highest)
        found: Plain = {"instrument": name, "lanes": lanes, "pan": self.lane(-1, 1, plain)}
        found |= {"gain_db": self.number(-20, 6), "attack_ms": self.number(5, 200), "release_ms": self.number(5, 400)}
        if not plain:
            lanes["level"] = self.lane(-24, 0, plain)
        if name in STRUCK:
            crossing = {"channel": "x", "level": self.number(*self.spans["x"]), "edge": "both"}
            found |= self.one({"on": ["note"]}, {"steps": {"every": 2 * self.hold}}, {"crossing": crossing})
        elif channel != "r" and self.one(True, False, False):
            found["gate"] = {"channel": "x", "above": 0.0}
        if self.groups:
            found["into"] = self.one("mix", *self.groups)
            found["sends"] = {self.one(*self.groups): self.number(-30, 0)}
        return found

    def pitch(self, channel: str, lowest: float, highest: float) -> Plain:
        """A mapping within the pitches that may be."""
        highest = max(highest, 1.6 * lowest)
        low = float(np.exp(self.number(np.log(lowest), np.log(highest / 1.6))))
        high = self.number(1.5 * low, min(highest, (2 if channel == "r" else 16) * low))
        smallest, largest = self.spans[channel]
        inside = 0.2 * (largest - smallest)
        low_end = smallest + self.number(-0.5 if channel == "x" else 0.0, 1.0) * inside
        high_end = largest + self.number(-1.0, 1.0) * inside
        glide = 1000 * (self.hold - max(0.12, 6.5 / low))
        return {
            "channel": channel,
            "range": [low, high],
            "space": self.one("log2", "mel", "erb", "bark", "linear"),
            "shape": self.one(*{"x": ("linear", "symlog"), "y": ("linear", "log", "sqrt"), "r": ("linear",)}[channel]),
            "constant": self.number(0.01, 10),
            "domain": self.one("data", "p1-p99", [low_end, high_end]),
            "polarity": self.one("positive", "negative"),
            "glide_ms": self.number(2, self.one(10, min(500, max(glide, 10)))),
            "missing": self.one("hold", "silence", "earcon"),
        }

    def lane(self, low: float, high: float, plain: bool) -> float | Plain:
        """A constant, or one that follows what no pitch follows."""
        moving = {"channel": "z", "range": [low, high], "glide_ms": self.number(2, 300)}
        return self.number(low, high) if plain or self.one(True, False) else moving

    def group(self) -> Plain:
        """Some effects."""
        effects = {
            name: {k: self.number(*p.range) for k, p in EFFECTS[name].parameters.items() if self.one(True, False)}
            for name in ("hall", "plate", "delay", "lowpass")
            if self.one(True, False, False)
        }
        return {"effects": effects, "gain_db": self.number(-20, 0)}


def mirrored(voice: Plain) -> Plain:
    """The same voice in the other polarity."""
    pitch = voice["lanes"]["pitch"]
    polarity = {"positive": "negative", "negative": "positive"}[pitch["polarity"]]
    return {**voice, "lanes": {**voice["lanes"], "pitch": {**pitch, "polarity": polarity}}}


def span(name: str, lanes: Plain) -> float:
    """How many times its pitch the highest partial of an instrument is that counts."""

    def most(lane: str, default: float) -> float:
        value = lanes.get(lane, default)
        return float(value["range"][1] if isinstance(value, dict) else value)

    if name == "partials":
        return float(lanes["count"] * (1 + most("detune", 0.0)))
    if name == "fm":
        return 1 + lanes["ratio"] * (2 + most("index", 2.0))
    return {"glide": 4.0, "pad": 8.0, "formant": 1.0}.get(name, 2.0)
