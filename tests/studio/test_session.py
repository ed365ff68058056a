"""A session with its real performer and archive, without a screen and without an engine."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from db.archive import Archive, TakeRecord
from pieces.errors import DescantError
from studio.messages import Ended, Notice, Opened, Position, Rescored, Turned
from studio.rendering import heard
from studio.replay import verify
from studio.reports import Crashed, Recording
from studio.reports import History as Undoable
from studio.session import Session

Kind = TypeVar("Kind")

#: A beat is a tenth of a second.
PIECE = """# a piece for tests
title = "Quick"

[metre]
tempo = 600
beats = 4

[parts.fit]
source = "cubics"
rate = 50
controls = { targets = 10000 }

[[sections]]
name = "all"
bars = 1000  # longer than any test

[score]
purpose = "music"

[score.voices.tone]
instrument = "glide"
gain_db = -6.0  # dB
lanes = { pitch = { channel = "loss", range = [200, 800] } }
"""
GAIN = "score.voices.tone.gain_db"


class Said:
    """What a session has said, and waiting for it."""

    def __init__(self) -> None:
        self.all: list[object] = []
        #: Where in it stands what was waited for last.
        self.at = 0
        self._new = threading.Condition()

    def __call__(self, report: object) -> None:
        with self._new:
            self.all.append(report)
            self._new.notify_all()

    def before(self, post: Callable[[object], None]) -> Callable[[object], None]:
        """Hear what somebody else is told too, a moment earlier."""

        def both(report: object) -> None:
            self(report)
            post(report)

        return both

    def wait(
        self, kind: type[Kind], which: Callable[[Kind], bool] = lambda r: True, since: int = 0, seconds: float = 30
    ) -> Kind:
        """The first report of a kind for which something is true, of those from `since` on."""
        deadline = time.monotonic() + seconds
        with self._new:
            while True:
                for number, report in enumerate(self.all[since:], since):
                    if isinstance(report, kind) and which(report):
                        self.at = number
                        return report
                left = deadline - time.monotonic()
                notices = [r for r in self.all if isinstance(r, Notice | Crashed | Ended)]
                assert left > 0, f"no such {kind.__name__}; {notices}"
                self._new.wait(left)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def session(home: Path, said: Said) -> Iterator[Session]:
    made = Session(said, backend=None)
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "quick.toml"
    found.write_text(PIECE)
    return found


def playing(session: Session, said: Said, path: Path, beats: float = 6.0) -> None:
    session.open(str(path))
    said.wait(Opened)
    session.play()
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= beats)


def stopped(session: Session, said: Said) -> None:
    at = len(said.all)
    session.stop()
    said.wait(Ended, since=at)


def archived(session: Session, home: Path) -> list[TakeRecord]:
    """All takes, newest first; after the session is closed."""
    session.close()
    with Archive.open(home / "archive.db", create=False) as archive:
        assert archive.check().clean
        return [archive.take(t.id) for t in archive.takes()]


def test_whatever_is_performed_is_a_scratch_take_that_replays(
    session: Session, said: Said, path: Path, home: Path
) -> None:
    playing(session, said, path)
    said.wait(Recording, lambda r: r.state == "scratch")
    with Archive.open(home / "archive.db", create=False) as other:  # while it plays, a second behind at most
        deadline = time.monotonic() + 5
        while not (other.takes() and other.takes()[0].ticks) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (other.takes()[0].status, other.takes()[0].ticks > 0) == ("running", True)
    stopped(session, said)
    (take,) = archived(session, home)
    assert (take.status, take.retention, take.origin) == ("done", "scratch", "generated")
    assert take.duration_s == pytest.approx(take.ticks / 50, abs=0.05)
    with Archive.open(home / "archive.db") as archive:
        assert verify(archive, take.id).identical


def test_edits_are_heard_undone_and_redone(session: Session, said: Said, path: Path) -> None:
    playing(session, said, path)

    def sounds(gain: float, pan: float, act: Callable[[], object]) -> None:
        at = len(said.all)
        act()
        found = said.wait(Rescored, since=at)
        voice = found.score["voices"]["tone"]
        assert (voice["gain_db"], voice.get("pan", 0.0)) == (gain, pan)
        assert found.beat == pytest.approx(round(found.beat), abs=0.03)  # on a beat

    sounds(-12.0, 0.0, lambda: session.gain("tone", -12.0))
    sounds(-12.0, 0.5, lambda: session.edit("score.voices.tone.pan", 0.5))
    sounds(-12.0, 0.0, session.undo)
    sounds(-6.0, 0.0, session.undo)
    sounds(-12.0, 0.0, session.redo)
    sounds(-12.0, 0.5, lambda: session.jump(2))
    last = [r for r in said.all if isinstance(r, Undoable)][-1]
    assert (last.undo, last.redo) == ("tone pan = 0.5", None)
    assert session.unsaved.startswith("edits of quick.toml")


def test_another_master_is_that_of_what_has_not_begun(session: Session, said: Said, path: Path, home: Path) -> None:
    session.open(str(path))
    said.wait(Opened)
    at = len(said.all)
    session.edit("master.loudness", -23.0)
    said.wait(Opened, since=at)
    assert not [r for r in said.all if isinstance(r, Notice)]
    session.play()
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= 4)
    session.edit("master.loudness", -30.0)
    said.wait(Notice, lambda n: "master: this take keeps" in n.text)
    stopped(session, said)
    at = len(said.all)
    session.play()
    said.wait(Opened, since=at)
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= 2, since=said.at)
    stopped(session, said)
    assert [take.piece["master"]["loudness"] for take in archived(session, home)] == [-30.0, -23.0]


def test_controls_are_turned_and_turned_back(session: Session, said: Said, path: Path, home: Path) -> None:
    playing(session, said, path)
    for value, act in (
        (0.02, lambda: session.set("fit", "learning_rate", 0.02)),
        (0.03, lambda: session.set("fit", "learning_rate", 0.03)),
    ):
        at = len(said.all)
        act()
        said.wait(Turned, lambda t, value=value: (t.control, t.value) == ("learning_rate", value), since=at)
    assert len(session.history.edits) == 2  # one turn
    at = len(said.all)
    session.undo()
    first = said.wait(Turned, lambda t: t.control == "learning_rate", since=at)
    assert first.value not in (0.02, 0.03)
    stopped(session, said)
    (take,) = archived(session, home)
    with Archive.open(home / "archive.db") as archive:
        events = [e.data["value"] for e in archive.events(take.id, "control") if e.data["name"] == "learning_rate"]
        assert events == [0.02, 0.03, first.value]
        assert verify(archive, take.id).identical


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (lambda s: s.edit(GAIN, "loud"), "gain_db"),
        (lambda s: s.edit("score.voices.tone.lanes.pitch.channel", "los"), "did you mean 'loss'"),
        (lambda s: s.set("fit", "learning_rate", 99.0), "learning_rate = 99.0: allowed are"),
        (lambda s: s.set("fit", "nope", 1.0), "no control 'nope'"),
        (lambda s: s.gain("ton", 1.0), "did you mean 'tone'"),
        (lambda s: s.strip("ton", mute=True), "did you mean 'tone'"),
        (lambda s: s.speed(9.0), "speed = 9: allowed are"),
        (lambda s: s.loop((4.0, 2.0)), "allowed are two beats that rise"),
        (lambda s: s.undo(), "nothing to undo"),
        (lambda s: s.keep(), "nothing was performed yet"),
        (lambda s: s.branch(), "nothing was performed yet"),
        (lambda s: s.keep_last(0), "bars = 0"),
        (lambda s: s.new_seed(-1), "seed = -1"),
        (lambda s: s.open("cubix"), "did you mean 'cubics'"),
        (lambda s: s.save_as(Path("x.txt")), r"a piece is a \.toml file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    shared: tuple[Session, Said], act: Callable[[Session], None], line: str
) -> None:
    session, said = shared
    before, edits = json.dumps(session.piece, sort_keys=True), len(session.history.edits)
    with pytest.raises(DescantError, match=line) as error:
        act(session)
    assert "\n" not in str(error.value)
    assert json.dumps(session.piece, sort_keys=True) == before
    assert (session.name, len(session.history.edits)) == (session.name, edits)
    assert not [r for r in said.all if isinstance(r, Crashed)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Said]]:
    """A session that is opened and not played, for all who only ask."""
    folder, said = tmp_path_factory.mktemp("shared"), Said()
    (folder / "quick.toml").write_text(PIECE)
    session = Session(said, place=str(folder / "a.db"), backend=None)
    session.open(str(folder / "quick.toml"))
    said.wait(Opened)
    yield session, said
    session.close()


def test_what_is_scratch_and_old_goes_when_the_studio_opens(home: Path, said: Said, path: Path) -> None:
    for kept in (True, False):
        told = Said()
        session = Session(told, backend=None)
        playing(session, told, path)
        if kept:
            session.keep()
        stopped(session, told)
        session.close()
    with closing(sqlite3.connect(home / "archive.db")) as database, database:
        database.execute("UPDATE takes SET created = '2001-01-01 00:00:00.000000'")
    session = Session(said, backend=None)
    session.look_back()
    said.wait(Notice, lambda n: "1 scratch takes" in n.text)
    (take,) = archived(session, home)
    assert take.retention == "kept"


def test_nothing_is_open_at_first(home: Path, said: Said) -> None:
    session = Session(said, backend=None)
    for act in (session.play, session.stop, session.undo, session.keep, session.file, session.step):
        with pytest.raises(DescantError, match="no piece is open"):
            act()
    session.panic()  # which always works
    assert (session.name, session.unsaved) == ("", "")
    session.close()


def test_a_branch_is_the_same_up_to_its_beat(session: Session, said: Said, path: Path, home: Path) -> None:
    playing(session, said, path, beats=8)
    session.set("fit", "learning_rate", 0.05)
    said.wait(Position, lambda p: p.beat >= 16)
    at = len(said.all)
    session.branch(12.0)
    said.wait(Opened, since=at)
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= 20, since=said.at)
    stopped(session, said)
    branch, trunk = archived(session, home)
    ((parent, tick, relation),) = branch.parents
    assert (parent, relation) == (trunk.id, "branch")
    assert tick == 60  # twelve beats of a tenth of a second at 50 ticks a second
    with Archive.open(home / "archive.db") as archive:
        a, b = (archive.frames(t.id, ["loss"]).arrays["loss"] for t in (trunk, branch))
        np.testing.assert_array_equal(a[:60], b[:60])
        assert len(b) > 90
        assert verify(archive, branch.id).identical


def test_kept_takes_have_their_sound(session: Session, said: Said, path: Path, home: Path) -> None:
    playing(session, said, path, beats=20)
    session.keep_last(2)
    session.keep()
    kept = said.wait(Recording, lambda r: r.state == "rendered", seconds=90)
    at = len(said.all)
    stopped(session, said)
    said.wait(Recording, lambda r: r.state == "rendered", since=at, seconds=90)
    takes = {t.id: t for t in archived(session, home)}
    part = takes.pop(str(kept.take_id))
    (whole,) = takes.values()
    assert (part.origin, part.retention, part.title) == ("captured", "kept", "last 2 bars of quick")
    assert (whole.origin, whole.retention) == ("generated", "kept")
    ((parent, tick, relation),) = part.parents
    assert (parent, relation) == (whole.id, "last bars")
    assert tick is not None
    assert tick % 20 == 0  # a bar of four beats is twenty ticks
    assert 40 <= part.ticks < 60
    with Archive.open(home / "archive.db") as archive:
        a, b = (archive.frames(t.id, ["loss"]).arrays["loss"] for t in (whole, part))
        np.testing.assert_array_equal(a[tick : tick + len(b)], b)
        verdict = verify(archive, part.id)
        assert verdict.identical
        assert verdict.samples
        assert "mix" in [m.role for m in archive.media(whole.id)]


def test_a_kept_take_whose_studio_was_closed_gets_its_sound_when_it_is_asked_for(
    session: Session, said: Said, path: Path, home: Path
) -> None:
    playing(session, said, path)
    session.keep()
    stopped(session, said)
    (take,) = archived(session, home)
    assert (take.status, take.retention, take.render) == ("done", "kept", None)
    with Archive.open(home / "archive.db") as archive:
        assert heard(archive, take).stat().st_size > 100_000
        assert archive.take(take.id).render is not None


def test_a_discarded_take_is_gone(session: Session, said: Said, path: Path, home: Path) -> None:
    playing(session, said, path)
    session.discard()
    said.wait(Recording, lambda r: r.state == "discarded")
    assert archived(session, home) == []


def test_over_it_plays_anew_but_what_is_recorded_where_that_was_sought(
    session: Session, said: Said, path: Path, home: Path
) -> None:
    playing(session, said, path)
    stopped(session, said)
    at = len(said.all)
    session.seek(2.0)
    said.wait(Position, lambda p: p.mode == "paused" and p.beat == pytest.approx(2.0, abs=0.1), since=at)
    session.gain("tone", -9.0)  # heard, though it is over; of what was performed it is no part
    said.wait(Rescored, lambda r: r.score["voices"]["tone"]["gain_db"] == -9.0)
    session.play()
    said.wait(Position, lambda p: p.mode == "recorded" and p.beat > 3, since=said.at)
    said.wait(Position, lambda p: p.mode == "paused" and p.beat == p.end, since=said.at)
    session.play()
    said.wait(Opened, since=said.at)
    said.wait(Position, lambda p: p.mode == "live" and p.beat > 3, since=said.at)
    stopped(session, said)
    new, old = archived(session, home)
    assert [t.piece["score"]["voices"]["tone"]["gain_db"] for t in (new, old)] == [-9.0, -6.0]
    with Archive.open(home / "archive.db") as archive:
        assert archive.events(old.id, "score") == []


def test_another_seed_is_another_take(session: Session, said: Said, path: Path, home: Path) -> None:
    playing(session, said, path)
    at = len(said.all)
    session.new_seed(77)
    said.wait(Opened, since=at)
    said.wait(Position, lambda p: p.mode == "live" and p.beat >= 4, since=said.at)  # it played, so it plays
    stopped(session, said)
    new, old = archived(session, home)
    assert (new.seed, old.seed, new.parents) == (77, 0, ())


def test_saves_of_the_file_are_heard_at_the_next_bar(session: Session, said: Said, path: Path, home: Path) -> None:
    playing(session, said, path)
    assert session.file() == path
    at = len(said.all)
    path.write_text(PIECE.replace("-6.0", "-20.0"))
    new = said.wait(Rescored, lambda r: r.score["voices"]["tone"]["gain_db"] == -20.0, since=at)
    assert new.beat == pytest.approx(4 * round(new.beat / 4), abs=0.03)
    assert session.unsaved == ""
    at = len(said.all)
    path.write_text(PIECE.replace("-6.0", "-20.0").replace("targets = 10000", "targets = 10000, learning_rate = 0.02"))
    said.wait(Turned, lambda t: (t.control, t.value) == ("learning_rate", 0.02), since=at)
    path.write_text(PIECE.replace("-6.0", "loud"))
    notice = said.wait(Notice, lambda n: "not TOML" in n.text)
    assert "\n" not in notice.text
    assert "plays on" in notice.text
    path.write_text(PIECE.replace('"glide"', '"glyde"'))
    said.wait(Notice, lambda n: "did you mean 'glide'" in n.text)
    assert session.piece["score"]["voices"]["tone"]["gain_db"] == -20.0
    at = len(said.all)
    path.write_text(PIECE.replace("bars = 1000", "bars = 500"))  # another form
    said.wait(Opened, since=at)
    said.wait(Position, lambda p: p.mode == "live" and p.beat > 8, since=said.at)
    stopped(session, said)
    branch, trunk = archived(session, home)
    assert branch.parents[0][::2] == (trunk.id, "branch")
    assert branch.piece["sections"][0]["bars"] == 500


def test_saved_with_its_comments(session: Session, said: Said, path: Path, tmp_path: Path) -> None:
    session.open(str(path))
    session.edit(GAIN, -9.5)
    draft = session.file()
    assert draft != path
    assert "gain_db = -9.5  # dB" in draft.read_text()
    session.save_as(tmp_path / "new.toml")
    assert (tmp_path / "new.toml").read_text() == PIECE.replace("-6.0", "-9.5")
    assert path.read_text() == PIECE
    assert (session.name, session.unsaved) == (str(tmp_path / "new.toml"), "")


def test_a_source_that_fails_is_a_notice_and_the_next_performance_plays(
    session: Session, said: Said, path: Path, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "bad.py").write_text(
        "import numpy as np\nfrom pieces.signals import Channel, FrameBlock\nfrom pieces.source import Source\n"
        "class Bad(Source):\n    name, about = 'bad', 'x'\n    channels = (Channel('loss', 'x'),)\n    tick = 0\n"
        "    def step(self, controls, events, n):\n"
        "        if self.tick > 40:\n            raise RuntimeError('out of paint')\n"
        "        self.tick += n\n        return FrameBlock(self.tick - n, {'loss': np.ones(n, 'float32')})\n"
    )
    path.write_text(PIECE.replace('"cubics"', '"bad.py"').replace("controls = { targets = 10000 }", ""))
    session.open(str(path))
    said.wait(Opened)
    session.play()
    crashed = said.wait(Crashed)
    assert "out of paint" in crashed.reason
    assert "\n" not in crashed.reason
    at = len(said.all)
    session.play()
    said.wait(Position, lambda p: p.mode == "live", since=at)
    said.wait(Crashed, since=at)
    takes = archived(session, home)
    assert [t.status for t in takes] == ["failed", "failed"]
    assert all("out of paint" in str(t.error) for t in takes)
    assert all(t.ticks > 30 for t in takes)
    assert "bad.py" in takes[0].inputs["fit.source code"]["path"]


def test_two_studios_record_into_one_archive(session: Session, said: Said, path: Path, home: Path) -> None:
    other_said = Said()
    other = Session(other_said, backend=None)
    playing(session, said, path)
    playing(other, other_said, path)
    for one, reports in ((session, said), (other, other_said)):
        one.edit(GAIN, -9.0)
        reports.wait(Rescored)
        stopped(one, reports)
        assert not [r for r in reports.all if isinstance(r, Notice)]
    other.close()
    takes = archived(session, home)
    assert [t.status for t in takes] == ["done", "done"]
    with Archive.open(home / "archive.db") as archive:
        assert all(len(archive.events(t.id, "score")) == 1 for t in takes)


def test_a_take_is_opened_as_it_was_played_last(session: Session, said: Said, path: Path, home: Path) -> None:
    playing(session, said, path)
    session.edit(GAIN, -21.0)
    said.wait(Rescored)
    stopped(session, said)
    take_id = said.wait(Recording).take_id
    at = len(said.all)
    session.open(f"take:{take_id}")
    said.wait(Opened, since=at)
    assert session.piece["score"]["voices"]["tone"]["gain_db"] == -21.0
    session.play()
    said.wait(Position, lambda p: p.mode == "live" and p.beat > 4, since=said.at)
    stopped(session, said)
    child, _ = archived(session, home)
    assert child.parents == ((take_id, None, "derived"),)
