"""Rendering processes: that die, that are killed, that are asked for what cannot be done. Nothing is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pieces.errors import DescantError
from pieces.piece import Master
from sonify.desk import Desk, EffectLanes, GroupLanes, VoiceLanes
from sonify.parcel import Parcel, receive
from sonify.render import RenderError, render

ROOT = Path(__file__).parents[2]


def sine(amplitude=0.1, **fields):
    return VoiceLanes("glide", {"pitch": 440.0, "brightness": 0.0}, amplitude, **fields)


def choir(voices=9, **more):
    return Desk({f"v{i}": sine() for i in range(voices)} | more, {})


def children(process):
    """Processes that this one has started and that still are, zombies excluded."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if int(parent) == process and state != "Z":
            found.append(int(name.split()[0]))
    return found


def rendering(parent):
    """The rendering process of `parent`, and those that it has started, once they are all there."""
    while True:
        for child in children(parent):
            if len(workers := children(child)) == 2:
                return child, workers
        time.sleep(0.005)


def runs(process):
    """Whether it is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(processes):
    """Whether all end within a minute."""
    until = time.monotonic() + 60
    while (left := any(runs(process) for process in processes)) and time.monotonic() < until:
        time.sleep(0.02)
    return not left


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


@linux
@pytest.mark.parametrize("victim", [0, 1, "rendering"])
def test_a_process_that_dies_is_an_error(tmp_path, victim):
    seen = []

    def kill():
        seen.append(rendering(os.getpid()))
        child, workers = seen[0]
        os.kill(child if victim == "rendering" else workers[victim], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RenderError, match=r"rendering process ended with code -9") as error:
        render(choir(), 900.0, Master(), tmp_path, processes=2)
    killer.join()
    one_line(error)
    ((child, workers),) = seen
    assert gone([child, *workers])
    assert not multiprocessing.active_children()
    assert victim == "rendering" or not list(tmp_path.iterdir())


@linux
@pytest.mark.parametrize(("sent", "everyone"), [(signal.SIGKILL, False), (signal.SIGINT, False), (signal.SIGINT, True)])
def test_who_asked_for_the_sound_is_killed_or_interrupted(tmp_path, sent, everyone):
    """Alone, or with its whole group as by the keyboard: no process and no half-written file stay."""
    code = f"""
        from tests.sonify.test_render_processes import *
        if __name__ == "__main__":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs this test may ignore it
            render(choir(), 900.0, Master(), Path({str(tmp_path)!r}), processes=2)
    """
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text(textwrap.dedent(code))
    asking = subprocess.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    child, workers = rendering(asking.pid)
    while not list(tmp_path.iterdir()):
        time.sleep(0.005)
    os.kill(-asking.pid if everyone else asking.pid, sent)
    assert asking.wait(60) == (-sent)
    assert gone([child, *workers])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sound_that_is_not_finite_is_named(tmp_path, processes):
    """In single precision 1e39 is not."""
    late = np.where(np.arange(2504) < 2000, 0.1, 1e39)
    with pytest.raises(RenderError, match="voice v9 made a sound that is not finite") as error:
        render(choir(v9=sine(late), v10=sine()), 2.5, Master(), tmp_path, stems=False, processes=processes)
    one_line(error)
    assert not list(tmp_path.iterdir())


def test_a_send_that_is_not_finite_names_who_sends(tmp_path):
    desk = Desk({"a": sine(sends={"room": 1e40})}, {"room": GroupLanes(())})
    with pytest.raises(RenderError, match="voice a made a sound that is not finite"):
        render(desk, 1.0, Master(), tmp_path)


def test_a_group_that_is_not_finite_is_named(tmp_path):
    desk = Desk({"a": sine(into="loud")}, {"quiet": GroupLanes(()), "loud": GroupLanes((), 1e40)})
    with pytest.raises(RenderError, match="group loud made a sound that is not finite"):
        render(desk, 1.0, Master(), tmp_path)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sample_that_is_not_there(tmp_path, processes):
    lanes = {"position": 0.5, "transposition": 0.0, "grain": 100.0, "density": 10.0, "jitter": 0.0}
    played = VoiceLanes("granular", lanes, 0.1, sample=tmp_path / "no.wav")
    with pytest.raises(DescantError, match=r"no\.wav: there is no such sound file") as error:
        render(choir(a=played), 1.0, Master(), tmp_path / "out", processes=processes)
    one_line(error)


def test_an_effect_that_there_is_not(tmp_path):
    desk = Desk({"a": sine(effects=(EffectLanes("sparkle", {}),))}, {})
    with pytest.raises(RenderError, match="rendering failed: KeyError: 'sparkle'") as error:
        render(desk, 1.0, Master(), tmp_path)
    one_line(error)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DescantError, match="file") as error:
        render(choir(1), 1.0, Master(), tmp_path / "file" / "folder")
    one_line(error)


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "mix.wav").mkdir()
    with pytest.raises(DescantError, match=r"mix\.wav: cannot be written: Is a directory") as error:
        render(choir(1), 1.0, Master(), tmp_path)
    one_line(error)


def test_no_room_for_the_lanes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    with pytest.raises(
        DescantError, match=r"full: 1 MB cannot be written: No such file or directory: make room"
    ) as error:
        Parcel([np.zeros(1000)])
    one_line(error)


def test_what_a_parcel_contains():
    """Sent twice, even after the first is unpacked; arrays are views on one file, and nobody can change them."""
    ours, theirs = multiprocessing.Pipe()
    contents = {"a": np.arange(7.0), "b": [np.ones((3, 2), dtype=np.int8), "text", np.linspace(0, 1, 5)]}
    parcel = Parcel(contents)
    for _ in range(2):
        parcel.send(ours)
        found = receive(theirs)
        np.testing.assert_array_equal(found["a"], contents["a"])
        np.testing.assert_array_equal(found["b"][0], contents["b"][0])
        np.testing.assert_array_equal(found["b"][2], contents["b"][2])
        assert found["b"][1] == "text"
        assert not found["a"].flags.writeable
        assert not found["a"].flags.owndata


def test_too_long_for_a_wav_file(tmp_path):
    with pytest.raises(RenderError, match="20000 s of sound do not fit a WAV file") as error:
        render(choir(1), 20_000.0, Master(), tmp_path)
    one_line(error)


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_is_printed(tmp_path, capfd, processes):
    render(choir(), 0.5, Master(), tmp_path, processes=processes)
    assert capfd.readouterr() == ("", "")
