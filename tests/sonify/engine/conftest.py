"""What the tests of the engine share: an engine with a performer on it, and what it has played."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonify.desk import Desk, VoiceLanes
from sonify.engine import commands as c
from sonify.engine.client import Engine, EngineLink
from sonify.engine.lines import Lines
from sonify.engine.ring import point

RATE = 48_000
ENDS = np.linspace(0.0, 1.0, 129)


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition; it is an error if it does not come."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.005)


def hum(pitch=300.0, amplitude=0.2, **rest) -> Callable[[np.ndarray], VoiceLanes]:
    """A voice as a function of the points of a window; its pitch and amplitude may be functions of engine seconds."""

    def at(given, seconds):
        return given(seconds) if callable(given) else np.full(len(seconds), given)

    return lambda seconds: VoiceLanes(
        "glide", {"pitch": at(pitch, seconds), "brightness": 0.3}, at(amplitude, seconds), **rest
    )


def struck(name: str = "pluck", **rest) -> Callable[[np.ndarray], VoiceLanes]:
    """A voice that is struck."""
    return lambda seconds: VoiceLanes(name, {}, np.ones(len(seconds)), **rest)


class Performer:
    """Plays voices on decks: writes windows ahead of the engine, in a thread, until it is stopped."""

    def __init__(self, address: str) -> None:
        self.answers: list[c.Answer] = []
        self.link = EngineLink(address, self.answers.append)
        assert self.link.wait(10)
        self._decks: dict[str, tuple[Lines, dict]] = {}
        self._lock = threading.Lock()
        self._until = point(self.link.ring.now())
        self.late = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def play(
        self, voices: dict, deck: str = "live", groups: dict | None = None, fade: float = 0.05, wait: bool = True
    ) -> None:
        """Load a patch and wait until it sounds."""
        probes = {
            name: VoiceLanes(
                v.instrument,
                {n: 100 * 20**ENDS if n == "pitch" else lane for n, lane in v.lanes.items()},
                ENDS,
                into=v.into,
                effects=v.effects,
                sends=v.sends,
            )
            for name, v in ((name, voice(np.zeros(1))) for name, voice in voices.items())
        }
        lines = Lines(Desk(probes, groups or {}))
        before = self.answers.count(c.Ready(deck))
        with self._lock:
            first = max(point(self.link.ring.now()), self._until - 300)
            window = self._window(lines, voices, groups, first, max(self._until - first, 1))
            self.link.load(deck, lines.patch, window, first, fade)
            self._decks[deck] = lines, voices
            self._groups = groups
        if wait:
            until(lambda: self.answers.count(c.Ready(deck)) > before)

    def strike(self, voice: str, at: float | None = None, deck: str = "live", **values: float) -> None:
        """A short note."""
        values = {"pitch": 440.0, "level": 0.0, "velocity": 0.5, "decay": 0.1, "brightness": 0.5} | values
        self.link.send(c.Strike(deck, voice, values, at))

    def now(self) -> float:
        return self.link.ring.now()

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self.link.close()

    def _window(self, lines, voices, groups, first, points):
        seconds = np.arange(first, first + points) / 1000
        return lines.window(Desk({n: voice(seconds) for n, voice in voices.items()}, groups or {}), first, points)

    def _run(self) -> None:
        while not self._ended:
            if not self.late.is_set():
                with self._lock:
                    now = point(self.link.ring.now())
                    first = max(self._until, now)
                    if (points := now + 200 - first) > 0:
                        for deck, (lines, voices) in self._decks.items():
                            self.link.write(deck, first, self._window(lines, voices, self._groups, first, points).rows)
                        self._until = first + points
                        self.link.written(self._until)
            time.sleep(0.02)


class Rig:
    """An engine, who plays on it, and what was heard."""

    def __init__(self, folder: Path, backend: c.Backend) -> None:
        self.answers: list[c.Answer] = []
        self._path = folder / "heard.wav"
        self.engine = Engine(self.answers.append, backend)
        until(lambda: self.engine.state() is not None and c.Hello(None) in self.answers)
        self.performers: list[Performer] = []

    def performer(self) -> Performer:
        self.performers.append(Performer(self.engine.address))
        return self.performers[-1]

    def record(self) -> None:
        """From the next block on."""
        self._path.unlink(missing_ok=True)
        self.engine.send(c.Record(self._path))
        until(self._path.exists)
        self.wait(0.05)

    def heard(self) -> np.ndarray:
        """What was played since `record`, [samples, 2]."""
        self.engine.send(c.Record(None))
        size = -1
        while size != (size := self._path.stat().st_size) or (size % 8192 == 0 and size < 100):
            time.sleep(0.1)
        return soundfile.read(self._path, dtype="float64")[0]

    def wait(self, seconds: float) -> None:
        """Let engine time pass."""
        end = self.engine.ring.now() + seconds
        until(lambda: self.engine.ring.clock()[0] >= end, seconds + 10)

    def close(self) -> None:
        for performer in self.performers:
            performer.close()
        self.engine.close()


@pytest.fixture
def rig(tmp_path):
    """``rig(backend="silent")``: an engine of its own, gone afterwards."""
    made: list[Rig] = []

    def make(backend: c.Backend = "silent") -> Rig:
        made.append(Rig(tmp_path, backend))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not Path(each.engine.address).exists()


@pytest.fixture
def jackd():
    """``jackd(rate, ports)`` starts a server of the test's own, with a device that is none; its name is in the
    environment, and it lets `ports` be made, two of them its own."""
    import os
    import shutil

    if shutil.which("jackd") is None:
        pytest.skip("jackd is not installed")
    # One name for all runs: of servers that are killed JACK remembers eight, and then starts no other.
    name = f"descant-test-{os.environ.get('PYTEST_XDIST_WORKER', 'only')}"
    before = {k: os.environ.get(k) for k in ("JACK_DEFAULT_SERVER", "JACK_NO_AUDIO_RESERVATION")}
    os.environ["JACK_DEFAULT_SERVER"], os.environ["JACK_NO_AUDIO_RESERVATION"] = name, "1"
    running: list[subprocess.Popen] = []

    def start(rate: int = RATE, ports: int = 64) -> subprocess.Popen:
        words = ["jackd", "-n", name, "-p", str(ports), "-r"]
        words += ["-d", "dummy", "-r", str(rate), "-p", "1024", "-C", "0", "-P", "2"]
        running.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return running[-1]

    yield start
    for process in running:
        process.terminate()
        process.wait()
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)
