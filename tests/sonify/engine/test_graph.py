"""Graphs come and go without anything left, though nobody collects garbage in the engine."""

import gc
import os

import numpy as np
import pytest

from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.effects import EFFECTS
from sonify.engine.lines import Lines
from sonify.instruments import INSTRUMENTS

ENDS = np.linspace(0.0, 1.0, 129)


def lanes(declared):
    """Every parameter moves that may."""
    return {
        n: p.default if p.whole else p.range[0] + (p.range[1] - p.range[0]) * ENDS
        for n, p in declared.items()
        if n != "level"
    }


@pytest.fixture
def server():
    os.environ["PYO_GUI_WX"] = "0"
    import pyo64

    made = pyo64.Server(sr=48_000, nchnls=2, buffersize=1024, duplex=0, audio="manual")
    made.setVerbosity(1)
    made.boot()
    made.start()
    yield made
    made.stop()
    made.shutdown()


def test_a_graph_of_everything_goes_without_a_trace(server):
    from sonify.engine.graph import Master

    chain = tuple(EffectLanes(name, lanes(effect.parameters)) for name, effect in EFFECTS.items())
    voices = {
        name: VoiceLanes(
            name, {} if i.on_events else lanes(i.parameters), ENDS, taps=ENDS, effects=chain[::3], into="g"
        )
        for name, i in INSTRUMENTS.items()
    }
    patch = Lines(Desk(voices, {"g": GroupLanes(chain, ENDS)})).patch
    master = Master(server, 1024, 48_000, 1.0)
    gc.collect()
    gc.disable()
    try:
        before = len(server.getStreams())
        for _ in range(3):
            graph = master.graph(lambda graph: graph.play_patch(patch, {}))
            master.hear(master.mix([graph])).dismiss()
            assert len(server.getStreams()) > before + 500
            server.process()
            master.hear(master.mix([])).dismiss()
            graph.dismiss()
            del graph
            server.process()
        assert len(server.getStreams()) <= before + 8
    finally:
        gc.enable()
