"""Many voices at once, beside csound and SuperCollider; a piece with reverbs; memory over a long piece.

The task is the same for all: 64 sines whose frequencies and amplitudes move along tables of 1000 points a second, at
48 kHz, into a float32 file. csound and scsynth hold a frequency for a control period of 1 ms; ours, and csound asked
for the same, interpolate it at audio rate. Ours alone measures the loudness and brings the sound to it.

The peers are Debian's ``csound`` (the program, since Debian's library lacks the name by which ``ctcsound`` asks for it)
and ``supercollider-server``, whose score and graph are written here, since its language needs a screen.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from pythonosc.osc_message_builder import OscMessageBuilder

from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.effects import EFFECTS
from sonify.instruments import INSTRUMENTS, Onset
from tests.benchmarks.measure import ROOT, Row, cpu

VOICES, RATE = 64, 1000
#: From left to right.
PLACES = np.linspace(-0.8, 0.8, VOICES)
Lanes = list[NDArray[np.float64]]


def rows() -> Iterator[Row]:
    for seconds in (30, 120):
        what = f"{VOICES} moving voices, {seconds} s"
        ours, alone = measured("sines", seconds), measured("sines", seconds, 1)
        yield Row(f"{what}: wall", ours["wall"], "s", "-", None, "in one process", alone["wall"])
        yield Row(f"{what}: CPU", ours["cpu"], "s", "-", None, "in one process", alone["cpu"])
        for peer, write in PEERS.items():
            theirs = beside(write, seconds)
            if theirs is None:
                yield Row(f"{what}: wall", ours["wall"], "s", "-", None, f"{peer} is not here (make apt)")
                continue
            goal = "<= csound's" if peer == "csound" else "-"
            met = ours["wall"] <= theirs["wall"] if peer == "csound" else None
            yield Row(f"{what}: wall", ours["wall"], "s", goal, met, peer, theirs["wall"])
            yield Row(f"{what}: CPU", ours["cpu"], "s", "-", None, peer, theirs["cpu"])
    piece = measured("piece", 180)
    what = "12 voices, two reverbs, compressor, 180 s"
    yield Row(f"{what}: wall", piece["wall"], "s", "<= 20", piece["wall"] <= 20)
    yield Row(f"{what}: CPU", piece["cpu"], "s", "-", None)
    short, long = (measured("sines", seconds, 1, 8)["memory"] for seconds in (120, 600))
    grown = (long - short) / 8
    lanes = 8 * 2 * 60 * RATE * 8 / 2**20
    yield Row("8 voices: memory for a minute more", grown, "MB", "<= 30", grown <= 30, "their lanes", lanes)


def measured(what: str, seconds: float, processes: int | None = None, voices: int = VOICES) -> dict[str, float]:
    """Wall and CPU seconds (the best of three) and megabytes of rendering, its start included, in a fresh process."""
    code = f"from tests.benchmarks.bench_voices import report; report({what!r}, {seconds}, {processes}, {voices})"
    words = [sys.executable, "-c", code]
    runs = [json.loads(subprocess.run(words, check=True, capture_output=True, cwd=ROOT).stdout) for _ in range(3)]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def report(what: str, seconds: float, processes: int | None, voices: int) -> None:
    """Render once, and print what it took."""
    from pieces.piece import Master
    from sonify.render import render

    desk = sines(seconds, voices) if what == "sines" else piece(seconds)
    render(sines(0.1, 1), 0.1, Master(), Path(tempfile.mkdtemp()))  # what is imported on first use
    with tempfile.TemporaryDirectory() as folder, watched() as peak:
        spent, start = cpu(), time.perf_counter()
        render(desk, seconds, Master(), Path(folder), stems=False, processes=processes)
        found = {"wall": time.perf_counter() - start, "cpu": cpu() - spent}
    print(json.dumps(found | {"memory": max(peak)}))


@contextmanager
def watched() -> Iterator[list[float]]:
    """Peak resident size of this process's child, in megabytes, as it is while it runs."""
    sizes, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for child in multiprocessing.active_children():
                with suppress(OSError, IndexError):
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    sizes.append(float(status.partition("VmHWM:")[2].split()[0]) / 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sizes
    finally:
        over.set()
        watcher.join()


def motion(seconds: float, voices: int) -> tuple[Lanes, Lanes]:
    """Frequencies and amplitudes."""
    at = np.arange(round(seconds * RATE) + 4) / RATE
    phases = [2 * np.pi * (0.2 + i / 100) * at for i in range(voices)]
    frequencies = [220 * 2 ** (i / 12 + 0.1 * np.sin(phase)) for i, phase in enumerate(phases)]
    return frequencies, [(0.5 + 0.4 * np.cos(1.7 * phase)) / voices for phase in phases]


def sines(seconds: float, voices: int) -> Desk:
    """The task, for us."""
    return Desk(
        {
            f"v{i}": VoiceLanes("glide", {"pitch": frequency, "brightness": 0.0}, amplitude, pan=float(PLACES[i]))
            for i, (frequency, amplitude) in enumerate(zip(*motion(seconds, voices), strict=True))
        },
        {},
    )


def piece(seconds: float) -> Desk:
    """Four parts of three voices: tones, stretched partials, bells, and noise under pads."""
    frequencies, amplitudes = motion(seconds, 12)
    notes = [{"pitch": 220.0 * 2 ** (k % 24 / 12), "velocity": 0.7} for k in range(int(seconds) * 2)]
    default = {name: {p.name: p.default for p in i.parameters.values()} for name, i in INSTRUMENTS.items()}
    names = ("glide", "partials", "bell", "pad", "glide", "partials", "pluck", "pad", "glide", "noise", "bell", "pad")
    voices = {}
    for i, name in enumerate(names):
        struck = INSTRUMENTS[name].on_events
        lanes = {n: v for n, v in default[name].items() if n != "level"}
        voices[f"v{i}"] = VoiceLanes(
            name,
            {} if struck else lanes | {"pitch": frequencies[i]},
            amplitudes[i],
            pan=i / 6 - 1,
            onsets=tuple(Onset(k / 2 + i / 50, lanes | {"level": 0.0} | note) for k, note in enumerate(notes)) * struck,
            into="bus",
            sends={"hall" if i % 2 else "plate": 0.2},
        )
    groups = {name: GroupLanes((_effect(name),)) for name in ("hall", "plate")}
    return Desk(voices, {"bus": GroupLanes((_effect("compressor"),)), **groups})


def _effect(name: str) -> EffectLanes:
    return EffectLanes(name, {p.name: p.default for p in EFFECTS[name].parameters.values()})


def beside(write: Callable[[float, Path], list[str]], seconds: float) -> dict[str, float] | None:
    """Wall and CPU seconds (the best of three) of a peer that is given the task, its start included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, pair in enumerate(zip(*motion(seconds, VOICES), strict=True)):
            for letter, values in zip("fa", pair, strict=True):
                soundfile.write(folder / f"{letter}{i}.wav", values, RATE, subtype="FLOAT")
        words = write(seconds, folder)
        if shutil.which(words[0]) is None:
            return None
        runs = []
        for _ in range(3):
            spent, start = cpu(), time.perf_counter()
            subprocess.run(words, check=True, capture_output=True, cwd=folder, env={**os.environ, **OFFSCREEN})
            runs.append((time.perf_counter() - start, cpu() - spent))
            sound = soundfile.info(folder / "out.wav")
            assert (sound.samplerate, sound.channels, sound.subtype) == (48_000, 2, "FLOAT")
            assert abs(sound.duration - seconds) < 0.01
    return {"wall": min(run[0] for run in runs), "cpu": min(run[1] for run in runs)}


def csound(seconds: float, folder: Path, interpolated: bool = False) -> list[str]:
    """One instrument, 64 notes of it."""
    tables = [f'gi{n}{i} ftgen {k}, 0, 0, -1, "{n}{i}.wav", 0, 0, 0'
              for i in range(VOICES) for n, k in (("f", 100 + i), ("a", 200 + i))]  # fmt: skip
    sound = ["a1 oscili ka, kf, 1"]
    if interpolated:
        sound = ["af interp kf", "aa interp ka", "a1 oscili aa, af, 1"]
    places = np.pi / 4 * (1 + PLACES)
    notes = [f"i1 0 {seconds} {i} {np.cos(p):.4f} {np.sin(p):.4f}" for i, p in enumerate(places)]
    lines = [
        "<CsoundSynthesizer>", "<CsInstruments>", "sr = 48000", "ksmps = 48", "nchnls = 2", "0dbfs = 1",
        "gi1 ftgen 1, 0, 16384, 10, 1", *tables,
        "instr 1", f"kx line 0, p3, p3 * {RATE}", "kf tablei kx, 100 + p4", "ka tablei kx, 200 + p4", *sound,
        "outs a1 * p5, a1 * p6", "endin", "</CsInstruments>", "<CsScore>", *notes, "</CsScore>", "</CsoundSynthesizer>",
    ]  # fmt: skip
    (folder / "task.csd").write_text("\n".join(lines))
    return ["csound", "-d", "-m0", "-W", "-f", "-o", "out.wav", "task.csd"]


def supercollider(seconds: float, folder: Path) -> list[str]:
    """A synthesis graph in SuperCollider's own format, and a score of OSC bundles that plays it 64 times."""
    loads = [("/b_allocRead", 2 * i + k, f"{n}{i}.wav") for i in range(VOICES) for k, n in enumerate("fa")]
    places = np.pi / 4 * (1 + PLACES)
    plays = [
        ("/s_new", "v", 1000 + i, 0, 0, "f", 2 * i, "a", 2 * i + 1, "l", float(np.cos(p)), "r", float(np.sin(p)))
        for i, p in enumerate(places)
    ]
    score = [(0.0, ("/d_recv", _graph(seconds))), *((0.0, m) for m in (*loads, *plays)), (seconds, ("/c_set", 0, 0))]
    (folder / "task.osc").write_bytes(b"".join(_bundle(at, *message) for at, message in score))
    return ["scsynth", "-N", "task.osc", "_", "out.wav", "48000", "WAV", "float", "-o", "2", "-z", "48", "-D", "0"]


def _graph(seconds: float) -> bytes:
    """``Out(0, SinOsc(BufRd(f, line)) * BufRd(a, line) * [l, r])``, in version 2 of the "SCgf" format."""
    numbers = [0.0, seconds * RATE, seconds, 2.0]
    zero, end, length, linear = ((-1, i) for i in range(4))
    units = [  # name, rate (1 control, 2 audio), inputs (unit and output, or -1 and number), outputs, operator
        ("Control", 1, [], 4, 0), ("Line", 1, [zero, end, length, zero], 1, 0),
        ("BufRd", 1, [(0, 0), (1, 0), zero, linear], 1, 0), ("BufRd", 1, [(0, 1), (1, 0), zero, linear], 1, 0),
        ("SinOsc", 2, [(2, 0), zero], 1, 0), ("BinaryOpUGen", 2, [(4, 0), (3, 0)], 1, 2),
        ("BinaryOpUGen", 2, [(5, 0), (0, 2)], 1, 2), ("BinaryOpUGen", 2, [(5, 0), (0, 3)], 1, 2),
        ("Out", 2, [zero, (6, 0), (7, 0)], 0, 0),
    ]  # fmt: skip

    def text(name: str) -> bytes:
        return bytes([len(name)]) + name.encode()

    made = b"SCgf" + struct.pack(">ih", 2, 1) + text("v") + struct.pack(">i4f", 4, *numbers)
    made += struct.pack(">i4fi", 4, *[0.0] * 4, 4) + b"".join(
        text(n) + struct.pack(">i", i) for i, n in enumerate("falr")
    )
    made += struct.pack(">i", len(units))
    for name, rate, inputs, outputs, operator in units:
        made += text(name) + struct.pack(">biih", rate, len(inputs), outputs, operator)
        made += b"".join(struct.pack(">ii", *given) for given in inputs) + bytes([rate]) * outputs
    return made + struct.pack(">h", 0)


def _bundle(at: float, address: str, *arguments: str | int | float | bytes) -> bytes:
    """One message at a time of a score, behind its length."""
    message = OscMessageBuilder(address)
    for argument in arguments:
        message.add_arg(argument)
    body = message.build().dgram
    packet = b"#bundle\0" + struct.pack(">II", int(at), 0) + struct.pack(">i", len(body)) + body
    return struct.pack(">i", len(packet)) + packet


#: Its graphical toolkit asks for a screen even where nothing is shown.
OFFSCREEN = {"QT_QPA_PLATFORM": "offscreen"}
PEERS: dict[str, Callable[[float, Path], list[str]]] = {
    "csound": csound,
    "csound, interpolated": lambda seconds, folder: csound(seconds, folder, True),
    "SuperCollider": supercollider,
}
