"""Sheets of a mind under surgery: labelled, sorted, kept as a take, and resumed where they were stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.archive import Archive
from pieces.minds import ranges
from pieces.minds.alien import VISIBLE
from pieces.minds.concepts import CONCEPTS
from pieces.minds.mind import HOUSE
from pieces.signals import Event, FrameBlock
from studio.pictures.canvas import BREAK, GOAL, LEARNED
from studio.sheets import cells, planned, write
from tests.conftest import Descant

SHEET = ("mind", "sheet", "house", "--count", 6, "--steps", 2, "--batch", 2, "--seed", 3, "--quiet")


#: A sheet of scalings whose end nobody knows.
FADING = {"surgery": "up", "steps": 2, "grades": 3}


class Stopped(Exception):
    """Somebody pressed Ctrl-C, or worse."""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few coarse scores of a picture each."""
    for name, value in {"PICTURES": 1, "STEPS": 3, "CELLS": 4, "HALVINGS": 1}.items():
        monkeypatch.setattr(ranges, name, value)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The house mind once more, of which nothing is known."""
    shutil.copytree(HOUSE, tmp_path / "fresh", ignore=shutil.ignore_patterns(ranges.FILE))
    return tmp_path / "fresh"


def ending(folder: Path, scratch: Path, seen: list[float], stop: int = 0, **more: Any) -> float:
    """The last grade of a sheet that is planned; `seen` are the scores that were there, one after the other.

    With `stop`, the planning is ended after so many scores.
    """

    def progress(stage: str, done: float, total: float) -> None:
        if stage == "ranges":
            seen.append(done)
            if stop and done == stop:
                raise Stopped

    plan, _ = planned({"mind": str(folder)}, {**FADING, **more}, 1, scratch, progress)
    (player,) = plan.players.values()
    return float(player.controls["most"])


def test_what_was_measured_before_a_stop_is_not_drawn_again(fresh: Path, tmp_path: Path, few: None) -> None:
    """A score that was marked while all was still is believed: 0 for the untouched, below whose half there is none."""
    with pytest.raises(Stopped):
        ending(fresh, tmp_path / "ranges", [], stop=2)
    assert ranges.kept_in(fresh / ranges.FILE) == []
    (sweep,) = (tmp_path / "ranges").iterdir()
    assert sorted(p.name for p in sweep.glob("batch-*")) == ["batch-00000.npz", "batch-00001.npz"]
    before = {p: p.stat().st_mtime_ns for p in sweep.glob("batch-*")}
    marked = tmp_path / "marked"
    shutil.copytree(fresh, marked)
    shutil.copytree(tmp_path / "ranges", tmp_path / "marks")
    with (tmp_path / "marks" / sweep.name / "batch-00000.npz").open("wb") as file:
        np.savez(file, score=np.array(0.0))
    assert ending(marked, tmp_path / "marks", []) == ranges.TRIED["up"], "it never falls below half of 0"
    with pytest.raises(Stopped):
        ending(fresh, tmp_path / "ranges", [], stop=3)
    assert before == {p: p.stat().st_mtime_ns for p in before}, "not a file of them is written again"
    end = ending(fresh, tmp_path / "ranges", [])
    (kept,) = ranges.kept_in(fresh / ranges.FILE)
    assert kept.untouched > 0.5
    assert end == kept.most("up") < ranges.TRIED["up"]
    assert not list((tmp_path / "ranges").iterdir()), "what the sweep was for is done"


def test_no_more_is_measured_than_is_asked_for_and_that_once(fresh: Path, tmp_path: Path, few: None) -> None:
    first: list[float] = []
    end = ending(fresh, tmp_path / "ranges", first)
    assert 0 < max(first) <= ranges.scores() == 6
    again: list[float] = []
    assert ending(fresh, tmp_path / "ranges", again) == end
    assert again == []
    assert ending(fresh, tmp_path / "ranges", again, most=0.75) == 0.75
    assert ending(fresh, tmp_path / "ranges", again, half="left") == 0, "of halves nothing is known"
    assert again == []
    ending(fresh, tmp_path / "ranges", again, surgery="noise")
    assert max(again) > 0
    (kept,) = ranges.kept_in(fresh / ranges.FILE)
    assert set(kept.lost) == {"up", "noise"}
    assert kept.most("up") == end


def frames(effects: list[float], strongest: list[int]) -> list[FrameBlock]:
    """A take of `alien` with the effects and verdicts that are given; tick t is of brightness 20 t."""
    ticks = len(effects)
    scores = np.full((ticks, len(CONCEPTS) + 1), 0.02, np.float32)
    scores[np.arange(ticks), strongest] = 0.84
    arrays: dict[str, Any] = {
        "distance_pixels": np.array(effects, np.float32),
        "strongest": np.array(strongest, np.float32),
        "complete": np.ones(ticks, np.float32),
        "scores": scores,
        "picture": np.broadcast_to((20 * np.arange(ticks))[:, None, None, None], (ticks, 8, 8, 3)).astype(np.uint8),
    }
    told = [
        Event(t, "surgery", {"name": f"unet.mid_block.resnets.{t}.conv1" if t else "untouched"}) for t in range(ticks)
    ]
    halves = (range(ticks // 2), range(ticks // 2, ticks))
    return [
        FrameBlock(
            some.start, {n: a[some.start : some.stop] for n, a in arrays.items()}, tuple(told[some.start : some.stop])
        )
        for some in halves
    ]


def test_cells_are_sorted_by_effect_and_say_what_was_done_and_seen() -> None:
    shown = cells(frames([0, 0.3, 0.001, 0.1, 0.05], [0, 8, 0, 3, 0]), CONCEPTS)
    assert [int(c.picture[0, 0, 0]) // 20 for c in shown] == [0, 2, 4, 3, 1]
    assert shown[0].label[0] == "untouched"
    words = [" ".join(c.label) for c in shown]
    assert "mid" in words[3]
    assert "3.conv1" in words[3]
    assert "10.0%" in words[3]
    assert "a fish 84%" in words[3]
    assert "nothing 84%" in words[4]
    assert [c.colour for c in shown[2:]] == [LEARNED, GOAL, BREAK]
    assert shown[1].effect < VISIBLE
    assert shown[1].colour not in (LEARNED, GOAL, BREAK)


def test_a_sheet_is_a_picture_with_every_cell_on_it(tmp_path: Path) -> None:
    """Every brightness is found, in order of effect, along the rows."""
    effects = [0.0, *np.linspace(0.9, 0.1, 10).tolist()]
    path = tmp_path / "sheet.png"
    write(path, cells(frames(effects, [0] * 11), CONCEPTS), "title", "subtitle")
    image = np.asarray(Image.open(path)).astype(int)
    gray = np.where(np.ptp(image, axis=2) == 0, image[..., 0], -1)
    first = [int(np.flatnonzero((gray == 20 * t).sum(axis=1) > 90)[0]) for t in range(1, 11)]
    assert first == sorted(first, reverse=True), "the last ticks have the least effect: they stand in the first rows"
    assert len(set(first)) > 1
    with pytest.raises(Exception, match="cannot be written"):
        write(tmp_path / "none" / "sheet.png", [], "", "")


def test_what_was_stopped_goes_on_and_is_kept_as_a_take(descant: Descant, home: Path, tmp_path: Path) -> None:
    """Ctrl-C after the second batch; the batches before are not drawn again, as one that was marked shows."""
    command = [sys.executable, "-c", "from studio.cli import main; main()", *map(str, SHEET)]
    env = {**os.environ, "DESCANT_HOME": str(home)}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list(home.glob("sweeps/*/batch-00001.npz")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1, told
    assert "stopped" in told
    (folder,) = (home / "sweeps").iterdir()
    marked = folder / "batch-00000.npz"
    arrays = dict(np.load(marked))
    arrays["picture"][1] = 123
    with marked.open("wb") as file:
        np.savez(file, **arrays)
    take = descant(*SHEET, "--out", "out").stdout.strip().splitlines()[-1]
    assert not folder.exists(), "what the sweep was for is done"
    with Archive.open(str(home / "archive.db"), create=False) as archive:
        record = archive.take(take)
        seen = archive.frames(take, ["picture", "distance_pixels"])
        assert record.status == "done"
        assert record.piece_name == "alien"
        assert {"mix", "sheet", "surgeries"} <= {m.role for m in archive.media(take)}
    assert seen.ticks == 7
    assert (seen.arrays["picture"][1] == 123).all()
    assert not (seen.arrays["picture"][2] == 123).all()
    image = Image.open(tmp_path / "out" / f"alien-{take}-surgeries.png")
    assert image.size[0] >= 640
