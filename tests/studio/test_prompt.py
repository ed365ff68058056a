"""Who is told what a performer plays, and when: Castro's four parts, played from notes in time."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pieces.form import Form
from pieces.piece import Piece, PieceError, find_piece
from pieces.signals import Event, FrameBlock, Frames, gather
from pieces.source import SourceError, find_source
from sonify.incoming import TimedEvent
from studio.compose import conduct
from studio.messages import Send, Set
from studio.plan import plan
from studio.prompt import AFTER, FOUR_PARTS, Script, check_heard, from_part, heard_as, meant, with_video

PIECE, BASE = find_piece(FOUR_PARTS)


def note(seconds: float, midi: int, length: float) -> list[TimedEvent]:
    struck = TimedEvent(seconds, "note", {"midi": midi, "velocity": 0.8, "channel": 1})
    return [struck, TimedEvent(seconds + length, "note_off", {"midi": midi, "velocity": 0.2, "channel": 1})]


def soft(seconds: float) -> list[TimedEvent]:
    return [TimedEvent(seconds + 0.1 * i, "control", {"cc": 67, "value": 1.0 - i, "channel": 1}) for i in (0, 1)]


#: Bass, two notes above; pedal; a chord, too soon another one; pedal; a chord into the next part; and notes again.
PLAYED = [
    *note(0.5, 40, 0.3), *note(1.0, 60, 0.5), *note(2.0, 64, 0.2), *soft(3.0),
    *note(3.5, 45, 1.0), *note(3.5, 52, 1.0), *note(3.5, 57, 1.0), *note(5.0, 41, 0.3), *note(6.0, 43, 0.5), *soft(7.0),
    *note(7.5, 45, 3.0), *soft(9.0),
    *note(11.0, 36, 0.2), *note(11.5, 72, 0.5), *soft(13.0),
]  # fmt: skip


@cache
def performed() -> tuple[dict[str, Frames], Form]:
    return perform(PIECE, PLAYED)


def perform(piece: Piece, events: list[TimedEvent] | None, given: dict | None = None) -> tuple[dict[str, Frames], Form]:
    players = plan("live", piece, BASE).players
    blocks: dict[str, list[FrameBlock]] = {part: [] for part in players}
    conductor = conduct(piece, players, 5, given, Script(piece, events) if events is not None else None)
    for part, block in conductor:
        blocks[part].append(block)
    assert conductor.form is not None
    return {part: gather(found, piece.rate(part)) for part, found in blocks.items()}, conductor.form


def notes(frames: Frames) -> list[int]:
    return [e.data["midi"] for e in frames.of_kind("note") if e.data["velocity"] > 0]


def test_the_soft_pedal_leads_through_the_four_parts():
    frames, form = performed()
    assert [span.section.name for span in form.spans] == ["cubics", "knots", "shift", "bubbles"]
    ends = [span.seconds[1] for span in form.spans]
    for end, pressed in zip(ends, (3.0, 7.0, 9.0, 13.0), strict=True):
        assert 0 < end - pressed <= 0.25 + 1e-6
    assert frames["keys"].arrays["part"][-1] == 5


def test_every_part_is_told_what_is_played_in_its_sections():
    frames, _ = performed()
    assert notes(frames["keys"]) == [40, 60, 64, 45, 52, 57, 41, 43, 45, 36, 72]
    assert notes(frames["cubics"]) == [40, 60, 64, 36, 72]
    assert notes(frames["knots"]) == [45, 52, 57, 41, 43, 45]
    assert not frames["video"].of_kind("note")
    for part in ("keys", "cubics", "knots"):
        let_go = sorted(e.data["midi"] for e in frames[part].of_kind("note") if e.data["velocity"] == 0)
        expected = sorted(notes(frames[part]))
        if part == "knots":  # the last chord is let go where knots are over
            expected.remove(45)
        assert let_go == expected


def test_notes_fall_on_their_ticks():
    frames, _ = performed()
    for name, seconds in ((60, 1.0), (72, 11.5)):
        tick = next(e.tick for e in frames["keys"].of_kind("note") if e.data["midi"] == name)
        assert tick == pytest.approx(seconds * 50, abs=1)


def test_bass_poses_and_notes_learn_only_while_they_are_held():
    frames, _form = performed()
    cubics = frames["cubics"]
    moves = np.flatnonzero(np.diff(cubics.arrays["loss"]) != 0)
    first_part = moves[moves < 150]
    posed = [e.tick for e in cubics.of_kind("new_target")]
    assert posed[:2] == [0, 25]
    steps = first_part[first_part > 25]
    assert set(steps.tolist()) <= {*range(49, 78), *range(99, 112)}, "steps are made at notes and nowhere else"
    assert len(steps) > 25
    assert np.all(np.diff(cubics.arrays["loss"][50:76]) < 0)
    assert len(posed) == 3, "and in the fourth part once more"


def test_a_chord_poses_at_most_one_knot_in_two_seconds():
    frames, form = performed()
    knots = frames["knots"]
    begins = form.spans[1].seconds[0]
    posed = [begins + e.tick / 50 for e in knots.of_kind("new_target")]
    assert posed == pytest.approx([begins, 3.5, 6.0], abs=0.05), "the one that is there at first, and two chords"
    for start, end in ((3.55, 4.5), (5.05, 5.3), (6.05, 6.5), (7.6, 9.0)):
        first, last = (round((t - begins) * 50) for t in (start, end))
        assert np.ptp(knots.arrays["a"][first:last]) > 0, "every chord trains while it is held"
    for start, end in ((begins, 3.4), (4.6, 4.95), (5.4, 5.95), (6.6, 7.4)):
        first, last = (round((t - begins) * 50) for t in (start, end))
        assert np.ptp(knots.arrays["a"][first:last]) == 0, "and nothing else does"


def test_a_replay_of_what_was_given_is_the_same_bit_for_bit():
    frames, form = performed()
    given = {part: [e for e in f.events if e.given] for part, f in frames.items()}
    again, same = perform(PIECE, None, given)
    for part, recorded in frames.items():
        assert again[part].events == recorded.events
        for name, array in recorded.arrays.items():
            assert again[part].arrays[name].tobytes() == array.tobytes()
    assert [s.beats for s in same.spans] == [s.beats for s in form.spans]


def test_when_a_file_is_over_so_is_the_piece():
    frames, form = perform(PIECE, [*note(0.5, 60, 0.5)])
    assert [span.section.name for span in form.spans] == ["cubics"]
    assert form.spans[-1].seconds[1] == pytest.approx(1.0 + AFTER, abs=0.3)
    assert frames["knots"].ticks == 0
    given = {part: [e for e in f.events if e.given] for part, f in frames.items()}
    again, _ = perform(PIECE, None, given)
    assert again["cubics"].arrays["loss"].tobytes() == frames["cubics"].arrays["loss"].tobytes()


def test_left_alone_it_goes_through_all_parts():
    quick = PIECE.with_values({"parts.keys.controls.turn": 100})
    frames, form = perform(quick, None)
    assert [span.section.name for span in form.spans] == ["cubics", "knots", "shift", "bubbles"]
    assert form.spans[-1].seconds[1] == pytest.approx(8.0, abs=0.3)
    assert np.ptp(frames["cubics"].arrays["loss"]) > 0
    assert all(f.ticks for f in frames.values())


@pytest.mark.parametrize(("number", "names"), [(2, ["knots", "shift", "bubbles"]), (4, ["bubbles"])])
def test_it_begins_with_any_part(number, names):
    found = from_part(PIECE, number)
    assert [s.name for s in found.sections] == names
    assert [s for tile in found.picture.tiles for s in tile.sections] == names
    frames, form = perform(found, [*note(0.1, 60, 0.2), *soft(0.5), *soft(1.0), *soft(1.5)])
    assert [span.section.name for span in form.spans] == names
    assert frames["keys"].ticks


@pytest.mark.parametrize("number", [0, 5])
def test_parts_that_there_are_not(number):
    with pytest.raises(PieceError, match="allowed are 1 to 4: 1 cubics, 2 knots, 3 shift, 4 bubbles"):
        from_part(PIECE, number)


def test_another_video(tmp_path):
    film = with_video(PIECE, str(tmp_path / "a.mp4"))
    assert film.parts["video"].inputs == {"video": str(tmp_path / "a.mp4")}
    assert with_video(film, "moving").parts["video"].inputs == {}
    with pytest.raises(PieceError, match="no part of 'Cubics' is a video"):
        with_video(find_piece("cubics")[0], "a.mp4")
    with pytest.raises(PieceError, match="input video: no file"):
        plan("live", film, Path.cwd())


CONTROLS = {"fit": find_source("cubics").controls, "keys": find_source("keys").controls}


def test_what_comes_in_is_played_or_turns_a_control():
    def asked(kind: str, controllers: dict | None = None, **data: object) -> object:
        return meant(TimedEvent(0, kind, data), controllers or {}, CONTROLS)

    knob = {1: ("fit", "noise"), 67: ("fit", "noise")}
    assert asked("note_off", midi=60, velocity=0.3, channel=2) == Send("note", {"midi": 60, "velocity": 0.0})
    assert asked("control", cc=67, value=1.0, channel=1) == Send("soft", {"value": 1.0})
    assert asked("control", knob, cc=67, value=1.0) == asked("control", knob, cc=1, value=1.0)
    assert asked("control", knob, cc=1, value=0.5) == Set("fit", "noise", pytest.approx(0.5))
    assert asked("control", knob, cc=2, value=0.5) is None
    assert asked("set", part="keys", control="every", value=9) == Set("keys", "every", 9)
    for data, said in (({"part": "kys"}, "did you mean 'keys'"), ({"part": None}, "no part ''")):
        with pytest.raises(PieceError, match=said):
            asked("set", **data, control="every", value=9)
    one = meant(TimedEvent(0, "set", {"part": None, "control": "noise", "value": 0.5}), {}, {"fit": ()})
    assert one == Set("fit", "noise", 0.5), "where there is one part it may be left out"


def test_what_is_for_nobody():
    assert heard_as(TimedEvent(0, "control", {"cc": 67, "value": 0.5})) == ("soft", {"value": 0.5})
    assert heard_as(TimedEvent(0, "control", {"cc": 1, "value": 0.5}))[0] == "control"
    for kind, data in (("note", {}), ("note", {"midi": 200}), ("note", {"midi": "C4"}), ("pedal", {"value": "down"})):
        with pytest.raises(SourceError, match=r"needs (midi|value)"):
            heard_as(TimedEvent(0, kind, data))
    check_heard("x", PLAYED, ["soft"])
    with pytest.raises(PieceError, match="none of the 1 events is for it: it listens to"):
        check_heard("x", [TimedEvent(0, "bend", {})], ["note"])
    assert not Event(0, "note").given
