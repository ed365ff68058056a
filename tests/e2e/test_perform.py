"""`descant perform` in a real terminal: the studio opens for a performance, is played, and is left as it was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.archive import Archive
from pieces.signals import Frames
from tests.e2e.test_studio import COMMAND, NO_TMUX, REASON, terminal  # noqa: F401
from tests.pieces.test_library_castro_live import midi

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NO_TMUX, reason=REASON)]


def keys(home: Path) -> Frames:
    """What the keys of the one take were."""
    with Archive.open(home / "archive.db") as archive:
        (row,) = archive.takes()
        assert (row.piece, row.status) == ("castro-live", "done")
        return archive.frames(row.id, part="keys")


def section(tty) -> str:
    """Where the line of the transport says that it is."""
    lines = [line for line in tty.text().splitlines() if "LIVE" in line]
    return lines[0].split("›")[1].split()[0] if lines else ""


def test_four_parts_are_played_on_the_keys_of_a_terminal(terminal, home):  # noqa: F811
    tty = terminal()
    tty.run(f"{COMMAND} perform castro-live")
    tty.until(lambda: "F4: commands again" in tty.text())
    tty.until(lambda: section(tty) == "cubics")
    tty.until(lambda: "▀▀▀▀" in tty.text())
    tty.press("z")
    tty.press("q")
    for name, key in (("knots", "w"), ("shift", "e"), ("bubbles", "r")):
        tty.press("Tab")  # the soft pedal, controller 67
        tty.until(lambda name=name: section(tty) == name)
        tty.press(key)
    assert tty.modes()["alternate_on"] == "1"
    tty.press("C-q")
    tty.until(lambda: "ready>" in tty.text() and tty.modes()["alternate_on"] == "0")
    tty.assert_clean()
    tty.until(lambda: not tty.children())
    played = keys(home)
    struck = [e.data["midi"] for e in played.of_kind("note") if e.data["velocity"] > 0]
    assert struck == [36, 48, 50, 52, 53]
    assert all(e.given for e in played.of_kind("note")), "it does not play by itself"
    assert [e.data["value"] for e in played.of_kind("soft")] == [1.0, 0.0] * 3
    assert played.arrays["part"].max() == 4


def test_a_file_plays_while_what_is_not_there_is_said(terminal, home, tmp_path):  # noqa: F811
    mid = midi(tmp_path / "x.mid", [(0.5, 0.9, 40), (1.0, 1.5, 60)], [2.0])
    tty = terminal(width=120, height=40)
    tty.run(f"{COMMAND} perform --mid {mid} --video {tmp_path}/nothing.mp4 --midi-in nowhere --midi-backend alsa")
    tty.until(lambda: "nothing.mp4: the video cannot be read" in tty.text() and "no MIDI" in tty.text())
    tty.until(lambda: "▏knots" in tty.text())
    tty.until(lambda: "ENDED" in tty.text())
    tty.press("C-q")
    tty.until(lambda: "ready>" in tty.text() and tty.modes()["alternate_on"] == "0")
    tty.until(lambda: not tty.children())
    assert [e.tick for e in keys(home).of_kind("note")] == [25, 45, 50, 75]


def test_a_part_that_there_is_not_is_one_line_and_no_studio(terminal):  # noqa: F811
    tty = terminal()
    tty.run(f"{COMMAND} perform 5; echo status $?")
    tty.until(lambda: "status 1" in tty.text())
    assert "part 5: allowed are 1 to 4: 1 cubics, 2 knots, 3 shift, 4 bubbles" in tty.text()
    assert tty.modes()["alternate_on"] == "0"
