"""A performance in the studio, without its screen: who plays reaches the session, and what is not there is one line."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from db.archive import Archive
from pieces.piece import find_piece, parse_piece
from pieces.signals import Event, Frames
from sonify.midi_in import read_midi
from studio.asked import Asked
from studio.camera import Camera
from studio.compose import compose
from studio.filming import Filming
from studio.messages import Ended, Made, Notice, Opened, Position
from studio.performing import Performing
from studio.piano import Piano
from studio.pictures.video import Film, Latest, open_video
from studio.plan import plan
from studio.prompt import AFTER, FOUR_PARTS, Script
from studio.reports import Filmed, Recording
from studio.session import Session
from tests.pieces.test_library_castro_live import midi
from tests.sonify.test_midi_in import keyboard  # noqa: F401
from tests.studio.test_camera import PICTURE, pictures

T = TypeVar("T")
CASTRO, BASE = find_piece(FOUR_PARTS)


class House:
    """A performance in the studio, and all that was reported of it."""

    def __init__(self, home: Path, **asked: Any) -> None:
        self.reports: list[object] = []
        self._told = threading.Condition()
        self._place = home / "archive.db"
        self.performing = Performing(Asked(**{"piece": CASTRO, "name": FOUR_PARTS, **asked}), str(self._place))
        self.session = self.performing.start(self._hear)
        self.performing.begin()

    def _hear(self, report: object) -> None:
        with self._told:
            self.reports.append(report)
            self._told.notify_all()

    def of(self, kind: type[T]) -> list[T]:
        return [report for report in list(self.reports) if isinstance(report, kind)]

    @property
    def lines(self) -> list[str]:
        return [notice.text for notice in self.of(Notice)]

    def until(self, happened: Callable[[], Any], seconds: float = 60.0) -> Any:
        with self._told:
            assert self._told.wait_for(happened, seconds), (self.lines, self.of(Position)[-1:], self.of(Ended))
            return happened()

    def plays(self, section: str = "") -> bool:
        """Whether it plays live, and in a section."""
        places = self.of(Position)
        return bool(places) and places[-1].mode == "live" and section in places[-1].section

    def opened(self, count: int) -> bool:
        """Whether so many performances have begun."""
        return len(self.of(Opened)) >= count

    def heard(self, part: str, kind: str = "note", given: bool = True) -> list[Event]:
        """What a part was given so far in the newest performance."""
        reports = list(self.reports)
        begun = max((k for k, report in enumerate(reports) if isinstance(report, Opened)), default=0)
        made = [m.block for m in reports[begun:] if isinstance(m, Made) and m.part == part]
        return [e for block in made for e in block.events if e.kind == kind and e.given == given]

    def struck(self, part: str = "keys") -> list[int]:
        return [e.data["midi"] for e in self.heard(part) if e.data["velocity"] > 0]

    def close(self) -> None:
        self.session.close()
        self.performing.close()

    def take(self) -> dict[str, Frames]:
        """What was recorded, after it was closed."""
        (take_id,) = {r.take_id for r in self.of(Recording) if r.take_id}
        with Archive.open(self._place) as archive:
            assert archive.take(take_id).status == "done"
            return {part: archive.frames(take_id, part=part) for part in archive.take(take_id).parts}


@pytest.fixture
def house(home: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def perform(**asked: Any) -> House:
        made.append(House(home, **asked))
        return made[-1]

    yield perform
    for one in made:
        one.close()


#: Bass, notes above, the pedal, a chord, the pedal, and again.
PLAYED = (
    [(0.3, 0.5, 40), (0.8, 1.3, 60), (1.0, 1.5, 64), (2.2, 2.9, 45), (2.2, 2.9, 52), (4.0, 4.4, 57)],
    [1.7, 3.4],
)


def given(events: tuple[Event, ...]) -> list[tuple[str, tuple[Any, ...]]]:
    return [(e.kind, tuple(e.data.values())) for e in events if e.given]


def test_a_file_plays_in_the_studio_what_it_plays_without_a_screen(house, tmp_path):
    path = midi(tmp_path / "x.mid", *PLAYED)
    stage = house(mid=path)
    stage.until(lambda: stage.of(Ended))
    assert [end.status for end in stage.of(Ended)] == ["done"], "when the file is over, so is the piece"
    stage.close()
    live = stage.take()
    assert not [line for line in stage.lines if "sound device" not in line]
    planned = plan(FOUR_PARTS, CASTRO, BASE)
    with Archive.open(tmp_path / "offline.db") as archive:
        take_id = compose(archive, planned, 0, stage=Script(CASTRO, read_midi(path)))
        offline = {part: archive.frames(take_id, part=part) for part in planned.players}
    assert live["keys"].ticks / 50 == pytest.approx(4.4 + AFTER, abs=0.3)
    for part in ("keys", "cubics", "knots"):
        assert given(live[part].events) == given(offline[part].events), part
    ticks = [[e.tick for e in frames["keys"].of_kind("note", "soft")] for frames in (live, offline)]
    assert np.abs(np.subtract(*ticks)).max() <= 1, "to the tick, however loaded the machine is"
    assert live["knots"].of_kind("new_target")


def test_a_branch_and_a_new_beginning_hear_a_file_from_where_they_are(house, tmp_path):
    """A branch that holds the notes before it is not given them twice; a new performance gets them all again."""
    stage = house(mid=midi(tmp_path / "x.mid", [(0.3, 0.5, 40), (0.8, 1.0, 60), (2.5, 2.7, 64)], []))
    stage.until(lambda: stage.struck() == [40, 60])
    stage.until(lambda: stage.of(Position)[-1].seconds > 1.2)
    stage.session.branch(5.0)  # a quarter of a second a beat
    stage.until(lambda: stage.opened(2) and 64 in stage.struck())
    assert stage.struck() == [40, 60, 64]
    stage.session.new_seed(5)
    stage.until(lambda: stage.opened(3) and 64 in stage.struck())
    assert stage.struck() == [40, 60, 64]
    assert [e.tick for e in stage.heard("keys")] == [15, 25, 40, 50, 125]


def test_the_computer_keyboard_a_midi_keyboard_a_file_and_osc_give_the_same(house, tmp_path, keyboard):  # noqa: F811
    """One key, played in four ways: the same events in the take; and the pedal that leads on, in four ways."""
    from pythonosc.udp_client import SimpleUDPClient

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    play, _ = keyboard
    path = midi(tmp_path / "x.mid", [(0.2, 0.4, 60)], [0.6])
    stage = house(mid=path, midi_in="keyboard", midi_backend="jack", osc_in=("127.0.0.1", port))
    stage.until(lambda: stage.plays("knots"))
    play(0x90, 60, 100)
    stage.until(lambda: len(stage.heard("keys")) == 3)
    play(0x80, 60, 64)
    stage.until(lambda: len(stage.heard("keys")) == 4)
    play(0xE0, 0, 80)  # a bend, which nobody listens to
    play(0xB0, 67, 127)
    play(0xB0, 67, 0)
    stage.until(lambda: stage.plays("shift"))
    client = SimpleUDPClient("127.0.0.1", port)
    client.send_message("/descant/event/note", [60, 100 / 127])
    stage.until(lambda: len(stage.heard("keys")) == 5)
    client.send_message("/descant/event/note", [60, 0.0])
    client.send_message("/descant/event/note", ["velocity", 1.0])  # which no source could use
    stage.until(lambda: len(stage.heard("keys")) == 6)
    client.send_message("/descant/event/soft", ["value", 1.0])
    client.send_message("/descant/event/soft", ["value", 0.0])
    stage.until(lambda: stage.plays("bubbles"))
    piano = Piano()
    typed = [*piano.key("]", 0.0), *piano.key("q", 0.0), *piano.key("backspace", 1.0)]
    for kind, data in typed:
        stage.session.send(kind, data)
    stage.until(lambda: len(stage.heard("keys")) == 8)
    stage.close()
    notes = [(e.data["midi"], e.data["velocity"] > 0) for e in stage.take()["keys"].of_kind("note")]
    assert notes == [(60, True), (60, False)] * 4
    events = stage.take()["keys"].of_kind("note")
    assert len({tuple(e.data) for e in events}) == 1
    hard = [e.data["velocity"] for e in events if e.data["velocity"]]
    assert hard == pytest.approx([100 / 127, 100 / 127, 100 / 127, 0.7], abs=1e-6)
    assert [e.data["value"] for e in stage.take()["keys"].of_kind("soft")] == [1.0, 0.0] * 3
    assert any("it needs midi" in line for line in stage.lines)
    assert not any("bend" in line for line in stage.lines)


def test_a_keyboard_that_is_unplugged_lets_go_and_the_rest_plays_on(house, keyboard):  # noqa: F811
    play, unplug = keyboard
    stage = house(midi_in="keyboard", midi_backend="jack")
    stage.until(stage.plays)
    play(0x90, 72, 90)
    stage.until(lambda: stage.struck() == [72])
    unplug()
    stage.until(lambda: len(stage.heard("keys")) == 2)
    assert stage.heard("keys")[1].data == {"midi": 72, "velocity": 0.0}
    stage.until(lambda: any("is gone" in line and "goes on without it" in line for line in stage.lines))
    stage.session.send("note", {"midi": 60, "velocity": 0.5})
    stage.until(lambda: stage.struck() == [72, 60])


def test_outside_hands_turn_controls_and_edit_nothing(house):
    from pythonosc.udp_client import SimpleUDPClient

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free, socket.socket(type=socket.SOCK_DGRAM) as heard:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(30)
        stage = house(osc_in=("127.0.0.1", port), osc_out=("127.0.0.1", heard.getsockname()[1]))
        stage.until(stage.plays)
        client = SimpleUDPClient("127.0.0.1", port)
        client.send_message("/descant/set/cubics/learning_rate", 0.02)
        client.send_message("/descant/set/cubics/learning_rat", 0.02)
        client.send_message("/descant/set/cubics/learning_rate", 99.0)
        stage.until(lambda: stage.heard("cubics", "control") and len(stage.lines) >= 2)
        packets = b"".join(heard.recv(65536) for _ in range(50))
    assert [e.data["value"] for e in stage.heard("cubics", "control")] == [pytest.approx(0.02)]
    assert any("did you mean 'learning_rate'" in line for line in stage.lines)
    assert any("learning_rate = 99" in line for line in stage.lines)
    assert len(stage.session.history.edits) == 1
    assert b"/descant/cubics/loss" in packets
    assert b"/descant/voice/breath/level" in packets, "lanes, too"


@pytest.mark.parametrize("missing", ["port", "rtmidi"])
def test_what_is_not_there_is_a_line_each_and_the_rest_goes_on(house, tmp_path, monkeypatch, missing):
    (tmp_path / "film.mp4").write_bytes(b"no film" * 1000)
    (tmp_path / "x.mid").write_text("no notes")
    if missing == "rtmidi":
        monkeypatch.setitem(sys.modules, "rtmidi", None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        stage = house(
            video=str(tmp_path / "film.mp4"),
            mid=tmp_path / "x.mid",
            midi_in="nowhere",
            cc=("1=cubics.nothing",),
            osc_in=("127.0.0.1", port),
            part=4,
        )
    stage.until(lambda: stage.plays("bubbles"))
    said = [line for line in stage.lines if "sound device" not in line]
    for words in ("the built-in picture moves instead", "x.mid", "MIDI", f"OSC port {port}", "cubics has no control"):
        assert len([line for line in said if words in line]) == 1 or words == "MIDI", (words, said)
    assert ("python-rtmidi" in " ".join(said)) == (missing == "rtmidi")
    assert len(said) == 5
    assert all("\n" not in line and "Traceback" not in line for line in said)
    stage.session.send("note", {"midi": 70, "velocity": 0.5})
    stage.until(lambda: stage.struck() == [70])
    assert stage.session.piece["parts"]["video"]["inputs"] == {}


@pytest.mark.skipif(Path("/dev/video0").exists(), reason="there is a camera")
def test_no_camera_is_a_line_and_the_built_in_picture_moves(house):
    stage = house(video="camera", part=3)
    stage.until(lambda: stage.plays("shift"))
    assert [line for line in stage.lines if "no camera at /dev/video0" in line and "moves instead" in line]
    assert not stage.of(Filmed)


FILMED = {
    "title": "T",
    "parts": {
        "fit": {"source": "cubics", "rate": 50, "ticks": 100},
        "video": {"source": "video", "rate": 25, "ticks": 50},
    },
    "score": {"voices": {"a": {"instrument": "glide", "part": "fit", "lanes": {"pitch": 220}}}},
    "picture": {"view": "curve", "part": "fit", "ground": {"video": "video"}},
}


def test_a_camera_is_seen_while_it_films_and_its_film_is_kept_with_each_take(home, tmp_path):
    parse_piece(FILMED, "T")
    (tmp_path / "t.toml").write_text(parse_piece(FILMED, "T").to_toml())
    reports: list[object] = []
    filming: list[Filming] = []
    told = threading.Condition()

    def post(report: object) -> None:
        for one in filming:
            one.hear(report)
        with told:
            reports.append(report)
            told.notify_all()

    def ended(count: int) -> bool:
        return sum(isinstance(r, Ended) for r in reports) == count

    session = Session(post, str(tmp_path / "archive.db"), backend=None)
    try:
        eye = Filming(
            "video", session, lambda line: reports.append(Notice(line)), lambda p: Camera(p, PICTURE, "lavfi")
        )
        filming.append(eye)
        assert eye.window.suffix == Latest.SUFFIX
        window = open_video(eye.window)
        before = window.picture(0.0, 322, 240)
        for count in (1, 2):
            session.open(str(tmp_path / "t.toml"))
            session.play()
            with told:
                assert told.wait_for(lambda count=count: ended(count), 60), reports[-5:]
        last = window.picture(0.0, 322, 240)
        assert (before != last).any(), "it moved"
    finally:
        session.close()
        for one in filming:
            one.__exit__()
    assert not [r for r in reports if isinstance(r, Notice)]
    takes = list(dict.fromkeys(r.take_id for r in reports if isinstance(r, Recording) and r.take_id))
    assert len(takes) == 2
    known = pictures(300)
    places = []
    with Archive.open(tmp_path / "archive.db") as archive:
        for take_id in takes:
            (row,) = (m for m in archive.media(take_id) if m.role == "input:video.video")
            film = Film(row.path)
            for seconds in (0.2, 1.0, 1.8):
                seen = film.picture(seconds, 322, 240).astype(np.int16)
                places.append(int(np.abs(known - seen).mean(axis=(1, 2, 3)).argmin()))
            film.close()
    assert np.all(np.diff(places) > 3), places


def test_the_latest_picture_of_another_process_fills_a_picture_of_any_size(tmp_path):
    first = np.zeros((20, 30, 3), np.uint8)
    shows = Latest(tmp_path / "x.latest", first)
    sees = open_video(tmp_path / "x.latest")
    assert not sees.picture(0.0, 64, 48).any()
    for level in (100, 200, 50):
        shows.show(np.full((20, 30, 3), level, np.uint8))
        for width, height in ((30, 20), (64, 48), (16, 90)):
            shown = sees.picture(9.0, width, height)
            assert shown.shape == (height, width, 3)
            assert np.abs(shown.astype(int) - level).max() <= 2


def test_keys_are_awaited_from_the_first_tick_on(house):
    """Left alone the piece would strike a note at its first tick."""
    stage = house()
    stage.until(lambda: stage.of(Position) and stage.of(Position)[-1].seconds > 1.5)
    assert not stage.heard("keys", given=False)
    assert [e.tick for e in stage.heard("keys", "await")][:1] == [0]
