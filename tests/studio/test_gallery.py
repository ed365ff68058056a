"""Takes as rooms: nothing but what is perceived gets in; and mirrors, in which nobody is known by his level."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from db.archive import Archive
from db.audience import NewTranscript, TurnRecord
from db.records import VisitRecord
from pieces.piece import find_piece, library
from pieces.signals import Frames
from studio.audience.gallery import FEWEST_MOMENTS, HIGHEST, MOST_CURVES, Gallery, attended, mirror, surprises
from studio.audience.game import Game
from studio.audience.playing import Transcript, play
from studio.audience.rooms import GameError, Rules
from studio.audience.simple import RandomVisitor
from studio.audience.visitor import MomentRow, Question, Report
from studio.compose import compose
from studio.perceive import SIZE
from studio.pictures.draw import VIEWS, picture
from studio.plan import plan
from tests.studio.test_pictures import EXAMPLES

#: A melody that is always the same but for its controls; what is called SECRET differs, and is neither heard nor seen.
SOURCE = """
import numpy as np
from pieces.signals import Channel, Control, Event, FrameBlock
from pieces.source import Source

class Melody(Source):
    name = "SECRET_source"
    about = "SECRET"
    channels = (Channel("SECRET_heard", "SECRET", range=(0, 24)), Channel("SECRET", "not heard", range=(0, 1000)))
    controls = (
        Control("SECRET_a", "SECRET", 0.0, (0.0, 12.0)),
        Control("SECRET_b", "SECRET", "SECRET_1", choices=("SECRET_1", "SECRET_2", "SECRET_broken")),
    )
    emits = {"SECRET_event": "SECRET"}

    def __init__(self, seed, controls, inputs=None):
        super().__init__(seed, controls, inputs)
        self.tick = 0

    def step(self, controls, events, n):
        if controls["SECRET_b"].endswith("broken"):
            raise RuntimeError("SECRET went wrong")
        t = np.arange(self.tick, self.tick + n)
        self.tick += n
        rows = {"SECRET_heard": t * 7 % 12 + controls["SECRET_a"], "SECRET": t * NUMBER}
        happened = (Event(int(t[0]), "SECRET_event", {"SECRET": "SECRET"}),) if t[0] == 0 else ()
        return FrameBlock(int(t[0]), {name: row.astype("float32") for name, row in rows.items()}, happened)
"""
PIECE = """
descant = 1
title = "SECRET"
about = "SECRET"
[parts.SECRET_part]
source = "SECRET_file.py"
rate = 8
ticks = 24
[[sections]]
name = "SECRET_section"
[score.voices.SECRET_voice]
instrument = "glide"
lanes = { pitch = { channel = "SECRET_heard", domain = [0, 24], range = ["C4", "C6"] } }
[picture]
view = "plots"
options = { channels = ["SECRET_heard"] }
[master]
tail = 0.2
"""


def performed(archive: Archive, folder: Path, secret: str, number: int) -> str:
    folder.mkdir()
    (folder / f"{secret}_file.py").write_text(SOURCE.replace("SECRET", secret).replace("NUMBER", str(number)))
    (folder / f"{secret}.toml").write_text(PIECE.replace("SECRET", secret))
    piece, base = find_piece(str(folder / f"{secret}.toml"))
    take_id = compose(archive, plan(secret, piece, base), 1)
    archive.labels.rename(take_id, secret)
    archive.labels.note(take_id, secret)
    archive.labels.tag(take_id, [secret])
    return take_id


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive.open(tmp_path_factory.mktemp("gallery") / "archive.db") as found:
        yield found


@pytest.fixture(scope="module")
def takes(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pieces")
    return {secret: performed(archive, folder / secret, secret, i) for i, secret in enumerate(("joyful", "dreadful"))}


@pytest.fixture(scope="module")
def gallery(archive: Archive) -> Gallery:
    return Gallery(archive)


class Spy(RandomVisitor):
    """A random visitor that keeps all it is told and asked, and touches more often than others."""

    def begin(self, instruction: str, seed: int) -> None:
        super().begin(instruction, seed)
        self.told, self.clips = [instruction], []

    def observe(self, text: str, clips: object = ()) -> None:
        self.told.append(text)
        self.clips += clips  # type: ignore[arg-type]

    def decide(self, question: Question) -> object:  # type: ignore[override]
        self.told += [question.about, question.asks, *question.options]
        keen = tuple(o for o in question.options if o in ("touch", "fork", "listen", "go", "choose"))
        decision = super().decide(Question(question.about, question.asks, keen) if keen else question)
        shares = [float(o == decision.option) for o in question.options]
        return type(decision)(decision.option, tuple(shares))


def visited(gallery: Gallery, take_id: str, seed: int = 3, moves: int = 14) -> tuple[Transcript, Spy]:
    visitor = Spy()
    return play(Game([gallery.room(take_id, 1)], Rules(moves=moves)), visitor, seed), visitor


def test_a_planted_label_never_reaches_a_visitor_in_a_whole_game(archive, gallery, takes):
    """In titles, names of parts, voices, files, sections, channels, controls and choices, in events and in errors."""
    transcript, visitor = visited(gallery, takes["joyful"])
    commands = " ".join(transcript.commands)
    assert {"touch", "fork", "listen", "choose"} <= set(commands.split()), "it was a whole game"
    told = " ".join(visitor.told)
    assert "That control does not move now." in told, "the source has failed, and that was told"
    for text in (told, transcript.model_dump_json()):
        assert "joyful" not in text.lower()
        assert takes["joyful"] not in text
    assert all(set(vars(clip)) <= {"audio", "sample_rate", "pictures", "fps", "ears", "eyes"} for clip in visitor.clips)
    take = archive.take(takes["joyful"])
    for field in (take.piece, take.inputs, take.controls, take.title, take.notes, take.tags, take.piece_name):
        assert "joyful" in str(field), "it was planted"


def test_identical_artefacts_of_different_frames_are_identical_rooms(archive, gallery, takes):
    one, two = takes.values()
    assert archive.take(one).signals_hash != archive.take(two).signals_hash
    rooms = [gallery.room(take, 1) for take in (one, two)]
    np.testing.assert_array_equal(rooms[0].artefact.audio, rooms[1].artefact.audio)
    np.testing.assert_array_equal(rooms[0].artefact.pictures, rooms[1].artefact.pictures)
    assert rooms[0].controls == rooms[1].controls == 2
    first, second = (visited(gallery, take)[0] for take in (one, two))
    assert first == second


def test_a_room_is_made_once(archive, gallery, takes):
    room = gallery.room(takes["joyful"], 1)
    assert gallery.room(takes["joyful"][:30], 1) is room, "by the beginning of its id, as anywhere"
    assert gallery.room(takes["joyful"], 2).artefact is room.artefact, "what was heard in it is not heard again"
    assert gallery.artefact(takes["joyful"]) is room.artefact


@pytest.fixture
def no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever draws a letter fails."""

    def fail(*given: object, **more: object) -> None:
        pytest.fail(f"text is drawn: {given[1:]}")

    for name in ("text", "multiline_text"):
        monkeypatch.setattr(ImageDraw.ImageDraw, name, fail)
    for font in (ImageFont.ImageFont, ImageFont.FreeTypeFont):
        monkeypatch.setattr(font, "getmask", fail)
    monkeypatch.setattr("matplotlib.text.Text.draw", fail)


def shown() -> set[tuple[str, str]]:
    """Every view, and every view with the options that a shipped piece gives it."""
    tiles = [tile for name in library() for tile in find_piece(name)[0].picture.tiles]
    return {(view, "{}") for view in VIEWS} | {(tile.view, repr(dict(tile.options))) for tile in tiles}


@pytest.mark.parametrize(("view", "options"), sorted(shown()))
def test_no_view_draws_a_letter(no_text: None, view: str, options: str) -> None:
    frames = EXAMPLES[view]
    seen = [picture(view, frames, tick, *SIZE, eval(options)) for tick in (1.5, frames.ticks - 1)]
    assert all(image.std() > 3 for image in seen), "something is drawn"


def test_a_letter_would_be_noticed(no_text: None) -> None:
    with pytest.raises(pytest.fail.Exception, match="joyful"):
        ImageDraw.Draw(Image.new("RGB", (64, 64))).text((0, 0), "joyful")


def test_names_of_channels_are_not_in_plots() -> None:
    frames = EXAMPLES["plots"]
    named = Frames({f"joyful_{n}": a for n, a in frames.arrays.items()}, frames.events, frames.rate, frames.ticks)
    np.testing.assert_array_equal(picture("plots", frames, 9, *SIZE), picture("plots", named, 9, *SIZE))


def report(values: object, room: int = 0, first: int = 0) -> Report:
    rows = (MomentRow(start=0.5 * (first + i), surprise=float(v), room=room) for i, v in enumerate(values))  # type: ignore[arg-type, var-annotated]
    return Report(moments=tuple(rows))


SURPRISES = st.lists(st.integers(0, 100), min_size=5, max_size=40)


@given(SURPRISES, st.floats(0.01, 100), st.floats(0, 1000), st.integers(0, 99))
def test_level_and_spread_tell_nobody(values, scale, level, seed):
    other = np.roll(values, 1)[::-1]
    try:
        plain = mirror(report(values), [report(other)], seed)
    except GameError:  # both go the same way
        return
    moved = mirror(report(np.array(values) * scale + level), [report(other)], seed)
    for one, two in zip(plain.curves, moved.curves, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(np.sort(plain.curves[0]), np.sort(plain.curves[1]))
    assert all(0 <= c.min() <= c.max() <= HIGHEST for c in plain.curves)
    assert plain.own == moved.own


def test_own_is_among_others_anywhere_and_goes_as_it_went():
    rng = np.random.default_rng(1)
    mine, others = rng.random(12), [report(rng.random(12)) for _ in range(3)]
    found = [mirror(report(mine), others, seed) for seed in range(60)]
    for one in found:
        assert len(one.curves) == 4
        own = one.curves[one.own]
        np.testing.assert_array_equal(np.argsort(own), np.argsort(mine))
        assert (own.min(), own.max()) == (0, HIGHEST)
    counts = np.bincount([one.own for one in found], minlength=4)
    assert counts.min() > 5, "its place tells nothing"
    assert mirror(report(mine), others, 7).own == found[7].own


def test_curves_are_cut_to_the_moments_that_all_heard_and_to_the_first_time():
    one = Report(moments=(*report([9, 1, 2, 3, 4, 8]).moments, *report([0, 0, 0], first=1).moments))
    two = Report(moments=(*report([7, 7], room=1).moments, *report([5, 4, 3, 2], first=1).moments))
    assert surprises(one)[0, 0.5] == 1, "the second time it is no surprise"
    found = mirror(one, [two], 0)
    np.testing.assert_allclose(found.curves[found.own], np.array([0, 1, 2, 3]) * HIGHEST / 3)
    np.testing.assert_allclose(found.curves[1 - found.own], np.array([3, 2, 1, 0]) * HIGHEST / 3)


def test_who_is_surprised_alike_is_shown_once_and_of_too_many_some():
    rng = np.random.default_rng(2)
    many = [report(rng.random(9)) for _ in range(40)]
    assert len(mirror(many[0], many[1:], 0).curves) == MOST_CURVES
    assert len(mirror(many[0], [many[1], many[1], many[0], Report()], 0).curves) == 2


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        (Report(), [report([1, 2, 3])], "no surprise of its own"),
        (report([1, 2, 3]), [], "nobody else"),
        (report([1, 2, 3]), [Report()], "nobody else"),
        (report([1, 2, 3]), [report([2, 4, 6])], "surprised alike"),
        (report([1, 2, 3]), [report([3, 2, 1], first=9)], f"0 moments that all attended, needed are {FEWEST_MOMENTS}"),
    ],
)
def test_what_is_no_mirror_is_refused(own, others, said):
    with pytest.raises(GameError, match=said):
        mirror(own, others, 0)


def told(archive: Archive, of: dict[int, str], rows: Report, commands: tuple[tuple[str, int], ...] = ()) -> str:
    """A visit to some takes by room, with what was measured."""
    new = archive.visiting.begin_transcript(NewTranscript(visitor="listener", seed=1))
    said = [TurnRecord(number=i, command=c, observation="", room=r) for i, (c, r) in enumerate((("", 0), *commands))]
    archive.visiting.add_turns(new, said)
    archive.visiting.end_transcript(new, "left", rows.model_dump(mode="json"))
    for room, take_id in of.items():
        archive.add_visit(VisitRecord(take_id=take_id, visitor="listener", seed=1, transcript_id=new, room=room))
    return new


def test_archived_visits_of_the_same_takes_are_found_whatever_their_order(archive, takes):
    one, two = takes.values()
    rows = Report(moments=(*report([1, 5, 2, 4]).moments, *report([6, 9, 7, 8], room=1).moments))
    swapped = Report(moments=(*report([8, 7, 9, 6]).moments, *report([4, 2, 5, 1], room=1).moments))
    first = told(archive, {0: one, 1: two}, rows)
    second = told(archive, {0: two, 1: one}, swapped)
    third = told(archive, {0: one, 1: two}, rows, (("listen on", 0), ("touch a up", 1)))
    told(archive, {0: one}, rows)
    found = attended(archive, [one, two])
    assert found.keys() == {first, second, third}
    assert [surprises(found[second])[0, 0.5 * i] for i in range(4)] == [4, 2, 5, 1]
    assert [surprises(found[second])[1, 0.5 * i] for i in range(4)] == [8, 7, 9, 6]
    assert {room for room, _ in surprises(found[third])} == {0}, "where it touched it heard what nobody else did"
    seen = mirror(found[first], [found[second]], 0)
    np.testing.assert_array_equal(np.argsort(seen.curves[seen.own]), np.argsort([1, 5, 2, 4, 6, 9, 7, 8]))
