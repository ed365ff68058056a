"""Random valid scores of purpose ``measure``, with data for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pieces.signals import Event
from sonify.effects import EFFECTS
from sonify.instruments import INSTRUMENTS

Plain = dict[str, Any]

#: Instruments that promise their pitch, and what else may sound beside them.
DRONES = ("glide", "partials", "pad", "fm", "formant")
STRUCK = ("pluck", "bell", "string")
#: Highest partial, in Hz: above begins what the judge of clicks listens to.
TOP = 10_000.0


@dataclass
class Example:
    """A score as plain data, channels, ticks a second, events, and the master."""

    score: Plain
    arrays: dict[str, np.ndarray]
    rate: float
    events: tuple[Event, ...]
    master: Plain = field(default_factory=dict)


def uniform(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False).map(lambda v: float(f"{v:.4g}"))


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Two or three seconds: channels x and y (above 0) rest for a while and jump, r moves all the time, z is no pitch's."""
    hold = draw(st.sampled_from([0.25, 0.3, 0.4, 0.6]))
    count = round(2.4 / hold)
    per = draw(st.sampled_from([1, 2, 5, 20, 100]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stairs = draw(st.booleans())
    places = rng.permutation(np.linspace(0, 1, count)) if stairs else rng.uniform(0, 1, count)
    scale, offset = 10.0 ** rng.uniform(-3, 3), rng.uniform(-1, 1)
    held = {"x": scale * (places + offset), "y": scale * 10.0 ** (rng.uniform(0.3, 3) * (rng.permutation(places) - 1))}
    arrays = {name: np.repeat(values, per) for name, values in held.items()}
    ticks = count * per
    phase = np.linspace(0, 1, ticks, endpoint=False)
    arrays["r"] = phase if draw(st.booleans()) else np.sin(2 * np.pi * phase * rng.uniform(0.5, 1.2))
    arrays["z"] = rng.standard_normal(ticks)
    events = [Event(k * per, "note") for k in range(count) if rng.random() < 0.8]
    if draw(st.booleans()):
        lost = int(rng.integers(1, count - 1))
        for name in ("x", "y"):
            arrays[name][lost * per : (lost + 1) * per] = arrays[name][lost * per - 1]
            events.append(Event(lost * per, "diverged", {"channel": name, "value": "nan"}))
            events.append(Event((lost + 1) * per, "recovered", {"channel": name}))
    moving = ["x", "y", "r"] if per >= 20 else ["x", "y"]
    groups = draw(st.dictionaries(st.sampled_from(["room", "bus"]), group(), max_size=2))
    voices = {}
    for i in range(draw(st.integers(1, 3))):
        voices[f"v{i}"] = draw(voice(draw(st.sampled_from(moving)), hold, list(groups)))
    if draw(st.integers(0, 3)) == 0:
        voices["hiss"] = {"instrument": "noise", "gain_db": -30.0, "lanes": {"pitch": 400.0}}
    score = {"purpose": "measure", "voices": voices, "groups": groups}
    master = {
        "loudness": draw(uniform(-30, -10)),
        "ceiling": draw(uniform(-6, -1)),
        "limiter": draw(st.booleans()),
        "sample_rate": draw(st.sampled_from([44100, 48000])),
        "tail": draw(uniform(0.05, 0.5)),
    }
    return Example(score, arrays, per / hold, tuple(sorted(events, key=lambda e: e.tick)), master)


@st.composite
def voice(draw: st.DrawFn, channel: str, hold: float, groups: list[str]) -> Plain:
    """One that maps a channel onto its pitch."""
    struck = channel != "r" and draw(st.integers(0, 3)) == 0
    name = draw(st.sampled_from(STRUCK if struck else DRONES))
    plain = draw(st.booleans())
    lanes = draw(colours(name, hold, plain))
    highest = min(INSTRUMENTS[name].parameters["pitch"].range[1], TOP / overtone(name, lanes))
    low = draw(uniform(40.0, highest / 1.6))
    high = draw(uniform(1.5 * low, min(highest, 16 * low)))
    glide = 1000 * (hold - max(0.12, 6.5 / low))
    shapes = ["linear", "symlog"] + (["log", "sqrt"] if channel == "y" else [])
    lanes["pitch"] = {
        "channel": channel,
        "range": [low, high],
        "space": draw(st.sampled_from(["log2", "mel", "erb", "bark", "linear"])),
        "shape": draw(st.sampled_from(shapes)),
        "constant": draw(uniform(0.01, 10)),
        "domain": draw(st.sampled_from(["data", "data", "p1-p99"])),
        "polarity": draw(st.sampled_from(["positive", "negative"])),
        "glide_ms": draw(uniform(2.0, max(2.0, min(500.0, glide)))),
        "missing": draw(st.sampled_from(["hold", "silence", "earcon"])),
    }
    found: Plain = {"instrument": name, "lanes": lanes, "gain_db": draw(uniform(-20, 6))}
    found["attack_ms"], found["release_ms"] = draw(uniform(5, 200)), draw(uniform(5, 400))
    found["pan"] = draw(uniform(-1, 1)) if plain else draw(lane(-1, 1))
    if not plain:
        lanes["level"] = draw(lane(-24, 0))
    if struck:
        found |= draw(st.sampled_from([{"on": ["note"]}, {"steps": {"every": 2 * hold}}]))
    elif channel != "r" and draw(st.integers(0, 4)) == 0:
        found["gate"] = {"channel": "x", "above": 0.0}
    if groups and draw(st.booleans()):
        found["into"] = draw(st.sampled_from(groups))
    if groups and draw(st.booleans()):
        found["sends"] = {draw(st.sampled_from(groups)): draw(uniform(-30, 0))}
    return found


def lane(low: float, high: float) -> st.SearchStrategy[float | Plain]:
    """A constant, or one that follows what no pitch follows."""
    moving = {"channel": st.just("z"), "range": st.just([low, high]), "glide_ms": uniform(2, 300)}
    return uniform(low, high) | st.fixed_dictionaries(moving)


@st.composite
def colours(draw: st.DrawFn, name: str, hold: float, plain: bool) -> Plain:
    """Lanes of an instrument beside its pitch and its level: constants, or mapped where not `plain`."""
    ranges = {
        "glide": {"brightness": (0.0, 1.0)},
        "partials": {"detune": (-0.25, 0.5), "beside": (0.0, 1.0), "cutoff": (2000.0, 20_000.0), "amplitude": (0.2, 2)},
        "pad": {"brightness": (500.0, 12_000.0)},
        "fm": {"index": (0.0, 5.0)},
        "formant": {"vowel": (0.0, 1.0), "breath": (0.0, 0.1)},
        "pluck": {"brightness": (0.0, 1.0)},
        "bell": {"brightness": (0.0, 1.0)},
        "string": {"brightness": (0.0, 1.0), "position": (0.02, 0.5)},
    }[name]
    lanes: Plain = {}
    for key, (low, high) in ranges.items():
        if draw(st.booleans()):
            lanes[key] = draw(uniform(low, high) if plain else lane(low, high))
    if name == "partials":
        lanes["count"] = draw(st.integers(2, 8))
    if name == "fm":
        lanes["ratio"] = draw(st.integers(1, 4))
    if name in STRUCK:
        lanes["decay"] = draw(uniform(max(0.05, 0.5 * hold), hold))
    return lanes


def overtone(name: str, lanes: Plain) -> float:
    """How many times its pitch the highest partial of an instrument is that counts."""
    if name == "partials":
        detune = lanes.get("detune", 0.0)
        return lanes["count"] * (1 + (detune if isinstance(detune, float) else 0.5))
    if name == "fm":
        index = lanes.get("index", 2.0)
        return 1 + lanes["ratio"] * (2 + (index if isinstance(index, float) else 5.0))
    return {"glide": 4.0, "pad": 8.0}.get(name, 1.0)


@st.composite
def group(draw: st.DrawFn) -> Plain:
    """Some effects, at rest or moving."""
    effects = {}
    for name in draw(st.lists(st.sampled_from(["hall", "plate", "delay", "lowpass"]), max_size=2, unique=True)):
        effects[name] = {}
        for key, parameter in EFFECTS[name].parameters.items():
            if draw(st.booleans()):
                effects[name][key] = draw(uniform(*parameter.range))
    return {"effects": effects, "gain_db": draw(uniform(-20, 0))}
