"""Replay: the same take again, bit for bit; and when it is not, how far off and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from db.archive import Archive
from db.models import Take
from pieces.errors import DescantError
from pieces.piece import Piece, find_piece
from pieces.signals import Event
from studio.compose import compose
from studio.plan import plan
from studio.replay import verify


def short(name: str, ticks: int = 150) -> Piece:
    piece, _ = find_piece(name)
    (part,) = piece.parts
    return piece.with_values({f"parts.{part}.ticks": ticks})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive.open(tmp_path_factory.mktemp("replay") / "archive.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def take_id(archive: Archive) -> str:
    given = [
        Event(40, "control", {"name": "learning_rate", "value": 0.05}, given=True),
        Event(90, "new_target", {}, given=True),
    ]
    return compose(archive, plan("cubics", short("cubics"), Path.cwd()), 7, given={"cubics": given})


def change(archive: Archive, take_id: str, **values: object) -> None:
    """What another machine, or a damaged disk, would have left."""
    with archive._database.write() as session:
        session.execute(update(Take).where(Take.id == take_id).values(**values))


def test_a_take_with_changes_and_events_replays_bit_for_bit(archive, take_id):
    frames = archive.frames(take_id)
    assert [(e.tick, e.kind) for e in frames.events if e.given] == [(40, "control"), (90, "new_target")]
    verdict = verify(archive, take_id)
    assert verdict.identical
    assert verdict.samples is True
    assert verdict.changed == ()


def test_the_given_events_matter(archive, take_id):
    without = compose(archive, plan("cubics", short("cubics"), Path.cwd()), 7)
    a, b = archive.frames(take_id), archive.frames(without)
    np.testing.assert_array_equal(a.arrays["loss"][:41], b.arrays["loss"][:41])
    assert (a.arrays["loss"][41:90] != b.arrays["loss"][41:90]).any()


def test_other_signals_are_reported_with_their_drift(archive):
    take_id = compose(archive, plan("cubics", short("cubics"), Path.cwd()), 3)
    assert verify(archive, take_id).identical
    change(archive, take_id, seed=4)
    verdict = verify(archive, take_id)
    assert not verdict.signals
    assert verdict.samples is False
    drift = {d.what: d for d in verdict.drift}
    assert drift["loss"].first == 0
    assert drift["loss"].largest > 0.01
    assert drift["mix"].largest > 0.01


def test_drift_is_measured_exactly(archive):
    """One tick of one channel differs by a known amount: the recording is changed, and its hash with it."""
    from db.models import Block
    from pieces.signals import FrameBlock, SignalsHash
    from pieces.stream import decode_block, encode_block

    take_id = compose(archive, plan("cubics", short("cubics"), Path.cwd()), 5)
    with archive._database.write() as session:
        rows = session.query(Block).where(Block.take_id == take_id).order_by(Block.first_tick).all()
        hashed = SignalsHash(archive.take(take_id).parts["cubics"].channels)
        for row in rows:
            block = decode_block(row.payload)
            arrays = {n: a.copy() for n, a in block.arrays.items()}
            if block.first_tick <= 100 < block.end_tick:
                arrays["distance"][100 - block.first_tick] += 0.25
            block = FrameBlock(block.first_tick, arrays, block.events)
            row.payload = encode_block(block)
        session.flush()
    for block in archive.blocks(take_id):
        hashed.update(block)
    change(archive, take_id, signals_hash=hashed.hexdigest())
    verdict = verify(archive, take_id)
    (drift,) = verdict.drift
    assert (drift.what, drift.first) == ("distance", 100)
    assert drift.largest == pytest.approx(0.25, abs=1e-6)
    assert verdict.samples is True


def test_signals_that_do_not_match_their_own_hash_are_not_replayed(archive):
    take_id = compose(archive, plan("cubics", short("cubics"), Path.cwd()), 6)
    change(archive, take_id, signals_hash="0" * 64)
    with pytest.raises(DescantError, match="do not match their own hash"):
        verify(archive, take_id)


def test_another_machine_is_named(archive):
    take_id = compose(archive, plan("cubics", short("cubics"), Path.cwd()), 8)
    take = archive.take(take_id)
    change(archive, take_id, versions={**take.versions, "numpy": "1.0"}, platform={**take.platform, "machine": "vax"})
    verdict = verify(archive, take_id)
    assert verdict.identical
    assert any(c.startswith("numpy was 1.0, is ") for c in verdict.changed)
    assert any(c.startswith("machine was vax") for c in verdict.changed)


def test_another_number_of_threads_is_named(archive, take_id, monkeypatch):
    monkeypatch.setenv("DESCANT_THREADS", "2")
    verdict = verify(archive, take_id)
    assert "threads was 1, is 2" in verdict.changed


def test_another_precision_of_a_mind_is_named(archive, monkeypatch):
    """Nothing that the take was given says how its mind computes: the mind says it itself."""
    piece, base = find_piece("denoising")
    few = piece.with_values({"parts.mind.ticks": 3, "parts.mind.controls": {"steps": 2, "rest": 1, "draws": 0}})
    drawn = compose(archive, plan("denoising", few, base), 0)
    same = verify(archive, drawn)
    assert same.identical
    assert not same.changed
    monkeypatch.setenv("DESCANT_PRECISION", "bfloat16")
    other = verify(archive, drawn)
    assert not other.identical
    assert "mind: mind precision was float32, is bfloat16" in other.changed
    assert any(line.startswith("mind: mind weights was") for line in other.changed)


def test_an_input_that_changed_is_refused(archive, tmp_path):
    from pieces.series import series_piece

    data = tmp_path / "data.csv"
    data.write_text("x\n" + "\n".join(str(i % 7) for i in range(40)))
    take_id = compose(archive, plan("data.csv", series_piece(data, duration=2), tmp_path), 0)
    data.unlink()
    assert verify(archive, take_id).identical, "the archive keeps its own copy"
    kept = next(m.path for m in archive.media(take_id) if m.role == "input:series.data")
    kept.write_text("x\n1\n2\n")
    with pytest.raises(DescantError, match=r"input series\.data has changed"):
        verify(archive, take_id)
