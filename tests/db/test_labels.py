"""Takes are named, rated, tagged, found again, kept and discarded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.archive import Archive, ArchiveError, NewTake
from pieces.signals import Channel, FrameBlock

CHANNELS = [Channel("x", "A scalar."), Channel("w", "An array.", shape=(50,))]


def record(archive: Archive, fill: int = 0, **more: object) -> str:
    about = {"piece_name": "p", "piece": {}, "piece_hash": "0" * 64, "seed": 1, "parts": [("fit", 20.0)], **more}
    recorder = archive.begin(NewTake(**about))  # type: ignore[arg-type]
    recorder.channels(CHANNELS)
    w = np.full((10, 50), fill, "float32")
    recorder.append(FrameBlock(0, {"x": np.arange(10, dtype="float32"), "w": w}))
    recorder.finish(duration_s=0.5)
    return recorder.take_id


def found(archive: Archive, **wanted: object) -> list[str]:
    return [t.id for t in archive.takes(**wanted)]  # type: ignore[arg-type]


def test_labels_are_told_by_lists_and_records(archive: Archive) -> None:
    take_id = record(archive)
    archive.labels.rename(take_id, "  Two   knots ")
    archive.labels.note(take_id, "the second bar\nis too loud\n")
    archive.labels.rate(take_id, 4)
    assert archive.labels.tag(take_id, ["Loud", "knots"]) == ("knots", "loud")
    assert archive.labels.tag(take_id, ["knots", "blue"], ["LOUD"]) == ("blue", "knots")
    (row,) = archive.takes()
    for told in (row, archive.take(take_id)):
        assert (told.title, told.notes) == ("Two knots", "the second bar\nis too loud")
        assert (told.rating, told.tags) == (4, ("blue", "knots"))
    archive.labels.rate(take_id, None)
    archive.labels.rename(take_id, "")
    assert (archive.take(take_id).rating, archive.take(take_id).title) == (None, "")


def test_labels_that_are_none_are_refused_and_change_nothing(archive: Archive) -> None:
    take_id = record(archive)
    for wrong in (-1, 6):
        with pytest.raises(ArchiveError, match=f"rating = {wrong}: allowed are whole numbers from 0 to 5"):
            archive.labels.rate(take_id, wrong)
    for tag in ("", "two words", "a,b", "x" * 65, "bell\a"):
        with pytest.raises(ArchiveError, match="allowed is one word"):
            archive.labels.tag(take_id, ["good", tag])
    with pytest.raises(ArchiveError, match="title of 201 characters"):
        archive.labels.rename(take_id, "x" * 201)
    for change in (lambda: archive.labels.rename("gone", "x"), lambda: archive.labels.tag("gone", ["x"])):
        with pytest.raises(ArchiveError, match="no take 'gone'"):
            change()
    assert (archive.take(take_id).tags, archive.take(take_id).title) == ((), "")


def test_words_are_looked_for_in_title_notes_tags_piece_and_id(archive: Archive) -> None:
    ids = [record(archive, piece_name=name) for name in ("Strata", "night-ride", "Äther.toml")]
    archive.labels.rename(ids[0], "Grüne HALLE")
    archive.labels.note(ids[1], "the hall rings\n100% wet, snake_case")
    archive.labels.tag(ids[2], ["hall"])
    for text, expected in (
        ("hall", [2, 1, 0]),  # "halle" holds it
        ("GRÜNE", [0]),
        ("grüne strata", [0]),
        ("ride RINGS", [1]),
        ("rings grüne", []),
        ("äther", [2]),
        ("100%", [1]),
        ("%", [1]),
        ("snake_", [1]),
        ("snakeX", []),
        (ids[1][:30].upper(), [1]),
        (ids[1][3:30], []),
        ("", [2, 1, 0]),
    ):
        assert found(archive, text=text) == [ids[i] for i in expected], text
        assert archive.count(text=text) == len(expected)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_filters_and_pages_agree_with_going_through_all(archive: Archive, data: st.DataObject) -> None:
    if not archive.count():
        for i in range(24):
            ends = {"retention": ("kept", "scratch")[i % 2], "piece_name": f"piece{i % 3}"}
            take_id = record(archive, i % 5, **ends)
            archive.labels.rate(take_id, (None, 0, 2, 5)[i % 4])
            archive.labels.tag(take_id, [t for t, of in (("odd", i % 2), ("third", i % 3 == 0)) if of])
            archive.labels.rename(take_id, f"Take {i:02}")
    everything = archive.takes(limit=100)
    retention = data.draw(st.sampled_from([None, "kept", "scratch"]))
    rating = data.draw(st.sampled_from([None, 0, 1, 5]))
    tags = data.draw(st.lists(st.sampled_from(["odd", "third", "unused"]), max_size=2, unique=True))
    piece = data.draw(st.sampled_from([None, "piece1"]))
    text = data.draw(st.sampled_from(["", "take", "1", "odd", "piece2 take", "nothing"]))
    offset, limit = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 12))
    wanted = {"retention": retention, "rating": rating, "tags": tags, "piece": piece, "text": text}
    expected = [
        t.id
        for t in everything
        if (retention is None or t.retention == retention)
        and (rating is None or (t.rating is not None and t.rating >= rating))
        and set(tags) <= set(t.tags)
        and (piece is None or t.piece == piece)
        and all(w in " ".join((t.title.lower(), t.piece, *t.tags)) or t.id.startswith(w) for w in text.split())
    ]
    assert found(archive, limit=limit, offset=offset, **wanted) == expected[offset : offset + limit]
    assert archive.count(**wanted) == len(expected)


def test_tags_are_counted(archive: Archive) -> None:
    for tags in (["a", "b"], ["b"], []):
        archive.labels.tag(record(archive), tags)
    assert archive.labels.tags() == [("b", 2), ("a", 1)]


def test_kept_takes_outlive_gc_and_scratch_does_not(archive: Archive) -> None:
    one, two = record(archive), record(archive, retention="scratch")
    archive.retain(one, "scratch")
    archive.retain(two, "kept")
    assert archive.gc(scratch_age_days=0, scratch_quota_bytes=0).takes == (one,)
    assert found(archive, retention="kept") == [two]


def test_discarded_take_is_gone_with_the_files_that_were_its_own(archive: Archive, tmp_path: Path) -> None:
    gone, stays = record(archive, 1, retention="scratch"), record(archive, 2)
    for name, takes in (("shared", (gone, stays)), ("own", (gone,))):
        (tmp_path / name).write_text(name)
        for take_id in takes:
            archive.add_media(take_id, name, tmp_path / name, ".wav")
    archive.labels.tag(gone, ["bad"])
    files = {p.name for p in archive.media_folder.rglob("*") if p.is_file()}
    assert archive.discard(gone) > 10 * 50 * 4
    left = {p.name for p in archive.media_folder.rglob("*") if p.is_file()}
    assert len(files - left) == 2  # its array channels, and its own file
    assert found(archive) == [stays]
    assert [m.path.read_text() for m in archive.media(stays)] == ["shared"]
    assert archive.labels.tags() == []
    assert archive.check().clean


def test_takes_that_are_needed_are_not_discarded(archive: Archive) -> None:
    parent = record(archive, retention="scratch")
    child = record(archive, retention="scratch", parents=[(parent, 3, "branch")])
    kept = record(archive)
    running = archive.begin(
        NewTake(piece_name="p", piece={}, piece_hash="", seed=0, parts=[("fit", 1.0)], retention="scratch")
    )
    with pytest.raises(ArchiveError, match=f"1 came from it .{child}"):
        archive.discard(parent)
    with pytest.raises(ArchiveError, match="is kept: make it scratch first"):
        archive.discard(kept)
    with pytest.raises(ArchiveError, match="is being recorded"):
        archive.discard(running.take_id)
    running.interrupt()
    archive.discard(running.take_id)
    archive.discard(kept, kept=True)
    archive.discard(child)
    archive.discard(parent)
    assert found(archive) == []


def test_family_holds_what_a_take_came_from_and_what_came_of_that(archive: Archive) -> None:
    root, other = record(archive), record(archive)
    left = record(archive, parents=[(root, 3, "branch")])
    right = record(archive, parents=[(root, 8, "branch"), (other, None, "material")])
    leaf = record(archive, parents=[(left, None, "derived")])
    stranger = record(archive)
    for take_id in (root, left, right, leaf, other):
        family = archive.family(take_id)
        assert [t.id for t in family.takes] == sorted([root, other, left, right, leaf])
        assert set(family.links) == {
            (left, (root, 3, "branch")),
            (right, (root, 8, "branch")),
            (right, (other, None, "material")),
            (leaf, (left, None, "derived")),
        }
        assert family.whole
    assert [t.id for t in archive.family(stranger).takes] == [stranger]
