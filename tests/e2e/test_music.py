"""Pieces of several parts, earlier takes as material, MIDI and OSC, through the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from db.archive import Archive

TWO_PARTS = """
descant = 1
title = "Two parts"

[metre]
tempo = 120

[parts.slow]
source = "cubics"
per_beat = 10
controls = {{ targets = 1000, steps_per_tick = {steps} }}

[parts.fast]
source = "knots"
per_beat = "45/2"
controls = {{ targets = 1000 }}

[[sections]]
name = "apart"
parts = ["slow"]
bars = 4

[[sections]]
name = "together"
bars = {bars}
until = "fast.converged"

[sections.controls]
"slow.noise" = [0, 0.2]
"fast.learning_rate" = {{ channel = "slow.loss", domain = [0, 1], range = [0.01, 0.05] }}

[score.voices.a]
instrument = "glide"
part = "slow"
lanes = {{ pitch = {{ channel = "loss", range = ["A2", "A4"] }} }}

[score.voices.b]
instrument = "glide"
part = "fast"
lanes = {{ pitch = {{ channel = "loss", range = ["A3", "A5"] }} }}
"""


def two_parts(folder: Path, steps: int = 10, bars: int = 8) -> Path:
    path = folder / "two.toml"
    path.write_text(TWO_PARTS.format(steps=steps, bars=bars))
    return path


def opened(home: Path) -> Archive:
    return Archive.open(home / "archive.db")


def test_a_take_of_two_parts_is_kept_replayed_and_exported(descant, tmp_path, home):
    take_id = descant("compose", two_parts(tmp_path), "--seed", 4, "--quiet").stdout.strip()
    shown = json.loads(descant("show", take_id, "--json").stdout)
    assert list(shown["parts"]) == ["slow", "fast"]
    assert shown["parts"]["slow"]["ticks"] / 20 == pytest.approx(shown["duration_s"])
    assert shown["parts"]["fast"]["ticks"] / 45 == pytest.approx(shown["duration_s"] - 8)
    assert "bit for bit" in descant("replay", take_id, "--verify").stdout
    files = descant("export", take_id, "--to", tmp_path / "x", "--format", "csv,mid,png").stdout.split()
    assert [Path(f).suffix for f in files] == [".csv", ".csv", ".mid", ".png"]
    with opened(home) as archive:
        changes = archive.events(take_id, "control", part="slow")
        noise = [e.data["value"] for e in changes if e.data["name"] == "noise"]
        assert noise == sorted(noise)
        assert noise[-1] == pytest.approx(0.2, abs=0.03)
        assert not any(e.given for e in changes)
        follows = {e.tick: e.data["value"] for e in archive.events(take_id, "control", part="fast")}
        assert len(set(follows.values())) > 3, "the learning rate follows the other part"


def test_a_take_of_two_parts_that_was_killed_is_resumed_bit_for_bit(descant, tmp_path, home):
    piece = two_parts(tmp_path, steps=1000, bars=40)
    whole = descant("compose", piece, "--seed", 4, "--quiet").stdout.strip()
    words = ("compose", str(piece), "--seed", "4", "--quiet")
    process = subprocess.Popen(
        [sys.executable, "-c", "from studio.cli import main; main()", *words],
        env={**os.environ, "DESCANT_HOME": str(home)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with opened(home) as archive:
            newest = archive.takes(limit=1)[0]
            if newest.id != whole and archive.take(newest.id).parts["fast"].ticks:
                break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with opened(home) as archive:
        killed = archive.takes(limit=1)[0]
        assert killed.status == "interrupted"
        assert 0 < killed.ticks <= archive.take(whole).ticks
    descant("resume", killed.id, "--quiet")
    with opened(home) as archive:
        assert archive.take(killed.id).signals_hash == archive.take(whole).signals_hash
        assert archive.take(killed.id).render["samples_hash"] == archive.take(whole).render["samples_hash"]
        assert archive.check().clean


MATERIAL = """
descant = 1
title = "Material"

[parts.before]
source = "recording"
rate = 40
inputs = {{ take = "{take}" }}

[score]
purpose = "music"

[score.voices.again]
instrument = "glide"
lanes = {{ pitch = {{ channel = "loss", range = ["A2", "A4"] }} }}

[score.voices.shards]
instrument = "sampler"
sample = "take:{take}"
crossing = {{ channel = "gradient_a", level = 0.0, edge = "both" }}
"""


def test_an_earlier_take_is_material(descant, tmp_path, home):
    before = descant("compose", "cubics", "--ticks", 300, "--seed", 2, "--quiet").stdout.strip()
    (tmp_path / "my.toml").write_text(MATERIAL.format(take=before).replace("rate = 40\n", "rate = 40\nticks = 1000\n"))
    after = descant("compose", "my.toml", "--quiet").stdout.strip()
    shown = json.loads(descant("show", after, "--json").stdout)
    assert [(p["take_id"], p["relation"]) for p in shown["lineage"]] == [(before, "material")]
    with opened(home) as archive:
        a, b = archive.frames(before), archive.frames(after)
        assert a.arrays.keys() == b.arrays.keys()
        assert all(np.array_equal(a.arrays[n], b.arrays[n]) for n in a.arrays)
        assert [(e.tick, e.kind) for e in b.events] == [(e.tick, e.kind) for e in a.events]
    assert shown["duration_s"] == pytest.approx(300 / 40)
    assert "bit for bit" in descant("replay", after, "--verify").stdout


def test_notes_of_a_midi_file_train_a_knot_while_they_are_held(descant, tmp_path, home):
    from mido import Message, MidiFile, MidiTrack

    file = MidiFile(ticks_per_beat=480)
    track = MidiTrack()
    file.tracks.append(track)
    for note in (48, 52, 55):  # a left-hand chord poses a knot and is held for two seconds
        track.append(Message("note_on", note=note, velocity=90, time=0))
    for i, note in enumerate((48, 52, 55)):
        track.append(Message("note_off", note=note, time=1920 if i == 0 else 0))
    track.append(Message("note_on", note=50, velocity=0, time=1920))
    file.save(tmp_path / "chord.mid")
    take_id = descant("compose", "knots", "--midi", "chord.mid", "--ticks", 200, "--seed", 1, "--quiet").stdout.strip()
    with opened(home) as archive:
        frames = archive.frames(take_id)
        given = [e for e in frames.events if e.given]
    assert {e.kind for e in given} == {"note"}
    assert [e.tick for e in given][:3] == [0, 0, 0]
    assert [e.tick for e in given][3:6] == [100, 100, 100]
    loss = frames.arrays["loss"]
    assert loss[95] < 0.5 * loss[5], "it learns while the chord is held"
    assert np.ptp(loss[105:]) == 0, "and rests when it is let go"


def test_a_tuning_from_a_file_stays_with_the_take(descant, tmp_path):
    (tmp_path / "s.scl").write_text("! s.scl\n!\nA trial\n 3\n!\n 300.0\n 3/2\n 2/1\n")
    text = MATERIAL.split("[score.voices.shards]")[0].replace("rate = 40\n", "rate = 40\nticks = 100\n")
    text = text.replace("recording", "cubics").replace('inputs = {{ take = "{take}" }}\n', "")
    text = text.replace('"A4"] }}', '"A4"], tuning = {{ scl = "s.scl" }} }}').format()
    (tmp_path / "my.toml").write_text(text)
    take_id = descant("compose", "my.toml", "--quiet").stdout.strip()
    (tmp_path / "s.scl").unlink()
    assert "bit for bit" in descant("replay", take_id, "--verify").stdout
    shown = json.loads(descant("show", take_id, "--json").stdout)
    tuning = shown["composition"]["score"]["voices"]["again"]["lanes"]["pitch"]["tuning"]
    assert tuning["cents"] == pytest.approx([300, 701.955, 1200])


def test_a_file_that_grows_is_followed(descant, tmp_path, home):
    data = tmp_path / "log.csv"
    data.write_text("loss\n" + "".join(f"{1 / (i + 1)}\n" for i in range(20)))
    words = ("listen", "log.csv", "--follow", "--duration", "1", "--quiet")
    process = subprocess.Popen(
        [sys.executable, "-c", "from studio.cli import main; main()", *words],
        env={**os.environ, "DESCANT_HOME": str(home)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline().strip()
    with data.open("a") as file:
        file.write("".join(f"{i}\n" for i in range(10)))
    second = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    with opened(home) as archive:
        assert [archive.take(take).ticks for take in (first, second)] == [20, 30]
        assert archive.take(second).retention == "scratch"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_osc_turns_a_control_while_it_plays_and_every_channel_goes_out(descant, tmp_path, home):
    from pythonosc.osc_bundle import OscBundle
    from pythonosc.udp_client import SimpleUDPClient

    (tmp_path / "my.toml").write_text(two_parts(tmp_path).read_text().replace("bars = 8", "bars = 1"))
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(60)
        out = f"127.0.0.1:{heard.getsockname()[1]}"
        words = ("perform", "my.toml", "--osc-in", str(port), "--osc-out", out, "--quiet")
        process = subprocess.Popen(
            [sys.executable, "-c", "from studio.cli import main; main()", *words],
            env={**os.environ, "DESCANT_HOME": str(home)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        sent: dict[str, list[float]] = {}
        client, turned = SimpleUDPClient("127.0.0.1", port), False
        while process.poll() is None:
            try:
                packet = heard.recv(65536)
            except TimeoutError:
                break
            if OscBundle.dgram_is_bundle(packet):
                for message in OscBundle(packet):
                    sent.setdefault(message.address, []).append(message.params[0])
            if not turned and len(sent.get("/descant/slow/loss", ())) >= 40:
                client.send_message("/descant/set/slow/learning_rate", 0.05)
                turned = True
            if len(sent.get("/descant/slow/loss", ())) > 150:
                heard.settimeout(3)
        take_id = process.communicate()[0].strip()
    with opened(home) as archive:
        frames = archive.frames(take_id, part="slow")
        given = [e for e in frames.events if e.given]
    assert [(e.kind, e.data["name"], e.data["value"]) for e in given] == [
        ("control", "learning_rate", pytest.approx(0.05))
    ]
    assert given[0].tick >= 40
    assert sent["/descant/slow/loss"] == pytest.approx(
        frames.arrays["loss"][: len(sent["/descant/slow/loss"])].tolist()
    )
    assert "/descant/voice/a/pitch" in sent
    assert "bit for bit" in descant("replay", take_id, "--verify").stdout


BAD = [
    ('until = "fast.converged"', 'until = "fast.convergd"', "did you mean 'converged'"),
    ("bars = 8\n", "", "'bars', the longest length"),
    ('part = "fast"', 'part = "fats"', "did you mean 'fast'"),
    ('instrument = "glide"\npart = "slow"', 'instrument = "glide"', "give the voice its 'part'"),
    ('"slow.noise" = [0, 0.2]', '"slow.noise" = [0, 7]', "allowed are numbers from 0 to 1"),
    ('channel = "slow.loss"', 'channel = "fast.loss"', "in a circle"),
    ('range = ["A2", "A4"]', 'range = ["A2", "A4"], tuning = {{ scl = "gone.scl" }}', "gone.scl"),
    ("[score.voices.b]", '[score.groups.g]\ninto = "g"\n[score.voices.b]', "in a circle"),
    ('part = "fast"\n', 'part = "fast"\ninto = "hall"\n', "no group 'hall'"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD)
def test_a_piece_that_does_not_hold_together_is_one_line(error, tmp_path, old, new, said):
    text = TWO_PARTS.replace("bars = {bars}", "bars = 8")
    assert old in text
    (tmp_path / "bad.toml").write_text(text.replace(old, new).format(steps=10))
    assert said in error("compose", "bad.toml")


def test_a_sound_file_that_is_none_a_port_that_is_taken_and_a_midi_port_that_is_not_there(error, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"this is no sound")
    text = MATERIAL.format(take="latest").replace("take:latest", "noise.wav").replace("recording", "cubics")
    (tmp_path / "bad.toml").write_text(text.replace('inputs = { take = "latest" }\n', "ticks = 100\n"))
    assert "noise.wav" in error("compose", "bad.toml")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert str(port) in error("perform", "cubics", "--osc-in", str(port))
    assert "MIDI" in error("perform", "cubics", "--midi-in", "nowhere")
    assert "HOST:PORT" in error("perform", "cubics", "--osc-out", "9000", code=2)
    (tmp_path / "text.mid").write_text("no notes")
    assert "text.mid" in error("compose", "knots", "--midi", "text.mid")
