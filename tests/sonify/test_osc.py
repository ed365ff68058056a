"""OSC through real sockets: what is sent is read by python-osc, and what python-osc sends becomes events."""

import json
import multiprocessing
import os
import re
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder, build_msg
from pythonosc.udp_client import SimpleUDPClient

from pieces.signals import Event, FrameBlock
from sonify.incoming import Inbox
from sonify.osc import LARGEST_ARRAY, OscError, OscOut
from sonify.osc_in import OscIn


@pytest.fixture
def receiver():
    """A socket that anybody can send to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(10)
        yield found


@pytest.fixture
def listening():
    with OscIn(0) as found:
        yield found


def bundles(receiver, n):
    return [OscBundle(receiver.recv(65_535)) for _ in range(n)]


def said(bundle):
    return {m.address: list(m) for m in bundle}


def events(listening, n):
    """What has come when `n` messages were taken or ignored."""
    deadline = time.monotonic() + 10
    while listening.received + listening.ignored < n and time.monotonic() < deadline:
        time.sleep(0.005)
    return listening.drain()


def test_every_tick_is_a_bundle_with_its_time(receiver):
    loss, theta = np.linspace(1, 0, 5, dtype="float32"), np.arange(15.0).reshape(5, 3)
    block = FrameBlock(40, {"loss": loss, "theta": theta, "count": np.arange(5)})
    with OscOut("127.0.0.1", receiver.getsockname()[1]) as out:
        out.frames("digits", block, rate=4, at=1_800_000_000.0)
        got = bundles(receiver, 5)
        assert (out.sent, out.errors) == (5, 0)
    assert [b.timestamp for b in got] == pytest.approx([1_800_000_000 + i / 4 for i in range(5)], abs=1e-6)
    for i, bundle in enumerate(got):
        assert said(bundle) == {
            "/descant/digits/loss": [pytest.approx(loss[i])],
            "/descant/digits/theta": [3.0 * i, 3 * i + 1, 3 * i + 2],
            "/descant/digits/count": [i],
        }


def test_a_tick_larger_than_a_packet_is_several_bundles_of_its_time(receiver):
    arrays = {f"c{i}": np.full((1, 100), float(i)) for i in range(10)}
    arrays |= {"whole": np.zeros((1, LARGEST_ARRAY)), "weights": np.zeros((1, LARGEST_ARRAY + 1))}
    with OscOut("127.0.0.1", receiver.getsockname()[1]) as out:
        out.frames("a", FrameBlock(0, arrays), rate=1, at=5e8)
        packets = [receiver.recv(65_535) for _ in range(out.sent)]
    assert max(map(len, packets)) <= 1400
    assert {OscBundle(p).timestamp for p in packets} == {5e8}
    found = {a: v for p in packets for a, v in said(OscBundle(p)).items()}
    assert set(found) == {*(f"/descant/a/c{i}" for i in range(10)), "/descant/a/whole"}
    assert all(found[f"/descant/a/c{i}"] == [float(i)] * 100 for i in range(10))


def test_lanes_and_events_have_addresses(receiver):
    with OscOut("localhost", receiver.getsockname()[1]) as out:
        out.voice("lead", {"pitch": 440.5, "brightness": 0.25})
        out.frames(
            "p", FrameBlock(8, {}, (Event(10, "note", {"midi": 60, "velocity": 0.5, "on": True}),)), rate=8, at=9.0
        )
        out.event("diverged", {"channel": "x", "where": [1, {"a": None}], "huge": 1e300, "id": 1 << 70})
        lanes, note, gone = bundles(receiver, 3)
    assert said(lanes) == {"/descant/voice/lead/pitch": [440.5], "/descant/voice/lead/brightness": [0.25]}
    assert abs(lanes.timestamp - time.time()) < 60
    assert note.timestamp == pytest.approx(9.25)
    assert said(note) == {"/descant/event/note": ["part", "p", "tick", 10, "midi", 60, "velocity", 0.5, "on", True]}
    (values,) = said(gone).values()
    assert values[:3] == ["channel", "x", "where"]
    assert json.loads(values[3]) == [1, {"a": None}]
    assert values[5] == pytest.approx(np.finfo("float32").max)
    assert values[7] == str(1 << 70)


def test_where_nobody_listens_errors_are_counted_and_nothing_waits():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with OscOut("127.0.0.1", port) as out:
        out.frames("a", FrameBlock(0, {"x": np.zeros(100)}), rate=10)
        assert out.sent + out.errors == 100
        assert out.errors > 0


def test_a_receiver_that_never_reads_stops_nothing(receiver):
    with OscOut("127.0.0.1", receiver.getsockname()[1]) as out:
        out.frames("a", FrameBlock(0, {"x": np.zeros((3000, 200))}), rate=1000)  # 3 MB into a socket of 200 kB
        assert out.sent + out.errors == 3000


def test_controls_and_events_come_in(listening):
    began = time.monotonic()
    client = SimpleUDPClient("127.0.0.1", listening.port)
    for address, values in (
        ("/descant/set/digits/learning_rate", 0.25),
        ("/descant/set/noise", "pink"),
        ("/descant/event/new_target", []),
        ("/descant/event/note", [60.0, 0.5]),
        ("/descant/event/note", ["midi", 61, "velocity", 1.0, "channel", 3]),
        ("/descant/event/note", [60.5]),
        ("/descant/event/push", 1.0),
        ("/descant/event/push", [1.0, True]),
    ):
        client.send_message(address, values)
    got = events(listening, 8)
    assert (listening.received, listening.ignored) == (8, 0)
    assert [(e.kind, e.data) for e in got] == [
        ("set", {"part": "digits", "control": "learning_rate", "value": 0.25}),
        ("set", {"part": None, "control": "noise", "value": "pink"}),
        ("new_target", {}),
        ("note", {"midi": 60, "velocity": 0.5}),
        ("note", {"midi": 61, "velocity": 1.0, "channel": 3}),
        ("note", {"midi": 60.5}),
        ("push", {"value": 1.0}),
        ("push", {"values": [1.0, True]}),
    ]
    assert isinstance(got[3].data["midi"], int)
    assert all(began <= e.seconds <= time.monotonic() for e in got)


def test_what_goes_out_as_an_event_comes_in_as_it(listening):
    data = {"midi": 72, "velocity": 0.5, "name": "x"}
    with OscOut("127.0.0.1", listening.port) as out:
        out.event("note", data)
    (event,) = events(listening, 1)
    assert (event.kind, event.data) == ("note", data)


def test_what_a_bundle_dates_ahead_has_that_time(listening):
    def bundle(at, value):
        builder = OscBundleBuilder(at)
        builder.add_content(build_msg("/descant/set/x", value))
        builder.add_content(build_msg("/descant/event/go"))
        return builder.build()

    client = SimpleUDPClient("127.0.0.1", listening.port)
    now = time.monotonic()
    client.send(bundle(time.time() + 100, 1))
    client.send(bundle(time.time() - 100, 2))
    ahead, _, behind, _ = events(listening, 4)
    assert ahead.seconds == pytest.approx(now + 100, abs=20)
    assert now <= behind.seconds <= time.monotonic()


def tagged(tags, body=b""):
    return b"/descant/set/x\0\0" + (tags + b"\0" * (4 - len(tags) % 4)) + body


def nested(depth):
    packet = tagged(b",f", struct.pack(">f", 1))
    for _ in range(depth):
        packet = b"#bundle\0" + b"\0" * 8 + struct.pack(">i", len(packet)) + packet
    return packet


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"hello",
        b"/descant/set/x",
        tagged(b",i"),
        tagged(b",f", struct.pack(">f", float("nan"))),
        tagged(b",f", struct.pack(">f", float("inf"))),
        tagged(b",ff", struct.pack(">ff", 1, 2)),
        tagged(b",[f]", struct.pack(">f", 1)),
        tagged(b",b", struct.pack(">i4s", 4, b"abcd")),
        tagged(b",Q", b"abcd"),
        tagged(b",s", b"\xff\xfe\xfd\0"),
        tagged(b"," + b"[" * 3000 + b"]" * 3000),
        b"#bundle\0" + b"\0" * 8 + struct.pack(">i", 1 << 30),
        b"#bundle\0" + b"\0" * 8 + struct.pack(">i", 8) + b"nonsense",
        b"#bundle\0",
        nested(1500),
        build_msg("/descant").dgram,
        build_msg("/descant/set", 1).dgram,
        build_msg("/descant/set/a/b/c", 1).dgram,
        build_msg("/descant/set//x", 1).dgram,
        build_msg("/descant/set/x").dgram,
        build_msg("/other/set/x", 1).dgram,
        build_msg("/descant/event/note", [1, 2, 3]).dgram,
        build_msg("/descant/event/note", ["midi"]).dgram,
        build_msg("/descant/event/note", ["midi", 1, 2, 3]).dgram,
    ],
)
def test_what_is_no_message_of_ours_is_counted_and_the_next_is_heard(listening, packet, caplog, capfd):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(packet, ("127.0.0.1", listening.port))
        client.sendto(build_msg("/descant/set/x", 7).dgram, ("127.0.0.1", listening.port))
        got = events(listening, 2)
    assert [e.data["value"] for e in got] == [7]
    assert (listening.received, listening.ignored) == (1, 1)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def open_port():
    with OscIn(0) as found:
        yield found


@given(st.text(min_size=1), st.text())
def test_any_name_makes_an_address_that_osc_allows(open_port, part, channel):
    before = open_port.received, open_port.ignored
    with OscOut("127.0.0.1", open_port.port) as out:
        out.frames(part, FrameBlock(0, {channel: np.zeros(1)}), rate=1)
        out.event(part, {channel: part})
        assert (out.sent, out.errors) == (2, 0)
    (event,) = events(open_port, sum(before) + 2)
    assert (open_port.received, open_port.ignored) == (before[0] + 1, before[1] + 1)
    assert re.fullmatch(r"[!-~]+", event.kind)
    assert event.data == {channel.replace("\0", ""): part.replace("\0", "")}


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=40).map(lambda b: b"#bundle\0" + b"\0" * 8 + struct.pack(">i", len(b)) + b),
        st.tuples(st.binary(max_size=8), st.binary(max_size=40)).map(lambda t: tagged(b"," + t[0], t[1])),
    )
)
def test_no_packet_ends_the_thread(open_port, packet):
    before = open_port.received + open_port.ignored
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(packet, ("127.0.0.1", open_port.port))
        client.sendto(build_msg("/descant/set/x", 7).dgram, ("127.0.0.1", open_port.port))
    got = events(open_port, before + 2)
    assert got[-1].data == {"part": None, "control": "x", "value": 7}
    for event in got:
        json.dumps(event.data, allow_nan=False)


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1), st.floats(width=32, allow_nan=False, allow_infinity=False)), max_size=9
    )
)
def test_names_and_values_arrive(open_port, pairs):
    before = open_port.received
    builder = OscMessageBuilder("/descant/event/kind")
    for name, value in pairs:
        builder.add_arg(name)
        builder.add_arg(value)
    SimpleUDPClient("127.0.0.1", open_port.port).send(builder.build())
    (event,) = events(open_port, before + open_port.ignored + 1)
    assert event.data == dict(pairs)


def test_inputs_share_an_inbox():
    inbox = Inbox()
    with OscIn(0, inbox=inbox) as a, OscIn(0, inbox=inbox) as b:
        for i, one in enumerate((a, b, a)):
            SimpleUDPClient("127.0.0.1", one.port).send_message("/descant/set/x", i)
            deadline = time.monotonic() + 10
            while a.received + b.received <= i and time.monotonic() < deadline:
                time.sleep(0.005)
    assert [e.data["value"] for e in inbox.drain()] == [0, 1, 2]


def test_a_port_that_is_taken_is_free_again_once_closed(listening):
    with pytest.raises(OscError, match=f"OSC port {listening.port} at 127.0.0.1: it is taken: end what listens there"):
        OscIn(listening.port)
    listening.close()
    with OscIn(listening.port) as again:
        SimpleUDPClient("127.0.0.1", again.port).send_message("/descant/set/x", 1)
        assert len(events(again, 1)) == 1


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: OscIn(70_000), "OSC port 70000: allowed is 0 to 65535"),
        (lambda: OscOut("127.0.0.1", 0), "OSC port 0: allowed is 1 to 65535"),
        (lambda: OscIn(0, host="no.such.host.invalid"), "OSC host 'no.such.host.invalid' is unknown"),
        (lambda: OscOut("no.such.host.invalid", 9000), "OSC host 'no.such.host.invalid' is unknown"),
        (lambda: OscOut("a" * 80, 9000), "is unknown: give a name or an address"),
        (lambda: OscIn(0, host="192.0.2.1"), "the host is not this machine: give one of its addresses"),
    ],
)
def test_addresses_that_cannot_be_used_are_one_line(make, line):
    with pytest.raises(OscError, match=re.escape(line)) as error:
        make()
    assert "\n" not in str(error.value)


def ask_for_80(pipe) -> None:
    if os.geteuid() == 0:
        os.setuid(65_534)
    try:
        OscIn(80).close()
        pipe.send("open")
    except OscError as error:
        pipe.send(str(error))


def test_a_port_that_needs_rights():
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("port 80 needs no rights on this machine")
    context = multiprocessing.get_context("fork")  # so that it needs to read no files as another user
    ours, theirs = context.Pipe()
    child = context.Process(target=ask_for_80, args=(theirs,))
    child.start()
    assert ours.poll(20)
    assert ours.recv() == "OSC port 80 at 127.0.0.1: it needs the rights of root: give one from 1024 up"
    child.join(10)
