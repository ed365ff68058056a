"""What goes into the archive comes out of it."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.archive import Archive, ArchiveError, NewTake, PartRecord, ProposalRecord, VisitRecord
from pieces.signals import Channel, Event, FrameBlock, Frames, SignalsHash, gather

CHANNELS = (
    Channel("loss", "A scalar.", unit="nats"),
    Channel("steps", "Another one.", dtype="int64"),
    Channel("weights", "An array.", shape=(2, 3), dtype="float16"),
    Channel("step_time", "Differs between equal performances.", dtype="float64", reproducible=False),
)


def new_take(**more: object) -> NewTake:
    about = {"piece_name": "cubics", "piece": {"title": "Cubics"}, "piece_hash": "0" * 64, "seed": 1}
    return NewTake(**{**about, "parts": [("fit", 20.0)], **more})  # type: ignore[arg-type]


def performance(ticks: int, seed: int = 0) -> Frames:
    random = np.random.default_rng(seed)
    arrays = {
        "loss": random.random(ticks, "float32"),
        "steps": random.integers(-9, 9, ticks),
        "weights": random.random((ticks, 2, 3)).astype("float16"),
        "step_time": random.random(ticks),
    }
    events = tuple(Event(t, "note", {"key": t % 12, "at": t / 7}, given=t % 2 == 0) for t in range(0, ticks, 5))
    return gather([FrameBlock(0, arrays, events)], 20.0)


def cut(frames: Frames, points: list[int]) -> Iterator[FrameBlock]:
    edges = [0, *sorted(points), frames.ticks]
    for start, end in pairwise(edges):
        events = tuple(e for e in frames.events if start <= e.tick < end)
        yield FrameBlock(start, {n: a[start:end] for n, a in frames.arrays.items()}, events)


def record(archive: Archive, frames: Frames, points: list[int], flush_each: bool = False, **more: object) -> str:
    recorder = archive.begin(new_take(**more))
    recorder.channels(CHANNELS)
    for block in cut(frames, points):
        recorder.append(block)
        if flush_each:
            recorder.flush()
    recorder.finish(duration_s=frames.duration)
    return recorder.take_id


def assert_same(a: Frames, b: Frames) -> None:
    assert a.ticks == b.ticks
    assert a.events == b.events
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in a.arrays.items():
        assert array.dtype == b.arrays[name].dtype
        np.testing.assert_array_equal(array, b.arrays[name])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ticks=st.integers(1, 120), flush_each=st.booleans())
def test_any_cutting_gives_the_same_frames_and_hash(
    archive: Archive, data: st.DataObject, ticks: int, flush_each: bool
) -> None:
    frames = performance(ticks)
    points = data.draw(st.lists(st.integers(0, ticks), max_size=6))
    first = data.draw(st.integers(0, ticks - 1))
    whole = record(archive, frames, [])
    take_id = record(archive, frames, points, flush_each)
    assert_same(frames, archive.frames(take_id))
    assert archive.take(take_id).signals_hash == archive.take(whole).signals_hash
    rest = list(archive.blocks(take_id, ["loss"], first_tick=first))
    np.testing.assert_array_equal(
        np.concatenate([b.arrays["loss"] for b in rest if b.ticks]), frames.arrays["loss"][first:]
    )
    assert rest[0].first_tick == first
    assert [e for b in rest for e in b.events] == [e for e in frames.events if e.tick >= first]


def test_hash_sees_signals_and_events_but_not_what_is_not_reproducible(archive: Archive) -> None:
    frames = performance(50)

    def hashed(changed: Frames) -> str | None:
        return archive.take(record(archive, changed, [])).signals_hash

    same = replace(frames, arrays={**frames.arrays, "step_time": frames.arrays["step_time"] + 1})
    loss = frames.arrays["loss"].copy()
    loss[31] = np.nextafter(loss[31], np.float32(2))
    other = replace(frames, arrays={**frames.arrays, "loss": loss})
    assert hashed(same) == hashed(frames)
    assert hashed(other) != hashed(frames)
    assert hashed(replace(frames, events=frames.events[:-1])) != hashed(frames)


def test_take_tells_everything_it_was_given(archive: Archive) -> None:
    parent = record(archive, performance(10), [])
    proposal = ProposalRecord(
        steerer="gp",
        seed=3,
        round=1,
        changes={"parts.fit.controls.noise": 0.5},
        point=[0.5],
        reason="r",
        parents=[parent],
    )
    proposal_id = archive.add_proposal(proposal)
    about = new_take(
        controls={"fit": {"noise": 0.5}},
        inputs={"data": {"path": "x.csv", "sha256": "1" * 64}},
        versions={"numpy": "2"},
        platform={"system": "Linux"},
        threads=2,
        retention="scratch",
        parents=[(parent, 7, "steered")],
        proposal_id=proposal_id,
        seed=2**63 - 1,
    )
    recorder = archive.begin(about)
    assert archive.take(recorder.take_id).status == "running"
    assert archive.take("latest").id == parent, "it is finished"
    recorder.channels(CHANNELS)
    archive.set_render(recorder.take_id, {"loudness": -math.inf, "samples_hash": "2" * 64})
    recorder.fail("the source diverged")
    take = archive.take(recorder.take_id[:20])
    for name in ("piece_name", "piece", "controls", "inputs", "versions", "platform", "threads", "proposal_id", "seed"):
        assert getattr(take, name) == getattr(about, name)
    assert take.parents == ((parent, 7, "steered"),)
    assert take.parts == {"fit": PartRecord(20.0, 0, CHANNELS, None)}
    assert (take.status, take.error) == ("failed", "the source diverged")
    assert take.render == {"loudness": None, "samples_hash": "2" * 64}
    row = archive.takes()[0]
    assert (row.id, row.piece, row.parents, row.retention) == (take.id, "cubics", (parent,), "scratch")
    (stored,) = archive.proposals("gp")
    assert archive.proposal(proposal_id) == stored
    assert (stored.point, stored.changes, stored.parents) == ([0.5], proposal.changes, [parent])


def test_takes_are_listed_newest_first_and_filtered(archive: Archive) -> None:
    ids = [record(archive, performance(1, i), [], piece_name=f"p{i % 2}") for i in range(6)]
    archive.begin(new_take()).interrupt()
    assert [t.id for t in archive.takes(offset=1)] == ids[::-1]
    assert [t.id for t in archive.takes(piece="p1", limit=2)] == [ids[5], ids[3]]
    assert [t.status for t in archive.takes(status="interrupted")] == ["interrupted"]
    assert archive.takes(piece="p0")[0].duration_s == 1 / 20


def test_take_is_found_by_prefix_only_if_it_is_the_only_one(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="holds no take yet"):
        archive.take("latest")
    ids = [record(archive, performance(1), []) for _ in range(2)]
    assert archive.take("latest").id == ids[1]
    assert archive.take(ids[0].upper()).id == ids[0]
    with pytest.raises(ArchiveError, match="several takes"):
        archive.take(ids[0][:4])
    for wrong in ("", "zz", "%", "_" * 36):
        with pytest.raises(ArchiveError, match="no take"):
            archive.take(wrong)


def test_visit_keeps_progress_and_rating_apart(archive: Archive) -> None:
    take_id = record(archive, performance(1), [])
    archive.add_visit(
        VisitRecord(take_id=take_id, visitor="listener", seed=1, progress=0.3, value=0.3, rows=[{"x": 1}])
    )
    archive.add_visit(VisitRecord(take_id=take_id, visitor="person", seed=0, rating=0.9, words="a hum", verdict="good"))
    person, listener = archive.visits(take_id)
    assert (listener.progress, listener.rating, listener.rows) == (0.3, None, [{"x": 1}])
    assert (person.progress, person.rating, person.words, person.verdict) == (None, 0.9, "a hum", "good")
    assert listener.created <= person.created
    with pytest.raises(ArchiveError, match="no take"):
        archive.add_visit(VisitRecord(take_id="nobody", visitor="x", seed=0))


def test_equal_media_are_kept_once_and_a_role_has_one_file(archive: Archive, tmp_path: Path) -> None:
    takes = [record(archive, performance(1), []) for _ in range(2)]
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "b.wav").write_bytes(b"other sound")
    rows = [archive.add_media(t, "mix", tmp_path / "a.wav") for t in takes]
    assert rows[0] == rows[1]
    assert rows[0].path.read_bytes() == b"sound"
    archive.add_media(takes[0], "mix", tmp_path / "b.wav")
    assert [m.path.read_bytes() for t in takes for m in archive.media(t)] == [b"other sound", b"sound"]
    assert len(list(archive.media_folder.rglob("*.wav"))) == 2
    with pytest.raises(ArchiveError, match=r"gone\.wav: No such file"):
        archive.add_media(takes[0], "mix", tmp_path / "gone.wav")


def test_recorder_refuses_what_the_channels_do_not_promise(archive: Archive) -> None:
    recorder = archive.begin(new_take())
    recorder.channels(CHANNELS)
    arrays = performance(4).arrays
    with pytest.raises(ArchiveError, match="starts at tick 3, expected 0"):
        recorder.append(FrameBlock(3, arrays))
    with pytest.raises(ArchiveError, match="loss came as float64"):
        recorder.append(FrameBlock(0, {**arrays, "loss": arrays["loss"].astype("float64")}))
    with pytest.raises(ArchiveError, match="step_time differ"):
        recorder.append(FrameBlock(0, {n: a for n, a in arrays.items() if n != "step_time"}))
    with pytest.raises(ArchiveError, match="event 'bad' at tick 0"):
        recorder.append(FrameBlock(0, arrays, (Event(0, "bad", {"x": math.nan}),)))
    recorder.append(FrameBlock(0, arrays))
    recorder.append(FrameBlock(4, {}, (Event(4, "converged"),)))
    recorder.finish(duration_s=0.2)
    assert archive.events(recorder.take_id) == [Event(4, "converged")]
    assert archive.check().clean


def test_resumed_take_goes_on_as_if_nothing_had_happened(archive: Archive) -> None:
    frames = performance(90)
    whole = archive.take(record(archive, frames, []))
    first, second = cut(frames, [37])
    recorder = archive.begin(new_take())
    recorder.channels(CHANNELS)
    recorder.append(first)
    recorder.interrupt()
    recorder = archive.resume(recorder.take_id)
    assert recorder.next_tick() == 37
    with pytest.raises(ArchiveError, match="other channels"):
        recorder.channels(CHANNELS[:1])
    recorder.append(second)
    assert recorder.finish(duration_s=4.5) == whole.signals_hash
    assert_same(frames, archive.frames(recorder.take_id))
    with pytest.raises(ArchiveError, match="is done: only"):
        archive.resume(whole.id)
    running = archive.begin(new_take())
    with pytest.raises(ArchiveError, match="is running in process"):
        archive.resume(running.take_id)


def test_released_take_is_as_it_was_found(archive: Archive) -> None:
    for end, status, error in (
        (lambda r: r.interrupt(), "interrupted", None),
        (lambda r: r.fail("it diverged"), "failed", "it diverged"),
    ):
        recorder = archive.begin(new_take())
        recorder.channels(CHANNELS)
        recorder.append(FrameBlock(0, performance(4).arrays))
        end(recorder)
        found = archive.take(recorder.take_id)
        assert (found.status, found.error, found.ticks) == (status, error, 4)
        again = archive.resume(recorder.take_id)
        assert archive.take(recorder.take_id).status == "running"
        again.release()
        assert archive.take(recorder.take_id) == found


def readable(archive: Archive, take_id: str) -> int:
    """Ticks that others can read once they can read any, or 0 after two seconds."""
    deadline = time.monotonic() + 2
    while not (ticks := archive.frames(take_id).ticks) and time.monotonic() < deadline:
        time.sleep(0.02)
    return ticks


def test_what_waits_is_committed_though_nothing_follows(archive: Archive) -> None:
    recorder = archive.begin(new_take())
    recorder.channels(CHANNELS)
    frames = performance(8)
    first, second = cut(frames, [4])
    with Archive.open(archive.where) as other:
        recorder.append(first)
        assert readable(other, recorder.take_id) == 4
    recorder.append(second)
    recorder.finish(duration_s=frames.duration)
    assert_same(archive.frames(recorder.take_id), frames)
    assert archive.check().clean


def test_failure_of_a_late_commit_is_raised_by_the_next_append(archive: Archive) -> None:
    holder = sqlite3.connect(archive.where, isolation_level=None)
    with Archive.open(f"sqlite:///{archive.where}?timeout=0.05") as hurried:
        recorder = hurried.begin(new_take())
        recorder.channels(CHANNELS)
        first, second = cut(performance(8), [4])
        holder.execute("BEGIN IMMEDIATE")
        recorder.append(first)
        for timer in [t for t in threading.enumerate() if isinstance(t, threading.Timer)]:
            timer.join()
        with pytest.raises(ArchiveError, match="another process is holding it"):
            recorder.append(second)
        holder.execute("ROLLBACK")
        recorder.append(second)  # nothing was lost
        recorder.finish(duration_s=0.4)
        assert_same(hurried.frames(recorder.take_id), performance(8))
    holder.close()


def test_unknown_names_are_refused(archive: Archive) -> None:
    take_id = record(archive, performance(1), [])
    with pytest.raises(ArchiveError, match="did you mean 'loss'"):
        archive.blocks(take_id, ["los"])
    with pytest.raises(ArchiveError, match="no take"):
        archive.begin(new_take(parents=[("nobody", None, "branch")]))
    with pytest.raises(ArchiveError, match="no proposal"):
        archive.begin(new_take(proposal_id="none"))
    with pytest.raises(ArchiveError, match="no proposal 'none'"):
        archive.proposal("none")
    with pytest.raises(ArchiveError, match="seed = -1"):
        archive.begin(new_take(seed=-1))
    with pytest.raises(ArchiveError, match="not JSON serializable"):
        archive.begin(new_take(controls={"noise": object()}))
    assert len(archive.takes()) == 1


def test_hash_of_nothing_still_names_the_channels() -> None:
    assert SignalsHash(CHANNELS).hexdigest() == SignalsHash(CHANNELS[::-1]).hexdigest()
    assert SignalsHash(CHANNELS).hexdigest() != SignalsHash(CHANNELS[:2]).hexdigest()


def test_opening_an_archive_does_not_load_alembic(archive: Archive) -> None:
    code = (
        "import sys; from db.archive import Archive; Archive.open(sys.argv[1], create=False).takes();"
        "assert 'sqlalchemy' in sys.modules; assert not {'alembic', 'pyarrow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, archive.where], check=True)
