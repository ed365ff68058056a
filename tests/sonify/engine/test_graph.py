"""Graphs come and go without anything left, though nobody collects garbage in the engine."""

import gc
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.effects import EFFECTS
from sonify.engine import commands as c
from sonify.engine.lines import Lines
from sonify.instruments import INSTRUMENTS
from tests.sonify.engine.conftest import until

ENDS = np.linspace(0.0, 1.0, 129)


def lanes(declared):
    """Every parameter moves that may."""
    return {
        n: p.default if p.whole else p.range[0] + (p.range[1] - p.range[0]) * ENDS
        for n, p in declared.items()
        if n != "level"
    }


def everything():
    """A patch of all instruments, each with some effects, in a group with all effects."""
    chain = tuple(EffectLanes(name, lanes(effect.parameters)) for name, effect in EFFECTS.items())
    voices = {
        name: VoiceLanes(
            name, {} if i.on_events else lanes(i.parameters), ENDS, taps=ENDS, effects=chain[::3], into="g"
        )
        for name, i in INSTRUMENTS.items()
    }
    return Lines(Desk(voices, {"g": GroupLanes(chain, ENDS)})).patch


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

    patch = everything()
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


def test_nothing_in_a_graph_calls_python_inside_a_block(server):
    """Another thread could then take from the server's list what the block has not come to."""
    from sonify.engine.graph import Master

    master = Master(server, 1024, 48_000, 1.0)
    graph = master.graph(lambda graph: graph.play_patch(everything(), {}))
    master.hear(master.mix([graph]))
    called = set()
    sys.setprofile(lambda frame, event, _: event == "call" and called.add(frame.f_code.co_qualname))
    try:
        for _ in range(50):
            server.process()
    finally:
        sys.setprofile(None)
    assert called == {"Server.process"}
    # And nothing that would, once something happens.
    calling = {"Pattern", "CallAfter", "TrigFunc", "VarPort", "Scope", "Spectrum", "RawMidi", "OscDataReceive"}
    playing = {type(s.getStreamObject()).__name__ for s in server.getStreams() if s.isPlaying()}
    assert "Sig_base" in playing
    assert not playing & {f"{name}_base" for name in calling}


def test_an_engine_keeps_nothing_of_its_graphs_when_it_changes_the_device(rig, monkeypatch):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "descant-none")
    r = rig()
    until(lambda: r.engine.state() is not None)
    r.engine.send(c.LoadPatch("live", everything()))
    until(lambda: "live" in r.engine.state().decks, 60.0)
    sizes = []
    for turn in range(6):
        r.engine.send(c.Use("jack"))  # which is not there: silence is made anew
        until(lambda turn=turn: sum(isinstance(a, c.Lost) for a in r.answers) == turn + 1, 30.0)
        blocks = r.engine.state().blocks
        until(lambda blocks=blocks: r.engine.state().blocks > blocks + 2, 30.0)
        status = Path(f"/proc/{r.engine.pid}/status").read_text()
        sizes.append(int(status.partition("RssAnon:")[2].split()[0]) / 1024)
    assert "live" in r.engine.state().decks
    assert sizes[5] - sizes[1] < 40.0  # megabytes; of one graph it has 60


def test_a_mix_of_a_server_that_is_gone_is_taken_apart_too(server, tmp_path, monkeypatch):
    """Else whoever makes blocks would be the last one to hold it."""
    from sonify.engine.console import Console
    from sonify.engine.graph import Mixdown
    from sonify.engine.ring import LaneRing

    apart, dismiss = [], Mixdown.dismiss

    def dismissed(mix):
        apart.append(threading.current_thread())
        dismiss(mix)

    monkeypatch.setattr(Mixdown, "dismiss", dismissed)
    console = Console(LaneRing.create(tmp_path), lambda answer: None)
    console.rebuild(server, 1024)
    console._mix([])
    console.dismantle()
    console.rebuild(server, 1024)
    assert not apart
    console.make()
    until(lambda: apart)
    assert threading.current_thread() not in apart
