"""Sweeps: what was killed loses one batch at most, and goes on to the same end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from studio.sweep import Sweep, SweepError, sweep_of

SETTINGS = {"mind": "house", "seed": 3, "strengths": [0.5, 1.0]}


def squares(k: int) -> dict[str, np.ndarray]:
    return {"number": np.array([k]), "square": np.full((2, 3), float(k * k))}


def forbidden(k: int) -> dict[str, np.ndarray]:
    raise AssertionError(f"batch {k} was kept and is made again")


def whole(folder: Path, count: int = 5) -> list[tuple[int, float]]:
    return [(k, float(found["square"][1, 2])) for k, found in Sweep(folder, SETTINGS).each(count, squares)]


def test_batches_are_made_once(tmp_path: Path) -> None:
    assert whole(tmp_path) == [(k, float(k * k)) for k in range(5)]
    again = list(Sweep(tmp_path, SETTINGS).each(5, forbidden))
    assert [k for k, _ in again] == list(range(5))
    np.testing.assert_array_equal(again[4][1]["square"], squares(4)["square"])
    with pytest.raises(AssertionError, match="batch 5"):
        list(Sweep(tmp_path, SETTINGS).each(6, forbidden))


def test_what_is_broken_off_goes_on(tmp_path: Path) -> None:
    made: list[int] = []

    def work(k: int) -> dict[str, np.ndarray]:
        if k == 3 and len(made) == 3:
            raise KeyboardInterrupt
        made.append(k)
        return squares(k)

    with pytest.raises(KeyboardInterrupt):
        list(Sweep(tmp_path, SETTINGS).each(5, work))
    assert Sweep(tmp_path, SETTINGS).done == 3
    list(Sweep(tmp_path, SETTINGS).each(5, lambda k: (made.append(k), squares(k))[1]))
    assert made == [0, 1, 2, 3, 4]


def test_a_spoiled_batch_is_made_again(tmp_path: Path) -> None:
    before = whole(tmp_path)
    torn = tmp_path / "batch-00002.npz"
    torn.write_bytes(torn.read_bytes()[:100])
    assert whole(tmp_path) == before


def test_other_settings_are_refused_in_a_line(tmp_path: Path) -> None:
    whole(tmp_path, 2)
    with pytest.raises(SweepError) as refused:
        Sweep(tmp_path, {**SETTINGS, "seed": 4})
    line = str(refused.value)
    assert "seed is 3, not 4" in line
    assert "\n" not in line
    assert Sweep(tmp_path, dict(reversed(SETTINGS.items()))).done == 2, "the order of settings is none of them"


def test_a_folder_that_is_none_is_refused_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SweepError, match="give a folder"):
        Sweep(file / "sweep", SETTINGS)


SLOW = """
import sys
from pathlib import Path
import numpy as np
from studio.sweep import Sweep

def work(k):
    print(k, flush=True)
    if k == 4:
        sys.stdin.read()  # at work for ever
    return {"square": np.full((2, 3), float(k * k))}

list(Sweep(Path(sys.argv[1]), {"mind": "house", "seed": 3, "strengths": [0.5, 1.0]}).each(6, work))
"""


def test_killed_it_loses_one_batch(tmp_path: Path) -> None:
    """A real process, ended by SIGKILL in the midst of its fifth batch, while another one is kept away."""
    folder = tmp_path / "sweep"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert [process.stdout.readline().strip() for _ in range(5)] == list("01234")
        with pytest.raises(SweepError, match="another process"):
            list(Sweep(folder, SETTINGS).each(6, squares))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert Sweep(folder, SETTINGS).done == 4
    made: list[int] = []

    def work(k: int) -> dict[str, np.ndarray]:
        made.append(k)
        return squares(k)

    found = [float(a["square"][0, 0]) for _, a in Sweep(folder, SETTINGS).each(6, work)]
    assert found == [0.0, 1.0, 4.0, 9.0, 16.0, 25.0]
    assert made == [4, 5]
    assert not list(folder.glob(".*.part")), "nothing half is left"


def test_progress_reaches_its_end_and_counts_what_is_kept(tmp_path: Path) -> None:
    whole(tmp_path, 2)
    told: list[tuple[float, float]] = []
    list(Sweep(tmp_path, SETTINGS).each(4, squares, lambda stage, done, of: told.append((done, of))))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_sweep_that_another_is_at_is_not_cleared(tmp_path: Path) -> None:
    """A second command may have begun between the last batch and the clearing."""
    settings = {"of": "something"}
    mine, other = sweep_of(tmp_path, "sheet", settings), sweep_of(tmp_path, "sheet", settings)
    assert mine.folder == other.folder != sweep_of(tmp_path, "sheet", {"of": "something else"}).folder
    at_work = other.each(2, lambda k: {"k": np.array(k)})
    next(at_work)
    mine.clear()
    assert other.done == 1
    assert [k for k, _ in at_work] == [1]
    mine.clear()
    assert not mine.folder.exists()
    mine.clear()
