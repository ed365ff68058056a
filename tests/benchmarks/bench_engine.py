"""The sound engine on JACK's dummy device, while torch trains in one process and Python is busy in another.

Measured at JACK's port by `jack_monitor`, a program in C: underruns in a minute, the time from a key to its sound, and
whether ten thousand notes come out complete and in order. The first and the second once more without the load.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.measure import Row

RATE, BLOCK = 48_000, 1024
#: Seconds in which underruns are counted; keys that are pressed; notes, and their distance in seconds.
SECONDS, KEYS, NOTES, GAP = 60.0, 200, 10_000, 0.003
#: Voices of the piece that plays meanwhile; hertz of the sine that is listened to, whose waves fit no block.
VOICES, SINE = 16, 253.7

TRAINING = """
import torch
torch.set_num_threads(1)
net = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
x, y = torch.randn(64, 256), torch.randint(0, 10, (64,))
while True:
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimiser.step()
"""
BUSY = "x = 0\nwhile True: x = (x * 7 + len(str(x))) % 1000003"


def rows() -> Iterator[Row]:
    """Rows of the table; one that says so where there is no JACK to be had."""
    if shutil.which("jackd") is None or shutil.which("gcc") is None:
        yield Row("sound engine", 0.0, "", "-", None, "needs jackd, its headers, and gcc")
        return
    with tempfile.TemporaryDirectory() as folder, _jack(Path(folder)) as monitor:
        for load in (False, True):
            beside = "torch and Python busy" if load else "nothing beside"
            with _load(load):
                yield from _underruns(monitor, Path(folder), beside, SECONDS if load else SECONDS / 6)
                yield _latency(monitor, beside)
        yield _restart(Path(folder))
        with _load(True):
            yield _order(Path(folder))


@contextmanager
def _jack(folder: Path) -> Iterator[Path]:
    """A server of our own with a device that is none, and the monitor."""
    monitor = folder / "jack_monitor"
    source = Path(__file__).with_name("jack_monitor.c")
    subprocess.run(["gcc", "-O2", "-o", monitor, source, "-ljack", "-lm"], check=True)
    name = "descant-bench"
    os.environ |= {"JACK_DEFAULT_SERVER": name, "JACK_NO_AUDIO_RESERVATION": "1", "JACK_NO_START_SERVER": "1"}
    kind = ["-R", "-P", "70"] if os.geteuid() == 0 else ["-r"]
    server = subprocess.Popen(
        ["jackd", "-n", name, *kind, "-d", "dummy", "-r", str(RATE), "-p", str(BLOCK), "-C", "0", "-P", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1.0)
        assert server.poll() is None, "jackd does not start"
        yield monitor
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _load(on: bool) -> Iterator[None]:
    """A network that trains, and Python that never rests."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    codes = (TRAINING, BUSY) if on else ()
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for code in codes]
    try:
        time.sleep(4.0 if on else 0.0)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


class Piece:
    """Voices on a deck, written ahead by a thread, as a performer does."""

    def __init__(self, address: str) -> None:
        from sonify.desk import Desk, VoiceLanes
        from sonify.engine.client import EngineLink
        from sonify.engine.commands import Ready
        from sonify.engine.lines import Lines
        from sonify.engine.ring import point

        self.answers: list[object] = []
        self.link = EngineLink(address, self.answers.append)
        assert self.link.wait(20)
        ends = np.linspace(0.0, 1.0, 129)
        probe = {
            f"v{i}": VoiceLanes("glide", {"pitch": 100 * 9**ends, "brightness": ends}, ends) for i in range(VOICES)
        }
        self._lines = Lines(Desk(probe | {"key": VoiceLanes("pluck", {}, ends), "click": self._clicks()}, {}))
        self._ended = False

        def window(first: int, count: int) -> NDArray[np.float64]:
            t = np.arange(first, first + count) / 1000
            voices = {
                f"v{i}": VoiceLanes(
                    "glide",
                    {"pitch": 300 + 100 * np.sin(t * (1 + i / 7)), "brightness": 0.5 + 0.4 * np.sin(t)},
                    np.full(count, 0.0),
                )
                for i in range(VOICES)
            }
            rest = {"key": VoiceLanes("pluck", {}, np.ones(count)), "click": self._clicks(np.ones(count))}
            return self._lines.window(Desk(voices | rest, {}), first, count)

        self._window = window
        self._until = point(self.link.ring.now())
        self.load()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        while Ready("live") not in self.answers:
            time.sleep(0.01)

    def load(self) -> None:
        """Put it on its deck, again: a change of score."""
        self.link.load("live", self._lines.patch, self._window(self._until, 1), self._until)

    def _clicks(self, amplitude: object = None):  # type: ignore[no-untyped-def]
        from sonify.desk import VoiceLanes

        ends = np.linspace(0.0, 1.0, 129) if amplitude is None else amplitude
        return VoiceLanes("sampler", {}, ends, sample=SAMPLE)

    def _write(self) -> None:
        from sonify.engine.ring import point

        while not self._ended:
            first = max(self._until, point(self.link.ring.now()))
            count = point(self.link.ring.now()) + 250 - first
            if count > 0:
                self.link.write("live", first, self._window(first, count).rows)
                self._until = first + count
                self.link.written(self._until)
            time.sleep(0.03)

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self.link.close()


SAMPLE = Path(tempfile.gettempdir()) / f"descant-bench-{os.getpid()}.wav"


@contextmanager
def _engine() -> Iterator[tuple[object, Piece]]:
    import soundfile

    from sonify.engine.client import Engine

    soundfile.write(SAMPLE, np.full(RATE, 0.5), RATE, subtype="FLOAT")
    engine = Engine(lambda answer: None, "jack", RATE, BLOCK)
    piece = None
    try:
        while (state := engine.state()) is None or state.backend != "jack":
            time.sleep(0.01)
        piece = Piece(engine.address)
        yield engine, piece
    finally:
        if piece is not None:
            piece.close()
        engine.close()
        SAMPLE.unlink()


def _underruns(monitor: Path, folder: Path, beside: str, seconds: float) -> Iterator[Row]:
    with _engine() as (engine, piece):
        _play_tone(engine, folder, seconds + 10)
        time.sleep(1.0)
        before = engine.state()  # type: ignore[attr-defined]
        words = [str(monitor), str(seconds), "descant:output_1", str(SINE)]
        listening = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        while listening.poll() is None:
            time.sleep(2.0)
            piece.load()
        assert listening.stdout is not None
        said = listening.stdout.read().split()[1:]
        after = engine.state()  # type: ignore[attr-defined]
    found = dict(word.split("=") for word in said)
    lost = int(found["skipped"]) + int(found["xruns"]) + int(found["breaks"])
    first = f", the first at {found['at']} s" if lost else ""
    yield Row(
        f"underruns in {seconds:.0f} s at {BLOCK} frames, a new graph every 2 s, {beside}", lost, "", "0", lost == 0,
        f"xruns {found['xruns']}, left out {found['skipped']}, breaks {found['breaks']}{first}",
    )  # fmt: skip
    counted = after.underruns - before.underruns
    yield Row(f"the engine's own count, {beside}", counted, "", f"{lost}", counted == lost, f"late {after.late}")


def _play_tone(engine, folder: Path, seconds: float) -> None:  # type: ignore[no-untyped-def]
    from sonify.engine.commands import LoadFile
    from sonify.wav import StereoWav

    tone = folder / "sine.wav"
    wave = 0.25 * np.sin(2 * np.pi * SINE / RATE * np.arange(int(seconds * RATE)))
    with StereoWav(tone, RATE, len(wave)) as file:
        file.write(np.stack([wave, wave], axis=1).astype(np.float32))
    engine.send(LoadFile("sine", tone))


def _latency(monitor: Path, beside: str) -> Row:
    from sonify.engine.commands import Strike

    dice = np.random.default_rng(0)
    gaps = dice.uniform(0.15, 0.25, KEYS)
    with _engine() as (_, piece):
        words = [str(monitor), str(gaps.sum() + 2), "descant:output_1", "onsets"]
        listening = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert listening.stdout is not None
        assert listening.stdout.readline() == "ready\n"
        time.sleep(1.0)
        pressed = []
        for gap in gaps:
            values = {"pitch": 800.0, "level": 0.0, "velocity": 0.8, "decay": 0.05, "brightness": 0.5}
            pressed.append(time.monotonic())
            piece.link.send(Strike("live", "key", values))
            time.sleep(gap)
        heard = np.array([float(line) for line in listening.stdout.read().split()])
    if len(heard) != KEYS:
        return Row(f"key to sound, {beside}", float(len(heard)), "keys heard", f"{KEYS}", False)
    late = 1000 * (heard - np.array(pressed))
    p95, median, most = (float(np.quantile(late, q)) for q in (0.95, 0.5, 1.0))
    return Row(
        f"key to sound at {BLOCK} frames, p95, {beside}", p95, "ms", "<= 60", p95 <= 60,
        f"median {median:.0f}, most {most:.0f}",
    )  # fmt: skip


def _order(folder: Path) -> Row:
    """Each note is 2 ms long, and its loudness its number modulo 50: what the engine records must count."""
    import soundfile

    from sonify.engine.commands import Record, Strike

    out = folder / "notes.wav"
    with _engine() as (engine, piece):
        engine.send(Record(out))  # type: ignore[attr-defined]
        begin = piece.link.ring.now() + 2.0
        for i in range(NOTES):
            at = begin + i * GAP
            while piece.link.ring.now() < at - 1.5:  # a sender that is held up for a moment is not what is judged
                time.sleep(0.01)
            values = {"pitch": 261.6256, "root": 261.6256, "level": 0.0, "start": 0.0, "length": 0.002, "reverse": 0.0}
            values |= {"attack": 2.0, "release": 2.0, "velocity": (1 + i % 50) / 60}
            piece.link.send(Strike("live", "click", values, at))
        while piece.link.ring.now() < begin + NOTES * GAP + 0.5:
            time.sleep(0.1)
    sound = np.abs(soundfile.read(out)[0][:, 0])
    begins = np.flatnonzero(sound > 1e-5)[0]
    step = GAP * RATE
    sound = np.concatenate([sound, np.zeros(int(NOTES * step))])  # where notes are missing there is nothing
    peaks = np.array([sound[int(begins + i * step) : int(begins + (i + 1) * step)].max() for i in range(NOTES)])
    codes = np.round(peaks / peaks[49::50].max() * 50).astype(int) - 1
    wrong = int((codes != np.arange(NOTES) % 50).sum())
    return Row(f"notes lost or out of order, of {NOTES}", wrong, "", "0", wrong == 0)


def _sounds_after(seconds: float, state) -> bool:  # type: ignore[no-untyped-def]
    there = state is not None and state.seconds >= seconds and {"live", "sine"} <= set(state.decks)
    return there and max(state.peak) > 0.1


def _restart(folder: Path) -> Row:
    """From a kill until the decks are there and the tone on one of them is heard."""
    took = []
    with _engine() as (engine, _):
        _play_tone(engine, folder, 60.0)
        for _ in range(5):
            time.sleep(1.0)
            pid, before = engine.pid, engine.state()  # type: ignore[attr-defined]
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            while not _sounds_after(before.seconds + 0.2, engine.state()):  # type: ignore[attr-defined]
                time.sleep(0.005)
            took.append(time.monotonic() - killed)
    median = float(np.median(took))
    return Row("killed engine to sound again", median, "s", "<= 1", median <= 1, f"most {max(took):.2f}")
