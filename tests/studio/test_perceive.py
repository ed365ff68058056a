"""What is perceived of a long take is kept, is the same as perceived anew, and is never that of something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from db.archive import Archive
from pieces.piece import find_piece
from studio import perceive
from studio.compose import compose
from studio.perceive import perceived
from studio.plan import plan
from tests.studio.experiment.studying import write_piece


class Watch:
    """Progress, and which stages it was told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, float]] = []

    def __call__(self, stage: str, done: float, total: float) -> None:
        self.told.append((stage, done, total))

    @property
    def stages(self) -> set[str]:
        return {stage for stage, _, _ in self.told}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Archive, str]]:
    folder: Path = tmp_path_factory.mktemp("perceive")
    write_piece(folder, "piece")
    piece, base = find_piece(str(folder / "piece.toml"))
    with Archive.open(folder / "archive.db") as archive:
        yield archive, compose(archive, plan("piece", piece, base), 1)


@pytest.fixture
def kept(made: tuple[Archive, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which it is kept, empty; two seconds are long."""
    monkeypatch.setattr(perceive, "LONG_S", 1.0)
    folder = made[0].media_folder / "perceived"
    for path in folder.glob("*"):
        path.unlink()
    return folder


def test_a_short_take_is_perceived_each_time_and_nothing_is_kept(made: tuple[Archive, str]) -> None:
    archive, take_id = made
    assert archive.take(take_id).duration_s < perceive.LONG_S
    watch = Watch()
    perceived(archive, take_id, watch)
    assert {"look", "listen"} == watch.stages
    assert not (archive.media_folder / "perceived").exists()


def test_the_second_time_it_is_there_bit_for_bit(made: tuple[Archive, str], kept: Path) -> None:
    archive, take_id = made
    first, second = Watch(), Watch()
    one, two = perceived(archive, take_id, first), perceived(archive, take_id, second)
    looked = [done for stage, done, total in first.told if stage == "look" and 0 <= done <= total]
    assert looked == sorted(looked)
    assert len(looked) == len(one.pictures), "with every picture somebody sees that it goes on"
    assert not second.told, "nothing was drawn or measured again"
    assert one.fps == two.fps
    np.testing.assert_array_equal(one.pictures, two.pictures)
    np.testing.assert_array_equal(one.audio, two.audio)
    for a, b in ((one.ears, two.ears), (one.eyes, two.eyes)):
        for field in fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), strict=True)
    assert archive.check().clean, "it lies beside the media and is none"
    assert len(list(kept.iterdir())) == 1


def test_what_is_damaged_or_of_other_code_is_perceived_anew(
    made: tuple[Archive, str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, take_id = made
    whole = perceived(archive, take_id)
    (path,) = kept.glob("*.npz")
    for damage in (b"", b"PK\x03\x04 no archive", path.read_bytes()[:-100]):
        path.write_bytes(damage)
        watch = Watch()
        np.testing.assert_array_equal(perceived(archive, take_id, watch).pictures, whole.pictures)
        assert watch.told
    monkeypatch.setattr(perceive, "code", lambda: "another")
    watch = Watch()
    perceived(archive, take_id, watch)
    assert watch.told, "what is measured may be another thing"
    assert len(list(kept.glob("*.npz"))) == 2
    monkeypatch.setattr(perceive, "ROOM", 0)
    monkeypatch.setattr(perceive, "code", lambda: "a third")
    perceived(archive, take_id)
    assert len(list(kept.iterdir())) == 1, "what was not used for longest goes"
