"""What the tests of instruments share: one instrument alone in a pyo server, and judges of its sound."""

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from sonify.instruments import INSTRUMENTS
from sonify.instruments.base import CONTROL_RATE, Lane, Onset, Sample
from sonify.weighting import k_weighting

RATE = 48_000
_BLOCK = 320


def played(
    name: str,
    lanes: Mapping[str, Lane] | None = None,
    seconds: float = 1.0,
    notes: Sequence[tuple[float, Mapping[str, float]]] = (),
    sample: Sample | None = None,
    rate: int = RATE,
) -> np.ndarray:
    """The sound of one instrument, [samples], from lanes (defaults elsewhere) or from notes (time, values)."""
    os.environ["PYO_GUI_WX"] = "0"
    import pyo64

    instrument = INSTRUMENTS[name]
    defaults = {n: p.default for n, p in instrument.parameters.items()} | {"velocity": 1.0}
    onsets = tuple(Onset(time, defaults | values) for time, values in notes)
    points = int(np.ceil(seconds * CONTROL_RATE)) + 4
    given = {n: v for n, v in defaults.items() if n not in ("level", "velocity")} | dict(lanes or {})
    controls = instrument.controls({} if instrument.on_events else given, onsets, points, rate)

    server = pyo64.Server(sr=rate, nchnls=1, buffersize=_BLOCK, duplex=0, audio="manual")
    server.setVerbosity(1)
    server.boot()
    server.setGlobalSeed(1)
    server.start()
    server.process()  # the server's fade-in
    kept = []

    def signal(lane: Lane) -> object:
        values = np.asarray(lane, dtype=np.float64)
        if values.ndim == 0 or values.min() == values.max():
            return float(values.flat[0])
        table = pyo64.DataTable(len(values))
        np.asarray(table.getBuffer())[:] = values
        kept.append(pyo64.TableRead(table, freq=CONTROL_RATE / len(values), loop=0, interp=2).play())
        return kept[-1]

    (makeup,) = controls.pop("makeup", [1.0])
    sounds = instrument.build({n: [signal(lane) for lane in group] for n, group in controls.items()}, sample)
    if sounds:
        kept.append(pyo64.Mix(sounds, voices=1, mul=signal(makeup)).out())
    memory = (ctypes.c_float * _BLOCK).from_address(int(server.getOutputAddr(), 16))
    output = np.ctypeslib.as_array(memory)
    blocks = []
    for _ in range(-(-round(seconds * rate) // _BLOCK)):
        server.process()
        blocks.append(output.copy())
    server.stop()
    server.shutdown()
    return np.concatenate(blocks)[: round(seconds * rate)].astype(np.float64)


def k_loudness(sound: np.ndarray, rate: int = RATE) -> float:
    """K-weighted level in dB, ungated."""
    spectrum = np.fft.rfft(sound, 2 * len(sound))
    weighted = np.fft.irfft(spectrum * k_weighting(np.fft.rfftfreq(2 * len(sound), 1 / rate), rate))[: len(sound)]
    return float(10 * np.log10(np.mean(weighted**2) + 1e-20))


@pytest.fixture(scope="session")
def sound() -> Callable[..., np.ndarray]:
    """`played`."""
    return played


@pytest.fixture(scope="session")
def loudness() -> Callable[..., float]:
    """`k_loudness`."""
    return k_loudness
