"""10,000 points to 30 s of finished sound: rendered, at its loudness, below its ceiling, in a file; and many voices."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks import bench_voices
from tests.benchmarks.measure import ROOT, Row, command, cost, descant

POINTS, SECONDS = 10_000, 30.0

#: The same walk as one pyo voice, by hand: no loudness, no ceiling, no stem.
BARE = """
import os, sys
os.environ["PYO_GUI_WX"] = "0"
import numpy as np, pyo
x = np.loadtxt(sys.argv[1], skiprows=1, dtype="float32")
f = 110 * 2 ** (3 * (x - x.min()) / (x.max() - x.min()))
s = pyo.Server(sr=48000, nchnls=2, buffersize=256, duplex=0, audio="offline")
s.setVerbosity(0)
s.boot()
s.recordOptions(dur=30.0, filename=sys.argv[2], fileformat=0, sampletype=3)
t = pyo.DataTable(len(f))
np.asarray(t.getBuffer())[:] = f
p = pyo.Linseg([(0, 0.0), (30.0, 1.0)]).play()
o = pyo.Sine(pyo.Pointer2(t, p, interp=2, autosmooth=False), mul=0.3).mix(2).out()
s.start()
s.shutdown()
"""

#: Peers, where `.venv-peers` has them (make peers).
PEERS = {
    "STRAUSS": """
import sys, numpy as np
from strauss.sonification import Sonification
from strauss.sources import Objects
from strauss.score import Score
from strauss.generator import Synthesizer
x = np.loadtxt(sys.argv[1], skiprows=1)
generator = Synthesizer()
generator.load_preset("pitch_mapper")
data = {"pitch": [1.0], "time_evo": [np.linspace(0, 1, len(x))], "pitch_shift": [x]}
sources = Objects(data.keys())
sources.fromdict(data)
sources.apply_mapping_functions()
s = Sonification(Score([["A3"]], 30.0), sources, generator, "stereo", samprate=48000)
s.render()
s.save(sys.argv[2])
""",
    "Astronify": """
import sys, numpy as np
from astropy.table import Table
from astronify.series import SoniSeries
x = np.loadtxt(sys.argv[1], skiprows=1)
s = SoniSeries(Table({"time": np.arange(len(x)) / len(x), "flux": x}))
s.note_spacing = 30.0 / len(x)
s.sonify()
s.write(sys.argv[2])
""",
}


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _rows(Path(folder))
    yield from bench_voices.rows()


def _rows(folder: Path) -> Iterator[Row]:
    series = folder / "walk.csv"
    walk = np.cumsum(np.random.default_rng(0).standard_normal(POINTS))
    series.write_text("walk\n" + "\n".join(f"{v:.6f}" for v in walk))
    whole, start = cost(lambda: render(walk, SECONDS, folder)), cost(lambda: render(walk[:10], 0.5, folder))
    bare = command([sys.executable, "-c", BARE, str(series), str(folder / "bare.wav")])
    empty = command([sys.executable, "-c", "import os; os.environ['PYO_GUI_WX'] = '0'; import numpy, pyo"])
    spent = whole - start
    yield Row(
        "10,000 points -> 30 s finished, imports excluded",
        spent,
        "CPU s",
        "<= 0.5",
        spent <= 0.5,
        "bare pyo, no loudness",
        bare - empty,
    )
    words = descant("--archive", str(folder / "a.db"), "listen", str(series), "--quiet")
    cold = command(words, DESCANT_HOME=str(folder / "home"))
    yield Row("descant listen, from cold, archived", cold, "CPU s", "-", None, "bare pyo, from cold", bare)
    peers = ROOT / ".venv-peers" / "bin" / "python"
    for name, code in PEERS.items():
        try:
            theirs = command([str(peers), "-c", code, str(series), str(folder / "peer.wav")], 1)
            yield Row(
                "descant listen, from cold, archived",
                cold,
                "CPU s",
                "-",
                None,
                f"{name}, from cold",
                theirs,
            )
        except (OSError, subprocess.CalledProcessError):
            yield Row(
                "descant listen, from cold, archived",
                cold,
                "CPU s",
                "-",
                None,
                f"{name} is not here (make peers)",
            )


def render(values: np.ndarray[tuple[int], np.dtype[np.float64]], seconds: float, folder: Path) -> None:
    """Frames to a finished file."""
    from pieces.arrange import Arrangement
    from pieces.piece import Master, default_score
    from pieces.signals import Channel, Frames
    from sonify.lanes import lanes
    from sonify.render import render as finished
    from sonify.resolve import resolve, take_stats
    from sonify.score import parse_score

    frames = Frames({"walk": values}, (), len(values) / seconds, len(values))
    score = parse_score(default_score(["walk"]), "bench")
    channels = {"walk": Channel("walk", "a random walk", dtype="float64", range=(-300, 300))}
    resolved = resolve(score, take_stats(score, {"source": channels}, {"source": frames}), ["source"])
    finished(lanes(resolved, Arrangement.of(frames), 0.0), seconds, Master(tail=0), folder)
