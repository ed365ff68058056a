"""A recording played on events: musique concrète."""

from __future__ import annotations

from collections.abc import Mapping

from sonify.instruments.base import Parameter, Sample, declare, level, pitch
from sonify.instruments.notes import Floats, Notes, fades
from sonify.instruments.sample import excerpt


class Sampler(Notes):
    """A piece of a sound file for each note, transposed by resampling as a tape would be."""

    name = "sampler"
    about = "a sound file, played at the pitch of each event"
    needs_sample = True
    damped = False
    parameters = declare(
        pitch(default=261.6256),
        level(),
        Parameter("root", "pitch at which the file sounds as recorded", "Hz", (20.0, 16_000.0), 261.6256, "log2"),
        Parameter("start", "where in the file a note begins, 0 to 1 of its length", "", (0.0, 1.0), 0.0, "linear"),
        Parameter("length", "longest time of a note; the file's end ends it too", "s", (0.01, 60.0), 10.0, "log2"),
        Parameter("attack", "time in which a note rises", "ms", (2.0, 5000.0), 3.0, "log2"),
        Parameter("release", "time in which a note falls, at its end", "ms", (2.0, 5000.0), 30.0, "log2"),
        Parameter("reverse", "0 forwards, 1 backwards", "", (0.0, 1.0), 0.0, "linear", whole=True),
    )

    def note(self, values: Mapping[str, float], index: int, sample_rate: int, sample: Sample | None) -> Floats:
        """The piece from `start` on, or the same piece backwards."""
        assert sample is not None
        ratio = values["pitch"] / values["root"]
        whole = len(sample.samples) / sample.rate
        start = min(values["start"], 1.0) * whole
        length = int(min(values["length"], (whole - start) / ratio) * sample_rate)
        sound = excerpt(sample, start, ratio, length, sample_rate)
        attack, release = (round(values[name] / 1000 * sample_rate) for name in ("attack", "release"))
        return (sound[::-1] if values["reverse"] >= 0.5 else sound) * fades(len(sound), attack, release)
